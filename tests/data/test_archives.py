"""Zips that mean harm are refused, damaged ones are told, good ones are read in place from many threads."""

from __future__ import annotations

import gzip
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft.data import archives
from graft.data.archives import array_rows, list_zip, read_member
from graft.data.dataset import ImageSource
from graft.data.images import decode
from graft.errors import DataError


def zip_of(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_lists_sorted_and_reads_back(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"top/b.txt": b"B", "top/a.txt": b"A", "top/": b""})
    entries, faults = list_zip(path)
    assert [(e.path, e.size) for e in entries] == [("top/a.txt", 1), ("top/b.txt", 1)] and not faults
    assert read_member(path, "top/b.txt") == b"B"


@pytest.mark.parametrize(
    "name", ["/etc/passwd.txt", "../up.txt", "a/../../up.txt", "C:/x.txt", "..\\up.txt", "\\\\server\\x.txt"]
)
def test_members_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = zip_of(tmp_path / "a.zip", {name: b"x", "a/fine.txt": b"y"})
    entries, faults = list_zip(path)
    assert [e.path for e in entries] == ["a/fine.txt"]
    assert len(faults) == 1 and "outside" in faults[0].problem
    with pytest.raises(OSError, match="outside"):
        read_member(path, name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zip"]


def test_names_from_windows_are_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"cat\\1.txt": b"x"})
    (entry,), _ = list_zip(path)
    assert entry.path == "cat/1.txt" and read_member(path, entry.member) == b"x"


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a/link.txt")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    entries, faults = list_zip(tmp_path / "a.zip")
    assert not entries and "symbolic link" in faults[0].problem


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a/1.txt": b"x"}, zipfile.ZIP_STORED)
    raw = bytearray(path.read_bytes())
    raw[6] |= 1  # general purpose flag, local header
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # and central directory
    path.write_bytes(raw)
    entries, faults = list_zip(path)
    assert not entries and "encrypted" in faults[0].problem
    with pytest.raises(OSError, match="encrypted"):
        read_member(path, "a/1.txt")


def test_a_member_that_unpacks_to_far_more_is_a_bomb(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a/zeros.txt": bytes(12_000_000), "a/fine.txt": b"fine"})
    entries, faults = list_zip(path)
    assert [e.path for e in entries] == ["a/fine.txt"] and "bomb" in faults[0].problem


def test_a_white_bitmap_is_no_bomb(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a/white.bmp": b"\xff" * 3_000_000})
    entries, faults = list_zip(path)
    assert len(entries) == 1 and not faults


def test_a_zip_that_is_a_bomb_as_a_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ARRAY_BYTES", 10_000_000)
    path = zip_of(tmp_path / "a.zip", {f"a/{i}.txt": bytes(1_000_000) for i in range(20)})
    with pytest.raises(DataError, match="bomb"):
        list_zip(path)


def test_a_size_that_lies_gives_no_more_than_declared(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a/1.txt": b"x" * 5000})
    raw = bytearray(path.read_bytes())
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 24, 10)  # uncompressed size in the central directory
    path.write_bytes(raw)
    with pytest.raises(OSError):
        read_member(path, "a/1.txt")


def test_damage_is_an_os_error(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a/1.txt": bytes(range(256)) * 20})
    raw = bytearray(path.read_bytes())
    raw[60] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(OSError):
        read_member(path, "a/1.txt")
    with pytest.raises(OSError):
        read_member(path, "a/none.txt")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all" * 9])
def test_no_zip_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="zip"):
        list_zip(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 399), st.integers(1, 255)), max_size=6))
def test_a_damaged_zip_never_raises_anything_else(tmp_path: Path, cut: int, flips: list[tuple[int, int]]) -> None:
    path = zip_of(tmp_path / "good.zip", {"a/1.txt": b"one" * 40, "b/2.txt": b"two"})
    raw = bytearray(path.read_bytes())
    for where, mask in flips:
        raw[where % len(raw)] ^= mask
    broken = tmp_path / "broken.zip"
    broken.write_bytes(raw[: len(raw) - cut] if cut < len(raw) else b"")
    try:
        entries, _ = list_zip(broken)
    except DataError:
        return
    for entry in entries:
        assert ".." not in entry.path.split("/")
        try:
            assert len(read_member(broken, entry.member)) == entry.size
        except OSError:
            continue


def test_many_threads_read_many_zips(tmp_path: Path) -> None:
    paths = [
        zip_of(tmp_path / f"{z}.zip", {f"a/{i}.txt": f"{z} {i}".encode() * 50 for i in range(30)}) for z in range(6)
    ]
    jobs = [(z, i) for i in range(30) for z in range(6)] * 2
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda job: ImageSource(paths[job[0]], f"a/{job[1]}.txt").read_bytes(), jobs))
    assert found == [f"{z} {i}".encode() * 50 for z, i in jobs]


def test_a_zip_that_was_replaced_is_opened_again(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", {"a/1.txt": b"old"})
    assert read_member(path, "a/1.txt") == b"old"
    zip_of(path, {"a/1.txt": b"the new one"})
    assert read_member(path, "a/1.txt") == b"the new one"


def idx(path: Path, values: np.ndarray, kind: int = 8) -> Path:
    head = bytes([0, 0, kind, values.ndim]) + b"".join(struct.pack(">I", n) for n in values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))
    return path


def test_idx_rows_come_as_pictures(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    path = idx(tmp_path / "images.gz", values)
    assert np.array_equal(array_rows(path), values)
    picture = decode(ImageSource(path, "1").read_bytes())
    assert picture.size == (4, 3)
    assert np.array_equal(np.asarray(picture)[:, :, 0], values[1])
    for member in ("2", "-1", "x", ""):
        with pytest.raises(OSError, match="no picture"):
            ImageSource(path, member).read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x00\x08\x03\x00", b"\x00\x00\x0d\x01\x00\x00\x00\x01\x00", b"hello, world"]
)
def test_a_damaged_idx_is_an_os_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(OSError):
        array_rows(path)
    path.write_bytes(idx(path, np.zeros((3, 2), np.uint8)).read_bytes()[:-9])
    with pytest.raises(OSError):
        array_rows(path)
