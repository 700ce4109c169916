import numpy as np
import pytest
import torch

import sightline as sl
from sightline.contracts import Batch, Target
from sightline.evaluate import baselines as b
from sightline.evaluate.baselines import score_baselines

TWO = Target("y", "classification", ("no", "yes"), "yes")
NUMBER = Target("y", "regression")


def batch(rows, seed=0, number=False, weight=None):
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 3)).astype(np.float32)
    c = random.integers(0, 5, size=(rows, 2)).astype(np.int32)
    score = 2 * x[:, 0] + (c[:, 0] == 3) + random.normal(size=rows) * 0.5
    y = score if number else (score > 0).astype(np.int64)
    return Batch(torch.from_numpy(x), torch.from_numpy(c), torch.from_numpy(y),
                 None if weight is None else torch.from_numpy(weight), torch.arange(rows))  # fmt: skip


def said(values=None, rows=400, number=False, **options):
    train, test = batch(600, 1, number, options.pop("weight", None)), batch(rows, 2, number)
    truth = test.target.numpy()
    if values is None:
        values = np.full((rows, 1), truth.mean()) if number else np.full((rows, 2), 0.5)
    return score_baselines(NUMBER if number else TWO, train, test, (5, 5), values, truth, **options)


def test_simple_models_are_scored_beside_it():
    found = said()
    names = [one["name"] for one in found["models"]]
    assert names == ["this model", "the majority class", "logistic regression", "gradient boosting"]
    by_name = {one["name"]: one for one in found["models"]}
    assert by_name["this model"]["score"] == pytest.approx(np.log(2))
    assert by_name["logistic regression"]["score"] < 0.35
    for one in found["models"]:
        # Where every row has the same loss, the three differ by the order of additions alone.
        assert one["low"] - 1e-12 <= one["score"] <= one["high"] + 1e-12
    assert "Not worth it here" in found["verdict"]
    assert "Use that" in found["verdict"]


def test_a_better_model_is_worth_it():
    test = batch(400, 2)
    truth = test.target.numpy()
    values = np.where(np.eye(2)[truth] > 0, 0.999, 0.001)
    assert said(values)["verdict"].startswith("Worth it: ")


def test_no_difference_is_said():
    first = said()
    train, test = batch(600, 1), batch(400, 2)
    values = b._linear(b._Data.of(TWO, train, test, (5, 5), 0))
    random = np.random.default_rng(0)
    values = np.clip(values + random.normal(size=(400, 1)) * [[0.002, -0.002]], 1e-4, 1)
    values /= values.sum(axis=1, keepdims=True)
    assert "No clear difference with logistic regression" in said(values)["verdict"]
    assert first["rows"] == 400


def test_numbers():
    found = said(number=True)
    assert [one["name"] for one in found["models"]][1:3] == ["the mean", "ridge regression"]
    assert found["metric"] == "rmse"
    assert found["models"][2]["score"] == pytest.approx(0.6, abs=0.2)
    assert found["models"][2]["second"]["value"] > 0.8


