"""Reading on a terminal: samples as they arrive, texts as they are heard, lines of results."""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from . import word_times
from .transcript import Transcript

PIECE = 800  # samples that a stream is given at once


class Follower(Protocol):
    """A recognizer that reads one recording as it comes in."""

    def feed(self, samples: np.ndarray) -> Transcript:
        """Reads on; gives what was read so far."""
        ...

    def finish(self) -> Transcript:
        """Reads what is left."""
        ...


def follow(stream: Follower, pieces: Iterable[np.ndarray], sample_rate: int) -> Transcript:
    """Reads a recording as it comes in, showing on standard error what was heard so far.

    Args:
        stream: reads it.
        pieces: its samples.
        sample_rate: of the samples, in Hz.

    Returns:
        What was read in all of it.
    """
    shown, seconds = "", 0.0
    live = sys.stderr.isatty()
    for piece in pieces:
        seconds += len(piece) / sample_rate
        text = stream.feed(piece).text
        if text != shown:
            line = f"\r\033[K{text}" if live else f"{seconds:.2f} s  {text}\n"
            print(line, end="", file=sys.stderr, flush=True)
            shown = text
    transcript = stream.finish()
    if live and shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return transcript


def raw_samples(file: Any) -> Iterator[np.ndarray]:
    """Samples of 16 bits, little-endian, as they arrive in a binary file such as a pipe."""
    rest = b""
    while piece := file.read1(2 * PIECE):
        piece = rest + piece
        whole = len(piece) // 2 * 2
        yield np.frombuffer(piece[:whole], "<i2").astype(np.float32) / 32768
        rest = piece[whole:]


def pieces(waveform: np.ndarray) -> list[np.ndarray]:
    """A recording as it would arrive."""
    return np.array_split(waveform, range(PIECE, len(waveform), PIECE))


def format_line(
    path: Path, transcript: Transcript, *, times: bool, scored: bool, named: bool
) -> str:
    """One line of results.

    Args:
        path: of the recording.
        transcript: what was read.
        times: as JSON, with the second at which each word begins.
        scored: with the log probability.
        named: with the path, which JSON always has.
    """
    if times:
        starts = [
            {"word": word.text, "seconds": round(word.start, 2)}
            for word in word_times.join_characters(transcript.labels)
        ]
        line = {"audio": str(path), "text": transcript.text, "words": starts}
        return json.dumps(line | ({"score": round(transcript.score, 3)} if scored else {}))
    columns = [str(path)] if named else []
    columns += [f"{transcript.score:.2f}"] if scored else []
    return "\t".join([*columns, transcript.text])
