"""The columns that a served model takes: their types in JSON, their tensors, and the check of one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from sightline.contracts import Column, Schema, traits_of
from sightline.contracts.exported import mask_name
from sightline.errors import listed, readable, shorten
from sightline.load.values import MISSING_DATE, date_example, date_text
from sightline.serve.errors import Refused, bad
from sightline.serve.tensors import FLOATS, INTEGERS, Tensor

SHOWN_CATEGORIES = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TYPE_NAMES = {int: "number", float: "number", bool: "boolean", str: "string", type(None): "null"}


@dataclass(frozen=True)
class Input:
    """One column as clients give it.

    Attributes:
        name: The column's.
        kind: Its kind, such as "numeric".
        datatype: Of its tensor in the Open Inference Protocol.
        accepted: Further datatypes that are taken.
        types: The Python types of its JSON values.
        schema: Its JSON schema, with the training range or the categories.
        said: What a value must be, in words.
    """

    name: str
    kind: str
    datatype: str
    accepted: tuple[str, ...]
    types: frozenset[type]
    schema: dict[str, Any]
    said: str

    def refuse(self, value: Any, row: int) -> Refused:
        """Return the answer to a value of a wrong type."""
        given = TYPE_NAMES.get(type(value), "list" if isinstance(value, list) else "object")
        shown = shorten(repr(value), 40)
        return bad(f"Row {row:,}, column {self.name!r}: {self.said} is expected, not the {given} {shown}.")  # fmt: skip

    def values(self, tensor: Tensor) -> list[Any]:
        """Return a tensor's values as those of a row: None where missing.

        Raises:
            Refused: The datatype or the shape is not the column's, or a value is not valid.
        """
        if tensor.datatype not in (self.datatype, *self.accepted):
            raise bad(
                f"The input {self.name!r} has the datatype {tensor.datatype}; it takes "
                f"{' or '.join((self.datatype, *self.accepted[:1]))}."
            )
        if len(tensor.shape) not in (1, 2) or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
            raise bad(f"The input {self.name!r} has the shape {list(tensor.shape)}; it takes [rows, 1].")  # fmt: skip
        found = tensor.values
        if tensor.datatype == "BYTES":
            return [value or None for value in found]
        if self.kind == "datetime":
            return [_moment(value, self.name, row) for row, value in enumerate(found)]
        return found


def inputs_of(schema: Schema) -> tuple[Input, ...]:
    """Return the inputs of a model with this schema, in its order.

    Example:
        >>> import sightline as sl
        >>> from sightline.serve.inputs import inputs_of
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> [(one.name, one.datatype) for one in inputs_of(run.model.encoder.schema)][:2]
        [('island', 'BYTES'), ('bill_length_mm', 'FP64')]
    """
    return tuple(_input(schema, column) for column in schema.features)


def _input(schema: Schema, column: Column) -> Input:
    name, storage = column.name, traits_of(column.kind).storage
    types: set[type] = {type(None)}
    shown: dict[str, Any]
    match storage:
        case "numbers":
            datatype, accepted = "FP64", (*FLOATS, *INTEGERS)
            types |= {int, float}
            shown = {"type": ["number", "null"], **_range(schema, name)}
            said = "a number or null"
            if column.number_format is not None:
                accepted = (*accepted, "BYTES")
                types.add(str)
                shown["type"] = ["number", "string", "null"]
                said = f"a number, a text such as {column.number_format.example!r}, or null"
        case "flags":
            datatype, accepted = "BOOL", ()
            types.add(bool)
            shown, said = {"type": ["boolean", "null"]}, "true, false or null"
        case "moments":
            datatype, accepted = "INT64", ("BYTES",)
            types.add(str)
            example = _date_example(schema, column)
            shown = {"type": ["string", "null"], **example}
            said = f"a date such as {example.get('examples', ['2024-05-31'])[0]!r}, or null"
            if column.format in (None, "iso"):
                shown["anyOf"] = [
                    {"type": "null"}, {"const": ""}, {"format": "date"}, {"format": "date-time"},
                ]  # fmt: skip
        case "words":
            datatype, accepted = "BYTES", ()
            types.add(str)
            shown, said = {"type": ["string", "null"]}, "a text or null"
            if column.values in ("integer", "float"):
                accepted = (*INTEGERS, *(FLOATS if column.values == "float" else ()))
                types |= {int, float} if column.values == "float" else {int}
                number = "number" if column.values == "float" else "integer"
                shown["type"] = ["string", number, "null"]
                said = "a text, a number or null"
            words = schema.vocabularies.get(name, ())
            if column.kind == "categorical" and words:
                shown["examples"] = list(words[:SHOWN_CATEGORIES])
                shown["description"] = f"Known values: {listed(words, 12)}."
        case _:
            assert_never(storage)
    return Input(name, column.kind, datatype, accepted, frozenset(types), shown, said)


def _range(schema: Schema, name: str) -> dict[str, Any]:
    low, high = schema.ranges[name]
    return {
        "description": f"In training from {readable(low, 6)} to {readable(high, 6)}.",
        "examples": [low, high],
    }  # fmt: skip


def _date_example(schema: Schema, column: Column) -> dict[str, Any]:
    low, high = (int(end) for end in schema.ranges[column.name])
    said = f"In training from {date_text(low)} to {date_text(high)}."
    if column.format is not None and column.format != "iso":
        shown = date_example(column.format)
        return {"description": f"{said} Written as {shown}.", "examples": [shown]}
    return {"description": said, "examples": [date_text(low)]}


def _moment(value: int, name: str, row: int) -> datetime | None:
    if value is None or value == MISSING_DATE:
        return None
    try:
        return EPOCH + timedelta(microseconds=int(value))
    except OverflowError as error:
        raise bad(
            f"Row {row:,}, column {name!r}: {value} microseconds since 1970 is no date."
        ) from error


# ------------------------------------------------------------- tensors to rows


def rows_of(inputs: Sequence[Input], tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Return the rows that a request's tensors hold, one tensor for each column.

    A truth value has a second, optional input, "NAME is missing".

    Raises:
        Refused: A column is missing, unknown or given twice, or the tensors have different numbers of rows.

    Example:
        >>> import sightline as sl
        >>> from sightline.serve.inputs import inputs_of, rows_of
        >>> from sightline.serve.tensors import Tensor
        >>> run = sl.fit({"x": [i / 4 for i in range(40)], "y": [0, 1] * 20}, "y", network="MLP", epochs=1, quiet=True)
        >>> rows_of(inputs_of(run.model.encoder.schema), [Tensor("x", "FP64", (2, 1), [1.5, None])])
        [{'x': 1.5}, {'x': None}]
    """
    given: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.name in given:
            raise bad(f"The input {tensor.name!r} is given twice.")
        given[tensor.name] = tensor
    absent = [one.name for one in inputs if one.name not in given]
    if absent:
        raise bad(f"Inputs that the model needs are missing: {listed(list(map(repr, absent)), 12)}.")  # fmt: skip
    columns: dict[str, list[Any]] = {}
    names = [one.name for one in inputs]
    for one in inputs:
        values = one.values(given.pop(one.name))
        mask = given.pop(mask_name(one.name, names), None) if one.datatype == "BOOL" else None
        if mask is not None:
            if mask.datatype != "BOOL" or len(mask.values) != len(values):
                raise bad(f"The input {mask.name!r} must be BOOL, with a value for each row.")
            values = [None if gone else value for gone, value in zip(mask.values, values, strict=True)]  # fmt: skip
        columns[one.name] = values
    if given:
        raise bad(f"The model has no inputs {listed(list(map(repr, given)), 12)}.")
    counts = {name: len(values) for name, values in columns.items()}
    if len(set(counts.values())) > 1:
        first, *_ = counts
        other = next(name for name in counts if counts[name] != counts[first])
        raise bad(
            f"The inputs {first!r} and {other!r} have {counts[first]:,} and {counts[other]:,} rows."
        )
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]  # fmt: skip


def check_row(inputs: Sequence[Input], row: Any, number: int) -> dict[str, Any]:
    """Return the values of a JSON object for the columns, each of the type of its column.

    Raises:
        Refused: It is no object, a column is missing, or a value has another type.
    """
    if not isinstance(row, dict):
        raise bad(f"Row {number:,} is no JSON object.")
    checked = {}
    for one in inputs:
        try:
            value = row[one.name]
        except KeyError:
            absent = [repr(other.name) for other in inputs if other.name not in row]
            raise bad(
                f"Row {number:,} lacks the columns {listed(absent, 12)}. Give null for a missing value."
            ) from None
        if type(value) not in one.types:
            raise one.refuse(value, number)
        checked[one.name] = value
    return checked
