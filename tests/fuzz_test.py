"""Readers of files from outside: a damaged file gives what it holds or one clear error.

Each reader gets valid files in which bytes were changed, cut out, repeated or replaced by what
parsers fear.  It must return, or raise ValueError naming the file.  With GOSSAMER_FUZZ=20000 in the
environment each reader gets as many files instead of a few.
"""

import io
import json
import os

import hypothesis
import numpy as np
import pytest
import soundfile
from hypothesis import strategies as st

from gossamer.language import data as texts
from gossamer.language.translation import parallel
from gossamer.speech import recognizer, sclite, word_mapping
from gossamer.speech.corpora import alternatives, audio, fisher, manifest_file, sphere
from gossamer.speech.graphs import arpa, ngram
from gossamer.speech.hybrids import lexicon

NUMBER = int(os.environ.get("GOSSAMER_FUZZ", "40"))

FEARED = [
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\x7f",
    b"[" * 3000,
    b'{"a":' * 2000,
    b"9" * 400,
    b"1e999",
    b"nan",
    b"-1",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\x00",
    b"\t\t",
    b"\n\n",
    b"../../etc/passwd",
    b"\r",
]


def changes():
    """Changes to bytes: ``(kind, place as a part of the file, length, content)``."""
    place = st.floats(0, 1, allow_nan=False)
    return st.lists(
        st.one_of(
            st.tuples(st.just("set"), place, st.just(1), st.binary(min_size=1, max_size=4)),
            st.tuples(st.just("set"), place, st.just(4), st.sampled_from(FEARED)),
            st.tuples(st.just("insert"), place, st.just(0), st.sampled_from(FEARED)),
            st.tuples(st.just("cut"), place, st.integers(1, 64), st.just(b"")),
            st.tuples(st.just("end"), place, st.just(0), st.just(b"")),
            st.tuples(st.just("repeat"), place, st.integers(1, 200), st.just(b"")),
        ),
        min_size=1,
        max_size=4,
    )


def edit(content, edits):
    for kind, part, length, new in edits:
        at = int(part * len(content))
        if kind == "end":
            content = content[:at]
        elif kind == "repeat":
            content = content[: at + length] + content[at:]
        else:
            content = content[:at] + new + content[at + length :]
    return content


def encode_audio(kind):
    samples = 0.1 * np.sin(np.arange(1200) / 3)
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format=kind)
    return file.getvalue()


READERS = {  # file, reader, and content, which a fixture makes of models
    "WAV": ("a.wav", lambda path: audio.read(path, 8000), encode_audio("WAV")),
    "FLAC": ("a.flac", lambda path: audio.read(path, 16000), encode_audio("FLAC")),
    "Ogg": ("a.ogg", lambda path: audio.read(path, 8000), encode_audio("OGG")),
    "SPHERE": ("a.sph", sphere.read_header, b"NIST_1A\n   1024\nsample_rate -i 8000\nend_head\n"),
    "manifest": (
        "list.tsv",
        lambda path: manifest_file.read(path, language="en", split_seed=0),
        b"audio\ttext\tstart\tend\tsplit\na.wav\tone two\t.5\t1.25\ttrain\nb.wav\tthree\t\t\tdev\n",
    ),
    "JSON Lines": (
        "list.jsonl",
        lambda path: manifest_file.read(path, language="en", split_seed=0),
        b'{"audio": "a.wav", "text": "one", "start": 1.5, "end": 2}\n{"audio": "b", "text": "c"}\n',
    ),
    "ARPA": ("words.arpa", arpa.read_arpa, None),
    "gzipped ARPA": ("words.arpa.gz", arpa.read_arpa, None),
    "recognizer": ("packed.safetensors", recognizer.load, None),
    "lexicon": ("words.dict", lexicon.read, b"one W AH N\none(2) HH W AH N\n# no\ntwo T UW\n"),
    "stm": (
        "a.stm",
        sclite.read_stm,
        b";; head\nsw1 A one 0.5 1.5 <O> one two\nsw1 B two 1 2 three\n",
    ),
    "word mapping": ("a.glm", lambda path: word_mapping.read(path, "hypothesis"), b"[a] => [b]\n"),
    "Fisher": (
        "fe_03_00001.txt",
        lambda path: list(fisher.read_file(path)),
        b"# head\n\n1.5 2.5 A: one\n",
    ),
    "texts": (
        "a.tsv",
        texts.read_table,
        b"label\ttext\tsplit\ngood\tfine\ttrain\nbad\tdull\ttrain\nbad\tsad\ttest\n",
    ),
    "pairs": ("a.tsv", parallel.read_table, b"source\ttarget\tsplit\none\teins\ttrain\n"),
    "n-best lists": (
        "a.jsonl",
        alternatives.read,
        json.dumps({"name": "a", "text": "one", "alternatives": ["two"]}).encode() + b"\n",
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory, make_recognizer):
    folder = tmp_path_factory.mktemp("models")
    model = ngram.train(["one two", "two one two"], order=2)
    arpa.write_arpa(folder / "words.arpa", model)
    arpa.write_arpa(folder / "words.arpa.gz", model)
    recognizer.save(folder / "packed.safetensors", make_recognizer("int4_paper"))
    return folder


def refuse(read, path):
    """The error of a reader; what is no ValueError passes through."""
    try:
        read(path)
    except ValueError as error:
        return error
    return None


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_one_clear_error(name, models, tmp_path):
    file, read, valid = READERS[name]
    path = tmp_path / file
    content = valid or (models / file).read_bytes()
    path.write_bytes(content)
    read(path)  # the undamaged file is one

    @hypothesis.settings(max_examples=NUMBER, database=None)
    @hypothesis.given(changes())
    def check(edits):
        path.write_bytes(edit(content, edits))
        error = refuse(read, path)
        assert error is None or (file in str(error) and len(str(error)) < 600)
        assert not isinstance(error, UnicodeError)

    check()
