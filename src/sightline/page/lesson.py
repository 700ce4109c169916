"""A lesson of what goes wrong as one HTML page: its runs side by side, what was changed, three questions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from sightline.errors import readable
from sightline.lesson.fault_records import LessonBody, Side
from sightline.lesson.faults import shown, where_observed
from sightline.page.document import document, table

WIDE, HIGH, EDGE = 420, 240, 52
"""Size of a picture, and what is left for its axes."""
FAR_ABOVE = 10.0
"""The scale is logarithmic if a loss is more than this many times the lowest loss of an untrained network."""


@dataclass(frozen=True)
class _Scale:
    """The scale of the losses in all pictures of a page, from `low` to `high`."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def of(cls, sides: Sequence[Side]) -> _Scale:
        """Return the scale on which every finite loss has its place."""
        losses = [loss for one in sides for _, *pair in one["epochs"] for loss in pair if loss is not None and math.isfinite(loss)]  # fmt: skip
        first = [one["epochs"][0][1] for one in sides if math.isfinite(one["epochs"][0][1])]
        high = max(losses, default=1.0) or 1.0
        above_zero = [loss for loss in losses if loss > 0]
        if not first or not above_zero or high <= FAR_ABOVE * min(first):
            return cls(0.0, high, logarithmic=False)
        return cls(min(above_zero), high, logarithmic=True)

    def place(self, loss: float) -> float:
        """Return where a loss is, from 0 to 1."""
        if not self.logarithmic:
            return loss / self.high
        return math.log(max(loss, self.low) / self.low) / math.log(self.high / self.low)


def lesson_page(body: LessonBody) -> str:
    """Return the page.

    Args:
        body: From `sightline.pipeline.lessons.teach`.

    Example:
        >>> from sightline.page.lesson import lesson_page
        >>> body = {"lesson": "leakage", "title": "A column", "seed": 0, "fault": "It knows.", "cure": "Drop it.", "sides": [],
        ...         "changed": {}, "better": {}, "later": "", "questions": [], "others": ["overfitting"], "folder": "a", "page": "a/lesson.html"}
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
            table("Measured", f"The same measures of all runs. {body['later']}".rstrip(), heads, rows),
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
    scale = _Scale.of(sides)
    how = f"logarithmic, from {readable(scale.low, 2)}" if scale.logarithmic else "from 0"
    # .terms is the style sheet's grid of equal columns, which become one on a narrow screen.
    drawn = "".join(_figure(one, scale) for one in sides)
    return (
        f'<section><h2>Side by side</h2><div class="terms">{drawn}</div><p class="about">The loss of '
        f"each epoch, on the same scale in all pictures ({how}): "
        "a solid line for the training rows, a dashed one for the validation rows. A loss that is not a finite number leaves a gap."
        "</p></section>"
    )


def _figure(one: Side, scale: _Scale) -> str:
    seen = one["observed"]
    said = "" if seen is None else f"<p><b>{escape(where_observed(seen))}:</b> {escape(seen['said'].removesuffix('.'))}.</p>"  # fmt: skip
    report = f"{one['name']}/report.html"
    return (
        f"<figure><h3>{escape(one['name'])}: {escape(one['title'])}</h3>{_picture(one, scale)}{said}"
        f"<p><b>last epoch:</b> {escape(one['last'])}.</p><p><a href=\"{escape(report)}\">report of this run</a></p></figure>"
    )  # fmt: skip


def _picture(one: Side, scale: _Scale) -> str:
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
            y = base - (base - 24) * scale.place(loss)
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
        f'<text x="{EDGE}" y="16" font-size="12" fill="currentColor">loss {readable(scale.high, 2)}</text>'
        f'<text x="{EDGE - 6}" y="{base}" font-size="12" fill="currentColor" text-anchor="end">{readable(scale.low, 2)}</text>'
        f'<text x="{EDGE}" y="{base + 18}" font-size="12" fill="currentColor">epoch 0</text>'
        f'<text x="{right}" y="{base + 18}" font-size="12" fill="currentColor" text-anchor="end">epoch {last}</text></svg>'
    )
