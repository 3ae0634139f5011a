"""Training of a language model, and its measures against their definitions."""

import dataclasses
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.core import packing
from gossamer.core.audit import audit, float_share
from gossamer.core.paths import named_leaves
from gossamer.core.quantization import is_quantized
from gossamer.speech import experiment, language_model_run
from gossamer.speech.corpora import sentences
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.language_model_run import TrainedLanguageModel
from gossamer.speech.language_model_run_config import LanguageModelRun
from gossamer.speech.run_config import LearnersConfig, OptimizerConfig
from gossamer.speech.text import Vocabulary

TINY = LanguageModelConfig(size=16, embedding_size=8, dropout=0.0)
STILL = OptimizerConfig(steps=0)  # calibration is all


def run_config(folder, **options):
    return LanguageModelRun(
        model=TINY,
        optimizer=OptimizerConfig(steps=12, peak_learning_rate=2e-2),
        log_every=4,
        validate_every=6,
        checkpoint_every=6,
        run=folder,
        **options,
    )


def trained_at_random(vocabulary, config=TINY):
    model = TrainedLanguageModel(config, vocabulary, None).model
    labels = jnp.zeros((1, 2), jnp.int32)
    return TrainedLanguageModel(config, vocabulary, jax.jit(model.init)(jax.random.key(0), labels))


def test_perplexity_by_the_chain_rule():
    vocabulary = Vocabulary.of(["ab "])
    trained = trained_at_random(vocabulary)
    texts = ["a", "ab ba", "b b b"]
    encoded = [vocabulary.encode(text) for text in texts]
    total = 0.0
    apply = jax.jit(trained.model.apply)
    for row in encoded:
        for u, label in enumerate(row):
            logits = np.asarray(apply(trained.params, jnp.asarray(row[None, :u]))[0, u], np.float64)
            total -= logits[label] - np.log(np.sum(np.exp(logits)))
    found = language_model_run.measure_perplexity(trained, encoded)
    assert found.label == pytest.approx(math.exp(total / 11), rel=1e-5)
    assert found.word == pytest.approx(math.exp(total / 6), rel=1e-5)


def test_a_run_learns_packs_and_is_complete(tmp_path):
    folder = tmp_path / "lm"
    config = run_config(folder, learners=LearnersConfig(number=2, engine="auto"))
    found = language_model_run.train(config)
    loaded = language_model_run.load(folder)
    held_out = sentences.read_sentences(["prompts"]).dev
    encoded = sentences.encode(held_out, loaded.vocabulary)
    untrained = language_model_run.measure_perplexity(trained_at_random(loaded.vocabulary), encoded)
    assert found.label < 0.8 * untrained.label
    assert found == language_model_run.measure_perplexity(loaded, encoded)
    facts = json.loads((folder / "result.json").read_text())
    assert facts["perplexity"] == found.label
    assert language_model_run.train(config) == found  # a finished run is only read
    with pytest.raises(ValueError, match="must be that of the run"):
        language_model_run.train(dataclasses.replace(config, seed=1))


def test_what_is_no_language_model_is_refused(tmp_path):
    path = tmp_path / "nothing.safetensors"
    with pytest.raises(ValueError, match="there is no such file; train it by"):
        language_model_run.load(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="not a packed language model"):
        language_model_run.load(path)
    path.unlink()
    with pytest.raises(ValueError, match="`--engine` must be auto, vmap"):
        language_model_run.train(run_config(tmp_path, learners=LearnersConfig(engine="threads")))
    with pytest.raises(ValueError, match=r"`learners\.weight_noise` is for recognizers"):
        language_model_run.train(run_config(tmp_path, learners=LearnersConfig(weight_noise=0.1)))
    with pytest.raises(ValueError, match="`batch_size` must be a positive multiple"):
        next(sentences.SentenceBatches([], 0, num_learners=1, seed=0))
    still = dataclasses.replace(run_config(tmp_path, quantize="int8"), optimizer=STILL)
    with pytest.raises(ValueError, match=r"`--optimizer.steps` must be positive, got 0;.*`--from`"):
        language_model_run.train(still)
    with pytest.raises(ValueError, match=r"`quantize` must be one of int4_paper.*got 'int5'"):
        language_model_run.train(run_config(tmp_path, quantize="int5"))
    assert not list(tmp_path.iterdir())


