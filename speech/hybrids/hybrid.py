"""A hybrid recognizer: an acoustic model of tied states, and what it knows of them.

The acoustic model gives each frame a probability of every tied state; divided by the states' priors
these are likelihoods, with which known words are aligned (`align`) or unknown ones decoded
(`log_likelihoods` and `graph_decoding`).  A packed hybrid is one safetensors file, see `packing`.
"""

import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import cattrs
import jax
import jax.numpy as jnp
import numpy as np

from ...core import packing
from .. import waveform_batches
from ..features import HOP_SECONDS, STACK
from ..front_end import recognizer_inputs
from ..names import PolicyName
from ..policies import named_policy
from ..run_config import DataConfig
from . import alignment, state_graph
from .acoustic_model import AcousticModel
from .acoustic_model_config import AcousticModelConfig
from .alignment import Alignment, Segment
from .state_graph import Pronunciations, StateGraph
from .tying import Tying

FORMAT = "gossamer-hybrid-1"
FRAME_SECONDS = HOP_SECONDS * STACK


class Hybrid(NamedTuple):
    """What is needed to align and to decode."""

    config: AcousticModelConfig
    data: DataConfig
    tying: Tying
    log_priors: np.ndarray  # [pdfs] float32
    params: Any  # variables of the acoustic model: float32, or codes and clips if quantized
    quantize: PolicyName | None = None

    @property
    def model(self) -> AcousticModel:
        """The network that ``params`` belong to."""
        return AcousticModel(self.config, self.tying.num_pdfs, named_policy(self.quantize))


def log_likelihoods(
    hybrid: Hybrid, waveforms: Sequence[np.ndarray], *, prior_scale: float = 1.0
) -> list[np.ndarray]:
    """Log likelihoods of tied states, up to a constant for each frame.

    Args:
        hybrid: the recognizer.
        waveforms: recordings ``[samples]`` in [-1, 1] at its sample rate.
        prior_scale: what the log priors count.

    Returns:
        ``[frames, pdfs]`` float32 of each recording.
    """
    found: list[np.ndarray] = [np.zeros((0, hybrid.tying.num_pdfs), np.float32)] * len(waveforms)
    for members in waveform_batches.group(waveforms, hybrid.data.sample_rate):
        log_posteriors, lengths = _run(hybrid, [waveforms[index] for index in members])
        for index, frames, length in zip(members, log_posteriors, lengths, strict=False):
            found[index] = frames[:length] - prior_scale * hybrid.log_priors
    return found


def read_features(data: DataConfig, waveforms: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What an acoustic model reads of recordings, ``[frames, 240]`` each."""
    found: list[np.ndarray] = [np.zeros((0, 0), np.float32)] * len(waveforms)
    for members in waveform_batches.group(waveforms, data.sample_rate):
        batch = waveform_batches.stack([waveforms[index] for index in members], data.sample_rate)
        inputs, paddings = jax.device_get(_features(data, *batch))
        for index, frames, padded in zip(members, inputs, paddings, strict=False):
            found[index] = frames[padded == 0]
    return found


def align(
    hybrid: Hybrid,
    waveforms: Sequence[np.ndarray],
    texts: Sequence[str],
    pronunciations: Pronunciations,
) -> list[tuple[list[Segment], list[Segment]] | None]:
    """When the phones and words of known texts are spoken.

    Args:
        hybrid: the recognizer.
        waveforms: recordings ``[samples]`` in [-1, 1] at its sample rate.
        texts: what is said in each.
        pronunciations: of its words.

    Returns:
        For each recording its phones and its words, see `alignment.segments`; None where it is too
        short for its text.

    Raises:
        ValueError: if words have no pronunciation.
    """
    graphs = [state_graph.build(text.split(), pronunciations, hybrid.tying) for text in texts]
    paths = align_graphs(hybrid, waveforms, graphs)
    return [
        None
        if path is None
        else alignment.segments(path, graph, text.split(), frame_seconds=FRAME_SECONDS)
        for path, graph, text in zip(paths, graphs, texts, strict=True)
    ]


def align_graphs(
    hybrid: Hybrid,
    waveforms: Sequence[np.ndarray],
    graphs: Sequence[StateGraph],
    *,
    advance: Callable[[int], None] = lambda number: None,
) -> list[Alignment | None]:
    """The best path of each recording through its graph; None where there is none.

    Args:
        hybrid: the recognizer.
        waveforms: recordings.
        graphs: of each, see `state_graph`.
        advance: is told how many more are done.
    """
    found: list[Alignment | None] = [None] * len(waveforms)
    for members in waveform_batches.group(waveforms, hybrid.data.sample_rate):
        log_posteriors, lengths = _run(hybrid, [waveforms[index] for index in members])
        frames = log_posteriors.shape[1]
        paddings = (np.arange(frames)[None] >= lengths[:, None]).astype(np.float32)
        scores = log_posteriors - hybrid.log_priors
        chosen = [graphs[index] for index in members]
        chosen += chosen[:1] * (len(scores) - len(chosen))  # rows that only fill the batch
        paths = alignment.align(jnp.asarray(scores), jnp.asarray(paddings), chosen)
        for index, path in zip(members, paths, strict=False):
            found[index] = path
        advance(len(members))
    return found


def save(path: str | os.PathLike, hybrid: Hybrid) -> None:
    """Packs a hybrid into one file, atomically."""
    header = {
        "format": FORMAT,
        "config": json.dumps(cattrs.unstructure(hybrid.config)),
        "data": json.dumps(cattrs.unstructure(hybrid.data)),
        "quantize": json.dumps(hybrid.quantize),
        "tying": json.dumps(hybrid.tying.to_json()),
        "log_priors": json.dumps([round(float(x), 6) for x in hybrid.log_priors]),
    }
    packing.write(path, hybrid.params, header)


def load(path: str | os.PathLike) -> Hybrid:
    """Unpacks a hybrid.

    Raises:
        ValueError: if the file is not a packed hybrid of this version.
    """

    def build(header: dict[str, str], params: dict[str, Any]) -> Hybrid:
        names = ("config", "data", "tying", "log_priors", "quantize")
        fields = {name: json.loads(header[name]) for name in names}
        return Hybrid(
            cattrs.structure(fields["config"], AcousticModelConfig),
            cattrs.structure(fields["data"], DataConfig),
            Tying.from_json(fields["tying"]),
            np.array(fields["log_priors"], np.float32),
            params,
            fields["quantize"],
        )

    remedy = "train it by `gossamer train hybrid`"
    return packing.read(path, [FORMAT], "hybrid recognizer", remedy, build)


def _run(hybrid: Hybrid, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Log posteriors ``[rows, frames, pdfs]`` and numbers of frames; rows fill a power of two."""
    batch = waveform_batches.stack(waveforms, hybrid.data.sample_rate)
    return jax.device_get(_posteriors(hybrid.model, hybrid.data, hybrid.params, *batch))


_features = jax.jit(recognizer_inputs, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 1))
def _posteriors(
    model: AcousticModel, data: DataConfig, params: Any, waveform: jax.Array, paddings: jax.Array
) -> tuple[jax.Array, jax.Array]:
    apply: Callable[..., Any] = model.apply
    inputs, paddings = recognizer_inputs(data, waveform, paddings)
    logits = apply(params, inputs, paddings)
    return jax.nn.log_softmax(logits), jnp.sum(paddings == 0, axis=1).astype(jnp.int32)
