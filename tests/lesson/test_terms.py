"""Terms, facts and shapes of a lesson: this run's own numbers, each word where it is met first."""

import re

import numpy as np
import pytest

import sightline as sl
from sightline.lesson.facts import duration, facts, shapes, size
from sightline.lesson.terms import terms
from tests.predict.networks import Members, Own

SMALL = {
    "network": "MLP",
    "baselines": False,
    "epochs": 2,
    "quiet": True,
    "device": "cpu",
    "report": False,
}
WORDS = [
    "batch",
    "epoch",
    "normalisation",
    "forward pass",
    "dynamic graph",
    "autograd",
    "optimizer",
]
STAGES = ["load", "prepare", "build", "train", "predict"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, penguins):
    folder = tmp_path_factory.mktemp("terms")
    words = {"a": ["x", "y", "z", "x"] * 50, "b": ["p", "q"] * 100}
    hostile = {"‮" + "n" * 100_000: np.sin(np.arange(200.0)), "<b>\n'\"": ["p", "q"] * 100}
    return {
        "classes": sl.fit(penguins, "species", run=folder / "classes", **SMALL),
        "number": sl.fit(penguins, "body_mass_g", run=folder / "number", **SMALL),
        "unwatched": sl.fit(penguins, "species", valid=0, test=0, run=folder / "c", **SMALL),
        "words": sl.fit(words, "b", run=folder / "words", **SMALL),
        "own": sl.fit(
            penguins, "species", optimizer="sgd", run=folder / "d", **{**SMALL, "network": Own}
        ),
        "members": sl.fit(
            penguins,
            "species",
            run=folder / "e",
            precision="float32",
            **{**SMALL, "network": Members},
        ),
        "hostile": sl.fit(hostile, "<b>\n'\"", run=folder / "f", **SMALL),
        "demo": sl.demo(run=folder / "demo", quiet=True),
    }


KINDS = ["classes", "number", "unwatched", "words", "own", "members", "hostile", "demo"]


@pytest.fixture(params=KINDS)
def run(request, runs):
    return runs[request.param]


def stage(run, name):
    return next(r.body for r in run.find("lesson", "stage") if r.body["name"] == name)


def said(run):
    return {one["term"]: one["text"] for name in STAGES for one in stage(run, name)["terms"]}


def body(run, stage, type_):
    return run.find(stage, type_)[-1].body


def test_each_word_is_explained_once_where_it_is_met(run):
    told = [one["term"] for name in STAGES for one in stage(run, name)["terms"]]
    regression = body(run, "run", "start")["target"]["task"] == "regression"
    assert told == [*WORDS, "unit of the target" if regression else "softmax"]
    assert [one["term"] for one in stage(run, "train")["terms"]] == ["autograd", "optimizer"]


def test_a_text_is_one_to_three_sentences_with_a_number_of_the_run(run):
    for term, text in said(run).items():
        assert text.endswith(".")
        assert len(text) < 600
        sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", text)
        assert 1 <= len(sentences) <= 3, (term, text)
        if term != "normalisation":
            assert re.search(r"\d", text), (term, text)


def test_the_numbers_are_the_runs(runs):
    told, run = said(runs["classes"]), runs["classes"]
    assert "276 training rows, here 9 batches" in told["epoch"]
    assert "here up to 32" in told["batch"]
    number = body(run, "prepare", "columns")["shown"]["number"]
    assert f"had {number['value']:.5g} and became {number['result']:.5g}" in told["normalisation"]
    seen = body(run, "train", "step")
    assert f"was {seen['gradient']:.5g}." in told["autograd"]
    assert f"from {seen['weight_before']:.5g} to {seen['weight_after']:.5g}" in told["optimizer"]
    explained = body(run, "predict", "example")["explanation"]
    assert (
        f"{explained['prediction']} got {max(explained['probabilities']):.5g}." in told["softmax"]
    )
    number = said(runs["number"])["unit of the target"]
    assert "the mean 4,194" in number
    assert "the standard deviation 793.4" in number


def test_the_optimizer_is_named_as_it_is(runs):
    assert "SGD with a learning rate of 0.001" in said(runs["own"])["optimizer"]
    assert "AdamW with a learning rate of 0.007" in said(runs["demo"])["optimizer"]


def test_without_numbers_nothing_is_normalised(runs):
    assert "no column holds numbers" in said(runs["words"])["normalisation"]


