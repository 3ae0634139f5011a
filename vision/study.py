"""The large-batch study, run: what is finished is not run again, what was interrupted goes on.

Runs go into folders of their own, and what diverged says so.  Several processes share a grid by
`part`.
"""

from collections.abc import Iterator
from pathlib import Path

import cattrs

from ..core import processes, run_folder, whole_file
from . import experiment, slices
from .data import open_data
from .models.catalog import CATALOG
from .study_config import METHODS, SCALES, Run, StudyConfig
from .study_results import Row, read_result

DIVERGED = "diverged.txt"


def run(study: StudyConfig, folder: str | Path, *, part: tuple[int, int] = (1, 1)) -> Iterator[Row]:
    """Runs what is not finished yet, and yields every result of this part of the grid.

    Args:
        study: the grid.
        folder: where the folders of the runs go.
        part: (k, n) for the k-th of n processes that share the grid, from 1.

    Yields:
        The results, in the order of the grid.

    Raises:
        ValueError: if the study or `part` is out of range, or the folder holds a run of the same
            name with another configuration.
    """
    study.check()
    index, total = part
    if not 1 <= index <= total:
        raise ValueError(f"`part` must be K of N with 1 <= K <= N, got {index} of {total}.")
    for each in study.runs()[index - 1 :: total]:
        where = Path(folder) / each.name
        if not _is_finished(each, where):
            if processes.is_first():
                print(f"\n{where}", flush=True)
            try:
                experiment.train(each.config, where)
            except FloatingPointError as error:
                if processes.is_first():
                    whole_file.write_text(where / DIVERGED, f"{error}\n")
                processes.wait("the run diverged")
        if study.slices and processes.is_first() and (where / experiment.RESULT).exists():
            slices.measure(where, experiment.PACKED, open_data(each.config.data.name))
        yield _row(each, where)


def finished(study: StudyConfig, folder: str | Path) -> list[Row]:
    """What is there of a grid, of all its parts."""
    places = [(each, Path(folder) / each.name) for each in study.runs()]
    return [_row(each, where) for each, where in places if _is_finished(each, where)]


def num_classes(study: StudyConfig) -> int:
    """Classes of a study's data."""
    return {"fashion": 10, "cifar10": 10, "imagenet2012": 1000}[SCALES[study.scale].data.name]


def _is_finished(each: Run, where: Path) -> bool:
    """Whether a run has ended, well or not; the folder of another one is refused."""
    if not ((where / experiment.RESULT).exists() or (where / DIVERGED).exists()):
        return False
    run_folder.check_run(where, cattrs.unstructure(each.config), seed=each.config.seed)
    return True


def _row(each: Run, where: Path) -> Row:
    config = each.config
    return Row(
        CATALOG[each.network].title,
        config.data.batch_size,
        config.optimizer.learning_rate,
        METHODS[each.method].title,
        each.seed,
        read_result(where),
    )
