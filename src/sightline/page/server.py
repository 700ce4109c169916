"""The live page's server: a process of its own, which follows a run's trace and passes commands on.

It reads RUN/trace.jsonl and drops files into RUN/commands; training knows nothing of it and never
waits for a browser. Starlette and uvicorn (the extra `live`) are imported here, and this module
where it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from sightline.errors import OptionError, RunError
from sightline.evaluate.typed_row import answer
from sightline.page.follow import Follower, State
from sightline.page.guard import Guard, Hosts, bracketed
from sightline.page.place import Place, read_place, write_place
from sightline.trace.records import FILE, Trace, find, read_records
from sightline.train.commands import Command, command_from_json, drop

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
    ".png": "image/png", ".json": "application/json", ".txt": "text/plain", ".md": "text/plain",
}  # fmt: skip
LARGEST_COMMAND = 1 << 20
BODY_SECONDS = 10.0
BETWEEN_MESSAGES = 0.06  # seconds: fewer than 20 messages a second to a client
HEARTBEAT_SECONDS = 15.0
IDLE_SECONDS = 60.0


class Page:
    """What the server shows of one run, and takes for it.

    Args:
        run: The run folder; it need not be there yet.

    Attributes:
        clients: How many read the events now.
        closing: True ends every stream of events.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.state = run, State(run)
        self.clients = 0
        self.last_seen = time.monotonic()
        self.closing = False
        self._model: Any = None
        self._asking = asyncio.Lock()

    def app(self) -> Starlette:
        """Return the routes."""
        app = Starlette(routes=[
            Route("/", self.index), Route("/static/{name:path}", self.static),
            Route("/events", self.events), Route("/commands", self.commands, methods=["POST"]),
        ])  # fmt: skip
        app.router.redirect_slashes = False
        return app

    # ------------------------------------------------------------- what it shows

    async def index(self, request: Request) -> Response:
        """Answer with the page itself."""
        return _file("index.html")

    async def static(self, request: Request) -> Response:
        """Answer with a file of the page."""
        return _file(request.path_params["name"])

    async def events(self, request: Request) -> Response:
        """Answer with the run's records, those to come as well, as server-sent events."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        asked = request.headers.get("last-event-id") or request.query_params.get("from") or "0"
        start = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 19 else 0
        return StreamingResponse(self._stream(start), media_type="text/event-stream")

    async def _stream(self, start: int) -> AsyncIterator[bytes]:
        follower, said = Follower(self.run, start), None
        self.clients += 1
        beat = time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            while not self.closing:
                out = b""
                if (state := self.state.now()) != said:
                    out, said = _event("state", state), state
                found = follower.look()
                for sentence in found.trouble:
                    out += _event("trouble", {"said": sentence})
                if found.records:
                    out += b"event: records\nid: %d\ndata: [%s]\n\n" % (
                        found.end, b",".join(found.records),
                    )  # fmt: skip
                if not out and time.monotonic() - beat >= HEARTBEAT_SECONDS:
                    out = b": still here\n\n"
                if out:
                    yield out  # waits for a client that reads slowly
                    beat = time.monotonic()
                await asyncio.sleep(BETWEEN_MESSAGES)
        finally:
            self.clients -= 1
            self.last_seen = time.monotonic()

    # ------------------------------------------------------------- what it takes

    async def commands(self, request: Request) -> Response:
        """Take a command: check it, and pass it on to the process that makes the run."""
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _refused(415, "Commands are JSON: send them as application/json.")
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return _refused(408, f"The command did not come within {BODY_SECONDS:g} s.")
        if body is None:
            return _refused(413, "The command is longer than 1 MB.")
        try:
            data = json.loads(body.decode(), parse_constant=_no_constant)
            command = command_from_json(data)
        except OptionError as error:
            return _refused(400, str(error))
        except (ValueError, RecursionError) as error:
            return _refused(400, f"The command is no JSON: {error}.")
        state = self.state.now(fresh=True)
        if state["waiting"]:
            return _refused(409, "The run has not begun to train. Wait a moment.")
        if state["training"] and self.state.trained is None:
            try:
                return JSONResponse({"accepted": drop(self.run, data)}, 202)
            except OSError as error:
                return _refused(507, f"The command cannot be written: {error.strerror or error}.")
        if command.kind != "explain":
            return _refused(409, "Nobody trains this run now: it has ended, or was cut off.")
        if state["training"]:
            return _refused(
                409, "Training has ended and its model is being measured. Wait a moment."
            )
        async with self._asking:
            try:
                self.state.writing_here = True
                await asyncio.to_thread(self._answer, command)
            except (RunError, OSError) as error:
                return _refused(409, str(error))
            finally:
                self.state.writing_here = False
        return JSONResponse({"accepted": command.id}, 202)

    def _answer(self, command: Command) -> None:
        """Follow a row through the run's finished model, and write the answer into the trace."""
        from sightline.predict.model import Model

        path = self.run / "model.sightline"
        if not path.is_file():
            raise RunError(
                f"{self.run} has no model: it was cut off.",
                f"Go on with it: sightline resume {self.run}",
            )

        def model() -> Model:
            if self._model is None:
                self._model = Model.load(path)
            return self._model  # type: ignore[no-any-return]

        records, _ = read_records(self.run)
        ends = find(records, "train", "end")
        epoch = ends[-1].body["best_epoch"] if ends else None
        body = answer(model, command, None, epoch, "asked of the finished model")
        trace = Trace.go_on(self.run, None)
        try:
            trace.write("predict", "asked", body)
        finally:
            trace.close()


