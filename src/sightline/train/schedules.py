"""Learning-rate schedules: a factor for each moment of a training, from 0 (its start) to 1 (its end).

A schedule is a function of the share of training that is done, so nothing about it has to be
kept, and an edit of epochs, batch size or learning rate rescales what is left of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from sightline.errors import OptionError, did_you_mean

Schedule = Callable[[float], float]
SCHEDULES = ("constant", "warm-up", "cosine", "one-cycle", "plateau")
WARM_UP = {"constant": 0.0, "warm-up": 0.05, "cosine": 0.0, "one-cycle": 0.3, "plateau": 0.0}
IN_GROUPS = ("lr", "initial_lr", "max_lr", "min_lr", "momentum", "betas", "max_momentum", "base_momentum")  # fmt: skip
"""What schedulers of PyTorch's keep in an optimizer's groups."""
START = 1 / 25
END = 1e-4


def make_schedule(name: str, warm_up: float | None = None) -> Schedule:
    """Make a schedule by name.

    - "constant": 1 throughout.
    - "warm-up": rises in a line from 1/25 over the first 5 %, then 1.
    - "cosine": falls from 1 to 0 along half a cosine (Loshchilov and Hutter 2017).
    - "one-cycle": rises from 1/25 over the first 30 %, falls to 1/10,000 (Smith and Topin 2019).
    - "plateau": 1, and lowered by `Training` itself, each time an epoch without a new best ends its
      patience: back to the best weights, with 0.3 times the learning rate, three times.

    Args:
        name: One of these.
        warm_up: The share of training in which it rises; None takes the schedule's own.

    Raises:
        OptionError: There is no such schedule, or the share is not from 0 up to, not with, 1.

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
        raise OptionError(f"warm_up is {warm_up!r}.", "Give a share from 0 up to, not with, 1.")
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
    """The learning rate of an optimizer: a base times a schedule, or a scheduler of PyTorch's.

    Args:
        schedule: A name, or a function that makes a `torch.optim.lr_scheduler` for an optimizer.
        warm_up: As in `make_schedule`.
        base: The rate that a schedule by name multiplies.

    Raises:
        OptionError: The function makes something else.

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
        self.base = self._asked = base
        self._shares = [1.0]
        self.done = 0.0
        self._since = (0.0, 0.0)  # epochs and share done where the rest was last stretched
        self._make = schedule
        self._factor = make_schedule(schedule, warm_up) if isinstance(schedule, str) else None
        self.scheduler: LRScheduler | None = None

    def follow(self, optimizer: Optimizer) -> None:
        """Set this optimizer's rate from now on, going on where the schedule is."""
        self.optimizer = optimizer
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        # A function of yours may have given groups rates of their own: they stay in proportion.
        self._shares = [rate / self._asked if self._asked else 1.0 for rate in rates]
        if self._factor is not None:
            self.before_step(self.done)
            return
        before = self.scheduler
        made = self._make(optimizer)
        if not isinstance(made, LRScheduler):
            raise OptionError(
                f"The schedule is a {type(made).__name__}.",
                "Give a name, or a function (optimizer) that makes a torch.optim.lr_scheduler.",
            )
        self.scheduler = made
        if before is not None:
            made.load_state_dict(before.state_dict())
            groups = (
                before.optimizer.param_groups
            )  # where a scheduler keeps its rates, and may its momenta
            for place, group in enumerate(optimizer.param_groups):
                old = groups[min(place, len(groups) - 1)]
                group.update({key: old[key] for key in IN_GROUPS if key in old and key in group})

    @property
    def now(self) -> float:
        """The learning rate of now."""
        if self._factor is not None:
            return self.base * self._factor(self.done)
        return float(self.optimizer.param_groups[0]["lr"])

    def set(self, value: float) -> None:
        """Set the learning rate of now, and rescale what is left of the schedule."""
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
        """Set the rate for a step, from the epochs that lie behind it and that there will be."""
        before, share = self._since
        self.before_step(share + (1 - share) * (epochs_done - before) / max(epochs - before, 1e-9))

    def stretch(self, epochs_done: float) -> None:
        """Let what is left of the schedule fit another number of epochs, from here on."""
        self._since = (epochs_done, self.done)

    def before_step(self, done: float) -> None:
        """Set the rate for a step, `done` being the share of training that lies behind it."""
        self.done = done
        if self._factor is not None:
            rate = self.base * self._factor(done)
            for group, share in zip(self.optimizer.param_groups, self._shares, strict=True):
                group["lr"] = rate * share

    def after_step(self) -> None:
        """Let a scheduler of PyTorch's count a step."""
        if self.scheduler is not None and not isinstance(self.scheduler, ReduceLROnPlateau):
            try:
                self.scheduler.step()
            except ValueError as error:  # a OneCycleLR that was made for fewer steps
                raise OptionError(
                    f"{type(self.scheduler).__name__} cannot go on: {error}.",
                    "Make it for epochs * steps_per_epoch steps (training.plan).",
                ) from error

    def after_epoch(self, watched: float) -> None:
        """Let a `ReduceLROnPlateau` see an epoch's loss."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(watched)

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        state = None if self.scheduler is None else self.scheduler.state_dict()
        return {"base": self.base, "done": self.done, "since": self._since, "scheduler": state}

    def from_json(self, data: Mapping[str, Any]) -> None:
        """Read what `to_json` wrote."""
        self.base, self.done, self._since = data["base"], data["done"], tuple(data["since"])
        if self.scheduler is not None:
            live = self.scheduler.state_dict()
            self.scheduler.load_state_dict(_with_keys_of(live, data["scheduler"]))


def _rescale(scheduler: LRScheduler, ratio: float) -> None:
    """Multiply the rates that a scheduler of PyTorch's keeps for itself, and those inside it."""
    for inner in getattr(scheduler, "_schedulers", ()):
        _rescale(inner, ratio)
    for name in ("base_lrs", "max_lrs"):
        if hasattr(scheduler, name):
            setattr(scheduler, name, [rate * ratio for rate in getattr(scheduler, name)])
    if hasattr(scheduler, "eta_min"):
        scheduler.eta_min *= ratio


def _with_keys_of(live: Any, read: Any) -> Any:
    """Give what was read from JSON, whose keys are text, the keys and types of what is there."""
    if isinstance(live, Mapping) and isinstance(read, Mapping):
        keys = {str(key): key for key in live}
        return type(live)(  # type: ignore[call-arg]
            {keys.get(k, k): _with_keys_of(live.get(keys.get(k, k)), v) for k, v in read.items()}
        )
    if isinstance(live, list) and isinstance(read, list) and len(live) == len(read):
        return [_with_keys_of(a, b) for a, b in zip(live, read, strict=True)]
    return read
