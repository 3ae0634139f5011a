import sys

import pytest

from gossamer.speech.hybrids import lexicon
from gossamer.speech.hybrids.lexicon import Lexicon

DICTIONARY = """;;; a comment
tomato T AH0 M EY1 T OW2
tomato(2)\tT AH0 M AA1 T OW2
tomato(3) T AH M EY T OW

ad-lib AE D L IH B
in. IH N CH
In IH N
MR. M IH S T ER
# another one
zoë Z OW IY
"""


def test_words_are_read_as_texts_spell_them(tmp_path):
    path = tmp_path / "a.dict"
    path.write_text(DICTIONARY, encoding="utf-8")
    read = lexicon.read(path)
    assert dict(read.pronunciations) == {
        "mr": (("M", "IH", "S", "T", "ER"),),
        "tomato": (("T", "AH", "M", "EY", "T", "OW"), ("T", "AH", "M", "AA", "T", "OW")),
        "in": (("IH", "N"),),
        "zoe": (("Z", "OW", "IY"),),
    }
    assert " ".join(read.phones) == "AA AH ER EY IH IY M N OW S SIL T Z"
    assert "in" in read
    assert len(read) == 4
    lexicon.write(tmp_path / "b.dict", read)
    assert lexicon.read(tmp_path / "b.dict") == read


def test_other_languages_keep_their_letters(tmp_path):
    path = tmp_path / "a.dict"
    path.write_text("Zoë z o e1\n", encoding="utf-8")
    assert lexicon.read(path, language="de")["zoë"] == (("z", "o", "e1"),)


@pytest.mark.parametrize("line", ["word", "word AH SIL"])
def test_broken_lines_are_named(tmp_path, line):
    path = tmp_path / "a.dict"
    path.write_text(f"a AH\n{line}\n")
    with pytest.raises(ValueError, match="line 2: must be a word and its phones"):
        lexicon.read(path)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing: must be .* \(there is no such file\)"):
        lexicon.read(tmp_path / "missing")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"binary: must be a dictionary"):
        lexicon.read(tmp_path / "binary")


def test_letters_serve_as_phones():
    words = ["it's", "мы", "e\u0301e\u0323\u0301"]
    assert dict(lexicon.graphemic(words).pronunciations) == {
        "it's": (("i", "t", "s"),),
        "мы": (("м", "ы"),),
        "e\u0301e\u0323\u0301": (("e\u0301", "e\u0323\u0301"),),
    }
    with pytest.raises(ValueError, match=r'none empty, got \(\(\),\) for "\'"'):
        lexicon.graphemic(["'"])


def test_words_without_pronunciation_are_named():
    held = lexicon.graphemic(["a", "b", "c"])
    assert list(held.of(["c", "a", "c"]).pronunciations) == ["c", "a"]
    with pytest.raises(ValueError, match="but x, y are not; add pronunciations"):
        held.of(["a", "x", "y"])
    with pytest.raises(ValueError, match="but x is not"):
        held["x"]
    with pytest.raises(ValueError, match="and 16 more"):
        held.of([f"w{i}" for i in range(26)])


@pytest.mark.parametrize(
    ("pronunciations", "message"),
    [
        ({}, "must hold a word"),
        ({"a": ()}, "must hold different phone sequences"),
        ({"a": (("AH",), ("AH",))}, "must hold different phone sequences"),
        ({"a": (("AH", "SIL"),)}, "must not have the silence SIL"),
    ],
)
def test_pronunciations_are_checked(pronunciations, message):
    with pytest.raises(ValueError, match=message):
        Lexicon(pronunciations)


def test_cmu_dictionary_covers_english():
    cmu = lexicon.cmu()
    assert len(cmu) > 120_000
    assert len(cmu.phones) == 40
    assert cmu["a"] == (("AH",), ("EY",))
    assert cmu["mister"] == cmu["mr"]
    assert cmu["inc"][0] == ("IH", "NG", "K")


def test_missing_dictionary_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[hybrid\]' in a checkout"):
        lexicon.cmu()
