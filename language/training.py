"""The job of training a classifier of texts, in a run folder of its own.

The loop is that of `core.training`.  Some tokens of each batch are masked at random, so that the
model knows [MASK] before an explanation hides spans behind it.  After the last step training goes
on for a little at a small learning rate, and gives the variants near the final parameters that
TracInF and TracIn++ ask for.
"""

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..core import progress, run_folder, training, whole_file
from ..core.attribution import Blocks, continued_variants, gradient_norms
from . import classifier, data, pretrained, tokens
from .classifier import TrainedClassifier
from .encoder_config import MINILM
from .losses import Nll, nll
from .models import Classifier
from .padding import TEXTS
from .run_config import LanguageRun

Batch = dict[str, Any]


class Result(NamedTuple):
    """How good a classifier is."""

    accuracy: float  # on the test texts
    majority: float  # share of the largest class among them


def train(config: LanguageRun) -> Result:
    """Trains, or continues an interrupted run, and packs the final model with its variants.

    Args:
        config: the run.

    Returns:
        Accuracy on the test texts, or on dev where there are none.

    Raises:
        ValueError: if an option is out of range, the corpus cannot be read or the folder belongs to
            another run.
        FloatingPointError: if training diverged.
    """
    config.check()
    described = cattrs.unstructure(dataclasses.replace(config, run=None))
    run_folder.check_run(config.folder, described, seed=config.seed)
    corpus = data.load_corpus(config.corpus)
    folder = run_folder.open_run(config.folder, described, seed=config.seed)
    start = initial_classifier(config, corpus)
    examples = data.as_arrays(corpus.train, start.tokenizer)
    held_out = data.as_arrays(corpus.dev or corpus.train, start.tokenizer)

    def validate(state: training.TrainState) -> dict[str, float]:
        logits = classifier.predict_ids(start.model, state.params, held_out["ids"])
        return {"accuracy": float(np.mean(logits.argmax(1) == held_out["label"]))}

    schedule = optax.cosine_onecycle_schedule(config.steps, config.peak_learning_rate)
    step, state = make_step(config, start, schedule)
    final = training.fit(
        step,
        state,
        draw_batches(examples, config.batch_size, seed=config.seed),
        run_folder=folder,
        num_steps=config.steps,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        validate=validate,
        validate_every=config.validate_every,
        schedule=schedule,
    )
    with progress.Amount(len(corpus.train), "lengths of gradients") as amount:
        blocks = Blocks(
            config.batch_size, report=lambda done, of: amount.report(done), padding=TEXTS
        )
        norms = gradient_norms(Nll(start.model), final.params, examples, blocks=blocks)
    trained = start._replace(
        params=final.params,
        variants=make_variants(config, start, final, examples),
        gradient_norms=norms,
    )
    classifier.save(folder / classifier.PACKED, trained)
    result = measure(trained, corpus.test or corpus.dev)
    whole_file.write_text(folder / "result.json", json.dumps(result._asdict(), indent=2) + "\n")
    return result


def initial_classifier(config: LanguageRun, corpus: data.Corpus) -> TrainedClassifier:
    """The classifier before training; its variants are the parameters themselves."""
    if config.encoder == "minilm":
        source = pretrained.load_minilm()
        sizes = dataclasses.replace(MINILM, dropout=config.model.dropout)
        tokenizer = tokens.Tokenizer(source.tokenizer.vocabulary, config.max_length)
    else:
        source = None
        sizes = dataclasses.replace(config.model, max_length=config.max_length)
        words = tokens.count_vocabulary(
            (each.text for each in corpus.train), size=config.vocabulary
        )
        tokenizer = tokens.Tokenizer(words, config.max_length)
    model = Classifier(sizes, len(tokenizer.vocabulary), len(corpus.classes))
    init: Callable[..., Any] = jax.jit(model.init)
    params = init(jax.random.key(config.seed), jnp.ones((1, config.max_length), jnp.int32))[
        "params"
    ]
    if source is not None:
        params = params | {"encoder": source.params}
    norms = np.ones(len(corpus.train), np.float32)
    return TrainedClassifier(
        sizes,
        corpus.classes,
        tokenizer,
        params,
        variants=[params],
        gradient_norms=norms,
        corpus=_find(config.corpus),
    )


def make_step(
    config: LanguageRun, start: TrainedClassifier, schedule: optax.Schedule
) -> tuple[Callable[[Any, Batch], tuple[Any, Any]], training.TrainState]:
    """The jitted training step and the state before it."""
    loss = loss_function(start.model, config.masked, start.tokenizer.mask_id)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(schedule, b2=0.98, weight_decay=config.weight_decay),
    )
    state = training.init_state(start.params, optimizer, jax.random.key(config.seed + 1))
    return jax.jit(training.train_step(loss, optimizer)), state


def loss_function(model: Classifier, masked: float, mask_id: int) -> Callable[..., Any]:
    """``loss(params, batch, key)``: mean -log p of the labels, with tokens masked at random."""

    def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        mask_key, dropout_key = jax.random.split(key)
        ids = batch["ids"]
        # Special tokens, which stand before [MASK] in every vocabulary here, stay.
        chosen = jax.random.bernoulli(mask_key, masked, ids.shape) & (ids > mask_id)
        logits = model.apply(
            {"params": params},
            jnp.where(chosen, mask_id, ids),
            deterministic=False,
            rngs={"dropout": dropout_key},
        )
        logits = jnp.asarray(logits)
        correct = jnp.mean(logits.argmax(-1) == batch["label"])
        return jnp.mean(jax.vmap(nll)(logits, batch)), {"accuracy": correct}

    return loss


def make_variants(
    config: LanguageRun, start: TrainedClassifier, final: training.TrainState, examples: Batch
) -> list[Any]:
    """Parameters near the final ones, by training on at a small learning rate."""
    schedule = optax.constant_schedule(config.peak_learning_rate / 50)
    step, state = make_step(config, start, schedule)
    # The optimizer's moments go on as well: new ones would take large first steps.
    state = state._replace(params=final.params, opt_state=final.opt_state, step=final.step)
    batches = draw_batches(examples, config.batch_size, seed=config.seed + 1)
    return continued_variants(
        step, state, batches, number=config.variants, spacing=config.variant_spacing
    )


def draw_batches(examples: Batch, batch_size: int, *, seed: int) -> Iterator[Batch]:
    """Batches without end: each pass takes the examples in another order."""
    number = len(examples["label"])
    size = min(batch_size, number)
    generator = np.random.default_rng(seed)
    for _ in itertools.count():
        order = generator.permutation(number)
        for start in range(0, number - size + 1, size):
            rows = order[start : start + size]
            yield {name: leaf[rows] for name, leaf in examples.items()}


def measure(trained: TrainedClassifier, texts: list[data.Text]) -> Result:
    """Accuracy on texts."""
    labels = np.array([each.label for each in texts])
    found = classifier.predict(trained, [each.text for each in texts]).argmax(1)
    return Result(float(np.mean(found == labels)), float(np.bincount(labels).max() / len(labels)))


def _find(corpus: str) -> str:
    """The corpus by a name that holds in every folder."""
    return corpus if corpus in data.CORPORA else str(Path(corpus).resolve())
