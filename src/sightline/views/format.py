"""Values as short, safe text: shared by the terminal, the notebook and the pictures."""

from __future__ import annotations

import math
from typing import Any

from sightline.contracts.schema import written
from sightline.errors import shorten

METRIC_NAMES = {
    "accuracy": "Accuracy", "log_loss": "Log loss", "roc_auc": "AUC", "average_precision": "Average precision", "rmse": "RMSE",
    "mae": "MAE", "r2": "R2", "balanced_accuracy": "Balanced accuracy", "recall": "Recall", "precision": "Precision",
    "mean_error": "Mean error", "coverage": "Coverage",
}  # fmt: skip


def plain(value: Any, width: int) -> str:
    """Make any value safe to print: cut to a width, control characters escaped.

    Args:
        value: Any value; its `str` is printed, of a truth value true or false.
        width: How many characters are kept; a longer text ends with its length.

    Example:
        >>> from sightline.views.format import plain
        >>> print(plain("red" + chr(27) + "[31m", 40))
        red\\x1b[31m
    """
    text = shorten(written(value), width)
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def brief(value: Any) -> str:
    """Format a number with three decimals, or in scientific notation below 0.001; None is "-".

    Example:
        >>> from sightline.views.format import brief
        >>> brief(0.12345), brief(123456.7), brief(None), brief("NaN")
        ('0.123', '123,457', '-', 'nan')
    """
    if value is None:
        return "-"
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    if number and abs(number) < 0.001:
        return f"{number:.1e}"
    return f"{number:.3f}" if abs(number) < 1000 else f"{number:,.0f}"


def signed(value: Any) -> str:
    """Format a change like `brief`, with its sign.

    Example:
        >>> from sightline.views.format import signed
        >>> signed(0.12345), signed(-1234.5), signed(0)
        ('+0.123', '-1,234', '0.000')
    """
    return f"{'+' if float(value) > 0 else ''}{brief(value)}"


def interval(low: Any, high: Any) -> str:
    """Format an interval; "-" if it was not computed.

    Example:
        >>> from sightline.views.format import interval
        >>> interval(0.5, 1500), interval(None, None)
        ('0.500 to 1,500', '-')
    """
    return "-" if low is None else f"{brief(low)} to {brief(high)}"


def metric_name(name: Any) -> str:
    """Return a metric's name for headings; an unknown name is returned unchanged.

    Example:
        >>> from sightline.views.format import metric_name
        >>> metric_name("log_loss"), metric_name("pinball")
        ('Log loss', 'pinball')
    """
    return METRIC_NAMES.get(str(name), str(name))
