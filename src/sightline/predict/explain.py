"""Explanations of single rows: the path through the network, the parts, and each column's push."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.build.modes import evaluating
from sightline.errors import listed
from sightline.load.table import Table
from sightline.predict import attributions
from sightline.predict.path import Explanation, follow, one_scale
from sightline.predict.predictor import Predictor
from sightline.prepare.encode import Encoded, Encoder
from sightline.prepare.inputs import input_columns

EXPLAINED_AT_ONCE = 256
"""Rows whose attributions are computed together, at most."""
NAMED_COLUMNS = 10
"""With more columns, a note names this many and counts the rest."""


def explain_rows(
    predictor: Predictor,
    encoder: Encoder,
    table: Table,
    rows: Sequence[int],
    typical: Mapping[str, Tensor] | None,
) -> list[Explanation]:
    """Explain some rows of a table; see `Model.explain_rows`.

    Args:
        predictor: What predicts.
        encoder: The fitted encoder.
        table: Rows as the model has read them.
        rows: Which of them.
        typical: The prepared row that predictions are compared with, `numeric` [1, D] and
            `categorical` [1, C]; None leaves the attributions out.
    """
    reader = encoder.open(table)
    errors = dict(table.bad)
    explanations = {
        row: _explain_row(predictor, encoder, table, reader(slice(row, row + 1)), row, errors.get(row))
        for row in rows
    }  # fmt: skip
    good = [row for row, explanation in explanations.items() if explanation.error is None]
    scaled = one_scale([explanations[row] for row in good])
    explanations.update(zip(good, scaled, strict=True))
    note = attributions.missing_extra() if typical is not None else attributions.NO_TYPICAL_ROW
    if typical is None or note is not None:
        return [replace(explanations[row], pushes_note=note) for row in rows]
    columns = input_columns(encoder, predictor.spec)
    for start in range(0, len(good), EXPLAINED_AT_ONCE):
        batch = good[start : start + EXPLAINED_AT_ONCE]
        numeric, codes = predictor.inputs(reader(np.array(batch)))
        values = [
            explanations[row].probabilities or (explanations[row].prediction,) for row in batch
        ]
        pushes = attributions.attribute(
            predictor, typical, columns, numeric, codes, np.array(values)
        )
        for row, own in zip(batch, pushes, strict=True):
            explanations[row] = replace(explanations[row], pushes=own, pushes_note=None)
    return [explanations[row] for row in rows]


def _explain_row(
    predictor: Predictor,
    encoder: Encoder,
    table: Table,
    encoded: Encoded,
    row: int,
    error: str | None,
) -> Explanation:
    """Follow one row through the network and the blend, without attributions."""
    spec, task = predictor.spec, predictor.task
    numeric, categorical = predictor.inputs(encoded)
    names = [f.name for f in spec.numeric] + [f.name for f in spec.categorical]
    inputs = [*numeric[0].tolist(), *(float(code) for code in categorical[0].tolist())]
    layers, logits = follow(predictor.network, numeric, categorical)
    with evaluating(*predictor.modules):
        values = predictor.outputs(numeric, categorical).cpu().numpy()
        blended = _blended(predictor, numeric, categorical)
    network_logits = logits.float().mean(dim=1) if logits.dim() == 3 else logits.float()
    return Explanation(
        raw={column.name: table.cells(column.name, row) for column in encoder.schema.features},
        encoded=dict(zip(names, inputs, strict=True)),
        notes=tuple(_notes(encoded)),
        layers=layers,
        logits=blended.pop("logits", tuple(network_logits[0].tolist())),
        probabilities=tuple(values[0].tolist()) if task.classification else (),
        classes=spec.target.shown if task.classification else (),
        prediction=None if error else _prediction(predictor, values),
        error=error,
        pushes_note=attributions.NO_PREDICTION if error else None,
        members=_members(predictor, logits),
        **blended,
    )


def _prediction(predictor: Predictor, values_1K: np.ndarray) -> Any:
    """Return the predicted class, as `Target.shown` has it, or the number."""
    if not predictor.task.classification:
        return predictor.decode(values_1K).tolist()[0]
    return predictor.spec.target.shown[int(predictor.choose(values_1K)[0])]


def _notes(encoded: Encoded) -> list[str]:
    """Return what is missing, unseen or out of range in a row, in words."""
    unseen, outside = "a value never seen in training", "outside the training range"
    return [
        *_column_notes(encoded.missing, "is missing", "are missing"),
        *_column_notes(encoded.unseen, f"has {unseen}", f"have {unseen}"),
        *_column_notes(encoded.out_of_range, f"is {outside}", f"are {outside}"),
    ]


def _column_notes(names: Iterable[str], singular: str, plural: str) -> list[str]:
    """Return a sentence for each of a few columns, or one sentence for many."""
    columns = list(names)
    if len(columns) <= NAMED_COLUMNS:
        return [f"{name} {singular}" for name in columns]
    return [f"{listed(columns, NAMED_COLUMNS, 'column')} {plural}"]


def _members(predictor: Predictor, logits: Tensor) -> dict[str, Any] | None:
    """Return what each member of an ensemble predicts, as in `Explanation.members`.

    Args:
        predictor: What predicts.
        logits: The network's, [1, K] or [1, M, K].
    """
    if logits.dim() != 3:
        return None
    values_MK = predictor.task.member_values(logits)[0]
    return {
        "mean": values_MK.mean(dim=0).tolist(), "values": values_MK.tolist(),
        "spread": values_MK.std(dim=0, correction=0).tolist(),
    }  # fmt: skip


def _blended(predictor: Predictor, numeric_1D: Tensor, codes_1C: Tensor) -> dict[str, Any]:
    """Return what each part adds to one row's prediction.

    Returns:
        `parts`, and for classes `logits`, `temperature` and `uncalibrated`, as in `Explanation`; empty
        without a blend.
    """
    if predictor.blend is None:
        return {}
    weights, classification = predictor.blend.weights, predictor.task.classification
    parts = {
        name: values[0].double() for name, values in predictor.parts(numeric_1D, codes_1C).items()
    }
    shares = {name: weights[name] * values for name, values in parts.items()}
    blended: dict[str, Any] = {
        "parts": tuple(
            {
                "name": name, "weight": weights[name], "share": shares[name].tolist(),
                "values": (values.exp() if classification else values).tolist(),
            }
            for name, values in parts.items()
        )
    }  # fmt: skip
    if classification:
        logits, temperature = (
            torch.stack(list(shares.values())).sum(dim=0),
            predictor.blend.temperature,
        )
        blended["logits"] = tuple(logits.tolist())
        blended["temperature"] = temperature
        blended["uncalibrated"] = tuple((logits * temperature).softmax(dim=0).tolist())
    return blended
