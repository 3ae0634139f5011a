"""The grid of the study, and what it does with runs that end, diverge or were finished before."""

import dataclasses
import json
import math

import cattrs
import pytest

from gossamer.cli import bench, bench_study
from gossamer.core import metrics, run_folder
from gossamer.vision import experiment, study, study_config
from gossamer.vision.models.catalog import CATALOG
from gossamer.vision.study_config import StudyConfig

SMALL = StudyConfig(networks=("resnet18", "vgg19"), batches=(1, 16), seeds=(0, 1))


@pytest.fixture
def trained(monkeypatch):
    """Training that takes no time: SSGD diverges at large batches, gossip is better than SSGD*."""
    folders = []

    def train(config, folder):
        folders.append(folder.name)
        run_folder.open_run(folder, cattrs.unstructure(config), seed=config.seed)
        large = config.data.batch_size > 100
        method = config.learners.algorithm
        with metrics.Log(folder) as log:
            log.write(1, {"loss": 2.3, "learning_rate": 0.1, "effective_learning_rate": 0.05})
            log.write(2, {"loss": 0.5 if method == "dpsgd" else 1.0, "learning_rate": 0.1})
        if method == "ssgd" and large and not config.learners.weight_noise:
            raise FloatingPointError("not finite")
        accuracy = 0.75 if method == "dpsgd" else 0.5
        found = {"loss": 1.0, "accuracy": accuracy}
        (folder / experiment.RESULT).write_text(json.dumps(found))

    monkeypatch.setattr(experiment, "train", train)
    return folders


def test_every_run_sees_as_many_images_at_linearly_scaled_rates():
    for each in SMALL.runs():
        config = each.config
        images = config.optimizer.steps * config.data.batch_size
        assert images == pytest.approx(750 * 32, rel=0.01)
        ratio = config.optimizer.learning_rate / config.data.batch_size
        assert ratio == pytest.approx(0.05 / 32)


def test_the_grid_has_every_setting_once_before_seeds_repeat():
    runs = SMALL.runs()
    assert len(runs) == len({each.name for each in runs}) == 2 * 2 * 3 * 2
    assert {each.seed for each in runs[:12]} == {0}
    assert runs[0].name == "resnet18-ssgd-b1-r1-s0"


def test_the_tasks_of_the_paper():
    cifar = {name for name, entry in CATALOG.items() if entry.form == "cifar"}
    assert set(study_config.CIFAR_TASKS) == cifar - {"resnet34"}
    assert len(study_config.CIFAR_TASKS) == 10
    assert len(study_config.IMAGENET_TASKS) == 6
    for scale, networks in (("cifar", 10), ("imagenet", 6)):
        config = StudyConfig(scale=scale, methods=tuple(study_config.METHODS), batches=(1, 8, 64))
        config.check()
        assert len(config.runs()) == networks * 7 * 3
    assert StudyConfig(warmup=0.3).runs()[0].config.optimizer.warmup == 0.3
    largest = StudyConfig(scale="cifar", batches=(64,)).runs()[0].config
    assert largest.data.batch_size == 8192
    assert largest.optimizer.learning_rate == pytest.approx(6.4)


def test_methods_are_what_they_are_called():
    found = {
        each.method: each.config for each in StudyConfig(methods=tuple(study_config.METHODS)).runs()
    }
    assert found["ssgd"].learners.weight_noise == 0
    assert found["ssgd_star"].learners.weight_noise > 0
    assert found["dpsgd"].learners.order == "awc"
    assert found["dpsgd_atc"].learners.order == "atc"
    assert found["dpsgd_random"].learners.topology == "random_ring"
    assert found["scalecom"].compression.scheme == "scalecom"
    assert found["delay_by_one"].learners.algorithm == "delay_by_one"


def test_finished_runs_and_divergences_stay(tmp_path, trained):
    rows = list(study.run(SMALL, tmp_path))
    assert len(trained) == len(rows) == 24
    diverged = [row for row in rows if math.isnan(row.result.accuracy)]
    assert {(row.method, row.batch_size) for row in diverged} == {("SSGD", 512)}
    again = list(study.run(SMALL, tmp_path))
    assert len(trained) == 24
    assert [row[:5] for row in again] == [row[:5] for row in rows]


@pytest.mark.parametrize("change", [{"epochs": 0.5}, {"width": 0.25}, {"diagnose": True}])
def test_runs_of_another_study_are_not_taken_for_its_own(change, tmp_path, trained):
    list(study.run(SMALL, tmp_path))
    other = dataclasses.replace(SMALL, **change)
    for look in (lambda: list(study.run(other, tmp_path)), lambda: study.finished(other, tmp_path)):
        with pytest.raises(ValueError, match="`config` must be that of the run"):
            look()


def test_slices_need_the_model(tmp_path, trained):
    sliced = dataclasses.replace(SMALL, slices=True, methods=("dpsgd",))
    with pytest.raises(ValueError, match="the result is there without its model"):
        list(study.run(sliced, tmp_path))


def test_parts_share_a_grid(tmp_path, trained):
    for k in (1, 2, 3):
        assert len(list(study.run(SMALL, tmp_path, part=(k, 3)))) == 8
        assert len(study.finished(SMALL, tmp_path)) == 8 * k
    assert len(set(trained)) == 24
    with pytest.raises(ValueError, match="`part` must be K of N with 1 <= K <= N, got 4 of 3"):
        next(study.run(SMALL, tmp_path, part=(4, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ()}, "`methods` must not be empty"),
        ({"batches": (0,)}, "`batches` must be at least 1"),
        ({"epochs": 0.0}, "`rates` and `epochs` positive"),
        ({"learners": 5}, "divisible by the number of learners, got 32 for 5"),
    ],
)
def test_grids_that_would_fail_are_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        next(study.run(StudyConfig(networks=("resnet18",), **options), tmp_path))


def test_the_command_ends_with_a_table_and_plots(tmp_path, trained, monkeypatch, capsys):
    monkeypatch.setattr(bench_study, "offer_devices", lambda config: None)  # tests have theirs
    folder = tmp_path / "study"
    words = ["study", "--networks", "resnet18", "--batches", "1", "16", "--run", str(folder)]
    assert bench.main([*words, "--table-only"]) == 0
    assert "Nothing is finished" in capsys.readouterr().out
    assert bench.main(words) == 0
    table = (folder / "table.txt").read_text()
    assert table.strip() in capsys.readouterr().out
    lines = table.splitlines()
    assert "0.500 75.0% 1/1" in lines[1]
    assert "diverged 0/1" in lines[2]
    assert "DPSGD, ring is more accurate than SSGD in 2 of 2 settings." in lines
    assert (
        "SSGD* is more accurate than SSGD in 1 of 2 settings; it is not with ResNet-18 at 32."
        in lines
    )
    for name in ("accuracy.png", "learning_rates.png"):
        assert (folder / name).stat().st_size > 5000
