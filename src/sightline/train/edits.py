"""Apply edits to a training; optimizer state and averages follow each parameter.

A parameter that survives keeps its state. One that grows is padded: its values with those of the
new layer, its state with zeros. A new one starts fresh. The edit's record lists which is which.
"""

from __future__ import annotations

import copy
import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.build import surgery
from sightline.build.mlp import MLP
from sightline.build.modes import drawing
from sightline.build.networks import check_network, load_class, make_network
from sightline.contracts import (
    EDITS,
    Deepen,
    Edit,
    Freeze,
    Reload,
    Replace,
    SetBatchSize,
    SetEpochs,
    SetLearningRate,
    SetMicroBatch,
    SetWeightDecay,
    Spec,
    Stop,
    Unfreeze,
    Widen,
)
from sightline.contracts.rules import check_whole
from sightline.errors import NetworkError, OptionError, shorten
from sightline.load.batches import count_batches
from sightline.train.optimizers import set_state_by_name, state_by_name
from sightline.train.state import TrainingState

MAX_RATE = 1e30
"""The largest learning rate or weight decay; larger ones overflow float32 in one step."""
Structural = Widen | Deepen | Replace | Reload
STRUCTURAL = (Widen, Deepen, Replace, Reload)
KNOWN_EDITS = f"Give one of {', '.join(EDITS)}."
EDIT_SALT = 1 << 40
"""Added to the number of edits to seed an edit's random numbers: no step uses that seed."""


class Outcome(NamedTuple):
    """What an edit did.

    Attributes:
        sentence: What the edit did, in words.
        details: The same as data, for the edit's record.
        stop: Why training must end now; None while it goes on.
    """

    sentence: str
    details: dict[str, Any]
    stop: str | None = None


def check_edit(edit: Edit, network: nn.Module, spec: Spec, sources: Path | None) -> nn.Module:
    """Try an edit on a copy of the network, before it is queued.

    Returns:
        The network after the edit; the network itself where the edit does not change it.

    Raises:
        OptionError: An unknown name, or a value outside its range.
        NetworkError: The network cannot be changed in this way, or would not fit the table.
    """
    if isinstance(edit, STRUCTURAL):
        if isinstance(edit, Widen):
            _check_memory(edit, network)
        try:
            with drawing():
                tried = restructure(edit, copy.deepcopy(network), spec, sources)
                check_network(tried, spec)
        except (RuntimeError, MemoryError) as error:  # PyTorch cannot allocate such a network
            raise NetworkError(
                f"{type(edit).__name__} cannot be applied: {error}", "Choose a smaller network."
            ) from error
        return tried
    if isinstance(edit, Freeze | Unfreeze):
        tried = copy.deepcopy(network)
        _freeze(edit, tried)
        return tried
    if isinstance(edit, SetLearningRate | SetWeightDecay):
        value = edit.value
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value <= MAX_RATE
        ):
            shown = shorten(repr(value), 80)
            raise OptionError(
                f"{type(edit).__name__} has {shown}.", "Give a number from 0 up, such as 0.001."
            )
    elif isinstance(edit, SetBatchSize | SetEpochs | SetMicroBatch):
        check_whole(type(edit).__name__, edit.value)
    elif type(edit).__name__ not in EDITS:
        raise OptionError(f"{edit!r} is no known edit.", KNOWN_EDITS)
    return network


def _check_memory(edit: Widen, network: nn.Module) -> None:
    """Refuse a width that does not fit in memory: many systems would kill the process.

    The edit is tried on the meta device, whose tensors have shapes but no data. Weights, gradients,
    the optimizer's two moments and the copies take about eight numbers per parameter.
    """
    try:
        with torch.device("meta"):
            tried = copy.deepcopy(network).to("meta")
            surgery.widen(tried, edit.name, edit.width)
    except (RuntimeError, OverflowError, TypeError) as error:
        raise NetworkError(
            f"{edit.name} cannot be widened to {shorten(str(edit.width), 30)} units.",
            "Give a smaller number.",
        ) from error
    needed = 8 * 4 * sum(p.numel() for p in tried.parameters())
    free = _free_memory()
    if free is not None and needed > free:
        raise NetworkError(
            f"With {edit.name} widened to {edit.width:,} units training would need about "
            f"{needed / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free.",
            "Give a smaller number.",
        )


