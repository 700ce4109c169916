"""Optimizers: AdamW that steps without its Python, SGD, Muon, or any of `torch.optim`.

Every one is an ordinary `torch.optim.Optimizer`. Biases and the parameters of norms have no weight
decay. State is kept by parameter name, so that it follows a parameter through edits and files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from sightline.errors import OptionError, did_you_mean

OptimizerMaker = Callable[..., Optimizer]
OPTIMIZERS = ("adamw", "sgd", "muon")
NORMS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._NormBase,
    nn.LocalResponseNorm,
)
MOMENTUM = 0.9
EPS = 1e-8
BETAS = (0.9, 0.999)
# Keller Jordan, 2024, "Muon: An optimizer for hidden layers in neural networks".
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MUON_MOMENTUM = 0.95


class _Lists(NamedTuple):
    """What the fused kernel takes of a group; `counters` are the different ones among `steps`."""

    params: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    counters: list[Tensor]


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)`, bit for bit, without the Python around its kernel.

    PyTorch sorts parameters by device and type, wraps the step in a profiler's range and makes
    lists anew, each time: some 30 microseconds, a fifth of a small network's whole step. Here the
    lists are kept as long as the parameters are the same. Hooks on `step` are not called.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import AdamW
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> optimizer = AdamW([weight], lr=0.1)
        >>> weight.grad = torch.ones(2)
        >>> optimizer.step()
        >>> weight.tolist()
        [0.899..., 0.899...]
    """

    _lists: list[_Lists] | None = None  # of the class: a copy makes its own

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, **options: Any) -> None:
        super().__init__(params, lr=lr, fused=True, **options)

    @torch.no_grad()
    def step(self, closure: None = None, found_inf: Tensor | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Args:
            closure: Not used.
            found_inf: A scalar on the device: where it is 1, nothing changes.
        """
        if self._lists is None:
            self._lists = [self._list(group) for group in self.param_groups]
        for group, lists in zip(self.param_groups, self._lists, strict=True):
            grads = [p.grad for p in lists.params if p.grad is not None]
            if not grads:
                continue
            if len(grads) < len(lists.params):  # some are frozen, or this batch did not use them
                lists = self._some(lists)
            torch._foreach_add_(lists.counters, 1)
            torch._fused_adamw_(
                lists.params, grads, lists.means, lists.squares, [], lists.steps, amsgrad=False,
                lr=group["lr"], beta1=group["betas"][0], beta2=group["betas"][1],
                weight_decay=group["weight_decay"], eps=group["eps"], maximize=False,
                grad_scale=None, found_inf=found_inf,
            )  # fmt: skip
            if found_inf is not None:
                torch._foreach_sub_(
                    lists.counters, [found_inf.to(c.device) for c in lists.counters]
                )

    step.hooked = True  # type: ignore[attr-defined]  # PyTorch then leaves out its profiler's range

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def load_state_dict(self, state_dict: Any) -> None:
        """Take another optimizer's state."""
        super().load_state_dict(state_dict)
        self._lists = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state as PyTorch has it: a count of steps for each parameter alone."""
        packed = super().state_dict()
        packed["state"] = {
            place: {**state, "step": state["step"].clone()} if "step" in state else state
            for place, state in packed["state"].items()
        }
        return packed

    def _list(self, group: dict[str, Any]) -> _Lists:
        # Frozen ones too: they have no gradient now, and may have one tomorrow.
        params = list(group["params"])
        states = [_moments(self.state[p], p) for p in params]
        counts = [state["step"].clone() for state in states]
        if len({float(count) for count in counts}) == 1:  # one count for all: one addition a step
            counts = counts[:1] * len(counts)
        for state, count in zip(states, counts, strict=True):
            state["step"] = count
        return _Lists(
            params, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states], counts,
            list({id(count): count for count in counts}.values()),
        )  # fmt: skip

    def _some(self, lists: _Lists) -> _Lists:
        """Return the lists of the parameters that have a gradient, with counts of their own."""
        if len(lists.counters) < len(lists.steps):
            lists.steps[:] = [step.clone() for step in lists.steps]
            lists.counters[:] = lists.steps
            for p, step in zip(lists.params, lists.steps, strict=True):
                self.state[p]["step"] = step
        used = [i for i, p in enumerate(lists.params) if p.grad is not None]
        steps = [lists.steps[i] for i in used]
        return _Lists(
            [lists.params[i] for i in used], [lists.means[i] for i in used],
            [lists.squares[i] for i in used], steps, steps,
        )  # fmt: skip


def _moments(state: dict[str, Any], p: Tensor) -> dict[str, Any]:
    """Return AdamW's state of a parameter, made if there is none: no steps, no moments."""
    if not state:
        where = p.device if p.device.type == "cuda" else "cpu"  # as the fused kernel wants it
        state.update(
            step=torch.zeros((), dtype=torch.float32, device=where),
            exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p),
        )  # fmt: skip
    return state


