"""Ways to train together on the telephone prompts, against learning rate and number of learners.

    python benchmarks/prompts_learners.py --folder runs/learners
    python benchmarks/prompts_learners.py --learners 4 8 16 --batches 2 --rates 8e-3 16e-3 32e-3
    python benchmarks/prompts_learners.py --rates 8e-3 --methods ScaleCom "local top-k"

Every run is the configuration ``demo`` with other learners, another peak rate, and batches so many
times as large; the learners share each batch. Runs go into folders of their own: what is finished
is not run again, and what was interrupted goes on. The table has the training loss over the last
tenth of the log ("diverged" where steps stopped being finite) and the word error rate of the
averaged model on the development recordings.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np

from gossamer.core import metrics
from gossamer.speech import experiment
from gossamer.speech.configs import CONFIGS
from gossamer.speech.run_config import SpeechConfig

DEMO = CONFIGS["demo"].config
SSGD = {"algorithm": "ssgd"}
METHODS = {  # options of the learners, options of the compression
    "SSGD": (SSGD, {}),
    "SSGD*": (SSGD | {"weight_noise": 1e-3}, {}),
    "ring": ({"topology": "ring"}, {}),
    "random ring": ({"topology": "random_ring"}, {}),
    "delay-by-one": ({"algorithm": "delay_by_one"}, {}),
    "ScaleCom": (SSGD, {"scheme": "scalecom"}),
    "ScaleCom, beta 0.1": (SSGD, {"scheme": "scalecom", "beta": 0.1}),
    "ScaleCom 400": (SSGD, {"scheme": "scalecom", "rate": 400.0}),
    "local top-k": (SSGD, {"scheme": "local_top_k"}),
    "random k": (SSGD, {"scheme": "random_k"}),
    "PowerSGD": (SSGD, {"scheme": "power_sgd"}),
    "1 bit": (SSGD, {"scheme": "one_bit"}),
}
DENSE = [name for name, (_, compression) in METHODS.items() if not compression]


def main():
    parser = argparse.ArgumentParser(description="Trains the demo in different ways.")
    parser.add_argument("--folder", type=Path, default=Path("runs/learners"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DENSE)
    parser.add_argument("--learners", nargs="+", type=int, default=[4])
    parser.add_argument("--batches", nargs="+", type=float, default=[1])
    parser.add_argument("--rates", nargs="+", type=float, default=[4e-3, 8e-3, 16e-3, 32e-3])
    parser.add_argument("--steps", type=int, default=720)
    options = parser.parse_args()
    settings = (options.learners, options.batches, options.rates, options.methods)
    rows = []
    for number, batch, rate, method in itertools.product(*settings):
        config = configure(METHODS[method], number, batch, rate, options.steps)
        name = f"{method.replace(' ', '-')}-{number}-{batch:g}-{rate:g}-{options.steps}"
        rows.append((number, batch, rate, method, train(config, options.folder / name)))
    print(f"\n{'learners':>8}{'batch':>7}{'peak rate':>11}  {'method':20}{'loss':>8}{'dev WER':>9}")
    for number, batch, rate, method, (loss, errors) in rows:
        shown = f"{loss:8.3f}{100 * errors:8.1f}%" if np.isfinite(loss) else f"{'diverged':>9}"
        print(f"{number:8}{batch:7g}{rate:11g}  {method:20}{shown}")


def configure(
    method: tuple[dict, dict], number: int, batch: float, rate: float, steps: int
) -> SpeechConfig:
    """The demo with these learners and batches."""
    buckets = tuple((seconds, round(batch * count)) for seconds, count in DEMO.data.buckets)
    exchange, compression = method
    return replace(
        DEMO,
        data=replace(DEMO.data, buckets=buckets),
        learners=replace(DEMO.learners, number=number, **exchange),
        compression=replace(DEMO.compression, **compression),
        optimizer=replace(DEMO.optimizer, peak_learning_rate=rate, steps=steps),
        validate_every=steps,
        checkpoint_every=steps // 2,
    )


def train(config: SpeechConfig, folder: Path) -> tuple[float, float]:
    """Loss at the end of training and word error rate on the development recordings."""
    if not (folder / "result.json").exists():
        print(f"\n{folder}", flush=True)
        try:
            experiment.train(config, folder)
        except FloatingPointError as error:
            print(error)
            return np.nan, np.nan
    log = metrics.read_log(folder)
    losses = [line["loss"] for line in log if "loss" in line]
    errors = [line["validation/wer"] for line in log if "validation/wer" in line]
    last = losses[-max(1, len(losses) // 10) :]
    return float(np.mean(last)), errors[-1]


if __name__ == "__main__":
    main()
