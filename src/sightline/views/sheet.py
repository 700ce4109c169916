"""What all pictures share: the records to draw, figures, colours, and labels the fonts can draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.contracts import Record
from sightline.contracts.schema import written
from sightline.trace.records import find
from sightline.views.format import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ft2font import FT2Font

Body = Mapping[str, Any]
# Okabe and Ito 2008: distinct for colour-blind readers. Grey replaces yellow, which is faint on white.
BLUE, ORANGE, GREEN, VERMILLION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#7F7F7F"
COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK, GREY)
DASHES = ("-", "--", ":")
TOO_LARGE = 1e30
SPREAD = 50
"""The ratio of largest to smallest loss above which the y axis is logarithmic."""
# Fallbacks, if installed, for letters that matplotlib's own font lacks.
MORE_FONTS = (
    "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP",
    "Microsoft YaHei", "Yu Gothic", "Hiragino Sans", "PingFang SC", "Noto Sans Thai",
    "Noto Sans Devanagari", "Arial Unicode MS", "WenQuanYi Zen Hei",
)  # fmt: skip
MISSING = "\u25a1"
USUAL_WIDTH = 0.64
"""The width of a usual character, in units of the font's height."""
FONT_SIZE = 100


class Sheet:
    """Gives a drawing its record bodies, and figures to draw them on.

    Example:
        >>> from sightline.trace.records import Trace
        >>> from sightline.views.sheet import Sheet
        >>> trace = Trace()
        >>> _ = trace.write("run", "start", {"source": "t.csv", "target": {"name": "y"}})
        >>> sheet = Sheet(trace.records)
        >>> sheet.run, sheet.label("a very long name indeed", 12)
        ('t.csv', 'a very long…')
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records
        start, end = self.body("run", "start") or {}, self.body("run", "end")
        self.target: Body = start.get("target", {})
        name = Path(end["run"]).name if end else start.get("source", "a run")
        self.run = self.label(name, 48)

    @property
    def unit(self) -> str:
        """The unit of a regression's numbers, in words."""
        return f"in the unit of {self.label(self.target.get('name', 'the target'), 30)}"

    def bodies(self, stage: str, type_: str) -> list[Body]:
        """Return the bodies of all records of a type."""
        return [record.body for record in find(self.records, stage, type_)]

    def body(self, stage: str, type_: str) -> Body | None:
        """Return the body of the last record of a type, or None."""
        bodies = self.bodies(stage, type_)
        return bodies[-1] if bodies else None

    def figure(self, title: str, width: float = 9, height: float = 5) -> Figure:
        """Begin a figure with a title and the run's name; width and height in inches."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(f"{title}\n{self.run}", fontsize=14)
        return figure

    def axes(
        self, title: str, x: str, y: str, width: float = 9, height: float = 5
    ) -> tuple[Figure, Axes]:
        """Begin a figure with one set of axes and their labels."""
        figure = self.figure(title, width, height)
        axes = figure.add_subplot()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.xaxis.set_major_formatter(tick)
        axes.yaxis.set_major_formatter(tick)
        return figure, axes

    def label(self, value: Any, width: int) -> str:
        """Make any value a label; see `label`."""
        return label(value, width)


def label(value: Any, width: int) -> str:
    """Make any value a label, at most as wide as `width` usual characters.

    Control characters are shown as escapes; a character that no font has becomes a small box.

    Example:
        >>> from sightline.views.sheet import label
        >>> label("$x_{" + chr(0), 40), label("a" * 1_000_000, 5)
        ('$x_{\\\\x00', 'aaa…')
    """
    text = plain(written(value)[: width + 1], width + 1)
    text = "".join(c if character_width(c) else MISSING for c in text)
    room = width * USUAL_WIDTH
    if len(text) <= width and sum(map(character_width, text)) <= room:
        return text
    kept, room = "", room - character_width("…")
    for c in text[: width - 1]:
        room -= character_width(c)
        if room < 0:
            break
        kept += c
    return f"{kept}…"


def drawable(value: Any) -> float:
    """Read a record's number for a drawing; one that cannot be drawn is NaN, which leaves a gap.

    Example:
        >>> from sightline.views.sheet import drawable
        >>> drawable(0.5), drawable("-1,250"), drawable("Infinity"), drawable(None), drawable(1e300)
        (0.5, -1250.0, nan, nan, nan)
    """
    number = math.nan if value is None else float(str(value).replace(",", ""))
    return number if abs(number) < TOO_LARGE else math.nan


def tick(value: float, _: float = 0) -> str:
    """Format a number of an axis with thousands separators, which matplotlib lacks.

    Example:
        >>> from sightline.views.sheet import tick
        >>> tick(1_000_000.0), tick(0.1 + 0.2), tick(-2e-7)
        ('1,000,000', '0.3', '-2e-07')
    """
    return f"{value:,.10g}" if 1e-4 <= abs(value) < 1e10 or not value else f"{value:g}"


def colour(index: int) -> str:
    """Return the colour of the line of this index; after the last colour they repeat, dashed."""
    return COLOURS[index % len(COLOURS)]


def dash(index: int) -> str:
    """Return the dash pattern of the line of this index."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def log_scale(axes: Axes) -> None:
    """Make the y axis logarithmic with plain numbers: matplotlib's own are mathematical text."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    shown = "23456789" if high < 10 * low else "25" if high < 1000 * low else ""
    axes.yaxis.set_major_formatter(tick)
    axes.yaxis.set_minor_formatter(
        lambda value, _: tick(value) if f"{value:.0e}"[0] in shown else ""
    )


def legend(figure: Figure, axes: Axes) -> None:
    """Add a legend: inside the axes if it is short, else beside them."""
    _, labels = axes.get_legend_handles_labels()
    if len(labels) > 4 or max(map(len, labels), default=0) > 30:
        figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=10)
    elif labels:
        axes.legend()


def some_of(most: int, count: int, what: str) -> str:
    """Return the end of a title, with the count if not all are shown; "" if all are.

    Example:
        >>> from sightline.views.sheet import some_of
        >>> some_of(24, 1000, "columns"), some_of(24, 3, "columns")
        (' (24 of 1,000 columns)', '')
    """
    return f" ({most} of {count:,} {what})" if count > most else ""


def style() -> dict[str, Any]:
    """Return matplotlib's settings for all pictures.

    Text is never parsed as mathematics: a column may be named "$x_{". In SVG text stays text, so
    that it can be searched, read aloud and edited; a fixed salt makes the ids, and so the bytes of
    the file, the same each time.
    """
    return {
        "font.family": ["DejaVu Sans", *_more_fonts()],
        "font.size": 12,
        "text.parse_math": False,
        "figure.constrained_layout.w_pad": 0.1,
        "figure.constrained_layout.h_pad": 0.08,
        "svg.fonttype": "none",
        "svg.hashsalt": "sightline",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "savefig.dpi": 200,
    }


@cache
def _more_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = set(fontManager.get_font_names())
    return [name for name in MORE_FONTS if name in installed]


@cache
def _fonts() -> list[FT2Font]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    fonts = [FT2Font(findfont(name)) for name in ["DejaVu Sans", *_more_fonts()]]
    for font in fonts:
        font.set_size(FONT_SIZE, 72)
    return fonts


@cache
def character_width(letter: str) -> float:
    """Return the width of a character, in units of the font's height.

    It is 0 if no font has the character: matplotlib would warn about it. A combining character,
    which has no width of its own, counts 0.01.

    Example:
        >>> from sightline.views.sheet import character_width
        >>> 0.3 < character_width("a") < 1.0
        True
    """
    for font in _fonts():
        if font.get_char_index(ord(letter)):
            return max(font.load_char(ord(letter)).linearHoriAdvance / 65536 / FONT_SIZE, 0.01)
    return 0.0
