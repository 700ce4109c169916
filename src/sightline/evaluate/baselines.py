"""Simple models on the same rows, so that everybody sees whether the network is worth it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sightline.contracts import Batch, Target
from sightline.errors import counted, readable

ROWS = 50_000
"""Simple models learn from so many training rows at most, drawn with the seed."""
MOST_CLASSES = 50
MOST_COLUMNS = 2_000
MOST_CODES = 255
FEW_ROWS = 50
TINY = float(np.finfo(np.float32).tiny)
OURS = "this model"


def score_baselines(
    target: Target,
    train: Batch,
    test: Batch,
    cardinalities: Sequence[int],
    values: np.ndarray,
    truth: np.ndarray,
    *,
    guessed: np.ndarray | None = None,
    seed: int = 0,
    draws: int = 1000,
    plain: Callable[[Batch, Batch], tuple[Batch, Batch]] | None = None,
) -> dict[str, Any]:
    """Score a model beside simple ones, with bootstrap intervals (Efron 1979).

    The training rows' class shares (or mean); a logistic (or ridge) regression on standardised
    numbers and one-hot codes; scikit-learn's histogram gradient boosting with its defaults.

    Args:
        target: What is predicted.
        train: Prepared rows to learn from; rows of weight 0 are left out.
        test: Prepared rows to score on.
        cardinalities: How many codes each category has.
        values: What the model predicts for the test rows: probabilities [N, K], or numbers [N, 1].
        truth: int64 class numbers [N], or numbers [N], of the test rows.
        guessed: int64 class numbers [N] that the model gives them; None for the likeliest ones.
        seed: Of the rows drawn, the bootstrap and the models.
        draws: How often the test rows are drawn anew.
        plain: Gives training and test rows with numbers as a linear model wants them: scaled by
            ranks it looks worse than it is where the truth is linear. None where they are so.

    Returns:
        `rows`, `metric` ("log_loss" or "rmse"), `models` (each `name`, `score`, its 95 % interval `low`
        and `high`, `second` metric, `seconds` of fitting, `note`), `differences` (this model less
        each other, `mean`, `low`, `high`) and a `verdict` in words.
    """
    classification = target.task == "classification"
    rows = _some_rows(train, seed)
    kept = Batch(*(None if part is None else part[rows] for part in train))  # type: ignore[arg-type]
    y, weight = kept.target.numpy(), None if kept.weight is None else kept.weight.double().numpy()
    cannot = _too_many(target, kept.numeric.shape[1] + kept.categorical.shape[1])
    if classification and len(np.unique(y)) < 2:
        cannot = "the training rows have one class alone"
    if plain is not None and not cannot:
        kept, test = plain(kept, test)
    X, Z = _inputs(kept), _inputs(test)
    numbers = kept.numeric.shape[1]
    sampled = (
        f"on {len(rows):,} training rows, drawn at random" if len(rows) < len(train.row) else None
    )

    def shares() -> np.ndarray:
        counts = np.ones(len(y)) if weight is None else weight
        if not classification:
            return np.full((len(Z), 1), np.average(y, weights=counts))
        found = np.bincount(y, counts, len(target.classes))
        return np.tile(found / found.sum(), (len(Z), 1))

    makers: list[tuple[str, Callable[[], np.ndarray]]] = [
        ("the majority class" if classification else "the mean", shares),
        ("logistic regression" if classification else "ridge regression",
         lambda: _linear(X, Z, y, weight, numbers, cardinalities, classification, len(target.classes), seed)),
        ("gradient boosting",
         lambda: _boosted(X, Z, y, weight, numbers, cardinalities, classification, len(target.classes), seed)),
    ]  # fmt: skip
    losses = {OURS: _losses(values, truth, classification)}
    told: list[dict[str, Any]] = [
        {
            "name": OURS,
            "second": _second(values, truth, classification, guessed),
            "seconds": None,
            "note": None,
        }
    ]
    for name, make in makers:
        if cannot and make is not shares:
            told.append(
                {"name": name, "second": None, "seconds": None, "note": f"left out: {cannot}"}
            )
            continue
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as noticed:
            warnings.simplefilter("always")
            found = make()
        note = sampled if make is not shares else None
        if any("converge" in str(one.message).lower() for one in noticed):
            note = "; ".join(filter(None, [note, "stopped before it converged"]))
        losses[name] = _losses(found, truth, classification)
        told.append({
            "name": name, "second": _second(found, truth, classification),
            "seconds": time.perf_counter() - began, "note": note,
        })  # fmt: skip
    drawn = _bootstrap(losses, draws, seed, classification)
    for one in told:
        here = losses.get(one["name"])
        score = None if here is None else _score(here.mean(), classification)
        low, high = (
            (None, None)
            if here is None
            else np.quantile(drawn[one["name"]], (0.025, 0.975)).tolist()
        )
        one |= {"score": score, "low": low, "high": high}
    differences = []
    for name in losses:
        if name == OURS:
            continue
        off = drawn[OURS] - drawn[name]
        mean = _score(losses[OURS].mean(), classification) - _score(
            losses[name].mean(), classification
        )
        low, high = np.quantile(off, (0.025, 0.975)).tolist()
        differences.append({"name": name, "mean": mean, "low": low, "high": high})
    return {
        "rows": len(truth), "metric": "log_loss" if classification else "rmse", "models": told,
        "differences": differences, "verdict": _verdict(told, differences, len(truth)),
    }  # fmt: skip


def _some_rows(train: Batch, seed: int) -> np.ndarray:
    counts = np.ones(len(train.row), bool) if train.weight is None else train.weight.numpy() > 0
    rows = np.flatnonzero(counts)
    if len(rows) > ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, ROWS, replace=False))
    return rows


def _inputs(batch: Batch) -> np.ndarray:
    """Numbers, then codes, as float32 [N, D + C]."""
    return np.concatenate(
        [batch.numeric.numpy(), batch.categorical.numpy().astype(np.float32)], axis=1
    )


def _too_many(target: Target, columns: int) -> str | None:
    if len(target.classes) > MOST_CLASSES:
        return f"{len(target.classes):,} classes would take it long"
    return f"{columns:,} columns would take it long" if columns > MOST_COLUMNS else None


def _linear(
    X: np.ndarray, Z: np.ndarray, y: np.ndarray, weight: np.ndarray | None, numbers: int,
    cardinalities: Sequence[int], classification: bool, classes: int, seed: int,
) -> np.ndarray:  # fmt: skip
    from scipy import sparse
    from sklearn.linear_model import LogisticRegression, Ridge

    center, scale = X[:, :numbers].mean(axis=0), X[:, :numbers].std(axis=0)
    scale[scale < 1e-6] = 1.0

    def flat(rows: np.ndarray) -> Any:
        parts: list[Any] = [sparse.csr_matrix((rows[:, :numbers] - center) / scale)]
        for place, size in enumerate(cardinalities):
            codes = rows[:, numbers + place].astype(np.int64)
            ones = (np.ones(len(rows), np.float32), (np.arange(len(rows)), codes))
            parts.append(sparse.csr_matrix(ones, shape=(len(rows), size)))
        return sparse.hstack(parts, format="csr")

    if not classification:
        model = Ridge(alpha=1.0, solver="lsqr").fit(flat(X), y, sample_weight=weight)
        return np.asarray(model.predict(flat(Z)), np.float64)[:, None]
    fitted = LogisticRegression(max_iter=100, tol=1e-3, random_state=seed)
    fitted.fit(flat(X), y, sample_weight=weight)
    return _all_classes(fitted.predict_proba(flat(Z)), fitted.classes_, classes)


def _boosted(
    X: np.ndarray, Z: np.ndarray, y: np.ndarray, weight: np.ndarray | None, numbers: int,
    cardinalities: Sequence[int], classification: bool, classes: int, seed: int,
) -> np.ndarray:  # fmt: skip
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    mask = np.array([False] * numbers + [size <= MOST_CODES for size in cardinalities])
    made = HistGradientBoostingClassifier if classification else HistGradientBoostingRegressor
    model = made(
        random_state=seed, early_stopping=False, categorical_features=mask if mask.any() else None
    )
    # Two threads that wait for each other are slower than one where another process runs too.
    with threadpool_limits(1, user_api="openmp"):
        model.fit(X, y, sample_weight=weight)
        if not classification:
            return np.asarray(model.predict(Z), np.float64)[:, None]
        return _all_classes(model.predict_proba(Z), model.classes_, classes)


def _all_classes(values: np.ndarray, present: np.ndarray, classes: int) -> np.ndarray:
    """Give classes without training rows a probability of 0."""
    found = np.zeros((len(values), classes))
    found[:, present] = values
    return found


def _losses(values: np.ndarray, truth: np.ndarray, classification: bool) -> np.ndarray:
    wide = values.astype(np.float64)
    found: np.ndarray = np.square(wide[:, 0] - truth)
    if classification:
        found = -np.log(wide[np.arange(len(truth)), truth].clip(TINY))
    return found


def _score(loss: Any, classification: bool) -> Any:
    return loss if classification else loss**0.5


def _second(
    values: np.ndarray,
    truth: np.ndarray,
    classification: bool,
    guessed: np.ndarray | None = None,
) -> dict[str, Any]:
    if classification:
        guessed = values.argmax(axis=1) if guessed is None else guessed
        return {"name": "accuracy", "value": float((guessed == truth).mean())}
    spread = float(np.square(truth - truth.mean()).mean())
    off = float(np.square(values[:, 0] - truth).mean())
    return {"name": "r2", "value": 1 - off / spread if spread else None}


def _bootstrap(
    losses: dict[str, np.ndarray], draws: int, seed: int, classification: bool
) -> dict[str, np.ndarray]:
    """Score each model on the same drawn rows, [draws] each."""
    random = np.random.default_rng(seed)
    rows = len(losses[OURS])
    together = np.stack(list(losses.values()))
    means = np.empty((len(losses), draws))
    for draw in range(draws):
        # How often each row is drawn: the same as drawing row numbers, and quicker to add up.
        counts = (
            random.multinomial(rows, np.full(rows, 1 / rows))
            if rows <= 2000
            else random.poisson(1.0, rows)
        )
        means[:, draw] = together @ counts / max(counts.sum(), 1)
    found = _score(means, classification)
    return dict(zip(losses, found, strict=True))


def _verdict(
    told: Sequence[dict[str, Any]], differences: Sequence[dict[str, Any]], rows: int
) -> str:
    if rows < FEW_ROWS:
        return (
            f"{counted(rows, 'test row')}, fewer than {FEW_ROWS}: too few for such intervals to say which "
            "model is better."
        )
    by_name = {one["name"]: one for one in told}
    best = min(differences, key=lambda one: by_name[one["name"]]["score"])
    theirs = by_name[best["name"]]["score"]
    percent = 100 * abs(best["mean"]) / theirs if theirs else 0.0
    seconds = by_name[best["name"]]["seconds"]
    took = "" if seconds is None else f", which took {readable(seconds, 2)} s"
    if best["high"] < 0:
        return f"Worth it: {percent:.1f} % better than the best simple model, {best['name']}{took}."
    if best["low"] > 0:
        return f"Not worth it here: {best['name']}{took}, is {percent:.1f} % better. Use that."
    side = "better" if best["mean"] < 0 else "worse"
    return (
        f"No clear difference with {best['name']}{took}: {percent:.1f} % {side}, which so many rows "
        f"({rows:,}) cannot tell from chance."
    )
