"""Bodies of the records of stage 4, train."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict


class _Where(TypedDict):
    step: Annotated[int, "steps that were done before"]
    epoch: Annotated[int, "epoch in which it happened"]


class _Event(_Where):
    epochs_done: Annotated[float, "position in a chart over epochs"]
    said: Annotated[str, "what happened, in one sentence"]


class _LowerRate(_Event):
    learning_rate: Annotated[float, "the new learning rate"]


class TrainPlan(TypedDict):
    """What the machine and the time limit decided before the first step."""

    device: Annotated[str, "where the tensors live"]
    device_reason: Annotated[str, "why"]
    precision: Annotated[str, '"float32" or "bfloat16"']
    precision_reason: Annotated[str, "why"]
    threads: Annotated[int, "threads of PyTorch"]
    threads_reason: Annotated[str, "why"]
    epochs: Annotated[int, "maximum number of epochs"]
    batch_size: Annotated[int, "rows of a weight update"]
    micro_batch: Annotated[int, "rows that go through the network at once"]
    steps_per_epoch: Annotated[int, "weight updates of an epoch"]
    processes: NotRequired[Annotated[int, "processes that train together, if there are several"]]


class TrainEdit(_Event):
    """An edit was applied between two steps."""

    edit: Annotated[dict[str, Any], "the edit as JSON: `edit` is its type, the rest its arguments"]
    parameters: NotRequired[Annotated[
        dict[str, str] | list[str],
        "for a change of structure, the fate of each parameter (kept, grown, fresh); for freezing, the names",
    ]]  # fmt: skip
    gone: NotRequired[Annotated[list[str], "parameters that were removed by a change of structure"]]
    network: NotRequired[
        Annotated[str, "the network as PyTorch prints it, after a change of structure"]
    ]


class TrainRefused(_Event):
    """An edit, a command or a watched file could not be used."""

    edit: NotRequired[Annotated[dict[str, Any], "the edit"]]
    file: NotRequired[Annotated[str, "the command's file"]]
    command: NotRequired[Annotated[str, "the command's text, up to 1,000 characters"]]


class TrainSkipped(_Event):
    """A step without a finite loss was skipped."""

    rows: Annotated[list[int], "the first rows of its batch"]


class TrainRollback(_LowerRate):
    """Losses stayed non-finite: back to the last good weights. `epoch` is that of the weights."""


class TrainPlateau(_LowerRate):
    """No improvement for some epochs: back to the best weights. `epoch` is that of the weights."""


class TrainMemory(_Event):
    """Memory ran out for the rows that go through the network at once; their number is halved."""


class TrainWarning(_Event):
    """A checkpoint could not be written or read."""


class TrainCheckpoint(_Event):
    """A checkpoint was written. `epoch` is that of the last step; a resumed run writes it again."""

    file: Annotated[str, "path in the run folder; older checkpoints are removed later"]
    bytes: Annotated[int, "size of the file"]


class TrainPaused(_Where):
    """Training was paused by a command."""

    said: Annotated[str, "what happened, in one sentence"]


class TrainContinued(_Where):
    """Training was continued by a command."""

    said: Annotated[str, "what happened, in one sentence"]


class LayerHealth(TypedDict):
    """Statistics of one layer in one step."""

    name: Annotated[str, "module path"]
    title: Annotated[str, "kind of the layer, in words"]
    mean: Annotated[float, "mean of its outputs over the batch"]
    deviation: Annotated[float, "standard deviation of its outputs"]
    zero: Annotated[float, "share of outputs that are exactly zero"]
    dead: Annotated[float, "share of units that are zero for every row of the batch"]
    saturated: Annotated[
        float | None, "share of outputs near the activation's bounds; null if it has none"
    ]
    weight_norm: Annotated[float, "norm of its parameters"]
    gradient: Annotated[float, "root mean square of its gradient"]
    update: Annotated[float, "norm of the step's change, as a share of the parameters' norm"]
    frozen: Annotated[bool, "whether it has parameters and all are frozen"]  # fmt: skip


class TrainLayers(_Event):
    """Statistics of each layer in one step."""

    layers: Annotated[list[LayerHealth], "the layers in order"]


EpochMetrics = TypedDict("EpochMetrics", {
    "train_accuracy": NotRequired[Annotated[float, "classification only"]],
    "valid_accuracy": NotRequired[Annotated[float, "classification only"]],
    "train_rmse": NotRequired[Annotated[float, "regression only, in the target's unit"]],
    "valid_rmse": NotRequired[Annotated[float, "regression only, in the target's unit"]],
    "valid_r2": NotRequired[Annotated[float, "regression only"]],
    "learning_rate": Annotated[float, "in the epoch's last step"],
    "gradient_norm": Annotated[float, "in the epoch's last step"],
    "seconds": Annotated[float, "time spent on steps"],
    "rows_per_second": Annotated[float, "training rows a second"],
    "validation_seconds": NotRequired[Annotated[float, "time spent on validation"]],
    "valid_*": NotRequired[Annotated[float, "the metric that `eval_metric` names"]],
})  # fmt: skip
"""A name that ends in * stands for every name with that beginning."""
EpochMetrics.__doc__ = "Metrics of one epoch."


class TrainEpoch(TypedDict):
    """An epoch is done. Epoch 0 is the untrained network, measured on up to 10,000 training rows."""

    number: Annotated[int, "0, 1, 2, ..."]
    train_loss: Annotated[float, "mean training loss"]
    valid_loss: Annotated[
        float | None, "validation loss, or out-of-fold loss with folds; null without either"
    ]
    metrics: Annotated[EpochMetrics, "other numbers of the epoch"]
    observation: Annotated[str, "what the numbers mean, in words"]


class FirstRow(TypedDict):
    """The first row of a batch and its loss; of an ensemble, the first member's."""

    row: Annotated[int, "number of the row"]
    target: Annotated[float, "its target: the class's number, or the value"]
    output: NotRequired[Annotated[float, "the network's output; regression only"]]
    classes: NotRequired[
        Annotated[int, "number of classes; this and the next for classification only"]
    ]
    logit: NotRequired[Annotated[float, "logit of the true class"]]
    log_sum: NotRequired[Annotated[float, "log of the sum of e^logit over the classes"]]
    loss: NotRequired[Annotated[float, "cross entropy of the row"]]
    probability: NotRequired[Annotated[float, "probability of the true class"]]
    largest: NotRequired[Annotated[list[tuple[int, float]], "up to 6 largest logits: class, logit"]]


