"""Apply edits to a training, and let optimizer state and averages follow each parameter.

What lives on keeps everything; what grows is padded (weights with the new layer's own, state with
zeros); what is new starts fresh. The table that says which is which is in the edit's record.
"""

from __future__ import annotations

import copy
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sightline.build import surgery
from sightline.build.mlp import MLP
from sightline.build.networks import check_network, load_class, make_network
from sightline.contracts import (
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
from sightline.errors import NetworkError, OptionError, shorten
from sightline.load.batches import count_batches
from sightline.train.optimizers import (
    make_optimizer,
    set_state_by_name,
    state_by_name,
)
from sightline.train.plan import check_whole

if TYPE_CHECKING:
    from sightline.train.training import Training

LARGEST = 1e30
"""Of a learning rate or weight decay: larger ones make infinities of float32 at once."""
STRUCTURAL = (Widen, Deepen, Replace, Reload)
EDIT_SALT = 1 << 40
"""Keeps what an edit draws apart from what steps draw."""


class Turn:
    """Keeps steps and edits from other threads apart: both draw from PyTorch's one generator.

    Whoever waits goes next; with a plain lock, a fast loop would have it again and again.
    """

    def __init__(self) -> None:
        self._door, self._room = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner != me:
            with self._door:
                self._room.acquire()
            self._owner = me
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._room.release()


def check_edit(edit: Edit, network: nn.Module, spec: Spec, sources: Path | None) -> nn.Module:
    """Try an edit on a copy, before it is queued.

    Returns:
        The network as it would be; itself where the edit leaves it alone.

    Raises:
        OptionError: A name or value that makes no sense.
        NetworkError: The network cannot be changed so, or would not fit the table.
    """
    if isinstance(edit, STRUCTURAL):
        if isinstance(edit, Widen):
            _check_room(edit, network)
        try:
            with torch.random.fork_rng(devices=[]):
                tried = restructure(edit, copy.deepcopy(network), spec, sources)
                check_network(tried, spec)
        except (RuntimeError, MemoryError) as error:  # torch has no room for such a network
            raise NetworkError(
                f"{type(edit).__name__} cannot be made: {error}", "Choose a smaller network."
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
            or not 0 <= value <= LARGEST
        ):
            raise OptionError(f"{type(edit).__name__} has {value!r}.", "Give a number from 0 up.")
    elif isinstance(edit, SetBatchSize | SetEpochs | SetMicroBatch):
        check_whole(type(edit).__name__, edit.value)
    return network


def _check_room(edit: Widen, network: nn.Module) -> None:
    """Refuse a width that memory cannot hold: on many systems trying it would end the process.

    Tried on the meta device, whose tensors have shapes and no memory. Weights, gradients, the
    optimizer's two moments and the kept copies make some eight numbers a parameter.
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
    """Return the free bytes of memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def restructure(edit: Edit, network: nn.Module, spec: Spec, sources: Path | None) -> nn.Module:
    """Change a network's structure in place, or build it anew where a file was saved.

    Args:
        edit: A `Widen`, `Deepen`, `Replace` or `Reload`.
        network: To change.
        spec: Of the prepared table.
        sources: The folder of kept sources; None where the file itself is still as it was.
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
        return make_network(load_class(place_of(edit, sources)), spec).to(device)
    return network


def place_of(edit: Reload, sources: Path | None) -> str:
    """Return "file.py:Class" of the very source that an edit names.

    Raises:
        NetworkError: The kept source is gone, or the file has another text by now.
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


def apply(edit: Edit, training: Training) -> tuple[str, dict[str, Any]]:
    """Apply an edit between two steps.

    Returns:
        What happened, as a sentence and as data.
    """
    plan = training.plan
    if isinstance(edit, SetLearningRate):
        before = training.learning_rate.now
        training.learning_rate.set(float(edit.value))
        return f"learning rate {before:.3g} -> {edit.value:.3g}", {}
    if isinstance(edit, SetWeightDecay):
        before = training.progress.weight_decay
        training.set_weight_decay(float(edit.value))
        return f"weight decay {before:.3g} -> {edit.value:.3g}", {}
    if isinstance(edit, SetBatchSize):
        size = min(edit.value, training.source.rows)
        training.source.batch_size = size
        training.plan = replace(
            plan, batch_size=size, micro_batch=min(size, plan.micro_batch) if plan.micro_batch < plan.batch_size else size,
            steps_per_epoch=count_batches(training.source.rows, size),
        )  # fmt: skip
        return f"batch size {plan.batch_size:,} -> {size:,}", {}
    if isinstance(edit, SetMicroBatch):
        training.plan = replace(plan, micro_batch=min(edit.value, plan.batch_size))
        return f"{plan.micro_batch:,} -> {edit.value:,} rows through the network at once", {}
    if isinstance(edit, SetEpochs):
        training.plan = replace(plan, epochs=edit.value)
        training.learning_rate.stretch(training.epochs_done)
        if not training.progress.rows and training.progress.epoch > edit.value:
            training.stop(f"all {edit.value} epochs done")
        return f"epochs {plan.epochs:,} -> {edit.value:,}", {}
    if isinstance(edit, Stop):
        training.stop(f"{edit.why} in epoch {training.progress.epoch}")
        return edit.why, {}
    if isinstance(edit, Freeze | Unfreeze):
        names = _freeze(edit, training.network)
        done = "frozen" if isinstance(edit, Freeze) else "learning again"
        return f"{edit.name} {done} ({len(names)} parameters)", {"parameters": names}
    return _restructure(edit, training)


def _freeze(edit: Freeze | Unfreeze, network: nn.Module) -> list[str]:
    found = surgery.parameters_below(network, edit.name)
    learns = isinstance(edit, Unfreeze)
    for _, p in found:
        p.requires_grad_(learns)
        p.grad = None
    if not any(p.requires_grad for p in network.parameters()):
        for _, p in found:
            p.requires_grad_(True)
        raise OptionError(f"Freezing {edit.name!r} leaves nothing to learn.", "Freeze less.")
    return [name for name, _ in found]


def _restructure(edit: Edit, training: Training) -> tuple[str, dict[str, Any]]:
    """Change the structure, then carry values, optimizer state and averages over by name."""
    old = dict(training.network.named_parameters())
    state = {id(old[name]): kept for name, kept in state_by_name(training.optimizer, training.network).items()}  # fmt: skip
    values = {
        name: tensor.detach().clone() for name, tensor in training.network.state_dict().items()
    }
    averages = {} if training.average is None else {id(old[n]): v for n, v in training.average.values.items()}  # fmt: skip
    frozen = {name for name, p in old.items() if not p.requires_grad}
    salt = EDIT_SALT + len(training.progress.edits)
    with training.randomness.at(salt, always=True):
        network = restructure(edit, training.network, training.prepared.spec, training.sources)
    check_network(network, training.prepared.spec)

    ways: dict[str, str] = {}
    origins: dict[str, nn.Parameter] = {}
    same = {id(p) for p in old.values()}
    living = {id(p) for p in network.parameters()}
    for name, p in network.named_parameters():
        before = old.get(name)
        if id(p) in same:
            ways[name], origins[name] = "kept", p
        elif before is None or id(before) in living or not _fits(before, p):
            ways[name] = "fresh"  # where the one of that name lives on, it has another name by now
        else:
            grown = f"grown from {list(before.shape)} to {list(p.shape)}"
            ways[name] = "kept" if before.shape == p.shape else grown
            origins[name] = before
    if isinstance(edit, Reload | Replace):
        _carry_values(network, values)
        for name in frozen & ways.keys():
            network.get_parameter(name).requires_grad_(False)

    optimizer = make_optimizer(
        training.settings.optimizer, network, training.prepared.spec.outputs,
        training.settings.learning_rate, training.settings.weight_decay,
    )  # fmt: skip
    matrices, new_matrices = _matrices(training.optimizer), _matrices(optimizer)
    named = dict(network.named_parameters())
    set_state_by_name(
        optimizer, network,
        {
            name: _padded_state(state[id(origin)], origin, named[name])
            for name, origin in origins.items()
            if id(origin) in state
            and (id(origin) in matrices) == (id(named[name]) in new_matrices)
        },
    )  # fmt: skip
    training.take_network(network, optimizer)
    if training.average is not None:
        for name, origin in origins.items():
            if id(origin) in averages:
                values_now = training.average.values[name]
                values_now[surgery.corner(origin.shape)] = averages[id(origin)]
    gone = [name for name in old if name not in ways and not any(p is old[name] for p in origins.values())]  # fmt: skip
    return _sentence(edit, ways, gone), {"parameters": ways, "gone": gone, "network": str(network)}


def _sentence(edit: Edit, ways: Mapping[str, str], gone: list[str]) -> str:
    counts = Counter(way.split(" ")[0] for way in ways.values())
    told = ", ".join(f"{count} {way}" for way, count in counts.items())
    if gone:
        told += f", {len(gone)} gone"
    what = {
        "Widen": lambda e: f"{e.name} widened to {e.width:,} units",
        "Deepen": lambda e: f"a layer inserted after {e.after}",
        "Replace": lambda e: f"{e.name} replaced by {e.module}",
        "Reload": lambda e: f"{e.network} loaded anew",
    }[type(edit).__name__](edit)
    changed = "; ".join(f"{name} {way}" for name, way in ways.items() if way != "kept")
    return f"{what}: parameters {told}" + (f" ({changed})" if changed else "")


def _fits(old: Tensor, new: Tensor) -> bool:
    sizes = zip(old.shape, new.shape, strict=False)
    return old.dim() == new.dim() and all(a <= b for a, b in sizes)


def _carry_values(network: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give parameters and buffers what those of the same name had, as far as they reach."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name in values and _fits(values[name], tensor):
                tensor[surgery.corner(values[name].shape)] = values[name]


def _matrices(optimizer: Optimizer) -> set[int]:
    """Return which parameters Muon steps, whose state is another than AdamW's."""
    groups = optimizer.param_groups
    return {id(p) for group in groups if group.get("muon") for p in group["params"]}


def _padded_state(state: Mapping[str, Any], old: Tensor, new: Tensor) -> dict[str, Any]:
    """Pad what has a parameter's shape with zeros, to its new shape.

    State of other shapes, such as Adafactor's rows and columns, means nothing for a parameter that
    has grown: that starts anew.
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
