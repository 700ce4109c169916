"""Fit the preparation on the training rows, and hand over tensors and a spec."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from sightline.contracts import (
    SCALINGS,
    Batch,
    CategoricalFeature,
    Column,
    NumericFeature,
    Scaling,
    Spec,
)
from sightline.errors import OptionError, did_you_mean, listed
from sightline.load.batches import TensorSource
from sightline.load.parallel import each_column
from sightline.load.roles import row_weights
from sightline.load.split import Splits
from sightline.load.target import target_values
from sightline.prepare.encode import Encoded, Encoder, Way
from sightline.prepare.fit import distinct, fit
from sightline.prepare.transform import Transform
from sightline.views import notebook

CHUNK_ROWS = 32_768
NOTHING_MORE = np.empty((0, 0))
BINS = 16
MOST_VALUES = 255
ROWS_A_VALUE = 100
"""A number with no more values than these, and so many rows for each, is discrete; chosen by
measurement (docs/decisions.md)."""
EDGE_ROWS = 20_000
DEFAULT_SCALING: Scaling = "quantile"


@dataclass(frozen=True)
class Prepared:
    """The fitted preparation and the tensors of all three parts.

    Attributes:
        spec: What a network must know.
        encoder: Host side: typed columns to numbers and codes.
        transform: Network side: numbers to features.
        train, valid, test: Batches of all rows of a part; the target of a regression is in its
            own unit (the task scales it).
        splits: Where the rows came from; its folds, if any, are those of the rows of `train`.
        notes: What was noticed, one sentence each, such as held-out values outside the
            training range.

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

    def source(self, batch_size: int, seed: int = 0) -> TensorSource:
        """Return the training rows as a source of shuffled batches."""
        return TensorSource(self.train, batch_size, seed)

    def standardised(self, train: Batch, other: Batch) -> tuple[Batch, Batch]:
        """Give rows again, their numbers standardised, whatever scaling the network gets.

        Args:
            train: Some training rows, whose means and deviations count.
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
        scale = Transform("standard", numbers.shape[1], self.transform.flags.tolist())
        for place, values in enumerate(numbers.T):
            scale.fit_column(place, values)
        found = (scale(torch.from_numpy(values)) for values in (numbers, others))
        return train._replace(numeric=next(found)), other._replace(numeric=next(found))

    def describe(self) -> list[dict[str, str]]:
        """Tell each column's way from the table to the network.

        Returns:
            Per column: `column`, `kind`, `way` in words, and the `features` it becomes.

        Example:
            >>> import sightline as sl
            >>> table = sl.read("examples/penguins.csv")
            >>> prepared = sl.prepare(sl.split(table, target="species"), numeric="minmax")
            >>> print(prepared.describe()[1]["way"])
            scaled to 0..1 (32.1 to 59.6); missing filled with the median 44.45 and flagged
        """
        ways = {way.column: way for way in self.encoder.ways}
        places = {column: place for place, (name, column) in enumerate(self.encoder.numbers) if name == column}  # fmt: skip
        features: dict[str, list[str]] = {}
        for feature in self.spec.numeric:
            features.setdefault(feature.column, []).append(feature.name)
        flags = set(self.transform.flags.tolist())
        said = []
        for column in self.splits.table.schema.columns:
            place = places.get(column.name, -1)
            own = features.get(column.name, [])
            said.append(self._describe(column, ways.get(column.name), place, own, place in flags))
        return said

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
        self, column: Column, way: Way | None, place: int, own: list[str], flagged: bool
    ) -> dict[str, str]:
        """Say one column's way: `place` is that of its number, `own` are its features."""
        said = {"column": column.name, "kind": column.kind}
        if column.role == "target":
            return {**said, "way": self._target_way(), "features": ""}
        if way is None:
            why = _no_words(column) if column.role == "feature" else column.reason
            return {**said, "way": f"left out: {why}", "features": ""}
        if way.how == "codes":
            words = len(self.encoder.schema.vocabularies[column.name])
            text = f"{words:,} training values get codes 2..{words + 1}; 0 is missing, 1 unseen"
            return {**said, "way": text, "features": f"{column.name} (code)"}
        if way.how == "number":
            text = self._number_way(column.name, place, flagged)
        elif way.how == "date":
            parts = "".join(f", {part}" for part in way.parts)
            text = (
                f"days since the first training date{parts}; each {_scaled(self.transform.scaling)}"
            )
        else:
            text = (
                f"{len(self.encoder.schema.vocabularies[column.name])} n-grams of 1 or 2 words, "
                "1 where the text has it, else 0"
            )
        return {**said, "way": text, "features": listed(own, 6)}

    def _target_way(self) -> str:
        target = self.spec.target
        if target.task == "regression":
            return "scaled by the training rows' mean and standard deviation"
        shown = listed([f"{i} {label}" for i, label in enumerate(target.classes)], 6)
        return f"class numbers: {shown}"

    def _number_way(self, column: str, place: int, flagged: bool) -> str:
        t = self.transform
        low, high = self.encoder.schema.ranges[column]
        text = {
            "standard": f"minus the mean {t.center[place]:.4g}, divided by the standard deviation "
            f"{t.scale[place]:.4g}",
            "minmax": f"scaled to 0..1 ({low:.4g} to {high:.4g})",
            "robust": f"minus the median {t.center[place]:.4g}, divided by the interquartile range "
            f"{t.scale[place]:.4g}, bent softly within -3..3",
            "quantile": "by rank to a normal distribution",
        }[t.scaling]
        if flagged:
            name = "mean" if t.scaling == "standard" else "median"
            return f"{text}; missing filled with the {name} {t.fill[place]:.4g} and flagged"
        return text


