"""Rows to predict, in the forms in which people have them."""

import re

import numpy as np
import pandas as pd
import pytest

import sightline as sl
from sightline.errors import DataError


@pytest.fixture(scope="module")
def model(fitted):
    return sl.Model.load(fitted / "runs" / "a" / "model.sightline")


def test_rows_as_dicts_as_series_and_as_named_tuples(model, penguins):
    frame = pd.read_csv(penguins).head(4)
    expected = model.predict_proba(frame)
    row = frame.iloc[0].to_dict()
    for rows in (
        frame.to_dict("records"), tuple(frame.to_dict("records")), list(frame.itertuples(index=False)),
        [frame.iloc[number] for number in range(4)],
    ):  # fmt: skip
        np.testing.assert_allclose(model.predict_proba(rows), expected, atol=1e-6)
        assert model.predict(rows).tolist() == model.predict(frame).tolist()
    for one in (row, frame.iloc[0], [row]):
        np.testing.assert_allclose(model.predict_proba(one), expected[:1], atol=1e-6)
    assert model.predict([row, row]).shape == (2,)
    assert model.predict_proba([]).shape == (0, 3)


def test_a_row_of_several_may_lack_a_value_but_not_all_of_them(model, penguins):
    row = sl.read(penguins).row(0)
    lacking = {name: value for name, value in row.items() if name != "year"}
    found = model.predictions([row, lacking])
    assert found.missing["year"] == 1
    with pytest.raises(DataError, match="has no column 'year', which the model needs"):
        model.predict([lacking, lacking])


@pytest.mark.parametrize(
    ("rows", "what"), [([[1, 2]], "Row 0 of the list is a list"), ([{"year": 1}, 7], "Row 1 of the list is an int"),
                       (["a.csv"], "Row 0 of the list is a str"), ([None], "Row 0 of the list is None")],
)  # fmt: skip
def test_a_row_without_names_is_refused_with_the_names(model, rows, what):
    message = f"{what}, which names no columns. The columns are: 'island', 'bill_length_mm', "
    with pytest.raises(DataError, match=re.escape(message)):
        model.predict_proba(rows)


def test_a_table_of_rows(penguins):
    table = sl.read([{"x": 1.5, "y": "a"}, {"y": "b", "z": True}])
    assert (table.rows, list(table.columns), table.name) == (2, ["x", "y", "z"], "a list of rows")
    assert table.row(1) == {"x": None, "y": "b", "z": True}
    with pytest.raises(DataError, match="The list of rows is empty"):
        sl.read([])
    with pytest.raises(DataError, match="Row 0 of the list is a list, which names no columns"):
        sl.read([[1, 2], [3, 4]])
