"""Whole numbers of more digits than float64 holds, and values that are spelled in another way."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sightline as sl
from sightline.errors import DataWarning
from sightline.load.values import Spellings

BASE = 90071992547409930  # float64 has no odd numbers here
IDS = [BASE + n % 4 for n in range(80)]
LABELS = ["odd" if n % 2 else "even" for n in IDS]


def write(path, columns):
    names = list(columns)
    lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")
    return path


def sources(tmp_path, columns):
    """The same table as a CSV file, JSON lines, Parquet, a DataFrame, an Arrow table and a dict."""
    yield write(tmp_path / "t.csv", columns)
    frame = pd.DataFrame(columns)
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "t.json", orient="records")
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    yield from (tmp_path / name for name in ("t.jsonl", "t.json", "t.parquet"))
    yield frame
    yield pa.table(columns)
    yield columns


def test_long_whole_numbers_are_exact_from_every_source(tmp_path):
    hashes = []
    for source in sources(tmp_path, {"card": IDS, "y": LABELS}):
        table = sl.read(source)
        assert table.schema["card"].reason == "codes of many digits, 4 different values"
        assert [table.cells("card", row) for row in range(80)] == [str(n) for n in IDS], source
        hashes.append(table.row_hashes(["card"]).tolist())
        assert len(set(hashes[-1])) == 4
    assert all(each == hashes[0] for each in hashes)


def test_long_numbers_that_float64_can_tell_apart_are_quantities(tmp_path):
    moments = [1_700_000_000_000_000_000 + n * 60_000_000_000 for n in range(50)]  # nanoseconds
    moments[7] += 20  # float64 rounds it, but it stays different from all others
    for source in sources(tmp_path, {"moment": moments, "y": ["a", "b"] * 25}):
        table = sl.read(source)
        assert table.schema["moment"].kind == "numeric"
        assert [table.cells("moment", row) for row in range(50)] == moments


def test_as_a_feature(tmp_path):
    columns = {"card": IDS * 2, "y": LABELS * 2}
    run = sl.fit(columns, "y", quality="fast", quiet=True, report=False, run=tmp_path / "r")
    assert run.model.evaluate(columns)["accuracy"] == 1.0


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_as_labels(tmp_path, classes):
    x = np.linspace(-1, 1, 240).round(4)
    account = [BASE + int(n) for n in np.digitize(x, np.linspace(-1, 1, classes + 1)[1:-1])]
    path = write(tmp_path / "t.csv", {"x": x, "account": account})
    run = sl.fit(path, "account", quality="fast", quiet=True, report=False, run=tmp_path / "r")
    assert list(run.model.classes) == sorted(set(account))
    model = sl.Model.load(run.folder / "model.sightline")
    predicted = model.predict(path).tolist()
    assert np.mean([a == b for a, b in zip(predicted, account, strict=True)]) > 0.9
    assert model.evaluate(path)["accuracy"] > 0.9
    assert set(predicted) <= set(account)


@pytest.mark.parametrize("kind", ["frame", "array"])
def test_as_categories_of_the_estimator(kind):
    X = pd.DataFrame({"card": IDS * 4, "x": 0})
    X, name = (X, "card") if kind == "frame" else (X.to_numpy(), "x0")
    for kinds in (None, {name: "categorical"}):
        classifier = sl.SightlineClassifier(quality="fast", kinds=kinds, random_state=0)
        assert classifier.fit(X, LABELS * 4).score(X, LABELS * 4) == 1.0


def test_as_labels_of_the_estimator():
    X = np.linspace(-1, 1, 200).reshape(-1, 1)
    y = np.where(X[:, 0] > 0, BASE, BASE + 1)
    classifier = sl.SightlineClassifier(quality="fast", random_state=0).fit(X, y)
    assert classifier.classes_.tolist() == [BASE, BASE + 1]
    assert classifier.score(X, y) > 0.9


def test_as_identifiers(tmp_path):
    ids = [BASE + 2 * n + n // 7 for n in range(40)]
    table = sl.read(write(tmp_path / "t.csv", {"id": ids, "n": [BASE + n for n in range(40)]}))
    assert (
        table.schema["id"].reason
        == "whole numbers, all different, in a column named like an identifier"
    )
    assert table.schema["n"].reason == "numbers the rows consecutively: an identifier"


def test_kept_columns_come_back_as_they_were(tmp_path):
    columns = {
        "card": [BASE + n for n in range(60)],
        "x": [n % 7 for n in range(60)],
        "y": ["a", "b"] * 30,
    }
    path = write(tmp_path / "t.csv", columns)
    run = sl.fit(
        path,
        "y",
        drop=["card"],
        quality="fast",
        quiet=True,
        report=False,
        run=tmp_path / "r",
        epochs=1,
    )
    for source in (path, pd.DataFrame(columns)):
        kept = run.model.predictions(source, keep=("card",)).table.columns["card"]
        assert [int(card) for card in kept.to_pylist()] == columns["card"]


@pytest.mark.parametrize("number", ["9" * 20, "-" + "9" * 25])
def test_longer_ones_are_codes(number):
    column = sl.read({"x": [number, number + "1"] * 20, "y": [1, 2] * 20}).schema["x"]
    assert column.kind == "categorical"


def test_ordinary_numbers_beside_a_missing_one(tmp_path):
    path = write(tmp_path / "t.csv", {"card": [*IDS, ""], "y": [*LABELS, "odd"]})
    table = sl.read(path)
    assert table.cells("card", 80) is None
    assert table.cells("card", 79) == str(IDS[79])


# ------------------------------------------------------------- one value, several spellings


@pytest.mark.parametrize(
    ("known", "text", "found"),
    [(["3", "4"], "3.0", "3"), (["3", "4"], " 3", "3"), (["3", "4"], "003", "3"), (["3", "4"], "3.5", None),
     (["03", "04"], "3", "03"), (["03", "3"], "3.0", None), (["03", "3"], "3", "3"), (["0.5"], ".50", "0.5"),
     (["a b"], " a b ", "a b"), (["a"], "A", None), (["true", "x"], "True", "true"), (["True", "x"], "true", "True"),
     ([str(BASE)], f"{BASE}.0", str(BASE)), ([str(BASE)], str(BASE + 1), None), (["nan"], "NaN", None)],
)  # fmt: skip
def test_spellings(known, text, found):
    assert Spellings(known).find(text) == found


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Trained on categories 1 to 3 and codes with leading zeros, each of which decides the class."""
    folder = tmp_path_factory.mktemp("codes")
    columns = {"size": [1 + n % 3 for n in range(180)], "zip": [f"0{n % 4}123" for n in range(180)],
               "y": ["ab"[n % 3 == 0] for n in range(180)]}  # fmt: skip
    kinds = {"size": "categorical"}
    run = sl.fit(
        columns, "y", kinds=kinds, quality="fast", quiet=True, report=False, run=folder / "r"
    )
    return run.model


