"""``gossamer corpus KIND``: make a list of recordings that ``gossamer train`` reads."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

USAGE = """usage: gossamer corpus KIND ...

kinds:
  switchboard   Switchboard-1, Fisher and Hub5'00 as the LDC delivers them
  synthetic     any text, spoken by synthesizers over telephone lines
  voices        the voices of the synthesizers that are installed

examples:
  gossamer corpus switchboard --help
  gossamer corpus synthetic spoken --text sentences.txt --hours 10
  gossamer train speech paper_swb300 --data.corpus swb/switchboard.tsv"""

SWITCHBOARD = """List the telephone conversations of the LDC's corpora for training and scoring.
The recordings stay where they are. The corpora are licensed by the LDC and cannot be shipped.

examples:
  gossamer corpus switchboard swb --audio LDC97S62 --transcripts swb_ms98_transcriptions
  gossamer corpus switchboard swb --audio LDC97S62 --transcripts swb_ms98_transcriptions \\
      --hub5-audio LDC2002S09 --hub5-transcripts LDC2002T43 --fisher-transcripts LDC200?T19
  gossamer train speech paper_swb300 --data.corpus swb/switchboard.tsv --run runs/swb300
  gossamer evaluate runs/swb300 --sclite scores"""


SYNTHETIC = """Speak any text with the voices of espeak-ng, flite and festival over telephone lines:
a band of 300 to 3400 Hz, levels, noise, mu-law and other codecs, at 8 kHz. The same command
continues an interrupted build; one with more hours adds to it.

examples:
  gossamer corpus synthetic spoken --hours 2
  gossamer corpus synthetic spoken --text sentences.txt prompts --hours 10 --engines flite espeak-ng
  gossamer train speech small --data.corpus spoken/synthetic.tsv"""

VOICES = """List the voices of the speech synthesizers that are installed.

examples:
  gossamer corpus voices
  gossamer corpus voices --language de"""


@dataclasses.dataclass(frozen=True)
class Switchboard:
    """Where the corpora lie: folders in which files may be arranged in any way."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder for the list, `switchboard.tsv`, and what belongs to it."""
    audio: tuple[Path, ...]
    """Recordings of Switchboard-1 (LDC97S62): sw02001.sph, or decoded to .wav or .flac."""
    transcripts: tuple[Path, ...]
    """Its transcripts by Mississippi State University: swb_ms98_transcriptions."""
    hub5_audio: tuple[Path, ...] = ()
    """Recordings of Hub5'00 (LDC2002S09), for the test split."""
    hub5_transcripts: tuple[Path, ...] = ()
    """Their reference (LDC2002T43): hub5e00.english.000405.stm and en20000405_hub5.glm."""
    fisher_audio: tuple[Path, ...] = ()
    """Recordings of Fisher English (LDC2004S13, LDC2005S13), to train on as well."""
    fisher_transcripts: tuple[Path, ...] = ()
    """Transcripts of Fisher English (LDC2004T19, LDC2005T19); without recordings they are for
    language models only."""


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """What to say, and how."""

    output: Annotated[Path, tyro.conf.Positional]
    """Folder for the recordings and their list, `synthetic.tsv`."""
    text: tuple[str, ...] = ("prompts",)
    """What to say: `prompts` (the transcripts of the telephone prompts but those of their test
    split), or texts in UTF-8 with one sentence for each line, plain or gzipped."""
    hours: float = 1.0
    """Hours of speech."""
    engines: tuple[str, ...] = ()
    """Synthesizers: espeak-ng, flite, festival; all that are installed by default."""
    voices: tuple[str, ...] = ()
    """Voices by name, see `gossamer corpus voices`; all by default."""
    language: str = "en"
    """Language of the texts and voices; other than English needs espeak-ng."""
    speed: tuple[float, float] = (0.85, 1.2)
    """Range of the speed over that of a voice."""
    pitch: tuple[float, float] = (0.9, 1.1)
    """Range of the pitch over that of a voice."""
    snr: tuple[float, float] = (10.0, 40.0)
    """Range of speech over noise in dB."""
    max_seconds: float = 9.0
    """Longest utterance, at most that of the last bucket in training."""
    seed: int = 0
    """Seed of all that is drawn."""
    processes: int | None = None
    """Processes that speak at once; one for each processor by default."""


