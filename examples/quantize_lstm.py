"""Quantizes an LSTM of your own to 4 bits: weights, inputs and hidden states.

    python examples/quantize_lstm.py

The model is a plain function, `classify`, that tells at which of eight speeds a noisy point runs
around a circle. Quantization asks two things of it: each product names its weight, and what it
multiplies passes the quantizer of a named site. A policy then decides what becomes codes and how.
The same function runs in float, in training with codes that pass gradients on, and deployed with
int8 codes.

Clips at the maxima cost accuracy. Training wins it back, with clips that fit the statistics of each
gate's weights (SAWB), a learned range for the inputs (PACT), and the bound of the hidden state.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from gossamer.core import audit, compression
from gossamer.core.blocks import gates
from gossamer.core.quantization import Policy, clip_labels, deploy, fake_quantize
from gossamer.core.quantized import matmul
from gossamer.core.quantizers import fixed, max_abs, pact_plus, sawb_plus

FRAMES, SPEEDS, CELLS = 16, 8, 32
FLOAT = Policy()
NAIVE = Policy(weights=((".*", max_abs(4)),), activations=((".*", max_abs(4)),))
INPUT = pact_plus(4)
TAILORED = Policy(
    weights=(("lstm/.*", sawb_plus(4, gates(4))), ("output/.*", sawb_plus(4))),
    activations=(("lstm/input", INPUT), (".*", fixed(4, clip=1.0))),
)


@functools.partial(jax.jit, static_argnames="number")
def draw(seed, number):
    """Noisy points on circles [number, FRAMES, 2], and which speed they have, [number]."""
    keys = jax.random.split(jax.random.key(seed), 3)
    labels = jax.random.randint(keys[0], (number, 1), 0, SPEEDS)
    phases = jax.random.uniform(keys[1], (number, 1), maxval=2 * jnp.pi)
    angles = 0.08 * (labels - 3.5) * jnp.arange(FRAMES) + phases
    points = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=-1)
    return points + 0.2 * jax.random.normal(keys[2], points.shape), labels[:, 0]


@functools.partial(jax.jit, static_argnames="policy")
def quantize(policy, weights):
    """Weights as codes, where the policy says so; neither SAWB nor maxima have clips to learn."""
    return fake_quantize(policy).codes(weights, {})


@functools.partial(jax.jit, static_argnames="policy")
def classify(policy, weights, clips, inputs):
    """Logits [number, SPEEDS] from the last state of an LSTM; weights in float or as codes."""

    def multiply(x, name):
        site = audit.site_of(name)  # lstm/input, lstm/hidden, output/input
        if quantizer := policy.activation(site):
            x = quantizer.codes(clips.get(site, {}), x)
        return matmul(x, weights[name], name=name)

    def step(state, projected):
        hidden, cell = state
        i, f, g, o = jnp.split(projected + multiply(hidden, "lstm/recurrent"), 4, axis=-1)
        cell = jax.nn.sigmoid(f + 1) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(cell), cell), None

    projected = jnp.swapaxes(multiply(inputs, "lstm/kernel"), 0, 1)
    zeros = jnp.zeros((len(inputs), CELLS))
    (hidden, _), _ = jax.lax.scan(step, (zeros, zeros), projected)
    return multiply(hidden, "output/kernel")


def train(policy, weights, clips, steps):
    """Weights and clips after `steps` batches of 64 sequences."""

    def loss(variables, inputs, labels):
        codes = quantize(policy, variables["weights"])
        logits = classify(policy, codes, variables["clips"], inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def update(step, carry):
        variables, state = carry
        updates, state = optimizer.update(jax.grad(loss)(variables, *draw(step, 64)), state)
        return optax.apply_updates(variables, updates), state

    rates = {"weights": optax.cosine_decay_schedule(5e-3, steps), "clips": 1e-2}
    optimizer = optax.partition(jax.tree.map(optax.adam, rates), clip_labels)
    variables = {"weights": weights, "clips": clips}
    variables, _ = jax.lax.fori_loop(0, steps, update, (variables, optimizer.init(variables)))
    return variables["weights"], variables["clips"]


initialize = jax.nn.initializers.glorot_uniform()
weights = {
    "lstm/kernel": initialize(jax.random.key(0), (2, 4 * CELLS)),
    "lstm/recurrent": initialize(jax.random.key(1), (CELLS, 4 * CELLS)),
    "output/kernel": initialize(jax.random.key(2), (CELLS, SPEEDS)),
}
weights, _ = train(FLOAT, weights, {}, steps=500)
inputs, labels = draw(-1, 4096)
trained, clips = train(TAILORED, weights, {"lstm/input": INPUT.init(inputs)}, steps=250)
codes = quantize(TAILORED, trained)
deployed = deploy(codes)

logits = {
    "float": classify(FLOAT, weights, {}, inputs),
    "4 bits, maxima, not trained": classify(NAIVE, quantize(NAIVE, weights), {}, inputs),
    "4 bits, trained": classify(TAILORED, codes, clips, inputs),
    "4 bits, deployed": classify(TAILORED, deployed, clips, inputs),
}
for name, found in logits.items():
    print(f"{name:28}{100 * jnp.mean(found.argmax(-1) == labels):5.1f}% right")
same = jnp.array_equal(logits["4 bits, trained"], logits["4 bits, deployed"])
print(f"trained and deployed agree in every bit: {same}\n")
model = functools.partial(classify, TAILORED)
found = audit.audit(model, deployed, clips, inputs[:1], policy=TAILORED, params=deployed)
print(audit.table(found), compression.table(compression.compression_report(deployed)), sep="\n\n")
