"""The vector cache: what went in comes out bit for bit, whatever is killed, damaged, full or shared in between."""

from __future__ import annotations

import hashlib
import inspect
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.small_disk import small_disk

from graft.store import cache as cache_module
from graft.store.cache import _ROW_OVERHEAD, VectorCache

FLOATS = st.floats(width=32, allow_nan=True, allow_infinity=True)
KEYS = st.sampled_from([f"{space}:{digest}" for space in ("aa:f32", "aa:f16", "bb:f32") for digest in "0123456"])


def vector_of(key: str, dim: int = 64) -> NDArray[np.float32]:
    """A vector that anybody can recompute from its key."""
    seed = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def keys_of(count: int, space: str = "fp:f32") -> list[str]:
    return [f"{space}:{i:032x}" for i in range(count)]


def filled(path: Path, count: int, *, limit: int = 1 << 30, space: str = "fp:f32", reference: str = "") -> VectorCache:
    cache = VectorCache.open(path, limit=limit)
    cache.put({key: vector_of(key) for key in keys_of(count, space)}, reference=reference)
    return cache


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `code` with the two functions above at hand."""
    header = "import hashlib, random, sys\nimport numpy as np\nfrom pathlib import Path\nfrom graft.store.cache import VectorCache\n"
    functions = "\n".join(inspect.getsource(function) for function in (vector_of, keys_of))
    header = f"from __future__ import annotations\n{header}\n{functions}\n"
    return subprocess.Popen(
        [sys.executable, "-c", header + textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True
    )


def test_vectors_come_back_bit_for_bit(tmp_path: Path) -> None:
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3.4e38], np.float32)
    with VectorCache.open(tmp_path / "c") as cache:
        cache.put({"fp:f32:a": odd, "fp:f16:a": odd[::2]})
    with VectorCache.open(tmp_path / "c") as cache:
        found = cache.get(["fp:f32:a", "fp:f16:a", "fp:f32:b", "other:f32:a"])
    assert set(found) == {"fp:f32:a", "fp:f16:a"}
    assert found["fp:f32:a"].tobytes() == odd.tobytes()
    assert found["fp:f16:a"].tobytes() == odd[::2].tobytes()
    assert found["fp:f32:a"].dtype == np.float32


def test_more_keys_than_one_query_takes(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 1700) as cache:
        found = cache.get(keys_of(1800))
    assert len(found) == 1700
    assert all(np.array_equal(vector, vector_of(key)) for key, vector in found.items())


class Model:
    """The cache as a dict: key -> (vector, time of last use, order of arrival)."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rows: dict[str, tuple[bytes, int, int]] = {}
        self.arrivals = 0

    def size(self) -> int:
        return sum(len(vector) + _ROW_OVERHEAD for vector, _, _ in self.rows.values())

    def get(self, keys: list[str], now: int) -> dict[str, bytes]:
        for key in keys:
            if key in self.rows:
                vector, _, arrival = self.rows[key]
                self.rows[key] = (vector, now, arrival)
        return {key: self.rows[key][0] for key in keys if key in self.rows}

    def put(self, vectors: dict[str, bytes], now: int) -> None:
        by_space: dict[str, list[str]] = {}
        for key in vectors:
            by_space.setdefault(key.rpartition(":")[0], []).append(key)
        for keys in by_space.values():
            for key in keys:
                self.arrivals += 1
                self.rows[key] = (vectors[key], now, self.arrivals)
        if self.size() > self.limit:
            for key in sorted(self.rows, key=lambda key: self.rows[key][1:]):
                if self.size() <= int(self.limit * 0.9):
                    break
                del self.rows[key]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.lists(KEYS, max_size=8)),
        st.tuples(st.just("put"), st.dictionaries(KEYS, st.lists(FLOATS, min_size=1, max_size=40), max_size=6)),
        st.tuples(st.just("clear"), st.sampled_from(["aa", "bb", "cc"])),
        st.tuples(st.just("reopen"), st.none()),
    ),
    max_size=15,
)


@given(operations=OPERATIONS, limit=st.integers(0, 5000))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_behaves_like_a_dict_with_a_limit(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    operations: list[tuple[str, object]],
    limit: int,
) -> None:
    path = tmp_path_factory.mktemp("model") / "c"
    clock = iter(range(1, 10_000))
    now = 0
    monkeypatch.setattr(cache_module, "_TOUCH_AFTER", 0.0)
    monkeypatch.setattr(cache_module, "_PENDING_TOUCHES", 1)
    monkeypatch.setattr("graft.store.cache.time.time", lambda: now)
    cache, model = VectorCache.open(path, limit=limit), Model(limit)
    for name, value in operations:
        now = next(clock)
        if name == "get":
            assert isinstance(value, list)
            found = {key: vector.tobytes() for key, vector in cache.get(value).items()}
            assert found == model.get(value, now)
        elif name == "put":
            assert isinstance(value, dict)
            vectors = {key: np.array(floats, np.float32) for key, floats in value.items()}
            cache.put(vectors)
            if limit and vectors:
                model.put({key: vector.tobytes() for key, vector in vectors.items()}, now)
        elif name == "clear":
            gone = [key for key in model.rows if key.startswith(str(value))]
            assert cache.clear(str(value)) == len(gone)
            for key in gone:
                del model.rows[key]
        else:
            cache.close()
            cache = VectorCache.open(path, limit=limit)
        stats = cache.stats()
        assert (stats.entries, stats.bytes) == (len(model.rows), model.size())
        assert stats.bytes <= limit
    cache.close()


