"""Whether the day or the month comes first: decided by the values, by other columns, or asked for."""

import pytest

import sightline as sl
from sightline.errors import DataError, OptionError

EARLY = ["04/01/2026", "12/03/2026", "05/05/2026"] * 10  # no day is above 12
DAYS = ["31/12/2025", "04/01/2026", "28/02/2026"] * 10
MONTHS = ["12/31/2025", "01/04/2026", "02/28/2026"] * 10


def days(table, name="when"):
    return [table.cells(name, row)[:10] for row in range(2)]


@pytest.mark.parametrize(
    ("dates", "expected", "example"),
    [("day-first", ["2026-01-04", "2026-03-12"], "31/01/2026"),
     ("month-first", ["2026-04-01", "2026-12-03"], "01/31/2026")],
)  # fmt: skip
def test_what_may_be_both_is_refused_and_asked_for(dates, expected, example):
    columns = {"when": EARLY, "x": list(range(30))}
    with pytest.raises(DataError) as caught:
        sl.read(columns)
    for part in (
        "'when'",
        "'04/01/2026'",
        "--dates day-first",
        "--dates month-first",
        "2026-01-31",
    ):
        assert part in str(caught.value)
    table = sl.read(columns, dates=dates)
    assert days(table) == expected
    assert table.schema["when"].reason == f"dates written as {example}"
    assert sl.read(columns, kinds={"when": "categorical"}).schema["when"].kind == "categorical"
    assert sl.read(columns, drop=["when"]).rows == 30


@pytest.mark.parametrize(
    ("other", "expected"),
    [(DAYS, ["2026-01-04", "2026-03-12"]), (MONTHS, ["2026-04-01", "2026-12-03"])],
)
def test_other_columns_decide(other, expected):
    assert days(sl.read({"when": EARLY, "then": other})) == expected


def test_columns_that_disagree_do_not_decide():
    with pytest.raises(DataError, match="'when': '04/01/2026' may be day-first or month-first"):
        sl.read({"when": EARLY, "a": DAYS, "b": MONTHS})
    table = sl.read({"a": DAYS, "b": MONTHS})  # each of them is clear
    assert [table.schema[name].format for name in "ab"] == ["%d/%m/%Y", "%m/%d/%Y"]


@pytest.mark.parametrize(("dates", "column"), [("day-first", MONTHS), ("month-first", DAYS)])
def test_a_wrong_order_is_refused_with_the_value(dates, column):
    column = [column[1], *column]  # the first date may be both
    with pytest.raises(DataError, match=f"column 'when': '{column[1]}' is not written {dates}"):
        sl.read({"when": column}, dates=dates)
    with pytest.raises(OptionError, match="dates is 'first'"):
        sl.read({"when": column}, dates="first")


@pytest.mark.parametrize(
    "column", [["2026-01-31"] * 9, ["04.01.2026"] * 9, ["1/2"] * 9, ["a/b"] * 9, ["01/02/26"] * 9]
)
def test_other_texts_are_not_asked_about(column):
    sl.read({"when": column, "x": list(range(9))})


def test_a_bad_date_is_shown_the_form_by_an_example(tmp_path):
    table = sl.read({"when": DAYS, "y": ["a", "b", "c"] * 10})
    run = sl.fit(table, "y", quality="fast", quiet=True, report=False, run=tmp_path / "r", epochs=1)
    (bad,) = run.model.predictions({"when": "2026-01-31"}).bad
    assert bad.error == "column 'when': '2026-01-31' is not a date written like 31/01/2026"
    assert run.model.predictions({"when": ["04/01/2026", "13/01/2026"]}).bad == ()
