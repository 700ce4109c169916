"""Optimizers: AdamW with less Python overhead, SGD, Muon, or any of `torch.optim`.

Each is an ordinary `torch.optim.Optimizer`. Biases and the parameters of norms have no weight
decay. State is read and set by parameter name, so that it follows a parameter through edits and
checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from sightline.contracts.options import OptimizerName
from sightline.errors import OptionError, did_you_mean

OptimizerMaker = Callable[..., Optimizer]
OPTIMIZERS: tuple[str, ...] = get_args(OptimizerName)
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
    """A group's arguments of the fused kernel; `counters` are the distinct tensors among `steps`."""

    params: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    counters: list[Tensor]


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)`, bit for bit, without the Python overhead around its kernel.

    At each step PyTorch groups parameters by device and type, enters a profiler range and builds
    lists: some 30 microseconds, a fifth of a small network's whole step. Here the lists are kept as
    long as the parameters are the same. Hooks on `step` are not called.

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

    _lists: list[_Lists] | None = None  # a class attribute: a deep copy builds its own

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, **options: Any) -> None:
        super().__init__(params, lr=lr, fused=True, **options)

    @torch.no_grad()
    def step(self, closure: None = None, found_inf: Tensor | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient.

        Args:
            closure: Not used.
            found_inf: A scalar on the device; if it is 1, nothing changes.
        """
        if self._lists is None:
            self._lists = [self._list(group) for group in self.param_groups]
        for group, lists in zip(self.param_groups, self._lists, strict=True):
            grads = [p.grad for p in lists.params if p.grad is not None]
            if not grads:
                continue
            if len(grads) < len(lists.params):  # some are frozen, or unused by this batch
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

    step.hooked = True  # type: ignore[attr-defined]  # so PyTorch enters no profiler range

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def load_state_dict(self, state_dict: Any) -> None:
        """Load the state of another optimizer."""
        super().load_state_dict(state_dict)
        self._lists = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state in PyTorch's form: each parameter has its own count of steps."""
        packed = super().state_dict()
        packed["state"] = {
            index: {**state, "step": state["step"].clone()} if "step" in state else state
            for index, state in packed["state"].items()
        }
        return packed

    def _list(self, group: dict[str, Any]) -> _Lists:
        # Frozen parameters too: they have no gradient now, and may be unfrozen.
        params = list(group["params"])
        states = [_moments(self.state[p], p) for p in params]
        counts = [state["step"].clone() for state in states]
        if (
            len({float(count) for count in counts}) == 1
        ):  # one tensor for all: one addition per step
            counts = counts[:1] * len(counts)
        for state, count in zip(states, counts, strict=True):
            state["step"] = count
        return _Lists(
            params, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states], counts,
            list({id(count): count for count in counts}.values()),
        )  # fmt: skip

    def _some(self, lists: _Lists) -> _Lists:
        """Return the lists of those parameters that have a gradient; steps are now counted for each."""
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
    """Return AdamW's state of a parameter; create it, with zero steps and moments, if it is empty."""
    if not state:
        device = p.device if p.device.type == "cuda" else "cpu"  # as the fused kernel requires
        state.update(
            step=torch.zeros((), dtype=torch.float32, device=device),
            exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p),
        )  # fmt: skip
    return state


class MuonAdamW(Optimizer):
    """Muon for hidden matrices and AdamW for all other parameters, as one optimizer.

    Muon (Keller Jordan 2024) makes each momentum matrix nearly orthogonal by five steps of a
    Newton-Schulz iteration. Matrices of one shape go through it together, as do the members of an
    ensemble, [M, rows, columns]. Updates are scaled by 0.2 sqrt(max(rows, columns)), so that the same
    learning rate suits both (Liu et al. 2025, "Muon is scalable for LLM training").

    Args:
        params: Parameter groups; those with `muon=True` hold matrices.
        lr: Learning rate.
        weight_decay: Weight decay of the groups that do not set their own.

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
        for group in self.param_groups:  # PyTorch reads it to place `step` when it loads a state
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
    """Bring every singular value of each matrix near 1: make the matrices nearly orthogonal.

    Five steps of the quintic Newton-Schulz iteration of Muon (Keller Jordan 2024).

    Args:
        moves: Matrices [N, rows, columns].

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import orthogonal
        >>> values = torch.linalg.svdvals(orthogonal(torch.randn(2, 8, 5)))
        >>> bool(values.min() > 0.5), bool(values.max() < 1.3)
        (True, True)
    """
    a, b, c = NEWTON_SCHULZ
    tall = moves.shape[-2] > moves.shape[-1]
    x = moves.mT if tall else moves
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result


def make_optimizer(
    kind: str | OptimizerMaker,
    network: nn.Module,
    outputs: int,
    learning_rate: float,
    weight_decay: float,
) -> Optimizer:
    """Make an optimizer over all parameters of a network, including frozen ones.

    Args:
        kind: "adamw", "sgd" (with Nesterov momentum 0.9), "muon"; a class of `torch.optim`; or a
            function that takes parameter groups and `lr` and returns an optimizer.
        network: The network.
        outputs: K; the output layer is recognised by it, and Muon leaves that layer to AdamW.
        learning_rate: The learning rate of all groups.
        weight_decay: The weight decay of all parameters but biases and norms.

    Raises:
        OptionError: The name is unknown, the function fails, or the optimizer needs a closure.

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
        # Not the fused one: it needs a momentum for all parameters or for none, and a parameter
        # that was frozen or has just been inserted has none yet.
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
            "LBFGS calls a closure several times per step, which the training loop does not offer.",
            "Choose another optimizer.",
        )
    try:
        optimizer = kind(groups, lr=learning_rate)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"The optimizer cannot be made: {error}.",
            "Give a class of torch.optim, or a function (groups, lr) that makes one.",
        ) from error
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise OptionError(
            f"The optimizer is a {type(optimizer).__name__}.",
            "Give a class of torch.optim, or a function (groups, lr) that makes one.",
        )
    return optimizer


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
    """Return the optimizer's state of each parameter, by the parameter's name.

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
    """Set the state of parameters by name; `load_state_dict` moves it to their device.

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
        index: dict(state[names[id(p)]]) for index, p in enumerate(order) if state.get(names[id(p)])
    }
    optimizer.load_state_dict(packed)


def group_options(optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the options of each parameter group, as JSON values.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import group_options, make_optimizer
        >>> optimizer = make_optimizer("muon", torch.nn.Linear(3, 2, bias=False), 2, 0.1, 0.01)
        >>> group_options(optimizer)
        [{'weight_decay': 0.01, 'lr': 0.1, 'muon': False, 'fused': True}]
    """
    return [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]


def set_group_options(optimizer: Optimizer, options: Iterable[Mapping[str, Any]]) -> None:
    """Set the options that `group_options` returned; tuples may have become lists in JSON.

    Example:
        >>> import torch
        >>> from sightline.train.optimizers import make_optimizer, set_group_options
        >>> optimizer = make_optimizer("adamw", torch.nn.Linear(3, 2, bias=False), 2, 0.1, 0.01)
        >>> set_group_options(optimizer, [{"betas": [0.8, 0.9]}])
        >>> optimizer.param_groups[0]["betas"]
        (0.8, 0.9)
    """
    for group, values in zip(optimizer.param_groups, options, strict=True):
        for key, value in values.items():
            group[key] = tuple(value) if isinstance(value, list) else value