def test_an_hour_passes_before_a_use_is_noted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("graft.store.cache.time.time", lambda: clock)
    cache = filled(tmp_path / "c", 10)
    first, second, *_ = keys_of(10)
    clock += 10
    cache.get([first])
    clock += 3600
    cache.get([second])
    cache.limit = 9 * (64 * 4 + _ROW_OVERHEAD)
    cache.put({"fp:f32:new": vector_of("new")})
    left = set(cache.get(keys_of(10)))
    assert first not in left  # its use was too soon to be noted
    assert second in left
    cache.close()


def test_stats_and_clear_by_encoder(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 30, space="fp:f32", reference="minilm") as cache:
        cache.put({key: vector_of(key) for key in keys_of(20, "fp:f16")}, reference="minilm")
        cache.put({key: vector_of(key) for key in keys_of(10, "other:f32")}, reference="hub:a/b")
        stats = cache.stats()
        assert [(s.fingerprint, s.format, s.reference, s.entries) for s in stats.spaces] == [
            ("fp", "f32", "minilm", 30),
            ("fp", "f16", "minilm", 20),
            ("other", "f32", "hub:a/b", 10),
        ]
        assert (stats.entries, stats.bytes) == (60, 60 * (64 * 4 + _ROW_OVERHEAD))
        assert cache.clear("nobody") == 0
        assert cache.clear("minilm") == 50
        assert cache.stats().entries == 10
        assert cache.clear() == 10
        assert cache.stats().spaces == ()


def test_clearing_gives_the_space_back(tmp_path: Path) -> None:
    with filled(tmp_path / "c", 5000) as cache:
        cache.clear()
        cache.clear()
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 300_000


def test_the_file_stays_near_the_limit(tmp_path: Path) -> None:
    limit, keys, vector = 2_000_000, keys_of(30_000), vector_of("x")
    with VectorCache.open(tmp_path / "c", limit=limit) as cache:
        for start_at in range(0, len(keys), 1000):
            cache.put(dict.fromkeys(keys[start_at : start_at + 1000], vector))
            assert cache.stats().bytes <= limit
    assert (tmp_path / "c").stat().st_size < 1.3 * limit


def test_a_damaged_row_is_dropped(tmp_path: Path) -> None:
    filled(tmp_path / "c", 10).close()
    with sqlite3.connect(tmp_path / "c") as db:
        db.execute("UPDATE vectors SET vector = zeroblob(256) WHERE id = 3")
        db.execute("UPDATE vectors SET vector = x'00' WHERE id = 4")
    db.close()
    with VectorCache.open(tmp_path / "c") as cache:
        found = cache.get(keys_of(10))
        assert set(found) == set(keys_of(10)) - set(keys_of(4)[2:])
        assert cache.stats().entries == 8
        cache.put({key: vector_of(key) for key in keys_of(10)})
        assert len(cache.get(keys_of(10))) == 10


def test_two_rows_swapped_are_noticed(tmp_path: Path) -> None:
    filled(tmp_path / "c", 10).close()
    with sqlite3.connect(tmp_path / "c") as db:
        db.execute("UPDATE vectors SET id = 100 - id")
        db.execute("UPDATE entries SET id = 89 + id")
    db.close()
    with VectorCache.open(tmp_path / "c") as cache:
        assert cache.get(keys_of(10)) == {}


