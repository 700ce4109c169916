"""CSV and TSV files to raw columns: DuckDB at full speed, Python's reader to find the fault.

The fast path reads each column once, as numbers where a sample says so and as text otherwise.
DuckDB refuses a file with one broken row without saying enough, so a refusal sends the file
through the careful path, which knows the physical line of every row.
"""

from __future__ import annotations

import csv
import io
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from sightline.contracts import BadRow
from sightline.errors import DataError, shorten
from sightline.load.values import BAD, from_floats, is_code, is_float, parse_number, to_floats

if TYPE_CHECKING:
    import duckdb

OnBadRows = Literal["error", "skip", "keep"]
SAMPLE_ROWS = 500
BATCH_ROWS = 122_880  # DuckDB's own row group
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
        with tempfile.TemporaryDirectory() as scratch:
            fast = None
            if csv_is_plain(self.encoding):
                fast = self._fast(self.path, keep, text, missing)
            else:  # Python knows far more encodings than DuckDB: write the file again as UTF-8
                copy = Path(scratch) / "utf8.csv"
                with (
                    text_of(self.path, self.encoding) as lines,
                    copy.open("w", encoding="utf-8", newline="") as out,
                    readable(self.path, self.encoding),
                ):
                    while block := lines.read(1 << 22):
                        out.write(block)
                fast = self._fast(copy, keep, text, missing)
        if fast is not None:
            return RawFile(fast, self.notes, [], 0)
        return self._careful(keep, on_bad_rows)

    # ------------------------------------------------------------- the fast path

    def _fast(
        self, path: Path, keep: list[int], text: frozenset[str], missing: Sequence[str]
    ) -> pa.Table | None:
        """Read with DuckDB; None when it refuses the file."""
        import duckdb

        if any("\n" in name or "\r" in name for name in self.names):
            return None  # DuckDB takes a break in a name for how lines end, and finds no rows

        source = _source(path, len(self.names), self.delimiter, self.blank)
        everything = ", ".join(f"c{i}" for i in keep) or "c0"
        try:
            with duckdb.connect() as connection:
                connection.execute("SET preserve_insertion_order = true")
                connection.execute("SET enable_progress_bar = false")
                # One pass has nothing to optimise, and trying takes seconds from 100 columns on.
                connection.execute("PRAGMA disable_optimizer")
                head = connection.sql(f"SELECT {everything} FROM {source} LIMIT {SAMPLE_ROWS}")
                sample = head.to_arrow_table()
                numbers = {
                    i
                    for i in keep
                    if self.names[i] not in text
                    and _looks_numeric(sample.column(f"c{i}").to_pylist(), missing)
                }
                exact = {i: _number(f"c{i}", missing) for i in numbers}
                plain = not any(is_float(token) for token in missing if token != "NaN")
                quick = {i: _quick_number(f"c{i}") for i in numbers} if plain else exact
                chosen = {i: quick.get(i, f"c{i}") for i in keep} or {0: "c0"}
                columns = _stream(connection, source, chosen)
                # Something else than numbers in it: look again, now for texts that mean missing.
                doubtful = (
                    [i for i in numbers if np.isinf(to_floats(columns[i])).any()] if plain else []
                )
                if doubtful:
                    columns |= _stream(connection, source, {i: exact[i] for i in doubtful})
        except (duckdb.Error, pa.ArrowException, OSError):  # Arrow wraps what comes mid-stream
            return None
        return pa.table(
            [columns[i] for i in keep] or [columns[0]], [self.names[i] for i in keep] or ["c0"]
        )

    # ------------------------------------------------------------- the careful path

    def records(self) -> Iterator[tuple[int, list[str] | None, str]]:
        """Yield (physical line, cells or None, fault) for each data row, in file order."""
        with text_of(self.path, self.encoding) as lines, unlimited_fields():
            reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            header_seen = False
            while True:
                line = reader.line_num + 1
                fault = ""
                cells: list[str] | None = None
                try:
                    with readable(self.path, self.encoding, line):
                        cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if "unexpected end of data" in str(error):
                        raise DataError(
                            f'{self.path}, line {line:,}: a quote (") opens and never closes.',
                            "Close the quote, or double it if it is part of the text.",
                        ) from None
                    fault = f"the quotes do not match ({error})"
                if cells == [] and (len(self.names) > 1 or not header_seen):
                    continue  # a blank line
                if not header_seen:
                    header_seen = True
                    continue
                if cells is not None and len(cells) != len(self.names) and cells != []:
                    fault = f"{len(cells)} cells where the header has {len(self.names)}"
                    cells = None
                yield line, cells, fault

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


