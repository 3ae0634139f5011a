import io
import xml.etree.ElementTree as ElementTree

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from gossamer.speech import figures

LOG = [
    {"step": step, "loss": 40.0 * 0.99**step + 0.5, "learning_rate": 1e-3, "grad_norm": 1.0}
    | {"consensus_distance": 0.01 * 0.99**step}
    for step in range(1, 201)
] + [{"step": 100, "validation/loss": 3.0, "validation/wer": 0.4}, {"step": 200, "loss": "n/a"}]


def test_series_keep_finite_numbers_in_order():
    log = [{"step": 2, "loss": 5}, {"loss": 1.0}, {"step": 3}, {"step": 4, "loss": float("nan")}]
    steps, values = figures.read_series([*log, {"step": 6, "loss": 2.5}], "loss")
    np.testing.assert_array_equal(steps, [2.0, 6.0])
    np.testing.assert_array_equal(values, [5.0, 2.5])


@pytest.mark.parametrize("window", [1, 3, 20])
def test_smoothing_is_a_mean_over_the_past(window):
    values = np.random.default_rng(0).normal(size=11)
    expected = [values[max(0, i - window + 1) : i + 1].mean() for i in range(11)]
    np.testing.assert_allclose(figures.smooth(values, window=window), expected, rtol=1e-10)


@pytest.mark.parametrize("draw", [figures.draw_loss, figures.draw_consensus])
def test_curves_are_inline_svg_in_the_colors_of_the_page(draw):
    svg = draw(LOG)
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert "var(--first)" in svg
    assert "<text" in svg  # letters, no outlines
    assert "<style" not in svg  # would apply to the whole page
    assert not [color for color in figures._VARIABLES if color in svg]


def test_two_figures_share_no_id_and_repeat_exactly():
    def read_ids(svg):
        return [e.get("id") for e in ElementTree.fromstring(svg).iter() if e.get("id")]

    loss, consensus = figures.draw_loss(LOG), figures.draw_consensus(LOG)
    ids = read_ids(loss) + read_ids(consensus)
    assert len(ids) == len(set(ids))
    assert loss == figures.draw_loss(LOG)


@pytest.mark.parametrize(
    "log",
    [
        LOG[:1],
        [{"step": 1, "loss": -2.0}, {"step": 2, "loss": 3.0}],
        [{"step": 1, "validation/wer": 1.0}],
        [{"step": 5, "validation/loss": 2.0}],
        [{"step": 1, "loss": 0.0}, {"step": 2, "loss": 0.0}],
    ],
    ids=["one point", "negative", "errors alone", "validation alone", "zero"],
)
def test_incomplete_logs_still_draw(log):
    ElementTree.fromstring(figures.draw_loss(log))


def test_nothing_to_draw_is_no_figure():
    assert figures.draw_loss([{"step": 1, "grad_norm": 2.0}]) == ""
    assert figures.draw_consensus([]) == ""


def test_single_learner_shows_the_learning_rate_alone():
    log = [{"step": s, "consensus_distance": 0.0, "learning_rate": 1e-3} for s in (1, 2)]
    svg = figures.draw_consensus(log)
    assert "Learning rate" in svg
    assert "Consensus distance</text>" not in svg


def test_effective_learning_rate_joins_the_panel_of_the_learning_rate():
    log = [{"step": s, "learning_rate": 1e-3, "effective_learning_rate": 5e-4} for s in (1, 2)]
    svg = figures.draw_consensus(log)
    assert "effective</text>" in svg
    assert "var(--second)" in svg
    assert "effective</text>" not in figures.draw_consensus(LOG)
    alone = figures.draw_consensus([{"step": s, "effective_learning_rate": -0.1} for s in (1, 2)])
    ElementTree.fromstring(alone)
    assert "Learning rate" in alone


def test_diagnostics_have_a_panel_for_each_group_that_was_measured():
    log = [{"step": s, "minibatch_noise": 1.0, "landscape_noise": -0.1} for s in (5, 10)]
    svg = figures.draw_diagnostics(log)
    ElementTree.fromstring(svg)
    assert "landscape</text>" in svg
    assert "Residual over gradient" not in svg
    log = [{"step": s, "hamming_distance": 0.5, "residual_ratio": 3.0} for s in (5, 10)]
    svg = figures.draw_diagnostics(log)
    assert "How alike" in svg
    assert "Residual over gradient" in svg
    assert figures.draw_diagnostics(LOG) == ""


def test_settings_of_matplotlib_stay_as_they_were():
    before = dict(matplotlib.rcParams)
    figures.draw_loss(LOG)
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("dark", [False, True])
def test_spectrogram_has_a_pixel_per_frame_and_low_bands_at_the_bottom(dark):
    log_mel = np.zeros([30, 8], np.float32)
    log_mel[:, 0] = 1.0
    image = matplotlib.image.imread(io.BytesIO(figures.draw_spectrogram(log_mel, dark=dark)))
    assert image.shape[:2] == (8, 30)
    brightness = image[..., :3].mean((1, 2))
    assert (brightness[-1] > brightness[0]) == dark
    np.testing.assert_array_equal(brightness[:-1], brightness[0])


def test_silence_draws():
    figures.draw_spectrogram(np.zeros([5, 4], np.float32))


@pytest.mark.parametrize("log_mel", [np.zeros([0, 40]), np.zeros([7]), np.full([3, 2], np.nan)])
def test_bad_spectrogram_is_refused(log_mel):
    with pytest.raises(ValueError, match="`log_mel` must be a finite, non-empty array"):
        figures.draw_spectrogram(log_mel)
