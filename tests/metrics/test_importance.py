import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import DataError, OptionError
from sightline.metrics import importance as room
from tests.predict.networks import Members
from tests.predict.tables import ROWS, columns, train

DATA = columns()


def by_hand(model, data, repeats, seed, metric):
    """Shuffle the table's own columns, and measure each time as `evaluate` does."""
    value = model.evaluate(data)[metric]
    random = np.random.default_rng(seed)
    found = {}
    for encoding in model.encoder.encodings:
        rises = []
        for _ in range(repeats):
            order = random.permutation(ROWS)
            shuffled = [data[encoding.column][place] for place in order]
            rises.append(model.evaluate({**data, encoding.column: shuffled})[metric] - value)
        found[encoding.column] = float(np.mean(rises)), float(np.std(rises))
    return value, found


@pytest.mark.parametrize("network", [None, Members])
@pytest.mark.parametrize(
    ("target", "metric"), [(("no", "yes"), "log_loss"), (tuple(range(0, 600, 10)), "rmse")]
)
def test_it_is_what_shuffling_the_table_gives(network, target, metric):
    """All of a column's numbers, flags, n-grams and codes move together, and then back."""
    data = columns(target)
    model = train(data, network=network, task="regression" if metric == "rmse" else None)
    found = model.importance(data, repeats=3, seed=7)
    value, expected = by_hand(model, data, 3, 7, metric)
    assert (found["metric"], found["rows"], found["repeats"]) == (metric, ROWS, 3)
    assert found["value"] == pytest.approx(value, rel=1e-4)
    assert {one["column"] for one in found["columns"]} == set(expected)
    for one in found["columns"]:
        mean, deviation = expected[one["column"]]
        assert one["mean"] == pytest.approx(mean, rel=1e-3, abs=2e-6 * value)
        assert one["deviation"] == pytest.approx(deviation, rel=1e-2, abs=2e-6 * value)


class First(nn.Module):
    """Hears the first number alone."""

    def __init__(self, spec):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, numeric, categorical):
        return self.weight * numeric[:, :1]


@pytest.fixture(scope="module")
def first():
    random = np.random.default_rng(0)
    data = {name: random.normal(size=300) for name in "abc"}
    data["y"] = data["a"] * 10
    prepared = sl.prepare(sl.split(sl.read(data), target="y"), numeric="standard")
    return sl.Training(First(prepared.spec), prepared, epochs=1).model(), data


def test_the_column_that_counts_comes_first_and_the_others_count_nothing(first):
    model, data = first
    found = model.importance(data)
    assert [one["column"] for one in found["columns"]] == ["a", "b", "c"]
    assert [one["mean"] for one in found["columns"][1:]] == [0.0, 0.0]
    # Right answers against those of another row: sqrt(2) deviations apart.
    assert found["columns"][0]["mean"] == pytest.approx(2**0.5 * np.std(data["y"]), rel=0.15)
    assert "it rises most" in found["sentence"]
    assert "values of a are shuffled" in found["sentence"]
    assert "Each column was shuffled 5 times." in found["sentence"]


def test_where_no_column_counts_the_sentence_says_so(first):
    model, data = first
    blind = sl.Training(
        First(model.spec), sl.prepare(sl.split(sl.read(data), target="y")), epochs=1
    )
    with torch.no_grad():
        blind.network.weight.zero_()
    found = blind.model(best=False).importance(data, repeats=1)
    assert all(one["mean"] == 0 for one in found["columns"])
    assert "no column makes it rise" in found["sentence"]
    assert "shuffled once" in found["sentence"]


def test_of_many_rows_some_are_drawn(first, monkeypatch):
    model, data = first
    monkeypatch.setattr(room, "SAMPLED_ROWS", 50)
    found = model.importance(data, seed=1)
    assert found["rows"] == 50
    assert "On 50 of 300 rows, drawn at random" in found["sentence"]
    assert found == model.importance(data, seed=1)
    assert found["value"] != model.importance(data, seed=2)["value"], "other rows"
    monkeypatch.setattr(room, "PREDICTION_BUDGET", 300)
    monkeypatch.setattr(room, "FEWEST_SAMPLED_ROWS", 20)
    assert model.importance(data)["rows"] == 20


def test_it_disturbs_no_generator(first):
    model, data = first
    states = torch.get_rng_state(), str(np.random.get_state())
    model.importance(data)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == str(np.random.get_state())


def test_rows_that_cannot_be_used_are_left_out(every):
    data = columns()
    data["y"][3] = None
    data["size"] = [None if value is None else str(value) for value in data["size"]]
    data["size"][5] = "large"
    assert every.importance(data, repeats=1)["rows"] == ROWS - 2


def test_what_cannot_be_measured_is_refused(every):
    with pytest.raises(DataError, match="no column 'y', the target"):
        every.importance({name: values for name, values in DATA.items() if name != "y"})
    with pytest.raises(DataError, match="no row with a target"):
        every.importance({**DATA, "y": [None] * ROWS})
    for repeats in (0, -1, 2.0, True):
        with pytest.raises(
            OptionError, match=f"repeats is {repeats!r}. Give a whole number from 1"
        ):
            every.importance(DATA, repeats=repeats)
    with pytest.raises(OptionError, match="seed is -1"):
        every.importance(DATA, seed=-1)


def test_shuffles_predicted_together_are_those_one_by_one(monkeypatch):
    model = train(DATA)
    together = model.importance(DATA, repeats=2)
    rows = []
    real = model.outputs
    monkeypatch.setattr(model, "outputs", lambda *x: rows.append(len(x[0])) or real(*x))
    monkeypatch.setattr(room, "ROWS_AT_ONCE", 1)
    assert model.importance(DATA, repeats=2) == together
    assert set(rows) == {ROWS}
    rows.clear()
    monkeypatch.setattr(room, "ROWS_AT_ONCE", 3 * ROWS)
    assert model.importance(DATA, repeats=2) == together
    assert max(rows) == 3 * ROWS
