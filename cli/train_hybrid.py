"""``gossamer train hybrid``: train a hybrid recognizer from a flat start, or from another one."""

import sys
from pathlib import Path

import tyro

from ..speech.hybrids import hybrid_config

DESCRIPTION = r"""Train the acoustic model of a hybrid recognizer: phones from a lexicon, states
aligned from a flat start, tied by trees. The same command continues an interrupted run.

examples:
  gossamer train hybrid --run runs/hybrid
  gossamer train hybrid --run runs/hybrid4 --from runs/hybrid --quantize int4_paper \
      --optimizer.steps 300 --optimizer.peak-learning-rate 1e-3     at 4 bits
  gossamer train hybrid --lexicon graphemic --data.corpus my/manifest.tsv --pdfs 800
  gossamer train hybrid paper --data.corpus swb300/manifest.tsv    6 layers of 512 cells"""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    default = hybrid_config.RUNS["small"]
    if words and words[0] in hybrid_config.RUNS:
        default, words = hybrid_config.RUNS[words[0]], words[1:]
    config = tyro.cli(
        hybrid_config.HybridRun,
        default=default,
        prog="gossamer train hybrid",
        description=DESCRIPTION,
        args=words,
    )
    from ..speech.hybrids import hybrid_folder, hybrid_run  # after parsing, for quick help

    hybrid_run.train(config)
    folder = config.run or Path("runs/hybrid")
    print(f"Packed model: {folder / hybrid_folder.PACKED}", file=sys.stderr)
    return 0
