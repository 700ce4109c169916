"""Checkpoints: a training's whole state in one file, written atomically, restored bit for bit.

`TrainingState.state_dict` gives what is in the file: weights, optimizer, schedule, averages, the
best and the last good weights, the epoch's sums, the plan, the history. A fingerprint of the data is
added. Random generators need no entry: the order of the rows is a function of (seed, epoch), and
what dropout draws is one of (seed, step). Neither do gradients: a checkpoint is written between two
steps.
"""

from __future__ import annotations

import copy
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
from sightline.build.modes import drawing
from sightline.build.networks import NetworkMaker, make_network, network_maker
from sightline.contracts import Edit, Plan, Spec, edit_from_json
from sightline.contracts.options import CHECKPOINT_SECONDS, TrainingSettings
from sightline.contracts.rules import check_checkpoint_intervals
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
from sightline.train.data import data_fingerprint
from sightline.train.edits import STRUCTURAL, restructure
from sightline.train.facade import TrainingFacade
from sightline.train.optimizers import OptimizerMaker
from sightline.train.progress import Progress
from sightline.train.state import TrainingState, printed
from sightline.train.weights import weights_of

CHECKPOINTS_FOLDER = "checkpoints"
KEEP = 3
"""How many checkpoints are kept by default, the newest ones."""
SUFFIX = ".checkpoint"
FIRST = f"step-{0:012}{SUFFIX}"


class Checkpoints:
    """Writes a training's checkpoints into RUN/checkpoints during training.

    Each file holds the best weights so far as well as the current ones, so the best ones are never
    lost, whatever `keep` is.

    Args:
        training: The `sl.Training` to save.
        run: The run folder.
        seconds: Write at the first step after this many seconds; None writes none by time.
        epochs: Write after this many epochs; None writes none by epoch.
        keep: How many of the newest files are kept; the one of step 0 is kept besides.
        more: Returns what else to keep in the file, as JSON values.

    Raises:
        OptionError: A number outside its range, a schedule whose state is not JSON, or a folder that
            holds the checkpoints of another training.

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
        training: TrainingFacade,
        run: str | Path,
        *,
        seconds: float | None = CHECKPOINT_SECONDS,
        epochs: int | None = None,
        keep: int = KEEP,
        more: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        check_checkpoint_intervals(seconds, epochs)
        if keep < 1:
            raise OptionError(f"keep is {keep}.", "Keep one checkpoint or more.")
        self._state, self.folder = training.state, Path(run) / CHECKPOINTS_FOLDER
        learning_rate, progress = self._state.learning_rate, self._state.progress
        try:
            json.dumps(learning_rate.to_json())
        except TypeError as error:
            raise OptionError(
                f"The state of {type(learning_rate.scheduler).__name__} cannot be written to a "
                f"checkpoint: {error}.",
                "Choose another schedule, or one by name.",
            ) from error
        self.seconds, self.epochs, self.keep, self.more = seconds, epochs, keep, more
        self.folder.mkdir(parents=True, exist_ok=True)
        if not progress.steps and any(path.name != FIRST for path in _files(self.folder)):
            raise OptionError(
                f"{self.folder} holds the checkpoints of another training.",
                "Choose another folder, remove this one, or continue that training with "
                "sl.Training.resume.",
            )
        for partial in self.folder.glob(
            f".step-*{SUFFIX}.*.tmp"
        ):  # of a process killed while saving
            partial.unlink(missing_ok=True)
        self._data = data_fingerprint(self._state.prepared)
        self._last = time.monotonic()
        self._epoch = progress.epoch

    def after_step(self) -> Path | None:
        """Write a checkpoint if one is due, and return its file."""
        seconds, epochs = time.monotonic() - self._last, self._state.progress.epoch - self._epoch
        by_clock = self.seconds is not None and seconds >= self.seconds
        by_epochs = self.epochs is not None and epochs >= self.epochs
        return self.save() if by_clock or by_epochs else None

    def save(self) -> Path | None:
        """Write a checkpoint now.

        If the disk is full, training goes on: the older checkpoints stay, and an event says so.

        Returns:
            The file, or None where it could not be written.
        """
        progress = self._state.progress
        path = self.folder / f"step-{progress.steps:012}{SUFFIX}"
        began = time.monotonic()
        self._epoch = progress.epoch
        try:
            write(self._state, path, self._data, self.more() if self.more else {})
        except OSError as error:
            self._state.tell(
                "warning",
                f"no checkpoint at step {progress.steps:,}: {error.strerror or error}; older checkpoints "
                "are kept",
            )
            self._last = time.monotonic()
            return None
        files = _files(self.folder)
        now = files.index(path)  # newer files in the list were unreadable, or their steps undone
        for old in files[:now] + files[now + self.keep :]:
            if old.name != FIRST:  # a replay starts from it
                old.unlink(missing_ok=True)
        # A slow save is done less often: saving takes at most a tenth of the time.
        self._last = time.monotonic() + 9 * (time.monotonic() - began)
        return path


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that was read.

    Attributes:
        path: The file.
        state: The JSON values of `TrainingState.state_dict`, and the fingerprint of the data.
        more: What the writer added.
        tensors: The tensors of `TrainingState.state_dict`.
        notes: Why newer files could not be used.
    """

    path: Path
    state: Mapping[str, Any]
    more: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]
    notes: tuple[str, ...]


