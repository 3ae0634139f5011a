"""What a person sees while a run is working: a live line in a terminal, plain lines in a log.

In a terminal or a notebook `Display` draws one bar with step, loss, learning rate, steps per
second, time left and the last validation.  Elsewhere, as in the log of a cluster job, it prints one
line per log interval.  Before the first step, whose program is yet to be compiled, it says so.
Speed is that of steps: neither the first one nor validations count.  Everything goes to standard
error.
"""

import datetime
import math
import time
from collections.abc import Mapping

COMPILES = "compiling"


class Display:
    """Shows the progress of a run; a context manager.

    Args:
        total: number of steps of the whole run.
        start: number of steps finished before.
        enabled: False shows nothing at all.
        console: a `rich.console.Console` to write to; the default is standard error.

    Example:
        >>> with Display(100) as display:
        ...     display.advance(1)
        ...     display.report(1, {"loss": 2.5})
    """

    def __init__(self, total: int, *, start: int = 0, enabled: bool = True, console=None):
        self._total = total
        self._start = start
        self._enabled = enabled
        self._console = console
        self._bar = None
        self._validation = ""

    def __enter__(self) -> "Display":
        if not self._enabled:
            self._console = None
            return self
        import rich.console  # Imported here because a silent run does not need it.

        self._console = self._console or rich.console.Console(stderr=True)
        self._mark = (self._start, time.monotonic())
        if self._console.is_terminal or self._console.is_jupyter:
            self._bar = _make_bar(self._console)
            self._task = self._bar.add_task(
                "training", total=self._total, completed=self._start, metrics=COMPILES, speed=""
            )
            self._bar.start()
        elif self._start < self._total:
            self.say(f"step {self._start}/{self._total}  {COMPILES}")
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, step: int) -> None:
        """Notes that `step` steps are finished."""
        if step == self._start + 1:
            self._mark = (step, time.monotonic())
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
            if step == self._start + 1:
                self._bar.update(self._task, metrics="")

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows the metrics of a log line, and the speed since the one before."""
        if not self._enabled:
            return
        shown = _format(metrics, ("loss", "learning_rate")) + self._validation
        rate = self._rate(step)
        speed = "" if rate is None else f"{rate:.3g} steps/s"
        if self._bar is not None:
            self._bar.update(self._task, metrics=shown, speed=speed)
        else:
            line = f"step {step}/{self._total}  {shown}"
            if rate is not None:
                left = datetime.timedelta(seconds=round((self._total - step) / rate))
                line += f"  {speed}  {left} left"
            self.say(line)

    def report_validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Shows the metrics of a validation, and keeps them in view."""
        if not self._enabled:
            return
        self._validation = "  validation: " + _format(metrics, metrics)
        self.say(f"step {step}/{self._total}{self._validation}")
        self._mark = (step, time.monotonic())

    def say(self, line: str) -> None:
        """Prints one line, above the bar where there is one."""
        if self._console is not None:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _rate(self, step: int) -> float | None:
        """Steps per second since the last mark; None where there were none."""
        (before, then), self._mark = self._mark, (step, time.monotonic())
        if step == before:
            return None
        return (step - before) / max(self._mark[1] - then, 1e-9)


class Amount:
    """Shows how much of something is done, where that is no step of a training; a context manager.

    Args:
        total: all of it.
        unit: what it is counted in.
        console: a `rich.console.Console` to write to; the default is standard error.

    Example:
        >>> with Amount(2.5, "hours") as amount:
        ...     amount.report(0.5, "620 utterances")
    """

    LINES = 20  # of a log

    def __init__(self, total: float, unit: str, *, console=None):
        self._total, self._unit, self._console = total, unit, console
        self._bar, self._lines = None, 0

    def __enter__(self) -> "Amount":
        import rich.console
        from rich import progress

        self._console = self._console or rich.console.Console(stderr=True)
        if self._console.is_terminal or self._console.is_jupyter:
            self._bar = progress.Progress(
                progress.BarColumn(bar_width=None),
                progress.TextColumn("{task.description}"),
                progress.TimeRemainingColumn(elapsed_when_finished=True),
                console=self._console,
            )
            self._task = self._bar.add_task("", total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *exception) -> None:
        if self._bar is not None:
            self._bar.stop()

    def report(self, done: float, note: str = "") -> None:
        """Notes how much is done; in a log, a line for each twentieth."""
        shown = f"{done}" if isinstance(done, int) else f"{done:.2f}"
        line = f"{shown} of {self._total:g} {self._unit}  {note}".rstrip()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=line)
        elif self._console is not None and done * self.LINES >= (self._lines + 1) * self._total:
            self._lines = int(done / self._total * self.LINES)
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _make_bar(console):
    from rich import progress

    return progress.Progress(
        progress.MofNCompleteColumn(),
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.fields[speed]}"),
        progress.TimeRemainingColumn(elapsed_when_finished=True),
        progress.TextColumn("{task.fields[metrics]}"),
        console=console,
    )


def _format(metrics: Mapping[str, float], names) -> str:
    shown = ((name.replace("_", " "), metrics[name]) for name in names if name in metrics)
    return "  ".join(f"{name} {x:.4g}" if math.isfinite(x) else f"{name} {x}" for name, x in shown)
