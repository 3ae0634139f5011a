"""What the command line makes of its words, for image classifiers."""

import pytest

from gossamer.cli import train_vision
from gossamer.cli.main import main
from gossamer.vision import experiment
from gossamer.vision.run_config import VisionConfig


@pytest.fixture
def trained(monkeypatch):
    runs = []
    monkeypatch.setattr(experiment, "train", lambda *arguments: runs.append(arguments))
    monkeypatch.setattr(train_vision, "offer_devices", lambda config: None)  # tests have theirs
    return runs


def test_without_options_the_defaults_train(trained):
    assert main(["train", "vision"]) == 0
    ((config, folder),) = trained
    assert config == VisionConfig()
    assert folder.as_posix() == "runs/resnet18"


def test_options_reach_the_run(trained, tmp_path):
    words = "--model mobilenet_v2 --width 0.25 --data cifar10 --learners 8 --optimizer.average 0.99"
    assert main(["train", "vision", *words.split(), "--run", str(tmp_path)]) == 0
    ((config, folder),) = trained
    assert (config.network.name, config.network.width) == ("mobilenet_v2", 0.25)
    assert (config.data.name, config.learners.number) == ("cifar10", 8)
    assert config.optimizer.average == 0.99
    assert folder == tmp_path


def test_help_names_networks(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "vision", "--help"])
    shown = capsys.readouterr().out
    assert "efficientnet_b0" in shown
    assert "gossamer train vision --model resnet18" in shown


def test_evaluate_scores_a_classifier(tmp_path, monkeypatch, capsys):
    scored = []
    monkeypatch.setattr(experiment, "score_run", scored.append)
    (tmp_path / "classifier.safetensors").write_text("")
    assert main(["evaluate", str(tmp_path)]) == 0
    assert scored == [str(tmp_path)]
    assert main(["evaluate", str(tmp_path), "--beam", "4"]) == 2
    assert "takes no options here" in capsys.readouterr().err
