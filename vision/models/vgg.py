"""AlexNet and VGG: plain stacks of convolutions, the networks without shortcuts.

The CIFAR form of VGG has batch norm and one dense layer; the ImageNet forms have three dense layers
with dropout, and batch norm only where the name says so.

References:
    A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014,
        arXiv:1404.5997 (AlexNet in the form of torchvision).
    K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        2014, arXiv:1409.1556.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from .layers import Layers, Options, adaptive_mean, max_pool

VGG11 = ((64,), (128,), (256, 256), (512, 512), (512, 512))
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)


class VGG(nn.Module):
    """Convolutions of 3 x 3 with pooling between the stages.

    Attributes:
        num_classes: number of logits.
        stages: channels of the convolutions of each stage.
        norm: whether there is batch norm.
        cifar: whether one dense layer follows, instead of three.
        options: of the network.
    """

    num_classes: int
    stages: tuple[tuple[int, ...], ...]
    norm: bool = True
    cifar: bool = False
    options: Options = Options()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, num_classes]``."""
        f, options = Layers(self.options, train), self.options
        x = x.astype(options.dtype)
        index = 0  # the definition numbers activations and pooling too
        for stage in self.stages:
            for channels in stage:
                x = f.conv(f"features.{index}", x, options.scaled(channels), bias=True)
                if self.norm:
                    x = f.norm(f"features.{index + 1}", x)
                x = nn.relu(x)
                index += 3 if self.norm else 2
            x = max_pool(x, 2, 2)
            index += 1
        if self.cifar:
            return f.head("classifier", x, self.num_classes)
        return _dense_head(self, f, x, (0, 3, 6), size=7, num_classes=self.num_classes)


class AlexNet(nn.Module):
    """Five convolutions and three dense layers.

    Attributes:
        num_classes: number of logits.
        options: of the network.
    """

    num_classes: int
    options: Options = Options()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """``[batch, height, width, channels] -> [batch, num_classes]``; at least 63 x 63."""
        f, scaled = Layers(self.options, train), self.options.scaled
        x = x.astype(self.options.dtype)
        x = nn.relu(f.conv("features.0", x, scaled(64), 11, stride=4, padding=2, bias=True))
        x = nn.relu(f.conv("features.3", max_pool(x, 3, 2), scaled(192), 5, bias=True))
        x = nn.relu(f.conv("features.6", max_pool(x, 3, 2), scaled(384), bias=True))
        x = nn.relu(f.conv("features.8", x, scaled(256), bias=True))
        x = nn.relu(f.conv("features.10", x, scaled(256), bias=True))
        x = f.drop(self, adaptive_mean(max_pool(x, 3, 2), 6), 0.5)
        x = f.drop(self, nn.relu(f.dense("classifier.1", x, scaled(4096))), 0.5)
        x = nn.relu(f.dense("classifier.4", x, scaled(4096)))
        return f.dense("classifier.6", x, self.num_classes).astype(jnp.float32)


def _dense_head(
    module: nn.Module,
    f: Layers,
    x: jax.Array,
    indices: tuple[int, int, int],
    *,
    size: int,
    num_classes: int,
) -> jax.Array:
    x = adaptive_mean(x, size)
    for index in indices[:2]:
        x = nn.relu(f.dense(f"classifier.{index}", x, f.options.scaled(4096)))
        x = f.drop(module, x, 0.5)
    return f.dense(f"classifier.{indices[2]}", x, num_classes).astype(jnp.float32)
