"""The commands about texts, from their words to their files."""

import pytest

from gossamer.cli.main import main


def test_a_prediction_is_explained(phrases, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))
    page = tmp_path / "page.html"
    words = ["explain", str(phrases["config"].run), "The soup was awful, and the car was red."]
    assert main([*words, "--top", "2", "--candidates", "2", "--page", str(page)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("negative (")
    assert "Supporting training texts" in printed
    assert printed.strip().endswith("page.html")
    assert "gossamer explain" in page.read_text()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--label", "angry"], "`--label` must be one of negative, positive"),
        (["--span", "superb"], "`span` must stand in the text"),
    ],
)
def test_bad_options_are_told(phrases, tmp_path, monkeypatch, capsys, option, message):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))
    words = ["explain", str(phrases["config"].run), "The soup was awful."]
    assert main([*words, *option]) == 2
    assert message in capsys.readouterr().err


def test_a_classifier_of_texts_is_not_scored_as_one_of_images(phrases, capsys):
    assert main(["evaluate", str(phrases["config"].run)]) == 2
    assert "classifies texts; its accuracy is in result.json" in capsys.readouterr().err


def test_without_a_run_it_is_told_how_to_make_one(tmp_path, capsys):
    assert main(["explain", str(tmp_path), "A text."]) == 2
    assert "there is no such file; train it by `gossamer train language`" in capsys.readouterr().err


def test_an_unknown_corpus_is_told(tmp_path, capsys):
    words = ["train", "language", "--corpus", "imdb", "--run", str(tmp_path / "run")]
    assert main(words) == 2
    assert "no corpus 'imdb'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
