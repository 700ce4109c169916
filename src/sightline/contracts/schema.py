"""The schema of a table, and the specification of a prepared table that networks are built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self, get_args
from unicodedata import normalize

from sightline.contracts.kinds import KINDS, Kind

Role = Literal["feature", "target", "weight", "group", "time", "ignored"]
Values = Literal["integer", "float", "string", "boolean", "datetime", "unsupported"]
TaskName = Literal["classification", "regression"]
Scaling = Literal["standard", "minmax", "robust", "quantile", "none"]
Label = str | int | float | bool
ROLES: tuple[str, ...] = get_args(Role)
SCALINGS: tuple[str, ...] = get_args(Scaling)
READING_RULES = 2
"""Version of the rules by which a table is read. A table that was read by earlier rules, and a model made of it,
keep them: version 1 knows no number formats and takes the first line as the header."""
AFFIRMATIVE: Mapping[str, tuple[str, ...]] = {
    "yes": ("no",), "y": ("n",), "true": ("false",), "t": ("f",), "1": ("0",), "positive": ("negative",), "pos": ("neg",),
    "ja": ("nein", "nee", "nej", "nei"), "j": ("n",), "wahr": ("falsch",), "oui": ("non",), "vrai": ("faux",),
    "si": ("no",), "sí": ("no",), "sì": ("no",), "sim": ("não", "nao"), "tak": ("nie",), "да": ("нет",),
}  # fmt: skip
"""By the affirmative word of a known pair, in small letters, the words that deny it."""
MISSING_NUMBERS = ("NA", "N/A", "NaN", "null", "?")


@dataclass(frozen=True)
class NumberFormat:
    """How a column of texts writes its numbers, where they are not plain ones such as -1234.5.

    Attributes:
        decimal: The decimal sign.
        thousands: The sign seen between groups of three digits; "" if none was seen. A column with a format
            takes any of them, besides the decimal sign.
        unit: The currency, or "%", before or after the numbers; "" if there is none.
        accounting: "()" or "-" where numbers below zero are written as (12.5) or 12.5-; else "". A column with
            either takes both.

    Example:
        >>> from sightline.contracts import NumberFormat
        >>> NumberFormat(",", ".", "€").example
        '1.234,5 €'
    """

    decimal: Literal[".", ","]
    thousands: Literal["", ".", ",", "'", " "] = ""
    unit: str = ""
    accounting: Literal["", "()", "-"] = ""

    @property
    def example(self) -> str:
        """The number 1234.5 in this format, below zero if that is written in an unusual way."""
        number = f"1{self.thousands}234{self.decimal}5"
        number = f"{number} {self.unit}" if self.unit else number
        return f"({number})" if self.accounting == "()" else f"{number}{self.accounting}"


@dataclass(frozen=True)
class Column:
    """One column: its kind, its role, and the reason for both.

    Attributes:
        name: The name in the header, made unique.
        kind: How the values are interpreted; `traits_of` returns what follows from it.
        role: What the column is used for.
        reason: One sentence that explains the kind and the role.
        values: The type of the values in the source; "unsupported" for lists, structs or bytes,
            which no model can use.
        format: For dates written as text, their `strptime` format, or "iso".
        number_format: For numbers written as text, how they are written; None for plain ones.

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
    number_format: NumberFormat | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.role not in ROLES:
            raise ValueError(f"column {self.name!r}: kind {self.kind!r}, role {self.role!r}")


@dataclass(frozen=True)
class Schema:
    """The columns of a table and, once prepared, the range or vocabulary of their training values.

    Attributes:
        columns: The columns in file order.
        missing: The texts that mean "missing" in every column; None is the default rule (the
            empty cell everywhere; NA, N/A, NaN, null, ? in numeric and date columns).
        ranges: The smallest and largest training value of each numeric or date column.
        vocabularies: The training values of each categorical column, most frequent first.
        absent: The share of the training rows in which each feature is missing; once prepared.
        rules: The version of the rules by which the table was read.

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
    absent: Mapping[str, float] = field(default_factory=dict)
    rules: int = READING_RULES

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
        """The columns that the model uses as inputs."""
        return tuple(column for column in self.columns if column.role == "feature")

    def with_column(self, column: Column) -> Self:
        """Return the schema with the column of the same name replaced."""
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
            columns=tuple(map(_column, data["columns"])),
            missing=None if missing is None else tuple(missing),
            ranges={name: (low, high) for name, (low, high) in data["ranges"].items()},
            vocabularies={name: tuple(words) for name, words in data["vocabularies"].items()},
            absent=data.get("absent", {}),
            rules=data.get("rules", 1),
        )


def _column(data: Mapping[str, Any]) -> Column:
    written = data.get("number_format")
    return Column(**{**data, "number_format": NumberFormat(**written) if written else None})


class BadRow(NamedTuple):
    """A row that could not be read, and why. Row 0 is the first row after the header.

    Example:
        >>> from sightline.contracts import BadRow
        >>> BadRow(3, "2 cells where the header has 3").row
        3
    """

    row: int
    error: str


@dataclass(frozen=True)
class NumericFeature:
    """One column of the network's numeric input, and how its training values are distributed.

    Attributes:
        name: The name of the feature.
        column: The table's column that it comes from.
        edges: The edges of the bins, for networks that bin numbers: increasing numbers, about 17
            unless `discrete`, that put about equally many training rows into each bin. The
            first and the last are the smallest and the largest value. Empty for a missing-value flag.
        discrete: Whether the column has few distinct values for its number of rows, at most 255.
            Each value then has its own bin.

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
    """One column of the network's categorical input, as integer codes.

    Attributes:
        name: The name of the feature.
        column: The table's column that it comes from.
        cardinality: The number of codes; 0 is missing, 1 is unseen in training, both counted.

    Example:
        >>> from sightline.contracts import CategoricalFeature
        >>> CategoricalFeature("island", "island", cardinality=5).cardinality
        5
    """

    name: str
    column: str
    cardinality: int


