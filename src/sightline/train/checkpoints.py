"""Checkpoints: all of a training in one file, written atomically, read back to the last bit.

What the loader draws is a function of (seed, epoch) and what dropout draws one of (seed, step), so
a place in the epoch stands for both generators; gradients are complete at every step boundary.
Everything else is in the file: weights, optimizer, schedule, averages, the best and the last good
weights, the epoch's sums so far, the plan, the history, and a fingerprint of the data.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline import archive
from sightline.build.networks import NetworkMaker, make_network, network_maker
from sightline.contracts import Edit, Plan, Spec, edit_from_json
from sightline.errors import (
    BundleError,
    DataError,
    NetworkError,
    OptionError,
    RunError,
    UserError,
    shorten,
)
from sightline.prepare.prepared import Prepared
from sightline.train.edits import STRUCTURAL, restructure
from sightline.train.observations import Layer
from sightline.train.optimizers import (
    OptimizerMaker,
    group_options,
    make_optimizer,
    set_group_options,
    set_state_by_name,
    state_by_name,
)
from sightline.train.progress import Progress
from sightline.train.settings import Settings
from sightline.train.training import Training, printed
from sightline.train.weights import Kept

FOLDER = "checkpoints"
KEEP = 3
SECONDS = 30.0
SUFFIX = ".checkpoint"
FIRST = f"step-{0:012}{SUFFIX}"


class Checkpoints:
    """Writes a training's checkpoints into RUN/checkpoints while a loop goes on.

    Each file holds the best weights so far as well as those of now, so the best ones are kept
    however few files are.

    Args:
        training: Whose.
        run: The run folder.
        seconds: How often, at the next step; None never by the clock.
        epochs: After so many epochs; None never by their number.
        keep: How many files stay, the newest.
        more: Gives what else to keep in the file, as JSON values.

    Raises:
        OptionError: A number that makes no sense, or a schedule whose state is no JSON.

    Example:
        >>> import sightline as sl
        >>> from sightline.train.checkpoints import Checkpoints
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=4)
        >>> checkpoints = Checkpoints(training, "runs/mine", epochs=1)
        >>> for step in training.steps():
        ...     _ = checkpoints.after_step()
        ...     if step.epoch == 3:
        ...         break
        >>> resumed = sl.Training.resume("runs/mine", prepared)
        >>> [epoch.number for epoch in resumed.history], [epoch.number for epoch in resumed]
        ([0, 1, 2], [3, 4])
    """

    def __init__(
        self,
        training: Training,
        run: str | Path,
        *,
        seconds: float | None = SECONDS,
        epochs: int | None = None,
        keep: int = KEEP,
        more: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        check_rhythm(seconds, epochs)
        if keep < 1:
            raise OptionError(f"keep is {keep}.", "Keep one checkpoint or more.")
        try:
            json.dumps(training.learning_rate.to_json())
        except TypeError as error:
            raise OptionError(
                f"The state of {type(training.learning_rate.scheduler).__name__} cannot be written "
                f"to a checkpoint: {error}.",
                "Choose another schedule, or one by name.",
            ) from error
        self.training, self.folder = training, Path(run) / FOLDER
        self.seconds, self.epochs, self.keep, self.more = seconds, epochs, keep, more
        self.folder.mkdir(parents=True, exist_ok=True)
        if not training.progress.steps and any(path.name != FIRST for path in _files(self.folder)):
            raise OptionError(
                f"{self.folder} holds the checkpoints of another training.",
                "Choose another folder, remove it, or go on with that training: sl.Training.resume.",
            )
        for left in self.folder.glob(f".step-*{SUFFIX}.*.tmp"):  # of a process killed while saving
            left.unlink(missing_ok=True)
        self._data = data_fingerprint(training.prepared)
        self._last = time.monotonic()
        self._epoch = training.progress.epoch

    def after_step(self) -> Path | None:
        """Write a checkpoint if one is due, and return its file."""
        progress = self.training.progress
        late = self.seconds is not None and time.monotonic() - self._last >= self.seconds
        done = self.epochs is not None and progress.epoch - self._epoch >= self.epochs
        return self.save() if late or done else None

    def save(self) -> Path | None:
        """Write a checkpoint now.

        A disk that is full stops nothing: the older checkpoints stay, an event tells of it.

        Returns:
            The file, or None where it could not be written.
        """
        progress = self.training.progress
        path = self.folder / f"step-{progress.steps:012}{SUFFIX}"
        began = time.monotonic()
        self._epoch = progress.epoch
        try:
            write(self.training, path, self._data, self.more() if self.more else {})
        except OSError as error:
            self.training.tell(
                "warning",
                f"no checkpoint at step {progress.steps:,}: {error.strerror or error}; the ones before "
                "are kept",
            )
            self._last = time.monotonic()
            return None
        files = _files(self.folder)
        now = files.index(path)  # what lies before it in the list could not be read, or is undone
        for old in files[:now] + files[now + self.keep :]:
            if old.name != FIRST:  # replay starts from it
                old.unlink(missing_ok=True)
        # Saving that takes long is done less often: it never takes over a tenth of the time.
        self._last = time.monotonic() + 9 * (time.monotonic() - began)
        return path


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read.

    Attributes:
        path: The file.
        state: Its JSON: settings, plan, progress, network, optimizer groups.
        more: What the writer added.
        tensors: By member and name.
        notes: Newer files that could not be used, and why.
    """

    path: Path
    state: Mapping[str, Any]
    more: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]
    notes: tuple[str, ...]


