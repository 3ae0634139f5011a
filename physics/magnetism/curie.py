"""The Curie temperature, from Binder cumulants of lattices of several sizes.

At the transition U = 1 - <m^4> / (3 <m^2>^2) no longer depends on the size of the lattice, so that
the curves U(T) of two sizes cross there, up to corrections that fall with the size.  Their
difference is negative below and positive above, and vanishes far from the transition on both sides,
where U is 2/3 and 0.  So the crossing is sought where all differences together change their sign,
and is the root of a straight line through those around that place which lie on a line.  Its error
comes from those of U.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from ..interactions.model import SpinModel, is_zero, warn_if_disordered
from ..samplers import runs
from ..samplers.clusters import swendsen_wang
from ..samplers.sampler import Sampler, chain
from ..samplers.sweeps import heat_bath, over_relaxation
from .estimates import mean_field
from .observables import Averages, average

ATTEMPTS = 8  # at temperatures around the transition

MakeSampler = Callable[[SpinModel], Sampler]


class Scan(NamedTuple):
    """Averages of one lattice at several temperatures."""

    model: SpinModel
    temperatures: np.ndarray  # [num], K
    averages: tuple[Averages, ...]  # [num]

    def values(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """An average and its error at each temperature, such as ``values("binder")``."""
        found = [getattr(each, name) for each in self.averages]
        return np.array([x.value for x in found]), np.array([x.error for x in found])


class Curie(NamedTuple):
    """A Curie temperature."""

    temperature: float  # K, crossing of the two largest lattices
    error: float  # K, statistical
    binder: float  # U at the crossing
    crossings: dict[tuple[int, int], tuple[float, float]]  # of each pair of sizes: K, error
    scans: tuple[Scan, ...]  # one for each size


def default_sampler(model: SpinModel) -> Sampler:
    """Clusters where the model has them, else a heat bath; over-relaxation for vectors."""
    clusters = is_zero(model.field) and is_zero(model.dmi)
    if model.spin == "ising":
        return swendsen_wang(model) if clusters else heat_bath(model)
    parts = [heat_bath(model), over_relaxation(model)]
    if clusters and not is_zero(model.anisotropy):
        parts.append(swendsen_wang(model))
    return chain(*parts)


def scan(
    model: SpinModel,
    temperatures: Sequence[float] | np.ndarray,
    *,
    key: jax.Array,
    measurements: int = 400,
    sweeps: int = 1,
    discard: int = 100,
    replicas: int = 4,
    make: MakeSampler = default_sampler,
    start: str = "up",
) -> Scan:
    """Averages over temperatures, all of them at once.

    Args:
        model: what to sample.
        temperatures: ``[num]``, K.
        key: random key.
        measurements: of each replica.
        sweeps: steps of the sampler between two measurements.
        discard: measurements before them that do not count.
        replicas: independent runs at each temperature.
        make: makes the sampler of a model.
        start: of the runs: up, plane or random.
    """
    sampler = make(model)
    run = runs.advance(sampler, measurements=discard + measurements, sweeps=sweeps)
    return _scan(sampler, run, temperatures, key, discard, replicas, start)


def _scan(sampler: Sampler, run: Callable, temperatures, key, discard, replicas, start) -> Scan:
    """Averages by a compiled run, which serves any temperatures."""
    first, second = jax.random.split(key)
    states = runs.start(sampler, first, temperatures, replicas, start)
    series = jax.tree.map(lambda leaf: np.asarray(leaf[:, :, discard:]), run(second, states)[1])
    temperatures = np.atleast_1d(np.asarray(temperatures, np.float64))
    found = tuple(
        average(sampler.model, jax.tree.map(lambda leaf, at=place: leaf[at], series), float(each))
        for place, each in enumerate(temperatures)
    )
    return Scan(sampler.model, temperatures, found)


def curie_temperature(
    model: SpinModel,
    *,
    key: jax.Array,
    sizes: Sequence[int] = (12, 24),
    temperatures: Sequence[float] | np.ndarray | None = None,
    num: int = 7,
    width: float = 0.08,
    measurements: int = 400,
    sweeps: int = 1,
    replicas: int = 4,
    make: MakeSampler = default_sampler,
) -> Curie:
    """The temperature at which the Binder cumulants of several sizes cross.

    Args:
        model: its lattice is resized to each of the sizes.
        key: random key.
        sizes: rising, at least two; cells along a1 and a2.
        temperatures: K; by default `num` of them within `width` of where the smallest lattice
            seems to order, and moved where the curves do not cross.
        num: number of temperatures of the default.
        width: of the default, relative.
        measurements: of each replica and temperature; see `scan`.
        sweeps: see `scan`.
        replicas: see `scan`.
        make: see `scan`.

    Returns:
        A `Curie`; its error is statistical and knows nothing of what larger sizes would change.

    Raises:
        ValueError: if there are fewer than two sizes, or the curves do not cross.

    Warns:
        UserWarning: if the model orders at no temperature.

    Example:
        >>> curie_temperature(SpinModel(Lattice(), spin="ising"), key=jax.random.key(0))
    """
    if len(sizes) < 2 or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"`sizes` must be at least two rising numbers, got {list(sizes)}.")
    warn_if_disordered(model)
    models = [model.resized(size) for size in sizes]
    given = temperatures is not None
    discard = max(measurements // 4, 20)
    samplers = [make(each) for each in models]
    compiled = [
        runs.advance(each, measurements=discard + measurements, sweeps=sweeps) for each in samplers
    ]
    if temperatures is None:
        center = locate(models[0], key=jax.random.fold_in(key, len(sizes)), make=make)
        temperatures = center * np.linspace(1 - width, 1 + width, num)
    temperatures = np.asarray(temperatures, np.float64)
    scans: tuple[Scan, ...] = ()
    for attempt in range(1 if given else ATTEMPTS):
        scans = tuple(
            _scan(
                sampler,
                run,
                temperatures,
                jax.random.fold_in(key, 1000 * (attempt + 1) + place),
                discard,
                replicas,
                "up",
            )
            for place, (sampler, run) in enumerate(zip(samplers, compiled, strict=True))
        )
        if given or attempt == ATTEMPTS - 1 or _crosses(scans[-2], scans[-1]):
            break
        below = np.mean(scans[-2].values("binder")[0] < scans[-1].values("binder")[0])
        temperatures = temperatures * (1 + width if below > 0.5 else 1 - width)
    crossings, height = {}, 0.0
    for (small, low), (large, high) in itertools.pairwise(zip(sizes, scans, strict=True)):
        crossing, error, height = cross(low, high)
        crossings[small, large] = (crossing, error)
    temperature, error = crossings[sizes[-2], sizes[-1]]
    return Curie(temperature, error, height, crossings, scans)


def locate(
    model: SpinModel, *, key: jax.Array, make: MakeSampler = default_sampler, level: float = 0.72
) -> float:
    """Where a small lattice seems to order: U at `level` of its largest value; K, to about 5%."""
    grid = mean_field(model) * np.linspace(0.2, 1.05, 18)
    found = scan(model, grid, key=key, measurements=120, discard=80, replicas=2, make=make)
    ordered = np.flatnonzero(found.values("binder")[0] > level * 2 / 3)
    place = ordered[-1] if len(ordered) else 0
    return float(0.5 * (grid[place] + grid[min(place + 1, len(grid) - 1)]))


def cross(low: Scan, high: Scan, *, draws: int = 400) -> tuple[float, float, float]:
    """Where the Binder cumulants of two scans cross.

    Returns:
        The temperature, its standard error, both in K, and U there.

    Raises:
        ValueError: if they do not cross within the temperatures.
    """
    temperatures = low.temperatures
    (u, du), (v, dv) = low.values("binder"), high.values("binder")
    error = np.maximum(np.hypot(du, dv), 1e-6)
    window = _window(temperatures, u - v, error)
    if window is None:
        raise ValueError(
            f"the Binder cumulants do not cross between {temperatures[0]:.4g} and "
            f"{temperatures[-1]:.4g} K; give other `temperatures`, larger `sizes`, or more "
            "`measurements`."
        )
    noise = error * np.random.default_rng(0).normal(size=(draws, len(u)))
    slopes, roots = np.transpose(
        [_line(temperatures, u - v + each, error, window) for each in [0 * error, *noise]]
    )
    # The median deviation knows nothing of the few lines that noise has made almost level.
    spread = 1.4826 * np.median(np.abs(roots[1:] - roots[0]))
    if np.mean(slopes[1:] > 0) < 0.9:
        spread = np.inf
    return float(roots[0]), float(spread), float(np.interp(roots[0], temperatures, u))


def _crosses(low: Scan, high: Scan) -> bool:
    try:
        cross(low, high, draws=1)
    except ValueError:
        return False
    return True


def _window(temperatures: np.ndarray, difference: np.ndarray, error: np.ndarray) -> slice | None:
    """The temperatures around the change from negative to positive that lie on a line.

    Two at least; more on both sides as long as a line misses them by no more than their errors.
    """
    score = np.cumsum(difference / error)
    below = int(np.argmin(score[:-1]))
    if not (score[below] < 0 < score[-1] - score[below]):
        return None
    left, right = difference[below : below + 2]
    if not (left <= 0 <= right and left < right):
        return None
    window = slice(below, below + 2)
    for reach in range(1, len(temperatures) - 2):
        wider = slice(max(below - reach, 0), below + 2 + reach)
        x, y, sigma = temperatures[wider], difference[wider], error[wider]
        slope, root = _line(temperatures, difference, error, wider)
        misfit, freedom = np.sum(((y - slope * (x - root)) / sigma) ** 2), len(x) - 2
        if slope <= 0 or misfit > freedom + 2 * np.sqrt(2 * freedom):
            break
        window = wider
    return window


def _line(
    temperatures: np.ndarray, difference: np.ndarray, error: np.ndarray, window: slice
) -> tuple[float, float]:
    """Slope and root of a straight line, fitted by least squares."""
    x, y, weights = temperatures[window], difference[window], 1 / error[window]
    center = x.mean()
    slope, height = np.polyfit(x - center, y, 1, w=weights)
    return slope, center - height / slope
