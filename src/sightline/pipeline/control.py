"""Send edits and controls to a run that another process trains, and wait for the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline.contracts import Edit, Record
from sightline.errors import RunError
from sightline.trace.records import being_written, read_records
from sightline.train.commands import COMMANDS_FOLDER, send, write_command


def send_and_wait(run: Path, edits: Sequence[Edit], seconds: float) -> tuple[list[str], bool]:
    """Send edits to the process that makes a run, and wait for what comes of them.

    Returns:
        A sentence for each record about them, and whether any was refused. Of a run that is paused
        the one sentence that they wait.

    Raises:
        RunError: Nobody makes the run, or nothing was heard in time.
    """
    wanted = [edit.to_json() for edit in edits]
    before = _records_of_now(run)
    name = send(run, edits)
    taken = 0
    for records in _hear(run, len(before), name, seconds):
        found = [
            record for record in records
            if record.type in ("edit", "refused")
            and (record.body.get("edit") in wanted or record.body.get("file") == name)
        ]  # fmt: skip
        if len(found) >= len(wanted) or any("file" in record.body for record in found):
            return _said(found)
        taken += not (run / COMMANDS_FOLDER / name).exists()
        if taken > 3 and _is_paused([*before, *records]):  # it was read, and not refused
            return ["the run is paused: this is made when it continues"], False
    raise AssertionError("hearing ends with an answer or an error")


def control_and_wait(run: Path, control: str, seconds: float) -> tuple[list[str], bool]:
    """Pause a run, or let it go on, and wait until it says so.

    Args:
        run: The run folder.
        control: One of `sightline.train.commands.CONTROLS`.
        seconds: How long to wait.

    Returns:
        A sentence for the record about it, and whether it was refused.

    Raises:
        RunError: Nobody makes the run, or nothing was heard in time.
    """
    wanted = "paused" if control == "pause" else "continued"
    before = len(_records_of_now(run))
    name = write_command(run, {control: True})
    for records in _hear(run, before, name, seconds):
        found = [r for r in records if r.type == wanted or r.body.get("file") == name]
        if found:
            return _said(found[:1])
    raise AssertionError("hearing ends with an answer or an error")


def _records_of_now(run: Path) -> list[Record]:
    records, _ = read_records(run)
    if not being_written(run):
        raise RunError(
            f"No process is making the run {run}.", "Edit a run while it trains; or fit again."
        )
    return records


def _hear(run: Path, before: int, name: str, seconds: float) -> Iterator[list[Record]]:
    """Yield the training's records since a command was sent, again and again until the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        yield [record for record in read_records(run)[0][before:] if record.stage == "train"]
        if time.monotonic() > deadline or not being_written(run):
            (run / COMMANDS_FOLDER / name).unlink(missing_ok=True)
            raise RunError(
                f"The run {run} did not answer within {seconds:g} s: it may not train yet, or no more.",
                "Look at its records, and send the edit again.",
            )
        time.sleep(0.1)


def _said(records: Sequence[Record]) -> tuple[list[str], bool]:
    refused = any(record.type == "refused" for record in records)
    return [record.body["said"] for record in records], refused


def _is_paused(records: Sequence[Record]) -> bool:
    told = [record.type for record in records if record.type in ("paused", "continued", "end")]
    return told[-1:] == ["paused"]
