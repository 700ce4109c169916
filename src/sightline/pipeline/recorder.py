"""The story of a fit: what happened in each stage, as records and as the lesson's sentences.

`pipeline.fit` calls one method a stage, when the stage is done; every body is described in
docs/trace.md.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from sightline.build.networks import BUILT_IN
from sightline.build.units import show_units
from sightline.contracts import Column, EventType, Step
from sightline.errors import counted
from sightline.evaluate.baselines import baselines as score_baselines
from sightline.evaluate.curves import curves
from sightline.evaluate.dependence import dependence
from sightline.evaluate.trust import ALPHA, calibration, calibration_words, held
from sightline.evaluate.worst import worst
from sightline.lesson import code, lesson
from sightline.lesson.facts import facts, shapes
from sightline.lesson.maths import maths
from sightline.lesson.terms import terms
from sightline.load.batches import count_batches
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.metrics.importance import importance
from sightline.pipeline.finish import Finished
from sightline.pipeline.origin import subset
from sightline.predict.attributions import rows_explained
from sightline.predict.bundle import versions
from sightline.predict.model import Model, Predictions
from sightline.predict.path import Explanation, follow, stops
from sightline.predict.task import Task
from sightline.prepare.leakage import leaks
from sightline.prepare.prepared import Prepared
from sightline.prepare.shown import show_row
from sightline.trace.records import Trace, rounded
from sightline.train.checkpoints import weights_fingerprint
from sightline.train.settings import Settings
from sightline.train.training import Training

MANY_COLUMNS = 1_000
"""With more, each column is shuffled once for its importance, and not five times."""


class Story:
    """Turns what happens in a fit into records."""

    def __init__(self, trace: Trace, seed: int, report: bool = True) -> None:
        self.trace = trace
        self.seed = seed
        self.report = report  # False leaves out what the page alone shows
        self.began = self._last = time.perf_counter()
        told = Counter((record.stage, record.type) for record in trace.records)
        self._epochs_told = told["train", "epoch"]
        self._events = sum(told["train", type_] for type_ in get_args(EventType))

    def load(
        self,
        table: Table,
        splits: Splits,
        batch_size: int,
        asked: Mapping[str, Any],
    ) -> None:
        """Tell stage 1: columns, split, batches.

        Args:
            table, splits: What was read, and how it was divided.
            batch_size: Rows of a batch.
            asked: What the fit was asked to do, so that it can be done again: where the table comes
                from, the scaling, the settings.
        """
        seconds = self._lap()
        self.take(table, splits)
        self.trace.write("run", "start", {
            "source": table.name, "target": self.target, "seed": self.seed,
            "read": dict(table.options), "split": splits.options, **asked, "versions": versions(),
        })  # fmt: skip
        schema = splits.table.schema
        columns = [
            {**said, "role": schema[said["name"]].role, "reason": schema[said["name"]].reason}
            for said in table.summary()
        ]
        said = {
            "name": table.name, "rows": table.rows, "skipped": table.skipped,
            "dropped": splits.dropped, "columns": columns, "notes": self._load_notes(),
            "bytes": sum(data.nbytes for data in table.columns.values()), "seconds": seconds,
        }  # fmt: skip
        self.trace.write("lesson", "opening", lesson.opening(said, self.target))
        asked_task = splits.target.task if splits.target_reason.endswith("as asked") else None
        source = _nearby(asked["origin"]["source"])
        self._begin("load", code.load(self._body("run", "start"), source, asked_task))
        said_table = self.trace.write("load", "table", said).body
        said_split = self.trace.write("load", "split", {
            "train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test),
            "folds": splits.fold_count,
            "how": splits.how, "sentence": splits.describe(),
        }).body  # fmt: skip
        batch = self.trace.write("load", "batch", {
            "batch_size": batch_size, "batches": count_batches(len(splits.train), batch_size),
            "features": len(schema.features), "sentence": _samples(batch_size, schema.features),
        }).body  # fmt: skip
        self._tell(lesson.load_stage(said_table, said_split, batch), seconds)

    def take(self, table: Table, splits: Splits) -> None:
        """Take the table of a run whose first stages are told already."""
        self.table, self.splits, self.target = table, splits, asdict(splits.target)

    def prepare(self, prepared: Prepared) -> None:
        """Tell stage 2: each column's way."""
        self._begin("prepare", code.prepare(self._body("run", "start")))
        body = self.trace.write("prepare", "columns", {
            "scaling": prepared.transform.scaling, "ways": prepared.describe(),
            "notes": [*prepared.notes, *leaks(prepared, self.seed)], "columns_in": len(self.splits.table.schema.features),
            "numbers": len(prepared.encoder.numbers), "flags": len(prepared.transform.flags),
            "codes": len(prepared.encoder.codes), "numeric_shape": list(prepared.train.numeric.shape),
            "categorical_shape": list(prepared.train.categorical.shape), "shown": self._shown(prepared),
            "seconds": self._lap(),
        }).body  # fmt: skip
        self._tell(lesson.prepare_stage(body, self._body("load", "split")), body["seconds"])

    def build(self, training: Training) -> None:
        """Tell stage 3: the network's layers, with the shapes of one batch."""
        seconds = self._lap()
        network, prepared, size = training.network, training.prepared, training.plan.batch_size
        spec, train = prepared.spec, prepared.train
        layers, logits = follow(
            network, train.numeric[:size].to(training.device),
            train.categorical[:size].to(training.device),
        )  # fmt: skip
        counts = _parameter_counts(network)
        described = {**training.first_network, "drawn": _drawn(training)}
        self._begin("build", code.build(described, self.seed))
        said = self.trace.write("build", "network", {
            "class": type(network).__name__, "batch": size,
            "inputs": len(spec.numeric) + len(spec.categorical), "outputs": spec.outputs,
            "features": len(self.splits.table.schema.features),
            "parameters": sum(p.numel() for p in network.parameters()),
            "layers": [
                {"name": layer.name, "shape": list(layer.shape), "parameters": counts.get(layer.name, 0)}
                for layer in layers
            ],
            "spec": _without_edges(spec.to_json()), "printed": str(network), "again": described,
            "logits_shape": list(logits.shape), "logits_dtype": _dtype(logits),
            "weight_bytes": sum(p.nbytes for p in network.parameters()),
            "units": self._units(training), "seconds": seconds,
        }).body  # fmt: skip
        self._tell(lesson.build_stage(said, self.target), seconds)

    def plan(self, training: Training) -> None:
        """Begin stage 4: what was decided before the first step."""
        start, network = self._body("run", "start"), self._body("build", "network")
        asked, usual = start["settings"], Settings().to_json()
        changed = {name: value for name, value in asked.items() if value != usual[name]}
        task = training.task
        scaled = (None, None) if task.classification else (task.center, task.scale)
        self._begin("train", code.train(changed, network["again"], self.seed, {
            "plan": asdict(training.plan), "settings": asked, "outputs": network["logits_shape"],
            "center": scaled[0], "scale": scaled[1],
            "weighted": training.prepared.train.weight is not None, "classes": task.target.classes,
            "folds": training.prepared.splits.fold_count,
        }))  # fmt: skip
        self.trace.write("train", "plan", asdict(training.plan))

    def steps(self, training: Training) -> Iterator[Step]:
        """Tell stage 4: pass the training's steps through, writing what happens as it happens."""
        for step in training.steps():
            self.catch_up(training)
            yield step
        self.catch_up(training)
        if self.trace.find("train", "end"):  # the run was cut off after its training
            return
        for number in sorted(training.glasses):
            self.trace.write("train", "step", training.glasses[number])
        end = self.trace.write("train", "end", {
            "stopped": training.stopped, "best_epoch": training.best_epoch,
            "steps": training.progress.steps, "skipped": training.progress.skipped,
            "edits": len(training.progress.edits),
            "parameters": sum(p.numel() for p in training.network.parameters()),
            "weights": weights_fingerprint(training.network),
            "best_weights": weights_fingerprint(training.best.network),
            "seconds": sum(epoch.metrics["seconds"] for epoch in training.history),
        }).body  # fmt: skip
        seen = self._bodies().get("train/step")
        said = lesson.train_stage(
            self._body("train", "plan"), self._epochs(), end, self.target, seen,
            self._body("load", "split"),
        )  # fmt: skip
        self._tell(said, end["seconds"])

    def compare(self, first: Mapping[str, Any], trees: str | None, again: Finished) -> None:
        """Say whether a replayed training ended with the weights of the first, bit for bit.

        Args:
            first: The first one's `train/end`.
            trees: The fingerprint of its trees, or None.
            again: What came of it this time.
        """
        names = ("weights", "best_weights", "steps")
        end = self._body("train", "end")
        identical = all(end[name] == first[name] for name in names)
        identical &= trees == (None if again.trees is None else again.trees["fingerprint"])
        said = "bit for bit the same as" if identical else "other than"
        self.trace.write("train", "replay", {
            "identical": identical, "edits": end["edits"],
            "said": f"replayed: {end['steps']:,} steps and {end['edits']} edits gave weights {said} the "
            "first time's",
        })  # fmt: skip

    def catch_up(self, training: Training) -> None:
        """Write the events and epochs that are not written yet."""
        if len(training.events) > self._events:
            for event in training.events[self._events :]:
                body = {
                    "step": event.step,
                    "epoch": event.epoch,
                    "epochs_done": round(training.epochs_done, 4),
                    "said": event.said,
                    **event.details,
                }
                self.trace.write("train", event.type, body)
            self._events = len(training.events)
        if len(training.history) > self._epochs_told:
            for epoch in training.history[self._epochs_told :]:
                self.trace.write("train", "epoch", epoch.to_json())
            self._epochs_told = len(training.history)

    def finish(self, finished: Finished) -> None:
        """Tell what stage 4 ends with, besides the network: the trees."""
        if finished.trees is not None:
            self.trace.write("train", "trees", finished.trees)

    def predict(self, finished: Finished, prepared: Prepared, *, baselines: bool) -> None:
        """Tell stage 5: one row's path, the metrics, and what the run teaches.

        Args:
            finished: The model, and what it was calibrated on.
            prepared: The rows it was trained on.
            baselines: Whether to score simple models as well.
        """
        self._lap()
        model, splits = finished.model, self.splits
        part, rows = self._measured()
        row = int(rows[0])
        table = model.read(subset(splits.table, np.array([row])))
        explained = model.explain_rows(table, [0])[0].to_json()
        truth = self._truth(row)
        self._begin(
            "predict",
            code.predict(
                part, row, self._body("train", "end")["edits"], self._body("run", "start")
            ),
        )
        example = self.trace.write("predict", "example", {
            "row": row, "part": f"a {part} row", "truth": truth, "explanation": explained,
            **held(model, explained),
        }).body  # fmt: skip
        found = model.predictions(subset(splits.table, rows))
        if part == "training" and finished.out_of_fold is not None:
            values = finished.out_of_fold.astype(found.values.dtype)
            part, found = "out-of-fold", replace(found, values=values, labels=model.decode(values))
        said = self.trace.write("predict", "metrics", {**model.measure(found), "part": part}).body
        self._trust(finished, found, part)
        if baselines:
            self._baselines(model, prepared, found, part)
        if self.report:
            self._results(model, found, rows, part)
            self._rows(model, found, part)
        told = lesson.predict_stage(example, said, self.target, self._body("build", "network"))
        self._tell(told, self._lap())
        self.trace.write("lesson", "insight", lesson.insight())
        self.trace.write("lesson", "quiz", lesson.quiz(
            self._body("train", "plan"), self._body("load", "split"), self._epochs(),
            self._body("train", "end"), example, self.target, self.seed,
        ))  # fmt: skip

    def end(self, folder: Path, bundle: Path, report: Path | None) -> None:
        """Say where everything is (a report of all this comes next), and what to type."""
        model, run = shlex.quote(str(bundle)), shlex.quote(str(folder))
        commands = [f"sightline inspect {model}", f"sightline quiz {run}"]
        if self.table.paths:
            data = shlex.quote(self.table.paths[0])
            commands = [
                f"sightline evaluate {model}",
                f"sightline predict {model} {data} -o predictions.csv",
                f"sightline explain {model} {data} --row {min(3, self.table.rows - 1)}",
                *commands,
            ]
        self.trace.write("run", "end", {
            "run": str(folder), "bundle": str(bundle),
            "report": None if report is None else str(report), "next": commands,
            "seconds": time.perf_counter() - self.began,
        })  # fmt: skip

    def checkpoint(self, training: Training, path: Path) -> None:
        """Tell of a checkpoint that was written; its epoch is that of the last step done."""
        progress = training.progress
        self.trace.write("train", "checkpoint", {
            "step": progress.steps, "epoch": progress.epoch - (progress.rows == 0),
            "epochs_done": round(training.epochs_done, 4),
            "said": f"a checkpoint, from which the run can go on after step {progress.steps:,}",
            "file": f"{path.parent.name}/{path.name}", "bytes": path.stat().st_size,
        })  # fmt: skip

    # ------------------------------------------------------------- helpers

    def _rows(self, model: Model, found: Predictions, part: str) -> None:
        """Follow a sample of rows through the network, and tell which columns matter.

        Args:
            model: The model.
            found: Its predictions for the rows that it was measured on.
            part: What these are called.
        """
        splits = self.splits
        parts = (("validation", splits.valid), ("test", splits.test), ("training", splits.train))
        shown, rows = next((name, rows) for name, rows in parts if len(rows))
        most = rows_explained(len(model.encoder.ways))
        sample, how = rows, f"all {len(rows):,} {shown} rows"
        if len(rows) > most:
            random = np.random.default_rng(self.seed)
            sample = np.sort(random.choice(rows, most, replace=False))
            how = f"{most} of the {len(rows):,} {shown} rows, drawn at random with the run's seed"
        table = model.read(subset(splits.table, sample))
        explained = model.explain_rows(table, list(range(len(sample))))
        told = []
        for row, one in zip(sample.tolist(), explained, strict=True):
            truth = self._truth(row)
            known = splits.target.task == "classification" and one.prediction is not None
            told.append({
                "row": row, "truth": truth, "right": one.prediction == truth if known else None,
                "explanation": _shortened(one), **held(model, one.to_json()),
            })  # fmt: skip
        self.trace.write("predict", "rows", {
            "part": shown, "of": len(rows), "sentence": how, "rows": told,
        })  # fmt: skip
        repeats = 5 if len(model.encoder.ways) <= MANY_COLUMNS else 1
        truth, usable = model.truth(found)
        said = importance(model, found.table, truth, usable, part, repeats=repeats, seed=self.seed)
        self.trace.write("predict", "importance", said)
        columns = [column["column"] for column in said["columns"]]
        self.trace.write("predict", "dependence", {
            "part": part, **dependence(model, found.table, columns, seed=self.seed),
        })  # fmt: skip

    def _trust(self, finished: Finished, found: Predictions, part: str) -> None:
        """Tell how far the probabilities can be trusted: calibration, sets, the threshold."""
        model = finished.model
        if finished.held_out is None or model.blend is None:
            return
        truth, usable = model.truth(found)
        source, fitted = finished.held_out["source"], finished.held_out["rows"]
        about = {"source": source, "part": part, "rows": int(usable.sum())}
        weights, shares = model.blend.weights, model.blend.shares
        said: dict[str, Any] = {
            **about, "fitted_rows": fitted,
            "parts": [{"name": n, "weight": weights[n], "share": shares[n]} for n in weights],
        }  # fmt: skip
        if model.task.classification:
            said |= calibration(model, found.values[usable], truth[usable])
        self.trace.write("predict", "calibration", {**said, "said": calibration_words(said)})
        if model.conformal is not None and model.conformal.smallest_alpha <= ALPHA:
            told = model.conformal.coverage(found.values[usable], truth[usable], ALPHA)
            self.trace.write("predict", "sets", {**about, **told})
        if model.threshold is not None:
            self.trace.write("predict", "threshold", {
                **model.threshold.to_json(), "said": model.threshold.words(model.spec.target),
            })  # fmt: skip

    def _baselines(self, model: Model, prepared: Prepared, found: Predictions, part: str) -> None:
        """Score simple models on the rows that this one was measured on."""
        batches = {"test": prepared.test, "validation": prepared.valid}
        truth, _ = model.truth(found)
        if part not in batches or len(batches[part].row) != len(truth):
            return  # the rows were learned from, or are set apart: nothing to compare on
        said = score_baselines(
            model.spec.target, prepared.train, batches[part], model.spec.cardinalities, found.values,
            truth, guessed=model.choose(found.values) if model.task.classification else None,
            seed=self.seed, plain=prepared.standardised,
        )  # fmt: skip
        self.trace.write("predict", "baselines", {"part": part, **said})

    def _truth(self, row: int) -> Any:
        """Return a row's class, or its number."""
        target = self.splits.target
        if target.task == "classification":
            return target.classes[int(self.splits.labels(np.array([row]))[0])]
        return self.splits.table.cells(target.name, row)

    def _results(self, model: Model, found: Predictions, rows: np.ndarray, part: str) -> None:
        """Tell where the model is right and where not, on the rows that it was measured on."""
        truth, usable = model.truth(found)
        target, values, truth = model.spec.target, found.values[usable], truth[usable]
        self.trace.write("predict", "curves", {"part": part, **curves(target, values, truth)})
        table = subset(found.table, np.flatnonzero(usable))
        guessed = model.choose(values) if model.task.classification else None
        said = worst(target, values, truth, table, rows[usable], guessed)
        self.trace.write("predict", "worst", {"part": part, **said})

    def _body(self, stage: str, type_: str) -> Mapping[str, Any]:
        return self.trace.find(stage, type_)[-1].body

    def _epochs(self) -> list[Mapping[str, Any]]:
        return [record.body for record in self.trace.find("train", "epoch")]

    def _bodies(self) -> dict[str, Mapping[str, Any]]:
        """Return the last body of each type of record, by "stage/type", and the first glass."""
        found = {f"{record.stage}/{record.type}": record.body for record in self.trace.records}
        glasses = self.trace.find("train", "step")
        return {**found, "train/first_step": glasses[0].body} if glasses else found

    def _begin(self, stage: str, blocks: code.Blocks) -> None:
        self.trace.write("lesson", "begin", {**lesson.begin(stage), "code": blocks})

    def _tell(self, stage: dict[str, Any], seconds: float) -> None:
        name, bodies = stage["name"], self._bodies()
        self.trace.write("lesson", "stage", {
            **stage, "facts": facts(name, bodies, seconds), "shapes": shapes(name, bodies),
            "maths": maths(name, bodies), "terms": terms(name, bodies),
        })  # fmt: skip

    def _measured(self) -> tuple[str, np.ndarray]:
        """Return the rows on which the model is measured, and what they are called."""
        splits = self.splits
        parts = (("test", splits.test), ("validation", splits.valid), ("training", splits.train))
        return next((name, rows) for name, rows in parts if len(rows))

    def _shown(self, prepared: Prepared) -> dict[str, Any]:
        """Follow the row that is the example of stage 5 into its features."""
        row = int(self._measured()[1][0])
        target = None
        if prepared.spec.target.task == "regression":
            task = Task.fit(prepared.spec.target, prepared.train.target)
            value = float(self.splits.labels(np.array([row]))[0])
            target = {
                "value": value, "center": task.center, "scale": task.scale,
                "result": float(task.scaled(torch.tensor(value, dtype=torch.float64))),
            }  # fmt: skip
        table = subset(self.splits.table, np.array([row]))
        return {"row": row, **show_row(prepared, table), "target": target}

    def _units(self, training: Training) -> list[dict[str, Any]]:
        """Open two units of the untrained network up, for the same row."""
        prepared, (part, rows) = training.prepared, self._measured()
        parts = {"test": prepared.test, "validation": prepared.valid, "training": prepared.train}
        batch = parts[part]
        names = [feature.name for feature in prepared.spec.numeric]
        numeric, codes = (x[:1].to(training.device) for x in (batch.numeric, batch.categorical))
        units = show_units(training.network, numeric, codes, names)
        return [{"row": int(rows[0]), **unit} for unit in units]

    def _lap(self) -> float:
        """Return the seconds since the stage before."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds

    def _load_notes(self) -> list[str]:
        table, splits, target = self.table, self.splits, self.target
        notes = [f"The target {target['name']}: {splits.target_reason}."]
        if target["positive"] is not None:
            notes.append(f"The positive class is {target['positive']}.")
        if table.skipped:
            notes.append(f"Left out: {counted(table.skipped, 'row')} that could not be read.")
        if splits.dropped:
            notes.append(f"Left out: {counted(splits.dropped, 'row')} without a target.")
        if twice := splits.twice():
            notes.append(
                f"{twice:,} held-out row{'s are' if twice != 1 else ' is'} equal to a training row in every "
                "feature and the target: they flatter the model."
            )
        return [*notes, f"Split: {splits.describe()}."]


def _without_edges(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave the edges of the bins out of a spec: thousands of numbers that nobody reads."""
    features = [{**feature, "edges": []} for feature in spec["numeric"]]
    return {**spec, "numeric": features}


