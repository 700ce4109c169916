import json
import math
import pickle
import time

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import FitOptions
from sightline.errors import OptionError
from sightline.pipeline.beginnings import Fresh, Resumed
from sightline.pipeline.deadline import (
    Budget,
    Deadline,
    PartTime,
    end_seconds,
    part_times,
    recipe_in_time,
)
from sightline.pipeline.flow import Observer, run_stages
from sightline.pipeline.recipe import Recipe, Size
from sightline.pipeline.runs import interrupted
from sightline.predict.parts import PARTS

QUICK = {"quality": "fast", "epochs": 2, "device": "cpu"}
LATER = ["second_network", "trees", "symmetric_trees", "forest", "kernel", "neighbors"]
EVERY = {name: True for name in LATER if name != "trees"}


class Clock:
    """Stands still until a test moves it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Mover:
    """A view that moves the clock when a record of a type is written."""

    def __init__(self, clock, **at):
        self.clock, self.at = clock, at

    def __call__(self, record):
        self.clock.now = self.at.get(f"{record.stage}_{record.type}", self.clock.now)

    def step(self, done, total):
        pass

    def close(self):
        pass


@pytest.fixture
def clock(monkeypatch):
    """The clock of every fit that begins in the test."""
    clock = Clock()
    monkeypatch.setattr(
        "sightline.pipeline.beginnings.Deadline",
        lambda limit=None, used=0.0: Deadline(limit, used, clock),
    )
    return clock


def budget(limit=100.0, clock=None, **more):
    parts = {
        "network": PartTime(2.0, 0.35), "trees": PartTime(1.0, 0.2), "second_network": PartTime(2.0, 0.35),
        "forest": PartTime(30.0, 0.1),
    }  # fmt: skip
    return Budget(Deadline(limit, clock=clock or Clock()), parts, **more)


# ------------------------------------------------------------- the clock


def test_a_deadline_counts_what_was_used_before_and_no_pause():
    clock = Clock()
    deadline = Deadline(10.0, used=4.0, clock=clock)
    clock.now = 3.0
    assert (deadline.used(), deadline.left()) == (7.0, 3.0)
    deadline.exclude(2.0)
    assert (deadline.used(), deadline.left()) == (5.0, 5.0)
    clock.now = 30.0
    assert deadline.left() == -22.0
    assert Deadline().left() == math.inf


def test_a_deadline_takes_what_was_used_to_another_process():
    there = pickle.loads(pickle.dumps(Deadline(10.0, used=4.0)))
    assert (there.limit, there.before) == (10.0, pytest.approx(4.0, abs=1.0))
    assert there.left() == pytest.approx(6.0, abs=1.0)


# ------------------------------------------------------------- the budget


def test_each_part_gets_its_least_and_a_share_of_the_rest():
    clock = Clock()
    money = budget(clock=clock, end=8.0, optional=2.0)
    assert money.planned == ("network", "second_network", "trees", "forest")  # as they are made
    assert money.seconds("network") == 2.0 + (90.0 - 35.0) * 0.35
    clock.now = 5.0  # the network ended early: what it left is divided among the others
    assert money.seconds("second_network") == pytest.approx(2.0 + (85.0 - 33.0) * 0.35 / 0.65)
    clock.now = 10.0
    assert money.seconds("trees") == pytest.approx(1.0 + (80.0 - 31.0) * 0.2 / 0.3)
    assert money.seconds("forest") == pytest.approx(80.0)
    assert money.left_out == {}


def test_sizes_and_the_limit_decide_which_parts_are_tried():
    """Half of 97 s allows all, of 37 s not the forest, of 6 s the network and the trees."""
    for limit, planned in ((100.0, 4), (40.0, 3), (9.0, 2), (1e-9, 1)):
        clock = Clock()
        money = budget(limit, clock)
        names = money.planned
        assert len(names) == planned
        clock.now = 1e6  # the clock does not decide it
        assert money.planned == names
        assert names[0] == "network"
    assert budget(40.0, asked=("forest",)).planned[-1] == "forest"  # what was asked for is tried


def test_a_part_without_time_is_left_out_and_said():
    clock = Clock()
    money = budget(40.0, clock, end=5.0)
    clock.now = 34.5
    assert money.seconds("second_network") == 0.0  # 0.5 s are left, and it takes 2 at least
    assert money.seconds("forest") == 0.0
    record = money.record()
    assert record["left_out"] == [
        {"part": "second_network", "by": "clock"}, {"part": "forest", "by": "estimate"},
    ]  # fmt: skip
    assert record["said"] == (
        "34.5 of the time limit's 40 s were used when the model was complete; left out, because it would take too "
        "long: forest; left out, because it had no time left: second network"
    )
    assert (record["limit"], record["seconds"]) == (40.0, 34.5)
    assert record["parts"] == ["network", "second_network", "trees"]


def test_the_network_has_a_moment_even_when_the_limit_is_over():
    clock = Clock()
    money = budget(10.0, clock)
    clock.now = 99.0
    assert 0 < money.seconds("network") < 0.01


def test_the_least_important_parts_give_way():
    clock = Clock()
    money = budget(50.0, clock, start=0.0)
    clock.now = 47.5  # 2.5 s are left: with the trees there would not be more than the least
    assert money.seconds("second_network") == 2.5
    clock.now = 46.0
    assert money.seconds("second_network") == pytest.approx(2.0 + 1.0 * 0.35 / 0.55)
    assert money.seconds("forest") == 0.0


def test_a_slow_machine_keeps_more_time_for_the_end():
    usual, slow = (budget(end=10.0, pace=pace).seconds("network") for pace in (1.0, 2.0))
    assert usual - slow == pytest.approx(10.0 * 0.35)


def test_without_a_limit_every_part_has_all_the_time():
    money = budget(None)
    assert [money.seconds(name) for name in PARTS] == [None] * len(PARTS)
    assert money.record() is None


def test_a_new_part_without_an_estimate_gets_what_is_left():
    clock = Clock()
    money = budget(20.0, clock, end=5.0)
    assert money.seconds("new") == 15.0
    clock.now = 16.0
    assert money.seconds("new") == 0.0
    assert "new" not in money.left_out  # the model may have no such part


def test_there_is_an_estimate_for_every_part():
    recipe = Recipe.choose(FitOptions.of("y", quality="best"))
    times = part_times(recipe, Size(1_000, 10, 2), second_network=True)
    assert set(times) == set(PARTS)
    assert next(iter(times)) == "network"  # the most important one
    larger = part_times(recipe, Size(15_000, 10, 2), second_network=True)
    assert all(larger[name].least > times[name].least > 0 for name in times)
    plain = part_times(Recipe.choose(FitOptions.of("y", network=sl.MLP)), Size(9, 1, 2), False)
    assert list(plain) == ["network"]


def test_the_end_takes_longer_with_simple_models_and_a_report():
    size = Size(10_000, 20, 2)
    bare = FitOptions.of("y", baselines=False, report=False)
    must, optional = end_seconds(FitOptions.of("y"), size, 1_000.0)
    assert end_seconds(bare, size, 1_000.0) == (must, 0.0)
    assert optional > 0
    assert end_seconds(FitOptions.of("y"), size, 5.0) == (must, 0.5)  # a tenth of the limit at most
    assert end_seconds(bare, size._replace(rows=100_000), 9.0)[0] > must


def test_a_short_limit_on_a_large_table_lowers_the_quality():
    def quality(limit, rows, **asked):
        options = FitOptions.of("y", time_limit=limit, **asked)
        return recipe_in_time(Recipe.choose(options), options, Size(rows, 20, 2))

    assert quality(10.0, 500, quality="best").quality == "best"
    assert quality(10.0, 300_000, quality="best").quality == "fast"
    middle = quality(60.0, 150_000, quality="best")
    assert (middle.quality, middle.folds, middle.forest) == ("default", 5, True)
    assert quality(3600.0, 100_000, quality="best").quality == "best"
    assert quality(10.0, 300_000, network=sl.MLP).quality is None
    assert quality(10.0, 300_000, forest=True).forest  # what was asked for stays
    assert quality(None, 10**7, quality="best").quality == "best"


# ------------------------------------------------------------- whole fits


def test_what_the_clock_leaves_out_is_recorded_and_replayed(clock, penguins, tmp_path):
    view = Mover(clock, train_end=58.5, train_time_limit=59.5)
    run = sl.fit(
        penguins, "species", time_limit=60.0, run=tmp_path / "a", view=view, **EVERY, **QUICK
    )
    spent = run.find("train", "time_limit")[0].body
    assert [(one["part"], one["by"]) for one in spent["left_out"]] == [(p, "clock") for p in LATER]
    assert spent["seconds"] == 58.5
    assert list(run.model.blend.weights) == ["network"]
    assert run.find("run", "start")[0].body["settings"]["time_limit"] == 60.0
    short = run.find("predict", "time_limit")[0].body
    assert short["left_out"][0] == "contributions"
    assert {"logistic regression", "gradient boosting", "importance"} <= set(short["left_out"])
    assert not run.find("predict", "importance")
    explanation = run.find("predict", "example")[0].body["explanation"]
    assert "time limit" in explanation["pushes_note"]
    notes = {one["name"]: one["note"] for one in run.find("predict", "baselines")[0].body["models"]}
    assert notes["gradient boosting"] == "left out: the time limit leaves no time for it"
    assert (tmp_path / "a" / "report.html").exists()

    clock.now = 0.0  # a replay has no clock
    again = sl.replay(tmp_path / "a", to=tmp_path / "b", quiet=True)
    assert again.find("train", "replay")[0].body["identical"]
    assert not any(again.find("train", part) for part in LATER)
    assert again.find("predict", "time_limit")[0].body == short
    assert not again.find("predict", "importance")
    assert again.metrics == run.metrics


def test_what_the_end_shortened_is_replayed(clock, penguins, tmp_path):
    run = sl.fit(penguins, "species", time_limit=60.0, run=tmp_path / "a", quiet=True, **QUICK)
    assert not run.find("predict", "time_limit")
    assert run.find("train", "trees")
    path = tmp_path / "a" / "trace.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    record = json.loads(lines[-1])
    body = {"left_out": ["curves"], "shortened": {"importance": 2, "rows": 7}, "said": "."}
    record |= {"stage": "predict", "type": "time_limit", "body": body, "seq": record["seq"] + 1}
    path.write_text("\n".join([*lines, json.dumps(record)]) + "\n", encoding="utf-8")
    again = sl.replay(tmp_path / "a", to=tmp_path / "b", quiet=True)
    assert not again.find("predict", "curves")
    assert again.find("predict", "importance")[0].body["repeats"] == 2
    assert len(again.find("predict", "rows")[0].body["rows"]) == 7
    made = again.find("predict", "time_limit")[0].body
    assert (made["left_out"], made["shortened"]) == (body["left_out"], body["shortened"])


def test_a_limit_that_is_over_at_once_makes_one_step(clock, penguins, tmp_path):
    class Over(Observer):
        def loaded(self, loaded):
            clock.now = 5.0

    options = FitOptions.of("species", test=0, time_limit=1e-3, **{**QUICK, "epochs": 50})
    outcome = run_stages(Fresh(penguins, options), [Over()])
    assert outcome.training.progress.steps == 1
    assert "time limit" in outcome.training.stopped
    assert list(outcome.finished.model.blend.weights) == ["network"]
    assert outcome.finished.model.predict(penguins).shape == (344,)
    assert [one["part"] for one in outcome.finished.time_limit["left_out"]] == ["trees"]


def test_a_resumed_fit_has_what_is_left_of_the_limit(clock, penguins, tmp_path):
    class Cut(Exception):
        pass

    class Cutter(Mover):
        def step(self, done, total):
            if done == 12:
                raise Cut

    view = Cutter(clock, train_plan=12.0)
    with pytest.raises(Cut):
        sl.fit(penguins, "species", time_limit=60.0, run=tmp_path / "a", view=view, **QUICK)
    records, saved = interrupted(tmp_path / "a")
    clock.now = 1e6  # another process, later
    deadline = Resumed(tmp_path / "a", saved, records).deadline
    assert (deadline.used(), deadline.left()) == (12.0, 48.0)
    run = sl.resume(tmp_path / "a", quiet=True)
    assert run.find("train", "time_limit")[0].body["seconds"] == 12.0
    saved.more.pop("used")  # a checkpoint of an older version does not say it
    assert Resumed(tmp_path / "a", saved, records).deadline.left() == 60.0


def test_without_a_limit_nothing_is_said_of_one(penguins, tmp_path):
    run = sl.fit(penguins, "species", run=tmp_path / "a", quiet=True, **QUICK)
    assert not [record for record in run.records if record.type == "time_limit"]


@pytest.mark.parametrize("limit", [0, -1.0, math.nan, math.inf, "60", True])
def test_a_limit_is_a_number_above_0(limit, penguins, tmp_path):
    with pytest.raises(OptionError, match="time_limit is"):
        sl.fit(penguins, "species", time_limit=limit, run=tmp_path / "a", quiet=True)
    assert not (tmp_path / "a").exists()


def test_a_large_table_ends_in_time(tmp_path):
    """60,000 rows with the best quality would take many minutes."""
    random = np.random.default_rng(0)
    data = {f"x{n}": random.normal(size=60_000) for n in range(8)}
    data["y"] = data["x0"] * data["x1"] + random.normal(size=60_000)
    began = time.perf_counter()
    run = sl.fit(data, "y", quality="best", time_limit=10.0, run=tmp_path / "a", quiet=True)
    assert time.perf_counter() - began < 20.0
    assert run.find("train", "end")[0].body["steps"] >= 1
    assert run.find("run", "start")[0].body["recipe"]["quality"] == "fast"
    assert 'allowed a model of quality "fast"' in run.find("train", "time_limit")[0].body["said"]
