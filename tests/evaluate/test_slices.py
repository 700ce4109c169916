"""Metrics of groups of rows, their intervals, and which groups are called worse."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import sightline as sl
from sightline.contracts import Target
from sightline.evaluate.evaluation import Evaluation
from sightline.evaluate.groups import Groups, group_by
from sightline.evaluate.slices import measure_slices, report_slices

NUMBER = Target("y", "regression")
TWO = Target("y", "classification", ("no", "yes"), "yes")
THREE = Target("y", "classification", ("a", "b", "c"))
SEEDS = 60


def groups_of(*sizes, column="g", **more):
    of_row = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple("ABCDEFGHIJ"[: len(sizes)])
    return Groups(column, "categorical", names, of_row, "values", f"{len(sizes)} values", **more)


def named(body, column=0):
    return {group["group"]: group for group in body["columns"][column]["groups"]}


def calibrated(random, rows):
    """Draw probabilities of two classes, and classes that are as probable as they say."""
    p = random.beta(0.5, 0.5, rows).clip(1e-3, 1 - 1e-3)
    return np.stack([1 - p, p], axis=1), (random.random(rows) < p).astype(np.int64)


def numbers(random, rows, scale=1.0):
    return (scale * random.normal(size=rows))[:, None], np.zeros(rows)


# ------------------------------------------------------------- right numbers


def test_numbers_of_a_regression():
    values, truth = numbers(np.random.default_rng(0), 90)
    covered = np.arange(90) % 3 > 0
    found = named(measure_slices(NUMBER, values, truth, [groups_of(50, 40)], covered=covered))
    for name, rows in (("A", slice(0, 50)), ("B", slice(50, 90))):
        errors, group = values[rows, 0], found[name]
        assert group["rows"] == len(errors)
        assert group["score"] == pytest.approx(math.sqrt((errors**2).mean()), rel=1e-4)
        assert group["values"] == pytest.approx({
            "rmse": group["score"], "mae": np.abs(errors).mean(), "mean_error": errors.mean(),
            "coverage": covered[rows].mean(),
        }, rel=1e-4)  # fmt: skip
        assert group["low"] < group["score"] < group["high"]
    apart = found["A"]["score"] - found["B"]["score"]
    assert found["A"]["difference"] == pytest.approx(apart, abs=1e-4)
    assert found["B"]["difference"] == pytest.approx(-apart, abs=1e-4)
    assert found["A"]["difference_low"] == pytest.approx(-found["B"]["difference_high"], rel=1e-3)


def test_numbers_of_two_classes():
    values, truth = calibrated(np.random.default_rng(1), 120)
    guessed = (values[:, 1] > 0.4).astype(np.int64)
    found = named(measure_slices(TWO, values, truth, [groups_of(70, 50)], guessed=guessed))
    for name, rows in (("A", slice(0, 70)), ("B", slice(70, 120))):
        p, y, said = values[rows], truth[rows], guessed[rows]
        assert found[name]["score"] == pytest.approx(
            -np.log(p[np.arange(len(y)), y]).mean(), rel=1e-4
        )
        assert found[name]["values"] == pytest.approx({
            "accuracy": (said == y).mean(), "log_loss": found[name]["score"], "recall": said[y == 1].mean(),
            "precision": y[said == 1].mean(), "roc_auc": roc_auc_score(y, p[:, 1]),
        }, rel=1e-4)  # fmt: skip


def test_numbers_of_several_classes():
    random = np.random.default_rng(2)
    values, truth = random.dirichlet([1, 1, 1], 100), random.integers(0, 3, 100)
    found = named(measure_slices(THREE, values, truth, [groups_of(60, 40)]))["A"]
    right = values.argmax(axis=1)[:60] == truth[:60]
    recalls = [right[truth[:60] == number].mean() for number in range(3)]
    assert found["values"]["balanced_accuracy"] == pytest.approx(np.mean(recalls), rel=1e-4)
    assert set(found["values"]) == {"accuracy", "log_loss", "balanced_accuracy"}


def test_the_standard_error_of_the_area_is_delongs():
    """Compared with the spread over many bootstrap samples."""
    random = np.random.default_rng(3)
    truth = (random.random(400) < 0.4).astype(np.int64)
    score = 1 / (1 + np.exp(-(truth + random.normal(size=400))))
    values = np.stack([1 - score, score], axis=1)
    body = measure_slices(TWO, values, truth, [groups_of(200, 200)], moved="threshold")
    group = named(body)["A"]
    assert body["columns"][0]["metric"] == "roc_auc"
    assert body["columns"][0]["greater_is_better"]
    assert group["score"] == pytest.approx(roc_auc_score(truth[:200], score[:200]), rel=1e-4)
    drawn = [
        roc_auc_score(truth[rows], score[rows])
        for rows in (random.integers(0, 200, 200) for _ in range(400))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert group["high"] - group["low"] == pytest.approx(high - low, rel=0.2)


def test_areas_that_are_not_defined_are_none():
    values, truth = calibrated(np.random.default_rng(4), 90)
    truth[:30] = 1
    body = measure_slices(TWO, values, truth, [groups_of(30, 60)], moved="threshold")
    group = named(body)["A"]
    assert (
        group["score"] is group["low"] is group["difference"] is group["values"]["roc_auc"] is None
    )
    assert body["columns"][0]["groups"][-1] is group
    assert not group["worse"]


def test_a_perfect_group_has_an_interval_below_one():
    truth = np.tile([0, 1], 40)
    values = np.stack([1.0 - truth, truth], axis=1)
    group = named(measure_slices(TWO, values, truth, [groups_of(40, 40)], moved="threshold"))["A"]
    assert group["score"] == group["high"] == 1.0
    assert 0.5 < group["low"] < 1.0


@pytest.mark.parametrize("moved", ["threshold", "class weights"])
def test_by_true_class_shares_are_compared_where_areas_are_not_defined(moved):
    values, truth = calibrated(np.random.default_rng(5), 200)
    groups = Groups("y", "categorical", ("no", "yes"), truth, "values", "2 values", is_target=True)
    body = measure_slices(TWO, values, truth, [groups], moved=moved)
    assert body["columns"][0]["metric"] == "balanced_accuracy"
    assert named(body)["yes"]["score"] == pytest.approx(
        (values.argmax(axis=1) == truth)[truth == 1].mean(), rel=1e-4
    )


def test_equal_losses_are_no_reason_to_call_a_group_worse():
    values = np.tile([0.7, 0.3], (60, 1))
    body = measure_slices(TWO, values, np.zeros(60, np.int64), [groups_of(30, 30)])
    assert body["columns"][0]["sentence"] == "No group is worse than all other rows beyond chance."
    body = measure_slices(NUMBER, np.zeros((60, 1)), np.zeros(60), [groups_of(30, 30)])
    assert named(body)["A"]["score"] == 0
    assert named(body)["A"]["low"] is None
    assert body["comparisons"] == 0


# ------------------------------------------------------------- chance


@pytest.mark.parametrize("draw", [numbers, calibrated])
def test_intervals_contain_the_truth_and_no_group_is_named_where_none_differs(draw):
    """Over seeds: without a difference, intervals cover in about 95 % and few columns name a group."""
    target = NUMBER if draw is numbers else TWO
    large = measure_slices(
        target, *draw(np.random.default_rng(99), 200_000), [groups_of(100_000, 100_000)]
    )
    truth = np.mean([group["score"] for group in large["columns"][0]["groups"]])
    covered, zero, worse = [], [], 0
    for seed in range(SEEDS):
        body = measure_slices(
            target, *draw(np.random.default_rng(seed), 300), [groups_of(120, 80, 60, 40)]
        )
        for group in body["columns"][0]["groups"]:
            covered.append(group["low"] <= truth <= group["high"])
            zero.append(group["difference_low"] <= 0 <= group["difference_high"])
        worse += any(group["worse"] for group in body["columns"][0]["groups"])
    assert 0.89 <= np.mean(covered) <= 0.99
    assert 0.89 <= np.mean(zero) <= 0.99
    assert worse <= 0.12 * SEEDS


def test_many_columns_together_name_no_group_where_none_differs():
    worse = 0
    for seed in range(SEEDS):
        random = np.random.default_rng(seed)
        values, truth = calibrated(random, 400)
        columns = [
            Groups(
                f"c{i}",
                "categorical",
                ("A", "B", "C", "D"),
                random.integers(0, 4, 400),
                "values",
                "",
            )
            for i in range(12)
        ]
        body = measure_slices(TWO, values, truth, columns)
        assert body["comparisons"] == 48
        worse += any(group["worse"] for column in body["columns"] for group in column["groups"])
    assert worse <= 0.12 * SEEDS


@pytest.mark.parametrize("moved", [None, "threshold"])
@pytest.mark.parametrize("seed", range(5))
def test_a_worse_group_is_named_and_comes_first(moved, seed):
    random = np.random.default_rng(seed)
    values, truth = calibrated(random, 500)
    bad = slice(300, 400)
    values[bad] = values[bad, ::-1]  # confident of the wrong class
    body = measure_slices(TWO, values, truth, [groups_of(300, 100, 100)], moved=moved)
    column = body["columns"][0]
    assert column["groups"][0]["group"] == "B"
    assert column["groups"][0]["worse"]
    assert column["sentence"].startswith("Worse than all other rows: B (")
    assert ("lower" if moved else "higher") in column["sentence"]
    assert "g = B" in body["sentence"]
    assert "3 comparisons together (Holm)" in body["sentence"]


def test_more_comparisons_take_stronger_evidence():
    random = np.random.default_rng(0)
    values, truth = numbers(random, 400)
    values[:100] *= 1.35
    first = groups_of(100, 300, column="first")
    alone = measure_slices(NUMBER, values, truth, [first])
    assert alone["comparisons"] == 1
    assert named(alone)["A"]["worse"]
    assert alone["sentence"].endswith("at a level of 5 %.")
    others = [
        Groups(
            f"c{i}", "categorical", tuple("ABCDEFGHIJ"), random.integers(0, 10, 400), "values", ""
        )
        for i in range(60)
    ]
    together = measure_slices(NUMBER, values, truth, [first, *others])
    assert together["comparisons"] == 601
    assert not named(together)["A"]["worse"]


# ------------------------------------------------------------- few rows


def test_groups_of_few_rows_come_last_and_are_cautioned_about():
    random = np.random.default_rng(0)
    values, truth = numbers(random, 107)
    values[100:] *= 50
    column = measure_slices(NUMBER, values, truth, [groups_of(80, 20, 7)])["columns"][0]
    last = column["groups"][-1]
    assert (last["group"], last["rows"], last["few"]) == ("C", 7, True)
    assert last["score"] > 10
    assert last["difference"] is None
    assert not last["worse"]
    assert [group["few"] for group in column["groups"] if group["group"] == "A"] == [False]
    assert column["caution"] == (
        "2 of 3 groups have fewer than 30 rows, so their metrics are uncertain. 1 with fewer than 10 is listed last and "
        "not compared."
    )


def test_nothing_can_be_compared_with_few_rows():
    values, truth = numbers(np.random.default_rng(0), 15)
    body = measure_slices(NUMBER, values, truth, [groups_of(8, 7)])
    assert body["comparisons"] == 0
    assert body["sentence"] == body["columns"][0]["sentence"]
    assert body["sentence"] == "No group can be compared: that takes 10 rows in it and 10 others."
    whole = measure_slices(NUMBER, *numbers(np.random.default_rng(0), 105), [groups_of(100, 5)])
    assert whole["comparisons"] == 0
    assert whole["columns"][0]["groups"][0]["group"] == "A"


def test_two_groups_are_one_comparison():
    values, truth = numbers(np.random.default_rng(0), 60)
    assert measure_slices(NUMBER, values, truth, [groups_of(30, 30)])["comparisons"] == 1
    assert measure_slices(NUMBER, values, truth, [groups_of(20, 20, 20)])["comparisons"] == 3


def test_rare_classes_are_cautioned_about_by_true_class_only():
    values, truth = calibrated(np.random.default_rng(0), 200)
    by_class = Groups("y", "categorical", ("no", "yes"), truth, "values", "", is_target=True)
    column, other = measure_slices(TWO, values, truth, [by_class, groups_of(100, 100)])["columns"]
    assert (
        column["caution"] == "Rare classes have a higher log loss in a well calibrated model too."
    )
    assert other["caution"] is None


# ------------------------------------------------------------- in a report


def test_a_report_has_the_columns_with_few_values_by_importance(model, penguins):
    found = model.predictions(sl.read(penguins))
    truth, _ = model.truth(found)
    names = ["year", "bill_length_mm", "island", "body_mass_g", "sex"]
    body = report_slices(model, found.table, found.values, truth, names)
    assert [column["column"] for column in body["columns"]] == ["year", "island", "sex"]
    assert body["rows"] == 344
    assert report_slices(model, found.table, found.values, truth, ["bill_length_mm"]) is None


def test_a_report_has_twelve_columns_at_most(model, penguins):
    found = model.predictions(sl.read(penguins))
    truth, _ = model.truth(found)
    body = report_slices(model, found.table, found.values, truth, ["island"] * 30)
    assert len(body["columns"]) == 12


def test_an_evaluation_has_slices_in_the_order_of_importance(model, penguins):
    prepared = sl.prepare(sl.split(sl.read(penguins), "species", test=0.4))
    evaluation = Evaluation(model, prepared)
    order = [column["column"] for column in evaluation.importance["columns"]]
    wanted = [name for name in order if name in ("island", "sex", "year")]
    assert [column["column"] for column in evaluation.slices["columns"]] == wanted
    assert evaluation.slices["part"] == "test"
    assert evaluation.slices["rows"] == len(evaluation.rows_measured)


def test_columns_of_many_values_are_left_out_of_the_report_before_they_are_grouped(monkeypatch):
    grouped = []

    def watched(table, name, **options):
        grouped.append(name)
        return group_by(table, name, **options)

    monkeypatch.setattr("sightline.evaluate.slices.group_by", watched)
    random = np.random.default_rng(0)
    table = {f"x{n}": random.normal(size=400) for n in range(5)}
    table |= {"few": np.arange(400) % 3, "y": np.where(table["x0"] > 0, "yes", "no")}
    table["day"] = np.datetime64("2020-01-01") + np.arange(400)
    model = sl.fit(table, "y", network="MLP", epochs=1, quiet=True, report=False).model
    values, rows = model.predict_proba(table), sl.read(table)
    truth = np.where(np.asarray(table["y"]) == "yes", 1, 0)
    body = report_slices(model, rows, values, truth, [*(f"x{n}" for n in range(5)), "few", "day"])
    assert grouped == ["few"]
    assert [column["column"] for column in body["columns"]] == ["few"]
