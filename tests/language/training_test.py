"""Training by the one loop: it learns, goes on, and leaves variants near the final parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gossamer.language import training


def test_phrases_are_learned(phrases):
    assert phrases["result"].accuracy > 0.95
    assert 0.4 < phrases["result"].majority < 0.7


def test_variants_are_near_and_different(phrases):
    model = phrases["model"]
    for variant in model.variants:
        difference = optax.tree.norm(jax.tree.map(jnp.subtract, variant, model.params))
        assert 0 < difference / optax.tree.norm(model.params) < 0.1
    first, second = (jax.tree.leaves(variant)[0] for variant in model.variants)
    assert jnp.abs(first - second).max() > 0


def test_a_finished_run_is_there_at_once(phrases, monkeypatch, tmp_path):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path))
    assert training.train(phrases["config"]) == phrases["result"]
    other = dataclasses.replace(phrases["config"], masked=0.5)
    with pytest.raises(ValueError, match="masked"):
        training.train(other)


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"variants": 0}, {"variant_spacing": 0}, {"masked": 1.0}]
)
def test_options_out_of_range_are_refused_before_training(phrases, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        training.train(dataclasses.replace(phrases["config"], **options))


def test_masks_spare_special_tokens():
    seen = []

    class Model:
        def apply(self, variables, ids, **options):
            seen.append(ids)
            return jnp.zeros((2, 3))

    loss = training.loss_function(Model(), 1.0, 4)  # type: ignore
    batch = {"ids": jnp.array([[2, 5, 1, 3, 0], [2, 9, 4, 3, 0]]), "label": jnp.array([0, 1])}
    loss({}, batch, jax.random.key(0))
    np.testing.assert_array_equal(seen[0], [[2, 4, 1, 3, 0], [2, 4, 4, 3, 0]])


def test_batches_take_every_example_in_a_pass():
    examples = {"ids": np.arange(6)[:, None], "label": np.arange(6)}
    batches = training.draw_batches(examples, 2, seed=0)
    passes = [np.concatenate([next(batches)["label"] for _ in range(3)]) for _ in range(2)]
    for each in passes:
        assert sorted(each) == list(range(6))
    assert (passes[0] != passes[1]).any()
