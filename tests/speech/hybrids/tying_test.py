import itertools

import numpy as np
import pytest

from gossamer.speech.hybrids.lexicon import SILENCE
from gossamer.speech.hybrids.tying import (
    Context,
    Moments,
    Question,
    Tying,
    grow,
    monophones,
    parents,
)

PHONES = ("A", "B", "C", "D")


def moments(frames):
    frames = np.asarray(frames, float)
    return Moments(float(len(frames)), frames.sum(axis=0), (frames**2).sum(axis=0))


def log_likelihood(frames):
    """Of frames under the Gaussian that fits them best, up to a constant for each."""
    frames = np.asarray(frames, float)
    return -0.5 * len(frames) * np.sum(np.log(frames.var(axis=0)))


@pytest.fixture
def spoken():
    """Frames of B between all pairs of phones: its mean depends on whether A or C stands before."""
    generator = np.random.default_rng(0)
    frames = {}
    for left, right in itertools.product(PHONES, PHONES):
        mean = 53.0 if left in ("A", "C") else 47.0
        frames[Context(left, "B", right, 0)] = generator.normal(mean, 1, size=(40, 2))
    for phone, place in zip(PHONES, (0.0, 50.0, 1.0, 40.0), strict=True):  # A like C, B like D
        context = Context(SILENCE, phone, SILENCE, 0)
        frames[context] = generator.normal(place, 1, size=(40, 2))
    return frames


def test_states_without_context_have_numbers_of_their_own():
    tying = monophones(PHONES, states=2)
    assert tying.phones == (*PHONES, SILENCE)
    assert tying.num_pdfs == 2 * 4 + 1
    found = {tying.pdf("A", phone, "B", s) for phone in PHONES for s in range(2)}
    assert len(found) == 8
    assert tying.num_states(SILENCE) == 1


def test_a_tree_finds_the_neighbors_that_matter(spoken):
    base = monophones(PHONES, states=1)
    tying = grow(
        base, {c: moments(x) for c, x in spoken.items()}, num_pdfs=base.num_pdfs + 1, min_frames=20
    )
    (tree,) = tying.trees["B"]
    assert isinstance(tree, Question)
    assert tree.side == "left"
    assert {"A", "C"} <= tree.phones or not {"A", "C"} & tree.phones
    assert tying.pdf("A", "B", "D", 0) == tying.pdf("C", "B", "B", 0)
    assert tying.pdf("A", "B", "D", 0) != tying.pdf("D", "B", "D", 0)
    assert tying.num_pdfs == base.num_pdfs + 1


def test_leaves_know_where_they_came_from(spoken):
    base = monophones(PHONES, states=1)
    statistics = {c: moments(x) for c, x in spoken.items()}
    tying = grow(base, statistics, num_pdfs=base.num_pdfs + 2, min_frames=20)
    found = parents(tying, base)
    for phone in PHONES:
        for left, right in itertools.product(PHONES, PHONES):
            assert found[tying.pdf(left, phone, right, 0)] == base.pdf(left, phone, right, 0)
    assert found[tying.pdf(SILENCE, SILENCE, SILENCE, 0)] == base.trees[SILENCE][0]


def test_the_first_question_gains_most(spoken):
    """Against all questions tried one by one on the frames themselves."""
    spoken = {c: x for c, x in spoken.items() if c.left != SILENCE or c.phone != "B"}
    base = monophones(PHONES, states=1)
    tying = grow(
        base, {c: moments(x) for c, x in spoken.items()}, num_pdfs=base.num_pdfs + 1, min_frames=1
    )
    (tree,) = tying.trees["B"]
    of_b = {context: x for context, x in spoken.items() if context.phone == "B"}

    def gain(side, asked):
        parts = [
            [x for context, x in of_b.items() if (getattr(context, side) in asked) == answer]
            for answer in (True, False)
        ]
        if not all(parts):
            return -np.inf
        whole = log_likelihood(np.concatenate(list(of_b.values())))
        return sum(log_likelihood(np.concatenate(part)) for part in parts) - whole

    every = [
        gain(side, set(asked))
        for side in ("left", "right")
        for size in (1, 2, 3)
        for asked in itertools.combinations(PHONES, size)
    ]
    np.testing.assert_allclose(gain(tree.side, tree.phones), max(every), rtol=1e-9)


def test_growth_stops_where_frames_or_gain_run_out(spoken):
    base = monophones(PHONES, states=1)
    statistics = {c: moments(x) for c, x in spoken.items()}
    assert grow(base, statistics, num_pdfs=99, min_frames=1e9).num_pdfs == base.num_pdfs
    assert grow(base, statistics, num_pdfs=99, min_gain=1e9).num_pdfs == base.num_pdfs
    most = grow(base, statistics, num_pdfs=99, min_frames=1, min_gain=-1e9)
    assert base.num_pdfs + 10 < most.num_pdfs < 99
    fewer = grow(base, statistics, num_pdfs=8, min_frames=1, min_gain=-1e9)
    assert fewer.num_pdfs == 8
    assert {most.pdf(*context) for context in statistics} == set(range(most.num_pdfs)) - {
        most.pdf(SILENCE, SILENCE, SILENCE, 0)
    }


def test_json(spoken):
    base = monophones(PHONES, states=1)
    tying = grow(base, {c: moments(x) for c, x in spoken.items()}, num_pdfs=9, min_frames=20)
    assert Tying.from_json(tying.to_json()) == tying
    for wrong in (["up", [], 0, 1], "x", [1, 2], None):
        with pytest.raises(ValueError, match="no node of a tree"):
            Tying.from_json({"phones": [SILENCE], "trees": {SILENCE: [wrong]}})


def test_refusals(spoken):
    base = monophones(PHONES)
    with pytest.raises(ValueError, match="`states` and `silence_states` must be positive"):
        monophones(PHONES, states=0)
    with pytest.raises(ValueError, match="`num_pdfs` must be at least 13"):
        grow(base, {}, num_pdfs=3)
    with pytest.raises(ValueError, match="`statistics` must not be empty"):
        grow(base, {}, num_pdfs=20)
    with pytest.raises(ValueError, match="must be one of A, B, C, D, SIL, got 'X'"):
        base.num_states("X")
    with pytest.raises(ValueError, match="must hold 'SIL'"):
        Tying(("A",), {"A": (0,)})
    with pytest.raises(ValueError, match="every phone and no other"):
        Tying(("A", SILENCE), {"A": (0,)})
    with pytest.raises(ValueError, match="number their leaves"):
        Tying((SILENCE,), {SILENCE: (1,)})
