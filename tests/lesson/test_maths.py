"""The equations of a lesson, worked out again from their text, and from the run's own tensors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DataWarning
from sightline.lesson.equations import settle, softmax, written
from sightline.lesson.maths import maths
from sightline.lesson.updates import update
from tests.lesson.formulas import largest, work_out
from tests.predict.networks import Members, Own

SMALL = {
    "network": "MLP",
    "baselines": False,
    "epochs": 3,
    "quiet": True,
    "device": "cpu",
    "report": False,
}


def made(penguins, name):
    random = np.random.default_rng(0)
    words = {"a": random.choice(["x", "y", "z"], 200).tolist(), "b": ["p", "q"] * 100}
    gaps = np.where(random.random(200) < 0.5, np.nan, random.normal(size=200))
    return {
        "minmax": lambda: (penguins, "species", {"numeric": "minmax"}),
        "standard": lambda: (penguins, "species", {"numeric": "standard"}),
        "robust": lambda: (penguins, "species", {"numeric": "robust"}),
        "quantile": lambda: (penguins, "species", {}),
        "none": lambda: (penguins, "species", {"numeric": "none"}),
        "number": lambda: (penguins, "body_mass_g", {"seed": 1}),
        "binary": lambda: (penguins, "sex", {"positive": "female"}),
        "unwatched": lambda: (penguins, "species", {"valid": 0, "test": 0}),
        "words": lambda: (words, "b", {}),
        "gaps": lambda: ({"gaps": gaps, "y": np.arange(200.0) * 1e7 + 1e9}, "y", {}),
        "days": lambda: (
            {"day": np.arange(200).astype("datetime64[D]"), "y": words["b"]}, "y", {}
        ),
        "many": lambda: ({"x": random.normal(size=400), "y": [f"c{i % 15}" for i in range(400)]}, "y", {}),
        "sgd": lambda: (penguins, "species", {"optimizer": "sgd", "learning_rate": 0.1, "schedule": "cosine", "clip_norm": 0.5}),
        "muon": lambda: (penguins, "species", {"optimizer": "muon"}),
        "adam": lambda: (penguins, "species", {"optimizer": torch.optim.Adam, "weight_decay": 1.0}),
        "one": lambda: (penguins, "species", {"epochs": 1}),
        "own": lambda: (penguins, "species", {"network": Own}),
        "members": lambda: (penguins, "species", {"network": Members}),
        "linear": lambda: (penguins, "species", {"network": lambda spec: sl.MLP(spec, hidden=[])}),
        "tanh": lambda: (penguins, "species", {"network": lambda spec: sl.MLP(spec, hidden=[8, 8], activation="tanh")}),
        "sure": lambda: (penguins, "species", {"learning_rate": 3.0, "optimizer": "sgd"}),
    }[name]()  # fmt: skip


KINDS = [
    "minmax", "standard", "robust", "quantile", "none", "number", "binary", "unwatched", "words", "gaps",
    "days", "many", "sgd", "muon", "adam", "one", "own", "members", "linear", "tanh", "sure",
]  # fmt: skip


@pytest.fixture(scope="module")
def fits(tmp_path_factory, penguins):
    folder, done = tmp_path_factory.mktemp("maths"), {}

    def fit(name):
        if name not in done:
            source, target, more = made(penguins, name)
            done[name] = sl.fit(source, target, run=folder / name, **{**SMALL, **more})
        return done[name]

    return fit


def told(run, stage):
    (body,) = (r.body for r in run.find("lesson", "stage") if r.body["name"] == stage)
    return {one["title"]: one for one in body["maths"]}


def all_told(run):
    return [one for r in run.find("lesson", "stage") for one in r.body["maths"]]


@pytest.mark.parametrize("name", KINDS)
def test_every_equation_comes_out_right(fits, name):
    equations = all_told(fits(name))
    assert len(equations) >= 5
    for one in equations:
        assert set(one) == {"title", "formula", "numbers", "said"}
        assert all(one.values())
        if "→" in one["numbers"]:
            continue
        found, claimed, exact = work_out(one["numbers"])
        if exact:
            assert found == claimed
        # A sum whose products cancel is as exact as float32 made it, all else as doubles are.
        near = 1e-5 * largest(one["numbers"]) if "w·x + b" in one["title"] else 1e-11
        assert found == pytest.approx(claimed, rel=2e-4, abs=near), one


@pytest.mark.parametrize("name", ["minmax", "standard", "robust", "quantile", "none"])
def test_the_feature_is_the_networks(fits, penguins, name):
    run = fits(name)
    shown = run.find("prepare", "columns")[0].body["shown"]
    prepared = sl.prepare(
        sl.split(sl.read(penguins), target="species"), numeric=None if name == "quantile" else name
    )
    names = [feature.name for feature in prepared.spec.numeric]
    assert prepared.test.row[0] == shown["row"]
    feature = float(prepared.test.numeric[0, names.index(shown["number"]["feature"])])
    last = list(told(run, "prepare").values())[-2]  # the last is a category's
    assert work_out(last["numbers"])[1] == pytest.approx(feature, rel=1e-4)
    code = int(prepared.test.categorical[0, 0])
    assert work_out(told(run, "prepare")["island becomes a code"]["numbers"])[1] == code


def test_a_value_outside_the_training_range_gets_the_score_of_its_end(tmp_path):
    values = np.arange(100.0)
    table = {"x": values, "when": values, "y": ["a", "b"] * 50}
    table["x"][-10:] = 1000.0  # the newest rows, which are the test rows
    with pytest.warns(DataWarning, match="10 of 10 rows have a value outside"):
        run = sl.fit(table, "y", time="when", run=tmp_path / "a", **SMALL)
    number = run.find("prepare", "columns")[0].body["shown"]["number"]
    assert number["outside"]
    assert number["value"] == 1000
    one = told(run, "prepare")["x becomes a feature"]
    assert one["said"].endswith("1000 lies outside the training range.")
    left, _, right = one["numbers"].partition(" ≈ " if "≈" in one["numbers"] else " = ")
    assert left == right == written(number["result"])


def test_missing_unseen_and_known_categories(tmp_path):
    table = {
        "c": ["p", "q"] * 40 + ["new", None] * 10, "x": np.arange(100.0), "y": ["a", "b"] * 50,
    }  # fmt: skip
    runs = {}
    for first in ("new", None):
        table["c"][90] = first
        run = sl.fit(table, "y", time="x", run=tmp_path / str(first), valid=10, test=10, **SMALL)
        runs[first] = told(run, "prepare")["c becomes a code"]
    assert runs["new"]["numbers"] == "unseen → 1"
    assert runs[None]["numbers"] == "missing → 0"
    assert runs[None]["said"].endswith("has no value.")


def test_a_missing_number_is_filled(tmp_path):
    x = np.arange(100.0)
    x[90:] = np.nan
    table = {"x": x, "when": np.arange(100.0), "y": ["a", "b"] * 50}
    with pytest.warns(DataWarning, match="10 of 10 rows have no value in the column 'x'"):
        run = sl.fit(table, "y", time="when", numeric="standard", run=tmp_path / "a", **SMALL)
    shown = run.find("prepare", "columns")[0].body["shown"]["number"]
    one = told(run, "prepare")[f"{shown['feature']} becomes a feature"]
    assert shown["missing"]
    assert shown["feature"] == "x"
    assert one["said"].startswith("Row 90 has no x, so 39.5 from the training rows replaces it.")
    assert work_out(one["numbers"])[:2] == (0, 0)


@pytest.mark.parametrize("name", ["quantile", "number", "many", "tanh"])
def test_units_are_those_of_the_untrained_network(fits, name):
    run = fits(name)
    network = run.find("build", "network")[0].body
    hidden, output = network["units"]
    assert hidden["name"] == "Hidden layer 1, unit 1"
    assert output["name"] == "Output layer, output 1"
    if name == "tanh":
        assert hidden["output"] == pytest.approx(math.tanh(hidden["sum"]), rel=1e-5)
    else:
        assert hidden["output"] == max(0.0, hidden["sum"])
    for unit in (hidden, output):
        total = sum(w * x for _, w, x in unit["terms"]) + unit["rest"] + unit["bias"]
        assert total == pytest.approx(unit["sum"], abs=1e-5)
        assert len(unit["terms"]) + unit["others"] >= 1


def test_networks_without_such_units_show_none(fits):
    for name in ("own", "members"):
        assert fits(name).find("build", "network")[0].body["units"] == []
        assert told(fits(name), "build") == {}


def test_the_first_step_of_adamw_has_its_own_form(fits):
    first, last = (
        one for title, one in told(fits("quantile"), "train").items() if "update" in title
    )
    assert first["title"] == "The update in step 1, by AdamW"
    assert "η·g / (|g| + ε)" in first["formula"]
    assert "√v" in last["formula"]
    seen = fits("quantile").find("train", "step")
    for one, record in zip((first, last), seen, strict=True):
        body = record.body
        found, claimed, _ = work_out(one["numbers"])
        near = 2e-3 * abs(body["update"])
        assert abs(found - body["weight_after"]) <= near
        assert abs(claimed - body["weight_after"]) <= near


def test_one_epoch_shows_one_update(fits):
    assert sum("update" in title for title in told(fits("one"), "train")) == 1


def test_an_optimizer_is_not_told_by_the_rule_of_another(fits):
    """Adam's weight decay is no AdamW's: the update is told as it was seen, without a rule."""
    updates = [one for title, one in told(fits("adam"), "train").items() if "update" in title]
    assert all(one["formula"] == "w_new = w_old + update" for one in updates)
    assert all("what Adam computed from the gradient" in one["said"] for one in updates)


@pytest.mark.parametrize(
    "wrong", [{"weight_decay": 5.0}, {"lr": 0.5}, {"exp_avg_sq": 9.0}, {"amsgrad": True}]
)
def test_a_rule_that_does_not_give_what_was_seen_is_not_shown(fits, wrong):
    seen = fits("quantile").find("train", "step")[-1].body
    assert "√v" in update(seen)["formula"]
    other = update({**seen, "rule": {**seen["rule"], **wrong}})
    assert other["formula"] == "w_new = w_old + update"


def test_the_loss_of_the_first_row_is_pytorchs(fits):
    for name in ("quantile", "many", "members"):
        seen = fits(name).find("train", "step")[-1].body
        one = told(fits(name), "train")["Cross entropy of one row"]
        assert work_out(one["numbers"])[1] == pytest.approx(seen["first_row"]["loss"], rel=1e-4)
        if name == "quantile":
            logits = torch.tensor(seen["first_logits"][:1])
            truth = torch.tensor([seen["first_targets"][0]])
            expected = float(torch.nn.functional.cross_entropy(logits, truth))
            assert seen["first_row"]["loss"] == pytest.approx(expected, abs=2e-4)


def test_what_else_counts_in_the_loss_is_said(penguins, tmp_path):
    run = sl.fit(
        penguins,
        "species",
        label_smoothing=0.1,
        class_weights="balanced",
        run=tmp_path / "a",
        **SMALL,
    )
    said = told(run, "train")["Cross entropy of one row"]["said"]
    assert said.endswith("The training loss also includes label smoothing and the row's weight.")


def test_an_ensembles_probabilities_are_not_the_softmax_of_a_mean(fits):
    assert "Softmax" in told(fits("own"), "predict")
    assert "Softmax" not in told(fits("members"), "predict")


def test_prediction_in_the_targets_unit(fits):
    one = told(fits("number"), "predict")["Back to the target's unit"]
    example = fits("number").find("predict", "example")[0].body
    assert work_out(one["numbers"])[1] == pytest.approx(
        example["explanation"]["prediction"], rel=1e-4
    )


def with_nans(value):
    if isinstance(value, dict):
        return {key: with_nans(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_nans(item) for item in value]
    return "NaN" if isinstance(value, float) else value


def test_numbers_that_are_not_finite_make_no_equation(fits):
    for name in ("quantile", "number", "sgd"):
        records = fits(name).records
        bodies = {f"{r.stage}/{r.type}": r.body for r in records}
        bodies["train/first_step"] = fits(name).find("train", "step")[0].body
        steps = {key: with_nans(bodies[key]) for key in ("train/step", "train/first_step")}
        for seen in steps.values():
            seen["first_row"]["target"] = 0.0
        steps["build/network"] = {
            **bodies["build/network"],
            "units": with_nans(bodies["build/network"]["units"]),
        }
        assert maths("train", {**bodies, **steps}) == []
        assert maths("build", {**bodies, **steps}) == []


def test_a_run_that_stopped_before_its_first_step_has_no_step_to_show(fits):
    bodies = {f"{r.stage}/{r.type}": r.body for r in fits("quantile").records if r.type != "step"}
    assert maths("train", bodies) == []


# ------------------------------------------------------------- writing numbers


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
def test_what_is_settled_holds(a, b):
    done = settle(lambda x, y: x - y, [a, b], a - b)
    assert done is not None
    texts, result = done
    found, claimed, exact = work_out(f"{texts[0]} − {texts[1]} {result}")
    assert abs(found - claimed) <= 2e-4 * abs(claimed)
    assert not exact or found == claimed


@given(st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=6), st.data())
def test_softmax_is_written_rightly_however_large_the_logits(logits, data):
    own = data.draw(st.sampled_from(logits))
    high = max(logits)
    total = high + math.log(sum(math.exp(z - high) for z in logits))
    done = softmax(
        sorted(logits, reverse=True), own, total, len(logits), math.exp(own - total), log=False
    )
    if done is not None:
        found, claimed, _ = work_out(" ".join(done))
        assert found == pytest.approx(claimed, rel=1e-3, abs=1e-300)
    else:
        assert math.exp(own - total) < 1e-250


def test_wrong_results_and_infinities_are_not_settled():
    assert settle(lambda x: x, [1.0], 2.0) is None
    assert settle(lambda x: x, [math.inf], math.inf) is None
    assert settle(lambda x: 1 / x, [0.0], 1.0) is None


def test_a_difference_keeps_the_digits_that_it_needs():
    texts, result = settle(lambda a, b: a - b, [1234567.5, 1234566.0], 1.5)
    assert (texts, result) == (["1234567.5", "1234566"], "= 1.5")


def test_a_step_that_was_left_out_is_said_to_be():
    seen = {
        "step": 1, "weight": "w[0]", "weight_before": 0.5, "weight_after": 0.5, "update": 0.0,
        "gradient": "NaN", "rule": {"optimizer": "AdamW"},
    }  # fmt: skip
    one = update(seen)
    assert one["numbers"] == "0.5 + 0 = 0.5"
    assert one["said"].endswith("Its gradient was not a finite number, so the step was skipped.")
