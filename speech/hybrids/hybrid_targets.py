"""What the frames of a corpus are to be for a hybrid recognizer: targets by alignment."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ...core import whole_file
from ..corpora.corpus import Utterances
from . import alignment, flat_start, hybrid, state_graph, tying
from .alignment import Alignment
from .hybrid import Hybrid
from .hybrid_config import HybridRun
from .lexicon import Lexicon
from .state_graph import StateGraph
from .tying import Context, Moments, Tying

Targets = list[np.ndarray | None]  # tied states [frames]; None where a recording is too short

FEATURES = 80  # log-mel energies and their differences, by which a flat start and trees go
PART = 512  # recordings whose features are in memory at once


class FlatStart(NamedTuple):
    """Tied states, and where they are in the training recordings."""

    tying: Tying
    targets: Targets


def start_flat(
    config: HybridRun, utterances: Utterances, spoken: Lexicon, console: Console
) -> FlatStart:
    """Finds tied states and targets from recordings and their texts alone.

    First states without context are aligned, then trees are grown on what they got, and their
    leaves are aligned again, on up to `config.flat_recordings` of the recordings; in the end all of
    them.

    Args:
        config: the run.
        utterances: recordings and their texts.
        spoken: pronunciations of all words.
        console: for the progress.

    Raises:
        ValueError: if words have no pronunciation, or every recording is too short for its text.
    """
    number = len(utterances)
    chosen = np.unique(np.linspace(0, number - 1, min(number, config.flat_recordings)).astype(int))
    texts = [utterances.texts[index] for index in chosen]
    features = _read(config, utterances, chosen)
    states = tying.monophones(spoken.phones, states=config.states)
    graphs = build_graphs(states, texts, spoken)
    paths = [alignment.uniform(g, len(x)) for g, x in zip(graphs, features, strict=True)]
    with Progress(console=console) as progress:
        rounds = config.rounds * (2 if config.pdfs else 1)
        task = progress.add_task("aligning from a flat start", total=rounds)

        def settle(graphs, paths, states):
            return flat_start.settle(
                features,
                graphs,
                paths,
                states.num_pdfs,
                rounds=config.rounds,
                advance=lambda number: progress.advance(task, number),
            )

        found, paths = settle(graphs, paths, states)
        if config.pdfs:
            base, statistics = states, gather(features, graphs, paths)
            states = tying.grow(base, statistics, num_pdfs=max(config.pdfs, base.num_pdfs))
            graphs = build_graphs(states, texts, spoken)
            split = found.split(tying.parents(states, base))
            found, paths = settle(graphs, flat_start.align(split, features, graphs), states)
    targets: Targets = []
    for first in range(0, number, PART):
        members = np.arange(first, min(first + PART, number))
        graphs = build_graphs(states, [utterances.texts[index] for index in members], spoken)
        features = _read(config, utterances, members)
        targets += _read_off(graphs, flat_start.align(found, features, graphs))
    return FlatStart(states, targets)


def find_targets(
    model: Hybrid, utterances: Utterances, spoken: Lexicon, console: Console
) -> Targets:
    """The alignment of recordings by a recognizer.

    Args:
        model: the recognizer.
        utterances: recordings and their texts.
        spoken: pronunciations of all words.
        console: for the progress.

    Raises:
        ValueError: if words have no pronunciation, or every recording is too short for its text.
    """
    graphs = build_graphs(model.tying, utterances.texts, spoken)
    waveforms = [utterance.waveform for utterance in utterances]
    with Progress(console=console) as progress:
        task = progress.add_task("aligning", total=len(graphs))
        paths = hybrid.align_graphs(
            model, waveforms, graphs, advance=lambda number: progress.advance(task, number)
        )
    targets = _read_off(graphs, paths)
    if all(frames is None for frames in targets):
        raise ValueError("`data` must hold a training recording that is as long as its text needs.")
    return targets


def build_graphs(states: Tying, texts: Sequence[str], spoken: Lexicon) -> list[StateGraph]:
    """The graph of each text; see `state_graph.build`."""
    return [state_graph.build(text.split(), spoken, states) for text in texts]


def save(path: Path, targets: Targets) -> None:
    """Writes targets into one file, atomically."""
    parts = [np.zeros(0, np.int32) if frames is None else frames for frames in targets]
    lengths = np.array([len(part) for part in parts])
    with whole_file.draft(path) as draft, draft.open("wb") as file:
        np.savez_compressed(file, targets=np.concatenate(parts), lengths=lengths)


def load(path: Path) -> Targets:
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        parts = np.split(file["targets"], np.cumsum(file["lengths"])[:-1])
    return [part if len(part) else None for part in parts]


def gather(
    features: Sequence[np.ndarray],
    graphs: Sequence[StateGraph],
    paths: Sequence[Alignment | None],
) -> dict[Context, Moments]:
    """Sums of the features that were aligned to each state in context.

    Args:
        features: ``[frames, features]`` of each recording.
        graphs: of each.
        paths: through them; None leaves a recording out.
    """
    found: dict[Context, Moments] = {}
    for x, graph, path in zip(features, graphs, paths, strict=True):
        if path is None:
            continue
        frames = x.astype(np.float64)
        for state in np.unique(path.states):
            chosen = frames[path.states == state]
            moments = Moments(float(len(chosen)), chosen.sum(axis=0), (chosen**2).sum(axis=0))
            context = graph.contexts[state]
            known = found.get(context)
            found[context] = moments if known is None else known.add(moments)
    return found


def frame_error(model: Hybrid, utterances: Utterances, spoken: Lexicon) -> float:
    """The share of frames whose likeliest tied state is not that of the model's own alignment."""
    waveforms = [utterance.waveform for utterance in utterances]
    graphs = build_graphs(model.tying, utterances.texts, spoken)
    targets = _read_off(graphs, hybrid.align_graphs(model, waveforms, graphs))
    scores = hybrid.log_likelihoods(model, waveforms, prior_scale=0.0)
    wrong = [
        frames.argmax(axis=1) != target
        for frames, target in zip(scores, targets, strict=True)
        if target is not None
    ]
    return float(np.mean(np.concatenate(wrong))) if wrong else 0.0


def _read(config: HybridRun, utterances: Utterances, members: np.ndarray) -> list[np.ndarray]:
    waveforms = [utterances[int(index)].waveform for index in members]
    return [
        np.ascontiguousarray(x[:, :FEATURES]) for x in hybrid.read_features(config.data, waveforms)
    ]


def _read_off(graphs: Sequence[StateGraph], paths: Sequence[Alignment | None]) -> Targets:
    return [
        None if path is None else graph.pdfs[path.states]
        for graph, path in zip(graphs, paths, strict=True)
    ]
