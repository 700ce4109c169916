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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pc

from sightline.contracts import BadRow
from sightline.errors import DataError
from sightline.load.names import unique_names
from sightline.load.parallel import each_column
from sightline.load.text_files import (
    CODECS,
    CountingQuotes,
    Transcoded,
    bytes_of,
    is_utf8,
    readable,
    refuse_binary,
    text_of,
    unlimited_fields,
)
from sightline.load.values import BAD, NUMBER, from_floats, is_code, parse_number

OnBadRows = Literal["error", "skip", "keep"]
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
    """A CSV or TSV file whose header has been read.

    Attributes:
        path: The file.
        encoding: Its encoding, by Python's name.
        delimiter: The most frequent one of , ; tab | in the header; tab in a .tsv file.
        names: Unique column names in file order.
        notes: By renamed column, the reason.
        blank: The number of blank lines before the header.
    """

    path: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]
    notes: dict[str, str]
    blank: int

    @classmethod
    def open(cls, path: Path, encoding: str | None) -> Delimited:
        """Read the header line.

        Raises:
            DataError: The file is empty, binary, not text in this encoding, or its compression is
                damaged.
        """
        refuse_binary(path, encoding)
        with text_of(path, encoding or "utf-8") as lines:
            first, blank = "", 0
            with readable(path, encoding or "utf-8"):
                for line in lines:
                    first += line
                    if not first.strip():
                        first, blank = "", blank + 1
                    # A quoted name may hold a line break: go on until its quote closes.
                    elif first.count('"') % 2 == 0:
                        break
                    if len(first) > 50_000_000:
                        break
        if not first.strip():
            raise DataError(f"{path} is empty.", "Give a file with a header line and rows.")
        if path.suffix.lower() == ".json":
            raise DataError(
                f"{path} is a .json file, not delimited text.",
                "Write one JSON object a line, and give the file a name that ends in .jsonl.",
            )
        if path.name.removesuffix(path.suffix if path.suffix in CODECS else "").endswith(".tsv"):
            delimiter = "\t"
        else:
            unquoted = "".join(first.split('"')[::2])
            delimiter = max(",;\t|", key=unquoted.count)
        with unlimited_fields():
            reader = csv.reader(io.StringIO(first, newline=""), delimiter=delimiter, strict=True)
            try:
                header = next(reader)
            except csv.Error as error:
                raise DataError(
                    f"{path}: the quotes of the header do not match ({error}).",
                    'Close each quote ("), or double it if it is part of a name.',
                ) from None
        names, notes = unique_names(header)
        return cls(path, encoding or "utf-8", delimiter, tuple(names), notes, blank)

    def read(
        self,
        text: frozenset[str],
        missing: Sequence[str],
        on_bad_rows: OnBadRows,
        wanted: frozenset[str] | None = None,
    ) -> RawFile:
        """Read the rows.

        Args:
            text: Columns to read as text even if they look like numbers.
            missing: Texts that mean missing in a column of numbers.
            on_bad_rows: What to do with a row of the wrong length: "error", "skip" or "keep".
            wanted: Read only these columns; None reads all.

        Raises:
            DataError: There is a bad row and `on_bad_rows` is "error".
        """
        keep = [i for i, name in enumerate(self.names) if wanted is None or name in wanted]
        table = self._fast(keep, text, missing)
        return RawFile(table, self.notes, [], 0) if table else self._careful(keep, on_bad_rows)

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
            text = pa.types.is_string(column.type)
            return from_floats(parse_numbers(column, missing) if text else column.to_numpy())

        rows = len(next(iter(columns.values())))
        numbers -= self._find_codes(keep, numbers, columns)
        done = each_column(finish, keep, rows)
        return pa.table(done, [self.names[i] for i in keep])

    def _arrow(
        self, keep: list[int], types: dict[int, pa.DataType], missing: Sequence[str]
    ) -> dict[int, pa.ChunkedArray]:
        """Parse the file once: some columns by `types`, the others as categories of text."""
        names = [f"c{i}" for i in range(len(self.names))]
        words = pa.dictionary(pa.int32(), pa.string())
        with ExitStack() as stack:
            plain: Any = stack.enter_context(bytes_of(self.path))
            stream = CountingQuotes(
                plain if is_utf8(self.encoding) else Transcoded(plain, self.encoding)
            )
            table = pc.read_csv(
                stream,
                pc.ReadOptions(
                    column_names=names, skip_rows=self.blank, skip_rows_after_names=1,
                    block_size=BLOCK_BYTES,
                ),
                pc.ParseOptions(
                    delimiter=self.delimiter, newlines_in_values=True,
                    ignore_empty_lines=len(names) > 1,
                ),
                pc.ConvertOptions(
                    column_types={names[i]: types.get(i, words) for i in keep},
                    include_columns=[names[i] for i in keep] or names[:1],
                    # Only in numbers: an empty text becomes missing later, a text "NA" does not.
                    null_values=["", *missing], strings_can_be_null=False,
                ),
                memory_pool=_pool(),
            )  # fmt: skip
        if stream.quotes % 2:  # Arrow accepts a last cell whose quote never closes
            raise pa.ArrowInvalid("an odd number of quotes")
        return dict(zip(keep or [0], table.columns, strict=True))

    def _find_codes(
        self, keep: list[int], numbers: set[int], columns: dict[int, pa.ChunkedArray]
    ) -> set[int]:
        """Find whole numbers written with leading zeros, and put their text into `columns`.

        They may come after the first rows, so every column that could hold some is read as text.
        """
        texts = {i: columns[i] for i in numbers if pa.types.is_string(columns[i].type)}
        codes = {i for i, column in texts.items() if any(map(_has_codes, column.chunks))}
        likely = [i for i in keep if i in numbers and _may_be_codes(columns[i])]
        if likely:
            texts |= self._arrow(likely, {}, ())
            codes |= {
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
        with text_of(self.path, self.encoding) as lines, unlimited_fields():
            kept = _KeptLines(lines)
            reader = csv.reader(kept, delimiter=self.delimiter)
            header_seen = False
            while True:
                line = reader.line_num + 1
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
                values.append((cells[i] or None) if cells else None)
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


# ------------------------------------------------------------- helpers


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


def parse_numbers(texts: pa.ChunkedArray, missing: Sequence[str]) -> np.ndarray:
    """Parse texts as float64 numbers: NaN where missing, `BAD` where a text is no number."""
    trimmed = pa_compute.utf8_trim_whitespace(texts)
    number = pa_compute.match_substring_regex(trimmed, f"^({NUMBER})$")
    absent = pa_compute.is_in(trimmed, value_set=pa.array(["", *missing], pa.string()))
    numbers = pa_compute.if_else(number, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    floats = numbers.to_numpy()
    is_number = number.to_numpy()
    is_missing = absent.to_numpy()
    return np.where(is_missing, np.nan, np.where(is_number, floats, BAD))


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
