"""Fair timing for the scripts beside this file: contenders take turns in one process."""

import statistics
import time
from collections.abc import Callable

import jax


def alternate(
    contenders: dict[str, Callable],
    turns: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each contender, in turns after one that does not count.

    Args:
        contenders: functions without arguments; what they return is waited for.
        turns: of each.
        clock: tells seconds; `time.process_time` is disturbed less by other work on the machine.

    Returns:
        [turns] seconds by name.
    """
    times = {name: [] for name in contenders}
    for turn in range(1 + turns):
        for name, run in contenders.items():
            start = clock()
            jax.block_until_ready(run())
            if turn:
                times[name].append(clock() - start)
    return times


def timed(run: Callable, turns: int) -> float:
    """The median seconds of one contender alone, see `alternate`."""
    return statistics.median(alternate({"": run}, turns)[""])
