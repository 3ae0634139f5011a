"""Quantizes an LSTM of your own to 4 bits: weights, inputs and hidden states.

    python examples/quantize_lstm.py

The model is a plain function, `classify`, that tells at which of eight speeds a noisy point runs
around a circle. Quantization asks two things of it: each product names its weight, and what it
multiplies passes the quantizer of a named site. A policy then decides what becomes codes and how:
here a clip for each gate from the statistics of its weights (SAWB+), and fixed clips for the
activations, whose bounds are known; for others there are clips that training moves, `pact_plus`.
The same function trains in float or through codes, and runs deployed with int8 codes.

A good twenty lines are about quantization: `FOUR_BITS`, `multiply`, the codes in the loss, and the
end, which deploys and audits. The others are the model, its data and its training.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from gossamer.core.audit import audit, site_of, table
from gossamer.core.blocks import gates
from gossamer.core.quantization import Policy, deploy, fake_quantize
from gossamer.core.quantized import matmul
from gossamer.core.quantizers import fixed, sawb_plus

FLOAT = Policy()
FOUR_BITS = Policy(
    weights=(("lstm/.*", sawb_plus(4, gates(4))), ("output/.*", sawb_plus(4))),
    activations=(("lstm/input", fixed(4, clip=1.5)), (".*", fixed(4, clip=1.0))),
)


def draw(key, number=64):
    """Points on circles [number, 16, 2], and which of eight speeds they have, [number]."""
    keys = jax.random.split(key, 3)
    labels = jax.random.randint(keys[0], (number, 1), 0, 8)
    phases = jax.random.uniform(keys[1], (number, 1), maxval=2 * jnp.pi)
    angles = 0.08 * (labels - 3.5) * jnp.arange(16) + phases
    points = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return points + 0.2 * jax.random.normal(keys[2], points.shape), labels[:, 0]


def classify(policy, weights, inputs):
    """Logits [batch, 8] from the last state of an LSTM; weights in float or as codes."""

    def multiply(x, name):
        quantizer = policy.activation(site_of(name))  # of lstm/input, lstm/hidden, output/input
        return matmul(quantizer.codes({}, x) if quantizer else x, weights[name], name=name)

    def step(state, projected):
        hidden, cell = state
        i, f, g, o = jnp.split(projected + multiply(hidden, "lstm/recurrent"), 4, axis=-1)
        cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None

    projected = jnp.swapaxes(multiply(inputs, "lstm/kernel"), 0, 1)
    zeros = jnp.zeros((len(inputs), 32))
    (hidden, _), _ = jax.lax.scan(step, (zeros, zeros), projected)
    return multiply(hidden, "output/kernel")


def train(policy, weights, num_steps=500):
    """Weights, in float, that are good at classifying once the policy has quantized them."""

    def loss(weights, key):
        inputs, labels = draw(key)
        logits = classify(policy, fake_quantize(policy).codes(weights, {}), inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def update(weights, state, key):
        updates, state = optimizer.update(jax.grad(loss)(weights, key), state)
        return optax.apply_updates(weights, updates), state

    optimizer = optax.adam(optax.cosine_decay_schedule(5e-3, num_steps))
    state = optimizer.init(weights)
    for key in jax.random.split(jax.random.key(0), num_steps):
        weights, state = update(weights, state, key)
    return weights


shapes = {"lstm/kernel": (2, 128), "lstm/recurrent": (32, 128), "output/kernel": (32, 8)}
glorot = jax.nn.initializers.glorot_uniform()
weights = {name: glorot(jax.random.key(len(name)), shape) for name, shape in shapes.items()}
inputs, labels = draw(jax.random.key(-1), 4096)
run = jax.jit(classify, static_argnums=0)

logits = run(FLOAT, train(FLOAT, weights), inputs)
print(f"float:             {100 * jnp.mean(logits.argmax(-1) == labels):.1f}% right")

codes = jax.jit(fake_quantize(FOUR_BITS).codes)(train(FOUR_BITS, weights), {})
logits = run(FOUR_BITS, codes, inputs)
print(f"4 bits:            {100 * jnp.mean(logits.argmax(-1) == labels):.1f}% right")

deployed = deploy(codes)  # int8 in place of whole numbers in float32
same = jnp.array_equal(run(FOUR_BITS, deployed, inputs), logits)
print(f"deployed:          the same in every bit: {same}\n")
model = functools.partial(classify, FOUR_BITS)
found = audit(model, deployed, inputs[:1], policy=FOUR_BITS, params=deployed)
print(table(found))  # it raises if a configured product stayed in float
