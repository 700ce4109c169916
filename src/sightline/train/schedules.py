"""Learning-rate schedules: the factor of the learning rate as training proceeds.

A named schedule is a function of the share of training that is done, from 0 (start) to 1 (end). It
has no state of its own, and an edit of epochs, batch size or learning rate rescales the rest of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sightline.contracts.options import ScheduleName
from sightline.errors import OptionError, did_you_mean

Schedule = Callable[[float], float]
SCHEDULES: tuple[str, ...] = get_args(ScheduleName)
WARM_UP = {"constant": 0.0, "warm-up": 0.05, "cosine": 0.0, "one-cycle": 0.3, "plateau": 0.0}
IN_GROUPS = ("lr", "initial_lr", "max_lr", "min_lr", "momentum", "betas", "max_momentum", "base_momentum")  # fmt: skip
"""The entries of an optimizer's groups that a PyTorch scheduler changes."""
START = 1 / 25
"""The factor with which a warm-up begins."""
END = 1e-4
"""The factor with which "one-cycle" ends."""


def make_schedule(name: str, warm_up: float | None = None) -> Schedule:
    """Make a named schedule: a function from the share of training done to the factor.

    - "constant": 1 throughout.
    - "warm-up": rises linearly from 1/25 over the first 5 % of training, then 1.
    - "cosine": falls from 1 to 0 along half a cosine (Loshchilov and Hutter 2017).
    - "one-cycle": rises from 1/25 over the first 30 %, falls to 1/10,000 (Smith and Topin 2019).
    - "plateau": 1. `Training` lowers the learning rate itself: each time `patience` runs out, it
      returns to the best weights with 0.3 times the learning rate, up to three times.

    Args:
        name: One of these.
        warm_up: Share of training over which the factor rises; None takes the schedule's own.

    Raises:
        OptionError: There is no such schedule, or `warm_up` is not from 0 up to, not including, 1.

    Example:
        >>> from sightline.train.schedules import make_schedule
        >>> cosine = make_schedule("cosine", warm_up=0.5)
        >>> [round(cosine(done), 3) for done in (0.0, 0.25, 0.5, 0.75, 1.0)]
        [0.04, 0.52, 1.0, 0.5, 0.0]
    """
    if name not in SCHEDULES:
        raise OptionError(
            f"There is no schedule {name!r}.", did_you_mean(name, SCHEDULES, "schedules")
        )
    if warm_up is not None and not 0 <= warm_up < 1:
        raise OptionError(
            f"warm_up is {warm_up!r}.", "Give a share of training from 0 up to, not including, 1."
        )
    rise = WARM_UP[name] if warm_up is None else warm_up

    def factor(done: float) -> float:
        done = min(max(done, 0.0), 1.0)
        if done < rise:
            if name == "one-cycle":
                return 1 + (START - 1) * (1 + math.cos(math.pi * done / rise)) / 2
            return START + (1 - START) * done / rise
        if name in ("constant", "warm-up", "plateau"):
            return 1.0
        low = END if name == "one-cycle" else 0.0
        return low + (1 - low) * (1 + math.cos(math.pi * (done - rise) / (1 - rise))) / 2

    return factor


