"""The terminal's view: each record as it comes, in tables and sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sightline.contracts import Record
from sightline.errors import counted, listed, shorten
from sightline.lesson.facts import duration, held_out

Body = Mapping[str, Any]
PLAIN_WIDTH = 100
MOST_COLUMNS = 40
EPOCH_FORM = "{:>5}  {:>8}  {:>8}  {:>8}  {}"


class TerminalView:
    """Prints records; call it with each one.

    Plain text, without colour or a moving bar, where the output is not a terminal.

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
        self.console = Console(file=file, highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = PLAIN_WIDTH
        self._progress: Progress | None = None
        self._bar: Any = None
        self._epochs: list[Body] = []
        self._metric = "accuracy"
        self._held = "validation"

    def begin(self, records: Sequence[Record]) -> None:
        """Take what was recorded before, of a run that goes on: nothing of it is shown again."""
        for record in records:
            if (record.stage, record.type) == ("load", "split"):
                self._load_split(record.body)

    def __call__(self, record: Record) -> None:
        """Show one record; types without a picture of their own show nothing."""
        show = getattr(self, f"_{record.stage}_{record.type}", None)
        if show is not None:
            show(record.body)

    def step(self, done: int, total: int) -> None:
        """Move the progress bar; there is one on a terminal alone."""
        if not self.console.is_terminal:
            return
        if self._progress is None:
            self._progress = Progress(
                TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"),
                TimeRemainingColumn(), console=self.console, transient=True, refresh_per_second=8,
            )  # fmt: skip
            self._bar = self._progress.add_task("training", total=total)
            self._progress.start()
        self._progress.update(self._bar, completed=done)

    def close(self) -> None:
        """Take the progress bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    # ------------------------------------------------------------- the records

    def _lesson_opening(self, body: Body) -> None:
        text = Text(plain(body["paragraph"], 2000))
        minutes = f"{counted(body['minutes'], 'minute')} to read"
        self.console.print(
            Panel(
                text, title=Text(plain(body["title"], 200)), subtitle=Text(minutes), box=self._box()
            )
        )

    def _load_table(self, body: Body) -> None:
        self._columns(body["columns"])
        for note in body["notes"]:
            self._say(note)

    def _load_split(self, body: Body) -> None:
        self._held = held_out(body)

    def _train_plan(self, body: Body) -> None:
        threads = counted(body["threads"], "thread")
        self._say(
            f"Device: {body['device']} ({body['device_reason']}), {threads} ({body['threads_reason']}), "
            f"{body['precision']} ({body['precision_reason']})."
        )

    def _train_epoch(self, body: Body) -> None:
        metrics = body["metrics"]
        self._metric = "accuracy" if "train_accuracy" in metrics else "rmse"
        if body["number"] == 0:
            self._epochs = []
            name = "Accuracy" if self._metric == "accuracy" else "RMSE"
            judged = f"{self._held} rows" if f"valid_{self._metric}" in metrics else "training rows"
            short = "Valid"
            if self._held == "out-of-fold":
                short = "Held out"
                judged = judged.replace(
                    "out-of-fold rows",
                    "out of fold, each row by members that did not learn from it",
                )
            self._say(f"Loss: training, {self._held}. {name}: {judged}.")
            head = EPOCH_FORM.format("Epoch", "Loss", short, name, "Observation")
            self._print(Text(head, style="bold"))
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
        self._print(Text(line), soft=True)

    def _train_edit(self, body: Body) -> None:
        self._say(f"Edit after step {body['step']:,}: {body['said']}")

    def _train_refused(self, body: Body) -> None:
        self._say(f"After step {body['step']:,}: {body['said']}")

    _train_skipped = _train_rollback = _train_memory = _train_warning = _train_refused
    _train_paused = _train_continued = _train_plateau = _train_refused

    def _train_replay(self, body: Body) -> None:
        self._say(body["said"][0].upper() + body["said"][1:] + ".")

    def _train_step(self, body: Body) -> None:
        shape = " x ".join(map(str, body["numeric_shape"]))
        codes = " x ".join(map(str, body["categorical_shape"]))
        self._say(
            f"Step {body['step']:,} under the glass (epoch {body['epoch']}): numbers [{shape}], codes "
            f"[{codes}] -> logits [{' x '.join(map(str, body['logits_shape']))}] -> loss "
            f"{brief(body['loss'])}; {plain(body['weight'], 60)}: {float(body['weight_before']):+.5f}, "
            f"gradient {float(body['gradient']):+.5f}, update {float(body['update']):+.5f} -> "
            f"{float(body['weight_after']):+.5f}"
        )

    def _train_end(self, body: Body) -> None:
        self.close()
        for line in chart(self._epochs, held=self._held):
            self._print(Text(line), soft=True)
        self._say(f"{body['stopped']}; the weights of epoch {body['best_epoch']} are kept.")

    def _train_trees(self, body: Body) -> None:
        self._say(f"{body['said']}; {duration(float(body['seconds']))}.")

    def _build_network(self, body: Body) -> None:
        table = self._table("Layer", "Output", "Parameters")
        for layer in body["layers"]:
            shape = " x ".join(map(str, layer["shape"]))
            table.add_row(Text(plain(layer["name"], 60)), shape, f"{layer['parameters']:,}")
        self.console.print(table)

    def _prepare_columns(self, body: Body) -> None:
        table = self._table("Column", "Way to the network")
        for way in body["ways"][:MOST_COLUMNS]:
            table.add_row(Text(plain(way["column"], 30)), Text(plain(way["way"], 200)))
        self.console.print(table)
        self._more(len(body["ways"]))

    def _predict_example(self, body: Body) -> None:
        self.explanation(body["explanation"], f"Row {body['row']:,}, {body['part']}")
        if said := held_words(body):
            self._say(said)

    def _predict_importance(self, body: Body) -> None:
        self.importance(body, most=10)

    def _predict_metrics(self, body: Body) -> None:
        self.metrics(body)

    def _predict_curves(self, body: Body) -> None:
        if "reliability" in body:
            self._say(f"Expected calibration error: {brief(body['reliability']['ece'])}")

    def _predict_calibration(self, body: Body) -> None:
        self._say(body["said"])

    _predict_sets = _predict_threshold = _predict_calibration

    def _predict_baselines(self, body: Body) -> None:
        self.baselines(body)

    def _lesson_begin(self, body: Body) -> None:
        self.console.print()
        self._print(Text(f"{body['number']}. {body['name']}: {body['title']}", style="bold cyan"))

    def _lesson_stage(self, body: Body) -> None:
        self._say(f"{body['came_in']} -> {body['came_out']}")
        self._say(body["done"])
        self._print(Text(plain(body["caption"], 2000), style="italic"))

    def _lesson_insight(self, body: Body) -> None:
        self.console.print()
        self._print(Text(body["title"], style="bold cyan"))
        self._say(body["text"])

    def _lesson_quiz(self, body: Body) -> None:
        self.console.print()
        self._print(Text("Three questions about this run", style="bold cyan"))
        for number, question in enumerate(body["questions"], start=1):
            self.question(number, question)

    def _run_end(self, body: Body) -> None:
        self.console.print()
        self._say(f"Run: {body['run']}   model: {body['bundle']}   {float(body['seconds']):.1f} s")
        if body.get("report"):  # runs made before there were reports have none
            self._say(f"Report, for a browser: {body['report']}")
        self._print(Text("Next:", style="bold"))
        for command in body["next"]:
            self._print(Text(f"  {plain(command, 4000)}"), soft=True)

    # ------------------------------------------------------------- pieces the commands use too

    def question(self, number: int, question: Body) -> None:
        """Print a question and its four answers."""
        self._say(f"{number}. {question['question']}")
        for letter, answer in question["answers"].items():
            self._print(Text(f"   {letter}) {plain(answer, 300)}"))

    def columns(self, columns: Sequence[Body], notes: Sequence[str] = ()) -> None:
        """Print what each column is, and why."""
        self._columns(columns)
        for note in notes:
            self._say(note)

    def explanation(self, explained: Body, title: str) -> None:
        """Print a row's way through the network."""
        self._print(Text(plain(title, 300), style="bold"))
        raw = ", ".join(
            f"{plain(k, 30)}={plain(v, 30)}" for k, v in list(explained["raw"].items())[:30]
        )
        self._say(f"Raw values: {raw}{_rest(explained['raw'], 30)}")
        if explained["error"]:
            self._say(f"No prediction: {explained['error']}")
            return
        for note in explained["notes"]:
            self._say(f"Note: {note}")
        encoded = explained["encoded"].items()
        numbers = ", ".join(f"{plain(k, 30)} {brief(v)}" for k, v in list(encoded)[:30])
        self._say(f"Encoded tensor: {numbers}{_rest(explained['encoded'], 30)}")
        table = self._table("Layer", "Output", "Largest by size")
        for layer in explained["layers"]:
            largest = ", ".join(f"[{place}] {brief(value)}" for place, value in layer["largest"])
            shape = " x ".join(map(str, layer["shape"]))
            table.add_row(Text(plain(layer["name"], 60)), shape, largest)
        self.console.print(table)
        if explained["probabilities"]:
            self._classes(explained)
        self._parts(explained)
        self._pushes(explained)
        self._print(Text(f"Prediction: {plain(explained['prediction'], 200)}", style="bold"))

    def metrics(self, body: Body) -> None:
        """Print metrics with the baseline beside them."""
        base = body["baseline"]
        table = self._table(
            "Metric", "Model", "Baseline", title=f"{body['part']}: {counted(body['rows'], 'row')}"
        )
        for name in ("accuracy", "log_loss", "roc_auc", "rmse", "mae", "r2"):
            if name in body:
                table.add_row(NAMES[name], brief(body[name]), brief(base[name]))
        self.console.print(table)
        self._say(f"Baseline: {base['what']}.")
        if body.get("positive") is not None:
            self._say(f"AUC is for the positive class, {body['positive']}.")
        if "classes" in body:
            self._per_class(body)
        for note in body.get("notes", ()):
            self._say(note)
        if body["left_out"]:
            left_out = counted(body["left_out"], "row")
            self._say(f"Left out: {left_out} without a usable target or features.")

    def importance(self, body: Body, most: int = MOST_COLUMNS) -> None:
        """Print how much the metric rises without each column."""
        rise = f"{NAMES[body['metric']]} rises by"
        table = self._table(
            "Column", rise, "Deviation", title=f"{body['part']}: what each column is good for"
        )
        for column in body["columns"][:most]:
            table.add_row(
                Text(plain(column["column"], 40)), signed(column["mean"]), brief(column["deviation"])
            )  # fmt: skip
        self.console.print(table)
        self._more(len(body["columns"]), most)
        self._say(body["sentence"])

    def baselines(self, body: Body) -> None:
        """Print the scores of simple models beside this one's, and what follows."""
        name = NAMES.get(str(body["metric"]), str(body["metric"]))
        other = next((one["second"]["name"] for one in body["models"] if one["second"]), "")
        table = self._table(
            "Model", name, "95 % interval", NAMES.get(other, other), "Time",
            title=f"{body['part']}: is it worth it? {counted(body['rows'], 'row')}",
        )  # fmt: skip
        for one in body["models"]:
            table.add_row(
                Text(plain(one["name"], 60)), brief(one["score"]),
                f"{brief(one['low'])} to {brief(one['high'])}" if one["low"] is not None else "-",
                brief(one["second"]["value"]) if one["second"] else "-",
                "-" if one["seconds"] is None else duration(float(one["seconds"])),
            )  # fmt: skip
        self.console.print(table)
        for one in body["models"]:
            if one["note"]:
                self._say(f"{one['name']}: {one['note']}")
        self._say(body["verdict"])

    def compared(self, said: Body) -> None:
        """Print what `compare` found."""
        names = [Text(plain(run, 40)) for run in said["runs"]]
        for title, rows in (
            ("Settings that differ", said["settings"]),
            ("Metrics", said["metrics"]),
        ):
            if not rows:
                self._say(f"{title}: none.")
                continue
            table = self._table(title, *(name.plain for name in names))
            for name, values in rows.items():
                shown = [
                    brief(v) if isinstance(v, float) else "-" if v is None else _listed(v)
                    for v in values
                ]
                table.add_row(Text(plain(name, 40)), *(Text(plain(v, 200)) for v in shown))
            self.console.print(table)
        self._say(f"{said['same']} settings are the same.")

    # ------------------------------------------------------------- helpers

    def _columns(self, columns: Sequence[Body]) -> None:
        table = self._table("Column", "Kind", "Role", "Missing", "Values", "Why")
        for column in columns[:MOST_COLUMNS]:
            table.add_row(
                Text(plain(column["name"], 30)), column["kind"], column["role"],
                f"{column['missing']:,}" if column["missing"] else "", Text(plain(column["values"], 60)),
                Text(plain(column["reason"], 200)),
            )  # fmt: skip
        self.console.print(table)
        self._more(len(columns))

    def _classes(self, explained: Body) -> None:
        table = self._table("Class", "Logit", "Probability")
        order = sorted(
            range(len(explained["classes"])), key=lambda i: -float(explained["probabilities"][i])
        )
        for i in order[:10]:
            table.add_row(
                Text(plain(explained["classes"][i], 40)), brief(explained["logits"][i]),
                brief(explained["probabilities"][i]),
            )  # fmt: skip
        self.console.print(table)
        if len(order) > 10:
            self._say(f"and {len(order) - 10} more classes")

    def _parts(self, explained: Body) -> None:
        """Print what each part of the model said, what the members thought, and what calibration did."""
        place, what = shown_output(explained)
        parts = explained.get("parts") or ()  # a network of one's own has no others beside it
        if len(parts) > 1:
            unit = "Probability" if explained["probabilities"] else "Value"
            share = "Share of the logit" if explained["probabilities"] else "Share"
            table = self._table(
                "Part", "Weight", unit, share, title=f"What each part says of {what}"
            )
            for part in parts:
                table.add_row(
                    Text(plain(part["name"], 40)), brief(part["weight"]),
                    brief(part["values"][place]), signed(part["share"][place]),
                )  # fmt: skip
            total = sum(float(part["share"][place]) for part in parts)
            table.add_row("together", "", "", signed(total))
            self.console.print(table)
        for said in beside(explained):
            self._say(said)

    def _pushes(self, explained: Body) -> None:
        """Print what moved the prediction, from a typical row's to this one's."""
        pushes = explained.get("pushes")  # runs of an older Sightline have none
        if pushes is None:
            if explained.get("pushes_note"):
                self._say(f"Note: {explained['pushes_note']}")
            return
        of = f"probability of {pushes['of']}" if pushes["unit"] == "probability" else pushes["of"]
        table = self._table("Column", "Value", "Push", title=f"What pushed the {of}")
        table.add_row("", Text(plain(pushes["base_said"], 200)), brief(pushes["base"]))
        for column, push in pushes["columns"]:
            value = explained["raw"].get(column, "")
            table.add_row(Text(plain(column, 40)), Text(plain(value, 40)), signed(push))
        table.add_row("", "this row", brief(pushes["value"]))
        self.console.print(table)
        self._say(f"Shapley values, from {pushes['permutations']} orders of the columns.")

    def _per_class(self, body: Body) -> None:
        few = len(body["classes"]) <= 8
        guesses = [f"as {plain(c['class'], 12)}" for c in body["classes"]] if few else []
        table = self._table("Class", "Precision", "Recall", "F1", "Rows", *guesses)
        for i, one in enumerate(body["classes"][:MOST_COLUMNS]):
            counts = [f"{n:,}" for n in body["confusion"][i]] if few else []
            table.add_row(
                Text(plain(one["class"], 40)), brief(one["precision"]), brief(one["recall"]),
                brief(one["f1"]), f"{one['rows']:,}", *counts,
            )  # fmt: skip
        self.console.print(table)

    def _more(self, count: int, shown: int = MOST_COLUMNS) -> None:
        if count > shown:
            self._say(f"and {count - shown} more columns")

    def _table(self, *heads: str, title: str | None = None) -> Table:
        table = Table(
            box=self._box(), title=Text(plain(title, 100)) if title else None, title_justify="left"
        )
        for head in heads:
            table.add_column(Text(head), overflow="fold")
        return table

    def _box(self) -> box.Box:
        return box.ROUNDED if self.console.is_terminal else box.ASCII2

    def _say(self, text: str) -> None:
        self._print(Text(plain(text, 4000)))

    def _print(self, what: Any, soft: bool = False) -> None:
        console = self._progress.console if self._progress else self.console
        console.print(what, soft_wrap=soft)


EMPTY_SET = "no class is as probable as the true one was in nine of ten held-out rows"
NAMES = {
    "accuracy": "Accuracy", "log_loss": "Log loss", "roc_auc": "AUC", "rmse": "RMSE", "mae": "MAE",
    "r2": "R2",
}  # fmt: skip


def shown_output(explained: Body) -> tuple[int, str]:
    """Return which output of an explained row is spoken of, and its name: the predicted class's.

    Example:
        >>> from sightline.views.terminal import shown_output
        >>> shown_output({"probabilities": [0.2, 0.8], "classes": ["no", "yes"], "prediction": "yes"})
        (1, 'yes')
    """
    if not explained["probabilities"]:
        return 0, "the number"
    place = list(explained["classes"]).index(explained["prediction"])
    return place, plain(explained["prediction"], 40)


def beside(explained: Body) -> list[str]:
    """Say what the members of the network thought of a row, and what calibration changed.

    Example:
        >>> from sightline.views.terminal import beside
        >>> beside({"probabilities": [], "prediction": 3.0, "members": {
        ...     "mean": [3.1], "spread": [0.2], "values": [[2.9], [3.3]]}})
        ['2 members of the network: 3.100 on average, standard deviation 0.200, from 2.900 to 3.300.']
    """
    place, what = shown_output(explained)
    said, members = [], explained.get("members")
    if members:
        values = [float(one[place]) for one in members["values"]]
        of = f" for {what}" if explained["probabilities"] else ""
        said.append(
            f"{counted(len(values), 'member')} of the network: {brief(members['mean'][place])} on average{of}, "
            f"standard deviation {brief(members['spread'][place])}, from {brief(min(values))} to "
            f"{brief(max(values))}."
        )
    if explained.get("uncalibrated") and explained.get("temperature") is not None:
        several = len(explained.get("parts") or ()) > 1
        why = " (one over the sum of the parts' weights)" if several else ""
        said.append(
            f"Calibration, temperature {brief(explained['temperature'])}{why}: {what} "
            f"{brief(explained['uncalibrated'][place])} -> {brief(explained['probabilities'][place])}."
        )
    return said


def held_words(row: Body) -> str:
    """Say which classes, or which interval, a row's truth is held to be in; "" where that is not known.

    Example:
        >>> from sightline.views.terminal import held_words
        >>> held_words({"set": ["no", "yes"]}), held_words({"interval": [1.0, 2.5]}), held_words({})
        ('Set that is to hold the truth: no, yes', 'Interval that is to hold the truth: 1.000 to 2.500', '')
    """
    if row.get("interval"):
        low, high = row["interval"]
        return f"Interval that is to hold the truth: {brief(low)} to {brief(high)}"
    if "set" not in row:
        return ""
    names = listed([plain(label, 40) for label in row["set"]], 10)
    return f"Set that is to hold the truth: {names or 'none; ' + EMPTY_SET}"


def plain(value: Any, width: int) -> str:
    """Make any value safe to print: cut to a width, control characters shown, not obeyed.

    Example:
        >>> from sightline.views.terminal import plain
        >>> print(plain("red" + chr(27) + "[31m", 40))
        red\\x1b[31m
    """
    text = shorten(str(value), width)
    return "".join(c if c.isprintable() or c == " " else repr(c)[1:-1] for c in text)


def brief(value: Any) -> str:
    """Write a number in few places.

    Example:
        >>> from sightline.views.terminal import brief
        >>> brief(0.12345), brief(123456.7), brief(None), brief("NaN")
        ('0.123', '123,457', '-', 'nan')
    """
    if value is None:
        return "-"
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    if number and abs(number) < 0.001:
        return f"{number:.1e}"
    return f"{number:.3f}" if abs(number) < 1000 else f"{number:,.0f}"


def signed(value: Any) -> str:
    """Write a change in few places, its sign always.

    Example:
        >>> from sightline.views.terminal import signed
        >>> signed(0.12345), signed(-1234.5), signed(0)
        ('+0.123', '-1,234', '0.000')
    """
    return f"{'+' if float(value) > 0 else ''}{brief(value)}"


def chart(
    epochs: Sequence[Body], width: int = 60, height: int = 8, held: str = "validation"
) -> list[str]:
    """Draw the losses of all epochs in characters: o training, x validation (or `held`), * both.

    Example:
        >>> from sightline.views.terminal import chart
        >>> rows = [{"number": i, "train_loss": 1 / (i + 1), "valid_loss": None} for i in range(3)]
        >>> print("\\n".join(line.rstrip() for line in chart(rows, height=3)))
        Loss (o training, x validation, * both)
           1.000 |o
           0.667 | o
           0.333 |  o
                 +---
                  0 epoch 2
    """
    series = [
        [
            None if e[key] is None or not math.isfinite(float(e[key])) else float(e[key])
            for e in epochs
        ]
        for key in ("train_loss", "valid_loss")
    ]
    known = [value for line in series for value in line if value is not None]
    if not known:
        return []
    low, high = min(known), max(known)
    step = max(1, math.ceil(len(epochs) / width))
    places = list(range(0, len(epochs), step))
    if places[-1] != len(epochs) - 1:
        places.append(len(epochs) - 1)
    grid = [[" "] * len(places) for _ in range(height)]
    for line, mark in zip(series, "ox", strict=True):
        for x, place in enumerate(places):
            value = line[place]
            if value is None:
                continue
            y = round((high - value) / (high - low) * (height - 1)) if high > low else height - 1
            grid[y][x] = mark if grid[y][x] == " " else "*"
    labels = [high - (high - low) * y / (height - 1) for y in range(height)]
    lines = [f"Loss (o training, x {held}, * both)"]
    lines += [f"{brief(label):>8} |{''.join(row)}" for label, row in zip(labels, grid, strict=True)]
    end = str(epochs[-1]["number"])
    return [*lines, " " * 9 + "+" + "-" * len(places), " " * 10 + f"0 epoch {end}"]


def _listed(value: Any) -> str:
    sentences = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return "; ".join(value) or "-" if sentences else str(value)


def _rest(values: Any, shown: int) -> str:
    return f" and {len(values) - shown} more" if len(values) > shown else ""
