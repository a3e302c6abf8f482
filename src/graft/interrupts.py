"""Ctrl-C where it may not strike: inside compiled code that calls Python back.

A KeyboardInterrupt that is raised in such a callback comes out as another error, or ends the process; so there it waits for a moment.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


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
