"""Batches: what is in them, that they resume, and that each image comes once an epoch."""

import numpy as np
import pytest

from gossamer.vision import loader
from gossamer.vision.data import ImageData, Images, Scale
from gossamer.vision.loader import Changes

PLAIN = Changes(padding=0, flip=False)


def make(number=10, side=4, channels=1):
    """Image i is i everywhere, of class i modulo 3."""
    pixels = np.arange(number, dtype=np.uint8)[:, None, None, None]
    pixels = np.broadcast_to(pixels, (number, side, side, channels))
    images = Images(pixels.__getitem__, (np.arange(number) % 3).astype(np.int32))
    scale = Scale((0.0,) * channels, (1 / 255,) * channels)
    return ImageData("numbers", images, images, ("a", "b", "c"), scale)


def take(stream, number):
    return [next(stream) for _ in range(number)]


def test_every_epoch_is_a_new_order_of_all_images():
    stream = loader.batches(make(), batch_size=3, size=4, changes=PLAIN)
    found = take(stream, 9)
    epochs = [
        np.concatenate([b["images"][:, 0, 0, 0] for b in found[i : i + 3]]) for i in (0, 3, 6)
    ]
    for epoch in epochs:
        assert len(set(np.round(epoch))) == 9
    assert not np.array_equal(epochs[0], epochs[1])
    for batch in found:
        labels = np.round(batch["images"][:, 0, 0, 0]).astype(int) % 3
        np.testing.assert_array_equal(batch["targets"], np.eye(3)[labels])
        assert batch["images"].dtype == batch["targets"].dtype == np.float32


def test_batches_resume_where_they_stopped():
    options = {
        "batch_size": 4,
        "size": 4,
        "num_learners": 2,
        "seed": 3,
        "changes": Changes(mixup=0.3),
    }
    stream = loader.batches(make(), **options)
    take(stream, 2)
    position, expected = stream.get_state(), take(stream, 3)
    again = loader.batches(make(), **options)
    again.set_state(position)
    for a, b in zip(take(again, 3), expected, strict=True):
        assert a["images"].shape == (2, 2, 4, 4, 1)
        np.testing.assert_array_equal(a["images"], b["images"])
        np.testing.assert_array_equal(a["targets"], b["targets"])


def test_large_images_are_cut_and_small_ones_are_framed():
    for side in (9, 3):
        stream = loader.batches(make(side=side), batch_size=2, size=5)
        assert next(stream)["images"].shape == (2, 5, 5, 1)


def test_half_of_the_images_are_mirrored():
    pixels = np.zeros((400, 1, 2, 1), np.uint8)
    pixels[:, :, 0] = 255
    images = Images(pixels.__getitem__, np.zeros(400, np.int32))
    data = ImageData("two", images, images, ("a",), Scale((0.0,), (1.0,)))
    batch = next(loader.batches(data, batch_size=400, size=2, changes=Changes(padding=0)))
    left = batch["images"][:, 0, 0, 0].sum()
    assert abs(left - 200) < 4 * 10  # four standard deviations of 400 fair draws


def test_evaluation_sees_each_image_once():
    found = list(loader.evaluation_batches(make(), batch_size=4, size=4))
    assert [valid.tolist() for _, valid in found] == [
        [True] * 4,
        [True] * 4,
        [True, True, False, False],
    ]
    numbers = np.concatenate([b["images"][valid, 0, 0, 0] for b, valid in found])
    np.testing.assert_allclose(numbers, np.arange(10), rtol=1e-6)
    (first,) = loader.evaluation_batches(make(), "train", batch_size=4, size=4, number=3)
    assert first[1].tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, r"`batch_size` must be in \[1, 10\]"),
        ({"batch_size": 3, "num_learners": 2}, "divisible by the number of learners, got 3 for 2"),
        ({"batch_size": 2, "changes": Changes(padding=-1)}, "`padding` must be at least 0, got -1"),
        ({"batch_size": 2, "changes": Changes(mixup=-1.0)}, "`mixup` must be at least 0, got -1.0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        loader.batches(make(), size=4, **options)
