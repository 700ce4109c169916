"""Networks as ONNX nodes: the default ensemble by hand, any other module by PyTorch's exporter.

Letters: N rows, D features, C codes, M members, H units of a layer, K outputs.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import io
import linecache
import logging
import re
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.ensemble import Bins, Ensemble, Features, Members, Pieces, Waves
from sightline.build.flat import Flat
from sightline.build.modes import evaluating
from sightline.errors import NetworkError, OptionError, shorten
from sightline.export.graph import OPSET, Graph
from sightline.export.preparation import Prepared

EXAMPLE_ROWS = 3
"""Rows that a module is traced with: a batch of one would become a constant."""


def write_network(graph: Graph, network: nn.Module, prepared: Prepared) -> tuple[str, bool]:
    """Write a network's nodes.

    Args:
        graph: Where to.
        network: In evaluation mode, on any device.
        prepared: The features and codes.

    Returns:
        The logits, and whether they are of members: [N, M, K] and not [N, K].

    Raises:
        NetworkError: PyTorch cannot export the module: such as one whose forward branches on its data.
        OptionError: PyTorch's exporter needs onnxscript, which is not installed.

    Example:
        >>> import sightline as sl
        >>> from sightline.export.graph import Graph
        >>> from sightline.export.networks import write_network
        >>> from sightline.export.preparation import write_preparation
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> graph = Graph()
        >>> inputs = write_preparation(graph, prepared.encoder, prepared.transform)
        >>> write_network(graph, sl.Ensemble(prepared.spec).eval(), inputs)[1]
        True
    """
    if type(network) is Ensemble:
        return _ensemble(graph, network, prepared), True
    if type(network) is Flat:
        return _traced(graph, network.module, _one_hot(graph, network, prepared), codes=False)
    return _traced(graph, network, prepared)


# ------------------------------------------------------------- the ensemble


def _ensemble(graph: Graph, network: Ensemble, prepared: Prepared) -> str:
    x = prepared.features
    width = len(network.spec.numeric)
    parts = [x]
    if network.pieces.width:
        parts.append(_pieces(graph, network.pieces, x, width))
    codes = [] if prepared.codes is None else [_shifted(graph, prepared.codes, network)]
    if network.bins is not None and network.bins.sizes:
        codes.append(
            _bins(graph, network.bins, x, width, network.starts[len(network.spec.cardinalities) :])
        )
    first = _features(graph, network.numbers, graph.joined(parts), codes)
    members = graph.constant([0, network.members, network.widths[0]], np.int64)
    x = graph.op("Transpose", graph.op("Reshape", first, members), perm=[1, 0, 2])
    if network.waves is not None and network.mixed is not None:
        waves = _waves(graph, network.waves, prepared.features, width)
        x = graph.op("Add", x, _members(graph, network.mixed, waves))
    x = _activation(graph, network.activation, x)
    for layer in network.hidden:
        assert isinstance(layer, Members)
        x = _activation(graph, network.activation, _members(graph, layer, x))
    return graph.op("Transpose", _members(graph, network.output, x), perm=[1, 0, 2])


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def _shifted(graph: Graph, codes: str, network: Ensemble) -> str:
    starts = _array(network.starts)[: len(network.spec.cardinalities)]
    return graph.op("Add", codes, graph.constant(starts, np.int64))


def _pieces(graph: Graph, pieces: Pieces, features: str, width: int) -> str:
    x = graph.columns(features, pieces.column.tolist(), width)
    x = graph.op("Sub", x, graph.constant(_array(pieces.low)))
    x = graph.op("Mul", x, graph.constant(_array(pieces.per_unit)))
    return graph.op("Clip", x, graph.constant(0.0, np.float32), graph.constant(1.0, np.float32))


def _bins(graph: Graph, bins: Bins, features: str, width: int, starts: Tensor) -> str:
    """Return each number's bin as a code, where the codes of its column start."""
    x = graph.columns(features, bins.columns.tolist(), width)
    cuts = [row[: size - 1] for row, size in zip(_array(bins.cuts), bins.sizes, strict=True)]
    begins = starts.tolist()
    found = graph.search(
        x, cuts, np.float32, below=True, leaf=lambda column, count: begins[column] + count
    )
    return graph.cast(found, np.int64)


def _features(graph: Graph, layer: Features, x: str, codes: list[str]) -> str:
    x = graph.op(
        "Gemm", x, graph.constant(_array(layer.weight)), graph.constant(_array(layer.bias))
    )
    if layer.vectors is None:
        return x
    vectors = graph.op("Gather", graph.constant(_array(layer.vectors)), graph.joined(codes))
    return graph.op(
        "Add", x, graph.op("ReduceSum", vectors, graph.constant([1], np.int64), keepdims=0)
    )


def _members(graph: Graph, layer: Members, x: str) -> str:
    x = graph.op("MatMul", x, graph.constant(_array(layer.weight)))
    return graph.op("Add", x, graph.constant(_array(layer.bias)))


