import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossamer.speech import text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("Please enter your PIN, then #.", "please enter your pin then"),
        ("Dial 4242 -- it\u2019s new!", "dial four two four two it's new"),
        ("3D", "three d"),
        ("'quoted' o'clock, learners' rock 'n' roll", "quoted o'clock learners' rock n roll"),
        ("Zoe\u0308 na\u00efve \ufb01ne", "zoe naive fine"),
        ("... ' - ", ""),
    ],
)
def test_english_keeps_letters_apostrophe_and_space(raw, expected):
    assert text.normalize(raw) == expected


def test_other_languages_keep_their_letters_in_form_c():
    composed, decomposed = "Élève 3", unicodedata.normalize("NFD", "Élève 3")
    assert composed != decomposed
    assert text.normalize(decomposed, language="fr") == "élève 3"
    assert text.normalize(composed, language="fr") == "élève 3"
    assert text.normalize("Привет, МИР!", language="ru") == "привет мир"
    assert text.normalize("नमस्ते।", language="hi") == "नमस्ते"


@pytest.mark.parametrize("language", ["en", "tr"])
@given(raw=st.text())
def test_normalized_text_is_a_fixed_point(language, raw):
    once = text.normalize(raw, language=language)
    assert text.normalize(once, language=language) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == " ".join(once.split())
    if language == "en":
        assert set(once) <= set("abcdefghijklmnopqrstuvwxyz' ")


def test_digits_are_spelled_one_by_one():
    assert text.spell_digits("extension 8500") == "extension eight five zero zero"
    assert text.spell_digits("none") == "none"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
def test_vocabulary_round_trip(texts):
    vocabulary = text.Vocabulary.of(texts)
    for each in texts:
        labels = vocabulary.encode(each)
        assert labels.dtype == np.int32
        assert labels.min() >= 1
        assert labels.max() < len(vocabulary)
        assert vocabulary.decode([0, *labels, 0]) == each


def test_labels_are_ranks_after_the_blank():
    vocabulary = text.Vocabulary.of(["cab a"])
    assert vocabulary.characters == (" ", "a", "b", "c")
    np.testing.assert_array_equal(vocabulary.encode("ab c"), [2, 3, 1, 4])


def test_unknown_characters_are_named():
    with pytest.raises(ValueError, match="got '!é' in 'né!'"):
        text.Vocabulary.of(["n"]).encode("né!")


@pytest.mark.parametrize("labels", [[-1], [5]])
def test_labels_outside_are_refused(labels):
    with pytest.raises(ValueError, match=r"`labels` must lie in 0\.\.4"):
        text.Vocabulary.of(["abcd"]).decode(labels)


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ((), "must not be empty"),
        (("b", "a"), "sorted"),
        (("a", "a"), "sorted"),
        (("ab",), "single"),
    ],
)
def test_malformed_vocabularies_are_refused(characters, message):
    with pytest.raises(ValueError, match=message):
        text.Vocabulary(characters)
