from dataclasses import replace

import numpy as np
import pytest

import sightline as sl
from sightline.evaluate import evaluation as e
from sightline.evaluate.evaluation import RECORDS, Evaluation
from sightline.predict.model import Model
from sightline.predict.threshold import find_threshold

REPORT = ("curves", "worst", "rows", "importance", "dependence", "slices")


@pytest.fixture(scope="module")
def run(penguins, tmp_path_factory):
    """A whole fit, calibrated out of fold, with a threshold."""
    table = sl.read(penguins)
    folder = tmp_path_factory.mktemp("evaluation") / "run"
    return sl.fit(table, "sex", quality="fast", threshold="f1", run=folder, quiet=True, seed=5,
                  device="cpu")  # fmt: skip


def types(evaluation):
    return [type_ for type_, _ in evaluation.records()]


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(one) for key, one in value.items() if key != "seconds"}
    return [without_seconds(one) for one in value] if isinstance(value, list | tuple) else value


def test_a_run_records_what_its_evaluation_says(run):
    written = {record.type: record.body for record in run.records if record.stage == "predict"}
    always = [name for name in RECORDS if name != "time_limit"]
    assert list(written) == always
    held_out = {name: written["calibration"][key]
                for name, key in (("source", "source"), ("rows", "fitted_rows"))}  # fmt: skip
    options = run.find("run", "start")[0].body["split"]
    prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), **options))
    evaluation = Evaluation(run.model, prepared, held_out, seed=5)
    bodies = dict(evaluation.records())
    assert list(bodies) == [name for name in always if name != "thresholds"]  # it has no values
    for type_ in ("metrics", "calibration", "sets", "threshold", "rows", "importance"):
        assert without_seconds(bodies[type_]) == without_seconds(written[type_]), type_
    verdict = bodies["baselines"].pop("verdict"), written["baselines"]["verdict"]
    assert verdict[0].split(":")[0] == verdict[1].split(":")[0]  # it says how many seconds one took


def test_thresholds_count_the_calibration_rows_and_the_test_rows(run):
    body = run.find("predict", "thresholds")[-1].body
    calibration = run.find("predict", "calibration")[-1].body
    metrics = run.find("predict", "metrics")[-1].body
    at = body["thresholds"].index(body["chosen"])
    assert body["chosen"] == run.model.threshold.value
    assert 0.5 in body["thresholds"]
    assert (body["calibration"]["source"], body["calibration"]["rows"]) == (
        calibration["source"],
        calibration["fitted_rows"],
    )
    assert body["test"]["rows"] == metrics["rows"]
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    index = [row["class"] for row in metrics["classes"]].index(body["positive"])
    counts = metrics["confusion"] if index else [row[::-1] for row in metrics["confusion"][::-1]]
    assert [body["test"][name][at] for name in names] == [*counts[0], *counts[1]]
    for side in ("calibration", "test"):
        for i in range(len(body["thresholds"])):
            assert sum(body[side][name][i] for name in names) == body[side]["rows"]


def test_thresholds_hold_the_classes_as_the_table_writes_them(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=240)
    lines = [
        f"{a:.3f},{'TRUE' if a + b > 0 else 'FALSE'}"
        for a, b in zip(x, random.normal(size=240), strict=True)
    ]
    (tmp_path / "t.csv").write_text("x,paid\n" + "\n".join(lines), encoding="utf-8")
    run = sl.fit(
        tmp_path / "t.csv", "paid", quality="fast", run=tmp_path / "run", quiet=True, report=False
    )
    body = run.find("predict", "thresholds")[-1].body
    assert (body["positive"], body["negative"]) == ("TRUE", "FALSE")
    assert "note" not in body


def test_thresholds_say_that_weights_do_not_count(penguins, tmp_path):
    run = sl.fit(
        penguins,
        "sex",
        weight="year",
        quality="fast",
        run=tmp_path / "run",
        quiet=True,
        report=False,
    )
    assert "Each row counts once" in run.find("predict", "thresholds")[-1].body["note"]


def test_without_test_rows_thresholds_have_no_check(penguins, tmp_path):
    run = sl.fit(
        penguins, "sex", quality="fast", test=0, run=tmp_path / "run", quiet=True, report=False
    )
    assert "test" not in run.find("predict", "thresholds")[-1].body


@pytest.mark.parametrize("target", ["species", "body_mass_g"])
def test_only_two_classes_have_thresholds(penguins, tmp_path, target):
    run = sl.fit(penguins, target, quality="fast", run=tmp_path / "run", quiet=True, report=False)
    assert not run.find("predict", "thresholds")


def test_what_is_not_wanted_is_left_out(model, species):
    whole = Evaluation(model, species)
    assert types(whole) == ["example", "metrics", "baselines", *REPORT]
    assert types(replace(whole, with_baselines=False)) == ["example", "metrics", *REPORT]
    bare = replace(whole, with_baselines=False, with_report=False)
    assert types(bare) == ["example", "metrics"]
    assert [getattr(bare, name) for name in REPORT] == [None] * len(REPORT)


