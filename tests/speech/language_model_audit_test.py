"""Tables of a quantized language model: its products, label by label, and its bytes."""

import jax
import jax.numpy as jnp
import pytest

from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import language_model_run
from gossamer.speech.calibration import draw_variables
from gossamer.speech.language_model_audit import describe, is_language_model
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.language_model_run import TrainedLanguageModel
from gossamer.speech.text import Vocabulary


@pytest.fixture
def save(tmp_path):
    """Writes a language model with random weights, under a policy or in float."""

    def write(name):
        config = LanguageModelConfig(layers=2, size=6, embedding_size=4)
        trained = TrainedLanguageModel(config, Vocabulary.of(["abc "]), None, name)
        shape = jax.ShapeDtypeStruct((1, 2), jnp.int32)
        variables = draw_variables(trained.model, jax.random.key(0), shape)
        variables = deploy_variables(trained.model.policy, variables)
        folder = tmp_path / str(name)
        folder.mkdir()
        language_model_run.save(
            folder / language_model_run.PACKED, trained._replace(params=variables)
        )
        return folder

    return write


def test_tables_of_a_quantized_model(save):
    folder = save("int4_paper")
    text = describe(folder)
    assert text == describe(folder / language_model_run.PACKED)
    macs = 4 * 24 + 6 * 24 + 6 * 24 + 6 * 24 + 6 * 5  # both layers, the output
    products, sizes = (part.splitlines() for part in text.split("\n\n"))
    assert products[-1].split()[:2] == ["total", f"{macs:,}"]
    assert products[-1].endswith("0.0% in float")
    assert any("layer_2/recurrent" in line for line in products)
    assert any(line.startswith("params/embedding/embedding") for line in sizes)
    assert sizes[-1].startswith("total")


def test_a_model_in_float_is_told_the_way(save):
    folder = save(None)
    with pytest.raises(ValueError, match="a language model in float; quantize it by"):
        describe(folder)


def test_what_a_language_model_is(save, tmp_path):
    folder = save(None)
    assert is_language_model(folder)
    assert is_language_model(folder / language_model_run.PACKED)
    (tmp_path / "other.safetensors").write_text("no tensors")
    assert not is_language_model(tmp_path / "other.safetensors")
    assert not is_language_model(tmp_path / "absent")
    assert not is_language_model(tmp_path)
