"""Names that configurations and the command line offer; without JAX, for quick help."""

from typing import Literal

PolicyName = Literal["int4", "int4_max", "int8"]  # `policies`
NetworkName = Literal[
    "efficientnet_b0",
    "senet18",
    "vgg19",
    "resnet18",
    "densenet121",
    "mobilenet",
    "mobilenet_v2",
    "shufflenet",
    "googlenet",
    "resnext29",
    "resnet34",
    "alexnet",
    "vgg11",
    "vgg11_bn",
    "resnet50",
    "resnext50",
    "densenet161",
    "resnet18_imagenet",
    "mobilenet_v2_imagenet",
]