def check_scaling(numeric: Scaling | None) -> Scaling:
    """Return the way of scaling asked for, or the default.

    Raises:
        OptionError: An unknown one.
    """
    if numeric is not None and numeric not in SCALINGS:
        raise OptionError(
            f"Numbers cannot be scaled by {numeric!r}.",
            did_you_mean(str(numeric), SCALINGS, "ways"),
        )
    return numeric or DEFAULT_SCALING


def prepare(splits: Splits, *, numeric: Scaling | None = None) -> Prepared:
    """Fit the preparation on `splits.train` and apply it to all three parts.

    No statistic, vocabulary or range ever sees a validation or test row.

    Args:
        splits: From `sightline.split`.
        numeric: How numbers are scaled: "standard", "minmax", "robust" or "quantile"; None is
            "quantile", chosen by measurement (docs/decisions.md).

    Raises:
        OptionError: An unknown scaling.
        DataError: No feature is left that varies in the training rows.

    Example:
        >>> import sightline as sl
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species")
        >>> prepared = sl.prepare(splits, numeric="standard")
        >>> bool(prepared.train.numeric.mean().abs() < 0.2)
        True
    """
    scaling = check_scaling(numeric)
    encoder, transform, numbers = fit(splits, scaling)
    table = splits.table
    target = target_values(table, splits.target)
    weights = row_weights(table)
    reader = encoder.open(table)
    outside: Counter[str] = Counter()
    unseen: Counter[str] = Counter()

    def part(rows: np.ndarray) -> Batch:
        numeric_ND = torch.empty(len(rows), len(numbers))
        categorical_NC = torch.empty(len(rows), len(encoder.codes), dtype=torch.int32)

        def fill(start: int) -> Encoded:
            some = slice(start, start + CHUNK_ROWS)
            encoded = reader(rows[some])
            numeric_ND[some] = transform(torch.from_numpy(encoded.numeric))
            categorical_NC[some] = torch.from_numpy(encoded.categorical)
            return replace(encoded, numeric=NOTHING_MORE, categorical=NOTHING_MORE)

        for encoded in each_column(fill, range(0, len(rows), CHUNK_ROWS), len(rows)):
            outside.update(encoded.out_of_range)
            unseen.update(encoded.unseen)
        values, row = torch.from_numpy(target[rows]), torch.from_numpy(rows)
        weight = None if weights is None else torch.from_numpy(weights[rows])
        return Batch(numeric_ND, categorical_NC, values, weight, row)

    parts = {"train": part(splits.train), "valid": part(splits.valid), "test": part(splits.test)}
    names = iter(distinct([*(feature.name for feature in numbers), *encoder.codes]))
    numbers = [replace(feature, name=next(names)) for feature in numbers]
    spec = Spec(
        numeric=tuple(_with_edges(numbers, parts["train"].numeric, len(encoder.numbers))),
        categorical=tuple(
            CategoricalFeature(next(names), column, encoder.cardinality(column))
            for column in encoder.codes
        ),
        targets=(splits.target,),
    )
    return Prepared(
        spec,
        encoder,
        transform,
        **parts,
        splits=splits,
        notes=(*splits.notes, *_notes(outside, unseen)),
    )


