"""``gossamer evaluate MODEL``: score a finished run again and rewrite its report, or any model."""

import dataclasses
import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..speech.hybrids import hybrid_folder
from .search import GraphOptions, SearchOptions, check_hybrid, check_transducer

if TYPE_CHECKING:
    from ..speech.corpora.corpus import Corpus
    from ..speech.evaluation import Evaluation
    from ..speech.fusion import FusedModels
    from ..speech.recognizer import Recognizer
    from ..speech.run_config import SpeechConfig
    from ..speech.transcript import Transcript

DESCRIPTION = """Score a model on held-out speech; of a finished run, rewrite the report.

examples:
  gossamer evaluate runs/demo
  gossamer evaluate runs/demo --beam 16
  gossamer evaluate runs/demo --corpus my/manifest.tsv
  gossamer evaluate runs/a --combine runs/b runs/c  recognizers that read together
  gossamer evaluate prompts --beam 16           the transducer that ships
  gossamer evaluate hybrid                      the hybrid that ships
  gossamer evaluate prompts --beam 8 --language-model runs/external --tune
  gossamer evaluate runs/swb300 --sclite scores     files for NIST's sclite, errors by set
  gossamer evaluate runs/hybrid --tune              a hybrid, with its best acoustic scale
  gossamer evaluate runs/resnet18                   an image classifier
  gossamer evaluate runs/translation --beam 4       a translator"""

GRID = {  # what `--tune` tries
    "language_weight": (0.1, 0.2, 0.3, 0.5),
    "source_weight": (0.0, 0.1, 0.2, 0.3),
    "length_reward": (0.0, 0.1, 0.2, 0.4),
}
SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8)  # what `--tune` tries for a hybrid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments(SearchOptions):
    """What to score."""

    run: Annotated[str, tyro.conf.Positional]
    """Run folder; or a packed recognizer, or the name of a model that ships (`prompts`, `hybrid`):
    these, and all hybrids, have no report, the score is printed."""
    corpus: str | None = None
    """Score on another corpus: `prompts` or the path of a manifest; print only, no report."""
    sclite: Path | None = None
    """Folder for references (.stm) and time-marked words (.ctm) for NIST's sclite, and errors by
    set, SWB and CH of Hub5'00, counted as sclite does."""
    tune: bool = False
    """First choose the weights of the language models, or a hybrid's acoustic scale, on the
    development recordings."""
    graph: GraphOptions = dataclasses.field(default_factory=GraphOptions)


@dataclasses.dataclass(frozen=True)
class TranslatorArguments:
    """What to score of a translator."""

    run: Annotated[str, tyro.conf.Positional]
    beam: int = 4


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer evaluate", description=DESCRIPTION, args=words)
    arguments.check()
    if (Path(arguments.run) / "classifier.safetensors").exists():
        return _evaluate_classifier(arguments)
    if (Path(arguments.run) / "translator.safetensors").exists():
        return _evaluate_translator(arguments, words)
    if (hybrid := hybrid_folder.find(arguments.run)) is not None:
        return _evaluate_hybrid(hybrid, arguments)
    check_transducer(arguments.graph, arguments.run)
    if arguments.tune and arguments.language_model is None:
        raise ValueError("`--tune` chooses the weights of language models; name one.")
    from ..speech import evaluation, experiment, training_data

    model = experiment.find_recognizer(arguments.run, others=[hybrid_folder.PRETRAINED.name])
    model = arguments.join_partners(model)
    language_models = arguments.load_models(model.vocabulary)
    config = model.config
    if arguments.corpus is not None:
        config = dataclasses.replace(
            config, data=dataclasses.replace(config.data, corpus=arguments.corpus)
        )
    corpus = training_data.load_corpus(config)
    if language_models is not None and arguments.tune:
        arguments = _tune(arguments, model, language_models, corpus)
        language_models = arguments.weigh(language_models)
    folder = Path(arguments.run)
    if arguments.corpus is None and folder.is_dir():
        result = experiment.score(
            folder,
            model,
            corpus,
            shlex.join(["gossamer", "evaluate", *words]),
            beam=arguments.beam,
            language_models=language_models,
            search=arguments.describe(),
        )
        if arguments.sclite is not None:
            _write_sclite(arguments.sclite, config, corpus, result.transcripts)
        return 0
    result = evaluation.evaluate(
        model, corpus.test, beam=arguments.beam, language_models=language_models
    )
    _print(corpus, result)
    if arguments.sclite is not None:
        _write_sclite(arguments.sclite, config, corpus, result.transcripts)
    return 0


