"""Going on from the parameters of a trained model, a recognizer or a language model."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp

from .text import Vocabulary


class Trained(Protocol):
    """A packed model, as its file gives it."""

    @property
    def model(self) -> Any:
        """The network, with its configuration and its policy."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """Its labels."""
        ...

    @property
    def params(self) -> Any:
        """Its variables, "params" among them."""
        ...


def fit_parameters(name: str, source: Trained, vocabulary: Vocabulary, params: Any) -> Any:
    """The parameters of a trained model, if they fit in place of others.

    Args:
        name: of the model, as `--from` has it.
        source: the model.
        vocabulary: labels of the run that is to go on from it.
        params: the parameters that this run would start from otherwise.

    Returns:
        Those of `source`, in float.

    Raises:
        ValueError: if the model has other labels or sizes, or holds codes.
    """
    if source.vocabulary != vocabulary:
        raise ValueError(
            f"`--from {name}` has another vocabulary than this run: "
            f"{''.join(source.vocabulary.characters)!r} there, "
            f"{''.join(vocabulary.characters)!r} here; train anew, or change the corpus or, for a "
            "language model, `--labels-of`."
        )
    if source.model.policy is not None:
        raise ValueError(
            f"`--from {name}` holds codes, not numbers to go on from; name the float run that it "
            "came from."
        )
    found = source.params["params"]
    if jax.tree.map(jnp.shape, found) != jax.tree.map(jnp.shape, params):
        raise ValueError(
            f"`--from {name}` has parameters of other shapes; give the run its `--model` options: "
            f"{source.model.config}."
        )
    return found
