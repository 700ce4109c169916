from datetime import date, timedelta

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.contracts import SCALINGS
from sightline.errors import DataError, OptionError

ROWS = 60
KINDS = {
    "size": "numeric", "city": "categorical", "paid": "boolean", "day": "datetime", "note": "text",
}  # fmt: skip
TARGET = ["a", "b", "c"] * (ROWS // 3)


def columns():
    return {
        "size": [None if i % 9 == 0 else i / 4 + 0.1 for i in range(ROWS)],
        "city": [f"c{i % 5}" for i in range(ROWS)],
        "paid": [i % 2 == 0 for i in range(ROWS)],
        "day": [(date(1969, 1, 1) + timedelta(17 * i)).isoformat() for i in range(ROWS)],
        "note": [f"red w{i % 7} number {i}" for i in range(ROWS)],
    }


def prepared_of(data, numeric=None, target=TARGET):
    return sl.prepare(
        sl.split(sl.read({**data, "y": target}, kinds=KINDS), target="y"), numeric=numeric
    )


def statistics(prepared):
    schema = prepared.encoder.schema
    return (
        prepared.encoder.encodings, dict(schema.ranges), dict(schema.vocabularies), prepared.spec,
        {name: buffer.tolist() for name, buffer in prepared.transform.state_dict().items()},
        prepared.train.numeric.tolist(), prepared.train.categorical.tolist(),
    )  # fmt: skip


HELD_OUT = sorted(
    {*(splits := sl.split(sl.read({**columns(), "y": TARGET}), target="y")).valid, *splits.test}
)
ORIGINAL = {scaling: statistics(prepared_of(columns(), scaling)) for scaling in SCALINGS}
changes = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-1e300, 1e300).map(lambda x: x + 0.5),
        "city": st.none() | st.text("abc0é,", min_size=1),
        "paid": st.none() | st.booleans(),
        "day": st.none() | st.dates().map(str),
        "note": st.none() | st.text("red w1number ", min_size=1),
    }
)


@pytest.mark.parametrize("scaling", SCALINGS)
@settings(max_examples=15, deadline=None)
@given(st.lists(changes, min_size=len(HELD_OUT), max_size=len(HELD_OUT)))
def test_no_statistic_sees_a_validation_or_test_row(scaling, values):
    data = columns()
    for row, changed in zip(HELD_OUT, values, strict=True):
        for name, value in changed.items():
            data[name][row] = value
    assert statistics(prepared_of(data, scaling)) == ORIGINAL[scaling]


def test_statistics_do_see_the_training_rows():
    row = next(row for row in range(ROWS) if row not in HELD_OUT)
    for name, value in (
        ("size", 1e6), ("city", "new"), ("day", "1900-01-01"), ("note", "red red"), ("paid", None),
    ):  # fmt: skip
        data = columns()
        data[name][row] = value
        assert statistics(prepared_of(data)) != ORIGINAL["robust"], name


@pytest.mark.parametrize("scaling", SCALINGS)
def test_shapes_types_and_names_agree(scaling):
    prepared = prepared_of(columns(), scaling)
    D, C = len(prepared.spec.numeric), len(prepared.spec.categorical)
    rows = 0
    for batch in (prepared.train, prepared.valid, prepared.test):
        assert batch.numeric.shape == (len(batch.row), D)
        assert batch.categorical.shape == (len(batch.row), C)
        assert (batch.numeric.dtype, batch.categorical.dtype) == (torch.float32, torch.int32)
        assert (batch.target.dtype, batch.row.dtype) == (torch.int64, torch.int64)
        assert torch.isfinite(batch.numeric).all()
        rows += len(batch.row)
    assert rows == ROWS
    names = [feature.name for feature in prepared.spec.numeric]
    assert names[0] == "size"
    assert names[-1] == "size is missing"
    cities = prepared.spec.categorical[0]
    assert (cities.name, cities.cardinality) == ("city", 7)


def test_a_table_of_numbers_alone_or_categories_alone_has_both_tensors():
    for name, shapes in (("size", (2, 0)), ("city", (0, 1))):
        table = sl.read({name: columns()[name], "y": TARGET}, kinds={name: KINDS[name]})
        batch = sl.prepare(sl.split(table, target="y")).train
        assert (batch.numeric.shape[1], batch.categorical.shape[1]) == shapes


def test_the_target_of_a_regression_keeps_its_unit(penguins, weight):
    assert weight.train.target.dtype == torch.float64
    assert 2000 < weight.train.target.min() < weight.train.target.max() < 7000


def test_edges_are_increasing_and_flags_have_none(species):
    for feature in species.spec.numeric:
        if feature.name.endswith(" is missing"):
            assert feature.edges == ()
        else:
            assert 2 <= len(feature.edges) <= 17
            assert list(feature.edges) == sorted(set(feature.edges))


