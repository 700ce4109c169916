"""CSV and TSV files to raw columns: Arrow for speed, Python's reader to locate errors.

The fast path reads each column once, as numbers if the first rows look like numbers and as text
otherwise; if a cell is no number, it reads those columns again as text. Arrow rejects a file with
one row of the wrong length and does not say which. Such a file is read again by the careful path,
which knows the line of every row.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pc

from sightline.contracts import READING_RULES, BadRow
from sightline.errors import DataError, UserError
from sightline.load.formats import CODECS
from sightline.load.layout import (
    SAMPLE_LINES,
    SEPARATORS,
    Layout,
    find_layout,
    fitting_layout,
    parse_header,
)
from sightline.load.names import unique_names
from sightline.load.parallel import each_column
from sightline.load.raw import DEFAULT_REQUEST, OnBadRows, RawRequest
from sightline.load.text_files import (
    CountingQuotes,
    Transcoded,
    bytes_of,
    encoding_of,
    is_utf8,
    readable,
    refuse_binary,
    text_in,
    text_of,
    unlimited_fields,
)
from sightline.load.values import BAD, from_floats, has_long, is_code, parse_number, parse_numbers

SAMPLE_ROWS = 500
BLOCK_BYTES = 1 << 22


@dataclass(frozen=True)
class RawFile:
    """A file's columns before their kinds are known.

    Attributes:
        columns: By unique name: float64 numbers (`BAD` where the text is no number) or text
            categories.
        notes: By renamed column, the reason.
        bad: Rows with the wrong number of cells: kept with null cells, or left out.
        skipped: The number of rows left out.
    """

    columns: pa.Table
    notes: dict[str, str]
    bad: list[BadRow]
    skipped: int


@dataclass(frozen=True)
class Delimited:
    """A CSV or TSV file whose layout is known.

    Attributes:
        path: The file.
        encoding: Its encoding, by Python's name.
        delimiter: The separator of cells.
        names: Unique column names in file order.
        notes: By renamed column, the reason.
        skip: The number of lines above the header.
        trailing: Whether rows end with one separator more than the header.
        said: What was guessed about the layout, in sentences.
        rules: The version of the reading rules.
        content: The bytes of a part of the file, which is read instead of all of it; or None.
        lines_before: The number of lines of the file before that part.
    """

    path: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    notes: dict[str, str]
    skip: int
    trailing: bool = False
    said: tuple[str, ...] = ()
    rules: int = READING_RULES
    content: bytes | None = field(default=None, repr=False)
    lines_before: int = 0

    @contextmanager
    def _bytes(self) -> Iterator[IO[bytes]]:
        """Open the file, or the part of it that is in memory."""
        if self.content is not None:
            yield io.BytesIO(self.content)
            return
        with bytes_of(self.path) as stream:
            yield stream

    @classmethod
    def open(cls, path: Path, request: RawRequest = DEFAULT_REQUEST) -> Delimited:
        """Find the layout.

        Version 1 of the reading rules takes the most frequent separator of the first line.

        Raises:
            DataError: The file is empty, binary, not text in this encoding, or its compression is
                damaged.
            OptionError: There is no line `header`.
        """
        encoding = encoding_of(path, request)
        refuse_binary(path, encoding)
        lines, complete = _first_lines(path, encoding or "utf-8")
        if not any(line.strip() for line in lines):
            raise DataError(f"{path} is empty.", "Give a file with a header line and rows.")
        plain = path.name.removesuffix(path.suffix if path.suffix in CODECS else "")
        delimiter = "\t" if plain.endswith(".tsv") else None
        try:
            with unlimited_fields():
                if request.rules == 1:
                    layout = _first_rules(lines, delimiter)
                else:
                    layout = fitting_layout(
                        lambda line: find_layout(
                            lines, delimiter=delimiter, header=line, complete=complete
                        ),
                        request.header, request.needed,
                    )  # fmt: skip
        except UserError as error:
            raise type(error)(f"{path}: {error.problem}", error.fix) from None
        names, notes = unique_names(layout.header)
        return cls(
            path, encoding or "utf-8", layout.delimiter, tuple(names), notes, layout.skip,
            layout.trailing, layout.notes, request.rules,
        )  # fmt: skip

    def read(self, request: RawRequest) -> RawFile:
        """Read the rows.

        Raises:
            DataError: There is a bad row and `on_bad_rows` is "error".
        """
        wanted = request.wanted
        keep = [i for i, name in enumerate(self.names) if wanted is None or name in wanted]
        table = self._fast(keep, request.text, request.tokens)
        if table:
            return RawFile(table, self.notes, [], 0)
        return self._careful(keep, request.on_bad_rows)

    # ------------------------------------------------------------- the fast path

    def _fast(
        self, keep: list[int], text: frozenset[str], missing: Sequence[str]
    ) -> pa.Table | None:
        """Read with Arrow; None if it rejects the file, for example for a row of the wrong length."""
        numbers = self._find_numbers(keep, missing) - {i for i in keep if self.names[i] in text}
        try:
            columns = self._arrow(keep, dict.fromkeys(numbers, pa.float64()), missing)
        except pa.ArrowInvalid:  # some cell is no number: find out which ones
            try:
                columns = self._arrow(keep, dict.fromkeys(numbers, pa.string()), missing)
            except (pa.ArrowInvalid, UnicodeError):
                return None
        except UnicodeError:
            return None

        def finish(i: int) -> pa.ChunkedArray:
            column = columns.pop(i)  # frees the parsed column once it is converted
            if i not in numbers:
                return column
            if not pa.types.is_string(column.type):
                return from_floats(column.to_numpy())
            floats = parse_numbers(column, missing)
            if self.rules > 1 and (count_bad(floats) or has_long(floats)):
                return column.dictionary_encode()  # all cells will tell how it writes numbers
            return from_floats(floats)

        rows = len(next(iter(columns.values())))
        numbers -= self._find_codes(keep, numbers, columns)
        done = each_column(finish, keep, rows)
        return pa.table(done, [self.names[i] for i in keep])

    def _arrow(
        self, keep: list[int], types: dict[int, pa.DataType], missing: Sequence[str]
    ) -> dict[int, pa.ChunkedArray]:
        """Parse the file once: some columns by `types`, the others as categories of text."""
        names = [f"c{i}" for i in range(len(self.names) + self.trailing)]
        ends = names[len(self.names) :]
        words = pa.dictionary(pa.int32(), pa.string())
        with ExitStack() as stack:
            plain: Any = stack.enter_context(self._bytes())
            stream = CountingQuotes(
                plain if is_utf8(self.encoding) else Transcoded(plain, self.encoding)
            )
            table = pc.read_csv(
                stream,
                pc.ReadOptions(
                    column_names=names, skip_rows=self.skip, skip_rows_after_names=1,
                    block_size=BLOCK_BYTES,
                ),
                pc.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True,
                    ignore_empty_lines=len(names) > 1,
                ),
                pc.ConvertOptions(
                    column_types={
                        **{names[i]: types.get(i, words) for i in keep}, **dict.fromkeys(ends, words)
                    },
                    include_columns=([names[i] for i in keep] or names[:1]) + ends,
                    # Only in numbers: an empty text becomes missing later, a text "NA" does not.
                    null_values=["", *missing], strings_can_be_null=False,
                ),
                memory_pool=_pool(),
            )  # fmt: skip
        if stream.quotes % 2:  # Arrow accepts a last cell whose quote never closes
            raise pa.ArrowInvalid("an odd number of quotes")
        if self.trailing:
            if any(word.strip() for word in pa_compute.unique(table.column(ends[0]).cast(pa.string())).to_pylist()):  # fmt: skip
                raise pa.ArrowInvalid("a cell behind the last column")
            table = table.drop_columns(ends)
        return dict(zip(keep or [0], table.columns, strict=True))

    def _find_codes(
        self, keep: list[int], numbers: set[int], columns: dict[int, pa.ChunkedArray]
    ) -> set[int]:
        """Find whole numbers with leading zeros or too many digits for float64, and put their text into `columns`.

        They may come after the first rows, so every column that could hold some is read as text.
        """
        texts = {i: columns[i] for i in numbers if pa.types.is_string(columns[i].type)}
        codes = {i for i, column in texts.items() if any(map(_has_codes, column.chunks))}
        floats = [i for i in numbers if pa.types.is_floating(columns[i].type)]
        long = {i for i in floats if self.rules > 1 and has_long(columns[i].to_numpy())}
        likely = [i for i in keep if i in long or (i in floats and _may_be_codes(columns[i]))]
        if likely:
            texts |= self._arrow(likely, {}, ())
            codes |= long | {
                i for i in likely if any(_has_codes(chunk.dictionary) for chunk in texts[i].chunks)
            }
        columns.update({i: texts[i] for i in codes})
        return codes

    def _find_numbers(self, keep: list[int], missing: Sequence[str]) -> set[int]:
        """Guess from the first rows which columns hold numbers; later all rows decide."""
        rows = [cells for _, cells, _ in islice(self.records(), SAMPLE_ROWS) if cells]
        return {i for i in keep if _looks_numeric([cells[i] for cells in rows], missing)}

    # ------------------------------------------------------------- the careful path

    def records(self) -> Iterator[tuple[int, list[str] | None, str]]:
        """Yield (line, cells, error) for each row after the header; cells are None if it is bad."""
        with self._bytes() as plain, text_in(plain, self.encoding) as lines, unlimited_fields():
            with readable(self.path, self.encoding):
                for _ in range(self.skip):
                    next(lines)
            kept = _KeptLines(lines)
            reader = csv.reader(kept, delimiter=self.delimiter)
            header_seen = False
            while True:
                line = self.lines_before + self.skip + reader.line_num + 1
                kept.forget()
                with readable(self.path, self.encoding, line):
                    cells: list[str] | None = next(reader, None)
                if cells is None:
                    return
                if kept.ended and self._open_quote(kept.text):
                    raise DataError(
                        f'{self.path}, line {line:,}: a quote (") opens and never closes.',
                        "Close the quote, or double it if it is part of the text.",
                    )
                error = ""
                if cells == [] and (len(self.names) > 1 or not header_seen):
                    continue  # a blank line
                if not header_seen:
                    header_seen = True
                    continue
                if self.trailing and len(cells) == len(self.names) + 1 and not cells[-1].strip():
                    cells = cells[:-1]
                if len(cells) != len(self.names) and cells != []:
                    error = f"{len(cells)} cells where the header has {len(self.names)}"
                    cells = None
                yield line, cells, error

    def _open_quote(self, text: str) -> bool:
        """Tell whether a file's last row ends inside quotes."""
        try:
            list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            return "unexpected end of data" in str(error)
        return False

    def _careful(self, keep: list[int], on_bad_rows: OnBadRows) -> RawFile:
        columns: list[list[str | None]] = [[] for _ in keep]
        bad: list[BadRow] = []
        skipped = 0
        for row, (line, cells, error) in enumerate(self.records()):
            if cells is None:
                if on_bad_rows == "error":
                    raise DataError(
                        f"{self.path}, line {line:,}: {error}.",
                        "Correct the row, or leave such rows out with on_bad_rows='skip' "
                        "(--on-bad-rows skip).",
                    )
                bad.append(BadRow(row, f"{self.path.name}, line {line:,}: {error}"))
                if on_bad_rows == "skip":
                    skipped += 1
                    continue
            for values, i in zip(columns, keep, strict=True):
                values.append(cells[i] if cells else None)
        arrays = [pa.chunked_array([pa.array(v, pa.string())]).dictionary_encode() for v in columns]
        table = pa.table(arrays, names=[self.names[i] for i in keep])
        return RawFile(table, self.notes, bad, skipped)

    def locate(self, row: int, column: str) -> tuple[int, str]:
        """Find a row's line in the file and a cell's text, by reading the file up to it."""
        for number, (line, cells, _) in enumerate(self.records()):
            if number == row:
                index = self.names.index(column)
                return line, cells[index] if cells and index < len(cells) else ""
        raise IndexError(row)  # pragma: no cover - the row comes from this file

    def texts(self, names: Collection[str]) -> dict[str, pa.ChunkedArray]:
        """Read columns again as text, whatever they look like.

        Raises:
            DataError: The file has changed since it was read.
        """
        keep = [i for i, name in enumerate(self.names) if name in names]
        columns = self._arrow(keep, {}, ()) if keep else {}
        return {self.names[i]: column for i, column in columns.items()}

    def first_texts(self, names: Collection[str]) -> dict[str, list[str]]:
        """Return the first cells of columns, as they are written."""
        rows = [cells for _, cells, _ in islice(self.records(), SAMPLE_ROWS) if cells]
        return {
            name: [cells[i] for cells in rows] for i, name in enumerate(self.names) if name in names
        }


