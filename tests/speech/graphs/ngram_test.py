import collections
import itertools
import math

import numpy as np
import pytest

from gossamer.speech.corpora import corpus
from gossamer.speech.graphs import ngram

WORDS = list("abcdefgh")


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Random walks that prefer some words, so that counts of 1 to 4 and more occur."""
    generator = np.random.default_rng(0)
    weights = 1 / np.arange(1, len(WORDS) + 1) ** 1.5
    lengths = generator.integers(0, 8, 120)
    return [" ".join(generator.choice(WORDS, n, p=weights / weights.sum())) for n in lengths]


class Slow:
    """The definition word by word, with tuples in dictionaries."""

    def __init__(self, sentences, order):
        padded = [("<s>", *sentence.split(), "</s>") for sentence in sentences]
        grams = collections.Counter(
            text[i : i + n]
            for text in padded
            for n in range(1, order + 2)
            for i in range(len(text))
            if i + n <= len(text)
        )
        before = collections.defaultdict(set)
        for gram in grams:
            before[gram[1:]].add(gram[0])
        self.vocabulary = sorted({*itertools.chain(*padded), "<unk>"} - {"<s>"})
        self.counts = {
            gram: count if len(gram) == order or gram[0] == "<s>" else len(before[gram])
            for gram, count in grams.items()
            if len(gram) <= order and gram != ("<s>",)
        }
        self.discounts = [self.discount(n) for n in range(order + 1)]

    def discount(self, length):
        of = [c for gram, c in self.counts.items() if len(gram) == length]
        n = [of.count(i) for i in range(5)]
        y = n[1] / (n[1] + 2 * n[2]) if n[1] else 0.0
        found = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)] if all(n[1:4]) else [0.0]
        return [0.0, *found] if min(found) > 0 else [0.0, 0.5, 1.0, 1.5]

    def prob(self, word, history):
        lower = self.prob(word, history[1:]) if history else 1 / len(self.vocabulary)
        counts = {w: self.counts.get((*history, w), 0) for w in self.vocabulary}
        total = sum(counts.values())
        if not total:
            return lower
        discounts = self.discounts[len(history) + 1]
        freed = sum(discounts[min(c, 3)] for c in counts.values())
        count = counts[word]
        return (count - discounts[min(count, 3)]) / total + freed / total * lower


def histories(length):
    for n in range(length):
        for words in itertools.product([*WORDS[:4], "<unk>"], repeat=n):
            yield words
            yield ("<s>", *words)[:length]


def probs_after(model, history):
    """[words] of every word but <s>, after any words."""
    context = np.zeros(1, np.int64)
    for word in history:
        context = model.advance(context, np.array([model.ids[word]]))[1]
    words = np.arange(1, len(model.words))
    return np.exp(model.advance(np.repeat(context, len(words)), words)[0])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_are_those_of_the_definition(sentences, order):
    model, slow = ngram.train(sentences, order=order), Slow(sentences, order)
    assert order != 3 or [0.0, 0.5, 1.0, 1.5] not in slow.discounts[2:]
    assert sorted(model.words[1:]) == slow.vocabulary
    for history in dict.fromkeys(histories(min(order, 4))):
        wanted = [
            slow.prob(word, history[-order + 1 :] if order > 1 else ()) for word in model.words[1:]
        ]
        np.testing.assert_allclose(probs_after(model, history), wanted, rtol=1e-10)


@pytest.mark.parametrize("order", range(1, 6))
def test_probabilities_sum_to_one_after_every_history(sentences, order):
    model = ngram.train(sentences, order=order, vocabulary=[*WORDS[:6], "never said"])
    contexts = np.unique(model.contexts)
    words = np.arange(1, len(model.words))
    log_probs, _ = model.advance(np.repeat(contexts, len(words)), np.tile(words, len(contexts)))
    sums = np.exp(log_probs).reshape(len(contexts), -1).sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=1e-10)


def test_tiny_text_by_hand():
    # Too few counts for Chen and Goodman's discounts, hence 1/2 and 1. Before the five words but
    # <s> stand 1, 1, 1, 2 and no different ones; 5/2 of 5 is freed for the uniform distribution.
    model = ngram.train(["a b", "a c"], order=2)
    probs = dict(zip(model.words[1:], probs_after(model, ()), strict=True))
    assert probs == pytest.approx({"</s>": 0.3, "<unk>": 0.1, "a": 0.2, "b": 0.2, "c": 0.2})
    # p(a | <s>) = (2 - 1) / 2 + 1/2 0.2, p(b | a) = (1 - 1/2) / 2 + 1/2 0.2, and
    # p(</s> | b) = (1 - 1/2) / 1 + 1/2 0.3.
    assert model.log_prob("a b") == pytest.approx(math.log(0.6 * 0.35 * 0.65))
    # After the unknown word nothing is known, and backing off is free.
    assert model.log_prob("x") == pytest.approx(math.log(0.5 * 0.1 * 0.3))


def test_one_word_models_are_smoothed_frequencies():
    model = ngram.train(["a a a a a b b c", "a b"], order=1)
    assert model.order == 1
    assert model.start == 0
    # a, b, c, </s> are said 6, 3, 1 and 2 times: n1 = n2 = n3 = 1, n4 = 0, Y = 1/3.
    d1, d2, d3 = 1 - 2 / 3, 2 - 3 / 3, 3.0
    uniform = (d1 + d2 + 2 * d3) / 12 / 5
    wanted = [(2 - d2) / 12, 0, (6 - d3) / 12, (3 - d3) / 12, (1 - d1) / 12]
    np.testing.assert_allclose(probs_after(model, ()), np.add(wanted, uniform), rtol=1e-10)


def test_longer_histories_predict_held_out_prompts_better():
    rows = corpus.prompt_rows()
    texts = {
        split: [r.text for r in rows if r.split == split] for split in ("train", "dev", "test")
    }
    held_out = texts["dev"] + texts["test"]
    found = [ngram.train(texts["train"], order=n).perplexity(held_out) for n in (1, 2, 3)]
    assert [round(each.value) for each in found] == [137, 43, 36]
    assert {each[1:] for each in found} == {(671, 93)}


def test_orders_beyond_all_sentences_change_nothing():
    short = ngram.train(["a b", "b"], order=4)
    long = ngram.train(["a b", "b"], order=9)
    assert long.order == 9
    assert long.score(["a b a", "", "b"])[0] == pytest.approx(short.score(["a b a"])[0])


@pytest.mark.parametrize(
    ("sentences", "order", "message"),
    [
        ([], 2, "`sentences` must hold at least one sentence"),
        (["a </s>"], 2, "must not hold <s> or </s>"),
        (["a"], 0, r"`order` must lie in 1\.\.9, got 0"),
        (["a"], 10, r"`order` must lie in 1\.\.9, got 10"),
    ],
)
def test_bad_input_is_refused(sentences, order, message):
    with pytest.raises(ValueError, match=message):
        ngram.train(sentences, order=order)
    with pytest.raises(ValueError, match="must hold at least one sentence"):
        ngram.train(["a"]).perplexity([])
