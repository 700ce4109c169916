"""A real `sightline serve`, and requests to it."""

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from tests.page.serving import PATIENCE, Site, until


class Server(Site):
    """A server that answers; `log` holds the lines of standard error."""

    def __init__(self, address, process, log):
        super().__init__(address, process)
        self.path, self.log = "/", log

    def post(self, path, body, **headers):
        """Return the status and the JSON of an answer."""
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, _, answer = self.ask("POST", path, sent, headers)
        return status, json.loads(answer)

    def get(self, path, **headers):
        status, _, answer = self.ask("GET", path, None, headers)
        return status, json.loads(answer)

    def events(self, name):
        """Return what was logged under a name."""
        lines = [json.loads(line) for line in self.log if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def metric(self, name):
        """Return the value of a line of the metrics, by its name with labels."""
        lines = self.ask("GET", "metrics")[2].decode().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return float(values.get(name, 0))

    def workers(self):
        """Return the ids of the processes under the supervisor."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                command = (path / "cmdline").read_bytes()
            except (OSError, IndexError):  # it has just ended
                continue
            if parent == self.process.pid and b"spawn_main" in command:
                found.append(int(path.name))
        return found


@contextmanager
def serving(*arguments, environment=None, cwd=None):
    """Run `sightline serve` on a free port until the block ends."""
    command = [sys.executable, "-m", "sightline", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
    )  # fmt: skip
    log, said = [], []

    def follow(stream, lines):
        for line in iter(stream.readline, ""):
            lines.append(line)

    threads = [
        threading.Thread(target=follow, args=pair, daemon=True)
        for pair in ((process.stderr, log), (process.stdout, said))
    ]
    for thread in threads:
        thread.start()
    try:
        until(lambda: said or process.poll() is not None, 2 * PATIENCE)
        assert said, "".join(log)
        address = said[0].split(" at ")[1].split(" ")[0]
        yield Server(address, process, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        for thread in threads:
            thread.join(PATIENCE)
        process.stdout.close()
        process.stderr.close()
