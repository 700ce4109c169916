"""A warm start: the weights of a model, and no row measured by weights that have learned from it."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.errors import BundleError, DataError, DataWarning, OptionError
from sightline.load.known import CALIBRATION, NEW, TEST, VALIDATION
from sightline.pipeline.origin import evaluate
from sightline.pipeline.warm_start import START, WarmStart

QUICK = {"quality": "fast", "report": False, "baselines": False, "quiet": True}


def table(random, rows, cities=("Oslo", "Rome", "Bern"), noise=False):
    x = random.normal(size=rows)
    return {
        "x": x.tolist(), "z": random.normal(size=rows).tolist(),
        "city": random.choice(cities, rows).tolist(),
        "y": random.choice(["no", "yes"], rows).tolist() if noise else np.where(x > 0, "yes", "no").tolist(),
    }  # fmt: skip


def mixed(random, before, new, share=0.7):
    """Return a share of the rows before and all the new ones, in random order."""
    rows = len(before["x"])
    kept = random.permutation(rows)[: int(share * rows)]
    joined = {name: [before[name][i] for i in kept] + new[name] for name in before}
    order = random.permutation(len(joined["x"]))
    return {name: [values[i] for i in order] for name, values in joined.items()}


def places_by_x(run, data):
    """Return the place of each row of a run's own table, by its x: a fold, or "test"."""
    start = WarmStart.of(run.model)
    splits = sl.split(sl.read(data), run.model.spec.target.name, earlier=start.earlier)
    return dict(zip(data["x"], splits.places.tolist(), strict=True))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    data = table(np.random.default_rng(0), 300)
    run = sl.fit(data, "y", run=tmp_path_factory.mktemp("warm") / "a", **QUICK)
    return run, data


def warm(model, data, tmp_path, **changes):
    return sl.refit(data, model, warm_start=True, run=tmp_path / "b", report=False, quiet=True, **changes)  # fmt: skip


def test_training_begins_with_the_models_weights(first, tmp_path):
    run, data = first
    again, changes = warm(run.model, data, tmp_path)
    assert changes.sentences() == []
    assert again.epochs[0].valid_loss == pytest.approx(min(e.valid_loss for e in run.epochs), rel=1e-6)  # fmt: skip
    stage = again.find("lesson", "stage")[2].body
    assert "At first they are those of the earlier model." in stage["done"]
    assert "no new rows" in again.find("load", "split")[-1].body["how"]


def test_known_rows_keep_their_fold_or_part_through_generations(first, tmp_path):
    run, data = first
    random = np.random.default_rng(1)
    second_data = mixed(random, data, table(random, 100))
    second, _ = warm(run.model, second_data, tmp_path)
    before, now = places_by_x(run, data), places_by_x(second, second_data)
    assert set(now.values()) == {0, 1, 2, TEST}
    assert all(now[x] == before[x] for x in now if x in before)
    assert sum(x in before for x in now) == 210
    # Rows that are gone in the second table come back in the third.
    third, _ = sl.refit(data, second.model, warm_start=True, run=tmp_path / "c", report=False, quiet=True)  # fmt: skip
    assert places_by_x(third, data) == before


