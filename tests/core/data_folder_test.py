"""The folder of prepared data, and silence while it is filled."""

from absl import logging

from gossamer.core import data_folder


def test_data_dir_defaults_to_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert data_folder.default_data_dir() == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("GOSSAMER_CACHE", "~/elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder.default_data_dir() == tmp_path / "elsewhere"
    monkeypatch.delenv("GOSSAMER_CACHE")
    assert data_folder.default_data_dir() == tmp_path / ".cache" / "gossamer"


def test_results_alone_reach_the_standard_output(capsys):
    verbosity = logging.get_verbosity()
    with data_folder.quiet():
        print("preparing")
    print("result")
    assert capsys.readouterr().out == "result\n"
    assert logging.get_verbosity() == verbosity
