"""Writes the records of a run, stage by stage; it computes no results.

The bodies come from the modules that compute them (`evaluate.stages`, `evaluate.evaluation`, the
training) and from the lesson, whose sentences use the same bodies. docs/trace.md lists them.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from sightline.contracts import Column, EventType, Step, TrainingSettings, traits_of
from sightline.contracts.records.load import LoadBatch, LoadSplit
from sightline.contracts.records.run import RunEnd
from sightline.contracts.records.train import TrainCheckpoint, TrainEnd, TrainReplay
from sightline.errors import counted
from sightline.evaluate.evaluation import Evaluation
from sightline.evaluate.rows import measured_rows
from sightline.evaluate.stages import build_network, prepare_columns
from sightline.lesson import code, lesson
from sightline.lesson.facts import facts, shapes
from sightline.lesson.maths import maths
from sightline.lesson.quiz import quiz
from sightline.lesson.result import result
from sightline.lesson.terms import terms
from sightline.load.batches import count_batches
from sightline.load.classes import class_notes
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.page.report import REPORT_FILE
from sightline.pipeline.finish import Finished
from sightline.pipeline.flow import Loaded, Observer
from sightline.pipeline.warm_start import START
from sightline.predict.bundle import versions
from sightline.predict.described import BUNDLE
from sightline.prepare.prepared import Prepared
from sightline.trace.records import Trace
from sightline.train.checkpoints import weights_fingerprint
from sightline.train.training import Training


class Recorder(Observer):
    """Records what happens in a run.

    Args:
        trace: Where the records are written.
        folder: The run folder; it is created after stage 3, so that a run which is refused before
            training leaves no folder.
        resumed: Whether the first three stages and the plan are recorded already.
        first: For a replay, the first run's `train/end` and the records of its parts, by part, whose
            weights are compared.
    """

    def __init__(
        self,
        trace: Trace,
        folder: Path,
        *,
        resumed: bool = False,
        first: tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        self.trace, self.folder, self.resumed, self.first = trace, folder, resumed, first
        self._began = self._last_lap = time.perf_counter()
        counts = Counter((record.stage, record.type) for record in trace.records)
        self._epochs_recorded = counts["train", "epoch"]
        self._events_recorded = sum(counts["train", type_] for type_ in get_args(EventType))

    # ------------------------------------------------------------- stage 1

    def loaded(self, loaded: Loaded) -> None:
        """Record stage 1: columns, split, batches."""
        seconds = self._lap()
        table, splits, decisions = loaded.table, loaded.splits, loaded.decisions
        self.table, self.splits, self.options = table, splits, decisions.options
        self.target = asdict(splits.target)
        if self.resumed:
            return
        self.trace.write("run", "start", {
            "source": table.name, "target": self.target, "seed": self.options.seed,
            "read": dict(table.options), "split": splits.options, **decisions.to_json(),
            "versions": versions(),
        })  # fmt: skip
        schema, large = splits.table.schema, splits.large
        columns = [
            {
                **summary,
                "role": schema[summary["name"]].role,
                "reason": schema[summary["name"]].reason,
            }
            for summary in (table if large is None else splits.table).summary(splits.target)
        ]
        body = {
            "name": table.name, "rows": table.rows if large is None else large.table.rows, "skipped": table.skipped,
            "dropped": splits.dropped, "columns": columns, "notes": _load_notes(table, splits, self.options.split.positive is not None),
            "bytes": sum(data.nbytes for data in table.columns.values()), "seconds": seconds,
            **({} if large is None else {"memory_limit": large.table.budget.limit, "sampled": splits.table.rows}),
        }  # fmt: skip
        self.trace.write("lesson", "opening", lesson.opening(body, self.target))
        source = _relative(decisions.origin["source"])
        start = None if loaded.start is None else str(self.folder / START)
        task = self.options.split.task
        self._begin("load", code.load(self._body("run", "start"), source, task, start))
        recorded = self.trace.write("load", "table", body).body
        split = self.trace.writer(LoadSplit)(_split(splits)).body
        size = loaded.batch_size
        batch = self.trace.writer(LoadBatch)({
            "batch_size": size, "batches": count_batches(splits.train_rows, size),
            "features": len(schema.features), "sentence": _samples(size, schema.features),
        }).body  # fmt: skip
        self._explain(lesson.load_stage(recorded, split, batch), seconds)

    # ------------------------------------------------------------- stages 2 and 3

    def prepared(self, prepared: Prepared) -> None:
        """Record stage 2: how each column is prepared."""
        if self.resumed:
            return
        self._begin("prepare", code.prepare(self._body("run", "start")))
        body = prepare_columns(prepared, self.options.seed)
        recorded = self.trace.write("prepare", "columns", {**body, "seconds": self._lap()}).body
        self._explain(
            lesson.prepare_stage(recorded, self._body("load", "split"), prepared.kept is not None),
            recorded["seconds"],
        )

    def built(self, training: Training) -> None:
        """Record stage 3: the network's layers, with the shapes of one batch; create the run folder."""
        if self.resumed:
            return
        seconds = self._lap()
        body = build_network(
            training.network, training.prepared, training.plan.batch_size, training.first_network,
            self.options.seed,
        )  # fmt: skip
        warm = training.prepared.kept is not None
        self._begin("build", code.build(body["again"], self.options.seed, warm))
        recorded = self.trace.write("build", "network", {**body, "seconds": seconds}).body
        self._explain(lesson.build_stage(recorded, self.target, warm), seconds)
        self.trace.save_to(self.folder)

    # ------------------------------------------------------------- stage 4

    def begins(self, training: Training) -> None:
        """Record what was decided before the first step."""
        if self.resumed:
            return
        start, network = self._body("run", "start"), self._body("build", "network")
        settings = {**start["settings"], "time_limit": training.settings.time_limit}
        defaults = TrainingSettings().to_json()
        changed = {name: value for name, value in settings.items() if value != defaults[name]}
        task = training.task
        scaled = (None, None) if task.classification else (task.center, task.scale)
        self._begin("train", code.train(changed, network["again"], self.options.seed, {
            "plan": asdict(training.plan), "settings": settings, "outputs": network["logits_shape"],
            "center": scaled[0], "scale": scaled[1],
            "weighted": training.prepared.train.weight is not None, "target": task.target,
            "folds": training.prepared.splits.fold_count,
        }))  # fmt: skip
        together = {} if (size := training.state.processes.size) == 1 else {"processes": size}
        self.trace.write("train", "plan", {**asdict(training.plan), **together})

    def steps(self, training: Training, steps: Iterator[Step]) -> Iterator[Step]:
        """Record epochs and events as they happen, and the end of the training."""
        for step in steps:
            self.catch_up(training)
            yield step
        self.catch_up(training)
        if self.trace.find("train", "end"):  # the run was interrupted after its training
            return
        for number in sorted(training.detailed_steps):
            self.trace.write("train", "step", training.detailed_steps[number])
        assert training.stopped is not None  # its steps have ended
        end = self.trace.writer(TrainEnd)({
            "stopped": training.stopped, "best_epoch": training.best_epoch,
            "steps": training.progress.steps, "skipped": training.progress.skipped,
            "edits": len(training.progress.edits),
            "parameters": sum(p.numel() for p in training.network.parameters()),
            "weights": weights_fingerprint(training.network),
            "best_weights": weights_fingerprint(training.best.network),
            "seconds": sum(epoch.metrics["seconds"] for epoch in training.history),
        }).body  # fmt: skip
        self._explain(
            lesson.train_stage(
                self._body("train", "plan"), self._epochs(), end, self.target,
                self._bodies().get("train/step"), self._body("load", "split"),
            ),
            end["seconds"],
        )  # fmt: skip

    def catch_up(self, training: Training) -> None:
        """Write the events and epochs that are not written yet."""
        for event in training.events[self._events_recorded :]:
            self.trace.write("train", event.type, {
                "step": event.step, "epoch": event.epoch,
                "epochs_done": round(training.epochs_done, 4), "said": event.said, **event.details,
            })  # fmt: skip
        self._events_recorded = max(len(training.events), self._events_recorded)
        for epoch in training.history[self._epochs_recorded :]:
            self.trace.write("train", "epoch", epoch.to_json())
        self._epochs_recorded = max(len(training.history), self._epochs_recorded)

    def checkpoint(self, training: Training, path: Path) -> None:
        """Record a checkpoint that was written; its epoch is that of the last step done."""
        progress = training.progress
        self.trace.writer(TrainCheckpoint)({
            "step": progress.steps, "epoch": progress.epoch - (progress.rows == 0),
            "epochs_done": round(training.epochs_done, 4),
            "said": f"a checkpoint, from which the run can be resumed after step {progress.steps:,}",
            "file": f"{path.parent.name}/{path.name}", "bytes": path.stat().st_size,
        })  # fmt: skip

    def finished(self, finished: Finished) -> None:
        """Record the parts beside the network, and of a replay whether all weights equal the first run's."""
        for name, body in finished.part_records.items():
            self.trace.write("train", name, body)
        if finished.time_limit is not None:
            self.trace.write("train", "time_limit", finished.time_limit)
        if self.first is None:
            return
        end, (first_end, first_parts) = self._body("train", "end"), self.first
        same = all(end[name] == first_end[name] for name in ("weights", "best_weights", "steps"))
        same &= _fingerprints(finished.part_records) == _fingerprints(first_parts)
        compared = "bit for bit the same as" if same else "other than"
        self.trace.writer(TrainReplay)({
            "identical": same, "edits": end["edits"],
            "said": f"replayed: {end['steps']:,} steps and {end['edits']} edits gave weights {compared} the "
            "first time's",
        })  # fmt: skip

    # ------------------------------------------------------------- stage 5

    def evaluated(self, evaluation: Evaluation) -> None:
        """Record stage 5: one row's path, the metrics, the lesson's last part and the quiz."""
        self._lap()
        part, rows = measured_rows(self.splits)
        end = self._body("train", "end")
        self._begin(
            "predict", code.predict(part, int(rows[0]), end["edits"], self._body("run", "start"))
        )
        bodies = {
            type_: self.trace.write("predict", type_, body).body
            for type_, body in evaluation.records()
        }
        stage = lesson.predict_stage(
            bodies["example"], bodies["metrics"], self.target, self._body("build", "network"),
            weighted=self._body("run", "start")["settings"]["class_weights"] is not None,
        )  # fmt: skip
        self._explain(stage, self._lap())
        self.trace.write("lesson", "insight", lesson.insight())
        self.trace.write("lesson", "quiz", quiz(
            self._body("train", "plan"), self._body("load", "split"), self._epochs(), end,
            bodies["example"], self.target, self.options.seed,
        ))  # fmt: skip
        source = self.table.paths[0] if len(self.table.paths) == 1 else None
        self.trace.write("lesson", "result", result(self._bodies(), source, self.splits.remarked()))

    def ended(self) -> None:
        """Record where the files are, and commands to try next. The report is written after this record."""
        bundle = self.folder / BUNDLE
        model, run = shlex.quote(str(bundle)), shlex.quote(str(self.folder))
        commands = [f"sightline inspect {model}", f"sightline quiz {run}"]
        if self.table.paths and self.options.run.keep_data:
            data = shlex.quote(self.table.paths[0])
            network = self.options.model.network
            own = ""
            if (
                isinstance(network, str) and ":" in network
            ):  # a file that the model must be given again
                own = f" --network {shlex.quote(network)}"
            held_out = len(self.splits.valid) + len(self.splits.test) > 0
            commands = [
                *([f"sightline evaluate {model}{own}"] if held_out else []),
                f"sightline predict {model} {data} -o predictions.csv{own}",
                f"sightline explain {model} {data} --row {min(3, self.table.rows - 1)}{own}",
                *commands,
            ]
        report = self.folder / REPORT_FILE if self.options.run.report else None
        self.trace.writer(RunEnd)({
            "run": str(self.folder), "bundle": str(bundle),
            "report": None if report is None else str(report), "next": commands,
            "seconds": time.perf_counter() - self._began,
        })  # fmt: skip

    # ------------------------------------------------------------- helpers

    def _body(self, stage: str, type_: str) -> Mapping[str, Any]:
        return self.trace.find(stage, type_)[-1].body

    def _epochs(self) -> list[Mapping[str, Any]]:
        return [record.body for record in self.trace.find("train", "epoch")]

    def _bodies(self) -> dict[str, Mapping[str, Any]]:
        """Return the last body of each type of record, by "stage/type", and the first step's."""
        last = {f"{record.stage}/{record.type}": record.body for record in self.trace.records}
        steps = self.trace.find("train", "step")
        return {**last, "train/first_step": steps[0].body} if steps else last

    def _begin(self, stage: str, blocks: code.Blocks) -> None:
        self.trace.write("lesson", "begin", {**lesson.begin(stage), "code": blocks})

    def _explain(self, stage: dict[str, Any], seconds: float) -> None:
        name, bodies = stage["name"], self._bodies()
        self.trace.write("lesson", "stage", {
            **stage, "facts": facts(name, bodies, seconds), "shapes": shapes(name, bodies),
            "maths": maths(name, bodies), "terms": terms(name, bodies),
        })  # fmt: skip

    def _lap(self) -> float:
        """Return the seconds since the stage before."""
        now = time.perf_counter()
        seconds, self._last_lap = now - self._last_lap, now
        return seconds