def write(state: TrainingState, path: Path, data: str, more: Mapping[str, Any]) -> None:
    """Write a training's state into one file.

    Args:
        state: The training's state.
        path: The file.
        data: From `data_fingerprint`.
        more: What else to keep, as JSON values.

    Raises:
        OSError: The disk is full; no partial file is left behind.
    """
    values, tensors = state.state_dict()
    archive.write(
        path, "checkpoint", {"step": state.progress.steps, "torch": torch.__version__},
        json_members={"state": {**values, "data": data}, "more": dict(more)}, tensors=tensors,
        allow_nan=True,
    )  # fmt: skip


def read_newest(run: str | Path) -> SavedCheckpoint:
    """Read a run's newest checkpoint that is complete and undamaged.

    Raises:
        RunError: There is none.
    """
    notes: list[str] = []
    for path in _files(Path(run) / CHECKPOINTS_FOLDER):
        try:
            return read(path, tuple(notes))
        except BundleError as error:
            notes.append(f"{path.name} cannot be used, so an older one is: {error}")
    why = f" ({notes[0]})" if notes else ""
    raise RunError(
        f"{Path(run)} has no checkpoint to resume from{why}.",
        "Give the folder of a run, or fit again.",
    )


def read_first(run: str | Path) -> SavedCheckpoint:
    """Read the checkpoint of a run's start, from which it can be replayed.

    Raises:
        RunError: There is none.
        BundleError: It is damaged.
    """
    path = Path(run) / CHECKPOINTS_FOLDER / FIRST
    if not path.is_file():
        raise RunError(f"A replay starts from {path}, which does not exist.", "Fit again.")
    return read(path)


def read(path: Path, notes: tuple[str, ...] = ()) -> SavedCheckpoint:
    """Read one checkpoint.

    Raises:
        BundleError: It does not exist, is damaged, is not a checkpoint, or has a newer version.
    """
    content = archive.read(path, "checkpoint")
    if not {"state", "more"} <= content.json.keys():
        raise BundleError(f"{path} is not a complete checkpoint.", "Use another one.")
    return SavedCheckpoint(
        path, content.json["state"], content.json["more"], content.tensors, notes
    )


def restored_state(
    saved: SavedCheckpoint,
    prepared: Prepared,
    *,
    sources: Path | None,
    network: nn.Module | NetworkMaker | str | None,
    optimizer: OptimizerMaker | None,
    schedule: Any,
) -> TrainingState:
    """Restore the state that a checkpoint holds; see `sightline.train.training.restore`."""
    values = saved.state
    if data_fingerprint(prepared) != values["data"]:
        raise DataError(
            f"The prepared rows differ from those that {saved.path} was trained on.",
            "Give the same table, split and preparation; or fit again.",
        )
    try:
        settings = TrainingSettings.from_json(
            values["settings"], optimizer=optimizer, schedule=schedule
        )
        first = _first_network(saved, prepared.spec, settings.seed, network, sources)
        state = TrainingState(first, prepared, settings, Plan(**values["plan"]))
        state.sources = sources
        progress = Progress.from_json(values["progress"])
        edits = [edit_from_json(edit) for _, edit in progress.edits]
        now, best = _edited(first, edits, progress.best_edits, prepared.spec, sources)
        state.load_state_dict(values, saved.tensors, now, best)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(
            f"The parts of {saved.path} do not fit together: {type(error).__name__}: {error}.",
            "Use the Sightline version and the network that wrote it, or remove the file to resume "
            "from an older one.",
        ) from error
    for note in saved.notes:
        state.tell("warning", note)
    return state


def _first_network(
    saved: SavedCheckpoint, spec: Spec, seed: int, network: nn.Module | NetworkMaker | str | None,
    sources: Path | None,
) -> nn.Module:  # fmt: skip
    """Build the network as it was before the first step.

    Raises:
        NetworkError: A network of your own is needed, or the one given is another.
    """
    maker = network_maker(saved.state["network"], network, sources)
    with drawing(seed):  # for random numbers that are in no state_dict
        first = make_network(maker, spec)
    given, kept = printed(first), saved.state["printed"]
    if given != kept:
        raise NetworkError(
            f"The network differs from that of {saved.path}: it is {shorten(given, 300)}, and was "
            f"{shorten(kept, 300)}.",
            "Give the same network again: network=...",
        )
    return first


def weights_fingerprint(network: nn.Module) -> str:
    """Hash a network's parameters and buffers with their names: equal hashes mean equal bits.

    Returns:
        A sha256, as 64 hexadecimal digits.

    Example:
        >>> import torch
        >>> from sightline.train.checkpoints import weights_fingerprint
        >>> network = torch.nn.Linear(2, 1)
        >>> before = weights_fingerprint(network)
        >>> _ = network.weight.data.add_(1e-3)
        >>> weights_fingerprint(network) == before
        False
    """
    digest = hashlib.sha256()
    for name, tensor in weights_of(network).items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


# ------------------------------------------------------------- helpers


def _files(folder: Path) -> list[Path]:
    """List a folder's checkpoints, the newest first, by the step in their names."""
    return sorted(folder.glob(f"step-*{SUFFIX}"), reverse=True)


def _edited(
    first: nn.Module, edits: Sequence[Edit], best_edits: int, spec: Spec, sources: Path | None
) -> tuple[nn.Module, nn.Module | None]:
    """Repeat the edits of structure; return the network, and that of the best epoch if it differs."""
    network, best = first, None
    with drawing():  # the fresh weights are overwritten
        for index, edit in enumerate(edits):
            if isinstance(edit, STRUCTURAL):
                if index >= best_edits and best is None:
                    best = copy.deepcopy(network)
                network = restructure(edit, network, spec, sources)
    return network, best
