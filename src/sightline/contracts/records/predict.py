"""Bodies of the records of stage 5, predict."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from sightline.contracts.kinds import Kind
from sightline.contracts.records.load import Histogram
from sightline.contracts.schema import Label

Cell = str | int | float | bool | None
"""One value of the table, as JSON."""
_OfClass = TypedDict("_OfClass", {"class": Annotated[Label, "the class"]})


class LayerValues(TypedDict):
    """What one layer computed for the row."""

    name: Annotated[str, "name of the layer"]
    shape: Annotated[list[int], "shape of its output"]
    size: Annotated[int, "number of values"]
    active: Annotated[int, "how many are not zero"]
    largest: Annotated[list[tuple[int, float]], "up to 5 largest magnitudes: index, value"]
    values: Annotated[list[float], "up to 64 of the values"]
    places: Annotated[list[int], "their indices"]
    scale: Annotated[float, "largest magnitude among the rows explained together"]


class Pushes(TypedDict):
    """Shapley values: how each column moved the prediction away from a typical row's."""

    of: Annotated[Label, "the class whose probability is explained, or the target"]
    unit: Annotated[Literal["probability", "target"], "unit of the numbers"]
    base: Annotated[float, "prediction for the typical row"]
    base_said: Annotated[str, "what the typical row is"]
    value: Annotated[float, "prediction for this row: `base` plus all pushes"]
    permutations: Annotated[int, "permutations that were sampled"]
    columns: Annotated[list[tuple[str, float]], "column and push, largest magnitude first"]


class PartValues(TypedDict):
    """What one part of the model predicts."""

    name: Annotated[str, "name of the part"]
    weight: Annotated[float, "its weight"]
    share: Annotated[list[float], "what it adds to each logit, or to the number"]
    values: Annotated[list[float], "its probabilities, or its number"]


class MemberPredictions(TypedDict):
    """What the members of an ensemble predict."""

    mean: Annotated[list[float], "mean of each output"]
    values: Annotated[list[list[float]], "outputs of each member"]
    spread: Annotated[list[float], "standard deviation of each output"]


class ExplanationBody(TypedDict):
    """One prediction in detail."""

    raw: Annotated[dict[str, Any], "the row's values by column"]
    encoded: Annotated[dict[str, float], "the network's inputs by feature"]
    notes: Annotated[list[str], "missing, unseen or out-of-range values, in words"]
    layers: Annotated[list[LayerValues], "the layers, the input first"]
    logits: Annotated[list[float], "logits; their softmax is the probabilities"]
    probabilities: Annotated[list[float], "probability of each class; empty for regression"]
    classes: Annotated[list[Label], "the classes"]
    prediction: Annotated[Label | None, "predicted class or number; null with an error"]
    error: Annotated[str | None, "why there is no prediction"]
    pushes: Annotated[Pushes | None, "contribution of each column"]
    pushes_note: Annotated[str | None, "why there are no pushes"]
    parts: Annotated[list[PartValues], "what each part of the model predicts"]
    members: Annotated[MemberPredictions | None, "what each member predicts; null without members"]
    temperature: Annotated[float | None, "what the logits were divided by; null if not calibrated"]
    uncalibrated: Annotated[list[float] | None, "probabilities before calibration, or null"]


class _Held(TypedDict):
    set: NotRequired[Annotated[list[Label], "conformal prediction set; absent if not calibrated"]]
    interval: NotRequired[Annotated[tuple[float, float], "conformal interval: low, high; absent if not calibrated"]]  # fmt: skip


class PredictExample(_Held):
    """One row's path through the model."""

    row: Annotated[int, "number of the row"]
    part: Annotated[str, 'which rows it comes from, such as "a test row"']
    truth: Annotated[Cell, "its true class or number"]
    explanation: Annotated[ExplanationBody, "the prediction in detail"]


class ExplainedRow(_Held):
    """A row of the sample."""

    row: Annotated[int, "number of the row"]
    truth: Annotated[Cell, "its true class or number"]
    right: Annotated[bool | None, "whether the predicted class is the true one; null for numbers"]
    explanation: Annotated[ExplanationBody, "the prediction in detail, rounded to 5 digits"]


