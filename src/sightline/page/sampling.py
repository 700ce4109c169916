"""Make a report smaller: leave out records and parts of records, and say in a note what is left out.

Each function takes the report's records and returns those that stay, and a note for the reader, ""
if nothing was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

CONFUSION_CLASSES = 26
"""Classes that the confusion matrix of a smaller report keeps."""
Line = dict[str, Any]


def every(
    lines: list[Line], stage: str, type_: str, most: int, what: str
) -> tuple[list[Line], str]:
    """Keep evenly spaced records of a type, including the first and the last.

    Args:
        lines: All records.
        stage: The stage of the records to sample.
        type_: The type of the records to sample.
        most: How many are kept; at least 2.
        what: Their name in the note.
    """
    indices = [i for i, line in enumerate(lines) if (line["stage"], line["type"]) == (stage, type_)]
    if len(indices) <= most:
        return lines, ""
    kept = {indices[round(k * (len(indices) - 1) / (most - 1))] for k in range(most)}
    dropped = set(indices) - kept
    note = f"Sampled: {most:,} of {len(indices):,} {what} are in this report; all are in the run's trace.jsonl."
    return [line for i, line in enumerate(lines) if i not in dropped], note


def fewer(
    lines: list[Line], stage: str, type_: str, key: str, most: int, what: str
) -> tuple[list[Line], str]:
    """Keep the first entries of a list in the bodies of the records of a type.

    Args:
        lines: All records.
        stage: The stage of the records to shorten.
        type_: The type of the records to shorten.
        key: The list's name in the body.
        most: How many entries are kept.
        what: Their name in the note.
    """
    note = ""
    for i, line in enumerate(lines):
        if (line["stage"], line["type"]) == (stage, type_) and len(line["body"][key]) > most:
            note = f"Sampled: {most:,} of {len(line['body'][key]):,} {what} are in this report; all are in the run's trace.jsonl."
            lines[i] = {**line, "body": {**line["body"], key: line["body"][key][:most]}}
    return lines, note


def fewer_classes(lines: list[Line]) -> tuple[list[Line], str]:
    """Keep the confusion matrix of the first classes only: its size is their number squared."""
    note = ""
    for i, line in enumerate(lines):
        body = line["body"]
        if (line["stage"], line["type"]) == ("predict", "metrics") and len(
            body.get("classes", ())
        ) > CONFUSION_CLASSES:
            note = (
                f"Sampled: {CONFUSION_CLASSES} of {len(body['classes']):,} classes are in this report's "
                "confusion matrix; all are in the run's trace.jsonl."
            )
            kept = [row[:CONFUSION_CLASSES] for row in body["confusion"][:CONFUSION_CLASSES]]
            lines[i] = {**line, "body": {**body, "confusion": kept}}
    return lines, note


def without_members(lines: list[Line]) -> tuple[list[Line], str]:
    """Remove the members' predictions of explained rows if there are many classes."""
    note = ""

    def without(row: Any) -> Any:
        nonlocal note
        members = (row.get("explanation") or {}).get("members")
        if not members or len(members["mean"]) <= CONFUSION_CLASSES:
            return row
        note = (
            "Sampled: the predictions of the network's members for the explained rows are left out of "
            "this report; they are in the run's trace.jsonl."
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


def short_texts(lines: list[Line]) -> tuple[list[Line], str]:
    """Cut texts of more than 2,000 characters, such as very long class names."""
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
    short_texts,
    fewer_classes,
    without_members,
    lambda lines: every(lines, "train", "layers", 60, "records of the layers' gradients"),
    lambda lines: fewer(lines, "predict", "rows", "rows", 20, "explained rows"),
    lambda lines: every(lines, "train", "epoch", 500, "epochs"),
    lambda lines: every(lines, "train", "checkpoint", 50, "checkpoints"),
    lambda lines: fewer(lines, "load", "table", "columns", 400, "columns"),
    lambda lines: fewer(lines, "prepare", "columns", "ways", 400, "prepared columns"),
    lambda lines: fewer(
        lines, "predict", "importance", "columns", 400, "columns of the importance table"
    ),
    lambda lines: fewer(lines, "predict", "rows", "rows", 3, "explained rows"),
    lambda lines: fewer(lines, "load", "table", "columns", 100, "columns"),
    lambda lines: fewer(lines, "prepare", "columns", "ways", 100, "prepared columns"),
    lambda lines: every(lines, "train", "edit", 200, "edits"),
    lambda lines: every(lines, "predict", "asked", 3, "typed rows"),
    lambda lines: fewer(
        lines, "predict", "dependence", "columns", 2, "columns of the dependence plots"
    ),
    lambda lines: fewer(
        lines, "predict", "slices", "columns", 2, "columns of the metrics by group"
    ),
    lambda lines: fewer(lines, "predict", "rows", "rows", 0, "explained rows"),
)
"""In the order in which they are applied: the least important information is left out first."""
