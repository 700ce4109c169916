"""A whole model as one ONNX graph: raw columns in, labels and calibrated probabilities out.

Letters: N rows, K classes, M members.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.contracts.exported import FORMAT_VERSION, METADATA, mask_name
from sightline.errors import OptionError
from sightline.export.graph import Graph
from sightline.export.preparation import write_preparation
from sightline.predict.bundle import Contents, versions
from sightline.predict.conformal import ALPHA, Conformal, required
from sightline.predict.decisions import label_array
from sightline.predict.parts import WrittenPart


def build(model: Contents, alpha: float | None = None) -> Any:
    """Build the ONNX model; see `Model.to_onnx`."""
    graph = Graph()
    prepared = write_preparation(graph, model.encoder, model.transform)
    parts = {part.name: part.write(graph, model.task, prepared) for part in model.parts}
    outputs = _Outputs(graph)
    classification = model.task.classification
    values = _blended(graph, model, parts)
    if classification:
        outputs.add(
            "label", _labels(graph, model, values), label_array(model.spec.target.classes).dtype, []
        )
        outputs.add("probabilities", values, np.float32, [model.spec.outputs])
    else:
        outputs.add("value", _flat(graph, values), np.float64, [])
    left_out = _conformal(graph, model, values, alpha, outputs)
    _parts(graph, model, parts, outputs)
    return graph.model({METADATA: json.dumps(
        _metadata(model, graph, outputs, ALPHA if alpha is None else alpha, left_out), ensure_ascii=False, allow_nan=False
    )})  # fmt: skip


class _Outputs:
    """The outputs by what they are; one whose name is a column's gets another name."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names: dict[str, str] = {}

    def add(self, what: str, tensor: str, dtype: Any, shape: list[int | str]) -> None:
        name = what
        while name in self.graph.inputs:
            name = f"output.{name}"
        self.names[what] = name
        self.graph.output(name, tensor, dtype, shape)


def _flat(graph: Graph, values_N1: str) -> str:
    return graph.op("Squeeze", values_N1, graph.constant([1], np.int64))


def _blended(graph: Graph, model: Contents, parts: Mapping[str, WrittenPart]) -> str:
    """Write `Predictor.outputs`: probabilities [N, K] as float32, or numbers [N, 1] as float64."""
    if model.blend is None:
        return parts["network"].shown
    dtype = np.float32 if model.task.classification else np.float64
    weighted = [
        graph.op("Mul", part.values, graph.constant(model.blend.weights[name], dtype))
        for name, part in parts.items()
    ]
    total = graph.total(weighted)
    return graph.op("Softmax", total, axis=1) if model.task.classification else total


def _labels(graph: Graph, model: Contents, probabilities: str) -> str:
    """Write `choose` and `decode`: each row's label, in the target's own type."""
    labels = label_array(model.spec.target.classes)
    positive = model.spec.target.positive
    if model.threshold is None or positive is None:
        index = graph.op("ArgMax", probabilities, axis=1, keepdims=0)
    else:
        at = model.spec.target.classes.index(positive)
        own = graph.op("Gather", probabilities, graph.constant(at, np.int64), axis=1)
        above = graph.op("GreaterOrEqual", own, graph.constant(model.threshold.value, np.float32))
        index = graph.op(
            "Where", above, graph.constant(at, np.int64), graph.constant(1 - at, np.int64)
        )
    return graph.op("Gather", graph.constant(labels), index)


def _conformal(
    graph: Graph, model: Contents, values: str, alpha: float | None, outputs: _Outputs
) -> str | None:
    """Write sets [N, K] or intervals [N, 2]; return why they are left out, or None.

    The ends of an interval are multiples of the usual size of errors at the predicted number.
    """
    wanted = ALPHA if alpha is None else alpha
    try:
        conformal = required(model.conformal)
        ends = (
            np.array(conformal.set_limit(wanted)) if model.task.classification
            else np.array([conformal.ends(wanted)])
        )  # fmt: skip
    except OptionError as error:
        if alpha is not None:
            raise
        return error.problem
    if model.task.classification:
        wide = graph.cast(values, np.float64)
        scores = graph.op("Sub", graph.constant(1.0, np.float64), wide)
        outputs.add(
            "set",
            graph.op("LessOrEqual", scores, graph.constant(ends)),
            np.bool_,
            [model.spec.outputs],
        )
        return None
    widths = graph.constant(ends)
    if len(conformal.knots):
        widths = graph.op("MatMul", _sizes(graph, conformal, values), widths)
    outputs.add("interval", graph.op("Add", values, widths), np.float64, [2])
    return None


def _sizes(graph: Graph, conformal: Conformal, values_N1: str) -> str:
    """Write `Conformal.sizes_at`, [N, 1]: the first size, and what each stretch between two knots adds."""
    knots, sizes = conformal.knots, conformal.sizes
    spans = np.diff(knots)
    into = graph.op("Sub", values_N1, graph.constant(knots[:-1]))
    into = graph.op(
        "Max", graph.op("Min", into, graph.constant(spans)), graph.constant(np.zeros(1))
    )
    rises = graph.op("MatMul", into, graph.constant((np.diff(sizes) / spans)[:, None]))
    return graph.op("Add", rises, graph.constant(sizes[:1]))


def _parts(
    graph: Graph, model: Contents, parts: Mapping[str, WrittenPart], outputs: _Outputs
) -> None:
    """Declare what each part and each member predicts as outputs."""
    classification, K = model.task.classification, model.spec.outputs
    what, dtype = ("probabilities", np.float32) if classification else ("value", np.float64)
    for name, part in parts.items():
        shown = part.shown if classification else _flat(graph, part.shown)
        outputs.add(f"{what}_{name}", shown, dtype, [K] if classification else [])
        if part.members is not None:
            members = part.members
            own = getattr(model.parts[0].module, "members", None)
            count: int | str = own if isinstance(own, int) else "members"
            if not classification:
                members = graph.op("Squeeze", members, graph.constant([2], np.int64))
            outputs.add(
                f"{what}_members", members, dtype, [count, K] if classification else [count]
            )


def _metadata(
    model: Contents, graph: Graph, outputs: _Outputs, alpha: float, left_out: str | None
) -> dict[str, Any]:
    helper = graph.onnx.helper
    inputs = {}
    for encoding in model.encoder.encodings:
        if encoding.column not in graph.inputs:
            continue  # a text column without a word
        kind = helper.tensor_dtype_to_np_dtype(
            graph.inputs[encoding.column].type.tensor_type.elem_type
        )
        mask = mask_name(encoding.column, model.encoder.columns)
        inputs[encoding.column] = {
            **({"missing": mask} if mask in graph.inputs else {}),
            "how": encoding.how,
            "type": "string" if kind.kind == "O" else str(kind),
        }
    conformal = model.conformal
    return {
        "format_version": FORMAT_VERSION, "target": model.spec.to_json()["targets"][0],
        "classes": list(model.spec.target.texts), "inputs": inputs, "outputs": outputs.names,
        "encoder": model.encoder.to_json(), "baseline": model.baseline.tolist(),
        "blend": None if model.blend is None else model.blend.to_json(),
        "temperature": None if model.blend is None else model.blend.temperature,
        "threshold": None if model.threshold is None else model.threshold.to_json(),
        "conformal": None if conformal is None else {
            **conformal.to_json(), **{name: values.tolist() for name, values in conformal.arrays().items()}
        },
        "alpha": alpha, "left_out": left_out, "provenance": model.provenance, "versions": versions(),
    }  # fmt: skip
