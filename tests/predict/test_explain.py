import json

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataError
from tests.predict.networks import Own
from tests.predict.tables import columns, row, train

DATA = columns()


@pytest.fixture(scope="module")
def expected(every):
    return every.predict_proba(DATA)


def test_explain_follows_one_row(every, expected):
    given = row(DATA, 10)
    found = every.explain(given)
    assert found.raw["size"] == given["size"]
    assert found.raw["city"] == given["city"]
    assert list(found.encoded) == [
        f.name for f in (*every.spec.numeric, *every.spec.categorical)
    ]  # fmt: skip
    np.testing.assert_allclose(found.probabilities, expected[10], rtol=1e-5)
    assert found.prediction == every.predict(DATA)[10]
    assert found.classes == ("no", "yes")
    names = [layer.name for layer in found.layers]
    assert names[0].startswith("Input layer: ")
    assert names[-2:] == ["Hidden layer 1: Linear + ReLU", "Output layer: Linear + softmax"]
    assert found.logits == pytest.approx([v for _, v in sorted(found.layers[-1].largest)])
    exps = np.exp(found.logits)
    np.testing.assert_allclose(found.probabilities, exps / exps.sum(), rtol=1e-5)
    json.dumps(found.to_json(), allow_nan=False)


def test_explain_shows_a_network_of_ones_own_by_its_modules():
    names = [layer.name for layer in train(DATA, network=Own).explain(row(DATA, 1)).layers]
    assert names[1:] == ["layers.0: Linear", "layers.1: Tanh", "layers.2: Linear"]


def test_explain_says_what_is_missing_unseen_and_out_of_range(every):
    given = {**row(DATA, 10), "size": None, "city": "atlantis", "day": "2050-01-01"}
    found = every.explain(given)
    assert found.notes == (
        "size is missing",
        "city has a value never seen in training",
        "day is outside the training range",
    )
    assert found.encoded["city"] == 1.0
    assert found.encoded["size is missing"] == 1.0
    assert found.error is None


def test_many_columns_share_a_note_and_a_sentence():
    names = [f"n{place}" for place in range(13)]
    data = {name: [float(i % 7) for i in range(40)] for name in names}
    model = train({**data, "y": ["no", "yes"] * 20}, kinds={})
    far = dict.fromkeys(names, 99.0)
    said = (
        "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 3 more columns are outside the training range"
    )
    assert model.explain(far).notes == (said,)
    (sentence,) = model.predictions(far).report()
    assert sentence.endswith("n8 1, n9 1 and 3 more columns.")


def test_a_key_that_is_not_there_is_an_error_but_none_is_missing(every):
    given = row(DATA, 10)
    assert every.explain({**given, "city": None}).notes == ("city is missing",)
    del given["city"]
    with pytest.raises(DataError, match="no column 'city', which the model needs"):
        every.explain(given)


def test_explain_says_why_a_row_has_no_prediction(every):
    found = every.explain({**row(DATA, 10), "size": "large"})
    assert found.prediction is None
    assert "'large' is not a finite number" in found.error


@pytest.mark.parametrize("rows", [0, 2])
def test_explain_takes_one_row(every, rows):
    with pytest.raises(DataError, match=f"{rows} rows were given to explain"):
        every.explain({name: values[:rows] for name, values in DATA.items()})


def test_explain_a_regression(number, penguins):
    table = sl.read(penguins)
    found = number.explain({name: table.cells(name, 5) for name in table.columns})
    assert found.probabilities == ()
    assert found.prediction == pytest.approx(number.predict(penguins)[5], rel=1e-5)
    assert found.layers[-1].name == "Output layer: Linear + scale"
