"""The rows that a fit follows through its network, and what it says of the columns."""

import json

import pytest
from tests.predict.tables import columns

import sightline as sl
from sightline.pipeline.origin import importance
from sightline.train.checkpoints import CHECKPOINTS_FOLDER

OPTIONS = {"network": "MLP", "baselines": False, "epochs": 2, "device": "cpu", "quiet": True}


def body(run, type_):
    (record,) = run.find("predict", type_)
    return record.body


def test_the_validation_rows_are_followed(fitted):
    run = sl.Run(fitted / "runs" / "a")
    said, table = body(run, "rows"), sl.read(fitted / "penguins.csv")
    assert (said["part"], said["of"], said["sentence"]) == (
        "validation",
        34,
        "all 34 validation rows",
    )
    assert [one["row"] for one in said["rows"]] == sorted(run.model.rows["valid"].tolist())
    for one in said["rows"]:
        explained, pushes = one["explanation"], one["explanation"]["pushes"]
        assert one["truth"] == table.cells("species", one["row"])
        assert one["right"] == (explained["prediction"] == one["truth"])
        assert explained["raw"]["body_mass_g"] == table.cells("body_mass_g", one["row"])
        assert pushes["of"] == explained["prediction"]
        total = pushes["base"] + sum(push for _, push in pushes["columns"])
        assert total == pytest.approx(pushes["value"], abs=1e-4), "each rounded to 5 digits"
        assert pushes["value"] == max(explained["probabilities"])
        assert len(pushes["columns"]) == 7
    for layers in zip(*(one["explanation"]["layers"] for one in said["rows"]), strict=True):
        largest = max(abs(value) for layer in layers for value in layer["values"])
        assert {layer["scale"] for layer in layers} == {largest}, "one scale for all"
    again = run.model.explain_rows(
        run.model.read(fitted / "penguins.csv"), [said["rows"][0]["row"]]
    )
    assert again[0].probabilities == pytest.approx(
        said["rows"][0]["explanation"]["probabilities"], rel=1e-4
    )


def test_the_example_has_the_same_fields(fitted):
    run = sl.Run(fitted / "runs" / "a")
    example = body(run, "example")["explanation"]
    assert set(example) == set(body(run, "rows")["rows"][0]["explanation"])
    assert example["pushes"]["unit"] == "probability"
    assert set(example["layers"][0]) >= {"values", "places", "scale"}


def test_importance_is_of_the_rows_of_the_metrics(fitted):
    run = sl.Run(fitted / "runs" / "a")
    said = body(run, "importance")
    assert (said["part"], said["rows"], said["repeats"]) == ("test", 34, 5)
    assert said["value"] == pytest.approx(run.metrics["log_loss"], rel=1e-4)
    assert json.dumps(said) == json.dumps(importance(run.model))


def test_of_many_rows_some_are_drawn_with_the_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {name: values * 10 for name, values in columns().items()}
    rows = []
    for seed in (0, 0, 1):
        run = sl.fit(data, "y", valid=100, test=0, seed=seed, **OPTIONS)
        said = body(run, "rows")
        assert (said["part"], said["of"], len(said["rows"])) == ("validation", 100, 50)
        assert (
            said["sentence"] == "50 of the 100 validation rows, drawn at random with the run's seed"
        )
        assert body(run, "importance")["part"] == "validation"
        rows.append([one["row"] for one in said["rows"]])
        assert rows[-1] == sorted(set(rows[-1]))
    assert rows[0] == rows[1] != rows[2]


def test_without_held_out_rows_training_rows_are_followed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = sl.fit(columns(tuple(i / 7 for i in range(60))), "y", valid=0, test=0, **OPTIONS)
    said = body(run, "rows")
    assert said["sentence"] == "50 of the 60 training rows, drawn at random with the run's seed"
    assert {one["right"] for one in said["rows"]} == {None}, "numbers are near or far, not right"
    assert {one["explanation"]["pushes"]["unit"] for one in said["rows"]} == {"target"}
    assert body(run, "importance")["metric"] == "rmse"


@pytest.mark.parametrize("report", [True, False])
def test_report_false_leaves_them_out_in_a_resumed_and_a_replayed_run_too(
    report, fitted, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    run = sl.fit(fitted / "penguins.csv", "species", report=report, run="a", **OPTIONS)
    types = ("rows", "importance", "curves", "worst")

    def told(run):
        return {type_: [record.body for record in run.find("predict", type_)] for type_ in types}

    first = told(run)
    assert {len(records) for records in first.values()} == {int(report)}
    assert (run.folder / CHECKPOINTS_FOLDER).is_dir()
    assert body(run, "example")["explanation"]["pushes"] is not None

    trace = run.folder / "trace.jsonl"
    lines = trace.read_text().splitlines(keepends=True)
    cut = next(i for i, line in enumerate(lines) if json.loads(line)["stage"] == "predict")
    trace.write_text("".join(lines[:cut]))  # it was killed as its training ended
    assert told(sl.resume("a", quiet=True)) == first
    assert told(sl.replay("a", to="b", quiet=True)) == first
