"""Audits: which products of a traced program really are quantized.

`audit` walks through the program of a function and all programs within, so that nothing which the
function multiplies can hide from the list,

    MACs = size of the output * terms of each sum * trips of the scans around it,

and raises if a tensor that the policy quantizes reached its product in float. Which weight a
product is of, and in how many bits, `quantized.matmul` and `quantized.take` write into the name
scopes of the program; a product without such a mark counts as one in float.
"""

import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
from jax.extend.core import Jaxpr, JaxprEqn

from . import text_table
from .paths import named_leaves
from .quantization import Policy, is_quantized, weight_paths
from .quantized import FLOAT, MARK, TAPS
from .quantizer import Quantizer

_MARK = re.compile(rf"{MARK}\[(.*?)\|w(\d+)\|x(\d+)\]")
_LOOKUPS = ("gather", "dynamic_slice", "slice")  # by an array, a traced and a known index

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Product:
    """A matrix product of a program, or a lookup in a quantized embedding."""

    name: str
    """Path of the weight; where the product has no mark, its name scopes."""
    kind: Literal["product", "lookup"]
    shapes: tuple[Shape, Shape]
    """Of both operands as they meet; of a lookup, the table and the indices."""
    weight_bits: int
    """32 in float."""
    activation_bits: int
    """32 in float, 0 for the indices of a lookup."""
    count: int
    """How often it runs, where all branches of conditionals count as taken."""
    macs: int
    """Multiply-accumulates of all runs, 0 for a lookup."""
    open_ended: bool
    """It lies in a while loop, whose trips are unknown: counts are those of one trip."""
    quantizer: str = ""
    """What the policy says of the weight; empty if nothing."""


@dataclass(frozen=True)
class Audit:
    """What `audit` found."""

    products: tuple[Product, ...]
    """In the order of the program; those that differ only in their counts are one."""


def site_of(name: str) -> str:
    """The site of the activation that meets a weight, as the layers of this package name it.

    Example:
        >>> site_of("encoder_1/kernel"), site_of("encoder_1/recurrent")
        ('encoder_1/input', 'encoder_1/hidden')
    """
    *layer, weight = name.split("/")
    return "/".join((*layer, "hidden" if weight == "recurrent" else "input"))


def audit(
    function: Callable,
    *arguments: Any,
    policy: Policy,
    params: Any,
    allow_unused: Collection[str] = (),
    sites: Callable[[str], str] = site_of,
) -> Audit:
    """Lists the matrix products of a function, and makes sure that a policy took effect.

    Meant for forward passes: reverse-mode derivatives also multiply cotangents, in float, and these
    products are listed as unmarked. Inside ``shard_map`` counts are those of one device.

    Args:
        function: is traced, not run.
        *arguments: its arguments: trees of arrays, shapes and `Quantized` tensors.
        policy: the rules that the function is to obey.
        params: the parameters that the rules speak of: arrays, shapes or codes.
        allow_unused: paths of quantized parameters that the function may leave out.
        sites: from the path of a weight to the site of the activation that meets it.

    Returns:
        Every product, and the lookups in quantized embeddings.

    Raises:
        ValueError: if a rule matches no parameter; if a parameter that the policy quantizes meets
            no product or lookup as codes, or meets one in other bits; or if a quantized weight
            meets an activation in float whose site the policy quantizes.

    Example:
        >>> codes = fake_quantize(policy).codes(params, clips)
        >>> found = audit(model.apply, {"params": codes}, x, policy=policy, params=params)
        >>> print(table(found))
    """
    params = jax.tree.map(lambda x: x.codes if is_quantized(x) else x, params, is_leaf=is_quantized)
    quantizers = weight_paths(policy, params)
    paths = {path.replace("/", "."): path for path, _ in named_leaves(params)}
    (program,) = _programs(jax.make_jaxpr(function)(*arguments))
    products = _merge(_products(program, paths))
    _check_weights(products, quantizers, allow_unused)
    _check_activations(products, policy, sites)
    return Audit(
        tuple(replace(found, quantizer=_describe(quantizers.get(found.name))) for found in products)
    )


def float_share(audit: Audit) -> float:
    """The share of multiply-accumulates with an operand in float, 0 to 1."""
    macs = {True: 0, False: 0}
    for product in audit.products:
        macs[FLOAT in (product.weight_bits, product.activation_bits)] += product.macs
    return macs[True] / max(sum(macs.values()), 1)


def table(audit: Audit) -> str:
    """An audit as aligned text, with totals in the last line."""
    macs = sum(product.macs for product in audit.products)
    share = f"{100 * float_share(audit):.1f}% in float"
    rows = [("name", "operands", "runs", "MACs", "w", "x", "quantizer")]
    rows += [_row(product) for product in audit.products]
    rows += [("total", "", "", f"{macs:,}", "", "", share)]
    return text_table.align(rows, right=range(2, 6))


