"""The loss of all epochs, drawn in characters for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.views.format import brief


def loss_chart(
    epochs: Sequence[Mapping[str, Any]], width: int = 60, height: int = 8, held: str = "validation"
) -> list[str]:
    """Draw the losses of all epochs in characters: o training, x validation (or `held`), * both.

    Args:
        epochs: Bodies of `train/epoch`.
        width: Columns of characters at most; with more epochs, evenly spaced ones are drawn.
        height: Rows of characters.
        held: The name of the rows behind `valid_loss`, such as "out-of-fold".

    Returns:
        The lines; none if no loss is a finite number.

    Example:
        >>> from sightline.views.loss_chart import loss_chart
        >>> rows = [{"number": i, "train_loss": 1 / (i + 1), "valid_loss": None} for i in range(3)]
        >>> print("\\n".join(line.rstrip() for line in loss_chart(rows, height=3)))
        Loss (o training, x validation, * both)
           1.000 |o
           0.667 | o
           0.333 |  o
                 +---
                  0 epoch 2
    """
    series = [[_finite(epoch[key]) for epoch in epochs] for key in ("train_loss", "valid_loss")]
    known = [value for line in series for value in line if value is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    drawn = list(range(0, len(epochs), max(1, math.ceil(len(epochs) / width))))
    if drawn[-1] != len(epochs) - 1:
        drawn.append(len(epochs) - 1)
    grid = [[" "] * len(drawn) for _ in range(height)]
    for line, mark in zip(series, "ox", strict=True):
        for x, index in enumerate(drawn):
            value = line[index]
            if value is None:
                continue
            y = round((high - value) / (high - low) * (height - 1)) if high > low else height - 1
            grid[y][x] = mark if grid[y][x] == " " else "*"
    labels = [high - (high - low) * y / (height - 1) for y in range(height)]
    lines = [f"Loss (o training, x {held}, * both)"]
    lines += [f"{brief(label):>8} |{''.join(row)}" for label, row in zip(labels, grid, strict=True)]
    end = str(epochs[-1]["number"])
    return [*lines, " " * 9 + "+" + "-" * len(drawn), " " * 10 + f"0 epoch {end}"]


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(float(value)) else float(value)