def test_the_intervals_are_those_of_a_mean():
    def drawn(rows, draws):
        losses = np.random.default_rng(0).exponential(size=rows)
        values = np.exp(-np.column_stack([losses, losses]))
        scorer = b._log_loss(values, np.zeros(rows, int), None)
        scores = b._bootstrap({b.THIS_MODEL: scorer}, rows, draws, 0)[b.THIS_MODEL]
        return scores.std(), losses.std() / rows**0.5

    spread, expected = drawn(900, 2000)
    assert spread == pytest.approx(expected, rel=0.08)
    spread, expected = drawn(5000, 500)
    assert spread == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize(
    ("ours", "theirs", "interval", "verdict"),
    [
        (0.1332, 0.1763, (-0.06, -0.02), "Worth it: the log loss is 24.4 % lower than that of the best simple "
         "model, logistic regression, which took 0.5 s."),
        (0.1763, 0.1332, (0.02, 0.06), "Not worth it here: logistic regression, which took 0.5 s, has a log loss "
         "that is 24.4 % lower. Use that."),
        (10.0, 0.5, (1.0, 20.0), "Not worth it here: logistic regression, which took 0.5 s, has a log loss that is "
         "95.0 % lower. Use that."),
        (0.2, 0.0, (0.1, 0.3), "Not worth it here: logistic regression, which took 0.5 s, has a log loss that is "
         "100.0 % lower. Use that."),
        (0.0, 0.0, (0.0, 0.0), "No difference with logistic regression, which took 0.5 s: the log loss is the same."),
        (0.19, 0.2, (-0.02, 0.01), "No clear difference with logistic regression, which took 0.5 s: this model's log "
         "loss is 5.0 % lower, which may be chance with only 250 rows."),
        (0.2, 0.19, (-0.01, 0.02), "No clear difference with logistic regression, which took 0.5 s: that model's log loss is "
         "5.0 % lower, which may be chance with only 250 rows."),
    ],
)  # fmt: skip
def test_a_verdict_says_how_much_lower_the_lower_score_is(ours, theirs, interval, verdict):
    """.1763 against .1332 was said to be 32.4 % better: it is 24.4 % lower."""
    models = [
        {"name": b.THIS_MODEL, "score": ours, "seconds": None},
        {"name": "the majority class", "score": 20.0, "seconds": 0.0},
        {"name": "logistic regression", "score": theirs, "seconds": 0.5},
    ]
    differences = [
        {"name": "the majority class", "mean": ours - 20.0, "low": -1.0, "high": -0.1},
        {
            "name": "logistic regression",
            "mean": ours - theirs,
            "low": interval[0],
            "high": interval[1],
        },
    ]
    metric = b._Metric("log_loss", "log loss", b._log_loss)
    assert b._verdict(models, differences, 250, metric) == verdict
    models.append({"name": "gradient boosting", "score": None, "seconds": None})
    untried = "It is not compared with gradient boosting, left out here."
    assert b._verdict(models, differences, 250, metric) == f"{verdict} {untried}"


@pytest.mark.parametrize(
    ("ours", "theirs", "interval", "verdict"),
    [
        (0.9, 0.81, (0.05, 0.1), "Worth it: the AUC of the best simple model is 10.0 % lower; it is gradient boosting, "
         "which took 0.5 s."),
        (0.81, 0.9, (-0.1, -0.05), "Not worth it here: the AUC is 10.0 % lower than that of gradient boosting, which "
         "took 0.5 s. Use that."),
        (0.9, 0.9, (0.0, 0.0), "No difference with gradient boosting, which took 0.5 s: the AUC is the same."),
        (0.9, 0.891, (-0.01, 0.02), "No clear difference with gradient boosting, which took 0.5 s: that model's AUC is 1.0 % "
         "lower, which may be chance with only 250 rows."),
        (0.891, 0.9, (-0.02, 0.01), "No clear difference with gradient boosting, which took 0.5 s: this model's AUC is "
         "1.0 % lower, which may be chance with only 250 rows."),
        (0.5, 0.0, (0.4, 0.6), "Worth it: the AUC of the best simple model is 100.0 % lower; it is gradient boosting, "
         "which took 0.5 s."),
    ],
)  # fmt: skip
def test_a_verdict_by_a_metric_of_which_more_is_better(ours, theirs, interval, verdict):
    models = [
        {"name": b.THIS_MODEL, "score": ours, "seconds": None},
        {"name": "the majority class", "score": -1.0, "seconds": 0.0},
        {"name": "gradient boosting", "score": theirs, "seconds": 0.5},
    ]
    differences = [
        {"name": "the majority class", "mean": ours + 1, "low": 0.1, "high": 1.0},
        {"name": "gradient boosting", "mean": ours - theirs, "low": interval[0], "high": interval[1]},
    ]  # fmt: skip
    metric = b._Metric("roc_auc", "AUC", b._log_loss, True, "Because.")
    assert b._verdict(models, differences, 250, metric) == f"{verdict} Because."


