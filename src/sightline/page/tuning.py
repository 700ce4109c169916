"""A tuning as one HTML page: the result, what mattered, every trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sightline.errors import readable
from sightline.page.document import document, table

WIDE, HIGH, EDGE = 640, 220, 48
"""Size of the picture, and what is left for its axes."""


def tuning_page(tuned: Mapping[str, Any], lines: Sequence[str]) -> str:
    """Return the page.

    Args:
        tuned: From `Tuned.to_json`.
        lines: The result in words.
    """
    trials: list[Mapping[str, Any]] = tuned["trials"]
    ranked = sorted(trials, key=lambda one: (one["loss"] is None, one["loss"], one["number"]))
    names = list(dict.fromkeys(name for one in trials for name in one["values"]))
    rows = [
        (
            str(one["number"]), escape(one["state"]), "" if one["loss"] is None else readable(one["loss"], 5),
            *(escape(_shown(one["values"][name])) if name in one["values"] else "default" for name in names),
            str(one["epochs"]), readable(one["seconds"], 2), f"<bdi>{escape(one['error'])}</bdi>",
        )
        for one in ranked
    ]  # fmt: skip
    heads = ("Trial", "State", tuned["metric"], *names, "Epochs", "Seconds", "Error")
    sections = [
        _picture(trials, tuned["metric"]),
        table("Trials", "All trials, the best first", heads, rows),
    ]
    if tuned["importances"]:
        shares = [
            (escape(name), f"{100 * share:.0f} %") for name, share in tuned["importances"].items()
        ]
        caption = "Share of what makes losses differ"
        sections.insert(0, table("What mattered", caption, ("Option", "Importance"), shares))
    return document(
        "Sightline: tuning", "Tuning", lines, sections,
        "All trials have the same split and are compared on rows that they did not learn from. The best of many trials is "
        "optimistic on these rows; the test rows were measured once, by the last fit. Importances: PED-ANOVA (Watanabe et "
        "al. 2023).",
    )  # fmt: skip


def _shown(value: Any) -> str:
    return readable(value, 3) if isinstance(value, float) else str(value)


def _picture(trials: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Draw the loss of each trial, and the best one so far."""
    complete = [one for one in trials if one["loss"] is not None]
    losses = sorted(one["loss"] for one in complete)
    # A few very bad trials would press all others into a line: the axis ends where three quarters of them are.
    low, high = (
        losses[0],
        losses[max(len(losses) * 3 // 4, len(losses) - 1 if len(losses) < 8 else 0)],
    )
    span = high - low or 1.0
    last = max(one["number"] for one in trials) or 1

    def place(number: int, loss: float) -> tuple[float, float]:
        x = EDGE + (WIDE - 2 * EDGE) * number / last
        return round(x, 1), round(
            HIGH - EDGE - (HIGH - 2 * EDGE) * min((loss - low) / span, 1.0), 1
        )

    dots, steps, best = [], [], float("inf")
    for one in complete:
        x, y = place(one["number"], one["loss"])
        dots.append(f'<circle cx="{x}" cy="{y}" r="3.5" fill="none" stroke="currentColor"/>')
        best = min(best, one["loss"])
        steps.append(place(one["number"], best))
    path = f"M{steps[0][0]} {steps[0][1]}" + "".join(f"H{x}V{y}" for x, y in steps[1:])
    base, top = place(0, low)[1], place(0, high)[1]
    return (
        f'<section><h2>{escape(metric.capitalize())} of each trial</h2><svg viewBox="0 0 {WIDE} {HIGH}" role="img" '
        f'aria-label="{escape(metric)} of each trial, and the best so far, which ends at {readable(low, 5)}">'
        f'<path d="M{EDGE} {top}V{base}H{WIDE - EDGE}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="2"/>{"".join(dots)}'
        f'<text x="{EDGE}" y="{top - 10}" font-size="12" fill="currentColor">{readable(high, 4)}</text>'
        f'<text x="{EDGE}" y="{base + 18}" font-size="12" fill="currentColor">{readable(low, 4)} · trial 0</text>'
        f'<text x="{WIDE - EDGE}" y="{base + 18}" font-size="12" fill="currentColor" text-anchor="end">trial {last}</text>'
        "</svg><p>Circles are trials, the line is the best one so far. Trials above the upper end are drawn there; pruned "
        "and failed ones are left out.</p></section>"
    )
