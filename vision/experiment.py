"""The main job: train a classifier with learners that mix, score it on images it has not seen.

A run folder holds everything a run was and gave:

    config.json versions.json seed     what was asked for, under which versions
    metrics.jsonl, TensorBoard events  training and validation, step by step
    checkpoints/                       the newest states
    classifier.safetensors             the averaged model at the end, packed
    result.json                        loss and accuracy on the images for tests
    curves.png                         loss, accuracy and learning rates by step

The model to score is the mean over the learners, of their moving averages if they keep any, with
statistics estimated anew from training images, or else the mean of theirs.  It is that of the last
step: nothing is chosen by the images for tests, on which validation only looks.
"""

import functools
import json
import math
import time
from pathlib import Path
from typing import Any

import cattrs
import jax
import jax.numpy as jnp
from rich.console import Console

from ..core import (
    checkpoint,
    exchange,
    learners,
    metrics,
    processes,
    run_folder,
    training,
    whole_file,
)
from ..core.moving_average import averaged_params
from ..core.quantized_variables import deploy_variables
from ..core.sites import CLIPS
from . import batch_statistics, calibration, classifier, figures, loader, recipe
from .classifier import Classifier, Score
from .data import ImageData, open_data
from .policies import named_policy
from .run_config import VisionConfig

PACKED = "classifier.safetensors"
RESULT = "result.json"


def train(config: VisionConfig, folder: str | Path, *, show_progress: bool = True) -> Score:
    """Trains and scores; continues where an interrupted run stopped.

    Args:
        config: the run.
        folder: its run folder, new or of the same configuration.
        show_progress: whether to show progress on standard error.

    Returns:
        The score of the averaged model at the end.

    Raises:
        ValueError: if the folder belongs to another run or the data are bad.
        FloatingPointError: if training diverged.
    """
    config.check()
    number, engine = config.learners.number, config.learners.engine
    processes.check_learners(number, engine)
    run_folder.check_run(folder, cattrs.unstructure(config), seed=config.seed)
    data = open_data(config.data.name, on_error=config.data.on_error)
    batches = training_batches(config, data)
    network = classifier.create_network(config.network, len(data.class_names))
    folder = Path(folder)
    state = initial_state(config, data, calibrates=not checkpoint.steps(folder / "checkpoints"))
    folder = run_folder.open_run(folder, cattrs.unstructure(config), seed=config.seed)
    step = exchange.learner_step(
        recipe.loss_function(config, network),
        recipe.optimizer(config),
        config.learners,
        config.compression,
        learning_rate=recipe.schedule(config.optimizer),
        log_every=config.log_every,
        num_parts=config.optimizer.microbatches,
        curvature=config.network.quantize is None,
        statistics_decay=recipe.STATISTICS_DECAY,
    )
    assert engine != "threads"
    assert engine != "ray"  # `check` refuses both

    def validate(state: Any) -> dict[str, float]:
        score = classifier.evaluate(averaged(config, data, state), data)
        return {"loss": score.loss, "accuracy": score.accuracy}

    place = functools.partial(learners.place, num_learners=number, engine=engine)
    start = time.perf_counter()
    final = training.fit(
        learners.spread(step, number, engine=engine, donate_argnums=0),
        place(state),
        batches,
        place=place,
        run_folder=folder,
        num_steps=config.optimizer.steps,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        validate=validate,
        validate_every=config.validate_every,
        schedule=recipe.schedule(config.optimizer),
        show_progress=show_progress,
    )
    seconds = time.perf_counter() - start
    model = averaged(config, data, final)
    if processes.is_first():
        classifier.save(folder / PACKED, model)
        figures.draw_run(metrics.read_log(folder), folder / "curves.png")
    processes.wait("the classifier is packed")
    score = score_run(folder, data, seconds)
    processes.wait("the run is scored")
    return score


def training_batches(config: VisionConfig, data: ImageData) -> Any:
    """The batches of a run, without end, with a resumable position."""
    return loader.batches(
        data,
        batch_size=config.data.batch_size,
        size=config.data.size,
        num_learners=config.learners.number,
        changes=config.data.changes,
        seed=config.seed,
    )


def initial_state(
    config: VisionConfig, data: ImageData, *, calibrates: bool = False
) -> training.TrainState:
    """The state of a run before its first step, and the template of its checkpoints.

    Args:
        config: the run.
        data: its images.
        calibrates: whether to choose the clips of a quantized network from images.
    """
    network = classifier.create_network(config.network, len(data.class_names))
    size = config.data.size
    images = jax.ShapeDtypeStruct((1, size, size, data.num_channels), jnp.float32)
    variables, statistics = calibration.draw_variables(network, jax.random.key(config.seed), images)
    policy = named_policy(config.network.quantize)
    if policy is not None and calibrates:
        found = training_batches(config, data)
        variables[CLIPS] = calibration.calibrate(network, policy, variables["params"], found)
    return training.init_state(
        variables,
        recipe.optimizer(config),
        jax.random.key(config.seed + 1),
        num_learners=config.learners.number,
        statistics=statistics,
    )


def averaged(config: VisionConfig, data: ImageData, state: training.TrainState) -> Classifier:
    """The classifier of a state: means over the learners, and statistics as configured."""
    found = averaged_params(state.opt_state, state.params), state.statistics
    variables, statistics = learners.average(found)
    if statistics and config.statistics_images:
        statistics = batch_statistics.estimate(
            config,
            len(data.class_names),
            variables,
            training_batches(config, data),
            number=math.ceil(config.statistics_images / config.data.batch_size),
        )
    if statistics:
        variables = variables | {recipe.STATISTICS: statistics}
    deployed = deploy_variables(named_policy(config.network.quantize), variables)
    return Classifier(config, data.class_names, data.scale, deployed)


def score_run(folder: str | Path, data: ImageData | None = None, seconds: float | None = None):
    """Scores the packed classifier of a run, prints the result and writes `result.json`.

    Args:
        folder: the run folder.
        data: its images; opened by their name if None.
        seconds: how long training took, where known.

    Returns:
        The score.

    Raises:
        ValueError: if the folder holds no packed classifier.
    """
    path = Path(folder) / PACKED
    if not path.exists():
        raise ValueError(
            f"{folder}: no {PACKED} there; `gossamer train vision --run {folder}` writes it when "
            "the run ends."
        )
    model = classifier.load(path)
    config = model.config
    data = data or open_data(config.data.name, on_error=config.data.on_error)
    score = classifier.evaluate(model, data)
    if not processes.is_first():
        return score
    low, high = _interval(score)
    found = {
        "network": config.network.name,
        "data": data.name,
        "images": score.number,
        "loss": score.loss if math.isfinite(score.loss) else None,
        "accuracy": score.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "top5": score.top5,
        "bytes": path.stat().st_size,
    }
    result = Path(folder) / RESULT
    if seconds is None and result.exists():
        seconds = json.loads(result.read_text(encoding="utf-8")).get("training_seconds")
    found["training_seconds"] = seconds
    whole_file.write_text(result, json.dumps(found, indent=2) + "\n")
    Console().print(
        f"{data.name}: accuracy {100 * score.accuracy:.1f}% ({100 * low:.1f} to {100 * high:.1f}, "
        f"{score.number} images), loss {score.loss:.3f}; {path.stat().st_size / 1e6:.2f} MB",
        highlight=False,
        soft_wrap=True,
    )
    return score


def _interval(score: Score) -> tuple[float, float]:
    """The 95% interval of Wilson for the accuracy."""
    n, p, z = score.number, score.accuracy, 1.96
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return center - half, center + half
