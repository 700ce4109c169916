"""Each lesson over several seeds: the fault is there, its observation names it, the cure cures it."""

import json
import math
import re

import pytest

import sightline as sl
from sightline.errors import OptionError, RunError
from sightline.lesson.fault_records import (
    ACCURACY,
    BALANCED,
    FIRST_GRADIENT,
    LAST_TRAINED,
    LAST_VALID,
    LATER,
    MAJORITY,
    RECALL,
    TRAINED,
)
from sightline.lesson.faults import FAULTS
from sightline.pipeline.lesson_rows import EXPERIMENTS
from sightline.pipeline.lessons import give
from sightline.trace.records import finite

SEEDS = [0, 1, 2]


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Give a lesson with a seed, once."""
    folder, done = tmp_path_factory.mktemp("lessons"), {}

    def of(name, seed):
        if (name, seed) not in done:
            done[name, seed] = give(name, folder / f"{name}-{seed}", seed, report=False)
        return done[name, seed]

    return of


def measured(taught):
    return [one["measured"] for one in taught.body["sides"]]


@pytest.fixture(params=SEEDS)
def seed(request):
    return request.param


def test_every_lesson_has_rows_words_and_runs(given):
    assert list(EXPERIMENTS) == list(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_the_records_name_the_fault(given, name, seed):
    """The sentence is one of the run's own records, and the cured run has none (but labels stay wrong)."""
    taught = given(name, seed)
    fault, *others = taught.body["sides"]
    seen = fault["observed"]
    assert any(start in seen["said"] for _, _, start in FAULTS[name].signs)
    stage, type_ = seen["record"].split("/")
    bodies = [record.body for record in taught.runs["fault"].find(stage, type_)]
    texts = [
        str(body.get("observation", body.get("notes", body.get("verdict")))) for body in bodies
    ]
    assert any(seen["said"] in text.replace("\\'", "'") for text in texts)
    assert [one["observed"] for one in others if name != "label-noise"] == [None] * (len(others) if name != "label-noise" else 0)  # fmt: skip


def test_overfitting(given, seed):
    fault, cure, smaller = measured(given("overfitting", seed))
    assert fault[TRAINED] > 0.99
    assert fault[LAST_VALID] > 1.5 * max(cure[LAST_VALID], smaller[LAST_VALID])
    losses = [valid for _, _, valid in given("overfitting", seed).body["sides"][0]["epochs"]]
    assert losses[-1] > 1.5 * min(losses)  # it had been better


def test_learning_rate(given, seed):
    fault, cure, small = measured(given("learning-rate", seed))
    sides = given("learning-rate", seed).body["sides"]
    first, highest = sides[0]["epochs"][0][1], max(loss for _, loss, _ in sides[0]["epochs"])
    assert highest > 2 * first
    assert cure[LAST_VALID] < 0.5 * min(fault[LAST_VALID], small[LAST_VALID])
    assert cure[ACCURACY] > max(fault[ACCURACY], small[ACCURACY]) + 0.1
    assert abs(sides[2]["epochs"][-1][1] / sides[2]["epochs"][0][1] - 1) < 0.05  # it hardly moved


def test_leakage(given, seed):
    taught = given("leakage", seed)
    fault, cure = measured(taught)
    assert fault[ACCURACY] > 0.98
    assert cure[LATER] > fault[LATER] + 0.15
    assert abs(cure[LATER] - cure[ACCURACY]) < 0.15  # its test score is what it does later
    later = EXPERIMENTS["leakage"](seed).later
    assert set(taught.runs["fault"].model.predict(later)) == {"stayed"}  # as an answer says


def test_imbalance(given, seed):
    fault, cure = measured(given("imbalance", seed))
    assert (fault[RECALL], fault[ACCURACY]) == (0, fault[MAJORITY])
    assert fault[ACCURACY] > 0.97
    assert cure[RECALL] > 0.3
    assert cure[BALANCED] > 0.62 > 0.5 == fault[BALANCED]


def test_vanishing(given, seed):
    fault, cure = measured(given("vanishing", seed))
    assert fault[FIRST_GRADIENT] < 1e-4 < 0.05 < cure[FIRST_GRADIENT]
    assert fault[ACCURACY] < 0.6 < 0.9 < cure[ACCURACY]


