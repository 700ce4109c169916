"""Choices of rows in a run: the measured rows, the example, the explained sample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.evaluate.trust import conformal_output
from sightline.load.split import Splits
from sightline.load.table import subset
from sightline.predict.attributions import rows_explained
from sightline.predict.explain import explain_rows
from sightline.trace.records import rounded

if TYPE_CHECKING:
    from sightline.predict.model import Model
    from sightline.predict.path import Explanation

NO_TIME = "The time limit left no time for the contribution of each column."
UNROUNDED = ("raw", "classes", "prediction")
"""Fields of an explanation that come from the table and keep all their digits."""


def measured_rows(splits: Splits) -> tuple[str, np.ndarray]:
    """Return the rows that a model is measured on: test rows, else validation, else training rows.

    Of training rows with folds that follow each other in time, these are the newest (`Splits.newest`).

    Args:
        splits: The divided table.

    Returns:
        "test", "validation" or "training", and the row numbers in the table, int64 [N].

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.rows import measured_rows
        >>> table = sl.read("examples/penguins.csv")
        >>> part, rows = measured_rows(sl.split(table, target="species", test=0.1))
        >>> part, len(rows)
        ('test', 34)
    """
    train = splits.train if splits.newest is None else splits.train[splits.newest]
    parts = (("test", splits.test), ("validation", splits.valid), ("training", train))
    return next((part, rows) for part, rows in parts if len(rows))


def true_values(splits: Splits, rows: np.ndarray) -> list[Any]:
    """Return the target of some rows: the classes as `Target.shown` has them, or the numbers as the table has them.

    Example:
        >>> import numpy as np
        >>> import sightline as sl
        >>> from sightline.evaluate.rows import true_values
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species")
        >>> true_values(splits, np.array([0, 343]))
        ['Adelie', 'Chinstrap']
    """
    target = splits.target
    if target.task == "classification":
        return [target.shown[number] for number in splits.labels(rows).tolist()]
    return [splits.table.cells(target.name, row) for row in rows.tolist()]


def example_row(model: Model, splits: Splits, contributions: bool = True) -> dict[str, Any]:
    """Follow the first measured row through a model: the body of `predict/example`.

    Args:
        model: A trained model.
        splits: The divided table that it was trained on.
        contributions: Whether each column's contribution to the prediction is computed.

    Returns:
        `row` (its number in the table), `part` such as "a test row", `truth`, `explanation`, and
        `set` or `interval` if the model is calibrated for them.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.rows import example_row
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species")
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> body = example_row(run.model, splits)
        >>> body["part"], body["truth"] in splits.target.classes
        ('a test row', True)
    """
    part, rows = measured_rows(splits)
    table = model.read(subset(splits.table, rows[:1]))
    explained = explain_rows(
        model, model.encoder, table, [0], model.typical if contributions else None
    )[0]
    if not contributions:
        explained = replace(explained, pushes_note=NO_TIME)
    explanation = explained.to_json()
    return {
        "row": int(splits.row_numbers(rows[:1])[0]), "part": f"a {part} row", "truth": true_values(splits, rows[:1])[0],
        "explanation": explanation, **conformal_output(model, explanation),
    }  # fmt: skip


def explained_rows(
    model: Model, splits: Splits, seed: int, most: int | None = None
) -> dict[str, Any]:
    """Follow a sample of rows through a model: the body of `predict/rows`.

    The sample comes from the validation rows; without any from the test rows, then the training rows.

    Args:
        model: A trained model.
        splits: The divided table that it was trained on.
        seed: Seed of the sample, if there are more rows than are explained (50; fewer for wide
            tables).
        most: The most rows; None means 50, and fewer for wide tables.

    Returns:
        `part`, `of` (how many rows the part has), `sentence` (how the sample was taken) and `rows`:
        each `row`, `truth`, `right` (None for regression and for rows without a prediction),
        `explanation`, and `set` or `interval`.

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.rows import explained_rows
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species", valid=0, test=0.1)
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> body = explained_rows(run.model, splits, seed=0)
        >>> body["sentence"], len(body["rows"])
        ('all 34 test rows', 34)
    """
    parts = (("validation", splits.valid), ("test", splits.test), ("training", splits.train))
    part, rows = next((part, rows) for part, rows in parts if len(rows))
    most = rows_explained(len(model.encoder.encodings)) if most is None else most
    sample, sentence = rows, f"all {len(rows):,} {part} rows"
    if len(rows) > most:
        sample = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        sentence = f"{most} of the {len(rows):,} {part} rows, drawn at random with the run's seed"
    table = model.read(subset(splits.table, sample))
    explanations = model.explain_rows(table, list(range(len(sample))))
    explained = []
    for row, truth, explanation in zip(
        splits.row_numbers(sample).tolist(), true_values(splits, sample), explanations, strict=True
    ):
        known = splits.target.task == "classification" and explanation.prediction is not None
        explained.append({
            "row": row, "truth": truth, "right": explanation.prediction == truth if known else None,
            "explanation": _shortened(explanation),
            **conformal_output(model, explanation.to_json()),
        })  # fmt: skip
    return {"part": part, "of": len(rows), "sentence": sentence, "rows": explained}


# ------------------------------------------------------------- helpers


def _shortened(explanation: Explanation) -> dict[str, Any]:
    """Round an explanation's numbers, but not those of the table: values, classes, predictions."""
    exact = explanation.to_json()
    body = {**rounded(exact), **{name: exact[name] for name in UNROUNDED}}
    if exact["pushes"] is not None:
        body["pushes"]["of"] = exact["pushes"]["of"]  # a class, which may be a number
    return body
