"""The layers of `speech.layers` and `speech.lstm` as ONNX nodes, for one recording at a time.

Sequences are ``[time, size]``, without padding.  A recursion over time is a Scan whose carried
state holds the hidden state as codes, quantized once when it is produced; where nothing of it is
quantized, ONNX's LSTM operator takes its place.
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.quantization import Policy
from ...core.quantized import Quantized, dequantize, select
from . import arithmetic
from .arithmetic import Arithmetic, Codes, Site, Value
from .graph import Graph

GATES = (0, 3, 1, 2)  # ONNX has the order input, output, forget, candidate


class State(NamedTuple):
    """Hidden and cell state, ``[rows, size]`` each, as float32."""

    hidden: str
    cell: str


class Network:
    """Layers of one network, written into a graph.

    Args:
        graph: where nodes go.
        kind: the arithmetic of quantized products.
        policy: rules for activations; None quantizes none.
        variables: "params" as they are deployed, and "clips" if activations are quantized.
    """

    def __init__(
        self, graph: Graph, kind: Arithmetic, policy: Policy | None, variables: dict[str, Any]
    ):
        self.graph = graph
        self._kind: Arithmetic = kind
        self._policy = policy
        self._params = variables["params"]
        self._clips = variables.get("clips", {})

    def dense(self, name: str, x: Value) -> str:
        """``x W + b``, ``[rows, in] -> [rows, out]``; see `speech.layers.Dense`."""
        params = self._params[name]
        return arithmetic.product(
            self.graph,
            self._kind,
            self._input(name, x, params["kernel"]),
            params["kernel"],
            np.asarray(params["bias"], np.float32),
        )

    def look_ahead(self, name: str, x: str, past: str, padding: str) -> tuple[str, str]:
        """See `speech.layers.LookAhead`.

        Args:
            name: of the layer.
            x: ``[time, size]``.
            past: ``[waiting, size]``, frames that waited.
            padding: int64 ``[1]``, zeros that follow: as many as the layer waits for at the end of
                a recording, else 0.

        Returns:
            The frames that are ready, and those that wait.
        """
        graph = self.graph
        weights = np.asarray(self._params[name]["weights"], np.float32)
        frames = len(weights) - 1
        x = graph.add("Concat", past, x, axis=0)
        end = graph.constant(np.array([np.iinfo(np.int64).max]))
        waiting = graph.add("Slice", x, graph.constant(np.array([-frames])), end)
        zero, zeros = graph.constant(np.array([0])), graph.constant(np.array([0, 0]))
        x = graph.add("Pad", x, graph.add("Concat", zeros, padding, zero, axis=0))
        length = graph.add("Shape", x, start=0, end=1)
        mixed = ""
        for offset, weight in enumerate(weights):
            first = graph.constant(np.array([offset]))
            last = graph.add("Sub", length, graph.constant(np.array([frames - offset])))
            shifted = graph.add("Slice", x, first, last)
            term = graph.add("Mul", shifted, graph.constant(weight))
            # The frame itself counts once more.
            mixed = graph.add("Add", mixed or shifted, term)
        return mixed, waiting

    def lstm(
        self,
        name: str,
        x: Value,
        *,
        bidirectional: bool = False,
        returns_codes: bool = False,
        state: State | None = None,
    ) -> tuple[Value, list[State]]:
        """A layer over a sequence; see `speech.lstm.LSTM`.

        Args:
            name: of the layer.
            x: ``[time, in]``.
            bidirectional: whether it also runs backward.
            returns_codes: whether hidden states leave as codes, where they are quantized.
            state: before the first frame; zeros by default.

        Returns:
            ``[time, directions size]``, and the last state of each direction.
        """
        params = self._params[name]
        directions = 2 if bidirectional else 1
        size = params["recurrent"].shape[-2]
        x = self._input(name, x, params["kernel"])
        sites = self._hidden_sites(name, directions, size)
        outputs, states = [], []
        for direction in range(directions):
            kernel = select(params["kernel"], direction)
            recurrent = select(params["recurrent"], direction)
            bias = np.asarray(params["bias"][direction], np.float32)
            if sites is None and not isinstance(recurrent, Quantized):
                run = self._run_operator(x, kernel, recurrent, bias, direction, state)
            else:
                site = None if sites is None else sites[direction]
                projected = arithmetic.product(self.graph, self._kind, x, kernel, bias)
                run = self._scan(projected, recurrent, site, direction, state, returns_codes)
            outputs.append(run[0])
            states.append(run[1])
        merged = outputs[0]
        if directions == 2:
            merged = self.graph.add("Concat", *outputs, axis=-1)
        if sites is None or not returns_codes:
            return merged, states
        scale = np.array([site.scale for site in sites])
        return Codes(merged, scale, self._zero_point(sites[0])), states

    def read_tokens(
        self, name: str, tokens: str, state: State, *, returns_codes: bool = False
    ) -> tuple[Value, State]:
        """`step` on rows of the embedding.

        Their products with the layer's weights are constants, a row for each token, which ONNX
        Runtime computes when a session starts.

        Args:
            name: of the layer.
            tokens: ``[rows]`` int64.
            state: before it.
            returns_codes: as in `lstm`.

        Returns:
            As `step`.
        """
        embedding = self._params["embedding"]["embedding"]
        every = self._project_rows(name, arithmetic.table(self.graph, self._kind, embedding))
        return self._step(name, self.graph.add("Gather", every, tokens), state, returns_codes)

    def step(
        self, name: str, x: Value, state: State, *, returns_codes: bool = False
    ) -> tuple[Value, State]:
        """One frame of a layer in one direction, for each row.

        Args:
            name: of the layer.
            x: ``[rows, in]``.
            state: before it.
            returns_codes: as in `lstm`.

        Returns:
            ``[rows, size]``, and the next state.
        """
        return self._step(name, self._project_rows(name, x), state, returns_codes)

    def _project_rows(self, name: str, x: Value) -> str:
        params = self._params[name]
        x = self._input(name, x, params["kernel"])
        bias = np.asarray(params["bias"][0], np.float32)
        return arithmetic.product(self.graph, self._kind, x, select(params["kernel"], 0), bias)

    def _step(
        self, name: str, projected: str, state: State, returns_codes: bool
    ) -> tuple[Value, State]:
        params = self._params[name]
        size = params["recurrent"].shape[-2]
        sites = self._hidden_sites(name, 1, size)
        site = None if sites is None else sites[0]
        seen = self._quantize_hidden(self.graph, site, state.hidden)
        hidden, cell = self._advance(
            self.graph, projected, seen, state.cell, select(params["recurrent"], 0)
        )
        output: Value = hidden
        if site is not None and returns_codes:
            codes = self._quantize_hidden(self.graph, site, hidden)
            assert isinstance(codes, Codes)
            output = codes._replace(scale=np.array([site.scale]))
        return output, State(hidden, cell)

    def _scan(self, projected, recurrent, site, direction, state, returns_codes):
        """The recursion, with the state as codes where it is quantized."""
        graph, size = self.graph, recurrent.shape[0]
        kind = np.uint8 if site is not None and self._kind == "integer" else np.float32
        zeros = graph.constant(np.zeros((1, size), np.float32))
        hidden, cell = (zeros, zeros) if state is None else state
        # The numbers behind the codes are the state of a stream, and of nothing else.
        carried = [(kind, self._codes_of(graph, site, hidden)), (np.float32, cell)]
        carried += [(np.float32, hidden)] if state is not None else []

        body = graph.subgraph("recursion")
        inputs = [body.input(body.fresh("state"), [1, size], dtype) for dtype, _ in carried]
        frame = body.input(body.fresh("frame"), [1, 4 * size])
        seen: Value = inputs[0]
        if site is not None:
            seen = Codes(inputs[0], site.scale, self._zero_point(site))
        hidden, cell = self._advance(body, frame, seen, inputs[1], recurrent)
        codes = self._codes_of(body, site, hidden)
        for (dtype, _), value in zip(carried, (codes, cell, hidden), strict=False):
            body.output(body.fresh("next"), value, [1, size], dtype)
        emitted = (codes, kind) if returns_codes else (hidden, np.float32)
        body.output(body.fresh("emitted"), emitted[0], [1, size], emitted[1])

        results = graph.add_all(
            "Scan",
            *(value for _, value in carried),
            graph.add("Unsqueeze", projected, graph.constant(np.array([1]))),
            outputs=len(carried) + 1,
            body=body,
            num_scan_inputs=1,
            scan_input_directions=[direction],
            scan_output_directions=[direction],
        )
        outputs = graph.add("Squeeze", results[-1], graph.constant(np.array([1])))
        return outputs, State(results[-2], results[1])

    def _run_operator(self, x, kernel, recurrent, bias, direction, state):
        """ONNX's LSTM operator, in float32."""
        graph, size = self.graph, recurrent.shape[0]

        def gates(weight):  # [..., 4 size] -> [1, 4 size, ...]
            parts = np.split(np.asarray(dequantize(weight), np.float32), 4, axis=-1)
            return np.concatenate([parts[gate] for gate in GATES], axis=-1).T[None]

        bias = np.concatenate([gates(bias), np.zeros((1, 4 * size), np.float32)], axis=1)
        one = graph.constant(np.array([1]))
        frames = graph.add("Unsqueeze", arithmetic.numbers(graph, x), one)
        zero = graph.constant(np.array([0]))
        first = [] if state is None else [graph.add("Unsqueeze", part, zero) for part in state]
        outputs, hidden, cell = graph.add_all(
            "LSTM",
            frames,
            *map(graph.constant, (gates(kernel), gates(recurrent), bias)),
            *(["", *first] if first else []),
            outputs=3,
            hidden_size=size,
            direction=("forward", "reverse")[direction],
        )
        shape = graph.constant(np.array([-1, size]))
        last = State(*(graph.add("Squeeze", part, zero) for part in (hidden, cell)))
        return graph.add("Reshape", outputs, shape), last

    def _advance(self, graph, projected, seen, cell, recurrent):
        """One frame; see `speech.recurrence`."""
        product = arithmetic.product(graph, self._kind, seen, recurrent)
        parts = graph.add_all(
            "Split", graph.add("Add", projected, product), outputs=4, axis=1, num_outputs=4
        )
        input_gate, forget_gate, output_gate = (
            graph.add("Sigmoid", parts[index]) for index in (0, 1, 3)
        )
        candidate = graph.add("Tanh", parts[2])
        kept = graph.add("Mul", forget_gate, cell)
        cell = graph.add("Add", kept, graph.add("Mul", input_gate, candidate))
        return graph.add("Mul", output_gate, graph.add("Tanh", cell)), cell

    def _quantize_hidden(self, graph: Graph, site: Site | None, x: str) -> Value:
        if site is None:
            return x
        return arithmetic.quantize(graph, self._kind, site, x, bound=1.0)  # sigmoid times tanh

    def _codes_of(self, graph: Graph, site: Site | None, x: str) -> str:
        value = self._quantize_hidden(graph, site, x)
        return value.name if isinstance(value, Codes) else value

    def _input(self, name: str, x: Value, kernel: Any) -> Value:
        """Codes at the site of a layer's input, where the policy has one."""
        quantizer = self._policy.activation(f"{name}/input") if self._policy else None
        if isinstance(x, Codes) or quantizer is None:
            return x
        clips = self._clips.get(name, {}).get("input", {})
        (site,) = arithmetic.sites_of(quantizer, clips, (1, kernel.shape[-2]))
        return arithmetic.quantize(self.graph, self._kind, site, x)

    def _hidden_sites(self, name: str, directions: int, size: int) -> list[Site] | None:
        quantizer = self._policy.activation(f"{name}/hidden") if self._policy else None
        if quantizer is None:
            return None
        clips = self._clips.get(name, {}).get("hidden", {})
        return arithmetic.sites_of(quantizer, clips, (directions, 1, size))

    def _zero_point(self, site: Site) -> int:
        return site.zero_point if self._kind == "integer" else 0
