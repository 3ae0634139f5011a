"""What the tests of quantization share: a policy with every kind of rule, and parameters."""

import jax
import numpy as np

from gossamer.core import blocks, quantizers
from gossamer.core.quantization import Policy

A, B = quantizers.sawb_plus(4, blocks.gates(4)), quantizers.max_abs(8)

# One tensor in float, scales from statistics, and learned ones: each way that `codes` can go.
POLICY = Policy(
    weights=(
        ("output/.*", None),
        (".*/recurrent", quantizers.pact(4, blocks.CHANNEL)),
        (".*/kernel", A),
        ("layers/0", quantizers.pact_plus(4)),
        ("layers/.*", quantizers.lsq(3, blocks.groups(3))),
    )
)
SHAPES = {
    "encoder": {"kernel": (6, 8), "recurrent": (2, 8, 8), "bias": (8,)},
    "layers": [(6, 2), (9, 2)],
    "output": {"kernel": (8, 3)},
}


def make_params(seed=0, leading=()):
    generator = np.random.default_rng(seed)

    def draw(shape):
        return generator.standard_normal((*leading, *shape)).astype(np.float32)

    return jax.tree.map(draw, SHAPES, is_leaf=lambda node: isinstance(node, tuple))
