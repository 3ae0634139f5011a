"""The grid of the large-batch study: networks times methods times batch sizes, rates and seeds.

Every run sees the same number of images.  A batch f times as large takes 1/f of the steps at f
times the learning rate (linear scaling), times a further factor where a ladder of rates is asked
for.

Scales are configurations: "toy" for the bundled images on a CPU, "cifar" and "imagenet" with the
sizes of the paper as remembered, not verified against it (batch 128 at a rate of 0.1, 16 learners,
320 and 90 epochs).  The two tasks of speech are ``gossamer train hybrid``.

References:
    W. Zhang et al., "Loss Landscape Dependent Self-Adjusting Learning Rates in Decentralized
        Stochastic Gradient Descent", 2021, arXiv:2112.01433.
    C.-Y. Chen et al., 2020, arXiv:2104.11125 (ScaleCom); X. Cui et al., 2021, arXiv:2110.11199
        (delay by one).
"""

import itertools
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

from ..core.learners_config import CompressionConfig, LearnersConfig
from .names import CifarTask, ImageNetTask, NetworkName
from .run_config import DataConfig, NetworkConfig, OptimizerConfig, VisionConfig

MethodName = Literal[
    "ssgd", "ssgd_star", "dpsgd", "dpsgd_atc", "dpsgd_random", "delay_by_one", "scalecom"
]
Scale = Literal["toy", "cifar", "imagenet"]

CIFAR_TASKS = get_args(CifarTask)
IMAGENET_TASKS = get_args(ImageNetTask)


class Method(NamedTuple):
    """A way of training together."""

    title: str
    learners: dict  # changes of LearnersConfig
    compression: dict  # changes of CompressionConfig


METHODS: dict[str, Method] = {
    "ssgd": Method("SSGD", {"algorithm": "ssgd"}, {}),
    "ssgd_star": Method("SSGD*", {"algorithm": "ssgd", "weight_noise": 0.01}, {}),
    "dpsgd": Method("DPSGD, ring", {"topology": "ring"}, {}),
    "dpsgd_atc": Method("DPSGD, ring, ATC", {"topology": "ring", "order": "atc"}, {}),
    "dpsgd_random": Method("DPSGD, random ring", {"topology": "random_ring"}, {}),
    "delay_by_one": Method("delay by one", {"algorithm": "delay_by_one"}, {}),
    "scalecom": Method("ScaleCom", {"algorithm": "ssgd"}, {"scheme": "scalecom", "beta": 0.1}),
}

SCALES: dict[str, VisionConfig] = {
    "toy": VisionConfig(
        data=DataConfig(batch_size=32),
        network=NetworkConfig(width=0.125),
        optimizer=OptimizerConfig(steps=750, learning_rate=0.05, warmup=0.1),
        learners=LearnersConfig(number=4, engine="auto"),
        log_every=10,
    ),
    "cifar": VisionConfig(
        data=DataConfig(name="cifar10", batch_size=128),
        optimizer=OptimizerConfig(steps=320 * 390, learning_rate=0.1, warmup=10 / 320),
        learners=LearnersConfig(number=16, engine="auto"),
        log_every=100,
        checkpoint_every=2000,
    ),
    "imagenet": VisionConfig(
        data=DataConfig(name="imagenet2012", size=224, batch_size=256),
        network=NetworkConfig("resnet50", precision="bfloat16"),
        optimizer=OptimizerConfig(
            steps=90 * 5004, learning_rate=0.1, warmup=5 / 90, weight_decay=1e-4
        ),
        learners=LearnersConfig(number=16, engine="auto"),
        log_every=100,
        checkpoint_every=2000,
    ),
}


@dataclass(frozen=True)
class StudyConfig:
    """A grid of runs."""

    scale: Scale = "toy"
    """Bundled images on a CPU, or the sizes of the paper as remembered."""
    networks: tuple[NetworkName, ...] = ()
    """Networks; by default the ten of CIFAR, or the six of ImageNet."""
    methods: tuple[MethodName, ...] = ("ssgd", "ssgd_star", "dpsgd")
    """Ways of training together."""
    batches: tuple[int, ...] = (1, 4, 16)
    """Factors of the base batch, with linearly scaled rates and as many images in all."""
    rates: tuple[float, ...] = (1.0,)
    """Further factors of the rates."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the parameters and of all random draws."""
    epochs: float = 1.0
    """Factor of the number of steps."""
    warmup: float | None = None
    """First part of the steps, in which the rate rises; that of the scale by default."""
    width: float | None = None
    """Factor of the networks' channels; that of the scale by default."""
    learners: int | None = None
    """Number of learners; that of the scale by default."""
    compression: float = 100.0
    """Rate of ScaleCom."""
    diagnose: bool = False
    """Measure effective learning rates as often as is logged; costs two gradients each time."""
    slices: bool = False
    """Measure the loss around each model at the end, along a random direction."""

    def check(self) -> None:
        """Refuses what would only fail in the middle.

        Raises:
            ValueError: if there is such.
        """
        for name in ("methods", "batches", "rates", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"`{name}` must not be empty.")
        if min(self.batches) < 1 or min(self.rates) <= 0 or self.epochs <= 0:
            raise ValueError(
                f"`batches` must be at least 1, `rates` and `epochs` positive, got {self.batches}, "
                f"{self.rates} and {self.epochs}."
            )
        for run in self.runs():
            run.config.check()

    def runs(self) -> "list[Run]":
        """All runs of the grid, seeds last: a grid that is cut short has each setting once."""
        default = IMAGENET_TASKS if self.scale == "imagenet" else CIFAR_TASKS
        names = self.networks or default
        order = itertools.product(self.seeds, names, self.batches, self.rates, self.methods)
        return [Run(*setting, self) for setting in order]


class Run(NamedTuple):
    """One run of a grid."""

    seed: int
    network: str
    batch: int  # factor of the base batch
    rate: float  # factor of the linearly scaled rate
    method: str
    study: StudyConfig

    @property
    def name(self) -> str:
        """Of its folder."""
        parts = (self.network, self.method, f"b{self.batch}", f"r{self.rate:g}", f"s{self.seed}")
        return "-".join(parts)

    @property
    def config(self) -> VisionConfig:
        """The training run."""
        study, base = self.study, SCALES[self.study.scale]
        method = METHODS[self.method]
        steps = max(round(study.epochs * base.optimizer.steps / self.batch), 1)
        log_every = max(base.log_every // self.batch, 1)
        number = study.learners or base.learners.number
        return replace(
            base,
            data=replace(base.data, batch_size=base.data.batch_size * self.batch),
            network=replace(
                base.network, name=self.network, width=study.width or base.network.width
            ),
            optimizer=replace(
                base.optimizer,
                steps=steps,
                learning_rate=base.optimizer.learning_rate * self.batch * self.rate,
                warmup=base.optimizer.warmup if study.warmup is None else study.warmup,
            ),
            learners=replace(
                base.learners,
                number=number,
                diagnose_every=log_every if study.diagnose else 0,
                **method.learners,
            ),
            compression=replace(CompressionConfig(), rate=study.compression, **method.compression),
            seed=self.seed,
            log_every=log_every,
            validate_every=steps,
            checkpoint_every=min(base.checkpoint_every, steps),
        )
