"""The job of training a hybrid recognizer from a flat start, in a run folder of its own.

    1. All states of an utterance get equal parts of its frames, and the acoustic model of states
       without context is trained on that.
    2. It aligns the training recordings anew, and goes on with the new targets; `rounds` times.
    3. From the last alignment a tree for each state of each phone is grown. The output layer is
       widened to the tied states, each of which starts as the one that it came from, and the model
       is trained for most of the steps, aligned once more halfway.

No Gaussian mixtures are trained, as a usual flat start does.  A run from another one takes that
one's states, sizes and alignment, and only trains, for instance under fake quantization.  Every
stage has a folder with its checkpoints and its alignment, so that an interrupted run continues
where it was:

    stages/0 ..        checkpoints and metrics of each, alignment.npz with its targets
    tying.json         the trees
    hybrid.safetensors the acoustic model, packed
    lexicon.txt        the pronunciations that it was trained with
    words.arpa         n-grams of the training transcripts, with all words of the corpus
    result.json        frame error rates
"""

import dataclasses
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cattrs
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from ..core import checkpoint, run_folder
from . import (
    arpa,
    front_end,
    hybrid,
    hybrid_targets,
    hybrid_training,
    lexicon,
    ngram,
    pronunciations,
    recipe,
    training_data,
    tying,
)
from .acoustic_model import AcousticModel, count_priors, widen_output
from .calibration import calibrate, first_clips
from .corpus import Utterances
from .hybrid import Hybrid
from .hybrid_config import HybridRun
from .hybrid_folder import LEXICON, PACKED, TYING, WORDS
from .hybrid_targets import Targets
from .lexicon import Lexicon
from .policies import deploy_variables, named_policy
from .tying import Tying


@dataclass(frozen=True)
class _Stage:
    """Steps after an alignment."""

    kind: Literal["flat", "aligned", "tied"]
    steps: int


def train(config: HybridRun) -> Hybrid:
    """Trains, or continues an interrupted run, and packs the model.

    Args:
        config: the run.

    Returns:
        The recognizer.

    Raises:
        ValueError: if an option is out of range, the folder belongs to another run, the run to
            start from does not fit, or no training recording can be aligned.
        FloatingPointError: if training diverged.
    """
    config.check()
    corpus = training_data.load_corpus(config.speech)
    splits = corpus.train, corpus.dev, corpus.test
    words = sorted({word for split in splits for text in split.texts for word in text.split()})
    if config.start_from is None:
        spoken = pronunciations.load(config.lexicon, words)
        current = _draw(config, tying.monophones(spoken.phones, states=config.states))
    else:
        current = _read_source(config)
        spoken = pronunciations.of_run(config.start_from, None, words)
        kept = run_folder.read_config(config.start_from)["lexicon"]
        config = dataclasses.replace(config, model=current.config, lexicon=kept)
    folder = run_folder.open_run(
        config.run or Path("runs/hybrid"),
        cattrs.unstructure(dataclasses.replace(config, run=None)),
        seed=config.seed,
    )
    lexicon.write(folder / LEXICON, spoken)
    texts = ngram.train(corpus.train.texts, order=config.order, vocabulary=words)
    arpa.write_arpa(folder / WORDS, texts)
    console = Console(stderr=True)
    targets: Targets = []
    for number, stage in enumerate(_plan(config)):
        path = folder / "stages" / str(number)
        path.mkdir(parents=True, exist_ok=True)
        if stage.kind == "tied" and number == config.rounds:
            current = _tie(config, folder, current, corpus.train, spoken, console)
        targets = _targets(path, stage, current, corpus.train, spoken, console)
        current = _fit(config, number, stage, path, current, corpus.train, targets)
    hybrid.save(folder / PACKED, current)
    result = hybrid.load(folder / PACKED)
    facts = {
        "pdfs": result.tying.num_pdfs,
        "frame_error": hybrid_targets.frame_error(result, corpus.dev, spoken),
        "recordings": len(corpus.train),
        "left_out": sum(frames is None for frames in targets),
    }
    (folder / "result.json").write_text(json.dumps(facts, indent=2) + "\n")
    return result


def read_run(folder: str | Path) -> Hybrid:
    """The packed recognizer of a finished run.

    Raises:
        ValueError: if the folder holds none.
    """
    path = Path(folder) / PACKED
    if not path.exists():
        raise ValueError(
            f"{folder}: no {PACKED} there; `gossamer train hybrid --run {folder}` writes it at its "
            "end."
        )
    return hybrid.load(path)


