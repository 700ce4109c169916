"""Write and read `trace.jsonl`: one record per line; lines are only ever added."""

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

TRACE_VERSION = 1
TRACE_FILE = "trace.jsonl"
LOCK_SECONDS = 0.25  # how long to wait for the lock, which `being_written` holds for a moment
View = Callable[[Record], None]
Body = TypeVar("Body")


class Trace:
    """Writes a run's records; a run has one writer at a time.

    Each record is passed to the views at once. Records are written to the file from `save_to` on,
    which also writes the earlier ones. So a fit that fails before training leaves no folder.

    Args:
        views: Functions that are called with each record.

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
    def resume(cls, folder: Path, seq: int | None, views: Iterable[View] = ()) -> Trace:
        """Continue a run's records, as a new attempt.

        If a killed process left a last line without a line end, the first new record ends that line.

        Args:
            folder: The run folder.
            seq: Number of the first new record: it replaces the records from there on. None adds new
                records after the last.
            views: As in `Trace`.

        Raises:
            RunError: The folder has no records, they are damaged, or another process is writing them.
        """
        trace = cls(views)
        read_records(folder)  # raises before a file is made, if this is no run
        trace._file = FileIO(folder / TRACE_FILE, "a")
        try:
            lock(trace._file, folder)
            records, _ = read_records(folder)  # again: another process may have written until now
            trace._torn = (folder / TRACE_FILE).read_bytes()[-1:] not in (b"\n", b"")
            trace.records = records[:seq]
            trace.attempt = max((record.attempt for record in records), default=0) + 1
        except BaseException:
            trace.close()
            raise
        return trace

    def write(self, stage: str, type_: str, body: Mapping[str, Any]) -> Record:
        """Add a record.

        Args:
            stage, type_: Which record it is; `docs/trace.md` lists them.
            body: Its contents; numbers that JSON lacks are written as `finite` does.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = Record(
            TRACE_VERSION, len(self.records), self.attempt, now, stage, type_, finite(body)
        )
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
        from sightline.contracts.records.bodies import TYPES  # reading needs no types

        stage, type_ = TYPES[body]

        def write(body: Body) -> Record:
            assert isinstance(body, Mapping)
            return self.write(stage, type_, body)

        return write

    def save_to(self, folder: Path) -> None:
        """Create the run folder, write the records so far into it, and from now on each new one.

        Raises:
            RunError: The folder exists already and is not empty, or cannot be created.
        """
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if is_taken(folder):
                raise taken(folder) from None
        except OSError as error:
            raise RunError(
                f"The run folder {folder} cannot be created: {error.strerror}.",
                "Choose another with --run.",
            ) from error
        try:
            self._file = FileIO(folder / TRACE_FILE, "x")  # of two processes one gets the folder
        except FileExistsError:
            raise taken(folder) from None
        lock(self._file, folder)
        for record in self.records:
            self._put(record)

    def find(self, stage: str, type_: str) -> list[Record]:
        """Return the records of one type."""
        return find(self.records, stage, type_)

    def close(self) -> None:
        """Close the file.

        Raises:
            OSError: The disk is full, so the last records are not written.
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
                raise  # a full disk does not stop training: records wait for the next one, or for close()

    def _flush(self) -> None:
        """Write the waiting records, each in one write: a reader sees a whole line or one without an end."""
        assert self._file is not None
        while self._waiting:
            line = json.dumps(vars(self._waiting[0]), ensure_ascii=False, allow_nan=False) + "\n"
            size = os.fstat(self._file.fileno()).st_size
            try:
                self._write(b"\n" * self._torn + line.encode())
            except OSError:
                self._file.truncate(self._file.seek(size))  # remove the part that was written
                raise
            self._torn = False
            self._waiting.pop(0)

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        while data:
            data = data[self._file.write(data) :]


def is_taken(folder: Path) -> bool:
    """Tell whether a path cannot become a run folder: it is a file, or a folder that is not empty."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def taken(folder: Path) -> RunError:
    """Return the error for a run folder that exists already."""
    return RunError(
        f"The run folder {folder} exists already.", "Choose another with --run, or remove it."
    )


def busy(folder: Path) -> RunError:
    """Return the error for a run that another process is making."""
    return RunError(f"Another process is making the run {folder}.", "Wait for its end, or stop it.")


def finite(value: Any) -> Any:
    """Replace numbers that JSON lacks by the texts "NaN", "Infinity" and "-Infinity".

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
    """Round floats to some significant digits, in lists and mappings too, to keep records small.

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
    """Read a run's records.

    In a resumed run, each attempt replaces the earlier attempts' records from its first `seq` on.

    Returns:
        The records in the order of `seq`, and notes in words, such as on a last line that was cut off.

    Raises:
        RunError: The folder has no records, a line is damaged, or a newer Sightline wrote it.
    """
    path = folder / TRACE_FILE
    if not path.is_file():
        raise RunError(
            f"{folder} is no run folder: it has no {TRACE_FILE}.", "Give a folder that fit wrote."
        )
    lines = path.read_bytes().split(b"\n")
    notes: list[str] = []
    if tail := lines.pop():  # what follows the last line end
        notes.append(
            f"{path} ends with an incomplete line, which is ignored: the run was interrupted."
        )
    kept: dict[int, Record] = {}
    attempt = 0
    torn: list[tuple[int, RunError]] = []
    for number, line in enumerate(lines, start=1):
        try:
            record = _read_line(path, number, line)
        except RunError as error:
            torn.append((number, error))  # left by a killed process, if a new attempt follows
            continue
        if torn and record.attempt <= attempt:
            raise torn[0][1]
        notes += [f"{path}, line {n:,} is incomplete and ignored: the run was interrupted there." for n, _ in torn]  # fmt: skip
        torn = []
        if record.attempt > attempt:  # it replaces older records from its first seq on
            attempt = record.attempt
            kept = {seq: old for seq, old in kept.items() if seq < record.seq}
        kept[record.seq] = record
    if torn and not tail:  # with a tail, a new attempt followed and was killed in its first record
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


def _read_line(path: Path, number: int, line: bytes) -> Record:
    try:
        fields = json.loads(line)
        version = fields["v"]
        if version <= TRACE_VERSION:
            record = Record(**fields)
            if not all(isinstance(n, int) for n in (record.seq, record.attempt)):
                raise TypeError("seq and attempt must be whole numbers")
            if not isinstance(record.body, dict):
                raise TypeError("body must be an object")
            return record
    except (ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{path}, line {number:,} is damaged ({error}).",
            "Restore the file, or make the run again.",
        ) from error
    raise RunError(
        f"{path} has records of version {version}; this Sightline reads up to {TRACE_VERSION}.",
        "Install a newer Sightline (pip install --upgrade sightline).",
    )


def being_written(folder: Path) -> bool:
    """Tell whether a process is writing a run's records: the run is not complete, and not interrupted.

    True on systems without file locks (Windows), where this cannot be checked.

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
    except ImportError:  # Windows
        return True
    with (folder / TRACE_FILE).open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def lock(file: FileIO, folder: Path) -> None:
    """Lock the file for this process until it is closed.

    Raises:
        RunError: Another process holds the lock.
    """
    try:
        import fcntl
    except ImportError:  # Windows: a file that is open cannot be created again
        return
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise busy(folder) from error
        time.sleep(0.01)
