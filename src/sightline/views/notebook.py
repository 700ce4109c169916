"""What a notebook shows: runs, models and their like as HTML, and a fit while it happens.

Every function takes plain values or records and only lays them out; see `markup`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.contracts import Record
from sightline.errors import counted
from sightline.lesson.facts import duration, held_out
from sightline.trace.records import find
from sightline.views.markup import (
    bar,
    card,
    curve,
    heading,
    heat,
    sentence,
    strip,
    table,
    text,
)
from sightline.views.terminal import NAMES, beside, brief, plain, shown_output

Body = Mapping[str, Any]
SECONDS_BETWEEN = 0.25
MOST_CLASSES = 10
MOST_EDITS = 5


# ------------------------------------------------------------- things as HTML


def of_run(records: Sequence[Record], steps: tuple[int, int] | None = None) -> str:
    """Show a run: its stages, losses, metrics, and where everything is.

    Args:
        records: Of the run, all or those so far.
        steps: Of a training under way: how many of how many are done.

    Example:
        >>> from sightline.views.notebook import of_run
        >>> from sightline.trace.records import Trace
        >>> trace = Trace()
        >>> _ = trace.write("lesson", "opening", {"title": "How a network learns <y>"})
        >>> "learns &lt;y&gt;" in of_run(trace.records)
        True
    """
    opening, end = _last(records, "lesson", "opening"), _last(records, "train", "end")
    epochs = [record.body for record in find(records, "train", "epoch")]
    parts = [strip(_stages(records))]
    if steps is not None and end is None:
        parts.append(sentence(f"Step {steps[0]:,} of {steps[1]:,}."))
    parts += _epochs(
        epochs,
        end["best_epoch"] if end is not None else None,
        [record.body for record in find(records, "train", "edit")],
        held_out(_last(records, "load", "split")),
    )
    if end is not None:
        parts.append(
            sentence(
                f"Training: {end['stopped']}; the weights of epoch {end['best_epoch']} are kept."
            )
        )
    if trees := _last(records, "train", "trees"):
        parts.append(sentence(f"{trees['said']}."))
    metrics, over = _last(records, "predict", "metrics"), _last(records, "run", "end")
    parts.append(_metrics(metrics) if metrics else "")
    if found := _last(records, "predict", "baselines"):
        parts.append(_baselines(found))
    for type_ in ("calibration", "sets", "threshold"):
        if found := _last(records, "predict", type_):
            parts.append(sentence(found["said"]))
    if over is not None:
        places = [("Run", over["run"]), ("Model", over["bundle"]), ("Report", over.get("report"))]
        said = ", ".join(
            f"{name.lower()}: <code>{text(at, 400)}</code>" for name, at in places if at
        )
        parts.append(f'<div style="margin:3px 0">Where it is: {said}</div>')
    return card(opening["title"] if opening else "A run", *parts)


def of_model(body: Body) -> str:
    """Show a model: what it predicts, from what, through which layers.

    Args:
        body: `target` (name, task, classes), `class`, `parameters`, `columns` (name, kind) and
            `layers` (name, parameters).

    Example:
        >>> from sightline.views.notebook import of_model
        >>> "1 parameter" in of_model({
        ...     "target": {"name": "y", "task": "regression", "classes": []}, "class": "Mine",
        ...     "parameters": 1, "columns": [], "layers": []})
        True
    """
    target, count = body["target"], body["parameters"]
    what = (
        f"A classification into {len(target['classes'])} classes: {_listed(target['classes'])}."
        if target["task"] == "classification" else "A regression: it predicts a number."
    )  # fmt: skip
    made = f"{body['class']}, {counted(count, 'parameter')}."
    return card(
        f"A model of {text_of(target['name'])}", sentence(what), sentence(made),
        heading("What it takes"),
        table(["Column", "Kind"], [[text(c["name"], 60), text(c["kind"])] for c in body["columns"]]),
        heading("Layers"),
        table(["Layer", "Parameters"], [
            [text(one["name"], 80), f"{one['parameters']:,}"] for one in body["layers"]
        ]),
    )  # fmt: skip


def of_prepared(body: Body) -> str:
    """Show a preparation: each column's way to the network, and the tensors.

    Args:
        body: `ways` (column, kind, way, features), `shapes` (what, its shape) and `notes`.

    Example:
        >>> from sightline.views.notebook import of_prepared
        >>> "[7, 2]" in of_prepared({"ways": [], "shapes": [["training rows", [7, 2]]], "notes": []})
        True
    """
    return card(
        "A prepared table",
        table(["Tensor", "Shape"], [[text(what), text(shape)] for what, shape in body["shapes"]]),
        heading("Each column's way to the network"),
        table(["Column", "Kind", "Way", "Features"], [
            [text(way["column"], 60), text(way["kind"]), text(way["way"], 200),
             text(way["features"], 120)] for way in body["ways"]
        ]),
        *(sentence(f"{note}.") for note in body["notes"]),
    )  # fmt: skip


def of_training(body: Body) -> str:
    """Show a training: its plan, its network and the epochs so far.

    Args:
        body: `class`, `parameters`, `plan`, `steps`, `epochs` (as in `train/epoch`), `best_epoch`,
            `stopped`, `edits` (epoch, said) and, where it is judged out of fold, `folds`.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=2)
        >>> "not begun" in training._repr_html_()
        True
    """
    plan, epochs, held = body["plan"], body["epochs"], held_out(body)
    state = body["stopped"] or ("it can go on" if epochs else "not begun")
    planned = (
        f"{plan['epochs']:,} epochs of {plan['steps_per_epoch']:,} steps, batches of "
        f"{plan['batch_size']:,} rows, on {plan['device']} in {plan['precision']}."
    )
    return card(
        f"A training of {text_of(body['class'])}: {state}",
        sentence(f"{body['class']}, {body['parameters']:,} parameters; {planned}"),
        sentence(f"{body['steps']:,} steps done.") if epochs else "",
        *_epochs(epochs, body["best_epoch"] if len(epochs) > 1 else None, body["edits"], held),
        table(["Epoch", "Loss", held.capitalize(), "Observation"], [
            [str(one["number"]), brief(one["train_loss"]), brief(one["valid_loss"]),
             text(one["observation"])] for one in epochs[-10:]
        ]) if epochs else "",
    )  # fmt: skip


def of_explanation(body: Body) -> str:
    """Show one prediction, opened up: raw values, pushes, layers, probabilities.

    Args:
        body: `Explanation.to_json()`.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=2, quiet=True)
        >>> row = sl.read("examples/penguins.csv").row(3)
        >>> "Torgersen" in run.model.explain(row)._repr_html_()
        True
    """
    raw = list(body["raw"].items())
    heads, cells = (
        ["Column", "Value"],
        [[text(k, 60), "missing" if v is None else text(v, 80)] for k, v in raw],
    )
    parts = [heading("The row as it came"), table(heads, cells)]
    if body["error"]:
        return card("No prediction", sentence(body["error"]), *parts)
    parts += [sentence(f"Note: {note}.") for note in body["notes"]]
    parts += [_pushes(body), _parts(body)]
    parts += [heading("Through the layers"), table(["Layer", "Output", "Values"], [
        [text(layer["name"], 80), " x ".join(map(str, layer["shape"])), _values(layer)]
        for layer in body["layers"]
    ])]  # fmt: skip
    if body["probabilities"]:
        pairs = sorted(
            zip(body["classes"], body["probabilities"], strict=True),
            key=lambda pair: -float(pair[1]),
        )
        parts += [heading("Probabilities"), table(["Class", "Probability", ""], [
            [text(name, 60), brief(value), bar(value, 1.0)] for name, value in pairs[:MOST_CLASSES]
        ])]  # fmt: skip
        if len(pairs) > MOST_CLASSES:
            parts.append(sentence(f"and {len(pairs) - MOST_CLASSES:,} more classes"))
    said = body["prediction"]
    said = brief(said) if isinstance(said, float) and not body["probabilities"] else text_of(said)
    return card(f"Prediction: {said}", *parts)


def of_predictions(body: Body) -> str:
    """Show the first predictions of a table, and what was noticed in its rows.

    Args:
        body: `rows` (how many), `first` (label, probability or None) and `report` (sentences).

    Example:
        >>> from sightline.views.notebook import of_predictions
        >>> "Adelie" in of_predictions({"rows": 1, "first": [["Adelie", 0.9]], "report": []})
        True
    """
    rows = body["rows"]
    return card(
        counted(rows, "prediction"),
        table(["Row", "Prediction", "Probability", ""], [
            [f"{place:,}", text(label, 80), brief(share), bar(share, 1.0) if share is not None else ""]
            for place, (label, share) in enumerate(body["first"])
        ]),
        sentence(f"and {rows - len(body['first']):,} more") if rows > len(body["first"]) else "",
        *(sentence(said) for said in body["report"]),
    )  # fmt: skip


# ------------------------------------------------------------- a fit while it happens


class NotebookView:
    """Shows a fit in the cell that it runs in: the stages as they end, the losses as they come.

    It draws anew at most four times a second, so that training is not slowed. What it shows last
    is static, and so it is in the saved notebook.

    Example:
        >>> from sightline.views.notebook import NotebookView
        >>> from sightline.trace.records import Trace
        >>> view = NotebookView(show=print)
        >>> _ = Trace([view]).write("train", "skipped", {"said": "shown at the end, or later"})
    """

    def __init__(self, show: Any = None) -> None:
        self._show = show or _Cell()
        self._records: list[Record] = []
        self._steps: tuple[int, int] | None = None
        self._shown = time.monotonic()
        self._stale = False

    def begin(self, records: Sequence[Record]) -> None:
        """Take what was recorded before, of a run that goes on."""
        self._records = list(records)

    def __call__(self, record: Record) -> None:
        """Take a record."""
        self._records.append(record)
        self._stale = True
        self._update()

    def step(self, done: int, total: int) -> None:
        """Hear how far training is."""
        self._steps = (done, total)
        self._stale = True
        self._update()

    def close(self) -> None:
        """Show what there is, for good."""
        self._steps = None
        if self._records and self._stale:
            self._draw()

    def _update(self) -> None:
        if time.monotonic() - self._shown >= SECONDS_BETWEEN:
            self._draw()

    def _draw(self) -> None:
        self._show(of_run(self._records, self._steps))
        self._shown, self._stale = time.monotonic(), False


def in_kernel() -> bool:
    """Tell whether this runs in a Jupyter kernel, whose cells show HTML; IPython's terminal does not.

    Example:
        >>> from sightline.views.notebook import in_kernel
        >>> in_kernel()
        False
    """
    ipython = sys.modules.get("IPython")  # a kernel has imported it; nobody else need have it
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


class _Cell:
    """The output of the cell that runs: the first thing shown, then each in the place of the last."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, html: str) -> None:
        display = sys.modules["IPython"].display
        said = {"text/html": html, "text/plain": "a fit, shown as HTML"}
        if self._handle is None:
            self._handle = display.display(said, raw=True, display_id=True)
        else:
            self._handle.update(said, raw=True)


