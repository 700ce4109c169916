"""The comparison of new rows with training (`sightline check`) as one HTML page, without scripts."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from sightline.archive import atomic_file
from sightline.errors import DataError, readable
from sightline.page.single_file import STATIC


def check_page(result: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        result: From `sightline.evaluate.drift.check`.
    """
    style = (STATIC / "style.css").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    lines = "".join(f"<p>{escape(line)}</p>" for line in result["lines"])
    tables = [_table("The columns", "Distances of the columns", result["columns"])]
    if result["predictions"]:
        title = f"The predictions, compared with those of {result['predictions_of']}"
        tables.insert(0, _table(title, "Distances of the predictions", result["predictions"]))
    counts = [
        (escape(name), *(f"{result[what].get(name, 0):,}" for what in ("missing", "unseen", "out_of_range")))
        for name in dict.fromkeys([*result["missing"], *result["unseen"], *result["out_of_range"]])
    ]  # fmt: skip
    if counts:
        heads = ("Column", "Missing", "Never seen in training", "Outside the training range")
        tables.append(_rows("Unusual values", "Rows with unusual values", heads, counts))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{digest}'\">"
        f"<title>Sightline: {escape(result['name'])} compared with training</title><style>{style}</style></head>"
        f"<body><main><h1>{escape(result['name'])} compared with training</h1>{lines}{''.join(tables)}"
        '<p class="about">A distance is 0 where the shares of all bins are equal. Healthy rows of this number exceed an '
        "allowed distance in at most 2 of 100 files, over all columns and predictions together.</p></main></body></html>\n"
    )


def write_check(result: Mapping[str, Any], path: Path) -> None:
    """Write the page, atomically.

    Raises:
        DataError: The folder does not exist.
    """
    if not path.parent.is_dir():
        raise DataError(
            f"The folder {path.parent} does not exist.", "Create it, or give another path (-o)."
        )
    with atomic_file(path) as file:
        file.write(check_page(result).encode("utf-8", "replace"))


def _table(title: str, caption: str, compared: list[Mapping[str, Any]]) -> str:
    heads = ("Name", "Distance", "Allowed", "What changed most")
    rows = [
        (
            f"<bdi>{escape(one['name'])}</bdi>", readable(one["distance"], 3), readable(one["allowed"], 3),
            ("<b>differs</b>: " if one["alarm"] else "") + "<br>".join(f"<bdi>{escape(text)}</bdi>" for text in one["changes"]),
        )
        for one in compared
    ]  # fmt: skip
    return _rows(title, caption, heads, rows)


def _rows(title: str, caption: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<section><h2>{escape(title)}</h2><div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )
