"""Texts of several lengths in one array [N, T], 0 where a text is over."""

from typing import Any

import jax
import numpy as np

from ..core.attribution import Padding


def _lengths(examples: Any) -> np.ndarray:
    return np.count_nonzero(examples["ids"], axis=1)


def _cut(block: Any, length: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:, :length] if np.ndim(leaf) > 1 else leaf, block)


TEXTS = Padding(_lengths, _cut, widths=(16, 24, 32, 48, 64, 96, 128, 192, 256))
"""Of examples as `losses` takes them: a block of short texts computes nothing for padding."""
