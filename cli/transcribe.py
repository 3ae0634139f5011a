"""``gossamer transcribe AUDIO ...``: read audio files."""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..speech import terminal
from ..speech.hybrids import hybrid_folder
from .search import GraphOptions, SearchOptions, check_hybrid, check_transducer

if TYPE_CHECKING:
    from ..speech.transcript import Transcript

    Reader = Callable[[Path], list[Transcript]]

DESCRIPTION = """Read audio files and print one line of text each, or several alternatives.

examples:
  gossamer transcribe recording.wav
  gossamer transcribe --run runs/demo --times *.flac
  gossamer transcribe --beam 8 --nbest 5 recording.wav
  gossamer transcribe --beam 8 --language-model runs/external recording.wav
  gossamer transcribe --run runs/streaming --stream recording.wav
  gossamer transcribe --runtime onnx --run exported recording.wav
  gossamer transcribe --pretrained hybrid --nbest 5 recording.wav
  arecord -r 8000 -f S16_LE -t raw | gossamer transcribe --run runs/streaming --stream -"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(SearchOptions):
    """What to read, and with which model."""

    audio: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Audio files (WAV, FLAC, OGG, MP3), one channel each; with `--stream` also `-`, raw samples of
    16 bits from standard input, at the model's sample rate."""
    pretrained: str = "prompts"
    """Name of a model that ships with gossamer: `prompts` or `hybrid`."""
    run: Path | None = None
    """Run folder of your own model, instead of `pretrained`."""
    runtime: Literal["jax", "onnx"] = "jax"
    """What runs the networks; `onnx` takes as `run` a folder by `gossamer export`, and starts in a
    second."""
    times: bool = False
    """Print JSON Lines with the second at which each word begins."""
    nbest: int = 1
    """Texts printed for each file, the best first, each with its log probability; no more than
    `--beam`, and fewer where the search found no more."""
    stream: bool = False
    """Read as the recording comes in, and show on standard error what was heard so far; needs a
    model trained for it (`gossamer train speech streaming`)."""
    part_seconds: float = 0.32
    """What a stream reads at once."""
    graph: GraphOptions = dataclasses.field(default_factory=GraphOptions)


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer transcribe", description=DESCRIPTION, args=words)
    if not arguments.audio:
        raise ValueError(
            "no audio file given; name one or more, as in `gossamer transcribe a.wav`."
        )
    arguments.check()
    hybrid = hybrid_folder.find(arguments.run or arguments.pretrained)
    if hybrid is not None:
        read = _hybrid_reader(hybrid, arguments)
    else:
        check_transducer(arguments.graph, str(arguments.run or arguments.pretrained))
        _check_letters(arguments)
        find = _exported_reader if arguments.runtime == "onnx" else _reader
        read = find(arguments)
    failures = 0
    for path in arguments.audio:
        try:
            transcripts = read(path)
        except (ValueError, OSError) as error:
            print(f"gossamer: {error}", file=sys.stderr)
            failures += 1
            continue
        for transcript in transcripts:
            line = terminal.format_line(
                path,
                transcript,
                times=arguments.times,
                scored=arguments.nbest > 1,
                named=len(arguments.audio) > 1,
            )
            print(line)
    return 2 if failures else 0


def _check_letters(arguments: Arguments) -> None:
    """Refuses options that make no sense together for a transducer."""
    if not 1 <= arguments.nbest <= arguments.beam:
        raise ValueError(
            f"`--nbest` must be between 1 and `--beam`, got {arguments.nbest} with a beam of "
            f"{arguments.beam}; add `--beam {max(8, arguments.nbest)}`."
        )
    if arguments.stream and arguments.beam > 1 and arguments.runtime == "jax":
        raise ValueError(
            "`--stream` takes the most likely symbol at every step; leave out `--beam`, or use "
            "`--runtime onnx`."
        )
    if not arguments.stream and Path("-") in arguments.audio:
        raise ValueError("`-` is read with `--stream` only.")


def _hybrid_reader(folder: Path, arguments: Arguments) -> "Reader":
    """Reads files with a hybrid recognizer."""
    check_hybrid(arguments, str(folder))
    if arguments.stream or arguments.runtime != "jax":
        raise ValueError(
            f"{folder} is a hybrid, which reads whole files with JAX; leave out `--stream` "
            "and `--runtime`."
        )
    if arguments.nbest < 1:
        raise ValueError(f"`--nbest` must be at least 1, got {arguments.nbest}.")
    from ..speech.corpora import audio
    from ..speech.hybrids import word_search

    search = arguments.graph.open_run(folder)

    def read(path: Path) -> "list[Transcript]":
        waveform = audio.read(path, search.model.data.sample_rate)
        if arguments.nbest == 1:
            return word_search.transcribe(search, [waveform])
        return word_search.transcribe_nbest(search, [waveform], arguments.nbest)[0]

    return read


def _reader(arguments: Arguments) -> "Reader":
    """Reads files with JAX."""
    from ..speech import experiment, recognizer, streaming
    from ..speech.corpora import audio

    if arguments.run is None:
        known = [*recognizer.shipped(), hybrid_folder.PRETRAINED.name]
        if arguments.pretrained not in known:
            raise ValueError(
                f"`--pretrained` must be one of {', '.join(known)}, got {arguments.pretrained!r}; "
                "`--run` takes the folder of your own."
            )
        model = recognizer.pretrained(arguments.pretrained)
    else:
        model = experiment.read_run(arguments.run)
    model = arguments.join_partners(model)
    if arguments.stream:
        streaming.check(model)
    language_models = arguments.load_models(model.vocabulary)
    sample_rate = model.config.data.sample_rate

    def read(path: Path) -> "list[Transcript]":
        if path == Path("-"):
            samples = terminal.raw_samples(sys.stdin.buffer)
        else:
            waveform = audio.read(path, sample_rate)
            if not arguments.stream:
                (transcripts,) = recognizer.transcribe_nbest(
                    model,
                    [waveform],
                    beam=arguments.beam,
                    nbest=arguments.nbest,
                    language_models=language_models,
                )
                return transcripts
            samples = terminal.pieces(waveform)
        stream = streaming.Stream(model, part_seconds=arguments.part_seconds)
        return [terminal.follow(stream, samples, sample_rate)]

    return read


def _exported_reader(arguments: Arguments) -> "Reader":
    """Reads files with an exported recognizer; nothing here imports JAX."""
    if arguments.run is None:
        raise ValueError(
            "`--runtime onnx` needs `--run FOLDER`, which `gossamer export` writes, as in "
            "`gossamer export prompts --output exported`."
        )
    if arguments.combine:
        raise ValueError("`--combine` is for the JAX runtime: exported recognizers read alone.")
    if arguments.language_model is not None:
        raise ValueError(
            "`--language-model` is for the JAX runtime: language models are exported with their "
            "recognizer, see `gossamer export --help`."
        )
    try:
        from ..speech.transcriber.main import read
        from ..speech.transcriber.transcriber import Search, Transcriber
    except ImportError as error:
        raise ValueError(
            f"`--runtime onnx` needs {error.name}: pip install '.[export]' in a checkout of "
            "gossamer."
        ) from error
    transcriber = Transcriber(arguments.run)
    search = Search(beam=arguments.beam, nbest=arguments.nbest)
    return functools.partial(
        read,
        transcriber,
        search=search,
        stream=arguments.stream,
        part_seconds=arguments.part_seconds,
    )
