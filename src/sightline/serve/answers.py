"""From computed values to answers: rows as JSON for `/predict`, tensors for the Open Inference Protocol.

Letters: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.predict.conformal import ALPHA
from sightline.serve.errors import bad
from sightline.serve.model import Computed, Served
from sightline.serve.tensors import finite_list


def rows_json(served: Served, computed: Computed, alpha: float | None) -> list[dict[str, Any]]:
    """Return a prediction for each row: label and probabilities, or the number; with `alpha` its set or interval."""
    values = computed.values
    if served.model.classification:
        rows = [
            {
                "label": label,
                "probabilities": dict(zip(served.texts, finite_list(shares), strict=True)),
            }
            for label, shares in zip(served.labels(values), values, strict=True)
        ]
        if alpha is not None:
            for row, inside in zip(rows, served.conformal(values, alpha).tolist(), strict=True):
                row["set"] = [name for name, held in zip(served.shown, inside, strict=True) if held]
        return rows
    rows = [{"value": value} for value in finite_list(np.asarray(values[:, 0], np.float64))]
    if alpha is not None:
        for row, ends in zip(rows, served.conformal(values, alpha), strict=True):
            row["interval"] = finite_list(ends)
    return rows


def output_shapes(served: Served) -> dict[str, tuple[str, list[int]]]:
    """Return the outputs of a model in the protocol: datatype and shape by name."""
    model = served.model
    if model.classification:
        label = model.decode(np.zeros((1, len(model.classes)), np.float32))
        kind = {"O": "BYTES", "i": "INT64", "b": "BOOL", "f": "FP64"}[label.dtype.kind]
        shapes = {"label": (kind, [-1]), "probabilities": ("FP32", [-1, len(model.classes)])}
        conformal = ("set", ("BOOL", [-1, len(model.classes)]))
    else:
        shapes = {"value": ("FP64", [-1])}
        conformal = ("interval", ("FP64", [-1, 2]))
    if model.conformal is not None and model.conformal.allows(ALPHA, model.classification):
        shapes[conformal[0]] = conformal[1]
    return shapes


def tensors(
    served: Served, computed: Computed, wanted: Mapping[str, bool] | None, binary: bool, alpha: float
) -> list[tuple[str, np.ndarray, bool]]:  # fmt: skip
    """Return the wanted outputs: name, array, whether in binary form.

    Raises:
        Refused: The model has no output of a name.
    """
    shapes = output_shapes(served)
    chosen = dict.fromkeys(shapes, binary) if wanted is None else wanted
    found = []
    for name, as_bytes in chosen.items():
        if name not in shapes and name not in ("set", "interval"):
            raise bad(
                f"The model {served.name} has no output {name!r}; it has {', '.join(shapes)}."
            )
        found.append((name, _output(served, computed.values, name, alpha), as_bytes))
    return found


def _output(served: Served, values: np.ndarray, name: str, alpha: float) -> np.ndarray:
    match name:
        case "label":
            return served.model.decode(np.nan_to_num(values))
        case "probabilities":
            return np.asarray(values, np.float32)
        case "value":
            return np.asarray(values[:, 0], np.float64)
        case _:
            if (name == "set") != served.model.classification:
                raise bad(f"The model {served.name} has no output {name!r}.")
            return served.conformal(values, alpha)