class LearningRate:
    """The learning rate of an optimizer: a base rate times a schedule, or a PyTorch scheduler.

    Args:
        schedule: A name, or a function that makes a `torch.optim.lr_scheduler` for an optimizer.
        warm_up: As in `make_schedule`.
        base: The rate that a named schedule multiplies.

    Raises:
        OptionError: The function makes something else than a scheduler.

    Example:
        >>> import torch
        >>> from sightline.train.schedules import LearningRate
        >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        >>> rate = LearningRate("cosine", None, base=1.0)
        >>> rate.follow(optimizer)
        >>> rate.before_step(0.5); round(rate.now, 6)
        0.5
        >>> rate.set(1.0)  # what is left is rescaled with it
        >>> rate.before_step(0.75); round(rate.now, 6)
        0.292893
    """

    def __init__(self, schedule: Any, warm_up: float | None, base: float) -> None:
        self.base = self._first_base = base
        self._ratios = [1.0]
        self.done = 0.0
        self._since = (0.0, 0.0)  # (epochs, share) done when the schedule was last stretched
        self._make = schedule
        self._factor = make_schedule(schedule, warm_up) if isinstance(schedule, str) else None
        self.scheduler: LRScheduler | None = None

    def follow(self, optimizer: Optimizer) -> None:
        """Set this optimizer's learning rate from now on; the schedule continues where it is."""
        self.optimizer = optimizer
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        # Your own optimizer may give groups different rates: their ratios are kept.
        self._ratios = [rate / self._first_base if self._first_base else 1.0 for rate in rates]
        if self._factor is not None:
            self.before_step(self.done)
            return
        before = self.scheduler
        scheduler = self._make(optimizer)
        if not isinstance(scheduler, LRScheduler):
            raise OptionError(
                f"The schedule is a {type(scheduler).__name__}.",
                "Give a name, or a function (optimizer) that makes a torch.optim.lr_scheduler.",
            )
        self.scheduler = scheduler
        if before is not None:
            scheduler.load_state_dict(before.state_dict())
            groups = before.optimizer.param_groups  # a scheduler keeps rates and momenta there
            for index, group in enumerate(optimizer.param_groups):
                old = groups[min(index, len(groups) - 1)]
                group.update({key: old[key] for key in IN_GROUPS if key in old and key in group})

    @property
    def now(self) -> float:
        """The current learning rate."""
        if self._factor is not None:
            return self.base * self._factor(self.done)
        return float(self.optimizer.param_groups[0]["lr"])

    def set(self, value: float) -> None:
        """Set the current learning rate, and rescale the rest of the schedule."""
        if self._factor is not None:
            factor = self._factor(self.done)
            self.base = value / factor if factor else value
            self.before_step(self.done)
            return
        assert self.scheduler is not None
        ratio = value / self.now if self.now else 1.0
        for group in self.optimizer.param_groups:
            for key in ("initial_lr", "max_lr", "min_lr", "lr"):
                if key in group:
                    group[key] = group[key] * ratio if group["lr"] or key != "lr" else value
        _rescale(self.scheduler, ratio)

    def at(self, epochs_done: float, epochs: int) -> None:
        """Set the rate for a step, from the epochs done and the number of epochs planned."""
        epochs_then, share = self._since
        part = (epochs_done - epochs_then) / max(epochs - epochs_then, 1e-9)
        self.before_step(share + (1 - share) * part)

    def stretch(self, epochs_done: float) -> None:
        """Spread the rest of the schedule over another number of epochs, from here on."""
        self._since = (epochs_done, self.done)

    def before_step(self, done: float) -> None:
        """Set the rate for a step; `done` is the share of training done before it, 0 to 1."""
        self.done = done
        if self._factor is not None:
            rate = self.base * self._factor(done)
            for group, ratio in zip(self.optimizer.param_groups, self._ratios, strict=True):
                group["lr"] = rate * ratio

    def after_step(self) -> None:
        """Step a PyTorch scheduler."""
        if self.scheduler is not None and not isinstance(self.scheduler, ReduceLROnPlateau):
            try:
                self.scheduler.step()
            except ValueError as error:  # such as a OneCycleLR made for fewer steps
                raise OptionError(
                    f"The scheduler {type(self.scheduler).__name__} cannot continue: {error}.",
                    "Make it for epochs * steps_per_epoch steps; both are in training.plan.",
                ) from error

    def after_epoch(self, watched: float) -> None:
        """Step a `ReduceLROnPlateau` with the epoch's validation loss."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(watched)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        state = None if self.scheduler is None else self.scheduler.state_dict()
        return {"base": self.base, "done": self.done, "since": self._since, "scheduler": state}

    def from_json(self, data: Mapping[str, Any]) -> None:
        """Read what `to_json` wrote."""
        self.base, self.done, self._since = data["base"], data["done"], tuple(data["since"])
        if self.scheduler is not None:
            current = self.scheduler.state_dict()
            self.scheduler.load_state_dict(_with_keys_of(current, data["scheduler"]))


def _rescale(scheduler: LRScheduler, ratio: float) -> None:
    """Multiply the rates that a PyTorch scheduler, and the schedulers inside it, keep."""
    for inner in getattr(scheduler, "_schedulers", ()):
        _rescale(inner, ratio)
    for name in ("base_lrs", "max_lrs"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, [rate * ratio for rate in getattr(scheduler, name)])
    if hasattr(scheduler, "eta_min"):
        scheduler.eta_min *= ratio


def _with_keys_of(current: Any, read: Any) -> Any:
    """Give values read from JSON, whose keys are strings, the keys and types of the current ones."""
    if isinstance(current, Mapping) and isinstance(read, Mapping):
        keys = {str(key): key for key in current}
        items = ((keys.get(key, key), value) for key, value in read.items())
        return type(current)(  # type: ignore[call-arg]
            {key: _with_keys_of(current.get(key), value) for key, value in items}
        )
    if isinstance(current, list) and isinstance(read, list) and len(current) == len(read):
        return [_with_keys_of(a, b) for a, b in zip(current, read, strict=True)]
    return read
