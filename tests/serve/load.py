"""Clients that ask without pause, each on a connection of its own."""

import http.client
import json
import threading
import time
from collections import Counter


class Load:
    """Sends one request after another from several threads until it is stopped.

    Attributes:
        statuses: How often each status came; "lost" is a connection that broke off.
        answers: The JSON of every answer, if `keep`.
    """

    def __init__(self, server, path, body, clients=4, keep=None):
        self.server, self.path = server, path
        self.body = json.dumps(body).encode()
        self.statuses, self.kept, self.keep = Counter(), [], keep
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self):
        connection = None
        while not self._stop.is_set():
            try:
                connection = connection or http.client.HTTPConnection(
                    self.server.host, self.server.port, timeout=60
                )
                connection.request("POST", f"/{self.path}", self.body)
                answer = connection.getresponse()
                content = answer.read()
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = None
                self.statuses[answer.status] += 1
                if self.keep is not None:
                    self.kept.append((time.monotonic(), self.keep(json.loads(content))))
            except (OSError, http.client.HTTPException):
                self.statuses["lost"] += 1
                connection.close()
                connection = None
        if connection is not None:
            connection.close()
