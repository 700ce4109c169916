"""Stage 2 as ONNX nodes: raw columns become the features and the codes that the parts of a model take.

All arithmetic is in float64, in the order of `prepare/encode.py` and `prepare/transform.py`, and is cast to
float32 once, at the end: the features are those of PyTorch to the last bit.
Letters: N rows, A numbers, D features, C codes, W n-grams of a text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple, assert_never

import numpy as np

from sightline.contracts import traits_of
from sightline.contracts.exported import CODES, NUMBERS, mask_name
from sightline.export.graph import ML, Graph
from sightline.load.values import MISSING_DATE, missing_numbers
from sightline.prepare.encode import (
    DAY,
    FIRST_KNOWN,
    MISSING,
    UNSEEN,
    ColumnEncoding,
    Encoder,
)
from sightline.prepare.transform import FARTHEST, Transform

EXACT_NUMBER = (
    r"[+-]?(?:0*\d{1,15}(?:\.0*)?|0*\d{0,7}\.\d{1,8}|\d{1,7}(?:\.\d{0,7})?[eE][+-]?\d{1,2})"
)
"""The texts that a graph may convert to a number: their value has at most 15 digits, which float64 tells apart. ONNX
Runtime's own conversion reads "1,5" as 1, and "abc" or "1e999" stops the whole batch."""
DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?"
EPOCH_SHIFT, DAYS_OF_ERA = 719_468, 146_097
"""Days from 0000-03-01 to 1970-01-01, and the days of 400 years (Hinnant, "chrono-Compatible Low-Level Date
Algorithms")."""


class Prepared(NamedTuple):
    """The tensors that the preparation ends with.

    Attributes:
        features: float32 [N, D].
        codes: int64 [N, C]; None without categories.
        width, categories: D and C.
    """

    features: str
    codes: str | None
    width: int
    categories: int


def write_preparation(graph: Graph, encoder: Encoder, transform: Transform) -> Prepared:
    """Write the inputs and the preparation of a model.

    Each column is an input of its name, [N, 1]: a number as float64 (NaN is missing), a category as text ("" is
    missing), a date as int64 microseconds since 1970 UTC (the smallest int64 is missing), a truth value as bool,
    with an optional second input "NAME is missing". A text column is float64 [N, W]: 1 where it holds the n-gram, else
    0; NaN where it is missing.

    Example:
        >>> import sightline as sl
        >>> from sightline.export.graph import Graph
        >>> from sightline.export.preparation import write_preparation
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> graph = Graph()
        >>> _ = write_preparation(graph, prepared.encoder, prepared.transform)
        >>> list(graph.inputs)[:3]
        ['island', 'bill_length_mm', 'bill_depth_mm']
    """
    numbers: list[str] = []
    codes: list[str] = []
    for encoding in encoder.encodings:
        match encoding.how:
            case "number":
                numbers.append(_number(graph, encoder, encoding.column))
            case "words":
                words = len(encoder.schema.vocabularies[encoding.column])
                if words:
                    numbers.append(graph.input(encoding.column, np.float64, [words]))
            case "date":
                numbers += _date(graph, encoder, encoding)
            case "codes":
                codes.append(_codes(graph, encoder, encoding.column))
            case _:
                assert_never(encoding.how)
    all_codes = graph.op("Identity", graph.joined(codes), name=CODES) if codes else None
    if numbers:
        stacked = graph.op("Identity", graph.joined(numbers), name=NUMBERS)
        features = _scaled(graph, transform, stacked)
    else:
        assert all_codes is not None
        shape = graph.op("Shape", all_codes, start=0, end=1)
        shape = graph.op("Concat", shape, graph.constant([0], np.int64), axis=0)
        features = graph.op("ConstantOfShape", shape)
    return Prepared(
        graph.op("Identity", features, name="/features"), all_codes,
        len(encoder.numbers) + len(transform.flags), len(codes),
    )  # fmt: skip


def _number(graph: Graph, encoder: Encoder, column: str) -> str:
    """Take a number, [N, 1]; those that mean a missing value become NaN."""
    x = graph.input(column, np.float64, [1])
    for value in sorted(missing_numbers(encoder.schema.missing)):
        if math.isfinite(value):
            means_missing = graph.op("Equal", x, graph.constant([[value]]))
            x = graph.op("Where", means_missing, graph.constant([[np.nan]]), x)
    return x


