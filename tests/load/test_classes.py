"""What is said of classes: their rows, the positive one, and the parts that hold none of a rare class."""

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import Target
from sightline.load.classes import absent_classes, class_notes


def notes_of(y, **options):
    rows = len(y)
    table = sl.read(
        {
            "x": [i % 7 + 0.5 for i in range(rows)],
            "g": [f"g{i // 10}" for i in range(rows)],
            "t": np.arange(rows) + 0.5,
            "y": y,
        }
    )
    return sl.split(table, "y", **options).notes


def test_a_class_that_a_part_lacks_is_named_with_its_rows():
    said = notes_of(["a"] * 60 + ["b"] * 39 + ["rare"])
    assert sorted(note.split(":")[0] for note in said) == [
        "No test row is of the class rare (1 row)", "No validation row is of the class rare (1 row)",
    ]  # fmt: skip
    assert any("--test" in note for note in said)
    assert any("--valid" in note for note in said)


def test_a_class_that_no_training_row_has_is_named():
    said = notes_of(["a", "b"] * 45 + ["new"] * 10, time="t", valid=0, test=10)
    assert len(said) == 2
    assert said[1].startswith(
        "No training row is of the class new (10 rows): the model cannot learn to predict it."
    )


def test_folds_that_lack_a_class_are_named():
    said = notes_of(["a"] * 60 + ["b"] * 38 + ["c"] * 2, folds=5, valid=0, test=0)
    assert len(said) == 1
    assert said[0].startswith("Not every fold has a row of the class c (2 training rows)")
    assert notes_of(["a"] * 60 + ["b"] * 35 + ["c"] * 5, folds=5, valid=0, test=0) == ()


def test_many_classes_are_summarised():
    classes = [f"c{i:02}" for i in range(30)]
    said = notes_of([*classes, *["common"] * 70, *classes[:10]], valid=0)
    assert said[0].startswith("No test row is of ")
    assert " of the 31 classes: " in said[0]
    assert said[0].count("row)") + said[0].count("rows)") == 5
    assert " more: " in said[0]


@pytest.mark.parametrize("seed", range(10))
def test_no_alarm_where_every_part_has_every_class(seed):
    assert (
        notes_of(["a"] * 150 + ["b"] * 40 + ["c"] * 12, seed=seed, folds=3, valid=0, test=0.2) == ()
    )
    assert notes_of(["a"] * 150 + ["b"] * 40 + ["c"] * 12, seed=seed, valid=0.2, test=0.2) == ()
    assert notes_of([float(i) / 3 for i in range(100)], seed=seed) == ()
    assert not list(
        absent_classes(Target("y", "regression"), np.zeros(9), {"train": np.arange(9)}, None)
    )


def target_of(classes, positive):
    return Target("y", "classification", classes, positive)


def test_the_positive_class_is_said_with_its_reason():
    values = np.array([0] * 30 + [1] * 10)
    known = class_notes(target_of(("no", "yes"), "yes"), values, asked=False)
    assert known == ["The target y has 2 classes: no 30 rows and yes 10 rows; the positive class is yes, the affirmative one of a known pair."]  # fmt: skip
    last = class_notes(target_of(("blue", "red"), "red"), values, asked=False, sampled=True)
    assert last == ["The target y has 2 classes: blue 30 sampled rows and red 10 sampled rows; the positive class is red, the last in sorted order."]  # fmt: skip


def test_a_positive_class_that_is_the_commoner_one_is_told():
    values = np.array([0] * 10 + [1] * 30)
    said = class_notes(target_of(("no", "yes"), "yes"), values, asked=False)
    assert said[1].endswith("Where no is what you look for, give positive='no' (--positive no).")
    asked = class_notes(target_of(("no", "yes"), "yes"), values, asked=True)
    assert len(asked) == 1
    assert asked[0].endswith("the positive class is yes, as requested.")


def test_more_classes_have_no_positive_one():
    (said,) = class_notes(target_of(tuple("abcdefgh"), None), np.arange(8), asked=False)
    assert (
        said
        == "The target y has 8 classes: a 1 row, b 1 row, c 1 row, d 1 row, e 1 row and 3 more."
    )
    assert class_notes(Target("y", "regression"), np.zeros(3), asked=False) == []