def check_rhythm(seconds: float | None, epochs: int | None) -> None:
    """Refuse a rhythm of checkpoints that makes no sense.

    Raises:
        OptionError: Saying so.
    """
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise OptionError(
            f"checkpoint_seconds is {seconds!r}.", "Give a number from 0 up, or None."
        )
    if epochs is not None and (
        isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1
    ):
        raise OptionError(f"checkpoint_epochs is {epochs!r}.", "Give a whole number from 1 up.")


def write(training: Training, path: Path, data: str, more: Mapping[str, Any]) -> None:
    """Write a training's state into one file.

    Raises:
        OSError: The disk is full; the file is not there then.
    """
    network = training.network
    optimizer_tensors, optimizer_values = {}, {}
    for name, state in state_by_name(training.optimizer, network).items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                optimizer_tensors[f"{name}/{key}"] = value
            else:
                optimizer_values[f"{name}/{key}"] = value
    training.glasses  # noqa: B018 - brings progress.glasses up to date
    state = {
        "settings": training.settings.to_json(),
        "plan": dataclasses.asdict(training.plan),
        "progress": training.progress.to_json(),
        "learning_rate": training.learning_rate.to_json(),
        "groups": group_options(training.optimizer),
        "optimizer": optimizer_values,
        "network": training.first_network,
        "printed": training.first_printed,
        "gradient_norm": training.gradient_norm(),
        "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
        "queue": [edit.to_json() for edit in training._queue],
        "layers": [layer.to_json() for layer in training._layers],
        "data": data,
    }
    archive.write(
        path, "checkpoint", {"step": training.progress.steps, "torch": torch.__version__},
        json_members={"state": state, "more": dict(more)},
        tensors={
            "network": _weights(network), "best": _weights(training.best.network),
            "good": _weights(training.good.network), "optimizer": optimizer_tensors,
            "average": {} if training.average is None else training.average.values,
            "sums": training.sums.to_tensors(),
        },
        allow_nan=True,
    )  # fmt: skip


def read_newest(run: str | Path) -> Saved:
    """Read a run's newest checkpoint, or the newest one that is whole.

    Raises:
        RunError: There is none.
    """
    notes: list[str] = []
    for path in _files(Path(run) / FOLDER):
        try:
            return read(path, tuple(notes))
        except BundleError as error:
            notes.append(f"{path.name} cannot be used, so an older one is: {error}")
    why = f" ({notes[0]})" if notes else ""
    raise RunError(
        f"{Path(run)} has no checkpoint to go on from{why}.",
        "Give the folder of a run, or fit again.",
    )


def read_first(run: str | Path) -> Saved:
    """Read the checkpoint of a run's start, from which it can be replayed.

    Raises:
        RunError: It is not there.
        BundleError: It is damaged.
    """
    path = Path(run) / FOLDER / FIRST
    if not path.is_file():
        raise RunError(f"{path}, from which a replay starts, is not there.", "Fit again.")
    return read(path)


def read(path: Path, notes: tuple[str, ...] = ()) -> Saved:
    """Read one checkpoint.

    Raises:
        BundleError: It is not there, damaged, or no checkpoint.
    """
    found = archive.read(path, "checkpoint")
    if not {"state", "more"} <= found.json.keys():
        raise BundleError(f"{path} is no whole checkpoint.", "Use another one.")
    return Saved(path, found.json["state"], found.json["more"], found.tensors, notes)


