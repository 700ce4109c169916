"""What a notebook shows: a card of HTML for a run, a model and so on, and a fit in progress.

Every function takes plain values or records and only lays them out; see `fragments` and `markup`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.contracts import Record
from sightline.errors import counted
from sightline.lesson.facts import held_out
from sightline.trace.records import find
from sightline.views import fragments
from sightline.views.format import brief, plain
from sightline.views.markup import bar, card, heading, sentence, strip, table, text

Body = Mapping[str, Any]
REDRAW_SECONDS = 0.25
TITLE_WIDTH = 80


# ------------------------------------------------------------- cards


def of_run(records: Sequence[Record], steps: tuple[int, int] | None = None) -> str:
    """Show a run: its stages, losses, metrics, and its files.

    Args:
        records: The records of the run so far.
        steps: During training, the steps done and the steps planned.

    Example:
        >>> from sightline.views.notebook import of_run
        >>> from sightline.trace.records import Trace
        >>> trace = Trace()
        >>> _ = trace.write("lesson", "opening", {"title": "How a network learns <y>"})
        >>> "learns &lt;y&gt;" in of_run(trace.records)
        True
    """
    opening, end = _last(records, "lesson", "opening"), _last(records, "train", "end")
    lines = [strip(fragments.stages(records))]
    if steps is not None and end is None:
        lines.append(sentence(f"Step {steps[0]:,} of {steps[1]:,}."))
    lines += fragments.epochs(
        [record.body for record in find(records, "train", "epoch")],
        end["best_epoch"] if end is not None else None,
        [record.body for record in find(records, "train", "edit")],
        held_out(_last(records, "load", "split")),
    )
    if end is not None:
        kept = f"the weights of epoch {end['best_epoch']} are kept"
        lines.append(sentence(f"Training: {end['stopped']}; {kept}."))
    for part in (
        "second_network",
        "trees",
        "symmetric_trees",
        "forest",
        "kernel",
        "neighbors",
        "time_limit",
    ):
        if body := _last(records, "train", part):
            lines.append(sentence(f"{body['said']}."))
    if metrics := _last(records, "predict", "metrics"):
        lines.append(fragments.metrics(metrics))
    if baselines := _last(records, "predict", "baselines"):
        lines.append(fragments.baselines(baselines))
    for type_ in ("calibration", "sets", "threshold"):
        if body := _last(records, "predict", type_):
            lines.append(sentence(body["said"]))
    if slices := _last(records, "predict", "slices"):
        lines.append(sentence(slices["sentence"]))
    if shortened := _last(records, "predict", "time_limit"):
        lines.append(sentence(shortened["said"]))
    if run_end := _last(records, "run", "end"):
        lines.append(_files(run_end))
    return card(opening["title"] if opening else "A run", *lines)


def _files(end: Body) -> str:
    """List where a finished run's files are."""
    files = [("run", end["run"]), ("model", end["bundle"]), ("report", end.get("report"))]
    listed = ", ".join(f"{name}: <code>{text(path, 400)}</code>" for name, path in files if path)
    return f'<div style="margin:3px 0">Files: {listed}</div>'


