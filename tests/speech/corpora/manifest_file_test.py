import json
import unicodedata

import pytest

from gossamer.speech.corpora import manifest_file
from gossamer.speech.text import Vocabulary

OPTIONS = {"language": "en", "split_seed": 0}


def write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def test_both_kinds_say_the_same(tmp_path):
    tsv = write(
        tmp_path / "a.tsv",
        "audio\ttext\tsplit\tstart\tend\nx.wav\tHi 5\tdev\t0.5\t2\n\ny/z.wav\tYou\ttest\t\t\n",
    )
    columns = [
        {"audio": "x.wav", "text": "Hi 5", "split": "dev", "start": 0.5, "end": 2},
        {"audio": "y/z.wav", "text": "You", "split": "test"},
    ]
    jsonl = write(tmp_path / "a.jsonl", "".join(json.dumps(c) + "\n" for c in columns))
    first, second = manifest_file.read(tsv, **OPTIONS)
    assert first[:6] == ("x.wav", "dev", tmp_path / "x.wav", 0.5, 2.0, "hi five")
    assert second[:6] == ("y/z.wav", "test", tmp_path / "y/z.wav", None, None, "you")
    assert second.source == f"{tsv}, line 4"
    assert [row[:6] for row in manifest_file.read(jsonl, **OPTIONS)] == [first[:6], second[:6]]


def test_channels(tmp_path):
    tsv = write(tmp_path / "a.tsv", "audio\ttext\tchannel\nx\ta\t0\nx\tb\t1\ny\tc\t\n")
    assert [row.channel for row in manifest_file.read(tsv, **OPTIONS)] == [0, 1, None]


def test_windows_line_ends_and_byte_order_mark(tmp_path):
    path = write(tmp_path / "a.tsv", "\ufeffaudio\ttext\r\nx.wav\thello\r\n")
    assert manifest_file.read(path, **OPTIONS)[0].text == "hello"


def test_repeated_names_become_unique(tmp_path):
    path = write(tmp_path / "a.tsv", "audio\ttext\tstart\nx\ta\t0\nx\tb\t1.5\nx\tc\t\n")
    assert [row.name for row in manifest_file.read(path, **OPTIONS)] == ["x", "x@1.5", "x:4"]


def test_names_repeated_with_their_times_become_unique(tmp_path):
    rows = "".join(f"x\t{t}\t5\n" for t in "abc")
    path = write(tmp_path / "a.tsv", "audio\ttext\tstart\nx@5:5\td\t0\n" + rows)
    found = [row.name for row in manifest_file.read(path, **OPTIONS)]
    assert found == ["x@5:5", "x", "x@5", "x@5:5:5"]


def test_without_a_split_equal_texts_go_together(tmp_path):
    texts = [f"number {n}" for n in range(1000)] * 2
    path = write(tmp_path / "a.tsv", "audio\ttext\n" + "".join(f"x\t{t}\n" for t in texts))
    rows = manifest_file.read(path, language="xx", split_seed=0)
    assert [r.split for r in rows[:1000]] == [r.split for r in rows[1000:]]
    # 1000 draws with probability 0.1: 100 +- 4 standard deviations of 9.5.
    for split in ("dev", "test"):
        assert abs(sum(r.split == split for r in rows[:1000]) - 100) < 38
    again = manifest_file.read(path, language="xx", split_seed=1)
    assert [r.split for r in rows] != [r.split for r in again]


def test_decomposed_and_composed_texts_are_one(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Été à Noël")
    path = write(tmp_path / "a.tsv", f"audio\ttext\nx\t{decomposed}\ny\tété à noël\n")
    first, second = manifest_file.read(path, language="fr", split_seed=0)
    assert first.text == second.text == "été à noël"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "", "holds no usable line"),
        ("a.tsv", "audio\ttext\n", "holds no usable line"),
        ("a.tsv", "x.wav\thello\n", "line 1: the header must name the columns"),
        ("a.tsv", "audio\ttext\nx.wav hello\n", "line 2: has 1 tab-separated cells, the header 2"),
        ("a.tsv", "audio\ttext\nx.wav\t\n", "line 2: `text` must be text, got None; fill it in"),
        ("a.tsv", "audio\ttext\nx.wav\t...\n", r"line 2: `text` must hold words, got '\.\.\.'"),
        ("a.tsv", "audio\ttext\tsplit\nx\ta\teval\n", "line 2: `split` must be one of train, dev"),
        ("a.tsv", "audio\ttext\tstart\nx\ta\tsoon\n", "line 2: `start` must be a number of s"),
        ("a.tsv", "audio\ttext\tend\nx\ta\t-1\n", "line 2: `end` must be a number of seconds >= 0"),
        ("a.tsv", "audio\ttext\tend\nx\ta\tnan\n", "line 2: `end` must be a number of seconds"),
        (
            "a.tsv",
            "audio\ttext\tchannel\nx\ta\tB\n",
            "`channel` must be a whole number >= 0, got 'B'",
        ),
        ("a.jsonl", '{"audio": "x", "text": "a"}\n{"audio"\n', "line 2: is not JSON"),
        ("a.jsonl", "[1]\n", "line 1: must be a JSON object, got list"),
        ("a.jsonl", '{"audio": 3, "text": "a"}\n', "line 1: `audio` must be text, got 3"),
        ("a.csv", "audio,text\n", r"must be a \.tsv file .*, got '\.csv'"),
    ],
)
def test_broken_lists_get_one_line_with_file_and_line(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(manifest_file.ManifestError, match=message) as caught:
        manifest_file.read(path, **OPTIONS)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(manifest_file.ManifestError, match="no such file"):
        manifest_file.read(tmp_path / "a.tsv", **OPTIONS)
    (tmp_path / "b.tsv").write_bytes("audio\ttext\nx\té\n".encode("latin-1"))
    with pytest.raises(manifest_file.ManifestError, match="not UTF-8"):
        manifest_file.read(tmp_path / "b.tsv", **OPTIONS)


def test_unusable_lines_can_be_left_out(tmp_path):
    path = write(tmp_path / "a.tsv", "audio\ttext\nx\tab\ny\t\nz\tabc\n")
    skipped = []
    vocabulary = Vocabulary.of(["ab"])
    rows = manifest_file.read(path, vocabulary=vocabulary, skipped=skipped, **OPTIONS)
    assert [row.name for row in rows] == ["x"]
    assert [message.split(": ")[0] for message in skipped] == [f"{path}, line 3", f"{path}, line 4"]
    with pytest.raises(manifest_file.ManifestError, match="line 3"):
        manifest_file.read(path, vocabulary=vocabulary, **OPTIONS)
