"""What a column becomes, and why."""

import datetime as dt
import decimal
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import sightline as sl
from sightline.contracts import Column
from sightline.errors import DataError, OptionError
from sightline.load.kinds import type_column

DAY = dt.datetime(2020, 1, 2)


@pytest.mark.parametrize(
    ("values", "kind", "role", "reason"),
    [
        (["1", "2", "1"], "numeric", "feature", "2 different values"),
        ([1, 2, 1], "numeric", "feature", "quantities"),
        ([1.5, None, 2.5], "numeric", "feature", "numbers"),
        (["1"] * 150 + ["2"] * 149 + ["?"], "numeric", "feature", "whole numbers"),
        (["01234", "99999"], "categorical", "feature", "leading zeros, such as 01234"),
        (["1", "2", "x"], "categorical", "feature", "some are not, such as 'x'"),
        (["true", "FALSE", ""], "boolean", "feature", "true or false"),
        ([True, None, False], "boolean", "feature", "true or false"),
        (["2020-01-02", "2020-02-03"], "datetime", "feature", "dates"),
        (["31/12/2020", "01/02/2020"], "datetime", "feature", "dates written as 31/01/2026"),
        ([DAY, DAY + dt.timedelta(1)], "datetime", "feature", "dates"),
        ([None, None], "categorical", "ignored", "all values are missing"),
        (["", ""], "categorical", "ignored", "all values are missing"),
        (["x", "x"], "categorical", "ignored", "one value in every row: x"),
        ([3, 3], "numeric", "ignored", "one value in every row: 3"),
        (["x", None], "categorical", "feature", "1 different value"),
        (list(range(100)), "numeric", "ignored", "numbers the rows"),
        ([f"u{i}" for i in range(30)], "categorical", "ignored", "every value is different"),
        ([f"word{i} in a sentence" for i in range(30)], "text", "feature", "words"),
        ([f"u{i % 20}" for i in range(30)], "text", "feature", "20 different values in 30 rows"),
        ([f"c{i % 3000}" for i in range(9000)], "categorical", "feature", "3,000 different"),
        ([[1], [2]], "categorical", "ignored", "holds lists (list<item: int64>), which a model"),
        ([{"a": 1}, None], "categorical", "ignored", "holds structs (struct<a: int64>)"),
        ([b"x", b"y"], "categorical", "ignored", "holds bytes (binary)"),
    ],
)
def test_kinds_and_reasons(values: list, kind: str, role: str, reason: str) -> None:
    column = sl.read({"column": values, "other": [0] * len(values)}).schema["column"]
    assert (column.kind, column.role) == (kind, role)
    assert reason in column.reason


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (["1.352,50", "1,352.50", "947,00"], "'1,352.50' is a point and that of '1.352,50' a comma"),
        (["$3.50", "4 €", "$12.25"], "look like numbers, but some are in $ and others in €"),
        (["5 %", "10 %", "0.2"], "look like numbers, but only some are per cent"),
        (["(5)", "(7)"], "all are whole numbers in brackets"),
        (["2020-01-31", "31.01.2020"],
         "look like dates in several formats, such as '2020-01-31' and '31.01.2020'"),
        ([*(f"{n / 7:.3f}" for n in range(90)), "n.v.", "n.v."],
         "most are numbers, but some are not, such as 'n.v.': if that means missing"),
        (["red", "NA", "blue"], "'NA' is one of them: if it means missing"),
        ([f"u{i % 20}" for i in range(30)], "if it only identifies the row, drop it"),
    ],
)  # fmt: skip
def test_what_a_text_may_have_been_meant_to_be(values: list, hint: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert hint in sl.read({"column": values, "other": values}).schema["column"].reason
    assert len(caught) == (2 if "n.v." in values else 0)  # these are text: one for each column
    assert all(hint in str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    "values",
    [["192.168.0.12", "192.168.0.13"], ["+49 30 1234", "+49 30 1235"], ["1-2", "3-4"],
     ["2020-01-31", "soon"], ["red", "none"], ["01", "02", "x"]],
)  # fmt: skip
def test_texts_that_look_like_nothing_else_get_no_hint(values: list) -> None:
    reason = sl.read({"column": values, "other": values}).schema["column"].reason
    assert not any(word in reason for word in ("look like", "missing"))


def test_a_text_that_was_not_named_as_missing_gets_no_hint() -> None:
    values = ["red", "NA", "gone"] * 3
    reason = sl.read({"column": values, "other": values}, missing=["gone"]).schema["column"].reason
    assert "missing" not in reason


def test_an_id_by_its_name() -> None:
    values = [i * 7 for i in range(50)]
    table = sl.read({"user_id": values, "speed": values})
    assert table.schema["user_id"].role == "ignored"
    assert "identifier" in table.schema["user_id"].reason
    assert table.schema["speed"].role == "feature"


@pytest.mark.parametrize("nan", [float("nan"), None])
def test_nan_is_missing_from_every_source(nan: float | None, tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\nnan,y\n2.5,z\n")
    sources = [path, pl.DataFrame({"a": [1.0, nan, 2.5]}), pa.table({"a": [1.0, nan, 2.5]}),
               np.array([[1], [np.nan], [2.5]]), {"a": [1.0, nan, 2.5]}]  # fmt: skip
    for source in sources:
        table = sl.read(source)
        name = table.schema.columns[0].name
        assert table.columns[name].null_count == 1
        assert [table.cells(name, row) for row in range(3)] == [1, None, 2.5]


@pytest.mark.parametrize(
    ("data", "kind", "cells"),
    [
        (pd.Series(pd.array([1, None], "Int64")), "numeric", [1, None]),
        (pd.Series(pd.Categorical([1, 2])), "categorical", ["1", "2"]),
        (pd.Series(pd.Categorical(["x", None])), "categorical", ["x", None]),
        (pd.Series(pd.Categorical([1.5, 2])), "categorical", ["1.5", "2"]),
        (pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"]).tz_localize("Asia/Tokyo")),
         "datetime", ["2019-12-31 15:00:00", "2020-01-01 15:00:00"]),
        (pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"])), "categorical", ["x", "y"]),
        (pl.Series([dt.timedelta(1), None]), "numeric", [86400, None]),
        (pl.Series([dt.time(1), None]), "numeric", [3600, None]),
        (pl.Series([decimal.Decimal("1.5"), None]), "numeric", [1.5, None]),
        (pl.Series([1, 2**64 - 1], dtype=pl.UInt64), "numeric", [1, 2**64 - 1]),
        (pl.Series([b"x", b"y"]), "categorical", [None, None]),
        (pd.Series(pd.interval_range(0, 2)), "categorical", ["(0, 1]", "(1, 2]"]),
        (pa.array([True, False]).dictionary_encode(), "categorical", ["true", "false"]),
        (pa.array([(1, 2, 3)] * 2, pa.month_day_nano_interval()), "categorical", [None, None]),
        (pa.array([b"0123456789abcdef"] * 2, pa.uuid()), "categorical", [None, None]),
        (pa.array(["x", "y"], pa.string_view()), "categorical", ["x", "y"]),
    ],
)  # fmt: skip
def test_odd_types(data, kind: str, cells: list) -> None:
    if isinstance(data, pa.Array):
        source = pa.table({"a": data})
    else:
        source = (pl if isinstance(data, pl.Series) else pd).DataFrame({"a": data})
    table = sl.read(source)
    assert table.schema["a"].kind == kind
    assert [table.cells("a", row) for row in range(2)] == cells


def test_labels_of_a_categorical_keep_their_type() -> None:
    frame = pd.DataFrame({"y": pd.Categorical([3, 5] * 20), "x": np.random.rand(40)})
    splits = sl.split(sl.read(frame), "y")
    assert splits.target.classes == (3, 5)
    assert splits.labels().tolist() == [0, 1] * 20


def test_kinds_are_obeyed() -> None:
    table = sl.read({"zip": [1, 2], "n": ["1", "2"], "b": [0, 1], "d": ["2020-01-01", ""]},
                    kinds={"zip": "categorical", "n": "text", "b": "boolean", "d": "datetime"})  # fmt: skip
    assert [c.kind for c in table.schema.columns] == ["categorical", "text", "boolean", "datetime"]
    assert all("as requested" in c.reason for c in table.schema.columns)
    for kind in ("numeric", "datetime", "boolean", "categorical"):
        column = sl.read({"a": [None, None]}, kinds={"a": kind}).schema["a"]
        assert (column.kind, column.role) == (kind, "feature")


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ([1, 2], "datetime", "'a' holds plain numbers"),
        ([True, False], "datetime", "'a' holds true and false"),
        ([DAY, DAY], "numeric", "'a' holds dates: it cannot be read as numeric"),
        ([DAY, DAY], "boolean", "'a' holds dates: it cannot be read as boolean"),
        (["x", "y"], "datetime", "'a' cannot be read as dates: 'x'"),
        ([[1], [2]], "numeric", "'a' holds list"),
        (["x", "1"], "numeric", "row 0, column 'a': 'x' is not a finite number"),
        (["yes", "true"], "boolean", "row 0, column 'a': 'yes' is not a truth value"),
        ([0, 2], "boolean", "row 1, column 'a': '2' is not a truth value"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused(values: list, kind: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        sl.read({"a": values}, kinds={"a": kind})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [({"a": "numbr"}, "Did you mean 'numeric'"), (["a"], "Give a dict"), ("a", "Give a dict"),
     ({"b": "numeric"}, "no column 'b'")],
)  # fmt: skip
def test_kinds_that_do_not_exist(kinds, said: str) -> None:
    with pytest.raises(OptionError) as caught:
        sl.read({"a": [1, 2]}, kinds=kinds)
    assert said in str(caught.value)


def test_moments_beyond_the_calendar() -> None:
    with pytest.raises(DataError, match=r"column 'a'.*is not a date"):
        sl.read(pa.table({"a": pa.array([2**62, 1], pa.timestamp("us"))}))
    with pytest.raises(DataError, match=r"Column 'a'.*out of bounds.*Correct the date"):
        sl.read(pa.table({"a": pa.array([2**62, 1], pa.timestamp("s"))}))


def test_infinity_is_a_bad_value() -> None:
    with pytest.raises(DataError, match="row 1, column 'a': 'inf' is not a finite number"):
        sl.read({"a": [1.0, float("inf")]})
    assert sl.read({"a": [1.0, float("inf"), 2]}, on_bad_rows="skip").skipped == 1
    assert sl.read({"a": [1.0, float("inf"), 2]}, missing=["inf"]).columns["a"].null_count == 1


@pytest.mark.parametrize(
    "data", [[1, -999, 3], [1.5, -999, 3], ["1", "-999", "3"], [1, -999, None]]
)
def test_a_number_may_mean_missing(data: list) -> None:
    table = sl.read({"a": data, "b": ["x", "NA", "y"]}, missing=["-999"])
    assert table.cells("a", 1) is None
    assert table.cells("a", 0) is not None
    assert table.cells("b", 1) == "NA"
    for token in ("1e30", "-1"):
        frame = pl.DataFrame({"a": pl.Series([2**64 - 1, 1], dtype=pl.UInt64)})
        assert sl.read(frame, missing=[token]).columns["a"].null_count == 0


def test_missing_texts_replace_the_default() -> None:
    values = {"a": ["1", "NA", "3"] * 40, "b": ["x", "none", "y"] * 40}
    table = sl.read(values, missing="none")
    assert table.schema["a"].kind == "categorical"
    assert table.cells("b", 1) is None
    assert sl.read(values).schema["a"].kind == "numeric"


@pytest.mark.parametrize("kind", ["numeric", "boolean", "datetime", "categorical"])
def test_nothing_has_the_kind_it_had_at_training(kind: str) -> None:
    known = Column("a", kind, "feature", "", "string")
    typed = type_column("a", pa.chunked_array([pa.nulls(2)]), known=known)
    assert typed.column is known
    assert typed.data.null_count == 2
    assert not typed.bad
    assert pa.types.is_dictionary(typed.data.type) == (kind == "categorical")


def test_one_impossible_date_among_few_days_is_a_bad_row():
    """What counts is rows, not different values: 1 of 29 days is written wrongly, in 1 of 600 rows."""
    days = [f"2024-01-{1 + n % 28:02d}" for n in range(600)]
    days[77] = "2024-13-45"
    with pytest.raises(DataError, match="'2024-13-45' is not a date"):
        sl.read({"day": days, "y": [1, 2] * 300})
    table = sl.read({"day": days, "y": [1, 2] * 300}, on_bad_rows="skip")
    assert (table.schema["day"].kind, table.skipped) == ("datetime", 1)
    days[:7] = ["soon"] * 7  # more than one in a hundred: words
    assert sl.read({"day": days, "y": [1, 2] * 300}).schema["day"].kind == "categorical"
