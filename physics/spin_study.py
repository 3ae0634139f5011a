"""A layered magnet from a monolayer to a film: what ``gossamer spins`` computes.

A study is a list of parts that do not depend on each other.  Each has a random key of its own, made
from the seed and its name, and its numbers are written as JSON when they are complete: a run that
was stopped computes what is missing and ends with the same bits.
"""

import csv
import dataclasses
import json
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..core import whole_file
from .interactions.model import SpinModel
from .magnetism.curie import curie_temperature, default_sampler, scan
from .magnetism.dichroism import dichroism
from .magnetism.estimates import mean_field, random_phase, torelli_olsen
from .magnetism.hysteresis import hysteresis
from .samplers.sampler import repeat
from .samplers.sweeps import heat_bath
from .spin_materials import LAWS, Law, Magnet

Part = dict[str, Any]  # JSON


@dataclasses.dataclass(frozen=True)
class Settings:
    """How much is computed."""

    layers: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    sizes: tuple[int, ...] = (12, 24)  # of the Binder crossing, cells
    measurements: int = 600  # of each replica and temperature
    replicas: int = 4
    temperature: float = 300.0  # K, of the loops
    amplitude: float | None = None  # T, of the loops; by default above that of a single domain
    loop_steps: int = 100  # sweeps at each field
    loop_size: int = 24  # cells
    depth: float = 20.0  # nm, to which light reaches
    seed: int = 0


def list_parts(magnet: Magnet, settings: Settings) -> dict[str, Callable[[jax.Array], Part]]:
    """The parts of a study by name, each a function of its random key.

    Raises:
        ValueError: if the numbers of the magnet or the settings do not fit.
    """
    check(magnet, settings)
    parts: dict[str, Callable[[jax.Array], Part]] = {}
    for count in settings.layers:
        one_law = count == 1 or magnet.bulk_anisotropy in (None, magnet.anisotropy)
        for law in LAWS[:1] if one_law else LAWS:
            if magnet.anisotropy_of(count, law) > 0:
                parts[f"curie-{law}-{count}"] = _bind(_curie, magnet, settings, count, law)
    for name, sign in (("axis", 1), ("plane", -1)):
        parts[f"order-{name}"] = _bind(_order, magnet, settings, sign)
    for count in _few(settings.layers):
        if magnet.anisotropy_of(count, "surface") > 0:
            parts[f"loop-layers-{count}"] = _bind(_loop, magnet, settings, count, 1.0, 1)
    first = settings.layers[0]
    if magnet.anisotropy_of(first, "surface") > 0:
        for factor in (0.5, 0.75, 1.25):
            parts[f"loop-temperature-{factor:g}"] = _bind(_loop, magnet, settings, first, factor, 1)
        for faster in (4, 16):
            parts[f"loop-rate-{faster}"] = _bind(_loop, magnet, settings, first, 1.0, faster)
    for name, sign in (("axis", 1), ("plane", -1)):
        parts[f"texture-{name}"] = _bind(_texture, magnet, settings, sign)
    return parts


