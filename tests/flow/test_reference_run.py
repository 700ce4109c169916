"""The reference run as the design tells it, whatever the seed."""

import io
import itertools
import math

import pytest

import sightline as sl
from sightline.views.terminal import TerminalView

SEEDS = range(6)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return [sl.demo(run=folder / str(seed), seed=seed, quiet=True) for seed in SEEDS]


@pytest.fixture(params=SEEDS)
def run(request, runs):
    return runs[request.param]


def body(run, stage, type_):
    return run.find(stage, type_)[-1].body


def test_the_loss_falls_every_epoch_and_ends_low(run):
    losses = [epoch.train_loss for epoch in run.epochs]
    assert len(losses) == 6
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] <= 0.3


def test_epoch_0_knows_nothing(run):
    first = run.epochs[0]
    assert abs(first.train_loss - math.log(3)) < 0.15
    assert first.metrics["train_accuracy"] <= 0.45
    assert first.metrics["valid_accuracy"] <= 0.45
    assert first.observation.startswith("starting with moderate loss")


def test_accuracy_passes_nine_tenths_on_held_out_rows_too(run):
    last = run.epochs[-1].metrics
    assert last["train_accuracy"] > 0.9
    assert last["valid_accuracy"] > 0.9
    assert run.metrics["accuracy"] > 0.9
    assert (run.metrics["part"], run.metrics["rows"]) == ("test", 250)


def test_the_observations_tell_a_success(run):
    said = " ".join(epoch.observation for epoch in run.epochs[1:])
    assert "falling" in said or "progress" in said
    for trouble in ("diverging", "too high", "overfitting", "never predicted", "baseline"):
        assert trouble not in said


def test_the_shapes_are_those_of_the_design(run):
    split, batch = body(run, "load", "split"), body(run, "load", "batch")
    assert (split["train"], split["valid"], split["test"]) == (1000, 250, 250)
    assert batch["sentence"] == "32 samples, each with 10 numbers"
    assert body(run, "prepare", "columns")["scaling"] == "minmax"
    network = body(run, "build", "network")
    assert (network["batch"], network["inputs"], network["outputs"]) == (32, 10, 3)
    assert [layer["shape"] for layer in network["layers"]] == [[32, 10], [32, 32], [32, 3]]
    explained = body(run, "predict", "example")["explanation"]
    assert [layer["name"] for layer in explained["layers"]] == [
        "Input layer: 10 features", "Hidden layer 1: Linear + ReLU", "Output layer: Linear + softmax",
    ]  # fmt: skip
    assert sum(explained["probabilities"]) == pytest.approx(1)


def test_the_training_rows_lie_between_0_and_1(runs):
    step = runs[0].find("train", "step")[0].body
    assert all(0 <= value <= 1 for row in step["first_numeric"] for value in row)


def test_the_terminal_shows_it(runs):
    file = io.StringIO()
    view = TerminalView(file)
    for record in runs[0].records:
        view(record)
    text = " ".join(file.getvalue().split())
    for said in (
        "1,000 rows x 10 features -> batches of 32", "32 samples, each with 10 numbers",
        "32 rows x 10 features -> 32 rows x 3 classes", "1 row x 10 features -> 1 row x 3 probabilities [",
        "Epoch Loss Valid Accuracy Observation", "Loss (o training, x validation, * both)",
        "Hidden layer 1: Linear + ReLU", "Output layer: Linear + softmax", "Key insight",
        "Three questions about this run", "normalised to 0..1", "1. load:", "5. predict:",
    ):  # fmt: skip
        assert said in text, said


def test_other_seeds_are_other_runs(runs):
    assert len({run.epochs[-1].train_loss for run in runs}) == len(SEEDS)


def test_the_same_seed_is_the_same_run(runs, tmp_path):
    again = sl.demo(run=tmp_path / "again", seed=0, quiet=True)
    assert [e.train_loss for e in again.epochs] == [e.train_loss for e in runs[0].epochs]


def test_the_demo_says_what_its_rows_are_for(tmp_path, capsys):
    run = sl.demo(run=tmp_path / "r")
    body = run.find("predict", "baselines")[0].body
    assert {model["name"] for model in body["models"]} >= {
        "logistic regression",
        "gradient boosting",
    }
    assert body["remark"].startswith(
        "These rows were made so that straight boundaries separate the classes"
    )
    said = " ".join(capsys.readouterr().out.split())
    assert said.index(" ".join(body["verdict"].split())) < said.index(
        "a linear model is enough for them"
    )
    assert "a linear model is enough for them" in (tmp_path / "r" / "report.html").read_text(
        encoding="utf-8"
    )
