import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sightline as sl
from sightline.contracts import Batch
from sightline.predict import attributions
from sightline.predict.attributions import missing_extra, permutations_for, typical_row
from sightline.prepare.inputs import input_columns
from tests.predict.networks import Members, Own
from tests.predict.tables import ROWS, columns, row, train

DATA = columns()


def missing(pushes):
    """How much the base and all pushes lack of the value."""
    return pushes["value"] - pushes["base"] - sum(push for _, push in pushes["columns"])


class Mixed(nn.Module):
    """Numbers and codes that act on each other."""

    def __init__(self, spec):
        super().__init__()
        self.city = nn.Embedding(spec.categorical[0].cardinality, len(spec.numeric))
        self.output = nn.Linear(len(spec.numeric), spec.outputs)

    def forward(self, numeric, categorical):
        return self.output(torch.tanh(numeric * 3) * self.city(categorical[:, 0]))


@pytest.mark.parametrize("network", [None, Own, Members, Mixed])
@pytest.mark.parametrize(
    "target", [("no", "yes"), ("a", "b", "c"), tuple(i * 100 for i in range(60))]
)
def test_base_and_pushes_add_up_to_the_value(network, target):
    data = columns(target)
    task = "regression" if len(target) == ROWS else "classification"
    model = train(data, network=network, task=task)
    found = model.explain_rows(model.read(data), list(range(ROWS)))
    values = model.predictions(data).values
    for one, value in zip(found, values, strict=True):
        pushes = one.pushes
        unit = max(abs(value).max(), 1.0)
        assert missing(pushes) == pytest.approx(0, abs=2e-6 * unit)
        assert pushes["value"] == pytest.approx(value.max(), rel=1e-5)
        assert sorted(name for name, _ in pushes["columns"]) == sorted(
            name for name in DATA if name != "y"
        )
        sizes = [abs(push) for _, push in pushes["columns"]]
        assert sizes == sorted(sizes, reverse=True)
        assert pushes["of"] == (one.prediction if one.classes else "y")
        assert pushes["unit"] == ("probability" if one.classes else "target")
        assert one.pushes_note is None
    assert any(sizes), "something pushes"


@pytest.mark.parametrize("left", [("size", "day"), ("city", "paid"), ("note",), ("city",)])
def test_tables_without_numbers_or_without_categories(left):
    data = {name: DATA[name] for name in (*left, "y")}
    model = train(data)
    assert (not model.spec.numeric) == (set(left) <= {"city", "paid"})
    assert (not model.spec.categorical) == (not set(left) & {"city", "paid"})
    pushes = model.explain(row(data, 7)).pushes
    assert {name for name, _ in pushes["columns"]} == set(left)
    assert missing(pushes) == pytest.approx(0, abs=1e-6)


class Given(nn.Module):
    """A polynomial of degree 2 in the numbers: weights of each and of each pair."""

    def __init__(self, single, pairs):
        super().__init__()
        self.single, self.pairs = nn.Parameter(single), nn.Parameter(pairs)

    def forward(self, numeric, categorical):
        both = torch.einsum("bi,ij,bj->b", numeric, self.pairs, numeric)
        return (numeric @ self.single + both)[:, None]


NUMBERS = st.integers(-8, 8).map(lambda whole: whole / 4)


@pytest.fixture(scope="module")
def four():
    """Four columns of numbers, prepared, and a number to predict from them."""
    random = np.random.default_rng(3)
    data = {name: random.normal(size=40) for name in "abcd"}
    return sl.prepare(
        sl.split(sl.read({**data, "y": random.normal(size=40)}), target="y"), numeric="standard"
    )


@settings(max_examples=25, deadline=None)
@given(
    weights=st.lists(NUMBERS, min_size=20, max_size=20),
    rows=st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=3),
)
def test_columns_that_act_in_pairs_get_exact_shapley_values(four, weights, rows):
    single, pairs = torch.tensor(weights[:4]), torch.tensor(weights[4:]).view(4, 4)
    model = sl.Training(Given(single, pairs), four, epochs=1).model()
    found = model.explain_rows(
        model.read({name: [r[j] for r in rows] for j, name in enumerate("abcd")}),
        list(range(len(rows))),
    )
    reader = model.encoder.open(
        model.read({name: [r[j] for r in rows] for j, name in enumerate("abcd")})
    )
    x, _ = model.inputs(reader(slice(None)))
    base = model.typical["numeric"]
    # Of x_i x_j - t_i t_j column i gets (x_i - t_i) (x_j + t_j) / 2, of x_i^2 - t_i^2 all of it.
    both = pairs + pairs.T
    expected = (x - base) * (single + ((x + base) / 2) @ both) * model.task.scale
    for one, pushes in zip(found, expected.tolist(), strict=True):
        said = dict(map(tuple, one.pushes["columns"]))
        size = max(map(abs, pushes)) + abs(one.pushes["value"]) + 1
        assert [said[name] for name in "abcd"] == pytest.approx(pushes, abs=2e-5 * size)
        assert missing(one.pushes) == pytest.approx(0, abs=2e-6 * size)


def test_a_column_that_nothing_hears_pushes_nothing(four):
    model = sl.Training(
        Given(torch.tensor([1.0, 0.0, 2.0, 0.0]), torch.zeros(4, 4)), four, epochs=1
    ).model()
    said = dict(
        map(tuple, model.explain({"a": 1.0, "b": 9.0, "c": -1.0, "d": 5.0}).pushes["columns"])
    )
    assert (said["b"], said["d"]) == (0.0, 0.0)
    assert said["a"] > 0 > said["c"]