class PredictRows(TypedDict):
    """A sample of up to 50 rows (fewer of a table with more than 200 columns), explained."""

    part: Annotated[str, "which rows they come from"]
    of: Annotated[int, "how many rows that part has"]
    sentence: Annotated[str, "how the rows were chosen"]
    rows: Annotated[list[ExplainedRow], "the rows"]


class Scores(TypedDict):
    """Metrics of a prediction that ignores the features."""

    what: Annotated[str, "what is predicted for every row"]
    accuracy: NotRequired[Annotated[float, "classification only"]]
    log_loss: NotRequired[Annotated[float, "classification only"]]
    roc_auc: NotRequired[Annotated[float | None, "classification only; null with one class"]]
    average_precision: NotRequired[
        Annotated[
            float | None, "two classes only; null with one class; the share of the positive class"
        ]
    ]
    rmse: NotRequired[Annotated[float, "regression only"]]
    mae: NotRequired[Annotated[float, "regression only"]]
    r2: NotRequired[Annotated[float | None, "regression only; null with one value"]]


class ClassScores(_OfClass):
    """Metrics of one class."""

    precision: Annotated[float, "share of rows predicted as this class that are of it"]
    recall: Annotated[float, "share of rows of this class that are predicted as it"]
    f1: Annotated[float, "harmonic mean of precision and recall"]
    rows: Annotated[int, "rows of this class"]


class PredictMetrics(TypedDict):
    """Metrics of the model, on held-out rows if there are any."""

    part: Annotated[str, '"test", "validation", "out-of-fold" or "training"']
    rows: Annotated[int, "rows that were measured"]
    left_out: Annotated[int, "rows without a usable target or features"]
    notes: Annotated[list[str], "such as classes that are never predicted"]
    baseline: Annotated[Scores, "metrics of a prediction that ignores the features"]
    accuracy: NotRequired[Annotated[float, "share of correct predictions; classification only"]]
    log_loss: NotRequired[Annotated[float, "mean cross entropy; classification only"]]
    roc_auc: NotRequired[
        Annotated[
            float | None, "area under the ROC curve; classification only; null with one class"
        ]
    ]
    average_precision: NotRequired[
        Annotated[
            float | None,
            "average precision of the positive class, the area under its precision-recall curve; two classes only; "
            "null with rows of one class",
        ]
    ]
    positive: NotRequired[Annotated[Label | None, "the positive class; classification only"]]
    classes: NotRequired[Annotated[list[ClassScores], "metrics of each class"]]
    confusion: NotRequired[
        Annotated[
            list[list[int]],
            "confusion matrix: a row for each true class, a column for each predicted one",
        ]
    ]
    rmse: NotRequired[Annotated[float, "root mean squared error; regression only"]]
    mae: NotRequired[Annotated[float, "mean absolute error; regression only"]]
    r2: NotRequired[
        Annotated[
            float | None, "coefficient of determination; regression only; null with one value"
        ]
    ]


class ReliabilityBin(TypedDict):
    """Rows whose confidence lies in one bin."""

    low: Annotated[float, "lower bound of the bin"]
    high: Annotated[float, "upper bound of the bin"]
    confidence: Annotated[float, "mean probability of the predicted class"]
    accuracy: Annotated[float, "share of correct predictions"]
    rows: Annotated[int, "rows in the bin"]


class CalibrationSide(TypedDict):
    """Calibration before, or after, the temperature."""

    ece: Annotated[float, "expected calibration error (15 bins)"]
    log_loss: Annotated[float, "mean cross entropy"]
    points: Annotated[list[ReliabilityBin], "points of the reliability diagram"]


class PartWeight(TypedDict):
    """How much one part of the model counts."""

    name: Annotated[str, "name of the part"]
    weight: Annotated[float, "its weight"]
    share: Annotated[float, "its weight as a share of all"]


class _Fitted(TypedDict):
    source: Annotated[str, "the held-out rows that it was fitted on, in words"]
    part: Annotated[str, "rows that it was measured on"]
    rows: Annotated[int, "how many these are"]
    said: Annotated[str, "the result in words"]


