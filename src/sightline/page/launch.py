"""Start the server of a fit's live page: a separate process, which stays open after the fit."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.page.address import Address, read_address

START_SECONDS = 10.0  # how long a fit waits for the server, at most


class LivePage:
    """The server of one fit's page.

    Args:
        run: The run folder that the fit will create, or continue.
        quiet: Whether not to print the URL.
    """

    def __init__(self, run: Path, quiet: bool) -> None:
        self.run, self.quiet = run, quiet
        self._first_line = ""
        self._announced = False
        self._answered = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        address = read_address(run)
        if address is not None and _serves(address):  # the server of an earlier attempt
            self._receive(json.dumps({"address": address.url}))
            return
        flags = 0  # its own process group: Ctrl-C ends the fit, and the page stays
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                _command(run), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
                creationflags=flags, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._receive(f"{error.filename or sys.executable}: {error.strerror or error}")
            return
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def announce(self, seconds: float) -> None:
        """Print the URL once, or why there is no page; wait at most `seconds` for the server.

        With 0 seconds nothing is printed until the server has answered.
        """
        if self._announced or not (self._answered.wait(seconds) or seconds):
            return
        self._announced = True
        line = self._first_line or f"the server did not start within {seconds:g} s"
        try:
            url = json.loads(line)["address"]
        except (ValueError, LookupError, TypeError):
            sys.stderr.write(f"Warning: there is no live page: {line}\n")
            return
        if not self.quiet:
            sys.stdout.write(f"Live page: {url}\n")
            sys.stdout.flush()

    def close(self) -> None:
        """End the server if the fit was refused before it made a run folder."""
        if self._process is not None and not self.run.exists():
            self._process.terminate()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Read the first line the server prints, and wait for its end, long after the fit."""
        assert process.stdout is not None
        with process.stdout:
            self._receive(process.stdout.readline().strip() or "the server ended without a message")
        process.wait()

    def _receive(self, line: str) -> None:
        self._first_line = line
        self._answered.set()


@contextmanager
def live_page(run: Path, live: bool, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Start the page of a fit, if one is wanted, and leave it open after the fit.

    Yields `LivePage.announce`, or a function that does nothing.

    Args:
        run: The run folder that the fit will create, or continue.
        live: Whether a page is wanted.
        quiet: Whether not to print its URL.
    """
    if not live:
        yield lambda seconds: None
        return
    page = LivePage(run, quiet)
    try:
        yield page.announce
    finally:
        page.close()


def _command(run: Path) -> list[str]:
    return [sys.executable, "-m", "sightline", "live", str(run), "--of-fit", str(os.getpid())]


def _serves(address: Address) -> bool:
    """Return whether a server of this very run is at an address.

    The process is looked up first, so that the token is not sent to another program at that port.
    """
    if sys.platform != "win32":
        try:
            os.kill(address.pid, 0)
        except (OSError, OverflowError):  # it has ended, or belongs to another user
            return False
    connection = http.client.HTTPConnection(address.host.strip("[]"), address.port, timeout=1)
    try:
        connection.request("HEAD", f"/{address.token}/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
