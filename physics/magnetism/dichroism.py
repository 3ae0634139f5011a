"""Magnetic circular dichroism of a film, from the magnetization of its layers.

Left and right circular light are absorbed differently by a magnetized layer.  In a film of thin,
weakly absorbing layers the difference over the sum adds up to

    signal = sum_l w_l m_l,      w_l = exp(-2 l d / delta) / sum_l exp(-2 l d / delta),

with l counted from the side of the light and delta the depth to which it reaches.  It is a model:
what a full magnetization gives, in percent of the light, depends on the photon energy and is left
to the measurement; here it is 1.
"""

import numpy as np


def dichroism(
    layers: np.ndarray, *, spacing: float = 0.61, depth: float = np.inf, full: float = 1.0
) -> np.ndarray:
    """The signal of a film.

    Args:
        layers: mz of each layer, ``[..., layers]``, the first one facing the light.
        spacing: of layers, nm.
        depth: delta, nm; infinity weighs all layers alike.
        full: signal of a fully magnetized film.

    Returns:
        ``[...]``.

    Raises:
        ValueError: if `depth` or `spacing` is not positive.
    """
    if not (depth > 0 and spacing > 0):
        raise ValueError(f"`depth` and `spacing` must be positive, in nm, got {depth}, {spacing}.")
    layers = np.asarray(layers)
    weights = np.exp(-2 * spacing * np.arange(layers.shape[-1]) / depth)
    return full * layers @ (weights / weights.sum())
