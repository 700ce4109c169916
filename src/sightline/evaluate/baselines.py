"""Simple models fitted on the same rows, to see whether the network is worth its cost.

Letters: N rows, D numbers, C codes, K classes (1 column for regression), M models.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sightline.contracts import Batch, Target
from sightline.errors import counted, listed, readable
from sightline.evaluate.labels import doubtful_labels
from sightline.metrics.scores import area_of_ranks, balanced_accuracy

TRAINING_ROWS = 50_000
"""Simple models are trained on at most this many training rows, drawn at random."""
FITTED_CLASSES = 50
"""With more classes only the majority class is scored: the other models would take too long."""
FITTED_COLUMNS = 2_000
"""With more prepared columns only the majority class or the mean is scored."""
BOOSTING_CODES = 255
"""scikit-learn's boosting treats a column with at most this many codes as categorical."""
FEWEST_ROWS = 50
"""With fewer test rows the intervals cannot show which model is better."""
MULTINOMIAL_ROWS = 2_000
"""Up to this many rows the bootstrap draws exactly N rows; above, Poisson counts (much faster)."""
MOST_DRAWN, FEWEST_DRAWS = 20_000_000, 200
"""All bootstrap samples together hold at most this many rows, but there are at least 200 samples."""
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
THIS_MODEL = "this model"
LINEAR_SPEED, BOOSTED_SPEED = 1e6, 1e6
"""About how many rows x columns x classes the simple models learn from in a second."""

Moved = Literal["class weights", "threshold"]
"""What moves a model's decisions away from the most probable class, on purpose."""


def score_baselines(
    target: Target,
    train: Batch,
    test: Batch,
    cardinalities: Sequence[int],
    values: np.ndarray,
    truth: np.ndarray,
    *,
    guessed: np.ndarray | None = None,
    moved: Moved | None = None,
    seed: int = 0,
    draws: int = 1000,
    plain: Callable[[Batch, Batch], tuple[Batch, Batch]] | None = None,
    allows: Callable[[str, float], bool] | None = None,
) -> dict[str, Any]:
    """Score a model and simple models, with 95 % bootstrap intervals (Efron 1979).

    The simple models: the training rows' class shares (or their mean), a logistic (or ridge)
    regression on standardised numbers and one-hot codes, and scikit-learn's histogram gradient
    boosting with its default settings.

    Args:
        target: What is predicted.
        train: Prepared training rows, with the weights that the model was trained with; rows of weight 0
            are left out.
        test: Prepared rows that the models are scored on.
        cardinalities: How many codes each categorical column has, [C].
        values: The model's predictions for the test rows: probabilities [N, K], or numbers [N, 1].
        truth: The true values of the test rows, int64 class numbers [N], or numbers [N].
        guessed: The predicted class, int64 [N]; None takes the most probable one.
        moved: What moved the model's decisions on purpose, or None. The log loss would count that as
            an error, so the models are compared by the area under the ROC curve (two classes) or
            by balanced accuracy.
        seed: Seed of the sampled rows, the bootstrap and the simple models.
        draws: Number of bootstrap samples; fewer, but at least 200, with more than 20,000 test rows.
        plain: Takes training and test rows and returns them with their numbers scaled linearly. A
            quantile scaling would hide a linear relation from the linear model. None does not
            scale them.
        allows: Takes the name of a simple model and the seconds that it takes, about, and returns whether there is
            time for it; None means that there is.

    Returns:
        `rows`, `metric` ("log_loss", "rmse", "roc_auc" or "balanced_accuracy"), `greater_is_better`, `models` (each `name`, `score`, the ends `low` and
        `high` of its interval, a `second` metric, `seconds` of fitting, `note`), `differences` (this
        model's score minus each other's: `name`, `mean`, `low`, `high`) and a `verdict` in words, which also says if labels
        look wrong (`evaluate/labels.py`).

    Example:
        >>> import sightline as sl
        >>> from sightline.evaluate.baselines import score_baselines
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> truth = prepared.test.target.numpy()
        >>> perfect = np.eye(3)[truth]
        >>> body = score_baselines(prepared.spec.target, prepared.train, prepared.test,
        ...                        prepared.spec.cardinalities, perfect, truth)
        >>> body["metric"], [model["name"] for model in body["models"]][:2]
        ('log_loss', ['this model', 'the majority class'])
    """
    classification = target.task == "classification"
    rows = _training_rows(train, seed)
    kept = Batch(*(None if part is None else part[rows] for part in train))  # type: ignore[arg-type]
    too_much = _why_not_fitted(target, kept)
    if plain is not None and too_much is None:
        kept, test = plain(kept, test)
    data = _Data.of(target, kept, test, cardinalities, seed)
    sampled = len(rows) < len(train.row)
    note = f"on {len(rows):,} training rows, drawn at random" if sampled else None

    metric = _metric(target, truth, moved)
    second = _second_metric(values, truth, classification, guessed)
    models: list[dict[str, Any]] = [
        {"name": THIS_MODEL, "second": second, "seconds": None, "note": None}
    ]
    scorers = {THIS_MODEL: metric.of(values, truth, guessed)}
    predictions = {THIS_MODEL: values}
    for name, fit in _simple_models(classification):
        why = None if fit is _constant else too_much
        if (
            why is None
            and allows is not None
            and not (fit is _constant or allows(name, _seconds(fit, data)))
        ):
            why = "the time limit leaves no time for it"
        if why is not None:
            left_out = {"second": None, "seconds": None, "note": f"left out: {why}"}
            models.append({"name": name, **left_out})
            continue
        began = time.perf_counter()
        predicted, converged = _fitted(fit, data)
        notes = [None if fit is _constant else note, None if converged else "stopped before it converged"]  # fmt: skip
        scorers[name] = metric.of(predicted, truth, None)
        predictions[name] = predicted
        models.append({
            "name": name, "second": _second_metric(predicted, truth, classification),
            "seconds": time.perf_counter() - began, "note": "; ".join(filter(None, notes)) or None,
        })  # fmt: skip
    scores = {name: float(score(np.ones(len(truth)))) for name, score in scorers.items()}
    drawn = _bootstrap(scorers, len(truth), draws, seed)
    for model in models:
        model |= _interval(model["name"], scores, drawn)
    differences = [_difference(name, scores, drawn) for name in scores if name != THIS_MODEL]
    verdict = _verdict(models, differences, len(truth), metric)
    if metric.name == "log_loss":
        best = min(scores, key=scores.__getitem__)
        verdict = " ".join(filter(None, [verdict, doubtful_labels(best, predictions[best], truth)]))
    return {
        "rows": len(truth), "metric": metric.name, "greater_is_better": metric.greater_is_better,
        "models": models, "differences": differences,
        "verdict": verdict,
    }  # fmt: skip


