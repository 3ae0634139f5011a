"""MobileNet, MobileNetV2 and EfficientNet-B0: depthwise convolutions between those of 1 x 1.

A depthwise convolution sees each channel by itself and costs little.  The second version widens the
channels, convolves them by themselves and narrows them again, with a shortcut between the narrow
ends; EfficientNet adds squeeze and excitation and drops whole blocks in training.

References:
    A. Howard et al., "MobileNets", 2017, arXiv:1704.04861.
    M. Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018,
        arXiv:1801.04381.
    M. Tan, Q. Le, "EfficientNet", 2019, arXiv:1905.11946.
"""

import itertools
from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Layers, Options

SEPARABLE = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
HALVED = (1, 3, 5, 11)  # the blocks of MobileNet that halve the resolution

# Expansion, channels, number of blocks and stride of the first; the CIFAR form has a stride of 1
# in the second stage.
MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
# The same, and the size of the kernel.
EFFICIENTNET_B0 = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class SeparableBlock(nn.Module):
    """A depthwise convolution and one of 1 x 1.

    Attributes:
        features: channels of the result.
        stride: of the depthwise convolution.
        options: of the network.
    """

    features: int
    stride: int
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f, channels = Layers(self.options, train), x.shape[-1]
        names = ("conv1", "bn1")
        x = nn.relu(f.conv_norm(names, x, channels, stride=self.stride, groups=channels))
        return nn.relu(f.conv_norm(("conv2", "bn2"), x, self.features, 1))


class MobileNet(nn.Module):
    """A convolution and thirteen separable blocks.

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
        x = nn.relu(f.conv_norm(("conv1", "bn1"), x, options.scaled(32)))
        for index, features in enumerate(SEPARABLE):
            stride = 2 if index in HALVED else 1
            block = SeparableBlock(
                options.scaled(features), stride, options, name=f"layers.{index}"
            )
            x = block(x, train)
        return f.head("linear", x, self.num_classes)


class InvertedBlock(nn.Module):
    """Wider, depthwise, narrower, with a shortcut around all three where the resolution stays.

    Attributes:
        features: channels of the result.
        expansion: how many times as many channels there are inside.
        stride: of the depthwise convolution.
        cifar: whether it is the CIFAR form, which widens by a factor of one too, and projects the
            shortcut where channels differ.
        options: of the network.
    """

    features: int
    expansion: int
    stride: int
    cifar: bool
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f, inner = Layers(self.options, train), self.expansion * x.shape[-1]
        widens = self.cifar or self.expansion > 1
        names = self._names(widens)
        y = nn.relu6(f.conv_norm(next(names), x, inner, 1)) if widens and not self.cifar else x
        if self.cifar:
            y = nn.relu(f.conv_norm(next(names), x, inner, 1))
        y = f.conv_norm(next(names), y, inner, stride=self.stride, groups=inner)
        y = nn.relu(y) if self.cifar else nn.relu6(y)
        y = f.conv_norm(next(names), y, self.features, 1)
        if self.stride != 1:
            return y
        if x.shape[-1] != self.features:
            if not self.cifar:
                return y
            x = f.conv_norm(("shortcut.0", "shortcut.1"), x, self.features, 1)
        return x + y

    def _names(self, widens: bool) -> Iterator[tuple[str, str]]:
        """Convolution and batch norm of each of the three, in order."""
        if self.cifar:
            return iter([("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")])
        depth = 1 if widens else 0
        inside = [(f"conv.{i}.0", f"conv.{i}.1") for i in range(depth + 1)]
        return iter([*inside, (f"conv.{depth + 1}", f"conv.{depth + 2}")])


class MobileNetV2(nn.Module):
    """A convolution, seventeen inverted blocks and a convolution of 1 x 1.

    Attributes:
        num_classes: number of logits.
        cifar: whether it is the CIFAR form, with two strides less.
        options: of the network.
    """

    num_classes: int
    cifar: bool = True
    options: Options = Options()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, num_classes]``."""
        f, options = Layers(self.options, train), self.options
        cifar, activation = self.cifar, nn.relu if self.cifar else nn.relu6
        names = ("conv1", "bn1") if cifar else ("features.0.0", "features.0.1")
        x = x.astype(options.dtype)
        x = activation(f.conv_norm(names, x, options.scaled(32), stride=1 if cifar else 2))
        number = itertools.count(0 if cifar else 1)
        for stage, (expansion, features, blocks, stride) in enumerate(MOBILENET_V2):
            for index in range(blocks):
                first = index == 0 and not (cifar and stage == 1)
                sizes = (options.scaled(features), expansion, stride if first else 1)
                name = f"{'layers' if cifar else 'features'}.{next(number)}"
                x = InvertedBlock(*sizes, cifar, options, name=name)(x, train)
        names = ("conv2", "bn2") if cifar else ("features.18.0", "features.18.1")
        x = activation(f.conv_norm(names, x, options.scaled(1280), 1))
        x = x if cifar else f.drop(self, jnp.mean(x, axis=(1, 2), keepdims=True), 0.2)
        return f.head("linear" if cifar else "classifier.1", x, self.num_classes)


class SqueezedBlock(nn.Module):
    """An inverted block with squeeze and excitation.

    Attributes:
        features: channels of the result.
        expansion: how many times as many channels there are inside.
        stride: of the depthwise convolution.
        kernel_size: its height and width.
        drop_rate: how often the block is left out in training.
        options: of the network.
    """

    features: int
    expansion: int
    stride: int
    kernel_size: int
    drop_rate: float
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f, channels = Layers(self.options, train), x.shape[-1]
        inner = self.expansion * channels
        # The definition declares this even where nothing reads it, at an expansion of one; so do
        # we, that counts and converted weights agree.
        y = nn.swish(f.conv_norm(("conv1", "bn1"), x, inner, 1))
        y = y if self.expansion > 1 else x
        names, size = ("conv2", "bn2"), self.kernel_size
        y = nn.swish(f.conv_norm(names, y, inner, size, stride=self.stride, groups=inner))
        mean = jnp.mean(y, axis=(1, 2), keepdims=True)
        weights = nn.swish(f.conv("se.se1", mean, max(1, channels // 4), 1, bias=True))
        y = y * nn.sigmoid(f.conv("se.se2", weights, inner, 1, bias=True))
        y = f.conv_norm(("conv3", "bn3"), y, self.features, 1)
        if self.stride != 1 or channels != self.features:
            return y
        return x + f.drop(self, y, self.drop_rate, whole=True)


class EfficientNet(nn.Module):
    """EfficientNet-B0 in its CIFAR form.

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
        x = nn.swish(f.conv_norm(("conv1", "bn1"), x.astype(options.dtype), options.scaled(32)))
        total = sum(stage[2] for stage in EFFICIENTNET_B0)
        # The definition never advances its counter of blocks, so that its rate of drop connect
        # stays zero; the rate here rises from block to block, as in the paper.
        number = itertools.count()
        for expansion, features, blocks, stride, size in EFFICIENTNET_B0:
            for index in range(blocks):
                block = next(number)
                sizes = (options.scaled(features), expansion, 1 if index else stride, size)
                rate = 0.2 * block / total
                x = SqueezedBlock(*sizes, rate, options, name=f"layers.{block}")(x, train)
        x = f.drop(self, jnp.mean(x, axis=(1, 2), keepdims=True), 0.2)
        return f.head("linear", x, self.num_classes)
