"""Differences of word error rates between runs, on the same held-out prompts.

    python benchmarks/prompts_paired.py runs/all runs/no-masks runs/no-speed
    python benchmarks/prompts_paired.py runs/a runs/b runs/a+runs/b

Development and test utterances together (105, 659 words); the difference of each run from the first
with its 95% interval by a paired bootstrap over utterances, which the spread between utterances
does not widen. A run is a folder, a packed recognizer or the name of one that ships; several with a
plus between them read together.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import peers
import plain_errors

from gossamer.speech import experiment, recognizer
from gossamer.speech.corpora import corpus
from gossamer.speech.recognizer import Recognizer

kaldialign = peers.require("kaldialign")

RESAMPLES = 10_000


def main():
    parser = argparse.ArgumentParser(description="Compares runs on the same held-out prompts.")
    parser.add_argument("runs", nargs="+", help="the first one is what the others are compared to")
    compare({name: [name] for name in parser.parse_args().runs})


def compare(groups: dict[str, list[str]]) -> None:
    """Prints a table of groups of runs, each pooled; the first is what others are compared to."""
    models = {name: [find_model(run) for run in runs] for name, runs in groups.items()}
    utterances = held_out()
    print_table(
        {name: [count_errors(model, utterances) for model in team] for name, team in models.items()}
    )


def held_out() -> list[corpus.Utterance]:
    """Development and test utterances."""
    prompts = corpus.telephone_prompts()
    return [split[i] for split in (prompts.dev, prompts.test) for i in range(len(split))]


def print_table(counts: dict[str, list[np.ndarray]]) -> None:
    """Prints the table of `compare` from the wrong words of each utterance in each run."""
    lengths = np.array([len(utterance.text.split()) for utterance in held_out()])
    errors = {name: np.mean(runs, axis=0) for name, runs in counts.items()}
    first, *others = errors
    print(f"{'':40}{'WER, %':>8}{'difference (95%)':>26}")
    print(f"{first:40}{percent(errors[first].sum() / lengths.sum()):8.1f}")
    for name in others:
        rate = percent(errors[name].sum() / lengths.sum())
        print(f"{name:40}{rate:8.1f}{difference(errors[name] - errors[first], lengths):>26}")


def difference(change: np.ndarray, lengths: np.ndarray) -> str:
    """Of two word error rates in points, with its interval by a paired bootstrap.

    Args:
        change: ``[utterances]``, wrong words more than in the other run.
        lengths: ``[utterances]``, words of the references.
    """
    draws = np.random.default_rng(0).integers(len(lengths), size=(RESAMPLES, len(lengths)))
    low, high = np.percentile(change[draws].sum(1) / lengths[draws].sum(1), [2.5, 97.5])
    shown = percent(change.sum() / lengths.sum())
    return f"{shown:+.1f} ({percent(low):+.1f} to {percent(high):+.1f})"


def find_model(name: str) -> Recognizer:
    """A run, or several that read together."""
    return recognizer.combine([experiment.find_recognizer(each) for each in name.split("+")])


def count_errors(model: Recognizer, utterances: list[corpus.Utterance]) -> np.ndarray:
    """Wrong words of each utterance."""
    read = recognizer.transcribe(model, [utterance.waveform for utterance in utterances])
    return wrong_words([each.text for each in utterances], [heard.text for heard in read])


def wrong_words(references: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Of each text against its reference."""
    pairs = zip(references, texts, strict=True)
    return np.array([kaldialign.edit_distance(a.split(), b.split())["total"] for a, b in pairs])


def percent(share):
    return 100 * share


if __name__ == "__main__":
    plain_errors.run(main)