# ------------------------------------------------------------- the rows


@dataclass(frozen=True)
class _Data:
    """The training rows of the simple models, and the rows that they predict.

    Attributes:
        train, test: float32 [N, D + C]: numbers first, then codes.
        target: int64 class numbers [N], or numbers [N], of the training rows.
        weight: float64 [N], or None.
        numbers: D.
        cardinalities: How many codes each categorical column has, [C].
        classes: K; 0 for regression.
        seed: Seed of the models that use random numbers.
    """

    train: np.ndarray
    test: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    numbers: int
    cardinalities: Sequence[int]
    classes: int
    seed: int

    @classmethod
    def of(
        cls, target: Target, train: Batch, test: Batch, cardinalities: Sequence[int], seed: int
    ) -> _Data:
        """Build it from two batches of prepared rows."""
        return cls(
            train=_inputs(train), test=_inputs(test), target=train.target.numpy(),
            weight=None if train.weight is None else train.weight.double().numpy(),
            numbers=train.numeric.shape[1], cardinalities=cardinalities,
            classes=len(target.classes), seed=seed,
        )  # fmt: skip


def _training_rows(train: Batch, seed: int) -> np.ndarray:
    """Choose the training rows: those with a positive weight, at most `TRAINING_ROWS` of them."""
    counts = np.ones(len(train.row), bool) if train.weight is None else train.weight.numpy() > 0
    rows = np.flatnonzero(counts)
    if len(rows) > TRAINING_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, TRAINING_ROWS, replace=False))
    return rows


