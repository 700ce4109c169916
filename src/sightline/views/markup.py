"""Elements of static HTML for a notebook: no script, no style sheet, every text escaped.

The colours are readable on white and on black; text has the notebook's own colour. Some viewers,
such as GitHub, remove styles and drawings; the tables and sentences that remain contain the same information.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sightline.views.format import brief, plain

Body = Mapping[str, Any]
BLUE, ORANGE, GREY = "#2b8cc4", "#e0820f", "#8a8a8a"
LINE = "rgba(128,128,128,0.35)"
TABLE_ROWS = 40
CURVE_POINTS = 300
MARKED_EDITS = 40
TOO_LARGE = 1e30


def text(value: Any, width: int = 300) -> str:
    """Escape any value, cut to a width; control characters are shown as escapes.

    Example:
        >>> from sightline.views.markup import text
        >>> text("<b>&")
        '&lt;b&gt;&amp;'
    """
    return html.escape(plain(value, width))


def card(title: str, *parts: str) -> str:
    """Put HTML parts under a title. The title is escaped here; empty parts are left out.

    Example:
        >>> from sightline.views.markup import card
        >>> "<b>" in card("<script>", "<b>a</b>"), "<script>" in card("<script>")
        (True, False)
    """
    inner = "".join(part for part in parts if part)
    return (
        '<div style="max-width:960px;line-height:1.45;margin:4px 0">'
        f'<div style="font-size:115%;margin-bottom:6px"><b>{text(title, 200)}</b></div>{inner}</div>'
    )


def sentence(value: Any) -> str:
    """Write a paragraph.

    Example:
        >>> from sightline.views.markup import sentence
        >>> sentence("1 < 2")
        '<div style="margin:3px 0">1 &lt; 2</div>'
    """
    return f'<div style="margin:3px 0">{text(value, 2000)}</div>'


def heading(value: str) -> str:
    """Write a small heading.

    Example:
        >>> from sightline.views.markup import heading
        >>> "<b>Layers</b>" in heading("Layers")
        True
    """
    return f'<div style="margin:10px 0 3px"><b>{text(value, 200)}</b></div>'


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out cells that are HTML already; heads are escaped here. At most 40 rows are kept.

    Example:
        >>> from sightline.views.markup import table
        >>> table(["Layer"], [["a"]]).count("<td"), "41 more rows" in table(["x"], [["y"]] * 81)
        (1, True)
    """
    rows = list(rows)
    cell = 'style="text-align:left;padding:2px 12px 2px 0;vertical-align:middle"'
    head = "".join(f"<th {cell}>{text(name, 60)}</th>" for name in heads)
    body = "".join(
        f"<tr>{''.join(f'<td {cell}>{value}</td>' for value in row)}</tr>"
        for row in rows[:TABLE_ROWS]
    )
    hidden = len(rows) - TABLE_ROWS
    return (
        f'<table style="border-collapse:collapse;font-size:inherit;margin:2px 0"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
        + (sentence(f"and {hidden:,} more rows") if hidden > 0 else "")
    )


def strip(stages: Iterable[tuple[str, str, str]]) -> str:
    """Lay out stages side by side: the name, input and output of each.

    Example:
        >>> from sightline.views.markup import strip
        >>> "1. load" in strip([("1. load", "9 rows", "batches of 3")])
        True
    """
    boxes = "".join(
        f'<div style="flex:1 1 118px;border:1px solid {LINE};border-top:3px solid {BLUE};'
        'border-radius:4px;padding:4px 8px;font-size:90%;overflow-wrap:anywhere">'
        f"<b>{text(name, 40)}</b><br>{text(came_in, 120)}"
        + (
            f'<br><span style="color:{BLUE}">&#8594;</span> {text(came_out, 120)}'
            if came_out
            else ""
        )
        + "</div>"
        for name, came_in, came_out in stages
    )
    return boxes and f'<div style="display:flex;flex-wrap:wrap;gap:6px;margin:6px 0">{boxes}</div>'


def bar(value: Any, largest: float, both: bool = False, width: int = 180) -> str:
    """Draw a number as a bar; a negative one goes to the left, in the other colour.

    Args:
        value: The number; if it is not finite, the bar is empty.
        largest: The value of a bar of full length.
        both: Whether zero is in the middle, for values of both signs.
        width: In pixels.

    Example:
        >>> from sightline.views.markup import bar
        >>> 'width="90.0"' in bar(0.5, 1.0), 'x="45.0"' in bar(-0.5, 1.0, both=True)
        (True, True)
    """
    number, zero = float(value), width / 2 if both else 0.0
    share = abs(number / largest) if largest and math.isfinite(number) else 0.0
    length = (width - zero) * min(share, 1.0)
    start, ink = (zero - length, ORANGE) if number < 0 else (zero, BLUE)
    return (
        f'<svg width="{width}" height="12">'
        f'<rect x="{start:.1f}" y="1" width="{length:.1f}" height="10" fill="{ink}"/>'
        f'<path d="M{zero:.1f} 0V12" stroke="{GREY}"/></svg>'
    )


