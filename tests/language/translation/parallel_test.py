"""Parallel texts and their splits."""

import pytest
import tensorflow_datasets as tfds

from gossamer.language.translation import parallel
from gossamer.language.translation.parallel import Pair


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GOSSAMER_CACHE", str(tmp_path / "cache"))


def test_splits_of_the_sentences_have_nothing_in_common(monkeypatch):
    monkeypatch.setattr(parallel.make_sentences, "__defaults__", (400,))
    text = parallel.load_parallel("sentences")
    assert (len(text.train), len(text.dev), len(text.test)) == (360, 20, 20)
    for side in (0, 1):
        train, dev, test = (
            {pair[side] for pair in pairs} for pairs in (text.train, text.dev, text.test)
        )
        assert not train & dev
        assert not train & test
        assert not dev & test
    again = parallel.load_parallel("sentences")  # from the files this time
    assert list(again.train) == list(text.train)
    assert text.train[3:5] == [text.train[3], text.train[4]]


def test_a_table_of_ones_own(tmp_path):
    table = tmp_path / "pairs.tsv"
    table.write_text(
        "source\ttarget\tsplit\none\teins\ttrain\ntwo\tzwei\tdev\nthree\tdrei\ttest\n"
        "three\tdreie\ttrain\n"
    )
    text = parallel.load_parallel(str(table))
    assert list(text.train) == [Pair("one", "eins")]  # three is for tests
    assert list(text.dev) == [Pair("two", "zwei")]
    assert list(text.test) == [Pair("three", "drei")]


def test_two_texts_line_by_line(tmp_path):
    lines = [f"number {number}" for number in range(60)]
    (tmp_path / "text.en").write_text("\n".join([*lines, "", "number 3"]))
    translations = [line.replace("number", "Nummer") for line in lines]
    (tmp_path / "text.de").write_text("\n".join([*translations, "leer", "Nummer drei"]))
    text = parallel.load_parallel(str(tmp_path / "text.en"), tmp_path / "text.de")
    pairs = [*text.train, *text.dev, *text.test]
    assert len(pairs) == 61
    assert sum(pair.source == "number 3" for pair in pairs) == 2
    held_out = {pair.source for pair in [*text.dev, *text.test]}
    assert not held_out & {pair.source for pair in text.train}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("source\ttarget\none\t\n", "line 2: a line must have a source, a target"),
        ("source\ttarget\tsplit\none\teins\ttraining\n", "line 2: a line must have"),
        ("text\ttarget\none\teins\n", "line 2: a line must have"),
        ("source\ttarget\tsplit\none\teins\ttrain\n", "no pairs for dev and test among 1"),
    ],
)
def test_bad_tables_are_refused(tmp_path, content, message):
    table = tmp_path / "pairs.tsv"
    table.write_text(content)
    with pytest.raises(ValueError, match=message):
        parallel.load_parallel(str(table))


def test_texts_of_different_lengths_are_refused(tmp_path):
    (tmp_path / "one").write_text("a\nb\n")
    (tmp_path / "two").write_text("a\n")
    with pytest.raises(ValueError, match=r"`targets` must have as many lines .* got 1 in .* and 2"):
        parallel.load_parallel(str(tmp_path / "one"), tmp_path / "two")


def test_an_unknown_text_is_refused():
    with pytest.raises(ValueError, match="no parallel text 'wmt15': give `sentences`"):
        parallel.load_parallel("wmt15")


class Made(tfds.core.GeneratorBasedBuilder):
    """What tensorflow-datasets writes of WMT14, in small."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="de-en")]  # noqa: RUF012

    def __init__(self, data_dir):
        vars(self)["name"] = "wmt14_translate"
        super().__init__(data_dir=data_dir, config="de-en", file_format="array_record")

    def _info(self):
        features = tfds.features.Translation(languages=("de", "en"))
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        del dl_manager
        return {name: self._generate_examples(name) for name in ("train", "validation", "test")}

    def _generate_examples(self, split):
        for number in range(3):
            yield number, {"de": f"Satz {number}, {split}", "en": f"sentence {number}, {split}"}


def test_wmt14_is_read_in_both_directions(tmp_path):
    Made(tmp_path).download_and_prepare()
    text = parallel.load_parallel("wmt14/en-de", data_dir=tmp_path)
    pairs = {Pair(f"sentence {n}, train", f"Satz {n}, train") for n in range(3)}
    assert set(text.train) == pairs
    assert {pair.target for pair in text.dev} == {f"Satz {n}, validation" for n in range(3)}
    assert len(text.test) == 3
    back = parallel.load_parallel("wmt14/de-en", data_dir=tmp_path)
    assert {Pair(pair.target, pair.source) for pair in back.train} == pairs
    with pytest.raises(ValueError, match="`languages` must be one of"):
        parallel.load_parallel("wmt14/en-it", data_dir=tmp_path)


def test_wmt14_that_cannot_be_downloaded_is_one_line(tmp_path, monkeypatch):
    def fail(builder, **_):
        assert builder.name == "wmt14_translate"  # its class was found
        raise OSError("no network\nat all")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(ValueError, match=r"wmt14_translate/de-en is not .* \(no network\); set"):
        parallel.load_parallel("wmt14/en-de", data_dir=tmp_path)
