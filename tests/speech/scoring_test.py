"""The expected counts are those of NIST's SCTK 2.4.10 on the same three files, made up for this:

hubscr.pl -V -l english -h hub5 -g rules.glm -r reference.stm hypothesis.ctm
"""

import pytest

from gossamer.speech import sclite, scoring
from gossamer.speech.sclite import Segment, TimedWord

RULES = """;; Made up in the form of NIST's rules.
* name "rules.glm"
* desc "test"
* format = 'NIST1'
* max_nrules = '100'
* copy_no_hit = 'T'
* case_sensitive = 'F'
UH-HUH   => %BCACK      / [ ] __ [ ] ;; affirmative token
UH       => %HESITATION / [ ] __ [ ] ;; hesitation token
UM       => %HESITATION / [ ] __ [ ]
GONNA    => GOING TO ;; anywhere
ADVISER  => ADVISOR     / [ ] __
T.       => TEE         / __ [ SHIRT]
'CAUSE   => BECAUSE
GOODBYE  => GOOD BYE
OK       => O. K.       / [ ] __ [ ]
;; INPUT_DEPENDENT_APPLICATION = "ctm"
HE'S     => [{HE IS / HE HAS / HE'S}] / [ ] __ [ ]
;; INPUT_DEPENDENT_APPLICATION = "stm|ctm"
AIRCRAFT => AIR CRAFT   / [ ] __ [ ]
"""
REFERENCE = """;; LABEL "O" "Overall" "Overall"
;; LABEL "sw" "Swbd" "Switchboard"
;; LABEL "en" "Callhome" "CallHome"
en_4156 A en_4156_A 0.00 2.00 <O,en> OH (UM) YEAH THE AIRCRAFT
en_4156 A en_4156_A 2.00 4.00 <O,en> I'M GONNA (TH-) GO { 'CAUSE / @ } HOME
en_4156 B en_4156_B 4.00 5.00 <O,en> IGNORE_TIME_SEGMENT_IN_SCORING
en_4156 B en_4156_B 5.00 9.00 <O,en> HE IS TWENTY-ONE OK (UH HUH)
sw_4390 A sw_4390_A 0.00 2.00 <O,sw> A T. SHIRT { AND / IN } D E
sw_4390 A sw_4390_A 2.00 4.00 <O,sw> BE- RIGHT UH-HUH HE HAS ADVISERS
sw_4390 B sw_4390_B 1.00 3.00 <O,sw> (%HESITATION) GOODBYE
"""
HEARD = {  # by recording and channel: starts and words
    "en_4156 A": "0.1 oh 0.5 yeah 0.8 an 1 aircraft 2.1 i'm 2.2 going 2.3 to 2.4 go 2.6 um "
    "2.8 home",
    "en_4156 B": "4.2 ignored 5.2 he's 5.6 twenty 6 won 6.5 o. 7.5 k.",
    "sw_4390 A": "0.1 t. 0.3 shirt 0.5 in 0.9 d 1.1 e 1.3 f 2.1 before 2.5 right 2.8 uh-huh "
    "3 he's 3.4 adviser",
    "sw_4390 B": "1.5 good 1.9 by",
}
HUBSCR = {
    "Overall": (6, 35, 5, 1, 2),
    "Swbd": (3, 15, 3, 1, 1),
    "Callhome": (3, 20, 2, 0, 1),
}


@pytest.fixture
def hypothesis():
    words = []
    for channel, line in HEARD.items():
        tokens = line.split()
        for start, text in zip(tokens[::2], tokens[1::2], strict=True):
            words.append(TimedWord(*channel.split(), float(start), 0.1, text))
    return words


def test_scores_of_hubscr(tmp_path, hypothesis):
    (tmp_path / "rules.glm").write_text(RULES)
    (tmp_path / "reference.stm").write_text(REFERENCE)
    reference = sclite.read_stm(tmp_path / "reference.stm")
    scores = scoring.score(reference, hypothesis, rules=tmp_path / "rules.glm")
    assert {s.title: (s.segments, *s.counts) for s in scores} == HUBSCR
    # Without labels the names of the recordings tell the sets.
    plain = scoring.score(reference._replace(titles={}), hypothesis, rules=tmp_path / "rules.glm")
    assert [score.title for score in plain] == ["Overall", "SWB", "CH"]
    assert [score.counts for score in plain] == [score.counts for score in scores]
    without = scoring.score(reference, hypothesis)
    assert without[0].counts.rate > scores[0].counts.rate


def test_words_outside_segments_go_to_the_next_or_last():
    # As sclite shows for such files: of words at the middles named below.
    segments = [
        Segment("f", "A", "s", 1.0, 2.0, (), "a"),
        Segment("f", "A", "s", 3.0, 4.0, (), "c"),
        Segment("f", "A", "s", 4.0, 5.0, (), sclite.IGNORED),
        Segment("f", "A", "s", 6.0, 7.0, (), "e"),
        Segment("f", "B", "s", 1.0, 2.0, (), ""),
    ]
    middles = [0.25, 1.25, 2.0, 2.25, 3.25, 4.25, 5.25, 6.25, 8.25]
    words = [TimedWord("F", "a", middle - 0.125, 0.25, str(middle)) for middle in middles]
    words.append(TimedWord("g", "A", 1.0, 0.25, "elsewhere"))
    given = scoring.assign_words(segments, words)
    assert [[word.text for word in heard] for _, heard in given] == [
        ["0.25", "1.25"],
        ["2.0", "2.25", "3.25"],
        ["5.25", "6.25", "8.25"],
        [],
    ]


def test_broken_references_are_named():
    reference = sclite.Reference([Segment("f", "A", "s", 1.5, 2.0, (), "{ a")], {})
    with pytest.raises(ValueError, match=r"reference of f A, 1.5 s: a brace is not closed"):
        scoring.score(reference, [])
