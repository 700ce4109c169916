"""The options of a fit, each declared here once.

`FitOptions` (in `request.py`) holds all of them, in five groups: how the table is read (`ReadOptions`), how its rows are
split (`SplitOptions`), which model is fitted (`ModelOptions`), how the network is trained
(`TrainingSettings`) and what is written meanwhile (`RunOptions`). A declaration is a field with its
type, its default and an `Option`: help text, and how the command line spells it.

Everything else derives from the declarations or is checked against them by tests: the
arguments of `sl.fit`, the options of `sightline fit` and their help, the settings of `sl.Training`,
the parameters of the scikit-learn estimators, the record `run/start`, and what a checkpoint keeps.

`Plan` (in `plan.py`) holds what the machine and the time limit decide before the first step.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypedDict, get_args

from sightline.contracts.engines import Ray
from sightline.contracts.kinds import KINDS, Kind
from sightline.contracts.metrics import check_metric
from sightline.contracts.rules import (
    check_bool,
    check_bytes,
    check_checkpoint_intervals,
    check_choice,
    check_number,
    check_seed,
    check_signs,
    check_whole,
    plain_number,
)
from sightline.contracts.schema import SCALINGS, Label, Scaling, TaskName
from sightline.errors import OptionError, did_you_mean

Quality = Literal["fast", "default", "best"]
PARTS_OF_ANY_NETWORK = ("trees", "symmetric_trees", "forest", "kernel", "neighbors")
"""Options of parts that a network of your own may have beside it, too."""
ThresholdRule = Literal["f1", "balanced_accuracy", "accuracy"]
OptimizerName = Literal["adamw", "sgd", "muon"]
ScheduleName = Literal["constant", "warm-up", "cosine", "one-cycle", "plateau"]
Precision = Literal["auto", "float32", "bfloat16"]
DateOrder = Literal["day-first", "month-first"]
BadRows = Literal["error", "skip"]
ClassWeights = Literal["balanced"] | Mapping[Label, float]
Rows = float | int | str | Path | Any
"""A share of the rows, a number of rows, or a table: a path, or anything that `sl.read` takes."""

CUSTOM = "(your own)"
"""Replaces, in the JSON form, a network, table, optimizer or schedule in memory."""
OBJECT_STORES = ("s3", "gs", "abfs", "abfss")
"""Kinds of addresses of files in an object store."""
CHECKPOINT_SECONDS = 30.0

# How the command line reads an option whose type alone does not say it.
Form = Literal["", "pairs", "names", "texts", "rows", "threshold", "class_weights"]


@dataclass(frozen=True)
class Option:
    """The help text of an option, and its form on the command line.

    Attributes:
        help: What it does, with its unit and an example: the help text of the command line.
        metavar: The placeholder of the value in the help; "" for the choices or the type.
        form: How the command line reads the value.
        flag: Its name on the command line, if not the field's; None leaves it out there.
        default_help: The default in words, if None means that a value is chosen.

    Example:
        >>> from sightline.contracts.options import Option
        >>> Option("Seconds of training.", metavar="SECONDS").form
        ''
    """

    help: str
    metavar: str = ""
    form: Form = ""
    flag: str | None = ""
    default_help: str = ""


# ---------------------------------------------------------------- stage 1, load


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How the table is read; see `sightline.read`.

    Example:
        >>> from sightline.contracts.options import ReadOptions
        >>> ReadOptions(drop=["id"]).drop
        ('id',)
    """

    kinds: Annotated[
        Mapping[str, Kind],
        Option(
            f"Read a column as {', '.join(KINDS[:-1])} or {KINDS[-1]}, e.g. zip=categorical. "
            "May be repeated.",
            metavar="COLUMN=KIND",
            form="pairs",
            flag="--kind",
        ),
    ] = field(default_factory=dict)
    drop: Annotated[
        Sequence[str],
        Option(
            "Leave these columns out, e.g. id,name. May be repeated.",
            metavar="COLUMNS",
            form="names",
        ),
    ] = ()
    missing: Annotated[
        Sequence[str] | None,
        Option(
            "A text that means a missing value in every column, e.g. unknown. May be repeated.",
            metavar="TEXT",
            form="texts",
            default_help="the empty cell, and NA, N/A, NaN, null, ? among numbers",
        ),
    ] = None
    encoding: Annotated[
        str | None,
        Option("The encoding of a text file, e.g. cp1252.", metavar="NAME", default_help="UTF-8"),
    ] = None
    decimal: Annotated[
        Literal[".", ","] | None,
        Option(
            "The decimal sign of numbers that may be read in two ways, e.g. , for 1.234 = 1234.",
            default_help="by the values of all columns",
        ),
    ] = None
    thousands: Annotated[
        Literal[".", ",", "'", " "] | None,
        Option(
            "The sign between groups of three digits, e.g. . for 1.234 = 1234.",
            default_help="by the values of all columns",
        ),
    ] = None
    dates: Annotated[
        DateOrder | None,
        Option(
            "Whether 04/01/2026 is 4 January (day-first) or 1 April (month-first).",
            default_help="by the values of all columns",
        ),
    ] = None
    header: Annotated[
        int | None,
        Option(
            "The line of a text file that holds the column names, counted from 1, e.g. 3.",
            metavar="LINE",
            default_help="the first line that is no title",
        ),
    ] = None
    sheet: Annotated[
        str | None,
        Option(
            "The sheet of a workbook, e.g. Sheet2; or write data.xlsx#Sheet2.",
            metavar="NAME",
            default_help="the first one with rows",
        ),
    ] = None
    query: Annotated[
        str | None,
        Option(
            "Of a database, a SELECT or a table's name, e.g. 'SELECT * FROM orders'.",
            metavar="SQL",
        ),
    ] = None
    on_bad_rows: Annotated[
        BadRows,
        Option(
            "What to do with a row that cannot be read: stop with an error, or skip it and count it."
        ),
    ] = "error"

    def __post_init__(self) -> None:
        check_choice("on_bad_rows", self.on_bad_rows, get_args(BadRows))
        check_signs(self.decimal, self.thousands)
        if self.dates is not None:
            check_choice("dates", self.dates, get_args(DateOrder))
        if self.header is not None:
            check_whole("header", self.header, least=1)
        for name in ("drop", "missing"):
            value = getattr(self, name)
            if value is not None:  # one name is a sequence of one
                object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How the rows are split; see `sightline.split`.

    Example:
        >>> from sightline.contracts.options import SplitOptions
        >>> SplitOptions(test=0.2).valid is None
        True
    """

    task: Annotated[
        TaskName | None,
        Option("Predict classes or a number.", default_help="by the target's values"),
    ] = None
    positive: Annotated[
        Label | None,
        Option(
            "For two classes, the class that precision, recall and the threshold are about, e.g. yes.",
            metavar="CLASS",
            default_help="the one that says yes of a known pair (yes and no); else the last in sorted order",
        ),
    ] = None
    valid: Annotated[
        Rows | None,
        Option(
            "Validation rows, which early stopping watches: a share (0.1), a number (500) or a file.",
            metavar="SHARE|ROWS|FILE",
            form="rows",
            default_help="cross-validation folds of the training rows; 0.1 with --network",
        ),
    ] = None
    test: Annotated[
        Rows,
        Option(
            "Test rows, which the final metrics are measured on: a share (0.1), a number (500) or a file.",
            metavar="SHARE|ROWS|FILE",
            form="rows",
        ),
    ] = 0.1
    group: Annotated[
        str | None,
        Option(
            "Rows with equal values in this column stay in the same part of the split, e.g. patient.",
            metavar="COLUMN",
        ),
    ] = None
    time: Annotated[
        str | None,
        Option(
            "A date or number column: the newest rows become the test rows, and folds follow each other in time, e.g. date. "
            "With --group, whole groups do.",
            metavar="COLUMN",
        ),
    ] = None
    time_feature: Annotated[bool, Option("Use the time column as a feature, too.")] = False
    weight: Annotated[
        str | None,
        Option(
            "A number column: how much each row counts in the loss, e.g. weight.", metavar="COLUMN"
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.task is not None:
            check_choice("task", self.task, get_args(TaskName))
        for name in ("positive", "valid", "test"):
            object.__setattr__(self, name, plain_number(getattr(self, name)))
        for name in ("valid", "test"):
            rows = getattr(self, name)
            scheme, sign, _ = rows.partition("://") if isinstance(rows, str) else ("", "", "")
            if sign and scheme.lower() not in OBJECT_STORES:
                raise OptionError(
                    f"{name} is the address of a database.",
                    f"Give the rows as a table: {name}=sl.read(address, query=...), or as a file.",
                )


# ---------------------------------------------------------------- stages 2 and 3, prepare and build


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model is fitted; `sightline.pipeline.recipe` decides what is not given.

    Raises:
        OptionError: An invalid value, or two that contradict each other.

    Example:
        >>> from sightline.contracts.options import ModelOptions
        >>> ModelOptions(quality="fast").trees is None
        True
    """

    numeric: Annotated[
        Scaling | None, Option("How number columns are scaled.", default_help="quantile")
    ] = None
    quality: Annotated[
        Quality | None,
        Option(
            "fast: a first look in seconds; default; best: the most accurate, several times slower.",
            default_help="default",
        ),
    ] = None
    network: Annotated[
        Any,
        Option(
            "A network of your own, whose class takes the spec, e.g. net.py:Net; or MLP.",
            metavar="FILE.py:CLASS",
        ),
    ] = None
    hidden: Annotated[
        Sequence[int] | None,
        Option(
            "Units in each hidden layer of a member of the default network, e.g. 128,128.",
            metavar="UNITS",
            form="widths",
            default_help="by the quality and the table",
        ),
    ] = None
    dropout: Annotated[
        float | None,
        Option(
            "Dropout of the default network, from 0 up to, not including, 1, e.g. 0.2.",
            metavar="SHARE",
            default_help="0.1",
        ),
    ] = None
    second_network: Annotated[
        bool | None,
        Option(
            "Add a second, deeper network that sees numbers as they are.",
            default_help="yes where it lowers the held-out loss; no with --network, --quality fast and --no-calibrate",
        ),
    ] = None
    trees: Annotated[
        bool | None,
        Option(
            "Add boosted trees to the model.",
            default_help="yes where they lower the held-out loss; no with --network",
        ),
    ] = None
    symmetric_trees: Annotated[
        bool | None,
        Option(
            "Add boosted symmetric trees, as CatBoost grows them, to the model.",
            default_help="with --quality best, where they lower the held-out loss; else no",
        ),
    ] = None
    forest: Annotated[
        bool | None,
        Option(
            "Add a forest of randomised trees to the model.",
            default_help="yes where it lowers the held-out loss; no with --network, --quality fast and --no-calibrate",
        ),
    ] = None
    kernel: Annotated[
        bool | None,
        Option(
            "Add a kernel model, which compares a row with training rows that it keeps, to the model.",
            default_help="yes on small tables where it lowers the held-out loss; no with --network, --quality fast and --no-calibrate",
        ),
    ] = None
    neighbors: Annotated[
        bool | None,
        Option(
            "Add a nearest-neighbours model with a learned distance, which compares a row with training rows, to the model.",
            default_help="yes on small tables where it lowers the held-out loss; no with --network, --quality fast and --no-calibrate",
        ),
    ] = None
    calibrate: Annotated[
        bool | None,
        Option(
            "Calibrate the probabilities on held-out rows.",
            default_help="yes; no with --network",
        ),
    ] = None
    threshold: Annotated[
        ThresholdRule | float | None,
        Option(
            "For two classes, choose the decision threshold that is best for a metric, or give it, e.g. 0.3.",
            metavar="|".join([*get_args(ThresholdRule), "NUMBER"]),
            form="threshold",
            default_help="the class with the higher probability",
        ),
    ] = None
    baselines: Annotated[bool, Option("Score simple models on the same rows, for comparison.")] = (
        True
    )

    def __post_init__(self) -> None:
        for name, choices in (("numeric", SCALINGS), ("quality", get_args(Quality))):
            if getattr(self, name) is not None:
                check_choice(name, getattr(self, name), choices)
        for name in ("second_network", *PARTS_OF_ANY_NETWORK, "calibrate"):
            if getattr(self, name) is not None:
                check_bool(name, getattr(self, name))
        check_bool("baselines", self.baselines)
        object.__setattr__(self, "threshold", plain_number(self.threshold))
        self._check_layers()
        if self.network is not None and self.quality is not None:
            raise OptionError(
                f"quality={self.quality!r} chooses the network, but a network is given as well.",
                "Leave one of the two out.",
            )
        if self.second_network and self.network is not None:
            raise OptionError(
                "second_network=True adds to the default network, but a network is given as well.",
                "Leave one of the two out.",
            )
        asked = [self.second_network, *(getattr(self, name) for name in PARTS_OF_ANY_NETWORK)]
        if self.calibrate is False and (
            any(asked) or (self.trees is None and self.network is None)
        ):
            raise OptionError(
                "Calibration decides the weights of networks and trees, but calibrate is False.",
                "Leave calibrate=False out, or give trees=False (--no-trees) as well, and ask for no other part.",
            )
        self._check_threshold()

    def _check_layers(self) -> None:
        """Refuse widths and dropout that no layer can have, and those beside a network of your own."""
        object.__setattr__(self, "dropout", plain_number(self.dropout))
        if self.hidden is not None:
            widths = [plain_number(one) for one in self.hidden] if isinstance(self.hidden, Sequence) else []  # fmt: skip
            if not widths or any(type(one) is not int or one < 1 for one in widths):
                raise OptionError(
                    f"hidden is {self.hidden!r}.", "Give whole numbers from 1, such as hidden=[128, 128] (--hidden 128,128)."
                )  # fmt: skip
            object.__setattr__(self, "hidden", tuple(widths))
        if self.dropout is not None and not (
            type(self.dropout) in (int, float) and 0 <= self.dropout < 1
        ):
            raise OptionError(f"dropout is {self.dropout!r}.", "Give a number from 0 up to, not including, 1.")  # fmt: skip
        for name in ("hidden", "dropout"):
            if self.network is not None and getattr(self, name) is not None:
                raise OptionError(
                    f"{name} is an option of the default network, but a network is given as well.",
                    "Leave one of the two out.",
                )

    def _check_threshold(self) -> None:
        threshold = self.threshold
        if threshold is None:
            return
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            check_choice("threshold", threshold, get_args(ThresholdRule))
            if self.calibrate is False:
                raise OptionError(
                    f"threshold={threshold!r} is chosen on the calibration rows, but calibrate is False.",
                    "Leave calibrate=False out, or give the threshold as a number.",
                )
        elif not 0 < threshold < 1:
            raise OptionError(f"threshold is {threshold!r}.", "Give a number between 0 and 1.")


