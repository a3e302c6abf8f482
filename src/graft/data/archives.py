"""Files that hold many items: zips, idx arrays (MNIST) and USPS.mat. They are read in place; nothing is ever unpacked to disk.

A zip is not trusted: members that point outside it, are encrypted, are links, or unpack to far more than they weigh are refused.
Array files give their rows as PGM, the plainest picture format, so that every picture comes as bytes and is hashed alike.
"""

from __future__ import annotations

import gzip
import stat
import threading
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError
from graft.results import Fault

MAX_MEMBER_BYTES = 2**28  # one item; a picture of 256 MiB is far past what is decoded
MAX_RATIO = 200  # unpacked size over packed size from which a large member is a bomb; deflate's limit is 1032, real pictures reach 50
RATIO_FREE_BYTES = 2**23  # below 8 MiB any ratio is harmless (an all-white bitmap)
MAX_ARRAY_BYTES = 2**30  # an idx file unpacked; MNIST has 47 MB
OPEN_ZIPS = 4  # kept open in each thread

_FLAG_ENCRYPTED = 0x1
_ZIP_PROBLEMS = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, ValueError, RuntimeError, NotImplementedError)
_open = threading.local()
_array_lock = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """One file in a zip: `path` with forward slashes, as ids show it; `member` as stored, to read it by; size unpacked in bytes."""

    path: str
    member: str
    size: int


def list_zip(path: Path) -> tuple[list[Entry], list[Fault]]:
    """The files in a zip that may be read, sorted by path, and a fault for each that may not.

    Raises DataError when the file is no zip, cannot be read, or is as a whole a decompression bomb.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
        weight = path.stat().st_size
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as problem:
        raise DataError(f"{path} cannot be read as a zip: {problem}.") from problem
    total = sum(info.file_size for info in infos)
    if total > MAX_ARRAY_BYTES and total > MAX_RATIO * weight:
        raise DataError(
            f"{path} is refused: its {weight:,} bytes would unpack to {total:,}, more than {MAX_RATIO} times as much, as only decompression bombs do."
        )
    found: dict[str, Entry] = {}
    faults = []
    for info in infos:
        name = info.filename.replace("\\", "/")
        if problem_with := _refusal(info):
            faults.append(Fault(name, problem_with))
            continue
        if name in found:
            faults.append(Fault(name, "the zip holds this name twice; the later one is read"))
        found[name] = Entry(name, info.filename, info.file_size)
    return sorted(found.values(), key=lambda entry: entry.path), faults


def _refusal(info: zipfile.ZipInfo) -> str | None:
    name = info.filename.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":" or ".." in name.split("/"):
        return "refused: its path leads outside the zip"
    if info.flag_bits & _FLAG_ENCRYPTED:
        return "refused: it is encrypted; unpack the zip with its password and give the folder"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "refused: it is a symbolic link"
    if info.file_size > MAX_MEMBER_BYTES:
        return f"refused: it unpacks to {info.file_size:,} bytes; the limit is {MAX_MEMBER_BYTES:,}"
    if info.file_size > RATIO_FREE_BYTES and info.file_size > MAX_RATIO * max(1, info.compress_size):
        return f"refused as a decompression bomb: {info.compress_size:,} bytes would unpack to {info.file_size:,}"
    return None


def read_member(path: Path, member: str) -> bytes:
    """One item's bytes from a zip (`member` is its name) or an array file (its 0-based row). Thread safe. Raises OSError."""
    if path.suffix.lower() in (".gz", ".mat"):
        return _row_as_pgm(path, member)
    try:
        archive = _opened(path)
        info = archive.getinfo(member)
        if problem := _refusal(info):
            raise OSError(problem)
        with archive.open(
            info
        ) as stream:  # gives at most the size declared, which was checked, and compares the checksum
            raw: bytes = stream.read()
        if len(raw) != info.file_size:
            raise OSError(f"{member} in {path} declares {info.file_size:,} bytes and holds {len(raw):,}")
        return raw
    except _ZIP_PROBLEMS as problem:
        raise OSError(f"{member} in {path} cannot be read: {problem}") from problem


def _opened(path: Path) -> zipfile.ZipFile:
    """This thread's own handle: zip handles share a file position, so threads must not share them."""
    handles: OrderedDict[tuple[str, int, int], zipfile.ZipFile] | None = getattr(_open, "handles", None)
    if handles is None:
        handles = _open.handles = OrderedDict()
    state = path.stat()
    key = (str(path), state.st_mtime_ns, state.st_size)
    if key in handles:
        handles.move_to_end(key)
        return handles[key]
    handles[key] = zipfile.ZipFile(path)
    while len(handles) > OPEN_ZIPS:
        handles.popitem(last=False)[1].close()
    return handles[key]


def array_rows(path: Path) -> NDArray[np.uint8]:
    """The array of an idx file (gzipped) or the pictures of USPS.mat: labels (N,), pictures (N, height, width), values 0..255.

    Kept in memory for the next call. Raises OSError when the file is damaged.
    """
    state = path.stat()
    with _array_lock:
        return _load_array(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=4)
def _load_array(path: Path, _modified: int, _size: int) -> NDArray[np.uint8]:
    return _load_usps(path)["pictures"] if path.suffix.lower() == ".mat" else _load_idx(path)


def _load_idx(path: Path) -> NDArray[np.uint8]:
    """LeCun's idx format: two zero bytes, type 8 (unsigned byte), number of dimensions, each as big-endian uint32, then the values."""
    try:
        with gzip.open(path) as stream:
            raw = stream.read(MAX_ARRAY_BYTES + 1)
    except (EOFError, zlib.error) as problem:
        raise OSError(f"{path} is damaged: {problem}") from problem
    if len(raw) > MAX_ARRAY_BYTES or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 or len(raw) < 4 + 4 * raw[3]:
        raise OSError(f"{path} is not an idx file of bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4))
    values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * raw[3])
    if values.size != int(np.prod(shape)):
        raise OSError(f"{path} is damaged: it declares shape {shape} and holds {values.size} values")
    return values.reshape(shape)


def _load_usps(path: Path) -> dict[str, NDArray[np.uint8]]:
    """Roweis' USPS.mat: `fea` (N, 256) rows of upright 16 × 16 pictures, `gnd` 1..10 for the digits 0..9."""
    from scipy.io import loadmat

    try:
        held: dict[str, Any] = loadmat(path, variable_names=["fea", "gnd"])
        pictures = np.asarray(held["fea"]).reshape(-1, 16, 16)
        digits = np.asarray(held["gnd"]).ravel().astype(np.int64) - 1
    except (ValueError, KeyError, TypeError, NotImplementedError, zlib.error) as problem:
        raise OSError(f"{path} is not the USPS file with fea and gnd: {problem}") from problem
    if pictures.dtype != np.uint8 or len(pictures) != len(digits) or not np.isin(digits, range(10)).all():
        raise OSError(f"{path} is not the USPS file with fea (bytes) and gnd (1..10)")
    return {"pictures": pictures, "digits": digits.astype(np.uint8)}


def usps_digits(path: Path) -> NDArray[np.uint8]:
    """The digits 0..9 of USPS.mat, (N,). Raises OSError when the file is damaged."""
    return _load_usps(path)["digits"]


def _row_as_pgm(path: Path, member: str) -> bytes:
    rows = array_rows(path)
    if not member.isdecimal() or int(member) >= len(rows) or rows.ndim != 3:
        raise OSError(f"{path} has no picture {member}")
    height, width = rows.shape[1:]
    pixels: bytes = rows[int(member)].tobytes()
    return b"P5\n%d %d\n255\n" % (width, height) + pixels
