"""The story of a fit: what happened in each stage, as records and as the lesson's sentences.

`pipeline.fit` calls one method a stage, when the stage is done; every body is described in
docs/trace.md.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import nn

from sightline.contracts import Column, EventType, Step
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.predict.bundle import versions
from sightline.predict.model import Model
from sightline.predict.path import follow, stops
from sightline.prepare.prepared import Prepared
from sightline.provenance import measure_rows, subset
from sightline.trace import lesson
from sightline.trace.records import Trace
from sightline.train.checkpoints import weights_fingerprint
from sightline.train.training import Training


class Story:
    """Turns what happens in a fit into records."""

    def __init__(self, trace: Trace, seed: int) -> None:
        self.trace = trace
        self.seed = seed
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
        self._begin("load")
        said_table = self.trace.write("load", "table", said).body
        said_split = self.trace.write("load", "split", {
            "train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test),
            "how": splits.how, "sentence": splits.describe(),
        }).body  # fmt: skip
        batch = self.trace.write("load", "batch", {
            "batch_size": batch_size, "batches": -(-len(splits.train) // batch_size),
            "features": len(schema.features), "sentence": _samples(batch_size, schema.features),
        }).body  # fmt: skip
        self._tell(lesson.load_stage(said_table, said_split, batch))

    def take(self, table: Table, splits: Splits) -> None:
        """Take the table of a run whose first stages are told already."""
        self.table, self.splits, self.target = table, splits, asdict(splits.target)

    def prepare(self, prepared: Prepared) -> None:
        """Tell stage 2: each column's way."""
        self._begin("prepare")
        body = self.trace.write("prepare", "columns", {
            "scaling": prepared.transform.scaling, "ways": prepared.describe(),
            "notes": list(prepared.notes), "columns_in": len(self.splits.table.schema.features),
            "numbers": len(prepared.encoder.numbers), "flags": len(prepared.transform.flags),
            "codes": len(prepared.encoder.codes), "numeric_shape": list(prepared.train.numeric.shape),
            "categorical_shape": list(prepared.train.categorical.shape), "seconds": self._lap(),
        }).body  # fmt: skip
        self._tell(lesson.prepare_stage(body, self._body("load", "split")))

    def build(self, training: Training) -> None:
        """Tell stage 3: the network's layers, with the shapes of one batch."""
        network, prepared, size = training.network, training.prepared, training.plan.batch_size
        spec, train = prepared.spec, prepared.train
        layers, _ = follow(
            network, train.numeric[:size].to(training.device),
            train.categorical[:size].to(training.device),
        )  # fmt: skip
        counts = _parameter_counts(network)
        self._begin("build")
        said = self.trace.write("build", "network", {
            "class": type(network).__name__, "batch": size,
            "inputs": len(spec.numeric) + len(spec.categorical), "outputs": spec.outputs,
            "features": len(self.splits.table.schema.features),
            "parameters": sum(p.numel() for p in network.parameters()),
            "layers": [
                {"name": layer.name, "shape": list(layer.shape), "parameters": counts.get(layer.name, 0)}
                for layer in layers
            ],
            "spec": spec.to_json(), "printed": str(network), "again": training.first_network,
        }).body  # fmt: skip
        self._tell(lesson.build_stage(said, self.target))

    def plan(self, training: Training) -> None:
        """Begin stage 4: what was decided before the first step."""
        self._begin("train")
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
        seen = self._body("train", "step")
        self._tell(lesson.train_stage(
            self._body("train", "plan"), self._epochs(), end, self.target, seen
        ))  # fmt: skip

    def compare(self, first: Mapping[str, Any]) -> None:
        """Say whether a replayed training ended with the weights of the first, bit for bit."""
        names = ("weights", "best_weights", "steps")
        end = self._body("train", "end")
        identical = all(end[name] == first[name] for name in names)
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
                    "said": event.said,
                    **event.details,
                }
                self.trace.write("train", event.type, body)
            self._events = len(training.events)
        if len(training.history) > self._epochs_told:
            for epoch in training.history[self._epochs_told :]:
                self.trace.write("train", "epoch", epoch.to_json())
            self._epochs_told = len(training.history)

    def predict(self, model: Model) -> None:
        """Tell stage 5: one row's path, the metrics, and what the run teaches."""
        splits = self.splits
        parts = (("test", splits.test), ("validation", splits.valid), ("training", splits.train))
        part, rows = next((name, rows) for name, rows in parts if len(rows))
        row = int(rows[0])
        table = model.read(subset(splits.table, np.array([row])))
        explained = model.explain_rows(table, [0])[0].to_json()
        truth = splits.table.cells(splits.target.name, row)
        if splits.target.task == "classification":
            truth = splits.target.classes[int(splits.labels(np.array([row]))[0])]
        self._begin("predict")
        example = self.trace.write("predict", "example", {
            "row": row, "part": f"a {part} row", "truth": truth, "explanation": explained,
        }).body  # fmt: skip
        metrics = {**measure_rows(model, splits, rows), "part": part}
        said = self.trace.write("predict", "metrics", metrics).body
        self._tell(lesson.predict_stage(example, said, self.target, self._body("build", "network")))
        self.trace.write("lesson", "insight", lesson.insight())
        self.trace.write("lesson", "quiz", lesson.quiz(
            self._body("train", "plan"), self._body("load", "split"), self._epochs(),
            self._body("train", "end"), example, self.target, self.seed,
        ))  # fmt: skip

    def end(self, folder: Path, bundle: Path) -> None:
        """Say where everything is, and what to type next."""
        model, run = shlex.quote(str(bundle)), shlex.quote(str(folder))
        commands = [f"sightline inspect {model}", f"sightline quiz {run}"]
        if self.table.paths:
            data = shlex.quote(self.table.paths[0])
            commands = [
                f"sightline evaluate {model}",
                f"sightline predict {model} {data} -o predictions.csv",
                f"sightline explain {model} {data} --row 3",
                *commands,
            ]
        self.trace.write("run", "end", {
            "run": str(folder), "bundle": str(bundle), "next": commands,
            "seconds": time.perf_counter() - self.began,
        })  # fmt: skip

    # ------------------------------------------------------------- helpers

    def _body(self, stage: str, type_: str) -> Mapping[str, Any]:
        return self.trace.find(stage, type_)[-1].body

    def _epochs(self) -> list[Mapping[str, Any]]:
        return [record.body for record in self.trace.find("train", "epoch")]

    def _begin(self, stage: str) -> None:
        self.trace.write("lesson", "begin", lesson.begin(stage))

    def _tell(self, stage: dict[str, Any]) -> None:
        self.trace.write("lesson", "stage", stage)

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
            notes.append(f"{table.skipped:,} rows could not be read and were left out.")
        if splits.dropped:
            notes.append(f"{splits.dropped:,} rows have no target and were left out.")
        return [*notes, f"Split: {splits.describe()}."]


def _samples(size: int, features: tuple[Column, ...]) -> str:
    codes = sum(column.kind in ("categorical", "boolean") for column in features)
    numbers = len(features) - codes
    parts = [f"{numbers} number{'s' if numbers != 1 else ''}"] if numbers else []
    parts += [f"{codes} categor{'ies' if codes != 1 else 'y'}"] if codes else []
    return f"{size} samples, each with {' and '.join(parts)}"


def _parameter_counts(network: nn.Module) -> dict[str, int]:
    return {name: sum(p.numel() for p in module.parameters()) for name, module in stops(network)}
