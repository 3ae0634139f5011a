"""What carries the learners of a run: one program for all, a thread for each, or a Ray actor.

The loop of a run, `core.training.fit`, is the same for all; an `Engine` is what it needs.
"""

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ..core import asynchrony, learners, training
from ..core.async_runtime import Runtime, Threads
from ..core.async_training import Steps, gradient_of
from ..core.data_folder import cache_dir
from ..core.ray_runtime import Actors
from . import recipe, training_data
from .corpora.corpus import Corpus
from .perturbation import TokenLogits
from .run_config import SpeechConfig
from .transducer import Transducer

MAX_RESTARTS = 3  # of a learner that failed
PATIENCE = 600.0  # s: a learner that returns compiles while others compute


class Engine(NamedTuple):
    """Arguments of `core.training.fit`; see there."""

    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]]
    state: Any  # before the first step, with `params` [num_learners, ...]
    batches: Iterator[Any]
    read: Callable[[Any], Any]
    place: Callable[[Any], Any]
    totals: Callable[[], Mapping[str, float]]


@contextlib.contextmanager
def open_engine(
    config: SpeechConfig,
    model: Transducer,
    params: Any,
    data: Corpus,
    folder: Path,
    *,
    token_logits: TokenLogits | None = None,
) -> Iterator[Engine]:
    """The engine of a run; at the end of the context its learners stop.

    Args:
        config: the run.
        model: the transducer.
        params: those that all learners start from.
        data: the corpus.
        folder: the run folder, which receives the traces of asynchronous runs.
        token_logits: the language model of scheduled sampling, see `recipe.loss_function`.

    Yields:
        The engine.
    """
    state = initial_state(config, params)
    number, engine = config.learners.number, config.learners.engine
    if engine == "threads" or engine == "ray":
        with _runtime(config, model, data, token_logits) as runtime:
            steps = Steps(runtime, number, folder / "traces")
            yield Engine(steps, state, itertools.count(1), steps.read, _as_it_is, steps.totals)
        return
    place = functools.partial(learners.place, num_learners=number, engine=engine)
    optimizer = recipe.optimizer(config)

    def program(*, initializes: bool = False) -> Callable[..., Any]:
        step = recipe.training_step(
            config, model, optimizer, token_logits=token_logits, initializes=initializes
        )
        return learners.spread(step, number, engine=engine, donate_argnums=0)

    step = program()
    if num_first := config.optimizer.ctc_steps:
        step = training.staged(program(initializes=True), num_first, step)
    batches = training_data.training_batches(config, data)
    yield Engine(step, place(state), batches, _as_it_is, place, dict)


def _as_it_is(x: Any) -> Any:
    return x


def initial_state(config: SpeechConfig, params: Any) -> Any:
    """The state of a run before its first step, and the template of its checkpoints."""
    optimizer = recipe.optimizer(config)
    if config.learners.asynchronous:
        rows = learners.replicate(params, config.learners.number)
        return asynchrony.init_state(rows, optimizer)._replace(snapshots=None)
    return training.init_state(params, optimizer, _key(config), num_learners=config.learners.number)


def _runtime(
    config: SpeechConfig, model: Transducer, data: Corpus, token_logits: TokenLogits | None
) -> Runtime:
    work = (
        gradient_of(
            recipe.learner_loss(
                config, recipe.loss_function(config, model, token_logits=token_logits)
            ),
            num_parts=config.optimizer.microbatches,
        ),
        recipe.optimizer(config),
        _key(config),
        config.learners.build(),
    )
    number = config.learners.number
    options: dict[str, Any] = {
        "num_updates": number * config.optimizer.steps,
        "has_aux": True,
        "max_restarts": MAX_RESTARTS,
        "seed": config.seed,
    }
    if config.learners.engine == "threads":
        return Threads(*work, batches=training_data.learner_batches(config, data), **options)
    return Actors(
        *work,
        batches=training_data.RemoteBatches.of(config),
        patience=PATIENCE,
        num_threads=max(1, (os.cpu_count() or 1) // number),
        environment=_actor_environment(),
        **options,
    )


def _actor_environment() -> dict[str, str]:
    """Where actors find prepared data, and what others have compiled."""
    found = {"JAX_COMPILATION_CACHE_DIR": str(cache_dir() / "compiled")}
    names = ("JAX_COMPILATION_CACHE_DIR", "GOSSAMER_CACHE", "TFDS_DATA_DIR")
    return found | {name: os.environ[name] for name in names if name in os.environ}


def _key(config: SpeechConfig) -> jax.Array:
    return jax.random.key(config.seed + 1)