async def _body(request: Request) -> bytes | None:
    """Read a request's body; None if it is too long."""
    body = b""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > LARGEST_COMMAND:
        return None
    try:
        async for part in request.stream():
            body += part
            if len(body) > LARGEST_COMMAND:
                return None
    except ClientDisconnect:
        return b""
    return body


def _file(name: str) -> Response:
    """Answer with a file of the static folder, and no other."""
    found = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*")}
    path = found.get(name)
    if path is None or path.suffix not in TYPES or not path.is_file():
        return PlainTextResponse("Not Found", 404)
    return FileResponse(path, media_type=TYPES[path.suffix])


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _refused(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


# ------------------------------------------------------------- the process


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    of_fit: int | None = None,
    ready: Callable[[str], None],
) -> None:
    """Serve a run's page until Ctrl-C.

    Args:
        run: The run folder.
        host: Where to listen.
        port: At which port; 0 takes that of the last server of this run if it is free, else any.
        of_fit: The process of the fit that wants it, the parent of this one: wait for the folder,
            and end when the run is over and nobody has looked for a minute, or when that process
            is gone and there is no folder.
        ready: Called with the page's address when it can be opened.

    Raises:
        RunError: There is no such run.
        OptionError: The host or port cannot be listened at.
    """
    if of_fit is None:
        read_records(run)
    place, listening = _listen(run, host, port)
    page = Page(run)
    server = uvicorn.Server(uvicorn.Config(
        Guard(page.app(), place.token, Hosts(host, place.port)), http="h11", ws="none", lifespan="off",
        loop="asyncio", log_level="critical", access_log=False, server_header=False,
        proxy_headers=False, limit_concurrency=200, backlog=64, timeout_keep_alive=10,
        h11_max_incomplete_event_size=16_384, timeout_graceful_shutdown=2,
    ))  # fmt: skip

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            ready(place.address)
            await _watch(page, server, place, of_fit)

    with contextlib.suppress(KeyboardInterrupt):  # how it ends
        asyncio.run(main())


async def _watch(page: Page, server: uvicorn.Server, place: Place, of_fit: int | None) -> None:
    """Look once a second: write the address down when there is a folder; end when all is over."""
    written, over_since, next_look = False, None, 0.0
    while not server.should_exit:
        now = time.monotonic()
        if now >= next_look:
            next_look = now + 1
            there = (page.run / FILE).is_file()
            if there and not written:
                with contextlib.suppress(OSError):  # a full disk: the next look tries again
                    write_place(page.run, place)
                    written = True
            if of_fit is not None:
                over = there and not page.clients and not page.state.is_written()
                over_since = (over_since or now) if over else None
                alone = not there and os.getppid() != of_fit
                done = (
                    over_since is not None and now - max(over_since, page.last_seen) > IDLE_SECONDS
                )
                server.should_exit = server.should_exit or alone or done
        await asyncio.sleep(0.1)
    page.closing = True


def _listen(run: Path, host: str, port: int) -> tuple[Place, socket.socket]:
    """Listen at the port asked for, or where the last server of this run did, or at a free one.

    The secret of before is good for the port of before alone: whoever took that port since has heard
    it from the tabs that were open.
    """
    last = read_place(run)
    ports = [port] if port else [last.port, 0] if last else [0]
    for number in ports:
        try:
            listening = _bind(host, number)
        except OSError as error:
            problem: OSError = error
            continue
        number = listening.getsockname()[1]
        again = last is not None and last.port == number
        token = last.token if last is not None and again else secrets.token_urlsafe(16)
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return Place(bracketed(shown), number, token, os.getpid()), listening
    raise OptionError(
        f"The page cannot be served at {host}, port {port or 'any'}: {problem.strerror or problem}.",
        "Choose another --port or --host.",
    )


def _bind(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind)
    try:
        if os.name != "nt":  # there it would let two servers have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening
