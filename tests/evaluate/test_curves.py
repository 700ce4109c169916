import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, precision_recall_curve, roc_auc_score, roc_curve

import sightline as sl
from sightline.contracts import Target
from sightline.evaluate.curves import CURVE_POINTS, calibration_error, measure_curves, thin

BINARY = Target("y", "classification", ("no", "yes"), "yes")
NUMBER = Target("y", "regression")


def many(count):
    return Target("y", "classification", tuple(f"c{i}" for i in range(count)))


def of_yes(yes):
    yes = np.asarray(yes, np.float64)
    return np.stack([1 - yes, yes], axis=1)


def made(seed, rows, classes=2, sharp=1.0):
    """Truth drawn from the probabilities themselves: a calibrated model."""
    draw = np.random.default_rng(seed)
    logits = sharp * draw.normal(size=(rows, classes))
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = (values.cumsum(axis=1) < draw.random((rows, 1))).sum(axis=1).clip(0, classes - 1)
    return values, truth


# ------------------------------------------------------------- thinning


def check_thin(x, y):
    kept = thin(x, y)
    assert len(kept) <= CURVE_POINTS
    assert (kept[0], kept[-1]) == (0, len(x) - 1)
    assert (np.diff(kept) > 0).all()
    assert abs(auc(x[kept], y[kept]) - auc(x, y)) <= 0.005


@given(
    rows=st.integers(2, 3000), share=st.floats(0.01, 0.99), apart=st.floats(-3, 3),
    places=st.sampled_from([1, 2, 9]), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_thinning_keeps_ends_and_area(rows, share, apart, places, seed):
    draw = np.random.default_rng(seed)
    truth = draw.random(rows) < share
    truth[:2] = [False, True]
    scores = np.round(draw.normal(size=rows) + apart * truth, places)
    x, y, _ = roc_curve(truth, scores)
    check_thin(x, y)
    precision, recall, _ = precision_recall_curve(truth, scores)
    check_thin(recall[::-1], precision[::-1])


def test_a_straight_line_is_its_two_ends():
    assert thin(np.linspace(0, 1, 500), np.linspace(0, 1, 500)).tolist() == [0, 499]
    assert thin(np.array([0.0, 1.0]), np.array([0.0, 1.0])).tolist() == [0, 1]


def test_corners_are_kept():
    x = np.concatenate([np.zeros(1000), np.linspace(0, 1, 1000)])
    y = np.concatenate([np.linspace(0, 0.8, 1000), np.full(1000, 0.8)])
    y[1700] = 0.9
    assert thin(x, y).tolist() in (
        [0, 999, 1699, 1700, 1701, 1999],
        [0, 1000, 1699, 1700, 1701, 1999],
    )


# ------------------------------------------------------------- classes


def test_two_classes_by_hand():
    found = measure_curves(BINARY, of_yes([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1]))
    (roc,), (pr,) = found["roc"], found["pr"]
    assert (roc["class"], roc["area"]) == ("yes", 0.75)
    assert list(zip(roc["x"], roc["y"], strict=True)) == [
        (0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1),
    ]  # fmt: skip
    assert pr["area"] == 0.83333  # average precision: 0.5 * 1 + 0.5 * 2/3
    assert (pr["x"][0], pr["y"][0], pr["x"][-1], pr["y"][-1]) == (0, 1, 1, 0.5)
    assert found["curves_note"] is None
    assert found["rows"] == 4


def test_the_positive_class_is_the_one_that_was_named():
    first = Target("y", "classification", ("no", "yes"), "no")
    found = measure_curves(first, of_yes([0.1, 0.9]), np.array([0, 1]))
    assert [curve["class"] for curve in found["roc"]] == ["no"]
    assert found["roc"][0]["area"] == 1.0


@pytest.mark.parametrize(("label", "what"), [(0, "none"), (1, "every one")])
def test_one_class_alone_has_no_curve(label, what):
    found = measure_curves(BINARY, of_yes([0.2, 0.7]), np.array([label] * 2))
    assert found["roc"] == found["pr"] == []
    assert found["curves_note"] == f"No curve for yes: {what} of these rows is of that class."
    assert found["reliability"]["bins"]


def test_areas_are_those_of_all_points():
    values, truth = made(0, 20_000, 4)
    found = measure_curves(many(4), values, truth)
    order = np.argsort(-np.bincount(truth), kind="stable")
    assert [curve["class"] for curve in found["roc"]] == [f"c{i}" for i in order]
    for place, roc, pr in zip(order, found["roc"], found["pr"], strict=True):
        assert roc["area"] == pytest.approx(
            roc_auc_score(truth == place, values[:, place]), abs=1e-5
        )
        assert len(roc["x"]) <= CURVE_POINTS
        assert auc(roc["x"], roc["y"]) == pytest.approx(roc["area"], abs=0.005)
        assert auc(pr["x"], pr["y"]) == pytest.approx(pr["area"], abs=0.005)
    assert len(json.dumps(found, allow_nan=False)) < 20_000


def test_the_most_frequent_of_many_classes_and_the_absent_ones():
    draw = np.random.default_rng(0)
    truth = np.concatenate([np.repeat(np.arange(14), np.arange(2, 16)), [20]])
    found = measure_curves(many(21), draw.dirichlet(np.ones(21), len(truth)), truth)
    assert [curve["class"] for curve in found["pr"]] == [f"c{i}" for i in range(13, 3, -1)]
    assert found["curves_note"] == (
        "The 10 most frequent of 15 classes have curves. No curve for c14, c15, c16, c17, c18, c19: "
        "none of these rows is of that class."
    )


def test_a_long_list_of_absent_classes_is_cut():
    values = np.full((2, 300), 1 / 300)
    note = measure_curves(many(300), values, np.array([0, 1]))["curves_note"]
    assert "c11 and 288 more: none" in note
    assert len(note) < 200


# ------------------------------------------------------------- reliability


def test_the_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.62, 0.62])
    right = np.array([True, True, True, False])
    error, chance = calibration_error(confidence, right)
    assert error == pytest.approx((2 * 0.05 + 2 * 0.12) / 4)
    spread = np.sqrt(2 * 0.95 * 0.05) + np.sqrt(2 * 0.62 * 0.38)
    assert chance == pytest.approx(np.sqrt(2 / np.pi) * spread / 4)


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=1),
    st.integers(1, 20),
)
def test_the_calibration_error_is_the_sum_over_its_bins(pairs, count):
    confidence, right = np.array([p for p, _ in pairs]), np.array([r for _, r in pairs])
    total = 0.0
    for number in range(count):  # (low, high], as Guo et al. define them
        low, high = number / count, (number + 1) / count
        # A confidence on a bin's edge may fall on either side, by float64's last bit.
        here = (np.ceil(confidence * count) == number + 1) | ((confidence == 0) & (number == 0))
        if here.any():
            assert (confidence[here] >= low - 1e-9).all()
            assert (confidence[here] <= high + 1e-9).all()
            total += here.mean() * abs(confidence[here].mean() - right[here].mean())
    error, chance = calibration_error(confidence, right, count)
    assert error == pytest.approx(total, abs=1e-9)
    assert 0 <= error <= 1
    assert 0 <= chance <= 1


def test_a_calibrated_model_errs_as_much_as_chance_says():
    errors, chances = [], []
    for seed in range(200):
        values, truth = made(seed, 300, 3)
        error, chance = calibration_error(values.max(axis=1), values.argmax(axis=1) == truth)
        errors.append(error)
        chances.append(chance)
    assert np.mean(errors) == pytest.approx(np.mean(chances), rel=0.05)
    assert np.mean(np.array(errors) <= 1.5 * np.array(chances)) > 0.93  # "can be believed"


def test_reliability_bins_by_hand():
    yes = [0.05, 0.1, 0.75, 0.8, 1.0]
    found = measure_curves(BINARY, of_yes(yes), np.array([0, 1, 1, 0, 1]))["reliability"]
    assert found["bins"] == [
        {"low": 0.7, "high": 0.8, "confidence": 0.775, "accuracy": 0.5, "rows": 2},
        {"low": 0.8, "high": 0.9, "confidence": 0.9, "accuracy": 0.0, "rows": 1},
        {"low": 0.9, "high": 1.0, "confidence": 0.975, "accuracy": 1.0, "rows": 2},
    ]
    assert sum(one["rows"] for one in found["bins"]) == 5


@pytest.mark.parametrize(
    ("claimed", "right", "verdict"),
    [
        (0.9, 0.6, "the model is overconfident."),
        (0.6, 0.9, "the model is underconfident."),
        (0.8, 0.8, "no sign that the probabilities are miscalibrated."),
    ],
)
def test_what_is_said_of_the_probabilities(claimed, right, verdict):
    truth = (np.arange(1000) < 1000 * right).astype(int)
    found = measure_curves(BINARY, of_yes(np.full(1000, claimed)), truth)["reliability"]
    assert found["sentence"].endswith(verdict)
    assert (
        f"On 1,000 rows the model's mean confidence is {100 * claimed:.1f} %" in found["sentence"]
    )
    assert found["ece"] == pytest.approx(abs(claimed - right), abs=1e-4)
    assert f"{100 * found['ece']:.1f} percentage points" in found["sentence"]


def test_a_few_rows_tell_nothing_of_the_probabilities():
    truth = (np.arange(12) % 2).astype(int)
    found = measure_curves(BINARY, of_yes(np.full(12, 0.6)), truth)["reliability"]
    assert found["chance"] > 0.05
    assert "too few rows to tell" in found["sentence"]


