"""How one weight changed in a step, as the formula of its optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sightline.errors import shorten
from sightline.lesson.equations import equation, settle

Body = Mapping[str, Any]


def update(seen: Body) -> dict[str, str] | None:
    """Write how one weight changed: by its optimizer's formula, if that gives the recorded update.

    Args:
        seen: The body of a `train/step` record.

    Returns:
        The equation; None if a number is not finite.

    Example:
        >>> from sightline.lesson.updates import update
        >>> seen = {"step": 1, "weight": "w[0]", "weight_before": 1.0, "weight_after": 0.989, "update": -0.011,
        ...         "gradient": 2.0, "rule": {"optimizer": "AdamW", "lr": 0.01, "weight_decay": 0.1,
        ...         "betas": [0.9, 0.999], "eps": 1e-8, "step": 1.0, "exp_avg": 0.2, "exp_avg_sq": 0.004}}
        >>> update(seen)["numbers"]
        '1 − 0.01 × 0.1 × 1 − 0.01 × 2 / (|2| + 1e-08) ≈ 0.989'
    """
    rule = seen["rule"]
    before, after, moved = (float(seen[key]) for key in ("weight_before", "weight_after", "update"))
    if not all(map(math.isfinite, (before, after, moved))):
        return None
    near = 1e-3 * abs(moved) + 1.2e-7 * abs(before)
    name = shorten(rule.get("optimizer", "the optimizer"), 40)
    weight = f"The weight is {shorten(seen['weight'], 60)}."
    for by_rule in (_adamw, _sgd):
        if (written := by_rule(seen, before, after, near)) is not None:
            formula, numbers, result, explanation = written
            return equation(
                f"The update in step {seen['step']:,}, by {name}",
                formula,
                numbers,
                result,
                f"{weight} {explanation}",
            )
    gradient = float(seen["gradient"])
    explanation = f"The update is what {name} computed from the gradient {gradient:.5g}."
    if not math.isfinite(gradient):
        explanation = "Its gradient was not a finite number, so the step was skipped."
    done = settle(lambda w, u: w + u, [before, moved], after, near)
    return done and equation(
        f"The update in step {seen['step']:,}", "w_new = w_old + update", "{} + {}".format(*done[0]), done[1],
        f"{weight} {explanation}",
    )  # fmt: skip


def _adamw(
    seen: Body, before: float, after: float, near: float
) -> tuple[str, str, str, str] | None:
    rule = seen["rule"]
    known = rule.get("optimizer") in ("AdamW", "MuonAdamW") and "exp_avg" in rule
    if not known or any(rule.get(name) for name in ("muon", "amsgrad", "maximize")):
        return None
    beta1, beta2 = rule.get("betas", (0.9, 0.999))
    rate, decay, eps = float(rule["lr"]), float(rule["weight_decay"]), float(rule.get("eps", 1e-8))
    steps, gradient = float(rule["step"]), float(seen["gradient"])
    if steps == 1:
        done = settle(
            lambda w, r, d, g, e: w - r * d * w - r * g / (abs(g) + e),
            [before, rate, decay, gradient, eps], after, near,
        )  # fmt: skip
        return done and (
            "w_new = w − η·λ·w − η·g / (|g| + ε)",
            "{0} − {1} × {2} × {0} − {1} × {3} / (|{4}| + {5})".format(*done[0][:4], done[0][3].strip("()"),
                                                                      done[0][4]), done[1],
            "In the first step AdamW's averages are the gradient g itself and its square, so each weight "
            "moves by about the learning rate η. λ is the weight decay.",
        )  # fmt: skip
    if steps < 1:
        return None
    mean = float(rule["exp_avg"]) / (1 - beta1**steps)
    square = float(rule["exp_avg_sq"]) / (1 - beta2**steps)
    done = settle(
        lambda w, r, d, m, v, e: w - r * d * w - r * m / (math.sqrt(v) + e),
        [before, rate, decay, mean, square, eps], after, near,
    )  # fmt: skip
    return done and (
        "w_new = w − η·λ·w − η·m / (√v + ε)",
        "{0} − {1} × {2} × {0} − {1} × {3} / (√{4} + {5})".format(*done[0]), done[1],
        f"m is the moving average of the gradients up to this one, {gradient:.5g}, and v that of their "
        "squares, both bias-corrected. η is the learning rate, λ the weight decay.",
    )  # fmt: skip


def _sgd(seen: Body, before: float, after: float, near: float) -> tuple[str, str, str, str] | None:
    rule = seen["rule"]
    known = rule.get("optimizer") == "SGD" and rule.get("nesterov") and "momentum_buffer" in rule
    if not known or rule.get("maximize"):
        return None
    names = ("lr", "weight_decay", "momentum", "momentum_buffer")
    rate, decay, momentum, buffer = (float(rule[name]) for name in names)
    done = settle(
        lambda w, r, g, d, k, v: w - r * (g + d * w + k * v),
        [before, rate, float(seen["gradient"]), decay, momentum, buffer], after, near,
    )  # fmt: skip
    return done and (
        "w_new = w − η·(g + λ·w + μ·v)", "{0} − {1} × ({2} + {3} × {0} + {4} × {5})".format(*done[0]), done[1],
        "v is the momentum buffer: the sum of the gradients so far, multiplied by μ in each step. η is the "
        "learning rate, λ the weight decay.",
    )  # fmt: skip