def test_few_rows_cannot_tell():
    assert "20 test rows, fewer than 50: too few" in said(rows=20)["verdict"]


def test_the_same_seed_says_the_same():
    def plain(found):
        return [{k: v for k, v in one.items() if k != "seconds"} for one in found["models"]]

    assert plain(said(seed=3)) == plain(said(seed=3))


def test_rows_of_weight_zero_change_nothing():
    weight = (np.arange(600) < 300).astype(np.float32)
    train, test = batch(600, 1, weight=weight), batch(400, 2)
    other = train._replace(
        target=torch.where(torch.arange(600) < 300, train.target, 1 - train.target)
    )
    values, truth = np.full((400, 2), 0.5), test.target.numpy()
    first, second = (
        [one["score"] for one in score_baselines(TWO, t, test, (5, 5), values, truth)["models"]]
        for t in (train, other)
    )
    assert first == second


def test_too_much_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(b, "FITTED_COLUMNS", 4)
    found = said()
    assert found["models"][2]["note"] == "left out: 5 columns take too long (at most 4)"
    assert found["models"][2]["score"] is None
    assert len(found["differences"]) == 1


def test_many_rows_are_sampled_and_said(monkeypatch):
    monkeypatch.setattr(b, "TRAINING_ROWS", 100)
    assert "on 100 training rows, drawn at random" in said()["models"][2]["note"]


def test_a_class_without_training_rows():
    train, test = batch(300, 1), batch(100, 2)
    target = Target("y", "classification", ("a", "b", "c"))
    values, truth = np.full((100, 3), 1 / 3), test.target.numpy().copy()
    truth[0] = 2
    found = score_baselines(
        target, train, test._replace(target=torch.from_numpy(truth)), (5, 5), values, truth
    )
    assert all(np.isfinite(one["score"]) for one in found["models"])


def test_training_rows_of_one_class_leave_models_out(tmp_path):
    rows = 200
    table = {"x": np.random.default_rng(0).normal(size=rows), "when": np.arange(rows) * 1.0,
             "y": ["no"] * 170 + ["no", "yes"] * 15}  # fmt: skip
    run = sl.fit(table, "y", time="when", network="MLP", epochs=1, run=tmp_path / "r", quiet=True,
                 report=False)  # fmt: skip
    models = run.find("predict", "baselines")[0].body["models"]
    assert [one["note"] for one in models[2:]] == [
        "left out: all training rows are of one class"
    ] * 2
    assert models[1]["score"] is not None


