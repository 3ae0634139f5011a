"""Image recognition: networks, data and the large-batch study on top of `core`."""
