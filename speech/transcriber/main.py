"""The command line of an exported recognizer."""

import argparse
import dataclasses
import sys
from pathlib import Path

from .. import terminal
from ..corpora import audio
from ..transcript import Transcript
from .transcriber import Search, Transcriber


def main(folder: Path, words: list[str]) -> int:
    """Reads audio files and prints a line of text for each.

    Args:
        folder: of the export.
        words: of the command line.

    Returns:
        The exit status: 0, or 2 if a file could not be read.
    """
    arguments = _parser(folder.name).parse_args(words)
    try:
        transcriber = Transcriber(folder, threads=arguments.threads)
        given = {field.name for field in dataclasses.fields(Search)} & set(vars(arguments))
        search = Search(**{name: getattr(arguments, name) for name in given})
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    failures = 0
    for path in arguments.audio:
        try:
            found = read(transcriber, path, search, stream=arguments.stream)
        except (ValueError, OSError) as error:
            print(error, file=sys.stderr)
            failures += 1
            continue
        for transcript in found:
            print(
                terminal.format_line(
                    path,
                    transcript,
                    times=arguments.times,
                    scored=search.nbest > 1,
                    named=len(arguments.audio) > 1,
                )
            )
    return 2 if failures else 0


def read(
    transcriber: Transcriber,
    path: Path,
    search: Search,
    *,
    stream: bool = False,
    part_seconds: float = 0.32,
) -> list[Transcript]:
    """Reads one audio file.

    Args:
        transcriber: the recognizer.
        path: of the file; `-` for raw samples of 16 bits from standard input, if `stream`.
        search: how.
        stream: read it as it comes in, showing on standard error what was heard so far.
        part_seconds: what a stream reads at once.

    Returns:
        The transcripts, the best first; a stream gives one.

    Raises:
        ValueError: if the file cannot be read, or the recognizer needs whole recordings.
    """
    if not stream:
        return transcriber.transcribe(audio.read(path, transcriber.sample_rate), search)
    follower = transcriber.stream(search, part_seconds=part_seconds)
    if path == Path("-"):
        samples = terminal.raw_samples(sys.stdin.buffer)
    else:
        samples = terminal.pieces(audio.read(path, transcriber.sample_rate))
    return [terminal.follow(follower, samples, transcriber.sample_rate)]


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python {name}",
        description="Read audio files and print a line of text for each.",
        epilog=f"example: python {name} --beam 8 recording.wav",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("audio", nargs="+", type=Path, help="audio files, one channel each")
    parser.add_argument("--beam", type=int, help="hypotheses of the beam search; 1 is greedy")
    parser.add_argument("--nbest", type=int, help="texts for each file, with log probabilities")
    parser.add_argument("--external-weight", type=float, help="of the external language model")
    parser.add_argument("--source-weight", type=float, help="of the source language model")
    parser.add_argument("--length-reward", type=float, help="added for each letter")
    parser.add_argument("--prune", type=float, help="drop hypotheses so many nats below the best")
    parser.add_argument("--threads", type=int, default=1, help="processor cores")
    parser.add_argument(
        "--times", action="store_true", default=False, help="JSON with the start of each word"
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        default=False,
        help="read as it comes in; - is standard input, raw samples of 16 bits",
    )
    return parser
