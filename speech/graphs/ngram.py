"""N-gram language models of words with interpolated modified Kneser-Ney smoothing.

With ``c`` the counts, ``h`` a history of n - 1 words and ``h'`` the same without its first word,

    p(w | h) = (c(h w) - D(c(h w))) / sum_v c(h v) + gamma(h) p(w | h')
    gamma(h) = sum_v D(c(h v)) / sum_v c(h v)

down to the uniform distribution. Below the highest order, and unless it begins the sentence, an
n-gram counts as often as there are different words before it. The discounts D(1), D(2), D(3 and
more) are those of Chen and Goodman, one triple for each order.

A model is a trie in breadth-first order: node 0 is the empty n-gram, nodes 1..V are the words, and
the nodes of one length are sorted by parent and last word. Hence the keys ``parent * V + word`` of
all nodes ascend, and one binary search finds the n-gram ``h w`` from the node of ``h``.

References:
    S. F. Chen and J. Goodman, An Empirical Study of Smoothing Techniques for Language Modeling,
    1999 (Computer Speech and Language 13).
    R. Kneser and H. Ney, Improved Backing-Off for M-Gram Language Modeling, 1995 (ICASSP).
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

BEGIN, END, UNKNOWN = SPECIAL = ("<s>", "</s>", "<unk>")

NEVER = -99.0  # common logarithm of what does not happen, by convention

_DISCOUNTS = (0.5, 1.0, 1.5)  # where a text is too small to tell


class Perplexity(NamedTuple):
    """How well a model predicts sentences."""

    value: float  # exp of the mean negative log-probability of a token
    tokens: int  # words that the model knows, and the ends of sentences
    unknown: int  # words that it does not, which `value` leaves out


@dataclasses.dataclass(frozen=True, eq=False)
class NGram:
    """A back-off language model.

    A *context* is a node, the longest known end of what was said; `start` is the one at the
    beginning of a sentence.

    Attributes:
        words: ``<s>``, ``</s>``, ``<unk>`` and all others; word ``i`` has the node ``i + 1``.
        parents: [nodes] int64, the node without its last word.
        last_words: [nodes] int64 numbers of words.
        suffixes: [nodes] int64, the longest known node without (at least) its first word.
        log_probs: [nodes] float64, natural logarithm of p(last word | parent).
        log_backoffs: [nodes] float64, of what a word unknown after this node costs besides.
        offsets: [order + 2], at which node each length 0..order begins, and the number of nodes.
    """

    words: tuple[str, ...]
    parents: np.ndarray
    last_words: np.ndarray
    suffixes: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray
    offsets: tuple[int, ...]

    @property
    def order(self) -> int:
        """Words of the longest n-grams."""
        return len(self.offsets) - 2

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """Numbers of the words."""
        return {word: i for i, word in enumerate(self.words)}

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """[nodes - 1], ascending; see the head of this module."""
        return self.parents[1:] * len(self.words) + self.last_words[1:]

    @functools.cached_property
    def contexts(self) -> np.ndarray:
        """[nodes], the shortest node that predicts what comes after each node like itself."""
        nodes = np.arange(self.offsets[-1])
        idle = (np.bincount(self.parents[1:], minlength=len(nodes)) == 0) & (self.log_backoffs == 0)
        idle[self.offsets[self.order] :] = True
        idle[0] = False
        for begin, end in itertools.pairwise(self.offsets[1:]):
            level = nodes[begin:end]
            nodes[begin:end] = np.where(idle[level], nodes[self.suffixes[level]], level)
        return nodes

    @property
    def start(self) -> int:
        """The context at the beginning of a sentence."""
        return int(self.contexts[self.ids[BEGIN] + 1])

    def encode(self, sentence: str) -> np.ndarray:
        """[words + 1] numbers of the words and the end; those of no word become ``<unk>``."""
        unknown = self.ids[UNKNOWN]
        words = [self.ids.get(word, unknown) for word in sentence.split()]
        return np.array([*words, self.ids[END]])

    def find(self, contexts: np.ndarray, words: np.ndarray) -> np.ndarray:
        """[n] nodes of contexts with words after them, 0 where there is none."""
        wanted = contexts * len(self.words) + words
        places = np.searchsorted(self.keys, wanted)
        found = self.keys[np.minimum(places, len(self.keys) - 1)] == wanted
        return np.where(found, places + 1, 0)

    def locate(self, contexts: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Backs off from contexts until words are known after them.

        Returns:
            The nodes [n] of the longest known n-grams, and what backing off costs [n].
        """
        nodes, left, contexts = np.zeros(len(words), np.int64), np.arange(len(words)), contexts + 0
        log_backoffs = np.zeros(len(words))
        while left.size:
            nodes[left] = self.find(contexts[left], words[left])
            left = left[nodes[left] == 0]
            log_backoffs[left] += self.log_backoffs[contexts[left]]
            contexts[left] = self.suffixes[contexts[left]]
        return nodes, log_backoffs

    def advance(self, contexts: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Says words.

        Args:
            contexts: [n] nodes.
            words: [n] numbers of words.

        Returns:
            Natural log-probabilities [n], and the contexts [n] after the words.
        """
        nodes, log_backoffs = self.locate(contexts, words)
        return log_backoffs + self.log_probs[nodes], self.contexts[nodes]

    def score(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """[words + 1] natural log-probabilities of the words of each sentence, and of its end."""
        rows = [self.encode(sentence) for sentence in sentences]
        scores = [np.zeros(len(row)) for row in rows]
        contexts = np.full(len(rows), self.start)
        for position in range(max(map(len, rows), default=0)):
            live = [i for i, row in enumerate(rows) if position < len(row)]
            words = np.array([rows[i][position] for i in live])
            log_probs, contexts[live] = self.advance(contexts[live], words)
            for i, log_prob in zip(live, log_probs, strict=True):
                scores[i][position] = log_prob
        return scores

    def log_prob(self, sentence: str) -> float:
        """The natural log-probability of a sentence and its end."""
        return float(self.score([sentence])[0].sum())

    def perplexity(self, sentences: Sequence[str]) -> Perplexity:
        """The perplexity of sentences, each with its end.

        Raises:
            ValueError: if there is no sentence.
        """
        if not sentences:
            raise ValueError("`sentences` must hold at least one sentence, got none.")
        words = np.concatenate([self.encode(sentence) for sentence in sentences])
        known = words != self.ids[UNKNOWN]
        log_probs = np.concatenate(self.score(sentences))[known]
        return Perplexity(math.exp(-log_probs.mean()), int(known.sum()), int((~known).sum()))


def train(
    sentences: Iterable[str], *, order: int = 3, vocabulary: Iterable[str] | None = None
) -> NGram:
    """Estimates a model.

    Args:
        sentences: words between white space; repeated sentences count repeatedly.
        order: words of the longest n-grams, 1 to 9.
        vocabulary: words that can be recognized, default those of the sentences; any other word of
            a sentence counts as ``<unk>``.

    Returns:
        The model, where p(. | h) sums to one over all words but ``<s>``, for every history.

    Raises:
        ValueError: if there is no sentence, or one holds ``<s>`` or ``</s>``.

    Example:
        >>> model = train(["press one", "press two"], order=2)
        >>> model.perplexity(["press one"]).tokens
        3
    """
    if not 1 <= order <= 9:
        raise ValueError(f"`order` must lie in 1..9, got {order}.")
    texts = [sentence.split() for sentence in sentences]
    spoken = set(itertools.chain.from_iterable(texts))
    if not texts:
        raise ValueError("`sentences` must hold at least one sentence, got none.")
    if spoken & {BEGIN, END}:
        raise ValueError(f"`sentences` must not hold {BEGIN} or {END}; each is added by itself.")
    known = spoken if vocabulary is None else set(vocabulary)
    words = (*SPECIAL, *sorted(known.difference(SPECIAL)))
    ids = {word: i for i, word in enumerate(words)}
    unknown = ids[UNKNOWN]
    stream = ([ids[BEGIN], *(ids.get(word, unknown) for word in text), ids[END]] for text in texts)
    tokens = np.fromiter(itertools.chain.from_iterable(stream), np.int64)
    ends = np.repeat(np.cumsum([len(text) + 2 for text in texts]), [len(t) + 2 for t in texts])
    return _smooth(words, _count(tokens, ends - np.arange(len(tokens)), len(words), order))


class _Level(NamedTuple):
    """The n-grams of one length, sorted by parent and last word."""

    parents: np.ndarray  # [n-grams] nodes
    last_words: np.ndarray  # [n-grams]
    suffixes: np.ndarray  # [n-grams] nodes
    counts: np.ndarray  # [n-grams]
    initial: np.ndarray  # [n-grams] bool: begins with <s>


def _count(tokens: np.ndarray, remaining: np.ndarray, num_words: int, order: int) -> list[_Level]:
    """Counts n-grams of each length, and what stands before those that are not longest.

    Args:
        tokens: [tokens] numbers of the words of all sentences with their bounds.
        remaining: [tokens] of the sentence from this token on, itself included.
        num_words: of the vocabulary.
        order: the greatest length.
    """
    words = np.arange(num_words)
    zeros = np.zeros(num_words, np.int64)
    levels = [_Level(zeros, words, zeros, np.bincount(tokens, minlength=num_words), words == 0)]
    nodes = tokens + 1  # of the n-gram that begins at each token
    offset = 1 + num_words
    for length in range(2, order + 1):
        begins = np.flatnonzero(remaining >= length)
        keys = nodes[begins] * num_words + tokens[begins + length - 1]
        keys, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        suffixes = np.zeros(len(keys), np.int64)
        suffixes[inverse] = nodes[begins + 1]
        initial = np.zeros(len(keys), bool)
        initial[inverse] = tokens[begins] == 0
        below = levels[-1]
        before = np.bincount(suffixes - offset + len(below.counts), minlength=len(below.counts))
        levels[-1] = below._replace(counts=np.where(below.initial, below.counts, before))
        levels.append(_Level(*np.divmod(keys, num_words), suffixes, counts, initial))
        nodes[begins] = offset + inverse
        offset += len(keys)
    levels[0].counts[0] = 0  # <s> is given, never predicted
    return levels


def _smooth(words: tuple[str, ...], levels: Sequence[_Level]) -> NGram:
    """Probabilities from counts."""
    offsets = tuple(itertools.accumulate((len(level.counts) for level in levels), initial=1))
    nodes = offsets[-1]
    probs, gammas = np.zeros(nodes), np.ones(nodes)
    probs[0] = 1 / (len(words) - 1)  # uniform, but for <s>
    for level, begin, end in zip(levels, offsets, offsets[1:], strict=False):
        discounts = np.array([0.0, *_discounts(level.counts)])[np.minimum(level.counts, 3)]
        sums = np.bincount(level.parents, level.counts, minlength=nodes)
        freed = np.bincount(level.parents, discounts, minlength=nodes)
        np.divide(freed, sums, out=gammas, where=sums > 0)
        lower = gammas[level.parents] * probs[level.suffixes]
        probs[begin:end] = (level.counts - discounts) / sums[level.parents] + lower
    probs[:2] = 1.0, 10.0**NEVER
    gammas[0] = 1.0
    joined = (np.concatenate(x) for x in zip(*(level[:3] for level in levels), strict=True))
    parents, last_words, suffixes = (np.concatenate([[0], x]) for x in joined)
    return NGram(words, parents, last_words, suffixes, np.log(probs), np.log(gammas), (0, *offsets))


def _discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """D(1), D(2), D(3 and more) of Chen and Goodman, equation 26."""
    n1, n2, n3, n4 = (int((counts == i).sum()) for i in range(1, 5))
    if not n1 or not n2 or not n3:
        return _DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    found = 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
    return found if min(found) > 0 else _DISCOUNTS
