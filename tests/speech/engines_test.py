"""A learner alone trains to the same weights under every engine."""

import itertools
from dataclasses import replace

import chex
import jax
import numpy as np
import pytest

from gossamer.speech import engines, experiment
from gossamer.speech.corpora.corpus import Corpus, Utterance, Utterances
from gossamer.speech.run_config import (
    AugmentationConfig,
    DataConfig,
    LearnersConfig,
    OptimizerConfig,
    SpeechConfig,
)
from gossamer.speech.text import Vocabulary
from gossamer.speech.transducer_config import TransducerConfig

CONFIG = SpeechConfig(
    data=DataConfig(buckets=((1.0, 2),), join_probability=0.0, spliced=0.0),
    model=TransducerConfig(
        encoder_layers=1,
        encoder_size=8,
        predictor_size=8,
        joiner_size=8,
        dropout=0.0,
        embedding_dropout=0.0,
        dropconnect=0.0,
    ),
    # Whatever is drawn has other keys without a barrier.
    augmentation=AugmentationConfig(num_time_masks=0, num_frequency_masks=0),
    optimizer=OptimizerConfig(steps=4),
)


def make_data():
    generator = np.random.default_rng(0)
    utterances = Utterances.of(
        Utterance(f"u{i}", "ab", generator.normal(scale=0.1, size=6000).astype(np.float32), 8000)
        for i in range(8)
    )
    return Corpus("noise", utterances, utterances, utterances, Vocabulary("ab"), 8000)


def train(folder, **options):
    config = replace(CONFIG, learners=LearnersConfig(**options))
    data = make_data()
    model = experiment.build_model(config, data)
    params = experiment.initial_parameters(model, config.seed)
    with engines.open_engine(config, model, params, data, folder) as engine:
        state = jax.tree.map(lambda x: x.copy(), engine.state)
        for batch in itertools.islice(engine.batches, config.optimizer.steps):
            state, report = engine.step(state, batch)
        state = engine.read(state)
        chex.assert_trees_all_equal_structs(state, engine.state)
    return state, report, engine.totals()


@pytest.mark.slow
def test_one_learner_is_the_same_in_a_thread(tmp_path):
    state, report, _ = train(tmp_path, number=1)
    alone, other_report, totals = train(tmp_path, number=1, engine="threads")
    # The two compilers' orders of sums differ, and Adam divides by the size of a gradient.
    chex.assert_trees_all_close(alone.params, state.params, rtol=1e-3, atol=1e-5)
    assert report["loss"] == pytest.approx(other_report["loss"], rel=1e-4)
    assert totals["updates"] == 4
    assert (tmp_path / "traces" / "000000.npz").exists()
