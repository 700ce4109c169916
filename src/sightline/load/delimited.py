"""CSV and TSV files to raw columns: Arrow at full speed, Python's reader to find the fault.

The fast path reads each column once, as numbers where the first rows say so and as text otherwise;
a cell that is no number makes it read those columns again as text and look. Arrow refuses a file
with one row of the wrong shape without saying enough, so a refusal sends the file through the
careful path, which knows the physical line of every row.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pa_compute
import pyarrow.csv as pc

from sightline.contracts import BadRow
from sightline.errors import DataError, shorten
from sightline.load.parallel import each_column
from sightline.load.values import BAD, NUMBER, from_floats, is_code, parse_number

OnBadRows = Literal["error", "skip", "keep"]
SAMPLE_ROWS = 500
BLOCK_BYTES = 1 << 22
CODECS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class RawFile:
    """A file's columns before their kinds are known.

    Attributes:
        columns: By unique name: float64 numbers (`BAD` where the text is no number) or text
            categories.
        notes: Per renamed column, why.
        bad: Rows that have no usable shape; their cells are null (kept) or left out (skipped).
        skipped: How many rows were left out.
    """

    columns: pa.Table
    notes: dict[str, str]
    bad: list[BadRow]
    skipped: int


@dataclass(frozen=True)
class Delimited:
    """A CSV or TSV file, its header read.

    Attributes:
        path: The file.
        encoding: Its encoding, by Python's name.
        delimiter: Whichever of , ; tab | the header line has most of.
        names: Unique column names in file order.
        notes: Per renamed column, why.
        blank: How many blank lines come before the header.
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
            DataError: The file is empty, binary, not text in this encoding, or compressed badly.
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
                f"{path} is no delimited text.",
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
            text: Columns to read as text whatever they look like.
            missing: Texts that mean missing in a column of numbers.
            on_bad_rows: What to do with a row of the wrong shape: "error", "skip" or "keep".
            wanted: Read these columns alone.

        Raises:
            DataError: No rows, or a bad row with `on_bad_rows="error"`.
        """
        keep = [i for i, name in enumerate(self.names) if wanted is None or name in wanted]
        table = self._fast(keep, text, missing)
        return RawFile(table, self.notes, [], 0) if table else self._careful(keep, on_bad_rows)

    # ------------------------------------------------------------- the fast path

    def _fast(
        self, keep: list[int], text: frozenset[str], missing: Sequence[str]
    ) -> pa.Table | None:
        """Read with Arrow; None when it refuses the file, for a row of the wrong shape say."""
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
            column = columns.pop(i)  # its first form is let go, column by column
            if i not in numbers:
                return column
            text = pa.types.is_string(column.type)
            return from_floats(_tolerant(column, missing) if text else column.to_numpy())

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
            stream = _Counted(
                plain if is_utf8(self.encoding) else _Transcoded(plain, self.encoding)
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
                    # Numbers alone: in text the empty string becomes missing later, "NA" never.
                    null_values=["", *missing], strings_can_be_null=False,
                ),
                memory_pool=_pool(),
            )  # fmt: skip
        if stream.quotes % 2:  # Arrow takes a quote that never closes for the end of the last cell
            raise pa.ArrowInvalid("an odd number of quotes")
        return dict(zip(keep or [0], table.columns, strict=True))

    def _find_codes(
        self, keep: list[int], numbers: set[int], columns: dict[int, pa.ChunkedArray]
    ) -> set[int]:
        """Find whole numbers written with leading zeros, and put their text into `columns`.

        The first rows may not show them: every column that could hold some is looked at as text.
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
        """Guess from the first rows which columns hold numbers; all rows decide later."""
        rows = [cells for _, cells, _ in islice(self.records(), SAMPLE_ROWS) if cells]
        return {i for i in keep if _looks_numeric([cells[i] for cells in rows], missing)}

    # ------------------------------------------------------------- the careful path

    def records(self) -> Iterator[tuple[int, list[str] | None, str]]:
        """Yield (physical line, cells or None, fault) for each data row, in file order."""
        with text_of(self.path, self.encoding) as lines, unlimited_fields():
            memory = _Memory(lines)
            reader = csv.reader(memory, delimiter=self.delimiter)
            header_seen = False
            while True:
                line = reader.line_num + 1
                memory.forget()
                with readable(self.path, self.encoding, line):
                    cells: list[str] | None = next(reader, None)
                if cells is None:
                    return
                if memory.ended and self._open_quote(memory.text):
                    raise DataError(
                        f'{self.path}, line {line:,}: a quote (") opens and never closes.',
                        "Close the quote, or double it if it is part of the text.",
                    )
                fault = ""
                if cells == [] and (len(self.names) > 1 or not header_seen):
                    continue  # a blank line
                if not header_seen:
                    header_seen = True
                    continue
                if len(cells) != len(self.names) and cells != []:
                    fault = f"{len(cells)} cells where the header has {len(self.names)}"
                    cells = None
                yield line, cells, fault

    def _open_quote(self, text: str) -> bool:
        """Tell whether a file's last record ends within quotes."""
        try:
            list(csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True))
        except csv.Error as error:
            return "unexpected end of data" in str(error)
        return False

    def _careful(self, keep: list[int], on_bad_rows: OnBadRows) -> RawFile:
        columns: list[list[str | None]] = [[] for _ in keep]
        bad: list[BadRow] = []
        skipped = 0
        for row, (line, cells, fault) in enumerate(self.records()):
            if cells is None:
                if on_bad_rows == "error":
                    raise DataError(
                        f"{self.path}, line {line:,}: {fault}.",
                        "Mend the row, or leave such rows out with on_bad_rows='skip' "
                        "(--on-bad-rows skip).",
                    )
                bad.append(BadRow(row, f"{self.path.name}, line {line:,}: {fault}"))
                if on_bad_rows == "skip":
                    skipped += 1
                    continue
            for values, i in zip(columns, keep, strict=True):
                values.append((cells[i] or None) if cells else None)
        arrays = [pa.chunked_array([pa.array(v, pa.string())]).dictionary_encode() for v in columns]
        table = pa.table(arrays, names=[self.names[i] for i in keep])
        return RawFile(table, self.notes, bad, skipped)

    def locate(self, row: int, column: str) -> tuple[int, str]:
        """Find a data row's physical line and a cell's text, by reading up to it."""
        for number, (line, cells, _) in enumerate(self.records()):
            if number == row:
                place = self.names.index(column)
                return line, cells[place] if cells and place < len(cells) else ""
        raise IndexError(row)  # pragma: no cover - the row came from this very file


