import jax
import numpy as np
import pytest

from gossamer.speech import recognizer
from gossamer.speech.deployment import stablehlo


@pytest.mark.parametrize("quantize", [None, "int4_paper"])
@pytest.mark.parametrize("beam", [1, 3])
def test_the_program_is_that_of_the_process(make_recognizer, noise, tmp_path, quantize, beam):
    made = make_recognizer(quantize)
    path = tmp_path / "recognizer.stablehlo"
    size = stablehlo.export(made, path, batch=2, seconds=1.0, beam=beam)
    assert path.stat().st_size == size
    waveform = np.stack([noise(1.0), noise(1.0, seed=1)])
    paddings = np.zeros_like(waveform)
    paddings[1, 5000:] = 1
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    found = program.call(waveform, paddings)
    static = (made.model, made.config.data, beam, 1)
    expected = recognizer.decode(*static, made.params, None, waveform, paddings)
    *labels, scores = found
    for ours, theirs in zip(labels, expected, strict=False):
        np.testing.assert_array_equal(ours, theirs)
    # Parameters within the program are folded and fused otherwise than arguments.
    np.testing.assert_allclose(scores, expected.scores, rtol=1e-5)
    assert np.any(labels[0] != 0)
