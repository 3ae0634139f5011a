"""Statistics of batch norm: those of training against those estimated anew, for the same weights.

    python benchmarks/batch_statistics.py --networks mobilenet vgg19 --batches 1 16 --methods ssgd

Runs of the large-batch study (`gossamer bench study`, toy scale); what has no checkpoints in the
folder, as a record of results has none, is trained first.  The averaged model of each is scored
with the learners' moving averages and with statistics of 1, 10 and 100 batches.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cattrs
from rich.console import Console
from rich.table import Table

from gossamer.core import checkpoint
from gossamer.vision import classifier, experiment
from gossamer.vision.data import open_data
from gossamer.vision.study_config import StudyConfig

NUMBERS = (0, 1, 10, 100)


def main():
    parser = argparse.ArgumentParser(description="Moving averages against estimated statistics.")
    parser.add_argument("--folder", type=Path, default=Path("runs/statistics"))
    parser.add_argument("--networks", nargs="+", default=["vgg19", "resnet18", "mobilenet"])
    parser.add_argument("--methods", nargs="+", default=["ssgd", "dpsgd"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16])
    parser.add_argument("--epochs", type=float, default=0.6)
    options = parser.parse_args()
    fields = {name: getattr(options, name) for name in ("networks", "methods", "batches", "epochs")}
    table = Table("run", "moving averages", *(f"{number} batches" for number in NUMBERS[1:]))
    for run in cattrs.structure(fields, StudyConfig).runs():
        folder = options.folder / run.name
        if not checkpoint.steps(folder / "checkpoints"):
            print(f"\n{folder}", flush=True)
            experiment.train(run.config, folder)
        data = open_data(run.config.data.name)
        found = checkpoint.restore(
            folder / "checkpoints", experiment.initial_state(run.config, data)
        )
        assert found is not None, folder
        cells = []
        for number in NUMBERS:
            config = replace(run.config, statistics_images=number * run.config.data.batch_size)
            score = classifier.evaluate(experiment.averaged(config, data, found[1]), data)
            cells.append(f"{score.loss:.3f}, {100 * score.accuracy:.1f}%")
        table.add_row(run.name, *cells)
        Console().print(table)


if __name__ == "__main__":
    main()
