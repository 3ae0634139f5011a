"""GoogLeNet in its CIFAR form: blocks of four branches side by side, with batch norm.

References:
    C. Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv:1409.4842.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Layers, Options, max_pool


class Branches(NamedTuple):
    """Channels of the branches of a block."""

    single: int  # 1 x 1
    before_small: int
    small: int  # 3 x 3
    before_large: int
    large: int  # 5 x 5, as two of 3 x 3
    pooled: int


STAGES = (
    {"a3": Branches(64, 96, 128, 16, 32, 32), "b3": Branches(128, 128, 192, 32, 96, 64)},
    {
        "a4": Branches(192, 96, 208, 16, 48, 64),
        "b4": Branches(160, 112, 224, 24, 64, 64),
        "c4": Branches(128, 128, 256, 24, 64, 64),
        "d4": Branches(112, 144, 288, 32, 64, 64),
        "e4": Branches(256, 160, 320, 32, 128, 128),
    },
    {"a5": Branches(256, 160, 320, 32, 128, 128), "b5": Branches(384, 192, 384, 48, 128, 128)},
)


class Inception(nn.Module):
    """Four branches, their channels one after another.

    Attributes:
        branches: their channels.
        options: of the network.
    """

    branches: Branches
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height, width, sum of the branches]``."""
        f = Layers(self.options, train)
        size = Branches(*map(self.options.scaled, self.branches))

        def layer(name: str, index: int, x: jax.Array, features: int, kernel_size: int):
            names = (f"{name}.{index}", f"{name}.{index + 1}")
            return nn.relu(f.conv_norm(names, x, features, kernel_size, bias=True))

        single = layer("b1", 0, x, size.single, 1)
        small = layer("b2", 3, layer("b2", 0, x, size.before_small, 1), size.small, 3)
        large = layer("b3", 3, layer("b3", 0, x, size.before_large, 1), size.large, 3)
        large = layer("b3", 6, large, size.large, 3)
        pooled = layer("b4", 1, max_pool(x, 3, 1, 1), size.pooled, 1)
        return jnp.concatenate([single, small, large, pooled], axis=-1)


class GoogLeNet(nn.Module):
    """A convolution and nine blocks, with pooling between the stages.

    Attributes:
        num_classes: number of logits.
        options: of the network.
    """

    num_classes: int
    options: Options = Options()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, num_classes]``."""
        f, options = Layers(self.options, train), self.options
        names = ("pre_layers.0", "pre_layers.1")
        x = nn.relu(f.conv_norm(names, x.astype(options.dtype), options.scaled(192), bias=True))
        for number, stage in enumerate(STAGES):
            x = max_pool(x, 3, 2, 1) if number else x
            for name, branches in stage.items():
                x = Inception(branches, options, name=name)(x, train)
        return f.head("linear", x, self.num_classes)
