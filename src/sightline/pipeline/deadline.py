"""The time limit of a whole fit: one clock, and how the parts of a model share what is left.

The clock starts before the table is read. `Budget` keeps seconds for the end of the fit (blend, metrics, explanations,
simple models, report) and divides the rest among the parts: each gets the least that is useful, and its share of what is
left above that. A part that ends early leaves its time to the next ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from sightline.build.kernel_fit import SEARCH_LANDMARKS
from sightline.build.neighbors_fit import CANDIDATES, CHECKED_EPOCH
from sightline.contracts import FitOptions
from sightline.contracts.options import Quality
from sightline.errors import listed, spelled
from sightline.pipeline.recipe import (
    FOLDS,
    FOREST_SHARE,
    FOREST_TREES,
    KERNEL_SHARE,
    LEAST_LIMIT,
    LEAST_ROUNDS,
    NEIGHBORS_SHARE,
    NETWORK_SHARE,
    SYMMETRIC_SHARE,
    TREES_CLASSES,
    TREES_SHARE,
    Recipe,
    Size,
    epoch_work,
    forest_for,
    has_second_network,
    kernel_for,
    neighbors_for,
    prepared_size,
    round_work,
    symmetric_trees_for,
)
from sightline.predict.parts import (
    PARTS,
    ForestPart,
    KernelPart,
    NeighborsPart,
    NetworkPart,
    SecondNetworkPart,
    SymmetricTreesPart,
    TreesPart,
)
from sightline.prepare.prepared import Prepared
from sightline.train.plan import settle_batch_size

EPOCH_SPEED = 8e9
"""About how many rows x weights of small networks are trained in a second..."""
STEP_SECONDS = 2e-3
"""... besides what each step takes, however small it is."""
USEFUL_EPOCHS = 5
"""If the time limit allows fewer epochs, the model is that of a lower quality."""
QUALITIES: tuple[Quality, ...] = ("best", "default", "fast")
ROUNDS_SPEED = 7e7
"""About how much of `TREES_WORK` is done in a second, on two cores."""
FOREST_SPEED = 4e5
"""About how many rows x trees a forest grows a second, for one fold."""
KERNEL_SPEED = 2e10
"""About how many of a kernel model's multiplications are done in a second, on two cores."""
KERNEL_PASSES = 200
"""Scaling the columns and telling rows apart take as long as comparing all rows with so many landmarks, about."""
NEIGHBORS_SPEED = 5e7
"""About how many rows a nearest-neighbours model compares with another, for one fold, in a second of training, on two cores."""
PLACING = 15
"""Placing the rows by one more feature takes as long as comparing each with so many more, about."""
LEAST_PART = 0.5
"""The parts that are tried need at most this share of the time, so that each gets more than its least."""
LEAST_TREES = 10
"""With time for fewer trees there is no forest."""
START_SECONDS = 3.0
"""Reading, preparing and loading of libraries, about, for a table of few rows."""
START_VALUES = 3e6
"""With each of so many rows x columns the start takes about a second longer."""
END_SECONDS = 2.0
"""Blend, metrics, lesson, model file and report of a table of few rows, about."""
SLOWEST = 2.0
"""A machine counts as so many times slower than usual, at most: reading may have waited for a disk or a network."""
END_ROWS = 60_000
"""With each of so many rows the end takes about a second longer."""
OPTIONAL_SHARE = 0.1
"""Share of the limit that is kept, at most, for simple models, explanations and importance."""
SIMPLE_MODELS_SPEED = 5e5
"""About how many rows x columns x outputs simple models learn from in a second."""
REPORT_SECONDS = 2.5
"""Contributions, explained rows, importance and dependence of a table of few columns, about."""
PREDICTION_SECONDS = 1e-5
"""Of one row in a large batch, with all parts, about."""
SHUFFLED_ROWS = 2_000 * 5
"""Rows x repeats of a column's importance, at most."""


class Deadline:
    """The clock of a fit's time limit.

    Args:
        limit: Seconds; None means no limit.
        used: Seconds of it that are used already, by the process that began the run.
        clock: Returns seconds that only rise.

    Attributes:
        limit: As given.
        before: The seconds that were used already.

    Example:
        >>> from sightline.pipeline.deadline import Deadline
        >>> times = iter([100.0, 103.0])
        >>> Deadline(10.0, clock=lambda: next(times)).left(), Deadline().left()
        (7.0, inf)
    """

    def __init__(
        self, limit: float | None = None, used: float = 0.0, clock: Callable[[], float] = time.perf_counter
    ) -> None:  # fmt: skip
        self.limit, self._clock = limit, clock
        self.before = used
        self._began = clock() - used

    def used(self) -> float:
        """Return the seconds since the fit began, without pauses."""
        return self._clock() - self._began

    def left(self) -> float:
        """Return the seconds that are left, below 0 once the limit is over; infinity without a limit."""
        return math.inf if self.limit is None else self.limit - self.used()

    def exclude(self, seconds: float) -> None:
        """Do not count the seconds of a pause."""
        self._began += seconds

    def __reduce__(self) -> tuple[Any, ...]:
        """Take the used seconds to another process, whose clock shows another time."""
        return Deadline, (self.limit, self.used())


