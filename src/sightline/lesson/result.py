"""The result of a run in a few sentences: how good the model is, whether it is worth it, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sightline.errors import counted, readable, shorten
from sightline.lesson.wording import short

Body = Mapping[str, Any]
MOST_REMARKS = 3
MODEL = "model.sightline"
"""The model's file in a run folder, where the page's commands are meant to be run."""
HIGHER_QUALITY = {"fast": "default", "default": "best"}


def result(
    bodies: Mapping[str, Body], source: str | None = None, remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the result of a run.

    Args:
        bodies: The last body of each type of record, by "stage/type".
        source: The table's file, for a command that fits it again; None for a table in memory.
        remarks: What is odd about the table's numbers, in sentences.

    Returns:
        The body of the record `lesson/result`.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> body = run.find("lesson", "result")[-1].body
        >>> body["headline"].startswith("species: ") and "34 test rows are predicted right" in body["headline"]
        True
        >>> body["next"][0]["command"]
        'sightline predict model.sightline new.csv -o predictions.csv'
    """
    metrics, baselines = bodies["predict/metrics"], bodies.get("predict/baselines")
    return {
        "headline": _headline(bodies["run/start"]["target"], metrics),
        "verdict": None if baselines is None else baselines["verdict"],
        "cautions": [*_cautions(metrics), *remarks[:MOST_REMARKS]],
        "next": _next(bodies, source),
    }


def _headline(target: Body, metrics: Body) -> str:
    """Say how good the model is beside a prediction that ignores the features."""
    name, rows = shorten(target["name"], 40), counted(metrics["rows"], f"{metrics['part']} row")
    baseline = metrics["baseline"]
    if target["task"] == "classification":
        right, without = (f"{100 * float(m['accuracy']):.3g} %" for m in (metrics, baseline))
        return f"{name}: {right} of {rows} are predicted right; always predicting the most frequent class gives {without}."
    error, without = (readable(m["rmse"], 3) for m in (metrics, baseline))
    explained = "" if metrics["r2"] is None else f", R² {short(metrics['r2'])}"
    return f"{name}: the typical error (RMSE) on {rows} is {error}{explained}; always predicting the mean gives {without}."


def _cautions(metrics: Body) -> list[str]:
    """Say what to be careful about."""
    cautions = list(metrics["notes"])
    if metrics["part"] == "training":
        cautions.insert(
            0, "These are the rows that the model learned from: on new rows it is worse."
        )
    error = "log_loss" if "log_loss" in metrics else "rmse"
    if float(metrics[error]) > float(metrics["baseline"][error]):
        cautions.insert(0, "The model is worse than a prediction that ignores the features.")
    return cautions


def _next(bodies: Mapping[str, Body], source: str | None) -> list[dict[str, Any]]:
    """Say what to do next; each step has a command, a block of the page, or neither."""
    steps = [_step("Predict new rows.", f"sightline predict {MODEL} new.csv -o predictions.csv")]
    if "predict/thresholds" in bodies:
        steps.append(
            _step(
                "Choose the decision threshold by what each kind of error costs.",
                block="thresholds",
            )
        )
    if "predict/worst" in bodies:
        steps.append(_step("Look at the largest errors: they often show faulty data or a missing column.", block="worst"))  # fmt: skip
    steps.append(_step("Follow one row through the model.", block="prediction"))
    start = bodies["run/start"]
    model = start.get("options", {}).get("model", {})
    better = HIGHER_QUALITY.get(model.get("quality") or "default")
    if source is not None and better is not None and model.get("network") is None:
        words = ["sightline", "fit", PurePath(source).name, "--from", MODEL, "--quality", better]
        text = "Fit a more accurate model with the same options, which takes longer."
        steps.append(_step(text, shlex.join(words)))
    return steps


def _step(text: str, command: str | None = None, block: str | None = None) -> dict[str, Any]:
    return {"text": text, "command": command, "block": block}
