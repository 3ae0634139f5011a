"""The main job: train a translator with learners that mix, score it on pairs it has not seen.

A run folder holds everything a run was and gave:

    config.json versions.json seed     what was asked for, under which versions
    vocabulary.json                    pieces of the training text, learned once
    metrics.jsonl, TensorBoard events  training and validation, step by step
    checkpoints/                       the newest states
    translator.safetensors             the averaged model at the end, packed
    result.json                        its scores on the pairs for tests

The model to score is the mean over the learners, of their moving averages if they keep any, after
the last step.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import cattrs
import jax
import jax.numpy as jnp
from rich.console import Console

from ...core import exchange, learners, run_folder, training, whole_file
from ...core.moving_average import averaged_params
from . import batches, byte_pairs, recipe, translator
from .byte_pairs import BytePairs
from .parallel import ParallelText, load_parallel
from .run_config import TranslationConfig
from .transformer import Transformer
from .translator import PACKED, TextScore, TokenScore, Translator

RESULT = "result.json"
VOCABULARY = "vocabulary.json"
VALIDATION = 512  # pairs that validation looks at


class Score(NamedTuple):
    """How good a translator is on pairs it has not seen."""

    tokens: TokenScore
    greedy: TextScore
    beam: TextScore


def train(config: TranslationConfig, folder: str | Path, *, show_progress: bool = True) -> Score:
    """Trains and scores; continues where an interrupted run stopped.

    Args:
        config: the run.
        folder: its run folder, new or of the same configuration.
        show_progress: whether to show progress on standard error.

    Returns:
        The score of the averaged model at the end.

    Raises:
        ValueError: if the folder belongs to another run or the data are bad.
        FloatingPointError: if training diverged.
    """
    config.check()
    run_folder.check_run(folder, cattrs.unstructure(config), seed=config.seed)
    text = load_parallel(config.data.name, config.data.targets)
    folder = run_folder.open_run(folder, cattrs.unstructure(config), seed=config.seed)
    tokenizer = find_vocabulary(config, text, folder)
    model = Transformer(config.network.sizes, len(tokenizer))
    encoded = batches.encode(text.train, tokenizer, config.data.max_length)
    if len(encoded) < len(text.train):
        print(
            f"{len(text.train) - len(encoded)} of {len(text.train)} training pairs have more than "
            f"{config.data.max_length} tokens and are left out; see `--data.max-length`.",
            file=sys.stderr,
        )
    held_out = batches.encode(text.dev[:VALIDATION], tokenizer, config.data.max_length)
    optimizer = recipe.optimizer(config)
    step = exchange.learner_step(
        recipe.loss_function(model, config.optimizer.label_smoothing),
        optimizer,
        config.learners,
        config.compression,
        learning_rate=recipe.schedule(config.optimizer),
        log_every=config.log_every,
        num_parts=config.optimizer.microbatches,
    )
    number, engine = config.learners.number, config.learners.engine
    assert engine != "threads"
    assert engine != "ray"  # `check` refuses both

    def validate(state: training.TrainState) -> dict[str, float]:
        return translator.score_tokens(model, averaged(state), held_out)._asdict()

    state = training.init_state(
        initial_params(model, config.seed),
        optimizer,
        jax.random.key(config.seed + 1),
        num_learners=number,
    )
    start = time.perf_counter()
    final = training.fit(
        learners.spread(step, number, engine=engine, donate_argnums=0),
        learners.place(state, number, engine=engine),
        training_batches(config, encoded),
        run_folder=folder,
        num_steps=config.optimizer.steps,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        validate=validate,
        validate_every=config.validate_every,
        schedule=recipe.schedule(config.optimizer),
        show_progress=show_progress,
    )
    seconds = time.perf_counter() - start
    packed = Translator(model.config, tokenizer, config.data.max_length, averaged(final))
    translator.save(folder / PACKED, packed)
    return score_run(folder, text, beam=config.beam, seconds=seconds)


def training_batches(config: TranslationConfig, encoded: batches.Encoded) -> batches.TokenBatches:
    """The batches of a run, without end, with a resumable position."""
    return batches.TokenBatches(
        encoded,
        config.data.batch_tokens,
        buckets=config.data.buckets,
        multiple=config.learners.number * config.optimizer.microbatches,
        num_learners=config.learners.number,
        seed=config.seed,
    )


def initial_params(model: Transformer, seed: int) -> Any:
    """Parameters before training."""
    ids = jnp.ones((1, 2), jnp.int32)
    return jax.jit(lambda key: model.init(key, ids, ids)["params"])(jax.random.key(seed))


def averaged(state: training.TrainState) -> Any:
    """The parameters to evaluate: means over the learners."""
    # By way of the host: a mean over devices, array by array, can starve the threads of a CPU.
    return learners.average(jax.device_get(averaged_params(state.opt_state, state.params)))


def find_vocabulary(config: TranslationConfig, text: ParallelText, folder: Path) -> BytePairs:
    """The pieces of a run's texts: learned from the training pairs once, then read."""
    path = folder / VOCABULARY
    if not path.exists():
        texts = (side for pair in text.train for side in pair)
        learned = byte_pairs.learn(texts, config.data.vocabulary)
        content = {"characters": learned.characters, "merges": learned.merges}
        whole_file.write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
    found = json.loads(path.read_text(encoding="utf-8"))
    return BytePairs(found["characters"], found["merges"])


def score_run(
    folder: str | Path,
    text: ParallelText | None = None,
    *,
    beam: int = 4,
    seconds: float | None = None,
) -> Score:
    """Scores the packed translator of a run, prints the result and writes `result.json`.

    Args:
        folder: the run folder.
        text: its parallel text; found by the run's configuration if None.
        beam: hypotheses of the search that stands beside greedy decoding.
        seconds: how long training took, where known.

    Returns:
        The score.

    Raises:
        ValueError: if the folder holds no packed translator.
    """
    folder = Path(folder)
    if not (folder / PACKED).exists():
        raise ValueError(
            f"{folder}: no {PACKED} there; `gossamer train translation --run {folder}` writes it "
            "when the run ends."
        )
    model = translator.load(folder / PACKED)
    if text is None:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = load_parallel(described["data"]["name"], described["data"]["targets"])
    pairs = [
        pair for pair in text.test if len(model.tokenizer.encode(pair.source)) <= model.max_length
    ]
    tokens = translator.score_tokens(model.model, model.params, translator.encode_for(model, pairs))
    greedy, searched = (translator.score_texts(model, pairs, beam=size) for size in (1, beam))
    result = folder / RESULT
    if seconds is None and result.exists():
        seconds = json.loads(result.read_text(encoding="utf-8")).get("training_seconds")
    found = {
        "data": text.name,
        "pairs": len(pairs),
        "left_out": len(text.test) - len(pairs),
        **tokens._asdict(),
        "greedy": greedy._asdict(),
        "beam": {"size": beam} | searched._asdict(),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(model.params)),
        "bytes": (folder / PACKED).stat().st_size,
        "training_seconds": seconds,
    }
    whole_file.write_text(result, json.dumps(found, indent=2) + "\n")
    Console().print(
        f"{text.name}, {len(pairs)} pairs: exact {100 * greedy.exact_match:.1f}% and BLEU "
        f"{greedy.bleu:.1f} greedily, exact {100 * searched.exact_match:.1f}% and BLEU "
        f"{searched.bleu:.1f} by a beam of {beam}; perplexity {tokens.perplexity:.3f}",
        highlight=False,
        soft_wrap=True,
    )
    return Score(tokens, greedy, searched)
