"""The parent of a server's processes: it starts them, replaces those that die, and changes models in all at once.

It opens the socket, which its processes share: when one dies, the connections that wait are taken by another.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from sightline.errors import BundleError, OptionError, RunError, UserError, counted
from sightline.page.address import bind
from sightline.page.guard import reachable
from sightline.serve.files import ModelFile, Place, given, watched
from sightline.serve.log import Log
from sightline.serve.registry import DRAINING, GENERATION
from sightline.serve.settings import Settings

TICK = 0.2
LOOK_SECONDS = 1.0
"""How often a watched folder is looked at."""
SETTLED_SECONDS = 5.0
"""A process that lives this long was started well; one that dies earlier is started again later and later."""
LONGEST_PAUSE = 30.0
KILL_SECONDS = 40.0


@dataclass(eq=False)
class Worker:
    """A process, and what the supervisor knows of it.

    Attributes:
        number: From 0.
        loaded: The generations that it has loaded.
    """

    number: int
    process: BaseProcess
    orders: Connection
    began: float
    loaded: set[int] = field(default_factory=set)


class Supervisor:
    """Runs a server until it is told to stop.

    Args:
        settings: Of the server.
        models: Paths of models, as `given` takes them.
        watch: A folder of models, looked at every second; or None.
        ready: Called once, with the URL and the names of the models, when requests are answered.

    Raises:
        UserError: There is no model, a model cannot be loaded, or the address cannot be listened on.
    """

    def __init__(
        self, settings: Settings, models: Sequence[str], watch: Path | None,
        ready: Callable[[str, list[str]], None],
    ) -> None:  # fmt: skip
        self.settings, self._models, self._watch, self._ready = settings, models, watch, ready
        self.log = Log()
        self._context = multiprocessing.get_context("spawn")
        self._shared: Any = self._context.RawArray("q", 2)
        self._workers: list[Worker] = []
        self._places: list[Place] = []
        self._files: dict[int, tuple[ModelFile, ...]] = {}
        self._pending: int | None = None
        self._last = 0
        self._refused: set[Place] = set()
        self._signals: list[int] = []
        self._failures = 0
        self._restart_at = 0.0
        self._told = False
        self._port = 0

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT, or an error at the start."""
        self._places = self._look()
        files = tuple(place.read() for place in self._places)
        listening = listen(self.settings.host, self.settings.port)
        self._port = listening.getsockname()[1]
        numbers = tempfile.mkdtemp(prefix="sightline-metrics-")
        before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT, *([signal.SIGHUP] if os.name != "nt" else []))
        }  # fmt: skip
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = numbers  # for the processes, see metrics.py
        try:
            self._begin(files)
            for number in range(self.settings.workers):
                self._start(number, listening, "listening")
            self._serve(listening)
        finally:
            self._end()
            listening.close()
            for number, handler in before.items():
                signal.signal(number, handler)
            os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
            shutil.rmtree(numbers, ignore_errors=True)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    # ------------------------------------------------------------- the loop

    def _serve(self, listening: socket.socket) -> None:
        looked = time.monotonic()
        stop_at: float | None = None
        while stop_at is None or time.monotonic() < stop_at:
            handles: list[Any] = [worker.orders for worker in self._workers]
            handles += [worker.process.sentinel for worker in self._workers]
            ready = set(wait(handles, TICK))
            for worker in list(self._workers):
                if worker.orders in ready:
                    self._hear(worker)
                if worker.process.sentinel in ready:
                    self._bury(worker, stop_at is not None)
            if stop_at is None:
                self._replace(listening)
            now = time.monotonic()
            reload = False
            while self._signals:
                number = self._signals.pop(0)
                if number == signal.SIGINT:
                    return
                if number == signal.SIGTERM and stop_at is None:
                    self._shared[DRAINING] = 1
                    stop_at = now + self.settings.drain
                    self.log.write("draining", {"seconds": self.settings.drain})
                reload |= os.name != "nt" and number == signal.SIGHUP
            if stop_at is None and (reload or (self._watch and now - looked >= LOOK_SECONDS)):
                looked = now
                self._refresh()

    def _hear(self, worker: Worker) -> None:
        """Take a process's answer to `Load`; make the models current once all processes have them."""
        from sightline.serve.worker import Loaded

        try:
            answer = worker.orders.recv()
        except (EOFError, OSError):  # it died; its sentinel says so
            return
        assert isinstance(answer, Loaded)
        if answer.error is None:
            worker.loaded.add(answer.generation)
        elif answer.generation == self._pending:
            self._give_up(answer.error, answer.path)
            return
        self._advance()

    def _advance(self) -> None:
        pending = self._pending
        whole = len(self._workers) == self.settings.workers
        if pending is None or not whole or not all(pending in w.loaded for w in self._workers):
            return
        before = self._shared[GENERATION]
        self._shared[GENERATION] = pending
        self._pending = None
        for worker in self._workers:
            self._forget(worker, before)
        self._files = {pending: self._files[pending]}
        names = [file.name for file in self._files[pending]]
        self.log.write("serving", {"models": [
            {"name": file.name, "version": file.version, "sha256": file.sha256[:12]} for file in self._files[pending]
        ]})  # fmt: skip
        if not self._told:
            self._told = True
            self._ready(self.url, names)

    def _forget(self, worker: Worker, generation: int) -> None:
        from sightline.serve.worker import Forget

        if generation:
            self._send(worker, Forget(generation))
            worker.loaded.discard(generation)

    def _give_up(self, error: str, path: str | None) -> None:
        """Keep the models there are, because a new one cannot be loaded; without any, end."""
        pending, self._pending = self._pending, None
        assert pending is not None
        if not self._shared[GENERATION]:
            raise BundleError(f"A model cannot be served. {error}", "Give another file.")
        self.log.write("refused", {"path": path, "error": error})
        wanted = self._files.pop(pending)
        for worker in self._workers:
            self._forget(worker, pending)
        # Looked at again when the file changes.
        self._refused |= {place for place in self._places if str(place.path) == path}
        now = self._files[self._shared[GENERATION]]
        current = {file.name: file for file in now}
        others = [current.get(file.name) if file.path == path else file for file in wanted]
        files = tuple(file for file in others if file is not None)
        if files and files != now:
            self._begin(files)

    # ------------------------------------------------------------- models

    @property
    def url(self) -> str:
        """Where the server is reached from this machine."""
        return f"http://{reachable(self.settings.host)}:{self._port}"

    def _look(self) -> list[Place]:
        places = given(self._models)
        if self._watch is not None:
            places += watched(self._watch)
            names = [place.name for place in places]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise OptionError(
                    f"The model {twice[0]!r} is given, and in {self._watch} too.",
                    "Give it another name: NAME=PATH.",
                )
        if not places:
            where = (
                f"{self._watch} holds no .sightline and no .onnx file."
                if self._watch
                else "No model is given."
            )
            raise OptionError(where, "Give a model, e.g. sightline serve model.sightline.")
        return places

    def _refresh(self) -> None:
        """Read files that have changed, and have all processes load them."""
        if self._pending is not None:
            return
        try:
            places = self._look()
        except UserError as error:
            self.log.write("refused", {"error": str(error)})
            return
        if places == self._places:
            return
        current = {file.name: file for file in self._files[self._shared[GENERATION]]}
        old = set(self._places)
        self._places = places
        files: list[ModelFile] = []
        for place in places:
            kept = current.get(place.name)
            if kept is not None and (place in old or place in self._refused):
                files.append(kept)
                continue
            if place in self._refused:
                continue
            try:
                files.append(place.read())
            except BundleError as error:  # it was removed meanwhile
                self.log.write("refused", {"path": str(place.path), "error": str(error)})
                if kept is not None:
                    files.append(kept)
        self._refused &= set(places)
        if files and tuple(files) != self._files[self._shared[GENERATION]]:
            self._begin(tuple(files))

    def _begin(self, files: tuple[ModelFile, ...]) -> None:
        """Begin a generation: every process loads it."""
        self._last += 1
        self._pending = self._last
        self._files[self._last] = files
        for worker in self._workers:
            self._load(worker, self._last)

    def _load(self, worker: Worker, generation: int) -> None:
        from sightline.serve.worker import Load

        self._send(worker, Load(generation, self._files[generation]))

    def _send(self, worker: Worker, order: object) -> None:
        try:
            worker.orders.send(order)
        except OSError:  # it died; its sentinel says so
            return

    # ------------------------------------------------------------- processes

    def _start(self, number: int, listening: socket.socket, begin: Literal["listening", "loading"]) -> None:  # fmt: skip
        from sightline.serve.worker import work

        mine, its = self._context.Pipe()
        process = self._context.Process(
            target=work, args=(self.settings, listening, its, self._shared, begin), name=f"sightline-{number}",
        )  # fmt: skip
        process.start()
        its.close()
        worker = Worker(number, process, mine, time.monotonic())
        self._workers.append(worker)
        for generation in sorted(self._files):
            self._load(worker, generation)

    def _bury(self, worker: Worker, stopping: bool) -> None:
        self._workers.remove(worker)
        worker.process.join()
        worker.orders.close()
        if stopping:
            return
        code, lived = worker.process.exitcode, time.monotonic() - worker.began
        self.log.write("died", {"worker": worker.process.pid, "exit_code": code})
        self._failures = 0 if lived >= SETTLED_SECONDS else self._failures + 1
        if not self._shared[GENERATION] and self._failures >= 3:
            raise RunError(
                f"A process of the server ends while it starts, {counted(self._failures, 'time')} by now (exit code {code}).",
                "Look at the log above.",
            )
        pause = min(2.0**self._failures / 4, LONGEST_PAUSE) if self._failures > 1 else 0.0
        self._restart_at = time.monotonic() + pause

    def _replace(self, listening: socket.socket) -> None:
        if len(self._workers) == self.settings.workers or time.monotonic() < self._restart_at:
            return
        there = {worker.number for worker in self._workers}
        for number in set(range(self.settings.workers)) - there:
            self._start(number, listening, "loading" if self._shared[GENERATION] else "listening")

    def _end(self) -> None:
        """Have all processes finish what they began, and end."""
        from sightline.serve.worker import Stop

        self._shared[DRAINING] = 1
        for worker in self._workers:
            self._send(worker, Stop())
        deadline = time.monotonic() + KILL_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.orders.close()
        self._workers = []


def listen(host: str, port: int) -> socket.socket:
    """Open the socket of a server.

    Raises:
        OptionError: The address cannot be listened on.
    """
    try:
        listening = bind(host, port)
        listening.listen(2048)
    except OSError as error:
        raise OptionError(
            f"The server cannot listen at {host}, port {port or 'any'}: {error.strerror or error}.",
            "Choose another --port or --host.",
        ) from error
    return listening
