"""Fit the preparation on the training rows, apply it, and return tensors and a `Spec`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np
import torch

from sightline.contracts import (
    SCALINGS,
    Batch,
    BatchSource,
    CategoricalFeature,
    Column,
    NumericFeature,
    Scaling,
    Spec,
    Target,
)
from sightline.errors import OptionError, counted, did_you_mean, listed
from sightline.load.batches import TensorSource
from sightline.load.facts import ColumnFacts
from sightline.load.parallel import each_column
from sightline.load.places import Places
from sightline.load.roles import row_weights
from sightline.load.shuffled import ShuffledRows, ShuffledSource
from sightline.load.split import LargeRows, Splits
from sightline.load.table import Table
from sightline.load.target import target_values
from sightline.prepare.binning import with_edges
from sightline.prepare.encode import ColumnEncoding, Encoded, Encoder, Reader
from sightline.prepare.fit import distinct, fit
from sightline.prepare.kept import Kept
from sightline.prepare.transform import QUANTILE_ROWS, Transform
from sightline.views import notebook
from sightline.views.format import plain

CHUNK_ROWS = 32_768
NO_VALUES = np.empty((0, 0))
DEFAULT_SCALING: Scaling = "quantile"
LARGE_SPREAD, UNLIKE_SPREADS = 100.0, 1000.0
"""Unscaled numbers get a note if a standard deviation is above the first, or this many times another one's."""


