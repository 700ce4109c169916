"""What the rooms hand each other: frozen, validated, without logic.

Shapes use these letters: B rows of a batch, D numeric features, C categorical features,
M members of an ensemble, K outputs (classes, or 1 for regression).

This module imports neither torch nor pyarrow at run time, so that reading a schema or a
record never costs their start-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, get_args

if TYPE_CHECKING:
    import torch

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


# ---------------------------------------------------------------- stage 1, load


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
        if len(set(names)) != len(names):
            raise ValueError(f"column names must be unique, got {names}")

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def __contains__(self, name: object) -> bool:
        return any(column.name == name for column in self.columns)

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
    """A row that could not be read, and why. Rows count from 0 at the first data row."""

    row: int
    error: str


class Batch(NamedTuple):
    """Some rows, ready for a network.

    Attributes:
        numeric: float32 [B, D]; D may be 0.
        categorical: int32 [B, C] codes: 0 missing, 1 unseen, 2.. known; C may be 0.
        target: [B], int64 class numbers, or float64 numbers in the target's own unit.
        weight: [B] or [B, M], or None when every row counts the same.
        base: [B, K] starting logits that the task adds, or None.
        row: int64 [B], which rows of the table these are.

    Example:
        >>> import torch
        >>> from sightline.contracts import Batch
        >>> codes = torch.zeros(4, 0, dtype=torch.int32)
        >>> batch = Batch(torch.randn(4, 2), codes, torch.zeros(4), None, None, torch.arange(4))
        >>> list(batch.numeric.shape), list(batch.categorical.shape)
        ([4, 2], [4, 0])
    """

    numeric: torch.Tensor
    categorical: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor | None
    base: torch.Tensor | None
    row: torch.Tensor


class BatchSource(Protocol):
    """Where batches come from; all that training knows of data.

    Rows are handed over in blocks of some whole batches, because what a loader does for each
    thing that it hands over costs more than cutting a block into batches.
    """

    rows: int
    batch_size: int

    def blocks(self, epoch: int, start_row: int = 0) -> Iterator[Batch]:
        """Yield one epoch's rows, in an order fixed by (seed, epoch), from a row on."""
        ...


# ------------------------------------------------------- stages 2 and 3, prepare and build


@dataclass(frozen=True)
class NumericFeature:
    """One column of the network's numeric input, and where its training values lie.

    `edges` are up to 17 increasing quantiles of the training values, for networks that cut
    numbers into bins; empty for a flag.
    """

    name: str
    column: str
    edges: tuple[float, ...] = ()


@dataclass(frozen=True)
class CategoricalFeature:
    """One column of codes; `cardinality` counts missing (0) and unseen (1) too."""

    name: str
    column: str
    cardinality: int


@dataclass(frozen=True)
class Target:
    """What is predicted.

    `classes` is in sorted order and empty for regression; `positive` is the class that binary
    metrics are about.
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
                NumericFeature(f["name"], f["column"], tuple(f["edges"])) for f in data["numeric"]
            ),
            categorical=tuple(CategoricalFeature(**f) for f in data["categorical"]),
            targets=tuple(
                Target(t["name"], t["task"], tuple(t["classes"]), t["positive"])
                for t in data["targets"]
            ),
        )


# ---------------------------------------------------------------- stage 4, train


@dataclass(frozen=True)
class Plan:
    """What the machine or a clock decides: settled once, recorded, then obeyed."""

    device: str
    device_reason: str
    precision: str
    threads: int
    epochs: int
    batch_size: int
    steps_per_epoch: int


@dataclass(frozen=True, slots=True)
class Step:
    """One weight update. Tensors stay on the device until somebody asks for them.

    Attributes:
        number: Counts from 1 over the whole training.
        epoch: Counts from 1; epoch 0 is the untrained network.
        rows: How many rows the batch held.
        loss: Scalar tensor, the batch's mean loss before the update.
        batch: The batch itself.
        logits: [B, K] or [B, M, K], what the network said before the update.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> step = next(sl.Training(sl.MLP(prepared.spec), prepared).steps())
        >>> step.number, step.rows, list(step.logits.shape)
        (1, 32, [32, 3])
    """

    number: int
    epoch: int
    rows: int
    loss: torch.Tensor
    batch: Batch
    logits: torch.Tensor


@dataclass(frozen=True)
class EpochRecord:
    """One pass over the training rows, in numbers and in words.

    Attributes:
        number: 0 is the untrained network; then 1, 2, ...
        train_loss: Mean over the epoch's own batches, while the weights were moving.
        valid_loss: Mean over the validation rows after the epoch; None without such rows.
        metrics: train_accuracy, valid_accuracy (or train_rmse, ... in the target's unit),
            learning_rate, gradient_norm, seconds, rows_per_second.
        observation: What these numbers and those before them say, in words.

    Example:
        >>> from sightline.contracts import EpochRecord
        >>> EpochRecord(0, 1.1, None, {"train_accuracy": 0.3}, "starting").to_json()["train_loss"]
        1.1
    """

    number: int
    train_loss: float
    valid_loss: float | None
    metrics: Mapping[str, float]
    observation: str

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


# ---------------------------------------------------------------- the trace


@dataclass(frozen=True)
class Record:
    """One line of `trace.jsonl`; `docs/trace.md` lists the types and their bodies.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=1, quiet=True)
        >>> run.records[0].stage, run.records[0].type
        ('run', 'start')
    """

    v: int
    seq: int
    attempt: int
    time: str
    stage: str
    type: str
    body: Mapping[str, Any]
