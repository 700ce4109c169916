"""Pictures of a run as files, for slides and papers: PNG or SVG, one file for each picture."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sightline.contracts import Record
from sightline.errors import OptionError, did_you_mean
from sightline.views import drawings, results
from sightline.views.sheet import Sheet, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Form = Literal["png", "svg"]
FORMS: tuple[Form, ...] = ("png", "svg")
DRAWINGS: dict[str, Callable[[Sheet], Figure | None]] = {
    draw.__name__: draw
    for draw in (
        drawings.loss, drawings.metric, drawings.layers, drawings.columns, drawings.network,
        results.confusion, results.reliability, results.roc, results.precision_recall,
        results.scatter, results.residuals, results.importance, results.row, results.baselines,
    )
}  # fmt: skip


def pictures(records: Sequence[Record], folder: str | Path, form: Form = "png") -> list[Path]:
    """Draw a run's records: one file for each picture whose record exists.

    The colours are those of Okabe and Ito (2008), which are distinct for colour-blind readers.
    Names of columns and classes are cut and never interpreted; a loss that is not a number leaves
    a gap and a mark. The same records give the same SVG, byte for byte.

    Args:
        records: The records of a run, such as `Run.records`.
        folder: Where to write; it is created if it does not exist. Files of the same names are
            replaced.
        form: "png" (200 dots per inch) or "svg" (text stays text).

    Returns:
        The files, such as loss.png, metric.png, layers.png, columns.png, confusion.png,
        importance.png, network.png.

    Raises:
        OptionError: `form` is another text, or matplotlib is not installed.
        OSError: The folder cannot be written to.

    Example:
        >>> import sightline as sl
        >>> from sightline.views.pictures import pictures
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> [path.name for path in pictures(run.records, "slides")][:2]
        ['loss.png', 'metric.png']
    """
    if form not in FORMS:
        raise OptionError(
            f"Pictures cannot be written as {form!r}.", did_you_mean(str(form), FORMS, "forms")
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise OptionError(
            "Pictures are drawn with matplotlib, which is not installed.",
            'Install it: pip install "sightline[plot]"',
        )
    import matplotlib

    folder = Path(folder)
    settings: Any = style()  # matplotlib's own type lists every setting
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's matplotlibrc changes nothing
        matplotlib.rcParams.update(settings)
        sheet = Sheet(records)
        for name, draw in DRAWINGS.items():
            figure = draw(sheet)
            if figure is not None:
                path = folder / f"{name}.{form}"
                metadata = {"Date": None} if form == "svg" else {"Software": None}
                figure.savefig(path, format=form, metadata=metadata)
                written.append(path)
    return written
