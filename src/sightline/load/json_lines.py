"""JSON lines files: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from sightline.contracts import BadRow
from sightline.errors import DataError
from sightline.load.delimited import OnBadRows
from sightline.load.raw import Raw, raw_table
from sightline.load.text_files import readable, text_of


def open_json_lines(
    files: list[Path], name: str, encoding: str | None, on_bad_rows: OnBadRows
) -> Raw:
    """Read files with Python's JSON reader, which tells the line of an error."""
    rows: list[dict[str, Any]] = []
    lines: list[tuple[Path, int]] = []
    bad: list[BadRow] = []
    skipped = 0
    for file in files:
        for line, content in _json_lines(file, encoding):
            row, error = _parse_line(content)
            if error and on_bad_rows == "error":
                raise DataError(
                    f"{file}, line {line:,}: {error}.",
                    "Correct the line, or leave such rows out with on_bad_rows='skip' "
                    "(--on-bad-rows skip).",
                )
            if error and on_bad_rows == "skip":
                skipped += 1
                continue
            if error:
                bad.append(BadRow(len(rows), f"{file.name}, line {line:,}: {error}"))
            rows.append(row)
            lines.append((file, line))
    if not rows:
        unreadable = f" except {skipped:,} that could not be read" if skipped else ""
        raise DataError(f"{name} holds no rows{unreadable}.", "Write one JSON object a line.")
    names = list(dict.fromkeys(key for row in rows for key in row))
    if not names:
        raise DataError(
            f"{name} holds only empty objects.", 'Write objects with values, such as {"age": 31}.'
        )
    table = pa.table({key: _json_column([row.get(key) for row in rows]) for key in names})
    raw = raw_table(table, name, tuple(map(str, files)))

    def locate(row: int, column: str) -> tuple[str, str]:
        file, line = lines[row]
        return f"{file}, line {line:,}", str(rows[row].get(names[table_names.index(column)]))

    table_names = raw.table.column_names
    return replace(raw, bad=bad, skipped=skipped, locate=locate)


def _json_lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    form = encoding or "utf-8"
    with text_of(path, form) as lines, readable(path, form):
        for line, content in enumerate(lines, start=1):
            if content.strip():
                yield line, content


def _parse_line(content: str) -> tuple[dict[str, Any], str]:
    """Return a line's object and "", or an empty object and what is wrong."""
    try:
        value = json.loads(content)
        # "\ud800" is half a character: valid in JSON, but not in a text.
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        return {}, f"not valid JSON ({error.msg} at character {error.pos + 1:,})"
    except (ValueError, RecursionError) as error:
        return {}, f"not valid JSON ({error})"
    if not isinstance(value, dict):
        return {}, f"a JSON {type(value).__name__} instead of an object"
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
