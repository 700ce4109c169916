"""What looks on while a fit trains: checkpoints, commands, a watched file, signals, edits to replay.

Each is a consumer of the training's steps, called after every one; none is inside the loop. A pause
is a consumer that takes its time: the training's own clock does not run meanwhile.
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

from sightline.contracts import Edit, Record, Step, Stop, edit_from_json
from sightline.errors import Interrupted
from sightline.evaluate.asked import answer
from sightline.pipeline.recorder import Story
from sightline.train.checkpoints import Checkpoints, Saved
from sightline.train.commands import Command, Commands
from sightline.train.training import Training
from sightline.train.watch import Watch

PAUSED_LOOKS = 0.05  # seconds between two looks for commands and signals


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
        self.commands = Commands(training, run, self._obey)
        self.paused = False
        self._pause_at: int | None = None  # this many epochs are done
        self.watch = None if watch is None else Watch(training, watch, run / "sources")
        self.replayed = list(replayed)

    def steps(self) -> Iterator[Step]:
        """Train to the end.

        Raises:
            Interrupted: SIGINT or SIGTERM came: a checkpoint is written, the run can be resumed.
        """
        with heard() as signals:
            if self.training.stopped is None and not signals:
                self._record(self.checkpoints.save())
            self._make_again()
            for step in self.story.steps(self.training):
                yield step
                self._make_again()
                self._look(signals)
                if signals and self.training.stopped is None:
                    written = self._record(self.checkpoints.save())
                    self.story.catch_up(self.training)
                    raise Interrupted(signals[0], self.run, step.number, written)
                self._record(self.checkpoints.after_step())
            self._record(self.checkpoints.save())

    def _record(self, checkpoint: Path | None) -> bool:
        """Record a checkpoint, if one was written.

        Its record follows it and is not among those that it counts: what goes on from a checkpoint
        begins by writing it again, and its record with it. So each file has one record, and a process
        killed between the two leaves nothing amiss.
        """
        if checkpoint is not None:
            self.story.checkpoint(self.training, checkpoint)
        return checkpoint is not None

    def _look(self, signals: Sequence[int]) -> None:
        """Take commands and a saved file; hold the training here for as long as it is paused."""
        self.commands.after_step()
        if self.watch is not None:
            self.watch.after_step()
        if self.training.stopped is not None:
            return
        if self._pause_at is not None and len(self.training.history) > self._pause_at:
            self._pause()
        while self.paused and not signals:
            if any(isinstance(edit, Stop) for edit in self.training.waiting):
                self._go_on("goes on to stop")
                break
            self.story.catch_up(self.training)
            time.sleep(PAUSED_LOOKS)
            self.commands.read()
            if self.watch is not None:
                self.watch.after_step()

    def _obey(self, command: Command) -> None:
        """Follow a command that is no edit."""
        if command.kind == "pause":
            self._pause()
        elif command.kind == "continue":
            self._go_on("goes on")
        elif command.kind == "one_epoch":
            self._go_on(f"goes on to the end of epoch {self.training.progress.epoch}, then pauses")
            self._pause_at = len(self.training.history)
        else:
            self._explain(command)

    def _pause(self) -> None:
        self.paused, self._pause_at = True, None
        self._tell("paused", "paused; edits that are sent now are made when it goes on")

    def _go_on(self, said: str) -> None:
        self.paused, self._pause_at = False, None
        self._tell("continued", said)

    def _tell(self, type_: str, said: str) -> None:
        progress = self.training.progress
        self.story.catch_up(self.training)
        self.story.trace.write("train", type_, {
            "step": progress.steps, "epoch": progress.epoch, "said": said,
        })  # fmt: skip

    def _explain(self, command: Command) -> None:
        """Follow a row through the network of now; whatever is wrong with it is said, not raised."""
        progress = self.training.progress
        self.story.catch_up(self.training)
        said = f"asked after step {progress.steps:,}, in epoch {progress.epoch}"
        self.story.trace.write("predict", "asked", answer(
            lambda: self.training.model(best=False), command, progress.steps, progress.epoch, said
        ))  # fmt: skip

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
    for edit in training.waiting:
        if (training.progress.steps, edit) in left:
            left.remove((training.progress.steps, edit))
    return sorted(left, key=itemgetter(0))


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
