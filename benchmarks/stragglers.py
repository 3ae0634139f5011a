"""One slow learner of four: updates per second and time to a loss, simulated and real.

    pip install '.[ray]'    # optional; without it Ray is left out
    python benchmarks/stragglers.py --figure docs/figures/stragglers.png

The task is a regression with noise whose batches each learner draws afresh; a gradient takes 20 ms
(a sleep, so that few cores suffice), with one learner 1, 2, 10 and 100 times slower, and a message
2 ms.  The loss is that of the mean weights.  The simulator runs all schemes, with a gamma jitter of
10%; threads and Ray actors run pairwise averaging, with constant sleeps and the machine's own
jitter.  The second table holds the simulator against the laws of `schemes`, for sixteen learners.
"""

import argparse
import functools
import importlib.util
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from gossamer.core import asynchrony, learners, schemes, stragglers, text_table, topology, traces
from gossamer.core.async_runtime import run_threads
from gossamer.core.ray_learner import import_ray
from gossamer.core.ray_runtime import run_ray
from gossamer.core.schemes import Pairwise, Ring, Synchronous
from gossamer.core.traces import Trace

N, DIM, BATCH = 4, 50, 8
MEAN, SECONDS = 0.02, 4.0  # of a gradient; of a run without barriers
LINK = stragglers.Link(latency=0.002)
FACTORS = (1, 2, 10, 100)
TARGET = 0.05  # of the loss; it starts near 1 and ends near 0.01, the noise
OPTIMIZER = optax.sgd(0.02)
GRAPH = topology.ring(N)
SCHEMES = {
    "synchronous SGD": Synchronous(topology.complete(N), "atc"),
    "delay-by-one": schemes.delay_by_one(N),
    "fixed ring": Ring(),
    "randomized ring": Ring(randomized=True),
    "pairwise": Pairwise(GRAPH),
}
WIDTHS = (1.6, 1.6, 7.0, 4.0, 1.6)  # in a plot: the last three schemes coincide
Curve = tuple[np.ndarray, np.ndarray, float]  # times, losses, updates per second


def main():
    parser = argparse.ArgumentParser(description="Schemes with one slow learner.")
    parser.add_argument("--figure", type=Path, help="where to write a plot of the simulated losses")
    options = parser.parse_args()
    curves = {f"{name}, simulated": simulated(scheme) for name, scheme in SCHEMES.items()}
    curves["pairwise, threads"] = real(run_threads)
    if importlib.util.find_spec("ray") is None:
        print("Ray is missing and left out; `pip install ray` adds it.")
    else:
        curves["pairwise, Ray"] = real_in_ray()
    print(report(curves))
    print(laws())
    if options.figure is not None:
        plot(curves).savefig(options.figure, dpi=90)


def make_task():
    """Gradient and expected loss of least squares with label noise 0.1, as closures that travel."""
    weights = jax.random.normal(jax.random.key(1), (DIM,))
    weights = np.asarray(weights / jnp.linalg.norm(weights))

    def gradient(params, batch, key):
        del batch
        draws = jax.random.normal(key, (BATCH, DIM + 1))
        x, noise = draws[:, :DIM], 0.1 * draws[:, DIM]
        return x.T @ (x @ (params - weights) - noise) / BATCH

    def evaluate(params):
        return jnp.sum(jnp.square(learners.average(params) - weights)) + 0.1**2

    return gradient, evaluate


GRADIENT, EVALUATE = make_task()
START = jnp.zeros((N, DIM))


def simulated(scheme) -> dict[int, Curve]:
    """By factor; schemes with a barrier run as much longer as they are slower."""
    found = {}
    for factor in FACTORS:
        paces = stragglers.straggler(N, factor, mean=MEAN, variation=0.1)
        horizon = SECONDS * (factor if isinstance(scheme, Synchronous) else 1)
        found[factor] = curve(asynchrony.simulate(scheme, paces, horizon=horizon, link=LINK))
    return found


def real(run) -> dict[int, Curve]:
    """A run by factor, of about `SECONDS`."""

    def run_with(factor):
        def before_gradient(learner, step):
            del step
            time.sleep(MEAN * (factor if learner == 0 else 1))

        num_updates = int(SECONDS / MEAN * (N - 1 + 1 / factor))
        return run(
            GRADIENT,
            OPTIMIZER,
            START,
            jax.random.key(0),
            GRAPH,
            num_updates=num_updates,
            before_gradient=before_gradient,
        )

    return {factor: curve(run_with(factor).trace) for factor in FACTORS}


