"""Batches of pairs of about as many tokens, of similar length, in a few shapes.

Pairs are sorted into buckets by their longer side; a bucket's batches have one shape, so that each
is compiled once.  Batch ``i`` is a function of the seed, so that a run resumes on the batches it
would have seen.  Each pass takes every pair, in another order; the last batch of a bucket is filled
up with pairs from its front.

    source    [batch, T] int32, `END` behind each text, then `PAD`
    target    [batch, T] int32, likewise

with a leading axis of learners in training, each with its own rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .byte_pairs import BytePairs, as_rows
from .parallel import Pair

Batch = dict[str, np.ndarray]
SHORTEST = 16  # to which texts are padded in evaluation


class Encoded(NamedTuple):
    """Pairs as numbers, one behind the other."""

    ids: np.ndarray  # [total] int32: source, target, source, ...
    starts: np.ndarray  # [2 N + 1] int64: where each text begins, and the end

    def __len__(self) -> int:
        return len(self.starts) // 2

    def lengths(self) -> np.ndarray:
        """[N]: tokens of the longer side of each pair."""
        return np.diff(self.starts).reshape(-1, 2).max(1)

    def take(self, rows: Sequence[int], length: int) -> Batch:
        """The pairs of some rows as arrays [len(rows), length]."""
        texts = [[self._text(2 * row + side) for row in rows] for side in (0, 1)]
        return {"source": as_rows(texts[0], length), "target": as_rows(texts[1], length)}

    def _text(self, number: int) -> np.ndarray:
        return self.ids[self.starts[number] : self.starts[number + 1]]


def encode(pairs: Sequence[Pair], tokenizer: BytePairs, max_length: int) -> Encoded:
    """Encodes pairs; those with a side of more than `max_length` tokens are left out.

    Raises:
        ValueError: if none is left.
    """
    ids: list[np.ndarray] = []
    for pair in pairs:
        both = [tokenizer.encode(text) for text in pair]
        if max(map(len, both)) <= max_length:
            ids += [np.array(each, np.int32) for each in both]
    if not ids:
        raise ValueError(
            f"`max_length` must leave some of the {len(pairs)} pairs, got {max_length} tokens; "
            "raise it, or the size of the vocabulary."
        )
    return Encoded(np.concatenate(ids), np.cumsum([0, *map(len, ids)]))


class TokenBatches(Iterator[Batch]):
    """Batches without end.

    Args:
        encoded: the pairs.
        tokens: positions of a side of a batch, padding included, over all learners.
        buckets: shapes at most.
        multiple: what the rows of a batch must be a multiple of: learners times microbatches.
        num_learners: size of the leading axis.
        seed: of the order.

    Raises:
        ValueError: if `tokens` are too few for a row of each learner.
    """

    def __init__(
        self,
        encoded: Encoded,
        tokens: int,
        *,
        buckets: int = 4,
        multiple: int = 1,
        num_learners: int = 1,
        seed: int = 0,
    ):
        self._encoded, self._learners, self._seed = encoded, num_learners, seed
        lengths = encoded.lengths()
        quantiles = np.quantile(lengths, np.arange(1, buckets + 1) / buckets, method="higher")
        self.bounds = np.unique(quantiles)
        if multiple * self.bounds[-1] > tokens:
            raise ValueError(
                f"`tokens` must be at least {multiple} times the longest text, got {tokens} and "
                f"{self.bounds[-1]}; raise it, or lower `max_length`."
            )
        self._rows = tokens // self.bounds // multiple * multiple
        self._members = [
            np.flatnonzero(np.searchsorted(self.bounds, lengths) == bucket)
            for bucket in range(len(self.bounds))
        ]
        counts = [
            -(-len(members) // rows)
            for members, rows in zip(self._members, self._rows, strict=True)
        ]
        self.batches_of_pass = sum(counts)
        self._position = 0
        self._pass: tuple[int, list[tuple[int, np.ndarray]]] = (-1, [])

    def __next__(self) -> Batch:
        number, place = divmod(self._position, self.batches_of_pass)
        if self._pass[0] != number:
            self._pass = number, self._plan(number)
        self._position += 1
        bucket, rows = self._pass[1][place]
        batch = self._encoded.take(rows.tolist(), int(self.bounds[bucket]))
        return {name: x.reshape(self._learners, -1, x.shape[-1]) for name, x in batch.items()}

    def get_state(self) -> dict[str, Any]:
        """The position, for a checkpoint."""
        return {"position": self._position}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position."""
        self._position = int(state["position"])

    def _plan(self, number: int) -> list[tuple[int, np.ndarray]]:
        """Bucket and rows of each batch of a pass."""
        generator = np.random.default_rng([self._seed, number])
        plan = []
        for bucket, (members, rows) in enumerate(zip(self._members, self._rows, strict=True)):
            order = generator.permutation(members)
            filled = np.resize(order, -(-len(order) // rows) * rows)
            plan += [(bucket, part) for part in filled.reshape(-1, rows)]
        return [plan[place] for place in generator.permutation(len(plan))]


def evaluation_batches(encoded: Encoded, *, rows: int = 64) -> Iterator[tuple[Batch, np.ndarray]]:
    """Pairs once, the short ones first.

    Yields:
        A batch of `rows` rows, and the numbers of the pairs in it; rows behind them are filler.
    """
    order = np.argsort(encoded.lengths(), kind="stable")
    for start in range(0, len(order), rows):
        chosen = order[start : start + rows]
        length = padded_length(int(encoded.lengths()[chosen[-1]]))
        yield encoded.take(np.resize(chosen, rows).tolist(), length), chosen


def padded_length(length: int) -> int:
    """The next power of two: evaluation has few shapes, each of which is compiled once."""
    return max(SHORTEST, 1 << (length - 1).bit_length())