# ------------------------------------------------------------- helpers


def unique_names(header: Sequence[str | None]) -> tuple[list[str], dict[str, str]]:
    """Make column names unique and non-empty, and say what was done.

    Example:
        >>> from sightline.load.delimited import unique_names
        >>> unique_names(["a", "", "a"])[0]
        ['a', 'column_2', 'a_2']
    """
    names: list[str] = []
    notes: dict[str, str] = {}
    taken = {name for name in header if name}
    for number, given in enumerate(header, start=1):
        name = given or ""
        if not name.strip():
            name = _free(f"column_{number}", set(names) | taken)
            notes[name] = f"column {number} has no name in the header"
        elif name in names:
            name = _free(name, set(names) | taken, start=2)
            notes[name] = f"the header has {shorten(given or '')!r} more than once"
        names.append(name)
    return names, notes


def _free(stem: str, taken: set[str], start: int = 1) -> str:
    name, number = (stem, 2) if start == 1 else (f"{stem}_{start}", start + 1)
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    return name


def _pool() -> pa.MemoryPool:
    """Arrow's jemalloc where it is built in: it gives a parsed block's memory back to the next."""
    try:
        return pa.jemalloc_memory_pool()
    except NotImplementedError:
        return pa.default_memory_pool()


def is_utf8(encoding: str) -> bool:
    """Tell whether a file in this encoding is UTF-8 as it stands.

    Example:
        >>> from sightline.load.delimited import is_utf8
        >>> is_utf8("UTF_8"), is_utf8("cp1252")
        (True, False)
    """
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii", "us-ascii", "utf-8-sig"}


class _Counted(io.RawIOBase):
    """A file on its way to Arrow, its quotes counted."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.quotes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._stream.read(size)
        self.quotes += data.count(b'"')
        return data


class _Transcoded(io.RawIOBase):
    """A file in any encoding that Python knows, as the UTF-8 that Arrow reads."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, newline="")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            more = self._text.read(1 << 20)
            if not more:
                break
            self._rest += more.encode()
        size = len(self._rest) if size < 0 else size
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class _Memory:
    """Lines on their way to a reader, with those of the current record kept."""

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