def test_new_rows_are_divided_evenly(first, tmp_path):
    run, data = first
    random = np.random.default_rng(2)
    new = table(random, 200)
    again, _ = warm(run.model, {name: data[name] + new[name] for name in data}, tmp_path)
    places = places_by_x(again, {name: data[name] + new[name] for name in data})
    fresh = [places[x] for x in new["x"]]
    assert fresh.count(TEST) == 20
    folds = np.bincount([place for place in places.values() if place >= 0])
    assert folds.max() - folds.min() <= 2


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_noise_stays_noise(tmp_path, task):
    """With a target that nothing can predict, a loss below chance would be a leak."""
    held_out, tested, chance = [], [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        before, new = table(random, 200, noise=True), table(random, 60, noise=True)
        if task == "regression":
            for data in (before, new):
                data["y"] = random.normal(size=len(data["x"])).tolist()
        options = {**QUICK, "seed": seed, "test": 0.25, "epochs": 4, "trees": False}
        run = sl.fit(before, "y", run=tmp_path / f"{seed}", **options)
        data = mixed(random, before, new)
        again, _ = sl.refit(data, run.model, warm_start=True, run=tmp_path / f"{seed}-warm", report=False, quiet=True)  # fmt: skip
        held_out.append(min(epoch.valid_loss for epoch in again.epochs))
        if task == "classification":
            tested.append(again.metrics["log_loss"])
            chance.append(math.log(2))
        else:
            scale = again.model.task.scale
            tested.append((again.metrics["rmse"] / scale) ** 2)
            chance.append(float(np.var(data["y"])) / scale**2)
    allowed = 0.01 if task == "classification" else 0.05
    assert np.mean(held_out) > np.mean(chance) - allowed
    assert np.mean(tested) > np.mean(chance) - 3 * allowed


def test_weights_that_know_their_rows_by_heart_do_not_show_it(tmp_path, monkeypatch):
    """The same with the worst weights; and the test itself would see a leak."""
    random = np.random.default_rng(0)
    before = table(random, 200, noise=True)
    run = sl.fit(before, "y", run=tmp_path / "a", test=0.25, trees=False, **QUICK)
    model = run.model
    splits = sl.split(sl.read(before), "y", earlier=WarmStart.of(model).earlier)
    prepared = sl.prepare(splits, kept=WarmStart.of(model).kept)
    training = sl.Training(model.network, prepared, epochs=150, patience=None, learning_rate=5e-3)
    for _ in training.steps():
        pass
    by_heart = {name: values.clone() for name, values in training.network.state_dict().items()}
    model.network.load_state_dict(by_heart)
    data = mixed(random, before, table(random, 60, noise=True))

    def measure(folder):
        again, _ = sl.refit(
            data, model, warm_start=True, epochs=1, learning_rate=1e-6, trees=False, run=tmp_path / folder, report=False,
            quiet=True,
        )  # fmt: skip
        return again.epochs[0].metrics["valid_accuracy"], again.metrics["accuracy"]

    held_out, tested = measure("b")
    assert held_out < 0.6
    assert tested < 0.65

    def forgotten(self, table):
        return np.full(table.rows, NEW, np.int16)

    monkeypatch.setattr("sightline.load.known.Earlier.places", forgotten)
    held_out, tested = measure("c")
    assert held_out > 0.7
    assert tested > 0.65


def test_new_categories_get_codes_and_start_as_unseen_ones(first, tmp_path):
    run, data = first
    new = table(np.random.default_rng(3), 100, ("Oslo", "Paris"))
    joined = {name: data[name] + new[name] for name in data}
    again, changes = warm(run.model, joined, tmp_path)
    assert changes.new_categories == {"city": ("Paris",)}
    before = run.model.encoder.schema.vocabularies["city"]
    assert again.model.encoder.schema.vocabularies["city"] == (*before, "Paris")
    notes = again.find("prepare", "columns")[-1].body["notes"]
    assert "warm start: new categories, after those that the model knew (city 1)" in notes
    # A model that has not learned from it yet gives it the predictions of an unseen one.
    network = WarmStart.of(run.model).network(again.model.spec)
    numbers = torch.randn(5, len(run.model.spec.numeric))
    unseen, paris = torch.full((5, 1), 1), torch.full((5, 1), 2 + len(before))
    old = run.model.network.eval()(numbers, unseen.int())
    assert torch.equal(network.eval()(numbers, paris.int()), old)
    assert again.model.predict({"x": [1.0], "z": [0.0], "city": ["Paris"]}).tolist() == ["yes"]


def test_a_category_that_is_written_otherwise_is_not_new(tmp_path):
    random = np.random.default_rng(0)
    data = {
        "x": random.normal(size=200).tolist(),
        "code": random.choice([1, 2, 3], 200).tolist(),
        "y": ["a", "b"] * 100,
    }
    run = sl.fit(data, "y", kinds={"code": "categorical"}, run=tmp_path / "a", **QUICK)
    again, changes = warm(run.model, {**data, "code": [float(v) for v in data["code"]]}, tmp_path)
    assert again.model.encoder.schema.vocabularies["code"] == run.model.encoder.schema.vocabularies["code"]  # fmt: skip
    assert "200 known rows" in again.find("load", "split")[-1].body["how"]
    assert changes.new_categories == {}


def test_values_outside_the_kept_range_are_named(first, tmp_path):
    run, data = first
    new = table(np.random.default_rng(3), 100)
    new["x"] = [100.0 + value for value in new["x"]]
    again, _ = warm(run.model, {name: data[name] + new[name] for name in data}, tmp_path)
    notes = " ".join(again.find("prepare", "columns")[-1].body["notes"])
    assert "training values lie outside its range (x 90" in notes


def test_groups_stay_whole(tmp_path):
    random = np.random.default_rng(0)

    def patients(numbers, visits):
        who = np.repeat(numbers, visits)
        return {"x": random.normal(size=len(who)).tolist(), "patient": who.tolist(), "y": random.choice(["a", "b"], len(who)).tolist()}  # fmt: skip

    data = patients(range(60), 4)
    run = sl.fit(data, "y", group="patient", test=0.2, run=tmp_path / "a", **QUICK)
    new = patients(range(30, 90), 3)  # new visits of known patients, and new patients
    again, _ = warm(run.model, new, tmp_path)
    before, now = places_by_x(run, data), places_by_x(again, new)
    place_before = {
        patient: before[x] for x, patient in zip(data["x"], data["patient"], strict=True)
    }
    place_now = {}
    for x, patient in zip(new["x"], new["patient"], strict=True):
        assert place_now.setdefault(patient, now[x]) == now[x]
        assert place_before.get(patient, now[x]) == now[x]
    assert {place_now[patient] for patient in range(60, 90)} == {0, 1, 2, TEST}


def test_groups_of_rows_that_look_alike_stay_whole(tmp_path):
    random = np.random.default_rng(0)
    who = np.repeat(range(60), 5)
    data = {
        "sex": random.choice(["m", "f"], 300).tolist(), "ward": random.choice(list("abcd"), 300).tolist(),
        "patient": who.tolist(), "y": random.choice(["sick", "well"], 300).tolist(),
    }  # fmt: skip
    run = sl.fit(data, "y", group="patient", test=0.2, run=tmp_path / "a", **QUICK)
    again, _ = warm(run.model, data, tmp_path)
    assert again.model.rows["test"].tolist() == run.model.rows["test"].tolist()
    start = WarmStart.of(run.model)
    new = {
        **data,
        "patient": (who + 100).tolist(),
    }  # the same values, other people: nobody is known
    joined = {name: data[name] + new[name] for name in data}
    splits = sl.split(sl.read(joined), "y", group="patient", earlier=start.earlier)
    patients = np.array(joined["patient"])
    assert not set(patients[splits.train]) & set(patients[splits.test])
    folds = {}
    for patient, fold in zip(patients[splits.train], splits.folds, strict=True):
        assert folds.setdefault(patient, fold) == fold


def test_members_hold_out_their_folds_where_one_has_no_rows(tmp_path):
    random = np.random.default_rng(1)
    rows = 300
    data = {
        "x": random.normal(size=rows).tolist(), "z": random.normal(size=rows).tolist(),
        "site": np.repeat(range(30), 10).tolist(), "y": random.choice(["a", "b"], rows).tolist(),
    }  # fmt: skip
    run = sl.fit(data, "y", group="site", test=0.2, run=tmp_path / "a", **QUICK)
    place = dict(zip(data["site"], WarmStart.of(run.model).earlier.places(
        sl.split(sl.read(data), "y", group="site").table).tolist(), strict=True))  # fmt: skip
    for gone in range(3):
        kept = [i for i in range(rows) if place[data["site"][i]] != gone]
        few = {name: [values[i] for i in kept] for name, values in data.items()}
        again, _ = sl.refit(few, run.model, warm_start=True, run=tmp_path / f"{gone}", report=False, quiet=True)  # fmt: skip
        start = WarmStart.of(again.model)
        assert start.earlier.folds == 3
        folds = torch.tensor([place[few["site"][i]] for i in range(len(kept)) if place[few["site"][i]] >= 0])  # fmt: skip
        splits = sl.split(sl.read(few), "y", group="site", earlier=WarmStart.of(run.model).earlier)
        assert splits.fold_count == 3
        assert splits.folds.tolist() == folds.tolist()
        prepared = sl.prepare(splits, kept=WarmStart.of(run.model).kept)
        training = sl.Training(run.model.network, prepared, epochs=1)
        weight = training.state.data.train.weight
        members = torch.arange(weight.shape[1]) % 3
        assert torch.equal(weight == 0, folds[:, None] == members)


def test_copies_of_training_rows_are_training_rows(first, tmp_path):
    run, data = first
    before = places_by_x(run, data)
    twice = {name: values + values[100:] for name, values in data.items()}
    again, _ = warm(run.model, twice, tmp_path)
    test = [twice["x"][i] for i in again.model.rows["test"].tolist()]
    assert all(before[x] == TEST for x in test)
    splits = sl.split(sl.read(twice), "y", earlier=WarmStart.of(run.model).earlier)
    for row, fold in zip(splits.train, splits.folds, strict=True):
        assert before[twice["x"][row]] in (fold, TEST)


def test_copies_are_remembered_through_generations(tmp_path):
    data = table(np.random.default_rng(3), 200)
    twice = {name: values + values for name, values in data.items()}
    first = sl.fit(twice, "y", run=tmp_path / "a", **QUICK)
    learned = {twice["x"][i] for i in range(400)} - {
        x for x in data["x"] if [twice["x"][i] for i in first.model.rows["test"].tolist()].count(x) == 2
    }  # fmt: skip
    second, _ = warm(first.model, data, tmp_path)
    third, _ = sl.refit(
        twice, second.model, warm_start=True, run=tmp_path / "c", report=False, quiet=True
    )
    known = WarmStart.of(third.model).earlier
    assert len(known.rows.keys) >= 400
    tested = [twice["x"][i] for i in third.model.rows["test"].tolist()]
    was_test = [twice["x"][i] for i in first.model.rows["test"].tolist()]
    assert sorted(tested) == sorted(was_test)
    assert learned


def test_by_time_rows_move_towards_training_only(tmp_path):
    random = np.random.default_rng(0)
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 11) for day in range(1, 29)]
    data = {"x": random.normal(size=280).tolist(), "day": days, "y": random.choice(["a", "b"], 280).tolist()}  # fmt: skip
    run = sl.fit(data, "y", time="day", valid=0.2, test=0.2, network="MLP", calibrate=True, epochs=2, run=tmp_path / "a",
                 report=False, quiet=True)  # fmt: skip
    start = WarmStart.of(run.model)
    assert {VALIDATION, CALIBRATION, TEST} <= set(start.earlier.rows.places.tolist())
    later = {"x": random.normal(size=56).tolist(), "day": days[:56], "y": ["a", "b"] * 28}
    later["day"] = [day.replace("2024", "2025") for day in later["day"]]
    joined = {name: data[name] + later[name] for name in data}
    again, _ = warm(run.model, joined, tmp_path)
    splits = sl.split(sl.read(joined), "y", time="day", valid=0.2, test=0.2, earlier=start.earlier)
    assert np.array_equal(splits.test, again.model.rows["test"].numpy())
    assert splits.test.min() >= 260  # the newest, some of the old test rows among them
    assert not np.isin(splits.places[splits.valid], range(-1, 9)).any()
    # A file without its newest rows: those that the model has learned from stay in training.
    splits = sl.split(sl.read({name: values[:200] for name, values in data.items()}), "y", time="day", valid=0.2, test=0.2,
                      earlier=start.earlier)  # fmt: skip
    assert len(splits.test) == 0
    assert (splits.places[splits.train] >= -1).sum() == (splits.places >= -1).sum()


