"""Bodies of the records about a whole run: `run/start` and `run/end`."""

from typing import Annotated, Any, NotRequired, TypedDict

from sightline.contracts.kinds import Kind
from sightline.contracts.schema import Label, Scaling, TaskName


class TargetBody(TypedDict):
    """What is predicted."""

    name: Annotated[str, "the target's column"]
    task: Annotated[TaskName, "what kind of prediction it is"]
    classes: Annotated[list[Label], "the classes in sorted order; empty for regression"]
    positive: Annotated[Label | None, "the class that binary metrics are about; null if none"]
    names: NotRequired[
        Annotated[list[str], "how the training file writes the classes; empty if as usual"]
    ]


class ReadOptionsBody(TypedDict):
    """How the table was read: the arguments of `sl.read`."""

    kinds: Annotated[dict[str, Kind], "kinds that were given by column"]
    drop: Annotated[list[str], "columns that were left out"]
    missing: Annotated[list[str] | None, "texts that mean missing; null for the default rule"]
    encoding: Annotated[str | None, "encoding of text files; null for UTF-8"]
    decimal: NotRequired[Annotated[str | None, "decimal sign; null if the values decide"]]
    thousands: NotRequired[
        Annotated[str | None, "sign between groups of three digits; null if the values decide"]
    ]
    dates: NotRequired[
        Annotated[str | None, '"day-first" or "month-first"; null if the values decide']
    ]
    header: NotRequired[Annotated[int | None, "line of the header, from 1; null if it is guessed"]]
    sheet: NotRequired[
        Annotated[str | None, "sheet of a workbook; null for the first one with rows"]
    ]
    query: NotRequired[Annotated[str | None, "query of a database; null for any other source"]]
    on_bad_rows: Annotated[str, '"error" or "skip"']


class SplitOptionsBody(TypedDict):
    """How the rows were split: the arguments of `sl.split`."""

    target: Annotated[str, "the target's column"]
    task: Annotated[TaskName, "the task, as given or inferred"]
    positive: Annotated[Label | None, "the positive class"]
    seed: Annotated[int, "seed of the split"]
    group: Annotated[str | None, "column whose equal values stay together"]
    time: Annotated[str | None, "column by which the newest rows are held out"]
    time_feature: NotRequired[
        Annotated[bool, "whether that column is a feature, too; absent in old runs: it is not"]
    ]
    weight: Annotated[str | None, "column of row weights"]
    folds: Annotated[int, "number of folds of the training rows; 0 without folds"]
    valid: NotRequired[
        Annotated[float | str, "validation share, number of rows or file; absent for a table in memory"]
    ]  # fmt: skip
    test: NotRequired[
        Annotated[float | str, "test share, number of rows or file; absent for a table in memory"]
    ]


class OriginBody(TypedDict):
    """Where the table came from, so that its rows can be read and split again."""

    source: Annotated[str | None, "absolute path; null for a table in memory"]
    name: Annotated[str, "the table's name"]
    paths: Annotated[list[str], "files that were read"]
    read: Annotated[ReadOptionsBody, "how they were read"]
    split: Annotated[SplitOptionsBody, "how the rows were split"]
    rules: NotRequired[Annotated[int, "version of the reading rules; absent for 1"]]
    train_rows: Annotated[int, "number of training rows"]
    fingerprint: Annotated[str, "sha256 of all values in row order"]
    warm_start: NotRequired[
        Annotated[
            bool, "whether the fit began with an earlier model, start.sightline; absent if not"
        ]
    ]


