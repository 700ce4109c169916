"""Every record of whole fits is as its type says, and docs/trace.md is made from these types."""

import copy
import importlib.util
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from tests.trace.bodies import problems, problems_of

import sightline as sl
from sightline.contracts import EventType
from sightline.contracts.records.bodies import BODIES, TYPES
from sightline.contracts.records.load import LoadBatch
from sightline.contracts.records.train import TrainEpoch
from sightline.trace.records import Trace, read_records
from sightline.train import commands

ROOT = Path(__file__).parent.parent.parent
SMALL = {"epochs": 2, "device": "cpu", "quiet": True}


class Cut(Exception):
    """Ends a fit in the middle of training, as a crash would."""


class Sender:
    """Watches a fit: sends it commands after given steps, and cuts it off after another."""

    def __init__(self, run, sent, cut):
        self.run, self.sent, self.cut = run, sent, cut

    def __call__(self, record):
        pass

    def step(self, done, total):
        for command in self.sent.get(done, ()):
            commands.write_command(self.run, command)
        if done == self.cut:
            raise Cut

    def close(self):
        pass


SENT = {
    2: [{"edits": [{"edit": "Widen", "name": "hidden.0", "width": 96}]}, {"unknown": True}],
    3: [{"edits": [{"edit": "Freeze", "name": "hidden.0"}]}],
    4: [{"edits": [{"edit": "SetLearningRate", "value": 0.01}]}, {"pause": True}, {"continue": True}],
    5: [
        {"explain": {"id": "1", "row": {"island": "Dream"}}},
        {"explain": {"id": "2", "row": dict.fromkeys(
            ("island", "sex", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "year")
        )}},
    ],
}  # fmt: skip


def edited(folder, penguins):
    """Edits, commands, an interruption in the second epoch, and a resume."""
    run = folder / "edited"
    with pytest.raises(Cut):
        sl.fit(
            penguins, "species", run=run, network="MLP", batch_size=32, checkpoint_epochs=1,
            view=Sender(run, SENT, cut=12), **{**SMALL, "quiet": False},
        )  # fmt: skip
    return sl.resume(run, quiet=True)


def binary(folder, penguins):
    """Folds, every kind of part, calibration and a threshold."""
    parts = {
        "second_network": True,
        "symmetric_trees": True,
        "forest": True,
        "kernel": True,
        "neighbors": True,
    }
    return sl.fit(
        penguins, "sex", positive="female", quality="fast", threshold="f1", run=folder / "binary", **parts, **SMALL,
    )  # fmt: skip


def regression(folder, penguins):
    return sl.fit(penguins, "body_mass_g", quality="fast", eval_metric="mae", run=folder / "number", **SMALL)  # fmt: skip


def limited(folder, penguins):
    """A time limit that is over when the table has been read."""
    return sl.fit(penguins, "species", time_limit=1e-3, run=folder / "limited", **SMALL)


def plateau(folder, penguins):
    """A learning rate of 0: the loss does not fall."""
    return sl.fit(
        penguins, "species", network="MLP", schedule="plateau", patience=1, learning_rate=0.0,
        optimizer="sgd", report=False, baselines=False, run=folder / "plateau", **{**SMALL, "epochs": 8},
    )  # fmt: skip


def diverged(folder, penguins):
    """A learning rate so large that losses are not finite."""
    return sl.fit(
        penguins, "species", network="MLP", learning_rate=1e30, optimizer="sgd", report=False,
        baselines=False, run=folder / "diverged", **SMALL,
    )  # fmt: skip


FITS = [edited, binary, regression, limited, plateau, diverged]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, penguins, fitted):
    """The records of fits of every kind, by name."""
    folder, before = tmp_path_factory.mktemp("bodies"), commands.SECONDS_BETWEEN_READS
    commands.SECONDS_BETWEEN_READS = 0.0  # look for commands after every step
    try:
        made = {fit.__name__: fit(folder, penguins).records for fit in FITS}
    finally:
        commands.SECONDS_BETWEEN_READS = before
    made["replay"] = sl.replay(folder / "edited", to=folder / "replay", quiet=True).records
    made["validated"] = sl.Run(fitted / "runs" / "a").records
    killed = ROOT / "tests" / "golden" / "killed"
    made |= {f"killed {name}": read_records(killed / name)[0] for name in ("fast", "mlp")}
    return made


