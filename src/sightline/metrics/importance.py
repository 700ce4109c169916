"""Permutation importance: how much a metric gets worse when the values of one column are shuffled.

Breiman 2001, "Random forests"; for any model Fisher, Rudin and Dominici 2019, "All models are
wrong, but many are useful". Shuffling gives each row the column's value of another row: the values
stay realistic, but they no longer tell anything about the row. The rise of the metric is the column's
importance. A column that another column can replace looks less important than it is.

Letters: N rows, S shuffles, D numbers, C codes, G columns of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.modes import evaluating
from sightline.contracts import Spec
from sightline.errors import DataError, OptionError, counted, readable
from sightline.load.table import Table
from sightline.metrics.measure import log_loss
from sightline.prepare.encode import Encoded, Encoder
from sightline.prepare.inputs import InputColumns, input_columns
from sightline.trace.records import rounded

SAMPLED_ROWS = 2_000
"""The largest number of rows that are measured; of more rows a random sample is drawn."""
FEWEST_SAMPLED_ROWS = 200
"""The sample is not made smaller than this, however many columns there are."""
PREDICTION_BUDGET = 2_000_000
"""Predictions in all (rows x columns x repeats): with more columns the sample has fewer rows."""
ROWS_AT_ONCE = 1_024
"""Shuffles of few rows are predicted together, in batches of at most this many rows."""
VALUES_AT_ONCE = 2**21
"""The largest number of values in a tensor of shuffled rows: 8 MB of float32."""


class TensorModel(Protocol):
    """What permutation importance needs of a model; `sightline.Model` is one.

    Attributes:
        spec: The network's inputs and the target.
        encoder: The fitted encoder.
        modules: Everything that must be in evaluation mode while the model predicts.
    """

    spec: Spec
    encoder: Encoder

    @property
    def modules(self) -> list[nn.Module]:
        """The modules of all parts."""
        ...

    def inputs(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """Turn encoded rows into numeric [B, D] and categorical [B, C]."""
        ...

    def outputs(self, numeric_BD: Tensor, codes_BC: Tensor) -> Tensor:
        """Return probabilities [B, K], or numbers [B, 1]."""
        ...


def importance(
    model: TensorModel,
    table: Table,
    truth: np.ndarray,
    usable: np.ndarray,
    part: str,
    *,
    repeats: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how much the metric rises when one column is shuffled: the body of `predict/importance`.

    All inputs of the network that were made from the same column of the table are shuffled together.

    Args:
        model: The model.
        table: Rows, as the model has read them.
        truth: Their targets, [rows]: int64 class numbers, or numbers.
        usable: Which rows have a target and could be read, bool [rows].
        part: What these rows are called, such as "test".
        repeats: How often each column is shuffled, from 1.
        seed: Decides the shuffles and, of many rows, which are drawn; from 0.

    Returns:
        `metric` ("log_loss", or "rmse" in the target's unit), `part`, `rows`, `repeats`, `value`
        (the metric without shuffling), `columns` (each `column`, and the `mean` and standard
        `deviation` of the metric's rise over the repeats; the largest mean first) and a `sentence`.
        Numbers are rounded to 5 significant digits.

    Raises:
        DataError: No row has a target and readable features.
        OptionError: repeats or seed is not a whole number, or too small.

    Example:
        >>> import sightline as sl
        >>> from sightline.metrics.importance import importance
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> predictions = run.model.predictions("examples/penguins.csv")
        >>> truth, usable = run.model.truth(predictions)
        >>> body = importance(run.model, predictions.table, truth, usable, "all", repeats=2)
        >>> body["metric"], body["rows"], len(body["columns"])
        ('log_loss', 344, 7)
    """
    _check_whole("repeats", repeats, 1)
    _check_whole("seed", seed, 0)
    known = np.flatnonzero(usable)
    if not len(known):
        raise DataError(
            f"{table.name} has no row with a target.", "Give rows whose target is known."
        )
    columns = input_columns(model.encoder, model.spec)
    random = np.random.default_rng(seed)
    rows = _sample(known, len(columns.names) * repeats, random)
    truth = truth[rows]
    classification = model.spec.target.task == "classification"

    def metric(values_NK: np.ndarray) -> float:
        if classification:
            return log_loss(values_NK, truth)
        return float(np.sqrt(np.square(values_NK[:, 0] - truth).mean()))

    numeric_ND, codes_NC = model.inputs(model.encoder.open(table)(rows))
    with evaluating(*model.modules):
        value = metric(model.outputs(numeric_ND, codes_NC).cpu().numpy())
        shuffled = _shuffled_metrics(model, numeric_ND, codes_NC, columns, repeats, random, metric)
    rises = shuffled - value
    ranked: list[dict[str, Any]] = [
        {"column": name, "mean": float(rise.mean()), "deviation": float(rise.std())}
        for name, rise in zip(columns.names, rises, strict=True)
    ]
    ranked.sort(key=lambda column: column["mean"], reverse=True)
    body: dict[str, Any] = rounded({
        "metric": "log_loss" if classification else "rmse", "part": part,
        "rows": len(rows), "repeats": repeats, "value": value, "columns": ranked,
        "sentence": _sentence(classification, len(rows), len(known), repeats, value, ranked[0]),
    })  # fmt: skip
    return body


