"""What a speech training run is made of: its configuration, loss and optimizer.

The loss of one learner's batch is, per label,

    L = sum_b [ -log P(y_b | x_b) + ctc_weight * CTC(y_b | x_b) ] / sum_b |y_b|

where the auxiliary frame-wise term brings the encoder to life on small corpora (the usual
alternative is to initialize it from a trained CTC model).  Features are computed inside the jitted
step from waveforms, masked by SpecAugment, and only then differentiated and stacked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax
import tyro

from ..core import (
    async_training,
    gossip,
    landscape,
    quantization,
    topology,
    training,
    weight_noise,
)
from ..core.paths import named_leaves
from ..core.ray_learner import import_ray
from ..core.topology import Topology
from . import features
from .augmentation import spec_augment
from .calibration import WEIGHTS
from .policies import PolicyName, quantize_variables
from .transducer import PRESETS, Transducer, TransducerConfig
from .transducer_loss import joint_transducer_loss

Batch = dict[str, jax.Array]
TopologyName = Literal[
    "ring",
    "complete",
    "star",
    "hypercube",
    "exponential",
    "one_peer_exponential",
    "random_ring",
    "random_matching",
    "base_graph",
]
NUM_FEATURES = 240  # 40 filters, their deltas and delta-deltas, two frames stacked
INFEASIBLE = 1e4  # optax.ctc_loss returns about 1e5 where the labels do not fit into the frames


@dataclass(frozen=True)
class DataConfig:
    """Which recordings, in which batches."""

    corpus: str = "prompts"
    """`prompts` (bundled telephone prompts) or the path of a manifest (TSV or JSON Lines)."""
    language: str = "en"
    """`en` spells digits and keeps a-z; any other code keeps all letters (manifests only)."""
    on_error: Literal["raise", "skip"] = "raise"
    """Refuse a manifest with an unusable line, or leave such lines out with a warning."""
    sample_rate: int = 8000
    """Samples per second; other recordings are resampled."""
    buckets: tuple[tuple[float, int], ...] = ((2.0, 32), (4.0, 16), (6.0, 12), (9.0, 8))
    """Longest recording in seconds and recordings per batch (over all learners), per bucket."""
    speed: tuple[float, float] = (0.85, 1.15)
    """Range of the speed perturbation; (1, 1) turns it off."""
    join_probability: float = 0.2
    """Probability of joining a recording with others to a longer one."""
    spliced: float = 1.0
    """Sentences spliced from aligned words, per recording; needs a corpus with word times."""


@dataclass(frozen=True)
class AugmentationConfig:
    """SpecAugment on the normalized log-mel features of a recording."""

    num_time_masks: int = 4
    """Masks along time per recording."""
    max_time_width: int = 20
    """Longest time mask in frames of 10 ms."""
    max_time_fraction: float = 0.1
    """Longest time mask as a fraction of the recording."""
    num_frequency_masks: int = 2
    """Masks along frequency per recording."""
    max_frequency_width: int = 10
    """Widest frequency mask in mel filters."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW under a one-cycle schedule, gradients clipped by their global norm."""

    steps: int = 2600
    """Training steps, of one update of each learner."""
    peak_learning_rate: float = 5e-3
    """Highest learning rate, reached after `warmup` of the steps."""
    warmup: float = 0.15
    """Fraction of the steps spent rising to the peak."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of the matrices."""
    clip_norm: float = 5.0
    """Largest gradient norm."""
    ctc_weight: float = 0.3
    """Weight of the auxiliary frame-wise loss."""
    clip_rate: float = 1.0
    """Learning rate of quantizers' clips, relative to that of weights."""