def _free_memory() -> int | None:
    """Return the free memory in bytes; None where the system does not report it."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def restructure(
    edit: Structural, network: nn.Module, spec: Spec, sources: Path | None
) -> nn.Module:
    """Change a network's structure in place; `Reload` builds a new network from its file.

    Args:
        edit: A `Widen`, `Deepen`, `Replace` or `Reload`.
        network: The network to change.
        spec: The spec of the prepared table.
        sources: The folder that keeps source texts; None reads the file itself.
    """
    if isinstance(edit, Widen):
        surgery.widen(network, edit.name, edit.width)
    elif isinstance(edit, Deepen):
        surgery.deepen(network, edit.after)
    elif isinstance(edit, Replace):
        if isinstance(network, MLP):
            network.replace(edit.name, edit.module)
        else:
            surgery.replace_module(network, edit.name, edit.module)
    elif isinstance(edit, Reload):
        device = next(network.parameters()).device
        return make_network(load_class(source_of(edit, sources)), spec).to(device)
    return network


def source_of(edit: Reload, sources: Path | None) -> str:
    """Return "file.py:Class" of the source text that an edit names by its sha256.

    Raises:
        NetworkError: The kept text is missing, and the file has changed since.
    """
    file, _, name = edit.network.rpartition(":")
    kept = None if sources is None else sources / f"{edit.sha256}.py"
    path = kept if kept is not None and kept.is_file() else Path(file)
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != edit.sha256:
        raise NetworkError(
            f"The source {edit.sha256[:12]}... of {edit.network} is not at {path}.",
            "Restore the file, or the run's sources folder.",
        )
    return f"{path}:{name}"


def apply(edit: Edit, state: TrainingState) -> Outcome:
    """Apply an edit between two steps.

    Raises:
        OptionError, NetworkError: The edit does not fit the network.
    """
    match edit:
        case SetLearningRate():
            before = state.learning_rate.now
            state.learning_rate.set(float(edit.value))
            return Outcome(f"learning rate {before:.3g} -> {edit.value:.3g}", {})
        case SetWeightDecay():
            before = state.progress.weight_decay
            state.set_weight_decay(float(edit.value))
            return Outcome(f"weight decay {before:.3g} -> {edit.value:.3g}", {})
        case SetBatchSize():
            return _set_batch_size(edit, state)
        case SetMicroBatch():
            plan = state.plan
            state.plan = replace(plan, micro_batch=min(edit.value, plan.batch_size))
            return Outcome(f"{plan.micro_batch:,} -> {edit.value:,} rows through the network at once", {})  # fmt: skip
        case SetEpochs():
            return _set_epochs(edit, state)
        case Stop():
            return Outcome(edit.why, {}, stop=f"{edit.why} in epoch {state.progress.epoch}")
        case Freeze() | Unfreeze():
            names = _freeze(edit, state.network)
            done = "frozen" if isinstance(edit, Freeze) else "learning again"
            return Outcome(f"{edit.name} {done} ({len(names)} parameters)", {"parameters": names})
        case Widen() | Deepen() | Replace() | Reload():
            return _restructure(edit, state)
        case _:
            raise OptionError(f"{edit!r} is no known edit.", KNOWN_EDITS)


def _set_batch_size(edit: SetBatchSize, state: TrainingState) -> Outcome:
    plan, rows = state.plan, state.source.rows
    size = min(edit.value, rows)
    in_parts = plan.micro_batch < plan.batch_size
    state.source.batch_size = size
    state.plan = replace(
        plan, batch_size=size, micro_batch=min(size, plan.micro_batch) if in_parts else size,
        steps_per_epoch=count_batches(rows, size),
    )  # fmt: skip
    return Outcome(f"batch size {plan.batch_size:,} -> {size:,}", {})


def _set_epochs(edit: SetEpochs, state: TrainingState) -> Outcome:
    before, progress = state.plan.epochs, state.progress
    state.plan = replace(state.plan, epochs=edit.value)
    state.learning_rate.stretch(state.epochs_done)
    over = not progress.rows and progress.epoch > edit.value
    stop = f"all {edit.value} epochs done" if over else None
    return Outcome(f"epochs {before:,} -> {edit.value:,}", {}, stop)


def _freeze(edit: Freeze | Unfreeze, network: nn.Module) -> list[str]:
    """Freeze or unfreeze the parameters below a name, and return their names."""
    parameters = surgery.parameters_below(network, edit.name)
    learns = isinstance(edit, Unfreeze)
    for _, p in parameters:
        p.requires_grad_(learns)
        p.grad = None
    if not any(p.requires_grad for p in network.parameters()):
        for _, p in parameters:
            p.requires_grad_(True)
        raise OptionError(
            f"Freezing {edit.name!r} would leave no parameter to train.",
            "Freeze fewer layers, or unfreeze others first.",
        )
    return [name for name, _ in parameters]


class _Before(NamedTuple):
    """The network and its optimizer before a change of structure."""

    parameters: dict[str, nn.Parameter]
    values: dict[str, Tensor]
    frozen: set[str]
    optimizer: Optimizer
    state: dict[int, dict[str, Any]]
    averages: dict[int, Tensor]


def _before(state: TrainingState) -> _Before:
    """Save what surviving parameters keep: values, optimizer state, averages."""
    network, average = state.network, state.average
    parameters = dict(network.named_parameters())
    by_name = state_by_name(state.optimizer, network)
    averages = {} if average is None else average.values
    return _Before(
        parameters=parameters,
        values={name: tensor.detach().clone() for name, tensor in network.state_dict().items()},
        frozen={name for name, p in parameters.items() if not p.requires_grad},
        optimizer=state.optimizer,
        state={id(parameters[name]): kept for name, kept in by_name.items()},
        averages={id(parameters[name]): value for name, value in averages.items()},
    )


def _restructure(edit: Structural, state: TrainingState) -> Outcome:
    """Change the structure, then carry values, optimizer state and averages over."""
    before, spec = _before(state), state.prepared.spec
    salt = EDIT_SALT + len(state.progress.edits)
    with state.randomness.at(salt, always=True):
        network = restructure(edit, state.network, spec, state.sources)
    check_network(network, spec)
    fates, origins = _match_parameters(before.parameters, network)
    if isinstance(edit, Reload | Replace):
        _carry_values(network, before.values)
        for name in before.frozen & fates.keys():
            network.get_parameter(name).requires_grad_(False)
    optimizer = state.make_optimizer(network)
    _carry_optimizer_state(before, origins, network, optimizer)
    state.take_network(network, optimizer)
    if state.average is not None:
        for name, origin in origins.items():
            if id(origin) in before.averages:
                average = state.average.values[name]
                average[surgery.corner(origin.shape)] = before.averages[id(origin)]
    survivors = {id(p) for p in origins.values()}
    gone = [
        name for name, p in before.parameters.items()
        if name not in fates and id(p) not in survivors
    ]  # fmt: skip
    details = {"parameters": fates, "gone": gone, "network": str(network)}
    return Outcome(_sentence(edit, fates, gone), details)


def _match_parameters(
    old: Mapping[str, nn.Parameter], network: nn.Module
) -> tuple[dict[str, str], dict[str, nn.Parameter]]:
    """Match each parameter of the new network with an old one.

    Returns:
        Its fate by name ("kept", "grown from ... to ...", "fresh"), and the old parameter whose
        optimizer state and average it takes over, where there is one.
    """
    fates: dict[str, str] = {}
    origins: dict[str, nn.Parameter] = {}
    same = {id(p) for p in old.values()}
    alive = {id(p) for p in network.parameters()}
    for name, p in network.named_parameters():
        before = old.get(name)
        if id(p) in same:
            fates[name], origins[name] = "kept", p
        elif before is None or id(before) in alive or not _fits(before, p):
            fates[name] = "fresh"  # the old parameter was removed or renamed
        else:
            grown = f"grown from {list(before.shape)} to {list(p.shape)}"
            fates[name] = "kept" if before.shape == p.shape else grown
            origins[name] = before
    return fates, origins


def _carry_optimizer_state(
    before: _Before, origins: Mapping[str, nn.Parameter], network: nn.Module, optimizer: Optimizer
) -> None:
    """Give the new optimizer the state of each surviving parameter, padded where it grew."""
    old_muon, new_muon = _muon_parameters(before.optimizer), _muon_parameters(optimizer)
    parameters = dict(network.named_parameters())
    set_state_by_name(
        optimizer, network,
        {
            name: _padded_state(before.state[id(origin)], origin, parameters[name])
            for name, origin in origins.items()
            if id(origin) in before.state
            and (id(origin) in old_muon) == (id(parameters[name]) in new_muon)
        },
    )  # fmt: skip


def _sentence(edit: Structural, fates: Mapping[str, str], gone: list[str]) -> str:
    """Summarise a change of structure: the edit, counts of parameters, and those not simply kept."""
    counts = Counter(fate.split(" ")[0] for fate in fates.values())
    summary = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    if gone:
        summary += f", {len(gone)} removed"
    match edit:
        case Widen():
            what = f"{edit.name} widened to {edit.width:,} units"
        case Deepen():
            what = f"a layer inserted after {edit.after}"
        case Replace():
            what = f"{edit.name} replaced by {edit.module}"
        case _:
            what = f"{edit.network} reloaded"
    changed = "; ".join(f"{name} {fate}" for name, fate in fates.items() if fate != "kept")
    return f"{what}: parameters {summary}" + (f" ({changed})" if changed else "")


def _fits(old: Tensor, new: Tensor) -> bool:
    sizes = zip(old.shape, new.shape, strict=False)
    return old.dim() == new.dim() and all(a <= b for a, b in sizes)


def _carry_values(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Copy the old values into parameters and buffers of the same name, in the leading corner."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in values and _fits(values[name], tensor):
                tensor[surgery.corner(values[name].shape)] = values[name]


def _muon_parameters(optimizer: Optimizer) -> set[int]:
    """Return the ids of the parameters that Muon steps; their state differs from AdamW's."""
    groups = optimizer.param_groups
    return {id(p) for group in groups if group.get("muon") for p in group["params"]}


def _padded_state(state: Mapping[str, Any], old: Tensor, new: Tensor) -> dict[str, Any]:
    """Pad state that has the parameter's old shape with zeros, to its new shape.

    State of another shape, such as Adafactor's row and column means, cannot be padded: the
    parameter then starts with empty state.
    """
    if old.shape == new.shape:
        return dict(state)
    padded = {}
    for key, value in state.items():
        if isinstance(value, Tensor) and value.dim():
            if value.shape != old.shape:
                return {}
            grown = value.new_zeros(new.shape)
            grown[surgery.corner(old.shape)] = value
            value = grown
        padded[key] = value
    return padded
