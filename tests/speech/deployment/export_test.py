import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

from gossamer.speech import recognizer
from gossamer.speech.deployment.export import Fusion, export
from gossamer.speech.fusion import FusedModels
from gossamer.speech.language_model import LanguageModel
from gossamer.speech.language_model_config import LanguageModelConfig
from gossamer.speech.language_model_run import TrainedLanguageModel
from gossamer.speech.text import Vocabulary
from gossamer.speech.transcriber.transcriber import Search, Transcriber

ABSENT = ("jax", "jaxlib", "flax", "scipy", "soxr", "tyro", "rich", "onnx", "cattrs", "safetensors")


def language_model(vocabulary, seed):
    config = LanguageModelConfig(size=8, embedding_size=4)
    model = LanguageModel(config, len(vocabulary))
    params = model.init(jax.random.key(seed), jnp.zeros((1, 2), jnp.int32))
    params["params"]["output"]["kernel"] *= 4
    return TrainedLanguageModel(config, vocabulary, params)


def test_a_folder_reads_where_there_is_nothing_else(make_recognizer, noise, tmp_path):
    made = make_recognizer("int4_paper")
    export(made, tmp_path / "exported")
    soundfile.write(tmp_path / "noise.wav", noise(1.0), 8000)
    soundfile.write(tmp_path / "other.wav", noise(1.0), 16000)
    code = f"""
import runpy, sys
for name in {ABSENT}:
    sys.modules[name] = None
sys.argv = ["exported", "noise.wav", "other.wav", "--beam", "2", "--nbest", "1"]
runpy.run_path("exported", run_name="__main__")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (expected,) = recognizer.transcribe(made, [soundfile.read(tmp_path / "noise.wav")[0]], beam=2)
    assert done.stdout == f"noise.wav\t{expected.text}\n"
    assert "other.wav: has 16000 samples per second instead of 8000" in done.stderr
    assert done.returncode == 2


def test_language_models_go_along(make_recognizer, noise, tmp_path):
    made = make_recognizer()
    models = [language_model(made.vocabulary, seed) for seed in (1, 2)]
    export(made, tmp_path / "exported", fusion=Fusion(*models, 0.5, 0.25, 0.1))
    fused = FusedModels(
        tuple(trained.model for trained in models),
        tuple(trained.params for trained in models),
        weights=(0.5, -0.25),
        length_reward=0.1,
    )
    (expected,) = recognizer.transcribe(made, [noise(1.0)], beam=4, language_models=fused)
    transcriber = Transcriber(tmp_path / "exported")
    (found,) = transcriber.transcribe(noise(1.0), Search(beam=4))
    assert found.text == expected.text
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-4)
    off = Search(beam=4, external_weight=0, source_weight=0, length_reward=0)
    (plain,) = recognizer.transcribe(made, [noise(1.0)], beam=4)
    assert transcriber.transcribe(noise(1.0), off)[0].text == plain.text


def test_four_bits_make_small_files(make_recognizer, tmp_path):
    # The nodes take more than these few weights, hence a difference of sizes.
    sizes = {}
    for quantize in (None, "int8", "int4_paper"):
        small = export(make_recognizer(quantize), tmp_path / f"small-{quantize}")
        large = export(make_recognizer(quantize, encoder_size=36), tmp_path / f"large-{quantize}")
        sizes[quantize] = large["encoder"] - small["encoder"]
    assert 3.5 < sizes[None] / sizes["int8"] < 4
    assert 6 < sizes[None] / sizes["int4_paper"] < 8


def test_refusals_leave_nothing(make_recognizer, tmp_path):
    made = make_recognizer()
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="there: exists; choose another folder, or remove it"):
        export(made, tmp_path / "there")
    other = language_model(Vocabulary.of(["xyz"]), 0)
    with pytest.raises(ValueError, match="source language model has other labels"):
        export(made, tmp_path / "new", fusion=Fusion(source=other))
    with pytest.raises(ValueError, match=r"`fusion\.external_weight` must be at least 0, got -1"):
        export(made, tmp_path / "new", fusion=Fusion(external_weight=-1.0))
    with pytest.raises(ValueError, match="there: exists"):  # and is no export
        export(made, tmp_path / "there", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["there"]


def test_an_export_is_replaced_when_the_new_one_is_complete(make_recognizer, tmp_path):
    export(make_recognizer("int8"), tmp_path / "exported")
    with pytest.raises(ValueError, match=r"exported: exists; .* `overwrite`"):
        export(make_recognizer("int8"), tmp_path / "exported")
    with pytest.raises(ValueError, match="at most 4 bits"):
        export(
            make_recognizer("int8"), tmp_path / "exported", arithmetic="blockwise", overwrite=True
        )
    assert Transcriber(tmp_path / "exported").manifest["quantize"] == "int8"
    assert [entry.name for entry in tmp_path.iterdir()] == ["exported"]
    export(make_recognizer("int4_paper"), tmp_path / "exported", overwrite=True)
    assert Transcriber(tmp_path / "exported").manifest["quantize"] == "int4_paper"
