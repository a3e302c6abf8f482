"""One shape for everything that goes wrong: {"error": {"kind", "message", "faults"?}} with a fitting status."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from graft.errors import DataError, GraftError, MissingError, ModelError, StorageError, UsageError
from graft.results import Fault, to_json

_LOG = logging.getLogger("graft.server")
_STATUS: tuple[tuple[type[GraftError], int], ...] = (
    (UsageError, 400),
    (DataError, 400),
    (MissingError, 503),
    (StorageError, 503),
    (ModelError, 500),
)
RETRY = "1"  # seconds after which a busy server is worth another try


class Refusal(Exception):  # noqa: N818 (it reads as what it is)
    """An answer other than the one asked for: status, kind and message for the client, and what was wrong where."""

    def __init__(
        self, status: int, kind: str, message: str, *, faults: Sequence[Fault] = (), allow: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.faults, self.allow = status, kind, message, tuple(faults), allow

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Headers that belong to the status: when to try again, which methods there are, and no further request on a body half read."""
        found = [("allow", self.allow)] if self.allow else []
        found += [("retry-after", RETRY)] if self.status == 503 else []
        return found + ([("connection", "close")] if self.status in (408, 413, 421) else [])

    def body(self) -> bytes:
        """The JSON; plain ASCII, as a message may quote half a character."""
        error: dict[str, object] = {"kind": self.kind, "message": self.message}
        if self.faults:
            error["faults"] = [to_json(fault) for fault in self.faults]
        return json.dumps({"error": error}).encode("ascii")


def bad(message: str) -> Refusal:
    """What was sent cannot be used: 400."""
    return Refusal(400, "UsageError", message)


def absent(message: str) -> Refusal:
    """There is no such thing here: 404."""
    return Refusal(404, "NotFound", message)


def busy(message: str) -> Refusal:
    """More waits than should: 503."""
    return Refusal(503, "Busy", message)


def refusal(error: BaseException) -> Refusal:
    """The one boundary at which any error becomes an answer; one that is no one's on purpose is logged and told without its details."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, GraftError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return Refusal(status, type(error).__name__, error.message, faults=error.faults)
    if isinstance(error, MemoryError):
        return busy("There is not enough memory for this now.")
    _LOG.error("a request failed: %s: %s", type(error).__name__, error, exc_info=error)
    return Refusal(500, "Defect", f"This is a defect of Graft ({type(error).__name__}); the server's log says more.")
