import numpy as np

from gossamer.speech import waveform_batches


def test_every_recording_is_in_one_group_of_like_lengths():
    lengths = [300, 80000, 5000, 90000, 4000, 85000, 70000, 10]
    groups = list(waveform_batches.group([np.zeros(length) for length in lengths], 8000))
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    ordered = [lengths[index] for group in groups for index in group]
    assert ordered == sorted(lengths, reverse=True)
    assert len(groups[0]) < len(lengths)  # 40 s in all
    assert list(waveform_batches.group([], 8000)) == []


def test_a_batch_has_few_shapes():
    shapes = {
        waveform_batches.stack([np.zeros(length)] * 3, 8000)[0].shape
        for length in range(1, 4000, 100)
    }
    assert {rows for rows, _ in shapes} == {4}
    assert len(shapes) <= 5


def test_samples_stand_on_the_left():
    sounds = [np.full(500, 0.5), np.full(900, 0.25), np.zeros(0)]
    batch, paddings = waveform_batches.stack(sounds, 8000)
    assert batch.dtype == paddings.dtype == np.float32
    np.testing.assert_array_equal((1 - paddings).sum(axis=1), [500, 900, 0, 0])
    np.testing.assert_array_equal(batch[1, :900], 0.25)
    np.testing.assert_array_equal(batch * paddings, 0)