def test_validation_rows_keep_what_they_are_for(tmp_path):
    data = table(np.random.default_rng(0), 400)
    run = sl.fit(data, "y", network="MLP", valid=0.25, calibrate=True, epochs=2, run=tmp_path / "a", report=False, quiet=True)  # fmt: skip
    again, _ = warm(run.model, data, tmp_path)
    before, now = WarmStart.of(run.model).earlier.rows, WarmStart.of(again.model).earlier.rows
    assert (before.places == CALIBRATION).sum() == 50
    assert np.array_equal(now.places_of(before.keys), before.places)
    assert again.epochs[0].valid_loss == pytest.approx(min(e.valid_loss for e in run.epochs), rel=1e-6)  # fmt: skip


def test_a_model_can_be_measured_on_its_own_rows(first, tmp_path):
    import pandas as pd

    _, data = first
    pd.DataFrame(data).to_csv(tmp_path / "a.csv", index=False)
    run = sl.fit(tmp_path / "a.csv", "y", run=tmp_path / "a", **QUICK)
    random = np.random.default_rng(5)
    pd.DataFrame(mixed(random, data, table(random, 100))).to_csv(tmp_path / "b.csv", index=False)
    again, _ = warm(run.model, tmp_path / "b.csv", tmp_path)
    assert evaluate(again.model)["log_loss"] == again.metrics["log_loss"]


