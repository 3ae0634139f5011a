"""A hybrid trained for a few steps on noises of two pitches, which it then tells apart."""

import dataclasses
import json

import numpy as np
import pytest
import soundfile

from gossamer.cli.main import main
from gossamer.core import metrics
from gossamer.speech.hybrids import hybrid, hybrid_run, hybrid_targets, pronunciations
from gossamer.speech.hybrids.acoustic_model_config import AcousticModelConfig
from gossamer.speech.hybrids.hybrid_config import HybridRun
from gossamer.speech.run_config import (
    AugmentationConfig,
    CompressionConfig,
    DataConfig,
    LearnersConfig,
    OptimizerConfig,
)

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
        optimizer=OptimizerConfig(steps=40, peak_learning_rate=3e-2),
        lexicon="graphemic",
        states=1,
        pdfs=5,
        rounds=3,
        realignments=1,
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
    spoken = pronunciations.load("graphemic", ["a", "b", "ab", "ba"])
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


def test_a_run_gives_its_model_and_its_pronunciations(config, trained, tmp_path):
    assert hybrid_run.read_run(config.run).tying == trained.tying
    spoken = pronunciations.of_run(config.run, None, ["ab", "bab"])
    assert spoken["bab"] == (("b", "a", "b"),)
    assert pronunciations.of_run(config.run, None, ["ab"])["ab"] == (("a", "b"),)
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


def test_the_command_line_reads(config, trained, tmp_path, capsys):
    run = str(config.run)
    assert main(["evaluate", run, "--tune", "--sclite", str(tmp_path / "scores")]) == 0
    printed = capsys.readouterr().out
    assert "best: --graph.acoustic-scale" in printed
    assert "word error rate" in printed
    soundfile.write(tmp_path / "one.wav", speak("ab"), 8000)
    text = tmp_path / "texts.txt"
    text.write_text("\n".join("ab" + "a" * n for n in range(30)))
    model = tmp_path / "words.arpa"
    assert (
        main(
            [
                "train",
                "ngram",
                "--text",
                str(text),
                "--order",
                "2",
                "--words-of",
                run,
                "--output",
                str(model),
            ]
        )
        == 0
    )
    assert "28 sentences, 4 words" in capsys.readouterr().out
    words = ["transcribe", "--run", run, str(tmp_path / "one.wav")]
    assert main([*words, "--graph.arpa", str(model), "--graph.acoustic-scale", "1"]) == 0
    assert capsys.readouterr().out == "ab\n"
    assert main([*words, "--nbest", "2", "--graph.beam", "60"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["evaluate", "{run}", "--beam", "8"], "use `--graph.beam`"),
        (["evaluate", "{run}", "--graph.beam", "0"], "`beam` must be positive"),
        (["transcribe", "--run", "{run}", "--stream", "-"], "leave out `--stream`"),
        (["transcribe", "--run", "{run}", "--nbest", "0", "a.wav"], "`--nbest` must be"),
        (["transcribe", "--run", "{run}", "--graph.arpa", "none.arpa", "a.wav"], "none.arpa"),
    ],
)
def test_the_command_line_refuses(config, trained, capsys, options, message):
    assert main([option.format(run=config.run) for option in options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        {"learners": LearnersConfig(number=2), "unroll": 7},
        {
            "learners": LearnersConfig(number=2, algorithm="ssgd", weight_noise=1e-3),
            "compression": CompressionConfig("scalecom", rate=10.0),
        },
    ],
    ids=["gossip", "ScaleCom"],
)
def test_learners_share_the_work(config, tmp_path, options):
    found = hybrid_run.train(
        dataclasses.replace(config, pdfs=0, realignments=0, run=tmp_path / "run", **options)
    )
    error = json.loads((tmp_path / "run/result.json").read_text())["frame_error"]
    assert error < 0.45
    assert found.tying.num_pdfs == 3


@pytest.mark.parametrize("policy", ["int4_paper", "int4_max"])
def test_training_goes_on_in_four_bits(config, trained, policy):
    options = dataclasses.replace(
        config,
        start_from=config.run,
        quantize=policy,
        realignments=0,
        model=AcousticModelConfig(),  # whose place that of the first run takes
        lexicon="cmu",
        optimizer=OptimizerConfig(steps=12, peak_learning_rate=3e-3),
        run=config.run.with_name(policy),
    )
    found = hybrid_run.train(options)
    assert found.tying == trained.tying
    kept = (config.run / "stages/1/alignment.npz").read_bytes()
    assert (options.run / "stages/0/alignment.npz").read_bytes() == kept
    assert found.params["params"]["states"]["kernel"].codes.dtype == np.int8
    error = json.loads((options.run / "result.json").read_text())["frame_error"]
    assert error < 0.4
    assert (options.run / "hybrid.safetensors").stat().st_size < 0.5 * (
        config.run / "hybrid.safetensors"
    ).stat().st_size
    waveforms = [speak("ab").astype(np.float32)]
    one, other = (
        hybrid.log_likelihoods(model, waveforms)[0]
        for model in (found, hybrid_run.read_run(options.run))
    )
    np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="holds codes"):
        hybrid_run.train(dataclasses.replace(options, start_from=options.run))


def test_mmi_parts_the_alignment_from_its_rivals(config, trained, tmp_path):
    options = dataclasses.replace(
        config,
        start_from=config.run,
        mmi=0.8,
        realignments=0,
        optimizer=OptimizerConfig(steps=40, peak_learning_rate=3e-2),
        log_every=2,
        run=tmp_path / "run",
    )
    found = hybrid_run.train(options)
    lines = metrics.read_log(tmp_path / "run/stages/0")
    assert np.mean([line["mmi"] for line in lines[-3:]]) < 0.5 * lines[0]["mmi"]
    assert found.tying == trained.tying
    assert json.loads((tmp_path / "run/result.json").read_text())["frame_error"] < 0.35


def test_other_recordings_are_aligned_by_the_run_to_go_on_from(config, trained, tmp_path):
    other = dataclasses.replace(
        config,
        start_from=config.run,
        seed=1,
        realignments=0,
        optimizer=OptimizerConfig(steps=2),
        run=tmp_path / "run",
    )
    hybrid_run.train(other)
    found = hybrid_targets.load(tmp_path / "run/stages/0/alignment.npz")
    kept = hybrid_targets.load(config.run / "stages/1/alignment.npz")
    assert [len(frames) for frames in found] == [len(frames) for frames in kept]
    agreement = np.mean(np.concatenate(found) == np.concatenate(kept))
    assert agreement > 0.8


def test_a_run_goes_on_only_from_one_of_the_same_data(config, trained):
    data = dataclasses.replace(config.data, sample_rate=16000)
    with pytest.raises(ValueError, match=r"`data.sample_rate` must be 8000, that of"):
        hybrid_run.train(dataclasses.replace(config, start_from=config.run, data=data))


def test_the_run_to_go_on_from_is_looked_up_first(config, tmp_path):
    data = dataclasses.replace(config.data, corpus=str(tmp_path / "none.tsv"))
    with pytest.raises(ValueError, match=r"nowhere: no hybrid\.safetensors there"):
        hybrid_run.train(
            dataclasses.replace(config, data=data, start_from=tmp_path / "nowhere", run=tmp_path)
        )
