"""The models of one process, in generations, and which generation answers now.

The number of the current generation lies in memory that all processes share. It changes once every process has
loaded the new models, so that from one moment on all of them answer with the new ones. A request keeps the model it
began with; the old generation is freed after its last request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sightline.serve.errors import not_ready, unknown_model
from sightline.serve.model import Served


class Shared(Protocol):
    """Memory that the processes share: `multiprocessing.RawArray("q", 2)`."""

    def __getitem__(self, index: int) -> int: ...

    def __setitem__(self, index: int, value: int) -> None: ...


GENERATION, DRAINING = 0, 1


class Registry:
    """The models of this process.

    Args:
        shared: At 0 the number of the current generation, from 1, or 0 before the first one; at 1 whether the server
            drains.

    Example:
        >>> from sightline.serve.registry import Registry
        >>> Registry([0, 0]).ready
        False
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._generations: dict[int, Mapping[str, Served]] = {}

    def add(self, generation: int, models: Mapping[str, Served]) -> None:
        """Keep the models of a generation, which does not answer yet."""
        self._generations = {**self._generations, generation: models}

    def forget(self, generation: int) -> None:
        """Let go of a generation."""
        self._generations = {
            number: models for number, models in self._generations.items() if number != generation
        }

    @property
    def models(self) -> Mapping[str, Served]:
        """The models that answer now, by name; empty before the first generation."""
        return self._generations.get(self.shared[GENERATION], {})

    @property
    def live(self) -> bool:
        """Whether models can answer, draining or not."""
        return bool(self.models)

    @property
    def ready(self) -> bool:
        """Whether new requests should come here."""
        return self.live and not self.shared[DRAINING]

    def find(self, name: str | None, version: str | None = None) -> Served:
        """Return a model by its name; without one, the only model.

        Raises:
            Refused: There is none (404), or none yet (503).
        """
        models = self.models
        if not models:
            raise not_ready()
        if name is None and len(models) == 1:
            return next(iter(models.values()))
        found = models.get(name or "")
        if found is None or (version is not None and found.version != version):
            raise unknown_model(name or "without a name", version, sorted(models))
        return found
