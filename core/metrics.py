"""Metrics of a run: one JSON object per line, TensorBoard event files, and means over a window.

A training step returns its metrics as device arrays.  A `Window` collects them without waiting for
the device; at the next log line they come to the host together and are averaged over the finite
values.  Each line of ``metrics.jsonl`` is flushed as it is written, so that a killed process loses
nothing but the line it was writing; a torn last line is ignored when the file is read.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from . import processes, whole_file

LOG_NAME = "metrics.jsonl"


class Log:
    """Writes the metrics of a run folder, as JSON lines and as TensorBoard events.

    Opening it cuts the log back to the step from which the run continues, so that no step is
    logged twice; TensorBoard is told to forget the later ones.

    Args:
        folder: the run folder; made if absent.
        step: number of finished steps at which the run starts or continues.
        enabled: False writes nothing, as all processes but the first do.

    Example:
        >>> with Log("runs/one") as log:
        ...     log.write(10, {"loss": 2.5})
    """

    def __init__(self, folder: str | Path, *, step: int = 0, enabled: bool = True):
        self._enabled = enabled
        if not enabled:
            return
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        cut_log(folder / LOG_NAME, step)
        self._file = open(folder / LOG_NAME, "a", encoding="utf-8")  # noqa: SIM115
        self._events = _EventFile(folder, step)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds one line {"step", "time" (seconds since 1970), **metrics}; null stands for NaN."""
        if not self._enabled:
            return
        values = {name: float(value) for name, value in metrics.items()}
        line = {"step": step, "time": round(time.time(), 3)} | _to_json(values)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        self._events.write(step, {name: x for name, x in values.items() if math.isfinite(x)})

    def close(self) -> None:
        """Closes both files."""
        if not self._enabled:
            return
        self._file.close()
        self._events.close()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


class _EventFile:
    """A TensorBoard event file; TensorBoard hides what earlier files hold after `step`.

    It is written at once, unlike that of ``tensorboardX.SummaryWriter``, which passes the events
    through a thread; a killed process takes those with it.
    """

    def __init__(self, folder: Path, step: int):
        # Imported here because it takes long.
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2

        self._messages: Any = event_pb2
        self._make_scalar = summary.scalar
        # Event files are named by the second they begin in; the suffix tells restarts apart.
        self._writer = event_file_writer.EventsWriter(str(folder / "events"), f".{step}")
        start = self._messages.SessionLog(status=self._messages.SessionLog.START)
        self._add(step + 1, file_version="brain.Event:2")
        self._add(step + 1, session_log=start)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._add(step, summary=self._make_scalar(name, value))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, step: int, **content) -> None:
        event = self._messages.Event(wall_time=time.time(), step=step, **content)
        self._writer.write_event(event)


class Window:
    """The metrics of the steps since the last log line.

    Args:
        values: metrics of earlier steps, as `values` gave them when the run was interrupted.
    """

    def __init__(self, values: list[dict[str, float | None]] | None = None):
        self._values = [_from_json(row) for row in values or []]
        self._pending: list[dict[str, jax.Array]] = []

    def add(self, metrics: dict[str, jax.Array]) -> None:
        """Takes the metrics of one step, arrays [] or, equal for all learners, [num_learners].

        Waits until the step two before this one is done: the device never idles, but the host
        cannot fill the memory with batches, and a request to stop is answered soon.
        """
        self._pending.append(metrics)
        if len(self._pending) > 2:
            jax.block_until_ready(self._pending[-3])

    def drain(self) -> list[dict[str, float]]:
        """Waits for the device; returns the metrics of the steps added since the last call."""
        fresh = [
            {name: float(np.mean(value, dtype=np.float64)) for name, value in metrics.items()}
            for metrics in jax.device_get(jax.tree.map(processes.local, self._pending))
        ]
        self._pending = []
        self._values += fresh
        return fresh

    @property
    def values(self) -> list[dict[str, float | None]]:
        """The drained metrics as JSON, one dict per step; None where a value is not finite."""
        return [_to_json(row) for row in self._values]

    def means(self) -> dict[str, float]:
        """The mean of each metric over the drained steps where it is finite, else NaN."""
        return {name: _finite_mean(column) for name, column in _columns(self._values).items()}

    def clear(self) -> None:
        """Starts the next window; call `drain` before."""
        self._values = []


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """Reads the metrics of a run.

    Args:
        path: the run folder or its ``metrics.jsonl``.

    Returns:
        One dict per line, in the order written: "step", "time" and the metrics, NaN where a value
        was not finite.  A torn last line is left out; without a file the list is empty.

    Raises:
        ValueError: if a line other than the last is not JSON.
    """
    path = Path(path)
    path = path if path.name == LOG_NAME or path.is_file() else path / LOG_NAME
    if not path.exists():
        return []
    return [_from_json(json.loads(line)) for line in _whole_lines(path)]


def cut_log(path: str | Path, step: int) -> None:
    """Removes the lines of steps after `step`, and a torn last line, by one renaming."""
    path = Path(path)
    if not path.exists():
        return
    kept = [line for line in _whole_lines(path) if json.loads(line)["step"] <= step]
    whole_file.write_text(path, "".join(line + "\n" for line in kept))


def _whole_lines(path: Path) -> Iterator[str]:
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    # What follows the last line break was still being written.
    for number, line in enumerate(lines[:-1], start=1):
        try:
            json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"`path` must hold one JSON object per line, but line {number} of {path} does not "
                f"({error}); remove that line."
            ) from None
        yield line


def _to_json(row: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _from_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}


def _columns(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    names = {name: None for row in rows for name in row}  # A dict keeps the order of the names.
    return {name: [row[name] for row in rows if name in row] for name in names}


def _finite_mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) / len(finite) if finite else math.nan