@dataclass(frozen=True)
class Prepared:
    """The fitted preparation and the tensors of all three parts.

    Attributes:
        spec: What a network needs to know about the features and the target.
        encoder: Encodes typed columns as numbers and codes.
        transform: Scales the numbers; an `nn.Module`.
        train, valid, test: All rows of each part as one batch; the target of a regression is in its
            own unit (the task scales it).
        splits: The split that the rows came from; its folds, if any, are those of the rows of
            `train`.
        notes: What to know about the data, one sentence each, such as held-out values outside the
            training range.
        kept: Of a warm start, the preparation of the earlier model, with the new categories; else None.
        stored: Of a table larger than memory, all training rows, on the disk; `train` is then a random sample of them.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> list(prepared.train.numeric.shape), prepared.spec.outputs
        ([276, 9], 3)
    """

    spec: Spec
    encoder: Encoder
    transform: Transform
    train: Batch
    valid: Batch
    test: Batch
    splits: Splits
    notes: tuple[str, ...]
    kept: Kept | None = None
    stored: ShuffledRows | None = None

    def source(self, batch_size: int, seed: int = 0) -> BatchSource:
        """Return a source of shuffled batches of the training rows."""
        if self.stored is not None:
            return ShuffledSource(self.stored, batch_size, seed)
        return TensorSource(self.train, batch_size, seed)

    def standardised(self, train: Batch, other: Batch) -> tuple[Batch, Batch]:
        """Return rows with standardised numbers, whatever scaling the network uses.

        Args:
            train: Some training rows; their means and standard deviations are used.
            other: Rows of any part.

        Example:
            >>> import sightline as sl
            >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
            >>> train, _ = prepared.standardised(prepared.train, prepared.test)
            >>> bool(train.numeric[:, 0].std().sub(1).abs() < 0.01)
            True
        """
        reader = self.encoder.open(self.splits.table)
        numbers, others = (reader(batch.row.numpy()).numeric for batch in (train, other))
        transform = Transform("standard", numbers.shape[1], self.transform.flags.tolist())
        for index, values in enumerate(numbers.T):
            transform.fit_column(index, values)
        return (
            train._replace(numeric=transform(torch.from_numpy(numbers))),
            other._replace(numeric=transform(torch.from_numpy(others))),
        )

    def describe(self) -> list[dict[str, str]]:
        """Describe how each column of the table becomes inputs of the network.

        Returns:
            For each column: `column` (its name), `kind`, `way` (what is done to it, in words), and the
            `features` that it becomes.

        Example:
            >>> import sightline as sl
            >>> table = sl.read("examples/penguins.csv")
            >>> prepared = sl.prepare(sl.split(table, target="species"), numeric="minmax")
            >>> print(prepared.describe()[1]["way"])
            scaled to 0..1 (32.1 to 59.6); missing filled with the median 44.45 and flagged
        """
        encodings = {encoding.column: encoding for encoding in self.encoder.encodings}
        index_of = {
            column: index
            for index, (name, column) in enumerate(self.encoder.numbers)
            if name == column
        }
        features: dict[str, list[str]] = {}
        for feature in self.spec.numeric:
            features.setdefault(feature.column, []).append(feature.name)
        flags = set(self.transform.flags.tolist())
        described = []
        for column in self.splits.table.schema.columns:
            index = index_of.get(column.name, -1)
            names = features.get(column.name, [])
            encoding = encodings.get(column.name)
            described.append(self._describe(column, encoding, index, names, index in flags))
        return described

    def __repr__(self) -> str:
        """Name the target, the inputs of the network and the sizes of the parts in a few lines."""
        parts = [
            f"{len(batch.row):,} {name}"
            for name, batch in (
                ("training", self.train),
                ("validation", self.valid),
                ("test", self.test),
            )
        ]
        inputs = [
            counted(self.train.numeric.shape[1], "number"),
            counted(self.train.categorical.shape[1], "code"),
        ]
        return (
            f"Prepared {plain(self.splits.table.name, 80)}, target {plain(self.spec.target.name, 40)}\n"
            f"  {' and '.join(inputs)} a row; {counted(self.spec.outputs, 'output')}\n"
            f"  rows: {', '.join(parts)}"
        )

    def _repr_html_(self) -> str:
        shapes = [
            [f"{part} rows, {what}", list(tensor.shape)]
            for part, batch in (
                ("training", self.train),
                ("validation", self.valid),
                ("test", self.test),
            )
            for what, tensor in (("numbers", batch.numeric), ("codes", batch.categorical))
        ]
        return notebook.of_prepared(
            {"ways": self.describe(), "shapes": shapes, "notes": list(self.notes)}
        )

    def _describe(
        self,
        column: Column,
        encoding: ColumnEncoding | None,
        index: int,
        features: list[str],
        flagged: bool,
    ) -> dict[str, str]:
        """Describe one column; `index` is that of its number among the encoder's numbers."""
        name = {"column": column.name, "kind": column.kind}
        if column.role == "target":
            return {**name, "way": self._target_way(), "features": ""}
        if encoding is None:
            why = _no_words(column) if column.role == "feature" else column.reason
            return {**name, "way": f"left out: {why}", "features": ""}
        vocabulary = self.encoder.schema.vocabularies.get(column.name, ())
        match encoding.how:
            case "codes":
                text = (
                    f"{len(vocabulary):,} training values get codes 2..{len(vocabulary) + 1}; 0 is "
                    "missing, 1 unseen"
                )
                return {**name, "way": text, "features": f"{column.name} (code)"}
            case "number":
                text = self._number_way(column.name, index, flagged)
            case "date":
                parts = "".join(f", {part}" for part in encoding.parts)
                scaled = _scaled(self.transform.scaling)
                text = f"days since the first training date{parts}; each {scaled}"
            case "words":
                text = f"{len(vocabulary)} n-grams of 1 or 2 words, each 1 if the text contains it, else 0"
            case _:
                assert_never(encoding.how)
        return {**name, "way": text, "features": listed(features, 6)}

    def _target_way(self) -> str:
        target = self.spec.target
        if target.task == "regression":
            return "scaled by the training rows' mean and standard deviation"
        shown = listed([f"{i} {label}" for i, label in enumerate(target.texts)], 6)
        return f"class numbers: {shown}"

    def _number_way(self, column: str, index: int, flagged: bool) -> str:
        t = self.transform
        low, high = self.encoder.schema.ranges[column]
        text = {
            "standard": f"minus the mean {t.center[index]:.4g}, divided by the standard deviation "
            f"{t.scale[index]:.4g}",
            "minmax": f"scaled to 0..1 ({low:.4g} to {high:.4g})",
            "robust": f"minus the median {t.center[index]:.4g}, divided by the interquartile range "
            f"{t.scale[index]:.4g}, smoothly clipped to -3..3",
            "quantile": "by rank to a normal distribution",
            "none": "as it is",
        }[t.scaling]
        if flagged:
            name = "mean" if t.scaling == "standard" else "median"
            return f"{text}; missing filled with the {name} {t.fill[index]:.4g} and flagged"
        return text


def check_scaling(numeric: Scaling | None) -> Scaling:
    """Return the given scaling, or the default for None.

    Raises:
        OptionError: There is no such scaling.
    """
    if numeric is not None and numeric not in SCALINGS:
        raise OptionError(
            f"There is no scaling {numeric!r} (numeric=, --numeric).",
            did_you_mean(str(numeric), SCALINGS, "scalings"),
        )
    return numeric or DEFAULT_SCALING


