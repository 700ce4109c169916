"""A real server process, and clients that speak HTTP to it by hand."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 60.0  # seconds, of a busy machine


def until(true, seconds=PATIENCE):
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
    return found


def sightline(*arguments, **options):
    """Start the command as a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "sightline", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, **options)


def end(process, how=signal.SIGKILL):
    if process.poll() is None:
        process.send_signal(how)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    return process.wait(PATIENCE)


class Site:
    """Where a page is, with requests to it."""

    def __init__(self, address, process=None):
        self.address, self.process = address, process
        parts = urlsplit(address)
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path
        self.origin = f"http://{parts.netloc}"

    def ask(self, method="GET", path="", body=None, headers=None, whole_path=None):
        """Return status, headers and body of one request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE)
        try:
            connection.request(method, whole_path or self.path + path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def command(self, command, **headers):
        """Send a command as the page does; return the status and what was answered."""
        body = command if isinstance(command, bytes) else json.dumps(command).encode()
        sent = {"Origin": self.origin, "Content-Type": "application/json", **headers}
        sent = {name: value for name, value in sent.items() if value is not None}
        status, _, answer = self.ask("POST", "commands", body, sent)
        try:
            return status, json.loads(answer)
        except ValueError:
            return status, answer.decode()


class Tab:
    """A client of the events: what has come so far."""

    def __init__(self, site, last=None, query=""):
        self.socket = socket.create_connection((site.host, site.port), timeout=PATIENCE)
        headers = f"Last-Event-ID: {last}\r\n" if last is not None else ""
        self.socket.sendall(
            f"GET {site.path}events{query} HTTP/1.1\r\nHost: {site.host}:{site.port}\r\n{headers}\r\n".encode()
        )
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while line := self.file.readline().strip():
            name, _, value = line.decode().partition(": ")
            self.headers[name.lower()] = value
        self._waiting = b""
        self.last, self.records, self.times, self.states, self.trouble = last, [], [], [], []

    def next(self):
        """Take the next event: its name, or None at the end of the stream."""
        while b"\n\n" not in self._waiting:
            size = int(self.file.readline().strip() or b"0", 16)  # chunked
            if not size:
                return None
            self._waiting += self.file.read(size)
            self.file.readline()
        event, _, self._waiting = self._waiting.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line)
        name = fields.get("event", "")
        if name == "records":
            self.last = fields["id"]
            self.times.append(time.monotonic())
            self.records += json.loads(fields["data"])
        elif name == "state":
            assert "id" not in fields
            self.states.append(json.loads(fields["data"]))
        elif name == "trouble":
            self.trouble.append(json.loads(fields["data"])["said"])
        return name

    def until(self, true):
        """Take events until something is true of this tab."""
        deadline = time.monotonic() + PATIENCE
        while not (found := true(self)):
            assert time.monotonic() < deadline, (self.states, self.records[-3:])
            assert self.next() is not None, "the stream ended"
        return found

    def found(self, stage, type_):
        return [r["body"] for r in self.records if (r["stage"], r["type"]) == (stage, type_)]

    def wait_for(self, stage, type_, count=1):
        self.until(lambda tab: len(tab.found(stage, type_)) >= count)
        return self.found(stage, type_)[-1]

    def close(self):
        self.file.close()
        self.socket.close()


@contextmanager
def served(run, *options):
    """Serve a run from a process of its own, as `sightline live` does."""
    process = sightline("live", run, *options, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        assert " is shown at " in said, said
        yield Site(said.split(" at ")[1].split()[0], process)
    finally:
        end(process)


@contextmanager
def tab(site, last=None, query=""):
    opened = Tab(site, last, query)
    try:
        yield opened
    finally:
        opened.close()


def place_of(run):
    """Read where a run's page is, once it is written down."""
    path = Path(run) / "live.json"
    until(path.is_file)
    said = json.loads(path.read_text())
    return Site(f"http://{said['host']}:{said['port']}/{said['token']}/"), said


def alive(pid):
    """Tell whether a process runs still; one that nobody waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
