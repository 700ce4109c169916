"""What is known of a table: its columns, and what a network must know of them once prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, get_args

Kind = Literal["numeric", "categorical", "boolean", "datetime", "text"]
Role = Literal["feature", "target", "weight", "group", "time", "id", "ignored"]
Values = Literal["integer", "float", "string", "boolean", "datetime"]
TaskName = Literal["classification", "regression"]
Scaling = Literal["standard", "minmax", "robust", "quantile"]
Label = str | int | float | bool
KINDS: tuple[str, ...] = get_args(Kind)
ROLES: tuple[str, ...] = get_args(Role)
SCALINGS: tuple[str, ...] = get_args(Scaling)
MISSING_NUMBERS = ("NA", "N/A", "NaN", "null", "?")


@dataclass(frozen=True)
class Column:
    """One column: what its values are, what it is for, and why.

    Attributes:
        name: As in the header, made unique.
        kind: How the values are understood.
        role: What the column is for.
        reason: One sentence: why this kind and this role.
        values: The type in which the values came in.
        format: For dates written as text, their `strptime` format, or "iso".

    Example:
        >>> from sightline.contracts import Column
        >>> Column("age", "numeric", "feature", "numbers", "integer").kind
        'numeric'
    """

    name: str
    kind: Kind
    role: Role
    reason: str
    values: Values
    format: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.role not in ROLES:
            raise ValueError(f"column {self.name!r}: kind {self.kind!r}, role {self.role!r}")


@dataclass(frozen=True)
class Schema:
    """The columns of a table and, once prepared, what their training values were.

    Attributes:
        columns: In file order.
        missing: The texts that mean "missing" in every column; None is the default rule (the
            empty cell everywhere; NA, N/A, NaN, null, ? in numeric and date columns).
        ranges: Per numeric or date column, the smallest and largest training value.
        vocabularies: Per categorical column, its training values, most frequent first.

    Example:
        >>> from sightline.contracts import Column, Schema
        >>> schema = Schema((Column("age", "numeric", "feature", "numbers", "integer"),))
        >>> schema["age"].role
        'feature'
    """

    columns: tuple[Column, ...]
    missing: tuple[str, ...] | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    vocabularies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        if len(self._by_name) != len(names):
            raise ValueError(f"column names must be unique, got {names}")

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns a network sees."""
        return tuple(column for column in self.columns if column.role == "feature")

    def with_column(self, column: Column) -> Self:
        """Return the same schema with one column replaced by its new description."""
        columns = tuple(column if old.name == column.name else old for old in self.columns)
        return replace(self, columns=columns)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        missing = data["missing"]
        return cls(
            columns=tuple(Column(**column) for column in data["columns"]),
            missing=None if missing is None else tuple(missing),
            ranges={name: (low, high) for name, (low, high) in data["ranges"].items()},
            vocabularies={name: tuple(words) for name, words in data["vocabularies"].items()},
        )


class BadRow(NamedTuple):
    """A row that could not be read, and why. Rows count from 0 at the first data row.

    Example:
        >>> from sightline.contracts import BadRow
        >>> BadRow(3, "two cells where three are due").row
        3
    """

    row: int
    error: str


@dataclass(frozen=True)
class NumericFeature:
    """One column of the network's numeric input, and where its training values lie.

    `edges` are 17 increasing numbers that cut the training values into bins of about equally many
    rows, the smallest and the largest value being the ends, for networks that cut numbers into bins;
    empty for a flag. A `discrete` column has few different values for its rows, 255 at most, and its
    edges give each of them a bin of its own.

    Example:
        >>> from sightline.contracts import NumericFeature
        >>> NumericFeature("age is missing", "age").edges
        ()
    """

    name: str
    column: str
    edges: tuple[float, ...] = ()
    discrete: bool = False


@dataclass(frozen=True)
class CategoricalFeature:
    """One column of codes; `cardinality` counts missing (0) and unseen (1) too.

    Example:
        >>> from sightline.contracts import CategoricalFeature
        >>> CategoricalFeature("island", "island", cardinality=5).cardinality
        5
    """

    name: str
    column: str
    cardinality: int


@dataclass(frozen=True)
class Target:
    """What is predicted.

    `classes` is in sorted order and empty for regression; `positive` is the class that binary
    metrics are about.

    Example:
        >>> from sightline.contracts import Target
        >>> Target("sex", "classification", ("female", "male"), "female").classes
        ('female', 'male')
    """

    name: str
    task: TaskName
    classes: tuple[Label, ...] = ()
    positive: Label | None = None

    def __post_init__(self) -> None:
        if (self.task == "classification") != (len(self.classes) >= 2):
            raise ValueError(f"target {self.name!r}: {self.task} with classes {self.classes}")


@dataclass(frozen=True)
class Spec:
    """What a network must know of a prepared table, as plain JSON.

    Example:
        >>> from sightline.contracts import NumericFeature, Spec, Target
        >>> spec = Spec((NumericFeature("x", "x"),), (), (Target("y", "regression"),))
        >>> spec.outputs, spec.flat_width
        (1, 1)
    """

    numeric: tuple[NumericFeature, ...]
    categorical: tuple[CategoricalFeature, ...]
    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        if len(self.targets) != 1:
            raise ValueError(f"one target, got {len(self.targets)}")

    @property
    def target(self) -> Target:
        """The one target."""
        return self.targets[0]

    @property
    def outputs(self) -> int:
        """K: how many logits a row gets. 2 when binary, 1 for regression."""
        return len(self.target.classes) or 1

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """How many codes each categorical feature has, missing and unseen counted."""
        return tuple(feature.cardinality for feature in self.categorical)

    @property
    def flat_width(self) -> int:
        """How wide a row is as one vector: D numbers and each category one-hot."""
        return len(self.numeric) + sum(self.cardinalities)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            numeric=tuple(
                NumericFeature(f["name"], f["column"], tuple(f["edges"]), f.get("discrete", False))
                for f in data["numeric"]
            ),
            categorical=tuple(CategoricalFeature(**f) for f in data["categorical"]),
            targets=tuple(
                Target(t["name"], t["task"], tuple(t["classes"]), t["positive"])
                for t in data["targets"]
            ),
        )
