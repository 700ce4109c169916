"""How each column of a table writes its numbers and dates, decided from all columns together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from sightline.contracts import MISSING_NUMBERS, DateOrder, ReadOptions
from sightline.errors import DataError
from sightline.load.numbers import Texts, Words, find_formats
from sightline.load.parallel import each_column
from sightline.load.raw import Raw
from sightline.load.text_kinds import Writing, orders_of
from sightline.load.typed import encode_texts, words_of


def find_writings(
    raw: Raw, kept: Sequence[str], options: ReadOptions, rules: int
) -> tuple[Raw, dict[str, Writing]]:
    """Find out how the columns of a source write their numbers and dates.

    Args:
        raw: The source.
        kept: The columns to look at.
        options: How the table is to be read.
        rules: The version of the reading rules; version 1 knows one way to write a number.

    Returns:
        The source, with the texts of columns that were read as plain numbers and are not; and how each column
        is written.

    Raises:
        DataError: Numbers or dates that may be read in two ways, or that do not fit the options.
    """
    if rules == 1:
        return raw, dict.fromkeys(kept, Writing(rules=1))
    kinds = {**dict.fromkeys(raw.categories, "categorical"), **options.kinds}
    columns = {
        name: raw.table.column(name)
        for name in kept
        if kinds.get(name) in (None, "numeric", "datetime")
    }
    tried = each_column(encode_texts, columns.values(), raw.table.num_rows)
    encoded = {name: texts for name, texts in zip(columns, tried, strict=True) if texts}
    words = {name: words_of(data) for name, data in encoded.items()}
    tokens = MISSING_NUMBERS if options.missing is None else tuple(options.missing)
    written = raw.delimiter is not None  # plain numbers of a text file may turn out to be others
    texts = Texts(
        words={name: found for name, found in words.items() if kinds.get(name) != "datetime"},
        floats=[n for n, data in columns.items() if written and pa.types.is_floating(data.type)],
        first=raw.first,
        whole=lambda names: {n: words_of(encode_texts(d)) for n, d in raw.whole(names).items()},
        delimiter=raw.delimiter,
    )
    formats = find_formats(
        texts, tokens, decimal=options.decimal, thousands=options.thousands,
        requested=set(options.kinds), name=raw.name,
    )  # fmt: skip
    if again := [name for name in formats.of if name in set(texts.floats)]:
        encoded |= raw.whole(again)
    dated = {name: found for name, found in words.items() if kinds.get(name) != "numeric"}
    order = _date_order(raw.name, dated, tokens, options.dates)
    table = raw.table
    for name, data in encoded.items():
        table = table.set_column(table.column_names.index(name), name, data)
    writings = {
        name: Writing(formats.of.get(name), formats.odd.get(name, ""), order, rules)
        for name in kept
    }
    return replace(raw, table=table), writings


def _date_order(
    name: str, columns: Mapping[str, Words], missing: Sequence[str], dates: DateOrder | None
) -> DateOrder | None:
    """Find out whether dates such as 04/01/2026 are written day first; None if there is no such date.

    Columns in which a day is above 12 decide for the others.
    """
    of_columns = {
        column: orders
        for column, words in columns.items()
        if (orders := orders_of(words, missing)) is not None
    }
    decided = {order for found, _ in of_columns.values() if len(found) == 1 for order in found}
    for column, (found, example) in of_columns.items():
        if dates is not None and dates not in found:
            raise DataError(
                f"{name}, column {column!r}: {example!r} is not written {dates}.",
                "Leave out dates= (--dates) to have it decided by the values.",
            )
        if len(found) == 2 and dates is None and len(decided) != 1:
            raise DataError(
                f"{name}, column {column!r}: {example!r} may be day-first or month-first: no day in the column is "
                "above 12.",
                "Say which it is: dates='day-first' (--dates day-first) or dates='month-first' (--dates "
                "month-first); or write the dates as 2026-01-31.",
            )
    return dates if dates is not None else decided.pop() if len(decided) == 1 else None
