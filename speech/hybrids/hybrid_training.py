"""Training of an acoustic model on targets of its frames.

    L = - sum_t log p(s_t | x) / T,    over the frames that have a target,

of whole recordings, or of parts that are read as if they were whole, which lets a batch have many
more rows (21 frames in arXiv:2110.11199).  Training that goes on from such a network may mix in
lattice-free MMI, see `sequence_loss`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ...core import learners, training
from ...core.quantized_variables import quantize_variables
from .. import recipe
from ..calibration import clip_metrics
from ..corpora.corpus import Utterances
from ..perturbation import augmented_features
from .acoustic_model import AcousticModel, unroll
from .frame_batches import NO_TARGET, FrameBatches
from .hybrid_config import HybridRun
from .hybrid_targets import Targets
from .phone_graph import PhoneGraph
from .sequence_loss import mmi_loss


class Rivals(NamedTuple):
    """What MMI sets the alignment against."""

    graph: PhoneGraph
    log_priors: np.ndarray  # [pdfs]


def fit(
    config: HybridRun,
    model: AcousticModel,
    variables: Any,
    utterances: Utterances,
    targets: Targets,
    folder: Path,
    *,
    num_steps: int,
    stage: int = 0,
    rivals: Rivals | None = None,
) -> Any:
    """Trains, or continues what was interrupted.

    Args:
        config: the run.
        model: the network.
        variables: "params" that all learners start from, and "clips" where it has a policy.
        utterances: the recordings.
        targets: of their frames.
        folder: for checkpoints and metrics.
        num_steps: steps of the one-cycle schedule.
        stage: has random numbers of its own.
        rivals: for `config.mmi`.

    Returns:
        The variables, averaged over the learners, in float.

    Raises:
        FloatingPointError: if training diverged.
    """
    number, engine = config.learners.number, config.learners.engine
    assert engine != "threads"
    assert engine != "ray"  # as `HybridRun.check` has made sure
    options = dataclasses.replace(
        config, optimizer=dataclasses.replace(config.optimizer, steps=num_steps)
    )
    optimizer = recipe.optimizer(options.speech)
    loss = loss_function(options, model, rivals)
    step = recipe.learner_step(options.speech, loss, optimizer)
    key = jax.random.key(config.seed + 1 + stage)
    start = training.init_state(variables, optimizer, key, num_learners=number)
    state = training.fit(
        learners.spread(step, number, engine=engine, donate_argnums=0),
        learners.place(start, number, engine=engine),
        training_batches(config, utterances, targets, seed=config.seed + stage),
        run_folder=folder,
        num_steps=num_steps,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        schedule=recipe.schedule(options.optimizer),
        keep=1,
    )
    return learners.average(state.params)


def training_batches(
    config: HybridRun, utterances: Utterances, targets: Targets, *, seed: int
) -> FrameBatches:
    """The batches of a run, without end; see `fit`."""
    return FrameBatches(
        utterances,
        targets,
        sample_rate=config.data.sample_rate,
        buckets=config.data.buckets,
        num_learners=config.learners.number,
        seed=seed,
        speed=config.data.speed,
    )


def loss_function(
    config: HybridRun, model: AcousticModel, rivals: Rivals | None = None
) -> Callable[..., Any]:
    """``loss(variables, batch, key)``: mean cross-entropy of the frames that have a target.

    Args:
        config: the run.
        model: the network; with a policy its weights are quantized here, once for all steps of the
            recursion, and metrics tell the clips.
        rivals: for `config.mmi`.

    Returns:
        The loss, with a batch as `frame_batches` describes, without the axis of learners.
    """
    apply: Callable[..., Any] = model.apply
    speech = config.speech

    def loss(variables: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        feature_key, dropout_key = jax.random.split(key)
        inputs, paddings = augmented_features(speech, batch, feature_key)
        targets = batch["targets"][:, : inputs.shape[1]]
        if config.unroll:
            targets = unroll(targets + 1, config.unroll) - 1  # filled with no target
            paddings = 1 - unroll(1 - paddings, config.unroll)
            inputs = unroll(inputs, config.unroll)
        options = {"deterministic": False, "rngs": {"dropout": dropout_key}}
        codes = quantize_variables(model.policy, variables)
        logits = apply(codes, inputs, paddings, **options)
        valid = (targets != NO_TARGET) & (paddings == 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(targets, 0))
        number = jnp.maximum(jnp.sum(valid), 1)
        wrong = jnp.sum((jnp.argmax(logits, axis=-1) != targets) & valid) / number
        metrics = {"frame_error": wrong} | clip_metrics(variables)
        entropy = jnp.sum(losses, where=valid) / number
        if not config.mmi:
            return entropy, metrics
        assert rivals is not None
        likelihoods = logits - jnp.expand_dims(rivals.log_priors, (0, 1))
        targets = jnp.where(valid, targets, NO_TARGET)
        mmi = mmi_loss(rivals.graph, likelihoods, targets, scale=config.mmi_scale)
        metrics |= {"cross_entropy": entropy, "mmi": mmi}
        return (1 - config.mmi) * entropy + config.mmi * mmi, metrics

    return loss
