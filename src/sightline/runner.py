"""What looks on while a fit trains: checkpoints, commands, a watched file, signals, edits to replay.

Each is a consumer of the training's steps, called after every one; none is inside the loop.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from types import FrameType
from typing import Any

from sightline.contracts import Edit, Record, Step, edit_from_json
from sightline.errors import Interrupted, RunError
from sightline.story import Story
from sightline.trace.records import being_written, read_records
from sightline.train.checkpoints import Checkpoints, Saved
from sightline.train.commands import FOLDER, Commands, send
from sightline.train.training import Training
from sightline.train.watch import Watch


class Runner:
    """The training of one fit, with all that looks on.

    Args:
        story: Writes the records.
        training: To train.
        run: The run folder.
        checkpoint_seconds, checkpoint_epochs: How often to write checkpoints.
        more: What the checkpoints keep besides the training; they keep the edits to make again too.
        replayed: Edits to make again, as (steps done then, edit).
        watch: "file.py:Class" to load anew whenever it is saved.
    """

    def __init__(
        self,
        story: Story,
        training: Training,
        run: Path,
        *,
        checkpoint_seconds: float | None,
        checkpoint_epochs: int | None,
        more: dict[str, Any],
        replayed: Sequence[tuple[int, Edit]] = (),
        watch: str | None = None,
    ) -> None:
        self.story, self.training, self.run = story, training, run
        training.sources = run / "sources"
        self.more = more
        self.checkpoints = Checkpoints(
            training, run, seconds=checkpoint_seconds, epochs=checkpoint_epochs,
            more=lambda: {
                **more, "records": len(story.trace.records),
                "later": [[step, edit.to_json()] for step, edit in self.replayed],
            },
        )  # fmt: skip
        self.commands = Commands(training, run)
        self.watch = None if watch is None else Watch(training, watch, run / "sources")
        self.replayed = list(replayed)

    def steps(self) -> Iterator[Step]:
        """Train to the end.

        Raises:
            Interrupted: SIGINT or SIGTERM came: a checkpoint is written, the run can be resumed.
        """
        with heard() as signals:
            if self.training.stopped is None and not signals:
                self.checkpoints.save()
            self._make_again()
            for step in self.story.steps(self.training):
                yield step
                self._make_again()
                self.commands.after_step()
                if self.watch is not None:
                    self.watch.after_step()
                if signals and self.training.stopped is None:
                    written = self.checkpoints.save() is not None
                    self.story.catch_up(self.training)
                    raise Interrupted(signals[0], self.run, step.number, written)
                self.checkpoints.after_step()
            self.checkpoints.save()

    def _make_again(self) -> None:
        """Queue the edits that were made at this step the first time."""
        while self.replayed and self.replayed[0][0] <= self.training.progress.steps:
            self.training.edit(self.replayed.pop(0)[1])


def edits_of(records: Sequence[Record]) -> list[tuple[int, Edit]]:
    """Return the edits in a run's records, with the steps that were done before each."""
    return [
        (record.body["step"], edit_from_json(record.body["edit"]))
        for record in records
        if (record.stage, record.type) == ("train", "edit")
    ]


def edits_left(
    records: Sequence[Record], saved: Saved, training: Training
) -> list[tuple[int, Edit]]:
    """Return the edits that a resumed training must make again, with the steps done before each.

    Those recorded since its checkpoint, and those that the attempt which wrote that was itself
    still to make again; what waited in the checkpoint is queued already.
    """
    left = edits_of(records)[len(training.progress.edits) :]
    known = Counter((int(step), edit_from_json(edit)) for step, edit in saved.more["later"])
    left += (known - Counter(left)).elements()
    for edit in training._queue:
        if (training.progress.steps, edit) in left:
            left.remove((training.progress.steps, edit))
    return sorted(left, key=itemgetter(0))


def send_and_wait(run: Path, edits: Sequence[Edit], seconds: float) -> tuple[list[str], bool]:
    """Send edits to the process that makes a run, and wait for what comes of them.

    Returns:
        A sentence for each record about them, and whether any was refused.

    Raises:
        RunError: Nobody makes the run, or nothing was heard in time.
    """
    before, _ = read_records(run)
    if not being_written(run):
        raise RunError(
            f"No process is making the run {run}.", "Edit a run while it trains; or fit again."
        )
    name = send(run, edits)
    wanted = [edit.to_json() for edit in edits]
    deadline = time.monotonic() + seconds
    while True:
        records = [
            record for record in read_records(run)[0][len(before) :]
            if record.stage == "train" and record.type in ("edit", "refused")
            and (record.body.get("edit") in wanted or record.body.get("file") == name)
        ]  # fmt: skip
        refused = any(record.type == "refused" for record in records)
        if len(records) >= len(wanted) or any("file" in record.body for record in records):
            return [record.body["said"] for record in records], refused
        if time.monotonic() > deadline or not being_written(run):
            (run / FOLDER / name).unlink(missing_ok=True)
            raise RunError(
                f"The run {run} did not answer within {seconds:g} s: it may not train yet, or no more.",
                "Look at its records, and send the edit again.",
            )
        time.sleep(0.1)


@contextmanager
def heard() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one stops at once.

    Outside the main thread Python allows no handlers, and nothing changes.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def hear(number: int, frame: FrameType | None) -> None:
        if signals:
            signal.signal(number, before[number])
            raise KeyboardInterrupt
        signals.append(number)

    watched: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, hear) for number in watched}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