# ------------------------------------------------------------- helpers


def text_of(value: Any) -> str:
    """Cut any value for a title, which is escaped later."""
    return plain(value, 80)


def _last(records: Sequence[Record], stage: str, type_: str) -> Body | None:
    found = find(records, stage, type_)
    return found[-1].body if found else None


def _stages(records: Sequence[Record]) -> list[tuple[str, str, str]]:
    """List the stages that have begun, those that ended with what came in and out."""
    ended = {record.body["name"]: record.body for record in find(records, "lesson", "stage")}
    stages = []
    for record in find(records, "lesson", "begin"):
        name = record.body["name"]
        done = ended.get(name)
        came = (done["came_in"], done["came_out"]) if done else ("under way ...", "")
        stages.append((f"{record.body['number']}. {name}", *came))
    return stages


def _epochs(
    epochs: Sequence[Body], best: int | None, edits: Sequence[Body], held: str
) -> list[str]:
    """Draw the losses, and say the last epoch's."""
    if not epochs:
        return []
    last = epochs[-1]
    valid = "" if last["valid_loss"] is None else f", {held} {brief(last['valid_loss'])}"
    said = f"Epoch {last['number']}: loss {brief(last['train_loss'])}{valid}; {last['observation']}"
    edited = [f"Edit in epoch {edit['epoch']}: {edit['said']}" for edit in edits[-MOST_EDITS:]]
    return [curve(epochs, best, edits, held), sentence(said), *map(sentence, edited)]