# ------------------------------------------------------------- helpers


def _first_lines(path: Path, encoding: str) -> tuple[list[str], bool]:
    """Read the first lines of a file, and tell whether they are all of it."""
    lines: list[str] = []
    characters = quotes = 0
    with text_of(path, encoding) as stream, readable(path, encoding):
        for line in stream:
            lines.append(line)
            characters += len(line)
            quotes += line.count('"')
            enough = len(lines) >= SAMPLE_LINES or characters > 4_000_000
            if characters > 50_000_000 or (
                enough and quotes % 2 == 0
            ):  # a cell may hold line breaks
                return lines, False
    return lines, True


def _first_rules(lines: Sequence[str], delimiter: str | None) -> Layout:
    """Lay a file out by the first version of the rules: the first line and its most frequent separator."""
    first, blank = "", 0
    for line in lines:
        first += line
        if not first.strip():
            first, blank = "", blank + 1
        elif first.count('"') % 2 == 0:
            break
    unquoted = "".join(first.split('"')[::2])
    delimiter = delimiter or max(SEPARATORS, key=unquoted.count)
    return Layout(delimiter, blank, tuple(parse_header(first, delimiter)))


def _pool() -> pa.MemoryPool:
    """Return Arrow's jemalloc pool if there is one: it reuses the memory of parsed blocks."""
    try:
        return pa.jemalloc_memory_pool()
    except NotImplementedError:
        return pa.default_memory_pool()


