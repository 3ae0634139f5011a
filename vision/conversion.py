"""Weights of PyTorch for the networks of `models`, whose layers have the names of its definitions.

    kernel [height, width, in, out]  <-  weight [out, in, height, width]
    kernel [in, out]                 <-  weight [out, in]
    scale, bias, mean, var           <-  weight, bias, running_mean, running_var

The ImageNet forms take the weights of torchvision, the CIFAR forms those of pytorch-cifar.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..core.paths import named_leaves

_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}


def from_torch(state: Mapping[str, Any], variables: Any) -> Any:
    """Variables of a network from the state of the same network in PyTorch.

    Args:
        state: what ``state_dict()`` gave, as NumPy arrays or what they are made of; counters of
            batches are passed over.
        variables: "params" and "batch_stats" of the network, by arrays or shapes.

    Returns:
        Variables like `variables`.

    Raises:
        ValueError: if an array is missing, left over, or of another shape.

    Example:
        >>> state = {name: x.numpy() for name, x in torchvision_model.state_dict().items()}
        >>> variables = from_torch(state, network.init(key, images))
    """
    left = {name for name in state if not name.endswith("num_batches_tracked")}
    wanted = {path: _torch_name(path) for path, _ in named_leaves(variables)}
    missing = sorted(set(wanted.values()) - left)
    unknown = sorted(left - set(wanted.values()))
    if missing or unknown:
        raise ValueError(
            f"`state` must be of the same network: {missing[:3]} are missing, {unknown[:3]} are "
            "left over; create the network of the same name, form and number of classes."
        )

    def convert(path: str, leaf: Any) -> jax.Array:
        x = np.asarray(state[wanted[path]])
        if path.endswith("/kernel"):
            x = np.transpose(x, (2, 3, 1, 0) if x.ndim == 4 else (1, 0))
        if x.shape != leaf.shape:
            raise ValueError(
                f"`state` must have the shapes of the network, got {x.shape} for {path} of shape "
                f"{leaf.shape}; create the network with the same width and number of classes."
            )
        return jnp.asarray(x, leaf.dtype)

    leaves = [convert(path, leaf) for path, leaf in named_leaves(variables)]
    return jax.tree.unflatten(jax.tree.structure(variables), leaves)


def _torch_name(path: str) -> str:
    """The name of "params/layer1.0/conv1/kernel" is "layer1.0.conv1.weight"."""
    _, *layers, leaf = path.split("/")
    return ".".join((*layers, _NAMES[leaf]))
