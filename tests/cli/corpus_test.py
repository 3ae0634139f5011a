import pytest

from gossamer.cli.main import main
from gossamer.speech import sclite

pytestmark = pytest.mark.usefixtures("home")

TINY = """--optimizer.steps 2 --optimizer.ctc-steps 1 --log-every 1
--validate-every 2 --checkpoint-every 2
--model.encoder-layers 1 --model.encoder-size 8 --model.predictor-size 8 --model.joiner-size 8
--data.buckets 3.0 2 --label-noise.language-model.size 8 --label-noise.language-model-steps 1"""


def test_help(capsys):
    assert main(["corpus"]) == 0
    assert "switchboard" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["corpus", "switchboard", "--help"])
    assert stop.value.code == 0
    assert "examples:" in capsys.readouterr().out
    assert main(["corpus", "timit"]) == 2
    assert "choose from" in capsys.readouterr().err


@pytest.mark.slow
def test_from_discs_to_scores(ldc, tmp_path, capsys):
    words = ["corpus", "switchboard", "swb"]
    for option, folder in {
        "--audio": "LDC97S62",
        "--transcripts": "swb_ms98_transcriptions",
        "--hub5-audio": "LDC2002S09",
        "--hub5-transcripts": "LDC2002T43",
        "--fisher-transcripts": "LDC2004T19",
    }.items():
        words += [option, str(ldc / folder)]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert [line.split()[:3] for line in shown.out.splitlines()[1:]] == [
        ["train", "2", "12"],
        ["dev", "1", "6"],
        ["test", "2", "3"],
    ]
    assert "No recording of 1: sw02999." in shown.err

    run = ["train", "speech", "paper_swb300", "--run", "run", *TINY.split()]
    assert main(run) == 0
    assert main(["evaluate", "run", "--sclite", "scores"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines() if "%   " in line] == [
        "Overall",
        "Callhome",
        "Swbd",
    ]
    assert "hubscr.pl" in shown
    reference = sclite.read_stm(tmp_path / "scores/reference.stm")
    assert len(reference.segments) == 4
    assert (tmp_path / "scores/rules.glm").is_file()
    for word in (tmp_path / "scores/hypothesis.ctm").read_text().splitlines():
        assert word.split()[0] in ("en_4156", "sw_4390")


@pytest.mark.usefixtures("fake_espeak")
def test_synthetic_speech(tmp_path, capsys):
    assert main(["corpus", "voices"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == ["espeak-ng", "en-gb+f2", "female"]
    assert "flite is not installed: apt-get install flite" in shown.err

    words = ["corpus", "synthetic", "spoken", "--hours", "0.001", "--processes", "0"]
    (tmp_path / "text.txt").write_text("".join(f"number {'a' * n}\n" for n in range(1, 30)))
    assert main([*words, "--text", "text.txt"]) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith("hours: spoken/synthetic.tsv\n")
    assert "0.00 of 0.001 hours" in shown.err
    assert main([*words, "--text", "text.txt", "--seed", "1"]) == 2
    assert "another plan (other seed)" in capsys.readouterr().err
    assert main([*words, "--text", "text.txt", "--engines", "flite"]) == 2
    assert "apt-get install flite" in capsys.readouterr().err
