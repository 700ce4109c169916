"""The nearest-neighbours model beside the networks: where it is fitted, what is said of it, and what the model's file holds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import sightline as sl
from sightline.build.neighbors_fit import fit_neighbors
from sightline.contracts import FitOptions
from sightline.pipeline.recipe import Recipe, Size, neighbors_for
from sightline.views.card import model_card
from tests.pipeline.fits import train_model
from tests.pipeline.test_kernel import QUICK

ALONE = {
    "trees": False,
    "forest": False,
    "kernel": False,
    "second_network": False,
    "neighbors": True,
}


def board(rows=400, seed=0):
    """Two classes, or a number, of a checkerboard of nine fields."""
    random = np.random.default_rng(seed)
    x = random.uniform(-1.5, 1.5, size=(rows, 2))
    dark = np.floor(x + 1.5).sum(axis=1) % 2
    names = {"a": x[:, 0], "b": x[:, 1], "c": [f"c{i % 3}" for i in range(rows)]}
    return {**names, "y": np.where(dark == 1, "dark", "light")}, {**names, "y": 1_000 + 50 * dark}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("neighbors") / "a"
    return sl.fit(board()[0], "y", run=folder, **{**QUICK, "neighbors": True})


def test_it_is_recorded_saved_and_said(run):
    body = run.find("train", "neighbors")[0].body
    assert list(run.model.blend.weights) == ["network", "neighbors"]
    assert body["held_out_loss"] < 0.7 * body["network_held_out_loss"]
    assert body["references"] == 240  # two thirds of 360 rows
    assert len(body["history"]) == body["epochs"] >= body["best_epoch"]
    assert "compares a row with 240 training rows in each fold" in body["said"]
    assert "holds the targets of up to 240 training rows for each fold" in run.model.card
    loaded = sl.Model.load(run.folder / "model.sightline")
    data = board(seed=1)[0]
    assert (loaded.predict_proba(data) == run.model.predict_proba(data)).all()
    assert (run.model.predict(data) == data["y"]).mean() > 0.85


def test_it_is_explained_and_exported(run, tmp_path):
    data = board(seed=1)[0]
    parts = run.model.explain(sl.read(data).row(3)).parts
    assert [part["name"] for part in parts] == ["network", "neighbors"]
    assert run.model.to_onnx(tmp_path / "m.onnx", check=data)["largest_difference"] <= 1e-5


def test_a_replay_trains_as_many_epochs(run, tmp_path):
    again = sl.replay(run.folder, source=board()[0], to=tmp_path / "b", quiet=True)
    assert again.find("train", "replay")[0].body["identical"]
    first, second = (one.find("train", "neighbors")[0].body for one in (run, again))
    assert first["fingerprint"] == second["fingerprint"]
    assert first["stopped"] == second["stopped"]
    assert again.model.blend.weights == run.model.blend.weights
    copy = tmp_path / "a"
    shutil.copytree(run.folder, copy)
    path = copy / "trace.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        if record["type"] == "neighbors":
            record["body"] |= {"epochs": 2}  # as if the clock had ended it
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    limited = sl.replay(copy, source=board()[0], to=tmp_path / "c", quiet=True)
    assert limited.find("train", "neighbors")[0].body["epochs"] == 2


def test_a_number():
    model, _ = train_model(sl.read(board()[1]), "y", **ALONE, settings={"epochs": 3, "seed": 1})
    assert model.blend.weights["neighbors"] > 0.5
    data = board(seed=1)[1]
    error = np.sqrt(np.mean(np.square(model.predict(data) - data["y"])))
    assert error < 0.75 * np.std(data["y"])


def test_with_validation_rows_they_choose_the_epoch():
    model, _ = train_model(sl.read(board()[0]), "y", **ALONE, valid=0.3, settings={"epochs": 2})
    assert set(model.blend.weights) == {"network", "neighbors"}
    data = board(seed=1)[0]
    assert (model.predict(data) == data["y"]).mean() > 0.75


@pytest.mark.parametrize("valid", [None, 0.3])
def test_training_goes_on_only_where_it_helps_or_was_asked_for(monkeypatch, valid):
    told = []

    def watched(**options):
        fitted = fit_neighbors(**options)
        told.append((options.get("worth"), len(fitted.history)))
        return fitted

    monkeypatch.setattr("sightline.pipeline.parts.fit_neighbors", watched)

    def fit(data, **options):
        quick = {"trees": False, "forest": False, "kernel": False, "second_network": False}
        train_model(sl.read(data), "y", **quick, valid=valid, settings={"epochs": 2}, **options)

    noise = board()[0]
    noise["y"] = np.random.default_rng(1).permutation(noise["y"])
    fit(noise)
    fit(noise, neighbors=True)
    fit(board()[0])
    (asks, stopped), (asked, _), (again, went_on) = told
    assert (asks is not None, asked is None, again is not None) == (True, True, True)
    assert stopped == 2
    assert went_on > 2


def test_a_model_without_it_holds_no_targets(run):
    records = [
        replace(record, body={**record.body, "kept": False}) if record.type == "neighbors" else record
        for record in run.records
    ]  # fmt: skip
    assert "holds the targets" in model_card(run.records)
    assert "holds the targets" not in model_card(records)


def test_it_is_for_small_tables_and_not_for_fast():
    choose = lambda **options: Recipe.choose(FitOptions.of("y", **options))  # noqa: E731
    small, large = Size(10_000, 5, 2), Size(10_001, 5, 2)
    assert neighbors_for(choose(), small)
    assert neighbors_for(choose(), large) is None
    assert neighbors_for(choose(quality="best"), large)
    assert neighbors_for(choose(quality="best"), large._replace(rows=50_001)) is None
    assert neighbors_for(choose(quality="fast"), small) is None
    assert neighbors_for(choose(neighbors=False), small) is None
    assert neighbors_for(choose(), small._replace(outputs=51)) is None
    assert neighbors_for(choose(), small._replace(features=301)) is None
    # Runs of before had none.
    assert neighbors_for(Recipe(quality="default", folds=5, trees=True), small) is None
