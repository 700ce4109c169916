"""Rows by the value of a column."""

import datetime

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import Target
from sightline.errors import DataError, OptionError
from sightline.evaluate.groups import group_by


def rows_by(groups):
    """Return the number of rows of each group."""
    counts = np.bincount(groups.of_row, minlength=len(groups.names))
    return dict(zip(groups.names, counts.tolist(), strict=True))


def test_texts_have_a_group_each_and_missing_is_one():
    groups = group_by(sl.read({"city": ["Oslo", "Rome", None, "Oslo"], "x": [1, 2, 3, 4]}), "city")
    assert rows_by(groups) == {"Oslo": 2, "Rome": 1, "missing": 1}
    assert (groups.cut, groups.how, groups.kind) == ("values", "2 values", "categorical")


def test_texts_that_the_training_rows_lack_are_one_group():
    table = sl.read({"city": ["Oslo", "Rome", "Bern", "Oslo ", "Lyon"] * 4, "x": range(20)})
    groups = group_by(table, "city", known=("Oslo", "Rome"))
    assert rows_by(groups) == {"Oslo": 4, "Oslo ": 4, "Rome": 4, "never seen in training": 8}


@pytest.mark.parametrize("most", [5, 20])
def test_of_many_texts_the_most_frequent_have_a_group_and_the_others_share_one(most):
    words = [f"w{i}" for i in range(40) for _ in range(40 - i)]
    groups = group_by(sl.read({"word": words, "x": range(len(words))}), "word", most=most)
    found = rows_by(groups)
    assert len(found) == most
    assert found["w0"] == 40
    assert f"w{most - 1}" not in found
    assert found["all others"] == sum(40 - i for i in range(most - 1, 40))
    assert groups.cut == "frequent"
    assert groups.how == f"the {most - 1} most frequent of 40 values, and all others"


def test_whole_numbers_with_few_values_have_a_group_each():
    table = sl.read({"rooms": [1, 2, 3, None] * 5, "x": np.arange(20) / 7})
    assert rows_by(group_by(table, "rooms")) == {"1": 5, "2": 5, "3": 5, "missing": 5}


def test_numbers_are_cut_into_five_ranges_with_equally_many_rows():
    values = np.random.default_rng(0).permutation(np.arange(1000) / 10)
    groups = group_by(sl.read({"x": values, "y": range(1000)}), "x")
    assert list(rows_by(groups).values()) == [200] * 5
    assert groups.names == (
        "up to 19.9", "above 19.9, up to 39.9", "above 39.9, up to 59.9", "above 59.9, up to 79.9", "above 79.9",
    )  # fmt: skip
    for number, (low, high) in enumerate(
        [(0, 19.9), (20, 39.9), (40, 59.9), (60, 79.9), (80, 99.9)]
    ):
        inside = values[groups.of_row == number]
        assert (inside.min(), inside.max()) == pytest.approx((low, high))
    assert groups.how == "5 ranges with about equally many rows"


def test_ranges_of_whole_numbers_do_not_overlap_and_missing_numbers_are_a_group():
    values = [*range(100), *[None] * 10]
    groups = group_by(sl.read({"age": values, "x": np.arange(110) / 7}), "age")
    assert groups.names == ("up to 19", "20 to 39", "40 to 59", "60 to 79", "80 or more", "missing")
    assert list(rows_by(groups).values()) == [20] * 5 + [10]


def test_a_value_that_most_rows_have_makes_fewer_ranges():
    values = np.concatenate([np.zeros(80), np.arange(1, 21)])
    groups = group_by(sl.read({"x": values / 4, "y": range(100)}), "x")
    assert rows_by(groups) == {"up to 0": 80, "above 0": 20}
    assert groups.how == "2 ranges with about equally many rows"
    top = np.concatenate([np.full(90, 7.5), np.arange(10) / 3])
    assert rows_by(group_by(sl.read({"x": top, "y": range(100)}), "x")) == {
        "up to 3": 10,
        "above 3": 90,
    }


