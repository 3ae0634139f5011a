"""The folder of prepared data, and silence while it is filled."""

import pytest
import tensorflow_datasets as tfds
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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("No module named 'tensorflow'"), "pip install"),
        (OSError("no network\nat all"), r"\(no network\)"),
        (AssertionError(), r"\(AssertionError\)"),
        (tfds.core.DatasetNotFoundError("not found\nhave a look"), r"\(not found\)"),
    ],
)
def test_what_cannot_be_prepared_is_one_line(error, reason):
    with (
        pytest.raises(ValueError, match=f"^`data` birds is not prepared in data.*{reason}.*[.]$"),
        data_folder.plain_failures("birds", "data"),
    ):
        raise error
