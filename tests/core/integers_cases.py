"""Random codes of any width, for the tests of packing and of products."""

import numpy as np


def code_range(bits):
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def random_codes(seed, bits, shape):
    low, high = code_range(bits)
    return np.random.default_rng(seed).integers(low, high, shape, np.int8, endpoint=True)
