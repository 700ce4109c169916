"""What strikes a reader of a table: numbers far from all others, numbers that mean missing, and no false alarms."""

import numpy as np
import pytest

import sightline as sl
from sightline.load.remarks import remarks


def found(values, **more):
    data = {"x": np.asarray(values, float), **more}
    return remarks(sl.read(data, kinds={"x": "numeric"}))


def normal(rows=500, seed=0):
    return np.random.default_rng(seed).normal(50, 10, rows)


def test_an_outlier_is_named_with_its_row_its_value_and_its_distance():
    values = normal()
    values[17] = 1e6
    said = found(values).sentences()
    assert len(said) == 1
    assert "The column 'x' has 1 value far from all others: row 17 has 1,000,000, " in said[0]
    assert "interquartile ranges from the median" in said[0]
    (one,) = found(values).outliers
    first, median, third = np.percentile(values, [25, 50, 75])
    assert one.distances[0] == pytest.approx((1e6 - median) / (third - first), rel=0.02)
    assert one.others[1] == np.sort(values)[-2]


def test_outliers_on_both_sides_are_counted_the_farthest_first():
    values = normal()
    values[[3, 5, 7, 9]] = [-1e7, 1e9, 1e8, 2e7]
    (one,) = found(values).outliers
    assert one.rows.tolist() == [5, 7, 9, 3]
    assert "and 1 more row." in found(values).sentences()[0]
    assert "row 105 has" in found(values).sentences(np.arange(500) + 100)[0]


def test_the_target_of_a_regression_is_looked_at_and_weighs_more():
    y = normal()
    y[4] = 1e7
    splits = sl.split(sl.read({"x": normal(seed=1), "y": y}), "y")
    (said,) = splits.remarks.sentences(target="y")
    assert said.startswith("The target 'y' has 1 value far from all others: row 4 has 10,000,000")
    assert said.endswith("One such row can outweigh all others in the RMSE.")
    assert "y" not in {one.column for one in remarks(splits.table).outliers}


def test_where_most_values_are_the_same_the_others_say_how_far_values_lie_apart():
    random = np.random.default_rng(0)
    values = np.where(random.random(1000) < 0.9, 0.0, random.uniform(1, 3, 1000))
    assert not found(values).outliers
    values[8] = 1e6
    assert found(values).outliers[0].rows.tolist() == [8]
    rare = np.zeros(1000)
    rare[:3] = 1e6  # three values of another kind: no spread to measure by
    assert not found(rare).outliers


@pytest.mark.parametrize("value", [-9999, -999, -99, 999, 9999])
def test_a_number_that_stands_for_missing_is_named_and_is_no_outlier(value):
    values = normal()
    values[::50] = value
    result = found(values)
    assert [(one.value, one.rows) for one in result.sentinels] == [(value, 10)]
    assert not result.outliers
    assert f"(--missing={value})" in result.sentences()[0]
    # What the sentence says works.
    table = sl.read({"x": values}, missing=[str(value)])
    assert table.columns["x"].null_count == 10
    assert not remarks(table).sentinels


def test_both_may_be_in_one_column():
    values = normal()
    values[::50], values[1] = -9999, 1e9
    result = found(values)
    assert [one.value for one in result.sentinels] == [-9999]
    assert result.outliers[0].rows.tolist() == [1]


@pytest.mark.parametrize(
    "values",
    [
        np.arange(1, 101), np.arange(-1000, 1001), [*range(18, 95), 99, 99, 99], [9.99, 19.99, 49.99, 99] * 20,
        [10, 50, 100, 999] * 20, [*range(60), -9999], [99] * 50, [0, 99] * 50, [-99, 5] * 40, np.arange(5000) * 2 + 1,
    ],
)  # fmt: skip
def test_numbers_of_nines_in_their_range_are_numbers(values):
    assert not found(values).sentinels


@pytest.mark.parametrize("seed", range(20))
def test_ordinary_columns_raise_no_alarm(seed):
    random, rows = np.random.default_rng(seed), 2000
    columns = {
        "normal": random.normal(size=rows), "skewed": random.lognormal(0, 1.5, rows), "counts": random.poisson(3.0, rows),
        "waiting": random.exponential(1.0, rows), "heavy": random.pareto(2.0, rows), "t": random.standard_t(3, rows),
        "zeros": np.where(random.random(rows) < 0.9, 0, random.lognormal(3, 1.0, rows)),
        "percent": random.integers(0, 100, rows), "signed": random.integers(-999, 1000, rows),
        "id": random.integers(0, 2**53, rows), "flag": random.integers(0, 2, rows), "rare": random.random(rows) < 0.002,
    }  # fmt: skip
    columns = {name: np.asarray(values, float) for name, values in columns.items()}
    table = sl.read(columns, kinds=dict.fromkeys(columns, "numeric"))
    assert remarks(table).sentences() == []


def test_many_columns_are_summarised():
    values = normal()
    values[0] = 1e9
    columns = {f"c{i}": values + i for i in range(8)}
    said = remarks(sl.read(columns)).sentences()
    assert len(said) == 6
    assert said[-1] == "3 more columns with values far from all others: 'c5', 'c6', 'c7'."


def test_few_values_are_not_judged():
    assert not found([1, 2, 3, 4, 5, 1e9, *[np.nan] * 50]).outliers
