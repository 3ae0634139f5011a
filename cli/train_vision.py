"""``gossamer train vision``: train an image classifier, resumably, into one run folder."""

import dataclasses
import sys
from pathlib import Path

import tyro

from ..vision.run_config import VisionConfig

DESCRIPTION = """Train a convolutional network with learners that mix, then score it on images that
it has not seen. The same command continues an interrupted run. Without options: ResNet-18 and four
learners on a ring, on the bundled images.

examples:
  gossamer train vision --model resnet18
  gossamer train vision --model mobilenet_v2 --width 0.25 --optimizer.steps 400
  gossamer train vision --model resnet18 --learners.algorithm ssgd --optimizer.average 0.99
  gossamer train vision --model resnet18 --network.quantize int4
  gossamer train vision --data cifar10 --model vgg19 --optimizer.steps 62500
  gossamer train vision --data my/images --data.on-error skip"""


@dataclasses.dataclass(frozen=True)
class Arguments(VisionConfig):
    """A training run and where it goes."""

    run: Path | None = None
    """Run folder; `runs/MODEL` by default."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    chosen = tyro.cli(Arguments, prog="gossamer train vision", description=DESCRIPTION, args=words)
    names = [field.name for field in dataclasses.fields(VisionConfig)]
    config = VisionConfig(**{name: getattr(chosen, name) for name in names})
    folder = chosen.run or Path("runs") / config.network.name
    offer_devices(config)
    from ..core import processes
    from ..vision import experiment  # after parsing, so that help and mistakes answer at once

    experiment.train(config, folder)
    if processes.is_first():
        print(f"Packed model: {folder / experiment.PACKED}", file=sys.stderr)
    return 0


def offer_devices(config: VisionConfig) -> None:
    """A CPU device for each learner: convolutions are slow where all share one."""
    import jax

    if config.learners.engine != "vmap" and not jax.distributed.is_initialized():
        jax.config.update("jax_num_cpu_devices", config.learners.number)