def written(label: Any) -> str:
    """Return a class, or any value of a record, as text: truth values as files write them.

    Example:
        >>> from sightline.contracts.schema import written
        >>> written(True), written(3), written("red")
        ('true', '3', 'red')
    """
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(frozen=True)
class Target:
    """What the model predicts.

    Attributes:
        name: The target's column.
        task: "classification" or "regression".
        classes: The class labels in sorted order; empty for regression.
        positive: The class that binary metrics are about; None unless there are two classes. `usual_positive` is the
            one of a target for which none was given.
        names: How the training file writes the classes, in their order; empty if they are written as usual.

    Example:
        >>> from sightline.contracts import Target
        >>> Target("sex", "classification", ("female", "male"), "female").classes
        ('female', 'male')
        >>> Target("sick", "classification", (False, True), True, names=("NO", "YES")).texts
        ('NO', 'YES')
    """

    name: str
    task: TaskName
    classes: tuple[Label, ...] = ()
    positive: Label | None = None
    names: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[Label, ...]:
        """The classes as records, reports and pages hold them: `names`, else the labels (1 for 1.0)."""
        return self.names or self._whole

    @property
    def _whole(self) -> tuple[Label, ...]:
        """The classes, with 1 for 1.0."""
        return tuple(
            int(label) if isinstance(label, float) and label.is_integer() and abs(label) < 2**53
            else label
            for label in self.classes
        )  # fmt: skip

    @property
    def shown_positive(self) -> Label | None:
        """The positive class as `shown` holds it; None if there is none."""
        return None if self.positive is None else self.shown[self.classes.index(self.positive)]

    @property
    def texts(self) -> tuple[str, ...]:
        """The classes as texts: as the training file writes them, else 1, 0.5, true, red."""
        return tuple(map(written, self.shown))

    @property
    def affirmative(self) -> int | None:
        """The number of the class that says yes, if the two classes are a known pair such as yes and no; else None.

        Example:
            >>> from sightline.contracts import Target
            >>> Target("paid", "classification", ("Ja", "Nein")).affirmative
            0
        """
        words = [
            " ".join(normalize("NFC", written(label)).split()).casefold() for label in self._whole
        ]
        if len(words) != 2:
            return None
        return next((n for n in (0, 1) if words[1 - n] in AFFIRMATIVE.get(words[n], ())), None)

    @property
    def usual_positive(self) -> Label | None:
        """The positive class where none was given: the one that says yes, else the last of two; None for other targets.

        Models and runs keep the class that they recorded: earlier versions took the last of two always.

        Example:
            >>> from sightline.contracts import Target
            >>> Target("paid", "classification", ("Ja", "Nein")).usual_positive
            'Ja'
            >>> Target("sex", "classification", ("female", "male")).usual_positive
            'male'
        """
        if len(self.classes) != 2:
            return None
        return self.classes[-1 if self.affirmative is None else self.affirmative]

    def find(self, wanted: Any) -> int | None:
        """Return the number of a class that a person names: by its label or as any file may write it.

        Example:
            >>> from sightline.contracts import Target
            >>> sick = Target("sick", "classification", (False, True), True, names=("NO", "YES"))
            >>> sick.find(True), sick.find("true"), sick.find("YES"), sick.find("maybe")
            (1, 1, 1, None)
        """
        for number, (label, text) in enumerate(zip(self.classes, self.texts, strict=True)):
            if label == wanted or str(wanted) in (str(label), written(label), text):
                return number
        return None

    def __post_init__(self) -> None:
        if (self.task == "classification") != (len(self.classes) >= 2):
            raise ValueError(f"target {self.name!r}: {self.task} with classes {self.classes}")


@dataclass(frozen=True)
class Spec:
    """What a network needs to know about a prepared table; it can be written as plain JSON.

    Attributes:
        numeric: The D numeric features, in order.
        categorical: The C categorical features, in order.
        targets: The one target.

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
        """The target; there is exactly one."""
        return self.targets[0]

    @property
    def outputs(self) -> int:
        """K, the number of logits per row: one for each class, or 1 for regression."""
        return len(self.target.classes) or 1

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of codes of each categorical feature, those for missing and unseen included."""
        return tuple(feature.cardinality for feature in self.categorical)

    @property
    def flat_width(self) -> int:
        """The width of a row as one vector: D numbers and each category one-hot encoded."""
        return len(self.numeric) + sum(self.cardinalities)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them back."""
        values = asdict(self)
        for target in values["targets"]:
            if not target["names"]:  # checkpoints made before compare these values
                del target["names"]
        return values

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
                Target(
                    t["name"],
                    t["task"],
                    tuple(t["classes"]),
                    t["positive"],
                    tuple(t.get("names", ())),
                )
                for t in data["targets"]
            ),
        )