class RecipeBody(TypedDict):
    """What the model consists of besides one network."""

    quality: Annotated[str | None, '"fast", "default" or "best"; null for a network of your own']
    folds: Annotated[int, "requested number of folds; 0 uses validation rows"]
    second_network: NotRequired[Annotated[bool, "whether a second network is trained too"]]
    trees: Annotated[bool, "whether boosted trees are grown too"]
    symmetric_trees: NotRequired[Annotated[bool, "whether boosted symmetric trees are grown too"]]
    forest: NotRequired[Annotated[bool, "whether a forest is grown too"]]
    kernel: NotRequired[Annotated[bool, "whether a kernel model is fitted too"]]
    neighbors: NotRequired[Annotated[bool, "whether a nearest-neighbours model is fitted too"]]
    asked: NotRequired[Annotated[list[str], "parts that stay in the model whatever they bring"]]
    calibrate: Annotated[bool, "whether probabilities are calibrated on held-out rows"]
    statistics: NotRequired[Annotated[
        bool, "whether trees see target statistics in place of a category of many values"
    ]]  # fmt: skip
    whole_groups: NotRequired[Annotated[
        bool, "whether validation rows that are kept for calibration are whole groups"
    ]]  # fmt: skip
    threshold: Annotated[
        str | float | None, "metric that chooses the decision threshold, or the threshold itself"
    ]
    hidden: NotRequired[
        Annotated[list[int] | None, "units that were asked for in the default network's layers"]
    ]
    dropout: NotRequired[Annotated[float | None, "dropout that was asked for in it"]]


class SettingsBody(TypedDict):
    """Settings of the training: the arguments of `sl.Training`."""

    epochs: Annotated[int, "maximum number of epochs"]
    batch_size: Annotated[int | None, "rows of a batch; null chooses it"]
    accumulate: Annotated[int, "batches whose gradients make one update"]
    learning_rate: Annotated[float, "learning rate before the schedule"]
    weight_decay: Annotated[float, "weight decay"]
    optimizer: Annotated[str, 'name, or "(your own)"']
    schedule: Annotated[str, 'learning-rate schedule by name, or "(your own)"']
    warm_up: Annotated[float | None, "share of training in which the learning rate rises"]
    clip_norm: Annotated[float | None, "gradient norm above which gradients are clipped"]
    ema: Annotated[float | None, "decay of the moving average of the weights"]
    label_smoothing: Annotated[float, "label smoothing"]
    class_weights: Annotated[
        str | list[tuple[Label, float]] | None, '"balanced", or pairs of a class and its weight'
    ]
    patience: Annotated[int | None, "epochs without improvement before early stopping"]
    eval_metric: Annotated[str | None, "metric that chooses the best epoch; null for the loss"]
    time_limit: Annotated[float | None, "time limit of the whole fit, in seconds"]
    precision: Annotated[str, '"auto", "float32" or "bfloat16"']
    doctor: Annotated[bool, "whether layer statistics are recorded"]
    seed: Annotated[int, "seed of the run"]
    device: Annotated[str, 'requested device, such as "auto" or "cpu"']


class RunStart(TypedDict):
    """A run begins: the options of the fit."""

    source: Annotated[str, "the table's name"]
    target: Annotated[TargetBody, "what is predicted"]
    seed: Annotated[int, "seed of the split, first weights, batch order and dropout"]
    read: Annotated[ReadOptionsBody, "how the table was read"]
    split: Annotated[SplitOptionsBody, "how the rows were split"]
    origin: Annotated[OriginBody, "where the table is, so that it can be read again"]
    numeric: Annotated[Scaling | None, "requested scaling of numbers; null for the default"]
    settings: Annotated[SettingsBody, "settings of the training"]
    report: Annotated[bool, "whether a report is written"]
    recipe: Annotated[RecipeBody, "what the model consists of besides one network"]
    baselines: Annotated[bool, "whether simple models are scored on the same rows"]
    trees_limit: NotRequired[
        Annotated[float | None, "of older runs: time limit for growing the trees, in seconds"]
    ]
    versions: Annotated[dict[str, str], "versions of sightline, torch, numpy, pyarrow and Python"]
    options: NotRequired[Annotated[dict[str, Any], "all options of the fit (version 1)"]]


class RunEnd(TypedDict):
    """A run is complete."""

    run: Annotated[str, "the run folder"]
    bundle: Annotated[str, "the model file"]
    report: Annotated[str | None, "the report; null without one"]
    seconds: Annotated[float, "duration of this attempt"]
    next: Annotated[list[str], "commands to try next"]
