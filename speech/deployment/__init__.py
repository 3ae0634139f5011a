"""Recognizers as ONNX graphs, and as StableHLO: what `transcriber` runs without JAX."""
