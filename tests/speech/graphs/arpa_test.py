import gzip
import math
import re

import kaldilm
import numpy as np
import pytest

from gossamer.speech.corpora import corpus
from gossamer.speech.graphs import arpa, ngram

MODEL = r"""Written by hand.
\data\
ngram 1=4
ngram 2=2
ngram 3=1

\1-grams:
-99 <s> -0.25
-0.5	</s>
-0.6 b	-0.5
-0.7 a -0.125

\2-grams:
-0.1 <s> a -0.0625
-0.2 a b

\3-grams:
-0.3 <s> a b

\end\
"""


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [row.text for row in corpus.prompt_rows()]


def walk(text, labels, back_off):
    """The log-probability of labels in an acceptor with back-off arcs, in OpenFst's text form."""
    arcs, finals = {}, {}
    for line in text.splitlines():
        numbers = list(map(float, line.split()))
        if len(numbers) > 2:
            arcs[int(numbers[0]), int(numbers[2])] = int(numbers[1]), sum(numbers[4:])
        elif numbers:
            finals[int(numbers[0])] = sum(numbers[1:])
    state, total = int(text.split()[0]), 0.0
    for label in labels:
        while (state, label) not in arcs:
            state, cost = arcs[state, back_off]
            total -= cost
        state, cost = arcs[state, label]
        total -= cost
    while state not in finals:
        state, cost = arcs[state, back_off]
        total -= cost
    return total - finals[state]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_kaldilm_reads_the_same_model(tmp_path, texts, order):
    path, table = tmp_path / "a.arpa", tmp_path / "words.txt"
    model = ngram.train(texts[::2], order=order, vocabulary={w for t in texts for w in t.split()})
    arpa.write_arpa(path, model)
    text = kaldilm.arpa2fst(str(path), disambig_symbol="#0", write_symbol_table=str(table))
    labels = {word: int(label) for word, label in map(str.split, table.read_text().splitlines())}
    for sentence in texts[1:200:6]:
        found = walk(text, [labels[word] for word in sentence.split()], labels["#0"])
        # Costs are printed with six digits, and there is one for each word.
        assert found == pytest.approx(model.log_prob(sentence), rel=1e-5)


@pytest.mark.parametrize("name", ["a.arpa", "a.arpa.gz"])
@pytest.mark.parametrize("order", [1, 3, 9])
def test_models_are_read_back(tmp_path, texts, name, order):
    model = ngram.train(texts[:50], order=order)
    arpa.write_arpa(tmp_path / name, model)
    read = arpa.read_arpa(tmp_path / name)
    assert read.words == model.words
    assert read.offsets == model.offsets
    for field in ("parents", "last_words", "suffixes", "contexts"):
        np.testing.assert_array_equal(getattr(read, field), getattr(model, field))
    np.testing.assert_allclose(read.log_probs, model.log_probs, rtol=1e-7)
    np.testing.assert_allclose(read.log_backoffs, model.log_backoffs, rtol=1e-7)
    arpa.write_arpa(tmp_path / "b.arpa", read)
    assert arpa.read_arpa(tmp_path / "b.arpa").perplexity(texts) == read.perplexity(texts)


def test_models_of_others_are_read(tmp_path):
    path = tmp_path / "a.arpa"
    path.write_text(MODEL)
    model = arpa.read_arpa(path)
    tens = model.score(["a b b", "b"])
    # <s> a; <s> a b; b after a b, b and nothing; the end after b.
    wanted = [-0.1, -0.3, -0.5 - 0.6, -0.5 - 0.5], [-0.25 - 0.6, -0.5 - 0.5]
    for found, exponents in zip(tens, wanted, strict=True):
        np.testing.assert_allclose(found, np.multiply(exponents, math.log(10)), rtol=1e-12)
    assert model.log_prob("a x") < -99  # there is no <unk>


def test_pruned_suffixes_are_skipped(tmp_path):
    path = tmp_path / "a.arpa"
    path.write_text(MODEL.replace("-0.2 a b", "-0.2 b a").replace("<s> a b", "<s> a a"))
    model = arpa.read_arpa(path)
    # After <s> a a nothing longer than a is known.
    exponents = -0.1, -0.3, -0.125 - 0.6, -0.5 - 0.5
    np.testing.assert_allclose(
        model.score(["a a b"])[0], np.multiply(exponents, math.log(10)), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\\data\\\n", "", r"must be a model from `\\data\\` to `\\end\\`, but ends early"),
        ("\\end\\", "", r"but ends early"),
        ("ngram 1=4", "ngram 1=x", "line 3: must be `ngram 1=<number>`"),
        ("ngram 1=4\n", "", "line 3: must be `ngram 1=<number>`"),
        ("ngram 2=2", "ngram 2=3", "line 17: must be a logarithm of a probability, 2 words"),
        ("ngram 2=2", "ngram 2=1", r"line 15: must be `\\3-grams:`"),
        ("ngram 3=1\n", "", "line 13: must be .*, 2 words, 2 such lines"),
        ("-0.2 a b", "0.2 a b", "line 15: must be a logarithm"),
        ("-0.2 a b", "nan a b", "line 15: must be a logarithm"),
        ("-0.2 a b", "-inf a b", "line 15: must be a logarithm"),
        ("-0.2 a b", "-0.2 a", "line 15: must be a logarithm"),
        ("-0.2 a b", "-0.2 a b -0.1 -0.1", "line 15: must be a logarithm"),
        ("-0.3 <s> a b", "-0.3 <s> a b -0.1", "line 18: must be a logarithm"),
        ("-0.2 a b", "-0.2 a c", "line 15: must be an n-gram after the 1-gram that it extends"),
        ("-0.2 a b", "-0.2 c b", "line 15: must be an n-gram after the 1-gram"),
        ("-0.2 a b", "-0.2 <s> a", "must be an n-gram new, got '<s> a'"),
        ("-0.3 <s> a b", "-0.3 b a b", "line 18: must be an n-gram after the 2-gram"),
        ("-0.6 b", "-0.6 a", "must be an n-gram new, got 'a'"),
        ("-0.5\t</s>", "-0.5\tc", "must hold the word </s>"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, old, new, message):
    path = tmp_path / "a.arpa"
    assert old in MODEL
    path.write_text(MODEL.replace(old, new))
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}.*{message}"):
        arpa.read_arpa(path)


def test_unreadable_files_are_named(tmp_path):
    for name, data in {
        "a.arpa": b"\xff",
        "b.gz": b"x",
        "c.gz": gzip.compress(b"x" * 99)[:-9],
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=f"{name}: must be a model in UTF-8"):
            arpa.read_arpa(tmp_path / name)
    with pytest.raises(ValueError, match="must be a model in UTF-8"):
        arpa.read_arpa(tmp_path / "missing")