def _why_not_fitted(target: Target, train: Batch) -> str | None:
    """Return why no model with parameters is fitted, or None."""
    columns = train.numeric.shape[1] + train.categorical.shape[1]
    if target.task == "classification" and len(np.unique(train.target.numpy())) < 2:
        return "all training rows are of one class"
    if len(target.classes) > FITTED_CLASSES:
        return f"{len(target.classes):,} classes take too long (at most {FITTED_CLASSES})"
    if columns > FITTED_COLUMNS:
        return f"{columns:,} columns take too long (at most {FITTED_COLUMNS:,})"
    return None


def _inputs(batch: Batch) -> np.ndarray:
    """Return numbers, then codes, as float32 [N, D + C]."""
    return np.concatenate(
        [batch.numeric.numpy(), batch.categorical.numpy().astype(np.float32)], axis=1
    )


# ------------------------------------------------------------- the simple models

Fit = Callable[[_Data], np.ndarray]


def _simple_models(classification: bool) -> list[tuple[str, Fit]]:
    """Return the models by name; each function fits one and returns its predictions, [N, K]."""
    return [
        ("the majority class" if classification else "the mean", _constant),
        ("logistic regression" if classification else "ridge regression", _linear),
        ("gradient boosting", _boosted),
    ]


def _seconds(fit: Fit, data: _Data) -> float:
    """Return about how long it takes to fit a simple model on a core of 2020."""
    rows, columns = data.train.shape
    work: int = rows * max(columns, 1) * (data.classes if data.classes > 2 else 1)
    return 0.1 + work / (LINEAR_SPEED if fit is _linear else BOOSTED_SPEED)


def _fitted(fit: Fit, data: _Data) -> tuple[np.ndarray, bool]:
    """Return a simple model's predictions, and whether its solver converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predicted = fit(data)
    return predicted, not any("converge" in str(warning.message).lower() for warning in caught)


def _constant(data: _Data) -> np.ndarray:
    """Predict the training rows' class shares, or their mean, for every row."""
    weight = np.ones(len(data.target)) if data.weight is None else data.weight
    if not data.classes:
        return np.full((len(data.test), 1), np.average(data.target, weights=weight))
    counts = np.bincount(data.target, weight, data.classes)
    return np.tile(counts / counts.sum(), (len(data.test), 1))


def _linear(data: _Data) -> np.ndarray:
    """Fit a logistic or ridge regression on standardised numbers and one-hot codes."""
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression, Ridge

    numbers = data.train[:, : data.numbers]
    center, scale = numbers.mean(axis=0), numbers.std(axis=0)
    scale[scale < 1e-6] = 1.0

    def one_hot(rows: np.ndarray) -> Any:
        parts: list[Any] = [sparse.csr_matrix((rows[:, : data.numbers] - center) / scale)]
        for column, size in enumerate(data.cardinalities):
            codes = rows[:, data.numbers + column].astype(np.int64)
            ones = (np.ones(len(rows), np.float32), (np.arange(len(rows)), codes))
            parts.append(sparse.csr_matrix(ones, shape=(len(rows), size)))
        return sparse.hstack(parts, format="csr")

    X, y = one_hot(data.train), data.target
    if not data.classes:
        ridge = Ridge(alpha=1.0, solver="lsqr").fit(X, y, sample_weight=data.weight)
        return np.asarray(ridge.predict(one_hot(data.test)), np.float64)[:, None]
    logistic = LogisticRegression(max_iter=100, tol=1e-3, random_state=data.seed)
    logistic.fit(X, y, sample_weight=data.weight)
    return _all_classes(logistic.predict_proba(one_hot(data.test)), logistic.classes_, data.classes)


def _boosted(data: _Data) -> np.ndarray:
    """Fit scikit-learn's histogram gradient boosting with its default settings."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    categorical = np.array(
        [False] * data.numbers + [size <= BOOSTING_CODES for size in data.cardinalities]
    )
    estimator = HistGradientBoostingClassifier if data.classes else HistGradientBoostingRegressor
    model = estimator(
        random_state=data.seed, early_stopping=False,
        categorical_features=categorical if categorical.any() else None,
    )  # fmt: skip
    # If other processes are running, two threads that wait for each other are slower than one.
    with threadpool_limits(1, user_api="openmp"):
        model.fit(data.train, data.target, sample_weight=data.weight)
        if not data.classes:
            return np.asarray(model.predict(data.test), np.float64)[:, None]
        return _all_classes(model.predict_proba(data.test), model.classes_, data.classes)


def _all_classes(values: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Give classes without training rows a probability of 0."""
    wide = np.zeros((len(values), classes))
    wide[:, present] = values
    return wide