def csv_is_plain(encoding: str) -> bool:
    """Tell whether DuckDB can read this encoding itself."""
    return encoding.lower().replace("_", "-") in {"utf-8", "utf8", "ascii", "us-ascii", "utf-8-sig"}


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
    if codec is None:
        with path.open("rb") as plain:
            yield plain
        return
    try:
        with pa.input_stream(str(path), compression=codec) as stream:
            yield stream
    except OSError as error:
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


def _source(path: Path, columns: int, delimiter: str, blank: int) -> str:
    types = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(columns))
    codec = CODECS.get(path.suffix.lower(), "none")
    return (
        f"read_csv([{_quote(_no_glob(str(path.absolute())))}], header=true, auto_detect=false, skip={blank}, "
        f"delim={_quote(delimiter)}, "
        f"quote='\"', escape='\"', nullstr='', compression='{codec}', columns={{{types}}})"
    )


def _no_glob(path: str) -> str:
    """DuckDB expands * ? [ in a path: put each in brackets, where it stands for itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _number(column: str, missing: Sequence[str]) -> str:
    """SQL for a column of numbers: NaN when missing, infinite when it is no number."""
    number = f"try_cast({column} AS DOUBLE)"
    listed = [token for token in missing if is_float(token)]
    if listed:  # a number such as -999 that stands for missing
        tokens = ", ".join(map(_quote, listed))
        number = f"CASE WHEN trim({column}) IN ({tokens}) THEN NULL ELSE {number} END"
    empty = f"{column} IS NULL OR trim({column}) = ''"
    if missing:
        empty += f" OR trim({column}) IN ({', '.join(map(_quote, missing))})"
    return f"coalesce({number}, if({empty}, 'NaN'::DOUBLE, 'Infinity'::DOUBLE))"


def _quick_number(column: str) -> str:
    """SQL for a column whose empty cells alone are missing: a third faster than `_number`."""
    other = f"if({column} IS NULL, 'NaN'::DOUBLE, 'Infinity'::DOUBLE)"
    return f"coalesce(try_cast({column} AS DOUBLE), {other})"


def _stream(
    connection: duckdb.DuckDBPyConnection, source: str, chosen: dict[int, str]
) -> dict[int, pa.ChunkedArray]:
    """Read columns batch by batch: numbers into arrays of our own, text as categories.

    A batch keeps all its columns in memory while one of them is in use, so none is kept.
    """
    parts: dict[int, list[Any]] = {i: [] for i in chosen}
    query = connection.sql(f"SELECT {', '.join(chosen.values())} FROM {source}")
    for batch in query.to_arrow_reader(BATCH_ROWS):
        for column, part in zip(batch.columns, parts.values(), strict=True):
            text = pa.types.is_string(column.type)
            part.append(column.dictionary_encode() if text else column.to_numpy().copy())
    columns = {}
    for i in chosen:
        part = parts.pop(i)
        if part and isinstance(part[0], np.ndarray):
            columns[i] = from_floats(np.concatenate(part))
        else:
            columns[i] = pa.chunked_array(part, pa.dictionary(pa.int32(), pa.string()))
    return columns


def _looks_numeric(texts: list[str | None], missing: Sequence[str]) -> bool:
    numbers = [parse_number(text, missing) for text in texts if text is not None]
    given = [number for number in numbers if not math.isnan(number)]
    if not given or any(is_code(text) for text in texts if text is not None):
        return False
    return sum(number == BAD for number in given) <= 0.01 * len(given)


def count_bad(numbers: np.ndarray) -> int:
    """How many of a column's numbers are `BAD` (either infinity)."""
    return int(np.isinf(numbers).sum())
