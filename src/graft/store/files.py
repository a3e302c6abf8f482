"""Files and folders that appear whole or not at all: temporary name beside the target, synced, renamed, folder synced.

A killed process leaves at most a temporary name, which the next writer in that folder removes. Failures of the disk come out as
`StorageError` that names the path and the way out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from graft.errors import StorageError, UsageError

_PREFIX = ".graft-"
_ASIDE = "aside-"  # a folder moved away while its replacement is renamed into place
_NODE = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
_NAME = re.compile(
    rf"{re.escape(_PREFIX)}(?P<node>[0-9a-f]{{8}})-(?P<pid>\d+)-[0-9a-f]{{8}}-(?P<aside>{_ASIDE})?(?P<target>.+)"
)

_live: set[str] = set()  # temporary names this process is writing now
_swept: set[Path] = set()  # folders this process has already cleared of other processes' remains

_WAYS_OUT = {
    errno.ENOSPC: "The disk is full: free some space, or choose another folder.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or choose another folder.",
    errno.EFBIG: "The file would be larger than this system allows: raise the limit (ulimit -f), or choose another folder.",
    errno.EACCES: "You may not write there: choose another folder, or ask its owner.",
    errno.EPERM: "You may not write there: choose another folder, or ask its owner.",
    errno.EROFS: "That disk is read-only: choose another folder.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: choose another path.",
    errno.EEXIST: "A part of the path is a file, not a folder: choose another path.",
    errno.EISDIR: "There is a folder of that name: choose another path.",
    errno.ENAMETOOLONG: "The name is too long for this disk: choose a shorter one.",
    errno.EIO: "The disk does not work as it should: choose another disk.",
}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn failures of the disk inside the block into `StorageError` about `path`; other exceptions pass.

    Libraries in Rust and C++ wrap the number of the failure in their own message ("os error 28", "errno 28"), which is read too.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) and error.errno else _wrapped_errno(error)
        if code not in _WAYS_OUT:
            raise
        raise StorageError(f"Cannot write {str(path)!r}: {os.strerror(code)}. {_WAYS_OUT[code]}") from error


def _wrapped_errno(error: Exception) -> int:
    found = re.search(r"(?:os error|errno):? (\d+)", str(error), re.IGNORECASE)
    return int(found[1]) if found else 0


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing what is there; folders above are made.

    Raises StorageError; the old file then stands as it was.
    """
    write_with(path, lambda temporary: _write(temporary, data))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` (plain dicts, lists, strings, numbers, None) as indented JSON in UTF-8.

    Raises StorageError, and ValueError for a NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    write_bytes(path, text.encode() + b"\n")


def write_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write(temporary)` make a file (the temporary name ends like `path`), then sync it and rename it to `path`.

    Raises StorageError; whatever `write` raises besides passes through. In both cases the old file stands and nothing is left behind.
    """
    with storage_errors(path), _temporary(path) as temporary:
        write(temporary)
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)


@contextlib.contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; at the end of the block everything is synced and it is renamed to `path`.

    An exception in the block removes it. Raises UsageError, before the block and again at the end, where `path` exists with something
    in it and `replace` is false; StorageError when the disk fails.
    """
    with storage_errors(path):
        _refuse_existing(path, replace)
    with storage_errors(path), _temporary(path) as temporary:
        temporary.mkdir()
        try:
            yield temporary
        except StorageError as error:  # about a file in the draft, whose name means nothing to anybody
            raise StorageError(error.message.replace(str(temporary), str(path))) from error
        for folder, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(folder, name))
            _sync(Path(folder))
        _refuse_existing(path, replace)
        if _filled(path):
            _swap(temporary, path)
        else:
            temporary.replace(path)
        _sync(path.parent)


def check_writable(path: Path) -> None:
    """Raise StorageError where `path` could not be made, as far as can be told without trying: before hours of work go into it."""
    with storage_errors(path):
        above = next(folder for folder in path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(above, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on `path`.lock, which other processes wait for; systems and disks without such locks go on without.

    Raises OSError where the lock's file cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # not POSIX
        yield
        return
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process, with no file in it; it is made where it is not there. The system lets go of it when the process ends, killed or not.

    Raises StorageError where another process holds it, or it cannot be made; systems and disks without such locks go on without.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not POSIX
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"Another process is at work in {str(folder)!r}: wait until it is through, or name another folder."
            ) from None
        except OSError:  # a disk without locks
            pass
        yield
    finally:
        os.close(descriptor)


def _filled(path: Path) -> bool:
    return path.exists() and not (path.is_dir() and not any(path.iterdir()))


def _refuse_existing(path: Path, replace: bool) -> None:
    if not replace and _filled(path):
        raise UsageError(f"{str(path)!r} exists and is not overwritten: choose another name, or remove it first.")


def _swap(temporary: Path, path: Path) -> None:
    """Replace the folder `path`; between the two renames the old one stands under a name that `sweep` brings back."""
    aside = path.parent / _temporary_name(_ASIDE + path.name)
    _live.add(aside.name)
    try:
        path.replace(aside)
        try:
            temporary.replace(path)
        except BaseException:
            aside.replace(path)
            raise
        _remove(aside)
    finally:
        _live.discard(aside.name)


def _temporary_name(name: str) -> str:
    return f"{_PREFIX}{_NODE}-{os.getpid()}-{secrets.token_hex(4)}-{name}"


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A fresh name beside `path`; whatever still bears it at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    # the end of a long name is kept, because writers choose the format by the suffix; 255 bytes is the usual limit
    temporary = path.parent / _temporary_name(path.name.encode()[-200:].decode(errors="ignore"))
    _live.add(temporary.name)
    try:
        yield temporary
    finally:
        _remove(temporary)
        _live.discard(temporary.name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have the disk hold a file's content, or a folder's list of names."""
    if path.is_dir() and os.name != "posix":
        return  # only POSIX opens folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # network disks that cannot sync a folder say so
            raise
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine left in `folder`, and bring back a folder they were about to replace.

    Done once a process for each folder; every writer of this module calls it.
    """
    if folder in _swept or os.name != "posix":
        return
    _swept.add(folder)
    with contextlib.suppress(OSError):
        for entry in list(folder.iterdir()):
            found = _NAME.fullmatch(entry.name)
            if found is None or found["node"] != _NODE or _alive(int(found["pid"]), entry.name):
                continue
            target = folder / found["target"]
            if found["aside"] and not target.exists():
                entry.replace(target)
            else:
                _remove(entry)


def _alive(pid: int, name: str) -> bool:
    if pid == os.getpid():  # process numbers return, in containers often: only what is in use now is alive
        return name in _live
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
