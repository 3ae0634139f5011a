"""The job of training a hybrid recognizer from a flat start, in a run folder of its own.

    1. All states of an utterance get equal parts of its frames, and the acoustic model of states
       without context is trained on that.
    2. It aligns the training recordings anew, and goes on with the new targets; `rounds` times.
    3. From the last alignment a tree for each state of each phone is grown. The output layer is
       widened to the tied states, each of which starts as the one that it came from, and the model
       is trained for most of the steps, aligned once more halfway.

No Gaussian mixtures are trained, as a usual flat start does.  Every stage has a folder with its
checkpoints and its alignment, so that an interrupted run continues where it was:

    stages/0 ..        checkpoints and metrics of each, alignment.npz with its targets
    tying.json         the trees
    hybrid.safetensors the acoustic model, packed
    lexicon.txt        the pronunciations that it was trained with
    result.json        frame error rates
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import cattrs
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.progress import Progress

from ..core import learners, run_folder, training
from . import alignment, hybrid, letter_to_sound, lexicon, recipe, state_graph, training_data, tying
from .acoustic_model import (
    PRESETS,
    AcousticModel,
    AcousticModelConfig,
    count_priors,
    unroll,
    widen_output,
)
from .alignment import Alignment
from .corpus import Corpus, Utterances
from .frame_batches import NO_TARGET, FrameBatches, num_frames
from .hybrid import Hybrid
from .lexicon import Lexicon
from .perturbation import augmented_features
from .run_config import (
    AugmentationConfig,
    DataConfig,
    LearnersConfig,
    OptimizerConfig,
    SpeechConfig,
)
from .state_graph import StateGraph
from .tying import Context, Moments, Tying

PACKED, TYING, LEXICON = "hybrid.safetensors", "tying.json", "lexicon.txt"
TREE_FEATURES = 80  # log-mel energies and their differences, which trees are grown on


@dataclass(frozen=True)
class HybridRun:
    """A hybrid recognizer and how it is trained."""

    data: DataConfig = field(
        default_factory=lambda: DataConfig(speed=(0.9, 1.1), join_probability=0.0, spliced=0.0)
    )
    model: AcousticModelConfig = field(default_factory=lambda: PRESETS["small"])
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(steps=1200, peak_learning_rate=4e-3)
    )
    """Steps are those of the last stages, with tied states."""
    learners: LearnersConfig = field(default_factory=lambda: LearnersConfig(number=1))
    lexicon: str = "cmu"
    """`cmu` (the CMU dictionary, of the extra `hybrid`), `graphemic` (letters as phones, for any
    language), or the path of a dictionary with a word and its phones in each line."""
    states: int = 2
    """States of a phone; each takes at least 20 ms."""
    pdfs: int = 400
    """Tied states; 0 leaves out the trees."""
    rounds: int = 3
    """Alignments of states without context."""
    round_steps: int = 150
    """Steps before each of them."""
    unroll: int = 0
    """Frames of a part that is read as if it were whole (21 in arXiv:2110.11199); 0 reads whole
    recordings."""
    seed: int = 0
    """Seed of the parameters, the order of the recordings and every random draw."""
    log_every: int = 20
    """Steps between log lines."""
    checkpoint_every: int = 150
    """Steps between checkpoints."""
    run: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Run folder; `runs/hybrid` by default."""

    def check(self) -> None:
        """Refuses numbers out of range.

        Raises:
            ValueError: if there are such.
        """
        for name in ("states", "rounds", "round_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.unroll < 0 or self.pdfs < 0:
            raise ValueError(
                f"`unroll` and `pdfs` must be at least 0, got {self.unroll} and {self.pdfs}."
            )
        if self.learners.asynchronous:
            raise ValueError(
                f"`--engine` must be vmap, shard_map or pmap for a hybrid, got "
                f"{self.learners.engine}."
            )
        if self.data.corpus == "prompts" and self.lexicon == "cmu" and self.data.language != "en":
            raise ValueError("`lexicon` cmu is English; choose graphemic.")


@dataclass(frozen=True)
class _Stage:
    """Steps between two alignments."""

    number: int
    steps: int
    kind: Literal["flat", "aligned", "tied"]


def train(config: HybridRun) -> Hybrid:
    """Trains, or continues an interrupted run, and packs the model.

    Args:
        config: the run.

    Returns:
        The recognizer.

    Raises:
        ValueError: if an option is out of range, the folder belongs to another run, or no training
            recording can be aligned.
        FloatingPointError: if training diverged.
    """
    config.check()
    speech = SpeechConfig(
        data=config.data,
        augmentation=config.augmentation,
        optimizer=config.optimizer,
        learners=config.learners,
    )
    corpus = training_data.load_corpus(speech)
    words = sorted(
        {word for split in _splits(corpus) for text in split.texts for word in text.split()}
    )
    spoken = load_lexicon(config.lexicon, words)
    folder = run_folder.open_run(
        config.run or Path("runs/hybrid"),
        cattrs.unstructure(dataclasses.replace(config, run=None)),
        seed=config.seed,
    )
    lexicon.write(folder / LEXICON, spoken)
    console = Console(stderr=True)
    states = tying.monophones(spoken.phones, states=config.states)
    current = _start(config, states)
    stages = [
        _Stage(k, config.round_steps, "aligned" if k else "flat") for k in range(config.rounds)
    ]
    if config.pdfs:
        half = config.optimizer.steps // 2
        stages += [
            _Stage(config.rounds, half, "tied"),
            _Stage(config.rounds + 1, config.optimizer.steps - half, "tied"),
        ]
    targets: list[np.ndarray | None] = []
    for stage in stages:
        path = folder / "stages" / str(stage.number)
        path.mkdir(parents=True, exist_ok=True)
        if stage.number == config.rounds and stage.kind == "tied":
            current = _tie(config, folder, current, corpus.train, spoken, console)
        targets = _targets(path, stage, current, corpus.train, spoken, console)
        kept = [frames for frames in targets if frames is not None]
        priors = count_priors(kept, current.tying.num_pdfs)
        params = _fit(config, speech, stage, path, current, corpus.train, targets)
        current = current._replace(params=params, log_priors=priors)
    hybrid.save(folder / PACKED, current)
    result = hybrid.load(folder / PACKED)
    facts = {
        "pdfs": result.tying.num_pdfs,
        "frame_error": frame_error(result, corpus.dev, spoken),
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


def find_pronunciations(folder: str | Path, name: str | None, words: Sequence[str]) -> Lexicon:
    """The pronunciations of words for the recognizer of a run.

    Args:
        folder: of the run.
        name: see `HybridRun.lexicon`; None stands for that of the run.
        words: which words.

    Raises:
        ValueError: if the lexicon cannot be read, or words have no pronunciation.
    """
    if name is not None:
        return load_lexicon(name, words)
    known = lexicon.read(Path(folder) / LEXICON)
    missing = [word for word in words if word not in known]
    if not missing:
        return known.of(words)
    kind = run_folder.read_config(folder)["lexicon"]
    return load_lexicon(kind, words)


def load_lexicon(name: str, words: Sequence[str]) -> Lexicon:
    """The pronunciations of words.

    Args:
        name: see `HybridRun.lexicon`.
        words: all of the corpus.

    Returns:
        Those of the words, in letter-to-sound where the lexicon lacks them.
    """
    if name == "graphemic":
        return lexicon.graphemic(words)
    whole = lexicon.cmu() if name == "cmu" else lexicon.read(name)
    return letter_to_sound.cover(whole, words).of(words)


def frame_error(model: Hybrid, utterances: Utterances, spoken: Lexicon) -> float:
    """The share of frames whose most likely tied state is not the one of the forced alignment."""
    waveforms = [utterance.waveform for utterance in utterances]
    graphs = [state_graph.build(text.split(), spoken, model.tying) for text in utterances.texts]
    paths = hybrid.align_graphs(model, waveforms, graphs)
    scores = hybrid.log_likelihoods(model, waveforms, prior_scale=0.0)
    wrong, number = 0, 0
    for path, graph, frames in zip(paths, graphs, scores, strict=True):
        if path is not None:
            wrong += int(np.sum(frames.argmax(axis=1) != graph.pdfs[path.states]))
            number += len(frames)
    return wrong / max(number, 1)


def loss_function(
    config: HybridRun, speech: SpeechConfig, model: AcousticModel
) -> Callable[..., Any]:
    """``loss(variables, batch, key)``: mean cross-entropy of the frames that have a target.

    Args:
        config: the run.
        speech: its data and augmentation.
        model: the network.

    Returns:
        The loss, with a batch as `frame_batches` describes, without the axis of learners.
    """
    apply: Callable[..., Any] = model.apply

    def loss(variables: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        feature_key, dropout_key = jax.random.split(key)
        inputs, paddings = augmented_features(speech, batch, feature_key)
        targets = batch["targets"][:, : inputs.shape[1]]
        if config.unroll:
            targets = unroll(targets + 1, config.unroll) - 1  # filled with no target
            paddings = 1 - unroll(1 - paddings, config.unroll)
            inputs = unroll(inputs, config.unroll)
        options = {"deterministic": False, "rngs": {"dropout": dropout_key}}
        logits = apply(variables, inputs, paddings, **options)
        valid = (targets != NO_TARGET) & (paddings == 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(targets, 0))
        number = jnp.maximum(jnp.sum(valid), 1)
        wrong = jnp.sum((jnp.argmax(logits, axis=-1) != targets) & valid) / number
        return jnp.sum(losses, where=valid) / number, {"frame_error": wrong}

    return loss


def _splits(corpus: Corpus) -> tuple[Utterances, ...]:
    return corpus.train, corpus.dev, corpus.test


def _start(config: HybridRun, states: Tying) -> Hybrid:
    """A recognizer that has seen nothing."""
    model = AcousticModel(config.model, states.num_pdfs)
    params: Any = model.lazy_init(
        jax.random.key(config.seed),
        jax.ShapeDtypeStruct((1, 8, recipe.NUM_FEATURES), jnp.float32),
        jax.ShapeDtypeStruct((1, 8), jnp.float32),
    )
    priors = count_priors([], states.num_pdfs)
    return Hybrid(config.model, config.data, states, priors, params)


def _fit(
    config: HybridRun,
    speech: SpeechConfig,
    stage: _Stage,
    path: Path,
    current: Hybrid,
    utterances: Utterances,
    targets: list[np.ndarray | None],
) -> Any:
    """Trains on targets; gives the parameters, averaged over the learners."""
    number, engine = config.learners.number, config.learners.engine
    assert engine != "threads"
    assert engine != "ray"  # as `check` has made sure
    options = dataclasses.replace(
        speech, optimizer=dataclasses.replace(config.optimizer, steps=stage.steps)
    )
    optimizer = recipe.optimizer(options)
    step = training.train_step(
        loss_function(config, speech, current.model), optimizer, axis_name="learner"
    )
    batches = FrameBatches(
        utterances,
        targets,
        sample_rate=config.data.sample_rate,
        buckets=config.data.buckets,
        num_learners=number,
        seed=config.seed + stage.number,
        speed=config.data.speed,
    )
    key = jax.random.key(config.seed + 1 + stage.number)
    state = training.fit(
        learners.spread(step, number, engine=engine, donate_argnums=0),
        training.init_state(current.params, optimizer, key, num_learners=number),
        batches,
        run_folder=path,
        num_steps=stage.steps,
        checkpoint_every=config.checkpoint_every,
        log_every=config.log_every,
        schedule=recipe.schedule(options.optimizer),
        keep=1,
    )
    return learners.average(state.params)


def _targets(
    path: Path,
    stage: _Stage,
    current: Hybrid,
    utterances: Utterances,
    spoken: Lexicon,
    console: Console,
) -> list[np.ndarray | None]:
    """The tied state of each frame of each recording; None where it is too short for its text."""
    stored = path / "alignment.npz"
    if stored.exists():
        with np.load(stored, allow_pickle=False) as file:
            parts = np.split(file["targets"], np.cumsum(file["lengths"])[:-1])
        return [part if len(part) else None for part in parts]
    graphs, paths = _paths(stage.kind == "flat", current, utterances, spoken, console)
    targets = [
        None if found is None else graph.pdfs[found.states]
        for graph, found in zip(graphs, paths, strict=True)
    ]
    if all(frames is None for frames in targets):
        raise ValueError("`data` must hold a training recording that is as long as its text needs.")
    parts = [np.zeros(0, np.int32) if frames is None else frames for frames in targets]
    partial = path / "alignment.partial.npz"
    lengths = np.array([len(part) for part in parts])
    np.savez_compressed(partial, targets=np.concatenate(parts), lengths=lengths)
    partial.replace(stored)
    return targets


def _paths(
    is_flat: bool, current: Hybrid, utterances: Utterances, spoken: Lexicon, console: Console
) -> tuple[list[StateGraph], list[Alignment | None]]:
    graphs = [state_graph.build(text.split(), spoken, current.tying) for text in utterances.texts]
    waveforms = [utterance.waveform for utterance in utterances]
    if is_flat:
        rate = current.data.sample_rate
        return graphs, [
            alignment.uniform(graph, num_frames(len(waveform), rate))
            for graph, waveform in zip(graphs, waveforms, strict=True)
        ]
    with Progress(console=console) as progress:
        task = progress.add_task("aligning", total=len(graphs))
        paths = hybrid.align_graphs(
            current,
            waveforms,
            graphs,
            advance=lambda number: progress.advance(task, number),
        )
    return graphs, paths


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
        graphs, paths = _paths(False, current, utterances, spoken, console)
        statistics = gather(current, utterances, graphs, paths)
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


def gather(
    model: Hybrid,
    utterances: Utterances,
    graphs: Sequence[StateGraph],
    paths: Sequence[Alignment | None],
) -> dict[Context, Moments]:
    """Sums of the features that were aligned to each state in context.

    Args:
        model: whose features are taken.
        utterances: the recordings.
        graphs: of each.
        paths: through them; None leaves a recording out.
    """
    found: dict[Context, Moments] = {}
    inputs = hybrid.read_features(model.data, [utterance.waveform for utterance in utterances])
    for features, graph, path in zip(inputs, graphs, paths, strict=True):
        if path is None:
            continue
        frames = features[:, :TREE_FEATURES].astype(np.float64)
        for state in np.unique(path.states):
            chosen = frames[path.states == state]
            moments = Moments(float(len(chosen)), chosen.sum(axis=0), (chosen**2).sum(axis=0))
            context = graph.contexts[state]
            known = found.get(context)
            found[context] = moments if known is None else known.add(moments)
    return found
