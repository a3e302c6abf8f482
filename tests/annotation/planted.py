"""Pools of a few items with planted vectors, and a labelling page that really runs, for the tests of this folder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tests.server.conftest import until_it_listens

from graft.annotation.journal import Journal
from graft.annotation.pool import Pool, all_classes, next_batch
from graft.annotation.run import serve_until
from graft.annotation.session import Session
from graft.data.dataset import Content, ImageSource
from graft.server.run import free_address, run_loop

TEXTS = [f"The {animal} number {i} <b>sleeps</b>." for animal in ("cat", "dog", "owl") for i in range(8)]


def pool(contents: Sequence[Content] = TEXTS, given: Sequence[str | None] | None = None) -> Pool:
    """Items of three far clusters in order; ids are "0", "1", ..."""
    n = len(contents)
    rng = np.random.default_rng(0)
    x = np.repeat(np.eye(3, 8), -(-n // 3), axis=0)[:n] + 0.05 * rng.standard_normal((n, 8))
    names = [c if isinstance(c, str) else str(c.path) for c in contents]
    return Pool(
        name="beasts",
        source="beasts.csv",
        modality="text" if isinstance(contents[0], str) else "image",
        ids=tuple(map(str, range(n))),
        contents=tuple(contents),
        keys=tuple(hashlib.blake2b(name.encode(), digest_size=16).hexdigest() for name in names),
        given=tuple(given or [None] * n),
        x_ND=(x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32),
    )


def pictures(folder: Path, n: int = 12) -> list[Content]:
    """Pictures of one colour each, wide and high ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n):
        colour = ((200, 60, 40), (60, 150, 90), (60, 90, 200))[3 * i // n]
        shade = tuple(min(255, c + 5 * i) for c in colour)
        Image.new("RGB", (640, 420) if i % 2 else (420, 640), shade).save(folder / f"{i:02}.png")
    return [ImageSource(folder / f"{i:02}.png") for i in range(n)]


def session(of: Pool, folder: Path, classes: Sequence[str] = (), k: int = 6) -> Session:
    """A labelling whose journal is in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    journal = Journal(folder)
    named = all_classes(classes, of.labels(journal.answers))
    batch = next_batch(of, journal.answers, named, "auto", k)
    return Session(of, journal, tuple(classes), lambda answers, known: next_batch(of, answers, known, "auto", k), batch)


@contextlib.contextmanager
def running(of: Session, folder: Path) -> Iterator[str]:
    """The page of a session, served in a thread; gives its URL."""
    address, port = free_address("127.0.0.1", 0)
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def main() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await serve_until(stop, of, folder, address, port)

    thread = threading.Thread(target=run_loop, args=(main(),))
    thread.start()
    try:
        until_it_listens(address, port)
        yield f"http://{address}:{port}"
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        of.journal.close()
        assert not thread.is_alive()
