"""Fair timing for the scripts beside this file: contenders take turns in one process."""

import time
from collections.abc import Callable

import jax


def alternate(contenders: dict[str, Callable], turns: int) -> dict[str, list[float]]:
    """Seconds of each contender, in turns after one that does not count.

    Args:
        contenders: functions without arguments; what they return is waited for.
        turns: of each.

    Returns:
        [turns] seconds by name.
    """
    times = {name: [] for name in contenders}
    for turn in range(1 + turns):
        for name, run in contenders.items():
            start = time.perf_counter()
            jax.block_until_ready(run())
            if turn:
                times[name].append(time.perf_counter() - start)
    return times
