"""Which tensors are quantized, and how: a policy, and its application to a tree of parameters.

A policy is two lists of rules, one for weights, by their path in the parameter tree, and one for
activations, by the name of the site where a layer quantizes what it is about to multiply. The first
rule whose pattern matches the whole path decides; a rule may also say "leave in float".

Applying a policy to parameters is a pure function. Nothing is patched: a layer multiplies what it
is given, `quantized.matmul`, and what it is given are codes. Clips that training may move are
ordinary parameters in a tree of their own,

    transform = fake_quantize(policy)
    clips = transform.init(params)
    loss = lambda params, clips: model_loss(transform.apply(params, clips), batch)

so that an optimizer can treat them apart, see `clip_labels`.

References:
    A. Fasoli et al., "4-bit Quantization of LSTM-based Speech Recognition Models", 2021,
        arXiv:2108.12074.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from . import quantizers
from .blocks import Blocks
from .paths import join, named_leaves
from .quantized import Quantized, dequantize
from .quantizer import Quantizer

Pattern = str | Callable[[str], bool]
Rule = tuple[Pattern, Quantizer | None]

_KINDS: dict[str, type[Quantizer]] = {
    quantizer.kind: quantizer
    for quantizer in (
        quantizers.Sawb,
        quantizers.MaxAbs,
        quantizers.Fixed,
        quantizers.Clipped,
        quantizers.AsymmetricClipped,
        quantizers.LearnedStepSize,
    )
}


@dataclasses.dataclass(frozen=True)
class Policy:
    """Rules for weights and for activations; immutable and hashable.

    A pattern is a regular expression for the whole path, such as ``"encoder_.*/kernel"``, or a
    predicate over paths. Paths join the keys of a tree with slashes.

    Example:
        >>> policy = Policy(
        ...     weights=(("output/.*", None), (".*kernel", sawb_plus(4, gates(4)))),
        ...     activations=((".*/hidden", fixed(4)),))
    """

    weights: tuple[Rule, ...] = ()
    """Rules for parameters, by path."""
    activations: tuple[Rule, ...] = ()
    """Rules for activations, by the name of their site."""

    def weight(self, path: str) -> Quantizer | None:
        """The quantizer of a parameter; None leaves it in float."""
        return _first(self.weights, path)

    def activation(self, site: str) -> Quantizer | None:
        """The quantizer of an activation; None leaves it in float."""
        return _first(self.activations, site)


class FakeQuantization(NamedTuple):
    """What `fake_quantize` returns."""

    init: Callable[[Any], dict[str, Any]]
    """``init(params) -> clips``: the parameters of the quantizers, by path; often empty."""
    apply: Callable[[Any, dict[str, Any]], Any]
    """``apply(params, clips) -> params`` with the values s q in place of configured tensors."""
    codes: Callable[[Any, dict[str, Any]], Any]
    """The same with `Quantized` leaves, for layers that multiply in integers."""


def fake_quantize(policy: Policy) -> FakeQuantization:
    """The weights of a tree of parameters as their quantized values, differentiably.

    Args:
        policy: its rules for weights.

    Returns:
        Pure functions, see `FakeQuantization`. They raise a ValueError if a rule that names a
        quantizer matches no parameter: a misspelled pattern would leave the model in float.

    Example:
        >>> transform = fake_quantize(Policy(weights=((".*kernel", sawb_plus(4)),)))
        >>> clips = transform.init(params)
        >>> outputs = model.apply(transform.apply(params, clips), inputs)
    """

    def init(params):
        found = {}
        for path, leaf, quantizer in _matches(policy, params):
            clips = quantizer.init(leaf)
            if clips:
                found[path] = clips
        return found

    def codes(params, clips):
        wanted = {path: quantizer for path, _, quantizer in _matches(policy, params)}

        def quantize(path, leaf):
            quantizer = wanted.get(join(path))
            return leaf if quantizer is None else quantizer.codes(clips.get(join(path), {}), leaf)

        return jax.tree.map_with_path(quantize, params)

    def apply(params, clips):
        return dequantize_tree(codes(params, clips))

    return FakeQuantization(init, apply, codes)


def dequantize_tree(tree: Any) -> Any:
    """A tree with the numbers codes * scale in place of `Quantized` leaves."""
    return jax.tree.map(dequantize, tree, is_leaf=is_quantized)


def deploy(tree: Any) -> Any:
    """A tree of codes for inference: int8 in place of floating-point codes.

    Args:
        tree: what `FakeQuantization.codes` gave, compiled as in training: one operation after the
            other, its scales may differ in their last bits.

    Returns:
        The tree, whose products have the same bits as before.

    Raises:
        ValueError: if codes exceed int8, as those of 8-bit asymmetric quantizers do.
    """

    def shrink(leaf):
        if not is_quantized(leaf):
            return leaf
        if leaf.max_abs_code > 128:
            raise ValueError(
                f"`tree` must have codes from -128 to 127, got magnitudes up to "
                f"{leaf.max_abs_code}; quantize 8-bit weights symmetrically."
            )
        return leaf.replace(leaf.codes.astype(jnp.int8))

    return jax.tree.map(shrink, tree, is_leaf=is_quantized)


def is_quantized(leaf: Any) -> bool:
    """Whether a node of a tree is a `Quantized` tensor, for ``is_leaf``."""
    return isinstance(leaf, Quantized)


def clip_labels(tree: Any, key: str = "clips") -> Any:
    """Labels for ``optax.partition``: "clips" below the top-level key, "weights" elsewhere.

    Args:
        tree: parameters and clips in one dictionary.
        key: the top-level key of the clips.

    Returns:
        A tree of strings.

    Example:
        >>> optimizer = optax.partition(
        ...     {"weights": optax.adamw(1e-5), "clips": optax.adam(1e-3)}, clip_labels)
    """
    return {
        name: jax.tree.map(lambda _, name=name: "clips" if name == key else "weights", branch)
        for name, branch in tree.items()
    }


def as_json(policy: Policy) -> dict[str, Any]:
    """A policy as plain JSON values.

    Raises:
        TypeError: if a pattern is a predicate, which has no text.
    """

    def encode(rule):
        pattern, quantizer = rule
        if not isinstance(pattern, str):
            raise TypeError(
                f"`policy` must have regular expressions for patterns to be stored, got {pattern}."
            )
        if quantizer is None:
            return [pattern, None]
        return [pattern, {"kind": quantizer.kind} | dataclasses.asdict(quantizer)]

    return {
        "weights": [encode(rule) for rule in policy.weights],
        "activations": [encode(rule) for rule in policy.activations],
    }


def from_json(values: dict[str, Any]) -> Policy:
    """Undoes `as_json`."""

    def decode(rule):
        pattern, fields = rule
        if fields is None:
            return pattern, None
        fields = dict(fields)
        kind = fields.pop("kind")
        fields["blocks"] = Blocks(**fields["blocks"])
        return pattern, _KINDS[kind](**fields)

    return Policy(
        weights=tuple(decode(rule) for rule in values["weights"]),
        activations=tuple(decode(rule) for rule in values["activations"]),
    )


def weight_paths(policy: Policy, params: Any) -> dict[str, Quantizer]:
    """The configured parameters of a tree and their quantizers.

    Raises:
        ValueError: if a rule that names a quantizer matches no parameter.
    """
    return {path: quantizer for path, _, quantizer in _matches(policy, params)}


def _matches(policy: Policy, params: Any) -> Iterator[tuple[str, jax.Array, Quantizer]]:
    leaves = named_leaves(params)
    for pattern, quantizer in policy.weights:
        if quantizer is not None and not any(_matches_path(pattern, path) for path, _ in leaves):
            raise ValueError(
                f"`policy` has a rule for weights {pattern!r} that matches no parameter; paths are "
                f"{', '.join(path for path, _ in leaves[:20])}."
            )
    for path, leaf in leaves:
        quantizer = policy.weight(path)
        if quantizer is not None:
            yield path, leaf, quantizer


def _first(rules: tuple[Rule, ...], path: str) -> Quantizer | None:
    for pattern, quantizer in rules:
        if _matches_path(pattern, path):
            return quantizer
    return None


def _matches_path(pattern: Pattern, path: str) -> bool:
    if isinstance(pattern, str):
        return re.fullmatch(pattern, path) is not None
    return pattern(path)