# ------------------------------------------------------------- categories


def _codes(graph: Graph, encoder: Encoder, column: str) -> str:
    """Look up a category, [N, 1]: 0 missing, 1 unseen, 2.. known."""
    vocabulary = encoder.schema.vocabularies[column]
    code_of = {word: code for code, word in enumerate(vocabulary, start=FIRST_KNOWN)}
    if traits_of(encoder.schema[column].kind).storage == "flags":
        flag = graph.input(column, np.bool_, [1])
        absent = graph.optional_input(mask_name(column, encoder.columns), np.array([[False]]))
        known = [
            graph.constant([[code_of.get(word, UNSEEN)]], np.int64) for word in ("true", "false")
        ]
        return graph.op(
            "Where", absent, graph.constant([[MISSING]], np.int64), graph.op("Where", flag, *known)
        )
    text = graph.input(column, np.object_, [1])
    missing = {
        word: MISSING for word in ("", *(encoder.schema.missing or ())) if word not in code_of
    }
    keys = {**missing, **code_of}
    found = graph.op(
        "LabelEncoder", text, domain=ML, keys_strings=list(keys), values_int64s=list(keys.values()),
        default_int64=UNSEEN,
    )  # fmt: skip
    return found if encoder.schema.rules == 1 else _by_number(graph, text, found, code_of)


def _by_number(graph: Graph, text: str, found: str, code_of: Mapping[str, int]) -> str:
    """Find 3 where the text is 3.0 or 003, as `Spellings` does; codes of other texts stay as they are."""
    same = Counter(Decimal(word) for word in code_of if re.fullmatch(DECIMAL, word, re.ASCII))
    by_number = {
        float(word): code if same[Decimal(word)] == 1 else UNSEEN  # 7 and 007 are told apart
        for word, code in code_of.items()
        if re.fullmatch(EXACT_NUMBER, word, re.ASCII)
    }
    if not by_number:
        return found
    is_number = graph.op("RegexFullMatch", text, pattern=EXACT_NUMBER)
    number = graph.cast(
        graph.op("Where", is_number, text, graph.constant([["0"]], object)), np.float64
    )
    tensor = graph.onnx.numpy_helper.from_array
    spelled = graph.op(
        "LabelEncoder", number, domain=ML, keys_tensor=tensor(np.array(list(by_number), np.float64)),
        values_tensor=tensor(np.array(list(by_number.values()), np.int64)),
        default_tensor=tensor(np.array([UNSEEN], np.int64)),
    )  # fmt: skip
    unseen = graph.op("Equal", found, graph.constant([[UNSEEN]], np.int64))
    return graph.op("Where", graph.op("And", unseen, is_number), spelled, found)


# ------------------------------------------------------------- dates


def _date(graph: Graph, encoder: Encoder, encoding: ColumnEncoding) -> list[str]:
    """Turn microseconds into the days since the first date and the parts, float64 [N, 1] each."""
    first = int(encoder.schema.ranges[encoding.column][0])

    def number(value: int) -> str:
        return graph.constant([[value]], np.int64)

    def rest(x: str, divisor: int) -> str:
        """From 0 up, whatever the sign of x."""
        return graph.op("Mod", x, number(divisor))

    def floored(x: str, divisor: int) -> str:
        return graph.op("Div", graph.op("Sub", x, rest(x, divisor)), number(divisor))

    moment = graph.input(encoding.column, np.int64, [1])
    empty = graph.op("Equal", moment, number(MISSING_DATE))
    safe = graph.op("Where", empty, number(first), moment)
    elapsed = graph.op(
        "Div",
        graph.cast(graph.op("Sub", safe, number(first)), np.float64),
        graph.constant([[float(DAY)]]),
    )
    found = {"elapsed_days": elapsed}
    if encoding.parts:
        days = floored(safe, DAY)
        time = rest(safe, DAY)
        calendar = _calendar(graph, days, number, rest, floored)
        clock = {
            "hour": floored(time, 3_600_000_000),
            "minute": rest(floored(time, 60_000_000), 60),
        }
        found |= {part: graph.cast((calendar | clock)[part], np.float64) for part in encoding.parts}
    not_given = graph.constant([[np.nan]])
    return [graph.op("Where", empty, not_given, part) for part in found.values()]