class PredictCalibration(_Fitted):
    """How the parts are weighted and the probabilities calibrated."""

    fitted_rows: Annotated[int, "rows that it was fitted on"]
    parts: Annotated[list[PartWeight], "the parts of the model"]
    temperature: NotRequired[
        Annotated[float, "what logits are divided by; this and the next for classification only"]
    ]
    before: NotRequired[Annotated[CalibrationSide, "before calibration"]]
    after: NotRequired[Annotated[CalibrationSide, "after calibration"]]
    perfect_ece: NotRequired[
        Annotated[float, "error that 95 of 100 perfectly calibrated models stay below"]
    ]


class PredictSets(_Fitted):
    """How well conformal sets (classes) or intervals (numbers) cover the truth."""

    alpha: Annotated[float, "share of rows that may be missed"]
    coverage: Annotated[float, "share of rows whose set or interval contains the truth"]
    mean_size: NotRequired[Annotated[float, "mean number of classes in a set"]]
    empty: NotRequired[Annotated[float, "share of empty sets"]]
    sizes: NotRequired[Annotated[list[int], "rows with 0, 1, 2, ... classes in their set"]]
    by_class: NotRequired[
        Annotated[
            list[tuple[str, int, float | None]],
            "of each true class: its text, rows, share whose set contains it",
        ]
    ]
    by_tenth: NotRequired[
        Annotated[
            list[tuple[float, int, float, float]],
            "of each tenth of the predictions: largest prediction, rows, coverage, mean width",
        ]
    ]
    mean_width: NotRequired[Annotated[float, "mean width of the intervals"]]
    median_width: NotRequired[Annotated[float, "median width of the intervals"]]


class PredictThreshold(TypedDict):
    """The decision threshold of a binary target, if one was requested."""

    value: Annotated[float, "probability from which a row is predicted as the positive class"]
    by: Annotated[str, 'metric that chose it, or "given"']
    score: Annotated[float | None, "that metric with it, on the held-out rows"]
    score_at_half: Annotated[float | None, "that metric with a threshold of 0.5"]
    rows: Annotated[int, "held-out rows; 0 if the threshold was given"]
    positives: Annotated[int | None, "rows of the positive class among them"]
    said: Annotated[str, "the same in words"]


class Decided(TypedDict):
    """What each threshold decides about some rows; each list has a value for each threshold."""

    source: Annotated[str, "the rows, in words"]
    rows: Annotated[int, "how many these are"]
    true_positives: Annotated[list[int], "positive rows predicted as positive"]
    false_positives: Annotated[list[int], "negative rows predicted as positive"]
    false_negatives: Annotated[list[int], "positive rows predicted as negative"]
    true_negatives: Annotated[list[int], "negative rows predicted as negative"]
    precision: Annotated[list[float | None], "null where no row is predicted as positive"]
    recall: Annotated[list[float | None], "null where no row is positive"]
    f1: Annotated[list[float | None], "null where neither is"]
    flagged: Annotated[list[float | None], "share of rows predicted as positive"]


class PredictThresholds(TypedDict):
    """What each decision threshold of a binary target means, so that one can be chosen by hand."""

    positive: Annotated[Label, "the positive class"]
    negative: Annotated[Label, "the other class"]
    chosen: Annotated[float, "the model's threshold; 0.5 if it has none"]
    thresholds: Annotated[list[float], "up to 200, increasing"]
    calibration: Annotated[Decided, "on the rows that calibration was fitted on: choose by these"]
    test: NotRequired[Annotated[Decided, "on the test rows: what to expect; absent without test rows"]]  # fmt: skip
    note: NotRequired[Annotated[str, "how rows with weights are counted; absent without weights"]]


class SecondMetric(TypedDict):
    """A second metric."""

    name: Annotated[str, "name of the metric"]
    value: Annotated[float | None, "null where it is not defined"]


class BaselineModel(TypedDict):
    """One of the compared models; this run's model comes first."""

    name: Annotated[str, "name of the model"]
    second: Annotated[SecondMetric | None, "another metric; null if the model was left out"]
    seconds: Annotated[float | None, "duration of fitting"]
    note: Annotated[str | None, "such as why it was left out"]
    score: Annotated[float | None, "its score; null if it was left out"]
    low: Annotated[float | None, "lower bound of the 95 % interval"]
    high: Annotated[float | None, "upper bound of the 95 % interval"]