def test_a_body_is_computed_when_it_is_asked_for_and_kept(model, species, monkeypatch):
    calls = []
    monkeypatch.setattr(
        e, "score_baselines", lambda *_, **__: calls.append("baselines") or {"models": []}
    )
    evaluation = Evaluation(model, species)
    records = evaluation.records()
    assert [next(records)[0], next(records)[0]] == ["example", "metrics"]
    assert calls == []
    next(records)
    assert evaluation.baselines is evaluation.baselines
    assert calls == ["baselines"]


def test_out_of_fold_values_stand_for_predictions_without_held_out_rows(model, penguins):
    splits = sl.split(sl.read(penguins), "species", valid=0, test=0)
    prepared = sl.prepare(splits)
    rows = len(splits.train)
    values = np.tile(np.eye(3)[[0]], (rows, 1))  # everyone is an Adelie
    evaluation = Evaluation(model, prepared, out_of_fold=values, with_report=False)
    assert evaluation.part == evaluation.metrics["part"] == "out-of-fold"
    assert evaluation.metrics["accuracy"] == pytest.approx(152 / 344)
    assert evaluation.example["part"] == "a training row"
    assert evaluation.baselines is None  # they would have learned from these rows
    learned = Evaluation(model, prepared, with_report=False)
    assert learned.part == learned.metrics["part"] == "training"
    assert learned.baselines is None


def test_out_of_fold_values_are_unused_where_rows_are_held_out(model, species):
    values = np.zeros((len(species.train.row), 3))
    with_values, without = (Evaluation(model, species, out_of_fold=v) for v in (values, None))
    assert with_values.part == "test"
    assert with_values.metrics == without.metrics


def test_validation_rows_that_were_halved_have_no_baselines(model, penguins):
    prepared = sl.prepare(sl.split(sl.read(penguins), "species", valid=0.2, test=0))
    assert Evaluation(model, prepared).baselines is not None
    half = prepared.valid._replace(**{
        name: None if part is None else part[::2] for name, part in prepared.valid._asdict().items()
    })  # fmt: skip
    assert Evaluation(model, replace(prepared, valid=half)).baselines is None


def test_without_calibration_there_are_no_records_of_it(run, species):
    prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), "sex"))
    evaluation = Evaluation(run.model, prepared, held_out=None)
    assert evaluation.calibration is evaluation.sets is evaluation.threshold is None


def test_sets_that_too_few_rows_were_kept_for_are_left_out(run, monkeypatch):
    prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), "sex"))
    held_out = {"source": "3 rows", "rows": 3}
    assert Evaluation(run.model, prepared, held_out).sets is not None
    monkeypatch.setattr(e, "ALPHA", run.model.conformal.smallest_alpha / 2)
    assert Evaluation(run.model, prepared, held_out).sets is None


def test_a_wide_tables_columns_are_shuffled_once(model, species, monkeypatch):
    assert Evaluation(model, species).importance["repeats"] == 5
    monkeypatch.setattr(e, "MANY_COLUMNS", 6)
    assert Evaluation(model, species).importance["repeats"] == 1


def test_dependence_follows_the_order_of_importance(model, species):
    evaluation = Evaluation(model, species)
    order = [one["column"] for one in evaluation.importance["columns"]]
    assert [one["column"] for one in evaluation.dependence["columns"]] == order[:8]


def test_rows_without_a_target_are_left_out(number, penguins):
    """The worst rows have the table's numbers, whatever rows could not be compared."""
    prepared = sl.prepare(sl.split(sl.read(penguins), "body_mass_g"))
    evaluation = Evaluation(number, prepared)
    rows = evaluation.rows_measured
    assert {one["row"] for one in evaluation.worst["rows"]} <= set(rows.tolist())
    for one in evaluation.worst["rows"]:
        assert one["truth"] == prepared.splits.table.cells("body_mass_g", one["row"])


def test_a_threshold_decides_the_classes(run):
    prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), "sex"))
    model: Model = run.model
    kept, model.threshold = model.threshold, find_threshold(np.zeros(0), np.zeros(0, bool), 0.999)
    try:
        evaluation = Evaluation(model, prepared, {"source": "these", "rows": 9})
        positive = model.classes.index(model.spec.target.positive)
        chosen = model.choose(evaluation.predictions.values)
        assert (chosen != positive).any()
        truth, _ = model.truth(evaluation.predictions)
        ours = evaluation.baselines["models"][0]["second"]["value"]
        assert ours == pytest.approx((chosen == truth).mean()) == evaluation.metrics["accuracy"]
        assert evaluation.threshold["value"] == 0.999
    finally:
        model.threshold = kept
