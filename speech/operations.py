"""What an utterance costs: the operations of encoder and search, from audits of the networks.

The encoder reads a whole utterance, layer by layer,

    input products      once, for all frames together
    recurrent products  once for each frame, one after the other

and alignment-length synchronous search takes T + U iterations of

    the joiner                           for every hypothesis of the beam
    predictor, language models           for those that a label was added to
    log-softmax, sums, sorting, merging  for every hypothesis

How many these are is a matter of assumptions, which `Scenario` lists. Products, their sizes and
bits are those of the audit; what comes element by element is counted by hand, from the formulas of
`recurrence` and `layers`. Feature extraction is left out.

References:
    Saon, Tueske, Audhkhasi, Alignment-length synchronous decoding for RNN transducer, ICASSP 2020.
    Fasoli et al., Accelerating inference and language model fusion of recurrent neural network
    transducers via end-to-end 4-bit quantization, 2022, arXiv:2206.07882.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..core import accelerator
from ..core.accelerator import Operation, Stage
from ..core.audit import audit
from ..core.quantization import Policy, fake_quantize, weight_paths
from ..core.quantized import FLOAT
from .language_model import LanguageModel
from .transducer import Transducer

# Element-wise operations, a function such as tanh counting as one.
COMBINE = 1  # scale a sum and add to it the bias or the projected input, for each result
QUANTIZE = 3  # scale, clip, round, for each input of a product, also where codes come in
CELL = 8  # five functions, two operations for the cell and one for the hidden state
JOIN = 2  # the product or sum, and tanh, for each element
LOG_SOFTMAX = 3  # exponential, sum, difference, for each label
WEIGHT = 1  # multiply-add of a log probability to the score, for each label

# Operations of a step of the search, one by one, in `beam`.
CANDIDATE = 3  # add to the score of the hypothesis, mask, compare, for each label
PAIR = 4  # tests of which sequences start with which, for each pair of hypotheses
HYPOTHESIS = 32  # labels, frames, places of states


@dataclass(frozen=True)
class Scenario:
    """What is recognized, and what the search makes of it: the assumptions of the count."""

    seconds: float = 6.0
    """Length of the utterance, as in the benchmark of beam search. Weights are read anew for each
    one, none of them waits for another."""
    num_features: int = 240
    """Size of a frame at the encoder's input: stacked log-mel features, without i-vectors."""
    frames_per_second: float = 50.0
    """Frames at the encoder's input, two of 10 ms stacked."""
    labels_per_second: float = 12.4
    """Letters and spaces of the likeliest sequence: those of the telephone prompts that ship."""
    beam: int = 16
    """Hypotheses at each alignment length."""
    growing: float = 1 / 3
    """Share of the hypotheses that a label was added to, as seen on the telephone prompts."""
    block: float = 0.0
    """Share of the beam that goes at a time where labels were added, empty places included, 0.5 in
    `beam_search`; 0 for as many as there are."""

    def __post_init__(self):
        for name in ("seconds", "num_features", "frames_per_second", "beam"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}.")
        if not self.labels_per_second >= 0:
            raise ValueError(
                f"`labels_per_second` must be at least 0, got {self.labels_per_second}."
            )
        if not 0 < self.growing <= 1:
            raise ValueError(f"`growing` must be above 0 and at most 1, got {self.growing}.")
        if not 0 <= self.block <= 1:
            raise ValueError(f"`block` must be from 0 to 1, got {self.block}.")


class Parts(NamedTuple):
    """The operations of a search, each for one hypothesis."""

    at_each_step: tuple[Operation, ...]
    after_a_label: tuple[Operation, ...]
    vocabulary_size: int
    reduction: int = 1  # frames at the encoder's input for each vector that it gives


class Extensions(NamedTuple):
    """How often predictor and language models run in a step of the search, and for how many."""

    runs: float  # expected
    rows: float  # of each run


def encoder_stages(model: Transducer, scenario: Scenario) -> tuple[Stage, ...]:
    """The products of the encoder, each a stage of its own: one ends before the next begins.

    Args:
        model: the transducer; its policy decides on the bits.
        scenario: the utterance.

    Raises:
        ValueError: if the utterance is shorter than a frame.
    """
    frames = round(scenario.seconds * scenario.frames_per_second)
    if frames < 1:
        raise ValueError(f"`seconds` must be at least those of a frame, got {scenario.seconds}.")
    features, paddings = jnp.zeros((1, frames, scenario.num_features)), jnp.zeros((1, frames))
    variables = _variables(model, features[:, :1], paddings[:, :1], jnp.zeros((1, 1), jnp.int32))
    found = _operations(model, variables, "encode", features, paddings)
    return tuple(Stage(operation.name, (operation,)) for operation in found)


