"""Where requests come in (granian's RSGI): the hot route goes straight to its handler, everything else to the application.

RSGI and not ASGI: a request that does nothing costs 50 µs of processor here, 55 µs there (docs/serve.md). What the two share is here:
limits of size and time, one shape of errors, the headers of every answer, and the counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from graft.server.failures import Refusal, refusal
from graft.server.hot import Vectors
from graft.server.limits import Limits
from graft.server.measures import Measures

_LOG = logging.getLogger("graft.server")
SWEEP = 0.2  # seconds between two looks for requests whose time is up
HOT_ROUTE = "/v1/indexes/{name}/vectors"
HEAD, TAIL = HOT_ROUTE.split("{name}")
JSON_HEADERS = [("content-type", "application/json"), ("x-content-type-options", "nosniff")]
# Pages load nothing from elsewhere, are shown in no frame, send no addresses to others, and no other site may read an answer (no CORS header).
SECURITY = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
]
Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
Headers = list[tuple[str, str]]


@lru_cache(64)
def host_name(header: str | None) -> str | None:
    """The name in a Host header, without its port and in small letters; None where there is none."""
    try:
        return urlsplit(f"//{header or ''}").hostname
    except ValueError:  # half an IPv6 address
        return None


def misdirected(hosts: Collection[str]) -> Refusal:
    """A request by another name: 421."""
    names = ", ".join(sorted(hosts))
    return Refusal(
        421,
        "UsageError",
        f"This server answers to {names} only. `graft serve --allow-host NAME` adds a name, as of a proxy before it.",
    )


class Door:
    """The RSGI application."""

    def __init__(self, hot: Vectors, app: Application, limits: Limits, measures: Measures) -> None:
        self._hot, self._app, self._limits, self._measures = hot, app, limits, measures
        self.waiting = 0
        self._open: dict[asyncio.Task[Any], float] = {}  # requests being answered, the oldest first
        self._expired: set[asyncio.Task[Any]] = set()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch for requests whose time is up."""
        self._sweep(loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all requests: `asyncio.timeout` would cost each of them 7 µs, an eighth of what the hot route takes."""
        latest = time.perf_counter() - self._limits.seconds
        for task, started in self._open.items():
            if started > latest:
                break
            if task not in self._expired:
                self._expired.add(task)
                task.cancel()
        loop.call_later(SWEEP, self._sweep, loop)

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        """Answer one request, whatever happens."""
        started = time.perf_counter()
        path: str = scope.path
        hot = path.startswith(HEAD) and path.endswith(TAIL) and "/" not in path[len(HEAD) : -len(TAIL)]
        route = HOT_ROUTE if hot else "other"
        body: bytes | None = None
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._open[task] = started
        try:
            told = scope.headers
            if self._limits.hosts is not None and host_name(told.get("host")) not in self._limits.hosts:
                raise misdirected(self._limits.hosts)
            body = await self._body(scope, told, proto)
            if hot:
                status, headers, answer = 200, JSON_HEADERS, await self._vectors(scope, told, path, body)
            else:
                route, status, headers, answer = await self._other(scope, path, body)
        except (Exception, asyncio.CancelledError) as error:
            refused = self._refused(error, task, body)
            status, headers, answer = refused.status, [*JSON_HEADERS, *refused.headers], refused.body()
        finally:
            del self._open[task]
            self._expired.discard(task)
        self._measures.count(route, status, time.perf_counter() - started)
        try:
            proto.response_bytes(status, headers, answer)
        except Exception as error:  # the client has gone
            _LOG.debug("an answer was not taken: %s", error)

    def _refused(self, error: BaseException, task: asyncio.Task[Any], body: bytes | None) -> Refusal:
        if not isinstance(error, asyncio.CancelledError):
            return refusal(error)
        if task not in self._expired:
            raise error  # the server is stopping
        task.uncancel()
        seconds = self._limits.seconds
        if body is None:
            return Refusal(408, "Timeout", f"The body did not arrive within {seconds:g} seconds.")
        return Refusal(504, "Timeout", f"The answer took longer than {seconds:g} seconds. Ask for less, or try again.")

    async def _body(self, scope: Any, told: Any, proto: Any) -> bytes:
        """The whole body, if it is no longer than allowed; a length that is announced is judged before anything is read."""
        length = told.get("content-length")
        if length is not None:
            if int(length) > self._limits.body:
                raise self._too_long()
            body: bytes = await proto()
            return body
        if told.get("transfer-encoding") is None and scope.http_version != "2":
            return b""
        parts: list[bytes] = []
        count = 0
        async for part in proto:
            parts.append(bytes(part))
            count += len(part)
            if count > self._limits.body:
                raise self._too_long()
        return b"".join(parts)

    def _too_long(self) -> Refusal:
        return Refusal(413, "UsageError", f"The body is longer than {self._limits.body:,} bytes. Send less at a time.")

    async def _vectors(self, scope: Any, told: Any, path: str, body: bytes) -> bytes:
        if scope.method != "POST":
            raise Refusal(405, "UsageError", f"{scope.method} is not answered at {path}. Allowed: POST.", allow="POST")
        if self.waiting >= self._limits.waiting:
            raise Refusal(503, "Busy", f"{self.waiting:,} requests are waiting. Try again in a second.")
        self.waiting += 1
        try:
            name = path[len(HEAD) : -len(TAIL)]
            name = unquote(name) if "%" in name else name
            return await self._hot(name, told.get("content-type") or "", scope.query_string, body)
        finally:
            self.waiting -= 1

    async def _other(self, scope: Any, path: str, body: bytes) -> tuple[str, int, Headers, bytes]:
        """Ask the application as ASGI has it: the body as one message, the answer put together."""
        if self.waiting >= self._limits.waiting:
            raise Refusal(503, "Busy", f"{self.waiting:,} requests are waiting. Try again in a second.")
        asked = _asgi(scope, path)
        status, headers, parts = 500, SECURITY, list[bytes]()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status = message["status"]
                told = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                headers = SECURITY + [(name, value) for name, value in told if name != "content-length"]
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        self.waiting += 1
        try:
            await self._app(asked, receive, send)
        finally:
            self.waiting -= 1
        route = getattr(asked.get("route"), "path", "other")
        return route, status, headers, b"".join(parts)


def _asgi(scope: Any, path: str) -> Message:
    """An ASGI scope; the server's address is the one it was asked at."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in scope.headers.items()]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": scope.http_version,
        "method": scope.method,
        "scheme": scope.scheme,
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "root_path": "",
        "query_string": scope.query_string.encode("latin-1", "replace"),
        "headers": headers,
        "client": None,
        "server": None,
    }
