"""Write and read `trace.jsonl`: one record a line, only ever added to."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar

from sightline.contracts import Record
from sightline.errors import RunError

VERSION = 1
FILE = "trace.jsonl"
ASKED_SECONDS = 0.25  # `being_written` holds the lock for a moment to ask
View = Callable[[Record], None]
Body = TypeVar("Body")


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
        self.attempt = 1
        self._file: FileIO | None = None
        self._waiting: list[Record] = []
        self._torn = False

    @classmethod
    def go_on(cls, folder: Path, seq: int | None, views: Iterable[View] = ()) -> Trace:
        """Go on with a run's records from a number on: a new attempt, which takes over from there.

        Without a number nothing is taken over: the records are added behind the last.

        A torn last line, of a process that was killed while writing, is closed off by the first
        record.

        Raises:
            RunError: There is no run, its records are damaged, or another process writes them.
        """
        trace = cls(views)
        read_records(folder)  # refuses what is no run before a file is made
        trace._file = FileIO(folder / FILE, "a")
        try:
            _lock(trace._file, folder)
            records, _ = read_records(folder)  # as the process that held it until now left them
            trace._torn = (folder / FILE).read_bytes()[-1:] not in (b"\n", b"")
            trace.records = records[:seq]
            trace.attempt = max((record.attempt for record in records), default=0) + 1
        except BaseException:
            trace.close()
            raise
        return trace

    def write(self, stage: str, type_: str, body: Mapping[str, Any]) -> Record:
        """Add a record."""
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = Record(VERSION, len(self.records), self.attempt, time, stage, type_, finite(body))
        self.records.append(record)
        if self._file is not None:
            self._put(record)
        for view in self.views:
            view(record)
        return record

    def writer(self, body: type[Body]) -> Callable[[Body], Record]:
        """Return a function that adds records of one type, whose bodies mypy checks.

        Args:
            body: One of the types in `sightline.contracts.records.bodies`.

        Raises:
            KeyError: It is none of them.

        Example:
            >>> from sightline.contracts.records.load import LoadBatch
            >>> from sightline.trace.records import Trace
            >>> write = Trace().writer(LoadBatch)
            >>> write({"batch_size": 32, "batches": 9, "features": 7, "sentence": "32 rows"}).type
            'batch'
        """
        from sightline.contracts.records.bodies import TYPES  # readers do without them

        stage, type_ = TYPES[body]

        def write(body: Body) -> Record:
            assert isinstance(body, Mapping)
            return self.write(stage, type_, body)

        return write

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
        self._file = FileIO(folder / FILE, "x")
        _lock(self._file, folder)
        for record in self.records:
            self._put(record)

    def find(self, stage: str, type_: str) -> list[Record]:
        """Return the records of one type."""
        return find(self.records, stage, type_)

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: The disk is full: the last records are not written.
        """
        if self._file is not None:
            try:
                self._flush()
            finally:
                self._file.close()
                self._file = None

    def _put(self, record: Record) -> None:
        self._waiting.append(record)
        try:
            self._flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise  # a full disk stops no training: the records wait for room, or for close()

    def _flush(self) -> None:
        """Write the records that wait, each in one write: a reader sees it whole, or torn."""
        assert self._file is not None
        while self._waiting:
            line = json.dumps(vars(self._waiting[0]), ensure_ascii=False, allow_nan=False) + "\n"
            size = os.fstat(self._file.fileno()).st_size
            try:
                self._write(b"\n" * self._torn + line.encode())
            except OSError:
                self._file.truncate(self._file.seek(size))  # no half line stays
                raise
            self._torn = False
            self._waiting.pop(0)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        while data:
            data = data[self._file.write(data) :]


def taken(folder: Path) -> RunError:
    """Return the error for a run folder that exists already."""
    return RunError(
        f"The run folder {folder} exists already.", "Choose another with --run, or remove it."
    )


def busy(folder: Path) -> RunError:
    """Return the error for a run that another process is making."""
    return RunError(f"Another process is making the run {folder}.", "Wait for its end, or stop it.")


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


def rounded(value: Any, digits: int = 5) -> Any:
    """Round floats, in lists and mappings too, to so many significant digits, to keep records small.

    Example:
        >>> from sightline.trace.records import rounded
        >>> rounded({"loss": [0.123456789, 12345678.9], "rows": 3, "none": None})
        {'loss': [0.12346, 12346000.0], 'rows': 3, 'none': None}
    """
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
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
    if tail := lines.pop():  # what follows the last line end
        notes.append(f"{path} ends in a torn line, which is left out: the run was cut off.")
    kept: dict[int, Record] = {}
    attempt = 0
    torn: list[tuple[int, RunError]] = []
    for place, line in enumerate(lines, start=1):
        try:
            record = _read_line(path, place, line)
        except RunError as error:
            torn.append((place, error))  # of killed processes, if a new attempt goes on here
            continue
        if torn and record.attempt <= attempt:
            raise torn[0][1]
        notes += [f"{path}, line {n:,} is torn and left out: the run was cut off there." for n, _ in torn]  # fmt: skip
        torn = []
        if record.attempt > attempt:  # a resumed run takes over from its first record's seq
            attempt = record.attempt
            kept = {seq: old for seq, old in kept.items() if seq < record.seq}
        kept[record.seq] = record
    if torn and not tail:  # else a new attempt went on here, and was killed in its first record
        raise torn[0][1]
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


def being_written(folder: Path) -> bool:
    """Tell whether a process is writing a run's records, which is to say, making the run.

    Example:
        >>> from pathlib import Path
        >>> from sightline.trace.records import Trace, being_written
        >>> trace = Trace()
        >>> trace.save_to(Path("runs/b"))
        >>> being_written(Path("runs/b"))
        True
        >>> trace.close()
        >>> being_written(Path("runs/b"))
        False
    """
    try:
        import fcntl
    except ImportError:  # Windows has no such lock to ask
        return True
    with (folder / FILE).open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _lock(file: FileIO, folder: Path) -> None:
    """Hold the file for this process alone, until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows: a file made with "x" and kept open is protection enough
        return
    deadline = time.monotonic() + ASKED_SECONDS
    while True:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise busy(folder) from error
        time.sleep(0.01)
