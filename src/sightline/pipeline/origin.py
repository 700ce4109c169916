"""The origin of a model: recorded at fit, and read again to evaluate the model on its test rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sightline.contracts import ReadOptions
from sightline.errors import DataError, counted
from sightline.evaluate.drift import reference_of
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
from sightline.prepare.encode import Encoder

MOST_HASHES = 100_000
"""A model of more rows than `MOST_KNOWN` keeps the hashes of at most this many training rows, to recognise them."""
MOST_COUNTED = 200_000
"""At most this many training rows are counted for comparisons with new rows."""


def evaluate(model: Model) -> dict[str, Any]:
    """Measure a model on its own test rows, which are read again from its table.

    Raises:
        DataError: The table was in memory, does not exist any more or has changed, or no rows are held out.

    Example:
        >>> import sightline as sl
        >>> from sightline.pipeline.origin import evaluate
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> evaluate(run.model)["accuracy"] == run.metrics["accuracy"]
        True
    """
    splits, part, rows = _held_out(model)
    return {**measure_rows(model, splits, rows), "part": part}


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
    if "memory_limit" in origin:
        return _large_again(place, options, origin, folder, rules, spread)
    table = read_by_rules(place, options, rules)
    return table, _same(table, origin, earlier)


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