def real_in_ray() -> dict[int, Curve]:
    """All runs in one cluster."""
    ray = import_ray()
    ray.init(num_cpus=N, include_dashboard=False, log_to_driver=False)
    try:
        return real(functools.partial(run_ray, patience=600.0))
    finally:
        ray.shutdown()


def curve(trace: Trace) -> Curve:
    """The loss after each event, and updates per second in the second half of the time.

    The first gradient counts as done after `MEAN`, so that compilation is left out.
    """
    _, losses = asynchrony.replay(
        padded(trace), GRADIENT, OPTIMIZER, START, jax.random.key(0), observe=EVALUATE
    )
    losses = np.asarray(losses)[: len(trace.time)]
    times = trace.time - trace.time[np.argmax(trace.applies)] + MEAN
    late = times > times[-1] / 2
    updates = np.where(trace.learner == traces.ALL, N, 1) * trace.applies
    return times, losses, updates[late].sum() / (times[-1] - times[-1] / 2)


def padded(trace: Trace, length: int = 4096) -> Trace:
    """With events in which nothing happens, up to one length, for which a replay compiles once."""
    nothing = {
        "pulls": traces.NOBODY,
        "answers": traces.NOBODY,
        "mixing": 0,
        "reads": 0,
        "applies": False,
        "settles": False,
        "offers": False,
    }
    num_events = len(trace.time)
    columns = {}
    for name in (*nothing, "time", "learner", "members"):
        column = getattr(trace, name)
        rest = np.repeat(column[-1:], max(length - num_events, 0), axis=0)
        columns[name] = np.concatenate([column, np.full_like(rest, nothing.get(name, rest))])
    return trace._replace(**columns)


def time_to_target(found: Curve) -> str:
    times, losses, _ = found
    reached = np.flatnonzero(losses <= TARGET)
    return f"{times[reached[0]]:.2f}" if len(reached) else f"> {times[-1]:.0f}"


def report(curves: dict[str, dict[int, Curve]]) -> str:
    head = ["", *(f"updates/s, {s}x" for s in FACTORS), *(f"s to loss, {s}x" for s in FACTORS)]
    rows = [head]
    for name, by_factor in curves.items():
        rates = [f"{found[2]:.1f}" for found in by_factor.values()]
        rows.append([name, *rates, *(time_to_target(found) for found in by_factor.values())])
    rows.append(["law, without barrier", *(f"{(N - 1 + 1 / s) / MEAN:.1f}" for s in FACTORS)])
    rows.append(["law, with barrier", *(f"{N / s / MEAN:.1f}" for s in FACTORS)])
    rows[-2:] = [row + [""] * (len(head) - len(row)) for row in rows[-2:]]
    return text_table.align(rows, right=range(1, len(head)))


def laws(n: int = 16, horizon: float = 2000.0) -> str:
    """Throughput and staleness of n learners in units of one gradient, 10% jitter."""
    rows = [["factor", "pairwise", "n - 1 + 1/s", "synchronous", "staleness", "slow", "others"]]
    for factor in (1, 2, 5, 10, 100):
        paces = stragglers.straggler(n, factor, variation=0.1)
        trace = asynchrony.simulate(Pairwise(topology.complete(n)), paces, horizon=horizon)
        barrier = Synchronous(topology.complete(n), "atc")
        waiting = traces.summarize(asynchrony.simulate(barrier, paces, horizon=horizon))
        summary = traces.summarize(trace)
        delays = summary.mean_staleness
        numbers = (
            summary.throughput,
            n - 1 + 1 / factor,
            waiting.throughput,
            traces.staleness(trace)[1].mean(),
            delays[0],
            delays[1:].mean(),
        )
        rows.append([str(factor), *(f"{x:.2f}" for x in numbers)])
    return text_table.align(rows, right=range(7))


def plot(curves: dict[str, dict[int, Curve]]) -> Figure:
    """Loss against simulated time, a panel for each factor."""
    figure = Figure(figsize=(9.0, 6.4), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    for factor, panel in zip(FACTORS, panels.flat, strict=True):
        for width, name in zip(WIDTHS, SCHEMES, strict=True):
            times, losses, _ = curves[f"{name}, simulated"][factor]
            panel.plot(times, losses, linewidth=width, label=name)
        panel.axhline(TARGET, color="0.7", linewidth=0.8)
        slow = f"one learner {factor} times slower" if factor > 1 else "equal learners"
        panel.set_title(slow, fontsize=10)
        panel.set_yscale("log")
        panel.set_xlim(0.0, SECONDS)
    for panel in panels[1]:
        panel.set_xlabel("simulated seconds")
    figure.supylabel("loss of the mean weights")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


if __name__ == "__main__":
    main()