def prepare(
    splits: Splits, *, numeric: Scaling | None = None, kept: Kept | None = None
) -> Prepared:
    """Fit the preparation on `splits.train` and apply it to all three parts.

    Statistics, vocabularies and ranges depend on no validation or test row.

    Args:
        splits: From `sightline.split`.
        numeric: How numbers are scaled: "standard", "minmax", "robust", "quantile" or "none" (see
            `Transform`); None is "quantile", chosen by measurement (docs/decisions.md).
        kept: For a warm start, `WarmStart(model).kept`: this preparation is used, with the new categories of the
            training rows.

    Raises:
        OptionError: An unknown scaling, or one together with `kept`.
        DataError: No feature can be used, or a column has another kind than in `kept`.

    Example:
        >>> import sightline as sl
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species")
        >>> prepared = sl.prepare(splits, numeric="standard")
        >>> bool(prepared.train.numeric.mean().abs() < 0.2)
        True
    """
    scaling = check_scaling(numeric)
    before = kept
    if before is not None and numeric is not None and numeric != before.transform.scaling:
        raise OptionError(
            f"numeric={numeric!r} (--numeric) cannot be changed by a warm start: the model's numbers are scaled by "
            f"{before.transform.scaling!r}.",
            "Leave numeric out, or fit without warm_start (--warm-start).",
        )
    if before is None:
        encoder, transform, numbers = fit(splits, scaling)
    else:
        kept = before.extended(splits)
        encoder, transform, numbers = kept.encoder, kept.transform, list(kept.spec.numeric)
    table = splits.table
    target = target_values(table, splits.target)
    weights = row_weights(table)
    reader = encoder.open(table)

    def part(rows: np.ndarray, outside: Counter[str], unseen: Counter[str]) -> Batch:
        numeric_ND, categorical_NC = _tensors(reader, transform, rows, outside, unseen)
        values, row = torch.from_numpy(target[rows]), torch.from_numpy(rows)
        weight = None if weights is None else torch.from_numpy(weights[rows])
        return Batch(numeric_ND, categorical_NC, values, weight, row)

    outside: Counter[str] = Counter()
    unseen: Counter[str] = Counter()
    outside_kept: Counter[str] = Counter()  # without a warm start, no training value is
    parts = {
        "train": part(splits.train, outside_kept, Counter()),
        "valid": part(splits.valid, outside, unseen),
        "test": part(splits.test, outside, unseen),
    }
    notes = [*splits.notes, *_notes(outside, unseen)]
    if transform.scaling == "none":
        notes += _unscaled(encoder, parts["train"])
    if kept is not None and before is not None:
        notes += kept.notes(outside_kept, before.encoder)
        spec = kept.spec
    else:
        spec = _spec(encoder, numbers, parts["train"], splits.target)
    stored = None if splits.large is None else _store(splits, splits.large, encoder, transform)
    if splits.large is not None and splits.large.facts is not None:
        notes.append(_sketched(len(splits.train), transform.scaling))
        notes += _forgotten(encoder, splits.large.facts)
    return Prepared(
        spec,
        encoder,
        transform,
        **parts,
        splits=splits,
        notes=tuple(notes),
        kept=kept,
        stored=stored,
    )


