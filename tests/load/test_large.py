"""Tables that stay in their files: the same schema and values as in memory, and clear errors."""

import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sightline as sl
from sightline.contracts import ReadOptions
from sightline.errors import DataError, OptionError
from sightline.load import large as module
from sightline.load import limits
from sightline.load.large import LargeTable, drawn, read_within, row_keys
from sightline.load.limits import Budget

BUDGET = Budget(10**9)


def frame(rows, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=rows)
    return pd.DataFrame({
        "x": np.where(random.random(rows) < 0.1, np.nan, x), "whole": random.integers(0, 1000, rows),
        "flag": random.random(rows) < 0.3, "city": random.choice(["Oslo", "Rome", "Ürümqi"], rows),
        "day": pd.date_range("2024-01-01", periods=rows, freq="h"), "long": random.integers(2**60, 2**62, rows),
        "same": 7, "y": np.where(x > 0, "yes", "no"),
    })  # fmt: skip


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(limits, "LEAST_PIECE_ROWS", 50)
    monkeypatch.setattr(limits, "PIECE_SHARE", 0)


@pytest.fixture(params=["parquet", "csv", "csv.gz", "folder"])
def path(request, tmp_path):
    table = frame(300)
    if request.param == "folder":
        folder = tmp_path / "t"
        folder.mkdir()
        for part in range(3):
            table[part * 100 : (part + 1) * 100].to_parquet(folder / f"{part}.parquet", index=False)
        return folder
    path = tmp_path / f"t.{request.param}"
    if request.param == "parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False)
    return path


def test_schema_and_values_are_those_in_memory(path, small_pieces):
    memory, large = sl.read(path), LargeTable.open(path, ReadOptions(), BUDGET)
    assert large.rows == memory.rows
    for mine, other in zip(large.schema.columns, memory.schema.columns, strict=True):
        assert (mine.name, mine.kind, mine.role, mine.reason) == (
            other.name,
            other.kind,
            other.role,
            other.reason,
        )
    names = [column.name for column in large.schema.columns]
    pieces = list(large.pieces(names))
    assert len(pieces) > 1 or "csv" in path.name
    assert sum(piece.rows for piece in pieces) == 300
    hashes = np.concatenate([piece.row_hashes(names) for piece in pieces])
    assert (hashes == memory.row_hashes(names)).all()


def test_some_columns_of_all_rows(path):
    memory, large = sl.read(path), LargeTable.open(path, ReadOptions(), BUDGET)
    narrow = large.columns_of(["city", "long"])
    assert list(narrow.columns) == ["city", "long"]
    assert (narrow.row_hashes(["city", "long"]) == memory.row_hashes(["city", "long"])).all()


def test_options_of_reading_count(tmp_path):
    (tmp_path / "t.csv").write_text("a;b;c\n" + "1,5;-;x\n2,5;2;y\n" * 30)
    options = ReadOptions(missing=["-"], drop=["c"], kinds={"b": "categorical"}, decimal=",")
    large, memory = (
        LargeTable.open(tmp_path / "t.csv", options, BUDGET),
        sl.read(tmp_path / "t.csv", **vars(options)),
    )
    assert [(c.name, c.kind) for c in large.schema.columns] == [
        ("a", "numeric"),
        ("b", "categorical"),
    ]
    assert (
        next(large.pieces(["a", "b"])).row_hashes(["a", "b"]) == memory.row_hashes(["a", "b"])
    ).all()
    assert dict(large.sample.options) == dict(memory.options)


def test_numbers_of_two_types_in_two_parts(tmp_path):
    pq.write_table(
        pa.table({"x": pa.array([1, 2], pa.int32()), "y": ["a", "b"]}), tmp_path / "a.parquet"
    )
    pq.write_table(pa.table({"x": [0.5, None], "y": ["a", "b"]}), tmp_path / "b.parquet")
    large = LargeTable.open(tmp_path, ReadOptions(), BUDGET)
    assert large.columns_of(["x"]).numbers("x").tolist()[:3] == [1.0, 2.0, 0.5]


def test_the_folder_is_left_as_it_was(tmp_path):
    frame(200).to_csv(tmp_path / "t.csv", index=False)
    LargeTable.open(tmp_path / "t.csv", ReadOptions(), BUDGET, tmp_path)
    assert os.listdir(tmp_path) == ["t.csv"]


# ------------------------------------------------------------- bad input


def test_a_bad_value_far_down_a_text_file_is_named_with_its_line(tmp_path):
    rows = "".join(f"{i}.5,a\n" for i in range(3_000))
    for part in range(3):
        text = rows if part < 2 else rows.replace("\n2500.5,", "\noops,")
        (tmp_path / f"part{part}.csv").write_text("x,y\n" + text)
    with pytest.raises(DataError) as caught:
        LargeTable.open(tmp_path, ReadOptions(), BUDGET)
    assert (
        f"{tmp_path / 'part2.csv'}, line 2,502, column 'x': 'oops' is not a finite number"
        in str(caught.value)
    )
    assert "kinds={'x': 'categorical'}" in caught.value.fix
    skipped = LargeTable.open(tmp_path, ReadOptions(on_bad_rows="skip"), BUDGET)
    assert (skipped.rows, skipped.sample.skipped) == (8_999, 1)