class MuonAdamW(Optimizer):
    """Muon for hidden matrices, AdamW for everything else, in one optimizer with one state.

    Muon (Keller Jordan 2024) makes each momentum matrix nearly orthogonal by five steps of a
    Newton-Schulz iteration. Matrices of one shape go through it together, and so do the members
    of an ensemble, [M, rows, columns]. Updates are scaled by 0.2 sqrt(max(rows, columns)), so that a
    learning rate means what it means for AdamW (Liu et al. 2025, "Muon is scalable for LLM training").

    Args:
        params: Parameter groups; those with `muon=True` hold matrices.
        lr: Learning rate.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import MuonAdamW
        >>> weight, bias = torch.nn.Parameter(torch.zeros(4, 3)), torch.nn.Parameter(torch.zeros(4))
        >>> optimizer = MuonAdamW([{"params": [weight], "muon": True}, {"params": [bias]}], lr=0.1)
        >>> weight.grad, bias.grad = torch.randn(4, 3), torch.ones(4)
        >>> optimizer.step()
        >>> bool(torch.linalg.svdvals(weight).min() > 0.01)
        True
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, weight_decay: float = 0.01) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "muon": False})
        for group in self.param_groups:  # by which PyTorch places `step` when it loads a state
            group["fused"] = group["params"][0].device.type in ("cpu", "cuda")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params and group["muon"]:
                self._muon(group, params)
            elif params:
                self._adamw(group, params)

    def _muon(self, group: Mapping[str, Any], params: list[nn.Parameter]) -> None:
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for p in params:
            by_shape.setdefault(p.shape[-2:], []).append(p)
        for (rows, columns), same in by_shape.items():
            moves = []
            for p in same:
                assert p.grad is not None
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                momentum.lerp_(p.grad, 1 - MUON_MOMENTUM)
                moves.append(p.grad.lerp(momentum, MUON_MOMENTUM).reshape(-1, rows, columns))
            sizes = [len(move) for move in moves]
            moved = torch.split(orthogonal(torch.cat(moves)), sizes)
            scale = 0.2 * math.sqrt(max(rows, columns))
            for p, move in zip(same, moved, strict=True):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(move.reshape(p.shape), alpha=group["lr"] * scale)

    def _adamw(self, group: Mapping[str, Any], params: list[nn.Parameter]) -> None:
        states = [_moments(self.state[p], p) for p in params]
        adamw(
            list(params), [p.grad for p in params if p.grad is not None],
            [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states], [],
            [s["step"] for s in states], fused=group["fused"],
            amsgrad=False, beta1=BETAS[0], beta2=BETAS[1], lr=group["lr"],
            weight_decay=group["weight_decay"], eps=EPS, maximize=False,
        )  # fmt: skip


def orthogonal(moves: Tensor) -> Tensor:
    """Bring every singular value of each matrix [N, rows, columns] near 1.

    Five steps of the quintic Newton-Schulz iteration of Muon (Keller Jordan 2024).

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import orthogonal
        >>> values = torch.linalg.svdvals(orthogonal(torch.randn(2, 8, 5)))
        >>> bool(values.min() > 0.5), bool(values.max() < 1.3)
        (True, True)
    """
    a, b, c = NEWTON_SCHULZ
    wide = moves.shape[-2] > moves.shape[-1]
    x = moves.mT if wide else moves
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    found: Tensor = x.mT if wide else x
    return found


def make_optimizer(
    kind: str | OptimizerMaker,
    network: nn.Module,
    outputs: int,
    learning_rate: float,
    weight_decay: float,
) -> Optimizer:
    """Make an optimizer over all of a network's parameters, frozen ones too.

    Args:
        kind: "adamw", "sgd" (with Nesterov momentum of 0.9), "muon"; a class of `torch.optim`; or
            a function that takes parameter groups and `lr` and gives an optimizer.
        network: Whose parameters.
        outputs: K, by which the output layer is known: Muon leaves it to AdamW.
        learning_rate, weight_decay: Of all groups; biases and norms do not decay.

    Raises:
        OptionError: An unknown name, or an optimizer that needs a closure.

    Example:
        >>> from torch import nn
        >>> from sightline.train.optimizers import make_optimizer
        >>> optimizer = make_optimizer("adamw", nn.Sequential(nn.Linear(3, 2)), 2, 0.1, 0.01)
        >>> [(len(group["params"]), group["weight_decay"]) for group in optimizer.param_groups]
        [(1, 0.01), (1, 0.0)]
    """
    groups = _groups(network, weight_decay, outputs if kind == "muon" else None)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    if kind == "adamw":
        make: OptimizerMaker = AdamW if fused else torch.optim.AdamW
        return make(groups, lr=learning_rate)
    if kind == "sgd":
        # Not the fused one: it wants a momentum for all parameters or none, and one that was
        # frozen or has just been inserted has none yet.
        return torch.optim.SGD(
            groups, lr=learning_rate, momentum=MOMENTUM, nesterov=True, foreach=True
        )
    if kind == "muon":
        return MuonAdamW(groups, lr=learning_rate)
    if isinstance(kind, str):
        raise OptionError(
            f"There is no optimizer {kind!r}.", did_you_mean(kind, OPTIMIZERS, "optimizers")
        )
    if kind is torch.optim.LBFGS:
        raise OptionError(
            "LBFGS calls a closure several times a step.", "Choose another optimizer."
        )
    try:
        made = kind(groups, lr=learning_rate)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"The optimizer cannot be made: {error}.",
            "Give a class of torch.optim, or a function (groups, lr) that makes one.",
        ) from error
    if not isinstance(made, Optimizer) or isinstance(made, torch.optim.LBFGS):
        raise OptionError(
            f"The optimizer is a {type(made).__name__}.",
            "Give a class of torch.optim, or a function (groups, lr) that makes one.",
        )
    return made


def _groups(network: nn.Module, weight_decay: float, outputs: int | None) -> list[dict[str, Any]]:
    plain = {
        id(p) for module in network.modules() if isinstance(module, NORMS)
        for p in module.parameters(recurse=False)
    }  # fmt: skip
    embedded = {
        id(p) for module in network.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for p in module.parameters(recurse=False)
    }  # fmt: skip
    named = list(network.named_parameters())
    matrices = [p for _, p in named if p.dim() >= 2 and id(p) not in embedded]
    last = next((id(p) for p in reversed(matrices) if outputs in p.shape[-2:]), None)
    groups: dict[str, list[nn.Parameter]] = {"muon": [], "decay": [], "plain": []}
    for name, p in named:
        if p.dim() < 2 or id(p) in plain or name.rpartition(".")[2].startswith("bias"):
            groups["plain"].append(p)
        elif outputs is not None and p.dim() in (2, 3) and id(p) not in embedded | {last}:
            groups["muon"].append(p)
        else:
            groups["decay"].append(p)
    options: dict[str, dict[str, Any]] = {
        "muon": {"weight_decay": weight_decay, "muon": True},
        "decay": {"weight_decay": weight_decay},
        "plain": {"weight_decay": 0.0, "decays": False},
    }
    return [{"params": params, **options[name]} for name, params in groups.items() if params]


# ------------------------------------------------------------- state by name


def state_by_name(optimizer: Optimizer, network: nn.Module) -> dict[str, dict[str, Any]]:
    """Return each parameter's optimizer state under the parameter's name.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import make_optimizer, state_by_name
        >>> network = torch.nn.Linear(3, 2)
        >>> optimizer = make_optimizer("adamw", network, 2, 0.1, 0.01)
        >>> network(torch.ones(1, 3)).sum().backward(); optimizer.step()
        >>> sorted(state_by_name(optimizer, network)["weight"])
        ['exp_avg', 'exp_avg_sq', 'step']
    """
    return {
        name: dict(optimizer.state[p])
        for name, p in network.named_parameters()
        if optimizer.state.get(p)
    }


def set_state_by_name(
    optimizer: Optimizer, network: nn.Module, state: Mapping[str, Mapping[str, Any]]
) -> None:
    """Give parameters their state, through `load_state_dict`, which places it on their device.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import make_optimizer, set_state_by_name, state_by_name
        >>> network = torch.nn.Linear(3, 2, bias=False)
        >>> optimizer = make_optimizer("sgd", network, 2, 0.1, 0.01)
        >>> set_state_by_name(optimizer, network, {"weight": {"momentum_buffer": torch.ones(2, 3)}})
        >>> state_by_name(optimizer, network)["weight"]["momentum_buffer"].sum().item()
        6.0
    """
    names = {id(p): name for name, p in network.named_parameters()}
    order = [p for group in optimizer.param_groups for p in group["params"]]
    packed = optimizer.state_dict()
    packed["state"] = {
        place: dict(state[names[id(p)]]) for place, p in enumerate(order) if state.get(names[id(p)])
    }
    optimizer.load_state_dict(packed)


def group_options(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return what a group holds besides its parameters, as JSON values.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import group_options, make_optimizer
        >>> optimizer = make_optimizer("muon", torch.nn.Linear(3, 2, bias=False), 2, 0.1, 0.01)
        >>> group_options(optimizer)
        [{'weight_decay': 0.01, 'lr': 0.1, 'muon': False, 'fused': True}]
    """
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def set_group_options(optimizer: Optimizer, options: Iterable[Mapping[str, Any]]) -> None:
    """Set what `group_options` gave; JSON has lists for tuples.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import make_optimizer, set_group_options
        >>> optimizer = make_optimizer("adamw", torch.nn.Linear(3, 2, bias=False), 2, 0.1, 0.01)
        >>> set_group_options(optimizer, [{"betas": [0.8, 0.9]}])
        >>> optimizer.param_groups[0]["betas"]
        (0.8, 0.9)
    """
    for group, said in zip(optimizer.param_groups, options, strict=True):
        for key, value in said.items():
            group[key] = tuple(value) if isinstance(value, list) else value
