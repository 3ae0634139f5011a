"""Figures: what they draw, as far as numbers tell; how they look is for people."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.bit_allocation import Sensitivity
from gossamer.core.blocks import gates
from gossamer.core.quantization import Policy, fake_quantize
from gossamer.core.quantizers import pact_plus, sawb_plus
from gossamer.speech.quantization_figures import draw_clips, draw_sensitivities, draw_weights

POLICY = Policy(
    weights=(
        ("lstm/(kernel|recurrent)", sawb_plus(4, gates(4))),
        ("output/kernel", pact_plus(3, symmetric=True)),
    )
)


@pytest.fixture(scope="module")
def params():
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "lstm": {
            "kernel": jax.random.normal(keys[0], (240,)).reshape(2, 5, 24),
            "recurrent": jax.random.normal(keys[1], (288,)).reshape(2, 6, 24),
            "bias": jnp.zeros((2, 24)),
        },
        "output": {"kernel": jax.random.normal(keys[2], (12, 3))},
    }


def test_each_gate_and_matrix_has_a_panel_with_its_error(params):
    clips = fake_quantize(POLICY).init(params)
    figure = draw_weights(params, POLICY, clips)
    drawn = {panel.get_title("left"): panel for panel in figure.axes if panel.get_title("left")}
    assert len(drawn) == 2 * 4 + 1
    rounded = fake_quantize(POLICY).apply(params, clips)
    for title, weights, values in (
        ("output/kernel", params["output"]["kernel"], rounded["output"]["kernel"]),
        (
            "lstm/recurrent, forget gate",
            params["lstm"]["recurrent"][0, :, 6:12],
            rounded["lstm"]["recurrent"][0, :, 6:12],
        ),
    ):
        error = 100 * np.sum((values - weights) ** 2) / np.sum(weights**2)
        assert drawn[title].texts[0].get_text() == f"{error:.1f}%"
        ends = {line.get_xdata()[0] for line in drawn[title].lines}
        np.testing.assert_allclose(sorted(ends), np.unique(values), rtol=1e-6)
    figure.savefig(io.BytesIO())


def test_clips_are_drawn_by_site():
    log = [
        {"step": step, "clip/a/hidden/clip/0": step, "clip/a/hidden/clip/1": 2, "clip/b/x/clip": 1}
        for step in (10, 20)
    ]
    figure = draw_clips(log)
    assert [panel.get_title("left") for panel in figure.axes] == ["a/hidden", "b/x"]
    assert [len(panel.lines) for panel in figure.axes] == [2, 1]
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [10, 20])
    assert draw_clips([{"step": 1, "loss": 2.0}]) is None


def test_sensitivities_are_sorted_bars_in_percent():
    found = [Sensitivity("a", 0.02, 0.01, 5), Sensitivity("b", -0.01, 0.03, 7)]
    left, right = draw_sensitivities(found, loss=2.0).axes
    np.testing.assert_allclose([bar.get_width() for bar in left.patches], [-0.5, 1.0])
    np.testing.assert_allclose([bar.get_width() for bar in right.patches], [3.0, 1.0])
