"""What quantization did to a language model: every product of a label, and the bytes, as tables."""

import os
from pathlib import Path

import jax.numpy as jnp

from ..core import audit, compression, packing
from . import language_model_run


def is_language_model(path: str | os.PathLike) -> bool:
    """Whether a path is the run folder of a language model or its packed file."""
    path = Path(path)
    path = path / language_model_run.PACKED if path.is_dir() else path
    return packing.read_format(path) in language_model_run.FORMATS


def describe(path: str | os.PathLike) -> str:
    """Audits a quantized language model.

    Args:
        path: its run folder or its packed file.

    Returns:
        Two tables: the products and lookups of a step by one label, and the bytes of each tensor.

    Raises:
        ValueError: if the model is in float, or a tensor that its policy names is.
    """
    trained = language_model_run.load(path)
    model = trained.model
    if model.policy is None:
        raise ValueError(
            f"{os.fspath(path)}: a language model in float; quantize it by `gossamer train "
            f"language-model --from {os.fspath(path)} --quantize POLICY`, with `--optimizer.steps "
            "0` without training."
        )

    def step(variables, tokens):
        return model.apply(variables, tokens, model.initial_state(1), method="step")

    products = audit.audit(
        step,
        trained.params,
        jnp.zeros(1, jnp.int32),
        policy=model.policy,
        params=trained.params["params"],
    )
    sizes = compression.compression_report(trained.params)
    return f"{audit.table(products)}\n\n{compression.table(sizes)}"
