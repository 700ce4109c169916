"""Hot reload: a network's file, saved while it trains, is swapped in at the next step."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.contracts import Reload
from sightline.errors import OptionError, UserError

if TYPE_CHECKING:
    from sightline.train.training import Training

SECONDS = 0.2


class Watch:
    """Looks at a file while it trains, and queues a `Reload` when it was saved.

    A file that cannot be used, for its syntax or its shapes, is told of; training goes on with
    the network it has, and the next saved text is tried.

    Args:
        training: Whose network it is.
        network: "file.py:Class".
        sources: The folder in which every text that was used is kept, by its sha256.

    Raises:
        OptionError: It is not of that form.
    """

    def __init__(self, training: Training, network: str, sources: Path) -> None:
        path, _, name = network.rpartition(":")
        if not path or not Path(path).is_file():
            raise OptionError(
                f"{network!r} cannot be watched.",
                "Give the network as a file: --network net.py:Net.",
            )
        self.training, self.network, self.path, self.name = training, network, Path(path), name
        self.sources = sources
        sources.mkdir(parents=True, exist_ok=True)
        training.sources = sources
        self._seen = self._stamp()
        self._text = hashlib.sha256(self.path.read_bytes()).hexdigest()
        self._next = 0.0

    def after_step(self) -> None:
        """Look at the file, if the last look is not just over."""
        now = time.monotonic()
        if now >= self._next:
            self.look()
            self._next = now + SECONDS

    def look(self) -> None:
        """Queue the file's network if its text is another than before."""
        stamp = self._stamp()
        if stamp is None or stamp == self._seen:
            return
        try:
            text = self.path.read_bytes()
        except OSError:  # taken away since, to be put back by an editor
            return
        digest = hashlib.sha256(text).hexdigest()
        self._seen = stamp
        if digest == self._text:  # touched, or put back to what is in use
            return
        kept = self.sources / f"{digest}.py"
        edit = Reload(self.network, digest)
        try:
            kept.write_bytes(text)
            self.training.edit(edit)
            self._text = digest
        except (UserError, OSError) as error:
            said = str(error).replace(str(kept), str(self.path)).replace(kept.name, self.path.name)
            self.training.tell(
                "refused", f"{self.network} is not used: {said}", {"edit": edit.to_json()}
            )

    def _stamp(self) -> tuple[int, int] | None:
        """When the file was saved, and its size; None while an editor has it away."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
