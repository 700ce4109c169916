"""What the rooms hand each other: frozen, validated, without logic.

Shapes use these letters: B rows of a batch, D numeric features, C categorical features,
M members of an ensemble, K outputs (classes, or 1 for regression).

This module imports neither torch nor pyarrow at run time, so that reading a schema or a
record never costs their start-up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, get_args

if TYPE_CHECKING:
    import torch

Kind = Literal["numeric", "categorical", "boolean", "datetime", "text"]
Role = Literal["feature", "target", "weight", "group", "time", "id", "ignored"]
Values = Literal["integer", "float", "string", "boolean", "datetime"]
TaskName = Literal["classification", "regression"]
Scaling = Literal["standard", "minmax", "robust", "quantile"]
EventType = Literal[
    "edit", "refused", "skipped", "rollback", "plateau", "memory", "layers", "warning"
]  # fmt: skip
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

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> source = prepared.source(batch_size=32)
        >>> source.rows, sum(len(block.row) for block in source.blocks(epoch=1, start_row=64))
        (276, 212)
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


# ---------------------------------------------------------------- stage 4, train


@dataclass(frozen=True)
class Plan:
    """What the machine or a clock decides: settled once, recorded, then obeyed.

    Resume and replay take the plan from the record and measure nothing again, so that the same
    plan, versions and machine give the same bits.

    Attributes:
        device: Where tensors live, and `device_reason` why.
        precision: "float32" or "bfloat16" (of the matrix products), and `precision_reason` why.
        threads: Of PyTorch while it trains, and `threads_reason` why.
        epochs: The most epochs; fewer than asked for where `time_limit` allows no more.
        batch_size: Rows of a weight update.
        micro_batch: Rows that go through the network at once; fewer than `batch_size` where
            gradients are accumulated or memory is short.
        steps_per_epoch: Weight updates of an epoch.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> plan = sl.Training(sl.MLP(prepared.spec), prepared, device="cpu").plan
        >>> plan.device, plan.device_reason, plan.batch_size, plan.steps_per_epoch
        ('cpu', 'as asked', 32, 9)
    """

    device: str
    device_reason: str
    precision: str
    precision_reason: str
    threads: int
    threads_reason: str
    epochs: int
    batch_size: int
    micro_batch: int
    steps_per_epoch: int


@dataclass(frozen=True)
class Edit:
    """A change to a training while it runs, as data: applied between two steps, recorded, replayed.

    Example:
        >>> import sightline as sl
        >>> sl.Widen("hidden.0", 128).to_json()
        {'edit': 'Widen', 'name': 'hidden.0', 'width': 128}
    """

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `edit_from_json` reads them back."""
        return {"edit": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class SetLearningRate(Edit):
    """Set the learning rate of now; what is left of a schedule is rescaled with it.

    Example:
        >>> from sightline.contracts import SetLearningRate
        >>> SetLearningRate(3e-4).to_json()
        {'edit': 'SetLearningRate', 'value': 0.0003}
    """

    value: float


@dataclass(frozen=True)
class SetWeightDecay(Edit):
    """Set the weight decay of the parameters that have one.

    Example:
        >>> from sightline.contracts import SetWeightDecay
        >>> SetWeightDecay(0.1).value
        0.1
    """

    value: float


@dataclass(frozen=True)
class SetBatchSize(Edit):
    """Set the rows of a weight update.

    Example:
        >>> from sightline.contracts import SetBatchSize
        >>> SetBatchSize(64).value
        64
    """

    value: int


@dataclass(frozen=True)
class SetMicroBatch(Edit):
    """Set the rows that go through the network at once; a weight update keeps its rows.

    Example:
        >>> from sightline.contracts import SetMicroBatch
        >>> SetMicroBatch(16).value
        16
    """

    value: int


@dataclass(frozen=True)
class SetEpochs(Edit):
    """Set the last epoch; what is left of a schedule is stretched to it.

    Example:
        >>> from sightline.contracts import SetEpochs
        >>> SetEpochs(200).value
        200
    """

    value: int


@dataclass(frozen=True)
class Freeze(Edit):
    """Keep parameters as they are: one, or all below a name such as "hidden.0" or "embeddings".

    Example:
        >>> import sightline as sl
        >>> sl.Freeze("embeddings").to_json()
        {'edit': 'Freeze', 'name': 'embeddings'}
    """

    name: str


@dataclass(frozen=True)
class Unfreeze(Edit):
    """Let parameters learn again: one, or all below a name.

    Example:
        >>> import sightline as sl
        >>> sl.Unfreeze("embeddings").name
        'embeddings'
    """

    name: str


@dataclass(frozen=True)
class Widen(Edit):
    """Give a hidden layer more units; the network's outputs stay what they were.

    The new units' incoming weights are fresh, their outgoing ones zero (after Net2Net, Chen,
    Goodfellow and Shlens 2016, with zeros in place of copies).

    Example:
        >>> import sightline as sl
        >>> sl.Widen("hidden.0", 128).width
        128
    """

    name: str
    width: int


@dataclass(frozen=True)
class Deepen(Edit):
    """Insert a hidden layer; the network's outputs stay what they were.

    The new layer is x + s * f(x) with s starting at zero (ReZero, Bachlechner et al. 2020).

    Example:
        >>> import sightline as sl
        >>> sl.Deepen(after="hidden.0").to_json()
        {'edit': 'Deepen', 'after': 'hidden.0'}
    """

    after: str


@dataclass(frozen=True)
class Replace(Edit):
    """Put another module in the place of one.

    `module` is a PyTorch layer as text such as "GELU()" or "Linear(64, 3)" (a layer itself is
    taken by its text). Weights that match by name carry over.

    Example:
        >>> import sightline as sl, torch
        >>> sl.Replace("hidden.0.activation", torch.nn.Tanh()).module
        'Tanh()'
    """

    name: str
    module: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "module", str(self.module))