def test_too_sure_here_and_not_sure_enough_there():
    yes = np.repeat([0.6, 0.95], 500)
    truth = np.concatenate([np.arange(500) < 450, np.arange(500) < 325]).astype(int)
    assert measure_curves(BINARY, of_yes(yes), truth)["reliability"]["sentence"].endswith(
        "the model is overconfident in some answers and underconfident in others."
    )


def test_a_probability_of_one_and_a_rounding_above_it():
    error, chance = calibration_error(np.array([1.0, 1.0 + 1e-7]), np.array([True, True]))
    assert error == pytest.approx(0, abs=1e-6)
    assert chance == 0


# ------------------------------------------------------------- numbers


def test_errors_of_numbers_by_hand():
    truth = np.arange(101.0)
    found = measure_curves(NUMBER, (truth + truth / 10)[:, None], truth)
    assert found["quantiles"] == {"5 %": 0.5, "25 %": 2.5, "50 %": 5, "75 %": 7.5, "95 %": 9.5}
    assert (found["residuals"]["low"], found["residuals"]["high"]) == ("0", "10")
    assert sum(found["residuals"]["counts"]) == 101
    assert found["scatter"]["truth"] == truth.tolist()
    assert found["scatter"]["predicted"][10] == 11
    assert found["scatter"]["sentence"].startswith("All 101 rows")
    assert "lie between 0.5 and 9.5; their median is 5." in found["residuals"]["sentence"]


def test_a_sample_of_many_numbers():
    truth = np.arange(10_000.0)
    found = measure_curves(NUMBER, truth[:, None], truth)
    assert len(found["scatter"]["truth"]) == len(found["scatter"]["predicted"]) == 300
    assert found["scatter"]["truth"] == found["scatter"]["predicted"]
    assert np.ptp(np.diff(found["scatter"]["truth"])) <= 1
    assert found["scatter"]["sentence"].startswith("300 of the 10,000 rows, evenly spaced")
    assert found["residuals"]["counts"][0] == 10_000  # all are 0


def test_a_fit_tells_of_the_rows_that_it_was_measured_on(penguins, tmp_path, monkeypatch):
    calls = []
    real = sl.Model.predictions
    monkeypatch.setattr(sl.Model, "predictions", lambda *a, **b: calls.append(1) or real(*a, **b))
    run = sl.fit(penguins, "species", network="MLP", epochs=3, quiet=True, run=tmp_path / "r")
    assert len(calls) == 1  # all that is said of these rows is said of the same predictions
    monkeypatch.undo()
    metrics, found = run.metrics, run.find("predict", "curves")[0].body
    assert (found["part"], found["rows"]) == (metrics["part"], metrics["rows"]) == ("test", 34)
    areas = [curve["area"] for curve in found["roc"]]
    assert np.mean(areas) == pytest.approx(metrics["roc_auc"], abs=1e-5)
    hits = sum(one["accuracy"] * one["rows"] for one in found["reliability"]["bins"])
    assert hits / 34 == pytest.approx(metrics["accuracy"], abs=1e-4)
    rows = run.find("predict", "worst")[0].body["rows"]
    assert len(rows) == 10
    for row in rows:
        raw = run.table.row(row["row"])
        assert row["truth"] == raw.pop("species")
        assert row["raw"] == raw
        given_ = run.model.predict_proba(raw)[0][run.model.classes.index(row["truth"])]
        assert row["probability"] == pytest.approx(given_, rel=1e-4)
    types = [record.type for record in run.records if record.stage in ("predict", "lesson")]
    assert types.index("metrics") < types.index("curves") < types.index("worst")
    assert "worst" not in types[-3:]


def test_without_a_report_there_are_none(penguins, tmp_path):
    run = sl.fit(
        penguins, "species", network="MLP", epochs=1, quiet=True, run=tmp_path / "r", report=False
    )
    assert not run.find("predict", "curves")
    assert not run.find("predict", "worst")
    assert run.metrics["rows"] == 34


def test_a_fit_of_numbers(penguins, tmp_path):
    run = sl.fit(penguins, "body_mass_g", network="MLP", epochs=2, quiet=True, run=tmp_path / "r")
    found = run.find("predict", "curves")[0].body
    assert sum(found["residuals"]["counts"]) == found["rows"] == run.metrics["rows"]
    worst = run.find("predict", "worst")[0].body["rows"]
    assert worst[0]["error"] == pytest.approx(worst[0]["prediction"] - worst[0]["truth"], rel=1e-4)
    assert "reliability" not in found


def test_one_row():
    found = measure_curves(NUMBER, np.array([[2.0]]), np.array([3.0]))
    assert found["quantiles"]["50 %"] == -1
    assert found["scatter"]["truth"] == [3.0]