# ------------------------------------------------------------- metrics

Scorer = Callable[[np.ndarray], float]
"""From how often each row is drawn, [N], to a model's score on these rows."""


@dataclass(frozen=True)
class _Metric:
    """What the models are compared by.

    Attributes:
        name: Such as "log_loss".
        words: The same in a sentence.
        of: From predictions ([N, K]), true values and the predicted classes (None for the most
            probable ones) to the function that scores them.
        greater_is_better: Whether a higher score is better.
        why: A sentence why it is not the usual metric, or "".
    """

    name: str
    words: str
    of: Callable[[np.ndarray, np.ndarray, np.ndarray | None], Scorer]
    greater_is_better: bool = False
    why: str = ""


def fair_metric(target: Target, truth: np.ndarray, moved: Moved | None) -> str:
    """Return the name of the metric that is fair to a model whose decisions may have been moved on purpose.

    Args:
        target: What is predicted.
        truth: The true values, [N].
        moved: What moved the decisions, as in `score_baselines`.

    Returns:
        "rmse", "log_loss", "roc_auc" (two classes) or "balanced_accuracy".

    Example:
        >>> import numpy as np
        >>> from sightline.contracts import Target
        >>> from sightline.evaluate.baselines import fair_metric
        >>> target, truth = Target("y", "classification", ("no", "yes"), "yes"), np.array([0, 1])
        >>> fair_metric(target, truth, None), fair_metric(target, truth, "threshold")
        ('log_loss', 'roc_auc')
    """
    if target.task == "regression":
        return "rmse"
    if moved is None or len(np.unique(truth)) < 2:
        return "log_loss"
    return "balanced_accuracy" if target.positive is None else "roc_auc"


def _metric(target: Target, truth: np.ndarray, moved: Moved | None) -> _Metric:
    """Choose the metric that is fair to a model whose decisions were moved on purpose."""
    name = fair_metric(target, truth, moved)
    if name == "rmse":
        return _Metric("rmse", "RMSE", _rmse)
    if name == "log_loss":
        return _Metric("log_loss", "log loss", _log_loss)
    if target.positive is None:
        why = "The models are compared by balanced accuracy, because class weights change the probabilities on purpose."
        return _Metric("balanced_accuracy", "balanced accuracy", _balanced_accuracy, True, why)
    assert moved is not None
    positive = target.classes.index(target.positive)

    def area(values: np.ndarray, truth: np.ndarray, _: np.ndarray | None) -> Scorer:
        rank = np.unique(values[:, positive], return_inverse=True)[1]
        is_positive = truth == positive
        return lambda counts: area_of_ranks(rank, is_positive, counts)

    because = {
        "class weights": "because class weights change the probabilities on purpose",
        "threshold": "which does not depend on the threshold",
    }[moved]
    return _Metric("roc_auc", "AUC", area, True, f"The models are compared by AUC, {because}.")


def _log_loss(values: np.ndarray, truth: np.ndarray, _: np.ndarray | None) -> Scorer:
    of_true = values.astype(np.float64)[np.arange(len(truth)), truth]
    losses = -np.log(of_true.clip(SMALLEST_PROBABILITY))
    return lambda counts: float(losses @ counts / max(counts.sum(), 1))


def _rmse(values: np.ndarray, truth: np.ndarray, _: np.ndarray | None) -> Scorer:
    squares = np.square(values[:, 0].astype(np.float64) - truth)
    return lambda counts: float(squares @ counts / max(counts.sum(), 1)) ** 0.5


def _balanced_accuracy(values: np.ndarray, truth: np.ndarray, guessed: np.ndarray | None) -> Scorer:
    right = (values.argmax(axis=1) if guessed is None else guessed) == truth
    return lambda counts: balanced_accuracy(right, truth, counts)