def _metrics(body: Body) -> str:
    base = body["baseline"]
    rows = [[NAMES[name], brief(body[name]), brief(base[name])] for name in NAMES if name in body]
    return (
        heading(f"Measured on {counted(body['rows'], body['part'] + ' row')}")
        + table(["Metric", "Model", "Baseline"], rows)
        + sentence(f"Baseline: {base['what']}.")
        + "".join(map(sentence, body.get("notes", ())))
    )


def _baselines(body: Body) -> str:
    """Show simple models beside this one, and what follows."""
    rows = [
        [text(one["name"], 60), brief(one["score"]),
         f"{brief(one['low'])} to {brief(one['high'])}" if one["low"] is not None else "-",
         "-" if one["seconds"] is None else duration(float(one["seconds"])), text(one["note"] or "", 200)]
        for one in body["models"]
    ]  # fmt: skip
    name = NAMES.get(str(body["metric"]), str(body["metric"]))
    return (
        heading("Is it worth it?")
        + table(["Model", name, "95 % interval", "Time", ""], rows)
        + sentence(body["verdict"])
    )


def _parts(body: Body) -> str:
    """Show what each part of the model said of a row, its members, and what calibration did."""
    parts, said = body.get("parts") or (), "".join(map(sentence, beside(body)))
    if len(parts) < 2:
        return said
    place, what = shown_output(body)
    unit, share = (
        ("Probability", "Share of the logit") if body["probabilities"] else ("Value", "Share")
    )
    largest = max(abs(float(part["share"][place])) for part in parts)
    return (
        heading(f"What each part says of {what}")
        + table(["Part", "Weight", unit, share, ""], [
            [text(part["name"], 40), brief(part["weight"]), brief(part["values"][place]),
             f"{float(part['share'][place]):+.4g}", bar(part["share"][place], largest, both=True)]
            for part in parts
        ])
        + said
    )  # fmt: skip


