"""The metrics by name: for which task, and which direction is better; how they are computed is in `metrics/scores.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sightline.contracts.other_names import METRICS as OTHER_NAMES
from sightline.contracts.other_names import ours, plain_name
from sightline.contracts.schema import TaskName
from sightline.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        task: What it measures.
        greater_is_better: Whether a higher value is better.

    Example:
        >>> from sightline.contracts.metrics import METRICS
        >>> METRICS["rmse"]
        Metric(task='regression', greater_is_better=False)
    """

    task: TaskName
    greater_is_better: bool


METRICS: Mapping[str, Metric] = {
    "log_loss": Metric("classification", False),
    "roc_auc": Metric("classification", True),
    "average_precision": Metric("classification", True),
    "accuracy": Metric("classification", True),
    "balanced_accuracy": Metric("classification", True),
    "f1": Metric("classification", True),
    "brier": Metric("classification", False),
    "rmse": Metric("regression", False),
    "mae": Metric("regression", False),
    "r2": Metric("regression", True),
}
"""What `eval_metric` may be, by name."""


def check_metric(name: object, task: TaskName | None = None, target: str | None = None) -> None:
    """Refuse a name that is no metric, or a metric of the other task.

    Args:
        name: Such as "roc_auc".
        task: What is predicted; None if that is not known yet.
        target: The target's name, for the message.

    Raises:
        OptionError: It names the metrics that fit.

    Example:
        >>> from sightline.contracts.metrics import check_metric
        >>> try:
        ...     check_metric("rmse", "classification")
        ... except ValueError as error:
        ...     print(str(error)[:64])
        eval_metric is 'rmse', a metric of regression; the target is cla
    """
    known = METRICS.get(name) if isinstance(name, str) else None
    if known is not None and task in (None, known.task):
        return
    problem = f"eval_metric is {name!r}"
    if known is not None:
        whose = "the target" if target is None else f"the target {target!r}"
        problem += f", a metric of {known.task}; {whose} is {task}"
    fitting = [other for other, one in METRICS.items() if task in (None, one.task)]
    meant = ours(plain_name(str(name)), fitting, OTHER_NAMES)
    raise OptionError(f"{problem}.", did_you_mean(str(name), fitting, "metrics", meant))
