import pytest

from gossamer.speech.corpora import voices
from gossamer.speech.corpora.voices import SynthesisError, Voice


@pytest.mark.usefixtures("fake_espeak")
def test_voices_of_what_is_installed():
    assert voices.find_voices() == [
        Voice("espeak-ng", "en-gb+f2", "female"),
        Voice("espeak-ng", "en-gb+m1", "male"),
    ]
    assert voices.find_voices(names=["en-gb+m1"]) == [Voice("espeak-ng", "en-gb+m1", "male")]


@pytest.mark.usefixtures("fake_espeak")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engines": ["flite"]}, "flite is not installed; .*`apt-get install flite`"),
        ({"engines": ["festival"]}, "`apt-get install festival festvox-kallpc16k"),
        ({"engines": ["mary"]}, "must be among espeak-ng, flite, festival, got 'mary'"),
        ({"names": ["slt"]}, "no voice 'slt' of espeak-ng .*`gossamer corpus voices` lists them"),
        ({"language": "xx"}, "espeak-ng: no voice of the language 'xx'"),
    ],
)
def test_what_is_missing_has_a_remedy(options, message):
    with pytest.raises(SynthesisError, match=message):
        voices.find_voices(**options)


def test_no_synthesizer_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthesisError, match="`apt-get install espeak-ng flite festival"):
        voices.find_voices()


def test_other_synthesizers_list_theirs(monkeypatch):
    printed = {
        "flite": "Voices available: kal awb_time kal16 slt \n",
        "festival": "(voice ked_diphone ((language english) (gender male)\n (dialect american)))\n"
        "(voice lp_diphone ((language italian) (gender female)))\n"
        '(voice hts ((language\n english) (gender female) (description "a voice of HTS")))\n',
    }
    monkeypatch.setattr(voices, "is_installed", lambda engine: engine in printed)
    monkeypatch.setattr(voices, "run", lambda command: printed[command[0]])
    assert voices.find_voices() == [
        Voice("flite", "kal16"),
        Voice("flite", "slt"),
        Voice("festival", "ked_diphone", "male american"),
        Voice("festival", "hts", "female"),
    ]
    with pytest.raises(SynthesisError, match="flite, festival: no voice of the language 'de'"):
        voices.find_voices(language="de")


def test_programs_that_fail(tmp_path):
    with pytest.raises(SynthesisError, match="false failed with status 1: no message"):
        voices.run(["false"])
    with pytest.raises(SynthesisError, match="nowhere does not work"):
        voices.run(["nowhere"])
    with pytest.raises(SynthesisError, match="sh failed with status 3: of no use"):
        voices.run(["sh", "-c", "echo of no use >&2; exit 3"])
