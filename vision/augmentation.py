"""What training does to images, on the host: crops, flips, scaling to unit variance, mixup.

Functions are pure; random ones take a NumPy generator.  Small images, those not larger than the
network's, are shifted by a few pixels; of larger ones a random part is stretched to the size.

References:
    K. He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385 (shifts).
    C. Szegedy et al., "Going Deeper with Convolutions", 2014, arXiv:1409.4842 (random parts).
    H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017, arXiv:1710.09412.
"""

import math

import numpy as np
from PIL import Image


def shift(
    image: np.ndarray, size: int, padding: int, generator: np.random.Generator | None
) -> np.ndarray:
    """A small image in a frame of zeros, moved by up to `padding` pixels in both directions.

    Args:
        image: ``[height, width, channels]``, neither side above `size`.
        size: sides of the result.
        padding: the largest shift.
        generator: draws the shift; None leaves the image in the middle.

    Returns:
        ``[size, size, channels]``: for images of that size, a random crop after padding.
    """
    result = np.zeros((size, size, image.shape[-1]), image.dtype)
    target, source = [], []
    for side in image.shape[:2]:
        start = (size - side) // 2
        if generator is not None:
            start += int(generator.integers(-padding, padding + 1))
        first, last = np.clip([start, start + side], 0, size)
        target.append(slice(first, last))
        source.append(slice(first - start, last - start))
    result[tuple(target)] = image[tuple(source)]
    return result


def random_part(
    image: np.ndarray,
    size: int,
    generator: np.random.Generator,
    *,
    area: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> np.ndarray:
    """A random part of an image, stretched to ``[size, size, channels]``.

    Args:
        image: uint8 ``[height, width, channels]``.
        size: sides of the result.
        generator: draws area and place uniformly, the ratio of the sides in its logarithm.
        area: range of the part's share of the image.
        ratio: range of its width over its height.
    """
    height, width = image.shape[:2]
    for _ in range(10):
        pixels = height * width * generator.uniform(*area)
        aspect = math.exp(generator.uniform(*np.log(ratio)))
        columns, rows = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            left = int(generator.integers(width - columns + 1))
            top = int(generator.integers(height - rows + 1))
            return _stretch(image[top : top + rows, left : left + columns], size, size)
    return center(image, size, zoom=1.0)  # very long or very high


def center(image: np.ndarray, size: int, *, zoom: float = 256 / 224) -> np.ndarray:
    """The middle of an image whose shorter side is first made ``zoom * size`` long.

    Args:
        image: uint8 ``[height, width, channels]``.
        size: sides of the result.
        zoom: by which the shorter side is longer than the part.

    Returns:
        ``[size, size, channels]``.
    """
    height, width = image.shape[:2]
    factor = round(zoom * size) / min(height, width)
    image = _stretch(image, max(size, round(height * factor)), max(size, round(width * factor)))
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def _stretch(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resized with antialiasing."""
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(height, width, image.shape[-1])


def normalize(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Bytes ``[..., channels]`` as float32 of zero mean and unit variance by channel.

    Args:
        images: uint8.
        mean: of pixels in [0, 1], by channel.
        std: likewise.
    """
    factor = np.float32(1 / 255) / np.asarray(std, np.float32)
    return images * factor - np.asarray(mean, np.float32) / np.asarray(std, np.float32)


def mixup(
    images: np.ndarray, targets: np.ndarray, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blends each image and its target with another of the batch: m x_i + (1 - m) x_j.

    Args:
        images: float32 ``[batch, height, width, channels]``.
        targets: float32 ``[batch, classes]``, probabilities.
        alpha: m is drawn from Beta(alpha, alpha), once for the batch.
        generator: draws m and the partners.

    Returns:
        Images and targets of the same shapes.
    """
    weight = np.float32(generator.beta(alpha, alpha))
    partners = generator.permutation(len(images))
    blend = [weight * x + (1 - weight) * x[partners] for x in (images, targets)]
    return blend[0], blend[1]
