"""``gossamer evaluate MODEL``: score a finished run again and rewrite its report, or any model."""

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from ..speech.corpus import Corpus
    from ..speech.recognizer import Transcript
    from ..speech.run_config import SpeechConfig

DESCRIPTION = """Score a model on held-out speech; of a finished run, rewrite the report.

examples:
  gossamer evaluate runs/demo
  gossamer evaluate runs/demo --beam 16
  gossamer evaluate runs/demo --corpus my/manifest.tsv
  gossamer evaluate runs/paper_swb300 --sclite scores    files for NIST's sclite, errors by set
  gossamer evaluate prompts --beam 16           the model that ships"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to score."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder; or a packed recognizer, or the name of a model that ships (`prompts`): these have
    no report, the score is printed."""
    corpus: str | None = None
    """Score on another corpus: `prompts` or the path of a manifest; print only, no report."""
    beam: int = 1
    """Hypotheses that the beam search keeps; 1 takes the most likely symbol at every step. 4 to 16
    are usual; reading takes longer with more."""
    sclite: Path | None = None
    """Folder for references (.stm) and time-marked words (.ctm) for NIST's sclite, and errors by
    set, SWB and CH of Hub5'00, counted as sclite does."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer evaluate", description=DESCRIPTION, args=words)
    if arguments.beam < 1:
        raise ValueError(f"`--beam` must be at least 1, got {arguments.beam}; 1 is greedy search.")
    from ..speech import evaluation, experiment, training_data

    model = experiment.find_recognizer(arguments.run)
    folder = Path(arguments.run)
    if arguments.corpus is None and folder.is_dir():
        command = shlex.join(["gossamer", "evaluate", *words])
        data = training_data.load_corpus(model.config)
        result = experiment.score(folder, model, data, command, beam=arguments.beam)
        if arguments.sclite is not None:
            _write_sclite(arguments.sclite, model.config, data, result.transcripts)
        return 0
    config = model.config
    if arguments.corpus is not None:
        config = dataclasses.replace(
            config, data=dataclasses.replace(config.data, corpus=arguments.corpus)
        )
    corpus = training_data.load_corpus(config)
    result = evaluation.evaluate(model, corpus.test, beam=arguments.beam)
    errors = result.errors
    print(
        f"{corpus.name}: word error rate {100 * errors.rate:.1f}% "
        f"({100 * errors.low:.1f} to {100 * errors.high:.1f}), "
        f"characters {100 * errors.character_error_rate:.1f}%, "
        f"real-time factor {result.real_time_factor:.3g}"
    )
    if arguments.sclite is not None:
        _write_sclite(arguments.sclite, config, corpus, result.transcripts)
    return 0


def _write_sclite(
    folder: Path, config: "SpeechConfig", corpus: "Corpus", transcripts: "list[Transcript]"
) -> None:
    """Writes the files and prints the errors by set."""
    from ..speech import sclite_report, training_data

    source = None if config.data.corpus == "prompts" else config.data.corpus
    rows = training_data.load_rows(config)
    report = sclite_report.write(folder, corpus.test, transcripts, rows, source=source)
    print(f"\n{'set':<24}{'segments':>9}{'words':>8}{'WER':>8}   sub / del / ins")
    for title, segments, counts in report.scores:
        _, substitutions, deletions, insertions = counts
        kinds = f"{substitutions} / {deletions} / {insertions}"
        print(f"{title:<24}{segments:>9}{counts.words:>8}{100 * counts.rate:>7.1f}%   {kinds}")
    if report.unread:
        print(f"{report.unread} segments of the reference have no recording: words deleted.")
    print(f"The same by NIST's tools: {report.command}")
