"""Alignment-length synchronous beam search on the host, for one recording, read in parts.

The search is that of `speech.beam`, whose n-best lists it gives.  What differs is the order of
work.  Prefixes are nodes of a tree, so that what a network said of one is looked up and not asked
twice.  A language model with a positive weight can only lower a label's score: before it is asked,
the score without it is a bound, and it is asked of those prefixes only whose labels would be kept
by that bound.  The result is the same.

With `prune`, hypotheses that far below the best one are dropped, which the search in JAX does not
do; infinity gives its results.
"""

import math
from typing import NamedTuple

import numpy as np

from .greedy import Hypothesis
from .networks import Network, StepNetwork
from .prefixes import Prefix, Rows, Table

ROWS = 8  # of the tables, for each hypothesis


class Fused(NamedTuple):
    """A language model in the search."""

    network: StepNetwork
    weight: float  # of its log probability; negative for a source model


class _Frames(NamedTuple):
    """Frames of emission, the last one first; hypotheses share what they have in common."""

    last: int
    before: "_Frames | None"


class _Complete(NamedTuple):
    score: float
    prefix: Prefix
    frames: _Frames | None


class BeamSearch:
    """Finds the label sequences of the largest total probability.

    Args:
        predictor: the predictor.
        joiner: the joiner.
        beam: hypotheses kept at each alignment length.
        nbest: sequences to find.
        models: language models.
        length_reward: added for each label.
        prune: how far below the best hypothesis others are dropped, in nats.
        max_symbols_per_frame: labels after which a frame is left.
    """

    def __init__(
        self,
        predictor: StepNetwork,
        joiner: Network,
        *,
        beam: int = 16,
        nbest: int = 1,
        models: tuple[Fused, ...] = (),
        length_reward: float = 0.0,
        prune: float = math.inf,
        max_symbols_per_frame: int = 4,
    ):
        self._joiner, self._beam, self._nbest = joiner, beam, nbest
        self._length_reward, self._prune = length_reward, prune
        self._max_symbols = max_symbols_per_frame
        self._rows = Rows(ROWS * beam)
        self._predictor = Table(predictor, ROWS * beam)
        self._models = [(Table(model.network, ROWS * beam), model.weight) for model in models]
        root = Prefix()
        self._rows.assign([root], [])
        for table in self._tables():
            table.start(_rows([root])[0])
        # The beam, as parallel lists.
        self._prefixes = [root]
        self._emitted: list[_Frames | None] = [None]
        self._scores = np.zeros(1)
        self._counts = np.zeros(1, int)  # labels of the frame at hand
        self._complete: list[_Complete] = []
        self._encoded = np.zeros((0, 0), np.float32)  # frames that hypotheses may still need
        self._first = 0  # number of the first of them
        self._step = 0

    def feed(self, encoded: np.ndarray, *, is_last: bool = False) -> None:
        """Reads on.

        Args:
            encoded: encoder vectors ``[frames, E]``.
            is_last: whether the recording ends here.
        """
        lengths = [prefix.length for prefix in self._prefixes]
        behind = self._step - max(lengths, default=self._step) - self._first  # frames nobody needs
        kept = self._encoded[max(0, behind) :]
        self._first += len(self._encoded) - len(kept)
        self._encoded = np.concatenate([kept, encoded]) if len(kept) else encoded
        end = self._first + len(self._encoded)
        length = end if is_last else None
        if length == 0:
            self._complete, self._prefixes = self._held(), []
        while self._prefixes:
            needed = self._step - min(prefix.length for prefix in self._prefixes)
            if length is None and needed + 1 >= end:
                break  # that frame may be the last, or is not there yet
            self._advance(length)

    def best(self, nbest: int = 1) -> list[Hypothesis]:
        """The best sequences; before the end, those that the beam holds."""
        found = sorted(self._complete or self._held(), key=_score)
        return [
            Hypothesis(one.prefix.labels(), _listed(one.frames), one.score) for one in found[:nbest]
        ]

    def _held(self) -> list[_Complete]:
        held = zip(self._scores.tolist(), self._prefixes, self._emitted, strict=True)
        return [_Complete(*one) for one in held]

    def _tables(self) -> list[Table]:
        return [self._predictor, *(table for table, _ in self._models)]

    def _advance(self, length: int | None) -> None:
        """One step of the alignment length."""
        prefixes, emitted = self._prefixes, self._emitted
        rows = _rows(prefixes)
        lengths = np.array([prefix.length for prefix in prefixes])
        frames = self._step - lengths
        (gains,) = self._joiner(
            encoded=self._encoded[frames - self._first], predicted=self._predictor.vectors[rows]
        )
        scores = self._scores[:, None] + gains
        if self._length_reward:
            scores[:, 1:] += self._length_reward
        is_closed = self._counts >= self._max_symbols
        if length is not None:
            is_closed |= lengths == length
            is_last = frames == length - 1
            for k in np.flatnonzero(is_last):
                self._finish(_Complete(float(scores[k, 0]), prefixes[k], emitted[k]))
            scores[is_last, 0] = -math.inf
        scores[is_closed, 1:] = -math.inf
        index = {prefix: k for k, prefix in enumerate(prefixes)}
        parents = {  # of those whose parent is in the beam
            k: index[prefix.parent] for k, prefix in enumerate(prefixes) if prefix.parent in index
        }
        total, is_later, kept = self._choose(scores, rows, parents)
        sources, labels = np.divmod(kept, scores.shape[1])
        self._scores = total.reshape(-1)[kept]
        self._counts = np.where(labels, self._counts[sources] + 1, 0)
        self._prefixes, self._emitted = [], []
        for place, (k, label) in enumerate(zip(sources.tolist(), labels.tolist(), strict=True)):
            prefix, before = prefixes[k], emitted[k]
            if label:
                prefix = prefix.extend(label)
                before = _Frames(int(frames[k]), before)
            elif k in is_later:  # the alignment that has just emitted its last label weighs more
                parent = parents[k]
                before = _Frames(int(frames[parent]), emitted[parent])
                self._counts[place] = 1 + _count(before.before, before.last)
            self._prefixes.append(prefix)
            self._emitted.append(before)
        self._remember()
        self._step += 1
        if not self._models and len(self._complete) == self._nbest and self._prefixes:
            rest = np.logaddexp.reduce(self._scores)
            if rest < self._complete[-1].score:  # what is left sums to less than any of the result
                self._prefixes = []

    def _choose(
        self, scores: np.ndarray, rows: np.ndarray, parents: dict[int, int]
    ) -> tuple[np.ndarray, set[int], np.ndarray]:
        """The best extensions, with language models asked where they matter.

        Returns:
            Scores with everything added, the children whose last label came later, and the chosen
            places in the flattened scores, the best first.
        """
        while True:
            total = scores.copy()
            for table, weight in self._models:
                total[:, 1:] += weight * table.vectors[rows, 1:]
            is_later = set()
            for child, parent in parents.items():
                label = self._prefixes[child].label
                stay, come = float(total[child, 0]), float(total[parent, label])
                if come > stay:
                    is_later.add(child)
                total[child, 0] = _add(stay, come)
                total[parent, label] = -math.inf
            flat = total.reshape(-1)
            kept = np.arange(len(flat))
            if len(flat) > self._beam:
                kept = np.argpartition(flat, -self._beam)[-self._beam :]
            found = flat[kept]
            best = max([*(one.score for one in self._complete[:1]), float(found.max())])
            is_kept = (found > -math.inf) & (found >= best - self._prune)
            kept = kept[np.argsort(-found, kind="stable")][: int(is_kept.sum())]
            if not self._models or not self._ask(kept // scores.shape[1], kept, rows, parents):
                return total, is_later, kept

    def _ask(
        self, sources: np.ndarray, kept: np.ndarray, rows: np.ndarray, parents: dict[int, int]
    ) -> bool:
        """Runs language models where chosen scores are bounds only; tells whether there were."""
        is_label = kept % self._models[0][0].vectors.shape[1] > 0
        asked = set(sources[is_label].tolist())
        asked |= {parents[k] for k in sources[~is_label].tolist() if k in parents}
        pending = rows[sorted(asked)]
        was_behind = False
        for table, _ in self._models:
            if table.is_behind[pending].any():
                # The weights must cross memory for one row as for all: the others will be asked.
                table.catch_up(rows[table.is_behind[rows]])
                was_behind = True
        return was_behind

    def _remember(self) -> None:
        """Makes the tables hold every prefix of the beam."""
        prefixes = self._prefixes
        if all(prefix.row is not None for prefix in prefixes):
            return
        keep = [prefix.parent for prefix in prefixes if prefix.parent is not None]
        new = self._rows.assign(prefixes, keep)
        rows = _rows(new)
        parents = _rows([prefix.parent for prefix in new if prefix.parent is not None])
        labels = np.array([prefix.label for prefix in new])
        for table in self._tables():
            table.append(rows, parents, labels)
        self._predictor.catch_up(rows)
        for table, weight in self._models:
            if weight < 0:  # without it there is no bound
                table.catch_up(rows)

    def _finish(self, found: _Complete) -> None:
        self._complete = sorted([*self._complete, found], key=_score)[: self._nbest]


def _score(one: _Complete) -> float:
    return -one.score


def _add(left: float, right: float) -> float:
    """log(exp left + exp right)."""
    if right > left:
        left, right = right, left
    return left if right == -math.inf else left + math.log1p(math.exp(right - left))


def _count(frames: _Frames | None, frame: int) -> int:
    """How many of the last labels were emitted at a frame."""
    number = 0
    while frames is not None and frames.last == frame:
        number, frames = number + 1, frames.before
    return number


def _rows(prefixes: list[Prefix]) -> np.ndarray:
    return np.array([prefix.row for prefix in prefixes], int)


def _listed(frames: _Frames | None) -> list[int]:
    found = []
    while frames is not None:
        found.append(frames.last)
        frames = frames.before
    return found[::-1]
