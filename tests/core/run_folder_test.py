"""A run folder belongs to one configuration."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest

from gossamer.core import run_folder


@dataclasses.dataclass(frozen=True)
class Model:
    hidden: int = 128
    sizes: tuple[int, ...] = (1, 2)


@dataclasses.dataclass(frozen=True)
class Config:
    rate: float = 0.1
    model: Model = Model()
    data: pathlib.Path = pathlib.Path("data")
    progress: bool = True
    note: str | None = None


def test_new_folder_holds_config_versions_and_seed(tmp_path):
    folder = run_folder.open_run(tmp_path / "a" / "run", Config(), seed=3)
    assert folder == tmp_path / "a" / "run"
    assert run_folder.read_config(folder) == {
        "rate": 0.1,
        "model": {"hidden": 128, "sizes": [1, 2]},
        "data": "data",
        "progress": True,
        "note": None,
    }
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["jax"] == jax.__version__
    assert versions["numpy"] == np.__version__
    assert versions["devices"] == ["cpu"] * jax.device_count()
    assert {"python", "gossamer", "flax", "optax", "platform"} <= set(versions)
    assert (folder / "seed").read_text() == "3\n"
    assert {x.name for x in folder.iterdir()} == {"config.json", "versions.json", "seed"}


def test_same_config_opens_again(tmp_path):
    for _ in range(2):
        run_folder.open_run(tmp_path, Config(), seed=3)
    changed = Config(progress=False)
    run_folder.open_run(tmp_path, changed, seed=3, free_fields=("progress",))
    assert run_folder.read_config(tmp_path)["progress"] is True


@pytest.mark.parametrize(
    ("config", "seed", "match"),
    [
        (Config(rate=0.2), 3, r"rate is 0.1 there and 0.2 here\. Choose another folder with --run"),
        (Config(model=Model(hidden=64)), 3, "model.hidden is 128 there and 64 here"),
        (Config(model=Model(sizes=(1,))), 3, r"model.sizes is \[1, 2\] there and \[1\] here"),
        (Config(), 4, "run seed is 3 there and 4 here"),
        ({"rate": 0.1}, 3, "note is null there and absent here"),
        (Config(rate=1, progress=False), 3, "rate is 0.1 there and 1 here, progress is true there"),
    ],
)
def test_other_config_is_refused_with_its_fields(config, seed, match, tmp_path):
    run_folder.open_run(tmp_path, Config(), seed=3)
    for look in (run_folder.check_run, run_folder.open_run):
        with pytest.raises(ValueError, match=match):
            look(tmp_path, config, seed=seed)


def test_foreign_folder_is_refused_and_half_made_one_is_finished(tmp_path):
    (tmp_path / "versions.json").write_text("{")  # What a killed process may leave.
    run_folder.open_run(tmp_path, Config(), seed=3)
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    for look in (run_folder.check_run, run_folder.open_run):
        with pytest.raises(ValueError, match="`folder` must be new, empty or hold a run"):
            look(other, Config(), seed=3)
    run_folder.check_run(tmp_path / "new", Config(), seed=3)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match=r"without config\.json"):
        run_folder.read_config(other)


def test_other_versions_are_warned_of(tmp_path):
    run_folder.open_run(tmp_path, Config(), seed=3)
    path = tmp_path / "versions.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"jax": "0.0.1"}))
    with pytest.warns(UserWarning, match=r"jax 0\.0\.1 -> "):
        run_folder.open_run(tmp_path, Config(), seed=3)


def test_numpy_scalars_are_stored_and_objects_refused(tmp_path):
    assert run_folder.as_json({"a": np.float32(0.5), "b": [Model()]}) == {
        "a": 0.5,
        "b": [{"hidden": 128, "sizes": [1, 2]}],
    }
    with pytest.raises(TypeError, match=r"`config` must hold numbers.*got function"):
        run_folder.open_run(tmp_path / "run", {"f": lambda: 0}, seed=0)
    assert not (tmp_path / "run").exists()