def test_unscaled(given, seed):
    fault, cure = measured(given("unscaled", seed))
    guessing = math.log(2)
    assert fault[LAST_TRAINED] > 2 * guessing
    assert cure[LAST_TRAINED] < guessing / 2
    assert cure[ACCURACY] > max(0.95, fault[ACCURACY] + 0.1)
    assert given("unscaled", seed).body["sides"][0]["epochs"][0][1] > 10 * guessing


def test_label_noise(given, seed):
    fault, cure = measured(given("label-noise", seed))
    assert fault[TRAINED] > 0.98  # the wrong labels too
    assert cure[TRAINED] < 0.85
    assert cure[LATER] > max(0.85, fault[LATER] + 0.08)
    assert cure[ACCURACY] < 0.8  # the test labels are as bad


@pytest.mark.parametrize("name", FAULTS)
def test_the_body_and_the_page_tell_the_same(given, name):
    taught = given(name, 0)
    body, page = taught.body, taught.page.read_text(encoding="utf-8")
    assert json.loads(json.dumps(finite(body), allow_nan=False))["lesson"] == name
    assert len({one["question"] for one in body["questions"]}) == 3
    assert page.count("<details") == 3
    assert page.count("<svg") == len(body["sides"]) == len(taught.runs)
    for one in body["sides"]:
        assert f'href="{one["name"]}/report.html"' in page
    assert [
        other for other in body["others"] if f"sightline demo --lesson {other}<" not in page
    ] == []
    assert body["changed"]
    assert ".." not in page.replace("...", "")
    assert bool(body["later"]) == (LATER in body["sides"][0]["measured"])
    if name in ("leakage", "label-noise"):  # the number of rows that it says
        rows = len(next(iter(EXPERIMENTS[name](0).later.values())))
        assert f" {rows:,} new " in body["later"]
    assert ("logarithmic" in page) == (name in ("learning-rate", "unscaled"))
    assert not re.search(r"\b(nan|None|inf)\b", " ".join(q["question"] + q["answer"] for q in body["questions"]))  # fmt: skip


@pytest.mark.parametrize(("name", "changed"), [
    ("leakage", {"read.drop": [[], ["refund"]]}),
    ("imbalance", {"class_weights": [None, "balanced"]}),
    ("unscaled", {"numeric": ["none", "standard"]}),
    ("vanishing", {"network.activation": ["sigmoid", "relu"], "network.residual": [[], [1, 2, 3, 4, 5, 6, 7]]}),
    ("learning-rate", {"learning_rate": [3.0, 0.003, 3e-6]}),
])  # fmt: skip
def test_nothing_else_was_changed(given, name, changed):
    assert given(name, 0).body["changed"] == changed


def test_the_same_seed_gives_the_same_lesson(given, tmp_path):
    again = give("leakage", tmp_path / "again", 0, report=False)
    assert measured(again) == measured(given("leakage", 0))
    assert measured(given("leakage", 1)) != measured(given("leakage", 0))


def test_a_run_of_a_lesson_is_a_run_like_others(given, tmp_path):
    repeated = sl.replay(given("vanishing", 0).folder / "cure", to=tmp_path / "again",
                         source=EXPERIMENTS["vanishing"](0).attempts[1].rows, quiet=True)  # fmt: skip
    assert repeated.find("train", "replay")[0].body["identical"]


def test_mistakes_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="Did you mean 'label-noise'"):
        sl.teach("label_noise")
    with pytest.raises(OptionError, match="seed is -1"):
        sl.teach("leakage", seed=-1)
    with pytest.raises(OptionError, match="quiet is 'yes'"):
        sl.teach("leakage", quiet="yes")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(RunError, match="exists already"):
        sl.teach("leakage", run="there")


def test_without_a_folder_it_is_in_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    taught = sl.teach("leakage", quiet=True)
    assert capsys.readouterr().out == ""
    assert re.fullmatch(r"runs/lesson-leakage-\d{8}-\d{6}", taught.folder.as_posix())
    assert (taught.folder / "fault" / "report.html").is_file()
