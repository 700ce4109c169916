"""distill(): one network that learns the predictions of a model with many parts, and ships in its place.

The model is called the teacher, the network the student (Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a
neural network"). The student also learns what the teacher predicts for perturbed copies of the rows, since a few thousand
rows show little of the function that a model is (Bucila, Caruana and Niculescu-Mizil 2006, "Model compression"; Fakoor,
Mueller, Erickson, Chaudhari and Smola 2020, "Fast, accurate, and simple models for tabular data via augmented
distillation"). It never learns from a true target: that decides only its calibration and what is shown.

Letters: N rows, K outputs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sightline.build.ensemble import Ensemble
from sightline.build.modes import drawing, usual_settings
from sightline.build.networks import NetworkMaker
from sightline.contracts import Spec
from sightline.contracts.arguments import names_checked
from sightline.errors import OptionError, counted, readable
from sightline.evaluate.drift import reference_of
from sightline.load.known import TRAINING
from sightline.load.sources import as_source
from sightline.load.table import Table, subset
from sightline.pipeline.recipe import FEW_CLASSES, WAVES
from sightline.pipeline.student_rows import Parts, prepared_for
from sightline.predict.calibration import Blend
from sightline.predict.conformal import Conformal
from sightline.predict.model import Model
from sightline.predict.parts import NetworkPart, blend_values
from sightline.train.training import Training

TIMED_ROWS, TIMES = 10_000, 3
"""How many rows are predicted to measure the speed, and how often; the fastest counts."""


@dataclass(frozen=True)
class Measured:
    """What the teacher or the student costs and how good it is.

    Attributes:
        loss: Log loss, or RMSE; None without rows whose target is known.
        score: Accuracy, or R2; None likewise.
        rows_per_second: Rows of a table in memory that are encoded and predicted in a second, on this machine.
        bytes: The size of its file, without an ONNX model.
    """

    loss: float | None
    score: float | None
    rows_per_second: float
    bytes: int


@dataclass(frozen=True)
class Distilled:
    """A student, and how it compares with its teacher.

    Attributes:
        model: The student.
        teacher, student: What was measured of both.
        metrics: The names of their `loss` and `score`.
        measured_on: The rows that both were measured on, in words.
        held_out: Whether neither has learned from these rows.
        agreement: In rows that the student did not learn from: how often both predict the same class, or for numbers
            the share (R2) of the teacher's variance that the student's numbers explain.
        rows: How many rows were `learned`, `perturbed` (copies), for `stopping` and `calibration`, `measured`, for
            `agreement`, and `left_out` because they cannot be read.
        calibrated_on: The rows that sets and intervals come from, in words; None if there are none.
        epochs: Epochs of training, and `best_epoch`, whose weights are kept.
        seconds: Of training.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> distilled = sl.distill(run.model, "examples/penguins.csv")
        >>> distilled.metrics, list(distilled.model.fitted_parts)
        (('log_loss', 'accuracy'), ['network'])
        >>> [line.split()[0] for line in distilled.lines()[2:4]]
        ['teacher', 'student']
    """

    model: Model
    teacher: Measured
    student: Measured
    metrics: tuple[str, str]
    measured_on: str
    held_out: bool
    agreement: float
    rows: Mapping[str, int]
    calibrated_on: str | None
    epochs: int
    best_epoch: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return everything but the model, as plain JSON values."""
        values = {name: value for name, value in self.__dict__.items() if name != "model"}
        return {
            **values, "teacher": asdict(self.teacher), "student": asdict(self.student),
            "metrics": list(self.metrics), "rows": dict(self.rows),
        }  # fmt: skip

    def lines(self) -> list[str]:
        """Return the comparison as lines of text: a table, and which rows it was measured on."""
        loss, score = (_TITLES[name] for name in self.metrics)
        head = ["", loss, score, "rows a second", "file"]
        cells = [
            [
                name,
                "-" if side.loss is None else readable(side.loss, 4),
                "-" if side.score is None else readable(side.score, 4),
                f"{side.rows_per_second:,.0f}",
                f"{side.bytes / 1e6:.1f} MB",
            ]
            for name, side in (("teacher", self.teacher), ("student", self.student))
        ]
        widths = [max(len(row[at]) for row in [head, *cells]) for at in range(len(head))]
        table = [
            "  ".join(
                text.ljust(width) if at == 0 else text.rjust(width)
                for at, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [head, *cells]
        ]
        share = readable(100 * self.agreement, 3)
        same = (
            f"The student predicts the teacher's class for {share} % of"
            if self.metrics[0] == "log_loss"
            else f"The student explains {share} % of the variance of the teacher's numbers for"
        )
        sets = "sets" if self.metrics[0] == "log_loss" else "intervals"
        return [
            f"The student learned what the teacher predicts for {counted(self.rows['learned'], 'row')} and "
            f"{counted(self.rows['perturbed'], 'perturbed copy', 'perturbed copies')} of them, in "
            f"{counted(self.epochs, 'epoch')}.",
            *table,
            f"Measured on {self.measured_on}.",
            f"{same} {counted(self.rows['agreement'], 'row')} that it did not learn from.",
            f"Its {sets} come from {self.calibrated_on}."
            if self.calibrated_on
            else self._why_no(sets),
        ]

    def _why_no(self, sets: str) -> str:
        if not self.rows["measured"]:
            return f"No {sets}: they need rows with a target."
        return f"No {sets}: the teacher has none, and too few rows are new to it."


_TITLES = {"log_loss": "log loss", "accuracy": "accuracy", "rmse": "RMSE", "r2": "R2"}


@names_checked
@usual_settings()
def distill(
    model: Model | str | Path,
    data: Any,
    *,
    seed: int = 0,
    network: torch.nn.Module | NetworkMaker | str | None = None,
    encoding: str | None = None,
    query: str | None = None,
) -> Distilled:
    """Train one network to predict what a model predicts: a faster model with the same columns.

    The student is a model like others: it is saved, served, exported and explained alike. It learns the teacher's
    probabilities, or numbers, of the rows of `data` and of perturbed copies of them, in which up to half of the values
    come from another row. The target is not learned from; rows may lack it.

    The teacher recognises rows that it has seen. Its test rows, if they are in `data`, are only for measuring both. Of other
    rows with a target that it did not learn from, up to a fifth of the table is kept to calibrate the student. Where there are
    none, the student keeps the teacher's calibration, and each end of its sets or intervals is the wider one of the teacher's
    and of its own on rows that it did not learn from.

    If the teacher was fitted with groups, rows are recognised by their group; without its column any row may be one that the
    teacher has learned from. If it was fitted with weights and the rows have them, the calibration is weighted, and rows of
    weight 0 neither calibrate nor measure.

    Args:
        model: The teacher, or its file.
        data: Rows like those that the teacher was trained on, such as these themselves; anything `sl.read` takes. They are
            read into memory, and of more than 100,000 so many are drawn.
        seed: Decides which rows are held out, the perturbed copies, the first weights and the batches; from 0.
        network: Of a teacher whose network is your own: its class, as in `Model.load`.
        encoding: Of a text file that is not UTF-8.
        query: The rows to read from a database, if `data` is its address.

    Returns:
        The student with what was measured of both.

    Raises:
        DataError: A column is missing, a class is none of the teacher's, a row with a target has no valid weight, or fewer
            than 20 rows can be learned from.
        OptionError: `seed` is no whole number from 0.
        BundleError: The teacher's file is missing or damaged, or needs `network`.

    Example:
        >>> import sightline as sl
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", quiet=True)
        >>> distilled = sl.distill(run.model, "examples/penguins.csv")
        >>> distilled.measured_on
        "34 rows that neither has learned from: the teacher's test rows"
        >>> distilled.agreement > 0.8, distilled.rows["perturbed"] > 1000
        (True, True)
        >>> distilled.model.save("student.sightline")
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError(f"seed is {seed!r}.", "Give a whole number from 0.")
    teacher = model if isinstance(model, Model) else Model.load(model, network=network)
    table = teacher.read(as_source(data, query), roles=("group", "weight"), encoding=encoding)
    parts = Parts.of(teacher, table, np.random.default_rng(seed))
    prepared = prepared_for(teacher, table, parts, np.random.default_rng([seed, 1]))
    began = time.perf_counter()
    with drawing(seed):
        training = Training(
            network_for(teacher.spec), prepared, epochs=30, learning_rate=2e-3, weight_decay=1e-4, schedule="plateau",
            patience=2, doctor=False, seed=seed,
        )  # fmt: skip
    for _ in training.steps():
        pass
    seconds = time.perf_counter() - began
    student = _student(teacher, training)
    _calibrate(student, teacher, table, parts)
    apart = subset(table, parts.apart)
    held_out = f"{counted(apart.rows, 'row')} that the student did not learn from"
    student.reference = reference_of(student, subset(table, parts.learned), apart, held_out)
    distilled = _compared(
        student, teacher, table, parts,
        perturbed=len(prepared.train.row) - len(parts.learned), epochs=training.history[-1].number,
        best_epoch=training.best_epoch, seconds=seconds,
    )  # fmt: skip
    student.provenance["distilled"] = distilled.to_json()
    return replace(distilled, student=replace(distilled.student, bytes=_size(student)))


def network_for(spec: Spec) -> Ensemble:
    """Return a student's network, untrained: one member of the default network, without dropout and wider.

    Numbers and many classes need still wider layers (docs/decisions.md).
    """
    numbers = spec.target.task == "regression"
    width = 256 if numbers or spec.outputs > FEW_CLASSES else 128
    waves = WAVES if numbers else 0
    return Ensemble(spec, members=1, hidden=[width] * 3, dropout=0.0, bins=True, waves=waves)


# ------------------------------------------------------------- the student as a model


def _student(teacher: Model, training: Training) -> Model:
    """Return the trained network as a model, with the teacher's columns, target and threshold."""
    trained = training.model()
    rows = dict(teacher.rows)
    for name in ("known_places", "known_group_places"):
        if name in rows:  # the student has learned from all folds at once
            rows[name] = rows[name].clamp(max=TRAINING)
    return Model(
        spec=teacher.spec, encoder=teacher.encoder, transform=teacher.transform, network=trained.network, task=trained.task,
        baseline=teacher.baseline, provenance=teacher.provenance, rows=rows, typical=trained.typical,
        blend=Blend({NetworkPart.name: 1.0}), threshold=teacher.threshold,
    )  # fmt: skip


def _calibrate(student: Model, teacher: Model, table: Table, parts: Parts) -> None:
    """Fit the student's temperature and conformal scores on rows that neither learned from, if there are enough.

    A teacher's predictions are too good for rows that it has learned from, and so are those of its student.
    """

    def values_of(rows: np.ndarray) -> np.ndarray:
        return student.predictions_of(subset(table, rows)).values

    def weight_of(rows: np.ndarray) -> np.ndarray | None:
        return None if parts.weight is None else parts.weight[rows]

    if len(rows := parts.calibration):
        assert parts.truth is not None
        values, truth, weight = values_of(rows), parts.truth[rows], weight_of(rows)
        source = (
            f"{counted(len(truth), 'row')} that neither the student nor its teacher learned from"
        )
        if student.task.classification:
            logs = blend_values(student.task, torch.from_numpy(values)).numpy()
            student.blend = Blend.fit({NetworkPart.name: logs}, truth, weight)
            student.conformal = Conformal.fit_classes(values_of(rows), truth, weight, source=source)
        else:
            student.conformal = Conformal.fit_numbers(values[:, 0], truth, weight, source=source)
    elif parts.truth is not None and teacher.conformal is not None:
        rows = parts.stopping[parts.known[parts.stopping]]
        if len(rows):
            source = (
                f"the teacher's ({teacher.conformal.source}), and are wider where the student's errors in "
                f"{counted(len(rows), 'row')} are larger"
            )
            student.conformal = teacher.conformal.wider(
                values_of(rows), parts.truth[rows], weight_of(rows), source=source
            )


# ------------------------------------------------------------- the comparison


def _compared(
    student: Model, teacher: Model, table: Table, parts: Parts, *, perturbed: int, epochs: int, best_epoch: int, seconds: float
) -> Distilled:  # fmt: skip
    """Measure teacher and student."""
    metrics = ("log_loss", "accuracy") if student.task.classification else ("rmse", "r2")
    measured = subset(table, parts.measured)
    timed = subset(table, np.resize(parts.learned, TIMED_ROWS))

    def side(model: Model) -> Measured:
        found = model.measure(model.predictions_of(measured)) if measured.rows else {}
        loss, score = (found.get(name) for name in metrics)
        return Measured(loss, score, _speed(model, timed), _size(model))

    apart = subset(table, parts.apart)
    rows = {
        "learned": len(parts.learned), "perturbed": perturbed, "stopping": len(parts.stopping),
        "calibration": len(parts.calibration), "measured": measured.rows, "agreement": apart.rows, "left_out": len(table.bad),
    }  # fmt: skip
    return Distilled(
        student, side(teacher), side(student), metrics, parts.measured_on, parts.held_out,
        _agreement(teacher.predictions_of(apart).values, student.predictions_of(apart).values), rows,
        None if student.conformal is None else student.conformal.source, epochs, best_epoch, seconds,
    )  # fmt: skip


def _agreement(teacher_NK: np.ndarray, student_NK: np.ndarray) -> float:
    """Return the share of rows with the same likeliest class, or R2 of the student's numbers for the teacher's."""
    if teacher_NK.shape[1] > 1:
        return float((teacher_NK.argmax(axis=1) == student_NK.argmax(axis=1)).mean())
    variance = float(teacher_NK.var())
    error = float(np.square(teacher_NK - student_NK).mean())
    return 1 - error / variance if variance else float(error == 0)


def _speed(model: Model, table: Table) -> float:
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        model.predictions_of(table)
        seconds.append(time.perf_counter() - began)
    return table.rows / min(seconds)


def _size(model: Model) -> int:
    file = BytesIO()
    model.save(file)
    return len(file.getvalue())
