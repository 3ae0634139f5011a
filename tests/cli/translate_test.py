"""Translations of words on the command line and of lines on the standard input."""

import io

from gossamer.cli.main import main
from gossamer.language.translation import translator


def test_texts_are_translated(translation_run, monkeypatch, capsys):
    folder = translation_run["folder"]
    texts = ["six", "twenty-one"]
    model = translator.load(folder)
    expected = [found.text for found in translator.translate(model, texts, beam=2)]
    assert main(["translate", str(folder), *texts, "--beam", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == expected
    monkeypatch.setattr("sys.stdin", io.StringIO("six\n\ntwenty-one\n"))
    assert main(["translate", str(folder), "--beam", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [expected[0], "", expected[1]]


def test_bad_input_is_one_line(tmp_path, capsys):
    assert main(["translate", str(tmp_path), "six"]) == 2
    assert "there is no such file; train it by" in capsys.readouterr().err
    assert main(["translate", str(tmp_path), "six", "--beam", "0"]) == 2
    assert "`--beam` must be at least 1, got 0" in capsys.readouterr().err
