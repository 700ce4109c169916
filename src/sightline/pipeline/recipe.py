"""The default model: which networks, which boosted trees, how many folds, which settings.

`Recipe.choose` decides what does not depend on the table, `divide` splits the rows, and
`settings_for`, `network_for` and `trees_for` decide by the number of training rows, features and
classes. All numbers here were chosen by measurement (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import nn

from sightline.build.ensemble import MOST_PIECES, SEGMENTS, Ensemble
from sightline.build.modes import drawing
from sightline.build.networks import NetworkMaker, make_network
from sightline.build.statistics import MANY_VALUES, MOST_CLASSES
from sightline.build.symmetric import SymmetricOptions
from sightline.contracts import Batch, FitOptions, Spec, TrainingSettings, traits_of
from sightline.contracts.options import PARTS_OF_ANY_NETWORK, Quality
from sightline.errors import OptionError, counted
from sightline.load.batches import map_tensors
from sightline.load.divide import group_rows
from sightline.load.folds import assign_folds
from sightline.load.known import CALIBRATION, VALIDATION
from sightline.load.large import LargeTable
from sightline.load.split import NEWEST_ROWS, Splits, split
from sightline.load.split_large import split_large
from sightline.load.table import Table
from sightline.prepare.prepared import Prepared
from sightline.train.training import Training

FOLDS = {"fast": 3, "default": 5, "best": 10}
MEMBERS = {"fast": 6, "default": 10, "best": 20}
"""Members of the network, by quality."""
EPOCHS = {"fast": 8, "default": 60, "best": 80}
DROPOUT = 0.1
ROWS_PER_FOLD = 3
"""A table with fewer rows per fold than this gets fewer folds."""
BINNED_ROWS = 1_200
"""With at least this many training rows, the network also looks up discrete numbers by their value."""
WAVES = 32
"""Frequencies per number in a regression; classification did not gain from them."""
TREES_CLASSES = 50
"""With more classes there are no boosted trees: one tree per class and round costs more than it gains."""
SMALL_ROWS = 2_000
"""With fewer training rows, trees are small, and members too if there are few classes."""
SEVERAL_CLASSES = 5
"""With so many classes and few rows, the trees of the default model take half as many rounds, at twice the rate."""
FEW_CLASSES = 8
CALIBRATION_ROWS = 20
"""With fewer validation rows than this, none are kept for calibration."""
WORK = {"fast": 0.25, "default": 1.0, "best": 4.0}
"""How much work each quality may do, relative to the default."""
NETWORK_WORK = 8e12
"""Rows x weights x epochs of the default network, about 200 s on two cores; larger tables get fewer epochs."""
TREES_WORK = 1.4e10
"""Rows x columns x classes x rounds of the default trees, about 200 s on two cores."""
ONE_FOLD_SPEEDUP = 4
"""How many times faster trees are grown that hold out one fold only, on one thread."""
NODE_ROWS = 16_000
"""Searching the bins of a tree's nodes costs as much as this many more rows."""
LEAST_ROUNDS = 20
LARGEST_RATE = 0.3
"""The fewest boosting rounds, and the largest learning rate of the trees, on very large tables."""
LEAST_LIMIT = 1e-3
"""Seconds of a network whose time is over when it begins: it makes one step."""
NETWORK_SHARE = 0.35
"""Share of a time limit that each network may take, relative to the other parts' (see `pipeline/deadline.py`)."""
TREES_SHARE = 0.2
"""Share that the boosted trees may take."""
SYMMETRIC_SHARE = 0.2
"""Share that the symmetric trees may take."""
SYMMETRIC_ROWS = {"fast": 20_000, "default": 20_000, "best": 100_000}
"""With more training rows there are no symmetric trees."""
SYMMETRIC_ROUNDS = {"fast": 100, "default": 600, "best": 1_000}
"""The most rounds. On its own such trees are better than the others, in the blend hardly, at a third more time: where
nobody asks, "default" has them only if a category has many values."""
FOREST_SHARE = 0.1
"""Share of a time limit that the forest may take."""
FOREST_ROWS = {"fast": 10_000, "default": 10_000, "best": 50_000}
"""With more training rows there is no forest."""
FOREST_TREES = {"fast": 50, "default": 100, "best": 300}
FOREST_BYTES = {"fast": 8_000_000, "default": 8_000_000, "best": 40_000_000}
KERNEL_SHARE = 0.1
"""Share of a time limit that the kernel model may take."""
KERNEL_ROWS = {"fast": 5_000, "default": 5_000, "best": 20_000}
"""With more training rows there is no kernel model: the more rows, the less it adds to the others."""
KERNEL_LANDMARKS = 2_000
KERNEL_WORTH = 1.3
"""All landmarks are used if the held-out loss with few is at most so many times the network's."""
NEIGHBORS_SHARE = 0.1
"""Share of a time limit that the nearest-neighbours model may take."""
NEIGHBORS_ROWS = {"fast": 10_000, "default": 10_000, "best": 50_000}
"""With more training rows there is no nearest-neighbours model: each of its epochs takes too long."""
NEIGHBORS_REFERENCES = 3_000
NEIGHBORS_FEATURES = 300
"""With more features there is none either: each value of a category has a place of its own in each fold."""
NEIGHBORS_WORTH = 0.5
"""Its training goes on after two epochs if it brings this share of what it has to bring in the end. Where it helps at all, the
held-out loss is then 2 to 16 % higher without it."""
COSTS = {"neighbors": 4.0}
"""How many times as much a part has to bring as others, because its predictions take longer."""
LEAST_GAIN = {"fast": 0.005, "default": 0.005, "best": 0.001}
"""A part that was not asked for stays in the model if the held-out loss without it is higher by this share."""
SECOND_WIDTHS = [128, 128, 128]
"""Hidden layers of the second network."""
BEHIND_EPOCHS, BEHIND = 10, 1.1
"""The second network's training ends if after so many epochs its held-out loss, for numbers the root of it, is still more than
so many times the first's."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a fit does besides training one network, and how large that is.

    Attributes:
        quality: "fast", "default" or "best"; None for a network of your own.
        folds: How many folds; 0 if there are validation rows instead.
        second_network: Whether a network that sees numbers as they are is added, if there are numbers.
        trees: Whether boosted trees are added.
        symmetric_trees: Whether boosted symmetric trees are added.
        forest: Whether a forest of randomised trees is added.
        kernel: Whether a kernel model is added.
        neighbors: Whether a nearest-neighbours model is added.
        asked: The parts that were asked for, which stay in the model whatever they bring.
        calibrate: Whether probabilities are calibrated on rows that the model did not learn from.
        statistics: Whether trees see target statistics in place of a category of many values; of older runs they do not.
        whole_groups: Whether the validation rows that are kept for calibration are whole groups; of older runs they are
            not.
        threshold: The metric that the decision threshold of two classes is chosen for, or the threshold.
        hidden, dropout: Of the default network, where they were asked for.

    Example:
        >>> from sightline.contracts import FitOptions
        >>> from sightline.pipeline.recipe import Recipe
        >>> Recipe.choose(FitOptions.of("y")).folds, Recipe.choose(FitOptions.of("y", quality="fast")).folds
        (5, 3)
    """

    quality: Quality | None = "default"
    folds: int = 0
    second_network: bool = False
    trees: bool = False
    symmetric_trees: bool = False
    forest: bool = False
    kernel: bool = False
    neighbors: bool = False
    asked: Sequence[str] = ()
    calibrate: bool = False
    whole_groups: bool = False
    statistics: bool = False
    threshold: str | float | None = None
    hidden: Sequence[int] | None = None
    dropout: float | None = None

    @classmethod
    def choose(cls, options: FitOptions) -> Self:
        """Decide what does not depend on the table.

        A network of your own is trained with early stopping on validation rows; trees and
        calibration are added if they are asked for. Without one, there are folds, unless validation
        rows are asked for.
        """
        model, split_options = options.model, options.split
        own = model.network is not None
        quality: Any = None if own else model.quality or "default"
        wanted = (
            not own
            or any(getattr(model, name) for name in PARTS_OF_ANY_NETWORK)
            or model.threshold is not None
        )
        others = not own and quality != "fast" and model.calibrate is not False
        optional = {
            "second_network": others, "trees": not own, "symmetric_trees": others, "forest": others,
            "kernel": others, "neighbors": others,
        }  # fmt: skip
        given = {name: getattr(model, name) for name in optional}
        optional |= {name: wish for name, wish in given.items() if wish is not None}
        return cls(
            quality=quality,
            folds=0 if own or split_options.valid is not None else FOLDS[quality],
            **optional,
            asked=tuple(name for name, wish in given.items() if wish),
            calibrate=wanted if model.calibrate is None else model.calibrate,
            whole_groups=split_options.group is not None,
            statistics=bool(optional["trees"] or optional["symmetric_trees"]),
            threshold=model.threshold,
            hidden=model.hidden,
            dropout=model.dropout,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "asked": list(self.asked)}


