"""A stream reads what the whole recording gives at once, however the samples arrive."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gossamer.speech import experiment, recognizer
from gossamer.speech.run_config import DataConfig, SpeechConfig
from gossamer.speech.streaming import Stream
from gossamer.speech.text import Vocabulary
from gossamer.speech.transducer_config import TransducerConfig

CONFIG = TransducerConfig(
    encoder_layers=2,
    encoder_size=12,
    bidirectional=False,
    lookahead=3,
    reduce_after=(0,),
    embedding_size=4,
    predictor_size=8,
    joiner_size=8,
)
VOCABULARY = Vocabulary.of(["abc de"])


def make_recognizer(model=CONFIG, normalization="running"):
    """Random weights that look ahead, and emit a label in some of the frames."""
    config = SpeechConfig(data=DataConfig(normalization=normalization), model=model)
    made = recognizer.Recognizer(config, VOCABULARY, None)
    params = experiment.initial_parameters(made.model, seed=1)
    for name in [name for name in params["params"] if name.startswith("lookahead")]:
        weights = params["params"][name]["weights"]
        noise = jax.random.normal(jax.random.key(len(name)), weights.shape)
        params["params"][name]["weights"] = 0.5 * noise
    kernel = params["params"]["output"]["kernel"]
    params["params"]["output"]["kernel"] = 8 * kernel
    return made._replace(params=params)


def noise(seconds, seed=0):
    generator = np.random.default_rng(seed)
    samples = generator.normal(scale=0.1, size=int(8000 * seconds))
    envelope = np.abs(np.sin(np.arange(len(samples)) / 900))
    return (samples * envelope).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return make_recognizer()


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.6, 0.82, 2.0, 2.013])
def test_a_stream_gives_the_text_of_the_whole(model, seconds):
    waveform = noise(seconds)
    (whole,) = recognizer.transcribe(model, [waveform])
    stream = Stream(model, part_seconds=0.2)
    for start in range(0, len(waveform), 1111):
        partial = stream.feed(waveform[start : start + 1111])
        assert whole.text.startswith(partial.text)
    found = stream.finish()
    assert found.text == whole.text
    assert [label for label, _ in found.labels] == [label for label, _ in whole.labels]
    np.testing.assert_allclose([time for _, time in found.labels], [t for _, t in whole.labels])
    assert found.score == pytest.approx(whole.score, rel=1e-4, abs=1e-4)
    assert len(whole.labels) > 5 * seconds - 1  # there is something to compare


@pytest.mark.parametrize("sizes", [(16000,), (1,) * 30 + (15970,), (5000, 7000, 4000)])
def test_how_samples_arrive_does_not_matter(model, sizes):
    waveform = noise(2.0)
    stream, start = Stream(model, part_seconds=0.2), 0
    for size in sizes:
        stream.feed(waveform[start : start + size])
        start += size
    assert stream.finish().labels == [
        (label, pytest.approx(time))
        for label, time in recognizer.transcribe(model, [waveform])[0].labels
    ]


def test_text_comes_within_the_promised_time(model):
    waveform = noise(3.0)
    whole = recognizer.transcribe(model, [waveform])[0].labels
    stream = Stream(model, part_seconds=0.2)
    for end in range(400, len(waveform), 400):
        heard = stream.feed(waveform[end - 400 : end]).labels
        due = [label for label, time in whole if time <= end / 8000 - stream.seconds]
        assert len(heard) >= len(due)
    assert 0.2 < stream.seconds < 0.6


def test_samples_that_come_later_change_nothing_before(model):
    """The encoder waits for the look-ahead and no longer."""
    first, second = noise(3.0), noise(3.0, seed=1)
    second[:16000] = first[:16000]
    texts = []
    for waveform in (first, second):
        stream = Stream(model, part_seconds=0.2)
        stream.feed(waveform[:16000])
        (whole,) = recognizer.transcribe(model, [waveform])
        until = 2.0 - stream.seconds
        texts.append([label for label, time in whole.labels if time < until])
    assert texts[0] == texts[1] != []


def test_recognizers_of_whole_recordings_are_refused():
    both = dataclasses.replace(CONFIG, bidirectional=True, lookahead=0)
    late = dataclasses.replace(CONFIG, reduce_after=(0, 1))
    for config, normalization, message in (
        (both, "running", "needs whole recordings"),
        (CONFIG, "recording", "needs whole recordings"),
        (late, "running", "must join frames before its first layer only"),
    ):
        with pytest.raises(ValueError, match=message):
            Stream(make_recognizer(config, normalization))
    with pytest.raises(ValueError, match=r"`part_seconds` must be at least 0\.04"):
        Stream(make_recognizer(), part_seconds=0.01)


def test_quantized_encoders_look_ahead():
    config = SpeechConfig(
        data=DataConfig(normalization="running"), model=CONFIG, quantize="int4_paper"
    )
    made = recognizer.Recognizer(config, VOCABULARY, None)
    variables = experiment.initial_parameters(made.model, seed=0)
    apply = made.model.apply
    inputs = jax.random.normal(jax.random.key(0), (1, 20, 240))
    sites = {name: clips for name, clips in variables["clips"].items() if name != "weights"}
    whole, _ = apply({"params": variables["params"], "clips": sites}, inputs, jnp.zeros((1, 20)),
                     method="encode")  # fmt: skip
    assert whole.shape == (1, 10, 8)
    assert bool(jnp.isfinite(whole).all())