def test_a_threshold_counts_in_the_models_accuracy_as_in_its_metrics(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    table = {"x": x, "y": np.where(x + random.normal(size=300) > 1, "yes", "no").tolist()}
    run = sl.fit(table, "y", network="MLP", epochs=2, threshold=0.05, run=tmp_path / "r", quiet=True,
                 report=False)  # fmt: skip
    ours = run.find("predict", "baselines")[0].body["models"][0]
    assert ours["second"]["value"] == run.metrics["accuracy"] < 0.6


def test_a_linear_truth_is_worth_no_network(tmp_path):
    """The model may scale by ranks; a ridge regression gets the numbers as they are."""
    random = np.random.default_rng(0)
    x, z = random.uniform(0, 100, 600), random.lognormal(size=600)
    data = {"x": x, "z": z, "y": 3 * x + 20 * z + random.normal(size=600) * 5}
    run = sl.fit(
        data, "y", network="MLP", epochs=1, test=0.2, run=tmp_path / "r", quiet=True, report=False
    )
    body = run.find("predict", "baselines")[0].body
    ridge = next(one for one in body["models"] if one["name"] == "ridge regression")
    assert ridge["score"] < 6
    assert body["verdict"].startswith("Not worth it here")


def rare(rows=3000, seed=0):
    random = np.random.default_rng(seed)
    x, z = random.normal(size=rows), random.normal(size=rows)
    score = np.sin(3 * x) + z * x + random.normal(size=rows) * 0.5
    return {"x": x, "z": z, "y": np.where(score > 1.5, "yes", "no").tolist()}


def compared(tmp_path, table, **options):
    run = sl.fit(table, "y", network="MLP", epochs=30, test=0.3, run=tmp_path / "r", quiet=True,
                 report=False, **options)  # fmt: skip
    return run, run.find("predict", "baselines")[0].body


def test_a_balanced_model_is_compared_by_a_metric_that_is_fair_to_it(tmp_path):
    """By log loss it would lose to the class shares, for probabilities that were changed on purpose."""
    run, body = compared(tmp_path, rare(), class_weights="balanced")
    assert run.metrics["log_loss"] > 0.7 * run.metrics["baseline"]["log_loss"]
    assert (body["metric"], body["greater_is_better"]) == ("roc_auc", True)
    by_name = {model["name"]: model for model in body["models"]}
    assert by_name["this model"]["score"] == pytest.approx(run.metrics["roc_auc"])
    assert by_name["the majority class"]["score"] == 0.5
    # The simple models have the class weights too: with the same data, so does the linear one.
    assert by_name["logistic regression"]["second"]["value"] < 0.9
    assert body["verdict"].endswith(
        "The models are compared by AUC, because class weights change the probabilities on purpose."
    )
    stage = run.find("lesson", "stage")[4].body
    assert "no better" not in stage["caption"]


def test_more_than_two_classes_with_weights_are_compared_by_balanced_accuracy(tmp_path):
    table = rare()
    table["y"] = [
        "rare" if y == "yes" else "left" if x < 0 else "right"
        for x, y in zip(table["x"], table["y"], strict=True)
    ]
    run, body = compared(tmp_path, table, class_weights="balanced")
    assert body["metric"] == "balanced_accuracy"
    recalls = [row["recall"] for row in run.metrics["classes"]]
    assert body["models"][0]["score"] == pytest.approx(np.mean(recalls))
    assert body["models"][1]["score"] == pytest.approx(1 / 3)
    assert "compared by balanced accuracy" in body["verdict"]


def test_a_model_with_a_threshold_is_compared_by_what_no_threshold_changes(tmp_path):
    run, body = compared(tmp_path, rare(), threshold=0.05)
    assert body["metric"] == "roc_auc"
    assert body["models"][0]["score"] == pytest.approx(run.metrics["roc_auc"])
    assert "AUC, which does not depend on the threshold" in body["verdict"]
    assert body["models"][0]["second"]["value"] == run.metrics["accuracy"]


def test_one_class_has_no_area():
    test = batch(100, 2)
    ones = test._replace(target=torch.ones(100, dtype=torch.int64))
    body = score_baselines(TWO, batch(600, 1), ones, (5, 5), np.full((100, 2), 0.5),
                           np.ones(100, int), moved="threshold")  # fmt: skip
    assert body["metric"] == "log_loss"


def test_draws_without_a_rare_class_do_not_spoil_the_interval():
    test = batch(100, 2)
    target = torch.zeros(100, dtype=torch.int64)
    target[0] = 1
    random = np.random.default_rng(0).uniform(size=100)
    body = score_baselines(TWO, batch(600, 1), test._replace(target=target), (5, 5),
                           np.column_stack([1 - random, random]), target.numpy(),
                           moved="threshold")  # fmt: skip
    for model in body["models"]:
        assert np.isfinite([model["score"], model["low"], model["high"]]).all()


def test_many_rows_have_fewer_samples():
    constant = {b.THIS_MODEL: lambda counts: 1.0}
    assert len(b._bootstrap(constant, 20_000, 1000, 0)[b.THIS_MODEL]) == 1000
    assert len(b._bootstrap(constant, 50_000, 1000, 0)[b.THIS_MODEL]) == 400
    assert len(b._bootstrap(constant, 500_000, 300, 0)[b.THIS_MODEL]) == 200