class UpdateRule(TypedDict):
    """The optimizer's options in that step, and its state of the weight after it; empty if unknown."""

    optimizer: NotRequired[Annotated[str, "class of the optimizer"]]
    lr: NotRequired[Annotated[float, "learning rate"]]
    weight_decay: NotRequired[Annotated[float, "weight decay"]]
    betas: NotRequired[Annotated[tuple[float, float], "decay of the averages; Adam"]]
    eps: NotRequired[Annotated[float, "added to the denominator; Adam"]]
    momentum: NotRequired[Annotated[float, "momentum; SGD and Muon"]]
    nesterov: NotRequired[Annotated[bool, "Nesterov momentum"]]
    amsgrad: NotRequired[Annotated[bool, "AMSGrad"]]
    maximize: NotRequired[Annotated[bool, "whether the loss is maximised"]]
    muon: NotRequired[Annotated[bool, "whether Muon updates this weight"]]
    step: NotRequired[Annotated[float, "updates of this weight so far"]]
    exp_avg: NotRequired[Annotated[float, "average of the gradients; Adam"]]
    exp_avg_sq: NotRequired[Annotated[float, "average of the squared gradients; Adam"]]
    momentum_buffer: NotRequired[Annotated[float, "accumulated gradient; SGD"]]


class TrainStep(TypedDict):
    """One step in detail, from the first and from the last epoch."""

    step: Annotated[int, "number of the step, from 1"]
    epoch: Annotated[int, "its epoch"]
    rows: Annotated[int, "rows of its batch"]
    numeric_shape: Annotated[list[int], "shape of the numeric input"]
    categorical_shape: Annotated[list[int], "shape of the categorical input"]
    first_rows: Annotated[list[int], "numbers of the first 4 rows"]
    first_numeric: Annotated[list[list[float]], "their first 8 numeric features"]
    first_targets: Annotated[list[float], "their targets"]
    logits_shape: Annotated[list[int], "shape of the logits"]
    first_logits: Annotated[list[list[float]], "their first 8 logits"]
    loss: Annotated[float, "the batch's loss"]
    logits_dtype: Annotated[str, "dtype of the logits"]
    first_row: Annotated[FirstRow, "the first row and its loss"]
    weight: Annotated[str, "one weight: its parameter and index"]
    parameter: Annotated[str, "the parameter that the weight belongs to"]
    parameter_shape: Annotated[list[int], "its shape"]
    weight_before: Annotated[float, "the weight before the step"]
    gradient: Annotated[float, "its gradient"]
    update: Annotated[float, "`weight_after` - `weight_before`"]
    weight_after: Annotated[float, "the weight after the step"]
    rule: Annotated[UpdateRule, "how the optimizer computed the update"]


