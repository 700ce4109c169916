"""The page of a fit: its server is started beside the fit, and lives on after it."""

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

from sightline.page.place import Place, read_place

LONGEST_START = 10.0  # seconds


class LivePage:
    """The server of one fit's page, a process of its own.

    Args:
        run: The run folder that the fit will make, or goes on with.
        quiet: Do not print the address.
    """

    def __init__(self, run: Path, quiet: bool) -> None:
        self.run, self.quiet = run, quiet
        self._said: list[str] = []
        self._told = False
        self._heard = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        place = read_place(run)
        if place is not None and _answers(place):  # of an earlier attempt
            self._hear(json.dumps({"address": place.address}))
            return
        apart = 0  # from the terminal: Ctrl-C ends the fit, and the page goes on
        if sys.platform == "win32":
            apart = subprocess.CREATE_NEW_PROCESS_GROUP
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                _command(run), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, encoding="utf-8", errors="replace",
                creationflags=apart, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._hear(f"{error.filename or sys.executable}: {error.strerror or error}")
            return
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def tell(self, seconds: float) -> None:
        """Print the address, or why there is none, once it is known; wait for it no longer than that."""
        if self._told or not (self._heard.wait(seconds) or seconds):
            return
        self._told = True
        said = self._said[0] if self._said else f"it did not start within {seconds:g} s"
        try:
            address = json.loads(said)["address"]
        except (ValueError, LookupError, TypeError):
            sys.stderr.write(f"Warning: there is no live page: {said}\n")
            return
        if not self.quiet:
            sys.stdout.write(f"Live page: {address}\n")
            sys.stdout.flush()

    def close(self) -> None:
        """End the server if the fit was refused: there will be nothing to show."""
        if self._process is not None and not self.run.exists():
            self._process.terminate()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        """Hear the first thing the server says, and wait for its end, long after the fit."""
        assert process.stdout is not None
        with process.stdout:
            self._hear(process.stdout.readline().strip() or "its server ended without a word")
        process.wait()

    def _hear(self, said: str) -> None:
        self._said.append(said)
        self._heard.set()


@contextmanager
def live_page(run: Path, live: bool, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Start the page of a fit, if one is wanted, and leave it open behind the fit.

    Gives `LivePage.tell`, or what does nothing.

    Args:
        run: The run folder that the fit will make, or goes on with.
        live: Whether a page is wanted.
        quiet: Do not print its address.
    """
    if not live:
        yield lambda seconds: None
        return
    page = LivePage(run, quiet)
    try:
        yield page.tell
    finally:
        page.close()


def _command(run: Path) -> list[str]:
    return [sys.executable, "-m", "sightline", "live", str(run), "--of-fit", str(os.getpid())]


def _answers(place: Place) -> bool:
    """Tell whether a server of this very run is at a place, without telling its secret to another."""
    if sys.platform != "win32":
        try:
            os.kill(place.pid, 0)
        except (OSError, OverflowError):  # gone, or somebody else's
            return False
    connection = http.client.HTTPConnection(place.host.strip("[]"), place.port, timeout=1)
    try:
        connection.request("HEAD", f"/{place.token}/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