class Difference(TypedDict):
    """This model's score minus another's."""

    name: Annotated[str, "the other model"]
    mean: Annotated[float, "the difference"]
    low: Annotated[float, "lower bound of the 95 % interval"]
    high: Annotated[float, "upper bound of the 95 % interval"]


class PredictBaselines(TypedDict):
    """Simple models, scored on the same rows."""

    part: Annotated[str, "the rows"]
    rows: Annotated[int, "how many"]
    metric: Annotated[
        str,
        '"log_loss" or "rmse"; "roc_auc" or "balanced_accuracy" with class weights or a threshold',
    ]
    greater_is_better: NotRequired[
        Annotated[bool, "whether a higher score is better; absent in old runs: lower"]
    ]
    models: Annotated[list[BaselineModel], "the models"]
    differences: Annotated[list[Difference], "compared with each of them"]
    verdict: Annotated[str, "the result in words"]
    remark: NotRequired[Annotated[str, "what to know about the table beside the verdict"]]


class DependenceColumn(TypedDict):
    """Partial dependence on one column; a list in a list has a value for each output."""

    column: Annotated[str, "name of the column"]
    kind: Annotated[Kind, "its kind"]
    grid: Annotated[list[Cell], "values that it is set to"]
    mean: Annotated[list[list[float]], "mean prediction at each value"]
    low: Annotated[list[list[float]], "10th percentile over the rows"]
    high: Annotated[list[list[float]], "90th percentile over the rows"]
    share: Annotated[list[float], "share of rows near each value"]


class PredictDependence(TypedDict):
    """How the prediction depends on single columns (partial dependence)."""

    part: Annotated[str, "the rows"]
    rows: Annotated[int, "how many of them were used"]
    outputs: Annotated[list[Label], "up to 12 classes, or the target"]
    shown: Annotated[int, "index of the output to show first"]
    classes: Annotated[list[Label] | None, "the same classes; null for regression"]
    columns: Annotated[list[DependenceColumn], "the columns"]


class Slice(TypedDict):
    """The rows with one value of a column."""

    group: Annotated[
        str, 'the value, a range of values, "missing", "never seen in training" or "all others"'
    ]
    rows: Annotated[int, "how many"]
    few: Annotated[bool, "whether there are fewer than 30"]
    score: Annotated[
        float | None, "the metric that groups are compared by; null where it is not defined"
    ]
    low: Annotated[float | None, "lower bound of its 95 % interval"]
    high: Annotated[float | None, "upper bound of its 95 % interval"]
    difference: Annotated[
        float | None,
        "this group's score minus that of all other rows; null where one has fewer than 10 rows",
    ]
    difference_low: Annotated[float | None, "lower bound of its 95 % interval"]
    difference_high: Annotated[float | None, "upper bound of its 95 % interval"]
    worse: Annotated[bool, "whether it is worse than all other rows beyond chance"]
    values: Annotated[
        dict[str, float | None],
        "metrics by name, `coverage` of the sets or intervals among them; null where not defined",
    ]


class SliceColumn(TypedDict):
    """The measured rows by the value of one column."""

    column: Annotated[str, "name of the column"]
    kind: Annotated[Kind, "its kind"]
    how: Annotated[str, "how its values were cut into groups, in words"]
    metric: Annotated[str, "what groups are compared by, as in predict/baselines"]
    greater_is_better: Annotated[bool, "whether a higher score is better"]
    groups: Annotated[
        list[Slice], "the groups, the worst first; those with fewer than 10 rows last"
    ]
    sentence: Annotated[str, "which groups are worse than all other rows, in words"]
    caution: Annotated[str | None, "how many groups have few rows; null if none has"]


class PredictSlices(TypedDict):
    """Metrics by the value of columns that have few values."""

    part: Annotated[str, "the rows"]
    rows: Annotated[int, "how many"]
    comparisons: Annotated[int, "how many groups were compared with all other rows"]
    columns: Annotated[list[SliceColumn], "up to 12 columns, the most important first"]
    sentence: Annotated[str, "the result in words"]