def test_a_bad_value_in_a_parquet_part_is_named_with_its_row(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LEAST_PIECE_ROWS", 100)
    monkeypatch.setattr(limits, "PIECE_SHARE", 0)
    monkeypatch.setattr(module, "SCHEMA_ROWS", 50)
    for part in range(2):
        x = np.arange(1_000.0)
        x[777] = np.inf if part else 0
        pd.DataFrame({"x": x + 0.5, "y": "a"}).to_parquet(tmp_path / f"{part}.parquet")
    large = LargeTable.open(tmp_path, ReadOptions(), BUDGET)
    with pytest.raises(DataError) as caught:
        list(large.pieces(["x"]))
    assert f"{tmp_path / '1.parquet'}, row 777, column 'x': 'inf' is not a finite number" in str(
        caught.value
    )
    skipped = LargeTable.open(tmp_path, ReadOptions(on_bad_rows="skip"), BUDGET)
    assert (skipped.rows, skipped.sample.skipped) == (1_999, 1)


def test_a_part_with_another_type_is_named(tmp_path):
    pd.DataFrame({"x": [1.5], "y": ["a"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"x": ["one"], "y": ["a"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(
        DataError,
        match=r"b\.parquet, column 'x': it holds (large_)?string, where .*a\.parquet has double",
    ):
        LargeTable.open(tmp_path, ReadOptions(), BUDGET)


def test_a_part_with_other_columns_is_named(tmp_path):
    pd.DataFrame({"x": [1.5], "y": ["a"]}).to_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"z": [1.5], "y": ["a"]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(
        DataError, match=r"b\.parquet and .*a\.parquet have different columns: 'x', 'z'"
    ):
        LargeTable.open(tmp_path, ReadOptions(), BUDGET)


def test_a_part_that_vanishes_is_named(tmp_path):
    for part in range(2):
        frame(100).to_parquet(tmp_path / f"{part}.parquet")
    large = LargeTable.open(tmp_path, ReadOptions(), BUDGET)
    pieces = large.pieces(["x"])
    next(pieces)
    (tmp_path / "1.parquet").unlink()
    with pytest.raises(DataError, match=r"1\.parquet cannot be read as Parquet"):
        list(pieces)


def test_a_part_that_is_cut_short_is_named(tmp_path):
    frame(100).to_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read piece by piece"):
        LargeTable.open(tmp_path / "t.parquet", ReadOptions(), BUDGET)


def test_a_source_in_memory_cannot_stay_in_files():
    with pytest.raises(DataError, match="cannot be read piece by piece"):
        LargeTable.open({"x": [1]}, ReadOptions(), BUDGET)  # type: ignore[arg-type]


def test_no_space_for_the_rows_of_text_files(tmp_path, monkeypatch):
    frame(200).to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000))
    with pytest.raises(
        DataError, match=r"The rows as Parquet need .* of disk in .*, where 0 bytes are free"
    ):
        LargeTable.open(tmp_path / "t.csv", ReadOptions(), BUDGET, tmp_path)


def test_a_limit_that_is_too_small_is_refused_before_reading(tmp_path, monkeypatch):
    frame(200).to_parquet(tmp_path / "t.parquet")
    monkeypatch.setattr(module, "pieces", None)
    with pytest.raises(OptionError, match="too small for 200 rows"):
        LargeTable.open(tmp_path / "t.parquet", ReadOptions(), Budget(1_000))


# ------------------------------------------------------------- in memory, or not


def test_the_size_and_the_limit_decide(tmp_path):
    frame(200).to_parquet(tmp_path / "t.parquet")
    needed = limits.estimate(tmp_path / "t.parquet", limits.RawRequest()).bytes
    assert isinstance(read_within(tmp_path / "t.parquet", ReadOptions(), needed), sl.Table)
    with pytest.raises(
        OptionError, match="too small"
    ):  # it does not fit, and is too little for any table
        read_within(tmp_path / "t.parquet", ReadOptions(), needed - 1)
    table = sl.read(tmp_path / "t.parquet")
    assert read_within(table, ReadOptions(), 1) is table
    assert isinstance(read_within({"x": [1, 2], "y": ["a", "b"]}, ReadOptions(), 1), sl.Table)


def test_rows_are_drawn_by_their_number_alone():
    whole = drawn(5, 0, 10_000, 0.2)
    assert (np.concatenate([drawn(5, 0, 3_333, 0.2), drawn(5, 3_333, 6_667, 0.2)]) == whole).all()
    assert abs(whole.mean() - 0.2) < 0.02
    assert (whole != drawn(6, 0, 10_000, 0.2)).any()
    assert len(np.unique(row_keys(0, 0, 100_000))) == 100_000


# ------------------------------------------------------------- columns of other kinds


def test_lists_and_bytes_are_ignored_as_in_memory(tmp_path):
    table = pa.table(
        {"x": [1.5, 2.5] * 20, "l": [[1], [2]] * 20, "b": [b"a", b"b"] * 20, "y": ["a", "b"] * 20}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    large, memory = (
        LargeTable.open(tmp_path / "t.parquet", ReadOptions(), BUDGET),
        sl.read(tmp_path / "t.parquet"),
    )
    names = ["x", "l", "b", "y"]
    assert [large.schema[name].role for name in names] == [
        memory.schema[name].role for name in names
    ]
    assert (next(large.pieces(names)).row_hashes(names) == memory.row_hashes(names)).all()


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays(
        [pa.array([1.0]), pa.array([2.0]), pa.array(["a"])], names=["a", "a", "y"]
    )
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet has two columns of the name 'a'"):
        LargeTable.open(tmp_path / "t.parquet", ReadOptions(), BUDGET)


def test_a_long_integer_that_the_sample_did_not_draw(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SCHEMA_ROWS", 100)
    late = int(np.flatnonzero(~drawn(0, 0, 2_000, 100 / 2_000))[-1])
    values = np.arange(2_000) * 7 % 1_999
    (tmp_path / "t.csv").write_text(
        "x,y\n" + "".join(f"{2**60 + 1 if i == late else v},a\n" for i, v in enumerate(values))
    )
    large = LargeTable.open(tmp_path / "t.csv", ReadOptions(), BUDGET)
    assert large.columns_of(["x"]).numbers("x").max() == 2.0**60
