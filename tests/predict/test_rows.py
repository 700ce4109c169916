"""Single rows without a table: encoded as a table of them would be."""

import copy
import datetime as dt
import pickle
import sys
import threading
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DataError
from sightline.predict import rows as r
from sightline.predict.rows import RowEncoder
from tests.predict.tables import columns, row, train

DATA = columns()
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["c1", " c1", "c1 ", "C1", "", " ", "NA", "nan", "None", "3", "3.0", "1,5", "1.5", "1e3", "inf", "true", "TRUE",
     "1970-02-03", "1970-02-03T04:05:06", "03.02.1970", "red w1", "RED W1 number", "number number", "_", "İ ß"]
)  # fmt: skip
NUMBERS = (
    st.floats()
    | st.integers(-(2**70), 2**70)
    | st.floats(width=32).map(np.float32)
    | st.integers(0, 9).map(np.int64)
)
OTHERS = st.none() | st.booleans() | st.sampled_from(
    [Decimal("1.5"), pd.NA, pd.NaT, np.bool_(True), dt.date(1970, 3, 4), dt.datetime(1970, 3, 4, 5, 6, 7, 89),
     dt.datetime(1970, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=3))), np.datetime64("1970-03-04"),
     pd.Timestamp("1970-03-04T05:06"), b"c1", dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)]
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return train(DATA)


def by_table(model, given):
    """Return a row's prediction through a table, or the error."""
    try:
        return model.predictions({name: [value] for name, value in given.items()}).values[0]
    except sl.SightlineError as error:
        return type(error)


def by_row(model, given):
    try:
        return model.predictor().predict_proba(given)[0]
    except sl.SightlineError as error:
        return type(error)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_row_is_encoded_as_a_table_of_it(model, data):
    given = row(DATA, data.draw(st.integers(0, 59)))
    for name in data.draw(st.lists(st.sampled_from(list(given)), max_size=3)):
        given[name] = data.draw(TEXTS | NUMBERS | OTHERS)
    wanted = by_table(model, given)
    for _ in range(2):  # the second time from memory
        found = by_row(model, given)
        if isinstance(wanted, type):
            assert found is wanted
        else:
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_every_row_of_the_table_in_one_call_and_one_by_one(model):
    rows = [row(DATA, number) for number in range(60)]
    wanted = model.predictions(DATA).values
    predictor = model.predictor()
    np.testing.assert_allclose(predictor.predict_proba(rows), wanted, rtol=1e-5)
    for number in (0, 9, 11, 59):
        np.testing.assert_allclose(
            predictor.predict_proba(rows[number])[0], wanted[number], rtol=1e-5
        )
        np.testing.assert_allclose(model.predict_proba(rows[number])[0], wanted[number], rtol=1e-5)
        assert model.predict(rows[number]).tolist() == [model.predictions(DATA).labels[number]]
    assert predictor.predict_proba([]).shape == (0, 2)
    assert predictor.predict([]).shape == (0,)


def test_a_plain_row_builds_no_table(model, monkeypatch):
    encode = RowEncoder(model.encoder, model.read)
    given = {**row(DATA, 3), "day": dt.datetime(1969, 4, 5)}
    wanted = encode(given)
    monkeypatch.setattr(encode, "read", None)
    assert encode(given) == wanted
    assert encode({**given, "more": 1, "size": None}) is not None


def test_an_unusual_value_is_read_by_the_table_once(model):
    reads = []

    def read(given):
        reads.append(given)
        return model.read(given)

    encode = RowEncoder(model.encoder, read)
    for city in ("never seen", " c1", "never seen", "never seen"):
        encode({**row(DATA, 3), "city": city, "day": "1969-05-06", "size": "1.5"})
    assert len(reads) == 2
    assert encode({**row(DATA, 3), "city": " c1"})[1] == encode({**row(DATA, 3), "city": "c1"})[1]


def test_true_and_one_are_told_apart(model):
    encode = RowEncoder(model.encoder, model.read)
    for value in (1, True, 1.0, "1"):
        given = {**row(DATA, 3), "city": value}
        encoded = model.encoder.open(model.read(given))(slice(0, 1))
        for _ in range(2):
            assert encode(given)[1] == encoded.categorical[0].tolist()


def test_what_is_remembered_is_bounded(model, monkeypatch):
    monkeypatch.setattr(r, "REMEMBERED", 5)
    encode = RowEncoder(model.encoder, model.read)
    for number in range(20):
        encode({**row(DATA, 3), "city": f"new {number}"})
    city = next(found for name, found, _ in encode._columns if name == "city")
    assert len(city._known) <= 5


def test_rows_that_cannot_be_read(model):
    good = row(DATA, 3)
    predictor = model.predictor()
    found = predictor.predict_proba([good, {**good, "size": float("inf")}, good])
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[0], found[2])
    assert predictor.predict([{**good, "size": "abc"}, good]).tolist()[0] is None
    with pytest.raises(DataError, match=r"'city', 'size'|'size', 'city'"):
        predictor.predict_proba({name: good[name] for name in good if name not in ("city", "size")})
    with pytest.raises(DataError, match="'city'"):
        predictor.predict_proba([good, {name: good[name] for name in good if name != "city"}])


