"""A warm start: a fit that begins with the weights of an earlier model, and keeps what they were fitted to.

It keeps the model's preparation, its target, and the fold or part of every row that the model has seen. The rows are
in the model's file as keyed hashes (`load/known.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from sightline.build.ensemble import Ensemble
from sightline.contracts import Spec
from sightline.errors import OptionError
from sightline.load.known import (
    CALIBRATION,
    NEW,
    TEST,
    TRAINING,
    VALIDATION,
    Earlier,
    KnownRows,
    group_keys,
    row_keys,
)
from sightline.load.split import Splits
from sightline.predict import bundle
from sightline.predict.model import Model
from sightline.prepare.encode import Encoder
from sightline.prepare.kept import Kept

START = "start.sightline"
"""The file in a run folder that holds the model that a warm start began with."""
MOST_KNOWN = 2_000_000
"""A model of more rows keeps none of their hashes: they would be larger than the model."""


@dataclass(frozen=True)
class WarmStart:
    """What a fit keeps of an earlier model.

    Attributes:
        earlier: For `sl.split`: the target, and where each row was.
        kept: For `sl.prepare`: the preparation.
        model: The model; None where a run is resumed, whose checkpoint holds the weights.

    Example:
        >>> import sightline as sl
        >>> from sightline.pipeline.warm_start import WarmStart
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", epochs=2, quiet=True)
        >>> start = WarmStart.of(run.model)
        >>> splits = sl.split(sl.read("examples/penguins.csv"), target="species", earlier=start.earlier)
        >>> splits.fold_count, len(splits.test)
        (3, 34)
    """

    earlier: Earlier
    kept: Kept
    model: Model | None

    @classmethod
    def of(cls, model: Model) -> Self:
        """Take what is needed from a model.

        Raises:
            OptionError: The model does not hold the rows that it has seen.
        """
        kept = Kept(
            model.spec, model.encoder, model.transform, model.task.center, model.task.scale,
            isinstance(model.network, Ensemble),
        )  # fmt: skip
        return cls(earlier_of(model.spec, model.encoder, model.rows), kept, model)

    @classmethod
    def of_run(cls, folder: Path) -> Self:
        """Read what is needed to resume or replay a run that began with a model.

        Raises:
            BundleError: The file is missing or damaged.
        """
        fitted = bundle.fitted(folder / START)
        spec, encoder, task = fitted.spec, fitted.encoder, fitted.task
        kept = Kept(
            spec, encoder, fitted.transform, task.center, task.scale,
            fitted.network["built_in"] and fitted.network["class"] == Ensemble.__name__,
        )  # fmt: skip
        return cls(earlier_of(spec, encoder, fitted.rows), kept, None)

    def network(self, spec: Spec) -> nn.Module:
        """Return a copy of the model's network, for the spec of the new rows.

        Args:
            spec: Of the table that `sl.prepare` prepared with `kept`; it may have new categories.
        """
        assert self.model is not None  # a resumed run has its network from the checkpoint
        network = self.model.network
        if isinstance(network, Ensemble):
            return network.extended(spec)
        return copy.deepcopy(network)


def earlier_of(spec: Spec, encoder: Encoder, rows: Mapping[str, Tensor]) -> Earlier:
    """Return what a split needs of a model.

    Args:
        spec, encoder, rows: Of the model.

    Raises:
        OptionError: It does not hold the rows that it has seen.
    """
    if "known_keys" not in rows:
        raise OptionError(
            f"The model does not hold which rows it has seen, so that a warm start could not tell what its weights have "
            f"learned: an older Sightline made it, or it has more than {MOST_KNOWN:,} rows.",
            "Fit without warm_start (--warm-start).",
        )

    def array(name: str, kind: Any) -> np.ndarray:
        values: np.ndarray = rows[f"known_{name}"].numpy().view(kind)
        return values

    known = KnownRows(
        int(array("salt", np.uint64)[0]), array("keys", np.uint64), array("places", np.int16),
        array("group_keys", np.uint64), array("group_places", np.int16),
    )  # fmt: skip
    folds = int(known.places.max(initial=TRAINING)) + 1
    return Earlier(spec.target, encoder.columns, encoder.schema.vocabularies, known, folds)


def known_rows(encoder: Encoder, splits: Splits, stopping: np.ndarray, salt: int) -> KnownRows:
    """Return the rows that a model has seen, for a later warm start; those of its own earlier model too.

    Args:
        encoder: Of the model.
        splits: What it was fitted on.
        stopping: The validation rows that early stopping saw; the others are for calibration.
        salt: What the hashes are keyed with, where there is no earlier model.
    """
    table, earlier = splits.table, splits.earlier
    salt = salt if earlier is None else earlier.rows.salt
    places = np.full(table.rows, NEW, np.int16)
    places[splits.train] = TRAINING if splits.folds is None else splits.folds
    places[splits.valid] = CALIBRATION
    places[stopping] = VALIDATION
    places[splits.test] = TEST
    seen = np.flatnonzero(places != NEW)  # rows of weight 0 are in no part
    keys = row_keys(table, encoder.columns, encoder.schema.vocabularies, splits.target, salt)
    known = KnownRows(salt, keys[seen], places[seen])
    groups = group_keys(table, salt)
    if groups is not None:
        grouped = seen[groups[seen] != 0]
        grouped = grouped[np.argsort(-places[grouped], kind="stable")]  # what was learned first
        found, first = np.unique(groups[grouped], return_index=True)
        known = KnownRows(salt, known.keys, known.places, found, places[grouped[first]])
    return known if earlier is None else known.and_before(earlier.rows)


def as_tensors(known: KnownRows) -> dict[str, Tensor]:
    """Return known rows as tensors, for the model's file; `earlier_of` reads them."""
    arrays = {
        "salt": np.array([known.salt], np.uint64), "keys": known.keys, "places": known.places,
        "group_keys": known.group_keys, "group_places": known.group_places,
    }  # fmt: skip
    return {
        f"known_{name}": torch.from_numpy(
            values.view(np.int64) if values.dtype == np.uint64 else values
        )
        for name, values in arrays.items()
    }
