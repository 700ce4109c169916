"""Permutation importance: how much worse a model gets when one column tells nothing.

Breiman 2001, "Random forests"; for any model Fisher, Rudin and Dominici 2019, "All models are
wrong, but many are useful". A column's values are shuffled among the rows, so that they stay
what they are and belong to other rows; the metric's rise is what the column was good for. A
column that another one can stand in for looks less important than it is.

Letters: N rows, D numbers, C codes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sightline.errors import DataError, OptionError, counted, readable
from sightline.metrics.measure import log_loss
from sightline.predict.attributions import VALUES_AT_ONCE, input_columns
from sightline.predict.path import evaluating
from sightline.trace.records import rounded

if TYPE_CHECKING:
    from sightline.predict.model import Model, Predictions

MOST_ROWS = 2_000
FEWEST_ROWS = 200
PREDICTED = 2_000_000
"""So many rows are predicted in all, unless that leaves fewer than the fewest to each shuffle."""
ROWS_AT_ONCE = 1_024
"""Shuffles of few rows are predicted together, so many rows at most."""


def importance(
    model: Model, found: Predictions, part: str, *, repeats: int = 5, seed: int = 0
) -> dict[str, Any]:
    """Measure how much the metric rises when one column is shuffled: `predict/importance`.

    All inputs of the network that are made of one column of the table are shuffled together.

    Args:
        model: The model.
        found: Its predictions for rows with a target.
        part: What to call these rows.
        repeats: How often each column is shuffled.
        seed: Decides the shuffles and, of many rows, which are used.

    Returns:
        `metric` ("log_loss", or "rmse" in the target's unit), `part`, `rows`, `repeats`, `value`
        (the metric unshuffled), `columns` (each `column`, and the `mean` and `deviation` of the
        metric's rise over the repeats; the largest mean first) and a `sentence`. Numbers have 5
        significant digits.

    Raises:
        DataError: No row has a target and readable features.
        OptionError: repeats is not a whole number from 1, or seed not one from 0.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.importance import importance
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=30, quiet=True)
        >>> found = run.model.predictions("examples/penguins.csv")
        >>> said = importance(run.model, found, "all", repeats=2)
        >>> said["metric"], said["rows"], len(said["columns"])
        ('log_loss', 344, 7)
    """
    _check("repeats", repeats, 1)
    _check("seed", seed, 0)
    truth, usable = model.truth(found)
    known = np.flatnonzero(usable)
    if not len(known):
        raise DataError(
            f"{found.table.name} has no row with a target.", "Give rows to compare with."
        )
    names, number_at, code_at = input_columns(model)
    most = min(MOST_ROWS, max(FEWEST_ROWS, PREDICTED // (len(names) * repeats)))
    random = np.random.default_rng(seed)
    rows = known
    if len(known) > most:
        rows = np.sort(random.choice(known, most, replace=False))
    truth = truth[rows]
    numeric_ND, codes_NC = model.inputs(model.encoder.open(found.table)(rows))

    def measured(values_NK: np.ndarray) -> float:
        if model.task.classification:
            return log_loss(values_NK, truth)
        return float(np.sqrt(np.square(values_NK[:, 0] - truth).mean()))

    count, width = len(rows), numeric_ND.shape[1] + codes_NC.shape[1]
    places = np.repeat(np.arange(len(names)), repeats)
    together = max(min(ROWS_AT_ONCE // count, VALUES_AT_ONCE // (count * width)), 1)
    own = [
        (np.flatnonzero(number_at == place), np.flatnonzero(code_at == place))
        for place in range(len(names))
    ]
    shuffled: list[float] = []
    with evaluating(model.network):
        value = measured(model.outputs(numeric_ND, codes_NC).cpu().numpy())
        for start in range(0, len(places), together):
            some = places[start : start + together]
            numeric_SND, codes_SNC = (
                numeric_ND.repeat(len(some), 1, 1),
                codes_NC.repeat(len(some), 1, 1),
            )
            for number, place in enumerate(some):
                order = torch.from_numpy(random.permutation(count))
                for all_SNX, of_NX, mine in zip((numeric_SND, codes_SNC), (numeric_ND, codes_NC), own[place], strict=True):  # fmt: skip
                    all_SNX[number][:, mine] = of_NX[:, mine][order]
            values_BK = model.outputs(numeric_SND.flatten(0, 1), codes_SNC.flatten(0, 1))
            shuffled += map(measured, values_BK.cpu().numpy().reshape(len(some), count, -1))
    rises = np.array(shuffled).reshape(len(names), repeats) - value
    columns: list[dict[str, Any]] = [
        {"column": name, "mean": float(rise.mean()), "deviation": float(rise.std())}
        for name, rise in zip(names, rises, strict=True)
    ]
    columns.sort(key=lambda column: column["mean"], reverse=True)
    said: dict[str, Any] = rounded({
        "metric": "log_loss" if model.task.classification else "rmse", "part": part,
        "rows": len(rows), "repeats": repeats, "value": value, "columns": columns,
        "sentence": _sentence(model, len(rows), len(known), repeats, value, columns[0]),
    })  # fmt: skip
    return said


def _sentence(
    model: Model, rows: int, of: int, repeats: int, value: float, first: dict[str, Any]
) -> str:
    """Say what was done, and what came of it."""
    which = (
        f"{rows:,} of {counted(of, 'row')}, drawn at random" if rows < of else counted(rows, "row")
    )
    metric = "log loss" if model.task.classification else "RMSE"
    times = f"{repeats} times" if repeats > 1 else "once"
    best = "no column makes it rise when its values are shuffled among the rows"
    if first["mean"] > 0:
        best = (
            f"it rises most, by {readable(first['mean'], 3)}, when the values of {first['column']} are "
            "shuffled among the rows"
        )
    return f"On {which} the {metric} is {readable(value, 3)}; {best}. Each column was shuffled {times}."


def _check(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} is {value!r}.", f"Give a whole number from {least}.")
