"""The main job: train a recognizer with gossiping learners, score it on held-out speech, report.

A run folder holds everything a run was and gave:

    config.json versions.json seed     what was asked for, under which versions
    metrics.jsonl, TensorBoard events  training and validation, step by step
    language_model/                    that of scheduled sampling, if the run has any
    checkpoints/ best/                 the newest states, and the best one in validation
    traces/                            who did what when, if learners do not wait for each other
    recognizer.safetensors             the best averaged model, packed
    result.json report.html            word error rate on the test recordings, and its page
"""

import functools
import json
import math
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cattrs
import jax
import jax.numpy as jnp
from rich.console import Console

from ..core import checkpoint, learners, metrics, processes, run_folder, training, whole_file
from ..core.quantization import is_quantized
from ..core.quantized_variables import deploy_variables
from . import (
    engines,
    evaluation,
    language_model_training,
    recipe,
    recognizer,
    report,
    summary,
    training_data,
    warm_start,
)
from .calibration import calibrate, draw_variables
from .corpora.corpus import Corpus
from .front_end import transducer_inputs
from .fusion import FusedModels
from .hybrids import hybrid_folder
from .language_model import LanguageModel
from .perturbation import TokenLogits
from .policies import named_policy
from .recognizer import Recognizer
from .run_config import CompressionConfig, LearnersConfig, SpeechConfig
from .transducer import Transducer

PACKED = "recognizer.safetensors"
LANGUAGE_MODEL = "language_model"


def train(config: SpeechConfig, folder: str | Path, *, command: str = "") -> evaluation.Evaluation:
    """Trains, scores and reports; continues where an interrupted run stopped.

    Args:
        config: the run.
        folder: its run folder, new or of the same configuration.
        command: the command line, for the report.

    Returns:
        The score of the best model on the test recordings.

    Raises:
        ValueError: if the folder belongs to another run or the data are bad.
        FloatingPointError: if training diverged.
    """
    config.learners.check()
    processes.check_learners(config.learners.number, config.learners.engine)
    config.compression.check(config.learners)
    config.optimizer.check(config.data, config.learners)
    config.augmentation.check()
    config.label_noise.check()
    run_folder.check_run(folder, cattrs.unstructure(config), seed=config.seed)
    folder = Path(folder)
    is_new = not checkpoint.steps(folder / "checkpoints")  # else the run goes on from its own
    source = None
    if is_new and config.start_from is not None:
        source = find_recognizer(config.start_from)
    data = training_data.load_corpus(config)  # takes long
    model = build_model(config, data)
    params = initial_parameters(model, config.seed)
    if is_new:
        params = starting_parameters(config, model, params, data, source)
    folder = run_folder.open_run(folder, cattrs.unstructure(config), seed=config.seed)

    def recognizer_of(state: Any) -> Recognizer:
        average = learners.average(state.params)
        return Recognizer(config, data.vocabulary, deploy_variables(model.policy, average))

    def validate(state: Any) -> dict[str, float]:
        errors = evaluation.evaluate(recognizer_of(state), data.dev, timed=False).errors
        return {"wer": errors.rate, "cer": errors.character_error_rate}

    start = time.perf_counter()
    token_logits = sampling_model(config, data, folder / LANGUAGE_MODEL)
    with engines.open_engine(
        config, model, params, data, folder, token_logits=token_logits
    ) as engine:
        final = training.fit(
            engine.step,
            engine.state,
            engine.batches,
            run_folder=folder,
            num_steps=config.optimizer.steps,
            checkpoint_every=config.checkpoint_every,
            log_every=config.log_every,
            validate=validate,
            validate_every=config.validate_every,
            best_metric="cer",
            schedule=recipe.schedule(config.optimizer),
            read=engine.read,
            place=engine.place,
            totals=engine.totals,
        )
    seconds = time.perf_counter() - start
    found = checkpoint.restore(folder / "best", final)
    best = recognizer_of(final if found is None else found[1])
    if processes.is_first():
        recognizer.save(folder / PACKED, best)
    processes.wait("the recognizer is packed")
    return score(folder, recognizer.load(folder / PACKED), data, command, seconds)


