"""Recognizers of a neural network and hidden Markov models, from the lexicon to training."""
