import json
import pickle
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.contracts import Column, Schema
from sightline.prepare.encode import (
    DATE_PARTS,
    DAY,
    MISSING,
    MISSING_DATE,
    UNSEEN,
    Categories,
    ColumnEncoding,
    Encoder,
    date_numbers,
    find_words,
)

EPOCH = datetime(1970, 1, 1)
ROWS = 60


def table(**changed):
    """Sixty rows of every kind, something missing in each column."""
    columns = {
        "size": [None if i % 10 == 3 else i / 4 for i in range(ROWS)],
        "city": [None if i % 10 == 4 else f"c{i % 5}" for i in range(ROWS)],
        "paid": [None if i % 10 == 5 else i % 2 == 0 for i in range(ROWS)],
        "day": [
            None if i % 10 == 6 else str(EPOCH + timedelta(days=31 * i - 900, minutes=i))
            for i in range(ROWS)
        ],
        "note": [None if i % 10 == 7 else f"red w{i % 7} number {i}" for i in range(ROWS)],
        "y": ["a", "b"] * (ROWS // 2),
    }
    return sl.read({**columns, **changed})


@pytest.fixture(scope="module")
def encoder():
    return sl.prepare(sl.split(table(), target="y")).encoder


def test_each_kind_goes_its_way(encoder):
    assert {way.column: way.how for way in encoder.encodings} == {
        "size": "number", "city": "codes", "paid": "codes", "day": "date", "note": "words",
    }  # fmt: skip


def test_an_encoder_comes_back_from_json(encoder):
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json(), allow_nan=False)))
    assert again == encoder
    first, second = (one.open(table())(slice(None)) for one in (encoder, again))
    assert np.array_equal(first.numeric, second.numeric, equal_nan=True)
    assert np.array_equal(first.categorical, second.categorical)


def test_missing_unseen_and_known_are_three_things(encoder):
    words = encoder.schema.vocabularies["city"]
    given = table(city=[None, "", "nowhere", *words] + [words[0]] * (ROWS - 3 - len(words)))
    codes = encoder.open(given)(slice(0, 3 + len(words)))
    place = encoder.codes.index("city")
    assert codes.categorical[:, place].tolist() == [0, 0, 1, *range(2, 2 + len(words))]
    assert (codes.missing["city"], codes.unseen["city"]) == (2, 1)


def test_a_truth_value_never_seen_in_training_is_unseen():
    splits = sl.split(table(), target="y")
    flags = np.full(ROWS, True)
    flags[splits.test] = False
    prepared = sl.prepare(sl.split(table(paid=flags.tolist()), target="y"))
    place = prepared.encoder.codes.index("paid")
    assert prepared.encoder.schema.vocabularies["paid"] == ("true",)
    assert set(prepared.train.categorical[:, place].tolist()) == {2}
    assert set(prepared.test.categorical[:, place].tolist()) == {UNSEEN}
    assert prepared.spec.categorical[place].cardinality == 3


def test_what_is_out_of_range_is_counted_per_column(encoder):
    given = table(
        size=[1e9, -1e9, None] + [1.0] * (ROWS - 3),
        day=["1900-01-01", None] + ["1970-01-01"] * (ROWS - 2),
    )
    found = encoder.open(given)(slice(None))
    assert found.out_of_range == {"size": 2, "day": 1}
    assert (found.missing["size"], found.missing["day"]) == (1, 1)


def test_what_was_not_noticed_is_not_counted(encoder):
    found = encoder.open(table())(slice(0, 1))
    assert (found.missing, found.unseen) == ({}, {})


@given(
    start=st.integers(0, ROWS), stop=st.integers(0, ROWS), picked=st.lists(st.integers(0, ROWS - 1))
)
def test_rows_are_encoded_one_by_one_whatever_their_company(encoder, start, stop, picked):
    reader = encoder.open(table())
    whole = reader(slice(None))
    for rows in (slice(start, stop), np.array(picked, np.int64)):
        part = reader(rows)
        assert np.array_equal(part.numeric, whole.numeric[rows], equal_nan=True)
        assert np.array_equal(part.categorical, whole.categorical[rows])
        assert (part.numeric.dtype, part.categorical.dtype) == (np.float64, np.int32)


def test_the_order_of_columns_does_not_matter(encoder):
    straight = table()
    columns = list(straight.columns)[::-1]
    turned = sl.read({name: [straight.cells(name, i) for i in range(ROWS)] for name in columns})
    first, second = (encoder.open(one)(slice(None)) for one in (straight, turned))
    assert np.array_equal(first.numeric, second.numeric, equal_nan=True)
    assert np.array_equal(first.categorical, second.categorical)