@dataclass(frozen=True)
class PartTime:
    """What a part needs of a time limit.

    Attributes:
        least: Estimated seconds, on two cores, without which it is not begun.
        share: Its share of the seconds that are left above what all parts need, relative to the others'.
    """

    least: float
    share: float


def recipe_in_time(recipe: Recipe, options: FitOptions, size: Size) -> Recipe:
    """Return the recipe of the best quality, at most the one asked for, whose network the time limit allows some epochs.

    It follows from sizes and the limit alone.

    Args:
        recipe: As `Recipe.choose` made it of the options.
        options: Of the fit.
        size: Of the table.
    """
    limit = options.settings().time_limit
    if limit is None or recipe.quality is None:
        return recipe
    seconds = limit - start_seconds(size) - sum(end_seconds(options, size, limit))
    for quality in QUALITIES[QUALITIES.index(recipe.quality) :]:
        model = replace(options.model, quality=quality)
        recipe = Recipe.choose(replace(options, model=model))
        if USEFUL_EPOCHS * epoch_seconds(recipe, size) <= seconds:
            break
    return recipe


def start_seconds(size: Size) -> float:
    """Return the seconds that reading, preparing and loading of libraries take, about."""
    return START_SECONDS + size.rows * size.features / START_VALUES


def epoch_seconds(recipe: Recipe, size: Size) -> float:
    """Return the seconds of an epoch of all members of a quality, about."""
    steps = size.rows / settle_batch_size(None, size.rows)
    return size.rows * epoch_work(recipe, size) / EPOCH_SPEED + steps * STEP_SECONDS


def part_times(recipe: Recipe, size: Size, second_network: bool) -> dict[str, PartTime]:
    """Return what each part of a model needs of a time limit, the most important part first.

    Args:
        recipe: Which parts the model has.
        size: Of the prepared table.
        second_network: Whether it has a second network, which depends on the columns.
    """
    epoch = epoch_seconds(recipe, size)
    if second_network:  # each of the two has half of the members
        epoch /= 2
    network = PartTime(epoch, NETWORK_SHARE)
    times = {NetworkPart.name: network}
    if not recipe.calibrate:
        return times
    rounds = LEAST_ROUNDS * round_work(size) / ROUNDS_SPEED
    if recipe.trees and size.outputs <= TREES_CLASSES:
        times[TreesPart.name] = PartTime(rounds, TREES_SHARE)
    if second_network:
        times[SecondNetworkPart.name] = network
    if symmetric_trees_for(recipe, size) is not None:
        times[SymmetricTreesPart.name] = PartTime(2 * rounds, SYMMETRIC_SHARE)
    if forest_for(recipe, size) is not None:
        trees = min(LEAST_TREES, FOREST_TREES[recipe.quality or "default"])
        forests = 1 + FOLDS[recipe.quality or "default"]
        times[ForestPart.name] = PartTime(size.rows * trees * forests / FOREST_SPEED, FOREST_SHARE)
    if kernel_for(recipe, size) is not None:
        times[KernelPart.name] = PartTime(_kernel_seconds(size), KERNEL_SHARE)
    if neighbors_for(recipe, size) is not None:
        folds = FOLDS[recipe.quality or "default"]
        times[NeighborsPart.name] = PartTime(_neighbors_seconds(size, folds), NEIGHBORS_SHARE)
    return times


def _neighbors_seconds(size: Size, folds: int) -> float:
    """Return the seconds until it is known whether a nearest-neighbours model helps, about."""
    compared = min(size.rows, CANDIDATES) + PLACING * size.features
    return CHECKED_EPOCH * folds * size.rows * compared / NEIGHBORS_SPEED


def _kernel_seconds(size: Size) -> float:
    """Return the seconds of a kernel model with few landmarks and one bandwidth, about."""
    landmarks = min(SEARCH_LANDMARKS, size.rows)
    solving = 4 * size.rows * landmarks**2
    comparing = 5 * size.rows * (landmarks + KERNEL_PASSES) * size.features
    return (solving + comparing) / KERNEL_SPEED


def end_seconds(options: FitOptions, size: Size, limit: float) -> tuple[float, float]:
    """Return the seconds that what comes after the parts takes: what has to be done, and what may be left out."""
    optional = 0.0
    if options.model.baselines:
        optional += min(size.rows, 50_000) * size.features * size.outputs / SIMPLE_MODELS_SPEED
    if options.run.report:
        optional += REPORT_SECONDS + SHUFFLED_ROWS * size.features * PREDICTION_SECONDS
    return END_SECONDS + size.rows / END_ROWS, min(optional, OPTIONAL_SHARE * limit)