def test_saved_parameters_come_back_in_half_precision(tmp_path):
    trained = trained_at_random(Vocabulary.of(["abc"]))
    path = tmp_path / "lm.safetensors"
    language_model_run.save(path, trained)
    loaded = language_model_run.load(path)
    assert (loaded.config, loaded.vocabulary) == (trained.config, trained.vocabulary)
    jax.tree.map(
        lambda x, y: np.testing.assert_array_equal(x, np.asarray(y, np.float16)),
        loaded.params,
        trained.params,
    )


def test_reads_files_of_the_first_format(tmp_path):
    trained = trained_at_random(Vocabulary.of(["abc"]))
    header = {
        "format": "gossamer-language-model-1",
        "config": json.dumps(dataclasses.asdict(trained.config)),
        "vocabulary": json.dumps(trained.vocabulary.characters),
    }
    packing.write(tmp_path / "lm.safetensors", trained.params, header)
    loaded = language_model_run.load(tmp_path / "lm.safetensors")
    assert (loaded.quantize, loaded.model) == (None, trained.model)
    chex.assert_trees_all_equal_structs(loaded.params, trained.params)


def test_a_run_under_a_policy_starts_from_a_float_one_and_packs_codes(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"press {a}{b} now\n" for a in "abcdefgh" for b in "stuvwxyz"))
    wide = dataclasses.replace(TINY, layers=2)
    source = tmp_path / "float.safetensors"
    vocabulary = experiment.find_recognizer("prompts").vocabulary
    language_model_run.save(source, trained_at_random(vocabulary, wide))
    quantized = dataclasses.replace(
        run_config(tmp_path / "int4", text=(str(text),), quantize="int4_paper"),
        model=wide,
        start_from=str(source),
    )
    calibrated = dataclasses.replace(quantized, run=tmp_path / "still", optimizer=STILL)
    start = language_model_run.train(calibrated)
    assert language_model_run.train(calibrated) == start  # nothing there hinders it
    found = language_model_run.train(quantized)
    assert found.label < start.label
    loaded = language_model_run.load(tmp_path / "int4")
    assert loaded.quantize == "int4_paper"
    first = language_model_run.load(tmp_path / "still").params["clips"]
    assert set(first) == {"layer_1", "layer_2"}
    moved = jax.tree.map(lambda new, old: abs(new - old).item(), loaded.params["clips"], first)
    assert min(jax.tree.leaves(moved)) > 1e-4  # clips learn too
    weights = named_leaves(loaded.params["params"], is_leaf=is_quantized)
    assert {path for path, leaf in weights if not is_quantized(leaf)} == {
        "layer_1/bias", "layer_2/bias", "output/bias"
    }  # fmt: skip
    labels = jnp.ones((2, 3), jnp.int32)
    network = loaded.model
    products = audit(
        network.apply, loaded.params, labels, policy=network.policy, params=loaded.params["params"]
    )
    assert float_share(products) == 0
    log = (tmp_path / "int4" / "metrics.jsonl").read_text()
    assert '"clip/layer_2/hidden/clip"' in log

    with pytest.raises(ValueError, match="has parameters of other shapes"):
        language_model_run.train(dataclasses.replace(quantized, run=tmp_path / "x", model=TINY))
    with pytest.raises(ValueError, match="holds codes, not numbers to go on from"):
        language_model_run.train(
            dataclasses.replace(quantized, run=tmp_path / "x", start_from=str(tmp_path / "int4"))
        )
    other = tmp_path / "other.safetensors"
    language_model_run.save(other, trained_at_random(Vocabulary.of(["abc"])))
    with pytest.raises(ValueError, match="has another vocabulary than this run"):
        language_model_run.train(
            dataclasses.replace(quantized, run=tmp_path / "x", start_from=str(other))
        )
    assert not (tmp_path / "x").exists()


def test_a_run_under_a_policy_may_start_from_scratch(tmp_path):
    config = run_config(tmp_path / "lm", quantize="int8", learners=LearnersConfig(number=2))
    found = language_model_run.train(config)
    assert found.label < 20
    assert language_model_run.train(config) == found