def score(
    folder: Path,
    model: Recognizer,
    data: Corpus,
    command: str = "",
    training_seconds: float | None = None,
    *,
    beam: int = 1,
    language_models: FusedModels | None = None,
    search: str | None = None,
) -> evaluation.Evaluation:
    """Scores a packed recognizer on the test recordings, prints the result and writes the report.

    Args:
        folder: the run folder; `result.json` and `report.html` are written there.
        model: the packed recognizer, read back.
        data: the corpus.
        command: the command line, for the report.
        training_seconds: how long training took, where known.
        beam: hypotheses of the beam search; 1 is greedy search.
        language_models: what adds to the scores of the beam search.
        search: the search in words, for the report; by default its beam.

    Returns:
        The evaluation.
    """
    result = evaluation.evaluate(model, data.test, beam=beam, language_models=language_models)
    if not processes.is_first():
        return result
    config = model.config
    run = summary.RunSummary(
        title=f"{folder.name}: {_describe_learners(config.learners.number)}",
        corpus=data.name,
        num_prompts=len(data.test),
        errors=result.errors,
        num_parameters=sum(
            math.prod(leaf.shape)
            for leaf in jax.tree.leaves(model.params["params"], is_leaf=is_quantized)
        ),
        num_bytes=(folder / PACKED).stat().st_size,
        search=search or (f"beam of {beam}" if beam > 1 else None),
        real_time_factor=result.real_time_factor,
        training_seconds=training_seconds,
        num_learners=config.learners.number,
        topology=_describe_exchange(config.learners, config.compression),
        num_steps=config.optimizer.steps,
        seed=config.seed,
        command=command or shlex.join(["gossamer", "evaluate", str(folder)]),
        config=cattrs.unstructure(config),
        versions={name: str(value) for name, value in run_folder.versions().items()},
        attribution=data.attribution,
    )
    prompts = evaluation.showcase(data.test, result)
    report.write_report(folder / "report.html", run, prompts, metrics.read_log(folder))
    facts = json.dumps(dict(summary.list_facts(run)), indent=2)
    whole_file.write_text(folder / "result.json", f"{facts}\n")
    console = Console()
    summary.print_summary(run, prompts, console=console)
    console.print(f"\nReport: {folder / 'report.html'}")
    return result


def sampling_model(config: SpeechConfig, data: Corpus, folder: Path) -> TokenLogits | None:
    """The language model of scheduled sampling, trained on the training transcripts.

    Args:
        config: the run.
        data: the corpus.
        folder: where the language model is trained, or was.

    Returns:
        Logits of the next label after each prefix; None if the run does not sample.
    """
    noise = config.label_noise
    if noise.scheduled_sampling == 0:
        return None
    model = LanguageModel(noise.language_model, len(data.vocabulary))
    variables = language_model_training.train(
        model,
        data.train.texts,
        data.vocabulary,
        folder,
        num_steps=noise.language_model_steps,
        seed=config.seed,
    )
    apply: Callable[..., Any] = model.apply
    return functools.partial(apply, variables)


def best_parameters(folder: str | Path) -> dict[str, Any]:
    """The parameters of a run at its best validation, averaged over learners, in float.

    Args:
        folder: the run folder.

    Returns:
        "params" and, with a quantization policy, "clips".

    Raises:
        ValueError: if the folder holds no run, or one that was not validated yet.
    """
    config = cattrs.structure(run_folder.read_config(folder), SpeechConfig)
    model = build_model(config, training_data.load_corpus(config))
    template = engines.initial_state(config, initial_parameters(model, config.seed))
    found = checkpoint.restore(Path(folder) / "best", template)
    if found is None:
        raise ValueError(f"{folder}: no best state there; the run writes it when it validates.")
    return learners.average(found[1].params)


