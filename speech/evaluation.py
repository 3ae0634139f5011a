"""Scoring a recognizer on held-out recordings."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from . import features, recognizer, word_error
from .corpora.corpus import Utterance
from .fusion import FusedModels
from .summary import PromptResult
from .transcript import Transcript


class Evaluation(NamedTuple):
    """What a recognizer made of a set of recordings."""

    errors: word_error.WordErrorRate
    transcripts: list[Transcript]  # in the order of the recordings
    real_time_factor: float  # seconds of computing per second of speech, compilation excluded


def evaluate(
    model: recognizer.Recognizer,
    utterances: Sequence[Utterance],
    *,
    timed: bool = True,
    beam: int = 1,
    language_models: FusedModels | None = None,
) -> Evaluation:
    """Reads recordings with a transducer and compares with their transcripts.

    Args:
        model: the recognizer.
        utterances: recordings with texts, at the recognizer's sample rate.
        timed: see `evaluate_reader`.
        beam: hypotheses of the beam search; 1 is greedy search.
        language_models: what adds to the scores of the beam search.

    Returns:
        The `Evaluation`.

    Raises:
        ValueError: if there are no recordings, or `beam` is not positive.
    """
    read = partial(recognizer.transcribe, model, beam=beam, language_models=language_models)
    return evaluate_reader(read, utterances, timed=timed)


def evaluate_reader(
    read: Callable[[list[np.ndarray]], list[Transcript]],
    utterances: Sequence[Utterance],
    *,
    timed: bool = True,
) -> Evaluation:
    """Reads recordings and compares with their transcripts.

    Args:
        read: from waveforms to their transcripts.
        utterances: recordings with texts, at the reader's sample rate.
        timed: reads everything twice, so that the second reading measures speed without
            compilation; otherwise the real-time factor is NaN.

    Returns:
        The `Evaluation`.

    Raises:
        ValueError: if there are no recordings.
    """
    if not len(utterances):
        raise ValueError("`utterances` must not be empty; the corpus has no such split.")
    waveforms = [utterance.waveform for utterance in utterances]
    transcripts = read(waveforms)
    real_time_factor = float("nan")
    if timed:
        start = time.perf_counter()
        read(waveforms)
        seconds = sum(len(x.waveform) / x.sample_rate for x in utterances)
        real_time_factor = (time.perf_counter() - start) / seconds
    errors = word_error.word_error_rate(
        [utterance.text for utterance in utterances], [heard.text for heard in transcripts]
    )
    return Evaluation(errors, transcripts, real_time_factor)


def showcase(
    utterances: Sequence[Utterance], evaluation: Evaluation, *, number: int = 5, seed: int = 0
) -> list[PromptResult]:
    """Draws recordings to show, sentences rather than single words.

    Args:
        utterances: what was evaluated.
        evaluation: the result.
        number: how many to draw.
        seed: which; the draw does not depend on the result.

    Returns:
        `number` prompts, or all if there are fewer.
    """
    order = np.random.default_rng(seed).permutation(len(utterances))
    by_length = sorted(order, key=lambda index: not 4 <= len(utterances[index].text.split()) <= 14)
    return [
        _prompt_result(utterances[index], evaluation.transcripts[index])
        for index in by_length[:number]
    ]


def _prompt_result(utterance: Utterance, transcript: Transcript) -> PromptResult:
    log_mel, _ = features.log_mel(jnp.asarray(utterance.waveform)[None], utterance.sample_rate)
    return PromptResult(
        name=utterance.name,
        reference=utterance.text,
        hypothesis=transcript.text,
        waveform=utterance.waveform,
        sample_rate=utterance.sample_rate,
        log_mel=np.asarray(log_mel[0]),
        labels=transcript.labels,
    )
