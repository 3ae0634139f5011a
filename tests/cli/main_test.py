"""The commands of a recognizer from training to text, their help, and what they refuse."""

import io
import json

import chex
import numpy as np
import pytest
import soundfile

from gossamer.cli.main import COMMANDS, main
from gossamer.speech import experiment, recognizer

pytestmark = pytest.mark.usefixtures("home")

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
