"""Sites: where a layer quantizes an activation that it is about to multiply.

A site has a name within its layer; the rules of a policy decide what happens there, by the path
"layer/name".  Clips of these sites are variables in the collection "clips"; a forward pass with the
collection "calibration" mutable leaves activations in float and notes the clips that each site
would choose.  A layer is whatever offers the few methods of `Layer`, such as a flax module.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax

from .quantization import Policy
from .quantized import Quantized, Tensor
from .quantizer import Params, Quantizer

CLIPS = "clips"
CALIBRATION = "calibration"


class Layer(Protocol):
    """What a site needs of the layer it is in; flax modules have it."""

    @property
    def path(self) -> tuple[str, ...]:
        """Names of the layers that this one is in, and its own."""
        ...

    def variable(self, col: str, name: str, init_fn: Callable[..., Any], *args: Any) -> Any:
        """A variable of a collection, with its `value`."""
        ...

    def sow(self, col: str, name: str, value: Any) -> bool:
        """Notes a value in a collection."""
        ...

    def is_mutable_collection(self, col: str) -> bool:
        """Whether a pass may change a collection."""
        ...

    def is_initializing(self) -> bool:
        """Whether the pass only creates variables."""
        ...


def site_name(layer: Layer, name: str) -> str:
    """The path of a layer's parameter or site, as policies and audits write it."""
    return "/".join((*layer.path, name))


def site_quantizer(
    layer: Layer, policy: Policy | None, name: str, x: jax.Array
) -> tuple[Quantizer | None, Params]:
    """The quantizer of a site and its clips; None where the site stays in float.

    Args:
        layer: the layer.
        policy: the rules; None quantizes nothing.
        name: of the site within the layer.
        x: what arrives there, for the first clips.
    """
    quantizer = policy.activation(site_name(layer, name)) if policy else None
    if quantizer is None or _calibrates(layer):
        return None, {}
    clips: Any = {}
    if jax.eval_shape(quantizer.init, x):
        clips = layer.variable(CLIPS, name, quantizer.init, x).value
    return quantizer, clips


def calibrate_site(layer: Layer, policy: Policy | None, name: str, x: jax.Array) -> None:
    """Notes the clips that a site would choose for `x`, where the pass is one of calibration."""
    quantizer = policy.activation(site_name(layer, name)) if policy else None
    if quantizer is not None and _calibrates(layer):
        layer.sow(CALIBRATION, name, quantizer.init(x))


def _calibrates(layer: Layer) -> bool:
    # Every collection is mutable at initialization, which is to see codes as training does.
    return layer.is_mutable_collection(CALIBRATION) and not layer.is_initializing()


def quantize_site(layer: Layer, policy: Policy | None, name: str, x: Tensor) -> Tensor:
    """Quantizes an activation where the policy says so; codes pass as they are."""
    if isinstance(x, Quantized):
        return x
    calibrate_site(layer, policy, name, x)
    quantizer, clips = site_quantizer(layer, policy, name, x)
    return x if quantizer is None else quantizer.codes(clips, x)
