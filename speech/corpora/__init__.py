"""Recordings and texts to learn from: readers of corpora, and makers of synthetic ones."""
