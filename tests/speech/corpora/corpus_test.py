import collections
import csv
import hashlib
import json

import numpy as np
import pytest
import soundfile

from gossamer.speech.corpora import audio, corpus, manifest_file
from gossamer.speech.text import Vocabulary


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return corpus.telephone_prompts(tmp_path_factory.mktemp("prompts"))


@pytest.fixture
def table():
    with (corpus.PROMPTS / "transcripts.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def splits(loaded):
    return {"train": loaded.train, "dev": loaded.dev, "test": loaded.test}


def write_recording(folder, name="a.wav", *, seconds=0.5, sample_rate=8000, seed=0):
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * sample_rate))
    soundfile.write(folder / name, noise, sample_rate, subtype="PCM_16")


def write_list(folder, *rows, name="list.tsv"):
    path = folder / name
    path.write_text("audio\ttext\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows))
    return path


def test_bundled_recordings_are_the_published_ones():
    with (corpus.PROMPTS / "recordings.tsv").open(encoding="utf-8") as file:
        recordings = list(csv.DictReader(file, delimiter="\t"))
    assert len(recordings) == 551
    for recording in recordings:
        path = corpus.PROMPTS / f"{recording['name']}.flac"
        pulses, sample_rate = soundfile.read(path, dtype="int16")
        assert sample_rate == 8000
        assert pulses.shape == (int(recording["samples"]),)
        assert hashlib.sha256(pulses.astype("<i2").tobytes()).hexdigest() == recording["sha256"]
    assert len(list(corpus.PROMPTS.rglob("*.flac"))) == len(recordings)


def test_segments_tile_their_recordings(table):
    ends = collections.defaultdict(float)
    for row in table:
        assert float(row["start"]) == ends[row["name"]]
        ends[row["name"]] = float(row["end"])
    for name, end in ends.items():
        # Times are printed to the millisecond.
        assert end == pytest.approx(
            soundfile.info(corpus.PROMPTS / f"{name}.flac").duration, abs=1e-3
        )


def test_word_times_are_ordered_and_spell_the_transcripts(table):
    texts, times = collections.defaultdict(list), collections.defaultdict(list)
    for row in table:
        texts[row["name"]] += row["text"].split()
    with (corpus.PROMPTS / "words.tsv").open(encoding="utf-8") as file:
        words = list(csv.DictReader(file, delimiter="\t"))
    spoken = collections.defaultdict(list)
    for word in words:
        spoken[word["name"]].append(word["word"])
        times[word["name"]] += [float(word["start"]), float(word["end"])]
    assert spoken == texts
    assert all(moments == sorted(moments) for moments in times.values())


def test_no_transcript_and_no_recording_on_two_sides(table):
    for column in ("text", "name"):
        sides = collections.defaultdict(set)
        for row in table:
            sides[row[column]].add(row["split"])
        assert all(len(side) == 1 for side in sides.values())


def test_prompts_have_the_promised_shares_and_lengths(prompts):
    seconds = {split: part.seconds.sum() for split, part in splits(prompts).items()}
    total = sum(seconds.values())
    assert 24 * 60 < total < 24.5 * 60
    for split in ("dev", "test"):
        assert 0.095 <= seconds[split] / total <= 0.105
        one_word = sum(" " not in text for text in splits(prompts)[split].texts)
        assert one_word < 0.25 * len(splits(prompts)[split])
    assert max(part.seconds.max() for part in splits(prompts).values()) < 9
    assert sum(len(part) for part in splits(prompts).values()) == 616


def test_transcripts_are_plausible_for_their_durations(prompts):
    for part in splits(prompts).values():
        rates = [len(text) / s for text, s in zip(part.texts, part.seconds, strict=True)]
        sentences = [r for r, text in zip(rates, part.texts, strict=True) if text.count(" ") > 3]
        assert max(rates) < 22
        assert min(sentences) > 5  # "m i s d n"; any other is over 7.9


def test_prompts_read_as_stored(prompts, table):
    assert prompts.sample_rate == 8000
    assert "".join(prompts.vocabulary.characters) == " 'abcdefghijklmnopqrstuvwxyz"
    assert len({u for part in splits(prompts).values() for u in (x.name for x in part)}) == 616
    row = next(r for r in table if r["split"] == "test" and float(r["start"]) > 0)
    utterance = next(u for u in prompts.test if u.name == f"{row['name']}@{float(row['start']):g}")
    first, last = round(float(row["start"]) * 8000), round(float(row["end"]) * 8000)
    pulses, _ = soundfile.read(corpus.PROMPTS / f"{row['name']}.flac", dtype="int16")
    assert utterance.text == row["text"]
    assert utterance.waveform.dtype == np.float32
    np.testing.assert_array_equal(utterance.waveform * 32768, pulses[first:last])


def test_utterances_are_a_sequence(prompts):
    assert prompts.dev[-1].name == prompts.dev[len(prompts.dev) - 1].name
    part = prompts.dev[10:20:3]
    assert [u.text for u in part] == list(part.texts) == list(prompts.dev.texts[10:20:3])
    np.testing.assert_array_equal(part.seconds, prompts.dev.seconds[10:20:3])
    with pytest.raises(IndexError):
        prompts.dev[len(prompts.dev)]


def test_manifest_of_another_language_and_rate(tmp_path):
    write_recording(tmp_path, "a.wav", sample_rate=44100)
    write_recording(tmp_path, "b.flac", sample_rate=16000, seconds=1.0)
    columns = [
        {"audio": "a.wav", "text": "E\u0301te\u0301!", "split": "train"},
        {"audio": "b.flac", "text": "No\u00ebl", "split": "dev", "start": 0.25, "end": 0.75},
    ]
    path = tmp_path / "french.jsonl"
    path.write_text("".join(json.dumps(c) + "\n" for c in columns))
    loaded = corpus.manifest(path, language="fr", sample_rate=16000, data_dir=tmp_path / "data")
    assert loaded.name == "french"
    assert loaded.train.texts == ("été",)
    assert loaded.dev.texts == ("noël",)
    assert "".join(loaded.vocabulary.characters) == "lnotéë"
    assert len(loaded.test) == 0
    assert [len(loaded.train[0].waveform), len(loaded.dev[0].waveform)] == [8000, 8000]


def test_the_list_chooses_channels(tmp_path):
    stereo = np.stack([np.full(4000, 0.25), np.full(4000, -0.25)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 8000)
    path = tmp_path / "list.tsv"
    path.write_text("audio\ttext\tsplit\tchannel\na.wav\tb\ttrain\t1\na.wav\ta\tdev\t\n")
    loaded = corpus.manifest(path, channel=0, data_dir=tmp_path / "data")
    assert [loaded.train[0].waveform[0], loaded.dev[0].waveform[0]] == [-0.25, 0.25]


def test_changed_recordings_are_prepared_anew(tmp_path):
    path = write_list(tmp_path, ("a.wav", "hello", "train"))
    write_recording(tmp_path, seconds=0.5)
    assert corpus.manifest(path, data_dir=tmp_path / "data").train.seconds[0] == 0.5
    write_recording(tmp_path, seconds=0.75)
    assert corpus.manifest(path, data_dir=tmp_path / "data").train.seconds[0] == 0.75


def test_durations_and_texts_are_kept(tmp_path):
    write_recording(tmp_path, seconds=0.5)
    path = write_list(tmp_path, ("a.wav", "été", "train"))
    options = {"language": "fr", "data_dir": tmp_path / "data"}
    for content in (None, "{broken", '{"samples": [4000], "texts": ["kept"]}'):
        if content is not None:
            (index,) = (tmp_path / "data").rglob("index-train.json")
            index.write_text(content)
        loaded = corpus.manifest(path, **options).train
        assert loaded.texts == (("kept",) if content and "kept" in content else ("été",))
        assert loaded.seconds.tolist() == [0.5]
        assert loaded[0].text == "été"


def make_mixed_list(folder):
    write_recording(folder, "good.wav")
    write_recording(folder, "short.wav", seconds=0.01)
    (folder / "broken.wav").write_text("text")
    return write_list(
        folder,
        ("good.wav", "hello", "train"),
        ("broken.wav", "hello", "train"),
        ("missing.wav", "hello", "dev"),
        ("short.wav", "hello", "test"),
        ("good.wav", "hall\u00f6", "nowhere"),
    )


def test_bad_lines_are_refused_and_nothing_is_written(tmp_path):
    path = make_mixed_list(tmp_path)
    data = tmp_path / "data"
    with pytest.raises(manifest_file.ManifestError, match="line 6: `split` must be one of"):
        corpus.manifest(path, data_dir=data)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(audio.AudioError, match=r"list\.tsv, line 3: .*broken\.wav: not") as caught:
        corpus.manifest(path, data_dir=data)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert not [file for file in data.rglob("*") if file.is_file()]


def test_bad_lines_are_left_out_with_a_counted_warning(tmp_path):
    path = make_mixed_list(tmp_path)
    for _ in range(2):  # prepared, then read again: the warning stays
        with pytest.warns(UserWarning, match="Left out 4 of 5 utterances:(\n.*){3}\n  and 1 more"):
            loaded = corpus.manifest(path, on_error="skip", data_dir=tmp_path / "data")
        assert loaded.train.texts == ("hello",)
        assert len(loaded.dev) == len(loaded.test) == 0


def test_a_given_vocabulary_is_enforced_and_kept(tmp_path):
    write_recording(tmp_path)
    path = write_list(tmp_path, ("a.wav", "cab", "train"))
    with pytest.raises(manifest_file.ManifestError, match=r"line 2: .*got 'c' in 'cab'"):
        corpus.manifest(path, vocabulary=Vocabulary(("a", "b")), data_dir=tmp_path / "data")
    wide = Vocabulary.of(["abcdef"])
    loaded = corpus.manifest(path, vocabulary=wide, data_dir=tmp_path / "data")
    assert loaded.vocabulary == wide


def test_a_list_without_any_usable_recording_is_refused(tmp_path):
    path = write_list(tmp_path, ("missing.wav", "hello", "train"))
    with pytest.raises(audio.AudioError, match=r"no recording is usable, .* line 2: .*no such"):
        corpus.manifest(path, on_error="skip", data_dir=tmp_path / "data")


def test_on_error_is_checked(tmp_path):
    with pytest.raises(ValueError, match="`on_error` must be 'raise' or 'skip', got 'ignore'"):
        corpus.manifest(tmp_path / "a.tsv", on_error="ignore")
