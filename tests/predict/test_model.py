from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest

import sightline as sl
from sightline.errors import DataError, OptionError
from tests.predict.networks import Members
from tests.predict.tables import KINDS, ROWS, columns, row, train

DATA = columns()


def same(first, second):
    return np.array_equal(first, second, equal_nan=True)


# ------------------------------------------------------------- what goes in


@pytest.fixture(scope="module")
def expected(every):
    return every.predict_proba(DATA)


def test_probabilities_are_probabilities(every, expected):
    assert expected.shape == (ROWS, 2)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    assert (every.predict(DATA) == np.array(["no", "yes"])[expected.argmax(axis=1)]).all()


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, sl.read], ids=["pd", "pl", "sl"])
def test_frames_give_the_same_as_a_dict(every, expected, make):
    assert same(every.predict_proba(make(DATA)), expected)


def test_files_give_the_same_as_a_dict(every, expected, tmp_path):
    frame = pl.DataFrame(DATA)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_ndjson(tmp_path / "a.jsonl")
    for name in ("a.csv", "a.parquet", "a.jsonl"):
        assert same(every.predict_proba(tmp_path / name), expected), name


def test_the_order_of_columns_and_the_company_of_a_row_do_not_matter(every, expected):
    turned = {name: DATA[name] for name in reversed(DATA)}
    assert same(every.predict_proba(turned), expected)
    for number in (0, 9, 11, 30):
        np.testing.assert_allclose(
            every.predict_proba(row(DATA, number))[0], expected[number], rtol=1e-5
        )


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series, pl.Series])
def test_columns_may_be_any_sequence(number_model, kind):
    given = {"x": kind([1.0, 2.0])}
    assert same(number_model.predict_proba(given), number_model.predict_proba({"x": [1.0, 2.0]}))
    assert number_model.predict_proba({"x": range(3)}).shape == (3, 2)


@pytest.fixture(scope="module")
def number_model():
    return train({"x": [i / 3 for i in range(ROWS)], "y": [i % 2 for i in range(ROWS)]})


def test_numbers_as_text_and_codes_as_floats():
    data = {"x": [i / 3 for i in range(ROWS)], "code": [i % 4 for i in range(ROWS)]}
    model = train({**data, "y": DATA["y"]}, kinds={"code": "categorical"})
    plain = model.predictions({"x": 1.5, "code": 2})
    for given in (
        {"x": "1.5", "code": "2"}, {"x": np.float64(1.5), "code": 2.0},
        {"x": " 1.5 ", "code": np.int8(2)},
    ):  # fmt: skip
        found = model.predictions(given)
        assert same(found.values, plain.values), given
        assert found.unseen == {}


def test_no_rows_give_no_predictions(every):
    for nothing in ({name: [] for name in DATA}, pd.DataFrame(DATA).iloc[:0]):
        found = every.predictions(nothing)
        assert found.labels.shape == (0,)
        assert found.values.shape == (0, 2)
        assert found.report() == []


def test_many_rows_are_cut_into_parts(every, expected):
    times = 300  # more than one part of 16,384 rows
    long = {name: values * times for name, values in DATA.items()}
    found = every.predictions(long)
    np.testing.assert_allclose(found.values, np.tile(expected, (times, 1)), rtol=1e-5)
    assert found.missing["size"] == 7 * times


def test_a_missing_column_is_named_with_the_nearest(every):
    data = {name.replace("size", "Size"): values for name, values in DATA.items()}
    with pytest.raises(DataError, match=r"no column 'size'.*Did you mean 'Size'\?"):
        every.predict(data)


def test_extra_columns_are_named(every, expected):
    found = every.predictions({**DATA, "<b>": [1] * ROWS, 'q"': ["x"] * ROWS})
    assert found.extra == ("<b>", 'q"')
    assert same(found.values, expected)
    assert found.report()[0] == 'Ignored, because the model does not know them: <b>, q".'
    many = every.predictions({**DATA, **{f"e{i}": [1] * ROWS for i in range(12)}})
    assert "e9 and 2 more." in many.report()[0]


def test_what_was_noticed_is_counted_per_column(every):
    data = columns()
    data["size"][1], data["size"][2] = 1e9, -1e9
    data["city"][3], data["city"][4] = "atlantis", "el dorado"
    data["day"][5] = "2050-01-01"
    data["note"][6] = None
    found = every.predictions(data)
    assert found.missing == {"size": 7, "city": 6, "note": 1}
    assert found.unseen == {"city": 2}
    assert (found.out_of_range["size"], found.out_of_range["day"]) >= (2, 1)
    said = " ".join(found.report())
    assert "values never seen in training: city 2." in said
    assert "missing values: size 7, city 6, note 1." in said


