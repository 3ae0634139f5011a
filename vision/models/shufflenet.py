"""ShuffleNet with two groups: convolutions of 1 x 1 in groups, shuffled between.

References:
    X. Zhang et al., "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile
        Devices", 2017, arXiv:1707.01083.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Layers, Options, mean_pool

STAGES = ((200, 4), (400, 8), (800, 4))  # channels and number of blocks
GROUPS = 2


class ShuffleBlock(nn.Module):
    """Narrower, shuffled, depthwise, wider; at a stride of 2 appended to what came.

    Attributes:
        features: channels of the result.
        stride: of the depthwise convolution, 1 or 2.
        groups: of the first convolution.
        options: of the network.
    """

    features: int
    stride: int
    groups: int
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f = Layers(self.options, train)
        features = self.features - (x.shape[-1] if self.stride == 2 else 0)
        inner = features // 4
        y = nn.relu(f.conv_norm(("conv1", "bn1"), x, inner, 1, groups=self.groups))
        y = _shuffle(y, self.groups)
        y = f.conv_norm(("conv2", "bn2"), y, inner, stride=self.stride, groups=inner)
        y = f.conv_norm(("conv3", "bn3"), nn.relu(y), features, 1, groups=GROUPS)
        if self.stride == 1:
            return nn.relu(x + y)
        return nn.relu(jnp.concatenate([y, mean_pool(x, 3, 2, 1)], axis=-1))


def _shuffle(x: jax.Array, groups: int) -> jax.Array:
    """Deals the channels of each group out to all groups."""
    *leading, channels = x.shape
    x = x.reshape(*leading, groups, channels // groups)
    return jnp.swapaxes(x, -1, -2).reshape(*leading, channels)


class ShuffleNet(nn.Module):
    """A convolution of 1 x 1 and three stages of blocks.

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
        x = nn.relu(f.conv_norm(("conv1", "bn1"), x.astype(options.dtype), options.scaled(24), 1))
        for stage, (features, blocks) in enumerate(STAGES):
            for index in range(blocks):
                groups = 1 if stage == 0 and index == 0 else GROUPS
                sizes = (options.scaled(features), 1 if index else 2, groups)
                name = f"layer{stage + 1}.{index}"
                x = ShuffleBlock(*sizes, options, name=name)(x, train)
        return f.head("linear", x, self.num_classes)