def of_model(body: Body) -> str:
    """Show a model: its target, the columns it reads, and its layers.

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
    task = (
        f"Classification into {len(target['classes'])} classes: "
        f"{fragments.class_names(target['classes'])}."
        if target["task"] == "classification" else "Regression: it predicts a number."
    )  # fmt: skip
    network = f"{body['class']}, {counted(count, 'parameter')}."
    return card(
        f"A model of {plain(target['name'], TITLE_WIDTH)}", sentence(task), sentence(network),
        heading("Input columns"),
        table(["Column", "Kind"], [[text(c["name"], 60), text(c["kind"])] for c in body["columns"]]),
        heading("Layers"),
        table(["Layer", "Parameters"], [
            [text(layer["name"], 80), f"{layer['parameters']:,}"] for layer in body["layers"]
        ]),
    )  # fmt: skip


def of_prepared(body: Body) -> str:
    """Show a prepared table: how each column is encoded, and the tensors.

    Args:
        body: `ways` (column, kind, way, features), `shapes` (name, shape) and `notes`.

    Example:
        >>> from sightline.views.notebook import of_prepared
        >>> "[7, 2]" in of_prepared({"ways": [], "shapes": [["training rows", [7, 2]]], "notes": []})
        True
    """
    return card(
        "A prepared table",
        table(["Tensor", "Shape"], [[text(name), text(shape)] for name, shape in body["shapes"]]),
        heading("Preparation of each column"),
        table(["Column", "Kind", "Preparation", "Features"], [
            [text(column["column"], 60), text(column["kind"]), text(column["way"], 200),
             text(column["features"], 120)] for column in body["ways"]
        ]),
        *(sentence(f"{note}.") for note in body["notes"]),
    )  # fmt: skip


def of_training(body: Body) -> str:
    """Show a training: its plan, its network and the epochs so far.

    Args:
        body: `class`, `parameters`, `plan`, `steps`, `epochs` (as in `train/epoch`), `best_epoch`,
            `stopped`, `edits` (epoch, said) and, if its validation loss is out-of-fold, `folds`.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=2)
        >>> "not started" in training._repr_html_()
        True
    """
    plan, epochs, held = body["plan"], body["epochs"], held_out(body)
    state = body["stopped"] or ("it can continue" if epochs else "not started")
    planned = (
        f"{plan['epochs']:,} epochs of {plan['steps_per_epoch']:,} steps, batches of "
        f"{plan['batch_size']:,} rows, on {plan['device']} in {plan['precision']}."
    )
    return card(
        f"A training of {plain(body['class'], TITLE_WIDTH)}: {state}",
        sentence(f"{body['class']}, {body['parameters']:,} parameters; {planned}"),
        sentence(f"{body['steps']:,} steps done.") if epochs else "",
        *fragments.epochs(epochs, body["best_epoch"] if len(epochs) > 1 else None, body["edits"], held),
        table(["Epoch", "Loss", held.capitalize(), "Observation"], [
            [str(epoch["number"]), brief(epoch["train_loss"]), brief(epoch["valid_loss"]),
             text(epoch["observation"])] for epoch in epochs[-10:]
        ]) if epochs else "",
    )  # fmt: skip


def of_explanation(body: Body) -> str:
    """Show how one prediction was made: raw values, contributions, layers, probabilities.

    Args:
        body: `Explanation.to_json()`.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> row = sl.read("examples/penguins.csv").row(3)
        >>> "Torgersen" in run.model.explain(row)._repr_html_()
        True
    """
    raw = list(body["raw"].items())
    heads, cells = (
        ["Column", "Value"],
        [[text(k, 60), "missing" if v is None else text(v, 80)] for k, v in raw],
    )
    lines = [heading("Raw values"), table(heads, cells)]
    if body["error"]:
        return card("No prediction", sentence(body["error"]), *lines)
    lines += [sentence(f"Note: {note}.") for note in body["notes"]]
    lines += [fragments.contributions(body), fragments.parts(body)]
    lines += [heading("Layers"), table(["Layer", "Output", "Values"], [
        [text(layer["name"], 80), " x ".join(map(str, layer["shape"])), fragments.activations(layer)]
        for layer in body["layers"]
    ])]  # fmt: skip
    lines += fragments.probabilities(body)
    value = body["prediction"]
    number = isinstance(value, float) and not body["probabilities"]
    return card(f"Prediction: {brief(value) if number else plain(value, TITLE_WIDTH)}", *lines)


def of_predictions(body: Body) -> str:
    """Show the first predictions of a table, and the notes on its rows.

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
            [f"{row:,}", text(label, 80), brief(p), bar(p, 1.0) if p is not None else ""]
            for row, (label, p) in enumerate(body["first"])
        ]),
        sentence(f"and {rows - len(body['first']):,} more") if rows > len(body["first"]) else "",
        *(sentence(note) for note in body["report"]),
    )  # fmt: skip


# ------------------------------------------------------------- a fit in progress


class NotebookView:
    """Shows a fit in its notebook cell: each stage when it ends, the losses after each epoch.

    It redraws at most four times a second, so that it does not slow training down. The last drawing is
    static HTML, which the saved notebook keeps.

    Args:
        show: Called with the HTML; None updates the output of the cell.

    Example:
        >>> from sightline.views.notebook import NotebookView
        >>> from sightline.trace.records import Trace
        >>> view = NotebookView(show=print)
        >>> _ = Trace([view]).write("train", "skipped", {"step": 3, "said": "one step"})
    """

    def __init__(self, show: Any = None) -> None:
        self._show = show or _Cell()
        self._records: list[Record] = []
        self._steps: tuple[int, int] | None = None
        self._shown = time.monotonic()
        self._stale = False

    def begin(self, records: Sequence[Record]) -> None:
        """Take the earlier records of a resumed run."""
        self._records = list(records)

    def __call__(self, record: Record) -> None:
        """Take a record."""
        self._records.append(record)
        self._stale = True
        self._update()

    def step(self, done: int, total: int) -> None:
        """Note how many training steps are done."""
        self._steps = (done, total)
        self._stale = True
        self._update()

    def close(self) -> None:
        """Draw the final state."""
        self._steps = None
        if self._records and self._stale:
            self._draw()

    def _update(self) -> None:
        if time.monotonic() - self._shown >= REDRAW_SECONDS:
            self._draw()

    def _draw(self) -> None:
        self._show(of_run(self._records, self._steps))
        self._shown, self._stale = time.monotonic(), False


def in_kernel() -> bool:
    """Return whether this runs in a Jupyter kernel. IPython's terminal is not a kernel: it shows no HTML.

    Example:
        >>> from sightline.views.notebook import in_kernel
        >>> in_kernel()
        False
    """
    ipython = sys.modules.get("IPython")  # a kernel has imported it; it need not be installed
    shell = ipython.get_ipython() if ipython is not None else None
    return any(kind.__name__ == "ZMQInteractiveShell" for kind in type(shell).__mro__)


class _Cell:
    """The output of the running cell: each HTML replaces the one before."""

    def __init__(self) -> None:
        self._handle: Any = None

    def __call__(self, html: str) -> None:
        display = sys.modules["IPython"].display
        output = {"text/html": html, "text/plain": "a fit, shown as HTML"}
        if self._handle is None:
            self._handle = display.display(output, raw=True, display_id=True)
        else:
            self._handle.update(output, raw=True)


def _last(records: Sequence[Record], stage: str, type_: str) -> Body | None:
    bodies = find(records, stage, type_)
    return bodies[-1].body if bodies else None
