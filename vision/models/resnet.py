"""Residual networks in their CIFAR and ImageNet forms, ResNeXt among them.

A block adds what it computes to what it got, y = relu(x + F(x)).  The CIFAR forms begin with one
convolution at full resolution, the ImageNet forms with a stride of four.

References:
    K. He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385.
    S. Xie et al., "Aggregated Residual Transformations for Deep Neural Networks", 2016,
        arXiv:1611.05431 (ResNeXt).
"""

from typing import Literal

import flax.linen as nn
import jax

from .layers import Layers, Options, max_pool


class BasicBlock(nn.Module):
    """Two convolutions of 3 x 3.

    Attributes:
        features: channels of the result.
        stride: of the first convolution.
        shortcut: what the definition calls the projection of x.
        options: of the network.
    """

    features: int
    stride: int
    shortcut: str
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f = Layers(self.options, train)
        y = nn.relu(f.conv_norm(("conv1", "bn1"), x, self.features, stride=self.stride))
        y = f.conv_norm(("conv2", "bn2"), y, self.features)
        return nn.relu(_project(f, self.shortcut, x, self.features, self.stride) + y)


class Bottleneck(nn.Module):
    """A convolution of 3 x 3, in groups if any, between two of 1 x 1.

    Attributes:
        features: channels of the result.
        inner: channels between.
        stride: of the convolution of 3 x 3.
        groups: its groups.
        shortcut: what the definition calls the projection of x.
        options: of the network.
    """

    features: int
    inner: int
    stride: int
    groups: int
    shortcut: str
    options: Options

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, height', width', features]``."""
        f = Layers(self.options, train)
        y = nn.relu(f.conv_norm(("conv1", "bn1"), x, self.inner, 1))
        y = f.conv_norm(("conv2", "bn2"), y, self.inner, stride=self.stride, groups=self.groups)
        y = f.conv_norm(("conv3", "bn3"), nn.relu(y), self.features, 1)
        return nn.relu(_project(f, self.shortcut, x, self.features, self.stride) + y)


def _project(f: Layers, name: str, x: jax.Array, features: int, stride: int) -> jax.Array:
    """What came in, in the shape of the block's result."""
    if stride == 1 and x.shape[-1] == features:
        return x
    return f.conv_norm((f"{name}.0", f"{name}.1"), x, features, 1, stride=stride)


class ResNet(nn.Module):
    """Stages of residual blocks.

    Attributes:
        num_classes: number of logits.
        blocks: number of blocks of each stage; each stage after the first halves the resolution.
        form: "cifar" or "imagenet".
        expansion: 0 for `BasicBlock`, else channels of a `Bottleneck`'s result per width of stage.
        groups: of the convolutions of 3 x 3 in a `Bottleneck`.
        inner: channels inside the bottlenecks of the first stage, all groups together.
        stem: side of the first convolution of the CIFAR form.
        options: of the network.
    """

    num_classes: int
    blocks: tuple[int, ...]
    form: Literal["cifar", "imagenet"] = "cifar"
    expansion: int = 0
    groups: int = 1
    inner: int = 64
    stem: int = 3
    options: Options = Options()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, num_classes]``."""
        f, options = Layers(self.options, train), self.options
        is_cifar = self.form == "cifar"
        shortcut = "shortcut" if is_cifar else "downsample"
        x = x.astype(options.dtype)
        if is_cifar:
            x = nn.relu(f.conv_norm(("conv1", "bn1"), x, options.scaled(64), self.stem))
        else:
            x = nn.relu(f.conv_norm(("conv1", "bn1"), x, options.scaled(64), 7, stride=2))
            x = max_pool(x, 3, 2, 1)
        for stage, number in enumerate(self.blocks):
            inner = options.scaled(self.inner, max(8, self.groups)) * 2**stage
            features = options.scaled(64) * 2**stage
            if self.expansion:
                wide = inner if is_cifar else features
                features = self.expansion * wide
            for index in range(number):
                stride = 2 if stage and index == 0 else 1
                name = f"layer{stage + 1}.{index}"
                if self.expansion:
                    sizes = (features, inner, stride, self.groups, shortcut)
                    x = Bottleneck(*sizes, options, name=name)(x, train)
                else:
                    x = BasicBlock(features, stride, shortcut, options, name=name)(x, train)
        return f.head("linear" if is_cifar else "fc", x, self.num_classes)
