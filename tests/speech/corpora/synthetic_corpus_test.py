import collections
import csv

import numpy as np
import pytest
import soundfile

from gossamer.speech.corpora import corpus, synthetic_corpus, voices
from gossamer.speech.corpora.synthetic_corpus import Plan
from gossamer.speech.corpora.voices import SynthesisError

TEXTS = ["hold the line", "thank you", "goodbye", "please wait", "one two three"]
HELD_OUT = ["press one", "hang up"]


@pytest.fixture
def make_plan(fake_espeak):
    """A plan with the voices of the fake synthesizer."""

    def make(train=TEXTS, held_out=HELD_OUT, **options):
        return Plan.of(train, held_out, voices=tuple(voices.find_voices()), **options)

    return make


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def samples(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.flac"))}


def test_a_corpus_that_a_recognizer_can_train_on(make_plan, tmp_path):
    told = []
    result = synthetic_corpus.build(
        tmp_path / "a",
        make_plan(),
        hours=20 / 3600,
        processes=0,
        progress=lambda *done: told.append(done),
    )
    rows = read(result.list)
    assert result.utterances == len(rows) == told[-1][0]
    assert 20 <= result.seconds == told[-1][1] < 22
    for row in rows:
        held_out = HELD_OUT.index(row["text"]) if row["text"] in HELD_OUT else None
        assert row["split"] == {None: "train", 0: "dev", 1: "test"}[held_out]
    loaded = corpus.manifest(result.list, data_dir=tmp_path / "data")
    assert sum(map(len, (loaded.train, loaded.dev, loaded.test))) == len(rows)
    heard = loaded.train[0]
    assert heard.sample_rate == 8000
    assert len(heard.waveform) / 8000 == soundfile.info(tmp_path / "a" / rows[0]["audio"]).duration


def test_more_hours_begin_with_the_same(make_plan, tmp_path):
    plan = make_plan(seed=1)
    synthetic_corpus.build(tmp_path / "a", plan, hours=3 / 3600, processes=0)
    before = samples(tmp_path / "a")
    some = read(tmp_path / "a/synthetic.tsv")
    synthetic_corpus.build(tmp_path / "a", plan, hours=8 / 3600, processes=0)
    after = samples(tmp_path / "a")
    assert len(after) > len(before)
    assert before.items() <= after.items()
    assert read(tmp_path / "a/synthetic.tsv")[: len(some)] == some


def test_processes_and_interruptions_change_nothing(make_plan, tmp_path, monkeypatch):
    plan = make_plan(seed=2)
    synthetic_corpus.build(tmp_path / "a", plan, hours=4 / 3600, processes=0)

    def stop(number, seconds):
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthetic_corpus.build(tmp_path / "b", plan, hours=4 / 3600, processes=0, progress=stop)
    assert not (tmp_path / "b/synthetic.tsv").exists()
    # What lies there half written, or is there already, does no harm.
    (tmp_path / "b/audio/000/.000002.flac.partial").write_bytes(b"half")
    first = tmp_path / "b/audio/000/000000.flac"
    stamp = first.stat().st_mtime_ns
    synthetic_corpus.build(tmp_path / "b", plan, hours=4 / 3600, processes=2)
    assert first.stat().st_mtime_ns == stamp
    assert (tmp_path / "b/synthetic.tsv").read_text() == (tmp_path / "a/synthetic.tsv").read_text()
    assert samples(tmp_path / "a").items() <= samples(tmp_path / "b").items()


def test_a_folder_holds_one_plan(make_plan, tmp_path):
    synthetic_corpus.build(tmp_path / "a", make_plan(), hours=1 / 3600, processes=0)
    other = make_plan(train=TEXTS[1:], seed=1)
    with pytest.raises(ValueError, match=r"another plan \(other seed, sentences, digest\)"):
        synthetic_corpus.build(tmp_path / "a", other, hours=1 / 3600, processes=0)


def test_what_cannot_be_said_is_left_out(make_plan, tmp_path):
    plan = make_plan(train=["good", "do fail", "silent one"], max_seconds=0.9)
    result = synthetic_corpus.build(tmp_path / "a", plan, hours=4 / 3600, processes=0)
    assert "good" in {row["text"] for row in read(result.list)} <= {"good", *HELD_OUT}
    assert "not rendered" in result.left_out
    plan = make_plan(train=["do fail"], held_out=[])
    with pytest.raises(SynthesisError, match=r"20 utterances in a row .* cannot say it"):
        synthetic_corpus.build(tmp_path / "b", plan, hours=1 / 3600, processes=0)
    plan = make_plan(train=["too long for that"], held_out=[], max_seconds=1.0, speed=(0.5, 0.5))
    with pytest.raises(SynthesisError, match="too long or too short: 2"):
        synthetic_corpus.build(tmp_path / "c", plan, hours=1 / 3600, processes=0)


def test_draws_are_spread(make_plan):
    plan = make_plan(snr=(3.0, 4.0))
    jobs = [plan.draw(number) for number in range(2000)]
    splits = collections.Counter(job.split for job in jobs)
    # 2000 draws with probability 0.05: 100 +- 4 standard deviations of 9.7.
    assert all(abs(splits[split] - 100) < 39 for split in ("dev", "test"))
    names = collections.Counter(job.voice.name for job in jobs)
    assert all(abs(count - 1000) < 90 for count in names.values())  # +- 4 of 22.4
    assert all(3 <= job.line.snr <= 4 for job in jobs)
    assert abs(np.mean([job.speed for job in jobs]) - 1.025) < 0.01
    assert jobs[1234].path.as_posix() == "audio/001/001234.flac"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"speed": (0.1, 1.0)}, "`speed` must be a range within 0.5 to 2"),
        ({"pitch": (1.2, 1.0)}, "`pitch` must be a range within"),
        ({"snr": (3.0, 2.0)}, "`snr` must be a range"),
        ({"max_seconds": 0.1}, "`max_seconds` must be at least"),
        ({"max_seconds": 0.3}, "short enough for `max_seconds` = 0.3"),
    ],
)
def test_bad_plans_are_refused(make_plan, options, message):
    with pytest.raises(ValueError, match=message):
        make_plan(**options)
    with pytest.raises(ValueError, match="`voices` must not be empty"):
        Plan.of(TEXTS, [], voices=())


@pytest.mark.parametrize(("hours", "processes"), [(0.0, 0), (float("inf"), 0), (1.0, -1)])
def test_bad_amounts_are_refused(make_plan, tmp_path, hours, processes):
    with pytest.raises(
        ValueError, match=r"`hours` must be positive|`processes` must be at least 0"
    ):
        synthetic_corpus.build(tmp_path / "a", make_plan(), hours=hours, processes=processes)
    assert not (tmp_path / "a").exists()
