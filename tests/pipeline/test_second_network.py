"""The second network of the default model."""

import json
from dataclasses import replace

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import FitOptions, TrainingSettings
from sightline.errors import OptionError
from sightline.pipeline.recipe import (
    BEHIND,
    BEHIND_EPOCHS,
    Recipe,
    has_second_network,
    may_end_early,
    members_for,
    network_for,
    second_network_for,
)
from tests.pipeline.fits import train_model

ALONE = dict.fromkeys(("trees", "symmetric_trees", "forest", "kernel", "neighbors"), False)
QUICK = {"quiet": True, "report": False, "baselines": False, **ALONE}


def test_it_sees_numbers_as_they_are_and_shares_the_members(species):
    recipe = Recipe.choose(FitOptions.of("species"))
    network = second_network_for(recipe, species.spec)
    assert (network.pieces.width, network.bins, network.waves) == (0, None, None)
    assert network.widths == [128, 128, 128]
    assert network.members == network_for(recipe, 5_000, species.spec).members == 5
    alone = Recipe.choose(FitOptions.of("species", second_network=False))
    assert members_for(alone, species.spec) == 10
    assert second_network_for(Recipe(hidden=[8], dropout=0.3), species.spec).config() == {
        "members": 10, "hidden": [8], "activation": "relu", "dropout": 0.3, "bins": False, "waves": 0,
        "pieces": False,
    }  # fmt: skip


def test_a_table_without_numbers_has_one_network():
    random = np.random.default_rng(0)
    data = {"c": [f"c{i}" for i in random.integers(4, size=60)], "y": random.integers(2, size=60)}
    options = {"second_network": True, "epochs": 1, **ALONE}
    model, training = train_model(sl.read(data, kinds={"c": "categorical"}), "y", **options)
    assert list(model.blend.weights) == ["network"]
    assert training.network.members == 10
    assert not has_second_network(
        Recipe.choose(FitOptions.of("y", **options)), training.prepared.spec
    )


def test_it_is_recorded_saved_and_replayed(penguins, tmp_path):
    run = sl.fit(penguins, "species", second_network=True, epochs=3, run=tmp_path / "a", **QUICK)
    body = run.find("train", "second_network")[0].body
    assert (body["epochs"], body["planned_epochs"], body["network"]["class"]) == (3, 3, "Ensemble")
    assert [number for number, _, _ in body["history"]] == [0, 1, 2, 3]
    assert body["held_out_loss"] == min(loss for _, _, loss in body["history"])
    assert list(run.model.blend.weights) == ["network", "second_network"]
    loaded = sl.Model.load(tmp_path / "a" / "model.sightline")
    assert (loaded.predict_proba(penguins) == run.model.predict_proba(penguins)).all()
    again = sl.replay(tmp_path / "a", to=tmp_path / "b", quiet=True)
    assert again.find("train", "replay")[0].body["identical"]
    assert again.find("train", "second_network")[0].body["fingerprint"] == body["fingerprint"]


def test_a_replay_makes_as_many_steps_as_the_clock_allowed(penguins, tmp_path, monkeypatch):
    options = {"second_network": True, "epochs": 4, "time_limit": 1000.0}
    run = sl.fit(penguins, "species", run=tmp_path / "a", **options, **QUICK)
    steps = run.find("train", "second_network")[0].body["steps"]
    path = tmp_path / "a" / "trace.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for record in records:
        if record["type"] == "second_network":
            record["body"] |= {"epochs": 2, "steps": steps // 2}
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    again = sl.replay(tmp_path / "a", to=tmp_path / "b", quiet=True)
    body = again.find("train", "second_network")[0].body
    assert (body["epochs"], body["steps"]) == (2, steps // 2)


def test_its_held_out_rows_are_not_learned():
    random = np.random.default_rng(0)
    data = {"x": random.normal(size=400), "y": random.integers(2, size=400)}
    options = {"second_network": True, **ALONE}
    model, training = train_model(
        sl.read(data, kinds={"y": "categorical"}), "y", epochs=8, **options
    )
    held_out = training.history[training.best_epoch].valid_loss
    assert held_out > np.log(2) - 0.02, "noise is not predicted"
    assert "second_network" in model.blend.weights


@pytest.mark.parametrize("part", ["second_network", "forest", "kernel", "neighbors"])
def test_a_part_needs_calibration_which_decides_its_weight(part):
    with pytest.raises(OptionError, match="Calibration decides the weights"):
        FitOptions.of("y", calibrate=False, trees=False, **{part: True})
    quiet = Recipe.choose(FitOptions.of("y", calibrate=False, trees=False))
    assert not getattr(quiet, part)


def test_it_does_not_go_with_a_network_of_ones_own():
    with pytest.raises(OptionError, match="a network is given as well"):
        FitOptions.of("y", network=sl.MLP, second_network=True)


def steps_of(rows=2_500):
    """A number that acts by steps, which the first network learns at once."""
    random = np.random.default_rng(0)
    data = {f"x{i}": random.integers(0, 40, size=rows).astype(float) for i in range(6)}
    effect = random.normal(size=(6, 40))
    score = sum(effect[i][data[f"x{i}"].astype(int)] for i in range(6))
    return {**data, "y": score + random.normal(size=rows) * 0.1}


def test_it_ends_early_where_it_is_far_behind(tmp_path):
    options = {"epochs": 12, "patience": None, "schedule": "plateau", "seed": 0}
    run = sl.fit(steps_of(), "y", run=tmp_path / "a", quality="default", **options, **QUICK)
    body = run.find("train", "second_network")[0].body
    assert body["epochs"] == BEHIND_EPOCHS
    assert body["stopped"] == "far behind the first network after epoch 10"
    assert body["held_out_loss"] > BEHIND**2 * body["network_held_out_loss"]
    assert not body["kept"]
    again = sl.replay(tmp_path / "a", source=steps_of(), to=tmp_path / "b", quiet=True)
    same = again.find("train", "second_network")[0].body
    for key in ("epochs", "steps", "stopped", "fingerprint", "kept"):
        assert same[key] == body[key], key


def test_when_it_may_end_early():
    settings = TrainingSettings(schedule="plateau")
    chosen = Recipe.choose(FitOptions.of("y"))
    assert may_end_early(chosen, settings, 2_000)
    assert not may_end_early(chosen, settings, 1_999)
    assert not may_end_early(chosen, replace(settings, schedule="cosine"), 2_000)
    asked = Recipe.choose(FitOptions.of("y", second_network=True))
    assert not may_end_early(asked, settings, 2_000)