def test_killed_and_resumed_it_ends_the_same_and_can_be_replayed(first, tmp_path):
    import pandas as pd

    _, data = first
    pd.DataFrame(data).to_csv(tmp_path / "a.csv", index=False)
    sl.fit(tmp_path / "a.csv", "y", run=tmp_path / "a", **QUICK)
    random = np.random.default_rng(5)
    pd.DataFrame(mixed(random, data, table(random, 100, ("Oslo", "Paris")))).to_csv(tmp_path / "b.csv", index=False)  # fmt: skip
    program = f"""
import os, signal, sightline as sl
from sightline.train.training import Training
steps = Training.steps
def dies(self):
    for step in steps(self):
        yield step
        if step.number == 30: os.kill(os.getpid(), signal.SIGKILL)
Training.steps = dies
sl.refit({str(tmp_path / "b.csv")!r}, {str(tmp_path / "a")!r}, warm_start=True, run={str(tmp_path / "killed")!r},
         checkpoint_epochs=1, report=False, quiet=True)
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -9
    whole, _ = warm(tmp_path / "a", tmp_path / "b.csv", tmp_path)
    resumed = sl.resume(tmp_path / "killed", quiet=True)
    ends = [run.find("train", "end")[-1].body["weights"] for run in (whole, resumed)]
    assert ends[0] == ends[1]
    assert resumed.metrics["log_loss"] == whole.metrics["log_loss"]
    replayed = sl.replay(whole.folder, to=tmp_path / "replayed", quiet=True)
    assert replayed.find("train", "replay")[-1].body["identical"]
    (whole.folder / START).unlink()
    with pytest.raises(BundleError, match=START):
        sl.replay(whole.folder, to=tmp_path / "without", quiet=True)


def test_the_lessons_code_makes_the_same_model(first, tmp_path, monkeypatch):
    import pandas as pd

    run, data = first
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(data).to_csv("b.csv", index=False)
    run.model.save("a.sightline")
    again, _ = sl.refit("b.csv", "a.sightline", warm_start=True, run="b", report=False, quiet=True)
    code = "\n\n".join(record.body["code"][0]["code"] for record in again.find("lesson", "begin"))
    names = {}
    exec(code, names)  # what the lesson shows
    assert names["metrics"]["log_loss"] == again.metrics["log_loss"]


def test_a_network_of_your_own(tmp_path):
    random = np.random.default_rng(0)
    data = table(random, 200)
    run = sl.fit(data, "y", network=lambda spec: sl.MLP(spec, hidden=[4]), epochs=3, run=tmp_path / "a", report=False, quiet=True)  # fmt: skip
    again, changes = warm(run.model, {**data, "city": ["Paris", *data["city"][1:]]}, tmp_path)
    assert again.epochs[0].valid_loss == pytest.approx(min(e.valid_loss for e in run.epochs), rel=0.1)  # fmt: skip
    assert again.model.network.config()["hidden"] == [4]
    assert (
        changes.new_categories == {}
    )  # embeddings of another size would be other weights: Paris stays unseen
    unseen = torch.tensor([[1]], dtype=torch.int32)
    assert again.model.encoder.cardinality("city") == run.model.encoder.cardinality("city")
    assert unseen.max() < again.model.encoder.cardinality("city")


# ------------------------------------------------------------- what is refused


def test_a_class_that_the_model_does_not_know(first, tmp_path):
    run, data = first
    with pytest.raises(DataError, match=r"row 1: the target 'y' is 'maybe', a class that the earlier model does not know"):  # fmt: skip
        warm(run.model, {**data, "y": [data["y"][0], "maybe", *data["y"][2:]]}, tmp_path)
    assert not (tmp_path / "b").exists()


def test_a_class_may_be_missing(first, tmp_path):
    run, data = first
    few = {name: values[:] for name, values in data.items()}
    few["y"] = ["yes"] * len(few["y"])
    again, _ = warm(run.model, few, tmp_path)
    assert again.model.classes == ("no", "yes")


def test_test_rows_that_the_model_has_learned_from(first, tmp_path):
    run, data = first
    places = places_by_x(run, data)
    learned = next(i for i, x in enumerate(data["x"]) if places[x] >= 0)
    held = {name: [values[learned]] * 2 for name, values in data.items()}
    with pytest.warns(DataWarning, match=r"row 0: it is equal to a row that the earlier model has learned from \(2 such rows of 2"):  # fmt: skip
        warm(run.model, data, tmp_path, test=held)
    unseen = table(np.random.default_rng(9), 20)
    again, _ = sl.refit(data, run.model, warm_start=True, test=unseen, run=tmp_path / "c", report=False, quiet=True)  # fmt: skip
    assert again.find("load", "split")[-1].body["test"] == 20 + 30


@pytest.mark.parametrize(
    ("name", "value"),
    [("numeric", "minmax"), ("group", "city"), ("valid", 0.2), ("network", "MLP"), ("kinds", {"x": "categorical"}), ("positive", "no"), ("hidden", [8]), ("dropout", 0.4)],
)  # fmt: skip
def test_options_that_the_weights_were_made_with(first, tmp_path, name, value):
    run, data = first
    with pytest.raises(OptionError, match=f"A warm start cannot change {name}"):
        warm(run.model, data, tmp_path, **{name: value})


def test_a_warm_start_cannot_keep_groups_whole_by_time(first):
    run, data = first
    start = WarmStart.of(run.model)
    table = sl.read({**data, "t": np.arange(len(data["x"])) + 0.5})
    with pytest.raises(OptionError, match="cannot divide rows by group and by time"):
        sl.split(table, "y", group="city", time="t", earlier=start.earlier)


def test_a_model_that_does_not_hold_its_rows(first, tmp_path):
    run, data = first
    model = sl.Run(run.folder).model
    model.rows = {name: rows for name, rows in model.rows.items() if not name.startswith("known")}
    model.save(tmp_path / "old.sightline")
    with pytest.raises(OptionError, match=r"does not hold which rows it has seen.*Fit without warm_start"):  # fmt: skip
        warm(tmp_path / "old.sightline", data, tmp_path)
    sl.refit(data, tmp_path / "old.sightline", run=tmp_path / "c", report=False, quiet=True)


def test_a_column_of_another_kind(first, tmp_path):
    run, data = first
    start = WarmStart.of(run.model)
    other = sl.read({**data, "z": ["a", "b", "c"] * 100})
    with pytest.raises((DataError, OptionError), match="'z'"):
        sl.prepare(sl.split(other, "y", earlier=start.earlier), kept=start.kept)
    with pytest.raises(OptionError, match="numeric='robust'"):
        sl.prepare(sl.split(sl.read(data), "y", earlier=start.earlier), kept=start.kept, numeric="robust")  # fmt: skip


def test_on_the_command_line(sightline, first, tmp_path):
    import pandas as pd

    run, data = first
    run.model.save(tmp_path / "m.sightline")
    pd.DataFrame(data).to_csv(tmp_path / "new.csv", index=False)
    said = sightline("fit", tmp_path / "new.csv", "--from", tmp_path / "m.sightline", "--warm-start", "--epochs", "1",
                     "--no-report", "--run", tmp_path / "run", "--json")  # fmt: skip
    assert said.code == 0, said.err
    assert json.loads(said.out)["changes"] == {"new_columns": [], "new_categories": {}, "gone_categories": {}}  # fmt: skip
    said = sightline("fit", tmp_path / "new.csv", "--target", "y", "--warm-start")
    assert said.code == 2
    assert "--warm-start is given without a model" in said.err
