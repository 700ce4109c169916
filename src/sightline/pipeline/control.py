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
    """Send edits to the process that trains a run, and wait for the records about them.

    Returns:
        A sentence for each record about them, and whether any was refused. For a paused run, one
        sentence that says that the edits wait.

    Raises:
        RunError: No process trains the run, or it did not answer in time.
    """
    wanted = [edit.to_json() for edit in edits]
    before = _current_records(run)
    name = send(run, edits)
    taken = 0
    for records in _new_records(run, len(before), name, seconds):
        answers = [
            record for record in records
            if record.type in ("edit", "refused")
            and (record.body.get("edit") in wanted or record.body.get("file") == name)
        ]  # fmt: skip
        if len(answers) >= len(wanted) or any("file" in record.body for record in answers):
            return _sentences(answers)
        taken += not (run / COMMANDS_FOLDER / name).exists()
        if taken > 3 and _is_paused([*before, *records]):  # they were read, and not refused
            return ["the run is paused: the edits are applied when it continues"], False
    raise AssertionError("_new_records ends with an answer or an error")


def control_and_wait(run: Path, control: str, seconds: float) -> tuple[list[str], bool]:
    """Pause or continue a run, and wait until it confirms that.

    Args:
        run: The run folder.
        control: One of `sightline.train.commands.CONTROLS`.
        seconds: How long to wait.

    Returns:
        A sentence for the record about it, and whether it was refused.

    Raises:
        RunError: No process trains the run, or it did not answer in time.
    """
    wanted = "paused" if control == "pause" else "continued"
    before = len(_current_records(run))
    name = write_command(run, {control: True})
    for records in _new_records(run, before, name, seconds):
        answers = [r for r in records if r.type == wanted or r.body.get("file") == name]
        if answers:
            return _sentences(answers[:1])
    raise AssertionError("_new_records ends with an answer or an error")


def _current_records(run: Path) -> list[Record]:
    records, _ = read_records(run)
    if not being_written(run):
        raise RunError(
            f"No process is training the run {run}.",
            "Send edits while the run trains, or fit again.",
        )
    return records


def _new_records(run: Path, before: int, name: str, seconds: float) -> Iterator[list[Record]]:
    """Yield the training's records since a command was sent, ten times a second, until the timeout."""
    deadline = time.monotonic() + seconds
    while True:
        yield [record for record in read_records(run)[0][before:] if record.stage == "train"]
        if time.monotonic() > deadline or not being_written(run):
            (run / COMMANDS_FOLDER / name).unlink(missing_ok=True)
            raise RunError(
                f"The run {run} did not answer within {seconds:g} s: its training may not have started yet, "
                "or has ended.",
                "Look at its records, then send the command again.",
            )
        time.sleep(0.1)


def _sentences(records: Sequence[Record]) -> tuple[list[str], bool]:
    refused = any(record.type == "refused" for record in records)
    return [record.body["said"] for record in records], refused


def _is_paused(records: Sequence[Record]) -> bool:
    states = [record.type for record in records if record.type in ("paused", "continued", "end")]
    return states[-1:] == ["paused"]
