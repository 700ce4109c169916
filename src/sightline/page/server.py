"""The process of the live page's server: it listens, writes the page's address, and ends when idle.

uvicorn (extra `live`) is imported here, and this module only where a page is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn

from sightline.errors import OptionError
from sightline.page.address import Address, bind, read_address, write_address
from sightline.page.guard import Guard, Hosts, reachable
from sightline.page.routes import RunPage
from sightline.trace.records import TRACE_FILE, read_records

IDLE_SECONDS = 60.0


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
        host: The host name or address to listen on.
        port: The port to listen on; 0 is the port of this run's last server if it is free, else any
            free port.
        of_fit: The id of the fit's process, if it started this one: then wait for the run folder,
            and end once the run has ended and no browser has been connected for a minute, or once
            that process has ended without making a folder.
        ready: Called with the page's URL as soon as it can be opened.

    Raises:
        RunError: `run` is no run folder.
        OptionError: The server cannot listen on this host and port.
    """
    if of_fit is None:
        read_records(run)
    address, listening = _listen(run, host, port)
    page = RunPage(run)
    server = uvicorn.Server(uvicorn.Config(
        Guard(page.app(), address.token, Hosts(host, address.port)), http="h11", ws="none", lifespan="off",
        loop="asyncio", log_level="critical", access_log=False, server_header=False,
        proxy_headers=False, limit_concurrency=200, backlog=64, timeout_keep_alive=10,
        h11_max_incomplete_event_size=16_384, timeout_graceful_shutdown=2,
    ))  # fmt: skip

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(sockets=[listening]))
            while not server.started:
                await asyncio.sleep(0.01)
            ready(address.url)
            await _watch(page, server, address, of_fit)

    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the server
        asyncio.run(main())


async def _watch(
    page: RunPage, server: uvicorn.Server, address: Address, of_fit: int | None
) -> None:
    """Once a second: write the address once the run folder exists; end the server when it is not needed."""
    written, unused_since, next_check = False, None, 0.0
    while not server.should_exit:
        now = time.monotonic()
        if now >= next_check:
            next_check = now + 1
            exists = (page.run / TRACE_FILE).is_file()
            if exists and not written:
                with contextlib.suppress(OSError):  # a full disk: tried again a second later
                    write_address(page.run, address)
                    written = True
            if of_fit is not None:
                unused = exists and not page.clients and not page.state.is_written()
                unused_since = (unused_since or now) if unused else None
                orphaned = not exists and os.getppid() != of_fit
                idle = (
                    unused_since is not None
                    and now - max(unused_since, page.last_seen) > IDLE_SECONDS
                )
                server.should_exit = server.should_exit or orphaned or idle
        await asyncio.sleep(0.1)
    page.closing = True


def _listen(run: Path, host: str, port: int) -> tuple[Address, socket.socket]:
    """Listen on the given port, else on that of this run's last server, else on any free port.

    The token of the last server is used again only on its own port: if another program has taken
    that port, open tabs have sent the token to it.
    """
    last = read_address(run)
    ports = [port] if port else [last.port, 0] if last else [0]
    for number in ports:
        try:
            listening = bind(host, number)
        except OSError as error:
            problem: OSError = error
            continue
        number = listening.getsockname()[1]
        same_port = last is not None and last.port == number
        token = last.token if last is not None and same_port else secrets.token_urlsafe(16)
        return Address(reachable(host), number, token, os.getpid()), listening
    raise OptionError(
        f"The page cannot be served at {host}, port {port or 'any'}: {problem.strerror or problem}.",
        "Choose another --port or --host.",
    )
