"""SENet-18: pre-activated residual blocks with squeeze and excitation.

What a block adds is weighted by channel, by a small network of the channels' means:
y = x + F(x) sigmoid(W2 relu(W1 mean F(x))).

References:
    J. Hu et al., "Squeeze-and-Excitation Networks", 2017, arXiv:1709.01507.
    K. He et al., "Identity Mappings in Deep Residual Networks", 2016, arXiv:1603.05027.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Layers, Options


class SqueezeBlock(nn.Module):
    """Two pre-activated convolutions of 3 x 3, weighted by channel.

    Attributes:
        features: channels of the result.
        stride: of the first convolution.
        options: of the network.
    """

    features: int
    stride: int
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f = Layers(self.options, train)
        y = nn.relu(f.norm("bn1", x))
        if self.stride != 1 or x.shape[-1] != self.features:
            x = f.conv("shortcut.0", y, self.features, 1, stride=self.stride)
        y = f.conv("conv1", y, self.features, stride=self.stride)
        y = f.conv("conv2", nn.relu(f.norm("bn2", y)), self.features)
        mean = jnp.mean(y, axis=(1, 2), keepdims=True)
        weights = f.conv("fc1", mean, max(1, self.features // 16), 1, bias=True)
        weights = f.conv("fc2", nn.relu(weights), self.features, 1, bias=True)
        return x + y * nn.sigmoid(weights)


class SENet(nn.Module):
    """Four stages of two blocks each.

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
        x = x.astype(options.dtype)
        x = nn.relu(f.conv_norm(("conv1", "bn1"), x, options.scaled(64)))
        for stage in range(4):
            for index in range(2):
                stride = 2 if stage and index == 0 else 1
                name = f"layer{stage + 1}.{index}"
                block = SqueezeBlock(options.scaled(64) * 2**stage, stride, options, name=name)
                x = block(x, train)
        return f.head("linear", x, self.num_classes)
