"""A metric that does not exist, or not for the task, is refused before anything is read."""

import re

import pytest

import sightline as sl
from sightline.contracts import FitOptions
from sightline.contracts.metrics import METRICS
from sightline.contracts.other_names import METRICS as OTHER_NAMES
from sightline.errors import OptionError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_metric": "auc"}, "eval_metric is 'auc'. Did you mean 'roc_auc'?"),
        ({"eval_metric": "AP"}, "eval_metric is 'AP'. Did you mean 'average_precision'?"),
        ({"eval_metric": "mse"}, "Did you mean 'rmse'?"),
        ({"eval_metric": "acurracy"}, "Did you mean 'accuracy'? The metrics are: "),
        ({"eval_metric": "gini"}, "eval_metric is 'gini'. The metrics are: 'log_loss', "),
        ({"eval_metric": 3}, "eval_metric is 3. "),
        ({"eval_metric": "rmse", "task": "classification"}, "'rmse', a metric of regression; the target is classification"),
        ({"eval_metric": "roc_auc", "task": "regression"}, "'roc_auc', a metric of classification; the target is regression. The metrics are: 'rmse', 'mae', 'r2'."),
        ({"eval_metric": "mse", "task": "classification"}, "eval_metric is 'mse'. The metrics are: 'log_loss', "),
    ],
)  # fmt: skip
def test_it_is_refused_before_anything_is_read(options, message):
    with pytest.raises(OptionError, match=re.escape(message)):
        FitOptions.of("y", **options)
    with pytest.raises(OptionError, match=re.escape(message)):
        sl.fit("no such file.csv", "y", **options)


@pytest.mark.parametrize(("target", "metric"), [("species", "rmse"), ("body_mass_g", "roc_auc")])
def test_it_is_refused_once_the_task_is_known(penguins, tmp_path, monkeypatch, target, metric):
    monkeypatch.setattr("sightline.pipeline.beginnings.prepare", None)  # nothing is computed
    message = f"eval_metric is '{metric}', a metric of .*; the target '{target}' is "
    with pytest.raises(OptionError, match=message):
        sl.fit(penguins, target, eval_metric=metric, quiet=True, run=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_other_names_lead_to_metrics():
    assert set(OTHER_NAMES) == set(METRICS)
    assert not {name for names in OTHER_NAMES.values() for name in names} & set(METRICS)
