"""Requirements on metrics."""

import pytest

from sightline.errors import OptionError
from sightline.metrics.required import Requirement

METRICS = {
    "accuracy": 0.84,
    "rmse": 3.0,
    "roc_auc": None,
    "r2": float("nan"),
    "rows": 50,
    "classes": [],
    "part": "test",
}


@pytest.mark.parametrize(
    "text", ["accuracy>=0.84", "accuracy >= .84", "rmse<=3", "rmse<=3e0", "accuracy<=1", "rows>=50"]
)
def test_met(text):
    assert Requirement.parse(text).failure(METRICS) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("accuracy>=0.8401", "accuracy must be at least 0.8401, but is 0.84."),
        ("rmse<=2.5", "rmse must be at most 2.5, but is 3."),
        ("roc_auc>=0", "roc_auc must be at least 0, but is not defined on these rows."),
        ("r2>=-9", "r2 must be at least -9, but is not defined on these rows."),
    ],
)
def test_not_met(text, words):
    assert Requirement.parse(text).failure(METRICS) == words


@pytest.mark.parametrize("text", ["", "accuracy", "accuracy>0.8", "accuracy=0.8", ">=1", "accuracy>=", "accuracy>=abc",
                                  "accuracy>=nan", "accuracy>=inf", "a b>=1", "accuracy>=0.8;rmse<=1"])  # fmt: skip
def test_other_texts_are_refused(text):
    with pytest.raises(OptionError, match="is not of the form METRIC>=NUMBER"):
        Requirement.parse(text)


def test_the_name_of_another_tool_leads_to_a_metric():
    with pytest.raises(OptionError, match=r"There is no metric 'acc'\. Did you mean 'accuracy'\?"):
        Requirement.parse("acc>=0.8").failure(METRICS)


@pytest.mark.parametrize("name", ["acuracy", "classes", "part", "baseline"])
def test_unknown_metrics_are_refused(name):
    with pytest.raises(OptionError, match=f"There is no metric '{name}'") as caught:
        Requirement.parse(f"{name}>=1").failure(METRICS)
    assert "accuracy" in str(caught.value)
