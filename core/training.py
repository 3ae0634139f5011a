"""The one training loop, which survives: it logs, validates, stores and continues.

`fit` runs the step of `train_step` without waiting for the device, logs, validates, and writes
checkpoints of everything that decides the future of a run: state with its random key, position in
the data, metrics not logged yet, best validation so far.  A run killed at any moment and started
again ends in the same bits as one left alone.
"""

import dataclasses
import signal as signals
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from . import checkpoint, interruption, metrics, processes, progress
from .train_step import TrainState as TrainState
from .train_step import init_state as init_state
from .train_step import staged as staged
from .train_step import train_step as train_step

State = TypeVar("State")  # `TrainState`, or whatever a step carries


def fit(
    step: Callable[[State, Any], tuple[State, dict[str, Any]]],
    state: State,
    batches: Iterator[Any],
    *,
    run_folder: str | Path,
    num_steps: int,
    checkpoint_every: int,
    log_every: int,
    validate: Callable[[State], dict[str, float]] | None = None,
    validate_every: int | None = None,
    best_metric: str | None = None,
    best_mode: Literal["min", "max"] = "min",
    schedule: Callable[[int], Any] | None = None,
    read: Callable[[Any], Any] = lambda state: state,
    place: Callable[[Any], Any] = lambda batch: batch,
    totals: Callable[[], Mapping[str, float]] = dict,
    max_skipped: int = 10,
    keep: int = 2,
    show_progress: bool = True,
) -> State:
    """Trains, or continues where the run in the folder stopped.

    On SIGTERM or Ctrl-C a checkpoint is written after the current step and the process exits; the
    same call then continues.  The metrics of ``metrics.jsonl`` are means since the last line; those
    of `validate` are written as "validation/<name>".

    Several processes (see `processes`) share the folder, in which the first one writes; all stop
    after the log line at which one of them was asked to.

    Args:
        step: a jitted step, see `train_step`.
        state: the state before the first step; it stays usable.
        batches: an iterator over batches.  With ``get_state`` and ``set_state`` (grain) its
            position is in the checkpoints; any other is taken to start anew with the same batches,
            and those of the finished steps are drawn again and dropped.
        run_folder: folder of the run, see `run_folder`.
        num_steps: number of steps of the whole run.
        checkpoint_every: steps between checkpoints; the last step has one in any case.
        log_every: steps between log lines, the only times when the loop waits for the device.
        validate: gives metrics of a state, for instance the error rate of the averaged model.
        validate_every: steps between validations; the default is only after the last step.
        best_metric: metric of `validate` whose best state is kept in the subfolder "best", to be
            read by ``checkpoint.restore(run_folder / "best", state)``.
        best_mode: whether the smallest ("min") or largest ("max") is best; the first of equals.
        schedule: learning rate by step, for display and log only; skipped steps do not advance
            the schedule of an optimizer, so that it then lags behind this one.
        read: gives the state to validate, store and return, where a step's result only stands for
            it, see `async_training.Steps`.
        place: puts a batch where `step` wants it; with several processes, see `learners.place`.
        totals: gives more metrics of a log line, which are no means over its steps.
        max_skipped: number of steps skipped in a row at which training stops, >= 1.
        keep: number of newest checkpoints to keep.
        show_progress: whether to show progress on standard error.

    Returns:
        The state after `num_steps` steps.

    Raises:
        ValueError: if an argument is out of range, `batches` ends early, `validate` does not give
            `best_metric`, or the checkpoint has another structure.
        FloatingPointError: after `max_skipped` steps in a row without a finite loss and gradient.
        SystemExit: after SIGTERM or Ctrl-C, with the code 128 + signal number.

    Example:
        >>> state = fit(step, state, iter(data), run_folder="runs/one", num_steps=1000,
        ...             checkpoint_every=100, log_every=10)
    """
    _check_positive(num_steps=num_steps, checkpoint_every=checkpoint_every, log_every=log_every)
    _check_positive(max_skipped=max_skipped, keep=keep)
    if best_metric is not None and validate is None:
        raise ValueError("`best_metric` needs `validate`, which measures it.")
    if best_mode not in ("min", "max"):
        raise ValueError(f'`best_mode` must be "min" or "max", got {best_mode!r}.')
    if validate_every is not None:
        _check_positive(validate_every=validate_every)
    folder = Path(run_folder)
    state, memory = _resume(folder, state, batches)
    start = memory.step
    window = metrics.Window(memory.window)
    signal = 0  # that asks to stop

    def store():
        saved = dataclasses.replace(memory, window=window.values, data=_position(batches))
        metadata = dataclasses.asdict(saved)
        checkpoint.save(folder / "checkpoints", memory.step, state, metadata, keep=keep)

    with (
        metrics.Log(folder, step=start, enabled=processes.is_first()) as log,
        progress.Display(
            num_steps, start=start, enabled=show_progress and processes.is_first()
        ) as display,
        interruption.Interruption() as stop,
    ):
        for number in range(start + 1, num_steps + 1):
            state, values = step(state, place(_next(batches, number, num_steps)))
            window.add(values)
            memory.step = number
            display.advance(number)
            last = number == num_steps
            logs = last or number % log_every == 0
            validates = last if validate_every is None else last or number % validate_every == 0
            if logs:
                _watch(memory, window.drain(), max_skipped, schedule, folder)
                line = window.means()
                if schedule is not None:
                    line["learning_rate"] = float(schedule(number - 1))
                line |= totals()
                log.write(number, line)
                display.report(number, line)
                window.clear()
            if validates and validate is not None:
                state = read(state)
                measured = {name: float(value) for name, value in validate(state).items()}
                log.write(number, {f"validation/{name}": x for name, x in measured.items()})
                display.report_validation(number, measured)
                if best_metric is not None and _improves(memory, measured, best_metric, best_mode):
                    memory.best = measured[best_metric]
                    checkpoint.save(folder / "best", number, state, measured, keep=1)
            if logs or not processes.are_several():
                # Read once: a signal may come at any moment.
                signal = processes.largest(stop.received or 0)
            stops = signal > 0
            if last or stops or number % checkpoint_every == 0:
                _watch(memory, window.drain(), max_skipped, schedule, folder)
                state = read(state)
                store()
            if stops:
                break
    if signal and memory.step < num_steps:
        if processes.is_first():
            print(
                f"{signals.Signals(signal).name} came: stopped after step {memory.step} of "
                f"{num_steps}, saved in {folder}; the same command continues from there.",
                file=sys.stderr,
            )
        raise SystemExit(128 + signal)
    return state