def _products(
    program: Jaxpr,
    paths: dict[str, str],
    scopes: str = "",
    count: int = 1,
    open_ended: bool = False,
) -> Iterator[Product]:
    """Products and lookups of a program that runs `count` times, and of those within."""
    for equation in program.eqns:
        # The scopes of a program within are relative to the equation that runs it.
        inner = "/".join(filter(None, (scopes, str(equation.source_info.name_stack))))
        name, bits_w, bits_x = _read_mark(inner, paths)
        primitive = equation.primitive.name
        is_tap = primitive == "mul" and inner.endswith(TAPS)
        if primitive in ("dot_general", "conv_general_dilated") or is_tap:
            left, right = map(_shape, equation.invars[:2])
            macs = count * _macs(equation)
            yield Product(name, "product", (left, right), bits_w, bits_x, count, macs, open_ended)
        elif primitive in _LOOKUPS and bits_x == 0:
            rows, indices = (*map(_shape, equation.invars[:2]), ())[:2]
            yield Product(name, "lookup", (rows, indices[:-1]), bits_w, 0, count, 0, open_ended)
        trips = equation.params["length"] if primitive == "scan" else 1
        unknown = open_ended or primitive == "while"
        for within in _programs(equation.params):
            yield from _products(within, paths, inner, count * trips, unknown)


def _programs(tree: Any) -> list[Jaxpr]:
    """The programs among the leaves of a tree; jax 0.10 wraps some together with constants."""
    leaves = (getattr(leaf, "jaxpr", leaf) for leaf in jax.tree.leaves(tree))
    return [leaf for leaf in leaves if isinstance(leaf, Jaxpr)]


def _read_mark(scopes: str, paths: dict[str, str]) -> tuple[str, int, int]:
    """The path of the weight and the bits of both operands, from the innermost mark."""
    marks = _MARK.findall(scopes)
    if not marks or "transpose(" in scopes:  # the transposed product meets a cotangent in float
        return scopes, FLOAT, FLOAT
    name, bits_w, bits_x = marks[-1]
    return paths.get(name, name.replace(".", "/")) or scopes, int(bits_w), int(bits_x)


def _macs(equation: JaxprEqn) -> int:
    left, right = map(_shape, equation.invars[:2])
    dimensions = equation.params.get("dimension_numbers")
    if dimensions is None:  # one tap of a depthwise convolution
        terms = 1
    elif equation.primitive.name == "dot_general":
        terms = math.prod(left[axis] for axis in dimensions[0][0])
    else:  # a convolution, whose padding counts too
        terms = math.prod(size for axis, size in enumerate(right) if axis != dimensions.rhs_spec[0])
    return terms * math.prod(_shape(equation.outvars[0]))


def _shape(variable: Any) -> Shape:
    return tuple(variable.aval.shape)


def _merge(products: Iterable[Product]) -> list[Product]:
    totals: dict[Product, tuple[int, int]] = {}
    for product in products:
        alike = replace(product, count=0, macs=0)
        count, macs = totals.get(alike, (0, 0))
        totals[alike] = count + product.count, macs + product.macs
    return [replace(alike, count=count, macs=macs) for alike, (count, macs) in totals.items()]


def _check_weights(
    products: list[Product], quantizers: dict[str, Quantizer], allow_unused: Collection[str]
) -> None:
    wrong = []
    for path, quantizer in quantizers.items():
        found = {product.weight_bits for product in products if product.name == path}
        if not found and path not in allow_unused:
            wrong.append(f"{path} (in no marked product)")
        for bits in sorted(found - {quantizer.bits}):
            wrong.append(f"{path} ({'float' if bits == FLOAT else f'{bits} bits'})")
    if wrong:
        raise ValueError(
            "`function` must multiply what `policy` quantizes as codes of these bits, but did not "
            f"with {', '.join(wrong)}. Give it the tree of `fake_quantize(policy).codes`, multiply "
            "by `quantized.matmul(x, weight, name=path)`, and name in `allow_unused` what it need "
            "not use."
        )


def _check_activations(
    products: list[Product], policy: Policy, sites: Callable[[str], str]
) -> None:
    wrong = [
        f"{sites(product.name)} (at {product.name})"
        for product in products
        if product.weight_bits < FLOAT == product.activation_bits
        and policy.activation(sites(product.name)) is not None
    ]
    if wrong:
        raise ValueError(
            "`function` must quantize the activations that `policy` names, but these met their "
            f"weights in float: {', '.join(wrong)}. Give the layers the policy, or say by `sites` "
            "where their activations are quantized."
        )


def _describe(quantizer: Quantizer | None) -> str:
    if quantizer is None:
        return ""
    plus = "+" if getattr(quantizer, "straight_through", False) else ""
    return f"{quantizer.kind}{plus} {quantizer.bits} bit, {quantizer.blocks.kind}"


def _row(product: Product) -> tuple[str, ...]:
    lookup = product.kind == "lookup"
    return (
        product.name,
        (" at " if lookup else " x ").join(map(str, product.shapes)),
        f"{product.count:,}{'+' if product.open_ended else ''}",
        f"{product.macs:,}",
        str(product.weight_bits),
        "-" if lookup else str(product.activation_bits),
        product.quantizer,
    )
