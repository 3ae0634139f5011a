"""The networks by name, with what their definitions count.

The ten CIFAR forms of the large-batch study follow the definitions of ``kuangliu/pytorch-cifar``,
the six ImageNet forms those of torchvision; ResNet-34 (CIFAR), ResNet-18 and MobileNetV2 (ImageNet)
are those of ScaleCom.

References:
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433.
    C.-Y. Chen et al., "ScaleCom: Scalable Sparsified Gradient Compression for
        Communication-Efficient Distributed Training", 2020, arXiv:2104.11125.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

import flax.linen as nn

from ...core.quantization import Policy
from ..names import NetworkName
from .densenet import DenseNet
from .googlenet import GoogLeNet
from .layers import Options
from .mobilenet import EfficientNet, MobileNet, MobileNetV2
from .resnet import ResNet
from .senet import SENet
from .shufflenet import ShuffleNet
from .vgg import VGG, VGG11, VGG19, AlexNet

Form = Literal["cifar", "imagenet"]

Network = nn.Module  # what `create` makes, for annotations


class Entry(NamedTuple):
    """A network of the catalog."""

    title: str
    form: Form  # "cifar" for images of 32 x 32, "imagenet" for 224 x 224
    num_parameters: int  # of the definition, for images of three channels
    make: Callable[..., Network]  # (num_classes, options=...)


CATALOG: dict[str, Entry] = {
    "efficientnet_b0": Entry("EfficientNet-B0", "cifar", 3_599_686, EfficientNet),
    "senet18": Entry("SENet-18", "cifar", 11_260_354, SENet),
    "vgg19": Entry("VGG-19", "cifar", 20_040_522, partial(VGG, stages=VGG19, cifar=True)),
    "resnet18": Entry("ResNet-18", "cifar", 11_173_962, partial(ResNet, blocks=(2, 2, 2, 2))),
    "densenet121": Entry(
        "DenseNet-121", "cifar", 6_956_298, partial(DenseNet, layers=(6, 12, 24, 16), growth=32)
    ),
    "mobilenet": Entry("MobileNet", "cifar", 3_217_226, MobileNet),
    "mobilenet_v2": Entry("MobileNetV2", "cifar", 2_296_922, MobileNetV2),
    "shufflenet": Entry("ShuffleNet", "cifar", 887_582, ShuffleNet),
    "googlenet": Entry("GoogLeNet", "cifar", 6_166_250, GoogLeNet),
    "resnext29": Entry(
        "ResNeXt-29",
        "cifar",
        9_128_778,
        partial(ResNet, blocks=(3, 3, 3), expansion=2, groups=2, inner=128, stem=1),
    ),
    "resnet34": Entry("ResNet-34", "cifar", 21_282_122, partial(ResNet, blocks=(3, 4, 6, 3))),
    "alexnet": Entry("AlexNet", "imagenet", 61_100_840, AlexNet),
    "vgg11": Entry("VGG-11", "imagenet", 132_863_336, partial(VGG, stages=VGG11, norm=False)),
    "vgg11_bn": Entry(
        "VGG-11 with batch norm", "imagenet", 132_868_840, partial(VGG, stages=VGG11)
    ),
    "resnet50": Entry(
        "ResNet-50",
        "imagenet",
        25_557_032,
        partial(ResNet, blocks=(3, 4, 6, 3), form="imagenet", expansion=4),
    ),
    "resnext50": Entry(
        "ResNeXt-50",
        "imagenet",
        25_028_904,
        partial(ResNet, blocks=(3, 4, 6, 3), form="imagenet", expansion=4, groups=32, inner=128),
    ),
    "densenet161": Entry(
        "DenseNet-161",
        "imagenet",
        28_681_000,
        partial(DenseNet, layers=(6, 12, 36, 24), growth=48, form="imagenet"),
    ),
    "resnet18_imagenet": Entry(
        "ResNet-18", "imagenet", 11_689_512, partial(ResNet, blocks=(2, 2, 2, 2), form="imagenet")
    ),
    "mobilenet_v2_imagenet": Entry(
        "MobileNetV2", "imagenet", 3_504_872, partial(MobileNetV2, cifar=False)
    ),
}


def create(
    name: str,
    num_classes: int = 10,
    *,
    width: float = 1.0,
    dtype: Literal["float32", "bfloat16"] = "float32",
    policy: Policy | None = None,
) -> Network:
    """A network by its name, as a flax module.

    Args:
        name: one of `CATALOG`: CIFAR forms for images of 32 x 32, ImageNet forms for 224 x 224;
            forms that exist twice have the suffix "_imagenet" in the latter.
        num_classes: number of logits >= 1.
        width: factor of all numbers of channels, which stay multiples of 8.
        dtype: of activations and products; parameters and logits are in float32.
        policy: quantization, see ``core.quantization``; its activations are the sites "input" of
            convolutions and dense layers.

    Returns:
        A module with ``apply(variables, images, train) -> logits [batch, num_classes]``; images are
        ``[batch, height, width, channels]``.  Its variables are "params" and, with batch norm,
        "batch_stats"; in training the latter must be mutable and then hold the statistics of the
        batch; networks with dropout need the random key "dropout".

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> network = create("resnet18", 10, width=0.25)
        >>> variables = network.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        >>> logits = network.apply(variables, images)
    """
    if name not in CATALOG:
        raise ValueError(f"`name` must be one of {', '.join(CATALOG)}, got {name!r}.")
    if num_classes < 1:
        raise ValueError(f"`num_classes` must be at least 1, got {num_classes}.")
    return CATALOG[name].make(num_classes, options=Options(width, dtype, policy))


assert set(get_args(NetworkName)) == set(CATALOG)
