"""``gossamer corpus KIND``: make a list of recordings that ``gossamer train`` reads."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

USAGE = """usage: gossamer corpus KIND ...

kinds:
  switchboard   Switchboard-1, Fisher and Hub5'00 as the LDC delivers them

examples:
  gossamer corpus switchboard --help
  gossamer train speech paper_swb300 --data.corpus swb/switchboard.tsv"""

SWITCHBOARD = """List the telephone conversations of the LDC's corpora for training and scoring.
The recordings stay where they are. The corpora are licensed by the LDC and cannot be shipped.

examples:
  gossamer corpus switchboard swb --audio LDC97S62 --transcripts swb_ms98_transcriptions
  gossamer corpus switchboard swb --audio LDC97S62 --transcripts swb_ms98_transcriptions \\
      --hub5-audio LDC2002S09 --hub5-transcripts LDC2002T43 --fisher-transcripts LDC200?T19
  gossamer train speech paper_swb300 --data.corpus swb/switchboard.tsv --run runs/swb300
  gossamer evaluate runs/swb300 --sclite scores"""


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


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if words[0] != "switchboard":
        raise ValueError(f"no corpus {words[0]!r} to make; choose from switchboard.")
    return _list_switchboard(words[1:])


def _list_switchboard(words: list[str]) -> int:
    arguments = tyro.cli(
        Switchboard, prog="gossamer corpus switchboard", description=SWITCHBOARD, args=words
    )
    from ..speech import ldc

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
