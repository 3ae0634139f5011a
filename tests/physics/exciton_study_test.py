"""What a study holds and what its tables say."""

import csv
import dataclasses

import numpy as np
import pytest

from gossamer.physics.exciton_study import write_tables


def test_a_study(float64, exciton_study):
    num = len(exciton_study.photon_energy)
    assert exciton_study.absorption.shape == exciton_study.photocurrent.shape == (3, num)
    top = exciton_study.photon_energy[np.argmax(exciton_study.absorption[0])]
    assert abs(top - (1890 - 161.45)) < 0.5
    assert (exciton_study.absorption > -0.05).all()
    # Above the gap all absorption becomes current; at the 1s line none does.
    above = exciton_study.photon_energy > 1900
    ratio = exciton_study.photocurrent[0][above] / exciton_study.absorption[0][above]
    np.testing.assert_allclose(ratio, 1, atol=0.1)
    assert exciton_study.photocurrent[0].max() < 2


def test_wave_functions(exciton_study):
    assert [(wave.state, wave.field) for wave in exciton_study.waves] == [
        (state, field) for field in (0.0, 1.0, 2.0) for state in ("1s", "2p", "2s")
    ]
    ground = exciton_study.waves[0].values
    assert np.unravel_index(np.argmax(ground), ground.shape) == (60, 60)
    assert (ground > 0).mean() > 0.99


def test_tables(tmp_path, float64, exciton_study):
    write_tables(exciton_study, tmp_path)
    with open(tmp_path / "states.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert float(rows[0]["photon_energy_meV"]) == np.round(1890 - 161.449, 2)
    assert rows[0]["lifetime_ps"] == "inf"
    assert not list(tmp_path.glob(".*"))
    with open(tmp_path / "spectra.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(exciton_study.photon_energy)


def test_a_small_basis_has_no_weight_of_d(tmp_path, float64, exciton_study):
    spectrum = exciton_study.spectrum
    two = {name: getattr(spectrum, name)[..., :2, :] for name in ("coefficients", "origins")}
    write_tables(exciton_study._replace(spectrum=dataclasses.replace(spectrum, **two)), tmp_path)
    with open(tmp_path / "states.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        weights = [float(row[f"weight_{letter}"]) for letter in "spd"]
        assert weights[2] == 0
        assert sum(weights) == pytest.approx(1, abs=1e-5)  # as written, in six digits
        assert float(row["continuity"]) > 0.5