def divide(
    table: Table | LargeTable,
    target: str,
    recipe: Recipe,
    *,
    valid: Any = None,
    test: Any = 0.1,
    **options: Any,
) -> Splits:
    """Split a table's rows as a recipe needs them: with folds, or with validation rows.

    Args:
        table: From `sightline.read`, or one larger than memory.
        target: The column to predict.
        recipe: Gives the number of folds; a table of few rows or groups gets fewer.
        valid, test, options: As in `sightline.split`; `valid=None` means 0 with folds and 0.1 without.

    Raises:
        OptionError: A threshold for a target that does not have two classes, or one that is to be
            chosen on held-out rows if there are too few.
    """
    if recipe.folds:
        options |= {"folds": recipe.folds, "min_rows_per_fold": ROWS_PER_FOLD}
        valid = 0
    valid = 0.1 if valid is None else valid
    if isinstance(table, LargeTable):
        splits = split_large(table, target, valid=valid, test=test, **options)
    else:
        splits = split(table, target, valid=valid, test=test, **options)
    _check_threshold(recipe, splits)
    return splits


class Size(NamedTuple):
    """What decides how much work a table is, and which parts its model has.

    Attributes:
        rows, features, outputs: Training rows, features, and outputs of the network.
        numbers: Whether there are numbers.
        many_values: Whether a category has so many values that trees see target statistics in its place.
    """

    rows: int
    features: int
    outputs: int
    numbers: bool = True
    many_values: bool = False