class TrainEnd(TypedDict):
    """Training of the network ended."""

    stopped: Annotated[str, "why"]
    best_epoch: Annotated[int, "epoch whose weights were kept"]
    steps: Annotated[int, "steps that were done"]
    skipped: Annotated[int, "steps that were skipped"]
    edits: Annotated[int, "edits that were applied"]
    parameters: Annotated[int, "number of parameters"]
    weights: Annotated[str, "sha256 of the last weights"]
    best_weights: Annotated[str, "sha256 of the kept weights"]
    seconds: Annotated[float, "time spent on the epochs"]


class ColumnGain(TypedDict):
    """How much the trees use one column."""

    column: Annotated[str, "name of the column"]
    gain: Annotated[float, "its share of the total gain"]


class _Beside(TypedDict):
    """What the record of each part beside the first network says."""

    fingerprint: Annotated[str, "sha256 of the part's tensors"]
    seconds: Annotated[float, "duration"]
    held_out_loss: Annotated[float | None, "lowest held-out loss; null without held-out rows"]
    network_held_out_loss: Annotated[float | None, "the first network's held-out loss, to compare"]
    gain: NotRequired[
        Annotated[float | None, "by what share the blend's held-out loss is higher without it"]
    ]
    kept: NotRequired[Annotated[bool, "whether the model has it"]]
    said: Annotated[str, "the same in one sentence"]


class TrainSecondNetwork(_Beside):
    """A second network was trained, with the settings of the first."""

    network: Annotated[dict[str, Any], "class and configuration, as of the first network"]
    parameters: Annotated[int, "number of weights"]
    planned_epochs: Annotated[int, "epochs that it might have trained"]
    epochs: Annotated[int, "epochs that it trained"]
    steps: Annotated[int, "steps that it trained"]
    best_epoch: Annotated[int, "epoch whose weights were kept"]
    stopped: Annotated[str | None, "why it ended"]
    history: Annotated[list[tuple[int, float, float | None]], "epoch, training loss, held-out loss"]


class TrainTrees(_Beside):
    """Boosted trees were fitted."""

    ensembles: Annotated[int, "number of ensembles, one for each fold"]
    trees: Annotated[int, "number of trees"]
    leaves: Annotated[float, "mean number of leaves of a tree"]
    columns: Annotated[list[ColumnGain], "up to 20 columns, largest gain first"]
    iterations: Annotated[int, "boosting rounds that were kept"]
    learning_rate: Annotated[float, "learning rate of the boosting"]
    history: Annotated[list[tuple[int, float]], "round and held-out loss after it"]
    statistics: NotRequired[
        Annotated[list[str], "categories of many values, which trees see as target statistics"]
    ]


class TrainSymmetricTrees(TrainTrees):
    """Boosted symmetric trees were fitted."""


class TrainForest(_Beside):
    """A forest of randomised trees was grown."""

    trees: Annotated[int, "number of trees"]
    leaves: Annotated[float, "mean number of leaves of a tree"]
    max_leaves: Annotated[int, "most leaves that a tree was allowed"]
    columns: Annotated[list[ColumnGain], "up to 20 columns, largest gain first"]


class TrainKernel(_Beside):
    """A kernel model was fitted."""

    landmarks: Annotated[int, "number of training rows that it compares a row with"]
    bandwidth: Annotated[float, "width of the kernel, relative to the landmarks' median distance"]
    ridge: Annotated[float, "strength of the regularisation"]
    tried: Annotated[
        list[tuple[float, float, float]],
        "bandwidths and ridges that were tried with few landmarks, and their held-out losses",
    ]


class TrainNeighbors(_Beside):
    """A nearest-neighbours model was fitted."""

    references: Annotated[int, "most training rows that a fold compares a row with"]
    epochs: Annotated[int, "epochs that it trained"]
    best_epoch: Annotated[int, "epoch whose weights were kept"]
    stopped: Annotated[str, "why it ended"]
    history: Annotated[list[tuple[int, float, float]], "epoch, training loss, held-out loss"]


class PartLeftOut(TypedDict):
    """A part that was not made for want of time."""

    part: Annotated[str, "name of the part"]
    by: Annotated[
        Literal["estimate", "clock"],
        "what decided it: an estimate from sizes and the limit, or the time that was left",
    ]


class TrainTimeLimit(TypedDict):
    """How far the time limit was used when the model was complete, and which parts it left out."""

    limit: Annotated[float, "time limit of the whole fit, in seconds"]
    seconds: Annotated[float, "seconds used so far, without pauses"]
    parts: Annotated[list[str], "parts for which sizes and the limit allow time"]
    left_out: Annotated[list[PartLeftOut], "parts that were not made"]
    said: Annotated[str, "the same in one sentence"]


class TrainReplay(TypedDict):
    """Whether a replayed training ended with the first one's weights."""

    identical: Annotated[bool, "whether they are equal bit for bit"]
    edits: Annotated[int, "edits that were applied"]
    said: Annotated[str, "the same in one sentence"]
