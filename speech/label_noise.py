"""Noise on labels: what the predictor reads, or what the loss aims at.

Training shows the predictor only true prefixes, while decoding shows it its own errors.  Two kinds
of noise on the predictor's inputs, with the targets clean, narrow that gap (exposure bias):

    switchout            n labels are replaced by others at random,  P(n) ~ exp(-n / temperature)
    scheduled_sampling   y_u becomes, with probability `rate`, a draw from p_LM(. | y_1 .. y_{u-1})

A third kind changes the targets, and smooths them by sequences that are easily confused:

    nbest_smooth         y' = y with probability 1 - p, else y' ~ Uniform(n-best list of x)

Labels come without the start symbol, so none of these ever touches it; padding stays as it is.

References:
    Cui, Kingsbury, Saon, Haws, Tueske, Reducing exposure bias in training recurrent neural network
    transducers, 2021, arXiv:2108.10803.
    Cui, Saon, Nagano, Suzuki, Fukuda, Kingsbury, Kurata, Improving generalization of deep neural
    network acoustic models with length perturbation and n-best based label smoothing, 2022,
    arXiv:2203.15176.
    Wang, Pham, Dai, Neubig, SwitchOut: an efficient data augmentation algorithm for neural machine
    translation, EMNLP 2018, arXiv:1808.07512.
    Bengio, Vinyals, Jaitly, Shazeer, Scheduled sampling for sequence prediction with recurrent
    neural networks, 2015, arXiv:1506.03099.
    See NOTICE for the patents on these methods.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from .names import Ramp
from .random_subsets import draw_subset
from .text import BLANK_ID

STEEPNESS = 5.0  # of the curved ramps: they come within exp(-5) of their ends


@partial(jax.jit, static_argnames=("vocabulary_size", "temperature", "exact"))
def switchout(
    key: jax.Array,
    labels: jax.Array,
    label_paddings: jax.Array,
    *,
    vocabulary_size: int,
    temperature: float,
    exact: bool = False,
) -> jax.Array:
    """Replaces a random number of labels by others.

    The number of replacements n of a sequence of U labels has the law

        P(n) ~ exp(-n / temperature),    n = 0 .. U;

    positions are uniform without replacement, and each new label is uniform over all others, so
    that n is the Hamming distance.  The distribution that SwitchOut approximates so, with the
    probability of a whole sequence proportional to exp(-distance / temperature), also counts the
    sequences at a distance, ``P(n) ~ C(U, n) (V - 1)^n exp(-n / temperature)`` for V labels.

    Args:
        key: random key.
        labels: ``[batch, U]``, from 1 to ``vocabulary_size - 1`` where not padded.
        label_paddings: ``[batch, U]``, 1 at padded labels.
        vocabulary_size: number of labels, the blank included, which is never drawn.
        temperature: over 0; the larger, the more is replaced.  (Some implementations multiply by
            what they call temperature.)
        exact: whether to count the sequences at a distance.

    Returns:
        ``[batch, U]`` labels for the predictor to read.

    Raises:
        ValueError: if the temperature is not positive or there are less than two labels.

    Example:
        >>> labels = jnp.ones((2, 10), jnp.int32)
        >>> noisy = switchout(
        ...     jax.random.key(0), labels, jnp.zeros((2, 10)), vocabulary_size=29, temperature=0.5)
        >>> noisy.shape
        (2, 10)
    """
    if not temperature > 0:
        raise ValueError(
            f"`temperature` must be positive, got {temperature}; without SwitchOut leave it out."
        )
    num_labels = vocabulary_size - 1
    if num_labels < 2:
        raise ValueError(
            f"`vocabulary_size` must be at least 3, two labels and the blank, got {vocabulary_size}"
        )
    number_key, position_key, label_key = jax.random.split(key, 3)
    valid = label_paddings == 0
    lengths = jnp.sum(valid, axis=1)
    log_odds = _log_odds(lengths, labels.shape[1], num_labels, temperature, exact)
    # The inverse of the distribution function, so that padding does not change the draw.
    levels = jnp.cumsum(jax.nn.softmax(log_odds, axis=1), axis=1)
    numbers = jnp.sum(jax.random.uniform(number_key, (len(labels), 1)) >= levels, axis=1)
    chosen = draw_subset(position_key, valid, numbers)
    # A step of 1 to V - 1 around the circle of V labels never comes back to its start.
    steps = jax.random.randint(label_key, labels.shape[::-1], 1, num_labels).T
    others = 1 + (labels - 1 + steps) % num_labels
    return jnp.where(chosen, others, labels)


def _log_odds(
    lengths: jax.Array, longest: int, num_labels: int, temperature: float, exact: bool
) -> jax.Array:
    """Log probability of each number of replacements up to a constant, ``[batch, longest + 1]``."""
    number = jnp.arange(longest + 1.0)[None]
    length = lengths[:, None].astype(number.dtype)
    log_odds = jnp.broadcast_to(-number / temperature, (len(lengths), longest + 1))
    if exact:
        gammaln = jax.scipy.special.gammaln
        rest = jnp.maximum(length - number, 0)
        ways = gammaln(length + 1) - gammaln(number + 1) - gammaln(rest + 1)
        log_odds = log_odds + ways + number * math.log(num_labels - 1)
    return jnp.where(number <= length, log_odds, -jnp.inf)


@jax.jit
def scheduled_sampling(
    key: jax.Array,
    labels: jax.Array,
    label_paddings: jax.Array,
    logits: jax.Array,
    *,
    rate: float | jax.Array,
) -> jax.Array:
    """Replaces labels by draws of a language model that has read the true labels before them.

    Args:
        key: random key.
        labels: ``[batch, U]``.
        label_paddings: ``[batch, U]``, 1 at padded labels.
        logits: ``[batch, U + 1, vocabulary]`` of the next label after each prefix of ``labels``,
            see `language_model.LanguageModel`; the blank is never drawn, nor is the last entry
            used, and no gradient goes through.
        rate: probability of drawing a label, in [0, 1]; see `sampling_rate` for its schedule.

    Returns:
        ``[batch, U]`` labels for the predictor to read.

    Raises:
        ValueError: if ``logits`` do not belong to ``labels``.

    Example:
        >>> labels, logits = jnp.ones((2, 10), jnp.int32), jnp.zeros((2, 11, 29))
        >>> scheduled_sampling(
        ...     jax.random.key(0), labels, jnp.zeros((2, 10)), logits, rate=0.2).shape
        (2, 10)
    """
    batch, length = labels.shape
    if logits.ndim != 3 or logits.shape[:2] != (batch, length + 1):
        raise ValueError(
            f"`logits` must be [{batch}, {length + 1}, vocabulary], one entry more than labels, "
            f"got {list(logits.shape)}."
        )
    choice_key, label_key = jax.random.split(key)
    logits = logits[:, :-1].at[:, :, BLANK_ID].set(-jnp.inf)
    # The axis that padding lengthens goes first, see `random_subsets.draw_uniform`.
    drawn = jax.random.categorical(label_key, logits.swapaxes(0, 1)).T.astype(labels.dtype)
    chosen = jax.random.bernoulli(choice_key, rate, (length, batch)).T
    return jnp.where(chosen & (label_paddings == 0), drawn, labels)


def sampling_rate(progress: jax.Array | float, *, final: float, ramp: Ramp) -> jax.Array:
    """The rate of scheduled sampling over a run, from 0 to ``final``.

        constant           final
        linear             final * s
        exponential        final * (1 - e^(-5 s)) / (1 - e^(-5))
        inverse_sigmoid    final * (sigmoid(10 s - 5), from 0 to 1)

    Args:
        progress: done part s of the run, in [0, 1]; values outside count as the nearest.
        final: rate at the end.
        ramp: the form.

    Returns:
        ``[]`` rate.

    Raises:
        ValueError: if there is no such ramp.

    Example:
        >>> float(sampling_rate(0.5, final=0.2, ramp="inverse_sigmoid"))
        0.10...
    """
    s = jnp.clip(progress, 0.0, 1.0)
    if ramp == "constant":
        part = jnp.ones_like(s)
    elif ramp == "linear":
        part = s
    elif ramp == "exponential":
        part = jnp.expm1(-STEEPNESS * s) / math.expm1(-STEEPNESS)
    elif ramp == "inverse_sigmoid":
        lowest = 1 / (1 + math.exp(STEEPNESS))
        part = (jax.nn.sigmoid(STEEPNESS * (2 * s - 1)) - lowest) / (1 - 2 * lowest)
    else:
        raise ValueError(
            f"`ramp` must be constant, linear, exponential or inverse_sigmoid, got {ramp!r}."
        )
    return final * part


@jax.jit
def nbest_smooth(
    key: jax.Array,
    labels: jax.Array,
    label_paddings: jax.Array,
    alternatives: jax.Array,
    alternative_paddings: jax.Array,
    *,
    probability: float | jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Draws a whole alternative sequence as the target.

    Args:
        key: random key.
        labels: ``[batch, U]``.
        label_paddings: ``[batch, U]``, 1 at padded labels.
        alternatives: ``[batch, number, U']`` sequences that decoders made of the same recording,
            see `alternatives`.
        alternative_paddings: ``[batch, number, U']``; an alternative that is all padding is none.
        probability: of an alternative, in [0, 1]; all of a recording are equally likely.

    Returns:
        Labels and paddings ``[batch, max(U, U')]``, the true ones where there are no alternatives.

    Raises:
        ValueError: if the shapes do not match.

    Example:
        >>> labels, others = jnp.ones((2, 3), jnp.int32), jnp.full((2, 5, 4), 2)
        >>> target, _ = nbest_smooth(
        ...     jax.random.key(0), labels, jnp.zeros((2, 3)), others, jnp.zeros((2, 5, 4)),
        ...     probability=1.0)
        >>> target.tolist()
        [[2, 2, 2, 2], [2, 2, 2, 2]]
    """
    if alternatives.shape != alternative_paddings.shape or len(alternatives) != len(labels):
        raise ValueError(
            "`alternatives` and `alternative_paddings` must both be [batch, number, labels], got "
            f"{list(alternatives.shape)} and {list(alternative_paddings.shape)} beside labels "
            f"{list(labels.shape)}."
        )
    choice_key, number_key = jax.random.split(key)
    present = alternative_paddings[:, :, 0] == 0
    chosen = jax.random.bernoulli(choice_key, probability, (len(labels),)) & present.any(axis=1)
    numbers = jax.random.categorical(number_key, jnp.where(present, 0.0, -jnp.inf))
    drawn, drawn_paddings = (
        jnp.take_along_axis(x, numbers[:, None, None], axis=1)[:, 0]
        for x in (alternatives, alternative_paddings)
    )
    length = max(labels.shape[1], alternatives.shape[2])

    def select(drawn, true, padding):
        drawn, true = (
            jnp.pad(x, ((0, 0), (0, length - x.shape[1])), constant_values=padding)
            for x in (drawn, true)
        )
        return jnp.where(chosen[:, None], drawn, true).astype(true.dtype)

    return (
        select(drawn, labels, BLANK_ID),
        select(drawn_paddings, label_paddings, 1),
    )
