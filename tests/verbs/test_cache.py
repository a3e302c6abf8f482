"""`graft cache` counts what is kept, and removes what it is told to and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft.errors import UsageError
from graft.store.cache import VectorCache
from graft.verbs.cache import cache


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with vectors of two encoders, a converted encoder, and something that is not ours."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    with VectorCache.open() as vectors:
        for name, fingerprint in (("minilm", "aa"), ("dir:mine", "bb")):
            vectors.put({f"{fingerprint}:f32:{i}": np.ones(4, np.float32) for i in range(3)}, reference=name)
    for name in (f"openvino/{'a1' * 32}/model.bin", "photos/mine.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b"1234")
    return tmp_path


def test_it_shows_what_is_kept(kept: Path) -> None:
    use = cache()
    assert use.folder == str(kept)
    assert (use.vectors.entries, use.other) == (6, {"converted encoders": 4})
    assert {space.reference for space in use.vectors.spaces} == {"minilm", "dir:mine"}


def test_it_clears_one_encoder(kept: Path) -> None:
    assert kept.is_dir()
    use = cache(clear=True, encoder="minilm")
    assert (use.removed, use.freed, use.vectors.entries) == (3, 0, 3)
    assert use.other == {"converted encoders": 4}


def test_it_clears_what_is_ours_and_nothing_else(kept: Path) -> None:
    use = cache(clear=True)
    assert (use.removed, use.freed, use.vectors.entries, use.other) == (6, 4, 0, {})
    assert (kept / "photos" / "mine.jpg").exists()


def test_a_folder_of_ones_own_keeps_what_has_our_folders_names(kept: Path) -> None:
    theirs = (
        "data/survey/a.csv",
        "data/mnist/x.gz",
        "data/digits/notes.txt",
        "openvino/tool/x.bin",
        "data/.digits-mine/x",
        "training/notes/x.txt",
    )
    ours = (
        f"training/{'0f' * 16}/a.npz",
        "data/digits/0/1.png",
        "data/.digits.abc/fresh/0/1.png",
        "openvino/converting-x/graph.xml",
    )
    for name in (*theirs, *ours):
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes(b"1234")
    use = cache()
    assert use.other == {"converted encoders": 8, "fetched data": 8, "work to go on with": 4}
    use = cache(clear=True)
    assert (use.freed, use.other) == (20, {})
    assert all((kept / name).exists() for name in theirs)
    assert not any((kept / name).exists() for name in ours)


def test_all_of_it_goes(kept: Path) -> None:
    """Folders that are empty then go too, and with them the locks, what was measured, and vectors that were set aside."""
    names = (
        "vectors-1.sqlite.damaged",
        "vectors-1.sqlite.lock",
        "fidelity.json",
        "fidelity.json.lock",
        "data/digits/0/1.png",
    )
    for name in names:
        (kept / name).parent.mkdir(parents=True, exist_ok=True)
        (kept / name).write_bytes(b"" if name.endswith(".lock") else b"12")
    assert cache().other == {
        "converted encoders": 4,
        "fetched data": 2,
        "measurements": 2,
        "damaged vectors, set aside": 2,
    }
    assert (cache(clear=True).freed, cache().other) == (10, {})
    left = {path.name for path in kept.iterdir()} - {"vectors-1.sqlite.lock"}  # looking at it makes the lock anew
    assert left <= {"photos", "vectors-1.sqlite", "vectors-1.sqlite-wal", "vectors-1.sqlite-shm"}


def test_what_cannot_be_meant_is_said(kept: Path) -> None:
    assert kept.is_dir()
    with pytest.raises(UsageError, match="--clear"):
        cache(encoder="minilm")
    with pytest.raises(UsageError, match="Did you mean 'minilm'"):
        cache(clear=True, encoder="minlm")
    cache(clear=True)
    with pytest.raises(UsageError, match="Nothing is kept"):
        cache(clear=True, encoder="minilm")


def test_an_empty_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "new"))
    use = cache(clear=True)
    assert (use.removed, use.vectors.entries, use.other) == (0, 0, {})
