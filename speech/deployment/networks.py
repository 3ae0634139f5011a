"""The networks of a recognizer as ONNX models: encoder, predictor, joiner, language models.

    encoder         frames [time, features], state -> encoded [time', joiner], state
    predictor       tokens [rows], hidden, cell [rows, size] -> predicted [rows, joiner], state
    joiner          encoded, predicted [rows, joiner] -> log_probs [rows, vocabulary]
    language model  tokens [rows], hidden_k, cell_k [rows, size] -> log_probs, state

The encoder's state is there only if it reads in one direction: hidden_k, cell_k and, with
look-ahead, waiting_k of each layer, and `padding`, the zeros that follow each layer's frames, which
is the look-ahead for the last part of a recording and 0 before.  A part that is not the last must
not end within a group of frames that the encoder joins, and the first must be longer than what all
layers together keep waiting.
"""

from typing import Any

import numpy as np
import onnx

from ..language_model import LanguageModel
from ..transducer import Transducer
from .arithmetic import Arithmetic, Codes, Value
from .graph import Graph
from .layers import Network, State


def encoder(model: Transducer, variables: dict[str, Any], kind: Arithmetic) -> onnx.ModelProto:
    """The encoder with its projection.

    Args:
        model: the transducer.
        variables: its deployed variables.
        kind: the arithmetic of quantized products.
    """
    config, graph = model.config, Graph("encoder")
    network = Network(graph, kind, model.policy, variables)
    size = config.encoder_size
    features = variables["params"]["encoder_1"]["kernel"].shape[-2]
    if 0 in config.reduce_after:
        features //= 2
    hidden: Value = graph.input("frames", ["time", features])
    padding = graph.input("padding", [1], np.int64) if config.lookahead else ""
    if 0 in config.reduce_after:
        hidden = _join_pairs(graph, hidden, features)
    for layer in range(1, config.encoder_layers + 1):
        state = None
        if not config.bidirectional:
            state = _state(graph, f"_{layer}", 1, size)
        hidden, states = network.lstm(
            f"encoder_{layer}",
            hidden,
            bidirectional=config.bidirectional,
            returns_codes=layer < config.encoder_layers and not config.lookahead,
            state=state,
        )
        if state is not None:
            _state_outputs(graph, f"_{layer}", states[0], 1, size)
        if config.lookahead:
            assert isinstance(hidden, str)
            past = graph.input(f"waiting_{layer}", ["waiting", size])
            hidden, waiting = network.look_ahead(f"lookahead_{layer}", hidden, past, padding)
            graph.output(f"next_waiting_{layer}", waiting, ["next_waiting", size])
        if layer in config.reduce_after:
            directions = 2 if config.bidirectional else 1
            hidden = _join_pairs(graph, hidden, directions * size)
    encoded = network.dense("encoder_projection", hidden)
    graph.output("encoded", encoded, ["encoded_time", config.joiner_size])
    return graph.to_model()


def predictor(model: Transducer, variables: dict[str, Any], kind: Arithmetic) -> onnx.ModelProto:
    """One step of the predictor with its projection; see `encoder`."""
    config, graph = model.config, Graph("predictor")
    network = Network(graph, kind, model.policy, variables)
    tokens = graph.input("tokens", ["rows"], np.int64)
    state = _state(graph, "", "rows", config.predictor_size)
    hidden, state = network.read_tokens("predictor", tokens, state)
    predicted = network.dense("predictor_projection", hidden)
    graph.output("predicted", predicted, ["rows", config.joiner_size])
    _state_outputs(graph, "", state, "rows", config.predictor_size)
    return graph.to_model()


def joiner(model: Transducer, variables: dict[str, Any], kind: Arithmetic) -> onnx.ModelProto:
    """Log probabilities of pairs of an encoder's and a predictor's vector; see `encoder`."""
    config, graph = model.config, Graph("joiner")
    network = Network(graph, kind, model.policy, variables)
    encoded = graph.input("encoded", ["rows", config.joiner_size])
    predicted = graph.input("predicted", ["rows", config.joiner_size])
    merge = "Mul" if config.joiner == "multiplicative" else "Add"
    joint = graph.add("Tanh", graph.add(merge, encoded, predicted))
    log_probs = graph.add("LogSoftmax", network.dense("output", joint), axis=-1)
    graph.output("log_probs", log_probs, ["rows", model.vocabulary_size])
    return graph.to_model()


def language_model(
    model: LanguageModel, variables: dict[str, Any], kind: Arithmetic
) -> onnx.ModelProto:
    """One step of a language model, with log probabilities of the next label; see `encoder`."""
    config, graph = model.config, Graph("language_model")
    network = Network(graph, kind, model.policy, variables)
    tokens = graph.input("tokens", ["rows"], np.int64)
    hidden: Value = ""
    states = []
    for layer in range(1, config.layers + 1):
        name, state = f"layer_{layer}", _state(graph, f"_{layer}", "rows", config.size)
        codes = layer < config.layers
        if layer == 1:
            hidden, state = network.read_tokens(name, tokens, state, returns_codes=codes)
        else:
            hidden, state = network.step(name, hidden, state, returns_codes=codes)
        states.append(state)
    log_probs = graph.add("LogSoftmax", network.dense("output", hidden), axis=-1)
    graph.output("log_probs", log_probs, ["rows", model.vocabulary_size])
    for layer, state in enumerate(states, start=1):
        _state_outputs(graph, f"_{layer}", state, "rows", config.size)
    return graph.to_model()


def _state(graph: Graph, suffix: str, rows: int | str, size: int) -> State:
    return State(*(graph.input(f"{part}{suffix}", [rows, size]) for part in State._fields))


def _state_outputs(graph: Graph, suffix: str, state: State, rows: int | str, size: int) -> None:
    for part, value in state._asdict().items():
        graph.output(f"next_{part}{suffix}", value, [rows, size])


def _join_pairs(graph: Graph, frames: Value, size: int) -> Value:
    """Neighboring frames ``[time, size]`` in pairs, zeros after an odd number of them."""
    name, zero = (frames.name, frames.zero_point) if isinstance(frames, Codes) else (frames, 0)
    is_bytes = isinstance(frames, Codes) and frames.zero_point > 0
    length = graph.add("Shape", name, start=0, end=1)
    odd = graph.add("Mod", length, graph.constant(np.array([2])))
    none, nothing = graph.constant(np.array([0, 0])), graph.constant(np.array([0]))
    pads = graph.add("Concat", none, odd, nothing, axis=0)
    fill = graph.constant(zero, np.uint8 if is_bytes else np.float32)
    padded = graph.add("Pad", name, pads, fill)
    joined = graph.add("Reshape", padded, graph.constant(np.array([-1, 2 * size])))
    if not isinstance(frames, Codes):
        return joined
    scale = np.tile(frames.scale, 2) if frames.scale.ndim else frames.scale
    return frames._replace(name=joined, scale=scale)