def size_of(splits: Splits) -> Size:
    """Return how large a split table is; its features are estimated, because it is not prepared yet."""
    traits = [traits_of(column.kind) for column in splits.table.schema.features]
    return Size(
        splits.train_rows, sum(one.features for one in traits), len(splits.target.classes) or 1,
        any(one.encoding != "codes" for one in traits),
    )  # fmt: skip


def has_second_network(recipe: Recipe, spec: Spec) -> bool:
    """Return whether the model of a table has a second network: without numbers it would be like the first."""
    return recipe.second_network and any(len(feature.edges) > 1 for feature in spec.numeric)


def network_for(recipe: Recipe, rows: int, spec: Spec) -> Ensemble:
    """Build the default network of a quality for a table with this many training rows.

    Beside a second network it has half as many members. For one or two outputs the members are narrow, so that predictions take at most about three times
    as long as those of boosted trees alone. For more classes they are wide: trees need one per
    class there. Small tables with few classes do not need wide members.
    """
    quality = recipe.quality or "default"
    hidden = recipe.hidden or _widths(quality, rows, spec.outputs)
    dropout = DROPOUT if recipe.dropout is None else recipe.dropout
    enough = rows >= BINNED_ROWS
    waves = WAVES if enough and spec.target.task == "regression" else 0
    members = members_for(recipe, spec)
    return Ensemble(spec, members=members, hidden=hidden, dropout=dropout, bins=enough, waves=waves)


def second_network_for(recipe: Recipe, spec: Spec) -> Ensemble:
    """Build the second network of a quality, whose members see each number as it is.

    On tables of ordered numbers, such as measurements of an image, piecewise-linear encodings and
    embedded values of numbers let a network memorise noise (docs/decisions.md).
    """
    dropout = DROPOUT if recipe.dropout is None else recipe.dropout
    return Ensemble(
        spec, members=members_for(recipe, spec), hidden=recipe.hidden or SECOND_WIDTHS, dropout=dropout,
        bins=False, pieces=False,
    )  # fmt: skip


