"""The picture of a summary of `benchmarks.quality`: mean rank and mean loss ratio against the seconds of all fits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Bbox

from benchmarks.quality_summary import ours, plural

MINE, PEER, LINE = "#c2410c", "#475569", "#e2e8f0"
STEPS = [(dx, dy) for far in (9, 18, 30, 44) for dx, dy in (
    (far, 0), (-far, 0), (0, far), (0, -far), (far, far), (far, -far), (-far, far), (-far, -far),
)]  # where a label may stand, in points from its marker, the best place first  # fmt: skip


def draw(summary: Mapping[str, Any], path: Path) -> None:
    """Draw both panels; the lower left is best in each."""
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    count, reference = len(summary["losses"]), summary["loss_to"]["reference"]
    seconds = {n: each["total"] for n, each in summary["fit_seconds"].items() if each["tables"]}
    whole = {n for n in seconds if summary["fit_seconds"][n]["tables"] == count}
    panels = {
        left: (summary["mean_rank"], "mean rank by log loss or RMSE (1 is best)"),
        right: (summary["loss_to"]["percent"], f"mean loss compared with {reference}, %"),
    }
    for axes, (values, words) in panels.items():
        points = {name: (seconds[name], values[name]) for name in seconds if name in values}
        for name, (x, y) in points.items():
            colour = MINE if ours(name) else PEER
            axes.scatter(x, y, s=90 if ours(name) else 50, color=colour, facecolor=colour if name in whole else "none", zorder=3)  # fmt: skip
        axes.set_xscale("log")
        for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            ticks(FuncFormatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "125" else ""))
        axes.margins(x=0.14, y=0.12)
        axes.grid(color=LINE, zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("seconds to fit all tables once (log scale)")
        axes.set_ylabel(words)
    right.axhline(0, color=MINE, linewidth=0.8, zorder=1)
    hollow = "; hollow: without the time of some tables" if whole < seconds.keys() else ""
    figure.suptitle(f"{plural(count)}, {summary['splits']} splits, times of {summary['processor']}{hollow}", fontsize=10)  # fmt: skip
    figure.draw_without_rendering()  # the layout is final before labels are placed
    figure.set_layout_engine("none")
    for axes, (values, _) in panels.items():
        place(axes, {name: (seconds[name], values[name]) for name in seconds if name in values})
    figure.savefig(path, dpi=150)


def place(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each label beside its marker, where it covers no other label and no marker."""
    inside, scale = axes.get_window_extent(), axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    markers = {name: axes.transData.transform(point) for name, point in points.items()}
    taken = [Bbox.from_bounds(x - 6 * scale, y - 6 * scale, 12 * scale, 12 * scale) for x, y in markers.values()]  # fmt: skip
    for name in sorted(points, key=lambda name: (not ours(name), points[name])):
        colour = MINE if ours(name) else PEER
        best: tuple[int, Any, Bbox] | None = None
        for step in STEPS:
            dx, dy = step
            text = axes.annotate(
                name, points[name], step, textcoords="offset points", color=colour, fontsize=9,
                ha="left" if dx > 0 else "right" if dx < 0 else "center",
                va="bottom" if dy > 0 else "top" if dy < 0 else "center",
                weight="bold" if ours(name) else "normal",
            )  # fmt: skip
            box = text.get_window_extent().padded(2 * scale)
            text.remove()
            covered = sum(box.overlaps(other) for other in taken)
            covered += not (inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1)  # fmt: skip
            if best is None or covered < best[0]:
                best = covered, (step, text), box
            if covered == 0:
                break
        assert best is not None
        _, (step, text), box = best
        shown = axes.annotate(
            name, points[name], step, textcoords="offset points", color=colour, fontsize=9,
            ha=text.get_ha(), va=text.get_va(), weight=text.get_weight(),
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkB": 4}
            if max(map(abs, step)) > 12 else None,
        )  # fmt: skip
        shown.set_path_effects([withStroke(linewidth=3, foreground="white")])
        taken.append(box)