def _sample(known: np.ndarray, shuffles: int, random: np.random.Generator) -> np.ndarray:
    """Return the rows to measure on: all, or a random sample that keeps within the budget."""
    most = min(SAMPLED_ROWS, max(FEWEST_SAMPLED_ROWS, PREDICTION_BUDGET // shuffles))
    if len(known) <= most:
        return known
    return np.sort(random.choice(known, most, replace=False))


def _shuffled_metrics(
    model: TensorModel,
    numeric_ND: Tensor,
    codes_NC: Tensor,
    columns: InputColumns,
    repeats: int,
    random: np.random.Generator,
    metric: Callable[[np.ndarray], float],
) -> np.ndarray:
    """Return the metric with each column shuffled in turn, float64 [G, repeats]."""
    rows, width = len(numeric_ND), numeric_ND.shape[1] + codes_NC.shape[1]
    inputs = [
        (np.flatnonzero(columns.numeric == number), np.flatnonzero(columns.categorical == number))
        for number in range(len(columns.names))
    ]
    turns = np.repeat(np.arange(len(inputs)), repeats)
    together = max(min(ROWS_AT_ONCE // rows, VALUES_AT_ONCE // (rows * width)), 1)
    metrics: list[float] = []
    for start in range(0, len(turns), together):
        batch = turns[start : start + together]
        numeric_SND = numeric_ND.repeat(len(batch), 1, 1)
        codes_SNC = codes_NC.repeat(len(batch), 1, 1)
        for shuffle, column in enumerate(batch):
            order = torch.from_numpy(random.permutation(rows))
            numbers, codes = inputs[column]
            numeric_SND[shuffle][:, numbers] = numeric_ND[:, numbers][order]
            codes_SNC[shuffle][:, codes] = codes_NC[:, codes][order]
        values_BK = model.outputs(numeric_SND.flatten(0, 1), codes_SNC.flatten(0, 1))
        metrics += map(metric, values_BK.cpu().numpy().reshape(len(batch), rows, -1))
    return np.array(metrics).reshape(len(inputs), repeats)


def _sentence(
    classification: bool, rows: int, of: int, repeats: int, value: float, first: dict[str, Any]
) -> str:
    """Return what was measured and which column matters most, in words."""
    which = (
        f"{rows:,} of {counted(of, 'row')}, drawn at random" if rows < of else counted(rows, "row")
    )
    metric = "log loss" if classification else "RMSE"
    times = f"{repeats} times" if repeats > 1 else "once"
    most = "no column makes it rise when its values are shuffled among the rows"
    if first["mean"] > 0:
        most = (
            f"it rises most, by {readable(first['mean'], 3)}, when the values of {first['column']} are "
            "shuffled among the rows"
        )
    return f"On {which} the {metric} is {readable(value, 3)}; {most}. Each column was shuffled {times}."


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OptionError(f"{name} is {value!r}.", f"Give a whole number from {least}.")
