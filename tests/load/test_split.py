"""Who is in which part: disjoint, complete, fair, and refused when it cannot be."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DataError, DataWarning, OptionError, UserError
from sightline.load.divide import stratified_order
from sightline.load.roles import row_weights
from sightline.load.split import read_given


def table_of(y: list, **more: list) -> sl.Table:
    return sl.read({"x": [float(i % 7) + 0.5 for i in range(len(y))], **more, "y": y})


def check_parts(splits: sl.Splits) -> None:
    together = np.concatenate([splits.train, splits.valid, splits.test])
    assert sorted(together.tolist()) == list(range(splits.table.rows))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=6), st.integers(0, 9),
    st.sampled_from([0, 0.1, 0.25, 1]), st.sampled_from([0, 0.2, 2]),
)  # fmt: skip
def test_stratified(counts: list[int], seed: int, valid: float, test: float) -> None:
    y = [f"c{k}" for k, count in enumerate([*counts, 10]) for _ in range(count)]
    splits = sl.split(table_of(y), "y", seed=seed, valid=valid, test=test)
    check_parts(splits)
    labels = splits.labels()
    assert set(labels[splits.train]) == set(labels)
    for rows in (splits.valid, splits.test):
        if len(rows) >= 20:
            for k, count in enumerate([*counts, 10]):
                expected = count * len(rows) / len(y)
                assert abs((labels[rows] == k).sum() - expected) <= 2.5
    again = sl.split(table_of(y), "y", seed=seed, valid=valid, test=test)
    assert again.train.tolist() == splits.train.tolist()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from("abcdefghijklmnop"), max_size=20), st.integers(0, 9))
def test_groups_never_straddle(groups: list[str], seed: int) -> None:
    groups = [*("abcdefghijklmnop" * 3), *groups]
    y = ["p", "q"] * (len(groups) // 2) + ["p"] * (len(groups) % 2)
    splits = sl.split(table_of(y, g=groups), "y", group="g", seed=seed, valid=0.2, test=0.2)
    check_parts(splits)
    parts = [{groups[row] for row in rows} for rows in (splits.train, splits.valid, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    assert splits.table.schema["g"].role == "group"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=30, max_size=80), st.integers(0, 3))
def test_time_is_ordered(days: list[int], seed: int) -> None:
    days = [*range(41), *days]
    y = ["p", "q"] * (len(days) // 2) + ["p"] * (len(days) % 2)
    moments = np.datetime64("2020-01-01") + np.array(days)
    splits = sl.split(table_of(y, t=moments), "y", time="t", seed=seed, valid=0.2, test=0.2)
    check_parts(splits)
    when = np.array(days)
    assert when[splits.train].max() < when[splits.valid].min()
    assert when[splits.valid].max() < when[splits.test].min()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), min_size=60, max_size=90),
    st.integers(0, 3),
)
def test_groups_by_time_are_whole_and_the_latest(rows: list[tuple[int, int]], seed: int) -> None:
    rows = [*((k, k) for k in range(13)), *rows]
    groups, times = [f"g{group}" for group, _ in rows], np.array([float(time) for _, time in rows])
    y = ["p", "q"] * (len(rows) // 2) + ["p"] * (len(rows) % 2)
    table = table_of(y, g=groups, t=times)
    splits = sl.split(table, "y", group="g", time="t", seed=seed, valid=0.2, test=0.2)
    check_parts(splits)
    parts = [{groups[row] for row in part} for part in (splits.train, splits.valid, splits.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    last = {
        group: max(t for g, t in zip(groups, times, strict=True) if g == group)
        for group in set(groups)
    }
    newest = [[last[group] for group in part] for part in parts]
    assert max(newest[0]) <= min(newest[1])
    assert max(newest[1]) <= min(newest[2])
    roles = splits.table.schema["g"].role, splits.table.schema["t"].role
    assert roles == ("group", "time")
    older = int((times[splits.test] < times[splits.train].max()).sum())
    assert (f"{older} of {len(splits.test)} test row" in splits.how) == bool(older)


def test_groups_that_follow_each_other_do_not_overlap_in_time() -> None:
    groups = [f"g{i // 10}" for i in range(100)]
    table = table_of(["p", "q"] * 50, g=groups, t=[float(i) for i in range(100)])
    splits = sl.split(table, "y", group="g", time="t", valid=0.1, test=0.2)
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [70, 10, 20]
    assert splits.test.tolist() == list(range(80, 100))
    assert "older" not in splits.how
    again = sl.split(splits.table, **{**splits.options, "target": "y"})
    assert again.test.tolist() == splits.test.tolist()


def test_a_group_too_large_for_its_part_is_taken_whole() -> None:
    table = table_of(
        ["p", "q"] * 50, g=["old"] * 40 + ["new"] * 60, t=[float(i) for i in range(100)]
    )
    splits = sl.split(table, "y", group="g", time="t", valid=0, test=0.1)
    assert (len(splits.train), len(splits.test)) == (40, 60)
    refused(table, "leaves no training rows", group="g", time="t", valid=0.1, test=0.1)


def test_the_time_may_be_a_feature_too() -> None:
    table = table_of(["p", "q"] * 50, t=[float(i) * 2 for i in range(100)])
    plain = sl.split(table, "y", time="t")
    splits = sl.split(table, "y", time="t", time_feature=True)
    assert [c.name for c in plain.table.schema.features] == ["x"]
    assert [c.name for c in splits.table.schema.features] == ["x", "t"]
    assert splits.test.tolist() == plain.test.tolist()
    again = sl.split(table, **splits.options)
    assert [c.name for c in again.table.schema.features] == ["x", "t"]


def test_shares_are_said_and_bounded() -> None:
    splits = sl.split(table_of(["a", "b"] * 50), "y")
    assert splits.describe().startswith("80 training rows (80 %), 10 validation rows (10 %)")
    big = sl.read({"x": np.arange(150_000) % 7, "y": np.arange(150_000) % 2})
    splits = sl.split(big, "y")
    assert (len(splits.valid), len(splits.test)) == (10_000, 10_000)
    assert len(sl.split(big, "y", test=0).test) == 0


def test_rows_without_a_target_are_dropped_and_counted() -> None:
    splits = sl.split(table_of(["a", None, "b", ""] * 25), "y")
    assert (splits.dropped, splits.table.rows) == (50, 50)
    check_parts(splits)
    assert set(splits.labels()) == {0, 1}
    numbers = sl.split(table_of([0.5, float("nan"), 1.5, 2.5] * 25), "y", task="regression")
    assert numbers.dropped == 25
    assert np.isfinite(numbers.labels()).all()


@pytest.mark.parametrize(
    ("y", "classes", "task"),
    [
        ([1, 2] * 20, (1, 2), "classification"),
        ([True, False] * 20, (False, True), "classification"),
        ([1.5, 2.5] * 20, (1.5, 2.5), "classification"),
        (["b", "a"] * 20, ("a", "b"), "classification"),
        ([i * 1.1 for i in range(40)], (), "regression"),
    ],
)
def test_the_task_and_the_labels_keep_their_type(y: list, classes: tuple, task: str) -> None:
    target = sl.split(table_of(y), "y").target
    assert (target.classes, target.task) == (classes, task)
    assert [type(label) for label in target.classes] == [type(label) for label in classes]


def test_numbers_as_classes_when_asked() -> None:
    table = sl.read({"x": [0.5, 1.5] * 20, "y": [1.0, 2.5] * 20}, kinds={"y": "categorical"})
    splits = sl.split(table, "y", positive="1.0")
    assert splits.labels().tolist() == [0, 1] * 20
    assert splits.target.positive == 1.0


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("yes", "no"), "yes"), (("Ja", "Nein"), "Ja"), (("J", "N"), "J"), (("n", "y"), "y"), ((" TAK", "nie "), " TAK"),
        (("oui", "non"), "oui"), (("sí", "no"), "sí"), (("si\u0301", "no"), "si\u0301"), (("да", "нет"), "да"),
        (("pos", "neg"), "pos"), ((True, False), True), ((1, 0), 1), ((1.0, 0.0), 1),
        # No known pair: the last in sorted order, as in scikit-learn.
        (("ja", "no"), "no"), (("female", "male"), "male"), ((1, 2), 2), (("yes", "maybe"), "yes"), (("ja", "vielleicht"), "vielleicht"),
    ],
)  # fmt: skip
def test_the_positive_class_is_the_one_that_says_yes(classes, positive):
    assert sl.split(table_of([*classes] * 20), "y").target.positive == positive
    other = classes[0] if classes[0] != positive else classes[1]
    assert sl.split(table_of([*classes] * 20), "y", positive=other).target.positive == other


def test_three_classes_have_no_positive_one():
    assert sl.split(table_of(["yes", "no", "unknown"] * 20), "y").target.positive is None


def test_files_given(tmp_path) -> None:
    (tmp_path / "valid.csv").write_text("y,x\na,0.5\nb,1.25\n,2\nc,3\n")
    table = table_of(["a", "b"] * 20)
    splits = sl.split(table, "y", valid=tmp_path / "valid.csv", test={"x": [1, 2], "y": ["a", "b"]})
    check_parts(splits)
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (40, 3, 2)
    assert splits.dropped == 1
    assert "valid.csv" in splits.how
    assert splits.table.numbers("x")[splits.valid].tolist() == [0.5, 1.25, 3]
    (tmp_path / "valid.csv").write_text("x,z\n0.5,a\n")
    refused(table, "valid.csv has no column 'y', the target", valid=tmp_path / "valid.csv")
    (tmp_path / "valid.csv").write_text("x,y\n0.5,a\nmany,b\n")
    refused(table, "valid.csv", "'many' is not a finite number", valid=tmp_path / "valid.csv")


def refused(table: sl.Table, *said: str, target: str = "y", **options) -> None:
    with pytest.raises(UserError) as caught:
        sl.split(table, target, **options)
    assert all(part in str(caught.value) for part in said), str(caught.value)
    assert str(caught.value).endswith(caught.value.fix)


GOOD = {"y": ["a", "b"] * 20, "z": ["c", "d"] * 20, "g": ["k"] * 39 + ["l"]}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "Y"}, "no column 'Y'. Did you mean 'y'"),
        ({"group": "h"}, "no column 'h'"),
        ({"time": "h"}, "no column 'h'"),
        ({"time_feature": True}, "time_feature is given without a time column"),
        ({"time": "z", "time_feature": True}, "time column 'z' is categorical"),
        ({"group": "y"}, "One column has two roles: target 'y', group 'y'"),
        (
            {"weight": "y"},
            "One column has two roles: target 'y', weight 'y'",
        ),
        (
            {"time": "x", "weight": "x"},
            "One column has two roles: target 'y', time 'x', weight 'x'",
        ),
        ({"weight": "W"}, "no column 'W'"),
        ({"weight": "z"}, "'z' is categorical; a weight is a number"),
        ({"time": "z"}, "time column 'z' is categorical"),
        ({"valid": -1}, "valid is -1"),
        ({"valid": float("nan")}, "valid is nan"),
        ({"test": float("inf")}, "test is inf"),
        ({"test": True}, "test is True"),
        ({"valid": 1.5}, "valid is 1.5. Give a share below 1"),
        ({"seed": -1}, "seed is -1"),
        ({"valid": 20, "test": 20}, "has 40 rows; validation and test together would take 40"),
        ({"task": "cluster"}, "task is 'cluster'"),
        ({"task": "regression"}, "which regression cannot predict"),
        ({"positive": "c"}, "no class 'c'"),
        ({"group": "g"}, "leaves no training rows"),
    ],
)
def test_what_cannot_be_split(options: dict, said: str) -> None:
    refused(table_of(**GOOD), said, **options)


def test_targets_that_cannot_be_learned() -> None:
    refused(table_of(["a"] * 40), "'y' has only one class, 'a'")
    refused(table_of([None] * 40), "missing in every row")
    refused(table_of([f"u{i}" for i in range(40)]), "has 40 classes in 40 rows")
    refused(table_of(["2020-01-01", "2020-01-02"] * 9), "'y' holds dates")
    refused(table_of([3.5] * 40), "'y' is 3.5 in every row", task="regression")
    refused(table_of([1.5, 2.5] * 20), "no positive class", task="regression", positive=1)
    refused(
        table_of(["a", "b", "c"] * 9),
        "3 classes; only a target with two classes has a positive class",
        positive="a",
    )
    refused(sl.read({"y": ["a", "b"] * 9}), "no feature besides the target")
    refused(table_of(["a", "b"] * 9, t=[None, *range(17)]), "missing in 1 row", time="t")


def test_given_rows_that_cannot_be_read_are_left_out() -> None:
    values = {"x": [i + 0.5 for i in range(40)], "y": list("ab") * 20}
    table = sl.split(sl.read(values, on_bad_rows="skip"), "y").table
    found = read_given({"x": ["1.5", "many", "3"], "y": ["a", "b", "b"]}, table)
    assert (found.rows, found.skipped, found.bad) == (2, 1, ())
    assert found.numbers("x").tolist() == [1.5, 3]


def test_groups_and_given_rows_do_not_go_together() -> None:
    table = sl.read({"x": [1.5, 2, 3, 4], "g": list("aabb"), "y": list("abab")})
    with pytest.raises(
        OptionError, match="group='g' cannot keep groups together across separately given tables"
    ):
        sl.split(table, "y", group="g", valid={"x": [1.5], "y": ["a"]})


def test_time_decides_beside_given_rows() -> None:
    n = 40
    table = sl.read(
        {
            "x": [i + 0.5 for i in range(n)],
            "t": [i % n + 0.25 for i in range(n)],
            "y": list("ab") * 20,
        }
    )
    splits = sl.split(table, "y", time="t", test=4, valid={"x": [1.5, 2.5], "y": ["a", "b"]})
    assert splits.test.tolist() == [36, 37, 38, 39]
    assert len(splits.valid) == 2


def test_a_target_that_cannot_be_read_in_given_rows_is_an_error() -> None:
    table = sl.read({"x": [i + 0.5 for i in range(30)], "y": [i * 1.5 for i in range(30)]})
    with pytest.raises(DataError, match="'abc' is not a finite number"):
        sl.split(table, "y", valid={"x": [1.5, 2.5], "y": ["3", "abc"]})


# ------------------------------------------------------------- weights


def weights_of(values: list) -> np.ndarray | None:
    n = len(values)
    return row_weights(sl.split(table_of(["a", "b"] * (n // 2), w=values), "y", weight="w").table)


def test_a_weight_is_a_role_and_no_feature() -> None:
    splits = sl.split(table_of(["a", "b"] * 20, w=[i / 2 for i in range(40)]), "y", weight="w")
    column = splits.table.schema["w"]
    assert (column.role, column.reason) == ("weight", "how much a row counts in the loss")
    assert [feature.name for feature in splits.table.schema.features] == ["x"]
    assert splits.options["weight"] == "w"
    found = row_weights(splits.table)
    assert found is not None
    assert (found.dtype, found.tolist()) == (np.float32, [i / 2 for i in range(40)])


def test_without_a_weight_column_there_are_no_weights() -> None:
    assert row_weights(sl.split(table_of(["a", "b"] * 20), "y").table) is None


def test_a_boolean_weight_leaves_rows_out() -> None:
    found = weights_of([True, True, False, True] * 10)
    assert found is not None
    assert found.tolist() == [1, 1, 0, 1] * 10


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (-0.5, r"The weight 'w' of row 3 is -0\.5 \(1 such row\): a weight is a finite number, 0"),
        (None, r"The weight 'w' of row 3 is missing"),
        (1e300, r"The weight 'w' of row 3 is 1e\+300"),
    ],
)  # fmt: skip
def test_weights_that_are_none(bad: float | None, said: str) -> None:
    values: list[float | None] = [i + 0.5 for i in range(40)]
    values[3] = bad
    with pytest.raises(DataError, match=said):
        weights_of(values)


@pytest.mark.parametrize("task", [None, "regression"])
def test_a_target_of_numbers_with_commas_says_what_they_look_like(task):
    prices = [f"{1000 + 7.5 * n:,.2f} {'$€'[n % 2]}" for n in range(60)]
    with pytest.warns(DataWarning, match=r"'price' is not used: .*write them in one unit"):
        table = sl.read({"price": prices, "x": list(range(0, 180, 3))})
    said = r"'price' .*look like numbers, but some are in \$ and others in €"
    with pytest.raises(DataError, match=said) as caught:
        sl.split(table, "price", task=task)
    assert "task=" not in caught.value.fix  # neither would help


def test_a_column_with_a_role_that_is_to_be_dropped():
    table = sl.read({"a": [1, 2], "y": [0, 1]}, drop=["y"])
    with pytest.raises(OptionError, match=r"'y' is the target, but it is also dropped.*--drop"):
        sl.split(table, "y")


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_share_of_one_may_mean_two_things(part):
    table = sl.read({"a": list(range(30)), "y": [0, 1] * 15}, kinds={"a": "numeric"})
    with pytest.raises(
        OptionError, match=f"{part} is 1.0, which could mean all rows or a single row"
    ):
        sl.split(table, "y", **{part: 1.0})
    assert len(getattr(sl.split(table, "y", **{part: 1}), part)) == 1


def test_a_missing_boolean_weight() -> None:
    with pytest.raises(DataError, match=r"row 1 is missing \(10 such rows\)"):
        weights_of([True, None, False, True] * 10)


def test_weights_of_zero_everywhere() -> None:
    with pytest.raises(DataError, match="The weight 'w' is 0 in every row"):
        weights_of([0.0] * 40)


def test_only_some_rows_need_a_weight() -> None:
    table = sl.split(table_of(["a", "b"] * 2, w=[0.5, 1.5, 2.5, 3.5]), "y", weight="w", valid=0, test=0).table  # fmt: skip
    broken = replace(table, columns={**table.columns, "w": pa.chunked_array([[0.5, None, 2.5, -1.0]])})  # fmt: skip
    with pytest.raises(DataError, match="The weight 'w' of row 1 is missing"):
        row_weights(broken)
    with pytest.raises(DataError, match="The weight 'w' of row 3 is -1"):
        row_weights(broken, np.array([True, False, True, True]))
    found = row_weights(broken, np.array([True, False, True, False]))
    assert found is not None
    assert found.tolist() == [0.5, 0, 2.5, 0]


def test_given_rows_need_weights_too() -> None:
    table = table_of(["a", "b"] * 20, w=[i + 0.5 for i in range(40)])
    splits = sl.split(table, "y", weight="w", valid={"x": [1.5], "y": ["a"], "w": [7.0]}, test=0)
    found = row_weights(splits.table)
    assert found is not None
    assert found[splits.valid].tolist() == [7.0]
    refused(table, "no column 'w'", weight="w", valid={"x": [1.5], "y": ["a"]})
    bad = {"x": [1.5, 2.5], "y": ["a", "b"], "w": ["1", "much"]}
    refused(table, "column 'w': 'much' is not a finite number", weight="w", valid=bad)


def test_rows_of_weight_zero_are_no_training_rows():
    table = {
        "x": [(i * 37) % 101 / 7 for i in range(100)],
        "w": [0.0, 1.0] * 50,
        "y": ["a", "a", "b", "b"] * 25,
    }
    splits = sl.split(sl.read(table, kinds={"w": "numeric"}), "y", weight="w", valid=0, test=0.2)
    assert len(splits.test) == 20
    assert (splits.train % 2 == 1).all()
    assert f"; {80 - len(splits.train)} rows of weight 0 left out of training" in splits.how
    folded = sl.split(
        sl.read(table, kinds={"w": "numeric"}), "y", weight="w", valid=0, test=0.2, folds=3
    )
    assert len(folded.folds) == len(folded.train) == len(splits.train)
    with pytest.raises(DataError, match="0 in every row"):
        sl.split(sl.read({**table, "w": [0.0] * 100}, kinds={"w": "numeric"}), "y", weight="w")


def test_folds_are_lowered_to_the_rows_there_are():
    table = table_of(["a", "b"] * 5)
    splits = sl.split(table, "y", valid=0, test=2, folds=5, min_rows_per_fold=3)
    assert (splits.fold_count, splits.options["folds"]) == (2, 2)
    same = sl.split(table, "y", valid=0, test=2, folds=2)
    assert splits.folds.tolist() == same.folds.tolist()
    assert splits.train.tolist() == same.train.tolist()
    assert sl.split(table, "y", valid=0, test=2, folds=5).fold_count == 5
    few = sl.split(table_of(["a", "b"] * 2), "y", valid=0, test=0, folds=5, min_rows_per_fold=3)
    assert few.fold_count == 2  # never fewer, even with 2 rows in each


def test_folds_are_lowered_to_the_groups_there_are():
    groups = ["p", "q", "r", None] * 10
    table = table_of(["a", "b"] * 20, g=groups)
    splits = sl.split(table, "y", valid=0, test=0, group="g", folds=10, min_rows_per_fold=3)
    assert splits.fold_count == 4  # rows without a group count as one
    missing = [None, *["a", "b"] * 20][: len(groups)]  # row numbers move: a target is missing
    table = table_of(missing, g=["only here", *groups[1:]])
    splits = sl.split(table, "y", valid=0, test=0, group="g", folds=10, min_rows_per_fold=1)
    assert splits.fold_count == 4


def test_folds_need_rows_that_there_can_be():
    refused(table_of(["a", "b"] * 20), "min_rows_per_fold is 0", folds=2, min_rows_per_fold=0)
    refused(table_of(["a", "b"] * 20), "folds is 1", folds=1)
    refused(table_of(["a", "b"] * 2), "too few for 9 folds", valid=0, test=0, folds=9)
    table = table_of(["a", "b"] * 20, t=[float(i % 3) for i in range(40)])
    said = "'t' has 3 different times in the training rows, too few for 4 folds"
    refused(table, said, "leave out time='t'", folds=4, time="t", valid=0, test=0)
    table = table_of(["a", "b"] * 20, t=[i % 5 + 0.5 for i in range(40)], g=list("cd") * 20)
    refused(table, "'g' has 2 different groups", folds=3, time="t", group="g", valid=0, test=0)


# ------------------------------------------------------------- folds that follow each other in time


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=12, max_size=80), st.integers(2, 6))
def test_folds_by_time_follow_each_other(times: list[int], folds: int) -> None:
    table = table_of([f"c{i % 2}" for i in range(len(times))], t=[float(t) for t in times])
    options = {"valid": 0, "test": 0, "time": "t", "folds": folds}
    different = len(set(times))
    if different < folds:
        if different > 1:
            splits = sl.split(table, "y", **options, min_rows_per_fold=1)
            assert splits.fold_count == different
        return refused(table, "too few for", **options)
    splits = sl.split(table, "y", **options)
    of_fold = [np.array(times)[splits.train[splits.folds == fold]] for fold in range(folds)]
    assert [len(own) for own in of_fold] == [block.rows for block in splits.blocks]
    assert min(len(own) for own in of_fold) > 0
    for older, newer in itertools.pairwise(of_fold):
        assert older.max() < newer.min()  # none straddles, and rows of equal time are in one fold
    order = np.random.default_rng(0).permutation(len(times))
    mixed = table_of([f"c{i % 2}" for i in order], t=[float(times[i]) for i in order])
    again = sl.split(mixed, "y", **options)
    assert again.folds.tolist() == splits.folds[order].tolist()
    return None


def test_folds_by_time_are_about_equal_and_say_from_when_to_when():
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 11) for day in range(1, 29)]
    table = table_of(["a", "b"] * 140, day=days)
    splits = sl.split(table, "y", time="day", valid=0, test=0.1, folds=3)
    assert np.bincount(splits.folds).tolist() == [84, 84, 84]
    assert splits.folds.tolist() == sorted(splits.folds)  # the file is in the order of time
    assert [(b.first, b.last) for b in splits.blocks] == [
        ("2024-01-01", "2024-03-28"), ("2024-04-01", "2024-06-28"), ("2024-07-01", "2024-09-28"),
    ]  # fmt: skip
    assert splits.how.endswith("; the folds follow each other in time")
    assert sl.split(table, "y", time="day", folds=0).blocks == ()


def test_the_newest_rows_are_newer_than_all_others():
    table = table_of(["a", "b"] * 300, t=[float(i // 2) for i in range(600)])
    splits = sl.split(table, "y", time="t", valid=0, test=60, folds=5)
    assert splits.newest.sum() == 108
    assert splits.newest_from_older
    assert np.flatnonzero(splits.newest).tolist() == list(range(432, 540))
    assert sl.split(table, "y", time="t", valid=0, test=60, folds=6).newest is None  # 90 rows
    assert sl.split(table, "y", valid=0, test=60, folds=5).newest is None
    assert sl.split(table, "y", time="t").newest is None


def test_groups_stay_whole_in_folds_by_time():
    random = np.random.default_rng(0)
    group = random.integers(0, 60, 900)
    time = group + random.normal(0, 1, 900)  # a group lasts some units of time
    groups = [f"g{n}" for n in group]
    table = table_of(["a", "b"] * 450, g=groups, t=time.tolist())
    splits = sl.split(table, "y", time="t", group="g", valid=0, test=0.1, folds=5)
    fold_of = dict(zip(group[splits.train], splits.folds, strict=True))
    assert all(
        fold_of[g] == fold for g, fold in zip(group[splits.train], splits.folds, strict=True)
    )
    assert not set(group[splits.test]) & set(fold_of)
    last = {g: time[splits.train][group[splits.train] == g].max() for g in fold_of}
    order = sorted(fold_of, key=last.__getitem__)
    assert [fold_of[g] for g in order] == sorted(fold_of.values())
    assert "; the folds follow each other in time, in whole groups of g; " in splits.how  # fmt: skip
    assert "rows of the newest fold are older than some rows of the others" in splits.how
    assert (time[splits.train][splits.newest] > time[splits.train][splits.folds < 4].max()).all()
    # A group of all times makes the newest fold as old as the others: all of it counts then.
    wide = table_of(
        ["a", "b"] * 450,
        g=["g0" if n % 3 == 0 else g for n, g in enumerate(groups)],
        t=time.tolist(),
    )
    splits = sl.split(wide, "y", time="t", group="g", valid=0, test=0, folds=5)
    assert (splits.newest == (splits.folds == 4)).all()
    assert not splits.newest_from_older


def test_a_split_that_leaves_few_training_rows_says_so():
    table = table_of(["a", "b"] * 500)
    (note,) = sl.split(table, "y", valid=0, test=0.99).notes
    assert note == (
        "Only 10 rows of 1,000 (1 %) are for training, fewer than the 990 for validation and test: "
        "lower valid (--valid) or test (--test)"
    )
    assert sl.split(table, "y", valid=0.25, test=0.25).notes == ()
    assert sl.split(table, "y", test={"x": [1.5] * 2000, "y": ["a", "b"] * 1000}).notes == ()


@pytest.mark.parametrize(
    ("rows", "classes"), [(1, 1), (10, 2), (40, 15), (40, 17), (5_000, 3), (5_000, 4_000)]
)
def test_the_front_of_the_stratified_order_needs_not_all_of_it(rows, classes):
    random = np.random.default_rng(0)
    for seed in range(3):
        labels = random.integers(0, classes, rows)
        whole = stratified_order(labels, seed)
        assert sorted(whole.tolist()) == list(range(rows))
        for first in (0, 1, rows // 10, rows):
            assert (stratified_order(labels, seed, first) == whole[:first]).all()
