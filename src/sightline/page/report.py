"""The report: the page and a run's records in one file that needs no network and can be mailed."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sightline.archive import atomic_file
from sightline.contracts import Record
from sightline.errors import DataError, OptionError
from sightline.trace.compare import compare
from sightline.trace.records import find, read_records

STATIC = Path(__file__).parent / "static"
FILE = "report.html"
MOST_CLASSES = 26
MOST_BYTES = 1_400_000
"""Of a whole report: a mail takes it, and a browser opens it at once."""
Line = dict[str, Any]
HIDDEN = {
    ("run", "start"): ("origin", "read", "split"),
    ("build", "network"): ("spec", "again"),
    ("run", "end"): ("run", "bundle", "report", "next"),
}
"""What no page shows: where things lie on their owner's disk, and what only programs read."""


def write_report(run: str | Path, output: str | Path | None = None) -> Path:
    """Write a run's report.

    Args:
        run: The run folder; a run that was cut off has a report of what there is.
        output: The file to write; None is report.html in the run folder.

    Returns:
        The file.

    Raises:
        RunError: It is no run, or its records are damaged.
        DataError: The folder of the output does not exist.
        OptionError: The output does not end in .html.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.report import write_report
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
        >>> write_report(run.folder, "penguins.html").name
        'penguins.html'
    """
    records, _ = read_records(Path(run))
    return _write(report(records), Path(run) / FILE if output is None else Path(output))


def write_comparison(runs: Sequence[str | Path], output: str | Path) -> Path:
    """Write a page with runs side by side: settings that differ, curves, metrics.

    Raises:
        RunError, DataError, OptionError: As `write_report`.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.report import write_comparison
        >>> one = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
        >>> two = sl.fit("examples/penguins.csv", target="species", epochs=2, seed=1, quiet=True)
        >>> write_comparison([one.folder, two.folder], "compare.html").name
        'compare.html'
    """
    epochs = [find(read_records(Path(run))[0], "train", "epoch") for run in runs]
    said = {**compare(*runs), "epochs": [[record.body for record in found] for found in epochs]}
    return _write(_page({"compare": said}), Path(output))


def report(records: Sequence[Record]) -> str:
    """Return the report of a run's records as HTML: sampled where it would be too large, and it says so.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.report import report
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
        >>> len(report(run.records)) < 1_500_000
        True
    """
    lines = _without_folder([_shown(record) for record in records])
    notes: list[str] = []
    page = _page({"records": lines, "notes": notes})
    for thin in SAMPLINGS:
        if len(page.encode()) <= MOST_BYTES:
            break
        lines, note = thin(lines)
        notes += [note] if note else []
        page = _page({"records": lines, "notes": notes})
    if len(page.encode()) > MOST_BYTES:
        notes.append(
            f"This report is larger than {MOST_BYTES / 1e6:g} MB: there was nothing more to leave out."
        )
        page = _page({"records": lines, "notes": notes})
    return page


# ------------------------------------------------------------- sampling


def _every(
    lines: list[Line], stage: str, type_: str, most: int, what: str
) -> tuple[list[Line], str]:
    """Keep evenly spread records of a type, the first and the last among them."""
    places = [i for i, line in enumerate(lines) if (line["stage"], line["type"]) == (stage, type_)]
    if len(places) <= most:
        return lines, ""
    kept = {places[round(k * (len(places) - 1) / (most - 1))] for k in range(most)}
    gone = set(places) - kept
    note = f"Sampled: {most:,} of {len(places):,} {what} are in this report; all are in the run's trace.jsonl."
    return [line for i, line in enumerate(lines) if i not in gone], note


def _fewer(
    lines: list[Line], stage: str, type_: str, key: str, most: int, what: str
) -> tuple[list[Line], str]:
    """Keep the first entries of a list in the records of a type."""
    note = ""
    for i, line in enumerate(lines):
        if (line["stage"], line["type"]) == (stage, type_) and len(line["body"][key]) > most:
            note = f"Sampled: {most:,} of {len(line['body'][key]):,} {what} are in this report; all are in the run's trace.jsonl."
            lines[i] = {**line, "body": {**line["body"], key: line["body"][key][:most]}}
    return lines, note


def _fewer_classes(lines: list[Line]) -> tuple[list[Line], str]:
    """Keep the confusion of the first classes, which is as large as their number squared."""
    note = ""
    for i, line in enumerate(lines):
        body = line["body"]
        if (line["stage"], line["type"]) == ("predict", "metrics") and len(
            body.get("classes", ())
        ) > MOST_CLASSES:
            note = (
                f"Sampled: {MOST_CLASSES} of {len(body['classes']):,} classes are in this report's "
                "confusion matrix; all are in the run's trace.jsonl."
            )
            kept = [row[:MOST_CLASSES] for row in body["confusion"][:MOST_CLASSES]]
            lines[i] = {**line, "body": {**body, "confusion": kept}}
    return lines, note


def _without_members(lines: list[Line]) -> tuple[list[Line], str]:
    """Leave out what each member of the network says of followed rows, where there are many classes."""
    note = ""

    def without(row: Any) -> Any:
        nonlocal note
        members = (row.get("explanation") or {}).get("members")
        if not members or len(members["mean"]) <= MOST_CLASSES:
            return row
        note = (
            "Sampled: what each member of the network says of the followed rows is left out of this "
            "report; it is in the run's trace.jsonl."
        )
        return {**row, "explanation": {**row["explanation"], "members": None}}

    for i, line in enumerate(lines):
        if line["stage"] != "predict":
            continue
        if line["type"] in ("example", "asked"):
            lines[i] = {**line, "body": without(line["body"])}
        elif line["type"] == "rows":
            rows = [without(row) for row in line["body"]["rows"]]
            lines[i] = {**line, "body": {**line["body"], "rows": rows}}
    return lines, note


