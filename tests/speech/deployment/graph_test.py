import numpy as np
import onnx
import onnxruntime
import pytest

from gossamer.speech.deployment.graph import Graph


def run(graph, **inputs):
    model = graph.to_model()
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, inputs)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_codes_come_back(bits, dtype):
    low = -(2 ** (bits - 1)) if dtype == np.int8 else 0
    codes = np.random.default_rng(0).integers(low, low + 2**bits, (3, 5)).astype(dtype)
    graph = Graph("codes")
    graph.output("y", graph.bytes_constant(codes, bits=bits), [3, 5], dtype)
    (found,) = run(graph)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, codes)


def test_four_bits_take_half_a_byte():
    def size(bits):
        graph = Graph("size")
        codes = np.zeros((100, 100), np.int8)
        graph.output("y", graph.bytes_constant(codes, bits=bits), [100, 100], np.int8)
        return len(graph.to_model().SerializeToString())

    assert 4900 < size(8) - size(4) < 5000


def test_a_loop_sees_the_values_around_it():
    graph = Graph("sums")
    frames = graph.input("frames", ["time", 2])
    step = graph.constant(np.float32(10))
    body = graph.subgraph("body")
    before = body.input(body.fresh("before"), [2])
    frame = body.input(body.fresh("frame"), [2])
    total = body.add("Add", before, body.add("Mul", frame, step))
    body.output(body.fresh("after"), total, [2])
    body.output(body.fresh("emitted"), total, [2])
    start = graph.constant(np.zeros(2, np.float32))
    last, sums = graph.add_all("Scan", start, frames, outputs=2, body=body, num_scan_inputs=1)
    graph.output("last", last, [2])
    graph.output("sums", sums, ["time", 2])
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = run(graph, frames=x)
    np.testing.assert_array_equal(found[1], 10 * np.cumsum(x, axis=0))
    np.testing.assert_array_equal(found[0], found[1][-1])


def test_the_same_graph_has_the_same_bytes():
    def build():
        graph = Graph("twice")
        graph.output("y", graph.add("Neg", graph.input("x", [1])), [1])
        return graph.to_model().SerializeToString()

    assert build() == build()