NAMES = [*(fit.__name__ for fit in FITS), "replay", "validated", "killed fast", "killed mlp"]


@pytest.mark.parametrize("name", NAMES)
def test_every_record_is_as_its_type_says(runs, name):
    assert [problem for record in runs[name] for problem in problems_of(record)] == []


def test_these_fits_write_every_type_of_record(runs):
    written = {(record.stage, record.type) for records in runs.values() for record in records}
    bare = {("train", "memory"), ("train", "warning")}  # events without fields of their own
    assert written | bare == set(BODIES)
    for key in bare:
        assert set(get_type_hints(BODIES[key])) == {"step", "epoch", "epochs_done", "said"}


def test_every_event_has_a_body():
    assert {("train", type_) for type_ in get_args(EventType)} <= set(BODIES)
    assert len(TYPES) == len(BODIES)


# ------------------------------------------------------------- the comparison itself


def record_of(runs, name, stage, type_):
    return next(r for r in runs[name] if (r.stage, r.type) == (stage, type_))


def changed(record, change):
    body = copy.deepcopy(record.body)
    change(body)
    return replace(record, body=body)


@pytest.mark.parametrize(
    ("stage", "type_", "change", "expected"),
    [
        ("load", "batch", lambda b: b.update(more=1), "load/batch: more is not declared in LoadBatch"),
        ("load", "batch", lambda b: b.pop("batches"), "load/batch: batches is missing"),
        ("load", "batch", lambda b: b.update(batches=True), "load/batch.batches: 'True' is no int"),
        ("load", "batch", lambda b: b.update(batches=1.5), "load/batch.batches: '1.5' is no int"),
        ("load", "batch", lambda b: b.update(sentence=None), "load/batch.sentence: 'None' is no str"),
        ("load", "table", lambda b: b["columns"][1].pop("role"), "load/table.columns[1]: role is missing"),
        ("load", "table", lambda b: b["columns"][1].update(kind="odd"), "load/table.columns[1].kind: 'odd' is not one of"),
        ("load", "table", lambda b: b.update(columns={}), "load/table.columns: '{}' is no list"),
        ("predict", "example", lambda b: b["explanation"]["layers"][0]["largest"][0].append(1), "largest[0]: "),
        ("predict", "example", lambda b: b["explanation"]["encoded"].update(x="1"), "explanation.encoded.x: '1' is no float"),
        ("train", "epoch", lambda b: b["metrics"].update(test_mae=1.0), "test_mae is not declared in EpochMetrics"),
        ("run", "start", lambda b: b["recipe"].update(folds=None), "run/start.recipe.folds: 'None' is no int"),
    ],
)  # fmt: skip
def test_a_wrong_body_is_found(runs, stage, type_, change, expected):
    (found,) = problems_of(changed(record_of(runs, "validated", stage, type_), change))
    assert expected in found


def test_an_unknown_type_of_record_is_found(runs):
    record = replace(record_of(runs, "validated", "load", "batch"), type="other")
    assert problems_of(record) == ["load/other: unknown type of record"]


def test_numbers_that_are_not_finite_are_numbers(runs):
    body = record_of(runs, "validated", "train", "epoch").body
    assert problems({**body, "train_loss": "NaN"}, TrainEpoch) == []
    assert problems({**body, "train_loss": "nan"}, TrainEpoch) != []


# ------------------------------------------------------------- writers and the page


def test_a_writer_knows_stage_and_type():
    trace = Trace()
    body = LoadBatch(batch_size=2, batches=3, features=1, sentence="2 rows")
    record = trace.writer(LoadBatch)(body)
    assert (record.stage, record.type, record.body) == ("load", "batch", body)
    assert trace.records == [record]


def test_a_writer_is_for_a_declared_body():
    with pytest.raises(KeyError):
        Trace().writer(dict)


def test_the_page_is_made_from_the_types():
    path = ROOT / "docs" / ".build" / "trace.py"
    spec = importlib.util.spec_from_file_location("trace_page", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    page = (ROOT / "docs" / "trace.md").read_text(encoding="utf-8")
    assert page == made.page(), f"run: python {path.relative_to(ROOT)}"
    headings = [made.anchor(title) for title in re.findall(r"^###? (.*)$", page, re.M)]
    assert len(headings) == len(set(headings))
    assert set(re.findall(r"\]\(#(\w+)\)", page)) <= set(headings)
