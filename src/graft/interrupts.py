"""Ctrl-C where it may not strike: inside compiled code that calls Python back, which importing a compiled module is too.

A KeyboardInterrupt that is raised in such a callback comes out as another error, is lost, or ends the process: torch, interrupted while it
is imported, aborts. So there it waits for a moment.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

AGAIN = 0.05  # seconds after which a Ctrl-C that met an import is tried again


@contextlib.contextmanager
def held() -> Iterator[None]:
    """While the block runs Ctrl-C waits; it strikes at the end. For blocks of a second or two, on the main thread; elsewhere none strikes anyway."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[-1])


def wait_for_imports() -> None:
    """From now on a Ctrl-C that comes while the main thread imports strikes when the import is over. One that is ignored stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _strike)


def _strike(number: int, frame: FrameType | None) -> None:
    if not _importing(frame):
        raise KeyboardInterrupt
    # To the main thread, so that what it waits for there is broken off as by the key.
    timer = threading.Timer(AGAIN, signal.pthread_kill, (threading.main_thread().ident, number))
    timer.daemon = True  # the process may end before
    timer.start()


def _importing(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
