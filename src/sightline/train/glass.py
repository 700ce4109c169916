"""One step under the glass: batch, logits, loss, one weight, its gradient, the update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sightline.contracts import Step

ROWS_SHOWN = 4


@dataclass(frozen=True)
class Glass:
    """All weights as they were before a step, so that the step can be told whole afterwards.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.glass import Glass
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
        >>> glass = Glass.before(training.network)
        >>> step = next(training.steps())
        >>> seen = glass.after(step, training.network)
        >>> seen["weight_after"] == seen["weight_before"] + seen["update"]
        True
    """

    name: str
    values: torch.Tensor

    @classmethod
    def before(cls, network: nn.Module) -> Glass:
        """Remember the last weight matrix before a step."""
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        matrices = [(name, p) for name, p in named if p.dim() >= 2]
        name, parameter = (matrices or named)[-1]
        return cls(name, parameter.detach().clone())

    def after(self, step: Step, network: nn.Module) -> dict[str, Any]:
        """Tell the step: the weight with the largest gradient in that matrix, and its batch.

        `update` is the new weight minus the old one: what the optimizer made of the gradient.
        """
        parameter = dict(network.named_parameters())[self.name]
        gradient = parameter.grad
        if gradient is None:
            gradient = torch.zeros_like(parameter)
        place = int(gradient.abs().argmax())
        index = [int(i) for i in torch.unravel_index(torch.tensor(place), parameter.shape)]
        before = float(self.values.reshape(-1)[place])
        after = float(parameter.detach().reshape(-1)[place])
        batch = step.batch
        return {
            "step": step.number,
            "epoch": step.epoch,
            "rows": step.rows,
            "numeric_shape": list(batch.numeric.shape),
            "categorical_shape": list(batch.categorical.shape),
            "first_rows": batch.row[:ROWS_SHOWN].tolist(),
            "first_numeric": _rounded(batch.numeric[:ROWS_SHOWN, :8]),
            "first_targets": batch.target[:ROWS_SHOWN].tolist(),
            "logits_shape": list(step.logits.shape),
            "first_logits": _rounded(step.logits.detach()[:ROWS_SHOWN].flatten(1)[:, :8]),
            "loss": float(step.loss),
            "weight": f"{self.name}{index}",
            "weight_before": before,
            "gradient": float(gradient.reshape(-1)[place]),
            "update": after - before,
            "weight_after": after,
        }


def _rounded(values: torch.Tensor) -> list[list[float]]:
    return [[round(float(x), 4) for x in row] for row in values]
