"""The report of what quantization does to a recognizer: tables as text, and plots.

audit.txt              every product and its bits, the bytes of every tensor, losses, error rates
sensitivities.json     what each quantized weight costs
weights.png clips.png sensitivities.png
"""

import dataclasses
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import cattrs
from rich.console import Console
from rich.progress import Progress

from ..core import audit, compression, metrics, run_folder, whole_file
from ..core.quantized_variables import WEIGHTS, deploy_variables
from . import evaluation, experiment, loader, quantization_figures, training_data
from .calibration import calibrate
from .front_end import transducer_inputs
from .names import PolicyName
from .policies import named_policy
from .quantization_study import Study, study
from .recognizer import Recognizer
from .run_config import SpeechConfig


def write_report(
    name: str, quantize: PolicyName | None, folder: str | Path, *, num_batches: int = 4
) -> Study:
    """Studies a recognizer, prints the tables and writes the files listed above.

    Args:
        name: see `load`.
        quantize: see `load`.
        folder: where the files go.
        num_batches: batches of validation recordings for the losses.

    Returns:
        What was found.

    Raises:
        ValueError: if there is no such recognizer, or no policy.
    """
    config, variables = load(name, quantize)
    data = training_data.load_corpus(config)
    model = experiment.build_model(config, data)
    assert model.policy is not None  # as `load` promises
    batches = loader.evaluation_batches(
        data.dev,
        data.vocabulary,
        sample_rate=config.data.sample_rate,
        buckets=config.data.buckets,
    )
    console = Console(stderr=True)
    with Progress(console=console) as progress:
        task = progress.add_task("losses, one tensor quantized at a time", total=None)
        found = study(
            model,
            variables,
            [batch for _, batch in itertools.islice(batches, num_batches)],
            data=config.data,
            on_step=lambda done, total: progress.update(task, completed=done, total=total),
        )
    deployed = Recognizer(config, data.vocabulary, deploy_variables(model.policy, variables))
    errors = evaluation.evaluate(deployed, data.test, timed=False).errors
    text = (
        f"{audit.table(found.audit)}\n\n{compression.table(found.sizes)}\n\n"
        f"Validation loss per label: {found.loss:.4f} in float, {found.quantized_loss:.4f} "
        f"quantized.\nTest recordings, quantized: word error rate {100 * errors.rate:.1f}% "
        f"({100 * errors.low:.1f} to {100 * errors.high:.1f}), character error rate "
        f"{100 * errors.character_error_rate:.1f}%."
    )
    print(text)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    whole_file.write_text(folder / "audit.txt", f"{text}\n")
    records = [tensor._asdict() for tensor in found.sensitivities]
    whole_file.write_text(folder / "sensitivities.json", json.dumps(records, indent=2) + "\n")
    log = metrics.read_log(name) if Path(name).is_dir() else []
    clips = quantization_figures.draw_clips(log)
    figures = {
        "weights": quantization_figures.draw_weights(
            variables["params"], model.policy, variables["clips"][WEIGHTS]
        ),
        "sensitivities": quantization_figures.draw_sensitivities(found.sensitivities, found.loss),
    } | ({} if clips is None else {"clips": clips})
    for name, figure in figures.items():
        with whole_file.draft(folder / f"{name}.png") as part:
            figure.savefig(part, format="png")
    console.print(f"Tables and plots: {folder}", highlight=False)
    return found


def calibrated(name: str, quantize: PolicyName) -> Recognizer:
    """A float recognizer with its weights as codes, calibrated but not trained for it.

    Args:
        name: see `load`.
        quantize: see `load`.
    """
    config, variables = load(name, quantize)
    vocabulary = training_data.load_corpus(config).vocabulary
    return Recognizer(config, vocabulary, deploy_variables(named_policy(quantize), variables))


def load(name: str, quantize: PolicyName | None) -> tuple[SpeechConfig, dict[str, Any]]:
    """A recognizer in float, ready to be quantized.

    Args:
        name: a run folder, a packed recognizer in float, or the name of one that ships.
        quantize: a policy, for which the clips are calibrated on training recordings; None for a
            run that was trained under one.

    Returns:
        The configuration with its policy, and "params" and "clips".

    Raises:
        ValueError: if there is no such recognizer, or no policy, or two.
    """
    if quantize is None:
        if not Path(name).is_dir():
            experiment.find_recognizer(name)  # refuses what is not there
            raise ValueError(f"{name}: not a run that was quantized in training; add --quantize.")
        config = cattrs.structure(run_folder.read_config(name), SpeechConfig)
        if config.quantize is None:
            raise ValueError(f"{name}: this run was trained in float; add --quantize POLICY.")
        return config, experiment.best_parameters(name)
    source = experiment.find_recognizer(name)
    if source.config.quantize is not None:
        raise ValueError(
            f"{name}: holds codes of the policy {source.config.quantize}, not numbers to quantize; "
            "leave --quantize out, or name the float model."
        )
    config = dataclasses.replace(source.config, quantize=quantize)
    data = training_data.load_corpus(config)
    params = source.params["params"]
    clips = calibrate(
        experiment.build_model(config, data),
        params,
        training_data.training_batches(config, data),
        functools.partial(transducer_inputs, config.data),
    )
    return config, {"params": params, "clips": clips}
