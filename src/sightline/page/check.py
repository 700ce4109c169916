"""The comparison of new rows with training (`sightline check`) as one HTML page, without scripts."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from sightline.errors import readable
from sightline.page.document import document, table, write_page


def check_page(result: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        result: From `sightline.evaluate.drift.check`.
    """
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
        tables.append(table("Unusual values", "Rows with unusual values", heads, counts))
    return document(
        f"Sightline: {result['name']} compared with training", f"{result['name']} compared with training",
        result["lines"], tables,
        "A distance is 0 where the shares of all bins are equal. Healthy rows of this number exceed an allowed distance in at "
        "most 2 of 100 files, over all columns and predictions together.",
    )  # fmt: skip


def write_check(result: Mapping[str, Any], path: Path) -> None:
    """Write the page, atomically.

    Raises:
        DataError: The folder does not exist.
    """
    write_page(check_page(result), path)


def _table(title: str, caption: str, compared: list[Mapping[str, Any]]) -> str:
    heads = ("Name", "Distance", "Allowed", "What changed most")
    rows = [
        (
            f"<bdi>{escape(one['name'])}</bdi>", readable(one["distance"], 3), readable(one["allowed"], 3),
            ("<b>differs</b>: " if one["alarm"] else "") + "<br>".join(f"<bdi>{escape(text)}</bdi>" for text in one["changes"]),
        )
        for one in compared
    ]  # fmt: skip
    return table(title, caption, heads, rows)
