"""The origin of a model: recorded at fit, and read again to evaluate the model on its test rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from sightline.contracts import ReadOptions
from sightline.errors import DataError, DataWarning, OptionError, counted, did_you_mean
from sightline.evaluate.baselines import Moved
from sightline.evaluate.drift import reference_of
from sightline.evaluate.slices import slices_of
from sightline.load.known import TRAINING, Earlier
from sightline.load.large import LargeTable, Spread
from sightline.load.limits import Budget
from sightline.load.object_stores import is_stored
from sightline.load.split import Splits, split
from sightline.load.split_large import split_large
from sightline.load.table import Table, absolute_paths, read_by_rules, subset
from sightline.metrics.importance import importance as measure_importance
from sightline.pipeline.warm_start import MOST_KNOWN, as_tensors, earlier_of, known_rows
from sightline.predict.model import Model
from sightline.predict.reference import Reference
from sightline.predict.tables import Predictions, TableModel
from sightline.prepare.encode import Encoder

MOST_HASHES = 100_000
"""A model of more rows than `MOST_KNOWN` keeps the hashes of at most this many training rows, to recognise them."""
MOST_COUNTED = 200_000
"""At most this many training rows are counted for comparisons with new rows."""


def evaluate(model: Model, *, by: Sequence[str] = ()) -> dict[str, Any]:
    """Measure a model on its own test rows, which are read again from its table.

    Args:
        model: The model.
        by: Columns whose values divide the rows into groups that are measured too; see `slices`.

    Returns:
        As `Model.evaluate`, `part` (which rows), and with `by` `slices`.

    Raises:
        DataError: The table was in memory, does not exist any more or has changed, or no rows are held out.
        OptionError, DataError: As `slices`.

    Example:
        >>> import sightline as sl
        >>> from sightline.pipeline.origin import evaluate
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> evaluate(run.model)["accuracy"] == run.metrics["accuracy"]
        True
    """
    splits, part, rows = _held_out(model)
    own = subset(_with_dropped(model, splits, by), rows) if by else None
    predictions = model.predictions(subset(splits.table, rows))
    found = {**model.measure(predictions), "part": part}
    if own is not None:
        found["slices"] = {"part": part, **_by(model, predictions, by, own)}
    return found


def evaluate_rows(
    model: TableModel, data: Any, *, by: Sequence[str] = (), encoding: str | None = None
) -> tuple[dict[str, Any], Predictions]:
    """Measure a model on rows whose target is known, and on groups of them.

    Args:
        model: Any model.
        data: As in `Model.evaluate`.
        by: As in `evaluate`.
        encoding: Of a text file that is not UTF-8.

    Returns:
        As `Model.evaluate`, and with `by` `slices`; and the predictions.

    Raises:
        DataError, OptionError: As `Model.evaluate`, and as `slices`.
    """
    known = {c.name for c in model.encoder.schema.columns if c.role in ("feature", "target")}
    more = tuple(name for name in by if name not in known)
    predictions = model.predictions(data, keep=more, encoding=encoding)
    found = model.measure(predictions)
    if by:
        name = predictions.table.name
        own = _typed(model, predictions.table, more) if more else predictions.table
        found["slices"] = {"part": name, **_by(model, predictions, by, own)}
    return found, predictions


def slices(
    model: TableModel, data: Any = None, *, by: str | Sequence[str], encoding: str | None = None
) -> dict[str, Any]:
    """Measure a model by the values of columns, and tell which groups of rows it is worse for than chance explains.

    Texts, truth values and whole numbers with few values have a group for each value (of many texts the 19 most frequent
    ones, and one for all others), other numbers 5 ranges, dates years or ranges; missing values, and texts that the
    training rows lack, are groups too. Each group is compared with all other rows.

    Args:
        model: A `Model`, or an `OnnxModel`.
        data: Rows whose target is known, anything `sl.read` takes; None reads the model's own test rows again.
        by: A column of the rows, or several; it need not be an input of the model.
        encoding: Of a text file that is not UTF-8.

    Returns:
        `part` (which rows), `rows`, `comparisons`, `sentence` and `columns`: each `column`, `how` its values were cut, the
        `metric` (log loss or RMSE; AUC or balanced accuracy of a model with class weights or a threshold), `groups`, the
        worst first, a `sentence` and a `caution`. Each group has `group`, `rows`, `score`, `low`, `high` (95 % interval),
        `difference` to all other rows, `difference_low`, `difference_high`, `worse` (at 5 % for all comparisons together,
        Holm 1979) and `values`: further metrics by name. See docs/trace.md, predict/slices.

    Raises:
        OptionError: There is no such column, or it is a target of numbers.
        DataError: The column has one value, or nearly every row has its own; or as `Model.evaluate`. With `data=None`: the
            table was in memory, does not exist any more or has changed, or no rows are held out.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> found = sl.slices(run.model, "examples/penguins.csv", by="sex")
        >>> sorted((group["group"], group["rows"]) for group in found["columns"][0]["groups"])
        [('female', 165), ('male', 168), ('missing', 11)]
    """
    names = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    if not names:
        raise OptionError("by names no column.", "Name a column, such as by='island'.")
    if data is not None:
        body: dict[str, Any] = evaluate_rows(model, data, by=names, encoding=encoding)[0]["slices"]
        return body
    if not isinstance(model, Model):
        raise OptionError(
            "An ONNX model does not know its test rows.", "Give rows whose target is known."
        )
    body = evaluate(model, by=names)["slices"]
    return body


def _by(
    model: TableModel, predictions: Predictions, names: Sequence[str], table: Table
) -> dict[str, Any]:
    """Measure predictions by the values of columns, some of which only `table` has."""
    moved: Moved | None = None if model.threshold is None else "threshold"
    training = model.provenance.get("options", {}).get("training", {})
    if training.get("class_weights") is not None:
        moved = "class weights"
    return slices_of(model, predictions, names, table=table, moved=moved)


def _typed(model: TableModel, table: Table, names: Sequence[str]) -> Table:
    """Return columns that the model does not use, and that were kept as they are, with kinds of their own."""
    read = model.provenance.get("read", {})
    options = {name: read.get(name) for name in ("missing", "decimal", "thousands", "dates")}
    kinds = {name: kind for name, kind in read.get("kinds", {}).items() if name in names}
    raw = pa.table({name: table.columns[name] for name in names})
    with (
        warnings.catch_warnings()
    ):  # that numbers are read as texts matters to a model, not to groups
        warnings.simplefilter("ignore", DataWarning)
        typed = read_by_rules(raw, ReadOptions(kinds=kinds, **options), model.encoder.schema.rules)
    return replace(typed, name=table.name)


def _with_dropped(model: Model, splits: Splits, names: Sequence[str]) -> Table:
    """Return the table of a split with some columns that were dropped when it was read.

    Raises:
        OptionError: There is no such column.
        DataError: The dropped columns cannot be read for the same rows.
    """
    table, origin = splits.table, model.provenance
    dropped = [name for name in names if name in origin["read"].get("drop", ())]
    for name in names:
        if name not in table.columns and name not in dropped:
            known = [*table.columns, *origin["read"].get("drop", ())]
            raise OptionError(f"{table.name} has no column {name!r}.", did_you_mean(name, known))
    if not dropped:
        return table
    given = any(isinstance(origin["split"][part], str) for part in ("valid", "test"))  # other files
    again = None
    if splits.large is None and not given:
        kept = [name for name in origin["read"]["drop"] if name not in dropped]
        options = ReadOptions(**{**origin["read"], "drop": kept})
        again = read_by_rules(_place(origin), options, origin.get("rules", 1))
        rows = np.flatnonzero(again.columns[splits.target.name].is_valid().to_numpy())
        again = subset(again, rows)
        same = [c.name for c in table.schema.columns if c.role in ("feature", "target")]
        if again.rows != table.rows or not np.array_equal(
            again.row_hashes(same), table.row_hashes(same)
        ):
            again = None
    if again is None:
        raise DataError(
            f"{dropped[0]!r} was dropped when {table.name} was read, and cannot be read again for the same rows.",
            "Give the rows to measure as a file.",
        )
    schema = table.schema
    columns = tuple(again.schema[name] for name in dropped)
    return replace(
        table, schema=replace(schema, columns=(*schema.columns, *columns)),
        columns={**table.columns, **{name: again.columns[name] for name in dropped}},
    )  # fmt: skip


def importance(model: Model, *, repeats: int = 5, seed: int = 0) -> dict[str, Any]:
    """Measure the permutation importance of each column on a model's own test rows, read again.

    Args:
        model: The model.
        repeats, seed: As in `Model.importance`, and so is the result.

    Raises:
        DataError: As `evaluate`.
        OptionError: As `Model.importance`.

    Example:
        >>> import sightline as sl
        >>> from sightline.pipeline.origin import importance
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> importance(run.model)["part"]
        'test'
    """
    splits, part, rows = _held_out(model)
    predictions = model.predictions(subset(splits.table, rows))
    truth, usable = model.truth(predictions)
    return measure_importance(
        model, predictions.table, truth, usable, part, repeats=repeats, seed=seed
    )


def _held_out(model: Model) -> tuple[Splits, str, np.ndarray]:
    """Read a model's own table again, and return the rows to measure it on."""
    _, splits = training_data(model)
    parts = {"test": model.rows["test"].numpy(), "validation": model.rows["valid"].numpy()}
    part = "test" if len(parts["test"]) else "validation"
    rows = parts[part]
    if not len(rows):
        raise DataError(
            "The model was trained on every row: it has neither test nor validation rows.",
            "Give a file with rows to use.",
        )
    return splits, part, rows