def _pushes(body: Body) -> str:
    """Show what pushed the prediction, or why that is not known."""
    pushes = body.get("pushes")
    if not pushes:
        return sentence(body["pushes_note"]) if body.get("pushes_note") else ""
    largest = max((abs(float(push)) for _, push in pushes["columns"]), default=0.0)
    what = "the probability of " if pushes["unit"] == "probability" else ""
    return (
        heading(f"What pushed {what}{text_of(pushes['of'])}")
        + sentence(
            f"From {brief(pushes['base'])} ({pushes['base_said']}) to {brief(pushes['value'])}."
        )
        + table(["Column", "Push", ""], [
            [text(name, 60), f"{float(push):+.4g}", bar(push, largest, both=True)]
            for name, push in pushes["columns"]
        ])
    )  # fmt: skip


def _values(layer: Body) -> str:
    """Draw a layer's output as cells; where it is not recorded whole, write its largest values."""
    if layer.get("values"):
        return heat(layer["values"], layer["places"], layer["scale"])
    return text(", ".join(f"[{place}] {brief(value)}" for place, value in layer["largest"]))


def _listed(names: Sequence[Any]) -> str:
    shown = ", ".join(plain(name, 40) for name in names[:MOST_CLASSES])
    more = len(names) - MOST_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown
