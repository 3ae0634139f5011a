"""Names that configurations and the command line offer; without JAX, for quick help."""

from typing import Literal

PolicyName = Literal["int4", "int4_max", "int8"]  # `policies`

# The tasks of the large-batch study, see `study_config`, and all networks of the catalog.
CifarTask = Literal[
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
]
ImageNetTask = Literal["alexnet", "vgg11", "vgg11_bn", "resnet50", "resnext50", "densenet161"]
NetworkName = Literal[
    CifarTask, "resnet34", ImageNetTask, "resnet18_imagenet", "mobilenet_v2_imagenet"
]