def _with_edges(
    features: list[NumericFeature], values_ND: torch.Tensor, numbers: int
) -> Iterator[NumericFeature]:
    """Give each number the edges of its bins; the flags, which come after the numbers, have none."""
    sample_ND = values_ND[:: -(-len(values_ND) // EDGE_ROWS)]
    most = min(max(len(values_ND) // ROWS_A_VALUE, BINS), MOST_VALUES)
    for place, feature in enumerate(features):
        if place >= numbers:
            yield feature
        else:
            values = sample_ND[:, place].numpy()
            discrete = 1 < len(np.unique(values)) <= most
            edges = bin_edges(values, most if discrete else BINS)
            yield replace(feature, edges=tuple(float(x) for x in edges), discrete=discrete)


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Cut values into bins of about equally many rows, so that equal values stay together.

    A value that is as frequent as a whole bin gets a bin of its own, as in LightGBM (Ke et al.
    2017), and the others share the bins that are left.

    Args:
        values: [N], without NaN.
        bins: How many are wanted; frequent values can make them more, twice as many at most.

    Returns:
        Increasing float32 edges, one more than there are bins: the smallest value, the middles
        between neighbouring bins, the largest value; one edge where all values are equal.

    Example:
        >>> import numpy as np
        >>> from sightline.prepare.prepared import bin_edges
        >>> bin_edges(np.array([0.0] * 90 + [1, 2, 3, 4]), bins=3).tolist()
        [0.0, 0.5, 2.5, 4.0]
    """
    found, counts = np.unique(values.astype(np.float32), return_counts=True)
    if len(found) == 1:
        return found
    between = (found[1:].astype(np.float64) + found[:-1]) / 2
    if len(found) > bins:
        large = counts >= len(values) / bins
        rows, left = int(counts[~large].sum()), max(bins - int(large.sum()), 1)
        size = max(rows / left, 1.0)
        cuts, filled = [], 0
        for place in range(len(found) - 1):
            filled += int(counts[place])
            if large[place] or large[place + 1] or filled >= size:
                cuts.append(place)
                if not large[place]:
                    rows, left = rows - filled, max(left - 1, 1)
                    size = max(rows / left, 1.0)
                filled = 0
        between = between[cuts]
    edges = np.concatenate([found[:1], between, found[-1:]]).astype(np.float32)
    return np.unique(edges)


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


def _counts(counts: dict[str, int]) -> str:
    top = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count:,}" for name, count in top[:5]) + (
        ", ..." if len(top) > 5 else ""
    )


def _scaled(scaling: Scaling) -> str:
    return {
        "standard": "standardised", "minmax": "scaled to 0..1", "robust": "scaled robustly",
        "quantile": "mapped to a normal distribution",
    }[scaling]  # fmt: skip


def _no_words(column: Column) -> str:
    return f"{column.reason}, and no word comes twice in the training rows"
