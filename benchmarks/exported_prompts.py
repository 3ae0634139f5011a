"""Exported recognizers on the telephone prompts: do they read what JAX reads, how fast they start.

    python benchmarks/exported_prompts.py float32=prompts int8=runs/int8 int4=runs/int4_paper

Reads the development and test recordings (105) by JAX and by each arithmetic of ONNX Runtime, with
greedy search and a beam of 8, nothing pruned. Prints errors and how many transcripts are the same.
Then starts each folder as a program of its own that reads one recording, and prints the time until
it has ended, the least of several, and its peak memory.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import plain_errors

from gossamer.speech import experiment, recognizer
from gossamer.speech.corpora.corpus import telephone_prompts
from gossamer.speech.deployment.arithmetic import Arithmetic
from gossamer.speech.deployment.export import export
from gossamer.speech.transcriber.transcriber import Search, Transcriber
from gossamer.speech.word_error import word_error_rate

RECORDING = Path(__file__).parents[1] / "speech/prompts/agent-pass.flac"
STARTS = 5
LAUNCHER = """
import resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def main():
    parser = argparse.ArgumentParser(description="Compares runtimes on the telephone prompts.")
    parser.add_argument("runs", nargs="+", type=pair, help="NAME=RUN each")
    parser.add_argument("--beam", type=int, default=8)
    options = parser.parse_args()
    models = {name: experiment.find_recognizer(run) for name, run in options.runs}
    prompts = telephone_prompts()
    utterances = [split[i] for split in (prompts.dev, prompts.test) for i in range(len(split))]
    waveforms = [utterance.waveform for utterance in utterances]
    references = [utterance.text for utterance in utterances]
    print(f"{'':22}{'WER, %':>16}{'same as JAX':>16}{'MB':>8}{'start, s':>10}{'peak, MB':>10}")
    print(f"{'':22}{'greedy':>8}{'beam':>8}{'greedy':>8}{'beam':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            heard = {
                beam: [found.text for found in recognizer.transcribe(model, waveforms, beam=beam)]
                for beam in (1, options.beam)
            }
            rates = [100 * word_error_rate(references, texts).rate for texts in heard.values()]
            print(f"{f'{name} JAX':22}" + "".join(f"{rate:8.1f}" for rate in rates), flush=True)
            kinds: list[Arithmetic] = ["float"]
            if model.config.quantize is not None:
                kinds.append("integer")
            if model.config.quantize not in (None, "int8"):
                kinds.append("blockwise")
            for kind in kinds:
                path = Path(folder) / f"{name}-{kind}"
                sizes = export(model, path, arithmetic=kind)
                transcriber = Transcriber(path)
                row, same = "", ""
                for beam, texts in heard.items():
                    search = Search(beam=beam, prune=math.inf)
                    found = [transcriber.transcribe(x, search)[0].text for x in waveforms]
                    row += f"{100 * word_error_rate(references, found).rate:8.1f}"
                    same += f"{sum(a == b for a, b in zip(texts, found, strict=True)):8}"
                seconds, memory = min(start(path) for _ in range(STARTS))
                size = sum(sizes.values()) / 1e6
                print(f"{f'{name} {kind}':22}{row}{same}{size:8.2f}", end="")
                print(f"{seconds:10.2f}{memory / 1e6:10.0f}", flush=True)


def pair(word: str) -> tuple[str, str]:
    """NAME=RUN in two."""
    name, run = word.split("=", 1)
    return name, run


def start(path: Path) -> tuple[float, int]:
    """Seconds that a program takes to read a recording, and the bytes that it takes at most."""
    # By a small process between: a child counts the memory of the process that it is split from.
    found = subprocess.run(
        [sys.executable, "-c", LAUNCHER, sys.executable, os.fspath(path), os.fspath(RECORDING)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, kilobytes = found.stdout.split()
    return float(seconds), 1024 * int(kilobytes)


if __name__ == "__main__":
    plain_errors.run(main)
