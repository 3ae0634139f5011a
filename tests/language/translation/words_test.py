"""The words of the rules: no form is missing or given twice."""

from gossamer.language.translation import words


def test_nouns_have_all_forms():
    nouns = words.PERSONS + words.THINGS + words.PLACES
    assert all(all(noun) for noun in nouns)
    assert len({noun.english for noun in nouns}) == len({noun.german for noun in nouns})
    assert {noun.gender for noun in words.THINGS} == {"m", "f", "n"}


def test_separable_verbs_begin_with_their_prefix():
    for verb in words.VERBS:
        for form in (verb.german_infinitive, verb.german_participle):
            assert form.startswith(verb.prefix)


def test_dates_and_numbers_are_complete():
    assert (len(words.DAYS), len(words.MONTHS)) == (7, 12)
    assert (len(words.ONES), len(words.TENS)) == (19, 8)
