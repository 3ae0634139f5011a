"""Translation by a Transformer with encoder and decoder, from parallel texts to scores."""
