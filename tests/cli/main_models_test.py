"""Commands on finished models: exported, fused with others, asked for alternatives."""

import dataclasses
import subprocess
import sys

import pytest

from gossamer.cli import evaluate
from gossamer.cli.main import main
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import experiment, recognizer
from gossamer.speech.configs import CONFIGS
from gossamer.speech.corpora import alternatives
from gossamer.speech.text import Vocabulary
from gossamer.speech.transducer_config import TransducerConfig

pytestmark = pytest.mark.usefixtures("home")


def test_export_and_read_without_jax(make_recognizer, manifest, tmp_path, capsys):
    recognizer.save("small.safetensors", make_recognizer())
    assert main(["export", "small.safetensors", "--output", "small"]) == 0
    assert "encoder" in capsys.readouterr().err
    assert main(["export", "small.safetensors", "--output", "small"]) == 2
    assert "small: exists" in capsys.readouterr().err
    assert main(["export", "small.safetensors", "--output", "small", "--overwrite"]) == 0

    capsys.readouterr()
    words = ["transcribe", "--runtime", "onnx", "--run", "small"]
    assert main([*words, "--beam", "3", "--nbest", "2", "0.wav", "8.wav"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split("\t")[0] for line in lines} == {"0.wav", "8.wav"}
    code = f"""
import sys
sys.modules["jax"] = None
from gossamer.cli.main import main
main({[*words, "8.wav"]})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert main([*words, "8.wav"]) == 0
    assert capsys.readouterr().out == done.stdout

    assert main([*words, "--language-model", "lm", "--beam", "2", "8.wav"]) == 2
    assert "exported with their recognizer" in capsys.readouterr().err
    assert main(["transcribe", "--runtime", "onnx", "8.wav"]) == 2
    assert "needs `--run FOLDER`" in capsys.readouterr().err
    assert main([*words, "--stream", "8.wav"]) == 2
    assert "needs whole recordings" in capsys.readouterr().err

    assert (
        main(["export", "small.safetensors", "--stablehlo", "a.stablehlo", "--seconds", "1"]) == 0
    )
    assert (tmp_path / "a.stablehlo").stat().st_size > 0


def test_fusion_and_alternatives(manifest, tmp_path, capsys):
    model = recognizer.Recognizer(
        dataclasses.replace(
            CONFIGS["demo"].config,
            model=TransducerConfig(encoder_layers=1, encoder_size=4, predictor_size=4,
                                   joiner_size=4, embedding_size=4),
        ),
        Vocabulary.of(["ab c"]),
        None,
    )  # fmt: skip
    params = experiment.initial_parameters(model.model, seed=0)
    recognizer.save(tmp_path / "tiny.safetensors", model._replace(params=params))
    (tmp_path / "text.txt").write_text("".join(f"{'ab c' * k} {'c' * k}\n" for k in range(1, 30)))
    language_model = ["train", "language-model", "--text", "text.txt", "--labels-of"]
    language_model += ["tiny.safetensors", "--optimizer.steps", "2", "--model.size", "4"]
    assert main([*language_model, "--run", "lm"]) == 0
    four_bits = ["--from", "lm", "--quantize", "int4_paper"]
    assert main([*language_model, "--run", "lm4", *four_bits]) == 0
    capsys.readouterr()
    assert main(["audit", "lm4"]) == 0
    assert "layer_1/recurrent" in capsys.readouterr().out
    assert main(["audit", "lm4", "--quantize", "int8"]) == 2
    assert "`--quantize` is for recognizers" in capsys.readouterr().err

    fused = ["--beam", "2", "--language-model", "lm", "--source-model", "lm"]
    grid = {"language_weight": (0.5,), "source_weight": (0.5, 0.0), "length_reward": (-9.0,)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "GRID", grid)
        words = ["evaluate", "tiny.safetensors", "--corpus", str(manifest), *fused, "--tune"]
        assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:5]] == [
        "language_weight", "none", "0.5", "0.5", "best:"
    ]  # fmt: skip
    best = next(line for line in lines if line.startswith("best:"))
    assert best.startswith("best: --language-weight 0.5 --source-weight")
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny.safetensors").rename(tmp_path / "tiny" / "recognizer.safetensors")
    reading = ["transcribe", "--run", "tiny", "0.wav", *fused]
    assert main([*reading, "--length-reward", "-99"]) == 0
    assert capsys.readouterr().out == "\n"  # every letter costs too much
    config = dataclasses.replace(model.config, quantize="int4_paper")
    model = model._replace(config=config)
    codes = deploy_variables(model.model.policy, experiment.initial_parameters(model.model, 0))
    (tmp_path / "tiny4").mkdir()
    recognizer.save(tmp_path / "tiny4" / "recognizer.safetensors", model._replace(params=codes))
    reading = ["transcribe", "--run", "tiny4", "0.wav", *fused[:3], "lm4", "--source-model", "lm4"]
    assert main([*reading, "--length-reward", "-99"]) == 0
    assert capsys.readouterr().out == "\n"
    assert main(["transcribe", "0.wav", *fused]) == 2
    assert "lm: a language model of other labels" in capsys.readouterr().err

    assert main(["transcribe", "0.wav", "--combine", "tiny"]) == 2
    assert "must have the same letters" in capsys.readouterr().err

    listing = ["alternatives", "tiny", "--output", "n.jsonl", "--corpus", str(manifest)]
    listing += ["--beam", "3", "--number", "2", "--combine", "tiny4"]
    assert main(listing) == 0
    lists = alternatives.read(tmp_path / "n.jsonl")
    assert len(lists) == 5
    assert all(1 <= len(texts) <= 2 for texts in lists.values())
    assert main(listing) == 0
    assert "0 lists added" in capsys.readouterr().err
