"""Results as tables on the terminal: for fits and for commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from sightline.contracts.schema import written
from sightline.errors import counted, cut, spelled
from sightline.lesson.facts import duration
from sightline.views.explained import contribution_title, explained_output, member_sentences
from sightline.views.format import METRIC_NAMES, brief, interval, metric_name, plain, signed
from sightline.views.printer import MOST_COLUMNS, Printer

Body = Mapping[str, Any]
MOST_LISTED_CLASSES = 10
MOST_CONFUSED_CLASSES = 8
"""With more classes the confusion matrix is too wide for a terminal."""
ROW_VALUES = 30


class TablePrinter(Printer):
    """Prints the bodies of records as tables; each method takes one body.

    Example:
        >>> import sys
        >>> from sightline.views.tables import TablePrinter
        >>> TablePrinter(sys.stdout).question(1, {"question": "Which?", "answers": {"A": "This."}})
        1. Which?
           A) This.
    """

    def question(self, number: int, question: Body) -> None:
        """Print a question of the quiz and its answers."""
        self.say(f"{number}. {question['question']}")
        for letter, answer in question["answers"].items():
            self.show(Text(f"   {letter}) {plain(answer, 300)}"))

    def columns(self, columns: Sequence[Body], notes: Sequence[str] = ()) -> None:
        """Print the kind and the role of each column, with the reason, and the table's notes."""
        table = self.new_table("Column", "Kind", "Role", "Missing", "Values", "Why")
        for column in columns[:MOST_COLUMNS]:
            table.add_row(
                Text(plain(column["name"], 30)), column["kind"], column["role"],
                f"{column['missing']:,}" if column["missing"] else "", Text(plain(column["values"], 60)),
                Text(plain(column["reason"], 200)),
            )  # fmt: skip
        self.show(table)
        self.more_columns(len(columns))
        for note in notes:
            self.say(note)

    def target(self, facts: Body) -> None:
        """Print what a fit would predict; see `Splits.target_facts`."""
        self.heading(f"Target: {facts['name']}", "bold")
        self.say(f"{facts['reason'][0].upper()}{facts['reason'][1:]}.")
        if "classes" in facts:
            table = self.new_table("Class", "Rows", "Share")
            for one in facts["classes"][:MOST_COLUMNS]:
                share = f"{100 * one['rows'] / facts['rows']:.1f} %"
                table.add_row(Text(plain(one["class"], 40)), f"{one['rows']:,}", share)
            self.show(table)
            if len(facts["classes"]) > MOST_COLUMNS:
                self.say(
                    f"And {counted(len(facts['classes']) - MOST_COLUMNS, 'more class', 'more classes')}."
                )
            if facts["positive"] is not None:
                self.say(f"The positive class is {facts['positive']}; another one: --positive.")
        else:
            self.say(
                f"Values from {brief(facts['low'])} to {brief(facts['high'])}, {brief(facts['mean'])} on average."
            )
        self.say(f"Split: {facts['split']}.")
        if facts["dropped"]:
            self.say(f"Left out: {counted(facts['dropped'], 'row')} without a target.")
        for note in facts["notes"]:
            self.say(f"{note}.")

    # ------------------------------------------------------------- one row

    def explanation(self, explained: Body, title: str) -> None:
        """Print one prediction step by step: raw values, layers, probabilities, contributions."""
        self.heading(title, "bold")
        raw = ", ".join(
            f"{plain(k, 30)}={plain(v, 30)}" for k, v in list(explained["raw"].items())[:ROW_VALUES]
        )
        self.say(f"Raw values: {raw}{_how_many_more(explained['raw'])}")
        if explained["error"]:
            self.say(f"No prediction: {explained['error']}")
            return
        for note in explained["notes"]:
            self.say(f"Note: {note}")
        encoded = list(explained["encoded"].items())
        numbers = ", ".join(f"{plain(k, 30)} {brief(v)}" for k, v in encoded[:ROW_VALUES])
        self.say(f"Encoded tensor: {numbers}{_how_many_more(encoded)}")
        table = self.new_table("Layer", "Output", "Largest values")
        for layer in explained["layers"]:
            largest = ", ".join(f"[{unit}] {brief(value)}" for unit, value in layer["largest"])
            shape = " x ".join(map(str, layer["shape"]))
            table.add_row(Text(plain(layer["name"], 60)), shape, largest)
        self.show(table)
        if explained["probabilities"]:
            self._classes(explained)
        self._parts(explained)
        self._contributions(explained)
        self.heading(f"Prediction: {plain(explained['prediction'], 200)}", "bold")

    def _classes(self, explained: Body) -> None:
        table = self.new_table("Class", "Logit", "Probability")
        order = sorted(
            range(len(explained["classes"])), key=lambda i: -float(explained["probabilities"][i])
        )
        for i in order[:MOST_LISTED_CLASSES]:
            table.add_row(
                Text(plain(explained["classes"][i], 40)), brief(explained["logits"][i]),
                brief(explained["probabilities"][i]),
            )  # fmt: skip
        self.show(table)
        if len(order) > MOST_LISTED_CLASSES:
            self.say(f"and {len(order) - MOST_LISTED_CLASSES} more classes")

    def _parts(self, explained: Body) -> None:
        """Print the prediction of each part, of the members, and the effect of calibration."""
        index, output = explained_output(explained)
        parts = explained.get("parts") or ()  # a network of your own is a single part
        if len(parts) > 1:
            unit = "Probability" if explained["probabilities"] else "Value"
            share = "Share of the logit" if explained["probabilities"] else "Share"
            title = f"Prediction of each part for {output}"
            table = self.new_table("Part", "Weight", unit, share, title=title)
            for part in parts:
                table.add_row(
                    Text(plain(spelled(part["name"]), 40)), brief(part["weight"]),
                    brief(part["values"][index]), signed(part["share"][index]),
                )  # fmt: skip
            total = sum(float(part["share"][index]) for part in parts)
            table.add_row("sum", "", "", signed(total))
            self.show(table)
        for sentence in member_sentences(explained):
            self.say(sentence)

    def _contributions(self, explained: Body) -> None:
        """Print the Shapley value of each column, from a typical row's prediction to this row's."""
        pushes = explained.get("pushes")  # runs of an older Sightline have none
        if pushes is None:
            if explained.get("pushes_note"):
                self.say(f"Note: {explained['pushes_note']}")
            return
        table = self.new_table("Column", "Value", "Contribution", title=contribution_title(pushes))
        table.add_row("", Text(plain(pushes["base_said"], 200)), brief(pushes["base"]))
        for column, push in pushes["columns"]:
            value = explained["raw"].get(column, "")
            table.add_row(Text(plain(column, 40)), Text(plain(value, 40)), signed(push))
        table.add_row("", "this row", brief(pushes["value"]))
        self.show(table)
        self.say(f"Shapley values, from {pushes['permutations']} orders of the columns.")

    # ------------------------------------------------------------- many rows

    def metrics(self, body: Body) -> None:
        """Print the metrics of the model and of the baseline."""
        base = body["baseline"]
        table = self.new_table(
            "Metric", "Model", "Baseline", title=f"{body['part']}: {counted(body['rows'], 'row')}"
        )
        for name in METRIC_NAMES:
            if name in body:
                table.add_row(METRIC_NAMES[name], brief(body[name]), brief(base[name]))
        self.show(table)
        self.say(f"Baseline: {base['what']}.")
        if body.get("positive") is not None:
            both = "AUC and average precision are" if "average_precision" in body else "AUC is"
            self.say(f"{both} for the positive class, {body['positive']}.")
        if "classes" in body:
            self._per_class(body)
        for note in body.get("notes", ()):
            self.say(note)
        if body["left_out"]:
            left_out = counted(body["left_out"], "row")
            self.say(f"Left out: {left_out} without a usable target or features.")

    def _per_class(self, body: Body) -> None:
        confusion = len(body["classes"]) <= MOST_CONFUSED_CLASSES
        predicted = (
            [f"as {plain(cut(written(c['class']), 12), 12)}" for c in body["classes"]]
            if confusion
            else []
        )
        table = self.new_table("Class", "Precision", "Recall", "F1", "Rows", *predicted)
        for i, row in enumerate(body["classes"][:MOST_COLUMNS]):
            counts = [f"{n:,}" for n in body["confusion"][i]] if confusion else []
            table.add_row(
                Text(plain(row["class"], 40)), brief(row["precision"]), brief(row["recall"]),
                brief(row["f1"]), f"{row['rows']:,}", *counts,
            )  # fmt: skip
        self.show(table)

    def importance(self, body: Body, most: int = MOST_COLUMNS) -> None:
        """Print the permutation importance of each column: how much the metric rises without it."""
        table = self.new_table(
            "Column", f"{metric_name(body['metric'])} rises by", "Deviation",
            title=f"{body['part']}: permutation importance of each column",
        )  # fmt: skip
        for column in body["columns"][:most]:
            table.add_row(
                Text(plain(column["column"], 40)), signed(column["mean"]), brief(column["deviation"])
            )  # fmt: skip
        self.show(table)
        self.more_columns(len(body["columns"]), most)
        self.say(body["sentence"])

    def baselines(self, body: Body) -> None:
        """Print the scores of this model and of simple models, and the verdict."""
        second_metric = next(
            (model["second"]["name"] for model in body["models"] if model["second"]), ""
        )
        table = self.new_table(
            "Model", metric_name(body["metric"]), "95 % interval", metric_name(second_metric), "Time",
            title=f"{body['part']}: this model and simple models, {counted(body['rows'], 'row')}",
        )  # fmt: skip
        for model in body["models"]:
            table.add_row(
                Text(plain(model["name"], 60)), brief(model["score"]),
                interval(model["low"], model["high"]),
                brief(model["second"]["value"]) if model["second"] else "-",
                "-" if model["seconds"] is None else duration(float(model["seconds"])),
            )  # fmt: skip
        self.show(table)
        for model in body["models"]:
            if model["note"]:
                self.say(f"{model['name']}: {model['note']}")
        self.say(body["verdict"])
        if body.get("remark"):
            self.say(body["remark"])

    def slices(self, body: Body) -> None:
        """Print the metrics by the value of each column: a table of its groups, the worst first."""
        for column in body["columns"]:
            further = [name for name in column["groups"][0]["values"] if name != column["metric"]]
            table = self.new_table(
                "Group", "Rows", metric_name(column["metric"]), "95 % interval", "Minus all others",
                *map(metric_name, further), title=f"{body['part']}: by {plain(column['column'], 40)} ({column['how']})",
            )  # fmt: skip
            for group in column["groups"]:
                name = f"{plain(group['group'], 40)}{' (worse)' if group['worse'] else ''}"
                apart = "-"
                if group["difference"] is not None:
                    ends = (
                        f"{signed(group['difference_low'])} to {signed(group['difference_high'])}"
                    )
                    apart = f"{signed(group['difference'])} ({ends})"
                table.add_row(
                    Text(name), f"{group['rows']:,}", brief(group["score"]), interval(group["low"], group["high"]),
                    apart, *(brief(group["values"][name]) for name in further),
                )  # fmt: skip
            self.show(table)
            self.say(column["sentence"])
            if column["caution"]:
                self.say(f"Caution: {column['caution']}")
        if len(body["columns"]) > 1 or any(
            group["worse"] for group in body["columns"][0]["groups"]
        ):
            self.say(body["sentence"])

    def compared(self, comparison: Body) -> None:
        """Print the result of `compare`: settings that differ and metrics, a column for each run."""
        names = [Text(plain(run, 40)) for run in comparison["runs"]]
        better = comparison.get("better", {})
        for title, rows in (
            ("Settings that differ", comparison["settings"]),
            ("Metrics", comparison["metrics"]),
        ):
            if not rows:
                self.say(f"{title}: none.")
                continue
            table = self.new_table(title, *(name.plain for name in names))
            for name, values in rows.items():
                best = better.get(name, ()) if rows is comparison["metrics"] else ()
                shown = [
                    (brief(v) if isinstance(v, float) else "-" if v is None else _listed(v))
                    + " *" * (index in best)
                    for index, v in enumerate(values)
                ]
                table.add_row(Text(plain(name, 40)), *(Text(plain(v, 200)) for v in shown))
            self.show(table)
        if better:
            self.say("* the best value of a metric.")
        self.say(f"{comparison['same']} settings are the same.")
        for sentence in comparison.get("warnings", ()):
            self.say(f"Warning: {sentence}")

    def runs(self, runs: Sequence[Body]) -> None:
        """Print the runs of a folder, one in a row; see `sightline.runs`."""
        table = self.new_table(
            "Run", "Date", "Table", "Target", "State", "Metric", "Rows", "Seconds"
        )
        for run in runs:
            value = (
                "-"
                if run["value"] is None
                else f"{metric_name(run['metric'])} {brief(run['value'])} ({run['part']})"
            )
            table.add_row(
                Text(plain(run["run"], 60)), (run["date"] or "-")[:16].replace("T", " "), Text(plain(run["table"] or "-", 40)),
                Text(plain(run["target"] or "-", 30)), run["state"], value,
                "-" if run["rows"] is None else f"{run['rows']:,}",
                "-" if run["seconds"] is None else f"{float(run['seconds']):,.0f}",
            )  # fmt: skip
        self.show(table)


def _listed(value: Any) -> str:
    sentences = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return "; ".join(value) or "-" if sentences else str(value)


def _how_many_more(values: Any) -> str:
    return f" and {len(values) - ROW_VALUES} more" if len(values) > ROW_VALUES else ""
