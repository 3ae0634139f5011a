"""Rebuilds ``vision/bundled/fashion.npz`` from Debian's package of Fashion-MNIST.

    apt-get install dataset-fashion-mnist
    python tools/build_fashion.py

The first 600 images of each class of the training set and the first 200 of the test set, in the
order of the package: enough to tell networks and ways of training apart, small enough to ship.
The archive holds ``train_images`` [6000, 28, 28] and ``train_labels`` [6000], uint8, and the same
for the test; it is the same byte for byte however often it is built.
"""

import argparse
import gzip
import pathlib

import numpy as np

SOURCE = pathlib.Path("/usr/share/datasets/fashion-mnist")
BUNDLED = pathlib.Path(__file__).parents[1] / "vision" / "bundled" / "fashion.npz"
PARTS = {"train": ("train", 600), "test": ("t10k", 200)}


def read(path: pathlib.Path) -> np.ndarray:
    """An array in the IDX format: two zeros, type, number of axes, sizes, then bytes."""
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, ">i4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * content[3]).reshape(shape)


def first_of_each(labels: np.ndarray, number: int) -> np.ndarray:
    """Indices of the first of each class, in rising order."""
    chosen = [np.flatnonzero(labels == label)[:number] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def main() -> None:
    """Writes the archive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=BUNDLED, help="file to write")
    output = parser.parse_args().output
    if not SOURCE.exists():
        parser.error("install the package dataset-fashion-mnist")
    arrays = {}
    for split, (prefix, number) in PARTS.items():
        labels = read(SOURCE / f"{prefix}-labels-idx1-ubyte.gz")
        images = read(SOURCE / f"{prefix}-images-idx3-ubyte.gz")
        chosen = first_of_each(labels, number)
        arrays |= {f"{split}_images": images[chosen], f"{split}_labels": labels[chosen]}
    np.savez_compressed(output, **arrays)
    pixels = arrays["train_images"] / 255
    print(f"{output.stat().st_size:,} bytes; mean {pixels.mean():.4f}, std {pixels.std():.4f}")


if __name__ == "__main__":
    main()
