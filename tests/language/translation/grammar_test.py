"""Sentences whose German is known."""

import pytest

from gossamer.language.translation import grammar, words
from gossamer.language.translation.grammar import Clause, Phrase, say_noun

THE, _, A, NO, MY = words.DETERMINERS
TEACHER, GIRL = (words.PERSONS[0], words.PERSONS[5])
APPLE, BOOK, LAMP = (words.THINGS[number] for number in (0, 1, 5))
GARDEN, CITY = words.PLACES[:2]
OLD, BIG = words.ADJECTIVES[0], words.ADJECTIVES[3]
VERBS = {verb.english: verb for verb in words.VERBS}
SHE = Phrase("she", "sie", "third")


@pytest.mark.parametrize(
    ("phrase", "english", "german"),
    [
        (say_noun(TEACHER, THE, OLD, "nominative"), "the old teacher", "der alte Lehrer"),
        (say_noun(TEACHER, A, OLD, "nominative"), "an old teacher", "ein alter Lehrer"),
        (say_noun(TEACHER, MY, BIG, "accusative"), "my big teacher", "meinen großen Lehrer"),
        (say_noun(GIRL, NO, BIG, "nominative"), "no big girl", "kein großes Mädchen"),
        (say_noun(LAMP, A, None, "accusative"), "a lamp", "eine Lampe"),
        (say_noun(APPLE, A, None, "accusative"), "an apple", "einen Apfel"),
        (
            say_noun(APPLE, 21, OLD, "accusative"),
            "twenty-one old apples",
            "einundzwanzig alte Äpfel",
        ),
        (
            say_noun(BOOK, words.DETERMINERS[1], OLD, "nominative", plural=True),
            "these old books",
            "diese alten Bücher",
        ),
        (
            say_noun(GARDEN, MY, OLD, "dative", plural=True),
            "my old gardens",
            "meinen alten Gärten",
        ),
        (say_noun(words.PLACES[2], THE, None, "dative", plural=True), "the houses", "den Häusern"),
        (say_noun(CITY, THE, BIG, "dative"), "the big city", "der großen Stadt"),
    ],
)
def test_nouns_agree(phrase, english, german):
    assert (phrase.english, phrase.german) == (english, german)


@pytest.mark.parametrize(
    ("verb", "modal", "english", "main", "subordinate"),
    [
        ("see", None, "she sees the book", "sie sieht das Buch", "sie das Buch sieht"),
        ("pick", None, "she picks up the book", "sie holt das Buch ab", "sie das Buch abholt"),
        (
            "pick",
            "perfect",
            "she has picked up the book",
            "sie hat das Buch abgeholt",
            "sie das Buch abgeholt hat",
        ),
        (
            "take",
            words.MODALS[2],
            "she wants to take along the book",
            "sie will das Buch mitnehmen",
            "sie das Buch mitnehmen will",
        ),
    ],
)
def test_verbs_find_their_places(verb, modal, english, main, subordinate):
    book = say_noun(BOOK, THE, None, "accusative")
    clause = Clause(SHE, VERBS[verb], book, None, None, modal)
    assert grammar.say_main(clause, fronted=True) == (english, main)
    assert grammar.say_subordinate(clause, ("because", "weil")) == (
        f"because {english}",
        f"weil {subordinate}",
    )


def test_times_move():
    book = say_noun(BOOK, THE, None, "accusative")
    time = Phrase("on Monday", "am Montag")
    place = Phrase("in the garden", "im Garten")
    clause = Clause(SHE, VERBS["pick"], book, place, time, None)
    assert grammar.say_main(clause, fronted=True) == (
        "on Monday, she picks up the book in the garden",
        "am Montag holt sie im Garten das Buch ab",
    )
    assert grammar.say_main(clause, fronted=False) == (
        "she picks up the book in the garden on Monday",
        "sie holt am Montag im Garten das Buch ab",
    )


@pytest.mark.parametrize(
    ("said", "english", "german"),
    [
        (grammar.say_number(7), "seven", "sieben"),
        (grammar.say_number(30), "thirty", "dreißig"),
        (grammar.say_number(99), "ninety-nine", "neunundneunzig"),
        (grammar.say_ordinal(1), "first", "ersten"),
        (grammar.say_ordinal(12), "twelfth", "zwölften"),
        (grammar.say_ordinal(20), "twentieth", "zwanzigsten"),
        (grammar.say_ordinal(23), "twenty-third", "dreiundzwanzigsten"),
        (grammar.say_clock(1, 0), "one o'clock", "ein Uhr"),
        (grammar.say_clock(4, 30), "half past four", "halb fünf"),
        (grammar.say_clock(12, 30), "half past twelve", "halb eins"),
        (grammar.say_clock(12, 45), "quarter to one", "Viertel vor eins"),
        (grammar.say_clock(2, 20), "twenty past two", "zwanzig nach zwei"),
    ],
)
def test_numbers_dates_and_times(said, english, german):
    assert said == (english, german)


def test_sentences_are_a_function_of_the_seed():
    pairs = grammar.draw_sentences(300, seed=1)
    assert pairs == grammar.draw_sentences(300, seed=1)
    assert pairs != grammar.draw_sentences(300, seed=2)
    assert len({english for english, _ in pairs}) == len({german for _, german in pairs}) == 300
    for pair in pairs:
        assert all(text[0].isupper() and text.endswith(".") for text in pair)
        assert not any("  " in text for text in pair)


def test_too_few_are_refused():
    with pytest.raises(ValueError, match="`number` must be at least 1, got 0"):
        grammar.draw_sentences(0)
