"""scikit-learn's interface: a classifier and a regressor for pipelines, searches and scores.

To store a model use `save` and `load`. Estimators can also be pickled, because scikit-learn copies them
that way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from sightline.contracts import FitOptions, Kind, Label
from sightline.contracts.arguments import names_checked
from sightline.contracts.options import Quality, ThresholdRule
from sightline.errors import OptionError, did_you_mean
from sightline.load.pandas_columns import column_name, refuse_doubled
from sightline.load.table import Table
from sightline.load.values import has_long
from sightline.pipeline.beginnings import Fresh
from sightline.pipeline.flow import run_stages
from sightline.predict.model import Model

TARGET, WEIGHT = "target", "weight"


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    @names_checked
    def __init__(
        self,
        *,
        quality: Quality | None = None,
        time_limit: float | None = None,
        network: Any = None,
        trees: bool | None = None,
        eval_metric: str | None = None,
        valid: Any = None,
        kinds: Mapping[str, Kind] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.quality = quality
        self.time_limit = time_limit
        self.network = network
        self.trees = trees
        self.eval_metric = eval_metric
        self.valid = valid
        self.kinds = kinds
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.non_deterministic = False
        return tags

    def _fit(
        self, X: Any, y: np.ndarray, sample_weight: Any, task: str, positive: Label | None = None
    ) -> Self:
        columns, names, kinds = _columns(self, X, fitting=True)
        self._names = names
        for name, kind in (self.kinds or {}).items():
            if name not in names:
                raise ValueError(
                    f"kinds names the column {name!r}, which X does not have. "
                    + did_you_mean(str(name), names)
                )
            kinds[name] = kind
        rows = len(y)
        check_consistent_length(next(iter(columns.values())), y)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, y, dtype=np.float64, ensure_non_negative=True
            )
        kept = slice(None) if weights is None else np.flatnonzero(weights > 0)
        if rows < 2:
            raise ValueError(f"n_samples={rows}: at least 2 samples are needed.")
        target, weight = _free(TARGET, names), _free(WEIGHT, names)
        data = {name: _take(values, kept) for name, values in columns.items()}
        data[target] = y[kept]
        kinds[target] = "numeric" if task == "regression" else "categorical"
        if y.dtype.kind == "b":
            kinds[target] = "boolean"
        if (
            weights is not None and len(np.unique(weights[kept])) > 1
        ):  # equal weights change nothing
            data[weight], kinds[weight] = weights[kept] / weights[kept].mean(), "numeric"
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        settings = {
            name: value
            for name, value in (
                ("time_limit", self.time_limit), ("eval_metric", self.eval_metric),
                ("epochs", self.epochs), ("batch_size", self.batch_size),
                ("learning_rate", self.learning_rate), ("device", self.device),
            )
            if value is not None
        }  # fmt: skip
        options = FitOptions.of(
            target, kinds=kinds, task=task, positive=positive, weight=weight if weight in data else None, test=0,
            quality=self.quality, network=self.network, trees=self.trees, valid=self.valid,
            threshold=getattr(self, "threshold", None), seed=seed, baselines=False, report=False, **settings,
        )  # fmt: skip
        outcome = run_stages(Fresh(data, options))
        self.model_ = outcome.finished.model
        self.n_iter_ = max(outcome.training.best_epoch, 1)
        return self

    def _table(self, X: Any) -> Table:
        check_is_fitted(self, "model_")
        columns, names, _ = _columns(self, X, fitting=False)
        fitted = getattr(self, "_names", names)
        if names != fitted and not set(fitted) <= set(names):
            # As for every estimator, columns count by position; scikit-learn has warned of it.
            columns = dict(zip(fitted, columns.values(), strict=True))
        table = self.model_.read(columns)
        if table.bad:
            row, error = table.bad[0]
            raise ValueError(
                f"Input X has {len(table.bad):,} rows that cannot be read; the first is row {row:,}: "
                f"{error}. Correct the values, or leave the rows out."
            )
        return table

    def save(self, path: str | Path) -> None:
        """Write the fitted model to one file, without pickle; see `sl.Model.save`."""
        check_is_fitted(self, "model_")
        self.model_.save(path)


class SightlineClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A classifier for scikit-learn.

    DataFrames keep their categories, texts, dates and missing values; arrays of numbers are numbers.

    Args:
        quality: "fast", "default" or "best", as in `sl.fit`.
        time_limit: Time limit for the whole fit in seconds, kept to about a tenth; what there is no time for is left out.
        network: A network of your own: a class or function that takes the spec, or "file.py:Class".
        trees: Whether boosted trees are added to the model; None as in `sl.fit`.
        eval_metric: The metric that chooses the best epoch, such as "roc_auc".
        threshold: For two classes, the metric for which the decision threshold is chosen ("f1", ...),
            or the threshold; None predicts the more probable class.
        valid: Share or number of validation rows; None uses folds.
        kinds: The kinds of columns whose kind is not to be inferred.
        epochs, batch_size, learning_rate, device: As in `sl.Training`; None lets the quality choose.
        random_state: An int, a RandomState, or None.

    Attributes:
        classes_: The classes, sorted.
        model_: The `sl.Model`.
        n_features_in_, feature_names_in_: As in scikit-learn.
        n_iter_: The epoch whose weights are kept.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from sightline.estimators import SightlineClassifier
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> classifier = SightlineClassifier(quality="fast", random_state=0).fit(X, y)
        >>> classifier.score(X, y) > 0.9
        True
    """

    @names_checked
    def __init__(
        self,
        *,
        quality: Quality | None = None,
        time_limit: float | None = None,
        network: Any = None,
        trees: bool | None = None,
        eval_metric: str | None = None,
        threshold: ThresholdRule | float | None = None,
        valid: Any = None,
        kinds: Mapping[str, Kind] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        super().__init__(
            quality=quality, time_limit=time_limit, network=network, trees=trees,
            eval_metric=eval_metric, valid=valid, kinds=kinds, epochs=epochs, batch_size=batch_size,
            learning_rate=learning_rate, device=device, random_state=random_state,
        )  # fmt: skip
        self.threshold = threshold

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on rows and their classes; rows of weight zero have no effect.

        Args:
            X: [samples, features], a DataFrame or an array.
            y: [samples], classes.
            sample_weight: [samples], the weight of each row.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        if absent := _count_missing(y):
            raise ValueError(
                f"Input y contains missing labels ({absent:,}): leave these samples out, or give them a class."
            )
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if y.dtype.kind == "f" and not np.isfinite(y).all():
            raise ValueError("Input y contains NaN or infinity.")
        classes, numbers = np.unique(y, return_inverse=True)
        if sample_weight is not None:  # a class with no weight at all is left out
            weighted = _check_sample_weight(sample_weight, y, dtype=np.float64) > 0
            if weighted.any() and not weighted.all():
                present = np.unique(numbers[weighted])
                lookup = np.full(len(classes), 0)
                lookup[present] = np.arange(len(present))
                classes, numbers = classes[present], lookup[numbers]
        if len(classes) < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: {classes.tolist()}."
            )
        self.classes_ = classes
        kind = "U" if all(isinstance(label, str) for label in classes.tolist()) else y.dtype.kind
        # An empty text would be a missing target. Then, and for other types, class numbers are used.
        plain = kind in "iubU" and "" not in classes.tolist()
        labels = classes.tolist() if plain else list(range(len(classes)))
        target = np.array(labels, object if plain and kind == "U" else None)[numbers]
        # scikit-learn's convention, whatever the classes are called: the second of two is the positive one.
        positive = labels[1] if len(labels) == 2 else None
        return self._fit(X, target, sample_weight, "classification", positive)

    def predict(self, X: Any) -> np.ndarray:
        """Predict each row's class."""
        check_is_fitted(self, "model_")
        index = {label: number for number, label in enumerate(self.model_.classes)}
        predicted = self.model_.predictions(self._table(X)).labels.tolist()
        labels: np.ndarray = self.classes_[[index[label] for label in predicted]]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict each class's probability: float64 [samples, classes], in the order of `classes_`."""
        check_is_fitted(self, "model_")
        values = self.model_.predictions(self._table(X)).values.astype(np.float64)
        probabilities: np.ndarray = values / values.sum(axis=1, keepdims=True)
        return probabilities

    def predict_set(self, X: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict sets that miss the true class in a share `alpha` of rows: bool [samples, classes]."""
        check_is_fitted(self, "model_")
        return self.model_.predict_set(self._table(X), alpha)

    @classmethod
    def load(cls, path: str | Path, *, network: Any = None) -> Self:
        """Read a model that `save` or `sl.fit` wrote, as a fitted estimator."""
        model = Model.load(path, network=network)
        if not model.task.classification:
            raise OptionError(f"{path} predicts a number.", "Load it with SightlineRegressor.load.")
        estimator: Self = _loaded(cls(), model)
        estimator.classes_ = np.array(model.classes)
        return estimator


class SightlineRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A regressor for scikit-learn, with the arguments of `SightlineClassifier` except `threshold`.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from sightline.estimators import SightlineRegressor
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> regressor = SightlineRegressor(quality="fast", random_state=0).fit(X, y)
        >>> regressor.predict_interval(X, alpha=0.1).shape
        (442, 2)
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit on rows and their numbers; rows of weight zero have no effect."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        if len(y) > 1 and (y == y[0]).all():
            raise ValueError(f"y is {y[0]:g} in every row: there is nothing to learn.")
        return self._fit(X, y, sample_weight, "regression")

    def predict(self, X: Any) -> np.ndarray:
        """Predict each row's number: float64 [samples]."""
        check_is_fitted(self, "model_")
        numbers: np.ndarray = self.model_.predictions(self._table(X)).values[:, 0]
        return numbers

    def predict_interval(self, X: Any, alpha: float = 0.1) -> np.ndarray:
        """Predict intervals that miss the true number in a share `alpha` of rows: [samples, 2]."""
        check_is_fitted(self, "model_")
        return self.model_.predict_interval(self._table(X), alpha)

    @classmethod
    def load(cls, path: str | Path, *, network: Any = None) -> Self:
        """Read a model that `save` or `sl.fit` wrote, as a fitted estimator."""
        model = Model.load(path, network=network)
        if model.task.classification:
            raise OptionError(f"{path} predicts classes.", "Load it with SightlineClassifier.load.")
        estimator: Self = _loaded(cls(), model)
        return estimator


def _loaded(estimator: Any, model: Model) -> Any:
    names = [column.name for column in model.encoder.schema.features]
    estimator.model_, estimator.n_features_in_, estimator.n_iter_ = model, len(names), 1
    estimator.feature_names_in_, estimator._names = np.array(names, object), names
    return estimator


def _columns(
    estimator: Any, X: Any, *, fitting: bool
) -> tuple[dict[str, Any], list[str], dict[str, Kind]]:
    """Return X as columns by name, checked as scikit-learn requires, and the kinds that are known."""
    frame = hasattr(X, "columns") or hasattr(X, "column_names") or hasattr(X, "__dataframe__")
    if not frame:
        numbers = np.asarray(X).dtype.kind in "biufc" if not hasattr(X, "toarray") else True
        array = check_array(
            X, dtype="numeric" if numbers else None, ensure_all_finite="allow-nan",
            estimator=estimator, input_name="X",
        )  # fmt: skip
        _check_feature_names(estimator, X, reset=fitting)
        _check_n_features(estimator, array, reset=fitting)
        names = [f"x{index}" for index in range(array.shape[1])]
        long = array.dtype.kind in "iu" and has_long(array.astype(np.float64))
        kinds: dict[str, Kind] = dict.fromkeys(names, "numeric") if numbers and not long else {}
        if not numbers:
            kinds = {n: k for index, n in enumerate(names) if (k := _kind_of(array[:, index]))}
        return {n: _plain(array[:, index]) for index, n in enumerate(names)}, names, kinds
    if hasattr(X, "columns") and not callable(X.columns):
        refuse_doubled(map(column_name, X.columns))
    _check_feature_names(estimator, X, reset=fitting)
    _check_n_features(estimator, X, reset=fitting)
    names = [column_name(name) for name in (X.columns if hasattr(X, "columns") and not callable(X.columns) and not hasattr(X, "column_names") else X.column_names)]  # fmt: skip
    if not len(X):
        raise ValueError(
            f"Found array with 0 sample(s) (shape=(0, {len(names)})) while a minimum of 1 is required."
        )
    if not names:
        raise ValueError(f"0 feature(s) (shape=({len(X)}, 0)) while a minimum of 1 is required.")
    columns, kinds = {}, {}
    for index, name in enumerate(names):
        column = X.iloc[:, index] if hasattr(X, "iloc") else X[name]
        kind = str(getattr(column, "dtype", "")).lower()
        if re.fullmatch(r"(float|u?int)\d+", kind):
            values = np.asarray(column, np.float64)
            if np.isinf(values).any():
                raise ValueError(f"Input X contains infinity (column {name!r}).")
            if kind.startswith(("int", "uint")) and has_long(values):
                columns[name] = column  # float64 would round these: `read` decides what they are
                continue
            kinds[name] = "numeric"
            columns[name] = values
        else:
            if kind in ("category", "categorical", "enum") or kind.startswith(
                ("categorical", "enum")
            ):
                kinds[name] = "categorical"
            columns[name] = column
    return columns, names, kinds


def _plain(values: np.ndarray) -> Any:
    """Return a column as `read` takes it: numbers, or Python values with None for missing."""
    if values.dtype.kind in "biuf":
        floats = values.astype(np.float64)
        return values if values.dtype.kind in "iu" and has_long(floats) else floats
    return [None if value is None or value != value else value for value in values.tolist()]


def _kind_of(values: np.ndarray) -> Kind | None:
    """Return the kind of an object column that holds only numbers or only texts; None for others."""
    known = [value for value in values.tolist() if value is not None and value == value]
    if known and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in known
    ):
        return "numeric"
    if known and all(isinstance(value, str) for value in known):
        return "categorical"
    return None


def _take(values: Any, rows: Any) -> Any:
    """Return some rows of a column of any type."""
    if isinstance(rows, slice):
        return values
    if isinstance(values, list):
        return [values[i] for i in rows]
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    if hasattr(values, "take"):
        return values.take(rows)
    return values[rows]


def _count_missing(y: Any) -> int:
    """Count the labels among objects that are None, NaN, NaT or NA."""
    labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if labels.dtype != object:
        return 0

    def is_missing(label: Any) -> bool:
        if label is None:
            return True
        differs = label != label
        return not isinstance(differs, bool | np.bool_) or bool(differs)  # NA is equal to nothing

    return sum(map(is_missing, labels.ravel().tolist()))


def _free(name: str, taken: list[str]) -> str:
    """Return a name that no feature has: `name`, with underscores if need be."""
    while name in taken:
        name += "_"
    return name
