from gossamer.speech.hybrids.alignment import NO_WORD, Segment
from gossamer.speech.hybrids.textgrid import format_tiers

WORDS = [Segment("hi", 0.5, 0.75, 0), Segment('"you"', 0.75, 1.5, 1)]


def test_textgrid_has_no_gaps():
    phones = [Segment("SIL", 0.0, 0.5, NO_WORD), Segment("HH", 0.5, 2.1, 0)]
    text = format_tiers({"words": WORDS, "phones": phones}, 2.0)
    lines = [line.strip() for line in text.splitlines()]
    assert lines[:2] == ['File type = "ooTextFile"', 'Object class = "TextGrid"']
    assert lines.count('class = "IntervalTier"') == 2
    assert "intervals: size = 4" in lines  # before, two words, after
    assert "intervals: size = 2" in lines
    assert 'text = """you"""' in lines
    ends = [float(line.split()[-1]) for line in lines if line.startswith("xmax")]
    starts = [float(line.split()[-1]) for line in lines if line.startswith("xmin")]
    assert ends == [2.0, 2.0, 0.5, 0.75, 1.5, 2.0, 2.0, 0.5, 2.0]
    assert starts == [0.0, 0.0, 0.0, 0.5, 0.75, 1.5, 0.0, 0.0, 0.5]


def test_nothing_is_one_empty_interval():
    assert 'text = ""' in format_tiers({"words": []}, 1.0)
