"""The kernel model beside the networks: where it is fitted, what is said of it, and what the model's file holds."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

import sightline as sl
from sightline.build.kernel_fit import fit_kernel
from sightline.contracts import FitOptions
from sightline.pipeline.recipe import KERNEL_WORTH, Recipe, Size, kernel_for
from sightline.views.card import model_card
from tests.pipeline.fits import train_model

QUICK = {
    "quality": "fast", "quiet": True, "report": False, "baselines": False, "trees": False, "epochs": 3,
}  # fmt: skip


def ring(rows=400, seed=0):
    """Two classes, or a number, that only both columns together tell."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 2))
    far = np.hypot(*x.T)
    names = {"a": x[:, 0], "b": x[:, 1], "c": [f"c{i % 3}" for i in range(rows)]}
    return {**names, "y": np.where(far < 1.1, "in", "out")}, {
        **names,
        "y": 1_000 + 50 * np.sin(3 * far),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kernel") / "a"
    return sl.fit(ring()[0], "y", kernel=True, run=folder, **QUICK)


def test_it_is_recorded_saved_and_said(run):
    body = run.find("train", "kernel")[0].body
    assert list(run.model.blend.weights) == ["network", "kernel"]
    assert body["held_out_loss"] < body["network_held_out_loss"]
    assert body["landmarks"] == 360  # all training rows
    assert len({width for width, _, _ in body["tried"]}) > 3
    assert "compares a row with 360 training rows" in body["said"]
    assert "holds the features of 360 training rows" in run.model.card
    loaded = sl.Model.load(run.folder / "model.sightline")
    data = ring(seed=1)[0]
    assert (loaded.predict_proba(data) == run.model.predict_proba(data)).all()
    assert (run.model.predict(data) == data["y"]).mean() > 0.9


def test_it_is_explained_and_exported(run, tmp_path):
    data = ring(seed=1)[0]
    parts = run.model.explain(sl.read(data).row(3)).parts
    assert [part["name"] for part in parts] == ["network", "kernel"]
    assert run.model.to_onnx(tmp_path / "m.onnx", check=data)["largest_difference"] <= 1e-5


def test_a_replay_fits_the_same(run, tmp_path):
    again = sl.replay(run.folder, source=ring()[0], to=tmp_path / "b", quiet=True)
    assert again.find("train", "replay")[0].body["identical"]
    first, second = (one.find("train", "kernel")[0].body for one in (run, again))
    assert first["fingerprint"] == second["fingerprint"]
    assert again.model.blend.weights == run.model.blend.weights


def test_a_replay_tries_what_the_clock_allowed(run, tmp_path):
    copy = tmp_path / "a"
    shutil.copytree(run.folder, copy)
    path = copy / "trace.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        if record["type"] == "kernel":
            record["body"] |= {"landmarks": 100, "tried": record["body"]["tried"][:4]}
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    body = (
        sl.replay(copy, source=ring()[0], to=tmp_path / "b", quiet=True)
        .find("train", "kernel")[0]
        .body
    )
    assert body["landmarks"] == 100
    assert {width for width, _, _ in body["tried"]} == {0.5}


def test_a_number():
    model, training = train_model(sl.read(ring()[1]), "y", kernel=True, neighbors=False, trees=False, settings={"epochs": 3, "seed": 1})  # fmt: skip
    assert model.blend.weights["kernel"] > 0.5
    data = ring(seed=1)[1]
    error = np.sqrt(np.mean(np.square(model.predict(data) - data["y"])))
    assert error < 0.5 * np.std(data["y"])
    assert training.task.scale > 0


def test_with_validation_rows_they_choose():
    model, _ = train_model(sl.read(ring()[0]), "y", kernel=True, neighbors=False, trees=False, valid=0.3, settings={"epochs": 2})  # fmt: skip
    assert set(model.blend.weights) == {"network", "kernel"}
    data = ring(seed=1)[0]
    assert (model.predict(data) == data["y"]).mean() > 0.9


def test_a_model_without_it_holds_no_rows(run):
    records = [
        replace(record, body={**record.body, "kept": False}) if record.type == "kernel" else record
        for record in run.records
    ]
    assert "holds the features" in model_card(run.records)
    assert "holds the features" not in model_card(records)


def test_it_is_told_its_limit_and_how_good_it_has_to_be(monkeypatch):
    told = {}

    def watched(**options):
        told.update(options)
        return fit_kernel(**options)

    monkeypatch.setattr("sightline.pipeline.parts.fit_kernel", watched)
    _, training = train_model(
        sl.read(ring()[0]), "y", kernel=True, neighbors=False, trees=False, settings={"epochs": 2, "time_limit": 300.0}
    )  # fmt: skip
    assert 1 < told["time_limit"] < 300
    loss = training.history[training.best_epoch].valid_loss
    assert told["worth"] == pytest.approx(KERNEL_WORTH * loss)


def test_it_is_for_small_tables_and_not_for_fast():
    choose = lambda **options: Recipe.choose(FitOptions.of("y", **options))  # noqa: E731
    small, large = Size(5_000, 5, 2), Size(5_001, 5, 2)
    assert kernel_for(choose(), small)
    assert kernel_for(choose(), large) is None
    assert kernel_for(choose(quality="best"), large)
    assert kernel_for(choose(quality="best"), large._replace(rows=20_001)) is None
    assert kernel_for(choose(quality="fast"), small) is None
    assert kernel_for(choose(kernel=False), small) is None
    assert kernel_for(choose(), small._replace(outputs=51)) is None
    # Runs of before had none.
    assert kernel_for(Recipe(quality="default", folds=5, trees=True), small) is None
