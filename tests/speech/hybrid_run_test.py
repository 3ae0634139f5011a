"""A hybrid trained for a few steps on noises of two pitches, which it then tells apart."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from gossamer.cli.main import main
from gossamer.speech import hybrid, hybrid_run
from gossamer.speech.acoustic_model import AcousticModelConfig
from gossamer.speech.hybrid_run import HybridRun
from gossamer.speech.run_config import AugmentationConfig, DataConfig, OptimizerConfig

pytestmark = pytest.mark.usefixtures("plain_code")

PITCHES = {"a": 400, "b": 1800}


def speak(word, seconds=0.3):
    """A tone for each letter."""
    generator = np.random.default_rng(len(word))
    time = np.arange(int(8000 * seconds)) / 8000
    sound = [0.3 * np.sin(2 * np.pi * PITCHES[letter] * time) for letter in word]
    quiet = np.zeros(800)
    return np.concatenate([quiet, *sound, quiet]) + generator.normal(
        scale=1e-3, size=1600 + len(time) * len(word)
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tones")
    lines = ["audio\ttext\tsplit"]
    texts = ["a", "b", "ab", "ba", "a", "b", "ab", "ba", "ab", "ba", "ab"]
    for number, text in enumerate(texts):
        soundfile.write(folder / f"{number}.wav", speak(text), 8000)
        split = "train" if number < 8 else ("dev", "dev", "test")[number - 8]
        lines.append(f"{number}.wav\t{text}\t{split}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n")
    return HybridRun(
        data=DataConfig(
            corpus=str(folder / "manifest.tsv"),
            buckets=((1.0, 4),),
            speed=(1.0, 1.0),
            join_probability=0.0,
            spliced=0.0,
        ),
        model=AcousticModelConfig(layers=1, size=8, bottleneck=8, dropout=0.0),
        augmentation=AugmentationConfig(num_time_masks=0, num_frequency_masks=0),
        optimizer=OptimizerConfig(steps=8, peak_learning_rate=3e-2),
        lexicon="graphemic",
        states=1,
        pdfs=5,
        rounds=2,
        round_steps=25,
        log_every=25,
        checkpoint_every=25,
        run=folder / "run",
    )


@pytest.fixture(scope="module")
def trained(config):
    return hybrid_run.train(config)


def test_it_learns_where_the_tones_are(config, trained):
    facts = json.loads((config.run / "result.json").read_text())
    assert facts["frame_error"] < 0.35
    assert facts["left_out"] == 0
    assert trained.tying.num_pdfs >= 3
    spoken = hybrid_run.load_lexicon("graphemic", ["a", "b", "ab", "ba"])
    (found,) = hybrid.align(trained, [speak("ab").astype(np.float32)], ["ab"], spoken)
    phones, words = found
    letters = [phone for phone in phones if phone.word >= 0]
    assert [phone.label for phone in letters] == ["a", "b"]
    np.testing.assert_allclose(letters[0].end, 0.1 + 0.3, atol=0.08)
    assert [word.label for word in words] == ["ab"]


def test_a_finished_run_is_not_run_again(config, trained):
    again = hybrid_run.train(config)
    np.testing.assert_array_equal(again.log_priors, trained.log_priors)
    assert again.tying == trained.tying
    with pytest.raises(ValueError, match="must be that of the run"):
        hybrid_run.train(dataclasses.replace(config, seed=1))


def test_a_packed_hybrid_gives_the_same(trained, tmp_path):
    hybrid.save(tmp_path / "hybrid.safetensors", trained)
    again = hybrid.load(tmp_path / "hybrid.safetensors")
    waveforms = [speak("ab").astype(np.float32), speak("b").astype(np.float32)]
    one, other = (hybrid.log_likelihoods(model, waveforms) for model in (trained, again))
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)
    assert [x.shape[1] for x in one] == [trained.tying.num_pdfs] * 2
    assert len(one[0]) > len(one[1])
    with pytest.raises(ValueError, match="not a packed hybrid recognizer"):
        hybrid.load(__file__)


def test_a_run_gives_its_model_and_its_pronunciations(config, trained, tmp_path):
    assert hybrid_run.read_run(config.run).tying == trained.tying
    spoken = hybrid_run.find_pronunciations(config.run, None, ["ab", "bab"])
    assert spoken["bab"] == (("b", "a", "b"),)
    assert hybrid_run.find_pronunciations(config.run, None, ["ab"])["ab"] == (("a", "b"),)
    with pytest.raises(ValueError, match=r"no hybrid\.safetensors there"):
        hybrid_run.read_run(tmp_path)


def test_the_command_line_aligns(config, trained, tmp_path, capsys):
    soundfile.write(tmp_path / "one two.wav", speak("ab"), 8000)
    words = ["align", "--run", str(config.run), str(tmp_path / "one two.wav")]
    assert main([*words, "AB!"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[0] == "one_two"
    assert line.split()[-1] == "ab"
    (tmp_path / "said.txt").write_text("ab")
    assert main([*words, str(tmp_path / "said.txt"), "--phones"]) == 0
    labels = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert [label for label in labels if label != "SIL"] == ["a", "b"]
    assert main([*words, "ab", "--format", "textgrid"]) == 0
    assert 'name = "phones"' in capsys.readouterr().out
    assert main([*words, "ab " * 99]) == 2
    assert "are too short for 99 words" in capsys.readouterr().err
    assert main([*words, "?"]) == 2
    assert "at least one word" in capsys.readouterr().err


def test_too_short_for_its_text(trained):
    spoken = hybrid_run.load_lexicon("graphemic", ["ababab"])
    short = speak("a", seconds=0.01).astype(np.float32)[:700]
    assert hybrid.align(trained, [short], ["ababab"], spoken) == [None]


def test_parts_are_read_as_if_whole(config):
    parts = dataclasses.replace(
        config, unroll=7, rounds=1, round_steps=2, pdfs=0, run=config.run.with_name("parts")
    )
    found = hybrid_run.train(parts)
    assert found.tying.num_pdfs == 3
    assert np.isfinite(hybrid.log_likelihoods(found, [speak("a").astype(np.float32)])[0]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"states": 0}, "`states` must be at least 1"),
        ({"unroll": -1}, "`unroll` and `pdfs` must be at least 0"),
    ],
)
def test_refusals(config, changes, message):
    with pytest.raises(ValueError, match=message):
        hybrid_run.train(dataclasses.replace(config, **changes))