def _plan(config: HybridRun) -> list[_Stage]:
    steps = config.optimizer.steps
    if config.start_from is not None:
        return [_Stage("aligned", steps)]
    rounds = [_Stage("aligned" if k else "flat", config.round_steps) for k in range(config.rounds)]
    last = "tied" if config.pdfs else "aligned"
    return [*rounds, _Stage(last, steps // 2), _Stage(last, steps - steps // 2)]


def _draw(config: HybridRun, states: Tying) -> Hybrid:
    """A recognizer that has seen nothing."""
    model = AcousticModel(config.model, states.num_pdfs)
    params: Any = model.lazy_init(jax.random.key(config.seed), *_shapes())
    priors = count_priors([], states.num_pdfs)
    return Hybrid(config.model, config.data, states, priors, params)


def _read_source(config: HybridRun) -> Hybrid:
    """The recognizer that a run goes on from."""
    assert config.start_from is not None
    source = read_run(config.start_from)
    if source.quantize is not None:
        raise ValueError(
            f"`--from {config.start_from}` holds codes, not numbers to go on from; name the float "
            "run that it came from."
        )
    for name in ("sample_rate", "normalization", "language"):
        there, here = getattr(source.data, name), getattr(config.data, name)
        if there != here:
            raise ValueError(
                f"`data.{name}` must be {there}, that of `--from {config.start_from}`, got {here}."
            )
    return source._replace(data=config.data)


def _targets(
    path: Path,
    stage: _Stage,
    current: Hybrid,
    utterances: Utterances,
    spoken: Lexicon,
    console: Console,
) -> Targets:
    """The tied state of each frame of each recording, as a stage begins."""
    stored = path / "alignment.npz"
    if stored.exists():
        return hybrid_targets.load(stored)
    found = (
        hybrid_targets.cut_evenly(current, utterances, spoken)
        if stage.kind == "flat"
        else hybrid_targets.find_paths(current, utterances, spoken, console)
    )
    targets = hybrid_targets.read_off(*found)
    hybrid_targets.save(stored, targets)
    return targets


def _fit(
    config: HybridRun,
    number: int,
    stage: _Stage,
    path: Path,
    current: Hybrid,
    utterances: Utterances,
    targets: Targets,
) -> Hybrid:
    """The recognizer after a stage; its codes, if the run quantizes."""
    model = AcousticModel(current.config, current.tying.num_pdfs, named_policy(config.quantize))
    variables = current.params
    if model.policy is not None:
        variables |= {"clips": _clips(config, model, current, path, utterances, targets)}
    variables = hybrid_training.fit(
        config, model, variables, utterances, targets, path, num_steps=stage.steps, stage=number
    )
    kept = [frames for frames in targets if frames is not None]
    return current._replace(
        params=deploy_variables(model.policy, variables),
        log_priors=count_priors(kept, current.tying.num_pdfs),
        quantize=config.quantize,
    )


def _clips(
    config: HybridRun,
    model: AcousticModel,
    current: Hybrid,
    path: Path,
    utterances: Utterances,
    targets: Targets,
) -> dict[str, Any]:
    """The clips that training under fake quantization starts with."""
    params = current.params["params"]
    if checkpoint.steps(path / "checkpoints"):  # which has those of the run
        return first_clips(model, params, *_shapes())
    batches = hybrid_training.training_batches(config, utterances, targets, seed=config.seed)
    features = functools.partial(front_end.recognizer_inputs, config.data)
    return calibrate(
        model,
        params,
        batches,
        lambda batch: features(batch["waveform"], batch["waveform_paddings"]),
    )


def _shapes() -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """What an acoustic model reads."""
    shape = (1, 8, recipe.NUM_FEATURES)
    return jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape[:2], jnp.float32)


def _tie(
    config: HybridRun,
    folder: Path,
    current: Hybrid,
    utterances: Utterances,
    spoken: Lexicon,
    console: Console,
) -> Hybrid:
    """The same recognizer with tied states of phones in context."""
    path = folder / TYING
    if path.exists():
        states = Tying.from_json(json.loads(path.read_text(encoding="utf-8")))
    else:
        graphs, paths = hybrid_targets.find_paths(current, utterances, spoken, console)
        statistics = hybrid_targets.gather(current, utterances, graphs, paths)
        states = tying.grow(
            current.tying, statistics, num_pdfs=max(config.pdfs, current.tying.num_pdfs)
        )
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(states.to_json()), encoding="utf-8")
        partial.replace(path)
    parents = np.zeros(states.num_pdfs, int)
    for phone in states.phones:
        for state in range(states.num_states(phone)):
            parent = current.tying.pdf(tying.SILENCE, phone, tying.SILENCE, state)
            parents[tying.leaves(states.trees[phone][state])] = parent
    params = current.params | {"params": widen_output(current.params["params"], parents)}
    shares = np.log(np.bincount(parents))[parents].astype(np.float32)
    return current._replace(
        tying=states, params=params, log_priors=current.log_priors[parents] - shares
    )
