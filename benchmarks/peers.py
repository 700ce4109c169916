"""One fit of one model in a separate process: its score, seconds and memory.

    python -m benchmarks.peers '{"model": "lightgbm", "path": "adult.csv.gz", ...}'

`benchmarks.quality` starts one of these for each fit. The last line printed is the outcome, JSON;
a fit over the limit ends by SIGALRM, which also stops a loop in C. Every model has its defaults,
the same rows, the same kinds of columns and the same number of threads. What a model cannot take is
prepared in the usual way, which counts as its time:

- trees: categories of the training rows; other values are missing. Columns with more than 255
  categories are numbers for scikit-learn.
- CatBoost: texts; an empty cell is a text too.
- RealMLP, TabM: the median for a missing number, and a flag; a missing category is a category.
- scikit-learn's MLP: the same, standardised, one-hot; a regression's target standardised too.

Splits: seeds from 0 on cut off 20 % of a table's rows as the test rows of the published figures. Seeds
from 100 on are for development: seed k cuts the training rows of the figures' split k % 3 once more, with
random state k, so that it has none of that split's test rows. It has test rows of the other figures' splits.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.quality_fits import DEVELOPMENT, FIGURES_SEEDS, OURS

CLASSIFICATION_VALUES = 20  # a target with more different integers is a regression
BINS = 15
View = Callable[[pd.DataFrame], pd.DataFrame]


class Rows(NamedTuple):
    """One split of one table. `classes` is None for a regression, else y holds their numbers."""

    X_train: pd.DataFrame
    y_train: np.ndarray
    X_test: pd.DataFrame
    y_test: np.ndarray
    categories: list[str]
    classes: list[str] | None
    rows: int  # of the whole table
    fingerprint: str  # of the rows' numbers, the targets and the columns' kinds

    def facts(self) -> dict[str, Any]:
        """Return what a fit's file says about the table and the split."""
        return {
            "task": "regression" if self.classes is None else "classification",
            "classes": len(self.classes or ()), "rows": self.rows,
            "numeric": self.X_train.shape[1] - len(self.categories), "categorical": len(self.categories),
            "train_rows": len(self.y_train), "test_rows": len(self.y_test), "fingerprint": self.fingerprint,
        }  # fmt: skip


def cut(rows_N: np.ndarray, y_N: np.ndarray, classify: bool, seed: int) -> list[np.ndarray]:
    """Cut rows into 80 % for training and 20 % for the test, stratified by class where each has two."""
    from sklearn.model_selection import train_test_split

    y_N = y_N[rows_N]
    several = classify and np.unique(y_N, return_counts=True)[1].min() > 1
    parts: list[np.ndarray] = train_test_split(
        rows_N, test_size=0.2, random_state=seed, stratify=y_N if several else None
    )
    return parts


def split(y_N: np.ndarray, classify: bool, seed: int) -> list[np.ndarray]:
    """Return the numbers of the training and of the test rows of a figures' or a development split."""
    if seed < DEVELOPMENT:
        return cut(np.arange(len(y_N)), y_N, classify, seed)
    return cut(split(y_N, classify, seed % FIGURES_SEEDS)[0], y_N, classify, seed)


