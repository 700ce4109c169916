"""Looks after a training while it runs: checkpoints, commands, a watched file, signals, edits to make again.

It passes the steps of the training through, and acts between two of them; nothing of it is inside
the loop. To pause, it keeps the next step waiting: the training's own clock does not run meanwhile.
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
from sightline.pipeline.flow import Loaded, Observer
from sightline.pipeline.recorder import Recorder
from sightline.train.checkpoints import Checkpoints, SavedCheckpoint
from sightline.train.commands import Command, Commands
from sightline.train.training import Training
from sightline.train.watch import Watch

PAUSED_LOOKS = 0.05  # seconds between two looks for commands and signals


class Runner(Observer):
    """Looks after the training of one run.

    Args:
        recorder: Writes the records.
        folder: The run folder.
        edits: Gives the edits to make again, as (steps done before it, edit).
        checkpoint_seconds, checkpoint_epochs: How often to write checkpoints.
        watch: "file.py:Class" to load again whenever it is saved.
    """

    def __init__(
        self,
        recorder: Recorder,
        folder: Path,
        edits: Callable[[Training], list[tuple[int, Edit]]],
        *,
        checkpoint_seconds: float | None,
        checkpoint_epochs: int | None,
        watch: str | None = None,
    ) -> None:
        self.recorder, self.folder = recorder, folder
        self._edits, self._watched = edits, watch
        self._intervals = (checkpoint_seconds, checkpoint_epochs)
        self.paused = False
        self._pause_at: int | None = None  # this many epochs are done

    def loaded(self, loaded: Loaded) -> None:
        """Take what the checkpoints keep of the request."""
        self._decisions = loaded.decisions.to_json()

    def begins(self, training: Training) -> None:
        """Open the folder of checkpoints, and look for commands and for the watched file."""
        self.training = training
        training.sources = self.folder / "sources"
        seconds, epochs = self._intervals
        self.checkpoints = Checkpoints(
            training, self.folder, seconds=seconds, epochs=epochs,
            more=lambda: {
                **self._decisions, "records": len(self.recorder.trace.records),
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
            Interrupted: SIGINT or SIGTERM came: a checkpoint is written, the run can be resumed.
        """
        with signals_caught() as signals:
            if training.stopped is None and not signals:
                self._record(self.checkpoints.save())
            self._make_again()
            for step in steps:
                yield step
                self._make_again()
                self._look(signals)
                if signals and training.stopped is None:
                    written = self._record(self.checkpoints.save())
                    self.recorder.catch_up(training)
                    raise Interrupted(signals[0], self.folder, step.number, written)
                self._record(self.checkpoints.after_step())
            self._record(self.checkpoints.save())

    def _record(self, checkpoint: Path | None) -> bool:
        """Record a checkpoint, if one was written.

        Its record follows it and is not among those that it counts: a run that is resumed
        begins by writing the checkpoint again, and its record with it. So each file has one record,
        also where the process was killed between the two.
        """
        if checkpoint is not None:
            self.recorder.checkpoint(self.training, checkpoint)
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
                self._continue("continues, to stop")
                break
            self.recorder.catch_up(self.training)
            time.sleep(PAUSED_LOOKS)
            self.commands.read()
            if self.watch is not None:
                self.watch.after_step()

    def _obey(self, command: Command) -> None:
        """Follow a command that is no edit."""
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
        self._write("paused", "paused; edits that are sent now are made when it continues")

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
        """Follow a row through the network as it is now; an error is recorded, not raised."""
        progress = self.training.progress
        self.recorder.catch_up(self.training)
        sentence = f"asked after step {progress.steps:,}, in epoch {progress.epoch}"
        self.recorder.trace.write("predict", "asked", answer(
            lambda: self.training.model(best=False), command, progress.steps, progress.epoch, sentence
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
    records: Sequence[Record], saved: SavedCheckpoint, training: Training
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
def signals_caught() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; a second one stops at once.

    Outside the main thread Python allows no handlers, and nothing changes.
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
