"""Rebuilds ``speech/prompts/`` from the Debian packages of Asterisk's English core sounds.

    apt-get install asterisk-core-sounds-en-wav asterisk-core-sounds-en
    pip install pocketsphinx
    python tools/build_prompts.py

Every recording with speech becomes a FLAC file with the same samples (checked). Its transcript is
written as the voice says it: ``REPLACEMENTS`` below were settled by letting a recognizer choose
between the possible readings of each number, sign and abbreviation ("IAX" is one word on its own
and three letters in a sentence).

Recordings over 8 s are too long to train on and to tell sentences apart: they are cut in the middle
of their longest pauses, which forced alignment finds together with the words on either side.

Recordings that share a transcript or a piece of one form a family, and a family stays on one side:
its split is a function of the SHA-256 of its first transcript and a salt, so nothing depends on
the order of files. One-word recordings go to the dev and test sets with a third of the usual
probability: these sets measure sentences. The salt is the smallest number for which both sets hold
between 9.5% and 10.5% of the speech (it is printed).

    recordings.tsv   name, samples, sha256 of the 16-bit little-endian samples
    transcripts.tsv  name, split, start, end, text; one row per segment, times in seconds
    words.tsv        name, start, end, word; times in seconds
"""

import argparse
import gzip
import hashlib
import itertools
import pathlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import forced_alignment
import numpy as np
import soundfile
from forced_alignment import WordTime

from gossamer.speech import text as text_lib

SOUNDS = pathlib.Path("/usr/share/asterisk/sounds/en_US_f_Allison")
TEXTS = pathlib.Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
PROMPTS = pathlib.Path(__file__).parents[1] / "speech" / "prompts"

SPLITS: tuple[str, ...] = ("train", "dev", "test")
SHARE = 0.11  # of the recordings of more than one word, to each of dev and test
ONE_WORD_SHARE = SHARE / 3
ACCEPTED_SHARES = (0.095, 0.105)  # of the seconds of speech
LONGEST_SEGMENT, SHORTEST_SEGMENT, SHORTEST_PAUSE = 8.0, 2.0, 0.12  # s
CHARACTERS_PER_SECOND = (1.0, 22.0)  # of a segment; single letters are slow, long menus fast

REPLACEMENTS = {  # how signs, numbers, abbreviations and odd spellings are spoken
    r"\*": " star ",
    r"#": " pound ",
    r"\b28\.8\b": "twenty eight point eight",
    r"\b3D\b": "three d",
    r"www\.asterisk\.org": "w w w dot asterisk dot org",
    r"\bor IAX connection\b": "or i a x connection",
    r"\bIf you would like to learn\b": "If you'd like to learn",
    r"\bPBX\b": "p b x",
    r"\bIVR\b": "i v r",
    r"\bIP\b": "i p",
    r"\bUSB\b": "u s b",
    r"\bMGCP\b": "m g c p",
    r"\b([Dd]e|[Rr]e)-(activated|enter|entered|record)\b": r"\1\2",
    r"\bUn-indentified or witheld\b": "unidentified or withheld",
    r"\brepresenatives\b": "representatives",
    r"\bexclaimation\b": "exclamation",
    r"\bumute\b": "unmute",
    r"\bthru\b": "through",
    r"\bcan not\b": "cannot",
    r"\bvoice mail\b": "voicemail",
    r"\bmail box\b": "mailbox",
    r"\btouch tone\b": "touchtone",
    r"\bxray\b": "x ray",
    r"\bfourtieth\b": "fortieth",
}


class Recording(NamedTuple):
    """One sound file with speech."""

    name: str
    pulses: np.ndarray  # [samples] int16
    sample_rate: int  # Hz
    text: str  # normalized

    @property
    def seconds(self) -> float:
        """Its duration."""
        return len(self.pulses) / self.sample_rate


class Piece(NamedTuple):
    """A part of a recording."""

    start: float  # s
    end: float  # s
    text: str


def read_transcripts() -> Iterator[tuple[str, str]]:
    """Names and normalized transcripts, in the package's order; empty for tones and silences."""
    for line in gzip.decompress(TEXTS.read_bytes()).decode().splitlines():
        if line.strip() and not line.startswith(";"):
            name, text = line.split(":", maxsplit=1)
            text = re.sub(r"\[.*?\]|\(.*?\)|<.*?>", " ", text)
            for pattern, spoken in REPLACEMENTS.items():
                text = re.sub(pattern, spoken, text)
            yield name, text_lib.normalize(text)


def read_recordings() -> list[Recording]:
    """All recordings with speech, sorted by name."""
    recordings = []
    for name, text in sorted(read_transcripts()):
        path = SOUNDS / f"{name}.wav"
        if text and path.exists():
            pulses, sample_rate = soundfile.read(path, dtype="int16")
            recordings.append(Recording(name, pulses, sample_rate, text))
    return recordings


