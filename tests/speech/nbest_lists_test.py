"""n-best lists of a corpus are decoded once, whatever interrupts the job."""

import numpy as np
import pytest

from gossamer.speech import nbest_lists, recognizer
from gossamer.speech.corpora import alternatives
from gossamer.speech.transcript import Transcript


class Spoken:
    def __init__(self, name):
        self.name = name
        self.waveform = np.zeros(8)


UTTERANCES = [Spoken(str(number)) for number in range(5)]


@pytest.fixture
def read(monkeypatch):
    """A recognizer that hears two texts everywhere; gives how many recordings it read."""
    heard = []

    def transcribe_nbest(model, waveforms, **options):
        heard.append(len(waveforms))
        return [[Transcript("é", [], -1.0), Transcript("b", [], -2.0)] for _ in waveforms]

    monkeypatch.setattr(recognizer, "transcribe_nbest", transcribe_nbest)
    monkeypatch.setattr(nbest_lists, "CHUNK", 2)
    return heard


def test_recognizers_share_a_file_and_nothing_is_decoded_twice(tmp_path, read):
    path, counts = tmp_path / "nbest.jsonl", []
    assert nbest_lists.decode(path, "one", None, UTTERANCES[:3], advance=counts.append) == 3
    assert counts == [0, 2, 1]
    assert nbest_lists.decode(path, "one", None, UTTERANCES) == 2
    assert nbest_lists.decode(path, "two", None, UTTERANCES) == 5
    assert sum(read) == 10
    expected = {utterance.name: ("é", "b") * 2 for utterance in UTTERANCES}
    assert alternatives.read(path) == expected


def test_a_line_that_was_cut_off_is_decoded_again(tmp_path, read):
    path = tmp_path / "nbest.jsonl"
    nbest_lists.decode(path, "one", None, UTTERANCES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    assert nbest_lists.decode(path, "one", None, UTTERANCES) == 1
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["to do\n", "to do", "\xff\n", "3\n", '{"text": ""}\nto do'])
def test_a_file_of_something_else_is_left_alone(tmp_path, read, text):
    path = tmp_path / "notes.txt"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(ValueError, match=r"notes\.txt, line .: not a line of alternatives"):
        nbest_lists.decode(path, "one", None, UTTERANCES)
    assert path.read_bytes() == text.encode("latin1")
