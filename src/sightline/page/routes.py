"""The routes of the live page: its files, the run's records as events, and commands to the training.

The page reads RUN/trace.jsonl and writes files into RUN/commands; training never waits for a
browser. Starlette (extra `live`) is imported here, and this module only where a page is served.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NoReturn

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
from sightline.page.follow import Follower, RunState
from sightline.page.single_file import STATIC
from sightline.trace.records import Trace, find, read_records
from sightline.train.commands import Command, command_from_json, write_command

MEDIA_TYPES = {
    ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml",
    ".png": "image/png", ".json": "application/json", ".txt": "text/plain", ".md": "text/plain",
}  # fmt: skip
COMMAND_BYTES = 1 << 20
BODY_SECONDS = 10.0
MESSAGE_SECONDS = 0.06  # between two messages: fewer than 20 messages a second to a client
HEARTBEAT_SECONDS = 15.0


class RunPage:
    """The page of one run: answers requests with its records, and passes commands to its training.

    Args:
        run: The run folder; it need not exist yet.

    Attributes:
        clients: The number of open event streams.
        last_seen: When the last event stream ended, by `time.monotonic`.
        closing: True ends every event stream.
    """

    def __init__(self, run: Path) -> None:
        self.run, self.state = run, RunState(run)
        self.clients = 0
        self.last_seen = time.monotonic()
        self.closing = False
        self._model: Any = None
        self._explaining = asyncio.Lock()

    def app(self) -> Starlette:
        """Return the web application."""
        app = Starlette(routes=[
            Route("/", self.index), Route("/static/{name:path}", self.static),
            Route("/events", self.events), Route("/commands", self.commands, methods=["POST"]),
        ])  # fmt: skip
        app.router.redirect_slashes = False
        return app

    # ------------------------------------------------------------- files and records

    async def index(self, request: Request) -> Response:
        """Answer with the page itself."""
        return _file("index.html")

    async def static(self, request: Request) -> Response:
        """Answer with a file of the page."""
        return _file(request.path_params["name"])

    async def events(self, request: Request) -> Response:
        """Answer with the run's records as server-sent events: those written so far, then each new one."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        last = request.headers.get("last-event-id") or request.query_params.get("from") or "0"
        start = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        return StreamingResponse(self._stream(start), media_type="text/event-stream")

    async def _stream(self, start: int) -> AsyncIterator[bytes]:
        follower, sent_state = Follower(self.run, start), None
        self.clients += 1
        beat = time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            while not self.closing:
                out = b""
                if (state := self.state.now()) != sent_state:
                    out, sent_state = _event("state", state), state
                lines = follower.read()
                for problem in lines.problems:
                    out += _event("trouble", {"said": problem})
                if lines.records:
                    out += b"event: records\nid: %d\ndata: [%s]\n\n" % (
                        lines.end, b",".join(lines.records),
                    )  # fmt: skip
                if not out and time.monotonic() - beat >= HEARTBEAT_SECONDS:
                    out = b": still here\n\n"
                if out:
                    yield out  # waits here for a slow client
                    beat = time.monotonic()
                await asyncio.sleep(MESSAGE_SECONDS)
        finally:
            self.clients -= 1
            self.last_seen = time.monotonic()

    # ------------------------------------------------------------- commands

    async def commands(self, request: Request) -> Response:
        """Check a command and write it into RUN/commands, where the training process finds it."""
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return _refused(
                415, "A command must be JSON: send it with Content-Type application/json."
            )
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return _refused(
                408, f"The command was not received within {BODY_SECONDS:g} s. Send it again."
            )
        if body is None:
            return _refused(413, "The command is larger than 1 MB.")
        try:
            data = json.loads(body.decode(), parse_constant=_no_constant)
            command = command_from_json(data)
        except OptionError as error:
            return _refused(400, str(error))
        except (ValueError, RecursionError) as error:
            return _refused(400, f"The command is not valid JSON: {error}.")
        state = self.state.now(fresh=True)
        if state["waiting"]:
            return _refused(409, "Training has not started yet. Wait a moment.")
        if state["training"] and self.state.trained is None:
            try:
                return JSONResponse({"accepted": write_command(self.run, data)}, 202)
            except OSError as error:
                return _refused(
                    507,
                    f"The command cannot be written into {self.run / 'commands'}: {error.strerror or error}.",
                )
        if command.kind != "explain":
            return _refused(409, "This run is not training: it has ended, or was interrupted.")
        if state["training"]:
            return _refused(
                409, "Training has ended, and the model is being evaluated. Wait a moment."
            )
        async with self._explaining:
            try:
                self.state.writing_here = True
                await asyncio.to_thread(self._answer, command)
            except (RunError, OSError) as error:
                return _refused(409, str(error))
            finally:
                self.state.writing_here = False
        return JSONResponse({"accepted": command.id}, 202)

    def _answer(self, command: Command) -> None:
        """Explain a row with the run's finished model, and write the answer into the trace."""
        from sightline.predict.model import Model

        path = self.run / "model.sightline"
        if not path.is_file():
            raise RunError(
                f"{self.run} has no model: the run was interrupted.",
                f"Resume it: sightline resume {shlex.quote(str(self.run))}",
            )

        def model() -> Model:
            if self._model is None:
                self._model = Model.load(path)
            return self._model  # type: ignore[no-any-return]

        records, _ = read_records(self.run)
        ends = find(records, "train", "end")
        epoch = ends[-1].body["best_epoch"] if ends else None
        body = answer(model, command, None, epoch, "asked of the finished model")
        trace = Trace.resume(self.run, None)
        try:
            trace.write("predict", "asked", body)
        finally:
            trace.close()


async def _body(request: Request) -> bytes | None:
    """Read a request's body; None if it is too large."""
    body = b""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > COMMAND_BYTES:
        return None
    try:
        async for part in request.stream():
            body += part
            if len(body) > COMMAND_BYTES:
                return None
    except ClientDisconnect:
        return b""
    return body


def _file(name: str) -> Response:
    """Answer with a file of the static folder; a name outside it is not found."""
    files = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*")}
    path = files.get(name)
    if path is None or path.suffix not in MEDIA_TYPES or not path.is_file():
        return PlainTextResponse("Not Found", 404)
    return FileResponse(path, media_type=MEDIA_TYPES[path.suffix])


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _refused(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
