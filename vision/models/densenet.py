"""DenseNet: each layer sees the results of all layers before it.

A layer computes a few new channels, `growth` many, of all channels so far and appends them.
Between the stages a transition halves channels and resolution.

References:
    G. Huang et al., "Densely Connected Convolutional Networks", 2016, arXiv:1608.06993.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Layers, Options, max_pool, mean_pool


class DenseLayer(nn.Module):
    """A bottleneck of 1 x 1 and a convolution of 3 x 3, appended to what came.

    Attributes:
        growth: number of new channels.
        new_first: whether they stand before what came.
        norms: what the definition calls its batch norms.
        options: of the network.
    """

    growth: int
    new_first: bool
    norms: tuple[str, str]
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height, width, channels + growth]``."""
        f = Layers(self.options, train)
        y = f.conv("conv1", nn.relu(f.norm(self.norms[0], x)), 4 * self.growth, 1)
        y = f.conv("conv2", nn.relu(f.norm(self.norms[1], y)), self.growth)
        return jnp.concatenate([y, x] if self.new_first else [x, y], axis=-1)


class Transition(nn.Module):
    """Half the channels at half the resolution.

    Attributes:
        norm: what the definition calls its batch norm.
        options: of the network.
    """

    norm: str
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height / 2, width / 2, channels / 2]``."""
        f = Layers(self.options, train)
        return mean_pool(f.conv("conv", nn.relu(f.norm(self.norm, x)), x.shape[-1] // 2, 1), 2, 2)


class DenseNet(nn.Module):
    """Four stages of dense layers.

    Attributes:
        num_classes: number of logits.
        layers: number of layers of each stage.
        growth: new channels of a layer.
        form: "cifar" or "imagenet".
        options: of the network.
    """

    num_classes: int
    layers: tuple[int, ...]
    growth: int
    form: Literal["cifar", "imagenet"] = "cifar"
    options: Options = Options()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, num_classes]``."""
        f, options = Layers(self.options, train), self.options
        growth = options.scaled(self.growth)
        is_cifar = self.form == "cifar"
        x = x.astype(options.dtype)
        if is_cifar:
            layer, transition, last = "dense{}.{}", "trans{}", "bn"
            norms, between = ("bn1", "bn2"), "bn"
            x = f.conv("conv1", x, 2 * growth)
        else:
            layer, transition = "features.denseblock{}.denselayer{}", "features.transition{}"
            norms, between, last = ("norm1", "norm2"), "norm", "features.norm5"
            names = ("features.conv0", "features.norm0")
            x = max_pool(nn.relu(f.conv_norm(names, x, 2 * growth, 7, stride=2)), 3, 2, 1)
        for stage, number in enumerate(self.layers, start=1):
            for index in range(number):
                name = layer.format(stage, index if is_cifar else index + 1)
                x = DenseLayer(growth, is_cifar, norms, options, name=name)(x, train)
            if stage < len(self.layers):
                x = Transition(between, options, name=transition.format(stage))(x, train)
        x = nn.relu(f.norm(last, x))
        return f.head("linear" if is_cifar else "classifier", x, self.num_classes)