def search_parts(
    model: Transducer, language_models: Mapping[str, LanguageModel] | None = None
) -> Parts:
    """The operations of a hypothesis, by audits of the networks.

    Args:
        model: the transducer.
        language_models: what fusion asks for by names of one's own, each with its policy.

    Raises:
        ValueError: if a language model has other labels than the transducer.
    """
    size, token = model.vocabulary_size, jnp.zeros(1, jnp.int32)
    language_models = language_models or {}
    for name, lm in language_models.items():
        if lm.vocabulary_size != size:
            raise ValueError(
                f"`language_models` must have the {size} labels of the transducer, but {name} has "
                f"{lm.vocabulary_size}."
            )
    frame, vector = jnp.zeros((1, 1, 1)), jnp.zeros((1, model.config.joiner_size))
    variables = _variables(model, frame, frame[:, :, 0], token[None])
    join = _operations(model, variables, "join", vector, vector)
    scoring = Operation("log_softmax", elementwise=LOG_SOFTMAX * size)
    merging = Operation("merge", elementwise=JOIN * model.config.joiner_size)
    predict = _operations(model, variables, "predict_step", token, model.initial_state(1))
    for name, lm in language_models.items():
        variables = _variables(lm, token[None])
        found = _operations(lm, variables, "step", token, lm.initial_state(1), prefix=f"{name}/")
        weighing = Operation(f"{name}/score", elementwise=(LOG_SOFTMAX + WEIGHT) * size)
        predict = (*predict, *found, weighing)
    return Parts((merging, *join, scoring), predict, size, model.config.reduction)


def search_stage(parts: Parts, scenario: Scenario) -> Stage:
    """All steps of a search: one stage, since its products alternate.

    Args:
        parts: the operations of one hypothesis.
        scenario: beam and utterance.
    """
    beam, frames_per_second = scenario.beam, scenario.frames_per_second / parts.reduction
    steps = scenario.seconds * (frames_per_second + scenario.labels_per_second)
    runs, rows = extensions(scenario)
    bookkeeping = CANDIDATE * beam * parts.vocabulary_size + PAIR * beam**2 + HYPOTHESIS * beam
    return Stage(
        "search",
        (
            *(operation.scaled(beam, steps) for operation in parts.at_each_step),
            *(operation.scaled(rows, steps * runs) for operation in parts.after_a_label),
            Operation("bookkeeping", scalar=steps * bookkeeping, runs=steps),
        ),
    )


def extensions(scenario: Scenario) -> Extensions:
    """How often labels are added in a step of the search, and to how many hypotheses at a time.

    Each hypothesis grows with the same probability, whatever the others do: N of them, of the
    binomial distribution. With blocks of b rows there are ceil(N / b) runs, else one if N > 0.

    Example:
        >>> extensions(Scenario(beam=1, growing=0.25))
        Extensions(runs=0.25, rows=1.0)
    """
    beam, p = scenario.beam, scenario.growing
    chances = [math.comb(beam, n) * p**n * (1 - p) ** (beam - n) for n in range(beam + 1)]
    if scenario.block == 0:
        runs = 1 - chances[0]
        return Extensions(runs, p * beam / runs)
    block = math.ceil(scenario.block * beam)
    return Extensions(sum(-(-n // block) * chances[n] for n in range(beam + 1)), float(block))


def _variables(model: Any, *inputs: jax.Array) -> dict[str, Any]:
    """Shapes of a network's variables."""
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)


def _operations(
    model: Any, variables: dict[str, Any], method: str, *arguments: Any, prefix: str = ""
) -> tuple[Operation, ...]:
    """The products of a method with what comes element by element."""
    policy, params = model.policy or Policy(), variables["params"]
    transform = fake_quantize(policy)
    codes = jax.eval_shape(lambda params: transform.codes(params, transform.init(params)), params)
    found = audit(
        functools.partial(model.apply, method=method),
        variables | {"params": codes},
        *arguments,
        policy=policy,
        params=params,
        allow_unused=weight_paths(policy, params),
    )
    return tuple(
        _with_elements(operation)._replace(name=prefix + operation.name)
        for operation in accelerator.operations(found, params)
    )


def _with_elements(operation: Operation) -> Operation:
    elementwise, results = COMBINE * operation.results, operation.results
    if operation.input_bits < FLOAT:
        elementwise += QUANTIZE * operation.inputs
    if operation.name.endswith("/recurrent"):
        cells = operation.results / 4
        elementwise += CELL * cells
        results += 4 * cells  # hidden and cell state, read and written
    return operation._replace(elementwise=elementwise, results=results)
