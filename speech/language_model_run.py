"""The job of training a language model of labels, in a run folder of its own.

The loop is that of `core.training`, and so are its checkpoints. A language model scores the
hypotheses of a recognizer, so it has that recognizer's labels. (A run of a recognizer that samples
from a language model trains its own, see `language_model_training`.)

With a policy the model trains under fake quantization, from the parameters of a float one or from
scratch, after a calibration of its clips on training sentences; the packed file then holds codes
and clips. Without a step it is only calibrated.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core import checkpoint, learners, packing, run_folder, training, whole_file
from ..core.quantized_variables import deploy_variables
from . import experiment, recipe, warm_start
from .calibration import calibrate, draw_variables
from .corpora import sentences
from .language_model import LanguageModel
from .language_model_config import LanguageModelConfig
from .language_model_run_config import LanguageModelRun
from .language_model_training import loss_function
from .names import PolicyName
from .policies import named_policy
from .run_config import SpeechConfig
from .text import Vocabulary

PACKED = "language_model.safetensors"
FORMATS = ("gossamer-language-model-1", "gossamer-language-model-2")  # those that `load` reads


class TrainedLanguageModel(NamedTuple):
    """A language model with its labels."""

    config: LanguageModelConfig
    vocabulary: Vocabulary
    params: Any  # the variables of `model`: float32, or codes and clips if quantized
    quantize: PolicyName | None = None  # name of the policy that the codes are by

    @property
    def model(self) -> LanguageModel:
        """The network that ``params`` belong to."""
        policy = named_policy(self.quantize)
        return LanguageModel(self.config, len(self.vocabulary), policy)


class Perplexity(NamedTuple):
    """How well sentences are predicted; 1 is perfectly."""

    label: float
    word: float  # labels of words and the spaces between them, for each word


def train(config: LanguageModelRun) -> Perplexity:
    """Trains, or continues an interrupted run, and packs the best model.

    Args:
        config: the run.

    Returns:
        Perplexity of the best model on the held-out sentences.

    Raises:
        ValueError: if the text cannot be read, the folder belongs to another run, or the model to
            start from holds codes or has other sizes or labels.
        FloatingPointError: if training diverged.
    """
    config.check()
    folder = config.run or Path("runs/language-model")
    described = cattrs.unstructure(dataclasses.replace(config, run=None))
    run_folder.check_run(folder, described, seed=config.seed)
    vocabulary = experiment.find_recognizer(config.labels_of).vocabulary
    text = sentences.read_sentences(config.text, language=config.language)
    encoded = sentences.encode(text.train, vocabulary)
    held_out = sentences.encode(text.dev, vocabulary)
    model = LanguageModel(config.model, len(vocabulary), named_policy(config.quantize))
    shape = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    variables = draw_variables(model, jax.random.key(config.seed), shape)
    if not checkpoint.steps(folder / "checkpoints"):  # else the run goes on from its own
        variables = _starting_variables(config, model, vocabulary, variables, encoded)
    folder = run_folder.open_run(folder, described, seed=config.seed)

    def trained(variables: Any) -> TrainedLanguageModel:
        deployed = deploy_variables(model.policy, variables)
        return TrainedLanguageModel(config.model, vocabulary, deployed, config.quantize)

    def validate(variables: Any) -> dict[str, float]:
        found = measure_perplexity(trained(variables), held_out)
        return {"perplexity": found.label, "word_perplexity": found.word}

    if config.optimizer.steps:
        variables = _fit(config, model, variables, encoded, folder, validate)
    save(folder / PACKED, trained(variables))
    result = measure_perplexity(load(folder / PACKED), held_out)
    facts = {
        "perplexity": result.label,
        "word_perplexity": result.word,
        "sentences": len(text.train),
        "held_out": len(text.dev),
    }
    whole_file.write_text(folder / "result.json", json.dumps(facts, indent=2) + "\n")
    return result


def _starting_variables(
    config: LanguageModelRun,
    model: LanguageModel,
    vocabulary: Vocabulary,
    drawn: dict[str, Any],
    encoded: list[np.ndarray],
) -> dict[str, Any]:
    """What learners start from: drawn or those of `config.start_from`, with calibrated clips."""
    params = drawn["params"]
    if config.start_from is not None:
        source = load(config.start_from)
        params = warm_start.fit_parameters(config.start_from, source, vocabulary, params)
    if model.policy is None:
        return {"params": params}
    clips = calibrate(model, params, _batches(config, encoded), lambda batch: (batch["labels"],))
    return {"params": params, "clips": clips}


def _fit(
    config: LanguageModelRun,
    model: LanguageModel,
    variables: dict[str, Any],
    encoded: list[np.ndarray],
    folder: Path,
    validate: Callable[[Any], dict[str, float]],
) -> dict[str, Any]:
    """Trains, or continues, and gives the best variables, averaged over the learners, in float."""
    number, engine = config.learners.number, config.learners.engine
    assert engine not in ("threads", "ray")  # as `check` promises
    # The optimizer of a recognizer serves, see `recipe.optimizer`.
    options = dataclasses.replace(
        SpeechConfig(), optimizer=config.optimizer, learners=config.learners
    )
    optimizer = recipe.optimizer(options)
    step = training.train_step(loss_function(model), optimizer, axis_name="learner")
    key = jax.random.key(config.seed + 1)
    start = training.init_state(variables, optimizer, key, num_learners=number)
    final = training.fit(
        learners.spread(step, number, engine=engine, donate_argnums=0),
        learners.place(start, number, engine=engine),
        _batches(config, encoded),
        run_folder=folder,
        num_steps=config.optimizer.steps,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        validate=lambda state: validate(learners.average(state.params)),
        validate_every=config.validate_every,
        best_metric="perplexity",
        schedule=recipe.schedule(config.optimizer),
    )
    found = checkpoint.restore(folder / "best", final)
    return learners.average((final if found is None else found[1]).params)


def _batches(config: LanguageModelRun, encoded: list[np.ndarray]) -> sentences.SentenceBatches:
    return sentences.SentenceBatches(
        encoded, config.batch_size, num_learners=config.learners.number, seed=config.seed
    )


def measure_perplexity(trained: TrainedLanguageModel, encoded: list[np.ndarray]) -> Perplexity:
    """Perplexity of sentences, by label and by word.

    Args:
        trained: the model.
        encoded: labels of the sentences.

    Returns:
        exp(nats / labels) and exp(nats / words).
    """
    total, num_labels, num_words = 0.0, 0, 0
    ordered = sorted(encoded, key=len)
    for start in range(0, len(ordered), 64):
        rows = ordered[start : start + 64]
        batch = sentences.pad(rows + [np.zeros(0, np.int32)] * (64 - len(rows)))
        total += float(_score(trained.model, trained.params, batch))
        num_labels += sum(map(len, rows))
        num_words += sum(trained.vocabulary.decode(row).count(" ") + 1 for row in rows)
    return Perplexity(math.exp(total / num_labels), _exp(total / num_words))


def save(path: str | os.PathLike, trained: TrainedLanguageModel) -> None:
    """Packs a language model into one file, atomically, in half precision or as codes."""
    header = {
        "format": FORMATS[-1],
        "config": json.dumps(cattrs.unstructure(trained.config)),
        "quantize": json.dumps(trained.quantize),
        "vocabulary": json.dumps(trained.vocabulary.characters, ensure_ascii=False),
    }
    packing.write(path, trained.params, header)


def load(path: str | os.PathLike) -> TrainedLanguageModel:
    """Unpacks a language model.

    Args:
        path: the file, or the folder of its run.

    Raises:
        ValueError: if there is none.
    """
    path = Path(path)
    path = path / PACKED if path.is_dir() else path

    def build(header: dict[str, str], params: dict[str, Any]) -> TrainedLanguageModel:
        return TrainedLanguageModel(
            cattrs.structure(json.loads(header["config"]), LanguageModelConfig),
            Vocabulary(tuple(json.loads(header["vocabulary"]))),
            params,
            json.loads(header.get("quantize", "null")),
        )

    remedy = "train it by `gossamer train language-model`"
    return packing.read(path, FORMATS, "language model", remedy, build)


@jax.jit(static_argnums=0)
def _score(model: LanguageModel, params: Any, batch: dict[str, jax.Array]) -> jax.Array:
    """-log P of all labels of a batch."""
    apply: Callable[..., Any] = model.apply
    logits = apply(params, batch["labels"])[:, :-1]
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch["labels"])
    return jnp.sum(nats * (1 - batch["label_paddings"]))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
