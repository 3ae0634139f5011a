import pytest

from gossamer.speech.corpora import switchboard

ACRONYMS = {"IBM": "i b m"}


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("[noise]", ""),
        ("[silence]", ""),
        ("[vocalized-noise]", ""),
        ("<b_aside>", ""),
        ("[laughter]", ""),
        ("[laughter-yes]", "yes"),
        ("[laughter-IBM]", "i b m"),
        ("[laughter-wo[rd]-]", "wo-"),
        ("th[ey]-", "th-"),
        ("-[an]y", "-y"),
        ("[lem[guini]-/linguini]", "lem-"),
        ("[it'n/isn't]", "it'n"),
        ("ex[specially]-/especially]", "ex-"),  # an error of the transcripts
        ("ammu[n]it-", "ammu-it-"),
        ("{yuppiedom}", "yuppiedom"),
        ("them_1", "them"),
        ("them_1's", "them's"),
        ("Uh-Huh", "uhhuh"),
        ("mother-in-law", "mother-in-law"),
        ("ibm", "ibm"),
    ],
)
def test_signs(written, spoken):
    assert switchboard.clean(f"so {written} right", ACRONYMS).split() == [
        "so",
        *spoken.split(),
        "right",
    ]


def test_acronyms_by_their_sound():
    lines = ["US y uw eh s", "us ah s", "TV's t iy v iy z", "A ey", "NASA n ae s ax", "", "odd"]
    found = switchboard.find_acronyms(lines)
    assert found == {"AT&T": "a t and t", "US": "u s", "TV's": "t v's"}


@pytest.mark.parametrize(
    "line",
    [
        "sw2001A-ms98-a-0001 0.0 soon hi",
        "sw2001A-ms98-a-0001 0.0",
        "sw2001C-ms98-a-0001 0.0 1.0 hi",
        "hello",
    ],
)
def test_broken_lines_are_named(tmp_path, line):
    path = tmp_path / "sw2001A-ms98-a-trans.text"
    path.write_text(f"sw2001A-ms98-a-0001 0.0 1.0 hi\n\n{line}\n")
    with pytest.raises(ValueError, match="line 3: must be `swNNNNA-ms98-a-NNNN start end words`"):
        list(switchboard.read_transcripts(tmp_path))


def test_a_dictionary_alone_is_no_transcript(tmp_path):
    (tmp_path / switchboard.DICTIONARY).write_text("hi hh ay\n")
    with pytest.raises(ValueError, match="holds no transcript"):
        list(switchboard.read_transcripts(tmp_path))
