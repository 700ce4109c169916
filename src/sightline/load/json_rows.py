"""JSON files: one object a line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline.contracts import BadRow
from sightline.errors import DataError
from sightline.load.raw import Raw, RawRequest, raw_table
from sightline.load.text_files import encoding_of, readable, text_of


def open_json(files: list[Path], name: str, request: RawRequest) -> Raw:
    """Read files of one JSON object a line, or of one array of objects.

    Raises:
        DataError: A line or an item is no object, or there is none.
    """
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    bad: list[BadRow] = []
    skipped = 0
    for file in files:
        for place, row, error in _objects(file, request):
            if error and request.on_bad_rows == "error":
                raise DataError(
                    f"{file}, {place}: {error}.",
                    "Correct it, or leave such rows out with on_bad_rows='skip' (--on-bad-rows skip).",
                )
            if error and request.on_bad_rows == "skip":
                skipped += 1
                continue
            if error:
                bad.append(BadRow(len(rows), f"{file.name}, {place}: {error}"))
            rows.append(row)
            places.append(f"{file}, {place}")
    if not rows:
        unreadable = f" except {skipped:,} that could not be read" if skipped else ""
        raise DataError(
            f"{name} holds no rows{unreadable}.",
            "Write one JSON object a line, or an array of objects.",
        )
    names = list(dict.fromkeys(key for row in rows for key in row))
    if not names:
        raise DataError(
            f"{name} holds only empty objects.", 'Write objects with values, such as {"age": 31}.'
        )
    table = pa.table({key: _json_column([row.get(key) for row in rows]) for key in names})
    raw = raw_table(table, name, tuple(map(str, files)))

    def locate(row: int, column: str) -> tuple[str, str]:
        value = rows[row].get(names[table_names.index(column)])
        return places[row], _plain(value) if value is not None else "null"

    table_names = raw.table.column_names
    return replace(raw, bad=bad, skipped=skipped, locate=locate)


def _objects(path: Path, request: RawRequest) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield (place, object, error) for each row; the object is empty if there is an error."""
    form = encoding_of(path, request) or "utf-8"
    with text_of(path, form) as stream, readable(path, form):
        start = next((line for line in stream if line.strip()), "")
        if start.lstrip().startswith("["):
            yield from _array(path, start + stream.read())
            return
    with text_of(path, form) as lines, readable(path, form):
        for line, content in enumerate(lines, start=1):
            if content.strip():
                yield (f"line {line:,}", *_parse_line(content))


def _array(path: Path, content: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    try:
        items = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno:,}, character {error.colno:,}: not valid JSON ({error.msg}).",
            "Correct the file: one array of objects, or one object a line.",
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}).", "Correct the file.") from None
    for number, item in enumerate(items, start=1):
        yield (f"item {number:,}", *_checked(item))


def _parse_line(content: str) -> tuple[dict[str, Any], str]:
    """Return a line's object and "", or an empty object and what is wrong."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        return {}, f"not valid JSON ({error.msg} at character {error.pos + 1:,})"
    except (ValueError, RecursionError) as error:
        return {}, f"not valid JSON ({error})"
    return _checked(value)


def _checked(value: Any) -> tuple[dict[str, Any], str]:
    if not isinstance(value, dict):
        return {}, f"a JSON {type(value).__name__} instead of an object"
    try:  # "\\ud800" is half a character: valid in JSON, but not in a text
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        return {}, f"not valid JSON ({error})"
    return value, ""


def _json_column(values: list[Any]) -> pa.Array:
    """Make an Arrow column: values of one JSON type keep it, mixed ones become text as in a CSV file."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) <= 1:
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, OverflowError):  # a number too large for 64 bits
            return pa.array([None if value is None else str(value) for value in values])
    return pa.array([None if value is None else _plain(value) for value in values], pa.string())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
