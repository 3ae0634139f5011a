import pytest

from gossamer.speech.corpora import hub5


def test_stm_and_rules_are_found(ldc):
    found = hub5.read_reference(ldc / "LDC2002T43")
    assert found.rules == ldc / "LDC2002T43/reference/en20000405_hub5.glm"
    assert [segment.name for segment in found.segments] == [
        "en_4156-A-0001000",
        "en_4156-B-0004000",
        "sw_4390-A-0000500",
    ]
    (ldc / "LDC2002T43/other.stm").write_text("")
    with pytest.raises(ValueError, match="holds several references"):
        hub5.read_reference(ldc / "LDC2002T43")


def test_transcripts_serve_where_there_is_no_stm(tmp_path):
    (tmp_path / "readme.txt").write_text("no transcript\n")
    with pytest.raises(ValueError, match=r"holds neither a \*.stm nor"):
        hub5.read_reference(tmp_path)
    (tmp_path / "sw_4390.txt").write_text("1.5 2.5 B: %um, uh-huh\n")
    found = hub5.read_reference(tmp_path)
    assert found.rules is None
    (segment,) = found.reference.segments
    assert segment == ("sw_4390", "B", "sw_4390_B", 1.5, 2.5, (), "um, uhhuh")


@pytest.mark.parametrize(
    ("heard", "written"),
    [
        ("uhhuh huhuh mhm", "uh-huh huh-uh mhm"),
        ("i saw a t v in the u s", "i saw a t. v. in the u. s."),
        ("i b m and a t and t", "i. b. m. and a t. and t."),
        ("o k and i mean", "o. k. and i mean"),
        ("t v's", "t. v.'s"),
        ("", ""),
    ],
)
def test_words_as_in_references(heard, written):
    assert hub5.respell(heard.split()) == written.split()


@pytest.mark.parametrize(
    ("reference", "plain"),
    [
        ("{ I'D / I WOULD } (%HESITATION) SEE", "I'D uh SEE"),
        ("{ { A / B } C / D } { @ / E } TH- T. V.", "A C TH- T V"),
        ("UH-HUH %BCACK (HM) [NOISE] <B_ASIDE>", "uhhuh uhhuh HM"),
    ],
)
def test_plain_text(reference, plain):
    assert hub5.plain_text(reference) == plain