# ---------------------------------------------------------------- stage 4, train


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a network is trained; see `sightline.Training`.

    Raises:
        OptionError: An invalid value; the message names the setting and the rule.

    Example:
        >>> from sightline.contracts.options import TrainingSettings
        >>> TrainingSettings(epochs=5).learning_rate
        0.001
    """

    epochs: Annotated[
        int, Option("The largest number of epochs, e.g. 50.", default_help="by --quality")
    ] = 100
    batch_size: Annotated[
        int | None,
        Option("Rows of a batch, e.g. 256.", default_help="by the number of training rows"),
    ] = None
    accumulate: Annotated[
        int, Option("Batches whose gradients are added up for one weight update, e.g. 4.")
    ] = 1
    learning_rate: Annotated[
        float, Option("The optimizer's learning rate, e.g. 0.001.", default_help="by --quality")
    ] = 1e-3
    weight_decay: Annotated[
        float,
        Option(
            "Weight decay of all weights except biases and normalisation layers, e.g. 0.01.",
            default_help="by --quality",
        ),
    ] = 0.01
    optimizer: Annotated[OptimizerName | Callable[..., Any], Option("The optimizer.")] = "adamw"
    schedule: Annotated[
        ScheduleName | Callable[..., Any],
        Option("The learning-rate schedule.", default_help="by --quality"),
    ] = "constant"
    warm_up: Annotated[
        float | None,
        Option(
            "Share of training, from 0 to 1, over which the learning rate rises at the start, e.g. 0.05.",
            metavar="SHARE",
            default_help="the schedule's own",
        ),
    ] = None
    clip_norm: Annotated[
        float | None,
        Option(
            "Gradient clipping: the largest norm of all gradients together, e.g. 1.",
            default_help="no clipping",
        ),
    ] = None
    ema: Annotated[
        float | None,
        Option(
            "Keep a moving average of the weights with this decay, e.g. 0.999.",
            metavar="DECAY",
            default_help="no average",
        ),
    ] = None
    label_smoothing: Annotated[
        float,
        Option("Share of a class's target probability that is spread over all classes, e.g. 0.1."),
    ] = 0.0
    class_weights: Annotated[
        ClassWeights | None,
        Option(
            "How much a row counts in the loss by its class: balanced (rare classes count more), or "
            "CLASS=WEIGHT, e.g. yes=5. May be repeated.",
            metavar="balanced|CLASS=WEIGHT",
            form="class_weights",
            default_help="1 for every class",
        ),
    ] = None
    patience: Annotated[
        int | None,
        Option(
            "Early stopping: stop after this many epochs without a better validation loss, e.g. 10.",
            default_help="by --quality",
        ),
    ] = 16
    eval_metric: Annotated[
        str | None,
        Option(
            "The metric that decides which epoch is best, e.g. roc_auc, average_precision or mae.",
            metavar="NAME",
            default_help="the validation loss",
        ),
    ] = None
    time_limit: Annotated[
        float | None,
        Option(
            "The largest number of seconds of the whole fit, reading and report included, e.g. 60.",
            metavar="SECONDS",
            default_help="none",
        ),
    ] = None
    precision: Annotated[Precision, Option("Number format of the network's matrix products.")] = (
        "auto"
    )
    doctor: Annotated[
        bool, Option("Record each layer's activations and gradients in some of the steps.")
    ] = True
    seed: Annotated[
        int, Option("Seed of the split, the first weights, the batches and dropout, e.g. 1.")
    ] = 0
    device: Annotated[str, Option("Where to compute: auto, cpu, cuda or mps.")] = "auto"

    def __post_init__(self) -> None:
        check_whole("epochs", self.epochs)
        check_whole("accumulate", self.accumulate)
        for name in ("batch_size", "patience"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        for name in ("learning_rate", "weight_decay"):
            check_number(name, getattr(self, name), 0, math.inf, "from 0 up")
        for name in ("clip_norm", "time_limit"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, math.inf, "above 0", above=True)
        if self.ema is not None:
            check_number("ema", self.ema, 0, 1, "from 0 up to, but not including, 1, such as 0.999")
        check_number(
            "label_smoothing", self.label_smoothing, 0, 1, "from 0 up to, but not including, 1"
        )
        check_choice("optimizer", self.optimizer, get_args(OptimizerName), own=True)
        check_choice("schedule", self.schedule, get_args(ScheduleName), own=True)
        check_choice("precision", self.precision, get_args(Precision))
        if self.warm_up is not None:
            if not isinstance(self.schedule, str):
                raise OptionError(
                    "warm_up needs a schedule that is given by name.",
                    "Put the warm-up into your own schedule.",
                )
            check_number("warm_up", self.warm_up, 0, 1, "from 0 up to, but not including, 1")
        if not (self.class_weights is None or (isinstance(self.class_weights, str) and self.class_weights == "balanced")
                or isinstance(self.class_weights, Mapping)):  # fmt: skip
            raise OptionError(
                f"class_weights is {self.class_weights!r}.",
                'Give "balanced", or a weight per class.',
            )
        if self.eval_metric is not None:
            check_metric(self.eval_metric)
        check_bool("doctor", self.doctor)
        check_seed(self.seed)
        if not isinstance(self.device, str):  # a Plan is JSON
            raise OptionError(
                f"device is {self.device!r}.", "Give its name, such as 'auto' or 'cpu'."
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Make settings from names and values.

        Raises:
            OptionError: An unknown name, or an invalid value.
        """
        names = [item.name for item in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                raise OptionError(
                    f"There is no setting {name!r}.", did_you_mean(name, names, "settings")
                )
        return cls(**given)

    def arguments(self) -> dict[str, Any]:
        """Return the settings as keyword arguments of `sl.Training`."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; an optimizer or schedule of your own becomes `CUSTOM`."""
        return training_to_json(self.arguments())

    @classmethod
    def from_json(cls, data: Mapping[str, Any], **own: Any) -> Self:
        """Read what `to_json` wrote.

        Args:
            data: From `to_json`.
            own: Your own optimizer or schedule, which the data cannot hold.

        Raises:
            OptionError: Your own optimizer or schedule is needed and not given.
        """
        values = training_from_json(data)
        for name in ("optimizer", "schedule"):
            if own.get(name) is not None:
                values[name] = own[name]
            elif values[name] == CUSTOM:
                raise OptionError(
                    f"The {name} was your own and is not saved.", f"Give it again: {name}=..."
                )
        return cls(**values)


class TrainingOverrides(TypedDict, total=False):
    """Training settings given as arguments of a fit; the quality chooses the others.

    A test compares names and types with `TrainingSettings`; `seed` is a separate argument.

    Example:
        >>> from sightline.contracts.options import TrainingOverrides
        >>> TrainingOverrides(epochs=5)
        {'epochs': 5}
    """

    epochs: int
    batch_size: int | None
    accumulate: int
    learning_rate: float
    weight_decay: float
    optimizer: OptimizerName | Callable[..., Any]
    schedule: ScheduleName | Callable[..., Any]
    warm_up: float | None
    clip_norm: float | None
    ema: float | None
    label_smoothing: float
    class_weights: ClassWeights | None
    patience: int | None
    eval_metric: str | None
    time_limit: float | None
    precision: Precision
    doctor: bool
    device: str


def training_to_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by name as plain JSON values.

    Example:
        >>> from sightline.contracts.options import training_to_json
        >>> training_to_json({"optimizer": print, "class_weights": {1: 0.5}})
        {'optimizer': '(your own)', 'class_weights': [[1, 0.5]]}
    """
    plain = dict(values)
    for name in ("optimizer", "schedule"):
        if name in plain and not isinstance(plain[name], str):
            plain[name] = CUSTOM
    if isinstance(
        plain.get("class_weights"), Mapping
    ):  # JSON's keys are text; a class may be a number
        plain["class_weights"] = [
            [label, weight] for label, weight in plain["class_weights"].items()
        ]
    return plain


def training_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `training_to_json` wrote.

    Example:
        >>> from sightline.contracts.options import training_from_json
        >>> training_from_json({"class_weights": [[1, 0.5]]})
        {'class_weights': {1: 0.5}}
    """
    values = dict(data)
    if isinstance(values.get("class_weights"), list):
        values["class_weights"] = dict(values["class_weights"])
    return values


# ---------------------------------------------------------------- the run


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a fit writes and shows while it runs.

    Raises:
        OptionError: An invalid checkpoint interval.

    Example:
        >>> from sightline.contracts.options import RunOptions
        >>> RunOptions().checkpoint_seconds
        30.0
    """

    watch: Annotated[
        bool,
        Option(
            "Load the file of --network again whenever it is saved, and continue with the new network."
        ),
    ] = False
    checkpoint_seconds: Annotated[
        float | None,
        Option("Seconds between two checkpoints, e.g. 60.", metavar="SECONDS"),
    ] = CHECKPOINT_SECONDS
    checkpoint_epochs: Annotated[
        int | None,
        Option("Epochs between two checkpoints, e.g. 10.", default_help="by time alone"),
    ] = None
    run: Annotated[
        str | Path | None,
        Option(
            "The run folder to make, e.g. runs/first.", metavar="DIR", default_help="runs/NAME-TIME"
        ),
    ] = None
    memory_limit: Annotated[
        int | str | None,
        Option(
            "Memory for the rows of the table, e.g. 1GB: a larger Parquet or CSV table stays on disk while it is trained on.",
            metavar="SIZE",
            default_help="half of the machine's memory",
        ),
    ] = None
    engine: Annotated[
        Ray | Literal["ray"] | None,
        Option(
            "Train on the processes of a Ray cluster, which RAY_ADDRESS names, else on Ray on this machine.",
            default_help="this process",
        ),
    ] = None
    keep_data: Annotated[
        bool,
        Option("Keep the rows of a database, or the files of an object store, in the run folder."),
    ] = True
    live: Annotated[bool, Option("Show the run in a browser while it trains.")] = False
    report: Annotated[
        bool, Option("At the end, explain sample rows, measure importance and write report.html.")
    ] = True
    quiet: Annotated[bool, Option("Print nothing but errors.")] = False

    def __post_init__(self) -> None:
        check_checkpoint_intervals(self.checkpoint_seconds, self.checkpoint_epochs)
        if self.memory_limit is not None:
            object.__setattr__(self, "memory_limit", check_bytes("memory_limit", self.memory_limit))
        if self.engine is not None and not isinstance(self.engine, Ray):
            object.__setattr__(self, "engine", _engine(self.engine))
        for name in ("watch", "keep_data", "live", "report", "quiet"):
            check_bool(name, getattr(self, name))


def _engine(value: Any) -> Ray:
    if isinstance(value, Mapping):  # of JSON
        workers = value.get("workers", 2)
        return Ray(**{**value, "workers": tuple(workers) if isinstance(workers, list) else workers})
    check_choice("engine", value, ["ray"])
    return Ray()
