"""The result: headline, cautions, and what to do next."""

import sightline as sl
from sightline.contracts.records.bodies import BODIES


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
    assert steps[-1]["command"].endswith("--target sex --quality default")
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
