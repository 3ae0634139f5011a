"""Every figure draws what the study holds."""

import io

import pytest

from gossamer.physics import exciton_figures

DRAWINGS = {
    exciton_figures.draw_maps: 8,  # four maps and their color bars
    exciton_figures.draw_levels: 4,
    exciton_figures.draw_spectra: 2,
    exciton_figures.draw_waves: 9,
}


@pytest.mark.parametrize("draw", DRAWINGS)
def test_figures(float64, exciton_study, draw):
    figure = draw(exciton_study)
    assert len(figure.axes) == DRAWINGS[draw]
    figure.savefig(io.BytesIO(), dpi=20)
