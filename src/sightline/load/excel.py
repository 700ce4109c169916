"""Excel and OpenDocument workbooks, through python-calamine (extra `excel`)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sightline.errors import DataError, OptionError, did_you_mean
from sightline.load.layout import Layout, fitting_layout, layout_of_cells
from sightline.load.pandas_columns import plain_objects
from sightline.load.raw import Raw, RawRequest, raw_table
from sightline.load.values import to_text

ENDINGS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def split_sheet(source: str | Path) -> tuple[Path, str | None]:
    """Split data.xlsx#Sheet2 into the file and its sheet.

    Example:
        >>> from sightline.load.excel import split_sheet
        >>> split_sheet("data.xlsx#Sheet2")[1], split_sheet("data#1.csv")[1]
        ('Sheet2', None)
    """
    path, sign, sheet = str(source).rpartition("#")
    if sign and path.lower().endswith(ENDINGS):
        return Path(path), sheet
    return Path(source), None


def open_workbook(path: Path, sheet: str | None, request: RawRequest) -> Raw:
    """Read a sheet of a workbook: the values that its formulas had, merged cells in their first cell.

    Args:
        path: The file.
        sheet: The sheet; None takes the one of the request, else the first one with rows.
        request: How to read it.

    Raises:
        DataError: The extra is not installed, the file cannot be read, or the sheet has no rows.
        OptionError: There is no such sheet.
    """
    try:
        import python_calamine as calamine
    except ImportError:
        raise DataError(
            f"{path} is a workbook, and reading those needs a package that is not installed.",
            'Install it: pip install "sightline[excel]". Or save the sheet as CSV.',
        ) from None
    try:
        with calamine.CalamineWorkbook.from_path(str(path)) as book:
            name, rows = _sheet(book, path, sheet, request)
    except (calamine.CalamineError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as a workbook: {type(error).__name__}: {error}.",
            "Check that it is complete, has no password, and that its ending matches its format.",
        ) from error
    return _raw(path, name, rows, request)


def _sheet(
    book: Any, path: Path, sheet: str | None, request: RawRequest
) -> tuple[str, list[list[Any]]]:
    names = book.sheet_names
    wanted = sheet or (request.sheet if request.sheet in names or not request.needed else None)
    if wanted is not None and wanted not in names:
        raise OptionError(f"{path} has no sheet {wanted!r}.", did_you_mean(wanted, names, "sheets"))
    for name in [wanted] if wanted is not None else names:
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        if any(cell != "" for row in rows for cell in row):
            return name, rows
    where = f"The sheet {wanted!r} of {path}" if wanted is not None else str(path)
    raise DataError(f"{where} is empty.", "Give a sheet with a header and rows (--sheet).")


def _raw(path: Path, sheet: str, rows: list[list[Any]], request: RawRequest) -> Raw:
    texts = [["" if cell == "" else str(to_text(cell) or "") for cell in row] for row in rows]
    layout = fitting_layout(
        lambda row: layout_of_cells(texts, header=row), request.header, request.needed
    )
    used = [j for j, name in enumerate(layout.header) if name.strip() or _filled(rows, layout, j)]
    body = [
        (number, [row[j] if j < len(row) else "" for j in used])
        for number, row in enumerate(rows[layout.skip + 1 :], start=layout.skip + 2)
        if any(cell != "" for cell in row)  # spreadsheets end in empty rows
    ]
    columns = [_column([cells[index] for _, cells in body]) for index in range(len(used))]
    table = pa.Table.from_arrays(columns, [layout.header[j] for j in used])
    name = f"{path}, sheet {sheet!r}"
    raw = raw_table(table, name, (str(path),))
    names = raw.table.column_names

    def locate(row: int, column: str) -> tuple[str, str]:
        number, cells = body[row]
        cell = cells[names.index(column)]
        return f"{name}, row {number:,}", str(to_text(cell) or "")

    return replace(raw, locate=locate, said=layout.notes)


def _filled(rows: Sequence[Sequence[Any]], layout: Layout, column: int) -> bool:
    return any(column < len(row) and row[column] != "" for row in rows[layout.skip + 1 :])


def _column(cells: Sequence[Any]) -> pa.Array:
    """Make a column: a workbook has floats alone, dates with and without a time, and texts."""
    values = [None if cell == "" else cell for cell in cells]
    given = [value for value in values if value is not None]
    if given and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in given
    ):
        if all(float(value).is_integer() for value in given):
            return pa.array([None if value is None else int(value) for value in values], pa.int64())
        return pa.array(values, pa.float64())
    dated = datetime.date | datetime.datetime
    if given and all(isinstance(value, dated) for value in given):
        moments = [None if value is None else np.datetime64(value, "us") for value in values]
        return pa.array(moments, pa.timestamp("us"))
    objects = plain_objects(values)
    return pa.array(values if objects is None else objects)
