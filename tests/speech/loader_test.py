import itertools
import json

import numpy as np
import pytest

from gossamer.speech import loader
from gossamer.speech.corpora.corpus import Utterance, Utterances
from gossamer.speech.tempo import tempo_perturb
from gossamer.speech.text import Vocabulary

RATE = 1000
BUCKETS = ((0.5, 8), (1.0, 4))
VOCABULARY = Vocabulary.of(["abcdefghij "])


def make_utterances(count=30, seed=0):
    """Utterance ``i`` has constant samples ``(i + 1) / 100`` and the digits of ``i`` as letters."""
    seconds = np.random.default_rng(seed).uniform(0.2, 1.0, count)
    return Utterances.of(
        Utterance(
            f"u{index}",
            "".join("abcdefghij"[int(digit)] for digit in str(index)),
            np.full(int(second * RATE), (index + 1) / 100, np.float32),
            RATE,
        )
        for index, second in enumerate(seconds)
    )


def start(utterances=None, **options):
    options = {"sample_rate": RATE, "buckets": BUCKETS, "num_threads": 0} | options
    return loader.batches(utterances or make_utterances(), VOCABULARY, **options)


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def rows(batch):
    """The utterances of a batch without augmentation, in order."""
    return [round(float(value) * 100) - 1 for value in batch["waveform"][..., 0].ravel()]


def test_rows_hold_an_utterance_each():
    utterances = make_utterances()
    for batch in itertools.islice(start(utterances), 20):
        assert batch["waveform"].shape in {(8, 500), (4, 1000)}
        assert batch["labels"].shape[1] == 18 * batch["waveform"].shape[1] // RATE
        assert [batch[name].dtype.name for name in sorted(batch)] == [
            "float32",
            "int32",
            "float32",
            "float32",
        ]
        for row, index in enumerate(rows(batch)):
            utterance = utterances[index]
            length = len(utterance.waveform)
            np.testing.assert_array_equal(batch["waveform"][row, :length], utterance.waveform)
            np.testing.assert_array_equal(batch["waveform"][row, length:], 0)
            np.testing.assert_array_equal(
                batch["waveform_paddings"][row], np.arange(batch["waveform"].shape[1]) >= length
            )
            count = len(utterance.text)
            assert VOCABULARY.decode(batch["labels"][row]) == utterance.text
            np.testing.assert_array_equal(
                batch["label_paddings"][row], np.arange(batch["labels"].shape[1]) >= count
            )


@pytest.mark.parametrize("num_threads", [0, 3])
def test_resumed_iterator_sees_the_same_batches(num_threads):
    options = {
        "num_threads": num_threads,
        "num_learners": 2,
        "seed": 7,
        "speed": (0.9, 1.1),
        "tempo": (0.9, 1.1),
        "join_probability": 0.5,
    }
    stream = start(**options)
    for _ in range(25):
        next(stream)
    state = json.loads(json.dumps(stream.get_state()))
    expected = [next(stream) for _ in range(25)]
    resumed = start(**options)
    resumed.set_state(state)
    for batch in expected:
        assert_equal(next(resumed), batch)


def test_learners_have_disjoint_shards_of_the_same_batch():
    together, shards = start(), start(num_learners=4)
    for _ in range(20):
        whole, parts = next(together), next(shards)
        assert parts["waveform"].shape[0] == 4
        indices = rows(parts)
        assert len(set(indices)) == len(indices)
        for name, value in parts.items():
            np.testing.assert_array_equal(value.reshape(whole[name].shape), whole[name])


def test_a_learner_reads_its_own_rows_alone():
    options = {"sample_rate": RATE, "buckets": BUCKETS, "num_learners": 2, "seed": 7}
    options |= {"speed": (0.9, 1.1), "join_probability": 0.5}
    shard = loader.shards(make_utterances(), VOCABULARY, **options)
    for step, batch in enumerate(itertools.islice(start(**options), 12)):
        for learner in (1, 0):
            rows = {name: value[learner] for name, value in batch.items()}
            assert_equal(shard(learner, step), rows)


def test_alternatives_and_the_step_come_beside_their_rows():
    utterances = make_utterances()
    others = {utterances[i].name: ["a" * (i % 5), "b" * 40] for i in range(10)}
    options = {"alternatives": others, "with_step": True, "num_learners": 2}
    for number, batch in enumerate(itertools.islice(start(utterances, **options), 10)):
        indices = rows(batch)
        assert batch["alternatives"].shape == (
            *batch["labels"].shape[:2],
            2,
            batch["labels"].shape[2],
        )
        np.testing.assert_array_equal(batch["step"], np.full(batch["step"].shape, number))
        flat = batch["alternatives"].reshape(len(indices), 2, -1)
        paddings = batch["alternative_paddings"].reshape(flat.shape)
        np.testing.assert_array_equal(paddings == 0, flat > 0)
        for index, row in zip(indices, flat, strict=True):
            expected = "a" * (index % 5) if index < 10 else ""
            assert [VOCABULARY.decode(text) for text in row] == [expected, ""]  # 40 are too many
    shard = loader.shards(utterances, VOCABULARY, sample_rate=RATE, buckets=BUCKETS, **options)
    for step, batch in enumerate(itertools.islice(start(utterances, **options), 4)):
        assert_equal(shard(1, step), {name: value[1] for name, value in batch.items()})


def test_alternatives_must_be_of_the_vocabulary():
    with pytest.raises(ValueError, match="`alternatives` of u0 have characters outside"):
        start(alternatives={"u0": ["xyz"]})


def test_seeds_differ_and_repeat():
    def take(seed):
        return [rows(batch) for batch in itertools.islice(start(seed=seed), 10)]

    assert take(3) == take(3)
    assert take(3) != take(4)


