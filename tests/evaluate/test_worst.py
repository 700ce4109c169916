import json

import numpy as np
import pytest

import sightline as sl
from sightline.contracts import Target
from sightline.evaluate.worst import worst_rows
from tests.predict.tables import columns

THREE = Target("y", "classification", ("a", "b", "c"))
NUMBER = Target("y", "regression")


def rows_of(count):
    return sl.read(
        {"size": [i + 0.5 for i in range(count)], "y": ["abc"[i % 3] for i in range(count)]}
    )


def test_classes_the_least_probability_of_the_truth_first():
    values = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.1, 0.123456789, 0.8], [0.3, 0.3, 0.4]])
    found = worst_rows(
        THREE, values, np.array([0, 1, 1, 2]), rows_of(4), np.array([40, 41, 42, 43])
    )
    assert [row["row"] for row in found["rows"]] == [42, 41, 43, 40]
    first, second, _, last = found["rows"]
    assert first == {
        "row": 42, "truth": "b", "prediction": "c", "probability": 0.12346, "error": None,
        "raw": {"size": 2.5},
    }  # fmt: skip
    assert (second["truth"], second["prediction"]) == ("b", "a")
    assert (last["truth"], last["prediction"], last["probability"]) == ("a", "a", 0.7)
    assert found["sentence"] == (
        "The 4 rows with the lowest probability of the true class: 2 of them are misclassified."
    )


def test_all_right_even_so():
    found = worst_rows(THREE, np.eye(3) * 0.6 + 0.1, np.arange(3), rows_of(3), np.arange(3))
    assert found["sentence"].endswith(": none is misclassified.")
    one = worst_rows(THREE, np.array([[0.5, 0.3, 0.2]]), np.array([0]), rows_of(1), np.arange(1))
    assert one["sentence"].startswith("The row with the lowest probability of the true class")


def test_numbers_the_largest_error_first_on_either_side():
    truth = np.array([10.0, 20.0, 30.0])
    found = worst_rows(NUMBER, np.array([[11.0], [17.0], [30.5]]), truth, rows_of(3), np.arange(3))
    assert [(row["row"], row["error"], row["truth"], row["prediction"]) for row in found["rows"]] == [
        (1, -3.0, 20.0, 17.0), (0, 1.0, 10.0, 11.0), (2, 0.5, 30.0, 30.5),
    ]  # fmt: skip
    assert {row["probability"] for row in found["rows"]} == {None}
    assert found["sentence"] == (
        "The 3 rows with the largest errors: up to 3, where the median of all rows is 1."
    )


@pytest.mark.parametrize("seed", range(5))
def test_ten_rows_equal_ones_in_their_order(seed):
    draw = np.random.default_rng(seed)
    values, truth = (
        draw.integers(0, 8, (50, 1)).astype(float),
        draw.integers(0, 8, 50).astype(float),
    )
    found = worst_rows(NUMBER, values, truth, rows_of(50), np.arange(50))
    size = np.abs(values[:, 0] - truth)
    order = sorted(range(50), key=lambda i: (-size[i], i))[:10]
    assert [row["row"] for row in found["rows"]] == order


def test_many_columns_and_long_texts_are_cut():
    wide = {f"n{i}": [1.0 * i, 2.0 + i] for i in range(60)}
    table = sl.read({"note": ["x" * 5000, "short"], **wide, "y": [1.5, 2.5]})
    found = worst_rows(NUMBER, np.array([[9.0], [2.5]]), np.array([1.5, 2.5]), table, np.arange(2))
    raw = found["rows"][0]["raw"]
    assert len(raw) == 40
    assert raw["n3"] == 3.0
    assert raw["note"] == "x" * 97 + "..."
    assert found["rows"][1]["raw"]["note"] == "short"
    assert "y" not in raw
    assert found["sentence"].endswith("The first 40 of their 61 columns are shown.")


def test_values_of_every_kind_are_json(every):
    data = columns()
    found = every.predictions(data)
    truth, usable = every.truth(found)
    assert usable.all()
    said = worst_rows(every.spec.target, found.values, truth, found.table, np.arange(len(truth)))
    json.dumps(said, allow_nan=False)
    for row in said["rows"]:
        place = row["row"]
        assert (
            row["raw"]
            == every.explain(
                {name: values[place] for name, values in data.items() if name != "y"}
            ).raw
        )
        assert row["truth"] == data["y"][place]