def heat(values: Sequence[Any], units: Sequence[int], scale: Any) -> str:
    """Draw values as cells: blue above zero, orange below; the larger, the stronger.

    Args:
        values: At most 64.
        units: The index of each value's unit, shown under the pointer.
        scale: The magnitude that has the strongest colour.

    Example:
        >>> from sightline.views.markup import heat
        >>> heat([0.0, 1.0, -2.0], [0, 1, 2], 2.0).count("<rect")
        3
    """
    size = 9 if len(values) > 32 else 14
    cells = []
    for i, (value, unit) in enumerate(zip(values, units, strict=True)):
        number = float(value)
        strength = min(abs(number) / float(scale), 1.0) if float(scale) > 0 else 0.0
        strength = strength if math.isfinite(strength) else 0.0
        ink = ORANGE if number < 0 else BLUE
        cells.append(
            f'<rect x="{i * size + 1}" y="1" width="{size - 1}" height="14" fill="{ink}" '
            f'fill-opacity="{strength:.2f}" stroke="{GREY}" stroke-opacity="0.4">'
            f"<title>[{unit}] {brief(value)}</title></rect>"
        )
    return f'<svg width="{len(values) * size + 2}" height="16">{"".join(cells)}</svg>'


def curve(
    epochs: Sequence[Body],
    best: int | None = None,
    edits: Sequence[Body] = (),
    held: str = "validation",
) -> str:
    """Draw the losses of all epochs, the best epoch and the edits.

    Args:
        epochs: Bodies of `train/epoch`.
        best: The best epoch, marked by a line.
        edits: Bodies of `train/edit`; each is a mark at its epoch.
        held: The name of the rows behind `valid_loss`, such as "out-of-fold".

    Returns:
        An SVG; empty with fewer than two epochs.

    Example:
        >>> from sightline.views.markup import curve
        >>> epochs = [{"number": i, "train_loss": 1 / (i + 1), "valid_loss": None} for i in range(3)]
        >>> curve(epochs).count("<polyline"), curve(epochs[:1])
        (1, '')
    """
    every = -(-len(epochs) // CURVE_POINTS)
    shown = [*epochs[:-1:every], *epochs[-1:]] if every else []
    series = [[_number(epoch[key]) for epoch in shown] for key in ("train_loss", "valid_loss")]
    known = [value for line in series for value in line if value is not None]
    if len(shown) < 2 or not known:
        return ""
    low, high, last = min(known), max(known), shown[-1]["number"]
    low = min(low, 0.0) if high < 20 * (low or 1) else low

    def at(number: float, value: float) -> str:
        return f"{70 + 460 * number / last:.1f},{_height(value, low, high):.1f}"

    parts = [
        f'<path d="M70 {_height(value, low, high):.1f}H530" stroke="{LINE}"/>'
        f'<text x="64" y="{_height(value, low, high) + 4:.1f}" text-anchor="end">{brief(value)}</text>'
        for value in (low, (low + high) / 2, high)
    ]
    if best is not None:
        x = 70 + 460 * best / last
        parts.append(
            f'<path d="M{x:.1f} 14V190" stroke="{GREY}" stroke-dasharray="4 3"/>'
            f'<text x="{x:.1f}" y="11" text-anchor="middle">best epoch {best}</text>'
        )
    for line, ink, name, y in zip(
        series, (BLUE, ORANGE), ("training", held), (40, 58), strict=True
    ):
        pieces = _pieces(
            [(epoch["number"], value) for epoch, value in zip(shown, line, strict=True)]
        )
        parts += [
            f'<polyline points="{" ".join(at(*point) for point in piece)}" fill="none" '
            f'stroke="{ink}" stroke-width="2"/>' for piece in pieces
        ]  # fmt: skip
        if pieces:
            parts.append(f'<text x="540" y="{y}" style="fill:{ink}">{text(name, 40)}</text>')
    broken = [epoch["number"] for epoch in shown if _number(epoch["train_loss"]) is None]
    parts += [
        f'<text x="{70 + 460 * number / last:.1f}" y="30" text-anchor="middle" style="fill:{ORANGE}">'
        "&#215;<title>not a finite number</title></text>" for number in broken
    ]  # fmt: skip
    parts += [
        f'<text x="{70 + 460 * edit["epoch"] / last:.1f}" y="192" text-anchor="middle" '
        f'style="fill:{GREY}">&#9650;<title>{text(edit["said"], 200)}</title></text>'
        for edit in edits[:MARKED_EDITS]
    ]
    parts.append(
        '<text x="70" y="208">0</text><text x="300" y="208" text-anchor="middle">epoch</text>'
        f'<text x="530" y="208" text-anchor="end">{last}</text>'
    )
    title = f"<title>Loss of epochs 0 to {last}: training, {text(held, 40)}</title>"
    return (
        '<svg viewBox="0 0 620 214" width="620" height="214" role="img" '
        f'style="max-width:100%;font-size:12px;fill:currentColor">{title}{"".join(parts)}</svg>'
    )


def _number(value: Any) -> float | None:
    number = math.nan if value is None else float(value)
    return number if abs(number) < TOO_LARGE else None


def _height(value: float, low: float, high: float) -> float:
    return 188 - 164 * ((value - low) / (high - low) if high > low else 0.5)


def _pieces(points: Iterable[tuple[int, float | None]]) -> list[list[tuple[int, float]]]:
    """Cut a line at missing values; a point between two gaps becomes a separate line."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for x, y in points:
        if y is not None:
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece if len(piece) > 1 else piece * 2 for piece in pieces if piece]
