"""Quantizes an LSTM of your own to 4 bits: weights, inputs and hidden states.

    python examples/quantize_lstm.py

The model is a plain function, `classify`, that tells at which of eight speeds a noisy point runs
around a circle. Quantization asks two things of it: each product names its weight, and what it
multiplies passes the quantizer of a named site. A policy then decides what becomes codes and how:
here a clip for each gate from the statistics of its weights (SAWB+), and fixed clips for the
activations, whose bounds are known; for others there are clips that training moves, `pact_plus`.
The same function runs in float, in training through codes, and deployed with int8 codes.

Some twenty lines are about quantization: `FOUR_BITS`, `multiply`, `quantize`, and what deploys and
audits at the end. The others are the model, its data and its training.
"""

import jax
import jax.numpy as jnp
import optax

from gossamer.core.audit import audit, site_of, table
from gossamer.core.blocks import gates
from gossamer.core.quantization import Policy, deploy, fake_quantize
from gossamer.core.quantized import matmul
from gossamer.core.quantizers import fixed, sawb_plus

FRAMES, SPEEDS, CELLS = 16, 8, 32
FLOAT = Policy()
FOUR_BITS = Policy(
    weights=(("lstm/.*", sawb_plus(4, gates(4))), ("output/.*", sawb_plus(4))),
    activations=(("lstm/input", fixed(4, clip=1.5)), (".*", fixed(4, clip=1.0))),
)


def draw(key):
    """Points on 64 circles [64, FRAMES, 2], and which speed they have, [64]."""
    keys = jax.random.split(key, 3)
    labels = jax.random.randint(keys[0], (64, 1), 0, SPEEDS)
    phases = jax.random.uniform(keys[1], (64, 1), maxval=2 * jnp.pi)
    angles = 0.08 * (labels - 3.5) * jnp.arange(FRAMES) + phases
    points = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return points + 0.2 * jax.random.normal(keys[2], points.shape), labels[:, 0]


def classify(policy, weights, inputs):
    """Logits [batch, SPEEDS] from the last state of an LSTM; weights in float or as codes."""

    def multiply(x, name):
        quantizer = policy.activation(site_of(name))  # of lstm/input, lstm/hidden, output/input
        return matmul(quantizer.codes({}, x) if quantizer else x, weights[name], name=name)

    def step(state, projected):
        hidden, cell = state
        i, f, g, o = jnp.split(projected + multiply(hidden, "lstm/recurrent"), 4, axis=-1)
        cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None

    projected = jnp.swapaxes(multiply(inputs, "lstm/kernel"), 0, 1)
    zeros = jnp.zeros((len(inputs), CELLS))
    (hidden, _), _ = jax.lax.scan(step, (zeros, zeros), projected)
    return multiply(hidden, "output/kernel")


def quantize(policy, weights):
    """Weights as codes where the policy says so, differentiably; SAWB has no clips to learn."""
    return fake_quantize(policy).codes(weights, {})


def train(policy, weights, steps):
    """Weights after `steps` batches."""

    def loss(weights, key):
        inputs, labels = draw(key)
        logits = classify(policy, quantize(policy, weights), inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def update(carry, key):
        weights, state = carry
        updates, state = optimizer.update(jax.grad(loss)(weights, key), state)
        return (optax.apply_updates(weights, updates), state), None

    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, steps))
    keys = jax.random.split(jax.random.key(steps), steps)
    return jax.lax.scan(update, (weights, optimizer.init(weights)), keys)[0][0]


def main():
    """Trains in float, then in 4 bits; compares with the deployed codes."""
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = {
        "lstm/kernel": (2, 4 * CELLS),
        "lstm/recurrent": (CELLS, 4 * CELLS),
        "output/kernel": (CELLS, SPEEDS),
    }
    glorot = jax.nn.initializers.glorot_uniform()
    weights = {name: glorot(key, shapes[name]) for name, key in zip(shapes, keys, strict=False)}
    weights = train(FLOAT, weights, steps=500)
    trained = train(FOUR_BITS, weights, steps=250)

    compiled = jax.jit(quantize, static_argnums=0)
    deployed = deploy(compiled(FOUR_BITS, trained))
    models = {
        "float": (FLOAT, weights),
        "4 bits, not trained": (FOUR_BITS, compiled(FOUR_BITS, weights)),
        "4 bits, trained": (FOUR_BITS, compiled(FOUR_BITS, trained)),
        "4 bits, deployed": (FOUR_BITS, deployed),
    }
    batches = jax.vmap(draw)(jax.random.split(keys[3], 64))
    inputs, labels = jax.tree.map(jnp.concatenate, batches)
    logits = {
        name: jax.jit(classify, static_argnums=0)(*model, inputs) for name, model in models.items()
    }
    for name, found in logits.items():
        print(f"{name:20}{100 * jnp.mean(found.argmax(-1) == labels):5.1f}% right")
    same = jnp.array_equal(logits["4 bits, trained"], logits["4 bits, deployed"])
    print(f"trained and deployed agree in every bit: {same}\n")

    def deployed_model(weights, inputs):
        return classify(FOUR_BITS, weights, inputs)

    print(table(audit(deployed_model, deployed, inputs[:1], policy=FOUR_BITS, params=deployed)))


if __name__ == "__main__":
    main()
