"""Write and read `trace.jsonl`: one record a line, only ever added to."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sightline.contracts import Record
from sightline.errors import RunError

VERSION = 1
FILE = "trace.jsonl"
View = Callable[[Record], None]


class Trace:
    """The one writer of a run's records.

    Records go to the views at once and, from `save_to` on, to the file. Until then they are
    kept, so that a run refused before training leaves no folder behind.

    Args:
        views: Called with each record.

    Example:
        >>> from pathlib import Path
        >>> from sightline.trace.records import Trace, read_records
        >>> trace = Trace()
        >>> _ = trace.write("run", "start", {"target": "y", "loss": float("nan")})
        >>> trace.save_to(Path("runs/a"))
        >>> trace.close()
        >>> read_records(Path("runs/a"))[0][0].body["loss"]
        'NaN'
    """

    def __init__(self, views: Iterable[View] = ()) -> None:
        self.views = list(views)
        self.records: list[Record] = []
        self._file: IO[str] | None = None

    def write(self, stage: str, type_: str, body: Mapping[str, Any]) -> Record:
        """Add a record."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = Record(VERSION, len(self.records), 1, time, stage, type_, finite(body))
        self.records.append(record)
        if self._file is not None:
            self._put(record)
        for view in self.views:
            view(record)
        return record

    def save_to(self, folder: Path) -> None:
        """Make the run folder, and write the records so far and all to come into it.

        Raises:
            RunError: The folder exists already or cannot be made.
        """
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            raise taken(folder) from None
        except OSError as error:
            raise RunError(
                f"The run folder {folder} cannot be made: {error.strerror}.",
                "Choose another with --run.",
            ) from error
        self._file = (folder / FILE).open("x", encoding="utf-8", newline="\n")
        _lock(self._file)
        for record in self.records:
            self._put(record)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put(self, record: Record) -> None:
        assert self._file is not None
        # A whole line in one write: a reader sees it whole, or torn and without its line end.
        self._file.write(json.dumps(vars(record), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()


def taken(folder: Path) -> RunError:
    """Return the error for a run folder that exists already."""
    return RunError(
        f"The run folder {folder} exists already.", "Choose another with --run, or remove it."
    )


def finite(value: Any) -> Any:
    """Turn numbers that JSON lacks into the strings "NaN", "Infinity" and "-Infinity".

    Example:
        >>> from sightline.trace.records import finite
        >>> finite({"loss": [1.0, float("inf")]})
        {'loss': [1.0, 'Infinity']}
    """
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def number(value: Any) -> float:
    """Read a number that `finite` may have turned into a string.

    Example:
        >>> from sightline.trace.records import number
        >>> number("-Infinity"), number(2)
        (-inf, 2.0)
    """
    return float(value)


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """Read a run's records; of a resumed run, those of the last attempt.

    Returns:
        The records by `seq`, and what was found amiss (a torn last line), in words.

    Raises:
        RunError: There is no run, a line is damaged, or a newer Sightline wrote it.
    """
    path = folder / FILE
    if not path.is_file():
        raise RunError(
            f"{folder} is no run folder: it has no {FILE}.", "Give a folder that fit wrote."
        )
    lines = path.read_bytes().split(b"\n")
    notes: list[str] = []
    if lines.pop():  # what follows the last line end
        notes.append(f"{path} ends in a torn line, which is left out: the run was cut off.")
    kept: dict[int, Record] = {}
    attempt = 0
    for place, line in enumerate(lines, start=1):
        record = _read_line(path, place, line)
        if record.attempt > attempt:  # a resumed run takes over from its first record's seq
            attempt = record.attempt
            kept = {seq: old for seq, old in kept.items() if seq < record.seq}
        kept[record.seq] = record
    return [kept[seq] for seq in sorted(kept)], notes


def find(records: Sequence[Record], stage: str, type_: str) -> list[Record]:
    """Return the records of one type.

    Example:
        >>> from sightline.trace.records import Trace, find
        >>> trace = Trace()
        >>> _ = trace.write("train", "epoch", {"number": 0})
        >>> find(trace.records, "train", "epoch")[0].body["number"]
        0
    """
    return [record for record in records if (record.stage, record.type) == (stage, type_)]


def _read_line(path: Path, place: int, line: bytes) -> Record:
    try:
        fields = json.loads(line)
        version = fields["v"]
        if version <= VERSION:
            record = Record(**fields)
            if not all(isinstance(n, int) for n in (record.seq, record.attempt)):
                raise TypeError("seq and attempt are whole numbers")
            if not isinstance(record.body, dict):
                raise TypeError("body is an object")
            return record
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path}, line {place:,} is damaged ({error}).",
            "Restore the file, or make the run again.",
        ) from error
    raise RunError(
        f"{path} has records of version {version}; this Sightline reads up to {VERSION}.",
        "Install a newer Sightline (pip install --upgrade sightline).",
    )


def _lock(file: IO[str]) -> None:
    """Hold the file for this process alone, until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows: a file made with "x" and kept open is protection enough
        return
    fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