@dataclass(frozen=True)
class LearnersConfig:
    """How many learners train and how they mix."""

    number: Annotated[int, tyro.conf.arg(aliases=["--learners"])] = 4
    """Data-parallel learners; each sees its own part of every batch."""
    algorithm: Literal["dpsgd", "ssgd", "delay_by_one"] = "dpsgd"
    """Average weights over the topology, or gradients, or all weights while the gradient is
    computed."""
    topology: TopologyName = "ring"
    """Who averages weights with whom, see `core.topology`; random ones are drawn from seed 0."""
    order: Literal["awc", "atc"] = "awc"
    """Mix while adapting (D-PSGD of Lian et al.) or adapt, then combine."""
    weight_noise: float = 0.0
    """Standard deviation of noise on the weights at which gradients are taken (SSGD*)."""
    diagnose_every: int = 0
    """Steps between measurements of the effective learning rate, which cost two gradients; 0 for
    none. Log as often."""
    engine: Annotated[
        Literal["vmap", "shard_map", "pmap", "threads", "ray"], tyro.conf.arg(aliases=["--engine"])
    ] = "vmap"
    """Simulate the learners on one device (`vmap`), run each on its own (`shard_map`, `pmap`), or
    let nobody wait: AD-PSGD in threads, or in Ray actors on this machine or, with RAY_ADDRESS set,
    on a cluster. A step is then `number` updates, whoever makes them."""

    @property
    def asynchronous(self) -> bool:
        """Whether learners do not wait for each other."""
        return self.engine in ("threads", "ray")

    def check(self) -> None:
        """Refuses options that make no sense together.

        Raises:
            ValueError: if there are such, or the engine is not installed.
        """
        if not self.asynchronous:
            return
        needed = {"algorithm": "dpsgd", "order": "awc", "diagnose_every": 0}
        for name, value in needed.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"`learners.{name}` must be {value!r} with the engine {self.engine}, whose "
                    f"learners average in pairs while others compute, got {getattr(self, name)!r}; "
                    "leave it out, or choose the engine vmap."
                )
        if self.build().period > 1:
            raise ValueError(
                f"`learners.topology` must be the same in all rounds with the engine {self.engine},"
                f" which has none, got {self.topology!r}; choose ring, complete, star, hypercube "
                "or exponential."
            )
        if self.engine == "ray":
            import_ray()

    def build(self) -> Topology:
        """The topology itself."""
        family = getattr(topology, self.topology)
        if self.topology in ("random_ring", "random_matching"):
            return family(self.number, seed=0)
        return family(self.number)


@dataclass(frozen=True)
class SpeechConfig:
    """A complete speech training run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: TransducerConfig = field(default_factory=lambda: PRESETS["small"])
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    learners: LearnersConfig = field(default_factory=LearnersConfig)
    start_from: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """Where parameters come from: `prompts` (the model that ships), a finished run's folder or a
    packed recognizer of the same sizes and vocabulary; by default they are drawn from the seed."""
    quantize: PolicyName | None = None
    """Train under fake quantization by a named policy, after calibration; best with `from`."""
    seed: int = 0
    """Seed of the parameters, the data order and every random draw."""
    log_every: int = 20
    """Steps between log lines."""
    validate_every: int = 500
    """Steps between evaluations on the validation recordings."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


def schedule(config: OptimizerConfig, rate: float = 1.0) -> optax.Schedule:
    """One-cycle learning rate: a cosine rise to the peak, then a cosine fall to almost zero."""
    return optax.cosine_onecycle_schedule(
        config.steps, rate * config.peak_learning_rate, pct_start=config.warmup, div_factor=25.0
    )


def optimizer(
    config: OptimizerConfig, learners: LearnersConfig, axis_name: str | None = "learner"
) -> optax.GradientTransformationExtraArgs:
    """Clipping, AdamW and what the learners exchange, as one optax chain.

    Learners that do not wait exchange nothing here, and share the learning rate of the whole run.
    """
    if learners.asynchronous:
        rule = _descent(config, 1.0, config.clip_rate)
        pace = async_training.scale_by_progress(schedule(config), learners.number)
        return async_training.guard(optax.chain(rule, pace))
    inner = _descent(config, schedule(config), schedule(config, config.clip_rate))
    if learners.algorithm == "ssgd":
        return optax.chain(gossip.all_reduce(axis_name), inner)
    if learners.algorithm == "delay_by_one":
        return gossip.delay_by_one(inner, learners.number, axis_name=axis_name)
    return gossip.dpsgd(inner, learners.build(), axis_name=axis_name, order=learners.order)


def _descent(
    config: OptimizerConfig, rate: optax.ScalarOrSchedule, clip_rate: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """One learner's rule."""
    adamw = optax.adamw(
        rate,
        b2=0.98,
        weight_decay=config.weight_decay,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )
    # Quantizers' clips have a rate of their own and never decay; float models have none.
    clips = optax.adam(clip_rate, b2=0.98)
    rule = optax.partition({"weights": adamw, "clips": clips}, quantization.clip_labels)
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), rule)


