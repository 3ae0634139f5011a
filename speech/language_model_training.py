"""Training of a language model of labels on transcripts.

    L = - sum_b sum_u log p(y_u | y_1 .. y_{u-1}) / sum_b |y_b|

A run that samples from one (see `label_noise.scheduled_sampling`) trains it first, on its own
transcripts, in a folder of its own; the loop is that of all training, so that it continues where it
was interrupted and is there at once when it is done.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ..core import learners, training
from ..core.quantized_variables import quantize_variables
from .calibration import clip_metrics
from .corpora.sentences import SentenceBatches, encode
from .language_model import LanguageModel
from .text import Vocabulary

Batch = dict[str, Any]
ROWS = 32  # texts of a batch


def train(
    model: LanguageModel,
    texts: Sequence[str],
    vocabulary: Vocabulary,
    folder: str | Path,
    *,
    num_steps: int,
    peak_learning_rate: float = 1e-2,
    seed: int = 0,
) -> Any:
    """Trains a language model, or continues where the run in the folder stopped.

    Args:
        model: the language model.
        texts: transcripts of the vocabulary's characters.
        vocabulary: numbers them.
        folder: for checkpoints and metrics, of this run alone.
        num_steps: batches of `ROWS` texts.
        peak_learning_rate: of Adam under a one-cycle schedule.
        seed: of parameters, batches and dropout.

    Returns:
        The model's variables.

    Raises:
        ValueError: if there are no texts or a character is unknown.
    """
    if not texts:
        raise ValueError("`texts` must not be empty; the corpus has no such split.")
    schedule = optax.cosine_onecycle_schedule(num_steps, peak_learning_rate)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    params_key, state_key = jax.random.split(jax.random.key(seed))
    params = model.lazy_init(params_key, jax.ShapeDtypeStruct((1, 2), jnp.int32))
    step = training.train_step(loss_function(model), optimizer, axis_name="learner")
    state = training.fit(
        learners.spread(step, 1, donate_argnums=0),
        training.init_state(params, optimizer, state_key, num_learners=1),
        SentenceBatches(encode(texts, vocabulary), ROWS, num_learners=1, seed=seed),
        run_folder=folder,
        num_steps=num_steps,
        checkpoint_every=200,
        log_every=max(1, num_steps // 10),
        schedule=schedule,
    )
    return learners.average(state.params)


def loss_function(model: LanguageModel) -> Callable[..., Any]:
    """``loss(variables, batch, key)``: mean negative log probability of a label.

    Args:
        model: the language model; with a policy its weights are quantized here, once for all steps
            of the recursion, and metrics tell the clips.

    Returns:
        The loss, with ``labels`` and ``label_paddings`` ``[batch, U]`` in its batch.
    """
    apply: Callable[..., Any] = model.apply

    def loss(variables: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        labels = batch["labels"]
        codes = quantize_variables(model.policy, variables)
        logits = apply(codes, labels, deterministic=False, rngs={"dropout": key})[:, :-1]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        valid = batch["label_paddings"] == 0
        mean = jnp.sum(losses, where=valid) / jnp.maximum(jnp.sum(valid), 1)
        return mean, clip_metrics(variables)

    return loss
