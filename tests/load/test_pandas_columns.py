"""What pandas, numpy and databases put into a frame: taken where the meaning is plain."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

import sightline as sl
from sightline.errors import DataError

AGES = pd.cut(np.arange(60) % 50, [-1, 20, 35, 50])
CLASSES = np.where(np.arange(60) % 50 > 20, "b", "a")
FAST = {"quality": "fast", "quiet": True, "report": False, "epochs": 1}

COLUMNS = {
    "interval": (pd.Series(AGES), "categorical", "(-1, 20]"),
    "interval dtype": (pd.Series(pd.arrays.IntervalArray(AGES)), "categorical", "(-1, 20]"),
    "period": (pd.Series(pd.period_range("2000-01", periods=60, freq="M")), "datetime", "2000-01-01 00:00:00"),
    "period objects": (pd.Series(list(pd.period_range("2000-01", periods=60, freq="M")), dtype=object), "datetime",
                       "2000-01-01 00:00:00"),
    "sparse": (pd.Series(pd.arrays.SparseArray(np.arange(60) % 7)), "numeric", 0),
    "numpy scalars and words": (pd.Series([np.int64(n % 9) if n % 9 else "n/a" for n in range(60)], dtype=object),
                                "categorical", "n/a"),
    "numpy scalars": (pd.Series([np.float32(n) for n in range(0, 120, 2)], dtype=object), "numeric", 0),
    "decimals": (pd.Series([decimal.Decimal(f"{n}.5") for n in range(60)], dtype=object), "numeric", 0.5),
    "dates and words": (pd.Series([pd.Timestamp("2024-01-01") if n % 2 else "never" for n in range(60)], dtype=object),
                        "categorical", "never"),
    "flags and words": (pd.Series([n % 3 == 1 if n % 3 else "unknown" for n in range(60)], dtype=object),
                        "categorical", "unknown"),
    "dates": (pd.Series([dt.date(2024, 1, 1 + n % 28) for n in range(60)], dtype=object), "datetime",
              "2024-01-01 00:00:00"),
    "category of digits": (pd.Series(pd.Categorical([str(n % 3) for n in range(60)])), "categorical", "0"),
    "category of numbers": (pd.Series(pd.Categorical([n % 3 for n in range(60)])), "categorical", "0"),
    "nullable": (pd.Series(pd.array([None, *range(59)], "Int64")), "numeric", None),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_means_the_same_in_read_fit_and_the_estimators(name, tmp_path):
    column, kind, first = COLUMNS[name]
    frame = pd.DataFrame({"c": column, "noise": np.arange(60) % 7, "y": CLASSES})
    table = sl.read(frame)
    assert table.schema["c"].kind == kind
    assert table.cells("c", 0) == first
    assert sl.read({"c": column}).cells("c", 0) == first
    model = sl.fit(frame, "y", run=tmp_path / "r", **FAST).model
    assert len(model.predict(frame)) == 60
    assert model.predict(frame.iloc[3]).shape == (1,)


def test_only_doubled_names_are_listed():
    frame = pd.DataFrame(np.ones((3, 4)), columns=["a", "b", "a", "c"])
    for use in (sl.read, lambda X: sl.SightlineRegressor().fit(X, [1.0, 2.0, 3.0])):
        with pytest.raises(DataError, match=r"more than one column of the name 'a'\. Rename"):
            use(frame)


def test_all_missing_columns_are_named_at_once(tmp_path):
    columns = {name: [n % (5 + i) for n in range(60)] for i, name in enumerate("abcd")}
    model = sl.fit({**columns, "y": CLASSES}, "y", run=tmp_path / "r", **FAST).model
    with pytest.raises(
        DataError,
        match=r"has no columns 'a', 'c', 'd', which the model needs\. Its columns are: 'b'",
    ):
        model.predict({"b": [1, 2]})
    with pytest.raises(
        DataError, match=r"has no column 'd', which the model needs\. Did you mean 'dd'"
    ):
        model.predict({**{name: [1] for name in "abc"}, "dd": [1]})


def test_one_row_of_a_frame_is_a_series(tmp_path):
    frame = pd.DataFrame({"a": np.arange(60) % 7 / 2, "k": ["u", "v", "w"] * 20, "y": CLASSES})
    model = sl.fit(frame, "y", run=tmp_path / "r", **FAST).model
    assert model.predict(frame.iloc[3]).tolist() == model.predict(frame.iloc[[3]]).tolist()
    assert model.explain(frame.iloc[3]).prediction == model.predict(frame.iloc[3])[0]
    for series in (frame["a"], pl.Series([1.0])):
        with pytest.raises(DataError, match=r"one Series.*data\.iloc\[\[number\]\] for a row"):
            model.predict(series)
