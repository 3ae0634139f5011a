"""A whole run: it resumes bit for bit, and what it packs is what it scores."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import learners, metrics
from gossamer.core.learners_config import LearnersConfig
from gossamer.vision import classifier, data, experiment, slices
from gossamer.vision.run_config import DataConfig, NetworkConfig, OptimizerConfig, VisionConfig

CONFIG = VisionConfig(
    data=DataConfig(size=8, batch_size=8),
    network=NetworkConfig("resnet18", width=0.1),
    optimizer=OptimizerConfig(steps=4, average=0.5),
    learners=LearnersConfig(number=2, engine="shard_map"),
    statistics_images=16,
    log_every=1,
    validate_every=2,
    checkpoint_every=1,
)


pytestmark = pytest.mark.usefixtures("short_resnet")


def without_times(folder):
    return [{k: v for k, v in row.items() if k != "time"} for row in metrics.read_log(folder)]


@pytest.fixture(scope="module")
def run(tmp_path_factory, short_resnet):
    folder = tmp_path_factory.mktemp("runs") / "one"
    return folder, experiment.train(CONFIG, folder, show_progress=False)


def test_a_run_leaves_its_score_and_its_classifier(run):
    folder, score = run
    result = json.loads((folder / "result.json").read_text())
    assert (result["accuracy"], result["images"]) == (score.accuracy, 2000)
    assert 0 < result["accuracy_low"] <= score.accuracy <= result["accuracy_high"] < 1
    assert (folder / "curves.png").stat().st_size > 10_000
    log = metrics.read_log(folder)
    assert [row["step"] for row in log if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in log if "validation/accuracy" in row] == [2, 4]
    assert all(np.isfinite(row["consensus_distance"]) for row in log if "loss" in row)
    # Half precision may move an image or two across a boundary.
    assert log[-1]["validation/accuracy"] == pytest.approx(score.accuracy, abs=0.005)


def test_an_interrupted_run_continues_bit_for_bit(run, tmp_path, monkeypatch):
    folder, _ = run

    def fail(*_, **__):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(classifier, "evaluate", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            experiment.train(CONFIG, tmp_path / "two", show_progress=False)
    experiment.train(CONFIG, tmp_path / "two", show_progress=False)
    packed = [classifier.load(path / experiment.PACKED) for path in (folder, tmp_path / "two")]
    jax.tree.map(np.testing.assert_array_equal, packed[0].variables, packed[1].variables)
    assert without_times(folder)[-1] == without_times(tmp_path / "two")[-1]


# The command line, with the network of `short_resnet`.
START = """
import functools, sys
from gossamer.cli.main import main
from gossamer.vision.models import catalog

make = functools.partial(catalog.ResNet, blocks=(1, 1))
catalog.CATALOG["resnet18"] = catalog.CATALOG["resnet18"]._replace(make=make)
sys.exit(main(sys.argv[1:]))
"""
OPTIONS = """--model resnet18 --width 0.1 --data.size 8 --data.batch-size 8 --learners 2
--statistics-images 16 --optimizer.steps 2 --optimizer.learning-rate 1e-3 --log-every 1"""


@pytest.mark.slow
def test_two_processes_are_one_run(tmp_path, free_address):
    address, folder = free_address(), tmp_path / "run"
    command = [sys.executable, "-c", START, "--cluster"]
    running = [
        subprocess.Popen(
            [*command, f"{address},2,{i}", *f"train vision {OPTIONS} --run {folder}".split()],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=240)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    assert "step 2/2" in said[0]
    assert "accuracy" in said[0]
    assert "step" not in said[1]
    assert "accuracy" not in said[1]
    log = metrics.read_log(folder)
    assert [row["step"] for row in log if "loss" in row] == [1, 2]
    assert all(row["consensus_distance"] > 0 for row in log if "loss" in row)
    result = json.loads((folder / "result.json").read_text())
    assert result["loss"] == pytest.approx(log[-1]["validation/loss"], rel=0.01)


def test_another_configuration_is_refused(run):
    folder, _ = run
    with pytest.raises(ValueError, match=r"learning_rate is 0.1 there and 0.2 here"):
        experiment.train(
            replace(CONFIG, optimizer=replace(CONFIG.optimizer, learning_rate=0.2)), folder
        )


def test_scoring_again_gives_the_same(run):
    folder, score = run
    seconds = json.loads((folder / "result.json").read_text())["training_seconds"]
    assert experiment.score_run(folder) == score
    assert json.loads((folder / "result.json").read_text())["training_seconds"] == seconds
    with pytest.raises(ValueError, match=r"no classifier.safetensors there"):
        experiment.score_run(folder.parent)


def test_a_slice_passes_through_the_model(run):
    folder, _ = run
    images = data.fashion()
    found = slices.measure(folder, experiment.PACKED, images, points=3)
    model = classifier.load(folder / experiment.PACKED)
    score = classifier.evaluate(model, images, number=slices.NUMBER)
    assert found["positions"] == [-1.0, 0.0, 1.0]
    assert found["losses"][1] == pytest.approx(score.loss, rel=1e-6)
    assert found["losses"][0] != found["losses"][2]
    assert slices.measure(folder, experiment.PACKED, images) == found  # kept


def test_the_classifier_is_the_mean_of_averages_and_statistics(run):
    images = data.fashion()
    state = experiment.initial_state(CONFIG, images)
    rows = jnp.arange(2.0)
    state = state._replace(
        params=jax.tree.map(lambda x: jnp.full_like(x, 7.0), state.params),
        opt_state=jax.tree.map(
            lambda x: (
                x + rows.reshape(2, *[1] * (x.ndim - 1)).astype(x.dtype)
                if jnp.issubdtype(x.dtype, jnp.floating)
                else x
            ),
            state.opt_state,
        ),
        statistics=jax.tree.map(
            lambda x: x + rows.reshape(2, *[1] * (x.ndim - 1)), state.statistics
        ),
    )
    found = experiment.averaged(replace(CONFIG, statistics_images=0), images, state).variables
    start = learners.average(experiment.initial_state(CONFIG, images).params)
    for name in ("conv1", "linear"):
        expected = start["params"][name]["kernel"] + 0.5
        np.testing.assert_allclose(found["params"][name]["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["batch_stats"]["bn1"]["mean"], 0.5)
    np.testing.assert_array_equal(found["batch_stats"]["bn1"]["var"], 1.5)
