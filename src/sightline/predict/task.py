"""The task, classification or regression: its loss, head, score and decoding.

It is below training, because a model that ships decodes without training.
Letters: B rows, M members of an ensemble, K outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from sightline.contracts import Batch, Target
from sightline.predict.decisions import decode
from sightline.prepare.prepared import Prepared

LEAST_TOTAL_WEIGHT = 1e-12
"""The least sum of weights to divide by: all rows of a batch may have weight zero."""


def class_numbers(target: Tensor) -> Tensor:
    """Return class numbers [B]: a batch's target itself, or the likeliest classes of probabilities [B, K].

    Example:
        >>> import torch
        >>> from sightline.predict.task import class_numbers
        >>> class_numbers(torch.tensor([[0.1, 0.9], [0.7, 0.3]])).tolist()
        [1, 0]
    """
    return target.argmax(dim=1) if target.dim() == 2 else target


class Task:
    """The meaning of logits for one target.

    Args:
        target: The target.
        center: For regression, the mean of the training targets, in their unit.
        scale: For regression, their standard deviation.

    Example:
        >>> import torch
        >>> from sightline.contracts import Target
        >>> from sightline.predict.task import Task
        >>> task = Task(Target("y", "classification", ("no", "yes"), "yes"))
        >>> task.head(torch.tensor([[0.0, 0.0]])).tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, target: Target, center: float = 0.0, scale: float = 1.0) -> None:
        self.target = target
        self.classification = target.task == "classification"
        self.center = center
        self.scale = scale

    @classmethod
    def fit(cls, target: Target, values: Tensor) -> Task:
        """Make the task for a target; a number is standardised by its training values [N]."""
        if target.task == "classification":
            return cls(target)
        wide = values.double()
        scale = float(wide.std(correction=0))
        # float32 cannot divide by less than its smallest normal number.
        least = torch.finfo(torch.float32).tiny
        return cls(target, float(wide.mean()), scale if scale > least else 1.0)

    @classmethod
    def of(cls, prepared: Prepared) -> Task:
        """Make the task of a prepared table; a warm start keeps the scale of the earlier model's target."""
        target, kept = prepared.spec.target, prepared.kept
        if kept is not None:
            return cls(target, kept.center, kept.scale)
        return cls.fit(target, prepared.train.target)

    def loss(self, logits: Tensor, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Return the weighted mean loss, a scalar: log loss, or the squared error of the scaled target.

        Args:
            logits: [B, K], or [B, M, K] for M members, each of which is scored.
            batch: Its target ([B], or probabilities [B, K] to learn) and weight count.
            label_smoothing: Share of the target probability that is spread over all classes.
        """
        if batch.weight is None and logits.dim() == 2:  # the usual case, kept fast
            if self.classification:
                return F.cross_entropy(logits, batch.target, label_smoothing=label_smoothing)
            return F.mse_loss(logits[:, 0], self.scaled(batch.target))
        losses = self.losses(logits, batch.target, label_smoothing)
        weight = batch.weight
        if weight is None:
            return losses.mean()
        if losses.dim() == 2 and weight.dim() == 1:
            weight = weight[:, None].expand_as(losses)
        return (losses * weight).sum() / weight.sum().clamp(min=LEAST_TOTAL_WEIGHT)

    def losses(self, logits: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return each row's loss: [B], or [B, M].

        The target is [B]; probabilities [B, K] give the cross-entropy with them (Hinton, Vinyals and Dean 2015,
        "Distilling the knowledge in a neural network").
        """
        if logits.dim() == 3:
            rows, members, outputs = logits.shape
            repeated = target.repeat_interleave(members, dim=0)
            flat = self.losses(logits.reshape(-1, outputs), repeated, label_smoothing)
            return flat.view(rows, members)
        if self.classification:
            return F.cross_entropy(
                logits, target, reduction="none", label_smoothing=label_smoothing
            )
        return (logits[:, 0] - self.scaled(target)).square()

    def scaled(self, target: Tensor) -> Tensor:
        """Standardise a regression's target [B] to mean 0 and standard deviation 1, float32.

        Computed in float64: large close numbers, such as times in seconds, differ by less than the
        rounding of float32.
        """
        return ((target - self.center) / self.scale).float()

    def head(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities [B, K], or numbers [B, 1] in the target's unit.

        The members of an ensemble are averaged after the softmax.
        """
        values = self.member_values(logits)
        return values.mean(dim=1) if values.dim() == 3 else values

    def member_values(self, logits: Tensor) -> Tensor:
        """Turn logits into probabilities or numbers like `head`, but keep the members apart."""
        if self.classification:
            return F.softmax(logits.float(), dim=-1)
        wide = logits.float() if logits.device.type == "mps" else logits.double()
        return wide * self.scale + self.center

    def value_losses(self, values: Tensor, target: Tensor) -> Tensor:
        """Return each row's loss [B] from the output of `head`, [B, K]: the same loss as from logits."""
        if self.classification:
            tiny = torch.finfo(torch.float32).tiny
            if target.dim() == 2:
                return -(target * values.clamp(min=tiny).log()).sum(dim=1)
            given = values.gather(1, target[:, None])[:, 0]
            return -given.clamp(min=tiny).log()
        return ((values[:, 0] - target) / self.scale).square()

    def score(self, values: Tensor, target: Tensor) -> Tensor:
        """Return the sum over rows that accuracy or RMSE is computed from.

        Args:
            values: The output of `head`, [B, K].
            target: [B]; of probabilities [B, K] the likeliest class counts.

        Returns:
            The number of correct rows, or the sum of squared errors in the target's unit: a scalar.
        """
        if self.classification:
            return (values.argmax(dim=1) == class_numbers(target)).sum()
        return (values[:, 0] - target).double().square().sum()

    def score_of(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the score of the first rows of `logits`, those of `target` [B], which may be none."""
        return self.score(self.head(logits[: len(target)].float()), target)

    @property
    def metric(self) -> str:
        """The name of the metric that `mean_score` returns."""
        return "accuracy" if self.classification else "rmse"

    def mean_score(self, total: float, rows: int) -> float:
        """Turn a sum from `score` over some rows into the metric."""
        mean = total / rows
        return mean if self.classification else float(mean**0.5)

    def decode(self, values: np.ndarray) -> np.ndarray:
        """Turn the output of `head`, [B, K], into labels or numbers [B], in the target's own type."""
        return decode(self.target, None, values)

    def baseline(self, train: Tensor) -> np.ndarray:
        """Return the prediction that uses no features: class shares [K], or the mean [1]."""
        if not self.classification:
            return np.array([self.center])
        if train.dim() == 2:
            shares: np.ndarray = train.double().mean(dim=0).numpy()
            return shares
        counts = torch.bincount(train, minlength=len(self.target.classes)).double()
        return (counts / counts.sum()).numpy()

    def to_json(self) -> dict[str, Any]:
        """Return center and scale as plain JSON values; the target is in the spec."""
        return {"center": self.center, "scale": self.scale}
