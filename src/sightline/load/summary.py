"""What a column's values are, for the terminal, the page and the records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
import pyarrow as pa

from sightline.contracts import Column, Target, traits_of
from sightline.errors import cut
from sightline.load.histograms import histogram, most_frequent, span, word_counts
from sightline.load.values import date_text, to_flags
from sightline.trace.records import rounded

LINE = 60
"""Views cut what is said of a column's values here; so it is not longer."""


def summarise(
    column: Column, data: pa.ChunkedArray, target: Target | None = None
) -> dict[str, Any]:
    """Describe one column for the record `load/table`.

    Args:
        column: The column's description.
        data: Its typed values, as `Table.columns` holds them.
        target: The target, once it is known: its column is shown as the file writes its classes.

    Returns:
        `name`, `kind`, `role`, `reason`, `missing` (rows), `share_missing`, `histogram` (see
        `histogram`) and `values`: a range, counts or the most frequent texts, in words.
    """
    names = target.names if target is not None and target.name == column.name else ()
    drawn = None if column.values == "unsupported" else histogram(column, data)
    if drawn is not None and names:
        drawn = _as_written(drawn, names)
    return {
        "name": column.name, "kind": column.kind, "role": column.role, "reason": column.reason,
        "missing": data.null_count, "share_missing": rounded(data.null_count / len(data)),
        "histogram": drawn, "values": _values_text(column, data, names),
    }  # fmt: skip


def _as_written(drawn: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Write the classes in a histogram of truth values or numbers as the file does."""
    if drawn["kind"] == "names":
        text_of = dict(zip(("false", "true"), names, strict=True))
        return {**drawn, "names": [text_of[name] for name in drawn["names"]]}
    return {**drawn, "low": names[0], "high": names[-1]}


def _values_text(column: Column, data: pa.ChunkedArray, names: Sequence[str] = ()) -> str:
    if data.null_count == len(data):
        return "none"
    if column.values == "unsupported":
        return str(data[data.is_valid().to_numpy().argmax()].as_py())
    storage = traits_of(column.kind).storage
    match storage:
        case "numbers":
            low, high = span(data)
            ends = [cut(name, 25) for name in names]
            return f"{ends[0]} to {ends[-1]}" if ends else f"{low:,.6g} to {high:,.6g}"
        case "moments":
            low, high = span(data)
            return f"{date_text(low)} to {date_text(high)}"
        case "flags":
            true = int((to_flags(data) == 1).sum())
            no, yes = (cut(name, 15) for name in names or ("false", "true"))
            return f"{yes} {true:,}, {no} {len(data) - data.null_count - true:,}"
        case "words":
            return _frequent_words(data.chunk(0))
        case _:
            assert_never(storage)


def _frequent_words(words: pa.DictionaryArray) -> str:
    """Name the most frequent texts with their rows: up to three, as many as a line has room for."""
    counts = word_counts(words)
    top = [
        f"{cut(words.dictionary[int(code)].as_py(), 20)} {counts[code]:,}"
        for code in most_frequent(counts, 3)
    ]
    distinct = int(np.count_nonzero(counts))
    for named in range(len(top), 0, -1):
        others = distinct - named
        text = f"{', '.join(top[:named])}{f' and {others:,} more' if others else f' ({distinct:,} different)'}"
        if len(text) <= LINE:
            break
    return text
