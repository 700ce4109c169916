"""What a model's file says about itself, in words: its target, its training rows, its columns."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sightline.contracts import Target, traits_of

BUNDLE = "model.sightline"
"""The name of a model in a run folder."""
SHOWN_CLASSES = 12


def own_version() -> str:
    """Return the version of Sightline that is installed; "unknown" in a source tree that is not installed."""
    try:
        return version("sightline")
    except PackageNotFoundError:
        return "unknown"


def predicts(target: Mapping[str, Any]) -> str:
    """Say what a model predicts.

    Args:
        target: A `Target` as JSON values.

    Example:
        >>> from sightline.predict.described import predicts
        >>> predicts({"name": "sick", "task": "classification", "classes": [False, True], "positive": True})
        'Predicts sick, classification: false, true.'
    """
    names = Target(
        target["name"],
        target["task"],
        tuple(target["classes"]),
        names=tuple(target.get("names", ())),
    ).texts
    more = f" and {len(names) - SHOWN_CLASSES:,} more" if len(names) > SHOWN_CLASSES else ""
    classes = f": {', '.join(names[:SHOWN_CLASSES])}{more}" if names else ""
    return f"Predicts {target['name']}, {target['task']}{classes}."


def trained_on(provenance: Mapping[str, Any]) -> str:
    """Say which table a model was trained on.

    Example:
        >>> from sightline.predict.described import trained_on
        >>> trained_on({"train_rows": 1234, "name": "people.csv"})
        'Trained on 1,234 rows of people.csv.'
    """
    if "train_rows" not in provenance:
        return "It does not say which table it was trained on."
    return f"Trained on {provenance['train_rows']:,} rows of {provenance['name']}."


def described_columns(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the columns of a schema, given as JSON values, with their ranges and vocabularies in words.

    Example:
        >>> from sightline.predict.described import described_columns
        >>> column = {"name": "age", "kind": "numeric"}
        >>> described_columns({"columns": [column], "ranges": {"age": [18, 90]}, "vocabularies": {}})[0]["values"]
        '18 to 90'
    """
    columns = []
    for column in schema["columns"]:
        values = ""
        if column["name"] in schema["ranges"] and traits_of(column["kind"]).storage == "numbers":
            low, high = schema["ranges"][column["name"]]
            values = f"{low:,.6g} to {high:,.6g}"
        elif column["name"] in schema["vocabularies"]:
            values = f"{len(schema['vocabularies'][column['name']]):,} known"
        columns.append({**column, "missing": 0, "values": values})
    return columns
