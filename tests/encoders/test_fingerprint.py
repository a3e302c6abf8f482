"""Fingerprints and the memory of digests."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from graft.encoders import fingerprint as fp

LARGE = fp.SMALL + 1


@pytest.fixture
def memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/digests.json"


def test_small_files_are_hashed_every_time(memo: Path, tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(b"abc")
    assert fp.digest(path) == hashlib.sha256(b"abc").hexdigest()
    assert not memo.exists()


def test_large_files_are_hashed_once(memo: Path, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"a" * LARGE)
    assert fp.digest(path) == hashlib.sha256(b"a" * LARGE).hexdigest()
    ((key, (size, changed, value)),) = json.loads(memo.read_text()).items()
    assert (key, size, changed, value) == (str(path), LARGE, path.stat().st_mtime_ns, fp.digest(path))
    memo.write_text(json.dumps({key: [size, changed, "remembered"]}))
    assert fp.digest(path) == "remembered"
    os.utime(path, ns=(changed, changed + 1))
    assert fp.digest(path) == hashlib.sha256(b"a" * LARGE).hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}'])
def test_a_damaged_memory_is_no_error(content: str, memo: Path, tmp_path: Path) -> None:
    memo.parent.mkdir()
    memo.write_text(content)
    path = tmp_path / "large"
    path.write_bytes(b"a" * LARGE)
    assert fp.digest(path) == hashlib.sha256(b"a" * LARGE).hexdigest()
    assert str(path) in json.loads(memo.read_text())


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file/cache"))
    path = tmp_path / "large"
    path.write_bytes(b"a" * LARGE)
    assert fp.digest(path) == hashlib.sha256(b"a" * LARGE).hexdigest()


def test_every_part_and_every_name_counts(memo: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    prints = [
        fp.fingerprint(["a"]),
        fp.fingerprint(["b"]),
        fp.fingerprint(["a", "b"]),
        fp.fingerprint(["ab"]),
        fp.fingerprint(["a"], [("x", one)]),
        fp.fingerprint(["a"], [("y", one)]),
        fp.fingerprint(["a"], [("x", two)]),
        fp.fingerprint(["a"], [("x", one), ("y", two)]),
    ]
    assert len(set(prints)) == len(prints)
    assert fp.fingerprint(["a"], [("y", two), ("x", one)]) == prints[-1]
    assert not memo.exists()
