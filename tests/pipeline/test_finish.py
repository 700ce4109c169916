"""The final model of a table with an order: which rows its weights, sets and threshold are fitted on."""

from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import FitOptions
from sightline.load.table import subset
from sightline.pipeline.beginnings import Fresh
from sightline.pipeline.decisions import Decisions
from sightline.pipeline.flow import run_stages
from sightline.pipeline.warm_start import WarmStart
from sightline.predict.calibration import Blend
from sightline.train.checkpoints import weights_fingerprint

QUICK = {"quality": "fast", "epochs": 4, "baselines": False, "report": False}


def series(rows=1_000, kind="number", noisy=0.55):
    """Return rows in the order of time, whose newest are far noisier: the last 45 %."""
    random = np.random.default_rng(0)
    x, late = random.normal(size=rows), np.arange(rows) >= noisy * rows
    number = x + np.where(late, 2.0, 0.1) * random.normal(size=rows)
    target = number.tolist() if kind == "number" else np.where(number > 0, "yes", "no").tolist()
    return {"x": x.tolist(), "day": [float(n) for n in range(rows)], "y": target}


def shuffled(data, seed=1):
    order = np.random.default_rng(seed).permutation(len(data["y"]))
    return {name: [values[n] for n in order] for name, values in data.items()}


def outcome(data, **options):
    return run_stages(Fresh(sl.read(data), FitOptions.of("y", **{**QUICK, **options})))


def covered(model, splits):
    predictions = model.predictions(subset(splits.table, splits.test))
    truth, _ = model.truth(predictions)
    return model.conformal.coverage(predictions.values, truth, 0.1)["coverage"]


def test_intervals_hold_on_the_newest_rows_where_those_of_all_rows_do_not(monkeypatch):
    data = shuffled(series(2_000))
    by_newest = outcome(data, time="day", test=0.15)
    splits = by_newest.training.prepared.splits
    times = np.array(data["day"])
    assert times[splits.train].max() < times[splits.test].min()
    model = by_newest.finished.model
    assert model.conformal.rows == splits.newest.sum() < len(splits.train) / 2
    assert covered(model, splits) > 0.84
    monkeypatch.setattr("sightline.load.split.NEWEST_ROWS", 10_000)
    by_all = outcome(data, time="day", test=0.15)
    splits = by_all.training.prepared.splits
    assert by_all.finished.model.conformal.rows == len(splits.train)
    assert covered(by_all.finished.model, splits) < 0.8
    (note,) = (note for note in by_all.training.prepared.notes if "newest" in note)
    assert note.startswith(
        "The newest fold has fewer than 100 rows: sets and intervals are fitted on all folds"
    )


@pytest.mark.parametrize("kind", ["number", "class"])
def test_sets_and_threshold_are_of_the_newest_rows_alone(kind):
    data = series(kind=kind)
    threshold = {"threshold": "f1"} if kind == "class" else {}
    found = outcome(shuffled(data), time="day", **threshold).finished
    training = outcome(shuffled(data), time="day").training
    splits = training.prepared.splits
    values, truth = found.held_out_values
    assert len(values) == splits.newest.sum() == found.model.conformal.rows
    expected = training.prepared.train.target.numpy()[splits.newest]
    assert (truth == expected).all()
    assert (
        found.model.conformal.source
        == f"out-of-fold predictions of {len(values)} newest training rows"
    )
    assert found.held_out == {
        "source": f"out-of-fold predictions of 900 training rows, of which the newest {len(values)} count as much as all "
        "others together",
        "rows": 900,
    }


def test_the_newest_rows_count_as_much_as_all_others_for_the_weights():
    data = series(2_000)
    seen = {}
    original = Blend.fit_values

    def spied(parts, truth, weight=None):
        seen[len(parts)] = weight
        return original(parts, truth, weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Blend, "fit_values", spied)
        result = outcome(data, time="day", test=0)
    newest = result.training.prepared.splits.newest
    weight = seen[max(seen)]
    assert len(weight) == 2_000
    assert weight[newest].sum() == pytest.approx(weight[~newest].sum(), rel=1e-5)
    assert weight.sum() == pytest.approx(2_000, rel=1e-5)


def test_without_test_rows_the_newest_are_measured(tmp_path):
    run = sl.fit(series(), "y", time="day", test=0, run=tmp_path / "r", quiet=True, **QUICK)
    newest = run.find("load", "split")[-1].body["newest"]
    assert newest == 333
    assert (run.metrics["part"], run.metrics["rows"]) == ("out-of-fold", newest)