def test_the_typical_row_itself_is_not_pushed(model):
    found = attributions.attribute(
        model, model.typical, input_columns(model.encoder, model.spec),
        model.typical["numeric"], model.typical["categorical"],
        model.task.head(model.network(*model.typical.values())).detach().numpy(),
    )[0]  # fmt: skip
    assert found["base"] == found["value"]
    assert all(push == pytest.approx(0, abs=1e-6) for _, push in found["columns"])
    assert found["base_said"].startswith("a typical row: the median of each number")


def test_rows_are_pushed_alike_alone_and_together(every):
    table = every.read(DATA)
    for number, one in enumerate(every.explain_rows(table, [5, 3, 5, 40])):
        alone = every.explain_rows(table, [[5, 3, 5, 40][number]])[0].pushes
        assert dict(one.pushes["columns"]) == pytest.approx(dict(alone["columns"]), abs=1e-6)
    assert every.explain_rows(table, []) == []


def test_many_rows_go_through_in_parts(every, monkeypatch):
    table = every.read(DATA)
    whole = every.explain_rows(table, list(range(20)))
    monkeypatch.setattr("sightline.predict.explain.EXPLAINED_AT_ONCE", 7)
    monkeypatch.setattr(attributions, "VALUES_AT_ONCE", 1)
    parts = every.explain_rows(table, list(range(20)))
    for one, same in zip(whole, parts, strict=True):
        assert dict(one.pushes["columns"]) == pytest.approx(dict(same.pushes["columns"]), abs=1e-6)


def test_explaining_disturbs_no_generator_and_no_mode(every):
    every.network.train()
    states = torch.get_rng_state(), str(np.random.get_state())
    first, second = every.explain(row(DATA, 3)), every.explain(row(DATA, 3))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == str(np.random.get_state())
    assert first == second
    assert every.network.training
    every.network.eval()


def test_of_many_columns_the_smallest_pushes_are_summed():
    data = {f"x{i}": [float((i + 1) * j % 53) for j in range(30)] for i in range(45)}
    model = train({**data, "y": ["a", "b"] * 15}, kinds={})
    pushes = model.explain({name: values[4] for name, values in data.items()}).pushes
    assert len(pushes["columns"]) == 41
    assert pushes["columns"][-1][0] == "other columns"
    assert missing(pushes) == pytest.approx(0, abs=1e-6)
    assert pushes["permutations"] == permutations_for(45) == 44


@given(st.integers(1, 100_000))
def test_orders_come_in_pairs_and_their_number_is_bounded(wide):
    count = permutations_for(wide)
    assert 4 <= count <= 50
    assert count % 2 == 0
    assert count * wide <= max(2_000, 4 * wide)
    orders = list(attributions._orders(min(wide, 6), count))
    assert len(orders) == count
    assert all(one == other[::-1] for one, other in zip(orders[::2], orders[1::2], strict=True))


def test_a_typical_row_has_medians_and_the_most_frequent_codes(monkeypatch):
    numeric = torch.tensor([[1.0, 0.0], [2.0, 0.0], [50.0, 1.0]])
    codes = torch.tensor([[3], [2], [3]], dtype=torch.int32)
    rows = Batch(numeric, codes, torch.zeros(3), None, torch.arange(3))
    found = typical_row(rows)
    assert found["numeric"].tolist() == [[2.0, 0.0]]
    assert found["categorical"].tolist() == [[3]]
    assert found["categorical"].dtype == torch.int32
    assert typical_row(rows._replace(categorical=codes[:, :0]))["categorical"].shape == (1, 0)
    monkeypatch.setattr(attributions, "TYPICAL_ROWS", 2)
    assert typical_row(rows)["numeric"].tolist() == [[1.0, 0.0]], "every second row: 1 and 50"


def test_a_row_without_a_prediction_has_no_pushes(every):
    data = {name: values[:3] for name, values in DATA.items()}
    data["size"] = ["1.5", "large", "2.5"]
    found = every.explain_rows(every.read(data), [0, 1, 2])
    assert [one.pushes is None for one in found] == [False, True, False]
    assert found[1].pushes_note == "There is no prediction to explain."
    assert found[1].error is not None


def hide(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "captum"]:
        monkeypatch.delitem(sys.modules, name)


def test_without_captum_all_but_the_pushes_is_there(every, monkeypatch):
    whole = every.explain(row(DATA, 3))
    hide(monkeypatch)
    monkeypatch.setitem(sys.modules, "captum", None)
    found = every.explain(row(DATA, 3))
    assert "pip install 'sightline[explain]'" in found.pushes_note
    assert found == replace(whole, pushes=None, pushes_note=found.pushes_note)


def test_a_broken_captum_is_not_taken_for_none(monkeypatch, tmp_path):
    hide(monkeypatch)
    (tmp_path / "captum").mkdir()
    (tmp_path / "captum" / "__init__.py").write_text("import something_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_that_is_not_there"):
        missing_extra()


def test_a_bundle_keeps_the_typical_row(every, tmp_path):
    every.save(tmp_path / "m.sightline")
    again = sl.Model.load(tmp_path / "m.sightline")
    assert all(torch.equal(again.typical[name], every.typical[name]) for name in every.typical)
    every_pushes = every.explain(row(DATA, 3)).pushes
    assert again.explain(row(DATA, 3)).pushes == every_pushes
