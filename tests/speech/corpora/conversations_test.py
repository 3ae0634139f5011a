import numpy as np
import pytest
import soundfile

from gossamer.speech.corpora import conversations
from gossamer.speech.corpora.audio import AudioError
from gossamer.speech.corpora.conversations import Segment


def test_splits_depend_on_the_name_alone():
    names = [f"sw{number:05d}" for number in range(2001, 7001)]
    splits = [conversations.split_by_hash(name) for name in names]
    # 5000 draws with probability 0.02: 100 +- 4 standard deviations of 9.9.
    for split in ("dev", "test"):
        assert abs(splits.count(split) - 100) < 40
    without = [conversations.split_by_hash(name, test=False) for name in names]
    assert without == ["train" if split == "test" else split for split in splits]


def test_mono_and_unreadable_recordings_are_refused(tmp_path):
    soundfile.write(tmp_path / "mono.wav", np.zeros(8000), 8000)
    (tmp_path / "text.wav").write_text("text")
    recordings = conversations.find_recordings(tmp_path)
    for name, message in (("mono", "has 1 channel"), ("text", "convert it to WAV or FLAC")):
        with pytest.raises(AudioError, match=message):
            conversations.gather(
                [Segment("a", name, "A", 0.0, 1.0, "hello")], recordings, lambda _: "train"
            )


def test_times_are_cut_to_the_recording(tmp_path):
    soundfile.write(tmp_path / "Call.wav", np.zeros((8000, 2)), 8000)
    spans = [(0.5, 2.0), (0.95, 1.5), (1.5, 2.0)]
    segments = [Segment(str(i), "CALL", "B", *span, "Hello!") for i, span in enumerate(spans)]
    found = conversations.gather(
        segments, conversations.find_recordings(tmp_path), lambda _: "train"
    )
    assert [row.segment for row in found.rows] == [Segment("0", "CALL", "B", 0.5, 1.0, "hello")]
    assert found.left_out == {"shorter than 0.1 s, or past the end": 2}


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no file \*.sph or \*.wav or \*.flac"):
        conversations.find_recordings(tmp_path)
