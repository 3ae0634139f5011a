"""What ONNX Runtime makes of products with few rows, and of a step of an LSTM, on one core.

    taskset -c 0 python benchmarks/onnx_products.py

First a matrix of 2048 x 8192, that of a language model of the paper's size, times 1 to 32 rows: in
float32, as bytes, as bytes for weights of 8 bits (which have no sign either), as bytes with a sign,
and in 4 bits (MatMulNBits).  The matrix has to come from memory each time, since others are
multiplied in between, as in a search.  Prints thousands of millions of multiplications a second.
Then the recursion of 640 cells over 600 frames: our Scan
over codes, with and without its product, ONNX's LSTM operator, and ONNX Runtime's
DynamicQuantizeLSTM.
"""

import argparse

import jax.numpy as jnp
import numpy as np
import onnxruntime
from turns import timed

from gossamer.core.quantized import Quantized
from gossamer.speech.deployment import arithmetic
from gossamer.speech.deployment.arithmetic import Codes
from gossamer.speech.deployment.graph import CONTRIB, Graph

INPUTS, OUTPUTS, COPIES = 2048, 8192, 6  # 16.8 M weights, 100 MB as bytes together
ROWS = (1, 2, 4, 8, 16, 32)
CELLS, FRAMES = 640, 600
RANDOM = np.random.default_rng(0)
KINDS = ("float32", "bytes", "8 bits", "signed bytes", "4 bits")


def main():
    parser = argparse.ArgumentParser(description="Products and recursions in ONNX Runtime.")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"ONNX Runtime {onnxruntime.__version__}, G multiplications/s by rows")
    print(f"{'':16}" + "".join(f"{rows:>8}" for rows in ROWS))
    for kind in KINDS:
        networks = [load(product_graph(kind)) for _ in range(COPIES)]
        row = ""
        for rows in ROWS:
            x = operand(kind, rows)
            seconds = timed(lambda: [net.run(None, {"x": x}) for net in networks], options.rounds)  # noqa: B023
            row += f"{COPIES * rows * INPUTS * OUTPUTS / seconds / 1e9:8.1f}"
        print(f"{kind:16}{row}", flush=True)
    print(f"\nus for a step of {CELLS} cells, {4 * CELLS * CELLS / 1e6:.2f} M weights")
    projected = RANDOM.normal(size=(FRAMES, 4 * CELLS)).astype(np.float32)
    for name, graph, inputs in (
        ("Scan, bytes", scan_graph(multiplies=True), {"x": projected}),
        ("its gates alone", scan_graph(multiplies=False), {"x": projected}),
        ("LSTM, float32", operator_graph(), {"x": projected[:, None, :CELLS]}),
        ("DynamicQuantizeLSTM", dynamic_graph(), {"x": projected[:, None, :CELLS]}),
    ):
        network = load(graph)
        seconds = timed(lambda: network.run(None, inputs), options.rounds)  # noqa: B023
        print(f"{name:20}{1e6 * seconds / FRAMES:8.1f}", flush=True)


def load(graph: Graph) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.to_model().SerializeToString(), options)


def operand(kind: str, rows: int) -> np.ndarray:
    if kind in ("float32", "4 bits"):
        return RANDOM.normal(size=(rows, INPUTS)).astype(np.float32)
    dtype = np.int8 if kind == "signed bytes" else np.uint8
    return RANDOM.integers(0, 15, (rows, INPUTS)).astype(dtype)


def draw_codes(inputs: int, outputs: int, bits: int = 4) -> Quantized:
    largest = 2 ** (bits - 1) - 1
    codes = jnp.asarray(RANDOM.integers(-largest, largest + 1, (inputs, outputs)), jnp.int8)
    return Quantized(codes, jnp.full((1, outputs), 0.01, jnp.float32), bits, largest)


def product_graph(kind: str) -> Graph:
    graph = Graph("product")
    bytes_of = {"bytes": np.uint8, "8 bits": np.uint8, "signed bytes": np.int8}
    x = graph.input("x", ["rows", INPUTS], bytes_of.get(kind, np.float32))
    weight = draw_codes(INPUTS, OUTPUTS, bits=8 if kind == "8 bits" else 4)
    scale = np.array(0.1, np.float32)
    if kind == "float32":
        result = arithmetic.product(graph, "float", x, 0.01 * np.asarray(weight.codes, np.float32))
    elif kind == "4 bits":
        result = arithmetic.product(graph, "blockwise", x, weight)
    elif kind in ("bytes", "8 bits"):
        result = arithmetic.product(graph, "integer", Codes(x, scale, 7), weight)
    else:
        codes = graph.constant(np.asarray(weight.codes))
        scales = graph.constant(scale), graph.constant(np.full(OUTPUTS, 0.01, np.float32))
        zero = graph.constant(np.int8(0))
        result = graph.add("MatMulIntegerToFloat", x, codes, *scales, zero, domain=CONTRIB)
    graph.output("y", result, ["rows", OUTPUTS])
    return graph


