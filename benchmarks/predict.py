"""One row in process: a dict in, probabilities out, beside the peers' `predict_proba` of a DataFrame of one row.

    python -m pip install -e ".[onnx]" lightgbm catboost
    python -m benchmarks.predict TABLE.csv[.gz] TARGET [--rows 1000] [--repeats 5] [--name predict]

The default model is fitted, saved and exported; its export is timed, and its files are measured. Each way to predict is
called row by row, in turns, so that other load on the machine meets all of them; p50 and p99 are those of all calls, the
spread is that of the p50 of each turn. Peers are fitted with 100 rounds on the same training rows, their
categories as pandas categories (LightGBM, HGB) or texts (CatBoost), and predict on one thread.

Targets: p50 at most 100 microseconds through ONNX Runtime and 400 through PyTorch, ahead of all three peers; an export
in less than 20 s.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sightline as sl
from benchmarks.common import save

ROUNDS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("target")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--name", default="predict")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    save(options.name, result)


def measure(folder: Path, options: Any) -> dict[str, Any]:
    """Fit, export and time everything."""
    run = sl.fit(options.table, options.target, run=folder / "run", quiet=True, report=False)
    model = run.model
    model.save(folder / "model.sightline")
    began = time.perf_counter()
    exported = model.to_onnx(folder / "model.onnx")
    seconds = time.perf_counter() - began
    onnx_model = sl.OnnxModel.load(folder / "model.onnx")
    frame = pd.read_csv(options.table)
    features = [column.name for column in model.encoder.schema.features]
    table = sl.read(options.table)
    rows = [
        {name: value for name, value in table.row(i).items() if name in features}
        for i in range(options.rows)
    ]
    ways = ours(model, onnx_model, rows) | peers(frame, features, options.target, options.rows)
    timed = in_turns(ways, options.rows, options.repeats)
    return {
        "table": Path(options.table).name, "rows": options.rows, "columns": len(features),
        "export": {"seconds": seconds, "onnx_bytes": exported["bytes"],
                   "bundle_bytes": (folder / "model.sightline").stat().st_size,
                   "largest_difference": exported["largest_difference"]},
        "microseconds": timed,
    }  # fmt: skip


def ours(
    model: sl.Model, onnx_model: sl.OnnxModel, rows: list[dict[str, Any]]
) -> dict[str, Callable[[int], Any]]:
    """Return our ways to predict the row of a number."""
    through_torch, through_onnx = model.predictor(), onnx_model.predictor()
    names = [onnx_model.output_names["probabilities"]]
    inputs = [onnx_model.inputs({name: [value] for name, value in row.items()}) for row in rows]
    encoded = [through_onnx.encode(row) for row in rows]
    arrays = [(np.array([n], np.float64), np.array([c], np.int32)) for n, c in encoded]
    single = onnx_model.engine()
    return {
        "sightline, ONNX Runtime": lambda i: through_onnx.predict_proba(rows[i]),
        "sightline, PyTorch": lambda i: through_torch.predict_proba(rows[i]),
        "sightline, the whole graph alone": lambda i: onnx_model.session.run(names, inputs[i]),
        "step: encode a dict": lambda i: through_onnx.encode(rows[i]),
        "step: features to probabilities, ONNX Runtime": lambda i: single(*arrays[i]),
    }


def peers(
    frame: pd.DataFrame, features: list[str], target: str, rows: int
) -> dict[str, Callable[[int], Any]]:
    """Fit the peers and return their ways to predict the row of a number."""
    from catboost import CatBoostClassifier
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier

    texts = [name for name in features if not pd.api.types.is_numeric_dtype(frame[name])]
    y = frame[target]
    as_category = frame[features].astype(dict.fromkeys(texts, "category"))
    as_text = frame[features].fillna(dict.fromkeys(texts, "none")).astype(dict.fromkeys(texts, str))
    light = LGBMClassifier(n_estimators=ROUNDS, n_jobs=1, verbose=-1).fit(as_category, y)
    hgb = HistGradientBoostingClassifier(max_iter=ROUNDS, categorical_features="from_dtype").fit(
        as_category, y
    )
    cat = CatBoostClassifier(iterations=ROUNDS, verbose=0, cat_features=texts, thread_count=1, allow_writing_files=False).fit(as_text, y)  # fmt: skip
    one = [as_category.iloc[[i]] for i in range(rows)]
    one_text = [as_text.iloc[[i]] for i in range(rows)]
    return {
        "LightGBM": lambda i: light.predict_proba(one[i]),
        "scikit-learn HGB": lambda i: hgb.predict_proba(one[i]),
        "CatBoost": lambda i: cat.predict_proba(one_text[i], thread_count=1),
    }


def in_turns(ways: dict[str, Callable[[int], Any]], rows: int, repeats: int) -> dict[str, Any]:
    """Time each call of each way, in turns."""
    calls: dict[str, list[list[float]]] = {name: [] for name in ways}
    for way in ways.values():
        for i in range(20):
            way(i)
    gc.collect()
    for _ in range(repeats):
        for name, way in ways.items():
            took = []
            for i in range(rows):
                began = time.perf_counter()
                way(i)
                took.append(1e6 * (time.perf_counter() - began))
            calls[name].append(took)
    return {name: summary(turns) for name, turns in calls.items()}


def summary(turns: list[list[float]]) -> dict[str, float]:
    """Summarise the microseconds of all calls."""
    everything = [call for turn in turns for call in turn]
    medians = [statistics.median(turn) for turn in turns]
    return {
        "p50": statistics.median(everything), "p99": float(np.quantile(everything, 0.99)),
        "p50_lowest": min(medians), "p50_highest": max(medians),
    }  # fmt: skip


if __name__ == "__main__":
    main()
