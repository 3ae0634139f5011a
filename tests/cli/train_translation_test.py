"""What the command line makes of its words, for translators."""

import pytest

from gossamer.cli.main import main
from gossamer.language.translation import experiment
from gossamer.language.translation.run_config import TranslationConfig


@pytest.fixture
def trained(monkeypatch):
    runs = []
    monkeypatch.setattr(experiment, "train", lambda *arguments: runs.append(arguments))
    return runs


def test_without_options_the_defaults_train(trained):
    assert main(["train", "translation"]) == 0
    ((config, folder),) = trained
    assert config == TranslationConfig()
    assert folder.as_posix() == "runs/translation"


def test_options_reach_the_run(trained, tmp_path):
    words = (
        "--model base --data wmt14/en-de --data.vocabulary 37000 --learners 8 "
        "--learners.algorithm ssgd --compression.scheme scalecom --compression.rate 47"
    )
    assert main(["train", "translation", *words.split(), "--run", str(tmp_path)]) == 0
    ((config, folder),) = trained
    assert (config.network.name, config.data.name) == ("base", "wmt14/en-de")
    assert (config.learners.number, config.learners.algorithm) == (8, "ssgd")
    assert (config.compression.scheme, config.compression.rate) == ("scalecom", 47.0)
    assert folder == tmp_path


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "translation", "--help"])
    assert "gossamer train translation --data my/pairs.tsv" in capsys.readouterr().out


def test_evaluate_scores_a_translator(tmp_path, monkeypatch, capsys):
    scored = []
    monkeypatch.setattr(experiment, "score_run", lambda folder, beam: scored.append((folder, beam)))
    (tmp_path / "translator.safetensors").write_text("")
    assert main(["evaluate", str(tmp_path)]) == 0
    assert main(["evaluate", str(tmp_path), "--beam", "8"]) == 0
    assert main(["evaluate", str(tmp_path), "--beam", "1"]) == 0
    assert scored == [(str(tmp_path), beam) for beam in (4, 8, 1)]
    assert main(["evaluate", str(tmp_path), "--corpus", "prompts"]) == 2
    assert "takes no options but --beam" in capsys.readouterr().err
