import pytest

from gossamer.speech import sclite
from gossamer.speech.sclite import Reference, Segment, TimedWord

SEGMENT = Segment("sw_4390", "A", "sw_4390_A", 10.0, 11.0, ("O", "sw"), "HI { A / B } (UH)")


def test_references_are_sorted_and_read_back(tmp_path):
    earlier = Segment("sw_4390", "A", "x", 2.5, 4.0, (), "")
    other = Segment("en_4156", "B", "y", 99.0, 99.5, ("en",), sclite.IGNORED)
    reference = Reference([SEGMENT, earlier, other], {"sw": "Switchboard", "en": "CallHome"})
    sclite.write_stm(tmp_path / "a.stm", reference)
    assert sclite.read_stm(tmp_path / "a.stm") == ([other, earlier, SEGMENT], reference.titles)


def test_known_errors_of_references_are_mended(tmp_path):
    path = tmp_path / "a.stm"
    path.write_text(";; a comment\n\nf A s 1 2 ((UH) <B_ASIDE> HI\n")
    assert sclite.read_stm(path).segments == [Segment("f", "A", "s", 1.0, 2.0, (), "(UH) HI")]


def test_hypotheses_are_sorted(tmp_path):
    words = [TimedWord("b", "A", 10.0, 0.5, "hi"), TimedWord("b", "A", 9.0, 0.25, "oh")]
    sclite.write_ctm(tmp_path / "a.ctm", words)
    assert (tmp_path / "a.ctm").read_text() == "b A 9.000 0.250 oh\nb A 10.000 0.500 hi\n"


@pytest.mark.parametrize("line", ["f A s one 2 HI", "f A s 1"])
def test_broken_lines_are_named(tmp_path, line):
    path = tmp_path / "a"
    path.write_text(f";; comment\n{line}\n")
    with pytest.raises(ValueError, match="line 2: must be `recording channel speaker"):
        sclite.read_stm(path)
    with pytest.raises(ValueError, match="cannot be read"):
        sclite.read_stm(tmp_path / "missing")


@pytest.mark.parametrize(
    "times",
    [
        [(0.1, 0.3), (0.4, 0.4), (0.9, 1.5)],
        [(0.2, 0.2)] * 5,  # all in one frame
        [(0.98, 1.02), (1.0, 1.04), (1.2, 1.24), (3.0, 3.04)],  # past the end
        [(0.0, 0.04)],
    ],
)
def test_words_lie_in_their_segment_in_order(times):
    words = [(f"w{index}", *time) for index, time in enumerate(times)]
    placed = sclite.place_words(words, SEGMENT)
    assert [word.text for word in placed] == [word for word, *_ in words]
    starts = [word.start for word in placed]
    assert starts == sorted(set(starts))
    for word in placed:
        assert word.duration >= 0.001
        assert SEGMENT.start < word.start + word.duration / 2 < SEGMENT.end
        assert SEGMENT.start <= word.start
    assert sclite.place_words(words[:1], SEGMENT)[0].start == pytest.approx(
        max(10.001, min(10 + times[0][0], 10.997)), abs=1e-9
    )