def read(path: str, target: str | None, categories: list[str], seed: int) -> Rows:
    """Read a CSV file; with the same kinds and the same 80/20 split for all models.

    A column is numeric if every cell is a number or empty and `categories` does not name it. A numeric
    target is a regression, unless it has few different integers.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    target = target or str(frame.columns[-1])
    if unknown := sorted({target, *categories} - {*frame.columns}):
        raise ValueError(f"{path} has no column {', '.join(unknown)}")
    for name in frame.columns.difference(categories):
        try:
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
        except ValueError:
            categories = categories if name == target else [*categories, name]
    frame = frame[frame[target].notna()].reset_index(drop=True)
    X, y = frame.drop(columns=target), frame[target]
    numbers = pd.api.types.is_numeric_dtype(y)
    if numbers and (y.nunique() > CLASSIFICATION_VALUES or (y % 1 != 0).any()):
        y_N, classes = y.to_numpy(), None
    else:
        names, y_N = np.unique(y.astype(str), return_inverse=True)
        classes = names.tolist()
    train, test = split(y_N, classes is not None, seed)
    if classes and (lost := set(range(len(classes))) - set(y_N[train])):
        rare = ", ".join(classes[k] for k in sorted(lost))
        raise ValueError(f"with seed {seed} no training row is of class {rare}")
    named = [name for name in X.columns if name in categories]
    digest = hashlib.sha256(json.dumps([list(X.columns), named, classes]).encode())
    for values in (train, test, y_N):
        digest.update(values.tobytes())
    parts = (X.iloc[rows].reset_index(drop=True) for rows in (train, test))
    X_train, X_test = parts
    return Rows(X_train, y_N[train], X_test, y_N[test], named, classes, len(y_N), digest.hexdigest()[:12])  # fmt: skip


# ------------------------------------------------------------------- the inputs of each model


def raw(X: pd.DataFrame, categories: list[str]) -> View:
    """Only mark which columns are categories."""
    return lambda frame: frame.astype(dict.fromkeys(categories, "category"))


def coded(X: pd.DataFrame, categories: list[str], empty: bool = False) -> View:
    """Use pandas categories: those of the training rows (and the empty cell)."""
    fill: Callable[[pd.Series], pd.Series] = (lambda x: x.fillna("")) if empty else (lambda x: x)
    known = {name: pd.CategoricalDtype(sorted(fill(X[name]).dropna().unique())) for name in categories}  # fmt: skip
    named = {
        name: f"x{j}" for j, name in enumerate(X.columns)
    }  # not every model takes any text as a name

    def view(frame: pd.DataFrame) -> pd.DataFrame:
        codes = {  # what training did not have becomes missing
            name: pd.Categorical(fill(frame[name]), dtype=dtype) for name, dtype in known.items()
        }
        return frame.assign(**codes).rename(columns=named)

    return view


def few(X: pd.DataFrame, categories: list[str]) -> View:
    """Like `coded`, with numbers for what has too many categories for scikit-learn's trees."""
    known = coded(X, categories)
    many = [name for name, x in known(X).items() if x.dtype == "category" and x.nunique() > 255]
    return lambda frame: known(frame).apply(lambda x: x.cat.codes if x.name in many else x)


def texts(X: pd.DataFrame, categories: list[str]) -> View:
    """Make an empty cell a text like the others."""
    return lambda frame: frame.fillna(dict.fromkeys(categories, ""))


def filled(X: pd.DataFrame, categories: list[str]) -> View:
    """Fill missing numbers by the median, and flag them."""
    known = coded(X, categories, empty=True)
    X = known(X)
    medians = X.select_dtypes("number").median().fillna(0.0)
    gaps = [name for name in medians.index if X[name].isna().any()]

    def view(frame: pd.DataFrame) -> pd.DataFrame:
        frame = known(frame)
        flags = {f"{name}_missing": frame[name].isna().astype("float64") for name in gaps}
        return frame.fillna(medians.to_dict()).assign(**flags)

    return view


class Peer(NamedTuple):
    """A model: what to import before the clock starts, its view, its maker."""

    modules: tuple[str, ...]
    view: Callable[[pd.DataFrame, list[str]], View]
    make: Callable[..., Any]  # (classify, seed, threads, categories, budget) -> an estimator


def _named(module: str, stem: str, *, fixed: dict[str, Any] | None = None, **passed: str) -> Callable[..., Any]:  # fmt: skip
    """Return a maker of the class `stem` + "Classifier" or "Regressor" in `module`.

    `fixed` are its arguments; `passed` says which arguments get the seed, threads, categories or budget.
    """

    def make(classify: bool, **given: Any) -> Any:
        kind = getattr(importlib.import_module(module), stem + ("Classifier" if classify else "Regressor"))  # fmt: skip
        return kind(**(fixed or {}), **{name: given[what] for name, what in passed.items()})

    return make


def _mlp(classify: bool, seed: int, **_: Any) -> Any:
    from sklearn.compose import (
        TransformedTargetRegressor,
        make_column_selector,
        make_column_transformer,
    )
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
    )
    if classify:
        return make_pipeline(columns, MLPClassifier(random_state=seed))
    network = MLPRegressor(random_state=seed)
    return make_pipeline(columns, TransformedTargetRegressor(network, transformer=StandardScaler()))


def _ours(**fixed: Any) -> Peer:
    modules = ("torch", "pyarrow", "sklearn.ensemble", "sightline.estimators")
    make = _named("sightline.estimators", "Sightline", fixed=fixed, random_state="seed", time_limit="budget")  # fmt: skip
    return Peer(modules, raw, make)


