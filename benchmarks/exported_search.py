"""The search of an exported recognizer on the telephone prompts: what pruning saves, who is asked.

    gossamer export prompts --output exported
    taskset -c 0 python benchmarks/exported_search.py exported

Reads the development and test recordings (105) once for each pruning.  Prints word errors, how many
texts are those of the search that drops nothing, and for a second of speech how often each network
runs, how many rows it gets each time, and how many milliseconds it takes; then those that are left
to Python.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

from gossamer.speech.corpora.corpus import telephone_prompts
from gossamer.speech.transcriber.transcriber import Search, Transcriber
from gossamer.speech.word_error import word_error_rate

PRUNES = (math.inf, 8.0, 6.0, 5.0, 4.0)


class Counted:
    """A network that counts its calls, rows and seconds."""

    def __init__(self, network: Any):
        self._network = network
        self.calls = self.rows = 0
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Runs the network."""
        start = time.perf_counter()
        found = self._network(*inputs, **named)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        self.rows += len(next(iter([*inputs, *named.values()])))
        return found


def main():
    parser = argparse.ArgumentParser(description="The search of an exported recognizer.")
    parser.add_argument("exported", type=Path, help="folder by `gossamer export`")
    parser.add_argument("--beam", type=int, default=16)
    options = parser.parse_args()
    prompts = telephone_prompts()
    utterances = [split[i] for split in (prompts.dev, prompts.test) for i in range(len(split))]
    transcriber = Transcriber(options.exported)
    encoded = [transcriber.encode(utterance.waveform) for utterance in utterances]
    duration = sum(len(x.waveform) / x.sample_rate for x in utterances)
    networks: dict[str, Any] = {
        "joiner": transcriber._joiner,
        "predictor": transcriber._predictor,
        **transcriber._models,
    }
    heading = "".join(f"{f'{name}: /s, rows, ms':>26}" for name in networks)
    print(f"{'prune':>6}{'WER, %':>8}{'same':>6}{heading}{'Python, ms':>12}")
    unpruned: list[tuple[int, ...]] = []
    for prune in PRUNES:
        counted = {name: Counted(network) for name, network in networks.items()}
        transcriber._joiner = counted["joiner"]  # type: ignore[assignment]
        transcriber._predictor = counted["predictor"]  # type: ignore[assignment]
        transcriber._models = {name: counted[name] for name in transcriber._models}  # type: ignore
        search = Search(beam=options.beam, prune=prune)
        start = time.perf_counter()
        found = [transcriber.search(x, search)[0] for x in encoded]
        seconds = time.perf_counter() - start
        labels = [tuple(one.labels) for one in found]
        unpruned = unpruned or labels
        texts = [transcriber._transcript(one, 0.0).text for one in found]
        row = ""
        for one in counted.values():
            seconds -= one.seconds
            row += f"{one.calls / duration:10.1f}{one.rows / one.calls:8.1f}"
            row += f"{1e3 * one.seconds / duration:8.2f}"
        same = sum(a == b for a, b in zip(labels, unpruned, strict=True))
        wrong = word_error_rate([x.text for x in utterances], texts).rate
        row += f"{1e3 * seconds / duration:12.2f}"
        print(f"{prune:>6g}{100 * wrong:8.1f}{same:6}{row}", flush=True)


if __name__ == "__main__":
    main()
