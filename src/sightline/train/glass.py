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
    """The last weight matrix before and after a step, from which the step can be told whole.

    Telling it takes numbers off the device; keeping the tensors does not.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.glass import Glass
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
        >>> glass = Glass.before(training.network)
        >>> step = next(training.steps())
        >>> seen = glass.after(training.network).seen(step)
        >>> seen["weight_after"] == seen["weight_before"] + seen["update"]
        True
    """

    name: str
    values: torch.Tensor
    new_values: torch.Tensor | None = None
    gradient: torch.Tensor | None = None

    @classmethod
    def before(cls, network: nn.Module) -> Glass:
        """Remember the last weight matrix before a step."""
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        matrices = [(name, p) for name, p in named if p.dim() >= 2]
        name, parameter = (matrices or named)[-1]
        return cls(name, parameter.detach().clone())

    def after(self, network: nn.Module) -> Glass:
        """Remember the matrix after the step too, and its gradient."""
        parameter = dict(network.named_parameters())[self.name]
        gradient = None if parameter.grad is None else parameter.grad.clone()
        return Glass(self.name, self.values, parameter.detach().clone(), gradient)

    def seen(self, step: Step) -> dict[str, Any]:
        """Tell the step: the weight with the largest gradient in that matrix, and its batch.

        `update` is the new weight minus the old one: what the optimizer made of the gradient.
        """
        assert self.new_values is not None
        gradient = torch.zeros_like(self.values) if self.gradient is None else self.gradient
        place = int(gradient.abs().argmax())
        index = [int(i) for i in torch.unravel_index(torch.tensor(place), self.values.shape)]
        before = float(self.values.reshape(-1)[place])
        after = float(self.new_values.reshape(-1)[place])
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
