"""New sentences from old recordings, cut between words.

A small corpus of one voice says few sentences, and a recognizer learns them by heart.  Splicing
takes runs of one to a few words from randomly chosen recordings and sets them side by side, so that
the words stay real speech while their order carries no information.  Cuts lie midway between the
end of a word and the beginning of the next, as a forced alignment gives them, and a short crossfade
hides the seam.

The spliced sentences form a pool of fixed size, drawn from a seed; each is put together when it is
read.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .corpus import Utterance, Utterances, Word

CROSSFADE_SECONDS = 0.005


class Run(NamedTuple):
    """Neighboring words of one recording."""

    utterance: int
    start: float  # s
    end: float  # s
    text: str


class _Pool(NamedTuple):
    """The utterances followed by the spliced sentences; see `splice`."""

    utterances: Utterances
    sentences: tuple[tuple[Run, ...], ...]
    repeats: int

    def __call__(self, index: int) -> Utterance:
        index -= self.repeats * len(self.utterances)
        if index < 0:
            return self.utterances[index % len(self.utterances)]
        runs = self.sentences[index]
        sources = [self.utterances[run.utterance] for run in runs]
        rate = sources[0].sample_rate
        pieces = [
            source.waveform[int(run.start * rate) : int(run.end * rate)]
            for source, run in zip(sources, runs, strict=True)
        ]
        waveform = crossfade(pieces, int(CROSSFADE_SECONDS * rate))
        return Utterance(f"spliced-{index}", _text(runs), waveform, rate)


def splice(
    utterances: Utterances,
    words: Sequence[Sequence[Word]],
    *,
    number: int,
    repeats: int = 1,
    seconds: tuple[float, float] = (1.5, 7.0),
    max_words: int = 3,
    seed: int = 0,
) -> Utterances:
    """Adds spliced sentences to a split.

    Args:
        utterances: recordings of one sample rate.
        words: the words of each utterance with their times; empty where unknown.
        number: spliced sentences to add.
        repeats: how often the originals are repeated beside them.
        seconds: range of the length of a spliced sentence, drawn uniformly.
        max_words: longest run of neighboring words taken from one recording.
        seed: of all random choices.

    Returns:
        The originals, `repeats` times, and after them the spliced sentences.

    Raises:
        ValueError: if `words` does not belong to `utterances`, or none has any.
    """
    if len(words) != len(utterances):
        raise ValueError(
            f"`words` must have one entry per utterance, got {len(words)} for {len(utterances)}."
        )
    sources = [index for index, aligned in enumerate(words) if aligned]
    if number and not sources:
        raise ValueError("`words` must hold at least one aligned utterance to splice from.")
    random = np.random.default_rng(seed)
    sentences = tuple(
        _draw_sentence(random, utterances, words, sources, seconds, max_words)
        for _ in range(number)
    )
    lengths = [sum(run.end - run.start for run in runs) for runs in sentences]
    return Utterances(
        _Pool(utterances, sentences, repeats),
        np.concatenate([*[np.asarray(utterances.seconds)] * repeats, np.asarray(lengths)]),
        utterances.texts * repeats + tuple(_text(runs) for runs in sentences),
    )


def crossfade(pieces: Sequence[np.ndarray], overlap: int) -> np.ndarray:
    """Joins waveforms, each seam a linear fade out and in over `overlap` samples, the length kept.

    Args:
        pieces: waveforms ``[samples]``.
        overlap: samples of each fade; shorter pieces fade over half their length.

    Returns:
        ``[sum of samples]``.
    """
    faded = []
    for number, piece in enumerate(pieces):
        piece = np.array(piece, np.float32)
        ramp = np.linspace(0, 1, min(overlap, len(piece) // 2), endpoint=False, dtype=np.float32)
        if number > 0:
            piece[: len(ramp)] *= ramp
        if number < len(pieces) - 1:
            piece[len(piece) - len(ramp) :] *= ramp[::-1]
        faded.append(piece)
    return np.concatenate(faded)


def _draw_sentence(random, utterances, words, sources, seconds, max_words) -> tuple[Run, ...]:
    target, total = random.uniform(*seconds), 0.0
    runs: list[Run] = []
    while True:
        index = sources[random.integers(len(sources))]
        run = _draw_run(random, index, words[index], utterances.seconds[index], max_words)
        if runs and total + run.end - run.start > seconds[1]:
            return tuple(runs)
        runs.append(run)
        total += run.end - run.start
        if total >= target:
            return tuple(runs)


def _draw_run(random, index, aligned, duration, max_words) -> Run:
    size = min(random.integers(1, max_words + 1), len(aligned))
    first = random.integers(len(aligned) - size + 1)
    last = first + size - 1
    start = 0.0 if first == 0 else (aligned[first - 1].end + aligned[first].start) / 2
    if last == len(aligned) - 1:
        end = float(duration)
    else:
        end = (aligned[last].end + aligned[last + 1].start) / 2
    text = " ".join(word.text for word in aligned[first : last + 1])
    return Run(index, start, end, text)


def _text(runs: Sequence[Run]) -> str:
    return " ".join(run.text for run in runs)