def refuse_binary(path: Path, encoding: str | None) -> None:
    """Raise if a file's first bytes are not those of a text."""
    with path.open("rb") as file:
        head = file.read(4)
    known = {
        b"PK\x03\x04": ("a zip archive or an Excel workbook", "Save the sheet as CSV or Parquet."),
        b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "Save the sheet as CSV or Parquet."),
        b"%PDF": ("a PDF document", "Give the table itself, as CSV or Parquet."),
        b"PAR1": ("a Parquet file", "Give it a name that ends in .parquet."),
        b"ARRO": ("an Arrow file", "Give it a name that ends in .arrow."),
        b"SQLi": ("an SQLite database", "Export the table as CSV or Parquet."),
    }
    if head in known:
        what, fix = known[head]
        raise DataError(f"{path} is {what}, not a text file.", fix)
    if encoding is not None:
        return
    with bytes_of(path) as stream:
        start = stream.read(8192)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path} is written in UTF-16.", "Read it with encoding='utf-16' (--encoding utf-16)."
        )
    if b"\x00" in start:
        raise DataError(
            f"{path} is a binary file, not text: it holds zero bytes.",
            "Give a CSV, TSV, Parquet, JSON lines or Arrow file.",
        )


@contextmanager
def bytes_of(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, unpacking .gz and .zst."""
    codec = CODECS.get(path.suffix.lower())
    try:
        with pa.input_stream(str(path), compression=codec) as stream:
            yield stream
    except OSError as error:
        if codec is None:
            raise
        raise DataError(
            f"{path} cannot be unpacked: {error}.", f"Check that it is a whole {codec} file."
        ) from error


@contextmanager
def text_of(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file for reading as text, line ends untouched, a byte order mark left out."""
    plain = encoding.lower().replace("_", "-") in {"utf-8", "utf8"}
    with ExitStack() as stack:
        stream = stack.enter_context(bytes_of(path))
        try:
            wrapper = io.TextIOWrapper(stream, "utf-8-sig" if plain else encoding, newline="")
        except LookupError:
            raise DataError(
                f"There is no encoding called {encoding!r}.",
                "Use one of Python's names, such as 'latin-1', 'cp1252' or 'utf-16'.",
            ) from None
        yield stack.enter_context(wrapper)


@contextmanager
def readable(path: Path, encoding: str, line: int | None = None) -> Iterator[None]:
    """Turn bytes that are no text in this encoding into an error for the user."""
    try:
        yield
    except UnicodeError as error:
        near = f" near line {line:,}" if line else ""
        value = ""
        if isinstance(error, UnicodeDecodeError):
            value = f": the byte 0x{error.object[error.start]:02x} does not belong there"
        raise DataError(
            f"{path} is not {encoding} text{near}{value}.",
            "Say how it is written, for example encoding='cp1252' or 'latin-1' (--encoding cp1252).",
        ) from None


@contextmanager
def unlimited_fields() -> Iterator[None]:
    """Let Python's reader take cells of any size for a while."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _tolerant(texts: pa.ChunkedArray, missing: Sequence[str]) -> np.ndarray:
    """Turn text into numbers: NaN where missing, `BAD` where it is no number."""
    trimmed = pa_compute.utf8_trim_whitespace(texts)
    number = pa_compute.match_substring_regex(trimmed, f"^({NUMBER})$")
    gone = pa_compute.is_in(trimmed, value_set=pa.array(["", *missing], pa.string()))
    numbers = pa_compute.if_else(number, trimmed, pa.scalar(None, pa.string())).cast(pa.float64())
    floats = numbers.to_numpy()
    is_number = number.to_numpy()
    is_missing = gone.to_numpy()
    return np.where(is_missing, np.nan, np.where(is_number, floats, BAD))


def _may_be_codes(column: pa.ChunkedArray) -> bool:
    """Whole numbers of two digits and more, none below zero?"""
    if not pa.types.is_floating(column.type):
        return False  # text already, because some cell is no number
    span = pa_compute.min_max(column).as_py()
    if span["min"] is None or span["min"] < 0 or span["max"] < 10:
        return False
    for part in (column[:1000], column):
        whole = pa_compute.equal(part, pa_compute.round(part))
        if not pa_compute.all(whole, min_count=0).as_py():
            return False
    return True


def _has_codes(words: pa.Array) -> bool:
    found = pa_compute.match_substring_regex(words, r"^\s*0[0-9]+\s*$")
    return bool(pa_compute.any(found, min_count=0).as_py())


def _looks_numeric(texts: list[str | None], missing: Sequence[str]) -> bool:
    numbers = [parse_number(text, missing) for text in texts if text is not None]
    given = [number for number in numbers if not math.isnan(number)]
    if not given or any(is_code(text) for text in texts if text is not None):
        return False
    return sum(number == BAD for number in given) <= 0.01 * len(given)


def count_bad(numbers: np.ndarray) -> int:
    """How many of a column's numbers are `BAD` (either infinity)."""
    return int(np.isinf(numbers).sum())
