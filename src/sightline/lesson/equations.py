"""Equations with numbers: written with as few digits as keep them correct."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

DIGITS = (5, 7, 9, 12, 17)
MINUS = "−"


def settle(
    compute: Callable[..., float],
    values: Sequence[float],
    result: float,
    tolerance: float | None = None,
) -> tuple[list[str], str] | None:
    """Write numbers with as few digits (5 or more) as make their equation correct.

    Args:
        compute: The equation: computes the result from the values.
        values: Its arguments.
        result: The result in the run.
        tolerance: How far the result of the written numbers may be from `result`; by default 1 in
            10,000 of it.

    Returns:
        The values as text, negative ones in brackets, and the result after "=", or after "≈" if it is
        rounded. None if no number of digits makes the equation correct.

    Example:
        >>> from sightline.lesson.equations import settle
        >>> settle(lambda a, b: a - b, [1234567.5, 1234566.0], 1.5)
        (['1234567.5', '1234566'], '= 1.5')
        >>> settle(lambda a, b: a - b, [2.0, 1.0], 3.0) is None
        True
    """
    if not all(math.isfinite(x) for x in (*values, result)):
        return None
    if tolerance is None:
        tolerance = 1e-4 * abs(result)
    for digits in DIGITS:
        texts = [written(x, digits) for x in values]
        text = written(result, digits)
        try:
            computed = compute(*map(_read, texts))
        except (ArithmeticError, ValueError):  # with few digits a difference may become 0
            continue
        if abs(computed - _read(text)) <= tolerance:
            sign = "=" if computed == _read(text) else "≈"
            return [f"({t})" if t.startswith(MINUS) else t for t in texts], f"{sign} {text}"
    return None


def written(value: float, digits: int = 5) -> str:
    """Write a number for a formula: with a minus sign (−) and, below 10^15, without a positive exponent.

    Example:
        >>> from sightline.lesson.equations import written
        >>> written(-1234567.0), written(0.1), written(1e-8)
        ('−1234600', '0.1', '1e-08')
    """
    text = f"{value:.{digits}g}"
    if "e+" in text and abs(value) < 1e15:
        text = f"{float(text):.0f}"
    return MINUS + text[1:] if text.startswith("-") else text


def _read(text: str) -> float:
    return float(text.replace(MINUS, "-"))


def softmax(
    top: list[float], own: float, total: float, classes: int, result: float, log: bool
) -> tuple[str, str] | None:
    """Write a softmax, e^own / Σ e^z, or minus its logarithm.

    The largest logits are written out, and the sum over the others is one number. If a logit is beyond ±50, the largest
    logit is subtracted from all of them, which does not change the softmax.

    Args:
        top: The largest logits.
        own: Logit of the class in question.
        total: Logarithm of Σ e^z over all classes.
        classes: Number of classes.
        result: The result in the run.
        log: Whether to write minus the logarithm.

    Returns:
        The left-hand side, and the result as `settle` writes it; None if no equation is correct.

    Example:
        >>> import math
        >>> from sightline.lesson.equations import softmax
        >>> softmax([1.0, 0.0], 1.0, math.log(math.e + 1), 2, math.e / (math.e + 1), log=False)
        ('e^1 / (e^1 + e^0)', '≈ 0.73106')
    """
    if not all(map(math.isfinite, (*top, own, total, result))):
        return None
    shift = max(top) if max(abs(z) for z in (*top, own)) > 50 else 0.0
    shown = [z - shift for z in top]
    others = math.exp(total - shift) - sum(math.exp(z) for z in shown)
    values = [own - shift, *shown, *([max(others, 0.0)] if classes > len(top) else [])]

    def share(z: float, *terms: float) -> float:
        whole = sum(math.exp(x) for x in terms[: len(top)]) + sum(terms[len(top) :])
        return -math.log(math.exp(z) / whole) if log else math.exp(z) / whole

    done = settle(share, values, result, 1e-4 * abs(result) + (1e-12 if log else 0.0))
    if done is None:
        return None
    z, *terms = done[0]
    whole = " + ".join([*(f"e^{x}" for x in terms[: len(top)]), *terms[len(top) :]])
    text = f"e^{z} / ({whole})"
    return (f"−ln({text})" if log else text), done[1]


def equation(
    title: str, formula: str, numbers: str, result: str, explanation: str
) -> dict[str, str]:
    """Return an equation as the lesson's records hold it.

    Example:
        >>> from sightline.lesson.equations import equation
        >>> equation("Sum", "a + b", "1 + 2", "= 3", "Added.")["numbers"]
        '1 + 2 = 3'
    """
    return {
        "title": title,
        "formula": formula,
        "numbers": f"{numbers} {result}",
        "said": explanation,
    }