@dataclass(frozen=True)
class Reload(Edit):
    """Build the network anew from "file.py:Class"; weights that match by name carry over.

    `sha256` names the very text of the file, kept as RUN/sources/SHA256.py.

    Example:
        >>> from sightline.contracts import Reload
        >>> Reload("net.py:Net", "0" * 64).network
        'net.py:Net'
    """

    network: str
    sha256: str


@dataclass(frozen=True)
class Stop(Edit):
    """End the training here, with the epoch as far as it has come.

    Example:
        >>> from sightline.contracts import Stop
        >>> Stop().why
        'stopped by an edit'
    """

    why: str = "stopped by an edit"


EDITS: dict[str, type[Edit]] = {kind.__name__: kind for kind in Edit.__subclasses__()}


def edit_from_json(data: Mapping[str, Any]) -> Edit:
    """Read what `Edit.to_json` wrote.

    Raises:
        ValueError: There is no such edit, or its fields are others.

    Example:
        >>> from sightline.contracts import edit_from_json
        >>> edit_from_json({"edit": "Freeze", "name": "embeddings"})
        Freeze(name='embeddings')
    """
    fields = dict(data)
    kind = fields.pop("edit", None)
    if kind not in EDITS:
        raise ValueError(f"no edit {kind!r}; the edits are {', '.join(EDITS)}")
    try:
        return EDITS[kind](**fields)
    except TypeError as error:
        raise ValueError(f"{kind}: {error}") from error


@dataclass(frozen=True)
class Event:
    """Something that happened in a training besides its steps and epochs.

    Attributes:
        type: "edit" and "refused" (edits), "skipped" and "rollback" (losses that are not finite),
            "plateau" (a lower learning rate, from the best weights again),
            "memory", "layers" (what the doctor saw), "warning".
        step: How many steps were done.
        epoch: In which epoch.
        said: What happened, in a sentence.
        details: The same as data.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
        >>> training.edit(learning_rate=0.01); history = list(training)
        >>> training.events[0].type, training.events[0].said
        ('edit', 'learning rate 0.001 -> 0.01')
    """

    type: EventType
    step: int
    epoch: int
    said: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Step:
    """One weight update. Tensors stay on the device until somebody asks for them.

    Attributes:
        number: Counts from 1 over the whole training.
        epoch: Counts from 1; epoch 0 is the untrained network.
        rows: How many rows the batch held.
        loss: Scalar tensor, the batch's mean loss before the update; where it is not a finite
            number, there was no update.
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
