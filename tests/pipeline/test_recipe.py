"""How a model is made without being told, and that its parts add up to what ships."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.contracts import FitOptions, Target
from sightline.contracts.options import Quality
from sightline.errors import OptionError
from sightline.pipeline.recipe import (
    Recipe,
    Size,
    divide,
    make_settings,
    network_for,
    set_apart,
    settings_for,
    size_of,
    symmetric_trees_for,
    trees_for,
)
from tests.pipeline.fits import train_model


def choose(**options):
    return Recipe.choose(FitOptions.of("y", **options))


def rows(count=240, kind="three", seed=0):
    random = np.random.default_rng(seed)
    x, c = random.normal(size=count), random.integers(0, 4, count)
    score = x + (c == 2) + random.normal(size=count) * 0.5
    y = {"two": np.where(score > 0.8, "yes", "no").tolist(), "number": (score * 1000).tolist(),
         "three": np.array(["a", "b", "c"])[np.digitize(score, [0, 1])].tolist()}[kind]  # fmt: skip
    return {"x": x.tolist(), "c": [f"c{one}" for one in c], "y": y}


KINDS = {"x": "numeric", "c": "categorical"}


def made(kind="three", count=240, **options):
    data = rows(count, kind)
    options = {"quality": None if "network" in options else "fast", **options}
    model, training = train_model(sl.read(data, kinds=KINDS), "y", **options)
    return model, training, data


@pytest.fixture(scope="module")
def models():
    return {kind: made(kind) for kind in ("two", "three", "number")}


# ------------------------------------------------------------- what ships


@pytest.mark.parametrize("kind", ["two", "three"])
def test_the_parts_shown_add_up_to_the_probabilities_shipped(models, kind):
    model, _, data = models[kind]
    table = model.read(data)
    shipped = model.predict_proba(data)
    for row in (0, 17, 100):
        one = model.explain_rows(table, [row])[0]
        assert [part["name"] for part in one.parts] == ["network", "trees"]
        logits = np.sum([part["share"] for part in one.parts], axis=0)
        np.testing.assert_allclose(logits, one.logits, rtol=1e-6)
        odds = np.exp(logits - logits.max())
        np.testing.assert_allclose(odds / odds.sum(), shipped[row], atol=1e-6)
        np.testing.assert_allclose(one.probabilities, shipped[row], atol=1e-6)
        for part in one.parts:
            log = np.log(part["values"])
            np.testing.assert_allclose(part["share"], part["weight"] * log, rtol=1e-4, atol=1e-5)
        softer = np.exp(logits * one.temperature)
        np.testing.assert_allclose(one.uncalibrated, softer / softer.sum(), rtol=1e-6)
        assert one.temperature == pytest.approx(1 / sum(part["weight"] for part in one.parts))
        members = np.array(one.members["values"])
        assert members.shape == (6, len(model.classes))
        np.testing.assert_allclose(members.mean(axis=0), one.parts[0]["values"], atol=1e-6)
        np.testing.assert_allclose(members.std(axis=0), one.members["spread"], atol=1e-6)


def test_the_parts_of_a_number_add_up(models):
    model, _, data = models["number"]
    one = model.explain_rows(model.read(data), [5])[0]
    total = sum(part["share"][0] for part in one.parts)
    assert total == pytest.approx(one.prediction, rel=1e-6)
    assert total == pytest.approx(model.predict(data)[5], rel=1e-6)
    assert sum(part["weight"] for part in one.parts) == pytest.approx(1)
    assert one.temperature is None
    assert one.uncalibrated is None


@pytest.mark.parametrize("kind", ["two", "three", "number"])
def test_a_saved_model_predicts_the_same_bits(models, kind, tmp_path):
    model, _, data = models[kind]
    model.save(tmp_path / "m.sightline")
    again = sl.Model.load(tmp_path / "m.sightline")
    assert again.predictions(data).values.tobytes() == model.predictions(data).values.tobytes()
    if kind == "number":
        assert (again.predict_interval(data, 0.2) == model.predict_interval(data, 0.2)).all()
    else:
        assert (again.predict_set(data, 0.2) == model.predict_set(data, 0.2)).all()
    row = {name: values[3] for name, values in data.items()}
    assert again.explain(row) == model.explain(row)


@pytest.mark.parametrize("kind", ["two", "three", "number"])
def test_the_same_seed_makes_the_same_model(models, kind):
    first, _, data = models[kind]
    second, *_ = made(kind)
    assert second.predictions(data).values.tobytes() == first.predictions(data).values.tobytes()
    other, *_ = made(kind, seed=1)
    assert other.predictions(data).values.tobytes() != first.predictions(data).values.tobytes()


def test_bad_rows_have_neither_set_nor_interval(models):
    for kind, what in (("three", "predict_set"), ("number", "predict_interval")):
        model = models[kind][0]
        found = getattr(model, what)({"x": ["1.0", "huh?"], "c": ["c1", "c1"]})
        assert not found[1].any() or np.isnan(found[1]).all()
        assert np.isfinite(found[0]).all()


def test_sets_are_of_classes_and_intervals_of_numbers(models):
    with pytest.raises(OptionError, match=r"predict_interval\(\)"):
        models["number"][0].predict_set(models["number"][2])
    with pytest.raises(OptionError, match=r"predict_set\(\)"):
        models["two"][0].predict_interval(models["two"][2])


def test_a_network_alone_has_no_sets():
    model, _, data = made(network=sl.MLP, settings={"epochs": 2})
    assert (model.trees, model.blend, model.conformal) == (None, None, None)
    with pytest.raises(OptionError, match="calibrate=True"):
        model.predict_set(data)


def test_a_network_of_your_own_may_be_calibrated():
    model, _, data = made(network=sl.MLP, calibrate=True, count=600, settings={"epochs": 5})
    assert set(model.blend.weights) == {"network"}
    assert "30 validation rows not used for early stopping" in model.conformal.source
    assert model.predict_set(data).any()
    both, *_ = made(network=sl.MLP, trees=True, count=600, settings={"epochs": 5})
    assert set(both.blend.weights) == {"network", "trees"}


def test_the_network_alone_is_one_option_away():
    model, _, data = made(trees=False)
    assert model.trees is None
    assert set(model.blend.weights) == {"network"}
    assert [part["name"] for part in model.explain({n: v[0] for n, v in data.items()}).parts] == [
        "network"
    ]


def test_a_threshold_decides():
    data = rows(600, "two")
    plain, *_ = made("two", 600)
    tuned, *_ = made("two", 600, threshold=0.9)
    assert (tuned.predict_proba(data) == plain.predict_proba(data)).all()
    labels = np.where(tuned.predict_proba(data)[:, 1] >= 0.9, "yes", "no")
    assert (tuned.predict(data) == labels).all()
    assert made("two", 600, threshold="f1")[0].threshold.by == "f1"
    with pytest.raises(OptionError, match="has 3 classes: a threshold is for two"):
        made("three", threshold="f1")


def test_held_out_rows_are_those_of_the_folds(models):
    model, training, _ = models["three"]
    assert training.prepared.splits.fold_count == 3
    assert model.conformal.rows == 240
    assert "out-of-fold predictions of 240 training rows" in model.conformal.source


# ------------------------------------------------------------- choosing


def test_what_is_chosen_without_being_told():
    parts = dict.fromkeys(
        ("second_network", "trees", "symmetric_trees", "forest", "kernel", "neighbors"), True
    )
    assert choose() == Recipe(quality="default", folds=5, calibrate=True, statistics=True, **parts)
    fast = choose(quality="fast")
    assert (fast.second_network, fast.trees, fast.forest) == (False, True, False)
    assert choose(trees=True, forest=False, quality="fast").asked == ("trees",)
    assert choose(network=sl.MLP) == Recipe(quality=None)
    assert choose(valid=0.2).folds == 0
    assert choose(time="day").folds == 5
    assert (choose(time="day", valid=0.2).folds, choose(time="day", network=sl.MLP).folds) == (0, 0)
    assert choose(quality="best").folds == 10
    assert choose(trees=False).calibrate


def test_symmetric_trees_are_for_best_and_for_categories_of_many_values():
    few, many = Size(1_000, 5, 2), Size(1_000, 5, 2, many_values=True)
    assert symmetric_trees_for(choose(), few) is None
    assert symmetric_trees_for(choose(), many)["iterations"] == 600
    assert symmetric_trees_for(choose(quality="best"), few)["iterations"] == 1_000
    assert symmetric_trees_for(choose(symmetric_trees=True), few)["iterations"] == 600
    assert symmetric_trees_for(choose(symmetric_trees=False), many) is None
    older = replace(choose(), statistics=False)  # a run that was made before there were statistics
    assert symmetric_trees_for(older, many) is None
    assert symmetric_trees_for(choose(), many._replace(rows=10**6)) is None


def test_trees_of_several_classes_on_few_rows_take_half_as_many_rounds():
    choose = lambda **options: Recipe.choose(FitOptions.of("y", **options))  # noqa: E731

    def grown(size, **options):
        trees = trees_for(choose(**options), size)
        return trees["learning_rate"], trees["iterations"]

    few = Size(1_999, 10, 5)
    assert grown(few) == (0.2, 100)
    assert grown(few._replace(outputs=4)) == (0.1, 200)
    assert grown(few._replace(rows=2_000)) == (0.1, 200)
    assert grown(few, quality="best") == (0.05, 600)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"quality": "better"}, "Did you mean 'best'"), ({"trees": 1}, "trees is 1"),
     ({"calibrate": "yes"}, "calibrate is 'yes'"), ({"threshold": "f3"}, "threshold is 'f3'"),
     ({"quality": "fast", "network": sl.MLP}, "a network is given as well"),
     ({"calibrate": False}, "trees=False"),
     ({"calibrate": False, "trees": False, "threshold": "f1"}, "threshold='f1' is chosen on the calibration rows")],
)  # fmt: skip
def test_what_contradicts_itself(options, message):
    with pytest.raises(OptionError, match=message):
        choose(**options)


@pytest.mark.parametrize("quality", get_args(Quality))
@pytest.mark.parametrize("count", [10, 1_000, 50_000, 1_000_000])
def test_every_quality_has_settings_for_every_size(quality, count):
    recipe, size = choose(quality=quality), Size(count, 20, 2)
    make_settings(recipe, FitOptions.of("y"), size)
    assert trees_for(recipe, size)["iterations"] > 0
    assert settings_for(recipe, size)["epochs"] >= 1


@pytest.mark.parametrize("quality", get_args(Quality))
def test_a_table_that_would_take_too_long_gets_fewer_epochs_and_rounds(quality):
    recipe = choose(quality=quality)
    usual, large = Size(40_000, 14, 2), Size(1_000_000, 300, 18)
    epochs, fewer = (settings_for(recipe, size) for size in (usual, large))
    assert fewer["epochs"] < epochs["epochs"]
    assert (fewer["schedule"], fewer["patience"]) == ("cosine", None)
    rounds, steps = (trees_for(recipe, size) for size in (usual, large))
    assert steps["iterations"] < rounds["iterations"]
    assert rounds["learning_rate"] < steps["learning_rate"] <= 0.3
    huge = Size(10**9, 10**4, 50)
    assert settings_for(recipe, huge)["epochs"] >= 2
    assert trees_for(recipe, huge)["iterations"] >= 20


def test_a_larger_table_has_one_fold_held_out_by_its_trees(monkeypatch, tmp_path):
    size = Size(100_000, 100, 18)
    many = trees_for(choose(), size)
    assert many["one_fold"]
    assert trees_for(choose(), Size(40_000, 14, 2))["one_fold"] is False
    assert not any("one fold" in note for note in made("two")[1].prepared.notes)
    monkeypatch.setattr("sightline.pipeline.recipe.TREES_WORK", 1.0)
    monkeypatch.setattr("sightline.pipeline.recipe.NODE_ROWS", 0)
    for kind in ("three", "number"):
        model, training, data = made(kind)
        held = int((training.prepared.splits.folds == 0).sum())
        assert 0 < held < len(training.prepared.train.row) / 2
        assert model.conformal.rows == held
        assert model.conformal.source == f"out-of-fold predictions of {held} training rows"
        assert any("hold out one fold only" in note for note in training.prepared.notes)
        assert model.trees is not None
        assert model.trees.describe(["x", "c"])["ensembles"] == 1
        assert np.isfinite(model.predictions(data).values).all()
    run = sl.fit(
        sl.read(rows(), kinds=KINDS), target="y", quality="fast", test=0, quiet=True, report=False,
        epochs=1, run=tmp_path / "r",
    )  # fmt: skip
    assert run.metrics["part"] == "training"  # out of fold there is no prediction for every row


def test_a_table_of_the_usual_size_is_learned_from_until_nothing_gets_better():
    recipe = choose()
    for size in (
        Size(54_000, 42, 3),
        Size(16_000, 16, 26),
        Size(240_000, 22, 2),
        Size(60_000, 370, 2),
    ):
        assert settings_for(recipe, size)["schedule"] == "plateau"
        assert (trees_for(recipe, size)["iterations"], trees_for(recipe, size)["one_fold"]) == (
            200,
            False,
        )


def test_the_size_counts_what_columns_become():
    day, words = ["2026-01-01", "2026-01-02"], ["so it goes on", "and then it ends"]
    data = {"a": [1.5, 2], "day": day, "words": words, "y": ["u", "v"]}
    data = {name: values * 20 for name, values in data.items()}
    splits = sl.split(sl.read(data, kinds={"words": "text"}), "y", valid=0, test=0.5)
    assert size_of(splits) == Size(20, 1 + 6 + 64, 2)


def test_the_best_has_more_trees_and_wider_members():
    default, best = choose(), choose(quality="best")
    for outputs in (1, 2, 9):
        assert (
            trees_for(best, Size(9_000, 20, outputs))["most_trees"]
            > trees_for(default, Size(9_000, 20, outputs))["most_trees"]
        )
    table = sl.read({"x": [n % 7 for n in range(90)], "y": [f"class {n % 9}" for n in range(90)]})
    spec = sl.prepare(sl.split(table, "y")).spec
    assert network_for(best, 9_000, spec).widths == [256] * 3
    assert network_for(default, 9_000, spec).widths == [128] * 3
    assert network_for(best, 90, spec).widths == network_for(default, 90, spec).widths


def test_given_settings_win():
    options = FitOptions.of("y", epochs=7, learning_rate=0.5, seed=3)
    settings = make_settings(choose(), options, Size(100, 5, 2))
    assert (settings.epochs, settings.learning_rate, settings.seed) == (7, 0.5, 3)


def test_few_rows_get_fewer_folds():
    table = sl.read(rows(9, "two"), kinds=KINDS)
    assert divide(table, "y", choose(), test=0).fold_count == 3
    assert divide(table, "y", choose(valid=0.3), valid=0.3, test=0).folds is None


def test_more_classes_get_wider_members(species):
    quality = choose()
    assert network_for(quality, 5000, species.spec).widths == [128, 128, 128]
    assert network_for(quality, 100, species.spec).widths == [64, 64]
    labels = tuple("abcdefghij")
    many = replace(species.spec, targets=(Target("y", "classification", labels),))
    assert network_for(quality, 100, many).widths == [128, 128, 128]
    assert network_for(quality, 100, species.spec).bins is None
    assert network_for(quality, 5000, species.spec).bins is not None


def test_numbers_have_waves_in_a_regression_of_enough_rows(species, weight):
    quality = choose()
    assert network_for(quality, 5000, weight.spec).waves is not None
    assert network_for(quality, 100, weight.spec).waves is None
    assert network_for(quality, 5000, species.spec).waves is None


def test_rows_set_apart_are_no_others(penguins):
    splits = sl.split(sl.read(penguins), target="species", valid=80)
    prepared = sl.prepare(splits)
    kept, apart = set_apart(prepared, Recipe(quality=None, calibrate=True))
    assert (len(kept.valid.row), len(apart.row)) == (40, 40)
    together = torch.cat([kept.valid.row, apart.row]).sort().values
    assert torch.equal(together, prepared.valid.row)
    assert set_apart(prepared, Recipe(quality=None)) == (prepared, None)
    few = sl.prepare(sl.split(sl.read(penguins), target="species", valid=19))
    noted, apart = set_apart(few, Recipe(quality=None, calibrate=True))
    assert apart is None
    assert noted.notes[-1].endswith(
        "all needed for early stopping: no calibration; give more validation rows, or leave valid out for folds"
    )
    told = set_apart(few, Recipe(trees=True, calibrate=True))[0].notes[-1]
    assert f"{len(few.valid.row)} validation rows, fewer than 20" in told
    assert "no trees, calibration, sets or intervals" in told


def test_rows_set_apart_are_whole_groups():
    group = [f"g{n // 7}" for n in range(350)]
    table = sl.read({"x": [n * 0.5 for n in range(350)], "g": group, "y": ["a", "b"] * 175})
    splits = sl.split(table, "y", group="g", valid=0.4, test=0)
    recipe = choose(group="g", valid=0.4)
    assert recipe.whole_groups
    prepared = sl.prepare(splits)
    kept, apart = set_apart(prepared, recipe)
    stopping, calibration = (
        {group[row] for row in one.row.tolist()} for one in (kept.valid, apart)
    )
    assert not stopping & calibration
    assert (len(kept.valid.row), len(apart.row)) == (70, 70)
    cut = set_apart(prepared, Recipe(calibrate=True))[1]  # as runs of before did
    assert {group[row] for row in cut.row.tolist()} & {
        group[row] for row in splits.valid if row not in cut.row.tolist()
    }
    one = sl.split(sl.read({"x": [n * 0.5 for n in range(350)], "g": ["a"] * 250 + ["b"] * 100, "y": ["a", "b"] * 175}),
                   "y", group="g", valid=0.3, test=0)  # fmt: skip
    assert (
        len(set_apart(sl.prepare(one), recipe)[1].row) == 50
    )  # of a single group, every other row


def test_more_classes_than_trees_are_for_are_noted():
    table = sl.read(
        {"x": [n % 7 for n in range(306)], "y": [f"class {n % 51}" for n in range(306)]}
    )
    recipe = choose()
    prepared = sl.prepare(divide(table, "y", recipe, test=0))
    assert (
        set_apart(prepared, recipe)[0].notes[-1]
        == "51 classes, more than 50: no trees beside the network"
    )
    assert set_apart(prepared, choose(trees=False))[0].notes == prepared.notes


# ------------------------------------------------------------- whole fits


@pytest.mark.parametrize("options", [{}, {"valid": 60}, {"test": 0}, {"group": "g"}])
def test_a_fit_tells_how_far_it_can_be_trusted(tmp_path, options):
    data = {**rows(300, "two"), "g": [f"g{i % 30}" for i in range(300)]}
    kinds = {**KINDS, "g": "categorical"}
    run = sl.fit(
        data, "y", kinds=kinds, quality="fast", epochs=2, run=tmp_path / "r", quiet=True,
        report=False, threshold="f1", **options,
    )  # fmt: skip
    folds = "valid" not in options
    said = run.find("predict", "calibration")[0].body
    assert said["source"].startswith("out-of-fold" if folds else "30 validation rows")
    assert {"before", "after", "perfect_ece", "temperature"} <= set(said)
    assert run.find("predict", "sets")[0].body["alpha"] == 0.1
    assert run.find("predict", "threshold")[0].body["by"] == "f1"
    assert run.find("train", "trees")[0].body["ensembles"] == (3 if folds else 1)
    part = run.metrics["part"]
    assert part == ("out-of-fold" if options.get("test") == 0 else "test")
    assert len(run.find("predict", "baselines")) == (part == "test")


def test_without_baselines(tmp_path):
    run = sl.fit(rows(), "y", kinds=KINDS, quality="fast", epochs=1, run=tmp_path / "r", quiet=True,
                 report=False, baselines=False)  # fmt: skip
    assert not run.find("predict", "baselines")


def test_a_time_limit_is_kept_to(tmp_path):
    run = sl.fit(rows(2000), "y", kinds=KINDS, time_limit=1.0, epochs=100_000, patience=None,
                 run=tmp_path / "r", quiet=True, report=False, baselines=False)  # fmt: skip
    # The plan has as many epochs as fit. Where the machine becomes faster meanwhile, they end before the limit does.
    planned = run.find("train", "plan")[0].body["epochs"]
    stopped = run.find("train", "end")[0].body["stopped"]
    assert planned < 100_000
    assert "time limit" in stopped or stopped == f"all {planned} epochs done"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [("three", {"threshold": "f1"}, "has 3 classes: a threshold is for two"),
     ("number", {"threshold": 0.3}, "is a number: a threshold is for two"),
     ("two", {"threshold": 1.5}, "threshold is 1.5"), ("two", {"threshold": True}, "threshold is True"),
     ("two", {"threshold": "f1", "valid": 10}, "10 validation rows"),
     ("two", {"threshold": "f1", "valid": 0}, "0 validation rows")],
)  # fmt: skip
def test_a_threshold_is_refused_before_anything_is_trained(kind, options, message, monkeypatch):
    monkeypatch.setattr("sightline.pipeline.beginnings.make_training", None)
    with pytest.raises(OptionError, match=message):
        train_model(sl.read(rows(kind=kind), kinds=KINDS), "y", **options)


def test_a_threshold_that_is_given_needs_no_held_out_rows():
    table = sl.read(rows(kind="two"), kinds=KINDS)
    model, _ = train_model(table, "y", threshold=0.01, valid=0, settings={"epochs": 1})
    assert model.threshold.value == 0.01
    assert set(model.predict(rows(kind="two")).tolist()) == {"yes"}
    metrics = model.evaluate(rows(kind="two"))
    assert metrics["accuracy"] == metrics["classes"][1]["rows"] / 240


def test_nothing_is_calibrated_where_it_is_not_wanted():
    table = sl.read(rows(), kinds=KINDS)
    asked = {"trees": False, "quality": "fast", "settings": {"epochs": 1}}
    model, _ = train_model(table, "y", calibrate=False, **asked)
    assert (model.blend, model.conformal) == (None, None)
    assert train_model(table, "y", **asked)[0].blend is not None


def test_class_weights_reach_trees_and_weights():
    table = sl.read(rows(600, "two"), kinds=KINDS)
    asked = {"quality": "fast", "settings": {"epochs": 3}}
    plain, _ = train_model(table, "y", **asked)
    asked["settings"] = {**asked["settings"], "class_weights": {"yes": 50.0}}
    weighted, _ = train_model(table, "y", **asked)
    shares = [model.predict_proba(rows(600, "two"))[:, 1].mean() for model in (plain, weighted)]
    assert shares[1] > 2 * shares[0]


def test_a_replay_grows_the_same_trees_whatever_the_clock_says(tmp_path):
    run = sl.fit(rows(600, "two"), "y", quality="fast", epochs=1, time_limit=60.0, kinds=KINDS,
                 run=tmp_path / "a", quiet=True, report=False, baselines=False)  # fmt: skip
    again = sl.replay(run.folder, to=tmp_path / "b", source=sl.read(rows(600, "two"), kinds=KINDS), quiet=True)  # fmt: skip
    assert again.find("train", "replay")[0].body["identical"]
    first, second = (x.find("train", "trees")[0].body for x in (run, again))
    assert first["fingerprint"] == second["fingerprint"]


def test_threads_change_no_prediction():
    table = sl.read(rows(600), kinds=KINDS)
    model, _ = train_model(table, "y", quality="fast", settings={"epochs": 1})
    many, before = rows(5000, seed=1), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = model.predict_proba(many)
        torch.set_num_threads(2)
        together = model.predict_proba(many)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together[-3:], model.predict_proba(rows(5000, seed=1))[-3:])
