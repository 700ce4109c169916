"""Handles checkpoints, commands, a watched file, signals and repeated edits while a training runs.

It passes the steps of the training through and acts between two of them; the training loop does not
know it. To pause, it delays the next step: the training's own clock does not run meanwhile.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from types import FrameType

from sightline.contracts import Edit, Record, Step, Stop, edit_from_json
from sightline.errors import Interrupted
from sightline.evaluate.typed_row import answer
from sightline.pipeline.deadline import Deadline
from sightline.pipeline.flow import Loaded, Observer
from sightline.pipeline.recorder import Recorder
from sightline.train.checkpoints import Checkpoints, SavedCheckpoint
from sightline.train.commands import Command, Commands
from sightline.train.training import Training
from sightline.train.watch import Watch

PAUSE_SECONDS = 0.05  # between two checks for commands and signals while paused


class Runner(Observer):
    """Handles everything that happens to a training between two steps.

    Args:
        recorder: Writes the records.
        folder: The run folder.
        edits: Returns the edits to repeat, as (steps done before it, edit).
        deadline: The clock of the time limit; pauses do not count.
        checkpoint_seconds, checkpoint_epochs: How often to write checkpoints.
        watch: "file.py:Class" to reload whenever it is saved.
    """

    def __init__(
        self,
        recorder: Recorder,
        folder: Path,
        edits: Callable[[Training], list[tuple[int, Edit]]],
        deadline: Deadline,
        *,
        checkpoint_seconds: float | None,
        checkpoint_epochs: int | None,
        watch: str | None = None,
    ) -> None:
        self.recorder, self.folder = recorder, folder
        self._edits, self._deadline, self._watched = edits, deadline, watch
        self._intervals = (checkpoint_seconds, checkpoint_epochs)
        self.paused = False
        self._pause_at: int | None = None  # the number of epochs after which to pause

    def loaded(self, loaded: Loaded) -> None:
        """Keep the options and decisions for the checkpoints."""
        self._decisions = loaded.decisions.to_json()

    def begins(self, training: Training) -> None:
        """Open the folder of checkpoints, and start to check for commands and the watched file."""
        self.training = training
        training.sources = self.folder / "sources"
        seconds, epochs = self._intervals
        self.checkpoints = Checkpoints(
            training, self.folder, seconds=seconds, epochs=epochs,
            more=lambda: {
                **self._decisions, "used": self._deadline.used(), "records": len(self.recorder.trace.records),
                "later": [[step, edit.to_json()] for step, edit in self.replayed],
            },
        )  # fmt: skip
        self.commands = Commands(training, self.folder, self._obey)
        self.watch = None
        if self._watched is not None:
            self.watch = Watch(training, self._watched, self.folder / "sources")
        self.replayed = self._edits(training)

    def steps(self, training: Training, steps: Iterator[Step]) -> Iterator[Step]:
        """Pass the steps through.

        Raises:
            Interrupted: SIGINT or SIGTERM came. A checkpoint is written, so the run can be resumed.
        """
        with signals_caught() as signals:
            if training.stopped is None and not signals:
                self._record(self.checkpoints.save())
            self._repeat_edits()
            for step in steps:
                yield step
                self._repeat_edits()
                self._check_commands(signals)
                if signals and training.stopped is None:
                    written = self._record(self.checkpoints.save())
                    self.recorder.catch_up(training)
                    raise Interrupted(signals[0], self.folder, step.number, written)
                if training.stopped is None:  # the step that ends it is saved once, below
                    self._record(self.checkpoints.after_step())
            self._record(self.checkpoints.save())

    def _record(self, checkpoint: Path | None) -> bool:
        """Record a checkpoint, if one was written.

        The record follows the file, whose count of records does not include it: a resumed run first
        writes the checkpoint and its record again. So each file has one record, even if the process
        was killed between the two.
        """
        if checkpoint is not None:
            self.recorder.checkpoint(self.training, checkpoint)
        return checkpoint is not None

    def _check_commands(self, signals: Sequence[int]) -> None:
        """Read commands and the watched file; while the training is paused, wait here."""
        self.commands.after_step()
        if self.watch is not None:
            self.watch.after_step()
        if self.training.stopped is not None:
            return
        if self._pause_at is not None and len(self.training.history) > self._pause_at:
            self._pause()
        while self.paused and not signals:
            if any(isinstance(edit, Stop) for edit in self.training.waiting):
                self._continue("continues, to stop")
                break
            self.recorder.catch_up(self.training)
            began = time.perf_counter()
            time.sleep(PAUSE_SECONDS)
            self.commands.read()
            if self.watch is not None:
                self.watch.after_step()
            self._deadline.exclude(time.perf_counter() - began)

    def _obey(self, command: Command) -> None:
        """Execute a command that is not an edit."""
        if command.kind == "pause":
            self._pause()
        elif command.kind == "continue":
            self._continue("continues")
        elif command.kind == "one_epoch":
            epoch = self.training.progress.epoch
            self._continue(f"continues to the end of epoch {epoch}, then pauses")
            self._pause_at = len(self.training.history)
        else:
            self._explain(command)

    def _pause(self) -> None:
        self.paused, self._pause_at = True, None
        self._write("paused", "paused; edits that are sent now are applied when it continues")

    def _continue(self, sentence: str) -> None:
        self.paused, self._pause_at = False, None
        self._write("continued", sentence)

    def _write(self, type_: str, sentence: str) -> None:
        progress = self.training.progress
        self.recorder.catch_up(self.training)
        self.recorder.trace.write("train", type_, {
            "step": progress.steps, "epoch": progress.epoch, "said": sentence,
        })  # fmt: skip

    def _explain(self, command: Command) -> None:
        """Explain a row with the current network; an error is recorded, not raised."""
        progress = self.training.progress
        self.recorder.catch_up(self.training)
        sentence = f"asked after step {progress.steps:,}, in epoch {progress.epoch}"
        self.recorder.trace.write("predict", "asked", answer(
            lambda: self.training.model(best=False), command, progress.steps, progress.epoch, sentence
        ))  # fmt: skip

    def _repeat_edits(self) -> None:
        """Queue the edits that the first run made at this step."""
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
    records: Sequence[Record], saved: SavedCheckpoint, training: Training
) -> list[tuple[int, Edit]]:
    """Return the edits that a resumed training must repeat, with the steps done before each.

    These are the edits recorded since its checkpoint, and those that the attempt which wrote the
    checkpoint still had to repeat. Edits that waited in the checkpoint are queued already.
    """
    left = edits_of(records)[len(training.progress.edits) :]
    later = Counter((int(step), edit_from_json(edit)) for step, edit in saved.more["later"])
    left += (later - Counter(left)).elements()
    for edit in training.waiting:
        if (training.progress.steps, edit) in left:
            left.remove((training.progress.steps, edit))
    return sorted(left, key=itemgetter(0))


@contextmanager
def signals_caught() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of ending the process; the second one ends it.

    Outside the main thread, where Python allows no handlers, nothing changes.
    """
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return

    def catch(number: int, frame: FrameType | None) -> None:
        if signals:
            signal.signal(number, before[number])
            raise KeyboardInterrupt
        signals.append(number)

    watched: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, catch) for number in watched}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
