"""A packed classifier is the one that was saved."""

import jax
import numpy as np
import pytest

from gossamer.language import classifier


def test_what_is_saved_is_loaded(phrases, tmp_path):
    model = phrases["model"]
    classifier.save(tmp_path / "packed.safetensors", model)
    found = classifier.load(tmp_path / "packed.safetensors")
    assert found.config == model.config
    assert found.classes == model.classes
    assert found.tokenizer.vocabulary == model.tokenizer.vocabulary
    assert found.corpus == "phrases"
    assert len(found.variants) == 2
    trees = ((found.params, found.variants), (model.params, model.variants))
    jax.tree.map(np.testing.assert_array_equal, *trees)
    texts = ["The soup was awful.", "The soup was superb."]
    probabilities = classifier.predict(found, texts)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert probabilities.argmax(1).tolist() == [0, 1]


def test_what_is_no_classifier_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file; train it by `gossamer train language`"):
        classifier.load(tmp_path)
    other = tmp_path / "other.safetensors"
    classifier.save_file({"x": np.zeros(1)}, other, metadata={"format": "other"})
    with pytest.raises(ValueError, match="format 'other'"):
        classifier.load(other)
