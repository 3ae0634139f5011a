"""``gossamer transcribe AUDIO ...``: read audio files."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from ..speech import word_times

DESCRIPTION = """Read audio files and print one line of text each, or several alternatives.

examples:
  gossamer transcribe recording.wav
  gossamer transcribe --run runs/demo --times *.flac
  gossamer transcribe --beam 8 --nbest 5 recording.wav"""


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
    beam: int = 1
    """Hypotheses that the beam search keeps; 1 takes the most likely symbol at every step."""
    nbest: int = 1
    """Texts printed for each file, the best first, each with its log probability; no more than
    `--beam`, and fewer where the search found no more."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer transcribe", description=DESCRIPTION, args=words)
    if not arguments.audio:
        raise ValueError(
            "no audio file given; name one or more, as in `gossamer transcribe a.wav`."
        )
    if arguments.beam < 1:
        raise ValueError(f"`--beam` must be at least 1, got {arguments.beam}; 1 is greedy search.")
    if not 1 <= arguments.nbest <= arguments.beam:
        raise ValueError(
            f"`--nbest` must be between 1 and `--beam`, got {arguments.nbest} with a beam of "
            f"{arguments.beam}; add `--beam {max(8, arguments.nbest)}`."
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
        (transcripts,) = recognizer.transcribe_nbest(
            model, [waveform], beam=arguments.beam, nbest=arguments.nbest
        )
        for transcript in transcripts:
            print(_format(path, transcript, arguments))
    return 2 if failures else 0


def _format(path: Path, transcript, arguments: Arguments) -> str:
    scored = arguments.nbest > 1
    if arguments.times:
        starts = [
            {"word": word.text, "seconds": round(word.start, 2)}
            for word in word_times.join_characters(transcript.labels)
        ]
        line = {"audio": str(path), "text": transcript.text, "words": starts}
        return json.dumps(line | ({"score": round(transcript.score, 3)} if scored else {}))
    columns = [str(path)] if len(arguments.audio) > 1 else []
    columns += [f"{transcript.score:.2f}"] if scored else []
    return "\t".join([*columns, transcript.text])