@dataclasses.dataclass
class _Memory:
    """What the loop itself must remember across a crash; it is the metadata of a checkpoint."""

    step: int = 0
    skipped: int = 0  # Steps skipped in a row.
    last_loss: float | None = None  # The last finite loss.
    best: float | None = None  # The best validation.
    window: list[dict[str, float | None]] = dataclasses.field(default_factory=list)
    data: Any = None  # Position of the data iterator.


def _resume(folder: Path, state: State, batches: Any) -> tuple[State, _Memory]:
    found = checkpoint.restore(folder / "checkpoints", state)
    if found is None:
        # The first step may donate its argument; the caller's arrays must survive that.
        return jax.tree.map(jnp.copy, state), _Memory()
    _, state, metadata = found
    memory = _Memory(**metadata)
    if memory.data is not None:
        if not hasattr(batches, "set_state"):
            raise ValueError(
                f"`batches` must have `set_state`, as they had when the run in {folder} began, got "
                f"{type(batches).__name__}; give the iterator of a grain dataset."
            )
        batches.set_state(_decode_position(memory.data))
    else:
        for number in range(memory.step):
            _next(batches, number + 1, memory.step)
    return state, memory


def _watch(memory, steps, max_skipped, schedule, folder) -> None:
    """Counts the steps skipped in a row and gives up at `max_skipped`."""
    for number, values in enumerate(steps, start=memory.step - len(steps) + 1):
        finite = values.get("finite", 1.0) == 1.0
        memory.skipped = 0 if finite else memory.skipped + 1
        if finite and np.isfinite(values.get("loss", np.nan)):
            memory.last_loss = values["loss"]
        if memory.skipped >= max_skipped:
            rate = "" if schedule is None else f", learning rate {float(schedule(number - 1)):.4g}"
            raise FloatingPointError(
                f"training stopped at step {number}: loss or gradient was not finite in "
                f"{memory.skipped} steps in a row (last finite loss {memory.last_loss}{rate}). "
                f"The last checkpoint in {folder} is good. Lower the learning rate, clip the "
                "gradient, or look for bad values in the batches, and start in another run folder."
            )


def _improves(memory: _Memory, measured: dict[str, float], name: str, mode: str) -> bool:
    if name not in measured:
        raise ValueError(
            f"`best_metric` must be one of the metrics of `validate`, got {name!r}; choose from "
            f"{sorted(measured)}."
        )
    value = measured[name]
    if not np.isfinite(value):
        return False
    if memory.best is None:
        return True
    return value < memory.best if mode == "min" else value > memory.best


def _next(batches: Iterator[Any], number: int, total: int) -> Any:
    try:
        return next(batches)
    except StopIteration:
        raise ValueError(
            f"`batches` must last for {total} steps, but ended at step {number}; repeat the data "
            "or lower `num_steps`."
        ) from None


def _position(batches: Any) -> Any:
    """The position of a grain iterator as JSON; None for plain iterators."""
    if not hasattr(batches, "get_state"):
        return None
    position = batches.get_state()
    return {"bytes": position.decode()} if isinstance(position, bytes) else {"json": position}


def _decode_position(position: dict[str, Any]) -> Any:
    return position["bytes"].encode() if "bytes" in position else position["json"]


def _check_positive(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}.")