def _shortened(explained: Explanation) -> dict[str, Any]:
    """Round an explanation's numbers, but not those of the table: values, classes, predictions."""
    exact = explained.to_json()
    said = {**rounded(exact), **{name: exact[name] for name in ("raw", "classes", "prediction")}}
    if exact["pushes"] is not None:
        said["pushes"]["of"] = exact["pushes"]["of"]
    return said


def _samples(size: int, features: tuple[Column, ...]) -> str:
    codes = sum(column.kind in ("categorical", "boolean") for column in features)
    numbers = len(features) - codes
    parts = [counted(numbers, "number")] if numbers else []
    parts += [counted(codes, "category", "categories")] if codes else []
    return f"{size} samples, each with {' and '.join(parts)}"


def _nearby(path: str | None) -> str | None:
    """Write a path as one types it: from here, where it lies below."""
    here = Path.cwd()
    if path is None or not Path(path).is_relative_to(here):
        return path
    return str(Path(path).relative_to(here))


def _drawn(training: Training) -> bool:
    """Tell whether a built-in network's first weights are those that the seed draws."""
    described = training.first_network
    if not described["built_in"]:
        return False
    with torch.random.fork_rng():
        torch.manual_seed(training.settings.seed)
        maker = BUILT_IN[described["class"]]
        again = maker.from_config(training.prepared.spec, described["config"])
    return weights_fingerprint(again) == weights_fingerprint(training.network)


def _dtype(values: torch.Tensor) -> str:
    return str(values.dtype).removeprefix("torch.")


def _parameter_counts(network: nn.Module) -> dict[str, int]:
    return {name: sum(p.numel() for p in module.parameters()) for name, module in stops(network)}
