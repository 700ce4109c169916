"""Facts of a column that are added up piece by piece are those of all its rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.contracts import Column
from sightline.load import facts as module
from sightline.load.facts import ColumnFacts
from sightline.load.values import from_floats

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = Column("x", "numeric", "feature", "", "float")
floats = st.one_of(st.none(), st.floats(-1e6, 1e6))


def added(facts, column, data, merged):
    """Add all rows of a piece: its values, or its facts."""
    own = ColumnFacts(keeps_texts=facts.keeps_texts) if merged else facts
    own.add(column, data, np.arange(len(data)))
    if merged:
        facts.merge(own)


@FEW
@given(st.lists(floats, min_size=1, max_size=40), st.integers(1, 9), st.booleans())
def test_numbers(values, size, merged):
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    facts = ColumnFacts()
    for part in parts:
        values = np.array([np.nan if x is None else x for x in part])
        added(facts, NUMBERS, from_floats(values), merged)
    given_ = np.array([x for part in parts for x in part if x is not None])
    assert facts.rows == sum(map(len, parts))
    assert facts.missing == facts.rows - len(given_)
    if len(given_):
        assert (facts.low, facts.high) == (given_.min(), given_.max())
        assert facts.mean == pytest.approx(given_.mean(), rel=1e-9, abs=1e-6)
        assert facts.deviation == pytest.approx(given_.std(), rel=1e-6, abs=1e-6)
    else:
        assert np.isnan(facts.low)
        assert facts.deviation == 0
    different = len(set(given_.tolist())) + bool(facts.missing)
    assert facts.varies == (different > 1)


@given(
    st.lists(
        st.lists(st.sampled_from([None, "a", "b", "ß", "aa"]), min_size=1), min_size=1, max_size=5
    ),
    st.booleans(),
)
def test_texts(parts, merged):
    column, facts = Column("c", "categorical", "feature", "", "string"), ColumnFacts()
    for part in parts:
        data = pa.chunked_array([pa.array(part, pa.string()).dictionary_encode()])
        added(facts, column, data, merged)
    texts = [text for part in parts for text in part if text is not None]
    expected = sorted({(-texts.count(text), text) for text in texts})
    counted = facts.counted().to_pydict()
    assert list(zip(counted["text"], counted["n"], strict=True)) == [(t, -n) for n, t in expected]
    assert facts.missing == sum(map(len, parts)) - len(texts)


@given(
    st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=5),
    st.booleans(),
)
def test_different_values_are_estimated(parts, merged):
    column, facts = Column("t", "text", "feature", "", "string"), ColumnFacts(keeps_texts=False)
    for part in parts:
        data = pa.chunked_array([pa.array(map(str, part)).dictionary_encode()])
        added(facts, column, data, merged)
    assert facts.distinct == len({text for part in parts for text in part})


def test_texts_are_merged_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr(module, "FEW_TEXTS", 10)
    column, facts = Column("c", "categorical", "feature", "", "string"), ColumnFacts()
    for start in range(0, 300, 5):
        data = pa.array([f"t{(start + i) % 40}" for i in range(5)]).dictionary_encode()
        facts.add(column, pa.chunked_array([data]), np.arange(5))
        assert sum(part.num_rows for part in facts._waiting) <= 80
    assert facts.counted().num_rows == 40
    assert sum(facts.counted()["n"].to_pylist()) == 300


def test_truth_values_and_dates():
    flags, moments = ColumnFacts(), ColumnFacts()
    flags.add(
        Column("f", "boolean", "feature", "", "boolean"),
        pa.chunked_array([[True, None, True]]),
        np.arange(3),
    )
    assert flags.counted().to_pydict() == {"text": ["true"], "n": [2]}
    assert flags.missing == 1
    assert flags.varies  # missing is a value too
    moments.add(
        Column("d", "datetime", "feature", "", "datetime"),
        pa.chunked_array([pa.array([5, None, 9], pa.int64())]),
        np.array([0, 1]),
    )
    assert (moments.low, moments.high, moments.missing, moments.rows) == (5, 5, 1, 2)


@given(
    st.lists(st.lists(st.sampled_from("aaaaabbbcdefghij"), min_size=1), min_size=1, max_size=6),
    st.integers(1, 9),
)
def test_the_most_frequent_texts_are_kept(parts, most):
    column, facts = Column("c", "categorical", "feature", "", "string"), ColumnFacts()
    for part in parts:
        facts.add(column, pa.chunked_array([pa.array(part).dictionary_encode()]), np.arange(len(part)))  # fmt: skip
    whole = facts.counted().to_pylist()
    facts.keep(10**6, most)
    assert facts.counted().to_pylist() == whole[:most]
    assert facts.forgotten == (len(whole) > most)
    facts.keep(0)
    assert facts.distinct == 0


def test_frequent_texts_survive_where_there_is_no_memory_for_all():
    column, facts = Column("c", "categorical", "feature", "", "string"), ColumnFacts()
    for start in range(0, 5_000, 50):
        texts = [f"rare {start + i}" for i in range(50)] + ["often", "often", "common"]
        facts.add(column, pa.chunked_array([pa.array(texts).dictionary_encode()]), np.arange(53))
        facts.keep(2_000)
        assert facts.text_bytes <= 2_000
    assert facts.forgotten
    assert facts.counted().slice(0, 2).to_pydict() == {"text": ["often", "common"], "n": [200, 100]}
