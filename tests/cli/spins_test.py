"""The command, from its words to its files, stopped and continued."""

import signal

import pytest

from gossamer.cli.main import main
from gossamer.cli.spins import parse_layers


@pytest.fixture
def asked(monkeypatch, spin_parts):
    """Which parts were computed, all of them made up, and which one stops or fails."""
    from gossamer.physics import spin_study

    computed = []

    def make(name):
        def compute(key):
            computed.append(name)
            if name == asked_to.get("stop"):
                signal.raise_signal(signal.SIGTERM)
            if name == asked_to.get("fail"):
                raise ValueError("the Binder cumulants do not cross")
            return dict(spin_parts[name])

        return compute

    asked_to = {}
    monkeypatch.setattr(
        spin_study, "list_parts", lambda magnet, settings: {name: make(name) for name in spin_parts}
    )
    return computed, asked_to


def test_a_run(tmp_path, capsys, asked, spin_parts):
    words = ["spins", "--layers", "1:2", "--anisotropy", "2.5", "--run", str(tmp_path / "run")]
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "run/spins.html")
    assert asked[0] == list(spin_parts)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"curie.csv", "order.csv", "loops.csv", "spins.html", "config.json"} <= names
    assert {"curie.png", "binder.png", "order.png", "loops.png", "textures.png"} <= names
    assert "changed: anisotropy" in (tmp_path / "run/config.json").read_text()
    assert main(words) == 0  # Nothing is computed again.
    assert asked[0] == list(spin_parts)
    assert main([*words, "--seed", "1"]) == 2
    assert "run seed" in capsys.readouterr().err


def test_a_stopped_run_is_continued(tmp_path, capsys, asked, spin_parts):
    words = ["spins", "--run", str(tmp_path / "run")]
    computed, asked_to = asked
    asked_to["stop"] = "order-axis"
    assert main(words) == 128 + signal.SIGTERM
    assert computed[-1] == "order-axis"
    told = f"SIGTERM came: stopped after part {len(computed)} of {len(spin_parts)}, saved in "
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run/spins.html").exists()
    asked_to.clear()
    assert main(words) == 0
    assert computed == list(spin_parts)  # each of them once
    assert (tmp_path / "run/spins.html").exists()


def test_a_failed_part_does_not_keep_the_others(tmp_path, capsys, asked, spin_parts):
    words = ["spins", "--run", str(tmp_path / "run")]
    computed, asked_to = asked
    asked_to["fail"] = "curie-constant-2"
    for _ in range(2):
        assert main(words) == 1
        printed = capsys.readouterr()
        assert "gossamer: curie-constant-2 failed: the Binder cumulants do not" in printed.err
        assert printed.out.strip() == str(tmp_path / "run/spins.html")
    assert computed == [*spin_parts, "curie-constant-2"]  # which alone is tried again
    assert "constant,2" not in (tmp_path / "run/curie.csv").read_text()


def test_sets_are_listed(capsys):
    assert main(["spins", "--list"]) == 0
    assert "illustrative" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--material", "VSe3"], "`material` must be one of VSe2"),
        (["--layers", "3:1"], "`--layers` must be FIRST:LAST"),
        (["--sizes", "12", "20"], "`size` along a1 must be a multiple of 3"),
        (["--stacking", "ABC"], "`stacking` must be AA or AB"),
        (["--temperature", "0"], "`temperature` must be positive"),
        (["--moment", "0"], "`moment` must be positive"),
    ],
)
def test_bad_words_are_one_clear_line(tmp_path, capsys, words, match):
    assert main(["spins", *words, "--run", str(tmp_path / "run")]) == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_layers():
    assert parse_layers("1:8") == tuple(range(1, 9))
    assert parse_layers("3") == (3,)
    assert parse_layers("1,2,4") == (1, 2, 4)
    for text in ("", "0", "a", "1:2:3", "-1:2", "1.5", "2,1", "1,1", "1:2,3"):
        with pytest.raises(ValueError, match="`--layers` must be"):
            parse_layers(text)
