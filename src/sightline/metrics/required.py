"""Requirements on metrics, such as "accuracy>=0.84", for scripts that must stop a bad model."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sightline.contracts.other_names import METRICS as OTHER_NAMES
from sightline.contracts.other_names import ours, plain_name
from sightline.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class Requirement:
    """A bound on a metric.

    Attributes:
        metric: The name of the metric, such as "accuracy".
        at_least: Whether the metric must be at least `bound`; else at most.
        bound: The bound.
    """

    metric: str
    at_least: bool
    bound: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "METRIC>=NUMBER" or "METRIC<=NUMBER".

        Raises:
            OptionError: The text is not of that form, or the number is not finite.

        Example:
            >>> from sightline.metrics.required import Requirement
            >>> Requirement.parse("accuracy >= 0.84")
            Requirement(metric='accuracy', at_least=True, bound=0.84)
        """
        match = re.fullmatch(r"\s*(\w+)\s*(>=|<=)\s*(\S+)\s*", text)
        try:
            bound = float(match[3]) if match else math.nan
        except ValueError:
            bound = math.nan
        if match is None or not math.isfinite(bound):
            raise OptionError(
                f"The requirement {text!r} is not of the form METRIC>=NUMBER or METRIC<=NUMBER.",
                "Write it in quotes, such as --require 'accuracy>=0.84' or --require 'rmse<=3'.",
            )
        return cls(match[1], match[2] == ">=", bound)

    def failure(self, metrics: Mapping[str, Any]) -> str | None:
        """Return in words how the metrics fail the requirement; None if they meet it.

        Args:
            metrics: By name, as `Model.evaluate` returns them.

        Raises:
            OptionError: There is no such metric.

        Example:
            >>> from sightline.metrics.required import Requirement
            >>> Requirement.parse("accuracy>=0.84").failure({"accuracy": 0.8})
            'accuracy must be at least 0.84, but is 0.8.'
        """
        numbers = {
            name: value for name, value in metrics.items()
            if name == self.metric or (isinstance(value, float) and not isinstance(value, bool))
        }  # fmt: skip
        value = numbers.get(self.metric)
        if self.metric not in numbers or not isinstance(value, int | float | None):
            known = [name for name in numbers if name != self.metric]
            meant = ours(plain_name(self.metric), known, OTHER_NAMES)
            raise OptionError(
                f"There is no metric {self.metric!r}.",
                did_you_mean(self.metric, known, "metrics", meant),
            )
        words = f"{self.metric} must be at {'least' if self.at_least else 'most'} {self.bound:g}"
        if value is None or not math.isfinite(value):
            return f"{words}, but is not defined on these rows."
        met = value >= self.bound if self.at_least else value <= self.bound
        return None if met else f"{words}, but is {value:.6g}."
