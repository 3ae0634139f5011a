import numpy as np
import pytest

from gossamer.speech import features
from gossamer.speech.corpora.corpus import Utterance, Utterances
from gossamer.speech.hybrids.frame_batches import NO_TARGET, FrameBatches, num_frames

BUCKETS = ((0.5, 4), (1.0, 2))


@pytest.fixture(scope="module")
def utterances():
    lengths = [2000, 2500, 3000, 3500, 3900, 6000, 7900]
    return Utterances.of(
        Utterance(str(k), "a", np.full(length, (k + 1) / 10, np.float32), 8000)
        for k, length in enumerate(lengths)
    )


def targets_of(utterances):
    """Frame t of utterance k has the target 100 k + t."""
    return [
        100 * k + np.arange(num_frames(len(utterance.waveform), 8000), dtype=np.int32)
        for k, utterance in enumerate(utterances)
    ]


def make(utterances, targets=None, **options):
    targets = targets_of(utterances) if targets is None else targets
    return FrameBatches(
        utterances, targets, sample_rate=8000, buckets=BUCKETS, num_learners=2, **options
    )


def rows(batch):
    """Each row's utterance and its valid targets."""
    for sound, targets in zip(
        batch["waveform"].reshape(-1, batch["waveform"].shape[-1]),
        batch["targets"].reshape(-1, batch["targets"].shape[-1]),
        strict=True,
    ):
        yield round(float(sound.max()) * 10) - 1, targets[targets != NO_TARGET]


@pytest.mark.parametrize("samples", [199, 200, 280, 360, 8000, 8079, 8080])
def test_frames_are_those_of_the_features(samples):
    sound = np.zeros(max(samples, 200), np.float32)
    if samples >= 200:
        inputs, _ = features.extract(sound[:samples])
        assert num_frames(samples, 8000) == len(inputs)
    else:
        assert num_frames(samples, 8000) == 0


def test_every_recording_comes_in_each_pass_with_its_targets(utterances):
    batches = make(utterances)
    targets = targets_of(utterances)
    for _ in range(2):
        seen = []
        for _ in range(3):  # five short ones in two batches of four, two long ones in one
            batch = next(batches)
            assert batch["waveform"].shape[0] == 2
            for index, found in rows(batch):
                seen.append(index)
                np.testing.assert_array_equal(found, targets[index])
        assert set(seen) == set(range(7))


def test_a_position_can_be_resumed(utterances):
    one, other = make(utterances, speed=(0.9, 1.1)), make(utterances, speed=(0.9, 1.1))
    for _ in range(4):
        next(one)
    state = one.get_state()
    other.set_state(state)
    for _ in range(4):
        for x, y in zip(next(one).values(), next(other).values(), strict=True):
            np.testing.assert_array_equal(x, y)


def test_at_another_speed_targets_go_along(utterances):
    batches = make(utterances, speed=(1.25, 1.2500001))
    targets = targets_of(utterances)
    for _ in range(3):
        for index, found in rows(next(batches)):
            length = num_frames(round(len(utterances[index].waveform) / 1.25), 8000)
            assert abs(len(found) - length) <= 1
            # 20 ms of the faster sound are 25 ms of the slower.
            np.testing.assert_allclose(
                found - 100 * index, 1.25 * np.arange(len(found)), atol=1.0 + 1e-3
            )
            assert found.max() <= targets[index].max()


def test_what_has_no_targets_is_left_out(utterances):
    targets = [None if k < 3 else x for k, x in enumerate(targets_of(utterances))]
    batches = make(utterances, targets)
    seen = {index for _ in range(4) for index, _ in rows(next(batches))}
    assert seen == {3, 4, 5, 6}


def test_refusals(utterances):
    with pytest.raises(ValueError, match="multiples of 3 learners"):
        FrameBatches(
            utterances, targets_of(utterances), sample_rate=8000, buckets=BUCKETS, num_learners=3
        )
    with pytest.raises(ValueError, match="must hold one with targets"):
        make(utterances, [None] * 7)
