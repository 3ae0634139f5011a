"""Data sets: the bundled one, folders of images, and those of tensorflow-datasets."""

import hashlib
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from gossamer.vision import data, records


@pytest.fixture
def pictures(tmp_path):
    """Two classes, three images of each for training and two for tests."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for split, number in (("train", 3), ("test", 2)):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for i in range(number):
                pixels = generator.integers(0, 256, (20 + i, 24, 3), np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder


def test_the_bundled_images():
    found = data.open_data("fashion")
    assert (len(found.train), len(found.test)) == (6000, 2000)
    for split, number in ((found.train, 600), (found.test, 200)):
        assert np.bincount(split.labels).tolist() == [number] * 10
        assert split.read(0).shape == (28, 28, 1)
        assert split.read(0).dtype == np.uint8
    pixels = np.stack([found.train.read(i) for i in range(6000)]) / 255
    # The scale is that of all 60,000 images, of which these are a tenth.
    assert abs(pixels.mean() - found.scale.mean[0]) < 0.005
    assert abs(pixels.std() - found.scale.std[0]) < 0.005
    assert len(found.class_names) == 10
    assert "Zalando" in found.attribution


def test_no_bundled_image_is_in_both_splits():
    found = data.fashion()
    digests = [
        {hashlib.sha256(split.read(i).tobytes()).digest() for i in range(len(split))}
        for split in (found.train, found.test)
    ]
    assert not digests[0] & digests[1]


def test_a_folder_of_images(pictures, tmp_path):
    found = data.open_data(str(pictures), data_dir=tmp_path / "data")
    assert found.class_names == ("cat", "dog")
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.test.labels.tolist() == [0, 0, 1, 1]
    for index, name in ((0, "cat/0"), (4, "dog/1")):
        with Image.open(pictures / f"train/{name}.png") as image:
            np.testing.assert_array_equal(found.train.read(index), np.asarray(image))
    # What is prepared is found again, also without the images.
    again = data.open_data(str(pictures), data_dir=tmp_path / "data")
    np.testing.assert_array_equal(again.test.read(3), found.test.read(3))


def test_gray_images_and_those_with_transparency_come_in_color(tmp_path):
    for number, (mode, name) in enumerate((("L", "gray"), ("RGBA", "clear"), ("P", "few"))):
        for index in range(12):
            path = tmp_path / "pictures" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new(mode, (5 + number, 4)).save(path)
    found = data.folder(tmp_path / "pictures", data_dir=tmp_path / "data")
    shapes = {found.train.read(i).shape for i in range(len(found.train))}
    assert shapes == {(4, 5, 3), (4, 6, 3), (4, 7, 3)}
    assert len(found.train) + len(found.test) == 36
    assert len(found.test)  # split by their names


def test_corrupt_images_are_refused_or_counted(pictures, tmp_path):
    whole = (pictures / "train/cat/0.png").read_bytes()
    (pictures / "train/cat/8.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "train/dog/9.jpg").write_text("no image")
    options = {"data_dir": tmp_path / "data"}
    with pytest.raises(ValueError, match=r"cat/8.png: not a readable image .*; remove it"):
        data.open_data(str(pictures), **options)
    assert not list((tmp_path / "data").glob("*/*/dataset_info.json"))  # nothing half written
    with pytest.warns(UserWarning, match="Left out 2 of 12 images:(.|\n)*unknown format"):
        found = data.open_data(str(pictures), on_error="skip", **options)
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_folders_that_cannot_be_used_are_refused(pictures, tmp_path):
    with pytest.raises(
        ValueError, match=r"`data` must be fashion, .* or the path of a folder, got"
    ):
        data.open_data(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"`folder` must hold images as CLASS/NAME.jpg"):
        data.folder(tmp_path / "empty")
    (pictures / "test/bird").mkdir()
    Image.new("L", (4, 4)).save(pictures / "test/bird/0.png")
    with pytest.raises(ValueError, match=r"for training of every class, got none of \['bird'\]"):
        data.folder(pictures)
    with pytest.raises(ValueError, match="`on_error` must be 'raise' or 'skip'"):
        data.folder(pictures, on_error="ignore")


def test_named_data_sets_are_those_of_tensorflow_datasets(pictures, tmp_path, monkeypatch):
    rows = records.list_images(pictures)

    def builder(name, *, data_dir, file_format):
        assert (name, file_format) == ("cifar10", "array_record")
        return records.Folder("cifar10", rows, "raise", data_dir)

    monkeypatch.setattr(tfds, "builder", builder)
    found = data.open_data("cifar10", data_dir=tmp_path / "data")
    assert found.scale == data.NAMED["cifar10"][1]
    assert found.train.read(0).shape == (20, 24, 3)
    assert found.test.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (ModuleNotFoundError("No module named 'tensorflow'"), "pip install"),
        (OSError("no network"), "no network"),
    ],
)
def test_what_cannot_be_prepared_names_the_remedy(error, remedy, tmp_path, monkeypatch):
    class Builder:
        def is_prepared(self):
            return False

        def download_and_prepare(self):
            raise error

    monkeypatch.setattr(tfds, "builder", lambda *_, **__: Builder())
    with pytest.raises(ValueError, match=f"`data` cifar10 is not prepared .*{remedy}"):
        data.open_data("cifar10", data_dir=tmp_path)


def test_decode_refuses_what_is_cut_off():
    content = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(content, "JPEG")
    assert records.decode(content.getvalue(), 3).shape == (20, 30, 3)
    assert records.decode(content.getvalue(), 1).shape == (20, 30, 1)
    with pytest.raises(ValueError, match="not a readable image"):
        records.decode(content.getvalue()[:-20], 3)
