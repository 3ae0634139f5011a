import collections
import csv

import pytest
import soundfile

from gossamer.speech import sclite
from gossamer.speech.corpora import corpus, ldc
from gossamer.speech.corpora.audio import AudioError


@pytest.fixture
def sources(ldc):
    return {
        "audio": [ldc / "LDC97S62"],
        "transcripts": [ldc / "swb_ms98_transcriptions"],
        "hub5_audio": [ldc / "LDC2002S09"],
        "hub5_transcripts": [ldc / "LDC2002T43"],
        "fisher_audio": [ldc / "LDC2004S13"],
        "fisher_transcripts": [ldc / "LDC2004T19"],
    }


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file, delimiter="\t")}


def test_everything_together(sources, tmp_path):
    gathered = ldc.build(tmp_path / "swb", ldc.Sources(**sources))
    rows = read(tmp_path / "swb/switchboard.tsv")
    splits = collections.Counter(row["split"] for row in rows.values())
    # Three segments on each side of two conversations, and two of Fisher; on two sides of one.
    assert splits == {"train": 14, "dev": 6, "test": 3}
    row = rows["sw2001B-ms98-a-0002"]
    assert (row["channel"], row["start"], row["end"]) == ("1", "0.978", "2.461")
    assert row["text"] == "hi um yeah th they"
    assert rows["sw2001A-ms98-a-0003"]["text"] == "saw the i b m uhhuh"
    assert rows["fe_03_00001-A-0003"]["text"] == "i think it's a t v"
    assert rows["en_4156-A-0001000"]["text"] == "oh um yeah the aircraft"
    assert rows["en_4156-B-0004000"]["text"] == "i'm gonna th go 'cause home"
    assert rows["sw_4390-A-0000500"]["text"] == "a t shirt and uhhuh"
    # Silence on six sides, a noise in Fisher.
    assert gathered.left_out == {"no words": 7, "no recording": 1}
    assert gathered.missing == ["sw02999"]
    assert rows["sw2001A-ms98-a-0004"]["end"] == "12.000"
    reference = sclite.read_stm(tmp_path / "swb/switchboard.stm")
    assert reference.titles == {"O": "Overall", "en": "Callhome", "sw": "Swbd"}
    assert len(reference.segments) == 4
    assert (tmp_path / "swb/switchboard.glm").is_file()
    assert not list(tmp_path.glob("swb/*.partial"))

    loaded = corpus.switchboard(
        tmp_path / "swb", ldc.Sources(**sources), data_dir=tmp_path / "data"
    )
    assert loaded.test.texts[0] == "oh um yeah the aircraft"
    path = sources["audio"][0] / "swb1_d1/data/sw02001.sph"
    samples, _ = soundfile.read(path, start=round(8000 * 0.978), stop=round(8000 * 2.461))
    utterance = next(u for u in loaded.train if u.name == "sw2001B-ms98-a-0002")
    assert utterance.waveform.tolist() == samples[:, 1].astype("float32").tolist()


def test_switchboard_alone_has_a_test_split(sources, tmp_path):
    some = {name: sources[name] for name in ("audio", "transcripts", "fisher_transcripts")}
    ldc.build(tmp_path / "swb", ldc.Sources(**some))
    rows = read(tmp_path / "swb/switchboard.tsv")
    sides = collections.defaultdict(set)
    for row in rows.values():
        sides[row["audio"].rsplit("/", 1)[1]].add(row["split"])
    assert sides == {"sw02001.sph": {"train"}, "sw02033.sph": {"test"}, "sw02036.sph": {"dev"}}
    sentences = (tmp_path / "swb/sentences.txt").read_text().splitlines()
    assert "i think it's a t v" in sentences
    assert "mhm" in sentences
    assert len(sentences) == 6 + 2  # two sides of Switchboard, and Fisher
    assert not (tmp_path / "swb/switchboard.stm").exists()


def test_decoded_recordings_are_preferred(sources, tmp_path):
    path = sources["audio"][0] / "swb1_d1/data/sw02001.sph"
    samples, rate = soundfile.read(path)
    path.write_bytes(
        b"NIST_1A\n   1024\nsample_coding -s27 ulaw,embedded-shorten-v2.00\nend_head\n"
    )
    with pytest.raises(AudioError, match="sph2pipe"):
        ldc.build(tmp_path / "swb", ldc.Sources(**sources))
    assert not (tmp_path / "swb").exists()
    soundfile.write(sources["audio"][0] / "sw02001.wav", samples, rate)
    ldc.build(tmp_path / "swb", ldc.Sources(**sources))
    assert read(tmp_path / "swb/switchboard.tsv")["sw2001A-ms98-a-0002"]["audio"].endswith(".wav")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio": ()}, "`audio` and `transcripts` must each name"),
        ({"hub5_audio": ()}, "must both be given, or neither"),
        ({"fisher_transcripts": ()}, "`fisher_audio` needs `fisher_transcripts`"),
        ({"hub5_transcripts": ("a", "b")}, "must name one folder"),
        ({"audio": ("nowhere",)}, "nowhere: there is no such folder"),
    ],
)
def test_incomplete_sources_are_refused(sources, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ldc.build(tmp_path / "swb", ldc.Sources(**{**sources, **changes}))


def test_recordings_of_another_corpus_are_refused(sources, tmp_path):
    sources["audio"] = sources["fisher_audio"]
    with pytest.raises(
        ValueError, match="no recording of 4 conversations was found, such as sw02001"
    ):
        ldc.build(tmp_path / "swb", ldc.Sources(**sources))
