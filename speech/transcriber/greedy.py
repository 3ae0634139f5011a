"""Greedy search on the host, read in parts; see `speech.decoding.greedy_decode`."""

from typing import NamedTuple

import numpy as np

from .networks import Network, StepNetwork
from .prefixes import Table

LOOKAHEAD = 16  # frames joined at once, while no label comes


class Hypothesis(NamedTuple):
    """A label sequence."""

    labels: list[int]
    frames: list[int]  # encoder frame of each label
    score: float


class GreedySearch:
    """Takes the most likely symbol at every step.

    Args:
        predictor: the predictor.
        joiner: the joiner.
        max_symbols_per_frame: labels after which a frame is left.
    """

    def __init__(self, predictor: StepNetwork, joiner: Network, *, max_symbols_per_frame: int = 4):
        self._joiner = joiner
        self._max_symbols = max_symbols_per_frame
        self._table = Table(predictor, 1)
        self._table.start(0)
        self._labels: list[int] = []
        self._frames: list[int] = []
        self._score, self._frame = 0.0, 0

    def feed(self, encoded: np.ndarray, *, is_last: bool = False) -> None:
        """Reads on.

        Args:
            encoded: encoder vectors ``[frames, E]``.
            is_last: whether the recording ends here; nothing depends on it.
        """
        del is_last
        row = np.zeros(1, int)
        frame, symbols = 0, 0
        while frame < len(encoded):
            window = encoded[frame : frame + LOOKAHEAD]
            predicted = np.repeat(self._table.vectors, len(window), axis=0)
            (log_probs,) = self._joiner(encoded=window, predicted=predicted)
            best = log_probs.argmax(axis=1)
            if symbols == self._max_symbols:
                best[0] = 0
            is_label = best != 0
            skipped = int(is_label.argmax()) if is_label.any() else len(window)
            self._score += float(log_probs[:skipped, 0].sum())
            frame += skipped
            symbols = 0 if skipped else symbols
            if skipped < len(window):
                label = int(best[skipped])
                self._score += float(log_probs[skipped, label])
                self._labels.append(label)
                self._frames.append(self._frame + frame)
                self._table.append(row, row, np.array([label]))
                self._table.catch_up(row)
                symbols += 1
        self._frame += len(encoded)

    def best(self, nbest: int = 1) -> list[Hypothesis]:
        """What was read so far."""
        del nbest
        return [Hypothesis(list(self._labels), list(self._frames), self._score)]
