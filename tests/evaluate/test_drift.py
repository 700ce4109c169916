"""New rows compared with training: healthy ones pass as a whole file, changed ones are named."""

import json

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataError
from sightline.evaluate.drift import check, compare, family_limit
from sightline.page.check import check_page, write_check
from sightline.predict.reference import Distribution


def column(random, number, rows):
    """Rows of a column, of one of six kinds; the kind and its shape depend on the number alone.

    Categories are codes as a vocabulary of all of them gives.
    """
    shape = np.random.default_rng(number)
    match number % 6:
        case 0:
            values = random.normal(shape.normal(), 1 + shape.random(), rows)
        case 1:
            values = np.exp(3 * random.normal(size=rows))
        case 2:
            values = random.poisson(1 + 3 * shape.random(), rows).astype(float)
        case 3:
            values = np.where(random.random(rows) < 0.3, np.nan, random.normal(size=rows))
        case 4:
            return random.choice(200, rows, p=shape.dirichlet(np.full(200, 0.3))) + 2
        case _:
            return random.choice(3, rows, p=[0.9, 0.09, 0.01]) + 1
    return values


def of(values):
    return (
        Distribution.of_codes(values)
        if values.dtype.kind == "i"
        else Distribution.of_numbers(values)
    )


@pytest.mark.parametrize(
    ("columns", "trained", "rows", "files"),
    [(5, 300, 50, 100), (5, 20_000, 100_000, 100), (50, 2000, 50, 100), (50, 2000, 5000, 40), (500, 1000, 200, 20)],
)  # fmt: skip
def test_95_of_100_healthy_files_pass_as_a_whole(columns, trained, rows, files):
    random = np.random.default_rng(1)
    alarms = 0
    for file in range(files):
        if file % 10 == 0:  # ten training tables: their luck is a part of what happens
            before = [of(column(random, number, trained)) for number in range(columns)]
        now = [one.counted(column(random, number, rows)) for number, one in enumerate(before)]
        limit = family_limit(list(zip(before, now, strict=True)))
        pairs = zip(before, now, strict=True)
        alarms += any(compare("x", *pair, limit, [""] * 99).alarm for pair in pairs)
    assert alarms <= 0.05 * files


def table(random, rows):
    x = random.normal(size=rows)
    city = random.choice(["Oslo", "Rome", "Bern"], rows, p=[0.6, 0.3, 0.1])
    y = np.where(x + (city == "Rome") + random.normal(size=rows) > 0.5, "yes", "no")
    return {
        "x": x.tolist(), "count": random.poisson(3, rows).tolist(), "city": city.tolist(),
        "day": [f"2020-{1 + i % 12:02}-{1 + i % 28:02}" for i in random.integers(0, 336, rows)],
        "note": [" ".join(random.choice(["red", "blue", "old"], 2)) + f" {i}" for i in random.integers(0, 10**6, rows)],
        "y": y.tolist(),
    }  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    run = sl.fit(
        table(np.random.default_rng(0), 3000), "y", network="MLP", epochs=3, kinds={"note": "text"}, quiet=True,
        report=False, baselines=False, run=tmp_path_factory.mktemp("drift") / "run",
    )  # fmt: skip
    return run.model


def test_healthy_files_pass_with_their_predictions(model):
    random = np.random.default_rng(5)
    alarms = [check(model, table(random, 300))["alarm"] for _ in range(60)]
    assert sum(alarms) <= 3


