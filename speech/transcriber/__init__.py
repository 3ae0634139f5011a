"""Reads speech with an exported recognizer, without JAX: NumPy, ONNX Runtime and soundfile only.

The modules of this package, and those of `speech` that it imports, travel with each export, so that
a folder is all that another machine needs.
"""
