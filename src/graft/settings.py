"""Where things live and how Graft runs: folders, device, offline, and who listens to progress.

Every value is read from the environment when asked for, so that a test or a notebook can change it at any time.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from graft.errors import UsageError

Listener = Callable[[str, int, int], None]

_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("graft_progress", default=None)


def cache_dir() -> Path:
    """Folder of vectors and converted models: `$GRAFT_CACHE`, else `$XDG_CACHE_HOME/graft`, else `~/.cache/graft`."""
    if named := os.environ.get("GRAFT_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "graft"


def cache_limit() -> int:
    """Largest size of the vector cache in bytes: `$GRAFT_CACHE_GB` (default 10) times 2**30. Raises UsageError unless a number above 0."""
    return int(_number("GRAFT_CACHE_GB", "10") * 2**30)


def data_dir() -> Path | None:
    """Folder with named public sets, `$GRAFT_DATA`, or None."""
    named = os.environ.get("GRAFT_DATA")
    return Path(named).expanduser() if named else None


def offline() -> bool:
    """True when nothing may be fetched: `GRAFT_OFFLINE` or `HF_HUB_OFFLINE` is set to something but 0."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("GRAFT_OFFLINE", "HF_HUB_OFFLINE"))


def device() -> str:
    """`$GRAFT_DEVICE` (`cpu`, `cuda`, `cuda:1`, `mps`) or `auto`: a GPU if torch sees one, else the CPU."""
    return os.environ.get("GRAFT_DEVICE", "auto")


def threads() -> int:
    """Threads to compute with: `$GRAFT_THREADS`, else the processors this process may use. Raises UsageError unless a number above 0."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(_number("GRAFT_THREADS", str(here))))


def one_thread() -> contextlib.AbstractContextManager[object]:
    """While the block runs, each matrix product uses one thread: on small matrices threads wait for each other longer than they work.

    Measured on two cores with 160 items: a regression path took 0.2 s on one thread, and 1 s to 60 s on two, the busier the machine the
    longer. On one thread the same seed also gives the same bits.
    """
    from threadpoolctl import threadpool_limits

    limits: contextlib.AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _number(name: str, default: str) -> float:
    text = os.environ.get(name) or default
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(
            f"The environment variable {name} is {text!r}; it must be a number above 0, such as {default}."
        )
    return value


def duration(text: str) -> float:
    """Seconds in "90s", "1.5m", "2h" or "90"; raises UsageError for anything else or not above 0."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip().lower())
    seconds = float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
    if seconds <= 0:
        raise UsageError(f"--budget {text!r} is not a time. Write seconds, minutes or hours: 90s, 10m, 2h.")
    return seconds


def leads() -> bool:
    """Whether this process writes and prints: the only one, or the first of those that were started together (torchrun sets `RANK`)."""
    return os.environ.get("RANK", "0") in ("", "0")


def processor() -> str:
    """Name of the processor, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def free_memory(root: Path = Path("/")) -> float | None:
    """Bytes of memory this process may still take: what the system has, within what its control group allows; None where neither is told."""
    free = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        free.append(1024.0 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        group = root / "sys/fs/cgroup"
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            cached = (group / limit).with_name("memory.stat").read_text().split()
            reclaimable = int(cached[cached.index("inactive_file") + 1]) if "inactive_file" in cached else 0
            free.append(float(int((group / limit).read_text()) - int((group / used).read_text()) + reclaimable))
    return min(free) if free else None


def progress(stage: str, done: int, total: int) -> None:
    """Tell the listener, if there is one, that `done` of `total` items of `stage` are finished."""
    listener = _listener.get()
    if listener is not None:
        listener(stage, done, total)


def tell(stage: str, text: str) -> None:
    """Tell the listener how `stage` is going, in a few words: a listener that wants to know has a method `tell(stage, text)`."""
    told = getattr(_listener.get(), "tell", None)
    if told is not None:
        told(stage, text)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """While the block runs, `progress` calls go to `listener` (which must be quick and may be called from one thread only)."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