def test_numbers_of_few_values_are_discrete_and_each_has_a_bin():
    random = np.random.default_rng(0)
    table = {"size": random.normal(size=4000), "count": random.integers(0, 30, 4000).astype(float),
             "same": np.ones(4000), "many": random.integers(0, 60, 4000).astype(float),
             "y": random.integers(0, 2, 4000).tolist()}  # fmt: skip
    kinds = dict.fromkeys(("size", "count", "same", "many"), "numeric")
    splits = sl.split(sl.read(table, kinds=kinds), "y", valid=0, test=0)
    found = {feature.name: feature for feature in sl.prepare(splits).spec.numeric}
    assert {name: feature.discrete for name, feature in found.items()} == {
        "size": False, "count": True, "same": False, "many": False,  # 4,000 rows allow 40 values
    }  # fmt: skip
    assert len(found["count"].edges) == 31
    assert len(found["size"].edges) == len(found["many"].edges) == 17


def test_features_of_one_name_are_told_apart():
    data = columns()
    named = {
        "day": data["day"], "day.year": [i + 0.5 for i in range(ROWS)], "day.month": data["city"],
        "size": data["size"], "size is missing": data["size"][::-1], "y": TARGET,
    }  # fmt: skip
    prepared = sl.prepare(sl.split(sl.read(named), target="y"), numeric="robust")
    names = [f.name for f in (*prepared.spec.numeric, *prepared.spec.categorical)]
    assert len(set(names)) == len(names)
    assert {"day.year", "day.year (2)", "size is missing", "day.month (2)"} <= set(names)
    ways = {one["column"]: one["way"] for one in prepared.describe()}
    middle = np.median(np.array(named["day.year"])[prepared.splits.train])
    assert f"minus the median {middle:.4g}" in ways["day.year"]
    edges = {f.name: f.edges for f in prepared.spec.numeric}
    assert edges["size is missing"], "a real column, with quantiles"


@pytest.mark.parametrize("scaling", SCALINGS)
def test_a_feature_missing_in_all_training_rows_but_there_in_a_test_row(scaling):
    data = columns()
    data["size"] = [None] * ROWS
    data["size"][HELD_OUT[0]] = 1e5
    prepared = prepared_of(data, scaling)
    place = [f.name for f in prepared.spec.numeric].index("size")
    assert (prepared.train.numeric[:, place] == 0).all()
    for batch in (prepared.valid, prepared.test):
        assert torch.isfinite(batch.numeric).all()


def test_held_out_values_out_of_range_and_unseen_are_noted():
    data = columns()
    data["size"][HELD_OUT[0]] = 1e5
    data["city"][HELD_OUT[1]] = "atlantis"
    data["city"][HELD_OUT[2]] = "el dorado"
    notes = prepared_of(data).notes
    assert any("outside the training range" in note and "size 1" in note for note in notes)
    assert any("2 held-out categories were never seen" in n and "city 2" in n for n in notes)


def test_describe_tells_every_columns_way():
    data = {**columns(), "one": ["same"] * ROWS}
    ways = {one["column"]: one["way"] for one in prepared_of(data, "minmax").describe()}
    assert ways["size"].startswith("scaled to 0..1 (0.35 to ")
    assert ways["size"].endswith("and flagged")
    assert ways["city"] == "5 training values get codes 2..6; 0 is missing, 1 unseen"
    assert ways["day"].startswith("days since the first training date, year, month, day, weekday;")
    assert "n-grams" in ways["note"]
    assert ways["one"] == "left out: one value in every row: same"
    assert ways["y"] == "class numbers: 0 a, 1 b, 2 c"


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        ("standard", "minus the mean"), ("robust", "minus the median"),
        ("quantile", "by rank to a normal distribution"), ("none", "as it is"),
    ],
)  # fmt: skip
def test_describe_names_the_scaling(scaling, said):
    assert said in prepared_of(columns(), scaling).describe()[0]["way"]


def unscaled(spread_x, spread_y, scaling="none"):
    """Return the notes on two columns of numbers with these standard deviations, about."""
    random = np.random.default_rng(0)
    table = {"x": random.normal(size=300) * spread_x, "z": random.normal(size=300) * spread_y,
             "word": random.choice(["a rare word", "another one", "a third"], 300).tolist(), "y": ["a", "b"] * 150}  # fmt: skip
    kinds = {"word": "text"}
    splits = sl.split(sl.read(table, kinds=kinds), target="y")
    notes = sl.prepare(splits, numeric=scaling).notes
    return [note for note in notes if note.startswith("numbers are not scaled")]


def test_unscaled_numbers_of_unlike_sizes_are_noted():
    (note,) = unscaled(0.1, 50_000)
    assert "z has a standard deviation of 4." in note
    assert ", x one of 0.1" in note
    assert "--numeric" in note
    assert len(unscaled(5_000, 5_000)) == 1  # all are too large
    assert len(unscaled(1e-4, 1)) == 1