def may_end_early(recipe: Recipe, settings: TrainingSettings, rows: int) -> bool:
    """Return whether the second network's training may end after `BEHIND_EPOCHS`.

    On few rows the other epochs take no time. With a cosine schedule the loss falls late.
    """
    asked = "second_network" in recipe.asked
    return not asked and rows >= SMALL_ROWS and settings.schedule == "plateau"


def members_for(recipe: Recipe, spec: Spec) -> int:
    """Return how many members each network of a quality has."""
    members = MEMBERS[recipe.quality or "default"]
    return members // 2 if has_second_network(recipe, spec) else members


def _widths(quality: str, rows: int, outputs: int) -> list[int]:
    if outputs > FEW_CLASSES or (outputs > 2 and rows >= SMALL_ROWS):
        width = 256 if quality == "best" and rows >= SMALL_ROWS else 128
        return [96] if quality == "fast" else [width] * 3
    return [64] if quality == "fast" else [64, 64]


def settings_for(recipe: Recipe, size: Size) -> dict[str, Any]:
    """Return the settings of a quality for a table of a size, as `sl.Training` takes them.

    A very large table gets fewer epochs (see `NETWORK_WORK`), with a cosine schedule: in so few epochs
    the loss might never reach a plateau.
    """
    if recipe.quality is None:
        return {}
    quality, rows = recipe.quality, size.rows
    epochs = EPOCHS[quality] if rows < 100_000 else EPOCHS[quality] // 2
    affordable = max(int(WORK[quality] * NETWORK_WORK / (rows * epoch_work(recipe, size))), 2)
    fewer = affordable < epochs
    return {
        "epochs": min(affordable, epochs),
        "learning_rate": 2e-3,
        "weight_decay": 1e-3,
        "schedule": "cosine" if fewer or quality == "fast" else "plateau",
        "patience": None if fewer else 3 if rows < 20_000 else 2 if rows < 100_000 else 1,
    }


def epoch_work(recipe: Recipe, size: Size) -> int:
    """Return the weights of the default network of a quality, about: what an epoch costs for each row."""
    quality = recipe.quality or "default"
    widths = recipe.hidden or _widths(quality, size.rows, size.outputs)
    pieces = min(SEGMENTS * size.features, MOST_PIECES)
    sides = [size.features + pieces, *widths, size.outputs]
    return MEMBERS[quality] * sum(a * b for a, b in pairwise(sides))


def round_work(size: Size) -> int:
    """Return the work of one round of boosted trees, in the unit of `TREES_WORK`."""
    trees = 1 if size.outputs <= 2 else size.outputs
    return (size.rows + NODE_ROWS) * max(size.features, 1) * trees


def trees_for(recipe: Recipe, size: Size) -> dict[str, Any]:
    """Return how boosted trees of a quality are grown on a table of a size.

    `most_trees` bounds how long predictions take; "best" may take longer. On a very large table (see
    `TREES_WORK`) the trees hold out one fold only and are kept as they are (`one_fold`); if that is
    still too much work, there are fewer rounds with a larger learning rate.
    """
    rows, _, outputs = size[:3]
    small, few = rows < SMALL_ROWS, outputs <= 2
    quality = recipe.quality or "default"
    trees = {"fast": (300, 120), "default": (300, 120), "best": (6_000, 600)}[quality]
    rate = {"fast": 0.2, "default": 0.1, "best": 0.05}[quality]
    rounds = {"fast": 60, "default": 200, "best": 600}[quality]
    if quality == "default" and small and outputs >= SEVERAL_CLASSES:
        rate, rounds = 2 * rate, rounds // 2
    work_per_round = round_work(size)
    one_fold = work_per_round * rounds > WORK[quality] * TREES_WORK
    affordable = max(
        int(ONE_FOLD_SPEEDUP * WORK[quality] * TREES_WORK / work_per_round), LEAST_ROUNDS
    )
    if affordable < rounds:
        rate, rounds = min(rate * rounds / affordable, LARGEST_RATE), affordable
    return {
        "learning_rate": rate,
        "iterations": rounds,
        "leaves": 8 if small else 31,
        "min_rows": 10 if small else 20,
        "max_features": 0.5 if quality == "best" else 1.0,
        "most_trees": trees[0] if few else trees[1],
        "one_fold": one_fold,
    }


