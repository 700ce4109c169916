import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.csv import write_csv

import sightline as sl
from sightline.contracts import Column
from sightline.load.histograms import (
    HISTOGRAM_BINS,
    HISTOGRAM_ROWS,
    bins,
    histogram,
    most_frequent,
    span,
)
from sightline.load.values import from_floats

INT64 = st.integers(-(2**63), 2**63 - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def column(kind, values="float"):
    return Column("x", kind, "feature", "", values)


def of(kind, data, values="float"):
    return histogram(column(kind, values), pa.chunked_array([data]))


def spread(**columns):
    """The histograms of a table's columns."""
    found = sl.read(columns).summary()
    json.dumps(found, allow_nan=False)
    return {one["name"]: one["histogram"] for one in found}


@given(st.lists(st.none() | st.floats(allow_nan=False)))
def test_counts_add_up_to_the_finite_rows(numbers):
    found = of("numeric", pa.array(numbers, pa.float64()))
    finite = [n for n in numbers if n is not None and np.isfinite(n)]
    if not finite:
        assert found is None
        return
    assert len(found["counts"]) == HISTOGRAM_BINS
    assert sum(found["counts"]) == len(finite)
    if min(finite) < max(finite):
        assert found["counts"][0]
        assert found["counts"][-1]
        assert found["low"] == f"{min(finite):,.6g}" or abs(min(finite)) >= 10**12
    else:
        assert found["counts"][0] == len(finite)


@given(st.lists(INT64, min_size=2), st.sampled_from([pa.int64(), pa.uint64()]))
def test_huge_integers_fall_into_exact_bins(numbers, arrow):
    numbers = [n + 2**63 for n in numbers] if pa.types.is_unsigned_integer(arrow) else numbers
    low, high = min(numbers), max(numbers)
    found = of("numeric", pa.array(numbers, arrow), "integer")
    assert sum(found["counts"]) == len(numbers)
    if high - low < 2**53 and high > low:  # such shares a float64 holds to the last bit
        wanted = [
            min(int((n - low) / (high - low) * HISTOGRAM_BINS), HISTOGRAM_BINS - 1) for n in numbers
        ]
        assert found["counts"] == np.bincount(wanted, minlength=HISTOGRAM_BINS).tolist()


def test_identifiers_behind_one_another_are_not_one_value():
    found = of("numeric", pa.array(range(2**60, 2**60 + 40)), "integer")
    assert found["counts"] == [2] * HISTOGRAM_BINS


@pytest.mark.parametrize("arrow", [pa.int8(), pa.int16(), pa.uint8(), pa.int32(), pa.float32()])
def test_every_type_of_number(arrow):
    found = of("numeric", pa.array([0, 100, None, 50], arrow), "integer")
    assert (found["low"], found["high"]) == ("0", "100")
    assert [found["counts"][place] for place in (0, 10, 19)] == [1, 1, 1]
    assert sum(found["counts"]) == 3


def test_a_span_that_no_float_holds_and_the_smallest_one():
    found = of("numeric", pa.array([-1.7e308, 0.0, 1.7e308]))
    assert [place for place, count in enumerate(found["counts"]) if count] == [0, 10, 19]
    assert (found["low"], found["high"]) == ("-1.7e+308", "1.7e+308")
    found = of("numeric", pa.array([0.0, 5e-324]))
    assert (found["counts"][0], found["counts"][-1]) == (1, 1)


def test_infinities_are_left_out_of_the_scale():
    found = of("numeric", pa.array([1.0, float("inf"), 3.0, float("-inf"), None]))
    assert (found["low"], found["high"], sum(found["counts"])) == ("1", "3", 2)
    assert of("numeric", pa.array([float("inf"), None])) is None


def test_constant_and_empty_columns():
    found = spread(seven=[7] * 3, none=[None] * 3, lists=[[1, 2], [3], None])
    assert found["seven"] == {"kind": "bins", "low": "7", "high": "7", "counts": [3] + [0] * 19}
    assert found["none"] is None
    assert found["lists"] is None


@given(st.lists(st.datetimes(min_value=datetime(1, 1, 1)), min_size=1))
def test_dates_of_any_year(moments):
    micro = [(m.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) for m in moments]
    found = of("datetime", pa.array([*micro, None], pa.int64()), "datetime")
    assert sum(found["counts"]) == len(moments)
    for end, moment in (("low", min(moments)), ("high", max(moments))):
        iso = moment.isoformat(sep=" ", timespec="seconds")
        assert found[end] in (iso, iso[:10])


def test_dates_before_1970_are_written_as_dates():
    found = spread(
        day=["1899-12-31", "1965-03-04", "1969-12-31"] * 8,
        hour=["1969-12-31 22:00:00", "1970-01-01 02:00:30", "1970-01-01 00:00:00"] * 8,
    )
    assert (found["day"]["low"], found["day"]["high"]) == ("1899-12-31", "1969-12-31")
    assert (found["hour"]["low"], found["hour"]["high"]) == (
        "1969-12-31 22:00:00", "1970-01-01 02:00:30",
    )  # fmt: skip
    assert found["day"]["counts"][0] == found["day"]["counts"][-1] == 8
    assert sum(found["day"]["counts"]) == 24


def test_truth_values():
    assert of("boolean", pa.array([True, None, False, True]), "boolean") == {
        "kind": "names", "names": ["true", "false"], "counts": [2, 1], "rest": 0,
    }  # fmt: skip
    assert of("boolean", pa.array([False, None]), "boolean")["names"] == ["false"]


@given(st.lists(st.none() | st.sampled_from([f"c{i}" for i in range(14)]), min_size=1))
def test_names_and_the_rest_add_up(words):
    found = of("categorical", pa.array(words, pa.string()).dictionary_encode(), "string")
    given_ = [word for word in words if word is not None]
    if not given_:
        assert found is None
        return
    assert sum(found["counts"]) + found["rest"] == len(given_)
    assert found["counts"] == sorted(found["counts"], reverse=True)
    assert [given_.count(name) for name in found["names"]] == found["counts"]
    assert len(found["names"]) == min(10, len(set(given_)))
    others = [given_.count(word) for word in set(given_) - set(found["names"])]
    assert max(others, default=0) <= found["counts"][-1]


def test_a_label_of_a_megabyte_is_cut():
    found = spread(label=["x" * 1_000_000, "b", "b"] * 8)["label"]
    assert found["names"] == ["b", "x" * 57 + "..."]
    assert len(found["names"][1]) == 60
    assert spread(label=["y" * 60, "b", "b"] * 8)["label"]["names"][1] == "y" * 60


def test_texts_are_measured_in_characters():
    found = of("text", pa.array(["", "häß", None, "ab", "häß"]).dictionary_encode(), "string")
    assert (found["kind"], found["low"], found["high"]) == ("lengths", "0", "3")
    assert (found["counts"][0], found["counts"][13], found["counts"][19]) == (1, 1, 2)


def test_texts_that_no_row_has_are_not_measured():
    words = pa.array(["long text", "b", "cc"]).dictionary_encode()[1:]
    assert of("text", words, "string")["high"] == "2"
    assert of("categorical", words, "string")["names"] == ["b", "cc"]


def test_rows_of_a_big_table_are_sampled_and_it_is_said():
    numbers = np.zeros(250_001)
    numbers[200_000:] = 1.0
    numbers[7] = 5.0  # not among the sampled rows, but on the scale
    found = of("numeric", pa.array(numbers))
    assert found["sampled"] == HISTOGRAM_ROWS == sum(found["counts"])
    assert found["high"] == "5"
    assert found["counts"][4] == pytest.approx(0.2 * HISTOGRAM_ROWS, abs=2)
    gaps = np.where(np.arange(250_001) % 2, np.nan, numbers)
    found = histogram(column("numeric"), from_floats(gaps))
    assert sum(found["counts"]) < found["sampled"]
    assert "sampled" not in of("numeric", pa.array(numbers[:HISTOGRAM_ROWS]))
    words = pa.array(["a", "b"] * 125_000).dictionary_encode()
    assert of("categorical", words, "string")["counts"] == [125_000] * 2


def test_many_chunks():
    parts = pa.chunked_array([[1, 2], [None], [], [3, 11]])
    assert bins(parts)["counts"] == [1, 0, 1, 0, 1] + [0] * 14 + [1]
    assert span(parts) == (1, 11)
    assert bins(pa.chunked_array([[None, None]], pa.int64())) is None


@given(st.lists(st.integers(0, 5)), st.integers(1, 12))
def test_most_frequent_is_the_start_of_a_whole_sort(counts, most):
    counts = np.array(counts, np.int64)
    order = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
    assert most_frequent(counts, most).tolist() == order[:most]


def test_shares_of_missing_cells():
    table = sl.read({"a": [1.5, None, None], "b": [None] * 3, "c": [1, 2, 3]})
    assert [one["share_missing"] for one in table.summary()] == [0.66667, 1.0, 0.0]


def test_a_big_table_is_told_of_in_a_small_part_of_its_loading(tmp_path):
    draw = np.random.default_rng(0)
    rows = 100_000
    numbers = {f"n{i}": draw.normal(size=rows) for i in range(10)}
    words = {f"c{i}": draw.choice(["a", "b", "c"], rows) for i in range(4)}
    path = tmp_path / "big.csv"
    write_csv(pa.table({**numbers, **words, "id": [f"k{i}" for i in range(rows)]}), path)
    shares = []
    for _ in range(3):
        began = time.perf_counter()
        table = sl.read(path)
        loaded = time.perf_counter()
        for one in table.schema.columns:
            assert histogram(one, table.columns[one.name])
        shares.append((time.perf_counter() - loaded) / (loaded - began))
    assert min(shares) < 0.2  # some 0.03; the bound leaves room for a busy machine