def test_facts_are_pairs_of_texts_with_the_time(run):
    for name in STAGES:
        told = stage(run, name)["facts"]
        assert 4 <= len(told) <= 8
        assert all(len(pair) == 2 and all(isinstance(x, str) and x for x in pair) for pair in told)
        assert told[-1][0] == "time"
        assert re.fullmatch(r"[\d,.]+ s|under 0.01 s", told[-1][1])
        assert all(len(text) < 200 for pair in told for text in pair)
        labels = [label for label, _ in told]
        assert len(set(labels)) == len(labels)


def test_facts_are_the_records(runs):
    run = runs["classes"]
    load, prepared = dict(stage(run, "load")["facts"]), dict(stage(run, "prepare")["facts"])
    assert load["rows x columns"] == "344 x 8"
    assert load["features"] == "7 (2 categorical, 5 numeric)"
    assert (load["training rows"], load["validation rows"], load["test rows"]) == (
        "276",
        "34",
        "34",
    )
    assert load["batches"] == "9 of up to 32 rows"
    assert load["in memory"] == size(run.table and body(run, "load", "table")["bytes"])
    assert prepared["numeric features"] == "[276, 9] float32"
    assert prepared["categorical features"] == "[276, 2] int32"
    assert prepared["training tensors"] == size(276 * 9 * 4 + 276 * 2 * 4)
    built = dict(stage(run, "build")["facts"])
    count = sum(p.numel() for p in run.model.network.parameters())
    assert built["parameters"] == f"{count:,}"
    assert built["weights in memory"] == size(4 * count)
    trained = dict(stage(run, "train")["facts"])
    assert trained["steps"] == "18 (9 an epoch)"
    assert trained["batch"] == "32 rows"
    measured = dict(stage(run, "predict")["facts"])
    assert measured["rows measured"] == "34 test rows"
    assert measured["accuracy"] == f"{run.metrics['accuracy']:.5g}"
    assert "rmse" in dict(stage(runs["number"], "predict")["facts"])


def test_shapes_are_those_of_the_tensors(runs, species):
    run = runs["classes"]
    told = {name: dict(stage(run, name)["shapes"]) for name in STAGES}
    assert told["load"]["table"] == "[344, 8]"
    assert told["load"]["batch"] == "[32, 7]"
    part = species.train
    assert told["prepare"]["numeric features"] == f"{list(part.numeric.shape)} float32"
    assert told["prepare"]["categorical features"] == f"{list(part.categorical.shape)} int32"
    assert told["prepare"]["target"] == "[276] int64"
    assert told["build"]["Hidden layer 1: Linear + ReLU"] == "[32, 64]"
    assert told["build"]["logits"] == "[32, 3] float32"
    weight = run.model.network.output.weight
    assert told["train"]["gradient of output.weight"] == f"{list(weight.shape)} float32"
    assert told["train"]["loss"] == "[] float32"
    assert told["predict"]["probabilities"] == "[1, 3] float32"
    assert dict(stage(runs["number"], "prepare")["shapes"])["target"] == "[274] float64"
    assert dict(stage(runs["number"], "predict")["shapes"])["number"] == "[1, 1] float64"
    assert dict(stage(runs["words"], "prepare")["shapes"])["numeric features"].endswith(
        ", 0] float32"
    )


def test_members_are_in_the_shapes(runs):
    told = {name: dict(stage(runs["members"], name)["shapes"]) for name in STAGES}
    assert told["build"]["logits"] == "[32, 3, 3] float32"
    assert told["train"]["logits"] == "[32, 3, 3] float32"
    assert told["train"]["probabilities"] == "[32, 3]"
    assert told["predict"]["logits"] == "[1, 3, 3] float32"
    assert told["predict"]["probabilities"] == "[1, 3] float32"


def test_a_run_that_stopped_before_its_first_step(runs):
    bodies = {f"{r.stage}/{r.type}": r.body for r in runs["classes"].records if r.type != "step"}
    assert shapes("train", bodies) == []
    assert [one["term"] for one in terms("train", bodies)] == ["autograd", "optimizer"]
    assert "In step" not in terms("train", bodies)[0]["text"]
    assert dict(facts("train", bodies, 0.5))["time"] == "0.50 s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.004, "under 0.01 s"), (0.5, "0.50 s"), (12.4, "12 s"), (4000, "4,000 s")],
)
def test_times(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 kB"), (2_340_000, "2.34 MB")],
)
def test_sizes(count, text):
    assert size(count) == text
