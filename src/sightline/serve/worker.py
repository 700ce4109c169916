"""One process of a server: it loads the models it is told to, and answers requests.

uvicorn (extra `serve`) is imported here.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

import uvicorn

from sightline.errors import UserError
from sightline.serve.app import Application
from sightline.serve.files import ModelFile
from sightline.serve.log import Log
from sightline.serve.metrics import Metrics
from sightline.serve.model import Served
from sightline.serve.registry import Registry, Shared
from sightline.serve.settings import Settings


@dataclass(frozen=True)
class Load:
    """To a process: load these models, which do not answer before `generation` is the current one."""

    generation: int
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Forget:
    """To a process: let go of a generation; its last request has it still."""

    generation: int


@dataclass(frozen=True)
class Stop:
    """To a process: listen no more, finish what was begun, and end."""


@dataclass(frozen=True)
class Loaded:
    """From a process: what became of `Load`.

    Attributes:
        generation: Of the models.
        error: None, or why a model could not be loaded.
        path: The file of that model.
    """

    generation: int
    error: str | None = None
    path: str | None = None


Order = Load | Forget | Stop
GRACE = 30
"""Seconds for the requests that were begun when a process is to end."""


class _Server(uvicorn.Server):
    """uvicorn's server, with signals left to the worker: Ctrl-C reaches every process, and the supervisor decides."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def work(
    settings: Settings, listening: socket.socket, orders: Connection, shared: Shared, begin: Literal["listening", "loading"],
) -> None:  # fmt: skip
    """Run a process of the server.

    Args:
        settings: Of the server.
        listening: The socket that all processes share.
        orders: From and to the supervisor.
        shared: Shared memory, see `Registry`.
        begin: "listening" answers at once that it is not ready; "loading", of a process that takes the place of
            another one, listens only once it has the models: others answer meanwhile, or clients wait a moment.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log, registry, metrics = Log(), Registry(shared), Metrics()
    server = _Server(uvicorn.Config(
        Application(registry, settings, metrics, log), http=_http(), ws="none", lifespan="off", loop="auto",
        log_level="critical", access_log=False, server_header=False, proxy_headers=False, backlog=2048,
        timeout_keep_alive=75, timeout_graceful_shutdown=GRACE,
    ))  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    loaded = threading.Event()
    obeying = threading.Thread(
        target=_obey, args=(settings, orders, registry, metrics, server, loaded, log), daemon=True
    )
    obeying.start()
    if begin == "loading":
        loaded.wait()
    server.run(sockets=[listening])


def _http() -> Literal["httptools", "h11"]:
    try:
        import httptools  # noqa: F401 - whether it is there
    except ImportError:
        return "h11"
    return "httptools"


def _obey(
    settings: Settings, orders: Connection, registry: Registry, metrics: Metrics, server: uvicorn.Server,
    loaded: threading.Event, log: Log,
) -> None:  # fmt: skip
    """Do what the supervisor says; end when it has gone."""
    kept: dict[int, dict[str, Served]] = {}
    while True:
        try:
            order: Order = orders.recv()
        except (EOFError, OSError):  # the supervisor has ended
            server.should_exit = True
            loaded.set()
            return
        match order:
            case Load():
                answer = _load(order, settings, kept, log)
                if answer.error is None:
                    registry.add(order.generation, kept[order.generation])
                    for served in kept[order.generation].values():
                        metrics.serving(served, True)
                    loaded.set()
                with contextlib.suppress(OSError):
                    orders.send(answer)
            case Forget():
                registry.forget(order.generation)
                gone = kept.pop(order.generation, {})
                still = {id(served) for models in kept.values() for served in models.values()}
                for served in gone.values():
                    if id(served) not in still:
                        metrics.serving(served, False)
            case Stop():
                server.should_exit = True
                loaded.set()


def _load(order: Load, settings: Settings, kept: dict[int, dict[str, Served]], log: Log) -> Loaded:
    """Load a generation; a file that an earlier generation has is not loaded again."""
    have = {
        (served.name, served.version, served.sha256): served
        for models in kept.values()
        for served in models.values()
    }
    models: dict[str, Served] = {}
    for file in order.files:
        key = (file.name, file.version, file.sha256)
        try:
            models[file.name] = have.get(key) or Served(file, settings.engine, settings.network)
        except UserError as error:
            return Loaded(order.generation, str(error), file.path)
        except Exception as error:  # noqa: BLE001 - a model that cannot be loaded must not end the server
            log.write("error", {"traceback": traceback.format_exc()})
            return Loaded(order.generation, f"{type(error).__name__}: {error}", file.path)
    kept[order.generation] = models
    return Loaded(order.generation)
