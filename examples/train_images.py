"""Trains a small convolutional network by gossip on the bundled images, in a loop of one's own.

    python examples/train_images.py

What `gossamer train vision` does, in its parts: images in batches of four learners, a network, a
step with the statistics of batch norm, and the mean over the learners at the end.
"""

from dataclasses import replace

import jax

from gossamer.core import host_memory, learners, training
from gossamer.core.learners_config import LearnersConfig
from gossamer.vision import classifier, data, experiment, recipe
from gossamer.vision.run_config import DataConfig, NetworkConfig, OptimizerConfig, VisionConfig

STEPS = 30
CONFIG = VisionConfig(
    data=DataConfig(size=16, batch_size=64),
    network=NetworkConfig("resnet18", width=0.125),
    optimizer=OptimizerConfig(steps=STEPS, learning_rate=0.1, schedule="cosine"),
    learners=LearnersConfig(number=4, engine="shard_map"),
    statistics_images=1000,
)


def main():
    """Trains and compares with what one learner alone makes of its own images."""
    host_memory.keep_freed_memory()  # faster on a CPU; `gossamer` does so too
    jax.config.update("jax_num_cpu_devices", CONFIG.learners.number)
    images = data.fashion()
    for number in (1, 4):
        # A learner sees 16 images in each step, whether alone or one of four.
        config = replace(
            CONFIG,
            data=replace(CONFIG.data, batch_size=16 * number),
            learners=replace(CONFIG.learners, number=number),
        )
        network = classifier.create_network(config.network, len(images.class_names))
        step = training.train_step(
            recipe.loss_function(config, network),
            recipe.optimizer(config),
            axis_name="learner",
            statistics_decay=recipe.STATISTICS_DECAY,
        )
        step = learners.spread(step, number, engine="shard_map", donate_argnums=0)
        state = learners.place(experiment.initial_state(config, images), number, engine="shard_map")
        batches = experiment.training_batches(config, images)
        report = {}
        for _ in range(STEPS):
            state, report = step(state, next(batches))
        score = classifier.evaluate(experiment.averaged(config, images, state), images)
        print(
            f"{number} learners: loss {float(report['loss'][0]):.2f}, accuracy {score.accuracy:.3f}"
        )


if __name__ == "__main__":
    main()
