"""What compression adds to a step of the speech transducer, and how long it takes at paper size.

    python benchmarks/compression_step.py

First the whole training step of one learner, `small` preset, recordings of two seconds: without any
link for the gradients, with ScaleCom, with PowerSGD. Then the links alone on gradients of the
`small` and of the `paper` preset, beside one pass that reads and writes such a tree. One learner
exchanges nothing, so all of it is computation. Medians of turns.
"""

import argparse
import dataclasses
import statistics

import jax
import jax.numpy as jnp
import numpy as np
import optax
from turns import alternate

from gossamer.core import learners, sparsification, training
from gossamer.core.error_feedback import error_feedback
from gossamer.core.low_rank import power_sgd
from gossamer.core.selection import SORTED
from gossamer.speech import experiment, recipe
from gossamer.speech.run_config import LearnersConfig, SpeechConfig
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import PRESETS

RATE, SECONDS, LABELS, VOCABULARY = 128, 2, 24, 29
LINKS = {
    "ScaleCom": sparsification.scalecom(RATE),
    "ScaleCom, beta 0.1": sparsification.scalecom(RATE, 0.1),
    "exact top-k": sparsification.scalecom(RATE, selection=SORTED),
    "PowerSGD": error_feedback(power_sgd(), RATE),
}


def main():
    parser = argparse.ArgumentParser(description="Time that compression takes.")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--recordings", nargs="+", type=int, default=[4, 16])
    options = parser.parse_args()
    print(f"jax {jax.__version__} on {jax.devices()[0].device_kind}, {options.turns} turns")
    for recordings in options.recordings:
        report(f"step, {recordings} recordings", build_steps(recordings), options.turns)
    for preset in ("small", "paper"):
        shapes = init_shapes(preset)
        number = sum(x.size for x in jax.tree.leaves(shapes))
        report(f"{preset}, {number / 1e6:.1f} million", build_links(shapes), options.turns)


def report(title: str, contenders, turns: int) -> None:
    times = alternate(contenders, turns)
    medians = {name: 1e3 * statistics.median(seconds) for name, seconds in times.items()}
    first = next(iter(medians.values()))
    print(f"\n{title:30}{'ms':>10}{'ratio':>8}")
    for name, median in medians.items():
        print(f"{name:30}{median:10.1f}{median / first:8.2f}")


def init_shapes(preset: str):
    model = Transducer(PRESETS[preset], VOCABULARY)
    return jax.eval_shape(lambda: experiment.initial_parameters(model, seed=0))


def build_links(shapes):
    generator = np.random.default_rng(0)
    gradients = jax.tree.map(
        lambda x: jnp.asarray(generator.standard_normal((1, *x.shape), np.float32)), shapes
    )
    double = jax.jit(lambda tree: jax.tree.map(lambda x: 2.0 * x, tree))
    contenders = {"one pass": lambda: double(gradients)}
    for name, link in LINKS.items():
        update = learners.spread(lambda g, s, link=link: link.update(g, s), 1, donate_argnums=1)
        state = [learners.replicate(link.init(shapes), 1)]

        def run(update=update, state=state):
            updates, state[0] = update(gradients, state[0])
            return updates

        contenders[name] = run
    return contenders


def build_steps(recordings: int):
    config = SpeechConfig(learners=LearnersConfig(number=1, algorithm="ssgd"))
    config = dataclasses.replace(config, model=PRESETS["small"])
    model = Transducer(config.model, VOCABULARY)
    generator = np.random.default_rng(0)
    waveform = generator.standard_normal((1, recordings, SECONDS * config.data.sample_rate))
    labels = generator.integers(1, VOCABULARY, (1, recordings, LABELS))
    batch = {
        "waveform": jnp.asarray(0.1 * waveform, jnp.float32),
        "waveform_paddings": jnp.zeros(waveform.shape),
        "labels": jnp.asarray(labels, jnp.int32),
        "label_paddings": jnp.zeros(labels.shape),
    }
    params = jax.tree.map(
        lambda x: jnp.asarray(0.05 * generator.standard_normal(x.shape), jnp.float32),
        init_shapes("small"),
    )
    contenders = {}
    for name, link in {"dense": optax.identity(), **LINKS}.items():
        if name in ("exact top-k", "ScaleCom, beta 0.1"):
            continue
        optimizer = optax.chain(link, optax.adamw(1e-3))
        state = training.init_state(params, optimizer, jax.random.key(0), num_learners=1)
        step = learners.spread(recipe.training_step(config, model, optimizer), 1, donate_argnums=0)
        held = [state]

        def run(step=step, held=held):
            held[0], metrics = step(held[0], batch)
            return metrics

        contenders[name] = run
    return contenders


if __name__ == "__main__":
    main()
