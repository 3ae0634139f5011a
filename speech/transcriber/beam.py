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


class _Path(NamedTuple):
    prefix: Prefix
    frames: _Frames | None
    score: float


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
        self._paths = [_Path(root, None, 0.0)]
        self._complete: list[_Path] = []
        self._encoded = np.zeros((0, 0), np.float32)
        self._step = 0

    def feed(self, encoded: np.ndarray, *, is_last: bool = False) -> None:
        """Reads on.

        Args:
            encoded: encoder vectors ``[frames, E]``.
            is_last: whether the recording ends here.
        """
        before = self._encoded
        self._encoded = np.concatenate([before, encoded]) if len(before) else encoded
        length = len(self._encoded) if is_last else None
        if length == 0:
            self._complete, self._paths = self._paths, []
        while self._paths:
            needed = self._step - min(path.prefix.length for path in self._paths)
            if length is None and needed + 1 >= len(self._encoded):
                break  # that frame may be the last, or is not there yet
            self._advance(length)

    def best(self, nbest: int = 1) -> list[Hypothesis]:
        """The best sequences; before the end, those that the beam holds."""
        paths = sorted(self._complete or self._paths, key=lambda path: -path.score)
        return [
            Hypothesis(path.prefix.labels(), _listed(path.frames), path.score)
            for path in paths[:nbest]
        ]

    def _tables(self) -> list[Table]:
        return [self._predictor, *(table for table, _ in self._models)]

    def _advance(self, length: int | None) -> None:
        """One step of the alignment length."""
        paths = self._paths
        prefixes = [path.prefix for path in paths]
        rows = _rows(prefixes)
        lengths = np.array([prefix.length for prefix in prefixes])
        frames = self._step - lengths
        (gains,) = self._joiner(
            encoded=self._encoded[frames], predicted=self._predictor.vectors[rows]
        )
        scores = np.array([path.score for path in paths])[:, None] + gains
        scores[:, 1:] += self._length_reward
        for k, path in enumerate(paths):
            if lengths[k] == length or self._is_full(path, frames[k]):
                scores[k, 1:] = -math.inf
        if length is not None:
            is_last = frames == length - 1
            finished = [
                path._replace(score=float(scores[k, 0]))
                for k, path in enumerate(paths)
                if is_last[k]
            ]
            self._finish(finished)
            scores[is_last, 0] = -math.inf
        index = {prefix: k for k, prefix in enumerate(prefixes)}
        pairs = [  # (child, parent), both in the beam
            (k, index[prefix.parent]) for k, prefix in enumerate(prefixes) if prefix.parent in index
        ]
        total, is_later, kept = self._choose(scores, rows, prefixes, pairs)
        parents = dict(pairs)
        self._paths = []
        for choice in kept:
            k, label = divmod(int(choice), scores.shape[1])
            path, score = paths[k], float(total[k, label])
            if label:
                path = _Path(path.prefix.extend(label), _Frames(int(frames[k]), path.frames), score)
            elif k in is_later:  # the alignment that has just emitted its last label weighs more
                emitted = int(frames[parents[k]])
                path = _Path(path.prefix, _Frames(emitted, paths[parents[k]].frames), score)
            else:
                path = path._replace(score=score)
            self._paths.append(path)
        self._remember()
        self._step += 1
        if not self._models and len(self._complete) == self._nbest and self._paths:
            rest = np.logaddexp.reduce([path.score for path in self._paths])
            if rest < self._complete[-1].score:  # what is left sums to less than any of the result
                self._paths = []

    def _choose(self, scores, rows, prefixes, pairs):
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
            for child, parent in pairs:
                label = prefixes[child].label
                if total[parent, label] > total[child, 0]:
                    is_later.add(child)
                total[child, 0] = np.logaddexp(total[child, 0], total[parent, label])
                total[parent, label] = -math.inf
            flat = total.reshape(-1)
            kept = np.arange(len(flat))
            if len(flat) > self._beam:
                kept = np.argpartition(-flat, self._beam)[: self._beam]
            kept = kept[np.argsort(-flat[kept], kind="stable")]
            best = max([path.score for path in self._complete], default=-math.inf)
            best = max(best, flat[kept[0]])
            kept = kept[(flat[kept] > -math.inf) & (flat[kept] >= best - self._prune)]
            # Whose label probabilities the chosen scores depend on.
            parents = dict(pairs)
            chosen = zip(*np.divmod(kept, scores.shape[1]), strict=True)
            asked = {k if label else parents.get(k, -1) for k, label in chosen} - {-1}
            pending = rows[sorted(asked)]
            behind = False
            for table, _ in self._models:
                late = pending[table.is_behind[pending]]
                if len(late):
                    table.catch_up(late)
                    behind = True
            if not behind:
                return total, is_later, kept

    def _remember(self) -> None:
        """Makes the tables hold every prefix of the beam."""
        prefixes = [path.prefix for path in self._paths]
        keep = [prefix.parent for prefix in prefixes if prefix.parent is not None]
        new = self._rows.assign(prefixes, keep)
        if not new:
            return
        rows = _rows(new)
        parents = _rows([prefix.parent for prefix in new if prefix.parent is not None])
        labels = np.array([prefix.label for prefix in new])
        for table in self._tables():
            table.append(rows, parents, labels)
        self._predictor.catch_up(rows)
        for table, weight in self._models:
            if weight < 0:  # without it there is no bound
                table.catch_up(rows)

    def _finish(self, paths: list[_Path]) -> None:
        both = sorted([*self._complete, *paths], key=lambda path: -path.score)
        self._complete = both[: self._nbest]

    def _is_full(self, path: _Path, frame: int) -> bool:
        """Whether as many labels as a frame may have are of this one."""
        frames = path.frames
        for _ in range(self._max_symbols):
            if frames is None or frames.last != frame:
                return False
            frames = frames.before
        return True


def _rows(prefixes: list[Prefix]) -> np.ndarray:
    return np.array([prefix.row for prefix in prefixes], int)


def _listed(frames: _Frames | None) -> list[int]:
    found = []
    while frames is not None:
        found.append(frames.last)
        frames = frames.before
    return found[::-1]
