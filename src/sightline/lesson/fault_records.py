"""What a lesson of what goes wrong reads from its runs: the sentence that names the fault, and measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

from sightline.contracts import Record
from sightline.trace.records import find, number

FaultName = Literal[
    "overfitting", "learning-rate", "leakage", "imbalance", "vanishing", "unscaled", "label-noise"
]


class Observed(TypedDict):
    """A sentence of a run's records that names the fault."""

    record: str
    epoch: NotRequired[int]
    said: str


class Side(TypedDict):
    """One run of a lesson: what the page and the terminal show of it.

    `epochs` has the number, the training loss and the validation loss (or None) of each epoch; `observed` is None where
    no record names the fault; `last` is the observation of the last epoch.
    """

    name: str
    title: str
    run: str
    observed: Observed | None
    last: str
    epochs: list[tuple[int, float, float | None]]
    measured: dict[str, float]


class Question(TypedDict):
    """A question and its answer."""

    question: str
    answer: str


class LessonBody(TypedDict):
    """A lesson that was given: what `sightline demo --lesson NAME --json` prints.

    `changed` has the settings that differ between the runs, each with its value in every run; `better` says of each
    measure whether more of it is better; `later` says which rows were tried afterwards, if any were.
    """

    lesson: FaultName
    title: str
    seed: int
    fault: str
    cure: str
    sides: list[Side]
    changed: dict[str, list[Any]]
    better: dict[str, Literal["more", "less"]]
    later: str
    questions: list[Question]
    others: list[str]
    folder: str
    page: str


TRAINED, LAST_TRAINED = "training accuracy, last epoch", "training loss, last epoch"
LAST_VALID, BEST_VALID = "validation loss, last epoch", "validation loss, best epoch"
ACCURACY, MAJORITY = "test accuracy", "test accuracy of the most frequent class"
BALANCED, RECALL, PRECISION = (
    "balanced accuracy",
    "recall of the rare class",
    "precision of the rare class",
)
LATER = "accuracy on later rows"
FIRST_GRADIENT = "gradient of the first layer / gradient of the last layer"
BETTER: Mapping[str, Literal["more", "less"]] = {
    TRAINED: "more", LAST_TRAINED: "less", LAST_VALID: "less", BEST_VALID: "less", ACCURACY: "more", BALANCED: "more", RECALL: "more",
    PRECISION: "more", LATER: "more", FIRST_GRADIENT: "more",
}  # fmt: skip
"""Of each measure whether more or less of it is better; the others only say what to compare with."""

Asked = Callable[[Sequence[Side]], list[tuple[str, str]]]


@dataclass(frozen=True)
class Fault:
    """A lesson's words.

    Attributes:
        title: Of the lesson.
        fault: What goes wrong, in two sentences.
        cure: What cures it.
        signs: Where the records name it: stage and type of a record, and what its sentence begins with.
        measures: What is compared, the measure that decides first.
        asked: Makes three questions, with answers, of the runs.
        later: Which rows the models are tried on afterwards, as a sentence; "" if the test rows say enough.
    """

    title: str
    fault: str
    cure: str
    signs: Sequence[tuple[str, str, str]]
    measures: Sequence[str]
    asked: Asked
    later: str = ""


def side(name: str, title: str, run: str, records: Sequence[Record], fault: Fault, later: Mapping[str, Any] | None) -> Side:  # fmt: skip
    """Read from a run's records what a lesson shows of it.

    Args:
        name: Of the run in its lesson, such as "cure".
        title: What it is, in a few words.
        run: Its folder.
        records: Its records.
        fault: The lesson.
        later: The metrics of the model on rows that were tried afterwards, or None.

    Example:
        >>> import sightline as sl
        >>> from sightline.lesson.fault_records import side
        >>> from sightline.lesson.faults import FAULTS
        >>> run = sl.fit("examples/penguins.csv", "species", network="MLP", epochs=2, quiet=True)
        >>> seen = side("cure", "penguins", str(run.folder), run.records, FAULTS["overfitting"], None)
        >>> len(seen["epochs"]), seen["observed"]
        (3, None)
    """
    bodies = [record.body for record in find(records, "train", "epoch")]
    known = _measured(records, later)
    return {
        "name": name, "title": title, "run": run, "observed": observed(records, fault),
        "last": str(bodies[-1]["observation"]),
        "epochs": [
            (
                int(body["number"]), number(body["train_loss"]),
                None if body["valid_loss"] is None else number(body["valid_loss"]),
            )
            for body in bodies
        ],
        "measured": {what: known[what] for what in fault.measures if what in known},
    }  # fmt: skip


def observed(records: Sequence[Record], fault: Fault) -> Observed | None:
    """Return the first sentence of a run's records that names a fault, and where it is; None if there is none.

    Example:
        >>> from sightline.lesson.fault_records import observed
        >>> from sightline.lesson.faults import FAULTS
        >>> from sightline.trace.records import Trace
        >>> trace = Trace()
        >>> said = "stable; gradients vanish: that of hidden.0 is 1.0e-05 times that of output"
        >>> _ = trace.write("train", "epoch", {"number": 3, "observation": said})
        >>> observed(trace.records, FAULTS["vanishing"])["said"]
        'gradients vanish: that of hidden.0 is 1.0e-05 times that of output'
    """
    for stage, type_, start in fault.signs:
        for record in find(records, stage, type_):
            body = record.body
            if type_ == "epoch":
                said = next((one for one in body["observation"].split("; ") if start in one), None)
                if said is not None:
                    return {"record": f"{stage}/{type_}", "epoch": body["number"], "said": said}
                continue
            sentences = body["notes"] if "notes" in body else [body["verdict"]]
            said = next((one[one.index(start) if type_ == "baselines" else 0 :] for one in sentences if start in one), None)  # fmt: skip
            if said is not None:
                return {"record": f"{stage}/{type_}", "said": said}
    return None


def _measured(records: Sequence[Record], later: Mapping[str, Any] | None) -> dict[str, float]:
    """Return every measure that the records of a run have."""
    epochs = [record.body for record in find(records, "train", "epoch")]
    metrics, last = find(records, "predict", "metrics")[-1].body, epochs[-1]
    best = epochs[find(records, "train", "end")[-1].body["best_epoch"]]
    found = {
        ACCURACY: metrics["accuracy"], MAJORITY: metrics["baseline"]["accuracy"], TRAINED: number(last["metrics"]["train_accuracy"]),
        LAST_TRAINED: number(last["train_loss"]),
    }  # fmt: skip
    if last["valid_loss"] is not None:
        found |= {LAST_VALID: number(last["valid_loss"]), BEST_VALID: number(best["valid_loss"])}
    classes = metrics["classes"]
    rare = min(classes, key=lambda one: one["rows"])
    found |= {
        BALANCED: sum(one["recall"] for one in classes) / len(classes), RECALL: rare["recall"], PRECISION: rare["precision"],
    }  # fmt: skip
    if later is not None:
        found[LATER] = later["accuracy"]
    if examined := find(records, "train", "layers"):
        gradients = [one["gradient"] for one in examined[-1].body["layers"] if one["weight_norm"]]
        if number(gradients[-1]):
            found[FIRST_GRADIENT] = number(gradients[0]) / number(gradients[-1])
    return {name: float(value) for name, value in found.items()}
