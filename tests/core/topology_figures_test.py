"""Drawings hold the edges and matrices of the steps they show."""

import io

import numpy as np
import pytest
from matplotlib.patches import Circle, FancyArrowPatch

from gossamer.core import topology
from gossamer.core.topology_figures import draw


def images(figure):
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.images]


def edges(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


def test_static_topology_is_one_graph_beside_its_matrix():
    graph = topology.ring(6)
    figure = draw(graph)
    np.testing.assert_array_equal(images(figure), [graph.matrix()])
    assert len(edges(figure.axes[0])) == 6
    circles = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    assert len(circles) == 6
    assert [text.get_text() for text in figure.axes[0].texts] == list("012345")


@pytest.mark.parametrize("max_steps", [1, 2, 9])
def test_changing_topology_shows_its_first_steps(max_steps):
    graph = topology.one_peer_exponential(8)
    shown = min(max_steps, 3)
    figure = draw(graph, max_steps)
    np.testing.assert_array_equal(images(figure), [graph.matrix(step) for step in range(shown)])
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == [f"step {step}" for step in range(shown)]
    assert len(edges(figure.axes[0])) == 8


def test_heavier_edges_are_wider():
    weights = np.array([[0.7, 0.1, 0.2], [0.1, 0.9, 0.0], [0.2, 0.0, 0.8]])
    widths = [edge.get_linewidth() for edge in edges(draw(topology.from_matrix(weights)).axes[0])]
    assert len(widths) == 2
    assert widths[0] < widths[1]


@pytest.mark.parametrize("graph", [topology.star(1), topology.complete(2), topology.ring(40)])
def test_any_size_can_be_saved(graph):
    buffer = io.BytesIO()
    draw(graph).savefig(buffer, format="png", dpi=30)
    assert buffer.getvalue().startswith(b"\x89PNG")


def test_steps_are_a_positive_integer():
    with pytest.raises(ValueError, match="`max_steps` must be at least 1, got 0"):
        draw(topology.ring(3), 0)
