import numpy as np
import onnx
import pytest

from gossamer.speech.deployment import networks as exported
from gossamer.speech.transcriber.folder import ExportError
from gossamer.speech.transcriber.networks import Network, StepNetwork


def test_a_step_network_has_its_states_in_order(make_recognizer, tmp_path):
    made = make_recognizer()
    model = exported.predictor(made.model, made.params, "integer")
    onnx.save_model(model, tmp_path / "predictor.onnx")
    network = StepNetwork(Network(tmp_path / "predictor.onnx"))
    assert (network.state_names, network.sizes, network.width) == (["hidden", "cell"], [8, 8], 8)
    states = [np.zeros((2, 8), np.float32)] * 2
    vector, states = network(np.array([0, 1]), states)
    assert vector.shape == (2, 8)
    assert not np.array_equal(states[0], states[1])


def test_what_cannot_run(tmp_path):
    (tmp_path / "encoder.onnx").write_bytes(b"no network")
    with pytest.raises(ExportError, match=r"encoder\.onnx: ONNX Runtime .* cannot run it"):
        Network(tmp_path / "encoder.onnx")
