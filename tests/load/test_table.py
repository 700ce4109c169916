"""A table in memory, and rows read as a model knows them."""

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataError, OptionError
from sightline.load.table import join, read_like, subset

VALUES = {"n": [1.5, None, -0.0], "w": ["x", None, "z"], "b": [True, None, False],
          "d": ["2020-01-01", "", "2020-01-02 03:04:05"]}  # fmt: skip


def test_values_by_kind() -> None:
    table = sl.read(VALUES)
    assert np.isnan(table.numbers("n")).tolist() == [False, True, False]
    assert table.flags("b").tolist() == [1, -1, 0]
    assert table.words("w").to_pylist() == ["x", None, "z"]
    assert table.moments("d")[0] == 1_577_836_800_000_000
    assert table.cells("d", 2) == "2020-01-02 03:04:05"
    assert table.row(1) == dict.fromkeys("nwbd")
    assert [said["missing"] for said in table.summary()] == [1, 1, 1, 1]
    assert "2020-01-01 00:00:00 to 2020-01-02 03:04:05" in table.summary()[3]["values"]


def test_the_fingerprint_sees_every_value_and_the_order_of_rows() -> None:
    first = sl.read(VALUES).fingerprint()
    assert sl.read(dict(reversed(VALUES.items()))).fingerprint() == first
    assert sl.read({**VALUES, "n": [1.5, None, 0.0]}).fingerprint() == first
    for name, changed in [("n", [1.5, 0, 0]), ("w", ["x", "y", "z"]), ("b", [True, True, False])]:
        assert sl.read({**VALUES, name: changed}).fingerprint() != first
    turned = {name: values[::-1] for name, values in VALUES.items()}
    assert sl.read(turned).fingerprint() != first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"drop": ["m"]}, "no column 'm'"),
        ({"drop": ["n", "w", "b", "d"]}, "no columns left: all are in drop. Drop fewer"),
        (
            {"on_bad_rows": "ignore"},
            "on_bad_rows is 'ignore'. The values of on_bad_rows are: 'error', 'skip'",
        ),
    ],
)
def test_options_are_checked(options: dict, said: str) -> None:
    with pytest.raises((OptionError, DataError)) as caught:
        sl.read(VALUES, **options)
    assert said in str(caught.value)
    assert "n" not in sl.read(VALUES, drop="n").columns


def test_no_row_left(tmp_path) -> None:
    with pytest.raises(
        DataError, match=r"Every row of .* has a value that does not fit its column's kind"
    ):
        sl.read({"a": ["x", "y"]}, kinds={"a": "numeric"}, on_bad_rows="skip")


def test_rows_for_a_model(tmp_path) -> None:
    train = sl.read({"n": [1.5, 2], "d": ["2020-01-01", "2020-01-02"], "y": ["a", "b"]})
    path = tmp_path / "new.csv"
    path.write_text("id,d,n,y\n1,2020-01-05,7,a\n2,soon,many,b\n3\n4,,,?\n")
    rows = read_like(path, train.schema, keep=["id"])
    assert rows.rows == 4
    assert rows.words("id").to_pylist() == ["1", "2", None, "4"]
    assert rows.numbers("n")[0] == 7
    errors = dict(rows.bad)
    assert sorted(errors) == [1, 2]
    assert "'many' is not a finite number" in errors[1]
    assert "'soon' is not a date" in errors[1]
    assert "line 4: 1 cells" in errors[2]
    assert read_like({**VALUES, "y": ["a"] * 3}, train.schema).extra == ("w", "b")


def test_some_rows_keep_what_cannot_be_read_and_where_it_is(tmp_path) -> None:
    train = sl.read({"n": [1.5, 2], "y": ["a", "b"]})
    path = tmp_path / "new.csv"
    path.write_text("n,y\n1,a\nmany,b\n3,a\n4,b\nmore,a\n")
    table = read_like(path, train.schema)
    assert [row for row, _ in table.bad] == [1, 4]
    some = subset(table, np.array([4, 0, 1, 3, 4]))
    assert [row for row, _ in some.bad] == [0, 2, 4]
    assert [("more" in error, "many" in error) for _, error in some.bad] == [(True, False), (False, True), (True, False)]  # fmt: skip
    assert [some.locate(row, "n")[1] for row in range(5)] == ["more", "1", "many", "4", "more"]
    again = subset(some, np.array([3, 2]))
    assert [(row, "many" in error) for row, error in again.bad] == [(1, True)]
    assert again.locate(0, "n") == table.locate(3, "n")
    assert subset(table, np.array([0, 3])).bad == ()


