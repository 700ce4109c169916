"""Follow a trace that grows: whole lines from a place on, and what they say of the run's state.

A follower keeps a place in the file and nothing else, so that a reader who is slow, or comes back
later, costs no memory.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sightline.trace.records import FILE, VERSION, being_written

CHUNK = 1 << 19
STATE_SECONDS = 0.2


@dataclass(frozen=True)
class Lines:
    """What a look at a trace found.

    Attributes:
        records: Each a line of JSON, without its line end.
        parsed: The same, read.
        end: The place in the file behind the last of them.
        trouble: What was found damaged, a sentence each.
    """

    records: tuple[bytes, ...]
    parsed: tuple[dict[str, Any], ...]
    end: int
    trouble: tuple[str, ...]


class Follower:
    """Reads a run's records as they are written, from a place on.

    A last line that is not whole yet waits. A damaged line is told of, unless a new attempt
    follows it: then it is the torn one of a process that was killed.

    Args:
        run: The run folder; it need not be there yet.
        start: The place in bytes; one that is no beginning of a line means 0.

    Example:
        >>> from pathlib import Path
        >>> from sightline.page.follow import Follower
        >>> from sightline.trace.records import Trace
        >>> trace, follower = Trace(), Follower(Path("runs/f"))
        >>> follower.look().end
        0
        >>> trace.save_to(Path("runs/f"))
        >>> _ = trace.write("train", "epoch", {"number": 0})
        >>> [record["body"] for record in follower.look().parsed], follower.look().parsed
        ([{'number': 0}], ())
        >>> trace.close()
    """

    def __init__(self, run: Path, start: int = 0) -> None:
        self.path = run / FILE
        self.place = start if self._is_boundary(start) else 0
        self._end = self.place
        self._attempt = 0
        self._bad: list[str] = []
        self._quiet = False  # nothing came since the last bad line

    def look(self) -> Lines:
        """Return the whole lines since the last look, up to some 512 KB of them."""
        data = self._read()
        records: list[bytes] = []
        parsed: list[dict[str, Any]] = []
        trouble: list[str] = []
        for line in data.split(b"\n")[:-1]:
            self.place += len(line) + 1
            text = line.replace(
                b"\r", b" "
            )  # JSON has it between values alone; an event ends there
            try:
                record = _record(text)
            except ValueError as error:
                self._bad.append(
                    f"{self.path}, the line that ends at byte {self.place:,}, is damaged ({error}) and "
                    "left out. Restore the file, or make the run again."
                )
                self._quiet = False
                continue
            if record["attempt"] <= self._attempt:
                trouble += self._bad
            self._bad, self._end = [], self.place
            self._attempt = max(self._attempt, record["attempt"])
            records.append(text)
            parsed.append(record)
        if self._bad and not data:
            if self._quiet:  # nobody goes on behind it
                trouble += self._bad
                self._bad = []
            self._quiet = True
        return Lines(tuple(records), tuple(parsed), self._end, tuple(trouble))

    def _read(self) -> bytes:
        """Read from the place on: a chunk, and on to the end of a line that is longer."""
        try:
            with self.path.open("rb") as file:
                if os.fstat(file.fileno()).st_size < self.place:  # another file than before
                    self.place = self._end = self._attempt = 0
                file.seek(self.place)
                data = file.read(CHUNK)
                while b"\n" not in data and (more := file.read(len(data))):
                    data += more
        except FileNotFoundError:
            return b""
        return data

    def _is_boundary(self, place: int) -> bool:
        if place <= 0:
            return place == 0
        try:
            with self.path.open("rb") as file:
                if place > os.fstat(file.fileno()).st_size:
                    return False
                file.seek(place - 1)
                return file.read(1) == b"\n"
        except FileNotFoundError:
            return False


def _record(text: bytes) -> dict[str, Any]:
    record = json.loads(text.decode(), parse_constant=_no_constant)
    if not isinstance(record, dict) or not isinstance(record.get("body"), dict):
        raise ValueError("it is no record")
    if not all(type(record.get(name)) is int for name in ("v", "seq", "attempt")):
        raise ValueError("v, seq and attempt are whole numbers")
    if not all(isinstance(record.get(name), str) for name in ("time", "stage", "type")):
        raise ValueError("time, stage and type are texts")
    if record["v"] > VERSION:
        raise ValueError(f"a newer Sightline wrote it, of version {record['v']}")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class State:
    """What is known of a run at this moment, asked of the file when somebody wants to know.

    Example:
        >>> import sightline as sl
        >>> from sightline.page.follow import State
        >>> run = sl.fit("examples/penguins.csv", target="species", epochs=1, quiet=True)
        >>> state = State(run.folder).now()
        >>> state["training"], state["paused"], state["waiting"]
        (False, False, False)
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.trained: dict[str, Any] | None = None  # the body of train/end
        self.ended = False
        self.writing_here = False  # the server itself adds a record
        self._follower = Follower(run)
        self._attempt = 0
        self._paused = False
        self._known: dict[str, Any] = {}
        self._asked = -STATE_SECONDS

    def now(self, fresh: bool = False) -> dict[str, Any]:
        """Return `training`, `paused`, `waiting` and `run`; not older than some moments."""
        if not fresh and time.monotonic() - self._asked < STATE_SECONDS:
            return self._known
        waiting = not (self.run / FILE).is_file()
        if not waiting:
            self._catch_up()
        training = not waiting and self.is_written()
        self._known = {
            "training": training, "paused": training and self._paused, "waiting": waiting,
            "run": self.run.name,
        }  # fmt: skip
        self._asked = time.monotonic()
        return self._known

    def is_written(self) -> bool:
        """Tell whether another process makes the run; without reading the file where locks tell."""
        if os.name == "nt":
            self._catch_up()
            return not self.writing_here and not self.ended
        try:
            return not self.writing_here and being_written(self.run)
        except FileNotFoundError:  # somebody removes the folder
            return False

    def _catch_up(self) -> None:
        while (found := self._follower.look()).records:
            for record in found.parsed:
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
