import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.contracts import Batch, EpochRecord, Event, Step, Target
from sightline.predict.task import Task
from sightline.train.observations import EpochNumbers, LayerNumbers
from sightline.train.progress import STEPS_TOGETHER, Progress, Sums

CLASSES = Task(Target("y", "classification", ("a", "b", "c")))
NUMBER = Task(Target("y", "regression"), center=10.0, scale=4.0)
TASKS = {"classes": CLASSES, "number": NUMBER}


def step_of(task, number, rows=None, members=None, loss=None):
    random = torch.Generator().manual_seed(number)
    rows = rows or 3 + number % 4
    shape = (rows, *([members] if members else []), 3 if task.classification else 1)
    logits = torch.randn(shape, generator=random)
    target = (
        torch.randint(3, (rows,), generator=random)
        if task.classification
        else torch.randn(rows, generator=random).double() * 4 + 10
    )
    nothing = torch.zeros(rows, 0)
    batch = Batch(nothing, nothing.int(), target, None, torch.arange(rows))
    value = task.loss(logits, batch) if loss is None else torch.tensor(loss)
    return Step(number, 1, rows, value, batch, logits)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("steps", [1, STEPS_TOGETHER - 1, STEPS_TOGETHER, 2 * STEPS_TOGETHER + 3])
def test_means_are_over_rows(task, members, steps):
    task = TASKS[task]
    sums, made = Sums(task), [step_of(task, n, members=members) for n in range(steps)]
    for step in made[: steps // 2]:
        sums.add(step, step.loss.item())
    for step in made[steps // 2 :]:  # as on a device that is asked later
        sums.add(step, None)
    assert sums.read_late() == [(step, True) for step in made[steps // 2 :]]
    assert len(sums.waiting) == steps % STEPS_TOGETHER
    rows = sum(step.rows for step in made)
    loss, metric = sums.means()
    assert loss == pytest.approx(sum(float(s.loss) * s.rows for s in made) / rows)
    total = sum(float(task.score(task.head(s.logits), s.batch.target)) for s in made)
    assert metric == pytest.approx(task.mean_score(total, rows))
    assert sums.means() == (loss, metric)  # asking changes nothing


def test_no_steps_have_no_mean():
    assert all(math.isnan(value) for value in Sums(CLASSES).means())


@pytest.mark.parametrize("task", TASKS)
@given(st.integers(0, 40), st.integers(1, 40))
def test_a_save_in_between_changes_no_bit(task, before, after):
    task = TASKS[task]
    whole, first = Sums(task), Sums(task)
    for n in range(before):
        whole.add(step_of(task, n), 1.0 + n)
        first.add(step_of(task, n), 1.0 + n)
    second = Sums(task)
    second.from_tensors(first.to_tensors(), torch.device("cpu"))
    assert len(second.waiting) == before % STEPS_TOGETHER
    for n in range(before, before + after):
        whole.add(step_of(task, n), 1 / (1 + n))
        second.add(step_of(task, n), 1 / (1 + n))
    assert whole.means() == second.means()


def test_more_than_ten_waiting_steps_keep_their_order():
    sums, again = Sums(CLASSES), Sums(CLASSES)
    for n in range(14):
        sums.add(step_of(CLASSES, n), 1.0)
        sums.add(step_of(CLASSES, 20 + n), None)
    named = dict(sorted(sums.to_tensors().items()))  # as a file may have them
    again.from_tensors(named, torch.device("cpu"))
    for mine, theirs in zip(again.waiting, sums.waiting, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    for mine, theirs in zip(again.late, sums.late, strict=True):
        assert (mine.number, mine.epoch, mine.rows) == (theirs.number, theirs.epoch, theirs.rows)
        assert torch.equal(mine.loss, theirs.loss)
        assert torch.equal(mine.logits, theirs.logits)
        assert torch.equal(mine.batch.row, theirs.batch.row)
        assert mine.batch.weight is None
    again.read_late(), sums.read_late()
    assert again.means() == sums.means()


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_losses_that_are_not_finite_do_not_count(bad, known):
    sums = Sums(CLASSES)
    made = [step_of(CLASSES, n, loss=bad if n in (1, 3) else None) for n in range(STEPS_TOGETHER)]
    for step in made:
        sums.add(step, step.loss.item() if known else None)
    finite = [(step, n not in (1, 3)) for n, step in enumerate(made)]
    assert sums.read_late() == ([] if known else finite)
    kept = [step for step in made if torch.isfinite(step.loss)]
    expected = sum(float(s.loss) * s.rows for s in kept) / sum(s.rows for s in kept)
    assert sums.means()[0] == pytest.approx(expected)


def test_no_finite_loss_is_nan():
    sums = Sums(CLASSES)
    sums.add(step_of(CLASSES, 0, loss=math.nan), math.nan)
    assert math.isnan(sums.means()[0])


def test_progress_comes_back_from_json():
    layer = LayerNumbers("hidden.0", "t", 0.1, 1.0, 0.0, 0.0, None, 1.0, math.inf, 0.1, False)
    progress = Progress(
        weight_decay=0.1, steps=7, epoch=2, rows=30, seconds=0.5, elapsed=1.5,
        history=[EpochRecord(0, 1.0, None, {"a": math.inf}, "starting")],
        numbers=[EpochNumbers(math.inf, None, -math.inf, ("x",), 0.5, (layer,))],
        events=[Event("layers", 3, 1, "said", {"layers": [layer.to_json()]})],
        edits=[(3, {"edit": "Freeze", "name": "x"})], best_epoch=1, best_edits=1, good_epoch=1,
        stopped="why", bad_in_a_row=2, skipped=3, rollbacks=1, doctor_at=5, detailed_steps={1: {"a": 1}},
    )  # fmt: skip
    again = Progress.from_json(json.loads(json.dumps(progress.to_json())))
    assert again == progress
    assert isinstance(again.edits[0], tuple)


def test_progress_with_nan_comes_back_from_json():
    progress = Progress(
        weight_decay=0.0, numbers=[EpochNumbers(math.nan, math.nan, math.nan)],
        history=[EpochRecord(0, math.nan, math.nan, {"a": math.nan}, "")],
    )  # fmt: skip
    again = Progress.from_json(json.loads(json.dumps(progress.to_json())))
    assert math.isnan(again.numbers[0].watched)
    assert math.isnan(again.history[0].train_loss)
    assert math.isnan(again.history[0].metrics["a"])
    assert json.dumps(again.to_json()) == json.dumps(progress.to_json())
