"""``gossamer transcribe AUDIO ...``: read audio files."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from ..speech import word_times
from .search import SearchOptions

if TYPE_CHECKING:
    from ..speech.fusion import FusedModels
    from ..speech.recognizer import Recognizer, Transcript

PIECE = 800  # samples that a stream is given at once

DESCRIPTION = """Read audio files and print one line of text each, or several alternatives.

examples:
  gossamer transcribe recording.wav
  gossamer transcribe --run runs/demo --times *.flac
  gossamer transcribe --beam 8 --nbest 5 recording.wav
  gossamer transcribe --beam 8 --language-model runs/external recording.wav
  gossamer transcribe --run runs/streaming --stream recording.wav
  arecord -r 8000 -f S16_LE -t raw | gossamer transcribe --run runs/streaming --stream -"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(SearchOptions):
    """What to read, and with which model."""

    audio: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Audio files (WAV, FLAC, OGG, MP3), one channel each; with `--stream` also `-`, raw samples of
    16 bits from standard input, at the model's sample rate."""
    pretrained: str = "prompts"
    """Name of a model that ships with gossamer."""
    run: Path | None = None
    """Run folder of your own model, instead of `pretrained`."""
    times: bool = False
    """Print JSON Lines with the second at which each word begins."""
    nbest: int = 1
    """Texts printed for each file, the best first, each with its log probability; no more than
    `--beam`, and fewer where the search found no more."""
    stream: bool = False
    """Read as the recording comes in, and show on standard error what was heard so far; needs a
    model trained for it (`gossamer train speech streaming`) and no `--beam`."""
    part_seconds: float = 0.32
    """What a stream reads at once."""


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
    if arguments.stream and arguments.beam > 1:
        raise ValueError(
            "`--stream` takes the most likely symbol at every step; leave out `--beam`."
        )
    if not arguments.stream and Path("-") in arguments.audio:
        raise ValueError("`-` is read with `--stream` only.")
    from ..speech import experiment, recognizer, streaming

    if arguments.run is None:
        model = recognizer.pretrained(arguments.pretrained)
    else:
        model = experiment.read_run(arguments.run)
    if arguments.stream:
        streaming.check(model)
    language_models = arguments.load_models(model.vocabulary)
    failures = 0
    for path in arguments.audio:
        try:
            transcripts = _read(path, model, language_models, arguments)
        except (ValueError, OSError) as error:
            print(f"gossamer: {error}", file=sys.stderr)
            failures += 1
            continue
        for transcript in transcripts:
            print(_format(path, transcript, arguments))
    return 2 if failures else 0


def _read(
    path: Path,
    model: "Recognizer",
    language_models: "FusedModels | None",
    arguments: Arguments,
) -> "list[Transcript]":
    from ..speech import audio, recognizer

    if path == Path("-"):
        return [_follow(model, _raw_samples(sys.stdin.buffer), arguments)]
    waveform = audio.read(path, model.config.data.sample_rate)
    if arguments.stream:
        pieces = np.array_split(waveform, range(PIECE, len(waveform), PIECE))
        return [_follow(model, pieces, arguments)]
    (transcripts,) = recognizer.transcribe_nbest(
        model,
        [waveform],
        beam=arguments.beam,
        nbest=arguments.nbest,
        language_models=language_models,
    )
    return transcripts


def _follow(
    model: "Recognizer", pieces: Iterable[np.ndarray], arguments: Arguments
) -> "Transcript":
    """Reads a recording as it comes in, showing on standard error what was heard so far."""
    from ..speech.streaming import Stream

    stream, shown, seconds = Stream(model, part_seconds=arguments.part_seconds), "", 0.0
    live = sys.stderr.isatty()
    for piece in pieces:
        seconds += len(piece) / model.config.data.sample_rate
        text = stream.feed(piece).text
        if text != shown:
            line = f"\r{text}" if live else f"{seconds:.2f} s  {text}\n"
            print(line, end="", file=sys.stderr, flush=True)
            shown = text
    transcript = stream.finish()
    if live and shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return transcript


def _raw_samples(file: Any) -> Iterator[np.ndarray]:
    """Samples of 16 bits, little-endian, as they arrive."""
    rest = b""
    while piece := file.read1(2 * PIECE):
        piece = rest + piece
        whole = len(piece) // 2 * 2
        yield np.frombuffer(piece[:whole], "<i2").astype(np.float32) / 32768
        rest = piece[whole:]


def _format(path: Path, transcript: "Transcript", arguments: Arguments) -> str:
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
