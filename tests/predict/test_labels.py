"""How the classes are spelled in files of predictions: as the training file spells them."""

import csv
import json

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataWarning
from sightline.predict.output import prediction_table, write_table

X = np.linspace(-1, 1, 120).round(4)


def fitted(tmp_path, texts, name="t.csv"):
    path = tmp_path / name
    labels = [texts[int(x > 0)] for x in X]
    if name.endswith(".csv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["x", "y"], *zip(X, labels, strict=True)])
    else:
        path.write_text(json.dumps([{"x": x, "y": y} for x, y in zip(X, labels, strict=True)]))
    run = sl.fit(
        path, "y", quality="fast", quiet=True, report=False, baselines=False, run=tmp_path / "r"
    )
    return path, labels, sl.Model.load(run.folder)


@pytest.mark.parametrize(
    "texts",
    [("FALSE", "TRUE"), ("False", "True"), ("false", "true"), ("0.0", "1.0"), ("0", "1"), ("No", "Yes"), ("01", "02"),
     ("0.5", "1.5"), ("1000.5", "1e3"), ('a, "b"\nc', "=1+1"), ("NaN", "None")],
)  # fmt: skip
def test_predictions_columns_and_sets_spell_a_class_as_the_file_does(tmp_path, texts):
    path, labels, model = fitted(tmp_path, texts)
    predictions = model.predictions(path)
    write_table(prediction_table(model, predictions, [], 0.2), tmp_path / "o.csv")
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["prediction"] for row in rows} == set(texts)
    assert (
        np.mean([row["prediction"] == label for row, label in zip(rows, labels, strict=True)]) > 0.9
    )
    assert {name for name in rows[0] if name.startswith("probability_")} == {
        f"probability_{text}" for text in texts
    }
    assert {text for row in rows for text in row["set"].split("|")} <= {*texts, ""}
    assert model.evaluate(path)["accuracy"] > 0.9


def test_rows_without_a_target_do_not_shift_where_a_class_is_looked_up(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{x},{('FALSE', 'TRUE')[int(x > 0)]}" for x in X]
    path.write_text("\n".join(["x,y", "0.5,", *rows]) + "\n", encoding="utf-8")
    assert sl.split(sl.read(path), "y").target.texts == ("FALSE", "TRUE")


def test_truth_values_of_json_and_memory_are_true_and_false(tmp_path):
    _, _, model = fitted(tmp_path, (False, True), "t.json")
    table = prediction_table(model, model.predictions({"x": [-0.9, 0.9]}), [])
    assert table.column_names == ["prediction", "probability_false", "probability_true"]
    assert table["prediction"].to_pylist() == [False, True]
    assert model.predict({"x": 0.9}).tolist() == [True]


@pytest.mark.parametrize("texts", [(" a", "a"), ("Yes", "yes"), ("a  b", "a b")])
def test_classes_that_differ_only_by_blanks_or_case_are_told(tmp_path, texts):
    with pytest.warns(DataWarning, match="of 'y' differ only by blanks or case"):
        _, _, model = fitted(tmp_path, texts)
    assert set(model.classes) == set(texts)


@pytest.mark.parametrize(
    ("texts", "names"),
    [(("FALSE", "TRUE"), ("FALSE", "TRUE")), (("false", "TRUE"), ()), (("false", "true"), ())],
)
def test_a_class_far_down_is_looked_up_if_another_is_spelled_specially(
    tmp_path, monkeypatch, texts, names
):
    """A sorted file has its second class far down; a plain spelling of the first saves the search."""
    from sightline.load import target

    monkeypatch.setattr(target, "LAST_NAMED_ROW", 50)
    path = tmp_path / "t.csv"
    rows = [f"{x},{texts[int(x > 0)]}" for x in X]
    path.write_text("\n".join(["x,y", *rows]) + "\n", encoding="utf-8")
    assert sl.split(sl.read(path), "y").target.names == names
