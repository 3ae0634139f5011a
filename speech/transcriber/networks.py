"""Networks of an exported recognizer, run by ONNX Runtime."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime

from .folder import ExportError


class Network:
    """A network: arrays by name in, arrays in order out.

    Args:
        path: of its ONNX file.
        threads: processor cores that it may use.

    Raises:
        ExportError: if ONNX Runtime cannot run the file.
    """

    def __init__(self, path: str | os.PathLike, *, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                os.fspath(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has many kinds, none of them public
            raise ExportError(
                f"{os.fspath(path)}: ONNX Runtime {onnxruntime.__version__} cannot run it "
                f"({str(error).splitlines()[0]}); install a newer one, or export again."
            ) from error
        self.inputs = {node.name: node.shape for node in self._session.get_inputs()}
        self.outputs = {node.name: node.shape for node in self._session.get_outputs()}

    def __call__(self, **inputs: np.ndarray) -> Sequence[Any]:
        """Runs the network."""
        return self._session.run(None, inputs)


class StepNetwork:
    """A network that reads labels one by one: tokens and states in, a vector and states out."""

    def __init__(self, network: Network):
        self._network = network
        self.state_names = [name for name in network.inputs if name != "tokens"]
        self.sizes = [network.inputs[name][1] for name in self.state_names]
        self.width = next(iter(network.outputs.values()))[1]  # of the vector

    def __call__(
        self, tokens: np.ndarray, states: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, Sequence[np.ndarray]]:
        """Reads one label in each row.

        Args:
            tokens: ``[rows]`` int64; 0 is the start.
            states: ``[rows, size]`` each.

        Returns:
            ``[rows, width]``, and the next states.
        """
        named = dict(zip(self.state_names, states, strict=True))
        output, *states = self._network(tokens=tokens, **named)
        return output, states