def overlap(model: Model, table: Table) -> tuple[int, int]:
    """Count the rows of a table that equal a training row of the model in every value.

    Returns:
        The count, and the number of training rows that were compared: all of them, or a sample of
        100,000.
    """
    names = [c.name for c in model.encoder.schema.columns if c.role in ("feature", "target")]
    if any(name not in table.columns for name in names):
        return 0, 0
    if "known_keys" in model.rows:
        earlier = earlier_of(model.spec, model.encoder, model.rows)
        return int(earlier.learned(table).sum()), int((earlier.rows.places >= TRAINING).sum())
    hashes = model.rows.get("train_hashes")
    if hashes is None:
        return 0, 0
    table_hashes = table.row_hashes(names).view(np.int64)
    return int(np.isin(table_hashes, hashes.numpy()).sum()), len(hashes)


def reference(model: Model, splits: Splits) -> Reference:
    """Return how the training rows are distributed, and the predictions of rows that the model did not learn from."""
    train = splits.train
    if len(train) > MOST_COUNTED:  # more would not change the shares
        train = train[np.linspace(0, len(train) - 1, MOST_COUNTED).astype(np.int64)]
    parts = {"test": splits.test, "validation": splits.valid}
    part = "test" if len(splits.test) else "validation"
    held_out = parts[part][:MOST_COUNTED]
    return reference_of(
        model, subset(splits.table, train), subset(splits.table, held_out) if len(held_out) else None,
        counted(len(held_out), f"{part} row"),
    )  # fmt: skip


