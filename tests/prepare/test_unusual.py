import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.prepare.unusual import Finder
from tests.predict.tables import KINDS, columns

NASTY = {
    "size": [None, -1.0, 0.1, 14.85, 15.0, 1e300],
    "city": [None, "c0", "c4", "never"],
    "paid": [None, True, False],
    "day": [None, "1969-01-01", "1960-05-05", "2400-01-01", "1970-06-01"],
    "note": [None, "red w1 number 3", "unknown words"],
}


@pytest.fixture(scope="module")
def encoder():
    return sl.prepare(sl.split(sl.read(columns(), kinds=KINDS), target="y")).encoder


@given(st.lists(st.fixed_dictionaries({name: st.sampled_from(v) for name, v in NASTY.items()}), min_size=1, max_size=8))  # fmt: skip
def test_marks_are_what_the_encoder_counts(encoder, rows):
    from sightline.predict.reading import read_rows

    table = read_rows({name: [row[name] for row in rows] for name in NASTY}, encoder.schema)
    encoded = encoder.open(table)(slice(None))
    finder = Finder(encoder)
    marks = finder.marks(encoded.numeric, encoded.categorical)
    assert finder.counts(marks, slice(None)) == (
        encoded.missing, encoded.unseen, encoded.out_of_range,
    )  # fmt: skip
    alone = [finder.counts(marks, slice(i, i + 1)) for i in range(len(rows))]
    total = {name: sum(one[0].get(name, 0) for one in alone) for name in finder.columns}
    assert {name: count for name, count in total.items() if count} == encoded.missing


def test_rows_without_codes_or_numbers_have_marks():
    table = sl.read({"x": [i / 4 for i in range(40)], "y": ["a", "b"] * 20})
    finder = Finder(sl.prepare(sl.split(table, target="y")).encoder)
    marks = finder.marks(np.array([[np.nan], [1e9]]), np.empty((2, 0), np.int32))
    assert finder.counts(marks, slice(None)) == ({"x": 1}, {}, {"x": 1})