def run_part(name: str, compute: Callable[[jax.Array], Part], seed: int) -> Part:
    """Computes a part with the key of its name; what it warned about is kept under "notes"."""
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(name.encode()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        part = compute(key)
    notes = [str(each.message) for each in caught if each.category is UserWarning]
    return json.loads(json.dumps(part | {"notes": notes}))


def write_part(folder: Path, name: str, part: Part) -> None:
    """Writes ``parts/NAME.json``, all of it or nothing."""
    path = folder / "parts" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    whole_file.write_text(path, json.dumps(part) + "\n")


def read_parts(folder: Path) -> dict[str, Part]:
    """The parts in a folder by name."""
    paths = sorted((folder / "parts").glob("*.json"))
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def check(magnet: Magnet, settings: Settings) -> None:
    """Refuses numbers and settings that do not fit.

    Raises:
        ValueError: naming the number or the setting.
    """
    if not magnet.exchange > 0:
        raise ValueError(f"`exchange` must be positive, in meV, got {magnet.exchange}.")
    if not magnet.moment > 0:
        raise ValueError(f"`moment` must be positive, in Bohr magnetons, got {magnet.moment}.")
    if not settings.layers or min(settings.layers) < 1:
        raise ValueError(f"`layers` must be at least 1, got {settings.layers}.")
    if len(settings.sizes) < 2 or list(settings.sizes) != sorted(set(settings.sizes)):
        raise ValueError(f"`sizes` must be at least two rising numbers, got {settings.sizes}.")
    if settings.measurements < 20 or settings.replicas < 1:
        raise ValueError(
            "`measurements` must be at least 20 and `replicas` at least 1, got "
            f"{settings.measurements} and {settings.replicas}."
        )
    if not settings.temperature > 0:
        raise ValueError(f"`temperature` must be positive, in K, got {settings.temperature}.")
    if settings.amplitude is not None and not settings.amplitude > 0:
        raise ValueError(f"`amplitude` must be positive, in T, got {settings.amplitude}.")
    for size in (*settings.sizes, settings.loop_size):
        magnet.model(size)


def _bind(function: Callable[..., Part], *arguments: Any) -> Callable[[jax.Array], Part]:
    return lambda key: function(*arguments, key)


def _few(layers: Sequence[int]) -> list[int]:
    """The first, a middle and the last."""
    return sorted({layers[0], layers[len(layers) // 2], layers[-1]})


def _curie(magnet: Magnet, settings: Settings, count: int, law: Law, key: jax.Array) -> Part:
    model = magnet.model(settings.sizes[0], layers=count, law=law)
    found = curie_temperature(
        model,
        key=key,
        sizes=settings.sizes,
        measurements=settings.measurements,
        replicas=settings.replicas,
    )
    part: Part = {
        "layers": count,
        "law": law,
        "anisotropy": magnet.anisotropy_of(count, law),
        "temperature": found.temperature,
        "error": found.error,
        "binder_at_crossing": found.binder,
        "temperatures": found.scans[0].temperatures.tolist(),
        "sizes": list(settings.sizes),
        "estimates": {"mean field": mean_field(model), "random phase": random_phase(model)},
    }
    if count == 1:
        part["estimates"]["Torelli and Olsen"] = torelli_olsen(model)
    for name in ("binder", "magnetization"):
        pairs = [each.values(name) for each in found.scans]
        part[name] = [value.tolist() for value, _ in pairs]
        part[f"{name}_error"] = [error.tolist() for _, error in pairs]
    return part


def _order(magnet: Magnet, settings: Settings, sign: int, key: jax.Array) -> Part:
    """Order, fluctuations and stiffness of the monolayer over a wide range of temperatures."""
    model = _signed(magnet, settings.sizes[-1], sign)
    top = mean_field(model.replace(anisotropy=abs(float(model.anisotropy))))
    temperatures = top * np.linspace(0.08, 0.98, 13)
    found = scan(
        model,
        temperatures,
        key=key,
        measurements=settings.measurements,
        discard=settings.measurements // 4,
        replicas=settings.replicas,
        start="up" if sign > 0 else "plane",
    )
    part: Part = {"temperatures": temperatures.tolist(), "anisotropy": float(model.anisotropy)}
    names = ("magnetization", "energy", "specific_heat", "susceptibility", "binder", "helicity")
    for name in names:
        values, errors = found.values(name)
        part[name], part[f"{name}_error"] = values.tolist(), errors.tolist()
    return part


def _loop(
    magnet: Magnet, settings: Settings, count: int, factor: float, faster: int, key: jax.Array
) -> Part:
    """A hysteresis loop of a film at a multiple of the temperature, at a multiple of the rate."""
    model = magnet.model(settings.loop_size, layers=count, law="surface")
    found = hysteresis(
        model,
        factor * settings.temperature,
        key=key,
        amplitude=settings.amplitude or 1.3 * max(map(magnet.switching_field, (1, count))),
        steps=max(settings.loop_steps // faster, 1),
        replicas=settings.replicas,
    )
    signal = dichroism(found.layers, spacing=magnet.spacing, depth=settings.depth)
    return {
        "layers": count,
        "temperature": found.temperature,
        "rate": found.rate,
        "field": found.field.tolist(),
        "magnetization": found.magnetization.mean(0).tolist(),
        "dichroism": signal.tolist(),
        "coercivity": found.coercivity if np.isfinite(found.coercivity) else None,
        "error": found.error if np.isfinite(found.error) else None,
        "remanence": found.remanence,
    }


def _texture(magnet: Magnet, settings: Settings, sign: int, key: jax.Array) -> Part:
    """Spins of a monolayer after a quench from random directions, at two temperatures."""
    model = _signed(magnet, 2 * settings.sizes[-1], sign)
    sampler = default_sampler(model) if sign < 0 else heat_bath(model)
    top = mean_field(model.replace(anisotropy=abs(float(model.anisotropy))))
    i, j = model.lattice.indices[0].ravel(), model.lattice.indices[1].ravel()
    pictures = []
    for one, part in zip(jax.random.split(key, 3), (0.15, 0.4, 0.7), strict=True):
        state = sampler.init(one, part * top)
        state, _ = jax.jit(repeat(sampler, 60).step)(one, state)
        grid = np.zeros((3, model.lattice.size[1], model.lattice.size[0]))
        grid[:, j, i] = np.asarray(state.spins).reshape(3, -1)
        pictures.append({"temperature": part * top, "spins": np.round(grid, 3).tolist()})
    return {"pictures": pictures, "constant": magnet.constant}


def _signed(magnet: Magnet, size: int, sign: int) -> SpinModel:
    """The monolayer with an easy axis (1) or an easy plane (-1) of the same size."""
    return magnet.model(size).replace(anisotropy=sign * abs(magnet.anisotropy))


def write_tables(parts: dict[str, Part], folder: Path) -> None:
    """Writes ``curie.csv``, ``order.csv`` and ``loops.csv``; units stand in their headers."""
    curie = [part for name, part in parts.items() if name.startswith("curie-")]
    rows = [
        [p["law"], p["layers"], p["anisotropy"], p["temperature"], p["error"],
         p["binder_at_crossing"]]
        for p in sorted(curie, key=lambda p: (p["law"], p["layers"]))
    ]  # fmt: skip
    head = ["law", "layers", "anisotropy_meV", "curie_K", "error_K", "binder"]
    _write(folder / "curie.csv", head, rows)
    names = ("magnetization", "energy", "specific_heat", "susceptibility", "binder", "helicity")
    rows = []
    for kind in ("axis", "plane"):
        part = parts.get(f"order-{kind}", {"temperatures": []})
        for place, temperature in enumerate(part["temperatures"]):
            rows.append([f"easy {kind}", temperature, *(part[name][place] for name in names)])
    head = ["easy", "temperature_K", "magnetization", "energy_meV", "specific_heat_k"]
    _write(folder / "order.csv", [*head, "susceptibility_per_T", "binder", "helicity_meV"], rows)
    rows = []
    for name, part in parts.items():
        if name.startswith("loop-"):
            for values in zip(part["field"], part["magnetization"], part["dichroism"], strict=True):
                rows.append([part["layers"], part["temperature"], part["rate"], *values])
    head = ["layers", "temperature_K", "rate_T_per_sweep", "field_T", "magnetization", "dichroism"]
    _write(folder / "loops.csv", head, rows)


def _write(path: Path, head: list[str], rows: list[list[Any]]) -> None:
    with whole_file.draft(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(head)
        table.writerows([f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows)
