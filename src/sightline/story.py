"""The story of a fit: what happened in each stage, as records and as the lesson's sentences.

`pipeline.fit` calls one method a stage, when the stage is done; every body is described in
docs/trace.md.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from sightline.contracts import Column, Step
from sightline.load.split import Splits
from sightline.load.table import Table
from sightline.predict.bundle import versions
from sightline.predict.model import Model
from sightline.predict.path import follow, stops
from sightline.prepare.prepared import Prepared
from sightline.provenance import measure_rows, subset
from sightline.trace import lesson
from sightline.trace.records import Trace
from sightline.train.training import Training


class Story:
    """Turns what happens in a fit into records."""

    def __init__(self, trace: Trace, seed: int) -> None:
        self.trace = trace
        self.seed = seed
        self.began = self._last = time.perf_counter()

    def load(self, table: Table, splits: Splits, batch_size: int) -> None:
        """Tell stage 1: columns, split, batches."""
        seconds = self._lap()
        self.table, self.splits, self.target = table, splits, asdict(splits.target)
        self.trace.write("run", "start", {
            "source": table.name, "target": self.target, "seed": self.seed,
            "read": dict(table.options), "split": splits.options, "versions": versions(),
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
        self.said_split = self.trace.write("load", "split", {
            "train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test),
            "how": splits.how, "sentence": splits.describe(),
        }).body  # fmt: skip
        batch = self.trace.write("load", "batch", {
            "batch_size": batch_size, "batches": -(-len(splits.train) // batch_size),
            "features": len(schema.features), "sentence": _samples(batch_size, schema.features),
        }).body  # fmt: skip
        self._tell(lesson.load_stage(said_table, self.said_split, batch))

    def prepare(self, prepared: Prepared) -> None:
        """Tell stage 2: each column's way."""
        self.prepared = prepared
        self._begin("prepare")
        body = self.trace.write("prepare", "columns", {
            "scaling": prepared.transform.scaling, "ways": prepared.describe(),
            "notes": list(prepared.notes), "columns_in": len(self.splits.table.schema.features),
            "numbers": len(prepared.encoder.numbers), "flags": len(prepared.transform.flags),
            "codes": len(prepared.encoder.codes), "numeric_shape": list(prepared.train.numeric.shape),
            "categorical_shape": list(prepared.train.categorical.shape), "seconds": self._lap(),
        }).body  # fmt: skip
        self._tell(lesson.prepare_stage(body, self.said_split))

    def build(self, training: Training) -> None:
        """Tell stage 3: the network's layers, with the shapes of one batch."""
        self.training, self.plan = training, asdict(training.plan)
        network, spec, size = training.network, self.prepared.spec, training.plan.batch_size
        train = self.prepared.train
        layers, _ = follow(
            network, train.numeric[:size].to(training.device),
            train.categorical[:size].to(training.device),
        )  # fmt: skip
        counts = _parameter_counts(network)
        self._begin("build")
        self.said_network = self.trace.write("build", "network", {
            "class": type(network).__name__, "batch": size,
            "inputs": len(spec.numeric) + len(spec.categorical), "outputs": spec.outputs,
            "features": len(self.splits.table.schema.features),
            "parameters": sum(p.numel() for p in network.parameters()),
            "layers": [
                {"name": layer.name, "shape": list(layer.shape), "parameters": counts.get(layer.name, 0)}
                for layer in layers
            ],
            "spec": spec.to_json(), "printed": str(network),
        }).body  # fmt: skip
        self._tell(lesson.build_stage(self.said_network, self.target))

    def steps(self) -> Iterator[Step]:
        """Tell stage 4: pass the training's steps through, writing each epoch as it ends."""
        training = self.training
        self._begin("train")
        self.trace.write("train", "plan", self.plan)
        written = 0
        for step in training.steps():
            for epoch in training.history[written:]:
                self.trace.write("train", "epoch", epoch.to_json())
                written += 1
            yield step
        for number in sorted(training.glasses):
            seen = self.trace.write("train", "step", training.glasses[number]).body
        self.epochs = [epoch.to_json() for epoch in training.history]
        self.said_end = self.trace.write("train", "end", {
            "stopped": training.stopped, "best_epoch": training.best_epoch, "steps": step.number,
            "parameters": self.said_network["parameters"],
            "seconds": sum(epoch["metrics"]["seconds"] for epoch in self.epochs),
        }).body  # fmt: skip
        self._tell(lesson.train_stage(self.plan, self.epochs, self.said_end, self.target, seen))

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
        self._tell(lesson.predict_stage(example, said, self.target, self.said_network))
        self.trace.write("lesson", "insight", lesson.insight())
        self.trace.write("lesson", "quiz", lesson.quiz(
            self.plan, self.said_split, self.epochs, self.said_end, example, self.target, self.seed
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
