"""The batches of one learner alone are its rows of everybody's."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from gossamer.speech import training_data
from gossamer.speech.corpora import alternatives
from gossamer.speech.run_config import DataConfig, LabelNoiseConfig, LearnersConfig, SpeechConfig
from gossamer.speech.training_data import RemoteBatches


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run on eight short noises, with a relative path."""
    generator = np.random.default_rng(0)
    lines = ["audio\ttext\tsplit"]
    for number in range(10):
        sound = generator.normal(scale=0.1, size=4000 + 500 * number)
        soundfile.write(tmp_path / f"{number}.wav", sound, 8000)
        lines.append(f"{number}.wav\tab\t{'dev' if number == 8 else 'test' if number > 8 else ''}")
    text = "\n".join(line if not line.endswith("\t") else f"{line}train" for line in lines)
    (tmp_path / "manifest.tsv").write_text(text + "\n")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    data = DataConfig(corpus="manifest.tsv", buckets=((2.0, 2),), join_probability=0.0)
    return SpeechConfig(data=data, learners=LearnersConfig(number=2))


def test_each_learner_reads_its_rows_here_and_elsewhere(config, tmp_path, monkeypatch):
    data = training_data.load_corpus(config)
    mine = training_data.learner_batches(config, data)
    remote = pickle.loads(pickle.dumps(RemoteBatches.of(config)))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    everybody = itertools.islice(training_data.training_batches(config, data), 6)
    for step, batch in enumerate(everybody):
        for learner in range(2):
            for read in (mine, remote):
                rows = read(learner, step)
                assert rows.keys() == batch.keys()
                for name, value in rows.items():
                    np.testing.assert_array_equal(value, batch[name][learner])


def test_alternatives_and_the_step_are_read_where_asked_for(config, tmp_path, monkeypatch):
    alternatives.write(tmp_path / "nbest.jsonl", {f"{number}.wav": ["ba"] for number in range(10)})
    noise = LabelNoiseConfig(nbest=0.5, alternatives="nbest.jsonl", scheduled_sampling=0.1)
    config = replace(config, label_noise=noise)
    remote = RemoteBatches.of(config)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    batch = remote(1, 3)
    assert batch["step"].tolist() == [3]
    np.testing.assert_array_equal(batch["alternatives"][:, 0, :2], batch["labels"][:, 1::-1])


def test_the_bundled_corpus_has_no_path(config):
    config = replace(config, data=replace(config.data, corpus="prompts"))
    assert RemoteBatches.of(config).config == config
