"""Writing ONNX graphs: nodes and constants, one call each.

Names are given by the graph; a value is known by its name.  Codes of four bits and less are stored
two to a byte, as ONNX's types INT4 and UINT4, and widened to bytes when a session starts, where
ONNX Runtime folds constants.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONTRIB = "com.microsoft"  # operators of ONNX Runtime that ONNX lacks
OPSET, CONTRIB_OPSET, IR_VERSION = 21, 1, 10

Shape = Sequence[int | str | None]


class Graph:
    """A graph under construction.

    Args:
        name: for messages.
        parent: the graph whose node holds this one, such as a loop.
    """

    def __init__(self, name: str, parent: "Graph | None" = None):
        self._name = name
        self._counter = itertools.count() if parent is None else parent._counter
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, shape: Shape, dtype: Any = np.float32) -> str:
        """Declares an input; sizes that vary have names."""
        self._inputs.append(_describe(name, shape, dtype))
        return name

    def output(self, name: str, value: str, shape: Shape, dtype: Any = np.float32) -> None:
        """Declares an output that is a value under a name of its own."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(_describe(name, shape, dtype))

    def constant(self, value: Any, dtype: Any = None) -> str:
        """An array that the graph holds."""
        name = self.fresh("constant")
        self._constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def bytes_constant(self, codes: np.ndarray, *, bits: int) -> str:
        """Whole numbers of few bits, in bytes when the graph runs.

        Args:
            codes: int8 or uint8.
            bits: up to 4 are stored in 4, others in 8.
        """
        if bits > 4:
            return self.constant(codes)
        is_signed = codes.dtype == np.int8
        nibbles = codes.reshape(-1).astype(np.int16) & 15
        nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.int16))
        packed = (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8)
        kind = TensorProto.INT4 if is_signed else TensorProto.UINT4
        name = self.fresh("codes")
        self._constants.append(
            helper.make_tensor(name, kind, codes.shape, packed.tobytes(), raw=True)
        )
        return self.add("Cast", name, to=TensorProto.INT8 if is_signed else TensorProto.UINT8)

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """A node with one output.

        Args:
            operator: of ONNX, or of ONNX Runtime with `domain`.
            *inputs: values; an empty name leaves out an optional one.
            domain: the set that the operator is of.
            **attributes: of the node; a graph is one.

        Returns:
            The output.
        """
        (output,) = self.add_all(operator, *inputs, outputs=1, domain=domain, **attributes)
        return output

    def add_all(
        self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any
    ) -> list[str]:
        """A node with several outputs; see `add`."""
        names = [self.fresh(operator.lower()) for _ in range(outputs)]
        attributes = {
            key: value.to_proto() if isinstance(value, Graph) else value
            for key, value in attributes.items()
        }
        self._nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names

    def subgraph(self, name: str) -> "Graph":
        """A graph to be an attribute of a node of this one, whose values it sees."""
        return Graph(name, parent=self)

    def to_proto(self) -> onnx.GraphProto:
        """The graph."""
        return helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, self._constants
        )

    def to_model(self) -> onnx.ModelProto:
        """The graph as a model, to be written to a file."""
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, CONTRIB_OPSET)]
        return helper.make_model(
            self.to_proto(),
            opset_imports=opsets,
            ir_version=IR_VERSION,
            producer_name="gossamer",
        )

    def fresh(self, kind: str) -> str:
        """A name that nothing has yet, in this graph and those around it."""
        return f"{kind}_{next(self._counter)}"


def _describe(name: str, shape: Shape, dtype: Any) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))
