"""A whole run: it learns, resumes bit for bit, and what it packs is what it scores."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from gossamer.core import metrics
from gossamer.language.translation import experiment, translator
from gossamer.language.translation.run_config import OptimizerConfig


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))


def without_times(folder):
    return [{k: v for k, v in row.items() if k != "time"} for row in metrics.read_log(folder)]


def test_a_run_leaves_its_scores_and_its_translator(translation_run):
    folder, score = translation_run["folder"], translation_run["score"]
    result = json.loads((folder / "result.json").read_text())
    assert result["pairs"] == 10
    assert result["accuracy"] == score.tokens.accuracy
    assert result["greedy"] == score.greedy._asdict()
    assert result["beam"] == {"size": 2} | score.beam._asdict()
    model = translator.load(folder)
    assert result["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(model.params))
    log = [row["loss"] for row in metrics.read_log(folder) if "loss" in row]
    assert np.mean(log[-3:]) < 0.8 * np.mean(log[:3])
    validations = [row for row in metrics.read_log(folder) if "validation/loss" in row]
    assert [row["step"] for row in validations] == [15, 30]


def test_an_interrupted_run_continues_bit_for_bit(translation_run, tmp_path, monkeypatch):
    config, folder = translation_run["config"], translation_run["folder"]

    def fail(*_, **__):
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(translator, "score_tokens", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            experiment.train(config, tmp_path / "two", show_progress=False)
    experiment.train(config, tmp_path / "two", show_progress=False)
    packed = [translator.load(path) for path in (folder, tmp_path / "two")]
    jax.tree.map(np.testing.assert_array_equal, packed[0].params, packed[1].params)
    assert without_times(folder)[-1] == without_times(tmp_path / "two")[-1]


def test_another_configuration_is_refused(translation_run):
    config = replace(translation_run["config"], optimizer=OptimizerConfig(learning_rate=0.5))
    with pytest.raises(ValueError, match=r"learning_rate is 0.01 there and 0.5 here"):
        experiment.train(config, translation_run["folder"])


def test_scoring_again_gives_the_same(translation_run):
    folder = translation_run["folder"]
    seconds = json.loads((folder / "result.json").read_text())["training_seconds"]
    assert experiment.score_run(folder, beam=2) == translation_run["score"]
    assert json.loads((folder / "result.json").read_text())["training_seconds"] == seconds
    with pytest.raises(ValueError, match=r"no translator.safetensors there"):
        experiment.score_run(folder.parent)
