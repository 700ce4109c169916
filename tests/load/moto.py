"""A server that speaks S3, moto's, in an environment of its own, on loopback; and a relay that breaks connections to it."""

import contextlib
import re
import socket
import subprocess
import threading
import urllib.request
from pathlib import Path

from pyarrow import fs

PROGRAM = Path(__file__).parents[2] / ".venv-moto" / "bin" / "moto_server"
SECRET = "wJalrXUtnFEMI/K7MDENG"
KEY = "AKIAIOSFODNN7EXAMPLE"


class Moto:
    """The server; by default it lets everybody do everything."""

    def __init__(self):
        self._process = subprocess.Popen(
            [PROGRAM, "-H", "127.0.0.1", "-p", "0"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )  # fmt: skip
        for line in self._process.stderr:
            if found := re.search(r"Running on http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise RuntimeError("the server ended")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        self.files = fs.S3FileSystem(
            access_key="a", secret_key="b", endpoint_override=f"http://127.0.0.1:{self.port}", region="us-east-1",
            allow_bucket_creation=True, allow_bucket_deletion=True,
        )  # fmt: skip

    def stop(self):
        self._process.terminate()
        self._process.wait()
        self._process.stderr.close()

    def address(self, path, port=None):
        """An address with credentials."""
        return f"s3://{KEY}:{SECRET.replace('/', '%2F')}@{path}?endpoint_override=127.0.0.1:{port or self.port}&scheme=http"

    def put(self, path, content):
        with self.files.open_output_stream(path) as file:
            file.write(content)

    def check_keys(self, wanted):
        """Refuse keys that the server does not know from now on, or let everybody in again."""
        address = f"http://127.0.0.1:{self.port}/moto-api/reset-auth"
        body = b"0" if wanted else b"inf"
        request = urllib.request.Request(address, body, {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()


class Relay:
    """Passes connections on to a port.

    Attributes:
        cuts: How many more of the answers that are longer than `after` bytes break off there.
        hook: Called once, at the first of them.
    """

    def __init__(self, to, after=100_000):
        self.to, self.after, self.cuts, self.cut, self.hook = to, after, 0, 0, None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._pass, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, self._long), daemon=True).start()  # fmt: skip

    def _pass(self, source, to, long):
        sent = 0
        try:
            while data := source.recv(1 << 16):
                to.sendall(data)
                sent += len(data)
                if long is not None and sent > self.after and long():
                    break
        except OSError:
            pass  # the other side has gone
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _long(self):
        """Tell whether to cut the answer off."""
        hook, self.hook = self.hook, None
        if hook is not None:
            hook()
        if self.cuts == 0:
            return False
        self.cuts, self.cut = self.cuts - 1, self.cut + 1
        return True
