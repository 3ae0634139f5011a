"""Every figure draws what the study holds."""

import io

import pytest

from gossamer.physics import spin_figures

DRAWINGS = {
    spin_figures.draw_curie: 2,
    spin_figures.draw_binder: 2,
    spin_figures.draw_order: 3,
    spin_figures.draw_loops: 3,
    spin_figures.draw_textures: 6,
}


@pytest.mark.parametrize("draw", DRAWINGS)
def test_figures(spin_parts, draw):
    figure = draw(spin_parts)
    assert len(figure.axes) == DRAWINGS[draw]
    figure.savefig(io.BytesIO(), dpi=20)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_figures_of_nothing(draw):
    """A study whose parts are yet to come: warnings would be errors here."""
    draw({}).savefig(io.BytesIO(), dpi=20)


def test_laws_start_from_the_same_monolayer(spin_parts):
    lines = spin_figures.draw_curie(spin_parts).axes[1].lines
    assert [list(line.get_xdata()) for line in lines] == [[1, 2], [1, 2]]
    assert list(lines[1].get_ydata()) == [3.6, 1.8]
