"""Edits from other processes: files of JSON dropped into RUN/commands, read between two steps."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.archive import atomic_file
from sightline.contracts import Edit, edit_from_json
from sightline.errors import UserError

if TYPE_CHECKING:
    from sightline.train.training import Training

FOLDER = "commands"
SECONDS = 0.2


class Commands:
    """Reads a run's commands while it trains.

    Example:
        >>> import sightline as sl
        >>> from pathlib import Path
        >>> from sightline.train.commands import Commands, send
        >>> prepared = sl.prepare(sl.split(sl.read("examples/penguins.csv"), target="species"))
        >>> training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
        >>> commands = Commands(training, Path("runs/c"))
        >>> _ = send(Path("runs/c"), [sl.Widen("hidden.0", 128)])
        >>> commands.read()
        >>> _ = next(training.steps())
        >>> training.events[0].said
        'hidden.0 widened to 128 units: ...'
    """

    def __init__(self, training: Training, run: Path) -> None:
        self.training, self.folder = training, run / FOLDER
        self._next = 0.0
        self._unusable: set[str] = set()

    def after_step(self) -> None:
        """Look for commands, if the last look is not just over."""
        now = time.monotonic()
        if now >= self._next:
            self.read()
            self._next = now + SECONDS

    def read(self) -> None:
        """Queue the edits of every file there is; tell of those that cannot be used."""
        for path in sorted(filter(Path.is_file, self.folder.glob("*.json"))):
            if path.name in self._unusable:
                continue
            try:
                text = path.read_text("utf-8", errors="replace")
                path.unlink()
            except FileNotFoundError:  # taken back by who sent it
                continue
            except OSError as error:
                self._unusable.add(path.name)
                self.training.tell(
                    "refused", f"{path} cannot be taken: {error}", {"file": path.name}
                )
                continue
            try:
                said = json.loads(text)
                edits = [edit_from_json(edit) for edit in said["edits"]]
                self.training.edit(*edits)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError, UserError) as error:  # fmt: skip
                self.training.tell(
                    "refused", f"a command was refused: {error}", {"file": path.name, "command": text[:1000]}
                )  # fmt: skip


def send(run: Path, edits: Sequence[Edit]) -> str:
    """Drop edits into a run's folder, all in one file.

    Returns:
        The file's name.
    """
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020}-{os.getpid()}.json"
    with atomic_file(path) as file:
        file.write(json.dumps({"edits": [edit.to_json() for edit in edits]}).encode())
    return path.name