def _calendar(graph: Graph, days: str, number: Any, rest: Any, floored: Any) -> dict[str, str]:
    """Return year, month, day and weekday of days since 1970, in integers."""

    def add(x: str, value: int) -> str:
        return graph.op("Add", x, number(value))

    def times(x: str, value: int) -> str:
        return graph.op("Mul", x, number(value))

    shifted = add(days, EPOCH_SHIFT)
    era, of_era = floored(shifted, DAYS_OF_ERA), rest(shifted, DAYS_OF_ERA)
    # Each day of a leap year's end is counted once: 1460, 36524 and 146096 days are the last of their span.
    leaps = graph.op(
        "Sub",
        graph.op("Add", floored(of_era, 1460), floored(of_era, 146_096)),
        floored(of_era, 36_524),
    )
    year_of_era = floored(graph.op("Sub", of_era, leaps), 365)
    before = graph.op(
        "Sub",
        graph.op("Add", times(year_of_era, 365), floored(year_of_era, 4)),
        floored(year_of_era, 100),
    )
    day_of_year = graph.op("Sub", of_era, before)  # from 1 March
    march_month = floored(add(times(day_of_year, 5), 2), 153)
    day = add(graph.op("Sub", day_of_year, floored(add(times(march_month, 153), 2), 5)), 1)
    late = graph.op("Less", march_month, number(10))
    month = graph.op("Where", late, add(march_month, 3), add(march_month, -9))
    year = graph.op("Add", year_of_era, times(era, 400))
    year = graph.op("Where", late, year, add(year, 1))
    return {"year": year, "month": month, "day": day, "weekday": rest(add(days, 3), 7)}


# ------------------------------------------------------------- numbers


def _scaled(graph: Graph, transform: Transform, numbers: str) -> str:
    """Fill, scale and flag the numbers [N, A]: float32 [N, D]."""
    missing = graph.op("IsNaN", numbers)
    x = graph.op("Where", missing, graph.constant(transform.fill.numpy()), numbers)
    if transform.scaling == "quantile":
        x = _normal(graph, transform, x)
    else:
        x = graph.op("Sub", x, graph.constant(transform.center.numpy()))
        x = graph.op("Div", x, graph.constant(transform.scale.numpy()))
        x = graph.op("Max", x, graph.constant(-FARTHEST, np.float64))
        x = graph.op("Min", x, graph.constant(FARTHEST, np.float64))
    if transform.scaling == "robust":
        third = graph.op("Div", x, graph.constant(3.0, np.float64))
        square = graph.op("Mul", third, third)
        root = graph.op("Sqrt", graph.op("Add", graph.constant(1.0, np.float64), square))
        x = graph.op("Div", x, root)
    flags = transform.flags.tolist()
    if not flags:
        return graph.cast(x, np.float32)
    flagged = graph.columns(missing, flags, len(transform.center))
    return graph.joined([graph.cast(x, np.float32), graph.cast(flagged, np.float32)])


def _normal(graph: Graph, transform: Transform, x: str) -> str:
    """Interpolate each value's normal score between its column's knots."""
    knots, scores = transform.knots.numpy(), transform.scores.numpy()
    x = graph.op("Max", x, graph.constant(knots[:, 0]))
    x = graph.op("Min", x, graph.constant(knots[:, -1]))
    # The unused knots at a column's end repeat the last one; they are left out.
    own = [np.unique(row) for row in knots]
    starts = np.cumsum([0, *map(len, own)])
    place = graph.search(
        x, own, np.float64, below=False,
        leaf=lambda column, count: float(starts[column] + max(count - 1, 0)),
    )  # fmt: skip
    place = graph.cast(place, np.int64)
    after = np.concatenate([scores[:, 1:], scores[:, -1:]], axis=1)

    def look_up(table: np.ndarray) -> str:
        used = [row[: len(cuts)] for row, cuts in zip(table, own, strict=True)]
        return graph.op("Gather", graph.constant(np.concatenate(used)), place)

    above = graph.op("Sub", x, look_up(knots))
    rise = graph.op("Mul", above, look_up(transform.slopes.numpy()))
    return graph.op("Min", graph.op("Add", rise, look_up(scores)), look_up(after))