def _evaluate_classifier(arguments: Arguments) -> int:
    """Scores an image classifier again."""
    from ..core import packing
    from ..language.classifier import FORMAT
    from ..vision import experiment

    path = Path(arguments.run) / experiment.PACKED
    if packing.read_format(path) == FORMAT:
        raise ValueError(
            f"{arguments.run} classifies texts; its accuracy is in result.json, and `gossamer "
            "explain` asks it."
        )
    if arguments != Arguments(run=arguments.run):
        raise ValueError(f"{arguments.run} holds an image classifier, which takes no options here.")
    experiment.score_run(arguments.run)
    return 0


def _evaluate_translator(arguments: Arguments, words: list[str]) -> int:
    """Scores a translator again; its beam has a default of its own."""
    if dataclasses.replace(arguments, beam=1) != Arguments(run=arguments.run):
        raise ValueError(f"{arguments.run} holds a translator, which takes no options but --beam.")
    from ..language.translation import experiment

    beam = tyro.cli(TranslatorArguments, args=words).beam
    experiment.score_run(arguments.run, beam=beam)
    return 0


def _evaluate_hybrid(folder: Path, arguments: Arguments) -> int:
    """Scores a hybrid recognizer."""
    check_hybrid(arguments, arguments.run)
    from ..speech import evaluation, training_data, word_error
    from ..speech.hybrids import word_search
    from ..speech.run_config import SpeechConfig

    search = arguments.graph.open_run(folder)
    data = search.model.data
    if arguments.corpus is not None:
        data = dataclasses.replace(data, corpus=arguments.corpus)
    config = SpeechConfig(data=data)
    corpus = training_data.load_corpus(config)
    if arguments.tune:
        texts = [utterance.text for utterance in corpus.dev]
        search, errors = word_search.tune(
            search,
            [utterance.waveform for utterance in corpus.dev],
            lambda found: word_error.word_error_rate(texts, [one.text for one in found]).rate,
            SCALES,
        )
        print(f"{'acoustic_scale':>16}{'dev WER, %':>11}")
        for scale, error in zip(SCALES, errors, strict=True):
            print(f"{scale:>16g}{100 * error:>11.1f}")
        print(f"best: --graph.acoustic-scale {search.acoustic_scale:g}")
    read = functools.partial(word_search.transcribe, search)
    result = evaluation.evaluate_reader(read, corpus.test)
    _print(corpus, result)
    if arguments.sclite is not None:
        _write_sclite(arguments.sclite, config, corpus, result.transcripts)
    return 0


def _print(corpus: "Corpus", result: "Evaluation") -> None:
    errors = result.errors
    print(
        f"{corpus.name}: word error rate {100 * errors.rate:.1f}% "
        f"({100 * errors.low:.1f} to {100 * errors.high:.1f}), "
        f"characters {100 * errors.character_error_rate:.1f}%, "
        f"real-time factor {result.real_time_factor:.3g}"
    )


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
        print(f"{report.unread} segments of the reference were not read; their words are missing.")
    print(f"The same by NIST's tools: {report.command}")


def _tune(
    arguments: Arguments, model: "Recognizer", language_models: "FusedModels", corpus: "Corpus"
) -> Arguments:
    """Tries a grid of weights on the development recordings, prints it and takes the best."""
    from ..speech import evaluation, fusion

    def score(columns: list[str], models: "FusedModels | None") -> float:
        found = evaluation.evaluate(
            model, corpus.dev, timed=False, beam=arguments.beam, language_models=models
        )
        row = "".join(f"{column:>16}" for column in columns)
        print(f"{row}{100 * found.errors.rate:>11.1f}", flush=True)
        return found.errors.rate

    def error(**weights: float) -> float:
        tried = dataclasses.replace(arguments, **weights)
        columns = [f"{value:g}" for value in weights.values()]
        return score(columns, tried.weigh(language_models))

    grid = GRID.copy()
    if arguments.source_model is None:
        del grid["source_weight"]
    print("".join(f"{name:>16}" for name in grid) + f"{'dev WER, %':>11}")
    score(["none"] + [""] * (len(grid) - 1), None)
    weights = fusion.tune(error, **grid).weights
    options = [f"--{name.replace('_', '-')} {value:g}" for name, value in weights.items()]
    print(f"best: {' '.join(options)}")
    return dataclasses.replace(arguments, **weights)
