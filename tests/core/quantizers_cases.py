"""What the tests of quantizers share: one of each, values for them, and where blocks lie."""

from functools import partial

import numpy as np

from gossamer.core import blocks, quantizers

SHAPE = (2, 12, 16)  # [matrices, in, out]
KINDS = {  # blocks, shape of one value for each, and of scales
    "tensor": (blocks.TENSOR, (), ()),
    "matrix": (blocks.MATRIX, (2,), (2, 1, 1)),
    "gate": (blocks.gates(4), (2, 4), (2, 1, 16)),
    "channel": (blocks.CHANNEL, (2, 16), (2, 1, 16)),
    "group": (blocks.groups(3), (2, 4, 16), (2, 4, 16)),
}
BLOCKS = {kind: row[0] for kind, row in KINDS.items()}

FACTORIES = {
    "sawb": quantizers.sawb,
    "sawb_plus": quantizers.sawb_plus,
    "max_abs": quantizers.max_abs,
    "fixed": partial(quantizers.Fixed, clip=1.3),
    "calibrated": quantizers.calibrated,
    "pact": quantizers.pact,
    "pact_plus_symmetric": partial(quantizers.pact_plus, symmetric=True),
    "pact_plus": quantizers.pact_plus,
    "lsq": quantizers.lsq,
}


def weights(seed=0):
    """Matrices of different spread, their values not centered."""
    generator = np.random.default_rng(seed)
    deviations = generator.uniform(0.3, 2.0, (2, 1, 1))
    return (deviations * (generator.standard_normal(SHAPE) + 0.2)).astype(np.float32)


def block_slices(kind):
    """Where each block of a tensor of SHAPE lies, one after the other."""
    matrices, gates, outputs = range(2), range(4), range(16)
    return {
        "tensor": [np.s_[:]],
        "matrix": [np.s_[m] for m in matrices],
        "gate": [np.s_[m, :, 4 * g : 4 * g + 4] for m in matrices for g in gates],
        "channel": [np.s_[m, :, o] for m in matrices for o in outputs],
        "group": [
            np.s_[m, i : i + 3, o] for m in matrices for i in range(0, 12, 3) for o in outputs
        ],
    }[kind]


def spread(kind, values):
    """One value a block, at each of its elements: [2, 12, 16]."""
    wide = np.empty(SHAPE, np.asarray(values).dtype)
    for where, value in zip(block_slices(kind), np.ravel(values), strict=True):
        wide[where] = value
    return wide


def spread_scale(kind, scale):
    """The same of scales in the documented shapes."""
    if kind == "group" and scale.ndim:
        scale = np.repeat(scale, 3, axis=-2)
    return np.broadcast_to(scale, SHAPE)


# Zero, ties, values between, both ends, and values beyond them by less and by more than half a
# step, for the clip 7/8, whose 4-bit step 1/8 is a power of two.
CLIP, STEP = np.float32(0.875), np.float32(0.125)
MAGNITUDES = np.array([0.01, 0.1875, 0.2, 0.3125, 0.33, 0.86, 0.875, 0.9, 3.0], np.float32)
POINTS = np.r_[-MAGNITUDES, np.float32(0.0), MAGNITUDES]