def test_close_numbers_get_as_many_digits_as_tell_them_apart():
    values = 1000 + np.arange(100) / 1000
    names = group_by(sl.read({"x": values, "y": range(100)}), "x").names
    assert len(set(names)) == 5
    assert names[0] == "up to 1000.02"


def test_truth_values():
    table = sl.read({"paid": [True, False, None, True], "x": [1.5, 2.5, 3.5, 4.5]})
    assert rows_by(group_by(table, "paid")) == {"false": 1, "true": 2, "missing": 1}


def test_dates_by_year_or_by_ranges():
    days = [datetime.datetime(2000 + i % 3, 1 + i % 12, 1) for i in range(36)]
    groups = group_by(sl.read({"day": [*days, None], "x": np.arange(37) / 3}), "day")
    assert rows_by(groups) == {"2000": 12, "2001": 12, "2002": 12, "missing": 1}
    assert groups.how == "by year, 3 years"
    days = [datetime.datetime(2000, 1, 1) + datetime.timedelta(days=i) for i in range(100)]
    groups = group_by(sl.read({"day": days, "x": np.arange(100) / 3}), "day")
    assert groups.names[:2] == ("until 2000-01-20", "after 2000-01-20, until 2000-02-09")
    assert list(rows_by(groups).values()) == [20] * 5
    hours = [datetime.datetime(2000, 1, 1) + datetime.timedelta(hours=i / 10) for i in range(100)]
    names = group_by(sl.read({"at": hours, "x": np.arange(100) / 3}), "at").names
    assert names[0] == "until 2000-01-01 01:54:00"
    many = [datetime.datetime(1980 + i, 5, 5) for i in range(40)]
    assert group_by(sl.read({"day": many, "x": np.arange(40) / 3}), "day").cut == "ranges"


def test_classes_of_the_target_are_groups_as_the_model_has_them():
    table = sl.read({"x": np.arange(30) / 7, "y": [0, 1, 2] * 10})
    target = Target("y", "classification", (0, 1, 2))
    groups = group_by(table, "y", target=target)
    assert rows_by(groups) == {"0": 10, "1": 10, "2": 10}
    assert groups.is_target


def test_long_values_are_cut():
    table = sl.read({"x": ["a" * 5000, "b"] * 15, "n": range(30)}, kinds={"x": "categorical"})
    assert group_by(table, "x").names[0] == "a" * 57 + "..."


def test_a_target_of_numbers_is_refused():
    table = sl.read({"x": np.arange(30) / 7, "y": np.arange(30) / 3})
    with pytest.raises(OptionError, match=r"'y' is the target, a number.*Group by another column"):
        group_by(table, "y", target=Target("y", "regression"))


def test_an_unknown_column_is_named_with_the_nearest():
    with pytest.raises(OptionError, match=r"no column 'citty'\. Did you mean 'city'"):
        group_by(sl.read({"city": ["a", "b"], "x": [1, 2]}), "citty")


@pytest.mark.parametrize(
    ("values", "said"),
    [(["a"] * 20, "one value in all 20 measured rows: a"), ([None] * 20, "missing")],
)
def test_one_group_alone_is_refused(values, said):
    table = sl.read({"c": values, "x": np.arange(20) / 3})
    with pytest.raises(DataError, match=said):
        group_by(table, "c")


def test_nearly_every_row_its_own_value_is_refused():
    table = sl.read({"name": [f"person {i}" for i in range(95)] + ["x"] * 5, "n": range(100)})
    with pytest.raises(
        DataError, match="'name' has 96 different values in 100 measured rows: nearly every row"
    ):
        group_by(table, "name")
    few = sl.read({"name": list("abcdef"), "n": range(6)})
    assert len(group_by(few, "name").names) == 6


def test_values_that_nothing_can_use_are_refused():
    table = sl.read({"c": [[1], [2]] * 10, "x": np.arange(20) / 3})
    with pytest.raises(DataError, match="cannot be grouped by 'c'"):
        group_by(table, "c")