def symmetric_trees_for(recipe: Recipe, size: Size) -> dict[str, Any] | None:
    """Return how symmetric trees of a quality are grown on a table of a size; None if there are none."""
    quality = recipe.quality or "default"
    many = size.outputs > TREES_CLASSES or size.rows > SYMMETRIC_ROWS[quality]
    described = size.many_values and recipe.statistics
    worth = described or quality == "best" or "symmetric_trees" in recipe.asked
    if not recipe.symmetric_trees or many or not worth:
        return None
    like = trees_for(recipe, size)
    return {
        "symmetric": SymmetricOptions(),
        "learning_rate": 0.05 if quality == "best" else 0.1,
        "iterations": SYMMETRIC_ROUNDS[quality],
        "most_trees": like["most_trees"],
    }


def forest_for(recipe: Recipe, size: Size) -> dict[str, Any] | None:
    """Return how a forest of a quality is grown on a table of a size; None if there is none."""
    quality = recipe.quality or "default"
    if not recipe.forest or size.outputs > TREES_CLASSES or size.rows > FOREST_ROWS[quality]:
        return None
    return {
        "trees": FOREST_TREES[quality],
        "most_bytes": FOREST_BYTES[quality],
        "min_rows": 1 if size.outputs > 1 else 2,
        "max_features": min(size.features**-0.5, 1.0) if size.outputs > 1 else 0.5,
    }


def kernel_for(recipe: Recipe, size: Size) -> dict[str, Any] | None:
    """Return how a kernel model of a quality is fitted to a table of a size; None if there is none."""
    quality = recipe.quality or "default"
    if not recipe.kernel or size.outputs > TREES_CLASSES or size.rows > KERNEL_ROWS[quality]:
        return None
    return {"landmarks": KERNEL_LANDMARKS}


def neighbors_for(recipe: Recipe, size: Size) -> dict[str, Any] | None:
    """Return how a nearest-neighbours model of a quality is fitted to a table of a size; None if there is none."""
    quality = recipe.quality or "default"
    wide = size.outputs > TREES_CLASSES or size.features > NEIGHBORS_FEATURES
    if not recipe.neighbors or wide or size.rows > NEIGHBORS_ROWS[quality]:
        return None
    return {"references": NEIGHBORS_REFERENCES}


def least_gain(recipe: Recipe, part: str) -> float:
    """Return by what share the held-out loss has to be higher without a part, so that the model keeps it."""
    return LEAST_GAIN[recipe.quality or "default"] * COSTS.get(part, 1.0)


def make_settings(recipe: Recipe, options: FitOptions, size: Size) -> TrainingSettings:
    """Return the settings of a fit: those chosen by the quality, then those that were given.

    Raises:
        OptionError: An unknown setting, or an invalid value.
    """
    return options.settings(settings_for(recipe, size))