def test_rows_that_are_skipped_do_not_shift_the_others(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("n,y\nmany,a\n2,b\n3,a\n")
    table = sl.read(path, kinds={"n": "numeric"}, on_bad_rows="skip")
    assert (table.rows, table.skipped, table.bad) == (2, 1, ())
    assert [table.locate(row, "n")[1] for row in range(2)] == ["2", "3"]


def test_columns_of_other_roles_are_read_on_request() -> None:
    values = {"n": [1.5, 2.5], "site": [1.0, 2.0], "w": [0.5, 2.5], "y": ["a", "b"]}
    table = sl.read({name: pair * 10 for name, pair in values.items()}, kinds={"site": "numeric"})
    schema = sl.split(table, "y", group="site", weight="w", valid=0, test=0).table.schema
    new = {"n": ["1.5", "2"], "site": ["1", "far"], "w": ["3", "4.5"], "y": ["a", "b"]}
    assert read_like(new, schema).extra == ("site", "w")
    rows = read_like(new, schema, roles=("group", "weight"))
    assert (rows.extra, rows.bad) == ((), ())  # a group that cannot be read is missing
    assert [rows.schema[name].role for name in ("site", "w")] == ["group", "weight"]
    assert rows.numbers("w").tolist() == [3, 4.5]
    assert rows.columns["site"].is_valid().to_pylist() == [True, False]
    del new["site"]
    assert "site" not in read_like(new, schema, roles=("group", "weight")).columns


def test_a_model_misses_its_columns() -> None:
    schema = sl.read({"age": [1, 2], "y": ["a", "b"]}).schema
    with pytest.raises(DataError, match=r"no column 'age', which the model needs.*'ages'"):
        read_like({"ages": [1], "y": ["a"]}, schema)
    with pytest.raises(OptionError, match="no column 'id'"):
        read_like({"age": [1], "y": ["a"]}, schema, keep=["id"])


def test_tables_join_whole_and_broken_numbers() -> None:
    both = join(sl.read({"a": [1, 2], "w": ["x", "y"]}), sl.read({"a": [1.5, 2], "w": ["z", "x"]}))
    assert both.numbers("a").tolist() == [1, 2, 1.5, 2]
    assert both.words("w").to_pylist() == ["x", "y", "z", "x"]


def test_a_column_of_lists_is_unsupported_and_not_missing(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"x": 1.5, "v": [1, 2], "y": "a"}\n{"x": 2.5, "v": null, "y": "b"}\n' * 10)
    table = sl.read(path)
    assert table.schema["v"].role == "ignored"
    told = next(column for column in table.summary() if column["name"] == "v")
    assert (told["missing"], told["share_missing"]) == (10, 0.5)
    assert (told["values"], told["histogram"]) == ("(lists)", None)
    assert "holds lists" in told["reason"]
    assert "turn them into columns of numbers or text" in told["reason"]
    with pytest.raises(DataError, match=r"holds lists .*cannot be read as numeric.*drop it"):
        sl.read(path, kinds={"v": "numeric"})
    for role in ({"target": "v"}, {"target": "y", "group": "v"}, {"target": "y", "weight": "v"}):
        with pytest.raises(DataError, match=r"'v' cannot be the \w+: it holds lists"):
            sl.split(table, **role)


def test_values_of_lists_are_in_no_fingerprint():
    """They were not, when lists were read as missing: tables of old runs are still recognised."""
    tables = [sl.read({"x": [1.5, 2.5], "v": v}) for v in ([[1], [2]], [[3], None])]
    assert tables[0].fingerprint() == tables[1].fingerprint()
