"""Ways to train together on the telephone prompts, against learning rate and number of learners.

    python benchmarks/prompts_learners.py --folder runs/learners
    python benchmarks/prompts_learners.py --learners 16 --batches 2 --steps 360 --rates 16e-3 32e-3
    python benchmarks/prompts_learners.py --rates 8e-3 --methods ScaleCom "local top-k"
    python benchmarks/prompts_learners.py --rates 8e-3 --methods ScaleCom --dense-steps 0.5

Every run is the configuration ``demo`` with other learners, another peak rate, and batches so many
times as large; the learners share each batch. Runs go into folders of their own: what is finished
is not run again, and what was interrupted goes on. The table has the training loss over the last
tenth of the log ("diverged" where steps stopped being finite) and the word error rates of the
averaged model on the development and on the test recordings.
"""

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import rate_figure

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
    "ScaleCom of updates": (SSGD, {"scheme": "scalecom", "of": "updates"}),
    "ScaleCom of updates, beta 0.1": (SSGD, {"scheme": "scalecom", "beta": 0.1, "of": "updates"}),
    "local top-k": (SSGD, {"scheme": "local_top_k"}),
    "random k": (SSGD, {"scheme": "random_k"}),
    "PowerSGD": (SSGD, {"scheme": "power_sgd"}),
    "1 bit": (SSGD, {"scheme": "one_bit"}),
}
DENSE = [name for name, (_, compression) in METHODS.items() if not compression]
MEASURES = {"loss": "training loss", "dev": "word error rate, development"}


def main():
    parser = argparse.ArgumentParser(description="Trains the demo in different ways.")
    parser.add_argument("--folder", type=Path, default=Path("runs/learners"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=DENSE)
    parser.add_argument("--learners", nargs="+", type=int, default=[4])
    parser.add_argument("--batches", nargs="+", type=float, default=[1])
    parser.add_argument("--rates", nargs="+", type=float, default=[8e-3, 16e-3, 32e-3])
    parser.add_argument("--steps", type=int, default=720)
    parser.add_argument(
        "--dense-steps", type=float, default=0.1, help="first part of the steps without compression"
    )
    parser.add_argument("--figure", type=Path, help="PNG of loss and word errors against the rate")
    options = parser.parse_args()
    rows = []
    grid = itertools.product(options.learners, options.batches, options.rates, options.methods)
    for number, batch, rate, method in grid:
        config = configure(METHODS[method], number, batch, rate, options)
        name = f"{method.replace(' ', '-')}-{number}-{batch:g}-{rate:g}-{options.steps}"
        if method not in DENSE:
            name += f"-{options.dense_steps:g}"
        setting = f"{number} learners, {batch:g} x batch"
        rows.append((setting, method, rate, train(config, options.folder / name)))
    print(f"\n{'setting':28}{'peak rate':>10}  {'method':30}{'loss':>8}{'dev WER':>9}  test WER")
    for setting, method, rate, found in rows:
        shown = f"{'diverged':>8}"
        if found is not None:
            shown = f"{found['loss']:8.3f}{100 * found['dev']:8.1f}%  {found['test']}"
        print(f"{setting:28}{rate:10g}  {method:30}{shown}")
    if options.figure:
        rate_figure.draw(rows, MEASURES).savefig(options.figure, dpi=130)


def configure(
    method: tuple[dict, dict], number: int, batch: float, rate: float, options: argparse.Namespace
) -> SpeechConfig:
    """The demo with these learners and batches."""
    buckets = tuple((seconds, round(batch * count)) for seconds, count in DEMO.data.buckets)
    exchange, compression = method
    compression = compression | {"dense_steps": options.dense_steps}
    return replace(
        DEMO,
        data=replace(DEMO.data, buckets=buckets),
        learners=replace(DEMO.learners, number=number, **exchange),
        compression=replace(DEMO.compression, **compression),
        optimizer=replace(DEMO.optimizer, peak_learning_rate=rate, steps=options.steps),
        validate_every=options.steps,
        checkpoint_every=options.steps // 2,
    )


def train(config: SpeechConfig, folder: Path) -> dict | None:
    """Loss at the end of training and word error rates; None for a run that diverged."""
    if not (folder / "result.json").exists():
        print(f"\n{folder}", flush=True)
        try:
            experiment.train(config, folder)
        except FloatingPointError as error:
            print(error)
            return None
    log = metrics.read_log(folder)
    losses = [line["loss"] for line in log if "loss" in line]
    errors = [line["validation/wer"] for line in log if "validation/wer" in line]
    result = json.loads((folder / "result.json").read_text())
    last = losses[-max(1, len(losses) // 10) :]
    return {
        "loss": float(np.mean(last)),
        "dev": errors[-1],
        "test": result["Word error rate"],
    }


if __name__ == "__main__":
    main()
