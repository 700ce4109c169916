"""Parts of a notebook's cards, shared by all cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.contracts import Record
from sightline.errors import counted, spelled
from sightline.lesson.facts import duration
from sightline.trace.records import find
from sightline.views.explained import contribution_title, explained_output, member_sentences
from sightline.views.format import METRIC_NAMES, brief, interval, metric_name, plain
from sightline.views.markup import bar, curve, heading, heat, sentence, table, text

Body = Mapping[str, Any]
LISTED_CLASSES = 10
LISTED_EDITS = 5


def stages(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """List the stages that have begun: name, input and, once a stage has ended, output.

    Example:
        >>> from sightline.trace.records import Trace
        >>> from sightline.views.fragments import stages
        >>> trace = Trace()
        >>> _ = trace.write("lesson", "begin", {"number": 1, "name": "load"})
        >>> stages(trace.records)
        [('1. load', 'in progress ...', '')]
    """
    ended = {record.body["name"]: record.body for record in find(records, "lesson", "stage")}
    rows = []
    for record in find(records, "lesson", "begin"):
        name = record.body["name"]
        stage = ended.get(name)
        flow = (stage["came_in"], stage["came_out"]) if stage else ("in progress ...", "")
        rows.append((f"{record.body['number']}. {name}", *flow))
    return rows


def epochs(bodies: Sequence[Body], best: int | None, edits: Sequence[Body], held: str) -> list[str]:
    """Draw the loss curves, and describe the last epoch and the last edits.

    Args:
        bodies: Of `train/epoch`.
        best: The best epoch, or None while it is not known.
        edits: Bodies of `train/edit`; the last five are listed.
        held: The name of the rows behind `valid_loss`, such as "out-of-fold".

    Example:
        >>> from sightline.views.fragments import epochs
        >>> epochs([], None, [], "validation")
        []
    """
    if not bodies:
        return []
    last = bodies[-1]
    valid = "" if last["valid_loss"] is None else f", {held} {brief(last['valid_loss'])}"
    summary = (
        f"Epoch {last['number']}: loss {brief(last['train_loss'])}{valid}; {last['observation']}"
    )
    edited = [f"Edit in epoch {edit['epoch']}: {edit['said']}" for edit in edits[-LISTED_EDITS:]]
    return [curve(bodies, best, edits, held), sentence(summary), *map(sentence, edited)]


def metrics(body: Body) -> str:
    """Lay out the metrics of the model and of the baseline.

    Args:
        body: Of `predict/metrics`.
    """
    base = body["baseline"]
    rows = [
        [name, brief(body[key]), brief(base[key])]
        for key, name in METRIC_NAMES.items()
        if key in body
    ]
    return (
        heading(f"Metrics on {counted(body['rows'], body['part'] + ' row')}")
        + table(["Metric", "Model", "Baseline"], rows)
        + sentence(f"Baseline: {base['what']}.")
        + "".join(map(sentence, body.get("notes", ())))
    )


def baselines(body: Body) -> str:
    """Lay out the scores of this model and of simple models, and the verdict.

    Args:
        body: Of `predict/baselines`.
    """
    rows = [
        [text(model["name"], 60), brief(model["score"]), interval(model["low"], model["high"]),
         "-" if model["seconds"] is None else duration(float(model["seconds"])),
         text(model["note"] or "", 200)]
        for model in body["models"]
    ]  # fmt: skip
    return (
        heading("This model and simple models")
        + table(["Model", metric_name(body["metric"]), "95 % interval", "Time", ""], rows)
        + sentence(body["verdict"])
        + (sentence(body["remark"]) if body.get("remark") else "")
    )


def parts(explanation: Body) -> str:
    """Lay out the prediction of each part of the model, of its members, and the effect of calibration.

    Args:
        explanation: `Explanation.to_json()`.
    """
    each = explanation.get("parts") or ()
    below = "".join(map(sentence, member_sentences(explanation)))
    if len(each) < 2:
        return below
    index, output = explained_output(explanation)
    classes = bool(explanation["probabilities"])
    unit, share = ("Probability", "Share of the logit") if classes else ("Value", "Share")
    largest = max(abs(float(part["share"][index])) for part in each)
    return (
        heading(f"Prediction of each part for {output}")
        + table(["Part", "Weight", unit, share, ""], [
            [text(spelled(part["name"]), 40), brief(part["weight"]), brief(part["values"][index]),
             f"{float(part['share'][index]):+.4g}", bar(part["share"][index], largest, both=True)]
            for part in each
        ])
        + below
    )  # fmt: skip


def contributions(explanation: Body) -> str:
    """Lay out the Shapley value of each column, or say why there are none.

    Args:
        explanation: `Explanation.to_json()`.
    """
    pushes = explanation.get("pushes")
    if not pushes:
        return sentence(explanation["pushes_note"]) if explanation.get("pushes_note") else ""
    largest = max((abs(float(push)) for _, push in pushes["columns"]), default=0.0)
    return (
        heading(contribution_title(pushes))
        + sentence(
            f"Shapley values, from {brief(pushes['base'])} ({pushes['base_said']}) to "
            f"{brief(pushes['value'])}."
        )
        + table(["Column", "Contribution", ""], [
            [text(name, 60), f"{float(push):+.4g}", bar(push, largest, both=True)]
            for name, push in pushes["columns"]
        ])
    )  # fmt: skip


def probabilities(explanation: Body) -> list[str]:
    """Lay out the most probable classes, each with a bar; nothing for a regression.

    Args:
        explanation: `Explanation.to_json()`.
    """
    if not explanation["probabilities"]:
        return []
    pairs = sorted(
        zip(explanation["classes"], explanation["probabilities"], strict=True),
        key=lambda pair: -float(pair[1]),
    )
    lines = [heading("Probabilities"), table(["Class", "Probability", ""], [
        [text(name, 60), brief(value), bar(value, 1.0)] for name, value in pairs[:LISTED_CLASSES]
    ])]  # fmt: skip
    if len(pairs) > LISTED_CLASSES:
        lines.append(sentence(f"and {len(pairs) - LISTED_CLASSES:,} more classes"))
    return lines


def activations(layer: Body) -> str:
    """Draw a layer's output as coloured cells; if it is not recorded completely, list its largest values.

    Args:
        layer: One of an explanation's `layers`.
    """
    if layer.get("values"):
        return heat(layer["values"], layer["places"], layer["scale"])
    return text(", ".join(f"[{unit}] {brief(value)}" for unit, value in layer["largest"]))


def class_names(names: Sequence[Any]) -> str:
    """List the first class names, and how many more there are.

    Example:
        >>> from sightline.views.fragments import class_names
        >>> class_names("abcdefghijkl")
        'a, b, c, d, e, f, g, h, i, j and 2 more'
    """
    shown = ", ".join(plain(name, 40) for name in names[:LISTED_CLASSES])
    hidden = len(names) - LISTED_CLASSES
    return f"{shown} and {hidden} more" if hidden > 0 else shown