def _second_metric(
    values: np.ndarray,
    truth: np.ndarray,
    classification: bool,
    guessed: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure the accuracy, or R squared (None where all true numbers are equal)."""
    if classification:
        guessed = values.argmax(axis=1) if guessed is None else guessed
        return {"name": "accuracy", "value": float((guessed == truth).mean())}
    variance = float(np.square(truth - truth.mean()).mean())
    error = float(np.square(values[:, 0] - truth).mean())
    return {"name": "r2", "value": 1 - error / variance if variance else None}


# ------------------------------------------------------------- intervals


def _bootstrap(
    scorers: Mapping[str, Scorer], rows: int, draws: int, seed: int
) -> dict[str, np.ndarray]:
    """Score each model on the same bootstrap samples, [draws] each; NaN where it is not defined."""
    random = np.random.default_rng(seed)
    draws = min(draws, max(FEWEST_DRAWS, MOST_DRAWN // rows))
    scores = {name: np.empty(draws) for name in scorers}
    for draw in range(draws):
        # How often each row is drawn: equivalent to drawing row numbers, and faster to sum.
        counts = (
            random.multinomial(rows, np.full(rows, 1 / rows))
            if rows <= MULTINOMIAL_ROWS
            else random.poisson(1.0, rows)
        )
        for name, score in scorers.items():
            scores[name][draw] = score(counts)
    return scores


def _interval(
    name: str, scores: Mapping[str, float], drawn: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return a model's score and its 95 % interval; None for a model that was left out."""
    if name not in scores:
        return {"score": None, "low": None, "high": None}
    low, high = np.nanquantile(drawn[name], (0.025, 0.975)).tolist()
    return {"score": scores[name], "low": low, "high": high}


def _difference(
    name: str, scores: Mapping[str, float], drawn: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return this model's score minus another's, with the 95 % interval of the paired samples."""
    low, high = np.nanquantile(drawn[THIS_MODEL] - drawn[name], (0.025, 0.975)).tolist()
    return {"name": name, "mean": scores[THIS_MODEL] - scores[name], "low": low, "high": high}


# ------------------------------------------------------------- the verdict


def _verdict(
    models: Sequence[dict[str, Any]],
    differences: Sequence[dict[str, Any]],
    rows: int,
    metric: _Metric,
) -> str:
    """Return in words whether this model is better than the best simple one by a metric."""
    if rows < FEWEST_ROWS:
        return (
            f"{counted(rows, 'test row')}, fewer than {FEWEST_ROWS}: too few to tell which model is "
            "better."
        )
    sign = -1 if metric.greater_is_better else 1
    by_name = {model["name"]: model for model in models}
    best = min(differences, key=lambda difference: sign * by_name[difference["name"]]["score"])
    score, seconds = (by_name[best["name"]][key] for key in ("score", "seconds"))
    lower = f"{_percent_lower(by_name[THIS_MODEL]['score'], score):.1f} % lower"
    other = best["name"] + ("" if seconds is None else f", which took {readable(seconds, 2)} s")
    better = best["high"] < 0 if sign > 0 else best["low"] > 0
    worse = best["low"] > 0 if sign > 0 else best["high"] < 0
    if better and metric.greater_is_better:
        said = f"Worth it: the {metric.words} of the best simple model is {lower}; it is {other}."
    elif better:
        said = (
            f"Worth it: the {metric.words} is {lower} than that of the best simple model, {other}."
        )
    elif worse and metric.greater_is_better:
        said = f"Not worth it here: the {metric.words} is {lower} than that of {other}. Use that."
    elif worse:
        said = f"Not worth it here: {other}, has a {metric.words} that is {lower}. Use that."
    elif best["mean"] == 0:
        said = f"No difference with {other}: the {metric.words} is the same."
    else:
        whose = "that model's" if best["mean"] > 0 else "this model's"
        said = (
            f"No clear difference with {other}: {whose} {metric.words} is {lower}, which may be chance "
            f"with only {counted(rows, 'row')}."
        )
    if untried := [model["name"] for model in models if model["score"] is None]:
        said += f" It is not compared with {listed(untried, 10)}, left out here."
    return f"{said} {metric.why}".rstrip()


def _percent_lower(one: float, other: float) -> float:
    """Return by how many per cent the smaller of two scores, both at least 0, is below the larger one."""
    larger = max(one, other)
    return 100 * abs(one - other) / larger if larger else 0.0
