"""Reading a recording while it comes in.

A recognizer whose encoder runs in one direction, and whose features are normalized by what was
heard so far, need not wait for the end.  A `Stream` takes samples as they come, cuts them into
parts of a fixed number of encoder frames, and each part goes through features, encoder and greedy
search from the state that the part before left.  The text is that of the whole recording read at
once.

What comes out late is bounded: an encoder frame waits for the rest of its part, for the look-ahead
of the encoder's layers, and for four frames of 10 ms that the differences look at.  The first part
is longer by those, so that every later one has the same number of frames everywhere and a stream
compiles three programs: for the first part, for those in the middle, and for the last.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import features, running_moments
from .decoding import Hypotheses, greedy_decode_part
from .features import HOP_SECONDS, STACK
from .recognizer import Recognizer, check_alone
from .transcript import Transcript
from .transducer import EncoderState, Transducer


class _State(NamedTuple):
    moments: running_moments.Moments
    edge: jax.Array  # [1, 2 REACH, filters], the last normalized frames; half of them are waiting
    encoder: EncoderState
    prefix: tuple[jax.Array, Any]  # of greedy search


class Stream:
    """Reads one recording as it comes in.

    Args:
        recognizer: one with an encoder in one direction and running normalization.
        part_seconds: what is read at once; shorter parts come sooner and cost more.

    Raises:
        ValueError: if the recognizer needs whole recordings, or parts are shorter than a frame of
            the encoder.

    Example:
        >>> stream = Stream(recognizer)  # doctest: +SKIP
        >>> for samples in microphone:  # doctest: +SKIP
        ...     print(stream.feed(samples).text)
        >>> print(stream.finish().text)  # doctest: +SKIP
    """

    def __init__(self, recognizer: Recognizer, *, part_seconds: float = 0.32):
        config, data = recognizer.config.model, recognizer.config.data
        check(recognizer)
        self._recognizer = recognizer
        window, self._hop = features.frame_size(data.sample_rate)
        self._overlap = window - self._hop
        frame = STACK * config.reduction  # frames of 10 ms for each of the encoder's
        number = round(part_seconds / (HOP_SECONDS * frame))
        if number < 1:
            raise ValueError(
                f"`part_seconds` must be at least {HOP_SECONDS * frame:g}, got {part_seconds}."
            )
        self._part = number * frame * self._hop
        waiting = frame * config.encoder_layers * config.lookahead + features.REACH
        self._first = self._part + waiting * self._hop
        self._samples = np.zeros(0, np.float32)  # not read yet, and the overlap of windows
        self._state: _State | None = None
        self._num_frames = 0  # of the encoder, so far
        self._labels: list[int] = []
        self._frames: list[int] = []
        self._score = 0.0

    @property
    def seconds(self) -> float:
        """The longest time from a sample to the text that depends on it, computing excluded."""
        return (self._first + self._overlap) / self._recognizer.config.data.sample_rate

    def feed(self, samples: np.ndarray) -> Transcript:
        """Reads on.

        Args:
            samples: ``[samples]`` in [-1, 1], any number, at the recognizer's sample rate.

        Returns:
            What was read so far; letters once read stay.
        """
        self._samples = np.concatenate([self._samples, np.asarray(samples, np.float32)])
        while len(self._samples) >= self._needed() + self._overlap:
            needed = self._needed()
            self._read(self._samples[: needed + self._overlap], is_last=False)
            self._samples = self._samples[needed:]
        return self.transcript()

    def finish(self) -> Transcript:
        """Reads what is left; the stream is over."""
        self._read(self._samples, is_last=True)
        self._samples = self._samples[:0]
        return self.transcript()

    def transcript(self) -> Transcript:
        """What was read so far."""
        vocabulary, config = self._recognizer.vocabulary, self._recognizer.config
        seconds = HOP_SECONDS * STACK * config.model.reduction
        emitted = [
            (vocabulary.decode([label]), seconds * frame)
            for label, frame in zip(self._labels, self._frames, strict=True)
        ]
        text = " ".join(vocabulary.decode(self._labels).split())
        return Transcript(text, emitted, self._score)

    def _needed(self) -> int:
        """Samples from the start of the next part to the start of the one after it."""
        return self._first if self._state is None else self._part

    def _read(self, samples: np.ndarray, *, is_last: bool) -> None:
        bound = self._needed() + self._overlap
        waveform, paddings = np.zeros((1, bound), np.float32), np.ones((1, bound), np.float32)
        waveform[0, : len(samples)] = samples
        paddings[0, : len(samples)] = 0
        model, rate = self._recognizer.model, self._recognizer.config.data.sample_rate
        params = self._recognizer.params
        *result, self._state = _advance(
            model, rate, is_last, params, self._state, waveform, paddings
        )
        found, num_frames = jax.device_get(result)
        number = int(np.sum(found.label_paddings[0] == 0))
        self._labels += found.labels[0, :number].tolist()
        self._frames += (self._num_frames + found.frames[0, :number]).tolist()
        self._score += float(found.scores[0])
        self._num_frames += int(num_frames)


def check(recognizer: Recognizer) -> None:
    """Refuses recognizers that need whole recordings.

    Raises:
        ValueError: if the recognizer does.
    """
    config, data = recognizer.config.model, recognizer.config.data
    check_alone(recognizer)
    if config.bidirectional or data.normalization != "running":
        raise ValueError(
            "`recognizer` needs whole recordings: it must have been trained with "
            "`--model.no-bidirectional --data.normalization running`, as by "
            "`gossamer train speech streaming`."
        )
    if set(config.reduce_after) - {0}:
        raise ValueError(
            "`recognizer` must join frames before its first layer only, to be read in parts; got "
            f"reduce_after {config.reduce_after}."
        )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _advance(
    model: Transducer,
    sample_rate: int,
    is_last: bool,
    params: Any,
    state: _State | None,
    waveform: jax.Array,
    paddings: jax.Array,
) -> tuple[Hypotheses, jax.Array, _State]:
    """Reads the next part; gives its labels, the number of its encoder frames, and the state."""
    apply: Any = model.apply

    def predictor_step(tokens, state):
        return apply(params, tokens, state, method="predict_step")

    log_mel, paddings = features.log_mel(waveform, sample_rate, waveform_paddings=paddings)
    moments, edge, encoder, prefix = (None,) * 4 if state is None else state
    frames, moments = running_moments.normalize(log_mel, paddings, moments)
    inputs, paddings, edge = _add_deltas(frames, paddings, edge, is_last)
    inputs, paddings = features.stack_frames(inputs, paddings, stack=STACK, skip=STACK)
    encoded, paddings, encoder = apply(
        params, inputs, paddings, encoder, is_last=is_last, method="encode_part"
    )
    if prefix is None:
        prefix = predictor_step(jnp.zeros(1, jnp.int32), model.initial_state(1))
    found, prefix = greedy_decode_part(
        encoded,
        paddings,
        prefix,
        predictor_step=predictor_step,
        joiner=lambda *pair: apply(params, *pair, method="join"),
    )
    num_frames = jnp.sum(paddings == 0)
    return found, num_frames, _State(moments, edge, encoder, prefix)


def _add_deltas(
    frames: jax.Array, paddings: jax.Array, edge: jax.Array | None, is_last: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`features.add_deltas` of the frames whose neighbors are known, and the frames to keep."""
    reach = features.REACH
    if edge is None:  # the first frame stands for those before it
        edge = jnp.repeat(frames[:, :1], reach, axis=1)
    num_waiting = edge.shape[1] - reach
    known = jnp.concatenate([edge, frames], axis=1)
    paddings = jnp.pad(paddings, ((0, 0), (num_waiting, 0)))
    if is_last:
        known = features.repeat_last(known, jnp.pad(paddings, ((0, 0), (reach, 0))))
        known = jnp.pad(known, ((0, 0), (0, reach), (0, 0)), mode="edge")
    inside = features.scale_deltas(features.deltas_inside(known))
    paddings = paddings[:, : inside.shape[1]]
    inside = jnp.where(paddings[:, :, None] == 0, inside, 0)
    return inside, paddings, known[:, known.shape[1] - 2 * reach :]
