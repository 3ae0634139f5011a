"""The console script ``gossamer``."""
