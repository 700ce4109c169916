"""A lesson of what goes wrong as one HTML page: its runs side by side, what was changed, three questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sightline.lesson.faults import LessonBody, Side, shown, where_observed
from sightline.page.document import document, table

WIDE, HIGH, EDGE = 420, 240, 36
"""Size of a picture, and what is left for its axes."""
ABOVE_FIRST = 2.5
"""Losses above this many times the lowest loss of an untrained network are drawn at the upper edge."""


def lesson_page(body: LessonBody) -> str:
    """Return the page.

    Args:
        body: From `sightline.pipeline.lessons.teach`.

    Example:
        >>> from sightline.page.lesson import lesson_page
        >>> body = {"lesson": "leakage", "title": "A column", "seed": 0, "fault": "It knows.", "cure": "Drop it.", "sides": [],
        ...         "changed": {}, "better": {}, "questions": [], "others": ["overfitting"], "folder": "a", "page": "a/lesson.html"}
        >>> "<h1>A column</h1>" in lesson_page(body)
        True
    """
    sides = body["sides"]
    heads = ("Measure", *(f"{one['name']}: {one['title']}" for one in sides))
    measures = list(dict.fromkeys(what for one in sides for what in one["measured"]))
    rows = [
        (escape(_named(what, body)), *(escape(shown(one["measured"][what])) if what in one["measured"] else "" for one in sides))
        for what in measures
    ]  # fmt: skip
    changed = [
        (f"<code>{escape(name)}</code>", *(escape(str(value)) for value in values))
        for name, values in body["changed"].items()
    ]
    others = " ".join(f"<li><code>sightline demo --lesson {escape(one)}</code></li>" for one in body["others"])  # fmt: skip
    return document(
        f"Sightline: {body['title']}", body["title"], [body["fault"]],
        [
            _side_by_side(sides),
            table("Measured", "The same measures of all runs", heads, rows),
            table("What was changed", "Settings that differ between the runs; all others are equal", ("Setting", *heads[1:]), changed),
            f"<section><h2>The cure</h2><p>{escape(body['cure'])}</p></section>",
            f"<section><h2>Three questions</h2>{''.join(_question(one['question'], one['answer']) for one in body['questions'])}</section>",
            f"<section><h2>Other lessons</h2><ul>{others}</ul></section>",
        ],
        f"All numbers are of these runs, on rows made from seed {body['seed']}; another --seed makes other rows. The observations are "
        "sentences that Sightline writes into the records of every run, of your own tables too.",
    )  # fmt: skip


def _named(what: str, body: LessonBody) -> str:
    better = body["better"].get(what)
    return what if better is None else f"{what} ({better} is better)"


def _question(question: str, answer: str) -> str:
    return f'<details class="drawer"><summary>{escape(question)}</summary><p>{escape(answer)}</p></details>'


def _side_by_side(sides: Sequence[Side]) -> str:
    highest = _highest(sides)
    # .terms is the style sheet's grid of equal columns, which become one on a narrow screen.
    drawn = "".join(_figure(one, highest) for one in sides)
    return (
        f'<section><h2>Side by side</h2><div class="terms">{drawn}</div><p class="about">The loss of each epoch, the scale of all pictures from 0 to the same loss: '
        "a solid line for the training rows, a dashed one for the validation rows. Losses above the upper end are drawn there; a "
        "loss that is not a finite number leaves a gap.</p></section>"
    )


def _figure(one: Side, highest: float) -> str:
    seen = one["observed"]
    said = "" if seen is None else f"<p><b>{escape(where_observed(seen))}:</b> {escape(seen['said'])}.</p>"  # fmt: skip
    report = f"{one['name']}/report.html"
    return (
        f"<figure><h3>{escape(one['name'])}: {escape(one['title'])}</h3>{_picture(one, highest)}{said}"
        f"<p><b>last epoch:</b> {escape(one['last'])}.</p><p><a href=\"{escape(report)}\">report of this run</a></p></figure>"
    )  # fmt: skip


def _highest(sides: Sequence[Side]) -> float:
    """Return the upper end of the pictures' common scale."""
    losses = [loss for one in sides for _, *pair in one["epochs"] for loss in pair if loss is not None and math.isfinite(loss)]  # fmt: skip
    first = min((one["epochs"][0][1] for one in sides if math.isfinite(one["epochs"][0][1])), default=1.0)  # fmt: skip
    return min(max(losses, default=1.0), ABOVE_FIRST * first) or 1.0


def _picture(one: Side, highest: float) -> str:
    epochs = one["epochs"]
    last = epochs[-1][0] or 1
    base, right = HIGH - EDGE, WIDE - 8

    def line(place: int) -> str:
        path, pen = "", "M"
        for epoch in epochs:
            loss = epoch[place]
            if loss is None or not math.isfinite(loss):
                pen = "M"
                continue
            x = EDGE + (right - EDGE) * epoch[0] / last
            y = base - (base - 24) * min(loss / highest, 1.0)
            path, pen = f"{path}{pen}{x:.1f} {y:.1f}", "L"
        return path

    train, valid = line(1), line(2)
    ends = ", ".join(
        f"{name} loss from {shown(float(epochs[0][place] or 0))} to {shown(float(epochs[-1][place] or 0))}"
        for name, place in (("training", 1), ("validation", 2))
        if valid or place == 1
    )
    dashed = f'<path d="{valid}" fill="none" stroke="var(--line1)" stroke-width="2" stroke-dasharray="6 4"/>' if valid else ""  # fmt: skip
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(one["title"])}: {escape(ends)}">'
        f'<path d="M{EDGE} 24V{base}H{right}" fill="none" stroke="currentColor" opacity=".4"/>'
        f'<path d="{train}" fill="none" stroke="var(--line0)" stroke-width="2"/>{dashed}'
        f'<text x="{EDGE}" y="16" font-size="12" fill="currentColor">loss {shown(highest)}</text>'
        f'<text x="{EDGE - 6}" y="{base}" font-size="12" fill="currentColor" text-anchor="end">0</text>'
        f'<text x="{EDGE}" y="{base + 18}" font-size="12" fill="currentColor">epoch 0</text>'
        f'<text x="{right}" y="{base + 18}" font-size="12" fill="currentColor" text-anchor="end">epoch {last}</text></svg>'
    )