def scan_graph(*, multiplies: bool) -> Graph:
    """The recursion as `deployment.layers` writes it, over products with inputs that are given."""
    graph = Graph("scan")
    x = graph.input("x", [FRAMES, 4 * CELLS])
    site = arithmetic.Site(np.array(1 / 7, np.float32), -7, 7, 7)
    first = (
        graph.constant(np.full((1, CELLS), 7, np.uint8)),
        graph.constant(np.zeros((1, CELLS), np.float32)),
    )
    body = graph.subgraph("recursion")
    state = body.input(body.fresh("state"), [1, CELLS], np.uint8)
    cell = body.input(body.fresh("cell"), [1, CELLS])
    gates = body.input(body.fresh("frame"), [1, 4 * CELLS])
    if multiplies:
        seen = Codes(state, site.scale, site.zero_point)
        recurrent = arithmetic.product(body, "integer", seen, draw_codes(CELLS, 4 * CELLS))
        gates = body.add("Add", gates, recurrent)
    parts = body.add_all("Split", gates, outputs=4, axis=1, num_outputs=4)
    enter, keep, leave = (body.add("Sigmoid", parts[index]) for index in (0, 1, 3))
    kept = body.add("Mul", keep, cell)
    cell = body.add("Add", kept, body.add("Mul", enter, body.add("Tanh", parts[2])))
    hidden = body.add("Mul", leave, body.add("Tanh", cell))
    codes = arithmetic.quantize(body, "integer", site, hidden, bound=1.0).name
    body.output(body.fresh("next"), codes, [1, CELLS], np.uint8)
    body.output(body.fresh("next"), cell, [1, CELLS])
    body.output(body.fresh("emitted"), codes, [1, CELLS], np.uint8)
    frames = graph.add("Unsqueeze", x, graph.constant(np.array([1])))
    outputs = graph.add_all("Scan", *first, frames, outputs=3, body=body, num_scan_inputs=1)
    graph.output("y", outputs[-1], [FRAMES, 1, CELLS], np.uint8)
    return graph


def operator_graph() -> Graph:
    """ONNX's LSTM; inputs of size 1, so that the recursion is nearly all."""
    graph = Graph("operator")
    x = graph.input("x", [FRAMES, 1, CELLS])
    narrow = graph.add(
        "Slice", x, *(graph.constant(np.array([end])) for end in (0, 1)), graph.constant([2])
    )
    weights = [
        graph.constant(RANDOM.normal(scale=0.05, size=(1, 4 * CELLS, size)).astype(np.float32))
        for size in (1, CELLS)
    ]
    outputs = graph.add_all("LSTM", narrow, *weights, outputs=1, hidden_size=CELLS)
    graph.output("y", outputs[0], [FRAMES, 1, 1, CELLS])
    return graph


def dynamic_graph() -> Graph:
    """ONNX Runtime's LSTM with weights in 8 bits, which quantizes activations at each step."""
    graph = Graph("dynamic")
    x = graph.input("x", [FRAMES, 1, CELLS])
    narrow = graph.add(
        "Slice", x, *(graph.constant(np.array([end])) for end in (0, 1)), graph.constant([2])
    )
    weights = [
        graph.constant(RANDOM.integers(0, 255, (1, size, 4 * CELLS)).astype(np.uint8))
        for size in (1, CELLS)
    ]
    scale, zero = np.full((1,), 0.001, np.float32), np.full((1,), 128, np.uint8)
    quantization = [graph.constant(value) for value in (scale, zero, scale, zero)]
    outputs = graph.add_all(
        "DynamicQuantizeLSTM",
        narrow,
        *weights,
        *[""] * 5,
        *quantization,
        outputs=1,
        domain=CONTRIB,
        hidden_size=CELLS,
    )
    graph.output("y", outputs[0], [FRAMES, 1, 1, CELLS])
    return graph


if __name__ == "__main__":
    main()
