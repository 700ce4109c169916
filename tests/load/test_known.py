"""Rows that an earlier model has seen: found again in whatever file they come, and only they."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.load.known import NEW, TEST, TRAINING, KnownRows, group_keys, row_keys


def keys_of(source, salt=7, vocabularies=None, **kinds):
    table = sl.split(
        sl.read(source, kinds={"zip": "categorical", **kinds}), "y", test=0, valid=0
    ).table
    target = sl.split(table, "y", test=0, valid=0).target
    return row_keys(table, ("x", "zip", "day"), vocabularies or {"zip": ("1", "2", "10")}, target, salt)  # fmt: skip


DATA = {
    "x": [0.1, -0.0, 2.5, None] * 5,
    "zip": ["1", "2", None, "10"] * 5,
    "day": ["2024-01-01", "2024-02-01", None, "2024-03-01"] * 5,
    "y": ["a", "b"] * 10,
}


def test_rows_are_the_same_in_any_file(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(DATA)
    frame.to_csv(tmp_path / "a.csv", index=False)
    csv = keys_of(tmp_path / "a.csv")
    typed = frame.assign(
        x=frame["x"].astype(np.float32), zip=frame["zip"].astype(float), day=pd.to_datetime(frame["day"])
    )  # fmt: skip
    pq.write_table(pa.Table.from_pandas(typed), tmp_path / "a.parquet")
    assert np.array_equal(csv, keys_of(tmp_path / "a.parquet"))
    assert np.array_equal(csv, keys_of(typed))
    assert np.array_equal(csv[::-1], keys_of(frame[::-1]))
    assert len(np.unique(csv)) == 4


def test_keys_depend_on_each_column_the_target_and_the_salt():
    keys = keys_of(DATA)
    for name, value in (("x", 0.2), ("zip", "2"), ("day", "2024-01-02")):
        other = keys_of({**DATA, name: [value, *DATA[name][1:]]})
        assert other[0] >> np.uint64(32) != keys[0] >> np.uint64(32)
        assert np.array_equal(other[1:], keys[1:])
    corrected = keys_of({**DATA, "y": ["b", *DATA["y"][1:]]})
    assert corrected[0] != keys[0]
    assert corrected[0] >> np.uint64(32) == keys[0] >> np.uint64(32)
    assert not np.isin(keys_of(DATA, salt=8), keys).any()


def known(places, keys=None, **groups):
    keys = np.arange(1, len(places) + 1, dtype=np.uint64) << np.uint64(33) if keys is None else keys
    return KnownRows(0, np.array(keys, np.uint64), np.array(places, np.int16), **groups)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-4, 3)), max_size=30), st.randoms())
@settings(max_examples=100, deadline=None)
def test_rows_in_another_order_are_in_the_places_that_they_had(rows, random):
    keys = np.array([key << 32 for key, _ in rows], np.uint64)
    before = known([place for _, place in rows], keys)
    order = np.array(random.sample(range(len(rows)), len(rows)), np.int64)
    places = before.places_of(keys[order])
    for key in np.unique(keys):  # rows that are equal in every value may change places
        assert sorted(places[keys[order] == key]) == sorted(before.places[keys == key])


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([TEST, 0, 1])), max_size=20), st.lists(st.integers(0, 8), max_size=20))  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_copies_of_training_rows_are_training_rows_and_no_other_row_is_known(before, now):
    places = known([place for _, place in before], [key << 32 for key, _ in before]).places_of(
        np.array([key << 32 for key in now], np.uint64)
    )
    for key in set(now):
        were = [place for other, place in before if other == key]
        found = places[np.array(now) == key].tolist()
        if any(place >= 0 for place in were):
            assert NEW not in found
            assert found.count(TEST) <= were.count(TEST)
        else:
            assert sum(place != NEW for place in found) == min(len(were), len(found))


def test_a_row_whose_target_was_corrected_is_known_by_its_features():
    before = known([2, TEST], [(5 << 32) | 1, (5 << 32) | 2])
    assert before.places_of(np.array([(5 << 32) | 2, (5 << 32) | 9], np.uint64)).tolist() == [
        TEST,
        2,
    ]


def test_of_equal_rows_the_learned_ones_are_found_first():
    before = known([TEST, TRAINING], [5 << 32, 5 << 32])
    assert before.places_of(np.array([5 << 32], np.uint64)).tolist() == [TRAINING]


def test_new_rows_of_a_known_group_go_where_it_is():
    before = known([0], group_keys=np.array([9, 4], np.uint64), group_places=np.array([2, TEST], np.int16))  # fmt: skip
    new = np.array([77 << 32, 78 << 32, 79 << 32, 80 << 32], np.uint64)
    groups = np.array([4, 9, 0, 5], np.uint64)
    assert before.places_of(new, groups).tolist() == [TEST, 2, NEW, NEW]
    # A row with a group is what its group is, whatever other rows it is equal to.
    equal = np.array([before.keys[0]] * 4, np.uint64)
    assert before.places_of(equal, groups).tolist() == [TEST, 2, 0, NEW]


def test_groups_are_equal_by_value():
    def groups(values):
        data = {"x": [i / 3 for i in range(20)], "g": values, "y": ["a", "b"] * 10}
        return group_keys(sl.split(sl.read(data), "y", group="g", test=0.2).table, 3)

    keys = groups([1, 2, None, 3] * 5)
    assert (keys == 0).tolist() == [False, False, True, False] * 5
    assert len(np.unique(keys)) == 4
    assert np.array_equal(keys, groups([1.0, 2.0, None, 3.0] * 5))


def test_rows_that_are_gone_are_remembered():
    first = known([0, 1], [1 << 32, 2 << 32])
    second = known([0, TEST], [1 << 32, 3 << 32]).and_before(first)
    assert second.places_of(np.array([2 << 32, 3 << 32, 4 << 32], np.uint64)).tolist() == [1, TEST, NEW]  # fmt: skip


def test_no_rows_are_known_to_nobody():
    assert known([]).places_of(np.array([1, 2], np.uint64)).tolist() == [NEW, NEW]