def _tensors(
    reader: Reader,
    transform: Transform,
    rows: np.ndarray,
    outside: Counter[str],
    unseen: Counter[str],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Encode and scale some rows: float32 [N, D] and int32 [N, C]; count unusual values."""
    numeric_ND = torch.empty(len(rows), transform.features)
    categorical_NC = torch.empty(len(rows), len(reader.encoder.codes), dtype=torch.int32)

    def fill(start: int) -> Encoded:
        some = slice(start, start + CHUNK_ROWS)
        encoded = reader(rows[some])
        numeric_ND[some] = transform(torch.from_numpy(encoded.numeric))
        categorical_NC[some] = torch.from_numpy(encoded.categorical)
        return replace(encoded, numeric=NO_VALUES, categorical=NO_VALUES)

    for encoded in each_column(fill, range(0, len(rows), CHUNK_ROWS), len(rows)):
        outside.update(encoded.out_of_range)
        unseen.update(encoded.unseen)
    return numeric_ND, categorical_NC


def _store(
    splits: Splits, large: LargeRows, encoder: Encoder, transform: Transform
) -> ShuffledRows:
    """Prepare all training rows piece by piece, and write them to the disk in random segments."""
    stored = ShuffledRows(
        large.table.temporary("prepared.rows"), large.table.folder, rows=large.train_rows, numeric=transform.features,
        categorical=len(encoder.codes), classes=len(splits.target.classes), weighted=large.places.weights is not None,
        folds=large.places.fold is not None, seed=splits.options["seed"], buffer_bytes=large.table.budget.buffer_bytes,
    )  # fmt: skip

    target = splits.target

    def tensors(places: Places, piece: Table) -> tuple[Batch, torch.Tensor | None]:
        rows = places.train
        numeric, codes = _tensors(encoder.open(piece), transform, rows, Counter(), Counter())
        values = target_values(piece, target)[rows]
        weight = None if places.weights is None else torch.from_numpy(places.weights[rows])
        folds = (
            None if places.fold is None else torch.from_numpy(places.fold[rows].astype(np.int64))
        )
        row = torch.from_numpy(rows + places.start)
        return Batch(numeric, codes, torch.from_numpy(values), weight, row), folds

    names = list(dict.fromkeys([*encoder.columns, target.name]))
    for rows in large.table.each(tensors, names, large.places):
        stored.add(*rows)
    stored.flush()
    return stored


def _sketched(rows: int, scaling: Scaling) -> str:
    """Say which statistics come from the sample, and how far its ranks may be off (Massart 1990)."""
    which = {
        "quantile": "Quantiles, medians", "robust": "Quartiles, medians", "minmax": "Medians", "standard": "Bins", "none": "Medians",
    }[scaling]  # fmt: skip
    drawn = min(rows, QUANTILE_ROWS) if scaling == "quantile" else rows
    error = 100 * math.sqrt(math.log(2 / 0.001) / (2 * drawn))
    return (
        f"{which} and n-grams come from a random sample of {drawn:,} training rows: the rank of a value is off by at most "
        f"{error:.2g} % (with a probability of 99.9 %); ranges, means, missing values and categories come from all rows"
    )


def _forgotten(encoder: Encoder, facts: Mapping[str, ColumnFacts]) -> Iterator[str]:
    """Name the columns with more different values than the memory limit allows."""
    for name in encoder.codes:
        if name in facts and facts[name].forgotten:
            yield (
                f"{name} has more different values than the memory limit allows: the {facts[name].distinct:,} most frequent "
                "ones are told apart, all others count as unseen"
            )


def _spec(encoder: Encoder, numbers: list[NumericFeature], train: Batch, target: Target) -> Spec:
    """Name the features, and add the bin edges of the numbers."""
    names = iter(distinct([*(feature.name for feature in numbers), *encoder.codes]))
    numbers = [replace(feature, name=next(names)) for feature in numbers]
    return Spec(
        numeric=tuple(with_edges(numbers, train.numeric, len(encoder.numbers))),
        categorical=tuple(
            CategoricalFeature(next(names), column, encoder.cardinality(column))
            for column in encoder.codes
        ),
        targets=(target,),
    )


def _notes(outside: dict[str, int], unseen: dict[str, int]) -> Iterator[str]:
    if outside:
        total = sum(outside.values())
        yield (
            f"{total:,} held-out value{'s lie' if total != 1 else ' lies'} outside the training range "
            f"({_counts(outside)})"
        )
    if unseen:
        total = sum(unseen.values())
        yield f"{total:,} held-out categor{'ies were' if total != 1 else 'y was'} never seen in training ({_counts(unseen)})"


def _unscaled(encoder: Encoder, train: Batch) -> Iterator[str]:
    """Say which numbers differ too much in size for a network, of a table whose numbers are not scaled."""
    words = {one.column for one in encoder.encodings if one.how == "words"}
    spreads = {
        name: spread
        for (name, column), spread in zip(
            encoder.numbers, train.numeric.double().std(dim=0, correction=0).tolist(), strict=False
        )
        if column not in words and spread > 0
    }
    if not spreads:
        return
    small, large = min(spreads, key=spreads.__getitem__), max(spreads, key=spreads.__getitem__)
    if spreads[large] <= LARGE_SPREAD and spreads[large] <= UNLIKE_SPREADS * spreads[small]:
        return
    sizes = f"{large} has a standard deviation of {spreads[large]:.3g}"
    if small != large:
        sizes += f", {small} one of {spreads[small]:.3g}"
    yield (
        f"numbers are not scaled: {sizes}, where a scaled number has about 1; a network learns badly from such inputs, "
        "unless it scales them itself: give another scaling (numeric=, --numeric)"
    )


def _counts(counts: dict[str, int]) -> str:
    top = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in top[:5]) + (
        ", ..." if len(top) > 5 else ""
    )


def _scaled(scaling: Scaling) -> str:
    return {
        "standard": "standardised", "minmax": "scaled to 0..1", "robust": "scaled robustly",
        "quantile": "mapped to a normal distribution", "none": "as it is",
    }[scaling]  # fmt: skip


def _no_words(column: Column) -> str:
    return f"{column.reason}, and no word occurs in two training rows"
