"""The options of searching, which several commands share."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..speech.fusion import FusedModels
    from ..speech.hybrids.word_search import WordSearch
    from ..speech.recognizer import Recognizer
    from ..speech.text import Vocabulary


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How recordings are read."""

    beam: int = 1
    """Hypotheses that the beam search keeps; 1 takes the most likely symbol at every step. 4 to 16
    are usual; reading takes longer with more."""
    language_model: Path | None = None
    """Add a language model to the search (shallow fusion): a run folder of `gossamer train
    language-model`, or its packed file."""
    language_weight: float = 0.3
    """What its log probability counts."""
    source_model: Path | None = None
    """Subtract a language model of the recognizer's training transcripts (density ratio); needs
    `--language-model`."""
    source_weight: float = 0.2
    """What its log probability counts."""
    length_reward: float = 0.0
    """Added for each letter, since language models prefer short texts."""
    combine: tuple[str, ...] = ()
    """Recognizers that read together with this one, by the mean of their log probabilities: run
    folders, packed files or names, over the same letters."""

    def check(self) -> None:
        """Refuses options that make no sense together.

        Raises:
            ValueError: if there are such.
        """
        if self.beam < 1:
            raise ValueError(f"`--beam` must be at least 1, got {self.beam}; 1 is greedy search.")
        if self.source_model is not None and self.language_model is None:
            raise ValueError("`--source-model` needs `--language-model`, which takes its place.")
        if self.language_model is not None and self.beam == 1:
            raise ValueError("`--language-model` needs a beam search; add `--beam 8`.")
        for name in ("language_weight", "source_weight"):
            if getattr(self, name) < 0:
                raise ValueError(
                    f"`--{name.replace('_', '-')}` must be at least 0, got {getattr(self, name)}."
                )

    def load_models(self, vocabulary: "Vocabulary") -> "FusedModels | None":
        """Reads the language models, for a recognizer of this vocabulary.

        Raises:
            ValueError: if one cannot be read or has other labels.
        """
        from ..speech import language_model_run
        from ..speech.fusion import FusedModels

        paths = [path for path in (self.language_model, self.source_model) if path is not None]
        if not paths:
            return None
        found = [language_model_run.load(path) for path in paths]
        for path, trained in zip(paths, found, strict=True):
            if trained.vocabulary != vocabulary:
                raise ValueError(
                    f"{path}: a language model of other labels than the recognizer's; train it "
                    "with `--labels-of` that recognizer."
                )
        models = tuple(trained.model for trained in found)
        params = tuple(trained.params for trained in found)
        return self.weigh(FusedModels(models, params, weights=()))

    def join_partners(self, model: "Recognizer") -> "Recognizer":
        """The recognizer, reading together with those of `combine`.

        Raises:
            ValueError: if there is no such recognizer, or they do not fit together.
        """
        if not self.combine:
            return model
        from ..speech import experiment, recognizer

        return recognizer.combine([model, *map(experiment.find_recognizer, self.combine)])

    def weigh(self, language_models: "FusedModels") -> "FusedModels":
        """The same models, counting as these options say."""
        weights = (self.language_weight, -self.source_weight)[: len(language_models.models)]
        return dataclasses.replace(
            language_models, weights=weights, length_reward=self.length_reward
        )

    def describe(self) -> str | None:
        """The search in words; None for greedy search by one recognizer."""
        words = [] if self.beam == 1 else [f"beam of {self.beam}"]
        if self.combine:
            words.append(f"together with {', '.join(self.combine)}")
        if self.language_model is not None:
            words.append(f"language model {self.language_weight:g}")
        if self.source_model is not None:
            words.append(f"source model -{self.source_weight:g}")
        if self.language_model is not None:
            words.append(f"{self.length_reward:g} a letter")
        return ", ".join(words) or None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """How a hybrid recognizer's words are searched."""

    arpa: Path | None = None
    """Language model of words, see `gossamer train ngram`; by default the run's own, of its
    training transcripts."""
    acoustic_scale: float | None = None
    """Weight of the acoustic log-likelihoods against the language model's; 0.2 by default."""
    beam: float | None = None
    """How much worse than the best a path may be, in nats; 14 by default."""

    def open_run(self, folder: Path) -> "WordSearch":
        """The search of a finished run.

        Raises:
            ValueError: if there is none, or an option is out of range.
        """
        from ..speech.hybrids import word_search

        found = word_search.open_run(folder, language_model=self.arpa)
        options = {"acoustic_scale": self.acoustic_scale, "beam": self.beam}
        given = {name: value for name, value in options.items() if value is not None}
        return dataclasses.replace(found, **given)


def check_transducer(graph: GraphOptions, name: str) -> None:
    """Refuses the options of a hybrid's search.

    Raises:
        ValueError: if there are such.
    """
    if graph != GraphOptions():
        raise ValueError(f"{name} is a transducer, which has no graph; leave out `--graph.*`.")


def check_hybrid(options: SearchOptions, name: str) -> None:
    """Refuses the options of a transducer's search.

    Raises:
        ValueError: if there are such.
    """
    if options.beam > 1 or options.language_model is not None or options.combine:
        raise ValueError(
            f"{name} is a hybrid, whose words are searched in a graph: use `--graph.beam` and "
            "`--graph.arpa`."
        )
