"""``gossamer align AUDIO TEXT``: when the words of a known text are spoken."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..speech.hybrids import hybrid_folder

if TYPE_CHECKING:
    from ..speech.hybrids.alignment import Segment

DESCRIPTION = """Tell when the words and phones of a known text are spoken in a recording, by a
hybrid recognizer.

examples:
  gossamer align recording.wav "please enter your password"
  gossamer align --run runs/hybrid recording.wav text.txt --format textgrid > recording.TextGrid"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to align, and with which model."""

    audio: Annotated[Path, tyro.conf.Positional]
    """Audio file (WAV, FLAC, OGG, MP3), one channel."""
    text: Annotated[str, tyro.conf.Positional]
    """What is said in it, or the path of a file that holds it."""
    run: Path = Path(hybrid_folder.PRETRAINED.name)
    """Run folder of `gossamer train hybrid`; by default the hybrid that ships."""
    lexicon: str | None = None
    """`cmu`, `graphemic` or the path of a dictionary; by default that of the run, with letter to
    sound for words that it lacks."""
    format: Literal["ctm", "textgrid"] = "ctm"
    """Lines of words in NIST's form, or Praat's tiers of words and phones."""
    phones: bool = False
    """Phones instead of words in the lines."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer align", description=DESCRIPTION, args=words)
    from ..speech import text
    from ..speech.corpora import audio
    from ..speech.hybrids import hybrid, hybrid_run, pronunciations

    folder = hybrid_folder.find(arguments.run) or arguments.run
    model = hybrid_run.read_run(folder)
    waveform = audio.read(arguments.audio, model.data.sample_rate)
    said = text.normalize(_read(arguments.text), language=model.data.language)
    if not said:
        raise ValueError("`text` must hold at least one word.")
    spoken = pronunciations.of_run(folder, arguments.lexicon, said.split())
    (found,) = hybrid.align(model, [waveform], [said], spoken)
    if found is None:
        raise ValueError(
            f"{arguments.audio}: {len(waveform) / model.data.sample_rate:.2f} s are too short for "
            f"{len(said.split())} words; is it the right text?"
        )
    phones, spoken_words = found
    seconds = len(waveform) / model.data.sample_rate
    sys.stdout.write(_format(arguments, phones, spoken_words, seconds))
    return 0


def _format(
    arguments: Arguments, phones: "list[Segment]", words: "list[Segment]", seconds: float
) -> str:
    from ..speech import sclite
    from ..speech.hybrids import textgrid

    if arguments.format == "textgrid":
        return textgrid.format_tiers({"words": words, "phones": phones}, seconds)
    name = arguments.audio.stem.replace(" ", "_")
    lines = sclite.format_ctm(
        sclite.TimedWord(name, "1", one.start, one.end - one.start, one.label)
        for one in (phones if arguments.phones else words)
    )
    return "".join(f"{line}\n" for line in lines)


def _read(text: str) -> str:
    """A text, or what a file of that name holds."""
    try:
        path = Path(text)
        return path.read_text(encoding="utf-8") if path.is_file() else text
    except OSError:  # too long for a name
        return text
