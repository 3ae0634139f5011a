"""The matrices; that they give Kaldi's features is tested in `features_test`."""

import numpy as np

from gossamer.speech import filter_bank


def test_the_transform_is_that_of_a_prepared_frame():
    generator = np.random.default_rng(0)
    frame = generator.normal(size=200)
    analysis, _ = filter_bank.build(8000, 200)
    centered = frame - frame.mean()
    emphasized = centered - 0.97 * np.concatenate([centered[:1], centered[:-1]])
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 199)) ** 0.85
    spectrum = np.fft.rfft(window * emphasized, 256)[:-1]
    real, imaginary = np.split(frame @ analysis, 2)
    np.testing.assert_allclose(real + 1j * imaginary, spectrum, atol=1e-10)


def test_filters_are_triangles_that_add_up():
    _, filters = filter_bank.build(8000, 200, num_filters=23)
    assert filters.shape == (128, 23)
    peaks = filters.argmax(axis=0)
    assert (np.diff(peaks) > 0).all()
    inside = slice(peaks[0] + 1, peaks[-1])  # neighbors overlap by half
    np.testing.assert_allclose(filters[inside].sum(axis=1), 1, atol=1e-9)