def _fingerprints(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: body.get("fingerprint") for name, body in parts.items()}


def _split(splits: Splits) -> LoadSplit:
    """Return the body of "load/split"."""
    body: LoadSplit = {
        "train": splits.train_rows, "valid": len(splits.valid), "test": len(splits.test),
        "folds": splits.fold_count, "how": splits.how, "sentence": splits.describe(),
    }  # fmt: skip
    if splits.folds_by_time:
        body["blocks"] = [
            {"rows": one.rows, "first": one.first, "last": one.last} for one in splits.blocks
        ]
        body["newest"] = 0 if splits.newest is None else int(splits.newest.sum())
        body["newest_from_older"] = splits.newest_from_older
    return body


def _load_notes(table: Table, splits: Splits, asked: bool) -> list[str]:
    target, sampled = splits.target, splits.large is not None and splits.large.facts is not None
    notes = [
        f"The target {target.name}: {splits.target_reason}.",
        *class_notes(target, splits.labels(), asked, sampled),
    ]
    if table.skipped:
        notes.append(f"Left out: {counted(table.skipped, 'row')} that could not be read.")
    said = table.said if splits.large is None else (*table.said, splits.large.said)
    notes += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in said]
    if splits.dropped:
        notes.append(f"Left out: {counted(splits.dropped, 'row')} without a target.")
    if copies := splits.twice():
        which = "training row" if splits.large is None else "sampled training row"
        notes.append(
            f"{copies:,} held-out row{'s are' if copies != 1 else ' is'} equal to a {which} in every "
            "feature and the target: they make the metrics too good."
        )
    return [*notes, *splits.remarked(), f"Split: {splits.describe()}."]


def _samples(size: int, features: tuple[Column, ...]) -> str:
    codes = sum(traits_of(column.kind).encoding == "codes" for column in features)
    numbers = len(features) - codes
    parts = [counted(numbers, "number")] if numbers else []
    parts += [counted(codes, "category", "categories")] if codes else []
    return f"{size} samples, each with {' and '.join(parts)}"


def _relative(path: str | None) -> str | None:
    """Write a path relative to the working directory, if it is inside it."""
    directory = Path.cwd()
    if path is None or not Path(path).is_relative_to(directory):
        return path
    return str(Path(path).relative_to(directory))
