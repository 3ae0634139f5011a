"""An exported recognizer reads what the one in JAX reads.

Features differ in their last digits, which turns codes now and then, and a random network reads
something else then: quantized networks are compared in `networks_test`, on the same features.
"""

import math

import numpy as np
import pytest

from gossamer.speech import recognizer
from gossamer.speech.deployment.export import export
from gossamer.speech.streaming import Stream
from gossamer.speech.transcriber.transcriber import Search, Transcriber


@pytest.fixture(scope="module")
def read(make_recognizer, tmp_path_factory):
    """``(options of make_recognizer) -> (recognizer, transcriber)``, each exported once."""
    folder, made = tmp_path_factory.mktemp("exports"), {}

    def make(**options):
        key = repr(sorted(options.items()))
        if key not in made:
            model = make_recognizer(**options)
            path = folder / str(len(made))
            export(model, path)
            made[key] = model, Transcriber(path)
        return made[key]

    return make


def check(found, expected):
    assert found.text == expected.text
    assert [label for label, _ in found.labels] == [label for label, _ in expected.labels]
    seconds = [second for _, second in expected.labels]
    np.testing.assert_allclose([second for _, second in found.labels], seconds, atol=1e-6)
    np.testing.assert_allclose(found.score, expected.score, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.05, 0.9, 2.0])
def test_greedy_search(read, noise, seconds):
    model, transcriber = read()
    waveform = noise(seconds)
    (expected,) = recognizer.transcribe(model, [waveform])
    (found,) = transcriber.transcribe(waveform)
    check(found, expected)
    assert found.text or seconds < 0.9


def test_beam_search_of_a_long_recording(read, noise):
    model, transcriber = read()
    waveform = noise(2.4)
    (expected,) = recognizer.transcribe_nbest(model, [waveform], beam=3, nbest=3, max_seconds=1.0)
    search = Search(beam=3, nbest=3, prune=math.inf)
    found = transcriber.transcribe(waveform, search, max_seconds=1.0)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        check(ours, theirs)


@pytest.mark.parametrize("lookahead", [0, 3])
@pytest.mark.parametrize("seconds", [0.0, 0.04, 0.5, 1.713])
def test_a_stream_gives_the_whole(read, noise, lookahead, seconds):
    model, transcriber = read(
        normalization="running", bidirectional=False, lookahead=lookahead, blank_bias=4.0
    )
    waveform = noise(seconds)
    stream = transcriber.stream(part_seconds=0.12)
    for start in range(0, len(waveform), 777):
        stream.feed(waveform[start : start + 777])
    found = stream.finish()
    check(found, transcriber.transcribe(waveform)[0])
    jax_stream = Stream(model, part_seconds=0.2)
    jax_stream.feed(waveform)
    check(found, jax_stream.finish())


def test_a_stream_with_a_beam(read, noise):
    _, transcriber = read(normalization="running", bidirectional=False, lookahead=3, blank_bias=4.0)
    waveform, search = noise(1.5), Search(beam=4)
    stream = transcriber.stream(search, part_seconds=0.12)
    heard = [stream.feed(piece).text for piece in np.split(waveform, 10)]
    assert any(heard)
    check(stream.finish(), transcriber.transcribe(waveform, search)[0])


def test_refusals(read):
    _, transcriber = read()
    with pytest.raises(ValueError, match="whole recordings"):
        transcriber.stream()
    _, streaming = read(normalization="running", bidirectional=False, lookahead=3, blank_bias=4.0)
    with pytest.raises(ValueError, match="`part_seconds` must be at least"):
        streaming.stream(part_seconds=0.001)
    for wrong in ({"nbest": 2}, {"beam": 0}, {"prune": 0.0}, {"external_weight": -1.0}):
        with pytest.raises(ValueError, match="must be"):
            Search(**wrong)
