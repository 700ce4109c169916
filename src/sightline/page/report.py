"""The report: the page and a run's records in one HTML file, which loads nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.archive import atomic_file
from sightline.contracts import Record
from sightline.errors import DataError, OptionError
from sightline.page.sampling import SAMPLINGS, Line
from sightline.page.single_file import html_page
from sightline.trace.compare import compare
from sightline.trace.records import find, read_records

REPORT_FILE = "report.html"
REPORT_BYTES = 1_400_000
"""The largest size of a report: small enough for an e-mail, and browsers open it at once."""
HIDDEN = {
    ("run", "start"): ("origin", "read", "split", "options"),
    ("build", "network"): ("spec", "again"),
    ("run", "end"): ("run", "bundle", "report", "next"),
}
"""Fields that reports leave out: paths on the disk, and values that only programs read."""


def write_report(run: str | Path, output: str | Path | None = None) -> Path:
    """Write a run's report.

    Args:
        run: The run folder. The report of an interrupted run has the records written so far.
        output: The file to write; None is report.html in the run folder.

    Returns:
        The file.

    Raises:
        RunError: `run` is no run folder, or its records are damaged.
        DataError: The folder of the output does not exist.
        OptionError: The output does not end in .html.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.report import write_report
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> write_report(run.folder, "penguins.html").name
        'penguins.html'
    """
    records, _ = read_records(Path(run))
    return _write(report(records), Path(run) / REPORT_FILE if output is None else Path(output))


def write_comparison(runs: Sequence[str | Path], output: str | Path) -> Path:
    """Write a page that compares runs: settings that differ, loss curves, metrics.

    Args:
        runs: Run folders, two or more.
        output: The file to write; its name ends in .html.

    Returns:
        The file.

    Raises:
        RunError, DataError, OptionError: As `write_report`.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.report import write_comparison
        >>> one = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> two = sl.fit("examples/penguins.csv", target="species", quality="fast", seed=1, quiet=True)
        >>> write_comparison([one.folder, two.folder], "compare.html").name
        'compare.html'
    """
    epochs = [find(read_records(Path(run))[0], "train", "epoch") for run in runs]
    bodies = [[record.body for record in records] for records in epochs]
    return _write(html_page({"compare": {**compare(*runs), "epochs": bodies}}), Path(output))


def report(records: Sequence[Record]) -> str:
    """Return the report of a run's records as HTML.

    Above 1.4 MB records are left out, step by step; the report says which.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.report import report
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> len(report(run.records)) < 1_500_000
        True
    """
    lines = _without_folder([_shown(record) for record in records])
    notes: list[str] = []
    page = html_page({"records": lines, "notes": notes})
    for sample in SAMPLINGS:
        if len(page.encode()) <= REPORT_BYTES:
            break
        lines, note = sample(lines)
        notes += [note] if note else []
        page = html_page({"records": lines, "notes": notes})
    if len(page.encode()) > REPORT_BYTES:
        notes.append(
            f"This report is larger than {REPORT_BYTES / 1e6:g} MB, although everything that can be "
            "left out of it was left out."
        )
        page = html_page({"records": lines, "notes": notes})
    return page


def _without_folder(lines: list[Line]) -> list[Line]:
    """Remove the table's folder from all texts: readers of the report need only the file's name."""
    source = next((str(line["body"].get("source")) for line in lines if line["stage"] == "run"), "")
    folder = source[: -len(Path(source).name)] if Path(source).name else ""
    if len(folder) < 2:
        return lines

    def without(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(folder, "")
        if isinstance(value, Mapping):
            return {key: without(item) for key, item in value.items()}
        return [without(item) for item in value] if isinstance(value, list) else value

    return [without(line) for line in lines]


def _shown(record: Record) -> Line:
    hidden = HIDDEN.get((record.stage, record.type), ())
    body = {name: value for name, value in record.body.items() if name not in hidden}
    return {
        "seq": record.seq, "attempt": record.attempt, "stage": record.stage, "type": record.type, "body": body,
    }  # fmt: skip


def _write(page: str, path: Path) -> Path:
    if path.suffix.lower() not in (".html", ".htm"):
        raise OptionError(
            f"{path} does not end in .html.", "Choose a name such as report.html (-o report.html)."
        )
    if not path.parent.is_dir():
        raise DataError(
            f"The folder {path.parent} does not exist.", "Create it, or choose another folder."
        )
    with atomic_file(path) as file:
        file.write(page.encode())
    return path
