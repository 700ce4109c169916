"""The check of an export: the file must answer as the model does, on usual and on nasty rows.

Letters: N rows, K classes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.contracts import Column, traits_of
from sightline.errors import DataWarning, ExportError, counted, shorten
from sightline.load.values import MISSING_DATE
from sightline.predict.bundle import Contents
from sightline.predict.onnx_model import OnnxModel
from sightline.predict.tables import Predictions, TableModel
from sightline.prepare.encode import Encoder
from sightline.prepare.transform import Transform

USUAL_ROWS = 1_000
"""Rows that are drawn from the ranges and the vocabularies of the training rows."""
TOLERANCE = 1e-5
"""The largest difference of a probability, or of a number in standard deviations of the target."""
MOST_WORDS = 40
"""Values of a category that each get a row, at most."""
LONG_TEXT = 10_000
YEARS, LEAP_DAY = 40_000 * 86_400_000_000, 951_782_400_000_000
"""About 110 years, and 2000-02-29, in microseconds."""
REPORT = "Please report this with the model; until then serve it with PyTorch."
BATCHES = (1, 2, 3)
"""Numbers of rows that are run apart: a graph may have taken one for a constant."""


@dataclass(frozen=True)
class Rows:
    """Rows to compare on.

    Attributes:
        columns: Their values by column.
        changed: Of each row the column that holds a nasty value, or None.
    """

    columns: dict[str, list[Any]]
    changed: list[str | None]


def checked(
    model: TableModel, contents: Contents, proto: Any, data: Any = None
) -> tuple[bytes, dict[str, Any]]:
    """Compare an ONNX model with the model that it was made of.

    Args:
        model: The model, which answers.
        contents: What it is made of.
        proto: The ONNX model.
        data: Rows of the user, compared as well: anything `Model.predict` takes; or None.

    Returns:
        The bytes of the ONNX model, and as `Model.to_onnx` how it compares.

    Raises:
        ExportError: They differ; it names the row and the column.
    """
    content: bytes = proto.SerializeToString()
    named = Path("the exported model")
    exported = OnnxModel.of(content, named)
    made = nasty_rows(model.encoder, contents.transform)
    results = [_Comparison(model, contents, exported, made).on(made.columns)]
    if data is not None:
        results.append(_Comparison(model, contents, exported).on(data))
    return content, {
        "rows": sum(result["rows"] for result in results),
        "largest_difference": max(result["largest_difference"] for result in results),
        "ties": sum(result["ties"] for result in results),
        "bytes": len(content),
    }


@dataclass(frozen=True)
class _Comparison:
    """Compares the answers of a model and of its export; `made` are the rows, if they are made up."""

    model: TableModel
    contents: Contents
    exported: OnnxModel
    made: Rows | None = None

    def on(self, data: Any) -> dict[str, Any]:
        """Compare on some rows: all at once, then few at a time."""
        with warnings.catch_warnings():
            # Nasty rows are unlike training on purpose.
            warnings.simplefilter("ignore", DataWarning)
            theirs = self.model.predictions(data)
            inputs = self.exported.inputs(theirs.table)
            found = self._run(inputs)
            ours = self.exported.predictions(theirs.table)
        good = np.delete(np.arange(len(theirs.labels)), [row for row, _ in theirs.bad])
        difference = self._values(theirs, found, good)
        self._values(theirs, ours.values[good], good)
        for start, rows in zip(np.cumsum((0, *BATCHES)).tolist(), BATCHES, strict=False):
            part = slice(start, start + rows)
            if len(good[part]):
                found = self._run({name: values[part] for name, values in inputs.items()})
                self._values(theirs, found, good[part])
        self._other_outputs(inputs)
        return {
            "rows": len(good), "largest_difference": float(difference.max(initial=0.0)),
            "ties": self._ties(theirs, ours, good),
        }  # fmt: skip

    def _run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Run the graph on some rows."""
        try:
            return self.exported.run(dict(inputs))
        except Exception as error:
            count = len(next(iter(inputs.values())))
            raise ExportError(
                f"ONNX Runtime cannot run the graph on {counted(count, 'row')}: {shorten(str(error), 300)}.",
                "The network may have been traced with a fixed number of rows; serve it with PyTorch.",
            ) from error

    def _values(self, theirs: Predictions, found: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return each row's largest difference, in standard deviations of the target for numbers."""
        expected = theirs.values[rows]
        if expected.shape != found.shape:
            raise ExportError(
                f"The ONNX graph answers with {list(found.shape)} values where the model has {list(expected.shape)}.",
                REPORT,
            )
        scale = 1.0 if self.model.classification else self.contents.task.scale
        difference: np.ndarray = np.abs(expected.astype(np.float64) - found).max(axis=1) / scale
        difference = np.where(np.isnan(difference), np.inf, difference)
        worst = int(difference.argmax()) if len(difference) else 0
        if len(difference) and difference[worst] > TOLERANCE:
            in_unit = "" if self.model.classification else " standard deviations of the target"
            raise ExportError(
                f"The ONNX graph differs from the model by {difference[worst]:.3g}{in_unit}, more than {TOLERANCE:g}, "
                f"in {self._place(theirs, int(rows[worst]))}: {found[worst].tolist()} instead of "
                f"{expected[worst].tolist()}.",
                REPORT,
            )
        return difference

    def _other_outputs(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Compare the graph's own labels, and its sets or intervals, with those made from its values of the same run."""
        names, alpha = self.exported.output_names, self.exported.metadata["alpha"]
        made: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "label": self.exported.decode,
            "set": lambda values: self.exported.sets(values, alpha),
            "interval": lambda values: self.exported.intervals(values, alpha),
        }
        others = [what for what in made if what in names]
        main = "probabilities" if self.model.classification else "value"
        # A run of other rows, or of more of them, may round otherwise in the last bits.
        values, *outputs = self.exported.session.run(
            [names[what] for what in (main, *others)], dict(inputs)
        )
        values_NK = values.reshape(len(values), -1)
        for what, array in zip(others, outputs, strict=True):
            expected = made[what](values_NK)
            same = (
                np.allclose(expected, array, rtol=1e-12)
                if what == "interval"
                else np.array_equal(expected, array)
            )
            if not same:
                raise ExportError(
                    f"The ONNX graph's output {names[what]!r} does not follow from its "
                    f"{'probabilities' if self.model.classification else 'numbers'}.",
                    REPORT,
                )

    def _ties(self, theirs: Predictions, ours: Predictions, rows: np.ndarray) -> int:
        """Count the rows whose label differs because two classes, or the threshold, are that close."""
        if not self.model.classification:
            return 0
        apart = rows[theirs.labels[rows] != ours.labels[rows]]
        target, threshold = self.model.spec.target, self.model.threshold
        for row in apart.tolist():
            values = theirs.values[row].astype(np.float64)
            if threshold is not None and target.positive is not None:
                gap = abs(values[target.classes.index(target.positive)] - threshold.value)
            else:
                gap = np.diff(np.sort(values)[-2:])[0]
            if gap > TOLERANCE:
                raise ExportError(
                    f"The ONNX graph decides for {ours.labels[row]!r} and the model for {theirs.labels[row]!r} in "
                    f"{self._place(theirs, row)}.",
                    REPORT,
                )
        return len(apart)

    def _place(self, theirs: Predictions, row: int) -> str:
        """Name a row, and the column that holds its nasty value."""
        column = None if self.made is None else self.made.changed[row]
        if self.made is not None and column is not None:
            value = shorten(repr(self.made.columns[column][row]), 60)
            return f"a made-up row, in which the column {column!r} is {value}"
        names = [column.name for column in theirs.table.schema.features][:10]
        cells = {name: theirs.table.cells(name, row) for name in names}
        return f"row {row:,} ({shorten(str(cells), 300)})"


# ------------------------------------------------------------- rows


def nasty_rows(encoder: Encoder, transform: Transform, seed: int = 0) -> Rows:
    """Make rows to compare on: usual ones, then for each column one row with each nasty value.

    Nasty are missing and unseen values, those at the ends of the training range and next to them, the
    largest numbers, -0.0, early and late dates, and long texts.

    Args:
        encoder, transform: Their schema and statistics say what is usual.
        seed: Decides the usual rows.

    Example:
        >>> import sightline as sl
        >>> from sightline.predict.parity import nasty_rows
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> rows = nasty_rows(run.model.encoder, run.model.transform)
        >>> rows.changed[0], rows.changed[-1]
        (None, 'year')
    """
    random = np.random.default_rng(seed)
    features = encoder.schema.features
    columns = {column.name: _usual(encoder, column, random) for column in features}
    changed: list[str | None] = [None] * USUAL_ROWS
    for column in features:
        for number, value in enumerate(_nasty(encoder, transform, column)):
            for name, values in columns.items():
                values.append(value if name == column.name else values[number % USUAL_ROWS])
            changed.append(column.name)
    return Rows(columns, changed)


def _usual(encoder: Encoder, column: Column, random: np.random.Generator) -> list[Any]:
    """Draw values of a column from its range or its vocabulary, one in twenty of them missing."""
    schema = encoder.schema
    words = list(schema.vocabularies.get(column.name, ()))
    values: list[Any]
    match traits_of(column.kind).storage:
        case "flags":
            values = random.choice([True, False], USUAL_ROWS).tolist()
        case "words" if column.kind == "text":
            values = [
                " ".join(random.choice(words or [""], random.integers(1, 6)).tolist())
                for _ in range(USUAL_ROWS)
            ]
        case "words":
            values = random.choice(words or [""], USUAL_ROWS).tolist()
        case "moments":
            first, last = (int(end) for end in schema.ranges[column.name])
            values = [
                _moment(t) for t in random.integers(first, last, USUAL_ROWS, endpoint=True).tolist()
            ]
        case _:
            low, high = schema.ranges[column.name]
            numbers = random.uniform(low / 2, high / 2, USUAL_ROWS) * 2
            values = (numbers.round() if column.values == "integer" else numbers).tolist()
    for row in np.flatnonzero(random.random(USUAL_ROWS) < 0.05).tolist():
        values[row] = None
    return values


def _nasty(encoder: Encoder, transform: Transform, column: Column) -> list[Any]:
    schema = encoder.schema
    match traits_of(column.kind).storage:
        case "flags":
            return [True, False, None]
        case "words":
            words = list(schema.vocabularies.get(column.name, ()))
            return [
                *words[:MOST_WORDS],
                None,
                "",
                "never seen",
                "x" * LONG_TEXT,
                "é ß 漢 🙂",
                *_spelled(words),
            ]
        case "moments":
            first, last = (int(end) for end in schema.ranges[column.name])
            times = [first, last, first - 1, last + 1, first - YEARS, last + YEARS, -1, 0, LEAP_DAY]
            return [None, *map(_moment, times)]
        case _:
            low, high = schema.ranges[column.name]
            ends: list[float] = [
                math.nextafter(end, way) for end in (low, high) for way in (-math.inf, math.inf)
            ]
            return [
                None, float("nan"), float("inf"), float("-inf"), 0.0, -0.0, low, high, *ends, 5e-324, -1.7e308, 1.7e308,
                *_knots(encoder, transform, column.name),
            ]  # fmt: skip


def _spelled(words: list[str]) -> list[str]:
    """Return numbers among the known texts in other spellings, their neighbours, and texts that look like numbers."""
    digits = [word for word in words if word.isdecimal() and word.isascii()]
    return [
        "12e4567", "1e-400", "1e99", "0x1f", "1_000", "1,5", "nan",
        *(spelled for word in digits[:3] for spelled in (f"{word}.0", f"00{word}", f" {word}", f"+{word}")),
        *(str(int(word) + 1) for word in digits[:3]),
    ]  # fmt: skip


def _knots(encoder: Encoder, transform: Transform, column: str) -> list[float]:
    """Return knots of the quantile scaling, where it bends, and their neighbours."""
    if transform.scaling != "quantile":
        return []
    place = [name for _, name in encoder.numbers].index(column)
    knots = np.unique(transform.knots[place].numpy())[::32]
    return [
        float(value)
        for knot in knots
        for value in (knot, math.nextafter(knot, -math.inf), math.nextafter(knot, math.inf))
    ]


def _moment(microseconds: int) -> np.datetime64:
    return np.datetime64(max(microseconds, MISSING_DATE + 1), "us")