@pytest.mark.parametrize("size", [[1, 2, 3], [1.0, 2.0, 3.0], ["1", "2", "3"], [" 1", "2 ", "3.0"], ["001", "02", "3"],
                                  np.array([1, 2, 3]), np.array(["1", "2", "3"], object)])  # fmt: skip
@pytest.mark.parametrize(
    "zips", [["00123", "01123", "02123"], [123, 1123, 2123], [123.0, 1123.0, 2123.0]]
)
def test_a_category_is_the_same_however_it_is_stored(model, size, zips):
    expected = model.predict_proba({"size": [1, 2, 3], "zip": ["00123", "01123", "02123"]})
    predictions = model.predictions({"size": size, "zip": zips})
    assert (predictions.values == expected).all()
    assert predictions.unseen == {}


def test_what_is_new_is_unseen(model):
    predictions = model.predictions({"size": [4, "1.5", "one"], "zip": ["00123"] * 3})
    assert predictions.unseen == {"size": 3}


# ------------------------------------------------------------- news


def test_a_column_unlike_training_is_news(tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.uniform(0, 1, 200),
        "k": rng.choice(["a", "b"], 200),
        "y": rng.choice(["p", "q"], 200),
    }
    run = sl.fit(
        columns, "y", quality="fast", quiet=True, report=False, run=tmp_path / "r", epochs=1
    )

    def rows(**changed):
        return {"x": [0.5] * 10, "k": ["a"] * 10, **changed}

    for changed, said in (
        ({"k": ["A"] * 10}, "10 of 10 rows have a value never seen in training in the column 'k'"),
        ({"k": ["A"] * 9 + ["a"]}, "9 of 10 rows have a value never seen"),
        (
            {"x": [500.0] * 10},
            "10 of 10 rows have a value outside the training range in the column 'x'",
        ),
        ({"x": [None] * 10}, "10 of 10 rows have no value in the column 'x'"),
    ):
        with pytest.warns(DataWarning, match=said):
            run.model.predict(rows(**changed))
    run.model.predict(
        rows(k=["A"] * 8 + ["a"] * 2)
    )  # some are new: the report says so, nothing warns
    run.model.predict({"x": 500.0, "k": "A"})  # one row shows nothing
