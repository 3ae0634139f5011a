"""What a training run of an image classifier is: the dataclass that the command line fills."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from ..core.learners_config import CompressionConfig, LearnersConfig
from .names import NetworkName, PolicyName


@dataclass(frozen=True)
class Changes:
    """What training changes of images."""

    padding: int = 4
    """Largest shift of a small image, in pixels."""
    flip: bool = True
    """Whether half of the images are mirrored."""
    mixup: float = 0.0
    """Parameter of mixup, for instance 0.2; 0 turns it off."""

    def check(self) -> None:
        """Refuses numbers out of range.

        Raises:
            ValueError: if there are such.
        """
        if self.padding < 0:
            raise ValueError(f"`padding` must be at least 0, got {self.padding}.")
        if self.mixup < 0:
            raise ValueError(f"`mixup` must be at least 0, got {self.mixup}.")


@dataclass(frozen=True)
class DataConfig:
    """Which images, in which batches."""

    name: Annotated[str, tyro.conf.arg(aliases=["--data"])] = "fashion"
    """`fashion` (bundled), `cifar10`, `cifar100`, `fashion_mnist` or `imagenet2012` through
    tensorflow-datasets, or the path of a folder of images, one folder for each class."""
    size: int = 32
    """Sides of the images that the network sees; 224 for ImageNet forms."""
    batch_size: int = 128
    """Images of a batch, over all learners."""
    changes: Changes = field(default_factory=Changes)
    on_error: Literal["raise", "skip"] = "raise"
    """Refuse a folder with a corrupt image, or leave such images out with a warning."""


@dataclass(frozen=True)
class NetworkConfig:
    """The network."""

    name: Annotated[NetworkName, tyro.conf.arg(aliases=["--model"])] = "resnet18"
    """One of the catalog; forms for ImageNet need images of 224 x 224."""
    width: Annotated[float, tyro.conf.arg(aliases=["--width"])] = 1.0
    """Factor of all numbers of channels."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of activations and products; parameters, statistics and logits stay in float32."""
    quantize: PolicyName | None = None
    """Train under fake quantization by a named policy, its clips calibrated at first."""


@dataclass(frozen=True)
class OptimizerConfig:
    """SGD with momentum; the rate rises linearly, then falls in steps or as a cosine."""

    steps: int = 1000
    """Training steps, of one update of each learner."""
    learning_rate: float = 0.1
    """Highest learning rate."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    """A tenth at one half and at three quarters of the run, a cosine to zero, or no fall."""
    warmup: float = 0.05
    """First part of the steps, in which the rate rises."""
    momentum: float = 0.9
    """Of each learner."""
    weight_decay: float = 5e-4
    """Of kernels, added to the gradient."""
    label_smoothing: float = 0.0
    """Probability that targets give to all classes alike."""
    average: float = 0.0
    """Decay of a moving average of the weights, which is then evaluated; 0 keeps none."""
    microbatches: int = 1
    """Parts of a learner's batch that are worked on one after another, to save memory; each is
    normalized by its own statistics."""
    clip_rate: float = 0.1
    """Learning rate of quantizers' clips, relative to that of weights."""


@dataclass(frozen=True)
class VisionConfig:
    """A complete training run of an image classifier."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    learners: LearnersConfig = field(default_factory=lambda: LearnersConfig(engine="auto"))
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    seed: int = 0
    """Seed of the parameters, the order of images and every random draw."""
    statistics_images: int = 5000
    """Training images, in whole batches, from which the statistics of batch norm of the averaged
    model are estimated; 0 takes the learners' moving averages."""
    log_every: int = 20
    """Steps between log lines."""
    validate_every: int = 200
    """Steps between evaluations on the images for tests."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""

    def check(self) -> None:
        """Refuses options that are out of range or make no sense together.

        Raises:
            ValueError: if there are such.
        """
        self.data.changes.check()
        self.learners.check()
        self.compression.check(self.learners)
        if self.learners.asynchronous:
            raise ValueError(
                f"`learners.engine` must be auto, vmap, shard_map or pmap for images, got "
                f"{self.learners.engine}."
            )
        if self.data.batch_size % self.learners.number:
            raise ValueError(
                f"`data.batch_size` must be divisible by the number of learners, got "
                f"{self.data.batch_size} for {self.learners.number}."
            )
        rows, parts = self.data.batch_size // self.learners.number, self.optimizer.microbatches
        if parts < 1 or rows % parts:
            raise ValueError(
                f"`optimizer.microbatches` must be positive and divide a learner's rows, got "
                f"{parts} for {rows} rows."
            )
        if self.statistics_images < 0:
            raise ValueError(
                f"`statistics_images` must be at least 0, got {self.statistics_images}."
            )
        if not 0 <= self.optimizer.warmup < 1:
            raise ValueError(f"`optimizer.warmup` must be in [0, 1), got {self.optimizer.warmup}.")
        if not 0 <= self.optimizer.label_smoothing < 1:
            raise ValueError(
                f"`optimizer.label_smoothing` must be in [0, 1), got "
                f"{self.optimizer.label_smoothing}."
            )
