"""Named policies for convolutional networks: 4 bits as is common practice, naive 4 bits, 8 bits.

Weights have a scale for each filter, activations one for each layer; the first convolution, which
sees pixels, and the last layer, which gives logits, stay at 8 bits.  Batch norm stays in float.
``int4`` learns the clips of activations (PACT+), ``int4_max`` takes every clip from a maximum.

References:
    J. Choi et al., "Accurate and Efficient 2-bit Quantized Neural Networks", 2019 (SAWB, PACT).
"""

from ..core.blocks import FILTER
from ..core.quantization import Policy
from ..core.quantizer import Quantizer
from ..core.quantizers import calibrated, max_abs, pact_plus, sawb_plus
from .names import PolicyName

# The first and the last layer by their names in the definitions.
_FIRST = r"(conv1|features\.0|features\.0\.0|features\.conv0|pre_layers\.0)"
_LAST = r"(linear|fc|classifier|classifier\.1|classifier\.6)"


def named_policy(name: PolicyName | None) -> Policy | None:
    """The policy of a name; None for None.

    Raises:
        ValueError: if there is no policy of that name.
    """
    if name is None:
        return None
    if name not in _POLICIES:
        raise ValueError(f"`quantize` must be one of {', '.join(_POLICIES)}, got {name!r}.")
    return _POLICIES[name]


def _policy(weight: Quantizer, site: Quantizer) -> Policy:
    edge = max_abs(8, FILTER)
    pixels = calibrated(8, method="max")
    return Policy(
        weights=((f"{_FIRST}/kernel", edge), (f"{_LAST}/kernel", edge), (".*kernel", weight)),
        activations=((f"{_FIRST}/input", pixels), (f"{_LAST}/input", pixels), (".*/input", site)),
    )


_POLICIES: dict[str, Policy] = {
    "int4": _policy(sawb_plus(4, FILTER), pact_plus(4)),
    "int4_max": _policy(max_abs(4, FILTER), calibrated(4, method="max")),
    "int8": _policy(max_abs(8, FILTER), calibrated(8, method="max")),
}
