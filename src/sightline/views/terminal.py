"""The terminal's view of a run: each record as it is written, in tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.panel import Panel
from rich.text import Text

from sightline.contracts import Record
from sightline.errors import counted
from sightline.lesson.facts import duration, held_out
from sightline.views.explained import conformal_sentence
from sightline.views.format import brief, plain
from sightline.views.loss_chart import loss_chart
from sightline.views.printer import MOST_COLUMNS
from sightline.views.tables import TablePrinter

Body = Mapping[str, Any]
EPOCH_FORM = "{:>5}  {:>8}  {:>8}  {:>8}  {}"
MOST_IMPORTANT = 10


class TerminalView(TablePrinter):
    """Prints a run's records; call it with each one.

    A record of the type `train/epoch` is printed by the method `_train_epoch`, and so on.

    Args:
        file: Where to print; None is standard output.

    Example:
        >>> import sys
        >>> from sightline.trace.records import Trace
        >>> from sightline.views.terminal import TerminalView
        >>> trace = Trace([TerminalView(sys.stdout)])
        >>> _ = trace.write("lesson", "insight", {"title": "Key insight", "text": "Look."})
        <BLANKLINE>
        Key insight
        Look.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        super().__init__(file)
        self._epochs: list[Body] = []
        self._metric = "accuracy"
        self._held = "validation"

    def begin(self, records: Sequence[Record]) -> None:
        """Take the earlier records of a resumed run, without printing them again."""
        for record in records:
            if (record.stage, record.type) == ("load", "split"):
                self._load_split(record.body)

    def __call__(self, record: Record) -> None:
        """Print one record; a type without a method here prints nothing."""
        show = getattr(self, f"_{record.stage}_{record.type}", None)
        if show is not None:
            show(record.body)

    # ------------------------------------------------------------- load, prepare, build

    def _load_table(self, body: Body) -> None:
        self.columns(body["columns"], body["notes"])

    def _load_split(self, body: Body) -> None:
        self._held = held_out(body)

    def _prepare_columns(self, body: Body) -> None:
        table = self.new_table("Column", "Preparation")
        for column in body["ways"][:MOST_COLUMNS]:
            table.add_row(Text(plain(column["column"], 30)), Text(plain(column["way"], 200)))
        self.show(table)
        self.more_columns(len(body["ways"]))

    def _build_network(self, body: Body) -> None:
        table = self.new_table("Layer", "Output", "Parameters")
        for layer in body["layers"]:
            shape = " x ".join(map(str, layer["shape"]))
            table.add_row(Text(plain(layer["name"], 60)), shape, f"{layer['parameters']:,}")
        self.show(table)

    # ------------------------------------------------------------- train

    def _train_plan(self, body: Body) -> None:
        threads = counted(body["threads"], "thread")
        self.say(
            f"Device: {body['device']} ({body['device_reason']}), {threads} ({body['threads_reason']}), "
            f"{body['precision']} ({body['precision_reason']})."
        )

    def _train_epoch(self, body: Body) -> None:
        metrics = body["metrics"]
        self._metric = "accuracy" if "train_accuracy" in metrics else "rmse"
        if body["number"] == 0:
            self._begin_epochs(f"valid_{self._metric}" in metrics)
        self._epochs.append(body)
        valid = "-" if body["valid_loss"] is None else brief(body["valid_loss"])
        metric = metrics.get(f"valid_{self._metric}", metrics[f"train_{self._metric}"])
        line = EPOCH_FORM.format(
            body["number"],
            brief(body["train_loss"]),
            valid,
            brief(metric),
            plain(body["observation"], 300),
        )
        self.show(Text(line), soft=True)

    def _begin_epochs(self, held_out_metric: bool) -> None:
        """Print the head of the epochs' table, and which rows its columns are measured on."""
        self._epochs = []
        name = "Accuracy" if self._metric == "accuracy" else "RMSE"
        rows = f"{self._held} rows" if held_out_metric else "training rows"
        short = "Valid"
        if self._held == "out-of-fold":
            short = "Held out"
            if held_out_metric:
                rows = "out-of-fold, each row by members that did not learn from it"
        self.say(f"Loss: training, {self._held}. {name}: {rows}.")
        head = EPOCH_FORM.format("Epoch", "Loss", short, name, "Observation")
        self.show(Text(head, style="bold"))

    def _train_edit(self, body: Body) -> None:
        self.say(f"Edit after step {body['step']:,}: {body['said']}")

    def _train_event(self, body: Body) -> None:
        self.say(f"After step {body['step']:,}: {body['said']}")

    _train_refused = _train_skipped = _train_rollback = _train_memory = _train_event
    _train_warning = _train_paused = _train_continued = _train_plateau = _train_event

    def _train_replay(self, body: Body) -> None:
        self.say(body["said"][0].upper() + body["said"][1:] + ".")

    def _train_step(self, body: Body) -> None:
        shape = " x ".join(map(str, body["numeric_shape"]))
        codes = " x ".join(map(str, body["categorical_shape"]))
        self.say(
            f"Step {body['step']:,} in detail (epoch {body['epoch']}): numbers [{shape}], codes "
            f"[{codes}] -> logits [{' x '.join(map(str, body['logits_shape']))}] -> loss "
            f"{brief(body['loss'])}; {plain(body['weight'], 60)}: {float(body['weight_before']):+.5f}, "
            f"gradient {float(body['gradient']):+.5f}, update {float(body['update']):+.5f} -> "
            f"{float(body['weight_after']):+.5f}"
        )

    def _train_end(self, body: Body) -> None:
        self.close()
        for line in loss_chart(self._epochs, held=self._held):
            self.show(Text(line), soft=True)
        self.say(f"{body['stopped']}; the weights of epoch {body['best_epoch']} are kept.")

    def _train_trees(self, body: Body) -> None:
        self.say(f"{body['said']}; {duration(float(body['seconds']))}.")

    _train_second_network = _train_symmetric_trees = _train_forest = _train_kernel = (
        _train_neighbors
    ) = _train_trees

    def _train_time_limit(self, body: Body) -> None:
        self.say(f"{body['said']}.")

    # ------------------------------------------------------------- predict

    def _predict_example(self, body: Body) -> None:
        self.explanation(body["explanation"], f"Row {body['row']:,}, {body['part']}")
        if sentence := conformal_sentence(body):
            self.say(sentence)

    def _predict_importance(self, body: Body) -> None:
        self.importance(body, most=MOST_IMPORTANT)

    def _predict_metrics(self, body: Body) -> None:
        self.metrics(body)

    def _predict_curves(self, body: Body) -> None:
        if "reliability" in body:
            self.say(f"Expected calibration error: {brief(body['reliability']['ece'])}")

    def _predict_calibration(self, body: Body) -> None:
        self.say(body["said"])

    _predict_sets = _predict_threshold = _predict_time_limit = _predict_calibration

    def _predict_slices(self, body: Body) -> None:
        names = ", ".join(plain(column["column"], 40) for column in body["columns"])
        self.say(f"By {names}: {body['sentence']}")

    def _predict_baselines(self, body: Body) -> None:
        self.baselines(body)

    # ------------------------------------------------------------- lesson, run

    def _lesson_opening(self, body: Body) -> None:
        text = Text(plain(body["paragraph"], 2000))
        minutes = Text(f"{counted(body['minutes'], 'minute')} to read")
        title = Text(plain(body["title"], 200))
        self.console.print(Panel(text, title=title, subtitle=minutes, box=self.box()))

    def _lesson_begin(self, body: Body) -> None:
        self.console.print()
        self.heading(f"{body['number']}. {body['name']}: {body['title']}")

    def _lesson_stage(self, body: Body) -> None:
        self.say(f"{body['came_in']} -> {body['came_out']}")
        self.say(body["done"])
        self.show(Text(plain(body["caption"], 2000), style="italic"))

    def _lesson_insight(self, body: Body) -> None:
        self.console.print()
        self.heading(body["title"])
        self.say(body["text"])

    def _lesson_quiz(self, body: Body) -> None:
        self.console.print()
        self.heading("Three questions about this run")
        for number, question in enumerate(body["questions"], start=1):
            self.question(number, question)

    def _lesson_result(self, body: Body) -> None:
        self.console.print()
        self.heading("Result")
        self.say(body["headline"])
        if body["verdict"] is not None:
            self.say(body["verdict"])
        for caution in body["cautions"]:
            self.say(f"Note: {caution}")

    def _run_end(self, body: Body) -> None:
        self.console.print()
        self.say(f"Run: {body['run']}   model: {body['bundle']}   {float(body['seconds']):.1f} s")
        if body.get("report"):  # runs made before there were reports have none
            self.say(f"Report (open it in a browser): {body['report']}")
        self.heading("Next:", "bold")
        for command in body["next"]:
            self.show(Text(f"  {plain(command, 4000)}"), soft=True)