def test_speed_changes_length_and_keeps_the_sound():
    hertz, seconds = 50.0, 0.8
    tone = np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)
    batch = next(
        start(Utterances.of([Utterance("tone", "a", tone, RATE)]), num_epochs=1, speed=(1.25, 1.25))
    )
    length = int((1 - batch["waveform_paddings"][0]).sum())
    assert length == seconds * RATE / 1.25
    middle = np.arange(200, 440)
    expected = np.sin(2 * np.pi * hertz * 1.25 * middle / RATE)
    # soxr's high quality has 20 bits of precision away from the edges.
    np.testing.assert_allclose(batch["waveform"][0, middle], expected, atol=2**-19, rtol=0)


def test_tempo_changes_length_and_not_pitch():
    tone = np.sin(2 * np.pi * 50 * np.arange(800) / RATE).astype(np.float32)
    utterances = Utterances.of([Utterance("tone", "a", tone, RATE)])
    batch = next(start(utterances, num_epochs=1, tempo=(1.25, 1.25)))
    length = int((1 - batch["waveform_paddings"][0]).sum())
    np.testing.assert_array_equal(
        batch["waveform"][0, :length], tempo_perturb(tone, RATE, tempo=1.25)
    )
    assert length == 640


def test_joined_rows_are_the_pieces_with_silence_between():
    short = Utterances.of(
        Utterance(f"u{i}", "ab"[i], np.full(200, (i + 1) / 4, np.float32), RATE) for i in range(2)
    )
    batch = next(start(short, num_epochs=1, join_probability=1.0))
    waveform = batch["waveform"][0]
    assert VOCABULARY.decode(batch["labels"][0]) in {"a b", "b a"}
    values = [value for value, _ in itertools.groupby(waveform.tolist())]
    assert values in ([0.25, 0, 0.5, 0], [0.5, 0, 0.25, 0])
    gap = int(np.flatnonzero(waveform)[-1]) + 1 - 400
    assert 100 <= gap <= 300
    assert batch["waveform_paddings"][0].sum() == len(waveform) - 400 - gap


def test_languages_without_spaces_join_without_one():
    short = Utterances.of(
        Utterance(f"u{i}", "ab"[i], np.ones(200, np.float32), RATE) for i in range(2)
    )
    stream = loader.batches(
        short, Vocabulary.of(["ab"]), sample_rate=RATE, buckets=BUCKETS, join_probability=1.0,
        num_threads=0, num_epochs=1,
    )  # fmt: skip
    assert Vocabulary.of(["ab"]).decode(next(stream)["labels"][0]) in {"ab", "ba"}


def test_finite_streams_end():
    assert 30 <= sum(len(rows(batch)) for batch in start(num_epochs=1)) <= 30 + 7 + 3


def test_evaluation_sees_everything_once_in_order():
    utterances = make_utterances(29)
    options = {"sample_rate": RATE, "buckets": BUCKETS}
    seen = []
    for indices, batch in loader.evaluation_batches(utterances, VOCABULARY, **options):
        assert indices.shape == (len(batch["labels"]),)
        for index, row in zip(indices, range(len(indices)), strict=True):
            assert (1 - batch["waveform_paddings"][row]).sum() > 0  # fillers are speech too
            if index >= 0:
                assert rows(batch)[row] == index
        seen += [index for index in indices.tolist() if index >= 0]
    assert sorted(seen) == list(range(29))


@pytest.mark.parametrize(
    ("utterance", "message"),
    [
        (Utterance("long", "a", np.ones(1001, np.float32), RATE), "long lasts 1.00 s, over 1 s"),
        (Utterance("odd", "z", np.ones(500, np.float32), RATE), "outside the vocabulary: 'z'"),
        (Utterance("dense", "a" * 19, np.ones(500, np.float32), RATE), "has 19 labels, over 18"),
        (Utterance("mute", "", np.ones(500, np.float32), RATE), "no text or no samples"),
        (Utterance("void", "a", np.ones(0, np.float32), RATE), "no text or no samples"),
    ],
)
def test_unusable_utterances_are_refused_or_counted(utterance, message):
    good = Utterance("good", "a", np.ones(500, np.float32), RATE)
    both = Utterances.of([utterance, good])
    with pytest.raises(ValueError, match=f"{utterance.name}.*{message}|{message}"):
        start(both)
    with pytest.warns(UserWarning, match=f"Left out 1 of 2 utterances, first: {utterance.name}"):
        stream = start(both, on_error="skip", num_epochs=1)
    batch = next(stream)
    assert {VOCABULARY.decode(row) for row in batch["labels"]} == {"a"}
    with pytest.raises(ValueError, match="at least one usable"), pytest.warns(match="Left out"):
        start(Utterances.of([utterance]), on_error="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_learners": 3}, "`num_learners` must divide the rows of every bucket, got 3"),
        ({"speed": (1.1, 0.9)}, "`speed` must be a range of positive factors"),
        ({"tempo": (0.0, 0.9)}, "`tempo` must be a range of positive factors"),
        ({"join_probability": 1.5}, r"`join_probability` must be in \[0, 1\], got 1.5"),
        ({"num_epochs": 0}, "`num_epochs` must be positive or None, got 0"),
        ({"on_error": "ignore"}, "`on_error` must be"),
        ({"buckets": ()}, "`buckets` must ascend"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        start(**options)


def test_sample_rate_must_be_the_utterances():
    with pytest.raises(ValueError, match=f"`sample_rate` must be that of the utterances, {RATE}"):
        next(start(sample_rate=8000))
