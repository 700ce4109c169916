"""Whether the newest rows are as the rows before: warned of where they are not, and no false alarms where they are."""

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import Target
from sightline.evaluate.over_time import coverage_warning, time_warnings, times_of

NUMBER = Target("y", "regression")
TWO = Target("y", "classification", ("no", "yes"), "yes")


def errors_of(random, rows, alike=0.0):
    """Errors of a stable series; those that follow each other are alike."""
    noise, errors = random.normal(size=rows), np.empty(rows)
    errors[0] = noise[0]
    for i in range(1, rows):
        errors[i] = alike * errors[i - 1] + (1 - alike**2) ** 0.5 * noise[i]
    return errors


def warned(errors, target=NUMBER, values=None, order=None):
    rows = len(errors)
    times = np.arange(rows) if order is None else order
    values = np.full((rows, 1), 10.0) if values is None else values
    truth = 10.0 + errors if target is NUMBER else errors
    return time_warnings(target, values, truth, times, "day", "test")


@pytest.mark.parametrize("rows", [60, 150, 1000])
def test_a_bias_is_warned_of_with_its_size(rows):
    (said,) = warned(np.random.default_rng(0).normal(size=rows) + 2)
    assert said.startswith("Warning: the future differs from the past")
    assert f"On {rows:,} test rows, the newest by 'day', predictions are " in said
    assert " too low on average" in said
    assert " too high on average" in warned(np.random.default_rng(0).normal(size=rows) - 2)[0]


def test_a_trend_is_warned_of_in_the_order_of_time_and_not_of_the_rows():
    random = np.random.default_rng(0)
    errors = random.normal(size=400) + np.linspace(-2, 2, 400)
    (said,) = warned(errors)
    assert "the errors have a trend" in said
    assert " too high for the oldest of them and " in said
    shuffled = random.permutation(400)
    assert warned(errors[shuffled], order=shuffled) == [said]
    assert warned(errors[shuffled]) == []


def test_a_share_of_a_class_that_moves_is_warned_of():
    random = np.random.default_rng(0)
    share = np.full(500, 0.2)
    values = np.stack([1 - share, share], axis=1)
    (said,) = warned((random.random(500) < 0.45).astype(int), TWO, values)
    assert "the class yes has " in said
    assert "the model expects 20.0 %" in said
    (moving,) = warned((random.random(500) < np.linspace(0, 0.6, 500)).astype(int), TWO, values)
    assert " points for the oldest of them and " in moving
    assert warned((random.random(500) < 0.2).astype(int), TWO, values) == []


def test_of_many_classes_the_one_that_moved_most_is_named():
    random = np.random.default_rng(0)
    many = Target("y", "classification", tuple("abcdef"))
    values, truth = (
        np.full((600, 6), 1 / 6),
        random.choice(6, 600, p=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1]),
    )
    (said,) = warned(truth, many, values)
    assert "the class a has " in said


def test_few_rows_are_not_judged():
    assert warned(np.full(59, 5.0)) == []
    assert coverage_warning(np.zeros(59, bool), 0.1, np.arange(59), 1000) is None
    assert warned(np.zeros(100)) == []
    assert warned(np.full(100, 5.0)) != []


def test_false_alarms_of_stable_series_are_rare():
    alarms = {"numbers": 0, "alike": 0, "heavy": 0, "classes": 0, "coverage": 0}
    for seed in range(300):
        random = np.random.default_rng(seed)
        alarms["numbers"] += bool(warned(random.normal(size=200)))
        alarms["alike"] += bool(warned(errors_of(random, 400, alike=0.6)))
        alarms["heavy"] += bool(warned(random.standard_t(2, 200)))
        share = random.beta(2, 5, 300)
        values = np.stack([1 - share, share], axis=1)
        alarms["classes"] += bool(warned((random.random(300) < share).astype(int), TWO, values))
        # The quantile of 300 calibration rows is itself a draw: coverage is not exactly 90 %.
        covered = random.random(200) < random.beta(270, 31)
        alarms["coverage"] += coverage_warning(covered, 0.1, np.arange(200), 300) is not None
    assert max(alarms.values()) <= 3, alarms


@pytest.mark.parametrize("promised", [0.1, 0.2])
def test_coverage_that_falls_short_is_warned_of(promised):
    random = np.random.default_rng(0)
    said = coverage_warning(random.random(400) < 1 - promised - 0.2, promised, np.arange(400), 400)
    assert said.startswith("Warning: the future differs from the past. That is ")
    assert f"{100 * (1 - promised):g} % promised" in said
    assert coverage_warning(np.ones(400, bool), promised, np.arange(400), 400) is None


def series(rows, drift, seed=0):
    random = np.random.default_rng(seed)
    x, t = random.normal(size=rows), np.arange(rows) + 0.5
    return {"x": x, "t": t, "y": 3 * x + drift * t / rows + random.normal(size=rows)}


@pytest.mark.parametrize("time", ["t", None])
def test_a_fit_says_it_where_the_rows_are_divided_by_time(time, tmp_path):
    small = {"quality": "fast", "report": False, "baselines": False, "quiet": True}
    run = sl.fit(
        series(1200, 60.0),
        "y",
        drop=["t"] if time is None else (),
        time=time,
        run=tmp_path / "a",
        **small,
    )
    metrics, sets = (run.find("predict", type_)[-1].body for type_ in ("metrics", "sets"))
    assert any(note.startswith("Warning: the future") for note in metrics["notes"]) == (
        time is not None
    )
    assert ("Warning: the future" in sets["said"]) == (time is not None)


@pytest.mark.parametrize("seed", range(3))
def test_a_fit_of_a_stable_series_says_nothing(seed, tmp_path):
    run = sl.fit(series(900, 0.0, seed), "y", time="t", network="MLP", epochs=8, calibrate=True, trees=False,
                 run=tmp_path / "a", report=False, baselines=False, quiet=True)  # fmt: skip
    assert not any("Warning" in note for note in run.find("predict", "metrics")[-1].body["notes"])
    assert "Warning" not in run.find("predict", "sets")[-1].body["said"]


def test_rows_without_times_have_no_order():
    table = sl.read({"x": [1.5, 2.5] * 50, "t": np.arange(100) + 0.5, "y": ["a", "b"] * 50})
    given = {"x": [1.5, 2.5] * 5, "y": ["a", "b"] * 5}
    splits = sl.split(table, "y", time="t", test=given)
    assert times_of(splits, splits.test) is None
    assert len(times_of(splits, splits.valid)) == len(splits.valid)


def test_held_out_groups_are_not_called_the_newest_rows():
    truth, times = np.tile([2.0, 4.0], 100), np.arange(200)
    target = Target("y", "regression")
    (said,) = time_warnings(target, np.zeros((200, 1)), truth, times, "day", "test", groups=True)
    assert (
        "On 200 test rows, those of the groups that are the newest by 'day', predictions are"
        in said
    )
