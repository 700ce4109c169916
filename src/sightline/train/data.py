"""The data of a training: the rows to train and measure on. It does not change."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from sightline.contracts import Batch, BatchSource
from sightline.contracts.options import TrainingSettings
from sightline.load.batches import TensorSource, map_tensors
from sightline.load.shuffled import ShuffledRows, ShuffledSource, Weigh
from sightline.metrics.scores import Score, check_eval_metric
from sightline.predict.task import Task
from sightline.prepare.prepared import Prepared
from sightline.train.evaluation import (
    count_members,
    evaluate,
    evaluate_folds,
    hold_out,
    with_class_weights,
    yardstick,
)
from sightline.train.observations import Yardstick
from sightline.train.processes import ALONE, Processes


@dataclass(frozen=True)
class TrainingData:
    """The rows of a training on its device, and how a network is scored on them.

    Attributes:
        task: Loss, head and metric.
        train: Training rows, of a table larger than memory a random sample of them; with folds, their weights
            [N, M] hold each fold out from some members.
        valid: Validation rows; with folds there are none.
        folds: int64 [N], the fold of each training row; None without folds.
        fold_count: How many folds there are; 0 without. Of a warm start, one may have no rows.
        eval_metric: The metric that decides which epoch is best; None where the loss does.
        yardstick: What the observations compare an epoch's numbers with.
        stored: Of a table larger than memory, all training rows, on the disk; else None.
        weigh: Gives training rows their weights by class and by fold, and brings them to the device.

    Example:
        >>> import sightline as sl
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared)
        >>> data = training.state.data
        >>> len(data.train.row), len(data.valid.row), data.has_held_out_rows
        (276, 34, True)
    """

    task: Task
    train: Batch
    valid: Batch
    folds: Tensor | None
    fold_count: int
    eval_metric: Score | None
    yardstick: Yardstick
    stored: ShuffledRows | None
    weigh: Weigh

    @classmethod
    def of(
        cls,
        network: nn.Module,
        prepared: Prepared,
        settings: TrainingSettings,
        device: torch.device,
    ) -> Self:
        """Bring a prepared table to the device, weighted by class and by fold.

        Raises:
            OptionError: The class weights or the eval_metric do not fit the target.
            NetworkError: The network has fewer members than there are folds.
        """
        target = prepared.spec.target
        task = Task.of(prepared)
        name = settings.eval_metric
        eval_metric = None if name is None else check_eval_metric(name, target)
        stored, fold_count, splits = prepared.stored, prepared.splits.fold_count, prepared.splits
        counts = None if stored is None else stored.class_counts  # of all rows, not of a pool
        members = count_members(network, prepared.train) if fold_count else 1

        def weigh(rows: Batch, folds: Tensor | None) -> Batch:
            rows = with_class_weights(rows, settings.class_weights, task, counts)
            return _on(
                device, rows if folds is None else hold_out(rows, folds, members, fold_count)
            )

        folds = None if splits.folds is None else torch.from_numpy(splits.folds)
        train = weigh(prepared.train, folds)
        return cls(
            task=task, train=train, valid=_on(device, prepared.valid),
            folds=None if folds is None else folds.to(device), fold_count=fold_count,
            eval_metric=eval_metric, yardstick=yardstick(task, prepared), stored=stored, weigh=weigh,
        )  # fmt: skip

    @property
    def rows(self) -> int:
        """The number of training rows."""
        return len(self.train.row) if self.stored is None else self.stored.rows

    def source(self, batch_size: int, seed: int) -> BatchSource:
        """Return a source of shuffled batches of all training rows."""
        if self.stored is None:
            return TensorSource(self.train, batch_size, seed)
        return ShuffledSource(self.stored, batch_size, seed, self.weigh)

    @property
    def held_out(self) -> Batch:
        """The rows that the network is measured on: with folds the training rows, else the validation rows."""
        return self.valid if self.folds is None else self.train

    @property
    def has_held_out_rows(self) -> bool:
        """Whether there is a validation loss or an out-of-fold loss."""
        return self.folds is not None or len(self.valid.row) > 0

    def evaluate_held_out(
        self, network: nn.Module, processes: Processes = ALONE, most: int | None = None
    ) -> tuple[float, float, Tensor, Batch]:
        """Measure a network on held-out rows: validation or out-of-fold.

        Args:
            network: The network.
            processes: The processes that share the rows; all get the result.
            most: The most rows, evenly spaced; None takes all.

        Returns:
            The loss; accuracy or RMSE; the values of the task's head [N, K]; these N rows.
        """
        every = 1 if most is None else -(-len(self.held_out.row) // most)
        rows = map_tensors(self.held_out, lambda x: x[::every])
        if self.folds is None:
            return *evaluate(network, self.task, rows, processes=processes), rows
        measured = evaluate_folds(
            network, self.task, rows, self.folds[::every], self.fold_count, processes
        )
        return *measured, rows


def data_fingerprint(prepared: Prepared) -> str:
    """Hash the prepared training and validation rows."""
    digest = hashlib.sha256(json.dumps(prepared.spec.to_json()).encode())
    for batch in (prepared.train, prepared.valid):
        for tensor in batch:
            if tensor is not None:
                digest.update(str(tuple(tensor.shape)).encode())
                digest.update(tensor.contiguous().numpy().data)
    if prepared.stored is not None:  # these rows are a sample of them
        digest.update(prepared.splits.fingerprint().encode())
    return digest.hexdigest()


def _on(device: torch.device, batch: Batch) -> Batch:
    def move(x: Tensor) -> Tensor:
        if device.type == "mps" and x.dtype == torch.float64:
            x = x.float()  # Apple's GPUs have no float64
        return x.to(device)

    return map_tensors(batch, move)
