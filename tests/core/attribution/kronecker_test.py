"""EK-FAC against dense matrices made of per-example gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core.attribution import EKFAC, Fisher, example_gradients, inverse_products


def tapped_loss(params, taps, example):
    """Two dense layers over three positions, the first with a bias, and a scale of its own."""
    x = example["x"] * params["scale"][None]
    inputs = {"first": x}
    x = x @ params["first"]["kernel"] + params["first"]["bias"][None] + taps.get("first", 0)
    x = jnp.tanh(x)
    inputs["second"] = x
    x = x @ params["second"]["kernel"] + taps.get("second", 0)
    return jnp.sum((x - example["y"]) ** 2), inputs


def loss(params, example):
    return tapped_loss(params, {}, example)[0]


def draw(key, number=12):
    keys = jax.random.split(key, 5)
    params = {
        "first": {"kernel": jax.random.normal(keys[0], (2, 3)), "bias": jnp.ones(3)},
        "scale": jnp.array([1.0, 2.0]),
        "second": {"kernel": jax.random.normal(keys[1], (3, 2))},
    }
    train = {
        "x": jax.random.normal(keys[2], (number, 3, 2)),
        "y": jax.random.normal(keys[3], (number, 3, 2)),
    }
    return params, train


def second_moments(params, train):
    """E[a a^T] of inputs with ones, E[delta delta^T], by hand."""
    a, d = {}, {}
    for n in range(len(train["x"])):
        example = jax.tree.map(lambda leaf, n=n: leaf[n], train)
        taps = {"first": jnp.zeros((3, 3)), "second": jnp.zeros((3, 2))}
        deltas, inputs = jax.grad(tapped_loss, 1, has_aux=True)(params, taps, example)
        inputs["first"] = jnp.hstack([inputs["first"], jnp.ones((3, 1))])
        for name in taps:
            a[name] = a.get(name, 0) + np.asarray(inputs[name].T @ inputs[name]) / len(train["x"])
            d[name] = d.get(name, 0) + np.asarray(deltas[name].T @ deltas[name]) / len(train["x"])
    return a, d


def test_dense_matrices_agree(float64, key):
    params, train = draw(key)
    vectors = example_gradients(loss, params, jax.tree.map(lambda leaf: leaf[:2], train))
    found = inverse_products(
        Fisher(loss),
        params,
        train,
        vectors,
        method=EKFAC(tapped_loss),
        damping=0.2,
        block_size=5,
    ).vectors
    gradients = jax.tree.map(np.asarray, example_gradients(loss, params, train))
    moments = second_moments(params, train)

    def stacked(tree):
        return np.concatenate([tree["first"]["kernel"], tree["first"]["bias"][:, None]], axis=1)

    for name, every, wanted, solved in (
        ("first", stacked(gradients), stacked(vectors), stacked(found)),
        ("second", *(tree["second"]["kernel"] for tree in (gradients, vectors, found))),
    ):
        u, v = (np.linalg.eigh(moment[name])[1] for moment in moments)
        basis = np.kron(u, v)
        turned = every.reshape(len(every), -1) @ basis
        inverse = basis @ np.diag(1 / (np.mean(turned**2, 0) + 0.2)) @ basis.T
        expected = np.asarray(wanted).reshape(2, -1) @ inverse
        np.testing.assert_allclose(np.asarray(solved).reshape(2, -1), expected, rtol=1e-8)
    np.testing.assert_allclose(
        found["scale"], vectors["scale"] / (np.mean(gradients["scale"] ** 2, 0) + 0.2)[None]
    )


def test_rows_of_a_loss_add_up(float64, key):
    """Two rows count as two examples do, at twice the weight of each."""
    params, train = draw(key)
    vectors = example_gradients(loss, params, jax.tree.map(lambda leaf: leaf[:2], train))

    def rows(params, taps, example):
        value, inputs = tapped_loss(params, taps, example)
        return jnp.stack([value, value**2 / 9]), inputs

    def either(params, taps, example):
        values, inputs = rows(params, taps, example["of"])
        return jnp.sqrt(2.0) * values[example["row"]], inputs

    twice = {
        "of": jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), train),
        "row": jnp.repeat(jnp.arange(2), 12),
    }
    found, wanted = (
        inverse_products(
            Fisher(loss), params, examples, vectors, method=EKFAC(tapped), damping=0.2
        ).vectors
        for tapped, examples in ((rows, train), (either, twice))
    )
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-8), found, wanted)


def test_one_weight_is_exact(float64):
    def single(params, taps, example):
        x = example[None, :1]
        y = x @ params["layer"]["kernel"] + taps.get("layer", 0)
        return jnp.sum((y - example[1]) ** 2), {"layer": x}

    def plain(params, example):
        return single(params, {}, example)[0]

    params = {"layer": {"kernel": jnp.array([[0.7]])}}
    train = jnp.asarray(np.random.default_rng(0).normal(size=(9, 2)))
    vectors = {"layer": {"kernel": jnp.ones((1, 1, 1))}}
    found, exact = (
        inverse_products(Fisher(plain), params, train, vectors, method=method, damping=0.1)
        for method in (EKFAC(single), "cg")
    )
    np.testing.assert_allclose(
        found.vectors["layer"]["kernel"], exact.vectors["layer"]["kernel"], rtol=1e-8
    )


def test_inputs_that_fit_no_kernel_are_refused(key):
    params, train = draw(key)

    def wrong(params, taps, example):
        return loss(params, example), {"third": example["x"]}

    vectors = jax.tree.map(lambda leaf: leaf[None], params)
    with pytest.raises(ValueError, match=r"`tapped_loss` must give .* got 'third'"):
        inverse_products(Fisher(loss), params, train, vectors, method=EKFAC(wrong), damping=0.1)