@dataclasses.dataclass(frozen=True)
class Voices:
    """Which voices to list."""

    engines: tuple[str, ...] = ()
    """Synthesizers; all that are installed by default."""
    language: str = "en"
    """Language of the voices."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    kinds = {
        "switchboard": _list_switchboard,
        "synthetic": _synthesize,
        "voices": _list_voices,
    }
    if words[0] not in kinds:
        raise ValueError(f"no corpus {words[0]!r} to make; choose from {', '.join(kinds)}.")
    return kinds[words[0]](words[1:])


def _list_switchboard(words: list[str]) -> int:
    arguments = tyro.cli(
        Switchboard, prog="gossamer corpus switchboard", description=SWITCHBOARD, args=words
    )
    from ..speech.corpora import ldc

    options = dataclasses.asdict(arguments)
    output = options.pop("output")
    gathered = ldc.build(output, ldc.Sources(**options))
    print(f"{'split':<8}{'conversations':>14}{'utterances':>12}{'hours':>8}{'words':>10}")
    for split in ("train", "dev", "test"):
        rows = [row.segment for row in gathered.rows if row.split == split]
        hours = sum(row.end - row.start for row in rows) / 3600
        spoken = sum(len(row.text.split()) for row in rows)
        calls = len({row.recording for row in rows})
        print(f"{split:<8}{calls:>14}{len(rows):>12}{hours:>8.2f}{spoken:>10}")
    if left_out := gathered.left_out.most_common():
        reasons = ", ".join(f"{number} {reason}" for reason, number in left_out)
        print(f"Left out: {reasons}.", file=sys.stderr)
    if gathered.missing:
        names = ", ".join(gathered.missing[:5]) + (", ..." if len(gathered.missing) > 5 else "")
        print(f"No recording of {len(gathered.missing)}: {names}.", file=sys.stderr)
    print(f"List: {output / f'{ldc.NAME}.tsv'}", file=sys.stderr)
    return 0


def _synthesize(words: list[str]) -> int:
    arguments = tyro.cli(
        Synthetic, prog="gossamer corpus synthetic", description=SYNTHETIC, args=words
    )
    from ..core import progress
    from ..speech.corpora import sentences, synthetic_corpus, voices

    found = voices.find_voices(
        arguments.engines, language=arguments.language, names=arguments.voices
    )
    text = sentences.read_sentences(arguments.text, language=arguments.language)
    plan = synthetic_corpus.Plan.of(
        text.train,
        text.dev,
        voices=tuple(found),
        speed=arguments.speed,
        pitch=arguments.pitch,
        snr=arguments.snr,
        max_seconds=arguments.max_seconds,
        seed=arguments.seed,
    )
    with progress.Amount(arguments.hours, "hours") as amount:
        result = synthetic_corpus.build(
            arguments.output,
            plan,
            hours=arguments.hours,
            processes=arguments.processes,
            progress=lambda number, seconds: amount.report(seconds / 3600, f"{number} utterances"),
        )
    print(f"{result.utterances} utterances, {result.seconds / 3600:.2f} hours: {result.list}")
    if result.left_out:
        reasons = ", ".join(f"{number} {reason}" for reason, number in result.left_out.items())
        print(f"Left out: {reasons}.", file=sys.stderr)
    return 0


def _list_voices(words: list[str]) -> int:
    arguments = tyro.cli(Voices, prog="gossamer corpus voices", description=VOICES, args=words)
    from ..speech.corpora import voices

    for voice in voices.find_voices(arguments.engines, language=arguments.language):
        print(f"{voice.engine:<11}{voice.name:<24}{voice.about}".rstrip())
    for engine, (packages, *_) in voices.ENGINES.items():
        if not voices.is_installed(engine):
            print(f"{engine} is not installed: apt-get install {packages}", file=sys.stderr)
    return 0
