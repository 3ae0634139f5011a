"""The job of training a hybrid recognizer from a flat start, in a run folder of its own.

    1. Linear discriminants align the training recordings from nothing, first states without
       context, then those that trees tie, see `flat_start`.
    2. The network learns which tied state each frame has; on demand it aligns anew and goes on.

No Gaussian mixtures are trained.  A run from another one takes that one's states, sizes and
alignment, and only trains, for instance under fake quantization.  Every stage has a folder with its
checkpoints and its alignment, so that an interrupted run continues where it was:

    tying.json         the trees
    stages/0 ..        checkpoints and metrics of each, alignment.npz with its targets
    hybrid.safetensors the acoustic model, packed
    lexicon.txt        the pronunciations that it was trained with
    words.arpa         n-grams of the training transcripts, with all words of the corpus
    result.json        frame error rates
"""

import dataclasses
import functools
import itertools
import json
from pathlib import Path
from typing import Any

import cattrs
import jax
import jax.numpy as jnp
from rich.console import Console

from ...core import checkpoint, run_folder, whole_file
from ...core.quantized_variables import deploy_variables
from .. import front_end, recipe, training_data
from ..calibration import calibrate, first_clips
from ..corpora.corpus import Utterances
from ..graphs import arpa, ngram
from ..policies import named_policy
from ..run_config import DataConfig
from . import hybrid, hybrid_targets, hybrid_training, lexicon, phone_graph, pronunciations
from .acoustic_model import AcousticModel, count_priors
from .hybrid import Hybrid
from .hybrid_config import HybridRun
from .hybrid_folder import LEXICON, PACKED, TYING, WORDS
from .hybrid_targets import Targets
from .hybrid_training import Rivals
from .lexicon import Lexicon
from .tying import Tying

ALIGNMENT = "alignment.npz"


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
    source = None if config.start_from is None else _read_source(config)
    corpus = training_data.load_corpus(config.speech)
    splits = corpus.train, corpus.dev, corpus.test
    words = sorted({word for split in splits for text in split.texts for word in text.split()})
    if source is None or config.start_from is None:
        spoken = pronunciations.load(config.lexicon, words)
    else:
        spoken = pronunciations.of_run(config.start_from, None, words)
        kept = run_folder.read_config(config.start_from)["lexicon"]
        config = dataclasses.replace(config, model=source.config, lexicon=kept)
    folder = run_folder.open_run(
        config.run or Path("runs/hybrid"),
        cattrs.unstructure(dataclasses.replace(config, run=None)),
        seed=config.seed,
    )
    lexicon.write(folder / LEXICON, spoken)
    texts = ngram.train(corpus.train.texts, order=config.order, vocabulary=words)
    arpa.write_arpa(folder / WORDS, texts)
    console = Console(stderr=True)
    utterances = training_data.training_utterances(config.speech, corpus)
    if source is None:
        current = _draw(config, _start_flat(config, folder, utterances, spoken, console))
    else:
        current = source
    parts = config.realignments + 1
    bounds = [config.optimizer.steps * part // parts for part in range(parts + 1)]
    targets: Targets = []
    for number, (first, last) in enumerate(itertools.pairwise(bounds)):
        path = _stage(folder, number)
        stored = path / ALIGNMENT
        if not stored.exists():
            found = None if number else _kept_targets(config)
            if found is None:
                found = hybrid_targets.find_targets(current, utterances, spoken, console)
            hybrid_targets.save(stored, found)
        targets = hybrid_targets.load(stored)
        rivals = _rivals(current, utterances, spoken) if config.mmi else None
        current = _fit(config, number, last - first, path, current, utterances, targets, rivals)
    hybrid.save(folder / PACKED, current)
    result = hybrid.load(folder / PACKED)
    facts = {
        "pdfs": result.tying.num_pdfs,
        "frame_error": hybrid_targets.frame_error(result, corpus.dev, spoken),
        "recordings": len(utterances),
        "left_out": sum(frames is None for frames in targets),
    }
    whole_file.write_text(folder / "result.json", json.dumps(facts, indent=2) + "\n")
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


def _stage(folder: Path, number: int) -> Path:
    path = folder / "stages" / str(number)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _start_flat(
    config: HybridRun, folder: Path, utterances: Utterances, spoken: Lexicon, console: Console
) -> Tying:
    """The tied states of a flat start, whose targets are those of the first stage."""
    path, stored = folder / TYING, _stage(folder, 0) / ALIGNMENT
    if not path.exists():
        found = hybrid_targets.start_flat(config, utterances, spoken, console)
        hybrid_targets.save(stored, found.targets)
        whole_file.write_text(path, json.dumps(found.tying.to_json()))
    return Tying.from_json(json.loads(path.read_text(encoding="utf-8")))


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


def _kept_targets(config: HybridRun) -> Targets | None:
    """The last targets of the run to go on from; None if its recordings are others."""
    assert config.start_from is not None
    before = run_folder.read_config(config.start_from)
    data = cattrs.structure(before["data"], DataConfig)
    if (data, before["seed"]) != (config.data, config.seed):
        return None
    stages = [path for path in (config.start_from / "stages").glob("*") if path.name.isdigit()]
    last = max(stages, key=lambda path: int(path.name), default=config.start_from) / ALIGNMENT
    return hybrid_targets.load(last) if last.exists() else None


def _fit(
    config: HybridRun,
    number: int,
    steps: int,
    path: Path,
    current: Hybrid,
    utterances: Utterances,
    targets: Targets,
    rivals: Rivals | None,
) -> Hybrid:
    """The recognizer after a stage; its codes, if the run quantizes."""
    model = AcousticModel(current.config, current.tying.num_pdfs, named_policy(config.quantize))
    variables = current.params
    if model.policy is not None:
        variables |= {"clips": _clips(config, model, current, path, utterances, targets)}
    variables = hybrid_training.fit(
        config,
        model,
        variables,
        utterances,
        targets,
        path,
        num_steps=steps,
        stage=number,
        rivals=rivals,
    )
    kept = [frames for frames in targets if frames is not None]
    return current._replace(
        params=deploy_variables(model.policy, variables),
        log_priors=count_priors(kept, current.tying.num_pdfs),
        quantize=config.quantize,
    )


def _rivals(current: Hybrid, utterances: Utterances, spoken: Lexicon) -> Rivals:
    """All that the training texts could have said, with the priors of the states."""
    graphs = hybrid_targets.build_graphs(current.tying, utterances.texts, spoken)
    return Rivals(phone_graph.unite(graphs), current.log_priors)


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
