"""The command, from its words to its files."""

import numpy as np
import pytest

from gossamer.cli.exciton import parse_fields
from gossamer.cli.main import main


def test_a_run(tmp_path, capsys, exciton_study, monkeypatch):
    from gossamer.physics import exciton_study as module

    asked = {}

    def run(material, fields, **options):
        asked.update(material=material, fields=fields, **options)
        return exciton_study._replace(notes=("2s is lost",))

    monkeypatch.setattr(module, "run_study", run)
    words = ["exciton", "--field", "0:2:1", "--mass", "0.21", "--temperature", "4"]
    assert main([*words, "--output", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "run/exciton.html")
    assert "2s is lost" in printed.err
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        *("states.csv", "spectra.csv", "exciton.html"),
        *("maps.png", "levels.png", "spectra.png", "waves.png"),
    }
    np.testing.assert_array_equal(asked["fields"], [0, 1, 2])
    assert asked["material"].reduced_mass == 0.21
    assert "changed: reduced_mass" in asked["material"].source
    assert asked["broadening"] == pytest.approx(1.04, abs=0.01)


def test_sets_are_listed(capsys):
    assert main(["exciton", "--list"]) == 0
    assert "WSe2/hBN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--material", "WSe3"], "`material` must be one of WSe2/hBN"),
        (["--field", "6:0:1"], "`--field` must be one number or START:STOP:STEP"),
        (["--dielectric", "0.2"], "`dielectric` of a material must be at least 1"),
        (["--radial", "2"], "`radial` of a basis must be at least 4, got 2"),
        (["--temperature", "-1"], "`temperature` must be at least 0"),
    ],
)
def test_bad_words_are_one_clear_line(tmp_path, capsys, words, match):
    assert main(["exciton", *words, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert match in error
    assert not (tmp_path / "run").exists()


def test_fields():
    np.testing.assert_allclose(parse_fields("0:6:0.25"), np.arange(25) * 0.25)
    np.testing.assert_allclose(parse_fields("0:1:0.1")[-1], 1.0)
    np.testing.assert_array_equal(parse_fields("2"), [2])
    for text in ("", "1:2", "a", "0:1:0", "0:1:2", "-1", "nan", "0:inf:1"):
        with pytest.raises(ValueError, match="`--field` must be"):
            parse_fields(text)
