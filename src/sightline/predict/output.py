"""Predictions as a table, one row for each row that was given, to be written to a file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from sightline.archive import put_in_place
from sightline.errors import DataError, OptionError
from sightline.load.database_tables import Destination, write_rows
from sightline.load.formats import CODECS
from sightline.predict.reading import plain_column
from sightline.predict.tables import Predictions, TableModel


def prediction_table(
    model: TableModel, predictions: Predictions, keep: Sequence[str], alpha: float | None = None
) -> pa.Table:
    """Return predictions as columns.

    Args:
        model: What predicted.
        predictions: From `model.predictions`.
        keep: Columns of the rows to copy.
        alpha: The share of rows whose set or interval may miss the truth; None adds neither.

    Returns:
        The kept columns, "prediction", "probability_<class>" for each class, and "error" where a row
        could not be read. With `alpha` also "set" (its classes separated by |) and "set_size" (0 for an
        empty set, null for a row without a prediction), or "low" and "high" of an interval.

    Raises:
        OptionError: Two columns would have the same name; or as `Model.sets` and `Model.intervals`.
    """
    columns: dict[str, Any] = {}

    def add(name: str, values: Any) -> None:
        if name in columns:
            raise OptionError(
                f"The column {name!r} would be written twice.", "Keep fewer columns (--keep)."
            )
        columns[name] = values

    for name in keep:
        add(name, plain_column(predictions.table, name))
    own = model.encoder.schema.rules > 1
    texts = model.spec.target.texts if own else tuple(map(str, model.classes))
    labels = predictions.labels.tolist()
    if model.spec.target.names:
        text_of = dict(zip(model.classes, texts, strict=True))
        add("prediction", pa.array([text_of.get(label) for label in labels], pa.string()))
    else:
        add("prediction", pa.array(predictions.labels, from_pandas=True))
    if model.classification:
        for index, text in enumerate(texts):
            values = predictions.values[:, index]
            add(f"probability_{text}", pa.array(values, mask=np.isnan(values)))
    if alpha is not None:
        good = ~np.isnan(predictions.values).any(axis=1)
        if model.classification:
            in_sets = model.sets(predictions.values, alpha)
            sets = [
                "|".join(text for text, chosen in zip(texts, row, strict=True) if chosen)
                for row in in_sets.tolist()
            ]
            add("set", pa.array(sets, pa.string(), mask=~good))
            add("set_size", pa.array(in_sets.sum(axis=1), pa.int64(), mask=~good))
        else:
            for end, ends in zip(
                ("low", "high"), model.intervals(predictions.values, alpha).T, strict=True
            ):
                add(end, pa.array(ends, mask=~good))
    if predictions.bad:
        errors: list[str | None] = [None] * len(predictions.labels)
        for row, error in predictions.bad:
            errors[row] = error
        add("error", pa.array(errors, pa.string()))
    return pa.table(columns)


class PredictionFile:
    """A CSV file, compressed too, or a Parquet file that is written piece by piece, and as if it had been written at once.

    A column that only a later piece has (such as "error"), or whose numbers become fractions there, is given to the
    rows before it as well: what was written is then written again.

    Args:
        path: The file, which gets its name when the `with` block ends well; None writes to a temporary file,
            which `copy_to` copies or `write_to` puts into a database.
        parquet: Whether the temporary file is Parquet; else it is CSV.

    Raises:
        DataError: The folder does not exist.
        OptionError: The ending is none of .csv, .csv.gz, .csv.zst and .parquet.

    Example:
        >>> import pyarrow as pa
        >>> from pathlib import Path
        >>> from sightline.predict.output import PredictionFile
        >>> with PredictionFile(Path("p.csv")) as file:
        ...     file.add(pa.table({"prediction": [1]}))
        ...     file.add(pa.table({"prediction": [2], "error": ["row 1 is damaged"]}))
        >>> Path("p.csv").read_text().splitlines()
        ['"prediction","error"', '1,', '2,"row 1 is damaged"']
    """

    def __init__(self, path: Path | None, parquet: bool = False) -> None:
        if path is not None and not path.parent.is_dir():
            raise DataError(
                f"The folder {path.parent} does not exist.", "Create it, or give another path (-o)."
            )
        self.path = path
        self._parquet, self._codec = (parquet, None) if path is None else _form(path)
        self._schema: pa.Schema | None = None
        self._writer: Any = None
        self._compressed: Any = None
        self._stack = ExitStack()
        self._file: Any = None

    def __enter__(self) -> Self:
        folder = None if self.path is None else self.path.parent
        self._folder = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix=".sightline-", dir=folder)
        )
        self._number = 0
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if self._writer is not None:
                self._close()
            if kind is None and self.path is not None and self._writer is not None:
                put_in_place(self._part(), self.path)

    def _part(self) -> Path:
        return Path(self._folder) / f"part-{self._number}"

    def add(self, table: pa.Table) -> None:
        """Append rows.

        Raises:
            OSError: The disk is full.
        """
        if self._schema is None:
            self._open(table.schema)
        elif table.schema != self._schema:
            self._widen(
                pa.unify_schemas([self._schema, table.schema], promote_options="permissive")
            )
        self._writer.write(self._fit(table))

    def copy_to(self, stream: IO[bytes]) -> None:
        """Copy what was written, while the `with` block lasts."""
        self._close()
        with self._part().open("rb") as source:
            shutil.copyfileobj(source, stream, 1 << 22)

    def write_to(self, to: Destination, replace: bool) -> None:
        """Write what was written, as Parquet, to a table of a database in one transaction, while the `with` block lasts.

        Raises:
            OptionError, DataError: As `sightline.load.database_tables.write_rows`.
        """
        self._close()
        batches = _batches(self._part(), None, parquet=True)
        write_rows(to, pa.RecordBatchReader.from_batches(self._schema, batches), replace)

    def _open(self, schema: pa.Schema) -> None:
        self._schema = schema
        to: Any = str(self._part())
        if (
            self._codec is not None
        ):  # neither a name nor a time gets into the file: the same rows, the same bytes
            to = self._compressed = pa.CompressedOutputStream(to, self._codec)
        self._writer = (pq.ParquetWriter if self._parquet else pc.CSVWriter)(to, schema)

    def _close(self) -> None:
        self._writer.close()
        if self._compressed is not None:
            self._compressed.close()

    def _fit(self, table: pa.Table) -> pa.Table:
        assert self._schema is not None
        columns = [
            table.column(field.name).cast(field.type) if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in self._schema
        ]  # fmt: skip
        return pa.table(columns, schema=self._schema)

    def _widen(self, schema: pa.Schema) -> None:
        """Write the rows before again, with other columns or types."""
        self._close()
        old, old_schema = self._part(), self._schema
        self._number += 1
        self._open(schema)
        for batch in _batches(old, old_schema, self._parquet, self._codec):
            self._writer.write(self._fit(pa.Table.from_batches([batch])))
        old.unlink()


def _form(path: Path) -> tuple[bool, str | None]:
    """Return whether a file is Parquet by its ending, and how it is compressed.

    Raises:
        OptionError: Predictions are not written in such a file.
    """
    *others, ending = ["", *(suffix.lower() for suffix in path.suffixes)]
    if ending in (".csv", ".parquet"):
        return ending == ".parquet", None
    if ending in CODECS and others[-1:] == [".csv"]:
        return False, CODECS[ending]
    if ending in CODECS and others[-1:] == [".parquet"]:
        raise OptionError(
            f"{path}: a Parquet file is compressed inside.", f"Give {path.with_suffix('')} (-o)."
        )
    raise OptionError(
        f"{path} ends in neither .csv nor .parquet; .csv may be compressed: {', '.join(f'.csv{codec}' for codec in CODECS)}.",
        "Give a path with one of these endings (-o).",
    )


def _batches(
    path: Path, schema: pa.Schema | None, parquet: bool, codec: str | None = None
) -> Iterator[pa.RecordBatch]:
    if parquet:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches()
        return
    assert schema is not None
    exact = pc.ConvertOptions(
        column_types=schema, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )  # fmt: skip
    with pa.input_stream(str(path), compression=codec) as stream:
        yield from pc.open_csv(stream, parse_options=pc.ParseOptions(newlines_in_values=True), convert_options=exact)  # fmt: skip


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table as CSV (.gz and .zst too) or Parquet, by the ending of the path, atomically; see `PredictionFile`."""
    with PredictionFile(path) as file:
        file.add(table)