def test_a_regression_and_a_threshold():
    number = train(columns(target=(1.5, 2.5, 9.0)), task="regression")
    given = row(DATA, 4)
    np.testing.assert_allclose(
        number.predict(given), number.predict({k: [v] for k, v in given.items()}), rtol=1e-6
    )
    with pytest.raises(sl.SightlineError, match="has no probabilities"):
        number.predict_proba(given)


def test_other_settings_of_pytorch_do_not_matter(model):
    given = row(DATA, 5)
    wanted = model.predict_proba(given)
    torch.set_default_dtype(torch.float64)
    try:
        np.testing.assert_allclose(model.predict_proba(given), wanted, rtol=1e-6)
    finally:
        torch.set_default_dtype(torch.float32)
    model.network.train()
    try:
        np.testing.assert_array_equal(model.predict_proba(given), wanted)
    finally:
        model.network.eval()
    with torch.inference_mode():
        np.testing.assert_array_equal(model.predict_proba(given), wanted)


@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_threads_share_a_predictor(model, tmp_path, engine):
    if engine == "onnx":
        model.to_onnx(tmp_path / "m.onnx")
        predictor = sl.OnnxModel.load(tmp_path / "m.onnx").predictor()
    else:
        predictor = model.predictor()
    rows = [row(DATA, number) for number in range(60)]
    wanted = model.predictions(DATA).values
    wrong = []

    def work(start):
        for number in range(start, start + 60):
            given = {**rows[number % 60]}
            if number % 7 == 0:
                given["city"] = f"new {number}"  # is read by the table
                predictor.predict_proba(given)
                continue
            found = predictor.predict_proba(given)[0]
            if not np.allclose(found, wanted[number % 60], rtol=1e-4, atol=1e-6):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.parametrize(
    "value", [-999, -999.0, np.float64(-999), np.int64(-999), "-999", "?", 7, None]
)
def test_a_number_that_means_missing(value):
    data = {"size": [float(i % 7) for i in range(60)], "city": DATA["city"], "y": DATA["y"]}
    splits = sl.split(sl.read(data, missing=["-999", "?"], kinds={"city": "categorical"}), "y")
    prepared = sl.prepare(splits)
    torch.manual_seed(0)
    training = sl.Training(sl.MLP(prepared.spec, hidden=[8]), prepared, epochs=2)
    list(training)
    model = training.model()
    given = {"size": value, "city": "c1"}
    wanted = model.predict_proba({name: [one] for name, one in given.items()})
    for _ in range(2):
        np.testing.assert_allclose(model.predict_proba(given), wanted, rtol=1e-6)


def test_column_names_that_are_numbers():
    data = {0: [float(i) for i in range(60)], 1: DATA["city"], "y": DATA["y"]}
    frame = pd.DataFrame(data)
    model = train(frame, kinds={"0": "numeric", "1": "categorical"})
    wanted = model.predictions(frame).values[3]
    np.testing.assert_allclose(
        model.predict_proba({0: 3.0, 1: DATA["city"][3]})[0], wanted, rtol=1e-6
    )
    np.testing.assert_allclose(model.predict_proba(frame.iloc[3].to_dict())[0], wanted, rtol=1e-6)


class Keeping(torch.nn.Module):
    """Keeps a value between its layers, as a network of one's own may."""

    def __init__(self, spec):
        super().__init__()
        self.first = torch.nn.Linear(len(spec.numeric), 32)
        self.last = torch.nn.Linear(32, spec.outputs)

    def forward(self, numbers, codes):
        self.kept = torch.relu(self.first(numbers))
        self.kept = self.kept * 1
        return self.last(self.kept)


def test_a_network_that_keeps_values_is_run_by_one_thread_at_a_time():
    model = train(DATA, network=Keeping)
    predictor = model.predictor()
    rows = [row(DATA, number) for number in range(60)]
    wanted = [predictor.predict_proba(given)[0] for given in rows]
    wrong = []

    def work(start):
        for number in range(start, start + 150):
            found = predictor.predict_proba(rows[number % 60])[0]
            if not np.allclose(found, wanted[number % 60], rtol=1e-4):
                wrong.append(number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_a_model_that_has_predicted_a_row_is_copied_and_pickled(model, tmp_path):
    given = row(DATA, 3)
    wanted = model.predict_proba(given)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(given), wanted)
    again = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in again.network.parameters():
            parameter.zero_()
    np.testing.assert_allclose(again.predict_proba(given), [[0.5, 0.5]])
    np.testing.assert_array_equal(model.predict_proba(given), wanted)
    model.to_onnx(tmp_path / "m.onnx")
    exported = sl.OnnxModel.load(tmp_path / "m.onnx")
    exported.predict_proba(given)
    np.testing.assert_allclose(
        pickle.loads(pickle.dumps(exported)).predict_proba(given), wanted, rtol=1e-5
    )
