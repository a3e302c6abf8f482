"""`graft serve`: opens what is named, starts the server, and stops it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import ipaddress
import logging
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from graft.errors import MissingError, StorageError, UsageError
from graft.server.limits import Limits

if TYPE_CHECKING:
    from graft.server.door import Door
    from graft.server.releases import Releases

_LOG = logging.getLogger("graft.server")
NEEDED = ("granian", "fastapi", "python_multipart", "orjson")
INSTALL = "python -m pip install 'graft[serve]'"
CONNECTIONS = 4096  # open at once; each idle one costs 20 kB
SPARE_FILES = 256  # of those a process may open, kept for indexes, caches and the log
HEAD_SECONDS = 15  # for a request's head to arrive, and for an idle connection to be used again
OWN_NAMES = ("127.0.0.1", "localhost", "::1")
GRACE_SECONDS = 5.0  # for answers under way when the server is stopped


@dataclass(frozen=True)
class Served:
    """What was served at `url`, for how long."""

    url: str
    indexes: tuple[str, ...]
    models: tuple[str, ...]
    seconds: float
    recommenders: tuple[str, ...] = ()


def serve(
    paths: Annotated[Sequence[str | Path], "Folders of indexes, fitted models and recommenders."],
    *,
    port: Annotated[int, "Port to listen at; 0 takes one that is free."] = 8000,
    host: Annotated[
        str, "Address to listen at; 0.0.0.0 lets other machines in, and there is no password."
    ] = "127.0.0.1",
    allow_host: Annotated[
        Sequence[str],
        "Name this machine may also be asked by, as behind a proxy; only while --host is this machine's own.",
    ] = (),
) -> Served:
    """Answer searches, predictions and recommendations over HTTP, with pages for people, until Ctrl-C.

    An index that is updated meanwhile (`graft index`), and a recommender whose folder is put in another's place, is served anew within
    about a second, without a pause.

    While only this machine can reach it, it answers to this machine's own names alone, so that no web page reads it under another.

    Raises UsageError when the host, a name or the port cannot be, StorageError when the port is taken, MissingError when a folder or a package is not
    here, ModelError when something in a folder was changed.
    """
    check_installed()
    import faiss

    from graft.server.releases import open_releases

    faiss.omp_set_num_threads(
        1
    )  # requests are searched beside each other: more threads a search only wait for one another

    address, port = free_address(host, port)
    limits = Limits(hosts=hosts_answered(host, address, allow_host))
    given = [paths] if isinstance(paths, (str, Path)) else paths
    releases = open_releases(given)
    url = f"http://{f'[{address}]' if ':' in address else address}:{port}"
    started = time.monotonic()
    with told():
        names = [*releases.indexes, *releases.models, *releases.recommenders]
        _LOG.info("%s at %s (Ctrl-C stops)", ", ".join(names), url)
        run_loop(_until_signalled(releases, limits, address, port))
    seconds = time.monotonic() - started
    return Served(url, tuple(releases.indexes), tuple(releases.models), seconds, tuple(releases.recommenders))


def check_installed() -> None:
    """Raise MissingError, with the line that installs them, unless all packages of the server are here."""
    missing = [name.replace("_", "-") for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingError(f"Serving needs {', '.join(missing)}, which {are} not installed: {INSTALL}")


def free_address(host: str, port: int) -> tuple[str, int]:
    """The numeric address of `host`, and `port` or a free one for 0. Tried first, as the server itself would share a port with another.

    Raises UsageError when there can be no such host or port, StorageError when the port is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535.")
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host!r} is no address of this machine: 127.0.0.1 is, or 0.0.0.0 for all.") from error
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(where)
            tried.listen()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise StorageError(
                f"Port {port} of {host} cannot be listened at: {reason}. --port 0 takes a free one."
            ) from error
        found = tried.getsockname()
        return str(found[0]), int(found[1])


def hosts_answered(host: str, address: str, more: Sequence[str] = ()) -> frozenset[str] | None:
    """Names that requests may call this machine by: its own and `more` where it listens to itself alone, None for any where it is open to others.

    Without this, a web page whose name is made to point at 127.0.0.1 (DNS rebinding) could read what is served to its visitor alone. Raises
    UsageError for a name with a port, a scheme or a path.
    """
    wrong = [name for name in more if not name or set(name) & set("/: ")]
    if wrong:
        raise UsageError(f"--allow-host {wrong[0]!r}: a name alone is wanted, as in search.example.org.")
    if not ipaddress.ip_address(address).is_loopback:
        return None
    return frozenset(name.lower() for name in (*OWN_NAMES, host, *more))


def run_loop(main: Any) -> None:
    """Run a coroutine in uvloop's event loop where that is installed: a third less processor time a request than asyncio's."""
    factory = None
    if importlib.util.find_spec("uvloop"):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


async def serve_until(stop: asyncio.Event, releases: Releases, limits: Limits, address: str, port: int) -> None:
    """Serve in this event loop until `stop` is set: no new connections then, and answers under way get a few seconds."""
    from graft.server.api import make_app
    from graft.server.desk import Desk
    from graft.server.door import Door
    from graft.server.hot import Vectors
    from graft.server.measures import Measures
    from graft.server.status import measures_text

    measures = Measures()
    desk = Desk(releases, limits)
    vectors = Vectors(releases, limits, desk.searching)
    app = make_app(desk, lambda: measures_text(measures, releases, vectors.gather))
    releases.start()
    warming = asyncio.create_task(desk.warm())
    try:
        await listen(Door(vectors, app, limits, measures), stop, address, port)
    finally:
        warming.cancel()
        releases.stop()
        desk.close()


async def listen(door: Door, stop: asyncio.Event, address: str, port: int) -> None:
    """Let requests in by `door` until `stop` is set. Raises StorageError where the server ends by itself."""
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    server = Server(
        door,
        address=address,
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        backpressure=_connections(),
        http1_settings=HTTP1Settings(header_read_timeout=1000 * HEAD_SECONDS),
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=GRACE_SECONDS)
    finally:
        stopping.cancel()
    if serving.done() and (error := serving.exception()) is not None:
        raise StorageError(f"The server at {address}:{port} stopped: {error}.") from error


async def _until_signalled(releases: Releases, limits: Limits, address: str, port: int) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await serve_until(stop, releases, limits, address, port)


def stop_on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on Ctrl-C and when the process is asked to end."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not the main thread, or Windows
            loop.add_signal_handler(number, stop.set)


def _connections() -> int:
    """How many connections may be open: every one is an open file, of which the process raises its number as far as it may."""
    try:
        import resource
    except ImportError:  # Windows
        return CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(64, min(CONNECTIONS, soft - SPARE_FILES))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """While the server runs, its log tells of what is served and of newer versions too."""
    before = _LOG.level
    _LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOG.setLevel(before)
