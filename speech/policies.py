"""Named policies of all networks, from tailored 4 bits to naive ones.

``int4_paper`` follows the wiring of arXiv:2108.12074 as its authors' library has it: weights by
SAWB+, one clip for each gate of each matrix and direction; the features by asymmetric PACT+ once
for the whole encoder; hidden states once when produced, with a clip for each layer and direction;
outputs of tanh by their bound. Cells, biases and nonlinearities stay in float, as does the head of
the auxiliary loss, which recognition does not use. ``int4_max`` is the naive counterpart: every
clip is a maximum. Which quantizer the papers gave to which tensor is not known in detail.
"""

from ..core.blocks import MATRIX, gates
from ..core.quantization import Policy
from ..core.quantizer import Quantizer
from ..core.quantizers import calibrated, fixed, max_abs, pact_plus, sawb_plus
from .names import PolicyName


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


_MATRICES = "encoder_projection|predictor_projection|output|bottleneck|states"


def _policy(gate: Quantizer, matrix: Quantizer, *, sites: tuple) -> Policy:
    return Policy(
        weights=(
            ("ctc_output/.*", None),
            (r"(encoder_\d+|predictor|layer_\d+)/(kernel|recurrent)", gate),
            (f"embedding/embedding|({_MATRICES})/kernel", matrix),
        ),
        # What follows an embedding reads its codes as they are.
        activations=(("(ctc_output|predictor|layer_1)/input", None), *sites),
    )


def _learned(bits: int) -> tuple:
    return (
        (".*/hidden", pact_plus(bits, MATRIX, symmetric=True)),
        ("output/input", fixed(bits, 1.0)),
        (".*/input", pact_plus(bits)),
    )


def _maximal(bits: int) -> tuple:
    return ((".*", calibrated(bits, method="max")),)


def _tailored(bits: int) -> Policy:
    return _policy(sawb_plus(bits, gates(4)), sawb_plus(bits, MATRIX), sites=_learned(bits))


_POLICIES: dict[str, Policy] = {
    "int4_paper": _tailored(4),
    "int4_max": _policy(max_abs(4, MATRIX), max_abs(4, MATRIX), sites=_maximal(4)),
    "int4_weights": _policy(sawb_plus(4, gates(4)), sawb_plus(4, MATRIX), sites=_maximal(8)),
    "int8": _policy(max_abs(8, gates(4)), max_abs(8, MATRIX), sites=_maximal(8)),
    "int3": _tailored(3),
    "int2": _tailored(2),
}
