"""A tiny real run that the tests of training start, kill and start again.

python killed_run.py FOLDER NUM_STEPS
"""

import functools
import sys

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, learners, topology, training

LEARNERS = 2


class Examples:
    """Sixty noisy pairs (x, sum of x), made from their numbers."""

    def __len__(self):
        return 60

    def __getitem__(self, index):
        x = np.random.default_rng(int(index)).normal(size=5).astype(np.float32)
        return {"x": x, "y": x.sum()}


def loss(params, batch, key):
    """Squared error of a linear model with random noise on its output."""
    noise = 0.01 * jax.random.normal(key, batch["y"].shape)
    errors = batch["x"] @ params["weight"] + noise - batch["y"]
    return jnp.mean(jnp.square(errors)), {"largest": jnp.max(jnp.abs(errors))}


@functools.cache
def make_step():
    """The step and the initial state of the run."""
    optimizer = gossip.dpsgd(optax.adam(0.05), topology.ring(LEARNERS))
    step = learners.spread(
        training.train_step(loss, optimizer, axis_name="learner"), LEARNERS, donate_argnums=0
    )
    params = {"weight": jnp.zeros(5)}
    return step, training.init_state(params, optimizer, jax.random.key(1), num_learners=LEARNERS)


def make_batches():
    """A new iterator over the batches of the run."""
    examples = grain.MapDataset.source(Examples()).seed(7).shuffle().repeat()
    return iter(examples.batch(3).batch(LEARNERS).to_iter_dataset())


def train(folder, num_steps, *, wrap=lambda batches: batches, **options):
    """Runs or continues the run; `wrap` may tamper with its batches."""
    step, state = make_step()

    def validate(state):
        return {"error": float(jnp.mean(jnp.abs(state.params["weight"] - 1)))}

    defaults = {"checkpoint_every": 3, "log_every": 2, "validate": validate, "validate_every": 5}
    defaults |= {"best_metric": "error", "show_progress": False}
    return training.fit(
        step,
        state,
        wrap(make_batches()),
        run_folder=folder,
        num_steps=num_steps,
        **(defaults | options),
    )


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
