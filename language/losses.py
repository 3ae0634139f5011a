r"""What is asked of a classifier, as pure functions of its parameters and one example.

An example is a dict of arrays without a batch axis: "ids" [T] int, "label" [] int, and for spans
"masked" [T] int, the same text with a span hidden.  These are the `loss` and `query_loss` of
`gossamer.core.attribution`.  They are dataclasses, so that those of equal models share compiled
programs.

    Nll         L(z) = -log p(y | x)
    Removal     L(z) - L(z \ s): what a training span takes part in
    Importance  -(logit_y(x) - logit_y(x \ s)): the negative importance of a span, which training
                lowers where it makes the span matter more
    Margin      -(logit_y(x) - mean of the other logits), which training lowers where it makes the
                text say y more
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ..core.paths import nest
from .models import Classifier

Example = dict[str, Any]


@dataclass(frozen=True)
class Predict:
    """Logits [classes] of one example."""

    model: Classifier

    def __call__(self, params: Any, example: Example) -> jax.Array:
        """See the class."""
        return jnp.asarray(self.model.apply({"params": params}, example["ids"]))


@dataclass(frozen=True)
class Nll:
    """Negative log probability of the label."""

    model: Classifier

    def __call__(self, params: Any, example: Example) -> jax.Array:
        """See the class."""
        return nll(Predict(self.model)(params, example), example)


@dataclass(frozen=True)
class Removal:
    """The loss of an example less that of the example without a span."""

    model: Classifier

    def __call__(self, params: Any, example: Example) -> jax.Array:
        """See the class."""
        losses = nll_rows(_both(self.model, params, example), example)
        return losses[0] - losses[1]


@dataclass(frozen=True)
class Importance:
    """The negative importance of a span for the label."""

    model: Classifier

    def __call__(self, params: Any, example: Example) -> jax.Array:
        """See the class."""
        logits = _both(self.model, params, example)[:, example["label"]]
        return logits[1] - logits[0]


@dataclass(frozen=True)
class Margin:
    """The negative margin of the label over the other classes."""

    model: Classifier

    def __call__(self, params: Any, example: Example) -> jax.Array:
        """See the class."""
        logits = Predict(self.model)(params, example)
        label = logits[example["label"]]
        return (jnp.sum(logits) - label) / (logits.size - 1) - label


@dataclass(frozen=True)
class TappedNll:
    """`Nll` with the inputs of dense layers, for `gossamer.core.attribution.EKFAC`."""

    model: Classifier

    def __call__(self, params: Any, taps: dict, example: Example) -> tuple[jax.Array, dict]:
        """See `gossamer.core.attribution.kronecker`; a layer is named by its path."""
        logits, inputs = _tapped(self.model, params, taps, example)
        return nll(logits, example), inputs


@dataclass(frozen=True)
class TappedPredictions:
    """The same of every class, in proportion to the root of its probability; [classes].

    The sum of their gradients' second moments is the Fisher matrix of the model's predictions; it
    does not vanish, as that of `TappedNll` does, where a text is known by heart.
    """

    model: Classifier

    def __call__(self, params: Any, taps: dict, example: Example) -> tuple[jax.Array, dict]:
        """See `TappedNll`."""
        logits, inputs = _tapped(self.model, params, taps, example)
        scores = jax.nn.log_softmax(logits)
        return -jax.lax.stop_gradient(jnp.exp(scores / 2)) * scores, inputs


def nll(logits: jax.Array, example: Example) -> jax.Array:
    """-log p(label) from logits [classes]; [] float."""
    return -jax.nn.log_softmax(logits)[example["label"]]


def nll_rows(logits: jax.Array, example: Example) -> jax.Array:
    """The same for rows of logits [rows, classes] of one label; [rows]."""
    return -jax.nn.log_softmax(logits)[:, example["label"]]


def _tapped(model: Classifier, params: Any, taps: dict, example: Example) -> tuple[jax.Array, dict]:
    """Logits [classes] with taps added to the outputs of dense layers, and the layers' inputs."""
    variables = {"params": params}
    if taps:
        shaped = {name: x.reshape(-1) if name == "head" else x for name, x in taps.items()}
        variables["taps"] = nest({f"{name}/y": x for name, x in shaped.items()})
    logits, sown = model.apply(variables, example["ids"], mutable=["inputs"])
    inputs = {
        jax.tree_util.keystr(path[:-2], simple=True, separator="/"): jnp.atleast_2d(x)
        for path, x in jax.tree.leaves_with_path(sown["inputs"])
    }
    return jnp.asarray(logits), inputs


def _both(model: Classifier, params: Any, example: Example) -> jax.Array:
    """Logits [2, classes] of the text and the text without its span."""
    ids = jnp.stack([example["ids"], example["masked"]])
    return jnp.asarray(model.apply({"params": params}, ids))
