"""One fit of AutoGluon in a separate process: its score, seconds and memory, and the models it tried.

    python3 -m venv autogluon && autogluon/bin/python -m pip install -r benchmarks/autogluon-requirements.txt
    python -m benchmarks.quality FILE.csv ... --systems autogluon-medium@30,autogluon-best@300 \\
        --autogluon-python autogluon/bin/python

`benchmarks.quality` starts one of these for each fit, with the interpreter of that environment, which needs no
Sightline. The rows and the kinds of columns are those of `benchmarks.peers`; the metric is log loss or RMSE,
the time limit the system's budget, the number of CPUs the number of threads.

The fit fails if a family of models that AutoGluon usually has is missing: LightGBM, CatBoost, XGBoost, a
network, or forests. A family that the time limit left out is no failure: "skipped" names it.
"""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.peers import main, raw, read, scores, timed_fit, timed_predict
from benchmarks.quality_fits import AUTOGLUON

FAMILIES = {  # family -> its models' names in the leaderboard -> the package that each needs
    "LightGBM": {"LightGBM": "lightgbm"},
    "CatBoost": {"CatBoost": "catboost"},
    "XGBoost": {"XGBoost": "xgboost"},
    "network": {"NeuralNetTorch": "torch", "NeuralNetFastAI": "fastai"},
    "forest": {"RandomForest": "sklearn", "ExtraTrees": "sklearn"},
}
FOR_TIME = ("InsufficientTime", "TimeLimitExceeded")  # AutoGluon's exceptions
PREDICT_ROWS = 10_000  # stacks predict slowly; the summary compares seconds per row


def installed() -> None:
    """Raise if a family's packages are all missing."""
    missing = [
        family
        for family, models in FAMILIES.items()
        if not any(importlib.util.find_spec(package) for package in models.values())
    ]
    if missing:
        raise ModuleNotFoundError(
            f"AutoGluon's environment has no {', no '.join(missing)}: install benchmarks/autogluon-requirements.txt"
        )


def skipped(names: Iterable[str], failures: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Say why families are missing from the leaderboard; raise unless the time limit is the reason.

    Args:
        names: The models in the leaderboard.
        failures: The type and the text of the exception that ended each model that failed.
    """
    reasons = {}
    for family, models in FAMILIES.items():
        stem = re.compile("|".join(models))
        if any(stem.match(name) for name in names):
            continue
        failed = {name: why for name, why in failures.items() if stem.match(name)}
        broken = {name: why for name, why in failed.items() if why[0] not in FOR_TIME}
        for name, (kind, text) in broken.items():
            raise RuntimeError(f"AutoGluon has no {family} model: {name} ended with {kind}: {text}")
        tried = ", ".join(failed)
        reasons[family] = (
            f"{tried}: over the time limit" if tried else "no time was left to start it"
        )
    return reasons


def measure(
    model: str, path: str, target: str | None, categories: list[str], seed: int,
    threads: int, limit: int, predict_rows: int, budget: int,
) -> dict[str, Any]:  # fmt: skip
    """Fit once and return scores, times, memory and the leaderboard."""
    installed()
    from autogluon.tabular import TabularPredictor

    rows = read(path, target, categories, seed)
    classify = rows.classes is not None
    kind = "regression"
    if rows.classes is not None:
        kind = "binary" if len(rows.classes) == 2 else "multiclass"
    view = raw(rows.X_train, rows.categories)
    answer = "target of the fit"
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        predictor = TabularPredictor(
            label=answer, problem_type=kind, path=str(Path(folder) / "models"), verbosity=1,
            eval_metric="log_loss" if classify else "root_mean_squared_error",
        )  # fmt: skip

        def fit() -> None:
            train = view(rows.X_train).assign(**{answer: rows.y_train})
            predictor.fit(train, presets=AUTOGLUON[model], time_limit=budget, num_cpus=threads, num_gpus=0)  # fmt: skip

        def predict(X: pd.DataFrame) -> Any:
            if rows.classes is None:
                return predictor.predict(view(X), as_pandas=False)
            table = predictor.predict_proba(view(X))
            return table.reindex(columns=np.arange(len(rows.classes)), fill_value=0.0)

        times = timed_fit(fit, limit)
        board, failed = predictor.leaderboard(display=False), predictor.model_failures()
        failures = {f["model"]: (f["exc_type"], f["exc_str"]) for f in failed.to_dict("records")}
        reasons = skipped(board["model"], failures)
        scored = scores(predict, rows)[1]
        times |= timed_predict(predict, view, rows.X_test, min(predict_rows, PREDICT_ROWS))
    stacked = board[~board["model"].str.startswith("WeightedEnsemble")]
    kept = ["model", "score_val", "fit_time_marginal", "stack_level"]
    return {
        **rows.facts(), **scored, **times, "skipped": reasons,
        "stack_levels": int(stacked["stack_level"].max()),
        "leaderboard": board[kept].to_dict("records"),
    }  # fmt: skip


if __name__ == "__main__":
    main(measure)
