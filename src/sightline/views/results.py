"""The pictures of what a model predicts; each is None without its record."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sightline.errors import counted
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
from sightline.views.terminal import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BARS = 20
METRIC_NAMES = {"log_loss": "log loss (nats)", "rmse": "RMSE"}


def confusion(sheet: Sheet) -> Figure | None:
    """Draw the confusion matrix: truth downwards, prediction across, darker where more."""
    metrics = sheet.body("predict", "metrics")
    if metrics is None or "confusion" not in metrics:
        return None
    from matplotlib.ticker import MaxNLocator

    counts = metrics["confusion"]
    names = [sheet.label(one["class"], 16) for one in metrics["classes"]]
    side = min(11.0, max(6.0, 3 + 0.36 * len(names)))
    figure, axes = sheet.axes(
        f"Confusion on {counted(metrics['rows'], metrics['part'] + ' row')}", "predicted class", "true class",
        side + 0.6, side,
    )  # fmt: skip
    most = max(map(max, counts)) or 1
    image = axes.imshow(counts, cmap="Blues", vmin=0, vmax=most)
    figure.colorbar(
        image, ax=axes, label="rows", shrink=0.8, ticks=MaxNLocator(integer=True), format=tick
    )
    every = -(-len(names) // 40)
    places = range(0, len(names), every)
    size = 11 if len(names) <= 12 else 8
    turn = 0 if max(map(len, names)) * len(names) <= 40 else 90
    axes.set_xticks(places, names[::every], rotation=turn, fontsize=size)
    axes.set_yticks(places, names[::every], fontsize=size)
    if len(names) <= 30:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                if count:
                    ink = "white" if count > most * 0.6 else BLACK
                    axes.text(j, i, f"{count:,}", ha="center", va="center", color=ink,
                              fontsize=12 if len(names) <= 12 else 6.5)  # fmt: skip
    return figure


def reliability(sheet: Sheet) -> Figure | None:
    """Draw how often the model is right where it is how sure."""
    found = sheet.body("predict", "curves")
    if found is None or "reliability" not in found:
        return None
    bins = found["reliability"]["bins"]
    figure, axes = sheet.axes(
        f"Do the probabilities hold? {counted(found['rows'], found['part'] + ' row')}",
        "mean probability of the predicted class", "accuracy (share of rows)", 7, 6.4,
    )  # fmt: skip
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="as sure as right")
    error = f"this model: expected calibration error {brief(found['reliability']['ece'])}"
    x = [drawable(one["confidence"]) for one in bins]
    y = [drawable(one["accuracy"]) for one in bins]
    axes.plot(x, y, color=BLUE, marker="o", markersize=8, label=error)
    for at, height, one in zip(x, y, bins, strict=True):
        side, where = ("left", (7, -13)) if at < 0.93 else ("right", (-7, 5))  # beside the line
        axes.annotate(
            f"{one['rows']:,}", (at, height), xytext=where, textcoords="offset points", ha=side,
            fontsize=9, color=GREY,
        )  # fmt: skip
    weighed = sheet.body("predict", "calibration")
    if weighed is not None and "before" in weighed and weighed["part"] == found["part"]:
        points = weighed["before"]["points"]
        axes.plot(
            [drawable(one["confidence"]) for one in points],
            [drawable(one["accuracy"]) for one in points],
            color=VERMILLION, linestyle=":", marker="x",
            label=f"before calibration: {brief(weighed['before']['ece'])}",
        )  # fmt: skip
    axes.plot([], [], " ", label="small numbers: rows")
    _shares(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=10)
    return figure


def roc(sheet: Sheet) -> Figure | None:
    """Draw the receiver operating characteristic of each class."""
    return _class_curves(
        sheet, "roc", "ROC: hits against false alarms",
        "false positive rate (share of the other rows)", "true positive rate (share of the class)",
    )  # fmt: skip


def precision_recall(sheet: Sheet) -> Figure | None:
    """Draw precision against recall of each class."""
    return _class_curves(
        sheet, "pr", "Precision and recall", "recall (share of the class found)",
        "precision (share of the found that are right)",
    )  # fmt: skip


def _class_curves(sheet: Sheet, key: str, title: str, x: str, y: str) -> Figure | None:
    found = sheet.body("predict", "curves")
    if found is None or not found.get(key):
        return None
    curves = found[key]
    title = f"{title}, {counted(found['rows'], found['part'] + ' row')}"
    figure, axes = sheet.axes(title, x, y, 7.5 if len(curves) < 5 else 9.5, 6)
    if key == "roc":
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for place, curve in enumerate(curves):
        axes.plot(
            [drawable(value) for value in curve["x"]], [drawable(value) for value in curve["y"]],
            color=colour(place), linestyle=dash(place),
            label=f"{sheet.label(curve['class'], 16)}: area {brief(curve['area'])}",
        )  # fmt: skip
    _shares(axes)
    legend(figure, axes)
    return figure


def scatter(sheet: Sheet) -> Figure | None:
    """Draw predicted against true numbers."""
    found = sheet.body("predict", "curves")
    if found is None or "scatter" not in found:
        return None
    truth = [drawable(value) for value in found["scatter"]["truth"]]
    guess = [drawable(value) for value in found["scatter"]["predicted"]]
    figure, axes = sheet.axes(
        f"Predicted and true, {counted(len(truth), found['part'] + ' row')}",
        f"true ({sheet.unit})", f"predicted ({sheet.unit})", 7, 6.4,
    )  # fmt: skip
    known = [value for value in truth + guess if not math.isnan(value)]
    if known:
        ends = [min(known), max(known)]
        axes.plot(ends, ends, color=GREY, linestyle="--", label="predicted = true")
    axes.plot(truth, guess, "o", color=BLUE, alpha=0.5, markersize=5, label="a row")
    _turn_long_numbers(axes, known)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def residuals(sheet: Sheet) -> Figure | None:
    """Draw how far predictions lie from the truth."""
    found = sheet.body("predict", "curves")
    if found is None or "residuals" not in found:
        return None
    spread = found["residuals"]
    low, high = drawable(spread["low"]), drawable(spread["high"])
    if math.isnan(low) or math.isnan(high):
        return None
    figure, axes = sheet.axes(
        f"Errors on {counted(found['rows'], found['part'] + ' row')}",
        f"predicted minus true ({sheet.unit})", "rows",
    )  # fmt: skip
    width = (high - low) / len(spread["counts"]) or 1
    edges = [low + width * place for place in range(len(spread["counts"]))]
    axes.bar(edges, spread["counts"], width=width * 0.94, align="edge", color=BLUE)
    axes.axvline(0, color=VERMILLION, linewidth=1.5, label="no error")
    axes.locator_params(axis="y", integer=True)
    legend(figure, axes)
    return figure


def baselines(sheet: Sheet) -> Figure | None:
    """Draw the scores of simple models beside this one's, with their intervals."""
    found = sheet.body("predict", "baselines")
    if found is None:
        return None
    models = [one for one in found["models"] if one["score"] is not None]
    what = METRIC_NAMES.get(found["metric"], found["metric"])
    figure, axes = sheet.axes(
        f"Is it worth it? {counted(found['rows'], found['part'] + ' row')}", "", "", 9, 0.5 * len(models) + 2.4
    )  # fmt: skip
    figure.supxlabel(f"{what}, less is better\nlines: 95 % intervals", fontsize=12)
    for place, one in enumerate(models):
        ink, score = BLUE if place == 0 else GREY, drawable(one["score"])
        axes.plot(
            [drawable(one["low"]), drawable(one["high"])], [place, place], color=ink, linewidth=3
        )
        axes.plot([score], [place], "o", color=ink, markersize=10)
    axes.set_yticks(
        range(len(models)), [sheet.label(one["name"], 28) for one in models], fontsize=11
    )
    axes.set_ylim(len(models) - 0.4, -0.6)
    return figure


