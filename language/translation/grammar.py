"""English sentences and their German translations, made by rules.

    While I look for the key, my old aunt picks up twenty-one small letters in the garden.
    Während ich den Schlüssel suche, holt meine alte Tante im Garten einundzwanzig kleine Briefe ab.

What a translator must learn is what German asks for: the finite verb is second in a main clause and
last behind a conjunction, infinitives, participles and separable prefixes go to the end, articles
and adjectives agree in gender, number and case, and numbers, dates and times have an order of their
own.  There are some 10^15 sentences; those for tests are none of training.
"""

import random
from typing import Literal, NamedTuple

from . import words
from .words import Modal, Noun, Person, Verb

Case = Literal["nominative", "accusative", "dative"]

# Endings by gender, or p in the plural: of the definite article, of ein and kein, of adjectives
# after each of them, and after a number.
DEFINITE = {
    "nominative": {"m": "er", "f": "ie", "n": "as", "p": "ie"},
    "accusative": {"m": "en", "f": "ie", "n": "as", "p": "ie"},
    "dative": {"m": "em", "f": "er", "n": "em", "p": "en"},
}
THIS = {
    "nominative": {"m": "er", "f": "e", "n": "es", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "es", "p": "e"},
    "dative": DEFINITE["dative"],
}
INDEFINITE = {
    "nominative": {"m": "", "f": "e", "n": "", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "", "p": "e"},
    "dative": DEFINITE["dative"],
}
ADJECTIVE = {
    "weak": {
        "nominative": {"m": "e", "f": "e", "n": "e", "p": "en"},
        "accusative": {"m": "en", "f": "e", "n": "e", "p": "en"},
        "dative": {"m": "en", "f": "en", "n": "en", "p": "en"},
    },
    "mixed": {
        "nominative": {"m": "er", "f": "e", "n": "es", "p": "en"},
        "accusative": {"m": "en", "f": "e", "n": "es", "p": "en"},
        "dative": {"m": "en", "f": "en", "n": "en", "p": "en"},
    },
    "strong": {"nominative": {"p": "e"}, "accusative": {"p": "e"}, "dative": {"p": "en"}},
}
CONTRACTED = {"in dem": "im", "bei dem": "beim"}


class Phrase(NamedTuple):
    """A part of a sentence in both languages."""

    english: str
    german: str
    person: Person = "third"


class Clause(NamedTuple):
    """Parts of a clause."""

    subject: Phrase
    verb: Verb
    object: Phrase
    place: Phrase | None
    time: Phrase | None
    modal: Modal | Literal["perfect"] | None


