import numpy as np
import pytest

import sightline as sl
from sightline.prepare import leakage
from sightline.prepare.leakage import leaks


def prepared(changes=None, rows=300, **options):
    random = np.random.default_rng(0)
    x = random.normal(size=rows)
    y = np.where(x + random.normal(size=rows) > 0, "yes", "no").tolist()
    table = {"x": x, "c": random.choice(["a", "b"], rows).tolist(), "y": y, **(changes or {})}
    return sl.prepare(sl.split(sl.read(table), "y", **options)), y, x


def test_an_ordinary_table_has_none():
    assert leaks(prepared()[0]) == []


@pytest.mark.parametrize("kind", ["category", "number", "flag"])
def test_a_column_that_is_the_answer_is_named(kind):
    y = prepared()[1]
    column = {"category": [f"paid {one}" for one in y], "number": [7.5 if one == "yes" else 1.0 for one in y],
              "flag": [one == "yes" for one in y]}[kind]  # fmt: skip
    said = leaks(prepared({"refund": column})[0])
    assert len(said) == 1
    assert said[0].startswith("refund alone predicts y in 100.0 % of")
    assert "--drop" in said[0]


def test_of_a_number_too():
    random = np.random.default_rng(0)
    y = random.normal(size=600)
    table = {"other": random.normal(size=600), "gross": y * 1.19 + 3, "y": y}
    said = leaks(sl.prepare(sl.split(sl.read(table), "y")))
    assert [one.split()[0] for one in said] == ["gross"]


@pytest.mark.parametrize("kind", ["category", "number"])
def test_of_very_many_classes_too(kind):
    labels = np.random.default_rng(0).permutation(np.arange(4000) % 200)
    column = labels * 2.5 if kind == "number" else [f"code {n}" for n in labels]
    other = np.random.default_rng(1).normal(size=4000)
    table = {"code": column, "other": other, "y": [f"class {n}" for n in labels]}
    said = leaks(sl.prepare(sl.split(sl.read(table, kinds={"y": "categorical"}), "y")))
    assert [one.split(" alone")[0] for one in said] == ["code"]


def test_names_of_rows_tell_nothing():
    names = [f"customer {i}" for i in range(300)]
    data, *_ = prepared({"name": names})
    assert leaks(data) == []


def test_few_rows_and_many_columns(monkeypatch):
    y = prepared()[1]
    assert (
        leaks(
            prepared(
                {
                    name: values[:30]
                    for name, values in {
                        "x": np.arange(30.0),
                        "c": ["a"] * 15 + ["b"] * 15,
                        "y": y[:30],
                    }.items()
                }
            )[0]
        )
        == []
    )
    monkeypatch.setattr(leakage, "MOST_CHECKED_COLUMNS", 1)
    assert "too many" in leaks(prepared()[0])[0]


def test_a_fit_says_so_and_counts_rows_that_are_there_twice(tmp_path):
    random = np.random.default_rng(0)
    x = random.integers(0, 3, 200)
    y = (x > 1).tolist()
    run = sl.fit({"x": x.astype(float), "y": y}, "y", network="MLP", epochs=1, run=tmp_path / "r",
                 quiet=True, report=False, baselines=False)  # fmt: skip
    notes = run.find("prepare", "columns")[0].body["notes"]
    assert any(note.startswith("x alone predicts y") for note in notes)
    loaded = run.find("load", "table")[0].body["notes"]
    assert any(note.startswith("40 held-out rows are equal to a training row") for note in loaded)