def build_model(config: SpeechConfig, data: Corpus) -> Transducer:
    """The transducer of a run, for the vocabulary of its corpus."""
    return Transducer(config.model, len(data.vocabulary), named_policy(config.quantize))


def _describe_learners(number: int) -> str:
    if number == 1:
        return "speech recognition, trained by one learner"
    return f"speech recognition, trained by {number} learners"


def _describe_exchange(config: LearnersConfig, compression: CompressionConfig) -> str | None:
    """Who exchanges what; None for a single learner."""
    if config.number == 1:
        return None
    if config.asynchronous:
        return f"{config.topology}, pairs without a barrier, {config.engine}"
    if compression.scheme != "none":
        return f"{compression.scheme}, one element of {compression.rate:g}"
    everyone = {"ssgd": "mean of gradients", "delay_by_one": "mean of weights, delayed by one"}
    return everyone.get(config.algorithm, f"{config.topology}, {config.order.upper()}")


def initial_parameters(model: Transducer, seed: int) -> Any:
    """Draws parameters; with a policy, its clips are beside them, not calibrated yet."""
    return draw_variables(
        model,
        jax.random.key(seed),
        jax.ShapeDtypeStruct((1, 8, recipe.NUM_FEATURES), jnp.float32),
        jax.ShapeDtypeStruct((1, 8), jnp.float32),
        jax.ShapeDtypeStruct((1, 2), jnp.int32),
    )


def starting_parameters(
    config: SpeechConfig, model: Transducer, drawn: Any, data: Corpus, source: Recognizer | None
) -> dict[str, Any]:
    """The parameters that every learner starts from: drawn, or those of a recognizer.

    With a quantization policy, its clips are calibrated on training batches.

    Args:
        config: the run.
        model: the transducer.
        drawn: what `initial_parameters` gave.
        data: the corpus.
        source: the recognizer that `config.start_from` names, if any.

    Returns:
        As `drawn`.

    Raises:
        ValueError: if the recognizer holds codes, or has other sizes or another vocabulary.
    """
    params = drawn["params"]
    if source is not None and config.start_from is not None:
        params = warm_start.fit_parameters(config.start_from, source, data.vocabulary, params)
    if model.policy is None:
        return {"params": params}
    batches = training_data.training_batches(config, data)
    clips = calibrate(model, params, batches, functools.partial(transducer_inputs, config.data))
    return {"params": params, "clips": clips}


def find_recognizer(name: str, *, others: Sequence[str] = ()) -> Recognizer:
    """A recognizer by the name of one that ships, the folder of its run, or its file.

    Args:
        name: of any of them.
        others: models that ship and that the caller finds itself, for the error.

    Raises:
        ValueError: if there is none.
    """
    path = Path(name)
    if hybrid_folder.find(name) is not None:
        raise ValueError(
            f"{name}: a hybrid, where a transducer is needed, such as `prompts`; `gossamer "
            "evaluate`, `transcribe` and `align` take hybrids."
        )
    if path.is_dir():
        return read_run(path)
    if path.is_file():
        return recognizer.load(path)
    if name in recognizer.shipped():
        return recognizer.pretrained(name)
    raise ValueError(
        f"{name}: there is no such folder or file, and it is none of the models that ship "
        f"({', '.join([*recognizer.shipped(), *others])}); `gossamer train speech PRESET --run "
        f"{name}` makes it."
    )


def read_run(folder: str | Path) -> Recognizer:
    """Loads the packed recognizer of a finished run.

    Raises:
        ValueError: if there is no such folder, or it holds none.
    """
    path = Path(folder) / PACKED
    if not path.parent.is_dir():
        raise ValueError(
            f"{folder}: there is no such folder; `gossamer train speech PRESET --run {folder}` "
            "makes it."
        )
    if not path.exists():
        raise ValueError(
            f"{folder}: no {PACKED} there; the command that trains into this folder writes what it "
            "makes when the run ends."
        )
    return recognizer.load(path)
