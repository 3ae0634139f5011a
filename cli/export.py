"""``gossamer export MODEL``: write a recognizer that runs without JAX, or as StableHLO."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..speech.hybrids import hybrid_folder
from ..speech.names import PolicyName

if TYPE_CHECKING:
    from ..speech.recognizer import Recognizer

DESCRIPTION = """Write a recognizer as a folder that reads speech by itself, with NumPy, ONNX
Runtime and soundfile; or as one program of JAX.

examples:
  gossamer export runs/quantized --output exported
  python exported recording.wav
  gossamer export prompts --quantize int4_paper --output exported
  gossamer export runs/quantized --language-model runs/external --source-model runs/source
  gossamer export prompts --stablehlo recognizer.stablehlo"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to write, and how."""

    model: Annotated[str, tyro.conf.Positional]
    """Run folder, packed recognizer, or the name of a model that ships (`prompts`)."""
    output: Path = Path("exported")
    """Folder to write."""
    overwrite: bool = False
    """Take the place of an export that is there."""
    quantize: PolicyName | None = None
    """Policy for a float model, whose clips are then calibrated on training recordings."""
    arithmetic: Literal["integer", "blockwise", "float"] = "integer"
    """Products of a quantized model: exact ones of integers, ONNX Runtime's products with weights
    that stay in 4 bits, or in float32."""
    model_arithmetic: Literal["integer", "blockwise", "float"] | None = None
    """Products of quantized language models, by default the same; `blockwise` is faster for those
    that are larger than the processor's cache."""
    language_model: Path | None = None
    """A language model for the beam search: run folder of `gossamer train language-model`, or its
    packed file."""
    language_weight: float = 0.3
    """What its log probability counts."""
    source_model: Path | None = None
    """A language model of the training transcripts, to be subtracted (density ratio)."""
    source_weight: float = 0.2
    """What its log probability counts."""
    length_reward: float = 0.0
    """Added for each letter, since language models prefer short texts."""
    stablehlo: Path | None = None
    """Write this file for `jax.export.deserialize`, with greedy search, instead of a folder."""
    seconds: float = 12.0
    """Length that recordings are padded to, for `stablehlo`."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer export", description=DESCRIPTION, args=words)
    if arguments.source_model is not None and arguments.language_model is None:
        raise ValueError("`--source-model` needs `--language-model`, which takes its place.")
    if hybrid_folder.find(arguments.model) is not None:
        raise ValueError(
            f"{arguments.model}: a hybrid, which cannot be exported; name a transducer, such as "
            "`prompts`."
        )
    if arguments.stablehlo is not None:
        _check_stablehlo(arguments)
        from ..speech.deployment import stablehlo

        size = stablehlo.export(_find(arguments), arguments.stablehlo, seconds=arguments.seconds)
        print(f"{arguments.stablehlo}: {size / 1e6:.1f} MB", file=sys.stderr)
        return 0
    try:
        from ..speech.deployment import export
    except ImportError as error:
        raise ValueError(
            f"this needs {error.name}: pip install '.[export]' in a checkout of gossamer."
        ) from error
    sizes = export.export(
        _find(arguments),
        arguments.output,
        arithmetic=arguments.arithmetic,
        model_arithmetic=arguments.model_arithmetic,
        fusion=_fusion(arguments),
        overwrite=arguments.overwrite,
    )
    for name, size in sizes.items():
        print(f"{name:<12}{size / 1e6:8.2f} MB", file=sys.stderr)
    print(f"python {arguments.output} recording.wav", file=sys.stderr)
    return 0


def _check_stablehlo(arguments: Arguments) -> None:
    """Refuses the options of a folder."""
    used = ("model", "quantize", "stablehlo", "seconds")
    plain = Arguments(**{name: getattr(arguments, name) for name in used})
    for field in dataclasses.fields(arguments):
        if getattr(arguments, field.name) != getattr(plain, field.name):
            option = field.name.replace("_", "-")
            raise ValueError(
                f"`--stablehlo` searches greedily in one file; leave out `--{option}`."
            )


def _find(arguments: Arguments) -> "Recognizer":
    from ..speech import experiment, quantization_report

    if arguments.quantize is None:
        return experiment.find_recognizer(arguments.model)
    return quantization_report.calibrated(arguments.model, arguments.quantize)


def _fusion(arguments: Arguments):
    from ..speech import language_model_run
    from ..speech.deployment.export import Fusion

    def load(path: Path | None):
        return None if path is None else language_model_run.load(path)

    return Fusion(
        load(arguments.language_model),
        load(arguments.source_model),
        arguments.language_weight,
        arguments.source_weight,
        arguments.length_reward,
    )
