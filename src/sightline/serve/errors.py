"""Requests that are not answered as wished: a status and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """Ends the handling of a request with an error for the client.

    Args:
        status: Of HTTP.
        sentence: What is wrong and what to do; it may quote values of the request.
        kind: What went wrong, in a word or two, for metrics and logs; without values.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, sentence: str, kind: str, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:  # fmt: skip
        super().__init__(sentence)
        self.status, self.sentence, self.kind, self.headers = status, sentence, kind, headers


def bad(sentence: str) -> Refused:
    """Return the answer to a request that is not as it must be."""
    return Refused(400, sentence, "bad request")


def unknown_model(name: str, version: str | None, names: list[str]) -> Refused:
    """Return the answer to a request for a model that is not served."""
    wanted = name if version is None else f"{name}, version {version},"
    return Refused(
        404, f"The model {wanted} is not served. Served: {', '.join(names) or 'none'}.", "unknown model"
    )  # fmt: skip


def not_ready() -> Refused:
    """Return the answer while the models are being loaded."""
    return Refused(503, "The server is not ready yet.", "not ready", {"Retry-After": "1"})
