"""A tiny real run that the tests of training start, kill and start again.

python killed_run.py FOLDER NUM_STEPS [CLUSTER]

With a cluster it is one of its two processes, see `processes.join`, and takes half a second a step.
"""

import functools
import sys
import time

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gossamer.core import gossip, learners, processes, run_folder, topology, training

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
def make_step(engine="vmap"):
    """The step and the initial state of the run."""
    optimizer = gossip.dpsgd(optax.adam(0.05), topology.ring(LEARNERS))
    step = learners.spread(
        training.train_step(loss, optimizer, axis_name="learner"),
        LEARNERS,
        engine=engine,
        donate_argnums=0,
    )
    params = {"weight": jnp.zeros(5)}
    return step, training.init_state(params, optimizer, jax.random.key(1), num_learners=LEARNERS)


def make_batches():
    """A new iterator over the batches of the run."""
    examples = grain.MapDataset.source(Examples()).seed(7).shuffle().repeat()
    return iter(examples.batch(3).batch(LEARNERS).to_iter_dataset())


def train(folder, num_steps, *, wrap=lambda batches: batches, engine="vmap", **options):
    """Runs or continues the run; `wrap` may tamper with its batches."""
    step, state = make_step(engine)
    place = functools.partial(learners.place, num_learners=LEARNERS, engine=engine)

    def validate(state):
        return {"error": float(np.mean(np.abs(learners.average(state.params)["weight"] - 1)))}

    defaults = {"checkpoint_every": 3, "log_every": 2, "validate": validate, "validate_every": 5}
    defaults |= {"best_metric": "error", "show_progress": False}
    return training.fit(
        step,
        place(state),
        wrap(make_batches()),
        place=place,
        run_folder=folder,
        num_steps=num_steps,
        **(defaults | options),
    )


class Slow:
    """Batches that give others the time to send a signal."""

    def __init__(self, batches):
        self._batches = batches
        self.get_state, self.set_state = batches.get_state, batches.set_state

    def __next__(self):
        time.sleep(0.5)
        return next(self._batches)


def train_on_cluster(folder, num_steps, cluster):
    """One of several processes."""
    processes.join(cluster)
    processes.check_learners(LEARNERS, "auto")
    folder = run_folder.open_run(folder, {"steps": num_steps}, seed=1)
    train(folder, num_steps, wrap=Slow, engine="auto")
    processes.wait("the end")


if __name__ == "__main__":
    if sys.argv[3:]:
        train_on_cluster(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    else:
        train(sys.argv[1], int(sys.argv[2]))
