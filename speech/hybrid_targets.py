"""What the frames of a corpus are to be for a hybrid recognizer: targets by alignment.

A recognizer's own alignment of known texts gives the tied state of each frame, the training targets
of the next stage, and the statistics of states in context, from which trees are grown.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from . import alignment, hybrid, state_graph
from .alignment import Alignment
from .corpus import Utterances
from .frame_batches import num_frames
from .hybrid import Hybrid
from .lexicon import Lexicon
from .state_graph import StateGraph
from .tying import Context, Moments

Targets = list[np.ndarray | None]  # tied states [frames]; None where a recording is too short

TREE_FEATURES = 80  # log-mel energies and their differences, which trees are grown on


def find_paths(
    model: Hybrid, utterances: Utterances, spoken: Lexicon, console: Console
) -> tuple[list[StateGraph], list[Alignment | None]]:
    """The graph of each text and the best path through it.

    Args:
        model: the recognizer.
        utterances: recordings and their texts.
        spoken: pronunciations of all words.
        console: for the progress.

    Raises:
        ValueError: if words have no pronunciation.
    """
    graphs = _build(model, utterances, spoken)
    waveforms = [utterance.waveform for utterance in utterances]
    with Progress(console=console) as progress:
        task = progress.add_task("aligning", total=len(graphs))
        paths = hybrid.align_graphs(
            model, waveforms, graphs, advance=lambda number: progress.advance(task, number)
        )
    return graphs, paths


def cut_evenly(
    model: Hybrid, utterances: Utterances, spoken: Lexicon
) -> tuple[list[StateGraph], list[Alignment | None]]:
    """As `find_paths`, with equal parts of the frames for all states, as a flat start has it."""
    graphs = _build(model, utterances, spoken)
    rate = model.data.sample_rate
    return graphs, [
        alignment.uniform(graph, num_frames(len(utterance.waveform), rate))
        for graph, utterance in zip(graphs, utterances, strict=True)
    ]


def read_off(graphs: Sequence[StateGraph], paths: Sequence[Alignment | None]) -> Targets:
    """The tied states along paths.

    Raises:
        ValueError: if no recording has a path.
    """
    targets: Targets = [
        None if path is None else graph.pdfs[path.states]
        for graph, path in zip(graphs, paths, strict=True)
    ]
    if all(frames is None for frames in targets):
        raise ValueError("`data` must hold a training recording that is as long as its text needs.")
    return targets


def save(path: Path, targets: Targets) -> None:
    """Writes targets into one file, atomically."""
    parts = [np.zeros(0, np.int32) if frames is None else frames for frames in targets]
    partial = path.with_suffix(".partial.npz")
    lengths = np.array([len(part) for part in parts])
    np.savez_compressed(partial, targets=np.concatenate(parts), lengths=lengths)
    partial.replace(path)


def load(path: Path) -> Targets:
    """Reads what `save` wrote."""
    with np.load(path, allow_pickle=False) as file:
        parts = np.split(file["targets"], np.cumsum(file["lengths"])[:-1])
    return [part if len(part) else None for part in parts]


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


def frame_error(model: Hybrid, utterances: Utterances, spoken: Lexicon) -> float:
    """The share of frames whose likeliest tied state is not that of the model's own alignment."""
    waveforms = [utterance.waveform for utterance in utterances]
    graphs = _build(model, utterances, spoken)
    paths = hybrid.align_graphs(model, waveforms, graphs)
    scores = hybrid.log_likelihoods(model, waveforms, prior_scale=0.0)
    wrong, number = 0, 0
    for path, graph, frames in zip(paths, graphs, scores, strict=True):
        if path is not None:
            wrong += int(np.sum(frames.argmax(axis=1) != graph.pdfs[path.states]))
            number += len(frames)
    return wrong / max(number, 1)


def _build(model: Hybrid, utterances: Utterances, spoken: Lexicon) -> list[StateGraph]:
    return [state_graph.build(text.split(), spoken, model.tying) for text in utterances.texts]