@pytest.mark.parametrize("spreads", [(1, 1), (20, 0.1), (90, 90), (0, 1), (0, 0)])
def test_numbers_that_need_no_scaling_are_not(spreads):
    assert unscaled(*spreads) == []


@pytest.mark.parametrize("scaling", ["quantile", "standard", "robust", "minmax"])
def test_scaled_numbers_are_not_noted(scaling):
    assert unscaled(0.1, 50_000, scaling) == []


def test_text_without_a_repeated_word_is_left_out_and_said():
    data = {**columns(), "note": [" ".join(f"w{i}x{j}" for j in range(5)) for i in range(ROWS)]}
    prepared = prepared_of(data)
    assert "note" not in {f.column for f in prepared.spec.numeric}
    way = next(one["way"] for one in prepared.describe() if one["column"] == "note")
    assert way.startswith("left out: ")
    assert way.endswith("no word occurs in two training rows")


def test_nothing_but_such_text_is_refused_by_name():
    texts = [" ".join(f"w{i}x{j}" for j in range(5)) for i in range(ROWS)]
    table = sl.read({"note": texts, "y": TARGET}, kinds={"note": "text"})
    with pytest.raises(DataError, match=r"no word occurs in two rows \('note'\).*--kind"):
        sl.prepare(sl.split(table, target="y"))


def test_an_unknown_scaling(species):
    with pytest.raises(OptionError, match=r"'minmx'.*Did you mean 'minmax'\?"):
        sl.prepare(species.splits, numeric="minmx")


def test_names_that_are_hard_to_write_come_through():
    hard = ['q"uo,te\n', "emoji 😀", "<script>alert(1)</script>", "a.b", "'", " is missing"]
    data = {name: [i * 1.5 + j for i in range(ROWS)] for j, name in enumerate(hard)}
    prepared = sl.prepare(sl.split(sl.read({**data, "y": TARGET}), target="y"))
    assert [feature.name for feature in prepared.spec.numeric] == hard
    assert [one["column"] for one in prepared.describe()] == [*hard, "y"]


def test_a_hundred_thousand_categories():
    count = 100_000
    table = sl.read(
        {"c": [f"v{i}" for i in range(count)] * 2, "y": ["a", "b"] * count},
        kinds={"c": "categorical"},
    )
    prepared = sl.prepare(sl.split(table, target="y"))
    known = prepared.spec.categorical[0].cardinality - 2
    assert 0.95 * count < known <= count
    assert prepared.train.categorical.min() == 2
    assert prepared.train.categorical.max() == known + 1


def test_the_source_gives_the_training_rows(species):
    batches = list(species.source(batch_size=100).batches(epoch=1))
    rows = torch.cat([batch.row for batch in batches])
    assert sorted(rows.tolist()) == sorted(species.train.row.tolist())


def test_the_room_may_be_called_as_the_function():
    import sightline.prepare

    splits = sl.split(sl.read({**columns(), "y": TARGET}, kinds=KINDS), target="y")
    assert sightline.prepare(splits, numeric="minmax").transform.scaling == "minmax"


# ------------------------------------------------------------- weights


def weighted():
    weights = [(i + 1) / 4 for i in range(ROWS)]
    table = sl.read({**columns(), "w": weights, "y": TARGET}, kinds=KINDS)
    return weights, sl.prepare(sl.split(table, target="y", weight="w"))


def test_each_part_has_its_rows_weights():
    weights, prepared = weighted()
    for part in (prepared.train, prepared.valid, prepared.test):
        assert part.weight.dtype == torch.float32
        assert part.weight.tolist() == [weights[row] for row in part.row.tolist()]


def test_a_weight_is_not_seen_by_the_network():
    _, prepared = weighted()
    plain = prepared_of(columns())
    assert prepared.spec == plain.spec
    assert torch.equal(prepared.train.numeric, plain.train.numeric)
    assert plain.train.weight is None


def test_a_batch_has_its_rows_weights():
    weights, prepared = weighted()
    for batch in prepared.source(batch_size=7, seed=3).batches(2):
        assert batch.weight.tolist() == [weights[row] for row in batch.row.tolist()]


def test_prediction_needs_no_weight():
    _, prepared = weighted()
    model = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1, device="cpu").model()
    assert model.predict_proba(columns()).shape == (ROWS, 3)


def test_a_weight_that_is_none_is_refused():
    table = sl.read({**columns(), "w": [-1.5, *[1.0] * (ROWS - 1)], "y": TARGET}, kinds=KINDS)
    with pytest.raises(DataError, match=r"weight 'w' of row 0 is -1\.5"):
        sl.prepare(sl.split(table, target="y", weight="w"))


def test_a_split_with_few_training_rows_is_among_the_notes():
    table = sl.read({"x": [i % 7 + 0.5 for i in range(500)], "y": ["a", "b"] * 250})
    splits = sl.split(table, "y", test=0.8)
    assert len(splits.notes) == 1
    assert sl.prepare(splits).notes[0] == splits.notes[0]
