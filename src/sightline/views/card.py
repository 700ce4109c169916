"""A model card: what a model is, what it was made of and how good it is, as Markdown with Hugging Face's fields.

The fields are those of https://huggingface.co/docs/hub/model-cards. Everything comes from the records of the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sightline.contracts import Record
from sightline.errors import counted, listed, readable, shorten, spelled
from sightline.trace.records import find

NAMES = {
    "accuracy": "accuracy", "log_loss": "log loss", "roc_auc": "AUC",
    "average_precision": "average precision", "balanced_accuracy": "balanced accuracy", "rmse": "root mean squared error", "mae": "mean absolute error", "r2": "R2",
}  # fmt: skip
MOST_COLUMNS = 100
CHANGED = "## Changed after the fit"


def model_card(records: Sequence[Record]) -> str:
    """Return the card of a run's model.

    Args:
        records: Of a run that has ended; what it did not measure is left out.

    Example:
        >>> import sightline as sl
        >>> from sightline.views.card import model_card
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> print("\\n".join(model_card(run.records).splitlines()[:4]))
        ---
        library_name: sightline
        pipeline_tag: tabular-classification
        tags: ["tabular", "sightline"]
    """
    last = {
        (record.stage, record.type): record.body
        for record in records
        if record.stage in ("run", "load", "build", "train", "predict")
    }
    start, table, split = last["run", "start"], last["load", "table"], last["load", "split"]
    target, metrics = start["target"], last.get(("predict", "metrics"))
    name = PurePath(table["name"]).name
    lines = [
        *_front(start, name, metrics),
        f"# {_plain(target['name'])}, predicted from {_plain(name)}", "",
        _task(target), "",
        "## The data", "",
        f"{table['rows']:,} rows of {_plain(name)}: {split['sentence']}.", "",
        *_columns(table["columns"]),
        "## How good it is", "",
        *_metrics(metrics, last.get(("predict", "baselines"))),
        *_sentences(last),
        "## How it was made", "",
        *_made(start, last, records),
        "## How to use it", "",
        "```python", "import sightline as sl", "", 'model = sl.Model.load("model.sightline")',
        'print(model.predict("rows.csv"))', "```", "",
        "It expects the columns above, written as in the training table; missing values and categories never seen in "
        "training are allowed, and counted at prediction. `sightline check model.sightline rows.csv` tells whether new "
        "rows are distributed as the training rows were.", "",
        "## What is not known", "",
        "The metrics hold for rows of the same origin as the training rows. Nobody has looked at whether the model is fair to "
        "groups of people, or at what a wrong prediction costs: add it here before you use the model for that.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def with_threshold(card: str, threshold: float) -> str:
    """Say in a model's card that its decision threshold was changed after the fit.

    Args:
        card: The card.
        threshold: The new threshold.

    Example:
        >>> from sightline.views.card import with_threshold
        >>> print(with_threshold("# A model", 0.37).splitlines()[-1])
        The decision threshold is now 0.37. Metrics above that depend on it, such as accuracy, are those of the fit: `sightline evaluate` measures the new ones.
    """
    fitted = card.partition(f"\n\n{CHANGED}\n")[0].rstrip()
    # Programs read the front matter, and not the sentence below.
    fitted = fitted.replace('"accuracy", ', "", 1)
    fitted = re.sub(r"^    - type: accuracy\n      value: .*\n", "", fitted, count=1, flags=re.M)
    return (
        f"{fitted}\n\n{CHANGED}\n\nThe decision threshold is now {threshold:g}. Metrics above that depend on it, such as accuracy, "
        "are those of the fit: `sightline evaluate` measures the new ones.\n"
    )


def _front(start: Mapping[str, Any], name: str, metrics: Mapping[str, Any] | None) -> list[str]:
    task = f"tabular-{start['target']['task']}"
    lines = [
        "---", "library_name: sightline", f"pipeline_tag: {task}", 'tags: ["tabular", "sightline"]',
    ]  # fmt: skip
    found = _values(metrics)
    if found and metrics is not None:
        lines += [
            f"metrics: {json.dumps([key for key, _ in found])}", "model-index:",
            f"- name: {json.dumps(start['target']['name'])}", "  results:", "  - task:", f"      type: {task}",
            "    dataset:", f"      name: {json.dumps(name)}", f"      type: {json.dumps(name)}", f"      split: {metrics['part']}",
            "    metrics:",
        ]  # fmt: skip
        for key, value in found:
            lines += [f"    - type: {key}", f"      value: {value!r}"]
    return [*lines, "---", ""]


def _task(target: Mapping[str, Any]) -> str:
    if target["task"] == "regression":
        return f"A regression: it predicts the number `{_plain(target['name'])}`."
    classes = [f"`{_plain(name)}`" for name in (target.get("names") or target["classes"])]
    return (
        f"A classification into {counted(len(classes), 'class', 'classes')}: {listed(classes, 20)}."
    )


def _columns(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["| column | used as | kind | missing | values |", "|---|---|---|---|---|"]
    lines += [
        f"| {_cell(one['name'])} | {one['role']} | {one['kind']} | {one['missing']:,} | {_cell(one['values'])} |"
        for one in columns[:MOST_COLUMNS]
    ]
    more = len(columns) - MOST_COLUMNS
    return [*lines, "", *([f"And {counted(more, 'more column')}.", ""] if more > 0 else [])]


def _metrics(metrics: Mapping[str, Any] | None, baselines: Mapping[str, Any] | None) -> list[str]:
    if metrics is None:
        return ["It was not measured.", ""]
    simple = metrics.get("baseline", {})
    lines = [
        f"On {counted(metrics['rows'], metrics['part'] + ' row')}:", "", "| metric | the model | the simplest prediction |",
        "|---|---|---|",
    ]  # fmt: skip
    for key, value in _values(metrics):
        other = simple.get(key)
        lines.append(f"| {NAMES[key]} | {readable(value)} | {'' if other is None else readable(other)} |")  # fmt: skip
    lines += ["", f"The simplest prediction is {simple['what']}.", ""] if "what" in simple else [""]
    if baselines:
        name = NAMES.get(baselines["metric"], baselines["metric"])
        lines += [f"| on the same rows | {name} | 95 % interval |", "|---|---|---|"]
        lines += [
            f"| {_cell(one['name'])} | {readable(one['score'])} | {readable(one['low'])} to {readable(one['high'])} |"
            for one in baselines["models"]
            if one.get("score") is not None
        ]
        lines.append("")
    return lines


def _sentences(last: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    said = [last[key]["said"] for key in (("predict", "calibration"), ("predict", "sets")) if last.get(key, {}).get("said")]  # fmt: skip
    threshold = last.get(("predict", "threshold"))
    if threshold and threshold.get("said"):
        said.append(threshold["said"])
    return [line for sentence in said for line in (_plain(sentence), "")]


def _made(
    start: Mapping[str, Any], last: Mapping[tuple[str, str], Mapping[str, Any]], records: Sequence[Record]
) -> Iterable[str]:  # fmt: skip
    network = last["build", "network"]
    yield f"- Network: {network['class']}, {counted(network['parameters'], 'parameter')}."
    end = last.get(("train", "end"))
    if end:
        edits = counted(end["edits"], "edit") if end["edits"] else "no edits"
        yield f"- Training: {counted(end['steps'], 'step')}, best after epoch {end['best_epoch']}, {edits}."
    calibration = last.get(("predict", "calibration"))
    if calibration and len(calibration.get("parts", ())) > 1:
        parts = [
            f"{spelled(one['name'])} {100 * one['share']:.0f} %" for one in calibration["parts"]
        ]
        yield f"- Parts and their weights: {', '.join(parts)}."
    kernel = last.get(("train", "kernel"))
    if kernel and kernel.get("kept", True):
        yield f"- The file holds the features of {counted(kernel['landmarks'], 'training row')}, with which the kernel model compares a row."
    neighbors = last.get(("train", "neighbors"))
    if neighbors and neighbors.get("kept", True):
        yield (
            f"- The file holds the targets of up to {counted(neighbors['references'], 'training row')} for each fold, and where the "
            "nearest-neighbours model places these rows."
        )
    yield f"- Seed {start['seed']}; options: `{json.dumps(start.get('options', {}).get('training', {}), ensure_ascii=False)}`, quality {start.get('options', {}).get('model', {}).get('quality') or 'default'}."
    versions = ", ".join(f"{name} {version}" for name, version in start["versions"].items())
    yield f"- Versions: {versions}."
    notes = find(records, "load", "table")[-1].body.get("notes", [])
    for note in notes[:10]:
        yield f"- {_plain(note)}"
    yield ""


def _values(metrics: Mapping[str, Any] | None) -> list[tuple[str, float]]:
    return [
        (key, metrics[key]) for key in NAMES
        if metrics is not None and isinstance(metrics.get(key), int | float)
    ]  # fmt: skip


def _plain(value: Any) -> str:
    """Return a text of the data as Markdown that shows it and nothing else."""
    text = " ".join(shorten(str(value), 600).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in text)


def _cell(value: Any) -> str:
    return _plain(shorten(str(value), 80))
