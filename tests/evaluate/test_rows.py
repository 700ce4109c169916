import numpy as np
import pytest

import sightline as sl
from sightline.evaluate.rows import example_row, explained_rows, measured_rows, true_values
from sightline.predict.attributions import rows_explained


@pytest.fixture(scope="module")
def table(penguins):
    return sl.read(penguins)


@pytest.mark.parametrize(
    ("valid", "test", "part", "name"),
    [(0.1, 0.1, "test", "test"), (0.1, 0, "validation", "valid"), (0, 0, "training", "train")],
)
def test_a_model_is_measured_on_test_rows_else_on_others(table, valid, test, part, name):
    splits = sl.split(table, "species", valid=valid, test=test)
    measured, rows = measured_rows(splits)
    assert measured == part
    assert rows is getattr(splits, name)


def test_true_values_are_labels_or_the_tables_numbers(species, weight):
    rows = np.array([0, 200, 341])
    for splits, column in ((species.splits, "species"), (weight.splits, "body_mass_g")):
        cells = [splits.table.cells(column, int(row)) for row in rows]
        assert true_values(splits, rows) == cells


def test_the_example_is_the_first_measured_row(model, species):
    splits = species.splits
    body = example_row(model, splits)
    assert body["row"] == splits.test[0]
    assert body["part"] == "a test row"
    assert body["truth"] == splits.table.cells("species", body["row"])
    assert body["explanation"]["raw"]["island"] == splits.table.cells("island", body["row"])
    assert "set" not in body  # nothing is calibrated


def test_all_rows_of_a_small_part_are_explained(model, species):
    body = explained_rows(model, species.splits, 0)
    assert (body["part"], body["of"]) == ("validation", 34)
    assert body["sentence"] == "all 34 validation rows"
    assert [one["row"] for one in body["rows"]] == species.splits.valid.tolist()
    for one in body["rows"]:
        assert one["right"] == (one["explanation"]["prediction"] == one["truth"])


def test_rows_of_a_large_part_are_sampled_with_the_seed(table, number):
    splits = sl.split(table, "body_mass_g", valid=0.5)
    first, same, other = (explained_rows(number, splits, seed) for seed in (3, 3, 4))
    most = rows_explained(7)
    assert first["sentence"] == (
        f"{most} of the {len(splits.valid)} validation rows, drawn at random with the run's seed"
    )
    rows = [one["row"] for one in first["rows"]]
    assert rows == [one["row"] for one in same["rows"]] != [one["row"] for one in other["rows"]]
    assert len(rows) == most
    assert set(rows) <= set(splits.valid.tolist())
    assert {one["right"] for one in first["rows"]} == {None}


def test_numbers_are_rounded_and_the_tables_values_are_not(number, weight):
    exact = number.explain_rows(number.read({
        name: [value] for name, value in
        explained_rows(number, weight.splits, 0)["rows"][0]["explanation"]["raw"].items()
    }), [0])[0]  # fmt: skip
    kept = explained_rows(number, weight.splits, 0)["rows"][0]["explanation"]
    assert kept["prediction"] == pytest.approx(exact.prediction, rel=1e-6)
    assert len(str(kept["prediction"])) > 7
    assert all(float(f"{value:.5g}") == value for value in kept["encoded"].values())
