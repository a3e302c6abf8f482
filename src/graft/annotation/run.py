"""The labelling page on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from graft.annotation.session import Session
from graft.server.limits import Limits
from graft.server.run import free_address, listen, run_loop, stop_on_signals, told

_LOG = logging.getLogger("graft.server")
HOST = "127.0.0.1"  # never another: there is no password
BODY = 64 * 1024  # bytes of a request
SECONDS = 1800.0  # for a request: a batch is ranked in one, of millions of items perhaps


def serve_page(session: Session, folder: Path, port: int) -> None:
    """Serve until Ctrl-C. Raises what `free_address` raises where the port cannot be listened at."""
    address, port = free_address(HOST, port)
    with told():
        run_loop(_until_signalled(session, folder, address, port))


async def serve_until(stop: asyncio.Event, session: Session, folder: Path, address: str, port: int) -> None:
    """Serve in this event loop until `stop` is set."""
    from graft.annotation.app import make_app
    from graft.server.door import Door
    from graft.server.hot import Vectors
    from graft.server.measures import Measures
    from graft.server.releases import Releases

    limits = Limits(body=BODY, seconds=SECONDS)
    app: Any = make_app(session, folder)
    with ThreadPoolExecutor(1) as idle:
        nothing = Vectors(Releases({}, {}), limits, idle)  # the door's quick way in leads to no index here
        _LOG.info("Label at http://%s:%d (Ctrl-C stops; every answer is saved at once)", address, port)
        await listen(Door(nothing, app, limits, Measures()), stop, address, port)


async def _until_signalled(session: Session, folder: Path, address: str, port: int) -> None:
    stop = asyncio.Event()
    stop_on_signals(stop)
    await serve_until(stop, session, folder, address, port)