def loss_function(config: SpeechConfig, model: Transducer) -> Callable[..., Any]:
    """Builds the loss of one learner.

    Args:
        config: the run.
        model: the transducer.

    Returns:
        ``loss(params, batch, key) -> (loss, metrics)`` with scalar results; the batch holds
        ``waveform`` and ``waveform_paddings`` ``[batch, samples]``, ``labels`` and
        ``label_paddings`` ``[batch, U]``.
    """

    def loss(params: Any, batch: Batch, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        variables = quantize_variables(model.policy, params)  # once, outside all loops over time
        mask_key, *keys = jax.random.split(key, 3)
        inputs, paddings = augmented_features(config, batch, mask_key)
        transducer, connectionist = utterance_losses(
            model, variables, inputs, paddings, batch, dropout_keys=keys
        )
        connectionist = jnp.where(connectionist < INFEASIBLE, connectionist, 0.0)
        num_labels = jnp.maximum(jnp.sum(1 - batch["label_paddings"]), 1)
        metrics = {
            "transducer_loss": jnp.sum(transducer) / num_labels,
            "ctc_loss": jnp.sum(connectionist) / num_labels,
        }
        total = metrics["transducer_loss"] + config.optimizer.ctc_weight * metrics["ctc_loss"]
        return total, metrics | clip_metrics(params.get("clips", {}))

    return loss


def training_loss(config: SpeechConfig, model: Transducer) -> Callable[..., Any]:
    """The loss of one learner at weights with noise, if the run asks for any."""
    loss = loss_function(config, model)
    if config.learners.weight_noise:
        loss = weight_noise.perturb(loss, config.learners.weight_noise)
    return loss


def training_step(
    config: SpeechConfig, model: Transducer, optimizer: optax.GradientTransformation
) -> Callable[..., Any]:
    """The step of one learner, see `training.train_step`, with what the learners are to measure."""
    loss = training_loss(config, model)
    diagnostics = None
    if config.learners.diagnose_every:
        diagnostics = landscape.diagnose(
            loss,
            learning_rate=schedule(config.optimizer),
            every=config.learners.diagnose_every,
            curvature=False,  # The gradient of the recursion is not differentiable.
        )
    # On devices of their own learners would send as much for this figure as for the mixing.
    every = 1 if config.learners.engine == "vmap" else config.log_every
    return training.train_step(
        loss, optimizer, axis_name="learner", diagnostics=diagnostics, consensus_every=every
    )


def utterance_losses(
    model: Transducer,
    variables: Any,
    inputs: jax.Array,
    paddings: jax.Array,
    batch: Batch,
    *,
    dropout_keys: Sequence[jax.Array] | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Transducer loss and auxiliary loss of each utterance.

    Args:
        model: the transducer.
        variables: its variables, weights as they are to be multiplied.
        inputs: features ``[batch, frames, 240]``.
        paddings: ``[batch, frames]``.
        batch: ``labels`` and ``label_paddings`` ``[batch, U]``.
        dropout_keys: random keys of encoder and predictor, in training; None is evaluation.

    Returns:
        Both ``[batch]``; the auxiliary loss is huge where there are fewer frames than labels.
    """
    apply: Callable[..., Any] = model.apply

    encoder_options, predictor_options = (
        ({}, {})
        if dropout_keys is None
        else ({"deterministic": False, "rngs": {"dropout": key}} for key in dropout_keys)
    )
    labels, label_paddings = batch["labels"], batch["label_paddings"]
    encoded, paddings = apply(variables, inputs, paddings, **encoder_options, method="encode")
    predicted = apply(variables, labels, **predictor_options, method="predict")
    transducer = joint_transducer_loss(
        lambda frames, prefixes: apply(variables, frames, prefixes, method="join"),
        encoded,
        predicted,
        paddings,
        labels,
        label_paddings,
    )
    logits = apply(variables, encoded, method="connect")
    return transducer, optax.ctc_loss(logits, paddings, labels, label_paddings)


def clip_metrics(clips: dict[str, Any]) -> dict[str, jax.Array]:
    """The clips of activation sites under the names of their sites, each number by itself."""
    sites = {layer: branch for layer, branch in clips.items() if layer != WEIGHTS}
    metrics = {}
    for path, clip in named_leaves(sites):
        for index, value in enumerate(clip.ravel()):
            name = f"clip/{path}" if clip.size == 1 else f"clip/{path}/{index}"
            metrics[name] = value
    return metrics


def augmented_features(
    config: SpeechConfig, batch: Batch, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Log-mel features, normalized, masked by SpecAugment, with deltas, stacked.

    Args:
        config: the run.
        batch: ``waveform`` and ``waveform_paddings``, each ``[batch, samples]``.
        key: random key of the masks.

    Returns:
        Features ``[batch, frames, 240]`` and paddings ``[batch, frames]``.
    """
    log_mel, paddings = features.log_mel(
        batch["waveform"],
        config.data.sample_rate,
        waveform_paddings=batch["waveform_paddings"],
    )
    log_mel = features.normalize(log_mel, paddings)
    masks = config.augmentation
    log_mel = spec_augment(
        key,
        log_mel,
        paddings,
        num_time_masks=masks.num_time_masks,
        max_time_width=masks.max_time_width,
        max_time_fraction=masks.max_time_fraction,
        num_frequency_masks=masks.num_frequency_masks,
        max_frequency_width=masks.max_frequency_width,
    )
    return features.assemble(log_mel, paddings)
