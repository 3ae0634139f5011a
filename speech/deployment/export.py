"""Writing a recognizer as a folder that reads speech by itself; see `transcriber.folder`.

A folder is written under another name and takes its own when it is complete.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from ... import __version__
from .. import features, filter_bank, running_moments
from ..language_model_run import TrainedLanguageModel
from ..recognizer import Recognizer, check_alone
from ..transcriber import folder as exported
from ..transcriber.front_end import FrontEnd
from . import networks
from .arithmetic import Arithmetic

# What travels along: this code, run by NumPy, ONNX Runtime and soundfile.
CODE = (
    "__init__.py",
    "speech/__init__.py",
    "speech/corpora/__init__.py",
    "speech/corpora/audio.py",
    "speech/pauses.py",
    "speech/corpora/sphere.py",
    "speech/terminal.py",
    "speech/text.py",
    "speech/transcript.py",
    "speech/word_times.py",
    "speech/transcriber",
)
START = '''"""Reads speech: python {name} recording.wav"""

import sys
from pathlib import Path

from gossamer.speech.transcriber.main import main

sys.exit(main(Path(__file__).parent, sys.argv[1:]))
'''


class Fusion(NamedTuple):
    """Language models that are exported along, and what they count."""

    external: TrainedLanguageModel | None = None
    source: TrainedLanguageModel | None = None
    external_weight: float = 0.3
    source_weight: float = 0.2
    length_reward: float = 0.0

    def models(self) -> dict[str, TrainedLanguageModel]:
        """Those that there are, by name."""
        both = {"external": self.external, "source": self.source}
        return {name: model for name, model in both.items() if model is not None}


def export(
    recognizer: Recognizer,
    path: str | os.PathLike,
    *,
    arithmetic: Arithmetic = "integer",
    model_arithmetic: Arithmetic | None = None,
    fusion: Fusion = Fusion(),  # noqa: B008 (immutable)
    overwrite: bool = False,
) -> dict[str, int]:
    """Writes a recognizer, and language models for its search.

    Args:
        recognizer: in float or quantized.
        path: folder to write.
        arithmetic: of quantized products, see `deployment.arithmetic`.
        model_arithmetic: of those of the language models; None stands for the same.
        fusion: language models of the recognizer's labels.
        overwrite: whether to take the place of an export that is there, when this one is complete.

    Returns:
        Bytes of each network's file.

    Raises:
        ValueError: if the folder exists, a language model has other labels, a weight is negative,
            or the recognizer reads together with others.
    """
    check_alone(recognizer)
    path = Path(path)
    replaces = overwrite and (path / exported.MANIFEST).exists()
    if path.exists() and not replaces:
        is_export = (path / exported.MANIFEST).exists()
        remedy = "replace it with `overwrite` (`--overwrite`)" if is_export else "remove it"
        raise ValueError(f"{path}: exists; choose another folder, or {remedy}.")
    for name in ("external_weight", "source_weight"):
        if not getattr(fusion, name) >= 0:
            raise ValueError(f"`fusion.{name}` must be at least 0, got {getattr(fusion, name)}.")
    for name, trained in fusion.models().items():
        if trained.vocabulary != recognizer.vocabulary:
            raise ValueError(
                f"`fusion`: the {name} language model has other labels than the recognizer; train "
                "it with `--labels-of` that recognizer."
            )
    model, params = recognizer.model, recognizer.params
    graphs = {
        "encoder": networks.encoder(model, params, arithmetic),
        "predictor": networks.predictor(model, params, arithmetic),
        "joiner": networks.joiner(model, params, arithmetic),
    } | {
        name: networks.language_model(trained.model, trained.params, model_arithmetic or arithmetic)
        for name, trained in fusion.models().items()
    }
    partial = path.with_name(f"{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, graph in graphs.items():
        onnx.save_model(graph, partial / f"{name}.onnx")
    front_end(recognizer).save(partial / "front_end.npz")
    files = [*(f"{name}.onnx" for name in graphs), "front_end.npz"]
    manifest = describe(recognizer, arithmetic, fusion) | {
        "files": {name: exported.checksum(partial / name) for name in files}
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (partial / exported.MANIFEST).write_text(f"{text}\n", encoding="utf-8")
    copy_code(partial, path.name)
    former = path.with_name(f"{path.name}.former")
    if replaces:  # Two names, since no folder takes the place of one that is not empty.
        shutil.rmtree(former, ignore_errors=True)
        path.replace(former)
    partial.replace(path)
    shutil.rmtree(former, ignore_errors=True)
    return {name: (path / f"{name}.onnx").stat().st_size for name in graphs}


def describe(recognizer: Recognizer, arithmetic: Arithmetic, fusion: Fusion) -> dict[str, Any]:
    """What `transcriber` needs to know beside the networks."""
    config, data = recognizer.config.model, recognizer.config.data
    weights: Mapping[str, float] = {
        "external": fusion.external_weight,
        "source": fusion.source_weight,
    }
    return {
        "format": exported.FORMAT,
        "gossamer": __version__,
        "arithmetic": arithmetic,
        "quantize": recognizer.config.quantize,
        "sample_rate": data.sample_rate,
        "frame_seconds": features.HOP_SECONDS * features.STACK * config.reduction,
        "reduction": config.reduction,
        "bidirectional": config.bidirectional,
        "encoder_layers": config.encoder_layers,
        "lookahead": config.lookahead,
        "joiner_size": config.joiner_size,
        "vocabulary": list(recognizer.vocabulary.characters),
        "weights": {name: weights[name] for name in fusion.models()},
        "length_reward": fusion.length_reward,
    }


def front_end(recognizer: Recognizer) -> FrontEnd:
    """The constants of the recognizer's features."""
    data = recognizer.config.data
    window, hop = features.frame_size(data.sample_rate)
    analysis, filters = filter_bank.build(data.sample_rate, window)
    reach = features.REACH
    taps = np.zeros((3, 2 * reach + 1))
    first = features.DELTA_FILTER
    taps[0, reach] = 1
    taps[1, reach - len(first) // 2 : reach + len(first) // 2 + 1] = first
    taps[2] = np.convolve(first, first)
    return FrontEnd(
        analysis=analysis.astype(np.float32),
        filters=filters.astype(np.float32),
        differences=(taps * np.array(features.DELTA_SCALES)[:, None]).astype(np.float32),
        hop=hop,
        stack=features.STACK,
        scale=features.FULL_SCALE,
        energy_floor=float(features.ENERGY_FLOOR),
        variance_floor=features.VARIANCE_FLOOR,
        is_running=data.normalization == "running",
        prior_frames=running_moments.PRIOR_FRAMES,
        prior_mean=running_moments.PRIOR_MEAN,
        prior_variance=running_moments.PRIOR_VARIANCE,
    )


def copy_code(path: Path, name: str) -> None:
    """Puts the code of `CODE` into a folder, and what starts it."""
    with resources.as_file(resources.files("gossamer")) as root:
        for entry in CODE:
            source, target = root / entry, path / "gossamer" / entry
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
    (path / "__main__.py").write_text(START.format(name=name), encoding="utf-8")
