"""``gossamer transcribe AUDIO ...``: read audio files."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import tyro

from .search import SearchOptions

DESCRIPTION = """Read audio files and print one line of text each, or several alternatives.

examples:
  gossamer transcribe recording.wav
  gossamer transcribe --run runs/demo --times *.flac
  gossamer transcribe --beam 8 --nbest 5 recording.wav
  gossamer transcribe --beam 8 --language-model runs/external recording.wav"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(SearchOptions):
    """What to read, and with which model."""

    audio: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Audio files (WAV, FLAC, OGG, MP3), one channel each."""
    pretrained: str = "prompts"
    """Name of a model that ships with gossamer."""
    run: Path | None = None
    """Run folder of your own model, instead of `pretrained`."""
    times: bool = False
    """Print JSON Lines with the second at which each word begins."""
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
    arguments.check()
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
    language_models = arguments.load_models(model.vocabulary)
    failures = 0
    for path in arguments.audio:
        try:
            waveform = audio.read(path, model.config.data.sample_rate)
        except (ValueError, OSError) as error:
            print(f"gossamer: {error}", file=sys.stderr)
            failures += 1
            continue
        (transcripts,) = recognizer.transcribe_nbest(
            model,
            [waveform],
            beam=arguments.beam,
            nbest=arguments.nbest,
            language_models=language_models,
        )
        for transcript in transcripts:
            print(_format(path, transcript, arguments))
    return 2 if failures else 0


def _format(path: Path, transcript, arguments: Arguments) -> str:
    scored = arguments.nbest > 1
    if arguments.times:
        starts = [
            {"word": word, "seconds": round(seconds, 2)}
            for word, seconds in _word_starts(transcript.labels)
        ]
        line = {"audio": str(path), "text": transcript.text, "words": starts}
        return json.dumps(line | ({"score": round(transcript.score, 3)} if scored else {}))
    columns = [str(path)] if len(arguments.audio) > 1 else []
    columns += [f"{transcript.score:.2f}"] if scored else []
    return "\t".join([*columns, transcript.text])


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
