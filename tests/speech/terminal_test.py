import io
import json
from pathlib import Path

import numpy as np

from gossamer.speech import terminal
from gossamer.speech.transcript import Transcript

EMITTED = [("h", 0.5), ("i", 0.6), (" ", 0.7), ("y", 1.25), ("o", 1.3), ("u", 1.3)]
HEARD = Transcript("hi you", EMITTED, -2.345)


class Counter:
    """Hears the number of pieces, and one more at the end."""

    def __init__(self):
        self.number = 0

    def feed(self, samples):
        self.number += len(samples) > 0
        return Transcript("x" * self.number, [], 0.0)

    def finish(self):
        return Transcript("x" * self.number + "y", [], 0.0)


def test_follow_shows_what_is_new(capsys):
    found = terminal.follow(Counter(), [np.zeros(80), np.zeros(0), np.zeros(80)], 8000)
    assert found.text == "xxy"
    assert capsys.readouterr().err == "0.01 s  x\n0.02 s  xx\n"


def test_raw_samples_of_odd_pieces():
    class Pipe(io.BytesIO):
        def read1(self, size=-1):
            return super().read(min(size, 3))

    samples = np.array([0, 1, -1, 32767, -32768], "<i2")
    found = np.concatenate(list(terminal.raw_samples(Pipe(samples.tobytes() + b"?"))))
    np.testing.assert_array_equal(found * 32768, samples)


def test_pieces_hold_everything():
    waveform = np.arange(2000)
    pieces = terminal.pieces(waveform)
    assert max(map(len, pieces)) <= terminal.PIECE
    np.testing.assert_array_equal(np.concatenate(pieces), waveform)


def test_lines():
    options = {"times": False, "scored": False, "named": False}
    path = Path("a.wav")
    assert terminal.format_line(path, HEARD, **options) == "hi you"
    assert terminal.format_line(path, HEARD, **options | {"named": True}) == "a.wav\thi you"
    assert (
        terminal.format_line(path, HEARD, **options | {"scored": True})
        == f"{HEARD.score:.2f}\thi you"
    )
    line = json.loads(terminal.format_line(path, HEARD, **options | {"times": True}))
    assert line == {
        "audio": "a.wav",
        "text": "hi you",
        "words": [{"word": "hi", "seconds": 0.5}, {"word": "you", "seconds": 1.25}],
    }