@pytest.mark.parametrize("damage", ["text", "cut", "noise", "empty"])
def test_a_damaged_file_is_moved_aside(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "c"
    filled(path, 2000).close()
    data = bytearray(path.read_bytes())
    if damage == "text":
        data[:] = b"this is no database, it only stands where one should be\n" * 1000
    elif damage == "cut":
        del data[len(data) // 3 :]
    elif damage == "noise":
        data[100:] = random.Random(0).randbytes(len(data) - 100)
    else:
        data.clear()
    path.write_bytes(data)
    with VectorCache.open(path) as cache:
        for key, vector in cache.get(keys_of(2000)).items():
            assert np.array_equal(vector, vector_of(key))
        cache.put({key: vector_of(key) for key in keys_of(2000)})
        assert len(cache.get(keys_of(2000))) == 2000
        if damage != "empty":
            assert "damaged" in cache.note
            assert "moved to" in caplog.text
            assert path.with_name("c.damaged").exists()


def test_random_flips_never_give_a_wrong_vector(tmp_path: Path) -> None:
    path = tmp_path / "c"
    filled(path, 300).close()
    whole = path.read_bytes()
    rng = random.Random(1)
    for _ in range(25):
        data = bytearray(whole)
        for _ in range(20):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with VectorCache.open(path) as cache:
            for key, vector in cache.get(keys_of(300)).items():
                assert np.array_equal(vector, vector_of(key))
            cache.put({"fp:f32:new": vector_of("new")})
            assert cache.get(["fp:f32:new"])["fp:f32:new"].tobytes() == vector_of("new").tobytes()
            cache.stats()


def test_a_folder_that_cannot_be_made_turns_the_cache_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = filled(tmp_path / "file" / "c", 3)
    assert not cache.usable
    assert "GRAFT_CACHE" in cache.note
    assert "encoding goes on without it" in caplog.text
    assert cache.get(keys_of(3)) == {}
    assert (cache.stats().entries, cache.clear()) == (0, 0)
    cache.close()


def test_a_full_disk_turns_the_cache_off_and_keeps_the_rows_readable(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        cache = filled(disk / "c", 100)
        for number in range(25):
            cache.put({key: vector_of(key) for key in keys_of(200, f"more{number}:f32")})
        assert not cache.usable
        assert "full" in cache.note
        assert cache.get(keys_of(100)) == {}
        (disk / "c").rename(disk / "still")  # what was whole before is whole still
        for end in ("-wal", "-shm"):
            if (disk / f"c{end}").exists():
                (disk / f"c{end}").rename(disk / f"still{end}")
        with VectorCache.open(disk / "still") as again:
            assert len(again.get(keys_of(100))) == 100


def test_a_read_only_disk_turns_the_cache_off(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "8m") as disk:
        filled(disk / "c", 10).close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with VectorCache.open(disk / "c") as cache:
            assert not cache.usable
            assert cache.get(keys_of(10)) == {}
            assert "cannot be used" in cache.note


def test_a_lock_held_for_long_costs_one_put_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_BUSY_SECONDS", 0.05)
    with filled(tmp_path / "c", 5) as cache:
        other = sqlite3.connect(tmp_path / "c", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        cache.put({"fp:f32:late": vector_of("late")})
        assert len(cache.get(keys_of(5))) == 5
        other.execute("ROLLBACK")
        other.close()
        assert cache.get(["fp:f32:late"]) == {}
        cache.put({"fp:f32:late": vector_of("late")})
        assert set(cache.get(["fp:f32:late"])) == {"fp:f32:late"}


def test_several_processes_at_once(tmp_path: Path) -> None:
    code = """
        cache = VectorCache.open(Path(sys.argv[1]), limit=1 << 30)
        for round in range(15):
            keys = keys_of(60, f"{sys.argv[2]}:f32")
            shared = keys_of(60, "shared:f32")
            cache.put({key: vector_of(key) for key in keys[round * 4 : round * 4 + 4] + shared[round * 4 : round * 4 + 4]})
            for key, vector in cache.get(shared).items():
                assert np.array_equal(vector, vector_of(key))
        assert len(cache.get(keys)) == 60
        print(cache.note or "fine")
        """
    children = [start(code, str(tmp_path / "c"), f"p{number}") for number in range(3)]
    assert [child.communicate()[0].strip() for child in children] == ["fine"] * 3
    with VectorCache.open(tmp_path / "c") as cache:
        assert cache.stats().entries == 4 * 60
        assert len(cache.get(keys_of(60, "shared:f32"))) == 60


KILLS = 300 if os.environ.get("GRAFT_SOAK") else 8


@pytest.mark.soak
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A writer is killed at random moments: the file opens, every row is right, and the sums agree with the rows."""
    code = """
        rng = random.Random(int(sys.argv[2]))
        cache = VectorCache.open(Path(sys.argv[1]), limit=600_000)
        print("ready", flush=True)
        while True:
            keys = [f"fp:f32:{rng.randrange(3000):032x}" for _ in range(rng.randrange(1, 200))]
            cache.put({key: vector_of(key) for key in keys})
            cache.get(keys)
        """
    rng = random.Random(2)
    children = [start(code, str(tmp_path / "c"), str(number)) for number in range(2)]
    for number in range(KILLS):
        child = children.pop(0)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.05))
        child.send_signal(signal.SIGKILL)
        child.communicate()
        children.append(start(code, str(tmp_path / "c"), str(number + 2)))
        with VectorCache.open(tmp_path / "c", limit=1 << 30) as cache:
            assert cache.note == ""
            for key, vector in cache.get(keys_of(3000)).items():
                assert np.array_equal(vector, vector_of(key))
    for child in children:
        child.kill()
        child.communicate()
    with VectorCache.open(tmp_path / "c", limit=1 << 30) as cache:
        stats = cache.stats()
        assert stats.entries == len(cache.get(keys_of(3000))) > 0
        assert stats.bytes == stats.entries * (64 * 4 + _ROW_OVERHEAD) <= 600_000


def test_closed_means_empty(tmp_path: Path) -> None:
    cache = filled(tmp_path / "c", 3)
    cache.close()
    assert not cache.usable
    assert cache.get(keys_of(3)) == {}
    cache.put({"fp:f32:x": vector_of("x")})
    cache.flush()