def restore(
    saved: Saved,
    prepared: Prepared,
    *,
    sources: Path | None = None,
    network: nn.Module | NetworkMaker | str | None = None,
    optimizer: OptimizerMaker | None = None,
    schedule: Any = None,
) -> Training:
    """Make the training that a checkpoint holds.

    Raises:
        DataError: The prepared rows are others than those it was trained on.
        NetworkError: A network of your own is needed, or does not fit.
        OptionError: An optimizer or schedule of your own is needed.
        RunError: The checkpoint does not fit together.
    """
    state, tensors = saved.state, saved.tensors
    if data_fingerprint(prepared) != state["data"]:
        raise DataError(
            f"The rows are others than those that {saved.path} was trained on.",
            "Give the same table, split and preparation; or fit again.",
        )
    try:
        progress = Progress.from_json(state["progress"])
        settings = Settings.from_json(state["settings"], optimizer=optimizer, schedule=schedule)
        maker = network_maker(state["network"], network, sources)
        with torch.random.fork_rng(devices=[]):  # what a network draws and keeps in no state
            torch.manual_seed(settings.seed)
            first = make_network(maker, prepared.spec)
        if printed(first) != state["printed"]:
            raise NetworkError(
                f"The network is another than that of {saved.path}: {shorten(printed(first), 300)} in place "
                f"of {shorten(state['printed'], 300)}.",
                "Give the same network again: network=...",
            )
        training = Training(first, prepared, **settings.arguments(), plan=Plan(**state["plan"]))
        training.sources, training.first_network = sources, state["network"]
        training.first_printed = state["printed"]
        training.last_gradient_norm = state["gradient_norm"]
        training.progress = progress
        device = training.device

        edits = [edit_from_json(edit) for _, edit in progress.edits]
        now, best = _edited(first, edits, progress.best_edits, prepared.spec, sources)
        now.to(device).load_state_dict(tensors["network"])
        training.learning_rate.base = state["learning_rate"]["base"]
        made = make_optimizer(
            settings.optimizer, now, prepared.spec.outputs, settings.learning_rate, settings.weight_decay
        )  # fmt: skip
        training.take_network(now, made)
        for name, p in now.named_parameters():
            p.requires_grad_(name not in state["frozen"])
        set_state_by_name(made, now, _optimizer_state(state["optimizer"], tensors["optimizer"]))
        training.learning_rate.from_json(state["learning_rate"])
        set_group_options(made, state["groups"])
        if training.average is not None:
            training.average.set(
                {name: value.to(device) for name, value in tensors["average"].items()}
            )
        training.good.network.load_state_dict(tensors["good"])
        structure = training.structure if best is None else -2
        training.best = Kept(now if best is None else best.to(device), structure)
        training.best.network.load_state_dict(tensors["best"])
        training.sums.from_tensors(tensors["sums"], device)
        training._queue.extend(edit_from_json(edit) for edit in state["queue"])
        training._layers = [Layer(**layer) for layer in state["layers"]]
    except UserError:  # some of them are ValueErrors as well
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"{saved.path} does not fit together: {type(error).__name__}: {error}.",
            "Use the versions and the network that wrote it, or remove the file to use an older one.",
        ) from error
    for note in saved.notes:
        training.tell("warning", note)
    return training


def data_fingerprint(prepared: Prepared) -> str:
    """Hash the prepared training and validation rows."""
    found = hashlib.sha256(json.dumps(prepared.spec.to_json()).encode())
    for batch in (prepared.train, prepared.valid):
        for tensor in batch:
            if tensor is not None:
                found.update(str(tuple(tensor.shape)).encode())
                found.update(tensor.contiguous().numpy().data)
    return found.hexdigest()


def weights_fingerprint(network: nn.Module) -> str:
    """Hash a network's weights and their names: equal hashes are equal bits.

    Example:
        >>> import torch
        >>> from sightline.train.checkpoints import weights_fingerprint
        >>> network = torch.nn.Linear(2, 1)
        >>> before = weights_fingerprint(network)
        >>> _ = network.weight.data.add_(1e-3)
        >>> weights_fingerprint(network) == before
        False
    """
    found = hashlib.sha256()
    for name, tensor in _weights(network).items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


# ------------------------------------------------------------- helpers


def _files(folder: Path) -> list[Path]:
    """List a folder's checkpoints, the newest first; the name has the step."""
    return sorted(folder.glob(f"step-*{SUFFIX}"), reverse=True)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    state = network.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise NetworkError(
                f"{type(network).__name__} keeps {name!r} in its state, which is no tensor.",
                "Keep tensors alone there: parameters and buffers.",
            )
    return dict(state)


def _edited(
    first: nn.Module, edits: Sequence[Edit], best_edits: int, spec: Spec, sources: Path | None
) -> tuple[nn.Module, nn.Module | None]:
    """Give a network the structure it had, and return that of the best epoch where it was another."""
    network, best = first, None
    with torch.random.fork_rng(devices=[]):  # fresh weights are overwritten
        for place, edit in enumerate(edits):
            if isinstance(edit, STRUCTURAL):
                if place >= best_edits and best is None:
                    best = copy.deepcopy(network)
                network = restructure(edit, network, spec, sources)
    return network, best


def _optimizer_state(
    values: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> dict[str, dict[str, Any]]:
    state: dict[str, dict[str, Any]] = {}
    for place, value in [*values.items(), *tensors.items()]:
        name, _, key = place.rpartition("/")
        state.setdefault(name, {})[key] = value
    return state
