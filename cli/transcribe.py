"""``gossamer transcribe AUDIO ...``: read audio files."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

DESCRIPTION = """Read audio files and print one line of text each.

examples:
  gossamer transcribe recording.wav
  gossamer transcribe --run runs/demo --times *.flac"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to read, and with which model."""

    audio: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Audio files (WAV, FLAC, OGG, MP3), one channel each."""
    pretrained: str = "prompts"
    """Name of a model that ships with gossamer."""
    run: Path | None = None
    """Run folder of your own model, instead of `pretrained`."""
    times: bool = False
    """Print JSON Lines with the second at which each word begins."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer transcribe", description=DESCRIPTION, args=words)
    if not arguments.audio:
        raise ValueError(
            "no audio file given; name one or more, as in `gossamer transcribe a.wav`."
        )
    from ..speech import audio, experiment, recognizer

    if arguments.run is None:
        model = recognizer.pretrained(arguments.pretrained)
    else:
        model = experiment.read_run(arguments.run)
    failures = 0
    for path in arguments.audio:
        try:
            waveform = audio.read(path, model.config.data.sample_rate)
        except (ValueError, OSError) as error:
            print(f"gossamer: {error}", file=sys.stderr)
            failures += 1
            continue
        (transcript,) = recognizer.transcribe(model, [waveform])
        print(_format(path, transcript, times=arguments.times, many=len(arguments.audio) > 1))
    return 2 if failures else 0


def _format(path: Path, transcript, *, times: bool, many: bool) -> str:
    if times:
        starts = [
            {"word": word, "seconds": round(seconds, 2)}
            for word, seconds in _word_starts(transcript.labels)
        ]
        return json.dumps({"audio": str(path), "text": transcript.text, "words": starts})
    return f"{path}\t{transcript.text}" if many else transcript.text


def _word_starts(labels: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Joins emitted characters to words with the time of their first character."""
    words: list[tuple[str, float]] = []
    inside = False
    for character, seconds in labels:
        if character == " ":
            inside = False
        elif inside:
            words[-1] = (words[-1][0] + character, words[-1][1])
        else:
            words.append((character, seconds))
            inside = True
    return words