def changed(name, change):
    rows = table(np.random.default_rng(7), 1000)
    rows[name] = [change(i, value) for i, value in enumerate(rows[name])]
    return rows


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("x", lambda i, v: 1000 * v, "now"),
        ("x", lambda i, v: None if i % 5 == 0 else v, "missing: 0 % of the rows, now 20 %"),
        ("count", lambda i, v: v + 1, "now"),
        (
            "city",
            lambda i, v: v.upper(),
            "rare in training, or never seen: 0 % of the rows, now 100 %",
        ),
        ("city", lambda i, v: "Bern" if i % 4 == 0 else v, "Bern: "),
        (
            "day",
            lambda i, v: v.replace("2020", "2024"),
            "above 2020-",
        ),
        ("note", lambda i, v: "green new", "another number of known words: "),
    ],
)
def test_a_changed_column_is_named(model, name, change, said):
    result = check(model, changed(name, change))
    assert result["alarm"]
    first = result["columns"][0]
    assert first["name"] == name
    assert first["distance"] > first["allowed"]
    assert any(said in text for text in first["changes"]), first["changes"]
    assert any(line.startswith(f"{name} differs: distance") for line in result["lines"])
    assert [one["name"] for one in result["columns"] if one["alarm"]] == [name]


def test_changed_predictions_are_named(model):
    result = check(model, changed("x", lambda i, v: v + 3))
    assert {one["name"] for one in result["predictions"]} == {
        "predicted class",
        "probability of yes",
    }
    assert all(one["alarm"] for one in result["predictions"])
    assert result["predictions_of"] == "300 test rows"


def test_numbers_are_compared_too(penguins):
    model = sl.fit(penguins, "body_mass_g", quality="fast", quiet=True).model
    result = check(model, penguins)
    assert [one["name"] for one in result["predictions"]] == ["predicted number"]
    assert not result["alarm"]


def test_it_stays_with_the_model(model, tmp_path):
    model.save(tmp_path / "m.sightline")
    again = sl.Model.load(tmp_path / "m.sightline")
    assert again.reference == model.reference
    rows = table(np.random.default_rng(3), 200)
    assert check(again, rows) == check(model, rows)


def test_a_model_that_lacks_it_says_so(model, tmp_path):
    prepared = sl.prepare(sl.split(sl.read(table(np.random.default_rng(0), 200)), "y"))
    training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
    for _ in training:
        pass
    with pytest.raises(DataError, match="does not say how its training rows were distributed"):
        check(training.model(), table(np.random.default_rng(0), 50))


def test_rows_without_predictions_are_counted(model):
    rows = table(np.random.default_rng(3), 200)
    rows["x"] = ["heavy", *rows["x"][1:]]
    result = check(model, rows)
    assert result["bad"] == 1
    assert "1 row has no prediction." in result["lines"]
    rows["x"] = ["heavy"] * 200
    with pytest.raises(DataError, match="No row of"):
        check(model, rows)


def test_the_page_shows_all_distances_and_escapes(model, tmp_path):
    result = check(model, changed("city", lambda i, v: "<b>x</b>"))
    page = check_page({**result, "name": "<script>"})
    assert "<script>" not in page
    assert page.count("<tr><th") >= 7
    write_check(result, tmp_path / "c.html")
    assert (tmp_path / "c.html").read_text() == check_page(result)
    with pytest.raises(DataError, match="does not exist"):
        write_check(result, tmp_path / "no" / "c.html")


def test_the_command_exits_with_1_where_it_should(sightline, model, tmp_path):
    model.save(tmp_path / "m.sightline")
    import pandas as pd

    pd.DataFrame(table(np.random.default_rng(3), 300)).to_csv(tmp_path / "good.csv", index=False)
    pd.DataFrame(changed("x", lambda i, v: 1000 * v)).to_csv(tmp_path / "bad.csv", index=False)
    said = sightline("check", tmp_path / "m.sightline", tmp_path / "good.csv", "--fail")
    assert (said.code, said.err) == (0, "")
    assert "Nothing differs" in said.out
    said = sightline(
        "check", tmp_path / "m.sightline", tmp_path / "bad.csv", "-o", tmp_path / "c.html"
    )
    assert said.code == 0
    assert "x differs: distance" in said.out
    assert (tmp_path / "c.html").is_file()
    said = sightline("check", tmp_path / "m.sightline", tmp_path / "bad.csv", "--fail", "--json")
    assert said.code == 1
    assert json.loads(said.out)["alarm"]