def test_trees_that_hold_out_one_fold_hold_out_the_newest(monkeypatch):
    monkeypatch.setattr("sightline.pipeline.recipe.TREES_WORK", 1.0)
    monkeypatch.setattr("sightline.pipeline.recipe.NODE_ROWS", 0)
    result = outcome(shuffled(series()), time="day", test=0, trees=True)
    splits = result.training.prepared.splits
    assert any("hold out one fold only" in note for note in result.training.prepared.notes)
    assert result.finished.model.conformal.rows == splits.newest.sum() == (splits.folds == 2).sum()
    assert len(result.finished.out_of_fold) == splits.newest.sum()


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = shuffled({**series(600, "class"), "g": [f"g{n % 60}" for n in range(600)]})
    lines = [",".join(data), *(",".join(map(str, row)) for row in zip(*data.values(), strict=True))]
    Path("t.csv").write_text("\n".join(lines))
    return "t.csv"


def of(model):
    """Return what a fit decided about a model: its weights, those of its parts, its scores."""
    return (
        weights_fingerprint(model.network),
        dict(model.blend.weights),
        model.conformal.scores.tolist(),
    )


def test_a_replay_and_a_resumed_run_give_the_same_model(file, monkeypatch):
    run = sl.fit(file, "y", time="day", run="a", quiet=True, **QUICK)
    assert of(sl.replay("a", to="b", quiet=True).model) == of(run.model)

    def fails(*_, **__):
        raise RuntimeError("the machine went off")

    with monkeypatch.context() as patch:
        patch.setattr("sightline.pipeline.flow.finish", fails)
        with pytest.raises(RuntimeError, match="went off"):
            sl.fit(file, "y", time="day", run="c", quiet=True, **QUICK)
    assert of(sl.resume("c", quiet=True).model) == of(run.model)


def test_a_run_of_before_keeps_its_validation_rows(file):
    """Runs by time had no folds, and those by group cut groups in two for calibration."""
    for options in ({"time": "day"}, {"group": "g"}):
        run = sl.fit(
            file, "y", valid=0.1, run=f"a-{next(iter(options))}", quiet=True, **options, **QUICK
        )
        kept = run.find("run", "start")[0].body
        assert (kept["recipe"]["folds"], kept["origin"]["split"]["folds"]) == (0, 0)
        of_before = {
            name: value for name, value in kept["recipe"].items() if name != "whole_groups"
        }
        assert Decisions.from_json({**kept, "recipe": of_before}).recipe.whole_groups is False
        assert of(sl.replay(run.folder, quiet=True).model) == of(run.model)


def test_a_warm_start_by_time_gives_each_fold_a_stretch_of_the_new_rows(tmp_path):
    data = series(1_000, "class")
    before = {name: values[:600] for name, values in data.items()}
    first = sl.fit(before, "y", time="day", run=tmp_path / "a", quiet=True, **QUICK)
    splits = sl.split(
        sl.read(data), "y", time="day", valid=0, test=0.1, earlier=WarmStart.of(first.model).earlier
    )
    days = np.array(data["day"])[splits.train]
    # 540 rows had folds; the test rows of before, and rows up to the newest hundred, are new in training.
    assert splits.folds[days < 540].tolist() == np.repeat([0, 1, 2], 180).tolist()
    assert splits.folds[days >= 540].tolist() == np.repeat([0, 1, 2], 120).tolist()
    assert days[splits.newest].tolist() == list(
        range(780, 900)
    )  # the older rows of its fold are left out
    assert splits.blocks == ()
    again, _ = sl.refit(
        data, first.model, warm_start=True, run=tmp_path / "b", quiet=True, report=False
    )
    assert again.model.conformal.rows == 120
    few = {name: values[:640] for name, values in data.items()}
    splits = sl.split(
        sl.read(few), "y", time="day", valid=0, test=0.1, earlier=WarmStart.of(first.model).earlier
    )
    assert (
        splits.newest == (splits.folds == 2)
    ).all()  # twelve new rows are too few: all of that fold


@pytest.mark.parametrize("late", [0, 3])
def test_where_the_newest_rows_have_hardly_any_of_a_class_all_rows_choose_the_threshold(late):
    data = series(kind="class")
    newest = np.arange(1_000) >= 400
    early = (np.array(data["x"]) > 0.8) & ~newest
    chosen = early | (np.arange(1_000) >= 1_000 - late)
    data["y"] = np.where(chosen, "yes", "no").tolist()
    found = outcome(
        data, time="day", test=0, positive="yes", threshold="f1", eval_metric="roc_auc"
    ).finished
    truth = found.held_out_values[1]
    assert truth.sum() == late
    assert found.model.threshold.score > 0.5, "there are many of the class among the older rows"
    assert np.isfinite(found.held_out_loss)
