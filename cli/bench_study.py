"""``gossamer bench study``: the large-batch study of image classifiers."""

import dataclasses
from pathlib import Path

import tyro

from ..vision.study_config import StudyConfig
from .train_vision import offer_devices

DESCRIPTION = """Train networks with several methods at growing batches, and end with a table and
plots. The same command continues an interrupted study; several processes share one by --part.

examples:
  gossamer bench study                                 ten networks on the bundled images
  gossamer bench study --networks resnet18 --methods ssgd dpsgd scalecom --seeds 0 1 2
  gossamer bench study --networks vgg19 --rates 1 2 4 --diagnose --slices
  gossamer bench study --scale cifar --part 1 8        one of eight processes
  gossamer bench study --table-only                    the table of what is finished"""


@dataclasses.dataclass(frozen=True)
class Arguments(StudyConfig):
    """A grid and where it goes."""

    run: Path = Path("runs/study")
    """Folder of the runs, the table and the plots."""
    part: tuple[int, int] = (1, 1)
    """K N: run the K-th of N parts of the grid; the table has what is finished of all."""
    table_only: bool = False
    """Train nothing."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    chosen = tyro.cli(Arguments, prog="gossamer bench study", description=DESCRIPTION, args=words)
    names = [field.name for field in dataclasses.fields(StudyConfig)]
    study = StudyConfig(**{name: getattr(chosen, name) for name in names})
    study.check()
    offer_devices(study.runs()[0].config)
    from ..core import processes
    from ..vision import study as studies

    if not chosen.table_only:
        for _ in studies.run(study, chosen.run, part=chosen.part):
            if processes.is_first():
                _report(study, chosen.run)
    if processes.is_first():
        print(f"\n{_report(study, chosen.run)}")
    return 0


def _report(study: StudyConfig, folder: Path) -> str:
    """Writes the table and the plots of what is finished, and returns the table."""
    from ..core import whole_file
    from ..vision import study as studies
    from ..vision import study_results

    rows = studies.finished(study, folder)
    if not rows:
        return f"Nothing is finished in {folder}."
    number = studies.num_classes(study)
    lines = [
        study_results.table(rows, number),
        "",
        "training loss (median of seeds), accuracy, converged/seeds",
        *_comparisons(rows, number),
    ]
    text = "\n".join(lines)
    whole_file.write_text(folder / "table.txt", f"{text}\n")
    study_results.draw(rows, number, folder / "accuracy.png")
    study_results.draw_rates(rows, folder / "learning_rates.png")
    study_results.draw_slices(rows, folder / "slices.png")
    return text


def _comparisons(rows: list, number: int) -> list[str]:
    from ..vision import study_results

    methods = list(dict.fromkeys(row.method for row in rows))
    if "SSGD" not in methods:
        return []
    return [
        study_results.compare(rows, number, method, "SSGD")
        for method in methods
        if method != "SSGD"
    ]
