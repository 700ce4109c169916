"""Commands from other processes: JSON files in RUN/commands, read between two training steps.

A file holds one object with one key: `edits` with a list of edits; `pause`, `continue` or
`one_epoch` with true; `explain` with a row that the current network explains.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.archive import atomic_file
from sightline.contracts import Edit, edit_from_json
from sightline.errors import OptionError, UserError, shorten

if TYPE_CHECKING:
    from sightline.train.training import Training

COMMANDS_FOLDER = "commands"
SECONDS_BETWEEN_READS = 0.2
"""The least number of seconds between two reads of the folder."""
CONTROLS = ("pause", "continue", "one_epoch")
COMMAND_KINDS = ("edits", *CONTROLS, "explain")
LONGEST_ID = 64
CLOCK_TOLERANCE = 1.0
"""Seconds by which the clock of the file system may be behind that of the process."""
_COUNT = itertools.count()


@dataclass(frozen=True)
class Command:
    """One command to a training.

    Attributes:
        kind: One of `COMMAND_KINDS`.
        edits: The edits to apply, in order.
        id: Chosen by the sender, who finds the answer by it.
        row: The row to explain: column name to value.

    Example:
        >>> from sightline.train.commands import command_from_json
        >>> command_from_json({"pause": True}).kind
        'pause'
        >>> command_from_json({"edits": [{"edit": "Freeze", "name": "embeddings"}]}).edits
        (Freeze(name='embeddings'),)
    """

    kind: str
    edits: tuple[Edit, ...] = ()
    id: str = ""
    row: Mapping[str, Any] = field(default_factory=dict)


def command_from_json(data: Any) -> Command:
    """Read a command and check its form; the training checks whether it can carry it out.

    Raises:
        OptionError: It is not a command, or a part of it has the wrong type.

    Example:
        >>> from sightline.train.commands import command_from_json
        >>> command_from_json({"explain": {"id": "1", "row": {"island": None}}}).row
        {'island': None}
    """
    known = f"Give one of {', '.join(COMMAND_KINDS)}."
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:  # no record could hold it
        raise OptionError(
            "The command is nested too deeply, or holds half of a Unicode character.", known
        ) from error
    if not isinstance(data, Mapping):
        raise OptionError(f"A command is an object, not {_brief(data)}.", known)
    if len(data) != 1 or next(iter(data)) not in COMMAND_KINDS:
        names = ", ".join(_brief(name) for name in list(data)[:5]) or "nothing"
        raise OptionError(f"A command has exactly one known key; this one has {names}.", known)
    ((kind, value),) = data.items()
    if kind == "edits":
        return Command(kind, edits=_edits(value))
    if kind == "explain":
        return _explain(value)
    if value is not True:
        raise OptionError(f"{kind} is {_brief(value)}.", f'Send {{"{kind}": true}}.')
    return Command(kind)


def _edits(value: Any) -> tuple[Edit, ...]:
    if not isinstance(value, list) or not value:
        raise OptionError(f"edits is {_brief(value)}.", "Give a list of one edit or more.")
    edits = []
    for edit in value:
        if not isinstance(edit, Mapping) or not isinstance(edit.get("edit"), str | None):
            raise OptionError(
                f"{_brief(edit)} is no edit.", 'Write {"edit": "Freeze", "name": "hidden.0"}.'
            )
        try:
            edits.append(edit_from_json(edit))
        except ValueError as error:
            raise OptionError(f"{error}.", "Correct the edit and send it again.") from error
    return tuple(edits)


def _explain(value: Any) -> Command:
    form = 'Write {"explain": {"id": "1", "row": {"column": value, ...}}}.'
    if not isinstance(value, Mapping) or set(value) != {"id", "row"}:
        raise OptionError(f"explain is {_brief(value)}; it needs an id and a row.", form)
    id_, row = value["id"], value["row"]
    if not isinstance(id_, str) or not 1 <= len(id_) <= LONGEST_ID:
        raise OptionError(
            f"The id is {_brief(id_)}; it must be a string of 1 to {LONGEST_ID} characters.", form
        )
    if not isinstance(row, Mapping) or not row:
        raise OptionError(
            f"The row is {_brief(row)}; it must be an object with a value per column.", form
        )
    for name, cell in row.items():
        if not isinstance(cell, str | int | float | bool | None):
            raise OptionError(
                f"{_brief(name)} is {_brief(cell)}; a value is a string, a number, true, false or null.",
                form,
            )
    return Command("explain", id=id_, row=dict(row))


def _brief(value: Any) -> str:
    return shorten(json.dumps(value, default=str), 80)


class Commands:
    """Reads a run's commands while it trains.

    Args:
        training: The training that edits change.
        run: The run folder.
        obey: Called with each command other than `edits`; None refuses them.

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

    def __init__(
        self, training: Training, run: Path, obey: Callable[[Command], None] | None = None
    ) -> None:
        self.training, self.folder, self.obey = training, run / COMMANDS_FOLDER, obey
        self._began = time.time()
        self._next = 0.0
        self._unusable: set[str] = set()

    def after_step(self) -> None:
        """Read the commands, if the last read was at least `SECONDS_BETWEEN_READS` ago."""
        now = time.monotonic()
        if now >= self._next:
            self.read()
            self._next = now + SECONDS_BETWEEN_READS

    def read(self) -> None:
        """Carry out the command in each file; add an event for each that cannot be used."""
        for path in sorted(filter(Path.is_file, self.folder.glob("*.json"))):
            if path.name in self._unusable:
                continue
            try:
                sent = path.stat().st_mtime
                text = path.read_text("utf-8", errors="replace")
                path.unlink()
            except FileNotFoundError:  # the sender has withdrawn it
                continue
            except OSError as error:
                self._unusable.add(path.name)
                self.training.tell(
                    "refused",
                    f"the command file {path} cannot be read or removed: {error}",
                    {"file": path.name},
                )
                continue
            try:
                self._follow(command_from_json(json.loads(text)), sent)
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError, UserError) as error:  # fmt: skip
                self.training.tell(
                    "refused", f"a command was refused: {error}", {"file": path.name, "command": text[:1000]}
                )  # fmt: skip

    def _follow(self, command: Command, sent: float) -> None:
        if command.kind == "edits":
            self.training.edit(*command.edits)
        elif sent < self._began - CLOCK_TOLERANCE:
            raise OptionError(
                f"The command {command.kind!r} was sent before this run was resumed, so it is ignored.",
                "Send it again.",
            )
        elif command.kind in CONTROLS and self.training.stopped is not None:
            raise OptionError(f"Training has ended ({self.training.stopped}).", "Train again.")
        elif self.obey is None:
            raise OptionError(
                f"This training takes edits only, not the command {command.kind!r}.",
                "Send it to a run that `sl.fit` or `sightline fit` started.",
            )
        else:
            self.obey(command)


def send(run: Path, edits: Sequence[Edit]) -> str:
    """Send edits to a run: write them into its folder of commands, in one file.

    Returns:
        The file's name.
    """
    return write_command(run, {"edits": [edit.to_json() for edit in edits]})


def write_command(run: Path, command: Mapping[str, Any]) -> str:
    """Send a command to a run: write it as JSON into the run's folder of commands.

    Args:
        run: The run folder.
        command: In the form that `command_from_json` reads.

    Returns:
        The file's name; names sort in the order in which the commands were sent.
    """
    folder = run / COMMANDS_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{time.time_ns():020}-{os.getpid()}-{next(_COUNT):06}.json"
    with atomic_file(path) as file:
        file.write(json.dumps(command).encode())
    return path.name