def _pytabkit(name: str, *modules: str) -> Peer:
    cpu = {"device": "cpu"}
    make = _named("pytabkit", name, fixed=cpu, random_state="seed", n_threads="threads")
    return Peer(("pytabkit", *modules), filled, make)


PEERS = {
    "ours": _ours(quality="default"),
    "ours-fast": _ours(quality="fast"),
    "ours-best": _ours(quality="best"),
    "ours-network": _ours(quality="default", trees=False),
    "lightgbm": Peer(
        ("lightgbm",), coded,
        _named("lightgbm", "LGBM", fixed={"verbose": -1}, random_state="seed", n_jobs="threads"),
    ),
    "xgboost": Peer(
        ("xgboost",), coded,
        _named("xgboost", "XGB", fixed={"enable_categorical": True}, random_state="seed", n_jobs="threads"),
    ),
    "catboost": Peer(
        ("catboost",), texts,
        _named("catboost", "CatBoost", fixed={"verbose": False, "allow_writing_files": False},
               random_seed="seed", thread_count="threads", cat_features="categories"),
    ),
    "hgb": Peer(
        ("sklearn.ensemble",), few,
        _named("sklearn.ensemble", "HistGradientBoosting", random_state="seed"),
    ),
    "mlp": Peer(("sklearn.neural_network", "sklearn.compose"), filled, _mlp),
    "realmlp-td-s": _pytabkit("RealMLP_TD_S_"),
    "realmlp-td": _pytabkit("RealMLP_TD_"),
    "tabm-d": _pytabkit("TabM_D_", "pytabkit.models.alg_interfaces.tabm_interface"),
}  # fmt: skip


# ---------------------------------------------------------------------------- what is measured


def calibration_error(confidence_N: np.ndarray, right_N: np.ndarray) -> float:
    """Return the expected calibration error of the top class, 15 equal bins (Guo et al. 2017)."""
    bin_N = np.minimum((confidence_N * BINS).astype(int), BINS - 1)
    return float(np.abs(np.bincount(bin_N, right_N - confidence_N, BINS)).sum() / len(right_N))


def classification(probabilities_NK: np.ndarray, y_N: np.ndarray) -> dict[str, float]:
    """Score probabilities; "ece_perfect" is what one in twenty perfectly calibrated models exceed."""
    from sklearn.metrics import log_loss, roc_auc_score

    K = probabilities_NK.shape[1]
    confidence_N = probabilities_NK.max(1)
    draw = np.random.default_rng(0)
    by_chance = [calibration_error(confidence_N, draw.random(len(y_N)) < confidence_N) for _ in range(500)]  # fmt: skip
    scores = {
        "score": log_loss(y_N, probabilities_NK, labels=np.arange(K)),
        "accuracy": np.mean(probabilities_NK.argmax(1) == y_N),
        "ece": calibration_error(confidence_N, probabilities_NK.argmax(1) == y_N),
        "ece_perfect": np.quantile(by_chance, 0.95),
    }
    if K == 2:
        scores["roc_auc"] = roc_auc_score(y_N, probabilities_NK[:, 1])
    return {name: float(value) for name, value in scores.items()}


def coverage(model: Any, X: pd.DataFrame, y_N: np.ndarray, predicted: np.ndarray, classes: list[str] | None) -> dict[str, Any]:  # fmt: skip
    """Measure our 90 % sets or intervals: how many contain the truth, and how large they are.

    Of a regression also in each tenth of the test rows, by predicted value; of classes in each class.
    """
    if classes is None:
        low_N, high_N = np.asarray(model.predict_interval(X, alpha=0.1)).T
        inside_N, size_N = (low_N <= y_N) & (y_N <= high_N), high_N - low_N
        parts = tenths(predicted.reshape(-1), inside_N)
    else:
        set_NK = np.asarray(model.predict_set(X, alpha=0.1), dtype=bool)
        inside_N, size_N = set_NK[np.arange(len(y_N)), y_N], set_NK.sum(1)
        of = {name: inside_N[y_N == k] for k, name in enumerate(classes)}
        by_class = {name: {"coverage": float(one.mean()), "rows": len(one)} for name, one in of.items() if len(one)}  # fmt: skip
        parts = {"coverage_by_class": by_class}
    return {"coverage": float(inside_N.mean()), "mean_size": float(size_N.mean()), **parts}


def tenths(predicted_N: np.ndarray, inside_N: np.ndarray) -> dict[str, Any]:
    """Return the coverage in ten groups of equal size, from the lowest to the highest prediction."""
    groups = np.array_split(np.argsort(predicted_N, kind="stable"), 10)
    return {"coverage_by_tenth": [float(inside_N[rows].mean()) for rows in groups if len(rows)]}


