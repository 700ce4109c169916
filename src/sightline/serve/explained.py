"""How a row's prediction is made, as JSON values: with PyTorch layer by layer, with ONNX Runtime part by part.

Letters: K classes (1 for a number), M members.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sightline.errors import DataError
from sightline.predict.onnx_model import OnnxModel
from sightline.predict.tables import TableModel
from sightline.trace.records import finite

SMALLEST = np.finfo(np.float32).tiny
"""A probability of 0 counts as this, as where the model blends its parts."""


def explained(model: TableModel, row: Mapping[str, Any]) -> dict[str, Any]:
    """Explain one row.

    Returns:
        With PyTorch `Explanation.to_json`; with ONNX Runtime those of its fields that the graph's outputs give:
        `raw`, `classes`, `probabilities`, `prediction`, `parts`, `members`, `logits`, `temperature`, `uncalibrated`.

    Raises:
        DataError: The row cannot be read.

    Example:
        >>> import sightline as sl
        >>> from sightline.serve.explained import explained
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> _ = run.model.to_onnx("penguins.onnx")
        >>> row = {"island": "Dream", "bill_length_mm": 46.5, "bill_depth_mm": 17.9, "sex": None,
        ...        "flipper_length_mm": 192, "body_mass_g": 3500, "year": 2007}
        >>> [part["name"] for part in explained(sl.OnnxModel.load("penguins.onnx"), row)["parts"]]
        ['network', 'trees']
    """
    if isinstance(model, OnnxModel):
        return _by_parts(model, row)
    from sightline.predict.model import Model

    assert isinstance(model, Model)
    explanation = model.explain(dict(row))
    if explanation.error is not None:
        raise DataError(f"{explanation.error}.", "Write the row as the training rows were.")
    found: dict[str, Any] = finite(explanation.to_json())
    return found


def _by_parts(model: OnnxModel, row: Mapping[str, Any]) -> dict[str, Any]:
    table = model.read(dict(row))
    if table.bad:
        raise DataError(f"{table.bad[0].error}.", "Write the row as the training rows were.")
    names = list(model.output_names)
    found = model.session.run([model.output_names[name] for name in names], model.inputs(dict(row)))
    of = dict(zip(names, (array[0] for array in found), strict=True))
    classed = model.classification
    what = "probabilities" if classed else "value"
    values_K = np.atleast_1d(of[what])
    shown = model.spec.target.shown
    weights: Mapping[str, float] = (model.metadata["blend"] or {}).get("weights", {})
    parts, logits_K = [], np.zeros(len(values_K))
    for name, weight in weights.items():
        own_K = np.atleast_1d(of[f"{what}_{name}"]).astype(np.float64)
        share_K = weight * (np.log(np.maximum(own_K, SMALLEST)) if classed else own_K)
        logits_K += share_K
        parts.append({"name": name, "weight": weight, "values": own_K.tolist(), "share": share_K.tolist()})  # fmt: skip
    members = None
    if f"{what}_members" in of:
        own_MK = of[f"{what}_members"].reshape(-1, len(values_K)).astype(np.float64)
        members = {
            "mean": own_MK.mean(axis=0).tolist(), "spread": own_MK.std(axis=0).tolist(), "values": own_MK.tolist()
        }  # fmt: skip
    result: dict[str, Any] = {
        "raw": {column.name: table.cells(column.name, 0) for column in model.encoder.schema.features},
        "classes": list(shown), "probabilities": values_K.tolist() if classed else [],
        "prediction": shown[int(model.choose(values_K[None])[0])] if classed else float(values_K[0]),
        "parts": parts, "members": members,
    }  # fmt: skip
    if classed and parts:
        temperature = model.metadata["temperature"]
        plain = logits_K * temperature
        odds = np.exp(plain - plain.max())
        result |= {
            "logits": logits_K.tolist(), "temperature": temperature, "uncalibrated": (odds / odds.sum()).tolist()
        }  # fmt: skip
    exact: dict[str, Any] = finite(result)
    return exact
