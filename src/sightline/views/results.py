"""Pictures of a model's predictions; a function returns None without its record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.errors import counted
from sightline.views.format import brief
from sightline.views.sheet import (
    BLACK,
    BLUE,
    GREY,
    VERMILLION,
    Sheet,
    colour,
    dash,
    drawable,
    legend,
    some_of,
    tick,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 20
AXIS_NAMES = {
    "log_loss": "log loss (nats)", "rmse": "RMSE", "roc_auc": "AUC", "balanced_accuracy": "balanced accuracy",
}  # fmt: skip


def confusion(sheet: Sheet) -> Figure | None:
    """Draw the confusion matrix: true classes down, predicted classes across, darker for more rows."""
    metrics = sheet.body("predict", "metrics")
    if metrics is None or "confusion" not in metrics:
        return None
    from matplotlib.ticker import MaxNLocator

    counts = metrics["confusion"]
    names = [sheet.label(row["class"], 16) for row in metrics["classes"]]
    side = min(11.0, max(6.0, 3 + 0.36 * len(names)))
    figure, axes = sheet.axes(
        f"Confusion matrix, {counted(metrics['rows'], metrics['part'] + ' row')}", "predicted class", "true class",
        side + 0.6, side,
    )  # fmt: skip
    most = max(map(max, counts)) or 1
    image = axes.imshow(counts, cmap="Blues", vmin=0, vmax=most)
    figure.colorbar(
        image, ax=axes, label="rows", shrink=0.8, ticks=MaxNLocator(integer=True), format=tick
    )
    every = -(-len(names) // 40)
    ticks = range(0, len(names), every)
    size = 11 if len(names) <= 12 else 8
    turn = 0 if max(map(len, names)) * len(names) <= 40 else 90
    axes.set_xticks(ticks, names[::every], rotation=turn, fontsize=size)
    axes.set_yticks(ticks, names[::every], fontsize=size)
    if len(names) <= 30:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count:
                    ink = "white" if count > most * 0.6 else BLACK
                    axes.text(j, i, f"{count:,}", ha="center", va="center", color=ink,
                              fontsize=12 if len(names) <= 12 else 6.5)  # fmt: skip
    return figure


def reliability(sheet: Sheet) -> Figure | None:
    """Draw the reliability diagram: accuracy against the mean probability of the predicted class."""
    body = sheet.body("predict", "curves")
    if body is None or "reliability" not in body:
        return None
    bins = body["reliability"]["bins"]
    figure, axes = sheet.axes(
        f"Reliability diagram, {counted(body['rows'], body['part'] + ' row')}",
        "mean probability of the predicted class", "accuracy (share of rows)", 7, 6.4,
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect calibration")
    error = f"this model: expected calibration error {brief(body['reliability']['ece'])}"
    x = [drawable(group["confidence"]) for group in bins]
    y = [drawable(group["accuracy"]) for group in bins]
    axes.plot(x, y, color=BLUE, marker="o", markersize=8, label=error)
    for at, height, group in zip(x, y, bins, strict=True):
        side, where = ("left", (7, -13)) if at < 0.93 else ("right", (-7, 5))  # beside the line
        axes.annotate(
            f"{group['rows']:,}", (at, height), xytext=where, textcoords="offset points", ha=side,
            fontsize=9, color=GREY,
        )  # fmt: skip
    calibration = sheet.body("predict", "calibration")
    if calibration and "before" in calibration and calibration["part"] == body["part"]:
        points = calibration["before"]["points"]
        axes.plot(
            [drawable(point["confidence"]) for point in points],
            [drawable(point["accuracy"]) for point in points],
            color=VERMILLION, linestyle=":", marker="x",
            label=f"before calibration: {brief(calibration['before']['ece'])}",
        )  # fmt: skip
    axes.plot([], [], " ", label="small numbers: rows of the bin")
    _unit_square(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=10)
    return figure


def roc(sheet: Sheet) -> Figure | None:
    """Draw the ROC curve (receiver operating characteristic) of each class."""
    return _class_curves(
        sheet, "roc", "ROC curve: true against false positives",
        "false positive rate (share of the rows of other classes)", "true positive rate (share of the class)",
    )  # fmt: skip


def precision_recall(sheet: Sheet) -> Figure | None:
    """Draw the precision-recall curve of each class."""
    return _class_curves(
        sheet, "pr", "Precision-recall curve", "recall (share of the class that is found)",
        "precision (share of these predictions that are right)",
    )  # fmt: skip


def _class_curves(sheet: Sheet, key: str, title: str, x: str, y: str) -> Figure | None:
    body = sheet.body("predict", "curves")
    if body is None or not body.get(key):
        return None
    curves = body[key]
    title = f"{title}, {counted(body['rows'], body['part'] + ' row')}"
    figure, axes = sheet.axes(title, x, y, 7.5 if len(curves) < 5 else 9.5, 6)
    if key == "roc":
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for index, curve in enumerate(curves):
        axes.plot(
            [drawable(value) for value in curve["x"]], [drawable(value) for value in curve["y"]],
            color=colour(index), linestyle=dash(index),
            label=f"{sheet.label(curve['class'], 16)}: area {brief(curve['area'])}",
        )  # fmt: skip
    _unit_square(axes)
    legend(figure, axes)
    return figure


def scatter(sheet: Sheet) -> Figure | None:
    """Draw predicted against true values."""
    body = sheet.body("predict", "curves")
    if body is None or "scatter" not in body:
        return None
    truth = [drawable(value) for value in body["scatter"]["truth"]]
    predicted = [drawable(value) for value in body["scatter"]["predicted"]]
    figure, axes = sheet.axes(
        f"Predicted and true values, {counted(len(truth), body['part'] + ' row')}",
        f"true ({sheet.unit})", f"predicted ({sheet.unit})", 7, 6.4,
    )  # fmt: skip
    known = [value for value in truth + predicted if not math.isnan(value)]
    if known:
        ends = [min(known), max(known)]
        axes.plot(ends, ends, color=GREY, linestyle="--", label="predicted = true")
    axes.plot(truth, predicted, "o", color=BLUE, alpha=0.5, markersize=5, label="one row")
    _turn_long_numbers(axes, known)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def residuals(sheet: Sheet) -> Figure | None:
    """Draw the distribution of the errors, predicted minus true."""
    body = sheet.body("predict", "curves")
    if body is None or "residuals" not in body:
        return None
    histogram = body["residuals"]
    low, high = drawable(histogram["low"]), drawable(histogram["high"])
    if math.isnan(low) or math.isnan(high):
        return None
    figure, axes = sheet.axes(
        f"Errors on {counted(body['rows'], body['part'] + ' row')}",
        f"predicted minus true ({sheet.unit})", "rows",
    )  # fmt: skip
    width = (high - low) / len(histogram["counts"]) or 1
    edges = [low + width * i for i in range(len(histogram["counts"]))]
    axes.bar(edges, histogram["counts"], width=width * 0.94, align="edge", color=BLUE)
    axes.axvline(0, color=VERMILLION, linewidth=1.5, label="no error")
    axes.locator_params(axis="y", integer=True)
    legend(figure, axes)
    return figure


def baselines(sheet: Sheet) -> Figure | None:
    """Draw the scores of this model and of simple models, with their intervals."""
    body = sheet.body("predict", "baselines")
    if body is None:
        return None
    models = [model for model in body["models"] if model["score"] is not None]
    what = AXIS_NAMES.get(body["metric"], body["metric"])
    figure, axes = sheet.axes(
        f"This model and simple models, {counted(body['rows'], body['part'] + ' row')}", "", "", 9, 0.5 * len(models) + 2.4
    )  # fmt: skip
    better = "higher" if body.get("greater_is_better") else "lower"
    figure.supxlabel(f"{what}, {better} is better\nlines: 95 % intervals", fontsize=12)
    for y, model in enumerate(models):
        ink, score = BLUE if y == 0 else GREY, drawable(model["score"])
        axes.plot([drawable(model["low"]), drawable(model["high"])], [y, y], color=ink, linewidth=3)
        axes.plot([score], [y], "o", color=ink, markersize=10)
    axes.set_yticks(
        range(len(models)), [sheet.label(model["name"], 28) for model in models], fontsize=11
    )
    axes.set_ylim(len(models) - 0.4, -0.6)
    return figure


def importance(sheet: Sheet) -> Figure | None:
    """Draw permutation importance: how much worse the metric gets when a column is shuffled."""
    body = sheet.body("predict", "importance")
    if body is None or not body["columns"]:
        return None
    what = AXIS_NAMES.get(body["metric"], body["metric"])
    shown = some_of(MOST_BARS, len(body["columns"]), "columns")
    return _bars(
        sheet, f"Permutation importance of each column{shown}", f"rise of the {what} when a column is shuffled",
        [(sheet.label(c["column"], 28), c["mean"], c["deviation"]) for c in body["columns"]],
        f"bars: mean of {body['repeats']} shuffles of {counted(body['rows'], body['part'] + ' row')}, "
        "lines: standard deviation",
    )  # fmt: skip


def row(sheet: Sheet) -> Figure | None:
    """Draw the contribution (Shapley value) of each column to one prediction."""
    example = sheet.body("predict", "example")
    pushes = example["explanation"].get("pushes") if example else None
    if example is None or not pushes:
        return None
    raw, of = example["explanation"]["raw"], sheet.label(pushes["of"], 24)
    names = [
        f"{sheet.label(name, 20)} = {sheet.label(raw[name], 12)}" if name in raw
        else sheet.label(name, 28) for name, _ in pushes["columns"]
    ]  # fmt: skip
    what = f"probability of {of}" if pushes["unit"] == "probability" else of
    shown = some_of(MOST_BARS, len(names), "columns")
    return _bars(
        sheet, f"Row {example['row']:,}: contribution of each column{shown}", f"contribution to the {what} (Shapley value)",
        [(name, push, None) for name, (_, push) in zip(names, pushes["columns"], strict=True)],
        f"from {brief(pushes['base'])} for a typical row to {brief(pushes['value'])} for this one",
    )  # fmt: skip


def _bars(
    sheet: Sheet, title: str, x: str, bars: Sequence[tuple[str, Any, Any]], note: str
) -> Figure:
    """Draw named bars on both sides of zero, the first at the top."""
    shown = bars[:MOST_BARS]
    figure, axes = sheet.axes(title, "", "", 9, 0.34 * len(shown) + 2.4)
    figure.supxlabel(f"{x}\n{note}", fontsize=12)
    values = [drawable(value) for _, value, _ in shown]
    errors = [drawable(error) for _, _, error in shown]
    axes.barh(
        range(len(shown)), values, height=0.72,
        color=[VERMILLION if value < 0 else BLUE for value in values],
        xerr=None if all(map(math.isnan, errors)) else errors, ecolor=BLACK,
    )  # fmt: skip
    axes.axvline(0, color=BLACK, linewidth=1)
    axes.set_yticks(range(len(shown)), [name for name, _, _ in shown], fontsize=11)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    return figure


def _unit_square(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _turn_long_numbers(axes: Axes, values: list[float]) -> None:
    if values and max(map(abs, values)) >= 100_000:
        axes.tick_params(axis="x", labelrotation=30)
