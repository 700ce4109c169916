import numpy as np
import pytest

import sightline as sl
from sightline.evaluate.trust import calibration_sentence


def said(before=0.05, after=0.02, perfect=0.03, rows=900, **more):
    return calibration_sentence({
        "source": "out-of-fold predictions of 900 training rows", "part": "test", "rows": rows,
        "parts": [{"name": "network", "share": 1.0}], "temperature": 1.25,
        "before": {"ece": before}, "after": {"ece": after}, "perfect_ece": perfect, **more,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "verdict"),
    [({}, "no sign of miscalibration."),
     ({"after": 0.04}, "so use them with care."),
     ({"perfect": 0.2, "rows": 39}, "the rows are too few to tell whether the probabilities are calibrated."),
     ({"perfect": 0.5, "after": 0.9, "rows": 1}, "the rows are too few to tell whether the probabilities are calibrated.")],
)  # fmt: skip
def test_what_rows_can_tell_of_the_probabilities(numbers, verdict):
    words = said(**numbers)
    assert words.endswith(verdict)
    assert ("On 1 test row the" if numbers.get("rows") == 1 else " test rows the") in words


@pytest.mark.parametrize(
    ("temperature", "what"),
    [
        (1.3, "makes the probabilities less extreme"),
        (0.7, "makes the probabilities more extreme"),
        (1.001, "leaves the probabilities almost as they were"),
        (0.99, "leaves the probabilities almost as they were"),
    ],
)
def test_what_the_temperature_does(temperature, what):
    assert what in said(temperature=temperature)


def test_parts_are_named_where_there_are_several():
    parts = [{"name": "network", "share": 0.6}, {"name": "trees", "share": 0.4}]
    assert said(parts=parts).startswith(
        "Weights fitted on out-of-fold predictions of 900 training rows: network 60 %, trees 40 %. "
    )


def test_a_number_of_few_rows_has_no_interval_and_the_fit_ends_well(tmp_path):
    x = np.random.default_rng(0).normal(size=16)
    data = {"x": x.tolist(), "y": (2 * x).tolist()}
    run = sl.fit(
        data, "y", quality="fast", epochs=1, run=tmp_path / "r", quiet=True, baselines=False
    )
    assert 1 / (run.model.conformal.rows + 1) < 0.1 < 2 / (run.model.conformal.rows + 1)
    assert not run.find("predict", "sets")
    assert run.find("run", "end")
