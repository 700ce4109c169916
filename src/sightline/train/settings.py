"""What a training is asked to do: every setting, its default, its rule."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from sightline.contracts import Label
from sightline.errors import OptionError, did_you_mean
from sightline.train.optimizers import OPTIMIZERS, OptimizerMaker
from sightline.train.plan import PRECISIONS, check_device, check_seed, check_whole
from sightline.train.schedules import SCHEDULES, make_schedule

ClassWeights = Literal["balanced"] | Mapping[Label, float]
CUSTOM = "(your own)"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a training; `sl.Training` describes them.

    Raises:
        OptionError: A value that makes no sense, naming the setting and its rule.

    Example:
        >>> from sightline.train.settings import Settings
        >>> Settings(epochs=5).learning_rate
        0.001
    """

    epochs: int = 100
    batch_size: int | None = None
    accumulate: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    optimizer: str | OptimizerMaker = "adamw"
    schedule: Any = "constant"
    warm_up: float | None = None
    clip_norm: float | None = None
    ema: float | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights | None = None
    patience: int | None = 16
    eval_metric: str | None = None
    time_limit: float | None = None
    precision: str = "auto"
    doctor: bool = True
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_whole("epochs", self.epochs)
        check_whole("accumulate", self.accumulate)
        for name in ("batch_size", "patience"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name))
        for name in ("learning_rate", "weight_decay"):
            _check_number(name, getattr(self, name), 0, math.inf, "from 0 up")
        for name in ("clip_norm", "time_limit"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), 0, math.inf, "above 0", above=True)
        if self.ema is not None:
            _check_number("ema", self.ema, 0, 1, "from 0 up to, not with, 1, such as 0.999")
        _check_number("label_smoothing", self.label_smoothing, 0, 1, "from 0 up to, not with, 1")
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", ("auto", *PRECISIONS))):  # fmt: skip
            value = getattr(self, name)
            if not (value in known or (callable(value) and name != "precision")):
                raise OptionError(
                    f"{name} is {value!r}.", did_you_mean(str(value), known, f"values of {name}")
                )
        if isinstance(self.schedule, str):
            make_schedule(self.schedule, self.warm_up)
        elif self.warm_up is not None:
            raise OptionError(
                "warm_up goes with a schedule by name.", "Put the warm-up into your own schedule."
            )
        if not (
            self.class_weights in (None, "balanced") or isinstance(self.class_weights, Mapping)
        ):
            raise OptionError(
                f"class_weights is {self.class_weights!r}.",
                'Give "balanced", or a weight per class.',
            )
        if not isinstance(self.doctor, bool):
            raise OptionError(f"doctor is {self.doctor!r}.", "Give True or False.")
        check_seed(self.seed)
        check_device(self.device)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Make settings from names and values.

        Raises:
            OptionError: A name that is no setting, or a value that makes no sense.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for name in given:
            if name not in names:
                raise OptionError(
                    f"There is no setting {name!r}.", did_you_mean(name, names, "settings")
                )
        return cls(**given)

    def options(self) -> dict[str, Any]:
        """Return the settings as the arguments of `sl.Training`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; an optimizer or schedule of your own is said to be one."""
        said = self.options()
        for name in ("optimizer", "schedule"):
            if not isinstance(said[name], str):
                said[name] = CUSTOM
        if isinstance(self.class_weights, Mapping):  # JSON's keys are text; a class may be a number
            said["class_weights"] = [
                [label, weight] for label, weight in self.class_weights.items()
            ]
        return said

    @classmethod
    def from_json(cls, data: Mapping[str, Any], **own: Any) -> Self:
        """Read what `to_json` wrote.

        Args:
            data: From `to_json`.
            own: The optimizer or schedule that is not in the data, being your own.

        Raises:
            OptionError: One was your own, and is not given.
        """
        said = dict(data)
        for name in ("optimizer", "schedule"):
            if own.get(name) is not None:
                said[name] = own[name]
            elif said[name] == CUSTOM:
                raise OptionError(f"The {name} was your own.", f"Give it again: {name}=...")
        if isinstance(said["class_weights"], list):
            said["class_weights"] = dict(said["class_weights"])
        return cls(**said)


def _check_number(
    name: str, value: object, low: float, high: float, rule: str, above: bool = False
) -> None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high
    if not fits or (above and value == low):
        raise OptionError(f"{name} is {value!r}.", f"Give a number {rule}.")