# ------------------------------------------------------------- bad rows


def test_bad_rows_give_an_empty_prediction_with_its_error(every, expected, tmp_path):
    frame = pl.DataFrame(DATA).select("size", "city", "paid", "day", "note")
    frame.write_csv(tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    for number, cells in (
        (3, "many,c1,true,1970-01-01,red"),
        (5, "1.5,c1"),
        (7, "inf,c1,true,1970-01-01,red"),
        (8, "1.5,c1,true,yesterday,red"),
        (10, "1.5,c1,perhaps,1970-01-01,red"),
        (12, "1,2,3,4,5,6,7"),
    ):
        lines[number + 1] = cells
    (tmp_path / "b.csv").write_text("\n".join(lines) + "\n")
    found = every.predictions(tmp_path / "b.csv")
    errors = dict(found.bad)
    assert sorted(errors) == [3, 5, 7, 8, 10, 12]
    assert "column 'size': 'many' is not a finite number" in errors[3]
    assert "'inf' is not a finite number" in errors[7]
    assert "column 'day': 'yesterday' is not a date" in errors[8]
    assert "column 'paid': 'perhaps' is not a truth value" in errors[10]
    assert len(found.labels) == len(found.values) == ROWS
    for number in range(ROWS):
        assert (found.labels[number] is None) == (number in errors)
        assert np.isnan(found.values[number]).all() == (number in errors)
    good = [number for number in range(ROWS) if number not in errors]
    np.testing.assert_allclose(found.values[good], expected[good], rtol=1e-5)
    assert "6 rows have no prediction; the first is row 3: " in found.report()[-1]
    whole = every.predictions({name: [DATA[name][row] for row in good] for name in frame.columns})
    assert (found.missing, found.unseen) == (whole.missing, whole.unseen)  # of rows predicted alone


def test_one_bad_date_in_memory_refuses_its_own_row_alone():
    rows = columns()
    moments = [date.fromisoformat(day) for day in rows["day"]]
    model = train({**rows, "day": moments})
    days = ["1970-05-01", "2020-02-31", "nonsense", "1971-05-01", ""]
    texts = {**{name: values[:5] for name, values in rows.items()}, "day": days}
    found = model.predictions(texts)
    assert [(row, error.split(": ")[1]) for row, error in found.bad] == [
        (1, "'2020-02-31' is not a date"), (2, "'nonsense' is not a date"),
    ]  # fmt: skip
    assert [label is None for label in found.labels] == [False, True, True, False, False]
    for days in (
        ["02/01/1970", "25/01/1970"],
        ["02/01/1970", "02/25/1970"],
    ):  # day first, or month?
        few = {name: values[:2] for name, values in rows.items()}
        assert [bad for bad, _ in model.predictions({**few, "day": days}).bad] == [0, 1]
    dotted = model.predictions({**few, "day": ["02.01.1970", "25.01.1970"]})
    plain = model.predictions({**few, "day": ["1970-01-02", "1970-01-25"]})
    assert not dotted.bad
    assert same(dotted.values, plain.values)
    alone = {**row(rows, 0), "day": "nonsense"}
    assert model.predictions(alone).bad[0].error == "column 'day': 'nonsense' is not a date"


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), "a word", "1,5", "１２"])
def test_a_bad_value_in_memory(number_model, value):
    found = number_model.predictions({"x": value})
    assert found.labels.tolist() == [None]
    assert np.isnan(found.values).all()
    assert "column 'x'" in found.bad[0].error
    assert found.report()[-1].startswith("1 row has no prediction; the first is row 0")


def test_a_word_among_numbers_in_memory_refuses_its_own_row_alone(number_model):
    for source in (
        {"x": [1.5, "many", None]},
        pd.DataFrame({"x": [1.5, "many", None]}, dtype=object),
    ):
        found = number_model.predictions(source)
        assert [tuple(bad) for bad in found.bad] == [
            (1, "column 'x': 'many' is not a finite number")
        ]
        assert np.isnan(found.values[:, 0]).tolist() == [False, True, False]


def test_a_regression_with_a_bad_row(number, penguins):
    data = pd.read_csv(penguins).head(3).astype({"year": str})
    data.loc[1, "year"] = "soon"
    labels = number.predict(data)
    assert labels[1] is None
    assert all(isinstance(labels[i], float) for i in (0, 2))


