"""How a good model is made without being told: which network, which trees, which settings.

`choose` decides what a fit needs before its rows are divided, `settings_for` and `network_for`
decide by the training rows, `finish` turns a training that has ended into the model that ships:
boosted trees beside the network, the weights of the two, calibrated probabilities, conformal
scores. All numbers here were chosen by measurement (docs/decisions.md).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple, Self, get_args

import numpy as np
import torch
from torch import nn

from sightline.build.ensemble import MOST_PIECES, SEGMENTS, Ensemble
from sightline.build.networks import NetworkMaker, make_network
from sightline.contracts import Batch, FitOptions, Spec, TrainingSettings, traits_of
from sightline.contracts.options import Quality
from sightline.errors import OptionError, counted, did_you_mean
from sightline.load.batches import each
from sightline.load.split import Splits, split
from sightline.load.table import Table
from sightline.predict.threshold import THRESHOLDS
from sightline.prepare.prepared import Prepared
from sightline.train.training import Training

QUALITIES: tuple[str, ...] = get_args(Quality)

FOLDS = {"fast": 3, "default": 5, "best": 10}
MEMBERS = {"fast": 6, "default": 10, "best": 20}
EPOCHS = {"fast": 8, "default": 60, "best": 80}
ROWS_A_FOLD = 3
"""Tables of fewer rows than this times the folds get fewer folds."""
BINNED_ROWS = 1_200
"""From so many training rows on, discrete numbers are looked up by their value as well."""
WAVES = 32
"""Frequencies of each number, of a regression: classes gained nothing by them."""
MOST_CLASSES = 50
"""With more classes, boosted trees, one a class and round, cost more than they give."""
SMALL = 2_000
"""Below so many training rows trees are small, and so are members where there are few classes."""
FEW_CLASSES = 8
LEAST_APART = 20
"""So few validation rows are not halved for calibration."""
WORK = {"fast": 0.25, "default": 1.0, "best": 4.0}
NETWORK_WORK = 8e12
"""Rows x weights x epochs of the default network, some 200 s on two cores: larger tables get fewer epochs."""
TREES_WORK = 1.4e10
"""Rows x columns x classes x rounds of the default trees, some 200 s on two cores."""
ONE_FOLD = 4
"""Trees that hold out one fold alone, on one thread, take so many times less long."""
NODES = 16_000
"""A tree looks through the bins of its nodes as well, which costs as much as so many rows."""
LEAST_ROUNDS = 20
LARGEST_RATE = 0.3
TREES_SHARE = 0.3
"""Of a time limit, for the trees; the network has the rest."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a fit does besides training one network.

    Attributes:
        quality: "fast", "default" or "best"; None where the network is one of your own.
        folds: How many; 0 takes validation rows instead.
        trees: Whether boosted trees predict beside the network.
        calibrate: Whether probabilities are calibrated on rows that were not learned from.
        threshold: What the decision threshold of a binary target is chosen by, or the threshold.

    Example:
        >>> from sightline.pipeline.recipe import Recipe
        >>> Recipe.choose().folds, Recipe.choose(quality="fast").folds
        (5, 3)
    """

    quality: Quality | None = "default"
    folds: int = 0
    trees: bool = False
    calibrate: bool = False
    threshold: str | float | None = None

    @classmethod
    def choose(
        cls,
        *,
        quality: str | None = None,
        network: Any = None,
        trees: bool | None = None,
        calibrate: bool | None = None,
        threshold: str | float | None = None,
        valid: Any = None,
        time: str | None = None,
    ) -> Self:
        """Decide what does not depend on the table.

        A network of your own trains as it is, on training rows, stopped by validation rows; trees
        and calibration are there when asked for. Without one, there are folds unless validation
        rows are asked for or time divides the rows.

        Raises:
            OptionError: A value that makes no sense, or two that contradict each other.
        """
        if quality is not None and quality not in QUALITIES:
            raise OptionError(
                f"quality is {quality!r}.", did_you_mean(str(quality), QUALITIES, "qualities")
            )
        for name, value in (("trees", trees), ("calibrate", calibrate)):
            if value is not None and not isinstance(value, bool):
                raise OptionError(f"{name} is {value!r}.", "Give True or False.")
        if network is not None and quality is not None:
            raise OptionError(
                f"quality={quality!r} chooses the network, and a network is given as well.",
                "Leave one of the two out.",
            )
        if calibrate is False and (trees or (trees is None and network is None)):
            raise OptionError(
                "The weights of network and trees are found by calibration.",
                "Leave calibrate=False out, or give trees=False (--no-trees) as well.",
            )
        if isinstance(threshold, int | float) and (isinstance(threshold, bool) or not 0 < threshold < 1):  # fmt: skip
            raise OptionError(f"threshold is {threshold!r}.", "Give a number between 0 and 1.")
        if threshold is not None and not isinstance(threshold, int | float) and threshold not in THRESHOLDS:  # fmt: skip
            raise OptionError(
                f"threshold is {threshold!r}.",
                did_you_mean(str(threshold), THRESHOLDS, "ways to choose a threshold"),
            )
        if calibrate is False and isinstance(threshold, str):
            raise OptionError(
                f"threshold={threshold!r} is chosen on the rows that calibration takes, and there is none.",
                "Leave calibrate=False out, or give the threshold as a number.",
            )
        own = network is not None
        settled: Any = None if own else quality or "default"
        folds = 0 if own or valid is not None or time is not None else FOLDS[settled]
        return cls(
            quality=settled,
            folds=folds,
            trees=not own if trees is None else trees,
            calibrate=(not own or bool(trees) or threshold is not None) if calibrate is None else calibrate,
            threshold=threshold,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def divide(
    table: Table, target: str, recipe: Recipe, *, valid: Any = None, test: Any = 0.1, **how: Any
) -> Splits:
    """Divide a table as a recipe needs it: into folds, or with validation rows.

    Args:
        table: From `sightline.read`.
        target: The column to predict.
        recipe: Says how many folds; a table of few rows (or groups) gets fewer.
        valid, test, how: As in `sightline.split`; `valid` None is 0 with folds and 0.1 without.

    Raises:
        OptionError: A threshold for a target that does not have two classes, or one that nothing is
            there to choose by.
    """
    if recipe.folds:
        how |= {"folds": recipe.folds, "min_rows_per_fold": ROWS_A_FOLD}
        valid = 0
    splits = split(table, target, valid=0.1 if valid is None else valid, test=test, **how)
    _check_threshold(recipe, splits)
    return splits


class Size(NamedTuple):
    """What decides how long a table takes: training rows, features, and outputs of the network."""

    rows: int
    features: int
    outputs: int


def size_of(splits: Splits) -> Size:
    """Say how large a divided table is; its features are estimated, for nothing is prepared yet."""
    features = sum(traits_of(column.kind).features for column in splits.table.schema.features)
    return Size(len(splits.train), features, len(splits.target.classes) or 1)


def network_for(recipe: Recipe, rows: int, spec: Spec) -> Ensemble:
    """Build the network of a quality for a table of so many training rows.

    One or two outputs get narrow members, because boosted trees are fast there and we shall not
    predict slower than three times their time; more classes get wide ones, as trees cost one a class.
    Few classes of few rows do not need them.
    """
    quality = recipe.quality or "default"
    hidden = _widths(quality, rows, spec.outputs)
    enough = rows >= BINNED_ROWS
    waves = WAVES if enough and spec.target.task == "regression" else 0
    return Ensemble(
        spec, members=MEMBERS[quality], hidden=hidden, dropout=0.1, bins=enough, waves=waves
    )


def _widths(quality: str, rows: int, outputs: int) -> list[int]:
    if outputs > FEW_CLASSES or (outputs > 2 and rows >= SMALL):
        width = 256 if quality == "best" and rows >= SMALL else 128
        return [96] if quality == "fast" else [width] * 3
    return [64] if quality == "fast" else [64, 64]


def settings_for(recipe: Recipe, size: Size) -> dict[str, Any]:
    """Return the settings of a quality for a table of a size, as `sl.Training` takes them.

    A table so large that the epochs would take too long (`NETWORK_WORK`) gets fewer, with a learning
    rate that falls to nothing until then: what waits for a plateau might never see one.
    """
    if recipe.quality is None:
        return {}
    quality, rows = recipe.quality, size.rows
    epochs = EPOCHS[quality] if rows < 100_000 else EPOCHS[quality] // 2
    widths = _widths(quality, rows, size.outputs)
    pieces = min(SEGMENTS * size.features, MOST_PIECES)
    sides = [size.features + pieces, *widths, size.outputs]
    weights = MEMBERS[quality] * sum(a * b for a, b in pairwise(sides))
    most = max(int(WORK[quality] * NETWORK_WORK / (rows * weights)), 2)
    fewer = most < epochs
    return {
        "epochs": min(most, epochs),
        "learning_rate": 2e-3,
        "weight_decay": 1e-3,
        "schedule": "cosine" if fewer or quality == "fast" else "plateau",
        "patience": None if fewer else 3 if rows < 20_000 else 2 if rows < 100_000 else 1,
    }


def trees_for(recipe: Recipe, size: Size) -> dict[str, Any]:
    """Return how boosted trees of a quality are grown on a table of a size.

    How many may ship bounds how long predictions take; the best ones may. Of a table that would take
    too long (`TREES_WORK`) one fold alone is held out, by trees that ship as they are (`one_fold`); if
    that is too long as well, there are fewer rounds, of larger steps.
    """
    rows, features, outputs = size
    small, few = rows < SMALL, outputs <= 2
    quality = recipe.quality or "default"
    most = {"fast": (300, 120), "default": (300, 120), "best": (6_000, 600)}[quality]
    rate = {"fast": 0.2, "default": 0.1, "best": 0.05}[quality]
    rounds = {"fast": 60, "default": 200, "best": 600}[quality]
    a_round = (rows + NODES) * max(features, 1) * (1 if few else outputs)
    one_fold = a_round * rounds > WORK[quality] * TREES_WORK
    bound = max(int(ONE_FOLD * WORK[quality] * TREES_WORK / a_round), LEAST_ROUNDS)
    if bound < rounds:
        rate, rounds = min(rate * rounds / bound, LARGEST_RATE), bound
    return {
        "learning_rate": rate,
        "iterations": rounds,
        "leaves": 8 if small else 31,
        "min_rows": 10 if small else 20,
        "max_features": 0.5 if quality == "best" else 1.0,
        "most_trees": most[0] if few else most[1],
        "one_fold": one_fold,
    }


def make_settings(recipe: Recipe, options: FitOptions, size: Size) -> TrainingSettings:
    """Return the settings of a fit: those chosen by the quality, then those that were given.

    Raises:
        OptionError: A name that is no setting, or a value that makes no sense.
    """
    settings = options.settings(settings_for(recipe, size))
    limit = settings.time_limit
    if recipe.trees and limit is not None and size.outputs <= MOST_CLASSES:
        settings = replace(settings, time_limit=limit * (1 - TREES_SHARE))
    return settings


def set_apart(prepared: Prepared, recipe: Recipe) -> tuple[Prepared, Batch | None]:
    """Keep every other validation row for calibration, so that stopping never sees it.

    Returns:
        The preparation with the rows that stopping sees, and the rows that are set apart; None
        with folds, where nothing is calibrated, or where there are few validation rows. What the
        table does not allow is among the preparation's notes.
    """
    valid, outputs = prepared.valid, prepared.spec.outputs
    notes = prepared.notes
    if recipe.trees and outputs > MOST_CLASSES:
        notes += (f"{outputs:,} classes, more than {MOST_CLASSES}: no trees beside the network",)
    elif recipe.trees and prepared.splits.folds is not None:
        size = prepared_size(prepared)
        if (how := trees_for(recipe, size))["one_fold"]:
            notes += (
                f"{counted(size.rows, 'row')} x {counted(size.features, 'feature')} x "
                f"{counted(size.outputs, 'output')} are much work for trees: they hold out one "
                f"fold alone, in at most {how['iterations']} rounds",
            )
    apart = prepared.splits.folds is None and recipe.calibrate
    if apart and len(valid.row) < LEAST_APART:
        apart = False
        without = "no trees, calibration, sets or intervals" if recipe.trees else "no calibration"
        notes += (
            f"{counted(len(valid.row), 'validation row')}, fewer than {LEAST_APART}, all of which stopping sees: "
            f"{without}; give more, or folds (leave valid and time out)",
        )
    prepared = replace(prepared, notes=notes)
    if not apart:
        return prepared, None
    # In an order that has nothing to do with the file's, and always the same one.
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(valid.row)))
    first, second = order[::2].sort().values, order[1::2].sort().values
    kept = each(valid, lambda x: x[first])
    return replace(prepared, valid=kept), each(valid, lambda x: x[second])


def _check_threshold(recipe: Recipe, splits: Splits) -> None:
    """Refuse a threshold that a table does not allow, before anything is told or trained."""
    if recipe.threshold is None:
        return
    target = splits.target
    if target.positive is None:
        classes = f"has {len(target.classes)} classes" if target.classes else "is a number"
        raise OptionError(
            f"The target {target.name!r} {classes}: a threshold is for two classes.",
            "Leave threshold out.",
        )
    few = not recipe.folds and len(splits.valid) < LEAST_APART
    if few and not isinstance(recipe.threshold, int | float):
        raise OptionError(
            f"threshold={recipe.threshold!r} is chosen by rows that are held out, and there are too few: "
            f"{counted(len(splits.valid), 'validation row')}.",
            f"Give {LEAST_APART} or more validation rows, folds (leave valid out), or a number.",
        )


def prepared_size(prepared: Prepared) -> Size:
    """Say how large a prepared table is."""
    spec = prepared.spec
    features = len(spec.numeric) + len(spec.categorical)
    return Size(len(prepared.train.row), features, spec.outputs)


def trees_limit(recipe: Recipe, options: FitOptions) -> float | None:
    """Return the seconds that trees may take, of the time limit that was given."""
    limit = options.training.get("time_limit")
    return None if limit is None else TREES_SHARE * limit


def make_training(
    network: nn.Module | NetworkMaker | str | None,
    prepared: Prepared,
    settings: TrainingSettings,
    recipe: Recipe,
) -> Training:
    """Build the network, its first weights drawn from the seed, and its training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if network is None:
            made: nn.Module = network_for(recipe, len(prepared.train.row), prepared.spec)
        else:
            made = make_network(network, prepared.spec)
        return Training(made, prepared, **settings.arguments())