@given(st.lists(st.sampled_from(["a", "b", "ä", "zz", "<i>", None]), max_size=30))
def test_codes_are_the_places_in_the_vocabulary(words):
    vocabulary = ("ä", "<i>", "a")
    codes = Categories(vocabulary).codes(pa.array(words, pa.string()).dictionary_encode())
    expected = [
        MISSING if word is None else vocabulary.index(word) + 2 if word in vocabulary else UNSEEN
        for word in words
    ]
    assert codes.tolist() == expected
    assert codes.dtype == np.int32


# ------------------------------------------------------------- dates

moments = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))


@given(moments, moments)
def test_date_parts_are_pythons_before_1970_too(moment, first):
    def micros(when):
        return (when - EPOCH) // timedelta(microseconds=1)

    days, *parts = (
        float(column[0])
        for column in date_numbers(np.array([micros(moment)]), micros(first), DATE_PARTS)
    )
    assert parts == [
        moment.year, moment.month, moment.day, moment.weekday(), moment.hour, moment.minute,
    ]  # fmt: skip
    assert days == pytest.approx((moment - first) / timedelta(days=1), rel=1e-15)


def test_a_missing_date_is_missing_in_every_part():
    columns = date_numbers(np.array([MISSING_DATE, 0]), 0, DATE_PARTS)
    assert all(np.isnan(column[0]) and not np.isnan(column[1]) for column in columns)


def test_no_microsecond_is_lost_between_near_dates():
    start = (datetime(2026, 1, 1) - EPOCH) // timedelta(microseconds=1)
    days = date_numbers(np.array([start, start + 1]), start, ())[0]
    assert days.tolist() == [0.0, 1 / DAY]


def test_only_parts_that_vary_in_the_training_rows_are_kept():
    days = [f"2026-01-{1 + i % 28:02}" for i in range(ROWS)]
    prepared = sl.prepare(sl.split(table(day=days), target="y"))
    way = next(way for way in prepared.encoder.encodings if way.column == "day")
    assert way.parts == ("day", "weekday")
    names = [name for name, column in prepared.encoder.numbers if column == "day"]
    assert names == ["day.elapsed_days", "day.day", "day.weekday"]


# ------------------------------------------------------------- text


def test_words_are_flags_for_ngrams():
    schema = Schema(
        (Column("t", "text", "feature", "", "string"),),
        vocabularies={"t": ("red", "red wine", "beer")},
    )
    given = sl.read({"t": ["Red wine, red", "beer red", "", None, "Wein"]}, kinds={"t": "text"})
    found = Encoder(schema, (ColumnEncoding("t", "words"),)).open(given)(slice(None))
    assert found.numeric[:2].tolist() == [[1, 1, 0], [1, 0, 1]]
    assert np.isnan(found.numeric[2:4]).all()
    assert found.numeric[4].tolist() == [0, 0, 0]
    assert found.missing == {"t": 2}


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.text(st.sampled_from("ab ü,"), max_size=12), st.integers(1, 4), min_size=1, max_size=12
    ),
    st.integers(1, 5),
)
def test_ngrams_are_in_two_rows_at_least_and_never_in_all(texts, most):
    counts = np.array(list(texts.values()))
    found = find_words(list(texts), counts, most)
    assert len(found) <= most
    for ngram in found:
        rows = sum(
            count for text, count in texts.items()
            if f" {ngram} " in f" {' '.join(text.replace(',', ' ').split())} "
        )  # fmt: skip
        assert 2 <= rows < counts.sum()


@pytest.mark.parametrize("texts", [[], [""], [",.;"], ["one two three"]])
def test_no_ngram_comes_of_nothing(texts):
    assert find_words(texts, np.ones(len(texts), int), 64) == ()


def test_a_vocabulary_is_looked_up_once_for_all_pieces(monkeypatch):
    made = []
    monkeypatch.setattr(
        "sightline.prepare.encode.Categories",
        lambda *given: made.append(given) or Categories(*given),
    )
    table = sl.read({"x": ["a", "b", "c "] * 30, "y": [0, 1] * 45}, kinds={"x": "categorical"})
    encoder = sl.prepare(sl.split(table, "y")).encoder
    made.clear()
    encoder = pickle.loads(pickle.dumps(encoder))
    for _ in range(3):
        codes = encoder.open(table)(slice(0, 3)).categorical
    assert sorted(codes[:, 0].tolist()) == [2, 3, 4]
    assert len(made) == 1
    assert "_categories" in vars(encoder)
    assert "_categories" not in vars(pickle.loads(pickle.dumps(encoder)))
