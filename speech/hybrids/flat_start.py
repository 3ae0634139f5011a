"""Aligning known texts from nothing, by linear discriminants of single frames.

At first all states of an utterance get equal parts of its frames.  Then, in turns, each tied state
s takes the mean m_s of its frames, and all share one covariance C, so that up to a constant

    log p(x | s) = m_s' C^-1 x - m_s' C^-1 m_s / 2

is linear in the frame x, and the utterances are aligned anew.  It settles in about ten turns.  A
recurrent network cannot take the place of the discriminants: it sees enough of an utterance to
learn equal parts by heart, and gives them back.

References:
    Fisher, The use of multiple measurements in taxonomic problems, 1936 (the discriminants).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from . import alignment
from .alignment import Alignment
from .state_graph import StateGraph

ROWS, FRAMES = 32, 64  # most rows of a batch; its length is a multiple of these frames
AREA = ROWS * 512  # most rows times frames
RIDGE = 1e-3  # of the mean variance, added to each


class Discriminants(NamedTuple):
    """Linear scores of frames."""

    weights: np.ndarray  # [features, pdfs] float32
    biases: np.ndarray  # [pdfs] float32

    def score(self, features: np.ndarray) -> np.ndarray:
        """Log likelihoods up to a constant, ``[frames, features] -> [frames, pdfs]``."""
        return features @ self.weights + self.biases

    def split(self, parents: np.ndarray) -> "Discriminants":
        """Those of ``[pdfs]`` new states, each like the one that it came from."""
        return Discriminants(self.weights[:, parents], self.biases[parents])


def settle(
    features: Sequence[np.ndarray],
    graphs: Sequence[StateGraph],
    paths: Sequence[Alignment | None],
    num_pdfs: int,
    *,
    rounds: int,
    advance: Callable[[int], None] = lambda number: None,
) -> tuple[Discriminants, list[Alignment | None]]:
    """Fits discriminants to alignments and aligns anew, in turns.

    Args:
        features: ``[frames, features]`` float32 of each utterance.
        graphs: of each.
        paths: the first alignments; None leaves an utterance out at first.
        num_pdfs: number of tied states.
        rounds: turns, at least one.
        advance: is told how many more turns are done.

    Returns:
        The last discriminants, and the alignments by them.

    Raises:
        ValueError: if no utterance is aligned.
    """
    if all(path is None for path in paths):
        raise ValueError("`paths` must hold an alignment; every recording is too short.")
    found = list(paths)
    discriminants = fit(features, graphs, found, num_pdfs)
    for turn in range(rounds):
        if turn:
            discriminants = fit(features, graphs, found, num_pdfs)
        found = align(discriminants, features, graphs)
        advance(1)
    return discriminants, found


def fit(
    features: Sequence[np.ndarray],
    graphs: Sequence[StateGraph],
    paths: Sequence[Alignment | None],
    num_pdfs: int,
) -> Discriminants:
    """The discriminants of aligned frames; arguments as in `settle`.

    A state without frames is like the mean of all.
    """
    size = features[0].shape[1]
    counts, sums = np.zeros(num_pdfs), np.zeros((num_pdfs, size))
    scatter = np.zeros((size, size))
    for frames, graph, path in zip(features, graphs, paths, strict=True):
        if path is None:
            continue
        x = frames.astype(np.float64)
        pdfs = graph.pdfs[path.states]
        counts += np.bincount(pdfs, minlength=num_pdfs)
        np.add.at(sums, pdfs, x)
        scatter += x.T @ x
    total = counts.sum()
    means = np.where(
        counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], sums.sum(axis=0) / total
    )
    covariance = (scatter - means.T @ (counts[:, None] * means)) / total
    covariance += RIDGE * np.mean(np.diag(covariance)) * np.eye(size)
    weights = np.linalg.solve(covariance, means.T)
    biases = -0.5 * np.sum(means.T * weights, axis=0)
    return Discriminants(weights.astype(np.float32), biases.astype(np.float32))


def align(
    discriminants: Discriminants, features: Sequence[np.ndarray], graphs: Sequence[StateGraph]
) -> list[Alignment | None]:
    """The best path of each utterance; None where it is too short for its text."""
    found: list[Alignment | None] = [None] * len(features)
    order = sorted(range(len(features)), key=lambda index: len(features[index]))
    place = 0
    while place < len(order):
        rows = ROWS
        while rows > 1 and rows * len(features[order[min(place + rows, len(order)) - 1]]) > AREA:
            rows //= 2
        members = order[place : place + rows]
        place += rows
        length = max(1, -(-len(features[members[-1]]) // FRAMES)) * FRAMES
        scores = np.zeros((rows, length, len(discriminants.biases)), np.float32)
        paddings = np.ones((rows, length), np.float32)
        for row, index in enumerate(members):
            number = len(features[index])
            scores[row, :number] = discriminants.score(features[index])
            paddings[row, :number] = 0
        chosen = [graphs[index] for index in members]
        chosen += chosen[:1] * (rows - len(chosen))  # rows that only fill the batch
        paths = alignment.align(jnp.asarray(scores), jnp.asarray(paddings), chosen)
        for index, path in zip(members, paths, strict=False):
            found[index] = path
    return found