def provenance(
    source: Any, table: Table, splits: Splits, valid: Any, test: Any, address: str | None = None
) -> dict[str, Any]:
    """Return where a table is and how it was split, as JSON values, so that it can be read again.

    Args:
        source, valid, test: As in `fit`.
        table: What was read.
        splits: Its rows.
        address: Where the table is in an object store, without credentials, if `source` is a copy.
    """
    parts = {"valid": 0 if valid is None else valid, "test": test}
    files = {name: part for name, part in parts.items() if isinstance(part, str | Path)}
    plain = all(isinstance(part, int | float | str | Path) for part in parts.values())
    readable = isinstance(source, str | Path) and plain and bool(table.paths)  # a pipe has no paths
    options = {
        **splits.options,
        **{
            name: part if is_stored(part) else str(Path(part).absolute())
            for name, part in files.items()
        },
    }
    return {
        "source": str(Path(source).absolute()) if readable else None,
        "name": table.name,
        "paths": absolute_paths(table.paths) if readable else [],
        "read": dict(table.options),
        "rules": table.schema.rules,
        "split": options,
        "train_rows": splits.train_rows,
        "fingerprint": splits.fingerprint(),
        **({} if splits.large is None else {"memory_limit": splits.large.table.budget.limit}),
        **({} if address is None else {"address": address}),
        **({} if splits.earlier is None else {"warm_start": True}),
    }