class ImportanceColumn(TypedDict):
    """Importance of one column."""

    column: Annotated[str, "name of the column"]
    mean: Annotated[float, "mean rise of the metric"]
    deviation: Annotated[float, "standard deviation over the repeats"]


class PredictImportance(TypedDict):
    """Permutation importance: how much a metric rises when one column is shuffled."""

    metric: Annotated[str, '"log_loss" or "rmse"']
    part: Annotated[str, "the rows"]
    rows: Annotated[int, "how many of them were used"]
    repeats: Annotated[int, "how often each column was shuffled"]
    value: Annotated[float, "the metric without shuffling"]
    columns: Annotated[list[ImportanceColumn], "the columns, largest mean first"]
    sentence: Annotated[str, "the result in words"]


class Curve(_OfClass):
    """A curve of one class against the rest."""

    area: Annotated[float, "area under the curve; average precision for precision-recall"]
    x: Annotated[list[float], "up to 60 points"]
    y: Annotated[list[float], "up to 60 points"]


class Reliability(TypedDict):
    """Whether probabilities agree with how often predictions are correct."""

    bins: Annotated[list[ReliabilityBin], "points of the reliability diagram"]
    ece: Annotated[float, "expected calibration error (15 bins)"]
    chance: Annotated[float, "the value that chance alone gives with this many rows"]
    sentence: Annotated[str, "the result in words"]


class Scatter(TypedDict):
    """True and predicted numbers."""

    truth: Annotated[list[float], "of up to 300 rows"]
    predicted: Annotated[list[float], "of the same rows"]
    sentence: Annotated[str, "how to read it"]


class Residuals(Histogram):
    """Distribution of predicted minus true."""

    sentence: Annotated[str, "the result in words"]


class PredictCurves(TypedDict):
    """Curves of the predictions on the measured rows."""

    part: Annotated[str, "the rows"]
    rows: Annotated[int, "how many"]
    roc: NotRequired[
        Annotated[list[Curve], "ROC curves of the positive class, or of the 10 most frequent ones"]
    ]
    pr: NotRequired[Annotated[list[Curve], "precision-recall curves of the same classes"]]
    curves_note: NotRequired[Annotated[str | None, "which classes have no curves, and why"]]
    reliability: NotRequired[Annotated[Reliability, "calibration; classification only"]]
    scatter: NotRequired[Annotated[Scatter, "true and predicted; regression only"]]
    residuals: NotRequired[Annotated[Residuals, "errors; regression only"]]
    quantiles: NotRequired[Annotated[dict[str, float], "quantiles of the errors; regression only"]]


class WorstRow(TypedDict):
    """A row with a large error."""

    row: Annotated[int, "number of the row"]
    truth: Annotated[Cell, "true class or number"]
    prediction: Annotated[Cell, "predicted class or number"]
    probability: Annotated[float | None, "probability of the true class; null for regression"]
    error: Annotated[float | None, "predicted minus true; null for classification"]
    raw: Annotated[dict[str, Any], "up to 40 of its values by column"]


class PredictWorst(TypedDict):
    """The rows with the largest errors."""

    part: Annotated[str, "the rows they come from"]
    rows: Annotated[list[WorstRow], "up to 10 rows, largest error first"]
    sentence: Annotated[str, "what the list shows, in words"]


class PredictTimeLimit(TypedDict):
    """What the time limit left out or shortened after the training; only where it did."""

    left_out: Annotated[list[str], "simple models by name, and results by type of record"]
    shortened: Annotated[
        dict[str, int], "of `importance` the shuffles of each column, of `rows` the explained rows"
    ]
    said: Annotated[str, "the same in one sentence"]


class PredictAsked(_Held):
    """The prediction for a row that a user typed in, during or after training."""

    id: Annotated[str, "identifier given by the sender"]
    step: Annotated[int | None, "steps that were done; null if unknown"]
    epoch: Annotated[int | None, "epoch of the weights; null if unknown"]
    said: Annotated[str, "which weights were used"]
    row: Annotated[dict[str, Any], "the row as typed"]
    explanation: Annotated[ExplanationBody | None, "the prediction in detail; null with an error"]
    error: Annotated[str | None, "why there is no prediction"]
