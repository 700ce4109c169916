"""Hot reload: when a network's file is saved during training, the next step uses the new source."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.contracts import Reload
from sightline.errors import OptionError, UserError

if TYPE_CHECKING:
    from sightline.train.training import Training

SECONDS_BETWEEN_LOOKS = 0.2
"""The least number of seconds between two looks at the file."""


class Watch:
    """Watches a network's source file during training, and queues a `Reload` when it changes.

    If the new source cannot be used (a syntax error, other shapes), an event says why, training goes
    on with the network it has, and the next version that is saved is tried.

    Args:
        training: The training whose network it is.
        network: "file.py:Class".
        sources: The folder that keeps every source text that was used, named by its sha256.

    Raises:
        OptionError: `network` is not of the form "file.py:Class", or the file does not exist.
    """

    def __init__(self, training: Training, network: str, sources: Path) -> None:
        path, _, name = network.rpartition(":")
        if not path or not Path(path).is_file():
            raise OptionError(
                f"The network {network!r} cannot be watched: it is not a class in a file.",
                "Give the network as file.py:Class, such as --network net.py:Net.",
            )
        self.training, self.network, self.path, self.name = training, network, Path(path), name
        self.sources = sources
        sources.mkdir(parents=True, exist_ok=True)
        training.sources = sources
        self._stamp = self._read_stamp()
        self._sha256 = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self._next = 0.0

    def after_step(self) -> None:
        """Look at the file, if the last look was at least `SECONDS_BETWEEN_LOOKS` ago."""
        now = time.monotonic()
        if now >= self._next:
            self.look()
            self._next = now + SECONDS_BETWEEN_LOOKS

    def look(self) -> None:
        """Queue a `Reload` if the file's text has changed."""
        stamp = self._read_stamp()
        if stamp is None or stamp == self._stamp:
            return
        try:
            text = self.path.read_bytes()
        except OSError:  # an editor is replacing the file at this moment
            return
        digest = hashlib.sha256(text).hexdigest()
        self._stamp = stamp
        if digest == self._sha256:  # saved without a change, or changed back
            return
        kept = self.sources / f"{digest}.py"
        edit = Reload(self.network, digest)
        try:
            kept.write_bytes(text)
            self.training.edit(edit)
            self._sha256 = digest
        except (UserError, OSError) as error:
            why = str(error).replace(str(kept), str(self.path)).replace(kept.name, self.path.name)
            self.training.tell(
                "refused", f"{self.network} is not used: {why}", {"edit": edit.to_json()}
            )

    def _read_stamp(self) -> tuple[int, int] | None:
        """Return the file's time and size; None while an editor is replacing it."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size
