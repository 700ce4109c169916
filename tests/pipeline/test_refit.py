"""A fit of new rows with the columns and options of a model."""

import json

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataError, OptionError
from sightline.pipeline import origin


def table(random, rows, cities=("Oslo", "Rome", "Bern")):
    x = random.normal(size=rows)
    return {
        "id": list(range(rows)), "x": x.round(3).tolist(), "zip": random.choice([1234, 8001, 8002], rows).tolist(),
        "city": random.choice(cities, rows).tolist(), "y": np.where(x > 0, "yes", "no").tolist(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("refit")
    run = sl.fit(
        table(np.random.default_rng(0), 400), "y", kinds={"zip": "categorical"}, network="MLP", epochs=3, test=0.2,
        positive="no", seed=3, run=folder / "run", report=False, baselines=False, quiet=True,
    )  # fmt: skip
    return run


def refit(first, data, tmp_path, **changes):
    return sl.refit(data, first.model, run=tmp_path / "new", report=False, quiet=True, **changes)


def test_columns_and_options_are_those_of_the_model(first, tmp_path):
    data = table(np.random.default_rng(1), 300)
    run, changes = refit(first, data, tmp_path)
    assert changes.sentences() == []
    kinds = {column.name: column.kind for column in run.model.encoder.schema.features}
    assert kinds == {"x": "numeric", "zip": "categorical", "city": "categorical"}
    start, old = run.find("run", "start")[-1].body, first.find("run", "start")[-1].body
    assert start["options"]["training"] == old["options"]["training"]
    assert start["options"]["split"] == old["options"]["split"]
    assert (start["seed"], start["target"]["positive"]) == (3, "no")
    assert run.find("load", "split")[-1].body["test"] == 60


def test_options_that_are_given_replace_the_models(first, tmp_path):
    run, _ = refit(first, table(np.random.default_rng(1), 300), tmp_path, epochs=1, test=0.1)
    assert run.find("train", "end")[-1].body["best_epoch"] <= 1
    assert run.find("load", "split")[-1].body["test"] == 30


def test_new_columns_and_categories_are_named(first, tmp_path):
    data = table(np.random.default_rng(1), 300, ("Oslo", "Rome", "Paris"))
    data["extra"] = data["x"]
    run, changes = refit(first, data, tmp_path)
    assert changes.sentences() == [
        "Columns that the model did not know, which are not used: extra.",
        "1 new category of 'city': Paris.",
        "1 missing category of 'city': Bern.",
    ]
    assert "extra" not in run.model.encoder.schema


def test_values_that_look_otherwise_keep_their_kind(first, tmp_path):
    data = table(np.random.default_rng(1), 300)
    data["x"] = [str(value) for value in data["x"]]
    data["city"] = [str(len(city)) for city in data["city"]]
    run, _ = refit(first, data, tmp_path)
    assert run.model.encoder.schema["x"].kind == "numeric"
    assert run.model.encoder.schema["city"].kind == "categorical"


def test_a_column_that_is_missing_is_an_error(first, tmp_path):
    data = table(np.random.default_rng(1), 300)
    del data["city"]
    with pytest.raises(DataError, match="'city'"):
        refit(first, data, tmp_path)
    data = table(np.random.default_rng(1), 300)
    del data["y"]
    with pytest.raises((DataError, OptionError), match="'y'"):
        refit(first, data, tmp_path)


def test_a_model_without_its_options_is_refused(first, tmp_path):
    prepared = sl.prepare(sl.split(sl.read(table(np.random.default_rng(0), 200)), "y"))
    training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
    for _ in training:
        pass
    with pytest.raises(OptionError, match="does not hold the options"):
        sl.refit(table(np.random.default_rng(1), 300), training.model())


def test_what_was_made_by_the_rule_before_keeps_its_positive_class(tmp_path):
    data = table(np.random.default_rng(0), 200)
    data["y"] = ["ja" if y == "yes" else "nein" for y in data["y"]]
    path = tmp_path / "table.json"
    path.write_text(
        json.dumps([dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)])
    )
    small = {"network": "MLP", "epochs": 1, "report": False, "baselines": False, "quiet": True}
    run = sl.fit(path, "y", run=tmp_path / "a", positive="nein", **small)
    model = run.model
    # A version before took the last class without being asked: its options hold none, its split the class.
    model.provenance["options"]["split"]["positive"] = None
    assert model.provenance["split"]["positive"] == "nein"
    model.save(tmp_path / "old.sightline")
    old = sl.Model.load(tmp_path / "old.sightline")
    assert origin.evaluate(old)["positive"] == "nein"
    assert origin.training_data(old)[1].target.positive == "nein"
    again, _ = sl.refit(path, old, run=tmp_path / "b", report=False, quiet=True)
    assert again.model.spec.target.positive == "nein"
    fresh = sl.fit(path, "y", run=tmp_path / "c", **small)
    assert fresh.model.spec.target.positive == "ja"
    notes = fresh.find("load", "table")[-1].body["notes"]
    assert any(
        "the positive class is ja, the affirmative one of a known pair." in note for note in notes
    )
    assert sl.replay(fresh.folder, quiet=True).model.spec.target.positive == "ja"


def test_an_object_must_be_given_again(tmp_path):
    data = table(np.random.default_rng(0), 200)
    del data["id"]
    run = sl.fit(data, "y", network=lambda spec: sl.MLP(spec, hidden=[4]), epochs=1, run=tmp_path / "a", report=False, quiet=True)  # fmt: skip
    with pytest.raises(OptionError, match="network= an object"):
        sl.refit(data, run.model, run=tmp_path / "b", quiet=True)


def test_on_the_command_line(sightline, first, tmp_path):
    import pandas as pd

    first.model.save(tmp_path / "m.sightline")
    data = table(np.random.default_rng(1), 300, ("Oslo", "Rome", "Paris"))
    pd.DataFrame(data).to_csv(tmp_path / "new.csv", index=False)
    said = sightline("fit", tmp_path / "new.csv", "--from", tmp_path / "m.sightline", "--epochs", "1", "--no-report",
                     "--run", tmp_path / "run", "--json")  # fmt: skip
    assert said.code == 0, said.err
    assert json.loads(said.out)["changes"]["new_categories"] == {"city": ["Paris"]}
    assert sightline("fit", tmp_path / "new.csv").code == 2
