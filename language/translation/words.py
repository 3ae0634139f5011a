"""Words of the sentences that `grammar` makes, English and German, with their forms."""

from typing import Literal, NamedTuple

Gender = Literal["m", "f", "n"]
Person = Literal["first", "third", "plural"]


class Noun(NamedTuple):
    """A thing or a person."""

    english: str
    english_plural: str
    german: str
    german_plural: str
    gender: Gender


class Verb(NamedTuple):
    """A verb with an object; a separable German prefix stands apart in main clauses."""

    english: str
    english_third: str
    english_participle: str
    german_first: str  # without its prefix, as the next one
    german_third: str
    german_infinitive: str  # with it, as the next one; its plural form is the same
    german_participle: str
    prefix: str = ""  # of the German verb
    particle: str = ""  # behind the English verb


class Modal(NamedTuple):
    """An auxiliary of an infinitive."""

    english: str
    english_third: str
    german_singular: str
    german_plural: str


PERSONS = (
    Noun("teacher", "teachers", "Lehrer", "Lehrer", "m"),
    Noun("woman", "women", "Frau", "Frauen", "f"),
    Noun("child", "children", "Kind", "Kinder", "n"),
    Noun("friend", "friends", "Freund", "Freunde", "m"),
    Noun("daughter", "daughters", "Tochter", "Töchter", "f"),
    Noun("girl", "girls", "Mädchen", "Mädchen", "n"),
    Noun("uncle", "uncles", "Onkel", "Onkel", "m"),
    Noun("aunt", "aunts", "Tante", "Tanten", "f"),
    Noun("doctor", "doctors", "Arzt", "Ärzte", "m"),
)
THINGS = (
    Noun("apple", "apples", "Apfel", "Äpfel", "m"),
    Noun("book", "books", "Buch", "Bücher", "n"),
    Noun("flower", "flowers", "Blume", "Blumen", "f"),
    Noun("letter", "letters", "Brief", "Briefe", "m"),
    Noun("picture", "pictures", "Bild", "Bilder", "n"),
    Noun("lamp", "lamps", "Lampe", "Lampen", "f"),
    Noun("chair", "chairs", "Stuhl", "Stühle", "m"),
    Noun("cup", "cups", "Tasse", "Tassen", "f"),
    Noun("dog", "dogs", "Hund", "Hunde", "m"),
    Noun("cat", "cats", "Katze", "Katzen", "f"),
    Noun("horse", "horses", "Pferd", "Pferde", "n"),
    Noun("key", "keys", "Schlüssel", "Schlüssel", "m"),
)
PLACES = (
    Noun("garden", "gardens", "Garten", "Gärten", "m"),
    Noun("city", "cities", "Stadt", "Städte", "f"),
    Noun("house", "houses", "Haus", "Häuser", "n"),
    Noun("kitchen", "kitchens", "Küche", "Küchen", "f"),
    Noun("forest", "forests", "Wald", "Wälder", "m"),
    Noun("museum", "museums", "Museum", "Museen", "n"),
)
ADJECTIVES = (
    ("old", "alt"),
    ("new", "neu"),
    ("small", "klein"),
    ("big", "groß"),
    ("beautiful", "schön"),
    ("red", "rot"),
    ("good", "gut"),
    ("quiet", "ruhig"),
)
VERBS = (
    Verb("buy", "buys", "bought", "kaufe", "kauft", "kaufen", "gekauft"),
    Verb("see", "sees", "seen", "sehe", "sieht", "sehen", "gesehen"),
    Verb("find", "finds", "found", "finde", "findet", "finden", "gefunden"),
    Verb("paint", "paints", "painted", "male", "malt", "malen", "gemalt"),
    Verb("sell", "sells", "sold", "verkaufe", "verkauft", "verkaufen", "verkauft"),
    Verb("forget", "forgets", "forgotten", "vergesse", "vergisst", "vergessen", "vergessen"),
    Verb("carry", "carries", "carried", "trage", "trägt", "tragen", "getragen"),
    Verb("look", "looks", "looked", "suche", "sucht", "suchen", "gesucht", particle="for"),
    Verb("pick", "picks", "picked", "hole", "holt", "abholen", "abgeholt", "ab", "up"),
    Verb("take", "takes", "taken", "nehme", "nimmt", "mitnehmen", "mitgenommen", "mit", "along"),
    Verb("bring", "brings", "brought", "bringe", "bringt", "zurückbringen", "zurückgebracht",
         "zurück", "back"),
)  # fmt: skip
MODALS = (
    Modal("can", "can", "kann", "können"),
    Modal("must", "must", "muss", "müssen"),
    Modal("want to", "wants to", "will", "wollen"),
)
# English, German, person and number of the verb
PRONOUNS: tuple[tuple[str, str, Person], ...] = (
    ("I", "ich", "first"),
    ("he", "er", "third"),
    ("she", "sie", "third"),
    ("we", "wir", "plural"),
    ("they", "sie", "plural"),
)
# English, the German stem, the endings of adjectives behind it
DETERMINERS = (
    ("the", "d", "weak"),
    ("this", "dies", "weak"),
    ("a", "ein", "mixed"),
    ("no", "kein", "mixed"),
    ("my", "mein", "mixed"),
)
SUBORDINATORS = (("because", "weil"), ("although", "obwohl"), ("while", "während"))
PREPOSITIONS = (("in", "in"), ("behind", "hinter"), ("in front of", "vor"), ("near", "bei"))
DAYS = (
    ("Monday", "Montag"),
    ("Tuesday", "Dienstag"),
    ("Wednesday", "Mittwoch"),
    ("Thursday", "Donnerstag"),
    ("Friday", "Freitag"),
    ("Saturday", "Samstag"),
    ("Sunday", "Sonntag"),
)
MONTHS = (
    ("January", "Januar"),
    ("February", "Februar"),
    ("March", "März"),
    ("April", "April"),
    ("May", "Mai"),
    ("June", "Juni"),
    ("July", "Juli"),
    ("August", "August"),
    ("September", "September"),
    ("October", "Oktober"),
    ("November", "November"),
    ("December", "Dezember"),
)
ONES = (
    ("one", "ein"),
    ("two", "zwei"),
    ("three", "drei"),
    ("four", "vier"),
    ("five", "fünf"),
    ("six", "sechs"),
    ("seven", "sieben"),
    ("eight", "acht"),
    ("nine", "neun"),
    ("ten", "zehn"),
    ("eleven", "elf"),
    ("twelve", "zwölf"),
    ("thirteen", "dreizehn"),
    ("fourteen", "vierzehn"),
    ("fifteen", "fünfzehn"),
    ("sixteen", "sechzehn"),
    ("seventeen", "siebzehn"),
    ("eighteen", "achtzehn"),
    ("nineteen", "neunzehn"),
)
TENS = (
    ("twenty", "zwanzig"),
    ("thirty", "dreißig"),
    ("forty", "vierzig"),
    ("fifty", "fünfzig"),
    ("sixty", "sechzig"),
    ("seventy", "siebzig"),
    ("eighty", "achtzig"),
    ("ninety", "neunzig"),
)
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
            "nine": "ninth", "twelve": "twelfth"}  # fmt: skip
GERMAN_ORDINALS = {1: "ersten", 3: "dritten", 7: "siebten", 8: "achten"}