def draw_sentences(number: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Draws pairs of sentences, English and German.

    Args:
        number: how many.
        seed: of the draw.

    Returns:
        Pairs of which no two have the same English or the same German sentence.

    Raises:
        ValueError: if `number` is below 1.
    """
    if number < 1:
        raise ValueError(f"`number` must be at least 1, got {number}.")
    generator = random.Random(seed)
    pairs: dict[str, str] = {}
    targets: set[str] = set()
    while len(pairs) < number:
        english, german = draw_sentence(generator)
        if english not in pairs and german not in targets:
            pairs[english] = german
            targets.add(german)
    return list(pairs.items())


def draw_sentence(generator: random.Random) -> tuple[str, str]:
    """One sentence in both languages."""
    main = _draw_clause(generator, timed=True)
    if generator.random() < 0.65:
        english, german = say_main(main, fronted=generator.random() < 0.5)
        return finish(english), finish(german)
    other = _draw_clause(generator, timed=False)
    conjunction = generator.choice(words.SUBORDINATORS)
    english, german = say_subordinate(other, conjunction)
    if generator.random() < 0.5:  # "Because ..., the aunt buys": German then begins with the verb
        main = main._replace(time=None)
        clause = say_english(main)
        return finish(f"{english}, {clause}"), finish(f"{german}, {say_german(main, 'first')}")
    first, second = say_main(main, fronted=False)
    return finish(f"{first} {english}"), finish(f"{second}, {german}")


def say_main(clause: Clause, *, fronted: bool) -> tuple[str, str]:
    """A main clause in both languages; with `fronted` its time, if any, is in front."""
    if clause.time is None or not fronted:
        return say_english(clause), say_german(clause, "second")
    time, clause = clause.time, clause._replace(time=None)
    return f"{time.english}, {say_english(clause)}", f"{time.german} {say_german(clause, 'first')}"


def say_subordinate(clause: Clause, conjunction: tuple[str, str]) -> tuple[str, str]:
    """A clause behind a conjunction, in both languages."""
    english, german = conjunction
    return f"{english} {say_english(clause)}", f"{german} {say_german(clause, 'last')}"


def say_english(clause: Clause) -> str:
    """Subject, verb, object, place, time."""
    verb, third = clause.verb, clause.subject.person == "third"
    if clause.modal == "perfect":
        said = f"{'has' if third else 'have'} {verb.english_participle}"
    elif clause.modal is not None:
        modal = clause.modal.english_third if third else clause.modal.english
        said = f"{modal} {verb.english}"
    else:
        said = verb.english_third if third else verb.english
    adverbs = [part.english for part in (clause.place, clause.time) if part is not None]
    particle = [verb.particle] if verb.particle else []
    return " ".join([clause.subject.english, said, *particle, clause.object.english, *adverbs])


def say_german(clause: Clause, position: Literal["first", "second", "last"]) -> str:
    """A clause with its finite verb at a position; time and place stand before the object."""
    verb, person = clause.verb, clause.subject.person
    if clause.modal == "perfect":
        finite = {"first": "habe", "third": "hat", "plural": "haben"}[person]
        rest = verb.german_participle
    elif clause.modal is not None:
        plural = person == "plural"
        finite = clause.modal.german_plural if plural else clause.modal.german_singular
        rest = verb.german_infinitive
    else:
        plural = verb.german_infinitive.removeprefix(verb.prefix)
        forms = {"first": verb.german_first, "third": verb.german_third, "plural": plural}
        finite, rest = forms[person], verb.prefix
        if position == "last":
            finite, rest = rest + finite, ""
    adverbs = [part.german for part in (clause.time, clause.place) if part is not None]
    middle = [*adverbs, clause.object.german, *([rest] if rest else [])]
    parts = {
        "first": [finite, clause.subject.german, *middle],
        "second": [clause.subject.german, finite, *middle],
        "last": [clause.subject.german, *middle, finite],
    }
    return " ".join(parts[position])


def finish(text: str) -> str:
    """A sentence begins with a capital letter and ends with a full stop."""
    return f"{text[0].upper()}{text[1:]}."


def say_noun(
    noun: Noun,
    determiner: tuple[str, str, str] | int,
    adjective: tuple[str, str] | None,
    case: Case,
    *,
    plural: bool = False,
) -> Phrase:
    """A noun with its determiner, or with a number of things above one.

    Args:
        noun: the noun.
        determiner: one of `words.DETERMINERS`, or how many there are.
        adjective: one of `words.ADJECTIVES`.
        case: of the German.
        plural: whether there are several; with a number there are.
    """
    plural = plural or isinstance(determiner, int)
    form = "p" if plural else noun.gender
    if isinstance(determiner, int):
        (english, german), endings = say_number(determiner), "strong"
    else:
        english, stem, endings = determiner
        table = {"d": DEFINITE, "dies": THIS}.get(stem, INDEFINITE)
        german = stem + table[case][form]
        english = "these" if plural and english == "this" else english
    german_noun = noun.german_plural if plural else noun.german
    if plural and case == "dative" and german_noun[-1] not in "ns":
        german_noun += "n"
    name = noun.english_plural if plural else noun.english
    parts = [english, name]
    german_parts = [german, german_noun]
    if adjective is not None:
        parts.insert(1, adjective[0])
        german_parts.insert(1, adjective[1] + ADJECTIVE[endings][case][form])
    if english == "a" and parts[1][0] in "aeiou":
        parts[0] = "an"
    return Phrase(" ".join(parts), " ".join(german_parts), "plural" if plural else "third")


def say_number(number: int) -> tuple[str, str]:
    """A number from 1 to 99, before a noun: "twenty-one", "einundzwanzig"."""
    if number < 20:
        return words.ONES[number - 1]
    (english, german), rest = words.TENS[number // 10 - 2], number % 10
    if not rest:
        return english, german
    return f"{english}-{words.ONES[rest - 1][0]}", f"{words.ONES[rest - 1][1]}und{german}"


def say_ordinal(number: int) -> tuple[str, str]:
    """The day of a month, from 1 to 31: "twenty-third", "dreiundzwanzigsten"."""
    english, german = say_number(number)
    *tens, last = english.split("-")
    last = words.ORDINALS.get(last, f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    suffix = "ten" if number < 20 else "sten"
    return "-".join([*tens, last]), words.GERMAN_ORDINALS.get(number, german + suffix)


def say_clock(hour: int, minute: int) -> tuple[str, str]:
    """A time by the clock: "half past four" is "halb fünf"; minutes are 0, 5, ... 55."""

    def name(hour):
        english, german = words.ONES[(hour - 1) % 12]
        return english, "eins" if german == "ein" else german

    here, after = name(hour), name(hour + 1)
    if minute == 0:
        return f"{here[0]} o'clock", f"{words.ONES[hour - 1][1]} Uhr"
    if minute == 30:
        return f"half past {here[0]}", f"halb {after[1]}"
    past = minute < 30
    amount = min(minute, 60 - minute)
    english, german = ("quarter", "Viertel") if amount == 15 else say_number(amount)
    if past:
        return f"{english} past {here[0]}", f"{german} nach {here[1]}"
    return f"{english} to {after[0]}", f"{german} vor {after[1]}"


def _draw_clause(generator: random.Random, *, timed: bool) -> Clause:
    if generator.random() < 0.4:
        subject = Phrase(*generator.choice(words.PRONOUNS))
    else:
        subject = _draw_noun(generator, words.PERSONS, "nominative")
    place = time = modal = None
    if generator.random() < 0.3:
        english, german = generator.choice(words.PREPOSITIONS)
        noun = _draw_noun(generator, words.PLACES, "dative")
        said = f"{german} {noun.german}"
        for long, short in CONTRACTED.items():
            said = f"{short}{said[len(long) :]}" if said.startswith(f"{long} ") else said
        place = Phrase(f"{english} {noun.english}", said)
    if timed and generator.random() < 0.5:
        time = _draw_time(generator)
    drawn = generator.random()
    if drawn < 0.2:
        modal = "perfect"
    elif drawn < 0.5:
        modal = generator.choice(words.MODALS)
    thing = _draw_noun(generator, words.THINGS, "accusative")
    return Clause(subject, generator.choice(words.VERBS), thing, place, time, modal)


def _draw_noun(generator: random.Random, nouns: tuple[Noun, ...], case: Case) -> Phrase:
    noun = generator.choice(nouns)
    adjective = generator.choice(words.ADJECTIVES) if generator.random() < 0.5 else None
    if case != "dative" and generator.random() < 0.2:
        return say_noun(noun, generator.randint(2, 99), adjective, case)
    determiner = generator.choice(words.DETERMINERS)
    if case == "dative" and determiner[0] == "no":
        determiner = words.DETERMINERS[0]
    plural = determiner[0] != "a" and generator.random() < 0.3
    return say_noun(noun, determiner, adjective, case, plural=plural)


def _draw_time(generator: random.Random) -> Phrase:
    drawn = generator.random()
    english, german = [], []
    if drawn < 0.4:
        day = generator.choice(words.DAYS)
        english.append(f"on {day[0]}")
        german.append(f"am {day[1]}")
    elif drawn < 0.7:
        day, month = say_ordinal(generator.randint(1, 31)), generator.choice(words.MONTHS)
        english.append(f"on the {day[0]} of {month[0]}")
        german.append(f"am {day[1]} {month[1]}")
    if drawn >= 0.7 or generator.random() < 0.3:
        clock = say_clock(generator.randint(1, 12), generator.randrange(0, 60, 5))
        english.append(f"at {clock[0]}")
        german.append(f"um {clock[1]}")
    return Phrase(" ".join(english), " ".join(german))