def _waves(graph: Graph, waves: Waves, features: str, width: int) -> str:
    """Return each member's units on the waves of all columns: [M, N, columns * units]."""
    columns = waves.columns.tolist()
    x = graph.op("Transpose", graph.columns(features, columns, width), perm=[1, 0])
    x = graph.op("Unsqueeze", x, graph.constant([2], np.int64))
    x = graph.op("Mul", x, graph.constant(_array(waves.frequency)))
    x = graph.op("Cos", graph.op("Add", x, graph.constant(_array(waves.phase))))
    x = graph.op("MatMul", x, graph.constant(_array(waves.weight)))
    x = graph.op("Relu", graph.op("Add", x, graph.constant(_array(waves.bias))))
    shape = graph.constant([0, 0, waves.members, waves.units], np.int64)
    x = graph.op("Transpose", graph.op("Reshape", x, shape), perm=[2, 1, 0, 3])
    flat = graph.constant([waves.members, -1, len(columns) * waves.units], np.int64)
    return graph.op("Reshape", x, flat)


def _activation(graph: Graph, module: nn.Module, x: str) -> str:
    match module:
        case nn.ReLU():
            return graph.op("Relu", x)
        case nn.GELU():
            return graph.op("Gelu", x)
        case nn.SiLU():
            return graph.op("Mul", x, graph.op("Sigmoid", x))
        case nn.Mish():
            return graph.op("Mish", x)
        case nn.SELU():
            return graph.op("Selu", x)
        case nn.ELU():
            return graph.op("Elu", x, alpha=float(module.alpha))
        case nn.LeakyReLU():
            return graph.op("LeakyRelu", x, alpha=float(module.negative_slope))
        case nn.Tanh():
            return graph.op("Tanh", x)
        case nn.Sigmoid():
            return graph.op("Sigmoid", x)
        case _:
            raise NetworkError(
                f"The activation {type(module).__name__} has no ONNX form.",
                "Use one of sightline.build.parts.ACTIVATIONS.",
            )


# ------------------------------------------------------------- any other module


class _Adapter(nn.Module):
    """Takes the graph's features and int64 codes, and hands the network its int32 codes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features_ND: Tensor, codes_NC: Tensor | None = None) -> Tensor:
        codes = features_ND.new_zeros((len(features_ND), 0)) if codes_NC is None else codes_NC
        logits: Tensor = self.network(features_ND, codes.int())
        return logits


def _one_hot(graph: Graph, network: Flat, prepared: Prepared) -> Prepared:
    """Write the input of `Flat`'s module: numbers, then each category one-hot."""
    parts = [prepared.features]
    ends = [*network.starts.tolist()[1:], network.width]
    for column, (start, end) in enumerate(zip(network.starts.tolist(), ends, strict=True)):
        assert prepared.codes is not None
        codes = graph.op("Gather", prepared.codes, graph.constant(column, np.int64), axis=1)
        depth = graph.constant(end - start, np.int64)
        off_and_on = graph.constant([0.0, 1.0], np.float32)
        parts.append(graph.op("OneHot", codes, depth, off_and_on, axis=1))
    return Prepared(graph.joined(parts), None, prepared.width + network.width, 0)


def _traced(
    graph: Graph, network: nn.Module, prepared: Prepared, codes: bool = True
) -> tuple[str, bool]:
    """Write any module with PyTorch's exporter; without `codes` it takes the features alone."""
    try:
        import onnxscript  # noqa: F401 - PyTorch's exporter imports it
    except ImportError as error:
        raise OptionError(
            "An export of this network to ONNX needs the library onnxscript.",
            'Install it: pip install "sightline[onnx]".',
        ) from error
    copied = copy.deepcopy(network).cpu().eval()
    adapter = _Adapter(copied) if codes else copied
    rows = torch.export.Dim("rows", min=1)
    example = [torch.zeros(EXAMPLE_ROWS, prepared.width)]
    inputs = [prepared.features]
    if prepared.codes is not None:
        example.append(torch.ones(EXAMPLE_ROWS, prepared.categories, dtype=torch.int64))
        inputs.append(prepared.codes)
    try:
        with evaluating(adapter), _silence():
            members = adapter(*example).dim() == 3
            program = torch.onnx.export(
                adapter, tuple(example), dynamo=True, opset_version=OPSET, verbose=False,
                dynamic_shapes=tuple({0: rows} for _ in example),
            )  # fmt: skip
    except Exception as error:
        raise _cannot(network, error) from error
    assert program is not None
    return graph.embed(program.model_proto, "/network/", inputs), members


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep what PyTorch's exporter logs, prints and warns of from the terminal; its errors are raised."""
    nowhere = io.StringIO()
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _cannot(network: nn.Module, error: Exception) -> NetworkError:
    """Name the line of the network's own code at which the exporter gave up, if it is known."""
    name = type(network).__name__
    place = ""
    file = inspect.getsourcefile(type(network)) if type(network).__module__ != "builtins" else None
    text = str(error)
    for cause in (error, error.__cause__, error.__context__):
        text += f"\n{cause}" if cause is not None else ""
    lines = re.findall(r'File "([^"]+)", line (\d+)', text)
    own = [(path, line) for path, line in lines if path == file]
    if own:
        path, line = own[-1]
        code = linecache.getline(path, int(line)).strip()
        place = f" at {path}, line {line}: {code}" if code else f" at {path}, line {line}"
    cause = error.__cause__ or error
    first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    return NetworkError(
        f"{name} cannot be exported to ONNX: PyTorch's exporter stops{place} ({type(cause).__name__}: "
        f"{shorten(first, 200)}).",
        "A forward must not branch on the values of its tensors: use torch.where. Or serve the model with PyTorch.",
    )
