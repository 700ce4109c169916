"""Pictures of the table, the network and its training; a function returns None without its record."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sightline.lesson.facts import held_out
from sightline.views.sheet import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    SPREAD,
    VERMILLION,
    Body,
    Sheet,
    colour,
    dash,
    drawable,
    legend,
    log_scale,
    some_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 24
DRAWN_LAYERS = 24
LABELLED_EDITS = 6


# ------------------------------------------------------------- training


def loss(sheet: Sheet) -> Figure | None:
    """Draw the losses of all epochs, the best epoch and the edits."""
    epochs = sheet.bodies("train", "epoch")
    if not epochs:
        return None
    what = {"classification": "log loss (nats)", "regression": "squared error of the scaled target"}
    unit = what.get(sheet.target.get("task", ""), "loss")
    figure, axes = sheet.axes("Loss of each epoch", "epoch", unit)
    numbers = [epoch["number"] for epoch in epochs]
    drawn = _curves(axes, numbers, {
        "training": [epoch["train_loss"] for epoch in epochs],
        held_out(sheet.body("load", "split")): [epoch["valid_loss"] for epoch in epochs],
    })  # fmt: skip
    if drawn and 0 < min(drawn) * SPREAD < max(drawn):
        log_scale(axes)
    end = sheet.body("train", "end")
    if end is not None:
        best = end["best_epoch"]
        axes.axvline(best, color=GREY, linestyle="--", linewidth=1, label=f"best epoch: {best}")
    edits = sheet.bodies("train", "edit")
    for index, edit in enumerate(edits):
        label = sheet.label(edit["said"], 36) if index < LABELLED_EDITS else None
        label = (
            f"and {len(edits) - LABELLED_EDITS} more edits" if index == LABELLED_EDITS else label
        )
        axes.plot(
            [edit["epoch"]], [0.02], marker="^", linestyle="", color=colour(index + 2),
            transform=axes.get_xaxis_transform(), label=label,
        )  # fmt: skip
    legend(figure, axes)
    return figure


def metric(sheet: Sheet) -> Figure | None:
    """Draw the accuracy or RMSE of all epochs."""
    epochs = sheet.bodies("train", "epoch")
    if not epochs:
        return None
    name = "accuracy" if "train_accuracy" in epochs[0]["metrics"] else "rmse"
    unit = "accuracy (share of rows)" if name == "accuracy" else f"RMSE ({sheet.unit})"
    title = "Accuracy of each epoch" if name == "accuracy" else "RMSE of each epoch"
    figure, axes = sheet.axes(title, "epoch", unit)
    _curves(axes, [epoch["number"] for epoch in epochs], {
        rows: [epoch["metrics"].get(f"{part}_{name}") for epoch in epochs]
        for rows, part in (("training", "train"), (held_out(sheet.body("load", "split")), "valid"))
    })  # fmt: skip
    if name == "accuracy":
        axes.set_ylim(-0.02, 1.02)
    legend(figure, axes)
    return figure


def _curves(axes: Axes, x: list[int], series: dict[str, list[Any]]) -> list[float]:
    """Draw lines over epochs; a value that is not a finite number is a cross at the top.

    Returns:
        The values that were drawn.
    """
    drawn: list[float] = []
    broken: set[int] = set()
    for index, (name, values) in enumerate(series.items()):
        if all(value is None for value in values):
            continue
        y = [drawable(value) for value in values]
        broken |= {
            at for at, number, value in zip(x, y, values, strict=True)
            if value is not None and math.isnan(number)
        }  # fmt: skip
        few = "o" if len(x) <= 30 else None
        axes.plot(x, y, color=colour(index), linestyle=dash(index), marker=few, label=name)
        drawn += [number for number in y if not math.isnan(number)]
    if broken:
        axes.plot(
            sorted(broken), [0.97] * len(broken), "x", color=VERMILLION, label="not a finite number",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    return drawn


def layers(sheet: Sheet) -> Figure | None:
    """Draw each layer's gradient and update over the steps at which they were recorded."""
    measurements = sheet.bodies("train", "layers")
    names = list(dict.fromkeys(layer["title"] for body in measurements for layer in body["layers"]))
    if not names:
        return None
    rows = -(-min(len(names), DRAWN_LAYERS) // 2)
    figure = sheet.figure(
        f"Gradient and update of each layer{some_of(DRAWN_LAYERS, len(names), 'layers')}",
        11,
        4.6 + 0.22 * rows,
    )
    pair = figure.subplots(1, 2, sharex=True)
    for axes, key, what in zip(
        pair,
        ("gradient", "update"),
        ("gradient (root mean square)", "update of one step (share of the weights)"),
        strict=True,
    ):
        drawn = False
        for index, name in enumerate(names[:DRAWN_LAYERS]):
            points = [
                (body["step"], drawable(layer[key])) for body in measurements for layer in body["layers"]
                if layer["title"] == name
            ]  # fmt: skip
            y = [value if value > 0 else math.nan for _, value in points]
            drawn = drawn or any(value > 0 for value in y)
            axes.plot(
                [step for step, _ in points], y, color=colour(index), linestyle=dash(index),
                marker="o", markersize=4, label=sheet.label(name, 44),
            )  # fmt: skip
        axes.set_xlabel("step")
        axes.set_ylabel(what)
        axes.locator_params(axis="x", integer=True)
        if drawn:
            log_scale(axes)
    figure.legend(
        *pair[0].get_legend_handles_labels(), loc="outside lower center",
        ncols=2 if len(names) > 1 else 1, fontsize=10,
    )  # fmt: skip
    return figure


# ------------------------------------------------------------- the table and the network


def columns(sheet: Sheet) -> Figure | None:
    """Draw the distribution of each column's values."""
    table = sheet.body("load", "table")
    spread = [column for column in table["columns"] if column.get("histogram")] if table else []
    if not spread:
        return None
    targets = [column for column in spread if column["role"] == "target"]
    others = [column for column in spread if column["role"] != "target"]
    shown = [*others[: MOST_PANELS - len(targets)], *targets]
    across = next(n for n in (3, 4, 6) if len(shown) <= n * 2 or n == 6)
    down = -(-len(shown) // across)
    title = f"Distribution of each column (rows for each value){some_of(len(shown), len(spread), 'columns')}"
    figure = sheet.figure(title, max(9.0, across * 2.3), down * 1.9 + 1)
    panels = figure.subplots(down, across, squeeze=False).flat
    for axes, column in zip(panels, shown, strict=False):
        _histogram(sheet, axes, column)
    for axes in list(figure.axes)[len(shown) :]:
        axes.set_axis_off()
    return figure


def _histogram(sheet: Sheet, axes: Axes, column: Body) -> None:
    spread, target = column["histogram"], column["role"] == "target"
    counts = spread["counts"]
    name = sheet.label(column["name"], 20) + (" (target)" if target else "")
    axes.set_title(name, fontsize=10)
    axes.tick_params(labelsize=8, length=2)
    if spread["kind"] == "names":
        names = [*spread["names"], *(["others"] if spread["rest"] else [])]
        counts = [*counts, *([spread["rest"]] if spread["rest"] else [])]
        colours = [ORANGE if target else SKY] * len(spread["names"]) + ["#CCCCCC"]
        axes.barh(range(len(names)), counts, color=colours[: len(names)], height=0.9)
        size = 8 if len(names) <= 8 else 6.5
        for y, name in enumerate(names):
            axes.text(0, y, f" {sheet.label(name, 22)}", va="center", fontsize=size)
        axes.set_ylim(max(len(names), 3) - 0.4, -0.6)
        axes.set_yticks([])
        axes.set_xticks([0, max(counts)], ["0", f"{max(counts):,}"])
        return
    axes.bar(range(len(counts)), counts, width=0.92, color=ORANGE if target else BLUE)
    ends = [sheet.label(spread["low"], 11), sheet.label(spread["high"], 11)]
    axes.set_xticks([0, len(counts) - 1], ends)
    left, right = axes.get_xticklabels()
    left.set_horizontalalignment("left")
    right.set_horizontalalignment("right")
    axes.set_yticks([max(counts)], [f"{max(counts):,}"])
    if spread["kind"] == "lengths":
        axes.set_xlabel("characters", fontsize=8, labelpad=0)


def network(sheet: Sheet) -> Figure | None:
    """Draw the layers as boxes, with their output shapes and parameters."""
    built = sheet.body("build", "network")
    if built is None:
        return None
    boxes: list[Body | str] = list(built["layers"])
    if len(boxes) > DRAWN_LAYERS:
        cut = len(boxes) - DRAWN_LAYERS + 1
        boxes = [*boxes[:12], f"{cut:,} more layers", *boxes[12 + cut :]]
    name = sheet.label(built["class"], 40)
    title = f"The network {name}: {built['parameters']:,} parameters"
    figure = sheet.figure(title, 9, 0.54 * len(boxes) + 1.2)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(boxes) - 0.5, -0.8)
    axes.text(0.72, -0.6, "output of one batch", ha="right", fontsize=10, color=GREY)
    axes.text(0.98, -0.6, "parameters", ha="right", fontsize=10, color=GREY)
    for y, box in enumerate(boxes):
        if isinstance(box, str):
            axes.text(0.5, y, box, ha="center", va="center", color=GREY)
        else:
            edge = GREEN if box["parameters"] else GREY
            axes.barh(y, 1, height=0.62, color="#F4F8FB", edgecolor=edge, linewidth=1.5)
            shape = " x ".join(map(str, box["shape"]))
            axes.text(0.02, y, sheet.label(box["name"], 46), va="center")
            axes.text(0.72, y, sheet.label(shape, 18), ha="right", va="center")
            if box["parameters"]:
                axes.text(0.98, y, f"{box['parameters']:,}", ha="right", va="center")
        if y:
            arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", (0.5, y - 0.31), (0.5, y - 0.69), arrowprops=arrow)
    return figure
