"""What rows with an outlier do to the RMSE."""

import numpy as np
import pytest

import sightline as sl
from sightline.evaluate.outliers import outlier_effect
from sightline.load.remarks import Outliers, Remarks


def far(column, rows, values):
    rows, values = np.array(rows), np.array(values)
    return Outliers(column, rows, values, 0.0, values / 2, (-1.0, 1.0))


ROWS = np.arange(10, 20)


def test_the_rmse_is_said_with_and_without_the_rows():
    errors = np.ones(10)
    errors[[2, 4]] = [300.0, 400.0]
    (said,) = outlier_effect(
        Remarks((far("y", [12], [301.0]), far("x", [14, 3], [9e6, 1e7]))), ROWS, ROWS + 100, errors
    )
    assert said == (
        "Rows 114 ('x' is 9,000,000), 112 ('y' is 301), far from all others, make the RMSE 158.1; without them, it is 1 on "
        "8 rows. See whether they are errors."
    )


def test_rows_that_make_no_difference_or_are_not_measured_are_not_told():
    errors = np.ones(10)
    assert outlier_effect(Remarks((far("x", [12], [1e9]),)), ROWS, ROWS, errors) == []
    errors[2] = 1e3
    assert outlier_effect(Remarks((far("x", [2], [1e9]),)), ROWS, ROWS, errors) == []
    assert outlier_effect(Remarks(), ROWS, ROWS, errors) == []
    assert outlier_effect(Remarks((far("x", ROWS, ROWS * 1e9),)), ROWS, ROWS, errors) == []


@pytest.mark.parametrize("odd", [True, False])
def test_a_fit_names_the_row_in_stages_1_and_5(odd, tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    y = 2 * x + random.normal(size=300)
    place = int(sl.split(sl.read({"x": x, "y": y}), "y").test[0])
    y[place] = 1e7 if odd else 0.0
    run = sl.fit({"x": x, "y": y}, "y", network="MLP", epochs=2, run=tmp_path / "a", report=False, baselines=False, quiet=True)  # fmt: skip
    table, metrics = run.find("load", "table")[-1].body, run.find("predict", "metrics")[-1].body
    said = f"row {place:,} has 10,000,000"
    assert any(said in note for note in table["notes"]) == odd
    assert (
        any(note.startswith(f"Row {place:,} ('y' is 10,000,000)") for note in metrics["notes"])
        == odd
    )
