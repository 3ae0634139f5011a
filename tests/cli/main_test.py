import dataclasses
import io
import json
import subprocess
import sys

import chex
import numpy as np
import pytest
import soundfile

from gossamer.cli import evaluate
from gossamer.cli.main import COMMANDS, main
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import experiment, recognizer
from gossamer.speech.configs import CONFIGS
from gossamer.speech.corpora import alternatives
from gossamer.speech.text import Vocabulary
from gossamer.speech.transducer_config import TransducerConfig

TINY = {
    "--optimizer.steps": "4",
    "--validate-every": "2",
    "--checkpoint-every": "2",
    "--log-every": "1",
    "--model.encoder-layers": "1",
    "--model.encoder-size": "8",
    "--model.predictor-size": "8",
    "--model.joiner-size": "8",
    "--learners.number": "2",
    "--data.buckets": "2.5 2",
    "--seed": "3",
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Prepared data go to a folder of the test."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def manifest(tmp_path):
    """Nine short noises with texts, as a TSV manifest with fixed splits."""
    generator = np.random.default_rng(0)
    lines = ["audio\ttext\tsplit"]
    for number in range(9):
        sound = generator.normal(scale=0.1, size=4000 + 1000 * number)
        soundfile.write(tmp_path / f"{number}.wav", sound, 8000)
        split = ("train", "train", "train", "train", "train", "dev", "dev", "test", "test")[number]
        lines.append(f"{number}.wav\tab {'c' * (number % 4 + 1)}\t{split}")
    path = tmp_path / "manifest.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_help_of_everything(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in COMMANDS)
    for words in (
        ["train", "speech"],
        ["evaluate"],
        ["transcribe"],
        ["alternatives"],
        ["export"],
        ["align"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([*words, "--help"])
        assert stop.value.code == 0
        assert "examples:" in capsys.readouterr().out


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


def test_train_evaluate_transcribe(manifest, tmp_path, capsys):
    words = ["train", "speech", "demo", "--run", "run", "--data.corpus", str(manifest)]
    words += [word for option in TINY.items() for word in " ".join(option).split()]
    assert main(words) == 0
    run = tmp_path / "run"
    assert {entry.name for entry in run.iterdir()} >= {
        "config.json",
        "versions.json",
        "seed",
        "metrics.jsonl",
        "recognizer.safetensors",
        "report.html",
        "result.json",
    }
    assert json.loads((run / "config.json").read_text())["seed"] == 3
    assert "Word error rate" in capsys.readouterr().out

    assert main(words) == 0  # nothing is left to train; scored again
    assert main(["evaluate", "run"]) == 0
    assert main(["evaluate", "run", "--corpus", str(manifest)]) == 0
    assert "manifest: word error rate" in capsys.readouterr().out

    assert main(["transcribe", "--run", "run", "--times", "0.wav", "8.wav"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["audio"] for line in lines] == ["0.wav", "8.wav"]

    best = ["transcribe", "--run", "run", "--beam", "3", "--nbest", "2"]
    assert main([*best, "0.wav", "8.wav"]) == 0
    columns = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    names = [name for name, *_ in columns]
    assert names == sorted(names)
    assert set(names) == {"0.wav", "8.wav"}
    assert max(names.count(name) for name in names) <= 2
    assert all(float(score) <= 0 for _, score, _ in columns)
    assert main([*best, "--times", "0.wav", "8.wav"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["score"] <= 0
    assert main(["evaluate", "run", "--beam", "2"]) == 0
    assert "beam of 2" in capsys.readouterr().out
    assert json.loads((run / "result.json").read_text())["Search"] == "beam of 2"
    assert main(["evaluate", str(run / "recognizer.safetensors"), "--beam", "2"]) == 0
    assert "manifest: word error rate" in capsys.readouterr().out

    def go_on(run, source, *options):
        """One step in another run, from the parameters of a first."""
        return main(
            [
                *words[:3],
                "--run",
                run,
                *words[5:],
                "--optimizer.steps",
                "1",
                "--from",
                source,
                *options,
            ]
        )

    still = ["--optimizer.peak-learning-rate", "1e-12", "--quantize", "int4_paper"]
    assert go_on("bits", "run", *still) == 0
    before = recognizer.load(run / "recognizer.safetensors").params["params"]
    after = experiment.best_parameters("bits")["params"]
    chex.assert_trees_all_close(after, before, rtol=1e-5, atol=1e-6)
    run.rename(tmp_path / "moved")
    assert go_on("bits", "run", *still) == 0  # it has checkpoints of its own by now
    assert main(["evaluate", "bits"]) == 0
    assert main(["audit", "bits", "--batches", "1"]) == 0
    assert "encoder_1/recurrent" in capsys.readouterr().out
    plots = {path.name for path in (tmp_path / "bits" / "quantization").iterdir()}
    assert plots >= {"weights.png", "clips.png", "sensitivities.png", "audit.txt"}
    assert main(["audit", "bits", "--quantize", "int8"]) == 2
    assert "bits: holds codes of the policy int4_paper" in capsys.readouterr().err
    assert main(["audit", "moved"]) == 2
    assert "moved: this run was trained in float; add --quantize" in capsys.readouterr().err
    assert go_on("again", "bits") == 2
    assert "bits` holds codes" in capsys.readouterr().err
    assert go_on("again", "moved", "--model.encoder-size", "12") == 2
    assert "moved` has parameters of other shapes" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
    (tmp_path / "moved").rename(run)

    other = [word if word != "3" else "4" for word in words]
    assert main(other) == 2
    assert "seed" in capsys.readouterr().err


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


def test_a_stream_is_read_from_files_and_from_standard_input(manifest, tmp_path, capsys):
    words = ["train", "speech", "streaming", "--run", "run", "--data.corpus", str(manifest)]
    words += [word for option in TINY.items() for word in " ".join(option).split()]
    assert main(words) == 0
    capsys.readouterr()
    assert main(["transcribe", "--run", "run", "8.wav", "--times"]) == 0
    whole = json.loads(capsys.readouterr().out)
    reading = ["transcribe", "--run", "run", "--stream"]
    assert main([*reading, "8.wav", "--times"]) == 0
    assert json.loads(capsys.readouterr().out) == whole
    samples, _ = soundfile.read(tmp_path / "8.wav", dtype="int16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(samples.tobytes() + b"x")))
        assert main([*reading, "-"]) == 0
    assert capsys.readouterr().out == whole["text"] + "\n"

    assert main([*reading, "8.wav", "--beam", "2"]) == 2
    assert "leave out `--beam`" in capsys.readouterr().err
    assert main(["transcribe", "-"]) == 2
    assert "`-` is read with `--stream` only" in capsys.readouterr().err
    assert main(["transcribe", "8.wav", "--stream"]) == 2
    assert "gossamer train speech streaming" in capsys.readouterr().err


def test_train_without_a_barrier(manifest, tmp_path, capsys):
    words = ["train", "speech", "demo", "--run", "run", "--data.corpus", str(manifest)]
    words += [word for option in TINY.items() for word in " ".join(option).split()]
    words[words.index("--learners.number")] = "--learners"
    words += ["--engine", "threads"]
    assert main(words) == 0
    assert "pairs without a barrier, threads" in capsys.readouterr().out
    assert "pairs without a barrier" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "traces" / "000000.npz").exists()
    assert main(words) == 0  # nothing is left to train; scored again
    assert main(["evaluate", "run"]) == 0
    assert main([*words, "--learners.algorithm", "ssgd", "--run", "other"]) == 2
    assert "`learners.algorithm` must be 'dpsgd'" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_bad_input_is_one_line_with_the_name_and_a_remedy(manifest, tmp_path, capsys):
    (tmp_path / "text.wav").write_text("not audio")
    soundfile.write(tmp_path / "stereo.wav", np.zeros((800, 2)), 8000)
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    broken = tmp_path / "broken.tsv"
    broken.write_text(manifest.read_text() + "no tab in this line\n")
    tiny = [word for option in TINY.items() for word in " ".join(option).split()]
    calls = {
        "absent.wav": ["transcribe", "absent.wav"],
        "text.wav": ["transcribe", "text.wav"],
        "stereo.wav": ["transcribe", "stereo.wav"],
        "empty.wav": ["transcribe", "empty.wav"],
        "broken.tsv": ["train", "speech", "demo", "--run", "r", "--data.corpus", str(broken)],
        "absent.tsv": ["train", "speech", "demo", "--run", "r", "--data.corpus", "absent.tsv"],
        "norun": ["evaluate", "norun"],
        "`--beam`": ["evaluate", "prompts", "--beam", "0"],
        "`--nbest`": ["transcribe", "0.wav", "--nbest", "2"],
        "`--language-model` needs a beam": ["evaluate", "prompts", "--language-model", "lm"],
        "lm: ": ["evaluate", "prompts", "--language-model", "lm", "--beam", "2"],
        "`--source-model` needs": ["transcribe", "0.wav", "--source-model", "lm", "--beam", "2"],
        "`--graph.*`": ["evaluate", "prompts", "--graph.beam", "9"],
        "leave out `--overwrite`": ["export", "prompts", "--stablehlo", "r", "--overwrite"],
        "`learners.number`": ["train", "speech", "demo", "--run", "r", "--learners.number", "0"],
        "`--tune` chooses": ["evaluate", "prompts", "--tune"],
        "`--cluster CLUSTER` stands before": ["--cluster", "slurm"],
        "`--cluster` is for train speech": ["--cluster", "slurm", "evaluate", "prompts"],
        "such as localhost:12345,2,0": ["--cluster", "pbs", "train", "vision"],
        "`--number`": ["alternatives", "prompts", "--output", "n.jsonl", "--number", "17"],
        "there is no such folder": ["alternatives", "prompts", "--output", "no/n.jsonl"],
        "with `--data.corpus`": ["evaluate", "prompts", "--corpus", "absent.tsv"],
        "that ship (prompts, hybrid)": ["evaluate", "norun"],
        "must be one of prompts, hybrid": ["transcribe", "--pretrained", "x", "0.wav"],
        "norun: there is no such folder;": ["transcribe", "--run", "norun", "0.wav"],
        "norun: there is no such folder or file": ["audit", "norun"],
        "hybrid: a hybrid, which cannot be exported": ["export", "hybrid"],
        "hybrid: a hybrid, where": ["alternatives", "hybrid", "--output", "n.jsonl"],
        "nowhere": ["train", "speech", "demo", "--run", "r", "--from", "nowhere", *tiny],
    }
    for name, words in calls.items():
        assert main(words) == 2, name
        captured = capsys.readouterr()
        assert captured.err.count("\n") == 1, captured.err
        assert name in captured.err
        assert "Traceback" not in captured.err
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("words", [["fly"], ["train", "smell"], ["transcribe"]])
def test_unknown_words_are_named(words, capsys):
    try:
        status = main(words)
    except SystemExit as stop:  # tyro's own message
        status = stop.code
    assert status == 2
    assert capsys.readouterr().err
