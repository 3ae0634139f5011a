"""Crops, parts and mixtures against what they are said to be."""

import numpy as np
import pytest

from gossamer.vision import augmentation


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def image(height, width, channels=3):
    return (
        np.arange(1, height * width * channels + 1).reshape(height, width, channels).astype("uint8")
    )


def test_a_shift_is_a_crop_after_padding(generator):
    x = image(6, 6)
    padded = np.pad(x, ((2, 2), (2, 2), (0, 0)))
    crops = {padded[i : i + 6, j : j + 6].tobytes() for i in range(5) for j in range(5)}
    found = {augmentation.shift(x, 6, 2, generator).tobytes() for _ in range(400)}
    assert found == crops  # 400 draws miss one of 25 with a probability below 1e-5


def test_a_shift_beyond_the_frame_leaves_zeros(generator):
    x = image(6, 6)
    found = [augmentation.shift(x, 6, 12, generator) for _ in range(100)]
    assert {shifted.shape for shifted in found} == {x.shape}
    assert any(not shifted.any() for shifted in found)


def test_without_a_generator_a_small_image_is_in_the_middle():
    x = image(4, 5, 1)
    expected = np.pad(x, ((2, 2), (1, 2), (0, 0)))
    np.testing.assert_array_equal(augmentation.shift(x, 8, 3, None), expected)


def test_random_parts_have_the_area_and_stay_inside(generator):
    ramp = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (80, 100, 3))
    widths = []
    for _ in range(200):
        part = augmentation.random_part(ramp, 16, generator, area=(0.25, 0.25), ratio=(1.0, 1.0001))
        assert part.shape == (16, 16, 3)
        # Means of equal cells of a ramp are a ramp: its slope tells the width of the part.
        widths.append(16 * np.polyfit(np.arange(16), part[8, :, 0].astype(float), 1)[0])
    assert abs(np.mean(widths) - np.sqrt(0.25 * 8000)) < 1  # bytes are rounded


def test_very_long_images_give_their_middle(generator):
    x = image(4, 200)
    part = augmentation.random_part(x, 4, generator, area=(1.0, 1.0))
    np.testing.assert_array_equal(part, x[:, 98:102])


@pytest.mark.parametrize("channels", [1, 3])
def test_the_middle_of_a_large_image(channels):
    x = np.zeros((50, 100, channels), np.uint8)
    x[:, 25:75] = 200
    middle = augmentation.center(x, 28)
    assert middle.shape == (28, 28, channels)
    assert (middle == 200).all()


def test_normalize():
    x = np.array([[[0, 255]]], np.uint8)
    found = augmentation.normalize(x, (0.5, 0.25), (0.5, 0.25))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[[-1.0, 3.0]]], rtol=1e-6)


def test_mixup_keeps_probabilities_and_means(generator):
    images = generator.normal(size=(8, 2, 2, 1)).astype(np.float32)
    targets = np.eye(8, dtype=np.float32)
    mixed, blended = augmentation.mixup(images, targets, 0.2, generator)
    assert mixed.dtype == blended.dtype == np.float32
    np.testing.assert_allclose(blended.sum(1), 1, rtol=1e-6)
    # The targets tell which images were blended, and how.
    np.testing.assert_allclose(mixed, np.tensordot(blended, images, 1), rtol=0, atol=1e-6)
