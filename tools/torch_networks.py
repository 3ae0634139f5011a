"""Compares the networks of `gossamer.vision` with their definitions in PyTorch, at random weights.

    /usr/bin/python3 tools/torch_networks.py export networks    # where torch and torchvision are
    python tools/torch_networks.py compare networks             # where gossamer is

The two parts meet in a folder because a Python that has torch need not have JAX; any that has both
runs both.  For each ImageNet form of torchvision `export` writes random weights, with random
statistics of batch norm, and the logits of random images in evaluation and, where nothing is
dropped, in training with the statistics that they leave.  ``--cifar FOLDER`` adds the CIFAR forms
from the folder ``models`` of a checkout of kuangliu/pytorch-cifar.  `compare` converts the weights,
prints counts and largest differences of logits relative to their size, and fails above 1e-4: these
are sums of float32 in another order, through up to 160 layers.
"""

import argparse
import importlib
import json
import pathlib
import sys

IMAGENET = {
    "alexnet": "alexnet",
    "vgg11": "vgg11",
    "vgg11_bn": "vgg11_bn",
    "resnet50": "resnet50",
    "resnext50": "resnext50_32x4d",
    "densenet161": "densenet161",
    "resnet18_imagenet": "resnet18",
    "mobilenet_v2_imagenet": "mobilenet_v2",
}
CIFAR = {  # module and name there
    "efficientnet_b0": ("efficientnet", "EfficientNetB0"),
    "senet18": ("senet", "SENet18"),
    "vgg19": ("vgg", "VGG"),
    "resnet18": ("resnet", "ResNet18"),
    "resnet34": ("resnet", "ResNet34"),
    "densenet121": ("densenet", "DenseNet121"),
    "mobilenet": ("mobilenet", "MobileNet"),
    "mobilenet_v2": ("mobilenetv2", "MobileNetV2"),
    "shufflenet": ("shufflenet", "ShuffleNetG2"),
    "googlenet": ("googlenet", "GoogLeNet"),
    "resnext29": ("resnext", "ResNeXt29_2x64d"),
}
DROPS = ("alexnet", "vgg11", "vgg11_bn", "mobilenet_v2_imagenet", "efficientnet_b0")
TOLERANCE = 1e-4


def export(folder: pathlib.Path, names: list[str], size: int, cifar: pathlib.Path | None) -> None:
    """Writes weights, images and logits; needs torch."""
    try:
        import numpy as np
        import torch  # pyright: ignore[reportMissingImports]
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise SystemExit(f"{error}: `export` needs torch, torchvision and numpy.") from error

    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    if cifar is not None:
        sys.path.insert(0, str(cifar))
    for name in names:
        network = build(name)
        for key, x in network.state_dict().items():
            if key.endswith("running_mean"):
                x.normal_(0, 0.1)
            elif key.endswith("running_var"):
                x.uniform_(0.5, 1.5)
        side = 32 if name in CIFAR else size
        images = torch.randn(2, 3, side, side)
        arrays = {f"state/{key}": x.clone() for key, x in network.state_dict().items()}
        with torch.no_grad():
            arrays["images"] = images.permute(0, 2, 3, 1)
            arrays["evaluation"] = network.eval()(images)
            if name not in DROPS:
                arrays["training"] = network.train()(images)
        np.savez(folder / f"{name}.npz", **{key: x.numpy() for key, x in arrays.items()})
        print(f"{name}: {sum(x.numel() for x in network.parameters()):,} parameters", flush=True)


def build(name: str):
    """The network in PyTorch."""
    if name in IMAGENET:
        import torchvision  # pyright: ignore[reportMissingImports]

        return getattr(torchvision.models, IMAGENET[name])()
    module, attribute = CIFAR[name]
    make = getattr(importlib.import_module(module), attribute)
    return make("VGG19") if name == "vgg19" else make()


def compare(folder: pathlib.Path) -> int:
    """Prints how far both are apart; 1 if it is too far."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from gossamer.vision import conversion, models

    paths, status = sorted(folder.glob("*.npz")), 0
    if not paths:
        raise SystemExit(f"{folder} holds no network; `export` writes them, see --help.")
    for path in paths:
        arrays = dict(np.load(path))
        state = {
            key.removeprefix("state/"): x for key, x in arrays.items() if key.startswith("state/")
        }
        network = models.create(path.stem, arrays["evaluation"].shape[1])
        images = jnp.asarray(arrays["images"])
        shapes = jax.eval_shape(network.init, jax.random.key(0), images)
        variables = conversion.from_torch(state, shapes)
        number = sum(x.size for x in jax.tree.leaves(variables["params"]))
        found = {"evaluation": jax.jit(network.apply)(variables, images)}
        if "training" in arrays:

            def train(variables, images, network=network):
                return network.apply(variables, images, train=True, mutable=["batch_stats"])[0]

            found["training"] = jax.jit(train)(variables, images)
        differences = {
            mode: float(np.max(np.abs(x - arrays[mode])) / np.max(np.abs(arrays[mode])))
            for mode, x in found.items()
        }
        status |= any(not x < TOLERANCE for x in differences.values())
        row = {"network": path.stem, "parameters": number, **differences}
        print(json.dumps(row), flush=True)
    return status


def main() -> int:
    """Runs one of the two parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("part", choices=["export", "compare"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--names", nargs="+", choices=[*IMAGENET, *CIFAR])
    parser.add_argument("--size", type=int, default=96, help="of the images of ImageNet forms")
    parser.add_argument("--cifar", type=pathlib.Path, help="folder of pytorch-cifar's models")
    options = parser.parse_args()
    if options.part == "compare":
        return compare(options.folder)
    names = options.names or [*IMAGENET, *(CIFAR if options.cifar else ())]
    export(options.folder, names, options.size, options.cifar)
    return 0


if __name__ == "__main__":
    sys.exit(main())
