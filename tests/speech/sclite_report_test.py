import numpy as np

from gossamer.speech import sclite, sclite_report
from gossamer.speech.corpora.corpus import Utterance, Utterances
from gossamer.speech.corpora.records import Row
from gossamer.speech.transcript import Transcript


def make_row(folder, name, *, start=None, channel=None, text="hi"):
    return Row(name, "test", folder / name.split("@")[0], start, None, text, "line", channel)


def make_utterances(rows):
    return Utterances.of(
        [Utterance(row.name, row.text, np.zeros(16000, np.float32), 8000) for row in rows]
    )


def hear(text):
    """A character at every tenth of a second."""
    return Transcript(text, [(c, index / 10) for index, c in enumerate(text)], -1.0)


def test_a_list_is_its_own_reference(tmp_path):
    rows = [
        make_row(tmp_path / "x", "a b.wav", text="hi there"),
        make_row(tmp_path / "x", "c.wav@5", start=5.0, channel=1, text="oh"),
        make_row(tmp_path / "x", "c.wav@9", start=9.0, channel=3, text="unread"),
    ]
    report = sclite_report.write(
        tmp_path / "scores", make_utterances(rows[:2]), [hear("hi hare"), hear("oh no")], rows
    )
    assert (tmp_path / "scores/reference.stm").read_text().splitlines() == [
        "a_b A a_b_A 0.000 2.000 hi there",
        "c B c_B 5.000 7.000 oh",
    ]
    words = (tmp_path / "scores/hypothesis.ctm").read_text().splitlines()
    assert [word.split()[-1] for word in words] == ["hi", "hare", "oh", "no"]
    assert words[1] == "a_b A 0.300 0.340 hare"
    assert [(s.title, *s.counts) for s in report.scores] == [("Overall", 3, 1, 0, 1)]
    assert (tmp_path / "scores/scores.tsv").read_text().splitlines()[1:] == [
        "Overall\t2\t3\t1\t0\t1\t0.6667"
    ]
    assert report.command.startswith("sctk sclite -r ")
    assert report.unread == 0
    segment = sclite_report.list_segments(make_utterances(rows[2:]), rows)[0]
    assert (segment.channel, segment.start, segment.end) == ("3", 9.0, 11.0)


def test_files_of_the_same_name_are_told_apart(tmp_path):
    rows = [make_row(tmp_path, name) for name in ("x/a.wav", "y z/a.wav")]
    segments = sclite_report.list_segments(make_utterances(rows), rows)
    assert [segment.recording for segment in segments] == ["x_a.wav", "y_z_a.wav"]


def test_a_reference_beside_the_list_is_used(tmp_path):
    (tmp_path / "calls.stm").write_text(
        "sw_4390 A s 0.0 2.0 UH-HUH { I AM / I'M } (UH)\nen_4156 A s 0.0 2.0 NOT READ\n"
        f"en_4156 A s 2.0 4.0 {sclite.IGNORED}\n"
    )
    (tmp_path / "calls.glm").write_text(";; made up\nUH-HUH => %BCACK / [ ] __ [ ]\n")
    rows = [make_row(tmp_path, "sw_4390.sph", start=0.0, channel=0)]
    report = sclite_report.write(
        tmp_path / "scores",
        make_utterances(rows),
        [hear("uhhuh i'm")],
        rows,
        source=tmp_path / "calls.tsv",
    )
    assert "uh-huh" in (tmp_path / "scores/hypothesis.ctm").read_text()
    assert (tmp_path / "scores/rules.glm").read_bytes() == (tmp_path / "calls.glm").read_bytes()
    assert [(s.title, *s.counts) for s in report.scores] == [
        ("Overall", 5, 0, 2, 0),
        ("SWB", 3, 0, 0, 0),
        ("CH", 2, 0, 2, 0),
    ]
    assert report.command.startswith("sctk hubscr.pl -V -l english -h hub5 -g ")
    assert report.unread == 1