def row_numbers(
    encoder: Encoder, splits: Splits, stopping: np.ndarray, fingerprint: str
) -> dict[str, torch.Tensor]:
    """Return what a model keeps about its rows: which are held out, and hashes of all of them.

    Args:
        encoder: Of the model.
        splits: What it was fitted on.
        stopping: The validation rows that early stopping saw.
        fingerprint: Of the table; the hashes are keyed with it.
    """
    rows = {"valid": torch.from_numpy(splits.valid), "test": torch.from_numpy(splits.test)}
    every_row = splits.large is None or splits.large.facts is None
    if every_row and splits.table.rows <= MOST_KNOWN:
        return rows | as_tensors(known_rows(encoder, splits, stopping, int(fingerprint[:16], 16)))
    names = [c.name for c in splits.table.schema.columns if c.role in ("feature", "target")]
    sample = splits.train[:: -(-len(splits.train) // MOST_HASHES)]
    hashes = splits.table.row_hashes(names)[sample].view(np.int64)
    return rows | {"train_hashes": torch.from_numpy(hashes.copy())}


def training_data(model: Model) -> tuple[Table, Splits]:
    """Read a model's own table again and split it as for training.

    Raises:
        DataError: It was in memory, does not exist any more, or has changed.
    """
    earlier = None
    if model.provenance.get("warm_start"):  # its own rows have their places
        earlier = earlier_of(model.spec, model.encoder, model.rows)
    return read_again(model.provenance, earlier=earlier)


def read_again(
    origin: Mapping[str, Any],
    source: Any = None,
    earlier: Earlier | None = None,
    folder: Path | None = None,
    spread: Spread | None = None,
) -> tuple[Table, Splits]:
    """Read a table again and split it as `origin`, from `provenance`, says.

    Args:
        origin: Where the table is and how it was split.
        source: The table, if it was in memory.
        earlier: Of a warm start, what it keeps of the earlier model.
        folder: Where temporary files of a table larger than memory are made; None takes that of the system.
        spread: What applies functions to pieces of such a table; None takes threads.

    Returns:
        The table, or its sample if it is larger than memory; and the split.

    Raises:
        DataError: It was in memory, does not exist any more, or has changed; or its validation or test
            rows were given as a table in memory.
    """
    for part in ("valid", "test"):
        if part not in origin["split"]:
            raise DataError(
                f"The rows of {part}= were a table in memory, which is not kept.",
                f"Fit again, with {part}= as a file or a share, to be able to do this.",
            )
    options = ReadOptions(**origin["read"])
    rules = origin.get("rules", 1)  # what was made before has none
    if source is not None and "memory_limit" in origin:
        return _large_again(source, options, origin, folder, rules, spread)
    if source is not None:
        table = source if isinstance(source, Table) else read_by_rules(source, options, rules)
        return table, _same(table, origin, earlier)
    place = _place(origin)
    if "memory_limit" in origin:
        return _large_again(place, options, origin, folder, rules, spread)
    table = read_by_rules(place, options, rules)
    return table, _same(table, origin, earlier)


def _place(origin: Mapping[str, Any]) -> Any:
    """Return where a table can be read again.

    Raises:
        DataError: It was in memory, or does not exist any more.
    """
    if not origin.get("source"):
        raise DataError(
            "The model was trained on a table in memory, which cannot be read again.",
            "Give the table again (source=), or a file with rows to use.",
        )
    place = origin["source"]
    missing = next((path for path in origin["paths"] if not Path(path).is_file()), None)
    if missing is not None:
        place = origin.get("address")
    if place is None:
        raise DataError(
            f"{missing}, the table that the model was trained on, does not exist any more.",
            "Put it back, or give a file with rows.",
        )
    return place


def _large_again(
    source: Any,
    options: ReadOptions,
    origin: Mapping[str, Any],
    folder: Path | None,
    rules: int,
    spread: Spread | None,
) -> tuple[Table, Splits]:
    """Open a table larger than memory again, with the limit that decided its sample."""
    if not isinstance(source, str | Path):
        raise DataError(
            "The model was trained on a table larger than memory, and a table in memory is given.",
            "Give its files (source=).",
        )
    budget = Budget(origin["memory_limit"])
    large = LargeTable.open(source, options, budget, folder, rules, spread=spread)
    return large.sample, _same(large, origin, None)


def _same(table: Table | LargeTable, origin: Mapping[str, Any], earlier: Earlier | None) -> Splits:
    if isinstance(table, LargeTable):
        splits, name = split_large(table, **origin["split"]), table.sample.name
    else:
        splits, name = split(table, **origin["split"], earlier=earlier), table.name
    if splits.fingerprint() != origin["fingerprint"]:
        raise DataError(
            f"{origin.get('address') or origin['source'] or name} has changed since the model was trained on it.",
            "Give a file with rows to use, or fit again.",
        )
    return splits


def measure_rows(model: Model, splits: Splits, rows: np.ndarray) -> dict[str, Any]:
    """Measure a model on some rows of a table that was split."""
    return model.measure(model.predictions(subset(splits.table, rows)))
