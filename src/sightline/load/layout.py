"""The layout of a delimited text file: its separator, the line of its header, trailing separators.

The separator is the one with which header and rows agree. Lines above the header with at most one cell are
a title. Spreadsheets write `sep=;` into the first line to name the separator.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from sightline.errors import DataError, OptionError, shorten
from sightline.load.numbers import reading_of, take_apart

SEPARATORS = ",;\t|"
SAMPLE_LINES = 400
"""Lines from which the layout is decided."""
_NAMED = re.compile(r'^\ufeff?"?sep=(?P<separator>.)"?\s*$', re.I)


@dataclass(frozen=True)
class Layout:
    """How a file is laid out.

    Attributes:
        delimiter: The separator of cells.
        skip: The lines above the header.
        header: The header's cells.
        trailing: Whether each row ends with one separator more than the header.
        notes: What was guessed, in sentences.
    """

    delimiter: str
    skip: int
    header: tuple[str, ...]
    trailing: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    line: int  # the lines before it
    cells: list[str]

    @property
    def filled(self) -> int:
        return sum(bool(cell.strip()) for cell in self.cells)


def fitting_layout(
    find: Callable[[int | None], Layout], header: int | None, needed: Collection[str]
) -> Layout:
    """Find a layout whose header has the names that are needed.

    Args:
        find: (the header's line, or None to guess it) -> the layout.
        header: The header's line of the training table, or the one that was asked for.
        needed: The names; empty if `header` is to be used as it is.
    """
    layout = find(None if needed else header)
    if needed and header is not None and not set(needed) <= set(layout.header):
        return find(header)
    return layout


def find_layout(
    lines: Sequence[str],
    *,
    delimiter: str | None = None,
    header: int | None = None,
    complete: bool = True,
) -> Layout:
    """Find the layout of a file from its first lines.

    Args:
        lines: The first lines, with their ends.
        delimiter: The separator, if the file's ending names it.
        header: The number of the header's line, from 1; None guesses it.
        complete: Whether these are all lines of the file.

    Raises:
        DataError: The quotes of the header do not match.
        OptionError: There is no such line.

    Example:
        >>> from sightline.load.layout import find_layout
        >>> find_layout(["Report 2024\\n", "\\n", "a, kg;b\\n", "1,5;2\\n"])
        Layout(delimiter=';', skip=2, header=('a, kg', 'b'), trailing=False, notes=('the header is line 3; the lines above it are a title',))
    """
    start = 0
    if named := _NAMED.match(lines[0]):
        delimiter, start = delimiter or named["separator"], 1
    if header is not None:
        if not start < header <= len(lines) or not lines[header - 1].strip():
            raise _no_header(header)
        start = header - 1
    whole = "".join(lines)
    used = [sign for sign in SEPARATORS if sign in whole] or [SEPARATORS[0]]
    drafts = [
        _draft(lines, start, sign, header is not None, complete)
        for sign in ([delimiter] if delimiter else used)
    ]
    agreed = max(draft.agree for draft in drafts)
    drafts = [draft for draft in drafts if draft.agree == agreed]
    if (
        len(drafts) > 1
    ):  # then with the one whose cells are numbers, then with the one of most cells
        drafts.sort(key=lambda draft: (-draft.numbers if agreed > 0.5 else 0.0, -draft.names))
    best = drafts[0].layout
    if best.skip > start and header is None:
        best = replace(best, notes=(_title(best.skip),))
    return best


def layout_of_cells(rows: Sequence[Sequence[str]], *, header: int | None = None) -> Layout:
    """Find the header of a sheet, whose cells are apart already.

    Args:
        rows: The cells as texts.
        header: The number of the header's row, from 1; None guesses it.

    Raises:
        OptionError: There is no such row.

    Example:
        >>> from sightline.load.layout import layout_of_cells
        >>> layout_of_cells([["Report", "", ""], ["a", "b", "c"], ["1", "2", "3"], ["4", "5", "6"]]).skip
        1
    """
    if header is not None:
        if not 0 < header <= len(rows) or not any(cell.strip() for cell in rows[header - 1]):
            raise _no_header(header)
        return Layout("", header - 1, tuple(rows[header - 1]))
    kept = [_Row(number, list(row)) for number, row in enumerate(rows[:SAMPLE_LINES]) if any(row)]
    first = kept[_header_of(kept)]
    notes = (_title(first.line),) if first is not kept[0] else ()
    return Layout("", first.line, tuple(first.cells), notes=notes)


def _no_header(header: int) -> OptionError:
    return OptionError(
        f"header is {header}, but there is no such line to read names from.",
        "Give the number of the header's line, counted from 1 (--header).",
    )


def _title(skip: int) -> str:
    return f"the header is line {skip + 1}; the lines above it are a title"


def parse_header(text: str, delimiter: str) -> list[str]:
    """Split a header's text into its cells.

    Raises:
        DataError: The quotes do not match.

    Example:
        >>> from sightline.load.layout import parse_header
        >>> parse_header('a,"b, c"', ",")
        ['a', 'b, c']
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return next(reader)
    except csv.Error as error:
        raise DataError(
            f"the quotes of the header do not match ({error}).",
            'Close each quote ("), or double it if it is part of a name.',
        ) from None


@dataclass(frozen=True)
class _Draft:
    """A layout with one separator, and how well it fits.

    Attributes:
        layout: The layout.
        agree: The share of rows that have as many cells as the header; 0 if that is one cell.
        names: How often the separator occurs in the header.
        body: The cells of the first rows.
    """

    layout: Layout
    agree: float
    names: int
    body: list[list[str]]

    @property
    def numbers(self) -> float:
        """The share of cells that are numbers."""
        cells = [cell for row in self.body for cell in row[:100] if cell.strip()]
        return sum(reading_of(take_apart(cell)) != "none" for cell in cells) / max(len(cells), 1)


def _draft(lines: Sequence[str], start: int, delimiter: str, fixed: bool, complete: bool) -> _Draft:
    rows = _rows(lines, start, delimiter, complete)
    first = 0 if fixed else _header_of(rows)
    header, body = rows[first], rows[first + 1 :]
    names, width = header.cells, len(header.cells)
    widths = Counter(len(row.cells) for row in body)
    ends = sum(len(row.cells) == width + 1 and not row.cells[-1].strip() for row in body)
    trailing = ends > 0.5 * len(body)
    if width > 1 and not names[-1].strip() and widths[width - 1] > 0.5 * len(body):
        names, width = names[:-1], width - 1  # the header alone ends with a separator
    agree = (widths[width] + trailing * ends) / max(len(body), 1)
    unquoted = "".join(lines[header.line].split('"')[::2])
    layout = Layout(delimiter, header.line, tuple(names), trailing)
    share = round(agree, 2) if width > 1 and body else 0.0
    return _Draft(layout, share, unquoted.count(delimiter), [row.cells for row in body[:50]])


def _rows(lines: Sequence[str], start: int, delimiter: str, complete: bool) -> list[_Row]:
    """Split lines into rows of cells; blank ones are left out."""
    rows: list[_Row] = []
    reader = csv.reader(iter(lines[start:]), delimiter=delimiter)
    before = start
    for cells in reader:
        if cells and (len(cells) > 1 or cells[0].strip()):
            rows.append(_Row(before, cells))
        before = start + reader.line_num
    if not complete and len(rows) > 1:
        rows.pop()  # it may go on
    return rows


def _header_of(rows: Sequence[_Row]) -> int:
    """Return which row is the header: the first one that is no title."""
    if len(rows) < 3:
        return 0
    filled = Counter(row.filled for row in rows[len(rows) // 3 :])
    usual = max(filled, key=lambda count: (filled[count], count))
    for number, row in enumerate(rows[:20]):
        title = row.filled <= 1 and usual > 1 and (len(row.cells) == 1 or usual > 2)
        if not title:
            return number if _is_header(row, rows[number + 1 :], usual) else 0
    return 0


def _is_header(row: _Row, body: Sequence[_Row], usual: int) -> bool:
    """Tell a line of names: as many as the rows have cells, all different, and none of them a number."""
    names = [cell.strip() for cell in row.cells if cell.strip()]
    if not body or len(names) < usual or len(set(names)) < len(names):
        return False
    return all(reading_of(take_apart(name)) == "none" for name in names)


def footer(cells: Sequence[str]) -> str | None:
    """Say what a file's last row looks like if it is no row of the table: a total, or a remark.

    Example:
        >>> from sightline.load.layout import footer
        >>> footer(["Total", "91", "3.5"]), footer(["Source: ERP", "", ""]), footer(["Oslo", "1", "2"])
        ("'Total'", "'Source: ERP'", None)
    """
    given = [cell.strip() for cell in cells if cell.strip()]
    if not given or len(cells) < 2:
        return None
    total = re.match(
        r"(grand |sub)?(total|sum|summe|gesamt|somme|totaux|totale|suma)\b", given[0], re.I
    )
    alone = len(given) == 1 and len(cells) > 2 and reading_of(take_apart(given[0])) == "none"
    return repr(shorten(given[0], 30)) if total or alone else None
