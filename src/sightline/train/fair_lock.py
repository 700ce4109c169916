"""A fair lock: training steps and edits from other threads take turns."""

from __future__ import annotations

import threading


class FairLock:
    """A reentrant lock: whoever waits for it gets it next.

    Steps and edits both draw from PyTorch's global random generator, so only one may run at a
    time. With a plain lock, a fast training loop would take it again before a waiting edit could.

    Example:
        >>> from sightline.train.fair_lock import FairLock
        >>> lock = FairLock()
        >>> with lock, lock:
        ...     print("a thread may take it twice")
        a thread may take it twice
    """

    def __init__(self) -> None:
        self._next, self._held = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner != me:
            with self._next:
                self._held.acquire()
            self._owner = me
        self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            self._held.release()
