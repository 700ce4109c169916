"""The result: headline, cautions, and what to do next."""

import numpy as np

import sightline as sl
from sightline.contracts.records.bodies import BODIES
from sightline.lesson.result import result


def body(run):
    return run.find("lesson", "result")[-1].body


def test_it_is_the_last_of_the_lesson(run):
    written = [record.type for record in run.records if record.stage == "lesson"]
    assert written[-1] == "result"
    assert set(body(run)) == set(BODIES["lesson", "result"].__annotations__)


def test_the_headline_has_the_metrics_of_the_record(runs):
    metrics = runs["classes"].find("predict", "metrics")[-1].body
    assert body(runs["classes"])["headline"].startswith(
        f"species: {100 * metrics['accuracy']:.3g} % of {metrics['rows']} test rows"
    )
    metrics = runs["number"].find("predict", "metrics")[-1].body
    assert "the typical error (RMSE)" in body(runs["number"])["headline"]
    assert f"{metrics['r2']:.3f}" in body(runs["number"])["headline"]


def test_rows_that_were_learned_from_are_a_caution(runs):
    assert body(runs["unwatched"])["cautions"][0].startswith(
        "These are the rows that the model learned from"
    )
    assert not any("learned from" in caution for caution in body(runs["classes"])["cautions"])


def test_without_simple_models_there_is_no_verdict(runs):
    assert body(runs["classes"])["verdict"] is None


def test_what_comes_next_is_what_the_run_has(penguins, tmp_path):
    run = sl.fit(penguins, "sex", quality="fast", quiet=True, run=tmp_path / "a b")
    steps = body(run)["next"]
    assert [step["block"] for step in steps] == [None, "thresholds", "worst", "prediction", None]
    assert (
        steps[-1]["command"]
        == "sightline fit penguins.csv --from model.sightline --quality default"
    )
    assert body(run)["verdict"] == run.find("predict", "baselines")[-1].body["verdict"]
    table = {"x": [n % 17 / 3 for n in range(90)], "y": ["a", "b", "c"] * 30}
    run = sl.fit(
        table,
        "y",
        quality="best",
        epochs=1,
        quiet=True,
        run=tmp_path / "memory",
        report=False,
        trees=False,
    )
    assert [step["block"] for step in body(run)["next"]] == [None, "prediction"]


def test_the_command_for_a_better_model_keeps_the_options(penguins, tmp_path):
    options = {"drop": ["island"], "threshold": 0.3, "test": 0.2}
    run = sl.fit(
        penguins, "sex", quality="fast", epochs=1, quiet=True, run=tmp_path / "run", **options
    )
    assert "--from model.sightline" in body(run)["next"][-1]["command"]
    again, _ = sl.refit(
        penguins,
        run.folder / "model.sightline",
        quality="default",
        epochs=1,
        quiet=True,
        run=tmp_path / "better",
        trees=False,
    )
    kept = again.find("run", "start")[-1].body["options"]
    assert (kept["read"]["drop"], kept["model"]["threshold"], kept["split"]["test"]) == (
        ["island"],
        0.3,
        0.2,
    )


def test_what_is_odd_about_the_numbers_is_a_caution(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    table = {"x": x, "y": 3 * x + random.normal(size=300)}
    table["y"][7] = 5e9
    run = sl.fit(
        table, "y", network="MLP", epochs=2, quiet=True, run=tmp_path / "run", report=False
    )
    assert any(
        "5e+09" in caution or "5,000,000,000" in caution for caution in body(run)["cautions"]
    )


def test_a_model_that_is_worse_than_nothing_says_so():
    target = {"name": "y", "task": "regression"}
    metrics = {
        "part": "test",
        "rows": 9,
        "rmse": 2.0,
        "r2": -3.0,
        "notes": [],
        "baseline": {"rmse": 1.0},
    }
    bodies = {"run/start": {"target": target}, "predict/metrics": metrics}
    assert result(bodies)["cautions"] == [
        "The model is worse than a prediction that ignores the features."
    ]
    assert not result({**bodies, "predict/metrics": {**metrics, "rmse": 0.5}})["cautions"]


def test_without_held_out_rows_no_command_measures_on_them(runs):
    commands = {name: run.find("run", "end")[-1].body["next"] for name, run in runs.items()}
    assert not any("evaluate" in command for command in commands["unwatched"])
    assert any("evaluate" in command for command in commands["classes"])
