"""Benchmarks are listed with their peers, and a run leaves a record."""

import json
import runpy

import pytest

from gossamer.cli import bench, benchmark_scripts

SCRIPT = '''"""Counts, against a peer that no one has.

    pip install numpy no-such-peer==1.0 '.[no-such-extra]'  # optional
    python benchmarks/count.py
"""
import sys
print("one\\ntwo", *sys.argv[1:])
sys.exit(len(sys.argv) - 1)
'''


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    (tmp_path / "count.py").write_text(SCRIPT)
    (tmp_path / "turns.py").write_text('"""Shared."""')
    found = benchmark_scripts.find(tmp_path)
    monkeypatch.setattr(benchmark_scripts, "find", lambda: found)
    monkeypatch.setenv("GOSSAMER_BENCH", str(tmp_path / "records"))
    return found


def test_the_list(scripts, capsys):
    assert list(scripts) == ["count"]
    assert bench.main([]) == 0
    shown = capsys.readouterr().out
    assert "study " in shown
    assert "Counts, against a peer that no one has\n" in shown
    assert "+ numpy  - no-such-peer  - no-such-extra" in shown


def test_an_installed_package_finds_the_scripts_of_the_checkout_it_is_called_in(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(benchmark_scripts, "OWN", tmp_path / "site-packages/benchmarks")
    monkeypatch.chdir(tmp_path)
    assert benchmark_scripts.find() == {}
    assert bench.main([]) == 0
    assert "call this from there" in capsys.readouterr().out
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks/count.py").write_text(SCRIPT)
    assert benchmark_scripts.find() == {}  # some other folder of that name
    (tmp_path / "benchmarks/turns.py").touch()
    assert list(benchmark_scripts.find()) == ["count"]


def test_a_run_is_shown_and_recorded(scripts, tmp_path, capfd):
    assert bench.main(["count", "--fast"]) == 1
    shown = capfd.readouterr()
    assert shown.out.startswith("one\ntwo --fast\n")
    assert "without no-such-peer, no-such-extra: pip install" in shown.err
    (path,) = (tmp_path / "records").iterdir()
    assert str(path) in shown.out
    record = json.loads(path.read_text())
    assert record["command"] == "gossamer bench count --fast"
    assert record["output"] == ["one", "two --fast"]
    assert record["exit_status"] == 1
    assert record["versions"]["no-such-peer"] == ""
    assert record["versions"]["jax"]
    assert record["host"]["processor"]


def test_help_of_a_script_leaves_no_record(scripts, tmp_path, capfd):
    bench.main(["count", "--help"])
    assert "two --help" in capfd.readouterr().out
    assert not (tmp_path / "records").exists()


def test_unknown_names(scripts, monkeypatch):
    with pytest.raises(ValueError, match=r"no benchmark 'speed'; choose from study, count\."):
        bench.main(["speed"])
    monkeypatch.setattr(benchmark_scripts, "find", dict)
    with pytest.raises(ValueError, match="in the folder benchmarks of its repository"):
        bench.main(["count"])


@pytest.mark.checkout
def test_the_scripts_of_the_repository_say_what_they_are_for():
    found = benchmark_scripts.find()
    assert len(found) > 30
    assert all(script.purpose for script in found.values())
    assert found["lstm"].peers == ("torch",)
    assert found["stragglers"].peers == ("ray",)


@pytest.mark.checkout
def test_scripts_end_with_the_one_line_of_an_error(monkeypatch):
    def fail():
        raise ValueError("runs/a: there is no such folder.")

    monkeypatch.delenv("GOSSAMER_DEBUG", raising=False)
    run = runpy.run_path(str(benchmark_scripts.OWN / "plain_errors.py"))["run"]
    with pytest.raises(SystemExit, match=r"^runs/a: there is no such folder\.$"):
        run(fail)
    monkeypatch.setenv("GOSSAMER_DEBUG", "1")
    with pytest.raises(ValueError, match="no such folder"):
        run(fail)
