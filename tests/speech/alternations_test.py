"""The expected counts are those of NIST's sclite 2.4.10, from segments and words in these texts by

sctk sclite -r reference.stm stm -h hypothesis.ctm ctm -F -D -o pra stdout
"""

import kaldialign
import numpy as np
import pytest

from gossamer.speech import alternations
from gossamer.speech.alternations import Counts

# Reference, hypothesis; words, substitutions, deletions, insertions.
SCLITE = [
    ("{ d e / @ } d { @ / d } { b b / c } c b", "ab d d", (5, 0, 3, 1)),
    ("a (b) b d e", "c a e c", (5, 0, 2, 2)),
    ("(c) ab- c { e c / a } d { e / d b }", "c cb e cb a c", (6, 3, 1, 1)),
    ("c e c d", "c cb d bb c", (4, 1, 1, 2)),
    ("(b) { a d / d d } { d / c } e bb a", "d e eb cb", (7, 2, 2, 0)),
    ("eb- { e c / b } eb- d db bb", "c a c b e", (7, 4, 2, 0)),
    ("{ @ / b d } eb a", "cb e cb", (2, 2, 0, 1)),
    ("(a) { c d / @ } db { @ / b } db a", "ab cb", (4, 2, 1, 0)),
    ("(e) { @ / a d } c (c) { b / c b }", "a", (4, 1, 1, 0)),
    ("d d", "e d db", (2, 1, 0, 1)),
    ("ab b d", "eb d", (3, 1, 1, 0)),
    ("cb { d / a } c", "e d b d", (3, 2, 0, 1)),
    ("a cb { d / @ }", "ab cb d d bb", (3, 1, 0, 2)),
    ("e c db", "ab eb ab d", (3, 3, 0, 1)),
    ("(b) d a d a", "d a", (5, 0, 2, 0)),
    ("(b) bb", "c", (2, 1, 0, 0)),
    ("db a bb (c) c", "e a b", (5, 2, 1, 0)),
    ("b c", "c", (2, 0, 1, 0)),
    ("(c) bb (b) ab (d) { @ / @ }", "b c", (5, 1, 1, 0)),
    ("bb cb b", "a b b bb", (3, 2, 0, 1)),
    ("a b c d e f", "b c x d f g", (6, 0, 2, 2)),
    ("", "a", (0, 0, 0, 1)),
    ("a b", "", (2, 0, 2, 0)),
    ("(a) (b)", "b", (2, 0, 0, 0)),
    ("{ @ / a }", "", (0, 0, 0, 0)),
    ("a- -b", "ax xb", (2, 0, 0, 0)),
]


@pytest.mark.parametrize(("reference", "hypothesis", "counts"), SCLITE)
def test_counts_of_sclite(reference, hypothesis, counts):
    assert alternations.count_errors(reference, hypothesis) == counts


def test_plain_texts_are_aligned_at_the_costs_of_sclite():
    generator = np.random.default_rng(0)
    for _ in range(50):
        spoken, heard = (list("abcd"[i] for i in generator.integers(4, size=n)) for n in (9, 8))
        counts = alternations.count_errors(" ".join(spoken), " ".join(heard))
        other = kaldialign.edit_distance(spoken, heard, sclite_mode=True)
        cost = 4 * counts.substitutions + 3 * (counts.deletions + counts.insertions)
        assert cost == 4 * other["sub"] + 3 * (other["del"] + other["ins"])


def test_more_errors_than_the_edit_distance():
    # Five substitutions cost 20, three deletions and three insertions 18.
    counts = alternations.count_errors("x y z a b", "a b p q r")
    assert counts == Counts(words=5, deletions=3, insertions=3)


def test_nested_alternatives_and_case():
    reference = "{ a / { b / c d } e } F"
    for text, errors in (("A f", 0), ("b e f", 0), ("c d e f", 0), ("c e f", 1)):
        assert alternations.count_errors(reference, text).errors == errors


def test_alternatives_in_both_texts():
    assert alternations.count_errors("{ he is / he was } in", "{he has/he is} in") == (3, 0, 0, 0)


def test_rates():
    counts = alternations.total([Counts(3, 1, 0, 0), Counts(1, 0, 1, 1)])
    assert counts == (4, 1, 1, 1)
    assert (counts.errors, counts.rate) == (3, 0.75)
    assert alternations.total([]).rate == 0
    assert Counts(insertions=1).rate == float("inf")


@pytest.mark.parametrize("text", ["{ a / b", "a }", "{ a { b / c }", "(a", "a)", "((a)"])
def test_signs_must_be_in_pairs(text):
    with pytest.raises(ValueError, match=r"brace|parentheses"):
        alternations.count_errors(text, "a")
