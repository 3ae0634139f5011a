"""The study of a quantized transducer: it measures what it says."""

import functools

import jax
import numpy as np
import pytest

from gossamer.core.audit import float_share
from gossamer.core.compression import compression_report
from gossamer.core.quantized_variables import deploy_variables
from gossamer.speech import features
from gossamer.speech.calibration import calibrate
from gossamer.speech.front_end import transducer_inputs
from gossamer.speech.policies import named_policy
from gossamer.speech.quantization_study import study
from gossamer.speech.recipe import utterance_losses
from gossamer.speech.run_config import DataConfig
from gossamer.speech.transducer import Transducer
from gossamer.speech.transducer_config import TransducerConfig

MODEL = TransducerConfig(
    encoder_layers=1,
    encoder_size=4,
    reduce_after=(0,),
    embedding_size=3,
    predictor_size=4,
    joiner_size=5,
)
POLICY = named_policy("int4_paper")
NETWORK, FLOAT = Transducer(MODEL, 6, POLICY), Transducer(MODEL, 6)


def make_batch(seed):
    generator = np.random.default_rng(seed)
    return {
        "waveform": generator.normal(scale=0.1, size=(2, 2000)).astype(np.float32),
        "waveform_paddings": np.zeros((2, 2000), np.float32),
        "labels": generator.integers(1, 6, size=(2, 3)).astype(np.int32),
        "label_paddings": np.array([[0, 0, 0], [0, 0, 1]], np.float32),
    }


@pytest.fixture(scope="module")
def variables():
    inputs = np.zeros((1, 8, 240), np.float32), np.zeros((1, 8), np.float32)
    drawn = FLOAT.lazy_init(jax.random.key(0), *inputs, np.zeros((1, 2), np.int32))
    params = drawn["params"]
    inputs = functools.partial(transducer_inputs, DataConfig())
    clips = calibrate(NETWORK, params, iter([make_batch(1)]), inputs)
    return {"params": params, "clips": clips}


def test_study(variables):
    batches, calls = [make_batch(2), make_batch(3)], []
    found = study(
        NETWORK, variables, batches, data=DataConfig(), on_step=lambda *call: calls.append(call)
    )
    assert {tensor.path for tensor in found.sensitivities} == {
        f"{layer}/{weight}"
        for layer in ("encoder_1", "predictor")
        for weight in ("kernel", "recurrent")
    } | {"encoder_projection/kernel", "predictor_projection/kernel", "output/kernel"} | {
        "embedding/embedding"
    }
    assert calls[-1] == (9, 9)

    # One batch of all rows, in float.
    whole = jax.tree.map(lambda *rows: np.concatenate(rows), *batches)

    @jax.jit
    def losses(params):
        inputs, paddings = features.extract(
            whole["waveform"], 8000, waveform_paddings=whole["waveform_paddings"]
        )
        return utterance_losses(FLOAT, {"params": params}, inputs, paddings, whole)[0]

    expected = losses(variables["params"])
    np.testing.assert_allclose(found.loss, expected.sum() / 10, rtol=1e-5)
    assert found.quantized_loss != found.loss
    assert found.sizes == compression_report(deploy_variables(POLICY, variables))
    by_bits = {product.name: product.weight_bits for product in found.audit.products}
    assert by_bits.pop("ctc_output/kernel") == 32
    assert set(by_bits.values()) == {4}
    assert 0 < float_share(found.audit) < 0.1


def test_bad_input(variables):
    with pytest.raises(ValueError, match="`model` must have a policy"):
        study(FLOAT, variables, [make_batch(1)], data=DataConfig())
    with pytest.raises(ValueError, match="`batches` must hold at least one"):
        study(NETWORK, variables, [], data=DataConfig())
