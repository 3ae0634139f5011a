"""``gossamer audit MODEL``: what quantization does to a recognizer or a language model."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from ..speech.names import PolicyName

DESCRIPTION = """Show what quantization does to a recognizer: every matrix product and its bits,
what the codes take, what each tensor costs, the word error rate; with plots. Of a language model,
the first two.

examples:
  gossamer audit runs/quantized                 a run under fake quantization, as it was trained
  gossamer audit prompts --quantize int4_max    a float model, calibrated but not trained
  gossamer audit runs/external4                 a quantized language model"""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What to audit."""

    model: Annotated[str, tyro.conf.Positional]
    """Run folder, packed recognizer or language model, or the name of a model that ships
    (`prompts`)."""
    quantize: PolicyName | None = None
    """Policy for a float model, whose clips are then calibrated on training recordings."""
    batches: int = 4
    """Batches of validation recordings for the losses."""
    output: Path | None = None
    """Folder of tables and plots; by default `quantization` in the run folder, or
    `runs/MODEL-POLICY`."""


def main(words: list[str]) -> int:
    """Runs the command; see the module."""
    arguments = tyro.cli(Arguments, prog="gossamer audit", description=DESCRIPTION, args=words)
    if arguments.batches < 1:
        raise ValueError(f"`--batches` must be at least 1, got {arguments.batches}.")
    from ..speech import language_model_audit, quantization_report

    path = Path(arguments.model)
    if language_model_audit.is_language_model(path):
        if arguments.quantize is not None:
            raise ValueError(
                "`--quantize` is for recognizers; `gossamer train language-model` has it."
            )
        print(language_model_audit.describe(path))
        return 0
    folder = Path("runs") / f"{path.stem}-{arguments.quantize}"
    if arguments.quantize is None:
        folder = path / "quantization"
    quantization_report.write_report(
        arguments.model,
        arguments.quantize,
        arguments.output or folder,
        num_batches=arguments.batches,
    )
    return 0