@dataclass
class Budget:
    """How a fit spends what is left of its time limit.

    Attributes:
        deadline: The clock; without a limit every part has all the time it wants.
        times: Of each part that the recipe has, from `part_times`.
        asked: The parts that were asked for: they are tried however little time there is.
        end: Seconds for what has to be done after the parts, on a machine of usual speed.
        optional: Seconds for what may be left out there.
        start: Seconds that reading and preparing should take, on such a machine.
        pace: How many times longer they took: a slower or busy machine takes longer at the end too.
        lowered: The lower quality that the limit allows; empty if it allows the one that was asked for.
        left_out: The parts that are not made for want of time, and whether the clock or the estimate decided that.

    Example:
        >>> from sightline.pipeline.deadline import Budget, Deadline, PartTime
        >>> parts = {"network": PartTime(1.0, 0.5), "trees": PartTime(1.0, 0.5), "forest": PartTime(60.0, 0.1)}
        >>> budget = Budget(Deadline(30.0, clock=lambda: 0.0), parts, end=4.0)
        >>> budget.planned, budget.seconds("network"), budget.seconds("trees"), budget.seconds("forest")
        (('network', 'trees'), 13.0, 26.0, 0.0)
    """

    deadline: Deadline = field(default_factory=Deadline)
    times: Mapping[str, PartTime] = field(default_factory=dict)
    asked: tuple[str, ...] = ()
    end: float = 0.0
    optional: float = 0.0
    start: float = START_SECONDS
    pace: float = 1.0
    lowered: str = ""
    left_out: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, deadline: Deadline, recipe: Recipe, options: FitOptions, prepared: Prepared
    ) -> Self:
        """Divide the time limit of a fit for a table that has just been prepared."""
        if deadline.limit is None:
            return cls(deadline)
        size = prepared_size(prepared)
        times = part_times(recipe, size, has_second_network(recipe, prepared.spec))
        start = start_seconds(size)
        pace = (deadline.used() - deadline.before) / start
        return cls(
            deadline, times, tuple(recipe.asked), *end_seconds(options, size, deadline.limit),
            start, min(max(pace, 1.0), SLOWEST), _lowered(recipe, options),
        )  # fmt: skip

    @property
    def planned(self) -> tuple[str, ...]:
        """The parts that are tried, in the order in which they are made: it follows from sizes and the limit alone."""
        left = (self.deadline.limit or math.inf) - self.start - self.end - self.optional
        return self._affordable(PARTS, left)

    def _affordable(self, names: Iterable[str], seconds: float) -> tuple[str, ...]:
        """Return which of some parts are tried in so many seconds: the most important ones, each with more than its least."""
        chosen, left = set[str](), LEAST_PART * seconds
        for name, part in self.times.items():
            must = name == NetworkPart.name or name in self.asked
            if name in names and (must or part.least <= left):
                chosen.add(name)
                left -= part.least
        return tuple(name for name in names if name in chosen)

    def seconds(self, name: str) -> float | None:
        """Return the seconds that a part may take now: None without a limit, 0 if it is not to be made."""
        if self.deadline.limit is None:
            return None
        planned = self.planned
        if name in self.times and name not in planned:
            self.left_out[name] = "estimate"
            return 0.0
        own = self.times.get(name, PartTime(0.0, 1.0))
        available = self.deadline.left() - self.pace * self.end - self.optional
        if name == NetworkPart.name:
            available = max(available, LEAST_LIMIT)
        elif available <= 0 or available < own.least:
            if name in self.times:
                self.left_out[name] = "clock"
            return 0.0
        later = planned[planned.index(name) + 1 :] if name in planned else ()
        others = [self.times[other] for other in self._affordable(later, available - own.least)]
        above = available - own.least - sum(part.least for part in others)
        if above <= 0:
            return min(available, max(own.least, LEAST_LIMIT))
        return own.least + above * own.share / (own.share + sum(part.share for part in others))

    def record(self) -> dict[str, Any] | None:
        """Return the body of the record "train/time_limit"; None without a limit."""
        limit = self.deadline.limit
        if limit is None:
            return None
        used = self.deadline.used()
        said = f"{used:.3g} of the time limit's {limit:g} s were used when the model was complete"
        if self.lowered:
            said += f'; the limit allowed a model of quality "{self.lowered}"'
        for reason, why in (
            ("estimate", "would take too long"),
            ("clock", "had no time left"),
        ):
            names = [spelled(name) for name, by in self.left_out.items() if by == reason]
            if names:
                said += f"; left out, because {'it' if len(names) == 1 else 'they'} {why}: {listed(names, 10)}"
        return {
            "limit": limit, "seconds": used, "parts": list(self.planned),
            "left_out": [{"part": name, "by": by} for name, by in self.left_out.items()], "said": said,
        }  # fmt: skip


def _lowered(recipe: Recipe, options: FitOptions) -> str:
    asked = Recipe.choose(options).quality
    return recipe.quality if recipe.quality is not None and recipe.quality != asked else ""
