"""The LSTM in float against a plain recursion and against flax."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech.lstm import LSTM, flip_sequences


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_lstm(inputs, kernel, recurrent, bias):
    """One sequence in one direction, gate by gate, in float64."""
    size = recurrent.shape[0]
    hidden, cell = np.zeros(size), np.zeros(size)
    outputs = []
    for frame in np.asarray(inputs, np.float64):
        z = frame @ kernel + bias + hidden @ recurrent
        i, f, g, o = np.split(z, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        outputs.append(hidden)
    return np.array(outputs)


def draw(layer, key, *arguments):
    return jax.jit(layer.init)(key, *arguments)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_agrees_with_a_plain_recursion_row_by_row(key, batch, bidirectional):
    inputs, paddings, lengths = batch
    layer = LSTM(3, bidirectional=bidirectional)
    variables = draw(layer, key, inputs, paddings)
    outputs, _ = jax.jit(layer.apply)(variables, inputs, paddings)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables["params"])
    for row, length in enumerate(lengths):
        valid = np.asarray(inputs[row, :length])
        expected = reference_lstm(
            valid, params["kernel"][0], params["recurrent"][0], params["bias"][0]
        ).reshape(length, 3)
        if bidirectional:
            backward = reference_lstm(
                valid[::-1], params["kernel"][1], params["recurrent"][1], params["bias"][1]
            ).reshape(length, 3)[::-1]
            expected = np.concatenate([expected, backward], axis=-1)
        np.testing.assert_allclose(outputs[row, :length], expected, rtol=1e-5, atol=1e-6)
        assert not np.any(outputs[row, length:])


def test_agrees_with_flax(key, batch):
    inputs, _, _ = batch
    layer = LSTM(3)
    params = draw(layer, key, inputs)["params"]
    cell = nn.RNN(nn.OptimizedLSTMCell(3))
    gates = "ifgo"
    flax_params = {f"i{gate}": {} for gate in gates} | {f"h{gate}": {} for gate in gates}
    for index, gate in enumerate(gates):
        columns = slice(3 * index, 3 * index + 3)
        flax_params[f"i{gate}"]["kernel"] = params["kernel"][0][:, columns]
        flax_params[f"h{gate}"]["kernel"] = params["recurrent"][0][:, columns]
        flax_params[f"h{gate}"]["bias"] = params["bias"][0][columns]
    expected = jax.jit(cell.apply)({"params": {"cell": flax_params}}, inputs)
    outputs, _ = jax.jit(layer.apply)({"params": params}, inputs)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing(key, batch):
    inputs, paddings, _ = batch
    layer = LSTM(3, bidirectional=True)
    variables = draw(layer, key, inputs, paddings)
    longer = jnp.concatenate([inputs, jnp.full((4, 5, 5), 1e3)], axis=1)
    longer_paddings = jnp.concatenate([paddings, jnp.ones((4, 5))], axis=1)

    def objective(variables, inputs, paddings):
        outputs, _ = layer.apply(variables, inputs, paddings)
        return jnp.sum(jnp.sin(outputs)), outputs

    differentiate = jax.jit(jax.grad(objective, has_aux=True))
    gradients, outputs = differentiate(variables, inputs, paddings)
    padded_gradients, padded = differentiate(variables, longer, longer_paddings)
    np.testing.assert_allclose(padded[:, :7], outputs, rtol=1e-6, atol=1e-7)
    # Sums over more frames (of exact zeros) may be grouped differently, hence the absolute
    # tolerance.
    chex.assert_trees_all_close(padded_gradients, gradients, rtol=1e-5, atol=1e-6)


def test_flip_is_its_own_inverse(batch):
    inputs, paddings, _ = batch
    once = flip_sequences(inputs, paddings)
    np.testing.assert_array_equal(once[2, :4], inputs[2, :4][::-1])
    np.testing.assert_array_equal(flip_sequences(once, paddings), inputs)


def test_steps_equal_the_whole_sequence(key, batch):
    inputs, _, _ = batch
    layer = LSTM(3)
    variables = draw(layer, key, inputs)
    whole, last = jax.jit(layer.apply)(variables, inputs)
    step = jax.jit(functools.partial(layer.apply, method="step"))
    state = (jnp.zeros((1, 4, 3)), jnp.zeros((1, 4, 3)))
    for time in range(inputs.shape[1]):
        output, state = step(variables, inputs[:, time], state)
        np.testing.assert_allclose(output, whole[:, time], rtol=1e-6, atol=1e-7)
    chex.assert_trees_all_close(state, last, rtol=1e-6, atol=1e-7)


def test_dropconnect_drops_recurrent_weights_in_training_only(key, batch):
    inputs, paddings, _ = batch
    layer, plain = LSTM(3, dropconnect=0.5), LSTM(3)
    variables = draw(layer, key, inputs, paddings)
    expected, _ = plain.apply(variables, inputs, paddings)
    np.testing.assert_array_equal(layer.apply(variables, inputs, paddings)[0], expected)

    def train(key):
        return layer.apply(variables, inputs, paddings, deterministic=False, rngs={"dropout": key})[
            0
        ]

    first, second = train(jax.random.key(1)), train(jax.random.key(2))
    assert np.any(first != second)
    np.testing.assert_array_equal(first[:, 0], expected[:, 0])  # nothing recurrent acts on frame 0


def test_runs_under_vmap_over_learners(key, batch):
    inputs, paddings, _ = batch
    layer = LSTM(3, bidirectional=True)
    variables = [draw(layer, key, inputs, paddings) for key in jax.random.split(key, 2)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables)

    def objective(variables):
        return jnp.sum(layer.apply(variables, inputs, paddings)[0] ** 2)

    gradients = jax.jit(jax.vmap(jax.grad(objective)))(stacked)
    alone = jax.jit(jax.grad(objective))
    for learner in range(2):
        chex.assert_trees_all_close(
            jax.tree.map(lambda leaf, learner=learner: leaf[learner], gradients),
            alone(variables[learner]),
            rtol=1e-5,
            atol=1e-6,
        )
