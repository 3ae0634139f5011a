"""Text: classifiers, and explanations of what they say by examples and spans of their training."""
