"""Language models in the search: shallow fusion and the density ratio.

The score of a label sequence y becomes

    shallow fusion   log P(y | x) + weight log P_lm(y) + length_reward |y|
    density ratio    log P(y | x) + lambda log P_external(y) - mu log P_source(y)
                     + length_reward |y|

The source model stands for what the transducer has learned of its training transcripts, which the
external one replaces: Bayes' rule with the likelihood taken from the transducer.  Labels are scored
as they are emitted; the blank is not.

References:
    McDermott, Sak, Variani, A density ratio approach to language model fusion in end-to-end
    automatic speech recognition, 2019, arXiv:2002.11268.
    Saon, Tueske, Bolanos, Kingsbury, Advancing RNN transducer technology for speech recognition,
    2021, arXiv:2103.09935.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from .beam import Fusion
from .language_model import LanguageModel

Weight = float | jax.Array  # an array if it shall change without compiling anew


class LabelModel(Protocol):
    """A language model read label by label, as `LanguageModel.bind(params)` is."""

    def step(self, tokens: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """``tokens [batch]``, the blank first -> logits ``[batch, vocabulary]`` and the state."""
        ...

    def initial_state(self, batch: int) -> Any:
        """The state before the start, leaves ``[batch, ...]``."""
        ...


def shallow_fusion(lm: LabelModel, *, weight: Weight, length_reward: Weight = 0.0) -> Fusion:
    """Adds a language model to the search.

    Args:
        lm: the language model, over the transducer's labels.
        weight: of its log probability.
        length_reward: added for each label, against the preference of products for short sequences.

    Returns:
        What `beam_search` takes as `fusion`.

    Example:
        >>> class Unigram:
        ...     def step(self, tokens, state):
        ...         return jnp.log(jnp.array([[0.5, 0.25, 0.25]])).repeat(len(tokens), 0), state
        ...
        ...     def initial_state(self, batch):
        ...         return ()
        >>> fusion = shallow_fusion(Unigram(), weight=0.5, length_reward=1.0)
        >>> increments, _ = fusion.step(jnp.array([0]), fusion.initial_state(1))
        >>> [round(float(increment), 3) for increment in increments[0, 1:]]
        [0.307, 0.307]
    """
    return _fuse([(lm, weight)], length_reward)


def density_ratio(
    external: LabelModel,
    source: LabelModel,
    *,
    external_weight: Weight,
    source_weight: Weight,
    length_reward: Weight = 0.0,
) -> Fusion:
    """Replaces the transducer's own language model by another.

    Args:
        external: model of the text to be recognized, over the transducer's labels.
        source: model of the transcripts that the transducer was trained on.
        external_weight: lambda, of the log probability that is added.
        source_weight: mu, of the log probability that is subtracted.
        length_reward: added for each label.

    Returns:
        What `beam_search` takes as `fusion`.
    """
    return _fuse([(external, external_weight), (source, -source_weight)], length_reward)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["params", "weights", "length_reward"],
    meta_fields=["models"],
)
@dataclass(frozen=True)
class FusedModels:
    """Language models with what each counts, to be handed to a jitted search.

    A pytree: other weights or parameters do not compile anew.
    """

    models: tuple[LanguageModel, ...]
    params: tuple[Any, ...]  # the variables of each
    weights: tuple[Weight, ...]  # of each log probability; negative for a source model
    length_reward: Weight = 0.0

    def fusion(self) -> Fusion:
        """What `beam_search` takes as `fusion`."""
        bound: list[Any] = [
            model.bind(params) for model, params in zip(self.models, self.params, strict=True)
        ]
        return _fuse(list(zip(bound, self.weights, strict=True)), self.length_reward)


class Tuned(NamedTuple):
    """What a grid search found."""

    weights: dict[str, float]  # the best, by name
    error: float  # theirs
    table: list[tuple[dict[str, float], float]]  # everything tried, in order


def tune(error: Callable[..., float], **grid: Sequence[float]) -> Tuned:
    """Tries every combination of weights on held-out recordings.

    Args:
        error: ``(**weights) -> error``, the smaller the better; to compile once, hand the weights
            to a jitted search as arrays.
        **grid: values to try, by the name of the weight.

    Returns:
        The best weights, of equal ones the first.

    Raises:
        ValueError: if there is nothing to try.

    Example:
        >>> tune(lambda weight: (weight - 0.3) ** 2, weight=(0.0, 0.25, 0.5)).weights
        {'weight': 0.25}
    """
    if not grid or not all(map(len, grid.values())):
        raise ValueError(f"`grid` must give at least one value for each weight, got {grid}.")
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    table = [(weights, float(error(**weights))) for weights in points]
    best, least = min(table, key=lambda pair: pair[1])
    return Tuned(best, least, table)


def _fuse(terms: Sequence[tuple[LabelModel, Weight]], length_reward: Weight) -> Fusion:
    """Weighted log probabilities of several models, and the reward."""

    def initial_state(batch: int) -> tuple:
        return tuple(lm.initial_state(batch) for lm, _ in terms)

    def step(tokens: jax.Array, states: tuple) -> tuple[jax.Array, tuple]:
        increments, new = jnp.asarray(length_reward, jnp.float32), []
        for (lm, weight), state in zip(terms, states, strict=True):
            logits, state = lm.step(tokens, state)
            increments += weight * jax.nn.log_softmax(logits.astype(jnp.float32))
            new.append(state)
        return increments, tuple(new)

    return Fusion(initial_state, step)
