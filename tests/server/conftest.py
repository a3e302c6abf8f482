"""A server that really runs, in a thread of its own, for each file of tests."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.server.toy import picture_index, text_index

from graft.server.limits import Limits
from graft.server.releases import Index, Releases
from graft.server.run import free_address, hosts_answered, run_loop, serve_until


@contextlib.contextmanager
def running(
    indexes: Mapping[str, Index],
    models: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    *,
    warm: bool = True,
) -> Iterator[tuple[str, Releases]]:
    """Serve in a thread; gives the URL and what is served, with `warm` once its encoders are read, and stops the server at the end."""
    address, port = free_address("127.0.0.1", 0)
    releases = Releases(indexes, models or {})
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await serve_until(stop, releases, limits or Limits(hosts=hosts_answered(address, address)), address, port)

    thread = threading.Thread(target=run_loop, args=(main(),))
    thread.start()
    until_it_listens(address, port)
    while warm and releases.warming:
        time.sleep(0.01)
    try:
        yield f"http://{address}:{port}", releases
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


def until_it_listens(address: str, port: int, seconds: float = 20.0) -> None:
    """Wait until a connection is taken."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=1):
            return
        time.sleep(0.02)
    raise TimeoutError(f"nothing listens at {address}:{port}")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server of texts and of pictures."""
    with running({"texts": text_index(), "pictures": picture_index()}) as (found, _):
        yield found
