"""Cells of a table from runs whose numbers are known."""

import math

import pytest

from gossamer.vision import study_results
from gossamer.vision.study_results import Row, RunResult


def row(method, seed, loss, accuracy):
    return Row("net", 32, 0.1, method, seed, RunResult(loss, accuracy, ()))


ROWS = [
    row("SSGD", 0, 0.2, 0.8),
    row("SSGD", 1, 2.0, 0.2),
    row("SSGD", 2, math.nan, math.nan),
    row("DPSGD", 0, 0.3, 0.7),
    row("DPSGD", 1, 0.5, 0.6),
    row("DPSGD", 2, 0.4, 0.8),
]


def test_cells():
    (cells,) = study_results.gather(ROWS, 10).values()
    ssgd = cells["SSGD"]
    assert (ssgd.train_loss, ssgd.converged, ssgd.number) == (2.0, 1, 3)
    assert ssgd.accuracy == pytest.approx(0.5)
    assert cells["DPSGD"].train_loss == 0.4
    assert cells["DPSGD"].converged == 3  # below log(10) / 2


def test_a_median_of_divergences_is_infinite():
    rows = [row("SSGD", seed, math.nan, math.nan) for seed in (0, 1)] + [row("SSGD", 2, 0.1, 0.9)]
    (cells,) = study_results.gather(rows, 10).values()
    assert cells["SSGD"].train_loss == math.inf
    assert "inf 90.0% 1/3" in study_results.table(rows, 10)
    assert "diverged 0/2" in study_results.table(rows[:2], 10)


@pytest.mark.parametrize("content", [None, '{"loss": null, "accuracy": 0.1}'])
def test_a_run_without_a_finite_score_diverged(content, tmp_path):
    if content is not None:
        (tmp_path / study_results.RESULT).write_text(content)
    found = study_results.read_result(tmp_path)
    assert all(math.isnan(number) for number in found[:2])


def test_comparison_says_where_it_does_not_help():
    assert study_results.compare(ROWS, 10, "DPSGD", "SSGD") == (
        "DPSGD is more accurate than SSGD in 1 of 1 settings."
    )
    assert study_results.compare(ROWS, 10, "SSGD", "DPSGD") == (
        "SSGD is more accurate than DPSGD in 0 of 1 settings; it is not with net at 32."
    )


def test_slices_are_drawn(tmp_path):
    found = {"positions": [-1.0, 0.0, 1.0], "losses": [3.0, 0.5, 2.0]}
    first = ROWS[0]._replace(result=ROWS[0].result._replace(slice=found))
    assert study_results.draw_slices([first, *ROWS[1:]], tmp_path / "slices.png")
    assert (tmp_path / "slices.png").stat().st_size > 5000


def test_nothing_is_drawn_where_nothing_was_measured(tmp_path):
    assert not study_results.draw_rates(ROWS, tmp_path / "rates.png")
    assert not study_results.draw_slices(ROWS, tmp_path / "slices.png")
    assert not list(tmp_path.iterdir())
