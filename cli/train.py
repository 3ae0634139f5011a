"""``gossamer train FIELD PRESET``: train a model, resumably, into one run folder."""

import dataclasses
import shlex
import sys
from pathlib import Path

import tyro

from ..speech.configs import CONFIGS
from ..speech.run_config import SpeechConfig
from . import train_ngram, train_vision

USAGE = """usage: gossamer train FIELD ...

fields:
  speech            an LSTM transducer on telephone prompts or on your own recordings
  language-model    an LSTM language model of a recognizer's labels, on its transcripts or any text
  hybrid            a bidirectional LSTM of tied phone states, from a flat start
  language          a classifier of texts, whose predictions `gossamer explain` explains
  vision            a convolutional network on bundled images, by name, or on your own
  ngram             an n-gram language model of words, which is counted rather than trained

examples:
  gossamer train speech demo
  gossamer train language-model --run runs/source
  gossamer train vision --model resnet18
  gossamer train language-model --help"""

DESCRIPTION = """Train a speech recognizer with gossiping learners, then score and report it.
The same command continues an interrupted run.

examples:
  gossamer train speech demo
  gossamer train speech small --run runs/mine --optimizer.peak-learning-rate 1e-3
  gossamer train speech small --data.corpus my/manifest.tsv --learners.number 8"""

LANGUAGE_MODEL = """Train a language model of the labels of a recognizer, with which `speech.fusion`
scores hypotheses in beam search. The same command continues an interrupted run.

examples:
  gossamer train language-model --run runs/source
  gossamer train language-model --text my/sentences.txt prompts --run runs/external
  gossamer train language-model --run runs/source4 --from runs/source --quantize int4_paper \\
      --optimizer.steps 200 --optimizer.peak-learning-rate 1e-3     at 4 bits"""


LANGUAGE = """Train a classifier of texts, which `gossamer explain` explains by its training texts.
The same command continues an interrupted run.

examples:
  gossamer train language --run runs/sentiment
  gossamer train language --corpus my/texts.tsv --run runs/mine
  gossamer train language --encoder minilm --steps 300 --batch-size 16 \\
      --peak-learning-rate 1e-4 --run runs/minilm     from the pretrained encoder"""


HYBRID = """Train the acoustic model of a hybrid recognizer: phones from a lexicon, states aligned
from a flat start, tied by trees. The same command continues an interrupted run.

examples:
  gossamer train hybrid --run runs/hybrid
  gossamer train hybrid --run runs/hybrid4 --from runs/hybrid --quantize int4_paper \\
      --optimizer.steps 300 --optimizer.peak-learning-rate 1e-3     at 4 bits
  gossamer train hybrid --lexicon graphemic --data.corpus my/manifest.tsv --pdfs 800
  gossamer train hybrid paper --data.corpus swb300/manifest.tsv    6 layers of 512 cells"""


@dataclasses.dataclass(frozen=True)
class Arguments(SpeechConfig):
    """A speech training run and where it goes."""

    run: Path | None = None
    """Run folder; `runs/PRESET` by default."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if words[0] == "language-model":
        return _train_language_model(words[1:])
    if words[0] == "vision":
        return train_vision.main(words[1:])
    if words[0] == "hybrid":
        return _train_hybrid(words[1:])
    if words[0] == "language":
        return _train_language(words[1:])
    if words[0] == "ngram":
        return train_ngram.main(words[1:])
    if words[0] != "speech":
        raise ValueError(
            f"no field {words[0]!r} to train; choose from speech, language-model, hybrid, "
            "language, vision, ngram."
        )
    presets = {
        name: (preset.description, Arguments(**_fields(preset.config)))
        for name, preset in CONFIGS.items()
    }
    chosen = tyro.extras.overridable_config_cli(
        presets, prog="gossamer train speech", description=DESCRIPTION, args=words[1:]
    )
    config = SpeechConfig(**{name: getattr(chosen, name) for name in _fields(SpeechConfig())})
    folder = chosen.run or Path("runs") / words[1]
    from ..speech import experiment  # after parsing, so that help and mistakes answer at once

    experiment.train(config, folder, command=shlex.join(["gossamer", "train", *words]))
    print(f"Packed model: {folder / experiment.PACKED}", file=sys.stderr)
    return 0


def _train_language_model(words: list[str]) -> int:
    from ..speech import language_model_run

    config = tyro.cli(
        language_model_run.LanguageModelRun,
        prog="gossamer train language-model",
        description=LANGUAGE_MODEL,
        args=words,
    )
    found = language_model_run.train(config)
    print(f"Held-out perplexity: {found.label:.2f} for a label, {found.word:.0f} for a word")
    return 0


def _train_hybrid(words: list[str]) -> int:
    from ..speech import hybrid_config, hybrid_folder, hybrid_run

    default = hybrid_config.RUNS["small"]
    if words and words[0] in hybrid_config.RUNS:
        default, words = hybrid_config.RUNS[words[0]], words[1:]
    config = tyro.cli(
        hybrid_config.HybridRun,
        default=default,
        prog="gossamer train hybrid",
        description=HYBRID,
        args=words,
    )
    hybrid_run.train(config)
    folder = config.run or Path("runs/hybrid")
    print(f"Packed model: {folder / hybrid_folder.PACKED}", file=sys.stderr)
    return 0


def _train_language(words: list[str]) -> int:
    from ..language import classifier, training

    config = tyro.cli(
        training.LanguageRun, prog="gossamer train language", description=LANGUAGE, args=words
    )
    found = training.train(config)
    print(f"Test accuracy: {found.accuracy:.1%} (the largest class alone: {found.majority:.1%})")
    print(f"Packed model: {config.folder / classifier.PACKED}", file=sys.stderr)
    return 0


def _fields(config: SpeechConfig) -> dict:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
