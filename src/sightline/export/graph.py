"""An ONNX graph while it is written: inputs, constants, nodes, outputs.

Tensor names: inputs and outputs have the names that a caller sees; all others begin with a slash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sightline.errors import OptionError

OPSET, ML_OPSET, IR_VERSION = 20, 5, 10
ML = "ai.onnx.ml"
ROWS = "rows"
"""The name of the dynamic dimension."""


def onnx_library() -> Any:
    """Return the module `onnx`, with its helpers.

    Raises:
        OptionError: It is not installed.
    """
    try:
        import onnx
        import onnx.compose
    except ImportError as error:
        raise OptionError(
            "ONNX models need the library onnx.",
            'Install it: pip install "sightline[onnx]".',
        ) from error
    return onnx


class Graph:
    """Collects the nodes of one ONNX graph.

    Raises:
        OptionError: onnx is not installed.

    Example:
        >>> import numpy as np
        >>> from sightline.export.graph import Graph
        >>> graph = Graph()
        >>> x = graph.input("x", np.float64, [1])
        >>> graph.output("twice", graph.op("Add", x, x), np.float64, [1])
        >>> [node.op_type for node in graph.model().graph.node]
        ['Add', 'Identity']
    """

    def __init__(self) -> None:
        self.onnx: Any = onnx_library()
        self._nodes: list[Any] = []
        self._constants: dict[tuple[Any, ...], str] = {}
        self._initializers: list[Any] = []
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}

    # ------------------------------------------------------------- inputs and outputs

    def input(self, name: str, dtype: Any, shape: Sequence[int]) -> str:
        """Declare an input of shape [rows, *shape] and return its name."""
        self.inputs[name] = self._value_info(name, dtype, shape)
        return name

    def optional_input(self, name: str, default: np.ndarray) -> str:
        """Declare an input that has a default value, which is broadcast over the rows."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(default.dtype)
        shape = [f"{ROWS} or 1", *default.shape[1:]]
        self.inputs[name] = self.onnx.helper.make_tensor_value_info(name, kind, shape)
        self._initializers.append(self.onnx.numpy_helper.from_array(default, name))
        return name

    def output(self, name: str, tensor: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """Declare a tensor as an output of shape [rows, *shape]."""
        self._nodes.append(self.onnx.helper.make_node("Identity", [tensor], [name]))
        self.outputs[name] = self._value_info(name, dtype, shape)

    def _value_info(self, name: str, dtype: Any, shape: Sequence[int | str]) -> Any:
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.onnx.helper.make_tensor_value_info(name, kind, [ROWS, *shape])

    # ------------------------------------------------------------- nodes

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant tensor; equal constants are kept once."""
        array = np.asarray(value, dtype)
        key = (
            array.dtype.str,
            array.shape,
            array.tobytes() if array.dtype != object else tuple(array.flat),
        )
        if key not in self._constants:
            name = f"/constant/{len(self._constants)}"
            self._constants[key] = name
            self._initializers.append(
                self.onnx.numpy_helper.from_array(np.array(array, order="C"), name)
            )
        return self._constants[key]

    def op(
        self, kind: str, *inputs: str, domain: str = "", name: str = "", **attributes: Any
    ) -> str:
        """Add a node of one output and return the name of its output."""
        return self.ops(kind, 1, *inputs, domain=domain, name=name, **attributes)[0]

    def ops(
        self,
        kind: str,
        outputs: int,
        *inputs: str,
        domain: str = "",
        name: str = "",
        **attributes: Any,
    ) -> list[str]:
        """Add a node of several outputs and return their names."""
        stem = name or f"/{kind}/{len(self._nodes)}"
        names = [stem if outputs == 1 else f"{stem}/{i}" for i in range(outputs)]
        node = self.onnx.helper.make_node(kind, list(inputs), names, domain=domain, **attributes)
        self._nodes.append(node)
        return names

    def cast(self, tensor: str, dtype: Any) -> str:
        """Convert a tensor to another type."""
        return self.op(
            "Cast", tensor, to=self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        )

    def joined(self, tensors: Sequence[str], axis: int = 1) -> str:
        """Concatenate tensors; a single one stays as it is."""
        return tensors[0] if len(tensors) == 1 else self.op("Concat", *tensors, axis=axis)

    def total(self, tensors: Sequence[str]) -> str:
        """Add tensors up, from the first to the last."""
        result = tensors[0]
        for tensor in tensors[1:]:
            result = self.op("Add", result, tensor)
        return result

    def columns(self, matrix: str, indices: Sequence[int], width: int) -> str:
        """Choose columns of a matrix of `width` columns."""
        if list(indices) == list(range(width)):
            return matrix
        return self.op("Gather", matrix, self.constant(indices, np.int64), axis=1)

    def embed(self, model: Any, prefix: str, inputs: Sequence[str]) -> str:
        """Add the nodes of another model of one output; return that output's name.

        Args:
            model: An ONNX model of the same operator set.
            prefix: Put before all of its names.
            inputs: The tensors of this graph that become its inputs, in order.
        """
        inner = self.onnx.compose.add_prefix(model, prefix).graph
        renamed = {value.name: tensor for value, tensor in zip(inner.input, inputs, strict=True)}
        self._initializers += inner.initializer
        for node in inner.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
            self._nodes.append(node)
        (result,) = inner.output
        return str(renamed.get(result.name, result.name))

    # ------------------------------------------------------------- search

    def search(
        self, matrix: str, cuts: Sequence[np.ndarray], dtype: Any, *, below: bool,
        leaf: Callable[[int, int], float],
    ) -> str:  # fmt: skip
        """Find in which interval between cuts each value lies, as `torch.searchsorted` does.

        ONNX has no such operator, so each column becomes a balanced tree of a `TreeEnsemble`, which compares
        in the type of the matrix: exact to the last bit.

        Args:
            matrix: [rows, columns]; its values are not NaN.
            cuts: Of each column, increasing.
            dtype: float32 or float64, the type of the matrix.
            below: Whether a value that equals a cut lies below it (searchsorted's side "left").
            leaf: From (column, number of cuts below the value) to the result.

        Returns:
            A tensor of `dtype`, [rows, columns].
        """
        nodes: dict[str, list[int]] = {
            name: [] for name in ("featureids", "truenodeids", "trueleafs", "falsenodeids", "falseleafs")
        }  # fmt: skip
        splits: list[float] = []
        targets: list[int] = []
        results: list[float] = []
        roots: list[int] = []

        def leaf_of(column: int, count: int) -> tuple[int, int]:
            targets.append(column)
            results.append(leaf(column, count))
            return len(targets) - 1, 1

        def grow(column: int, low: int, high: int) -> tuple[int, int]:
            """Add the tree of the leaves from `low` to `high`; return its node or leaf, and which it is."""
            if low == high:
                return leaf_of(column, low)
            middle = (low + high) // 2
            return branch(column, float(cuts[column][middle]), (low, middle), (middle + 1, high))

        def branch(
            column: int, cut: float, left: tuple[int, int], right: tuple[int, int]
        ) -> tuple[int, int]:
            number = len(splits)
            splits.append(cut)
            for name, value in (("featureids", column), *((n, 0) for n in list(nodes)[1:])):
                nodes[name].append(value)
            nodes["truenodeids"][number], nodes["trueleafs"][number] = grow(column, *left)
            nodes["falsenodeids"][number], nodes["falseleafs"][number] = grow(column, *right)
            return number, 0

        for column, own in enumerate(cuts):
            roots.append(len(splits))
            if len(own):
                grow(column, 0, len(own))
            else:  # a tree has a node at least
                branch(column, 0.0, (0, 0), (0, 0))
        tensor = self.onnx.numpy_helper.from_array
        less_or_equal, less = 0, 1
        modes = np.full(len(splits), less_or_equal if below else less, np.uint8)
        return self.op(
            "TreeEnsemble", matrix, domain=ML, n_targets=len(cuts), aggregate_function=1, post_transform=0,
            nodes_splits=tensor(np.array(splits, dtype)), nodes_modes=tensor(modes), tree_roots=roots,
            leaf_targetids=targets, leaf_weights=tensor(np.array(results, dtype)),
            nodes_featureids=nodes["featureids"],
            nodes_truenodeids=nodes["truenodeids"], nodes_trueleafs=nodes["trueleafs"],
            nodes_falsenodeids=nodes["falsenodeids"], nodes_falseleafs=nodes["falseleafs"],
        )  # fmt: skip

    # ------------------------------------------------------------- the model

    def model(self, metadata: dict[str, str] | None = None) -> Any:
        """Return the ONNX model, checked.

        Args:
            metadata: Texts by name, kept in `metadata_props`.
        """
        helper = self.onnx.helper
        graph = helper.make_graph(
            self._nodes,
            "sightline",
            list(self.inputs.values()),
            list(self.outputs.values()),
            self._initializers,
        )
        model = helper.make_model(
            graph, producer_name="sightline", ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)],
        )  # fmt: skip
        helper.set_model_props(model, metadata or {})
        self.onnx.checker.check_model(model, full_check=True)
        return model
