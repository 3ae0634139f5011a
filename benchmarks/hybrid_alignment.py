"""Word times of held-out prompts by a hybrid recognizer, against pocketsphinx's forced alignment.

    gossamer train hybrid --run runs/hybrid
    python benchmarks/hybrid_alignment.py runs/hybrid [runs/hybrid4 ...]

Pocketsphinx dates words to 10 ms with Gaussian mixtures of wide-band US English
(tools/forced_alignment.py wrote its times, speech/prompts/words.tsv); the hybrid dates them to
20 ms and has learned from the training prompts where phones begin, from a flat start.  Neither is
the truth.  Prints the absolute differences of word starts and ends, of recordings that both align.
"""

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import jax
import numpy as np
import plain_errors

from gossamer.speech.corpora import corpus
from gossamer.speech.hybrids import hybrid, hybrid_run, pronunciations
from gossamer.speech.hybrids.hybrid import Hybrid

TOLERANCES = (0.02, 0.05, 0.1)  # s


def main():
    parser = argparse.ArgumentParser(description="Forced alignment: a hybrid and pocketsphinx.")
    parser.add_argument("run", type=Path, nargs="+", help="run folders of hybrids")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    options = parser.parse_args()
    models = {folder: hybrid_run.read_run(folder) for folder in options.run}
    prompts = getattr(corpus.telephone_prompts(), options.split)
    peer = read_times(corpus.PROMPTS / "words.tsv")
    chosen = [utterance for utterance in prompts if utterance.name in peer]
    seconds = sum(len(x.waveform) / x.sample_rate for x in chosen)
    print(
        f"{len(chosen)} of {len(prompts)} {options.split} prompts, {seconds:.0f} s; "
        f"jax {jax.__version__} on {jax.devices()[0].device_kind}"
    )
    within = "".join(f"{f'< {1000 * t:.0f} ms':>10}" for t in TOLERANCES)
    print(f"{'run':24}{'':8}{'words':>7}{'median':>9}{'mean':>8}{within}{'  x real time':>13}")
    for folder, model in models.items():
        report(folder, model, chosen, peer, seconds)


def read_times(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Start and end of each word by pocketsphinx, by recording."""
    times = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            times[row["name"]].append((float(row["start"]), float(row["end"]), row["word"]))
    return times


def report(folder: Path, model: Hybrid, chosen, peer, seconds: float) -> None:
    texts = [utterance.text for utterance in chosen]
    words = sorted({word for text in texts for word in text.split()})
    spoken = pronunciations.of_run(folder, None, words)
    waveforms = [utterance.waveform for utterance in chosen]
    hybrid.align(model, waveforms, texts, spoken)  # compiles
    start = time.perf_counter()
    found = hybrid.align(model, waveforms, texts, spoken)
    factor = (time.perf_counter() - start) / seconds
    starts, ends = [], []
    for utterance, aligned in zip(chosen, found, strict=True):
        theirs = peer[utterance.name]
        if aligned is None or [word.label for word in aligned[1]] != [word for *_, word in theirs]:
            continue
        starts += [
            ours.start - first for ours, (first, _, _) in zip(aligned[1], theirs, strict=True)
        ]
        ends += [ours.end - last for ours, (_, last, _) in zip(aligned[1], theirs, strict=True)]
    for name, differences in (("starts", np.abs(starts)), ("ends", np.abs(ends))):
        shares = "".join(f"{100 * np.mean(differences < t + 1e-6):9.0f}%" for t in TOLERANCES)
        print(
            f"{folder.name:24}{name:8}{len(differences):7}"
            f"{1000 * np.median(differences):6.0f} ms{1000 * np.mean(differences):5.0f} ms"
            f"{shares}{factor:13.4f}"
        )


if __name__ == "__main__":
    plain_errors.run(main)