def cut(words: Sequence[WordTime], start: float, end: float) -> list[Piece]:
    """Cuts at the longest pause that leaves both sides long enough, until the pieces are short."""
    pauses = [
        (after.start - before.end, (before.end + after.start) / 2, index)
        for index, (before, after) in enumerate(itertools.pairwise(words), start=1)
    ]
    usable = [
        pause
        for pause in pauses
        if pause[0] >= SHORTEST_PAUSE and min(pause[1] - start, end - pause[1]) >= SHORTEST_SEGMENT
    ]
    if end - start <= LONGEST_SEGMENT or not usable:
        return [Piece(start, end, " ".join(word.word for word in words))]
    _, time, index = max(usable)
    return cut(words[:index], start, time) + cut(words[index:], time, end)


def find_families(texts: Sequence[set[str]]) -> list[str]:
    """The first transcript of each recording's family, from the transcripts that it contains."""
    families: list[set[str]] = []
    for own in texts:
        related = [family for family in families if family & own]
        families = [family for family in families if not family & own]
        families.append(own.union(*related))
    first = {text: min(family) for family in families for text in family}
    return [first[min(own)] for own in texts]


def choose_split(text: str, salt: int) -> str:
    """Train, dev or test, by the hash of the first transcript of a family."""
    digest = hashlib.sha256(f"{salt}:{text}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    share = SHARE if " " in text else ONE_WORD_SHARE
    return "test" if position < share else "dev" if position < 2 * share else "train"


def choose_splits(
    families: Sequence[str], seconds: Sequence[float]
) -> tuple[list[str], int, dict[str, float]]:
    """Each recording's split, the salt that makes them, and their shares of the speech."""
    for salt in itertools.count():
        splits = [choose_split(family, salt) for family in families]
        shares: dict[str, float] = dict.fromkeys(SPLITS, 0.0)
        for split, duration in zip(splits, seconds, strict=True):
            shares[split] += duration / sum(seconds)
        if all(ACCEPTED_SHARES[0] <= shares[s] <= ACCEPTED_SHARES[1] for s in ("dev", "test")):
            return splits, salt, shares
    raise AssertionError("unreachable: the salts are endless")


def write_recording(recording: Recording, folder: pathlib.Path) -> str:
    """Writes the FLAC file, checks that it holds the same samples, and returns their SHA-256."""
    path = folder / f"{recording.name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(
        path, recording.pulses, recording.sample_rate, subtype="PCM_16", compression_level=1.0
    )
    again, sample_rate = soundfile.read(path, dtype="int16")
    if sample_rate != recording.sample_rate or not np.array_equal(again, recording.pulses):
        raise RuntimeError(f"{path} does not hold the samples of the original.")
    return hashlib.sha256(recording.pulses.astype("<i2").tobytes()).hexdigest()


def write_table(path: pathlib.Path, header: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Writes a TSV file; times to the millisecond."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in (header, *rows):
            cells = (f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row)
            file.write("\t".join(cells) + "\n")


def build(folder: pathlib.Path) -> None:
    """Writes everything into an empty folder and prints what deserves a second look."""
    aligner = forced_alignment.create_aligner()
    recordings = read_recordings()
    sums, times, pieces = [], [], []
    for recording in recordings:
        waveform = recording.pulses.astype(np.float32) / 32768
        words, score = forced_alignment.align(
            aligner, waveform, recording.sample_rate, recording.text
        )
        if not words:
            raise RuntimeError(f"{recording.name}: does not fit its transcript; listen to it.")
        print(f"{recording.name}: {score:.0f} per frame")
        sums.append((recording.name, len(recording.pulses), write_recording(recording, folder)))
        times += [(recording.name, *word) for word in words]
        pieces.append(cut(words, 0.0, recording.seconds))
    texts = [
        {recording.text, *(piece.text for piece in parts)}
        for recording, parts in zip(recordings, pieces, strict=True)
    ]
    splits, salt, shares = choose_splits(
        find_families(texts), [recording.seconds for recording in recordings]
    )
    rows = [
        (recording.name, split, *piece)
        for recording, split, parts in zip(recordings, splits, pieces, strict=True)
        for piece in parts
    ]
    write_table(folder / "recordings.tsv", ("name", "samples", "sha256"), sums)
    write_table(folder / "transcripts.tsv", ("name", "split", *Piece._fields), rows)
    write_table(folder / "words.tsv", ("name", *WordTime._fields), times)
    for name, _, start, end, text in rows:
        rate = len(text) / (end - start)
        if not CHARACTERS_PER_SECOND[0] <= rate <= CHARACTERS_PER_SECOND[1]:
            print(f"implausible: {name} has {rate:.1f} characters per second in {text!r}")
    print(f"salt {salt}; shares of the speech: {shares}")


def main() -> None:
    """Replaces the folder when the new one is complete."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--output", type=pathlib.Path, default=PROMPTS, help="folder to replace")
    output = parser.parse_args().output.absolute()
    if not (SOUNDS.exists() and TEXTS.exists()):
        parser.error("install the packages asterisk-core-sounds-en-wav and asterisk-core-sounds-en")
    with tempfile.TemporaryDirectory(dir=output.parent) as temporary:
        new = pathlib.Path(temporary) / output.name
        new.mkdir()
        build(new)
        if output.exists():
            output.rename(pathlib.Path(temporary) / "old")
        new.rename(output)


if __name__ == "__main__":
    main()