def importance(sheet: Sheet) -> Figure | None:
    """Draw how much worse the model is when a column is shuffled."""
    found = sheet.body("predict", "importance")
    if found is None or not found["columns"]:
        return None
    what = METRIC_NAMES.get(found["metric"], found["metric"])
    shown = some_of(MOST_BARS, len(found["columns"]), "columns")
    return _bars(
        sheet, f"Which columns matter{shown}", f"rise of the {what} when a column is shuffled",
        [(sheet.label(one["column"], 28), one["mean"], one["deviation"]) for one in found["columns"]],
        f"bars: mean of {found['repeats']} shuffles of {counted(found['rows'], found['part'] + ' row')}, "
        "lines: deviation",
    )  # fmt: skip


def row(sheet: Sheet) -> Figure | None:
    """Draw what pushed one prediction where it is, column by column."""
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
        sheet, f"Row {example['row']:,}: what pushed the {what}{shown}", f"push on the {what}",
        [(name, push, None) for name, (_, push) in zip(names, pushes["columns"], strict=True)],
        f"from {brief(pushes['base'])} for a typical row to {brief(pushes['value'])} for this one",
    )  # fmt: skip


def _bars(
    sheet: Sheet, title: str, x: str, bars: Sequence[tuple[str, Any, Any]], note: str
) -> Figure:
    """Draw named bars to both sides of zero, the first at the top."""
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


def _shares(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)


def _turn_long_numbers(axes: Axes, values: list[float]) -> None:
    if values and max(map(abs, values)) >= 100_000:
        axes.tick_params(axis="x", labelrotation=30)
