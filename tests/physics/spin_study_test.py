"""What a study holds, that its parts do not depend on each other, and what its tables say."""

import csv
import dataclasses
import json

import jax
import numpy as np
import pytest

from gossamer.physics import spin_study
from gossamer.physics.spin_materials import find
from gossamer.physics.spin_study import Settings

VANADIUM = find("VSe2")


def test_parts_of_a_study():
    parts = spin_study.list_parts(VANADIUM, Settings(layers=(1, 2, 3)))
    curie = [name for name in parts if name.startswith("curie")]
    assert curie == [f"curie-{x}" for x in ("constant-1", "constant-2", "surface-2",
                                            "constant-3", "surface-3")]  # fmt: skip
    assert {"order-axis", "order-plane", "loop-layers-3", "texture-axis"} <= set(parts)
    plane = spin_study.list_parts(find("VSe2/plane"), Settings())
    assert set(plane) == {"order-axis", "order-plane", "texture-axis", "texture-plane"}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        # K(N) of surfaces at 1, 2 and 4 layers: 3, 0.5 and -0.75 meV, then -1.5, -0.25 and 0.375.
        (
            (3.0, -2.0),
            {
                *("curie-constant-1", "curie-constant-2", "curie-constant-4", "curie-surface-2"),
                *("loop-layers-1", "loop-layers-2", "loop-rate-4", "loop-rate-16"),
                *(f"loop-temperature-{factor}" for factor in (0.5, 0.75, 1.25)),
            },
        ),
        ((-1.5, 1.0), {"curie-surface-4", "loop-layers-4"}),
    ],
)
def test_each_part_has_an_easy_axis_of_its_own(numbers, expected):
    magnet = dataclasses.replace(VANADIUM, anisotropy=numbers[0], bulk_anisotropy=numbers[1])
    parts = spin_study.list_parts(magnet, Settings(layers=(1, 2, 4)))
    assert {name for name in parts if name.startswith(("curie", "loop"))} == expected


@pytest.mark.parametrize(("bulk", "films"), [(None, 0), (3.61, 0), (0.0, 2), (0.1, 2)])
def test_the_law_of_surfaces_is_followed_where_it_is_another(bulk, films):
    magnet = dataclasses.replace(VANADIUM, bulk_anisotropy=bulk)
    parts = spin_study.list_parts(magnet, Settings(layers=(1, 2, 4)))
    assert sum(name.startswith("curie-surface") for name in parts) == films


def test_loops_of_a_film_reach_its_own_field():
    magnet = dataclasses.replace(VANADIUM, anisotropy=0.0, bulk_anisotropy=2.0)
    settings = Settings(layers=(1, 2), loop_size=3, loop_steps=1, replicas=1)
    part = spin_study.list_parts(magnet, settings)["loop-layers-2"](jax.random.key(0))
    assert max(part["field"]) == pytest.approx(1.3 * magnet.switching_field(2))


def test_a_part_again_is_the_same_bits(tmp_path):
    settings = Settings(layers=(1, 2), loop_size=3, loop_steps=2, replicas=2, seed=3)
    name = "loop-layers-2"
    compute = spin_study.list_parts(VANADIUM, settings)[name]
    part = spin_study.run_part(name, compute, settings.seed)
    spin_study.write_part(tmp_path, name, part)
    assert spin_study.read_parts(tmp_path) == {name: part}
    assert not list(tmp_path.rglob("*.part"))
    again = spin_study.run_part(name, compute, settings.seed)
    assert json.dumps(again) == json.dumps(part)
    other = spin_study.run_part(name, compute, 4)
    assert other["magnetization"] != part["magnetization"]
    assert len(part["field"]) == len(part["magnetization"]) == len(part["dichroism"]) == 81
    assert part["rate"] == pytest.approx(1.3 * VANADIUM.switching_field() / 20 / 2)


def test_what_is_warned_about_is_kept():
    import warnings

    def compute(key: jax.Array):
        warnings.warn("careful", stacklevel=1)
        return {"value": 1.5}

    assert spin_study.run_part("x", compute, 0) == {"value": 1.5, "notes": ["careful"]}


def test_tables(tmp_path, spin_parts):
    spin_study.write_tables(spin_parts, tmp_path)
    for name, rows in (("curie", 3), ("order", 6), ("loops", 20)):
        with open(tmp_path / f"{name}.csv", newline="") as file:
            table = list(csv.DictReader(file))
        assert len(table) == rows
    with open(tmp_path / "curie.csv", newline="") as file:
        first = next(csv.DictReader(file))
    assert first["law"] == "constant"
    assert float(first["curie_K"]) == 320.0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"layers": (0,)}, "`layers` must be at least 1"),
        ({"sizes": (12,)}, "`sizes` must be at least two"),
        ({"sizes": (24, 12)}, "`sizes` must be at least two rising numbers"),
        ({"sizes": (12, 25)}, "multiple of 3"),
        ({"measurements": 5}, "`measurements` must be at least 20"),
        ({"temperature": 0.0}, "`temperature` must be positive"),
        ({"amplitude": 0.0}, "`amplitude` must be positive"),
    ],
)
def test_bad_settings(change, match):
    with pytest.raises(ValueError, match=match):
        spin_study.check(VANADIUM, dataclasses.replace(Settings(), **change))


@pytest.mark.parametrize("name", ["exchange", "moment"])
def test_bad_numbers(name):
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=f"`{name}` must be positive"):
            spin_study.check(dataclasses.replace(VANADIUM, **{name: value}), Settings())


def test_the_field_at_which_a_single_domain_turns_over():
    assert VANADIUM.switching_field() == pytest.approx(2 * 3.61 / 0.0578838)
    assert VANADIUM.switching_field(2) == pytest.approx(2 * 1.823 / 0.0578838)


def test_laws_of_thickness():
    laws = [[VANADIUM.anisotropy_of(n, law) for n in (1, 2, 1000)] for law in spin_study.LAWS]
    np.testing.assert_allclose(laws[0], 3.61)
    np.testing.assert_allclose(laws[1], [3.61, 1.823, 0.036], atol=0.005)
    with pytest.raises(ValueError, match="`law` must be one of constant, surface"):
        VANADIUM.anisotropy_of(2, "linear")
    with pytest.raises(ValueError, match="`material` must be one of VSe2"):
        find("VS2")
