import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.predict.reference import Distribution, Reference

NUMBERS = st.lists(
    st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, np.nan]), min_size=1, max_size=60
)


@given(NUMBERS, NUMBERS)
def test_every_number_is_in_one_bin(first, second):
    one = Distribution.of_numbers(np.array(first))
    assert sum(one.counts) == len(first)
    assert one.counts[-1] == int(np.isnan(first).sum())
    other = one.counted(np.array(second))
    assert sum(other.counts) == len(second)
    assert len(other.counts) == len(one.counts)
    assert one.counted(np.array(first)) == one


def test_numbers_outside_of_training_are_in_the_outer_bins():
    one = Distribution.of_numbers(np.arange(100.0))
    assert one.how == "ranges"
    assert max(one.counts[:-1]) - min(one.counts[:-1]) <= 2
    other = one.counted(np.array([-1.0, 0.0, 99.0, 100.0, np.nan]))
    assert (other.counts[0], other.counts[-2], other.counts[-1]) == (2, 2, 1)


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=300),
    st.lists(st.integers(0, 200), max_size=50),
)
def test_every_code_is_in_one_bin(first, second):
    one = Distribution.of_codes(np.array(first))
    other = one.counted(np.array(second, np.int64))
    assert sum(one.counts) == len(first)
    assert sum(other.counts) == len(second)
    assert len(one.bins) <= 50
    assert one.counts[-1] == first.count(0)
    assert other.counts[-2] >= second.count(1)  # never seen


@pytest.mark.parametrize("values", [[np.nan, np.nan], [3.0], [1.0, 1.0]])
def test_columns_that_hardly_vary_have_bins_too(values):
    assert sum(Distribution.of_numbers(np.array(values)).counts) == len(values)


def test_it_is_read_as_it_was_written():
    one = Reference(
        {"x": Distribution.of_numbers(np.arange(50.0))}, {"class": Distribution.of_codes(np.array([2, 3]))}, "9 test rows"
    )  # fmt: skip
    assert Reference.from_json(one.to_json()) == one