class _KeptLines:
    """An iterator of lines that keeps those of the current row."""

    def __init__(self, lines: IO[str]) -> None:
        self._lines = lines
        self._kept: list[str] = []
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._kept.append(line)
            yield line
        self.ended = True

    def forget(self) -> None:
        self._kept.clear()

    @property
    def text(self) -> str:
        return "".join(self._kept)


def _may_be_codes(column: pa.ChunkedArray) -> bool:
    """Tell whether numbers could be codes: whole, none negative, some of two digits or more."""
    if not pa.types.is_floating(column.type):
        return False  # it is text already, because some cell is no number
    span = pa_compute.min_max(column).as_py()
    if span["min"] is None or span["min"] < 0 or span["max"] < 10:
        return False
    for part in (column[:1000], column):
        whole = pa_compute.equal(part, pa_compute.round(part))
        if not pa_compute.all(whole, min_count=0).as_py():
            return False
    return True


def _has_codes(words: pa.Array) -> bool:
    matches = pa_compute.match_substring_regex(words, r"^\s*0[0-9]+\s*$")
    return bool(pa_compute.any(matches, min_count=0).as_py())


def _looks_numeric(texts: list[str | None], missing: Sequence[str]) -> bool:
    numbers = [parse_number(text, missing) for text in texts if text is not None]
    given = [number for number in numbers if not math.isnan(number)]
    if not given or any(is_code(text) for text in texts if text is not None):
        return False
    return sum(number == BAD for number in given) <= 0.01 * len(given)


def count_bad(numbers: np.ndarray) -> int:
    """Count the numbers that are `BAD` (infinite)."""
    return int(np.isinf(numbers).sum())