def peak() -> float:
    """Return the largest memory use so far of this process, or of one that it started, in MB."""
    most = max(resource.getrusage(of).ru_maxrss for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))  # fmt: skip
    return round(most / (2**20 if sys.platform == "darwin" else 2**10), 1)


def timed_fit(fit: Callable[[], Any], limit: int) -> dict[str, float]:
    """Fit, under the limit; return the seconds, and the memory before and after."""
    before = peak()
    signal.alarm(limit)
    began, worked = time.perf_counter(), time.process_time()
    fit()
    fit_seconds, work_seconds = time.perf_counter() - began, time.process_time() - worked
    signal.alarm(0)
    return {
        "fit_seconds": round(fit_seconds, 3), "fit_cpu_seconds": round(work_seconds, 3),
        "memory_before_mb": before, "fit_memory_mb": peak(),
    }  # fmt: skip


def scores(predict: Callable[[pd.DataFrame], Any], rows: Rows) -> tuple[np.ndarray, dict[str, float]]:  # fmt: skip
    """Predict the test rows and score them; return the predictions too."""
    predicted = finite(predict(rows.X_test))
    if rows.classes is not None:
        return predicted, classification(predicted / predicted.sum(1, keepdims=True), rows.y_test)
    error_N = predicted.reshape(-1) - rows.y_test
    return predicted, {"score": float(np.sqrt(np.mean(error_N**2))), "mae": float(np.abs(error_N).mean())}  # fmt: skip


def finite(predicted: Any) -> np.ndarray:
    """Return predictions as numbers; raise if one is not finite."""
    values = np.asarray(predicted, dtype="float64")
    if not np.isfinite(values).all():
        raise ValueError("some predictions are not finite")
    return values


def timed_predict(predict: Callable[[pd.DataFrame], Any], view: View, X: pd.DataFrame, count: int) -> dict[str, float]:  # fmt: skip
    """Predict `count` rows, the test rows again and again; return the seconds."""
    many = X.iloc[np.resize(np.arange(len(X)), count)].reset_index(drop=True)
    began = time.perf_counter()
    view(many)
    view_seconds = time.perf_counter() - began
    began = time.perf_counter()
    finite(predict(many))
    predict_seconds = time.perf_counter() - began
    return {
        "predict_rows": count, "predict_seconds": round(predict_seconds, 3),
        "view_seconds": round(view_seconds, 3),  # part of it: conversion to what the model takes
        "memory_mb": peak(),
    }  # fmt: skip


def measure(
    model: str, path: str, target: str | None, categories: list[str], seed: int,
    threads: int, limit: int, predict_rows: int, budget: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Fit once and return scores, times and memory."""
    peer = PEERS[model]
    for module in peer.modules:
        importlib.import_module(module)
    rows = read(path, target, categories, seed)
    classify = rows.classes is not None
    fitted: list[Any] = []

    def fit() -> None:
        view = peer.view(rows.X_train, rows.categories)
        estimator = peer.make(classify, seed=seed, threads=threads, categories=rows.categories, budget=budget)  # fmt: skip
        estimator.fit(view(rows.X_train), rows.y_train)
        fitted.extend((view, estimator))

    times = timed_fit(fit, limit)
    view, estimator = fitted

    def predict(X: pd.DataFrame) -> Any:
        return estimator.predict_proba(view(X)) if classify else estimator.predict(view(X))

    predicted, scored = scores(predict, rows)
    times |= timed_predict(predict, view, rows.X_test, predict_rows)
    intervals = {}
    if model in OURS:
        intervals = coverage(estimator, view(rows.X_test), rows.y_test, predicted, rows.classes)
    return {**rows.facts(), **scored, **intervals, **times}


def main(measure: Callable[..., dict[str, Any]] = measure) -> None:
    """Run the fit that the argument describes; print the outcome as the last line."""
    parser = argparse.ArgumentParser(description="One fit of one model.")
    parser.add_argument("job", help="JSON object with the arguments of measure()")
    job = parser.parse_args().job
    try:
        print("\n" + json.dumps(measure(**json.loads(job))))
    except Exception as error:
        print("\n" + json.dumps({"failed": f"{type(error).__name__}: {error}"}), flush=True)
        raise


if __name__ == "__main__":
    main()
