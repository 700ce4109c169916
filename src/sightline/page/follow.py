"""Follow a trace that is being written: its new lines, and the state of the run.

A follower keeps only a position in the file, so a slow reader, or one that reconnects later, costs
no memory.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sightline.trace.records import TRACE_FILE, TRACE_VERSION, being_written

CHUNK_BYTES = 1 << 19
STATE_SECONDS = 0.2


@dataclass(frozen=True)
class Lines:
    """New lines of a trace.

    Attributes:
        records: The JSON text of each record, without its line end.
        parsed: The same records, parsed.
        end: The position in the file after the last record, in bytes.
        problems: A sentence for each damaged line.
    """

    records: tuple[bytes, ...]
    parsed: tuple[dict[str, Any], ...]
    end: int
    problems: tuple[str, ...]


class Follower:
    """Reads a run's records as they are written, from a position on.

    A last line without a line end is incomplete: it is read again later. A damaged line is reported, unless the
    records of a new attempt follow it: then it is the incomplete line of a killed process.

    Args:
        run: The run folder; it need not exist yet.
        start: The position in bytes; if no line begins there, it is 0.

    Example:
        >>> from pathlib import Path
        >>> from sightline.page.follow import Follower
        >>> from sightline.trace.records import Trace
        >>> trace, follower = Trace(), Follower(Path("runs/f"))
        >>> follower.read().end
        0
        >>> trace.save_to(Path("runs/f"))
        >>> _ = trace.write("train", "epoch", {"number": 0})
        >>> [record["body"] for record in follower.read().parsed], follower.read().parsed
        ([{'number': 0}], ())
        >>> trace.close()
    """

    def __init__(self, run: Path, start: int = 0) -> None:
        self.path = run / TRACE_FILE
        self.position = start if self._is_line_start(start) else 0
        self._end = self.position
        self._attempt = 0
        self._damaged: list[str] = []
        self._waited = False  # the last read since a damaged line brought no data

    def read(self) -> Lines:
        """Return the complete lines since the last call, up to about 512 KB."""
        data = self._read_bytes()
        records: list[bytes] = []
        parsed: list[dict[str, Any]] = []
        problems: list[str] = []
        for line in data.split(b"\n")[:-1]:
            self.position += len(line) + 1
            text = line.replace(b"\r", b" ")  # it ends an event; JSON has it only between values
            try:
                record = _record(text)
            except ValueError as error:
                self._damaged.append(
                    f"{self.path}, the line that ends at byte {self.position:,}, is damaged ({error}) and "
                    "left out. Restore the file, or repeat the run."
                )
                self._waited = False
                continue
            if record["attempt"] <= self._attempt:
                problems += self._damaged
            self._damaged, self._end = [], self.position
            self._attempt = max(self._attempt, record["attempt"])
            records.append(text)
            parsed.append(record)
        if self._damaged and not data:
            if self._waited:  # no new attempt follows
                problems += self._damaged
                self._damaged = []
            self._waited = True
        return Lines(tuple(records), tuple(parsed), self._end, tuple(problems))

    def _read_bytes(self) -> bytes:
        """Read one chunk from the position on, more if a line is longer."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self.position:  # the file was replaced
                    self.position = self._end = self._attempt = 0
                file.seek(self.position)
                data = file.read(CHUNK_BYTES)
                while b"\n" not in data and (next_part := file.read(len(data))):
                    data += next_part
        except FileNotFoundError:
            return b""
        return data

    def _is_line_start(self, position: int) -> bool:
        if position <= 0:
            return position == 0
        try:
            with self.path.open("rb") as file:
                if position > os.fstat(file.fileno()).st_size:
                    return False
                file.seek(position - 1)
                return file.read(1) == b"\n"
        except FileNotFoundError:
            return False


def _record(text: bytes) -> dict[str, Any]:
    record = json.loads(text.decode(), parse_constant=_no_constant)
    if not isinstance(record, dict) or not isinstance(record.get("body"), dict):
        raise ValueError("it is not a record")
    if not all(type(record.get(name)) is int for name in ("v", "seq", "attempt")):
        raise ValueError("v, seq and attempt must be integers")
    if not all(isinstance(record.get(name), str) for name in ("time", "stage", "type")):
        raise ValueError("time, stage and type must be texts")
    if record["v"] > TRACE_VERSION:
        raise ValueError(f"it was written by a newer Sightline, record version {record['v']}")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


class RunState:
    """The current state of a run, read from its trace when it is asked for.

    Args:
        run: The run folder; it need not exist yet.

    Attributes:
        trained: The body of `train/end`; None until training has ended.
        ended: Whether the run has its last record.
        writing_here: Whether this process is adding a record, and so holds the lock itself.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.follow import RunState
        >>> run = sl.fit("examples/penguins.csv", target="species", quality="fast", epochs=1, quiet=True)
        >>> state = RunState(run.folder).now()
        >>> state["training"], state["paused"], state["waiting"]
        (False, False, False)
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.trained: dict[str, Any] | None = None
        self.ended = False
        self.writing_here = False
        self._follower = Follower(run)
        self._attempt = 0
        self._paused = False
        self._known: dict[str, Any] = {}
        self._read_at = -STATE_SECONDS

    def now(self, fresh: bool = False) -> dict[str, Any]:
        """Return `training`, `paused`, `waiting` and `run`, at most 0.2 s old; `fresh` reads them now."""
        if not fresh and time.monotonic() - self._read_at < STATE_SECONDS:
            return self._known
        waiting = not (self.run / TRACE_FILE).is_file()
        if not waiting:
            self._catch_up()
        training = not waiting and self.is_written()
        self._known = {
            "training": training, "paused": training and self._paused, "waiting": waiting,
            "run": self.run.name,
        }  # fmt: skip
        self._read_at = time.monotonic()
        return self._known

    def is_written(self) -> bool:
        """Return whether another process is writing the run: by its lock, on Windows by the records."""
        if os.name == "nt":
            self._catch_up()
            return not self.writing_here and not self.ended
        try:
            return not self.writing_here and being_written(self.run)
        except FileNotFoundError:  # the folder was removed
            return False

    def _catch_up(self) -> None:
        while (lines := self._follower.read()).records:
            for record in lines.parsed:
                self._take(record)

    def _take(self, record: dict[str, Any]) -> None:
        if record["attempt"] > self._attempt and record["type"] != "asked":
            self.trained, self.ended, self._paused = None, False, False
        self._attempt = max(self._attempt, record["attempt"])
        match record["stage"], record["type"]:
            case "train", "paused":
                self._paused = True
            case "train", "continued" | "end":
                self._paused = False
                if record["type"] == "end":
                    self.trained = record["body"]
            case "run", "end":
                self.ended = True
