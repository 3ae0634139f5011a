"""The expected texts are those of NIST's rfilter1 2.4.10 under the rules without conditions."""

import pytest

from gossamer.speech import word_mapping

RULES = """;; first a comment
* name "test.glm"
* format = 'NIST1'
UH-HUH       => %BCACK     / [ ] __ [ ] ;; affirmative token
UH           => %HESITATION     / [ ] __ [ ]
GONNA        => GOING TO ;; anywhere
AIN'T        => [ARE NOT] / [ ] __ [ ]
ADVISER      => ADVISOR / [ ] __  ;; and what begins so
T.           => TEE / __ [ SHIRT]
FUNDRAIS     => FUND RAIS
'CAUSE       => BECAUSE
AIRCRAFT     => AIR CRAFT        / [ ] __ [ ]
ANTIAIRCRAFT => ANTI AIR CRAFT   / [ ] __ [ ]
GOOD BY      => GOOD BYE
[  ]         => [ ] ;; one space
;; INPUT_DEPENDENT_APPLICATION = "ctm"
HE'S         => [{HE IS / HE HAS}] / [ ] __ [ ]
;; INPUT_DEPENDENT_APPLICATION = "stm|ctm"
OK           => O. K. / [ ] __ [ ]
"""


@pytest.fixture
def rules(tmp_path):
    path = tmp_path / "a.glm"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("UH-HUH uh Uh HUH", "%BCACK %HESITATION %HESITATION HUH"),
        ("GONNA AIN'T ADVISERS RADVISER", "GOING TO ARE NOT ADVISORS RADVISER"),
        ("T. SHIRT T. FUNDRAISER", "TEE SHIRT T. FUND RAISER"),
        ("ANTIAIRCRAFT AIRCRAFT  AIRCRAFTS", "ANTI AIR CRAFT AIR CRAFT AIRCRAFTS"),
        ("GOOD BY 'cause OK", "GOOD BYE BECAUSE O. K."),
        ("", ""),
    ],
)
def test_rules(rules, text, rewritten):
    assert word_mapping.compile_rules(word_mapping.read(rules, "reference"))(text) == rewritten


def test_conditions(rules):
    texts = {
        kind: word_mapping.compile_rules(word_mapping.read(rules, kind))("he's ok")
        for kind in word_mapping.KINDS
    }
    assert texts == {"reference": "HE'S O. K.", "hypothesis": "{HE IS / HE HAS} O. K."}


def test_what_is_no_rule_is_named(tmp_path):
    path = tmp_path / "a.glm"
    path.write_text(";; x\nGONNA -> GOING TO\n")
    with pytest.raises(ValueError, match="line 2: must be `A => B / C __ D`"):
        word_mapping.read(path, "reference")
    with pytest.raises(ValueError, match="cannot be read"):
        word_mapping.read(tmp_path / "b.glm", "reference")