def set_apart(prepared: Prepared, recipe: Recipe) -> tuple[Prepared, Batch | None]:
    """Keep every other validation row, or whole groups of them, for calibration, so that early stopping never sees it.

    Returns:
        The preparation with the rows that early stopping sees, and the rows for calibration. These
        are None with folds, without calibration, or with too few validation rows. If the table
        does not allow trees or calibration, a note of the preparation says so.
    """
    valid, outputs = prepared.valid, prepared.spec.outputs
    notes = prepared.notes
    if recipe.trees and outputs > TREES_CLASSES:
        notes += (f"{outputs:,} classes, more than {TREES_CLASSES}: no trees beside the network",)
    elif recipe.trees and prepared.splits.folds is not None:
        size = prepared_size(prepared)
        if (trees := trees_for(recipe, size))["one_fold"]:
            notes += (
                f"{counted(size.rows, 'row')} x {counted(size.features, 'feature')} x "
                f"{counted(size.outputs, 'output')} is a lot of work for trees: they hold out one "
                f"fold only, and take at most {trees['iterations']} rounds",
            )
    splits = prepared.splits
    if recipe.calibrate and splits.folds_by_time and splits.newest is None:
        notes += (
            f"The newest fold has fewer than {NEWEST_ROWS} rows: sets and intervals are fitted on all folds, most of which "
            "are predicted by what has learned from newer rows, and may promise too much if the future differs from the past",
        )
    apart = prepared.splits.folds is None and recipe.calibrate
    if apart and len(valid.row) < CALIBRATION_ROWS:
        apart = False
        without = "no trees, calibration, sets or intervals" if recipe.trees else "no calibration"
        notes += (
            f"{counted(len(valid.row), 'validation row')}, fewer than {CALIBRATION_ROWS}, all needed for early "
            f"stopping: {without}; give more validation rows, or leave valid out for folds",
        )
    prepared = replace(prepared, notes=notes)
    if not apart:
        return prepared, None
    second = torch.from_numpy(_for_calibration(prepared, recipe.whole_groups))
    kept = map_tensors(valid, lambda x: x[~second])
    return replace(prepared, valid=kept), map_tensors(valid, lambda x: x[second])


def _for_calibration(prepared: Prepared, whole_groups: bool) -> np.ndarray:
    """Choose half of the validation rows, bool [validation rows]; those of a warm start stay what they were.

    It is every other row, or whole groups where there are two or more.
    """
    places = prepared.splits.places
    rows = prepared.valid.row.numpy()
    chosen, free = np.zeros(len(rows), bool), np.arange(len(rows))
    if places is not None:
        chosen = places[rows] == CALIBRATION
        free = np.flatnonzero(~np.isin(places[rows], (VALIDATION, CALIBRATION)))
    splits = prepared.splits
    if whole_groups and len(free):
        groups = group_rows(splits.table, splits.options["group"], rows[free])
        if len(groups.sizes) > 1:
            halves = assign_folds(splits.table, splits.target, rows[free], 2, 0, groups)
            chosen[free[halves == 1]] = True
            return chosen
    # A fixed order that is independent of the order of the file.
    order = np.random.default_rng(0).permutation(len(free))
    chosen[free[order[1::2]]] = True
    return chosen


def _check_threshold(recipe: Recipe, splits: Splits) -> None:
    """Refuse a threshold that a table does not allow, before anything is recorded or trained."""
    if recipe.threshold is None:
        return
    target = splits.target
    if target.positive is None:
        classes = f"has {len(target.classes)} classes" if target.classes else "is a number"
        raise OptionError(
            f"The target {target.name!r} {classes}: a threshold is for two classes.",
            "Leave threshold out.",
        )
    few = not recipe.folds and len(splits.valid) < CALIBRATION_ROWS
    if few and not isinstance(recipe.threshold, int | float):
        raise OptionError(
            f"threshold={recipe.threshold!r} is chosen on held-out rows, and there are too few: "
            f"{counted(len(splits.valid), 'validation row')}.",
            f"Give {CALIBRATION_ROWS} or more validation rows, folds (leave valid out), or a number.",
        )


def prepared_size(prepared: Prepared) -> Size:
    """Return how large a prepared table is."""
    spec = prepared.spec
    features = len(spec.numeric) + len(spec.categorical)
    described = spec.outputs <= MOST_CLASSES and max(spec.cardinalities, default=0) > MANY_VALUES
    return Size(len(prepared.train.row), features, spec.outputs, many_values=described)


def make_training(
    network: nn.Module | NetworkMaker | str | None,
    prepared: Prepared,
    settings: TrainingSettings,
    recipe: Recipe,
) -> Training:
    """Build the network, with first weights drawn from the seed, and its training."""
    with drawing(settings.seed):
        if network is None:
            module: nn.Module = network_for(recipe, len(prepared.train.row), prepared.spec)
        else:
            module = make_network(network, prepared.spec)
        return Training(module, prepared, **settings.arguments())
