"""One step in full: batch, logits, loss, one weight, its gradient and its update."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sightline.contracts import Step
from sightline.predict.task import class_numbers

ROWS_SHOWN = 4
LOGITS_SHOWN = 6
OPTIONS = ("lr", "weight_decay", "betas", "eps", "momentum", "nesterov", "amsgrad", "maximize", "muon")  # fmt: skip
STATE = ("step", "exp_avg", "exp_avg_sq", "momentum_buffer")
"""The optimizer's options, and its state of a weight, by which an update can be explained."""


@dataclass(frozen=True)
class StepDetail:
    """The last weight matrix before and after a step, from which the step is described in full.

    `describe` reads numbers from the device; until it is called, the tensors stay there.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.step_detail import StepDetail
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
        >>> detail = StepDetail.before(training.network)
        >>> step = next(training.steps())
        >>> body = detail.after(training.network).describe(step)
        >>> body["weight_after"] == body["weight_before"] + body["update"]
        True
    """

    name: str
    values: torch.Tensor
    new_values: torch.Tensor | None = None
    gradient: torch.Tensor | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def before(cls, network: nn.Module, optimizer: Optimizer | None = None) -> StepDetail:
        """Copy the last weight matrix before a step, and the optimizer's options for it."""
        named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        matrices = [(name, p) for name, p in named if p.dim() >= 2]
        name, parameter = (matrices or named)[-1]
        return cls(name, parameter.detach().clone(), options=_options(parameter, optimizer))

    def after(self, network: nn.Module, optimizer: Optimizer | None = None) -> StepDetail:
        """Copy the matrix after the step too, its gradient, and the optimizer's moments of it."""
        parameter = dict(network.named_parameters())[self.name]
        gradient = None if parameter.grad is None else parameter.grad.clone()
        kept = {} if optimizer is None else optimizer.state.get(parameter, {})
        # In a fixed order: a resumed optimizer may keep its moments in another one.
        state = {name: kept[name].clone() for name in STATE if torch.is_tensor(kept.get(name))}
        new = parameter.detach().clone()
        return replace(self, new_values=new, gradient=gradient, state=state)

    def describe(self, step: Step) -> dict[str, Any]:
        """Describe the step: its batch, and the weight of that matrix with the largest gradient.

        `update` is the new weight minus the old one, as the optimizer computed it.
        """
        assert self.new_values is not None
        gradient = torch.zeros_like(self.values) if self.gradient is None else self.gradient
        flat_index = int(gradient.abs().argmax())
        index = [int(i) for i in torch.unravel_index(torch.tensor(flat_index), self.values.shape)]
        before = float(self.values.reshape(-1)[flat_index])
        after = float(self.new_values.reshape(-1)[flat_index])
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
            "logits_dtype": str(step.logits.dtype).removeprefix("torch."),
            "first_row": _first_row(step),
            "weight": f"{self.name}{index}",
            "parameter": self.name,
            "parameter_shape": list(self.values.shape),
            "weight_before": before,
            "gradient": float(gradient.reshape(-1)[flat_index]),
            "update": after - before,
            "weight_after": after,
            "rule": {
                **self.options,
                **{name: _at(kept, flat_index) for name, kept in self.state.items()},
            },
        }


def _options(parameter: nn.Parameter, optimizer: Optimizer | None) -> dict[str, Any]:
    """Return the optimizer's class and its options for a parameter."""
    for group in () if optimizer is None else optimizer.param_groups:
        if any(p is parameter for p in group["params"]):
            options = {name: group[name] for name in OPTIONS if name in group}
            plain = {k: v for k, v in options.items() if isinstance(v, bool | int | float | tuple)}
            return {"optimizer": type(optimizer).__name__, **plain}
    return {}


def _at(kept: torch.Tensor, flat_index: int) -> float:
    return float(kept if kept.dim() == 0 else kept.reshape(-1)[flat_index])


def _first_row(step: Step) -> dict[str, Any]:
    """Return what the loss of the first row follows from; of an ensemble, that of the first member."""
    logits = step.logits.detach()[0].cpu().double()  # Apple's GPUs have no float64
    logits = logits[0] if logits.dim() == 2 else logits
    first = step.batch.target[:1].cpu()
    target = float(class_numbers(first)[0])
    body: dict[str, Any] = {"row": int(step.batch.row[0]), "target": target}
    if first.dim() == 1 and first.is_floating_point():
        return {**body, "output": float(logits[0])}
    total = float(logits.logsumexp(0))
    own = float(logits @ first[0].double() if first.dim() == 2 else logits[int(target)])
    top = logits.topk(min(len(logits), LOGITS_SHOWN)).indices.tolist()
    return {
        **body, "classes": len(logits), "logit": own, "log_sum": total, "loss": total - own,
        "probability": math.exp(own - total) if math.isfinite(total) else math.nan,
        "largest": [[index, float(logits[index])] for index in top],
    }  # fmt: skip


def _rounded(values: torch.Tensor) -> list[list[float]]:
    return [[round(float(x), 4) for x in row] for row in values]