# ------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ((3, 7), np.int64),
        ((0.5, 1.5), np.float64),
        ((False, True), np.bool_),
        (("<b>\n", "a"), object),
    ],
)
def test_labels_come_back_in_the_type_they_came_in(labels, dtype, tmp_path):
    data = columns(labels)
    model = train(data)
    model.save(tmp_path / "m.sightline")
    for one in (model, sl.Model.load(tmp_path / "m.sightline")):
        found = one.predict(data)
        assert found.dtype == dtype
        assert set(found.tolist()) <= set(labels)
        assert one.classes == labels
        assert all(type(a) is type(b) for a, b in zip(one.classes, labels, strict=True))
        assert one.spec.target.positive == labels[-1]


def test_the_positive_class_is_the_one_asked_for():
    model = train(DATA, positive="no")
    assert model.spec.target.positive == "no"
    assert model.evaluate(DATA)["positive"] == "no"


def test_thirty_classes():
    data = {"size": [i / 7 for i in range(300)], "y": [f"k{i % 30:02}" for i in range(300)]}
    model = train(data)
    assert model.predict_proba(data).shape == (300, 30)
    assert model.spec.target.positive is None


def test_a_regression_predicts_numbers(number, penguins):
    found = number.predict(penguins)
    assert found.dtype == np.float64
    assert found.shape == (344,)
    with pytest.raises(OptionError, match=r"'body_mass_g', a number.*predict\(\)"):
        number.predict_proba(penguins)


def test_a_regression_on_whole_numbers():
    model = train({**columns(), "y": [i % 5 for i in range(ROWS)]}, task="regression")
    assert model.classes == ()
    assert model.predict(DATA).dtype == np.float64


def test_members_are_averaged():
    model = train(DATA, network=Members)
    values = model.predict_proba(DATA)
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)
    explained = model.explain(row(DATA, 3))
    np.testing.assert_allclose(explained.probabilities, values[3], rtol=1e-5)
    assert len(explained.logits) == 2


# ------------------------------------------------------------- evaluate


def test_evaluate_measures_and_counts_what_it_leaves_out(every):
    data = {name: values[1:] for name, values in columns().items()}
    data["y"][0] = None
    data["size"] = [str(value) if value is not None else None for value in data["size"]]
    data["size"][5] = "large"
    found = every.evaluate(data)
    assert (found["rows"], found["left_out"]) == (ROWS - 3, 2)
    assert found["baseline"]["what"].startswith("the training rows' majority class")


def test_evaluate_without_a_target(every):
    with pytest.raises(DataError, match="no column 'y', the target"):
        every.evaluate({name: values for name, values in DATA.items() if name != "y"})


def test_evaluate_a_class_the_model_does_not_know(every):
    data = columns()
    data["y"][4] = "perhaps"
    with pytest.raises(DataError, match=r"row 4: the class 'perhaps' is none of .*\(no, yes\)"):
        every.evaluate(data)


def test_evaluate_without_a_known_target(every):
    with pytest.raises(DataError, match="no row with a target"):
        every.evaluate({**DATA, "y": [None] * ROWS})


def test_measure_some_rows_alone(every):
    found = every.predictions(DATA)
    assert every.measure(found, np.array([1, 2, 3]))["rows"] == 3


# ------------------------------------------------------------- odd names


def test_names_that_are_hard_to_write_come_through(tmp_path):
    hard = ['q"uo,te\n', "emoji 😀", "<script>alert(1)</script>", "a.b", "é" * 1000]
    data = {name: [i * 1.5 + j for i in range(ROWS)] for j, name in enumerate(hard)}
    labels = ['"a",\n', "<b>😀"]
    model = train({**data, "y": [labels[i % 2] for i in range(ROWS)]})
    model.save(tmp_path / "m.sightline")
    again = sl.Model.load(tmp_path / "m.sightline")
    assert set(again.predict(data)) <= set(labels)
    assert list(again.explain(dict.fromkeys(hard, 1.0)).raw) == hard


def test_kinds_in_a_table_of_ones_own_do_not_bind_the_model(every, expected):
    table = sl.read(DATA, kinds={**KINDS, "note": "categorical"})
    assert same(every.predict_proba(replace(table, name="mine")), expected)


def test_bad_rows_of_a_table_that_was_read_stay_bad():
    rows = columns()
    model = train(rows)
    rows["size"] = ["hello", *("" if one is None else str(one) for one in rows["size"][1:])]
    once = model.predictions(rows)
    assert [row for row, _ in once.bad] == [0]
    again = model.predictions(model.read(rows))
    assert again.bad == once.bad
    assert np.isnan(again.values[0]).all()