def _short_texts(lines: list[Line]) -> tuple[list[Line], str]:
    """Cut very long texts, such as names of a megabyte."""
    cut = False

    def short(value: Any) -> Any:
        nonlocal cut
        if isinstance(value, str) and len(value) > 2000:
            cut = True
            return value[:2000] + "…"
        if isinstance(value, Mapping):
            return {short(key): short(item) for key, item in value.items()}
        return [short(item) for item in value] if isinstance(value, list) else value

    lines = [short(line) for line in lines]
    return lines, "Texts of more than 2,000 characters are cut in this report." if cut else ""


SAMPLINGS: tuple[Callable[[list[Line]], tuple[list[Line], str]], ...] = (
    _short_texts,
    _fewer_classes,
    _without_members,
    lambda lines: _every(lines, "train", "layers", 60, "looks at the layers"),
    lambda lines: _fewer(lines, "predict", "rows", "rows", 20, "followed rows"),
    lambda lines: _every(lines, "train", "epoch", 500, "epochs"),
    lambda lines: _every(lines, "train", "checkpoint", 50, "checkpoints"),
    lambda lines: _fewer(lines, "load", "table", "columns", 400, "columns"),
    lambda lines: _fewer(lines, "prepare", "columns", "ways", 400, "columns' ways"),
    lambda lines: _fewer(lines, "predict", "importance", "columns", 400, "columns' importances"),
    lambda lines: _fewer(lines, "predict", "rows", "rows", 3, "followed rows"),
    lambda lines: _fewer(lines, "load", "table", "columns", 100, "columns"),
    lambda lines: _fewer(lines, "prepare", "columns", "ways", 100, "columns' ways"),
    lambda lines: _every(lines, "train", "edit", 200, "edits"),
    lambda lines: _every(lines, "predict", "asked", 3, "rows that were typed in"),
    lambda lines: _fewer(lines, "predict", "dependence", "columns", 2, "columns' dependence"),
    lambda lines: _fewer(lines, "predict", "rows", "rows", 0, "followed rows"),
)
"""From what is missed least to what is missed most."""


def _without_folder(lines: list[Line]) -> list[Line]:
    """Name the table by its file alone: whoever gets the report need not know the folders above."""
    source = next((str(line["body"].get("source")) for line in lines if line["stage"] == "run"), "")
    folder = source[: -len(Path(source).name)] if Path(source).name else ""
    if len(folder) < 2:
        return lines

    def told(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(folder, "")
        if isinstance(value, Mapping):
            return {key: told(item) for key, item in value.items()}
        return [told(item) for item in value] if isinstance(value, list) else value

    return [told(line) for line in lines]


def _shown(record: Record) -> Line:
    hidden = HIDDEN.get((record.stage, record.type), ())
    body = {name: value for name, value in record.body.items() if name not in hidden}
    return {
        "seq": record.seq, "attempt": record.attempt, "stage": record.stage, "type": record.type, "body": body,
    }  # fmt: skip


# ------------------------------------------------------------- one file


def _page(data: Mapping[str, Any]) -> str:
    """Put the front end and its data into one HTML file.

    The policy admits the very scripts and styles in it, by their hashes, and no address at all.
    """
    styles = [_static("uplot.min.css"), _static("style.css")]
    scripts = [_static("uplot.min.js"), _bundle()]
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # In a script element HTML ends at "</script" and changes at "<!--"; JSON can do without "<".
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    # Half of a surrogate pair may stand in a JSON text, but in no UTF-8.
    text = re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)
    head, body = _static("index.html").split("</head>")
    head = re.sub(r"<(link rel=\"stylesheet\"|script)[^>]*>(</script>)?\n", "", head)
    head = head.replace(
        "<meta charset=\"utf-8\">",
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">',
    )  # fmt: skip
    return (
        head + "".join(f"<style>{style}</style>\n" for style in styles)
        + "</head>" + body.split("</body>")[0]
        + f'<script id="data" type="application/json">{text}</script>\n'
        + f"<script>{scripts[0]}</script>\n<script type=\"module\">{scripts[1]}</script>\n</body>\n</html>\n"
    )  # fmt: skip


@cache
def _bundle() -> str:
    """Join the front end's modules into one: each a function that returns what it exports."""
    made: dict[str, str] = {}

    def add(name: str) -> None:
        text = _static(f"{name}.js")
        for needed in re.findall(r'^import .* from "\./(\w+)\.js";$', text, re.M):
            if needed not in made:
                add(needed)
        text = re.sub(
            r'^import \* as (\w+) from "\./(\w+)\.js";$',
            r"const \1 = modules.\2;",
            text,
            flags=re.M,
        )
        text = re.sub(
            r'^import (\{.*\}) from "\./(\w+)\.js";$', r"const \1 = modules.\2;", text, flags=re.M
        )
        exported = re.findall(r"^export (?:const|function|class) (\w+)", text, re.M)
        text = re.sub(r"^export ", "", text, flags=re.M)
        made[name] = (
            f"modules.{name} = (() => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();\n"
        )

    add("app")
    return "const modules = {};\n" + "".join(made.values())


@cache
def _static(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


def _hashes(texts: Sequence[str]) -> str:
    digests = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _write(page: str, path: Path) -> Path:
    if path.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"{path} does not end in .html.", "Give such a name (-o report.html).")
    if not path.parent.is_dir():
        raise DataError(
            f"The folder {path.parent} does not exist.", "Make it, or choose another place."
        )
    with atomic_file(path) as file:
        file.write(page.encode())
    return path
