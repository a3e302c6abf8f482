"""Files appear whole or not at all: full disks, forbidden folders, kills."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.small_disk import small_disk

from graft.errors import StorageError, UsageError
from graft.store import files
from graft.store.files import alone

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith(".graft-")]


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@given(data=st.binary(max_size=5000))
def test_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("bytes")
    files.write_bytes(folder / "deep" / "file.bin", data)
    assert (folder / "deep" / "file.bin").read_bytes() == data
    assert leftovers(folder) == []


@given(value=JSON)
def test_json_comes_back(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    try:
        files.write_json(path, value)
    except UnicodeEncodeError:  # lone surrogates are no text
        assert not path.exists()
    else:
        assert json.loads(path.read_text(encoding="utf-8")) == value


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    files.write_bytes(path, b"old")

    def broken(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        files.write_with(path, broken)
    assert path.read_bytes() == b"old"
    assert leftovers(tmp_path) == []


def test_the_temporary_name_keeps_the_suffix_even_of_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 240 + ".npy")
    files.write_with(path, lambda temporary: np.save(temporary, np.arange(3)))
    assert np.load(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "may not write"),
        (errno.EROFS, "read-only"),
    ],
)
def test_failures_of_the_disk_name_path_and_way_out(tmp_path: Path, code: int, hint: str) -> None:
    def failing(_: Path) -> None:
        raise OSError(code, os.strerror(code))

    def wrapped(_: Path) -> None:
        raise RuntimeError(f"I/O error: something (os error {code})")

    for write in (failing, wrapped):
        with pytest.raises(StorageError, match=hint) as caught:
            files.write_with(tmp_path / "out.bin", write)
        assert str(tmp_path / "out.bin") in str(caught.value)
        assert caught.value.exit_code == 4


def test_other_failures_pass_through(tmp_path: Path) -> None:
    def failing(_: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "something else is missing", "elsewhere")

    with pytest.raises(FileNotFoundError):
        files.write_with(tmp_path / "out.bin", failing)


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="not a folder"):
        files.write_bytes(tmp_path / "file" / "inside" / "a.bin", b"x")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        files.write_bytes(disk / "a.bin", b"old")
        with pytest.raises(StorageError, match="disk is full"):
            files.write_bytes(disk / "a.bin", bytes(200_000))
        with pytest.raises(StorageError, match="disk is full"), files.new_folder(disk / "model") as folder:
            files.write_bytes(folder / "graft.json", b"{}")
            (folder / "head").write_bytes(bytes(200_000))
        assert (disk / "a.bin").read_bytes() == b"old"
        assert [p.name for p in disk.iterdir()] == ["a.bin"]


def test_a_full_disk_inside_safetensors(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(StorageError, match="disk is full"):
            files.write_with(disk / "a.safetensors", lambda temporary: save_file({"x": np.zeros(100_000)}, temporary))
        assert list(disk.iterdir()) == []


def test_a_limit_on_file_size(tmp_path: Path) -> None:
    done = python(
        """
        import resource, signal, sys
        from pathlib import Path
        from graft.errors import StorageError
        from graft.store import files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            files.write_bytes(Path(sys.argv[1]), bytes(5000))
        except StorageError as error:
            print(error)
        """,
        str(tmp_path / "a.bin"),
    )
    assert "ulimit -f" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission(tmp_path: Path) -> None:
    """Run as nobody where the tests run as root, whom no permission stops."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    code = """
        import os, sys
        from pathlib import Path
        from graft.errors import StorageError
        from graft.store import files
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            with files.new_folder(Path(sys.argv[1])) as folder:
                print("entered")
        except StorageError as error:
            print(error)
        """
    for above in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        above.chmod(0o755)
    done = python(code, str(locked / "model"))
    assert "You may not write there" in done.stdout, done.stderr
    assert "entered" not in done.stdout


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    with files.new_folder(tmp_path / "out" / "model") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_bytes(b"1")
        assert not (tmp_path / "out" / "model").exists()
    assert (tmp_path / "out" / "model" / "deep" / "a").read_bytes() == b"1"
    assert leftovers(tmp_path) == []


def test_a_failing_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.new_folder(tmp_path / "model") as folder:
        (folder / "a").write_bytes(b"1")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_an_empty_one_used(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with files.new_folder(tmp_path / "model") as folder:
        (folder / "a").write_bytes(b"1")
    with pytest.raises(UsageError, match="choose another name"), files.new_folder(tmp_path / "model"):
        pass
    with pytest.raises(UsageError, match="choose another name"), files.new_folder(tmp_path / "late") as folder:
        (folder / "a").write_bytes(b"1")
        (tmp_path / "late").mkdir()
        (tmp_path / "late" / "theirs").write_bytes(b"2")
    assert (tmp_path / "late" / "theirs").read_bytes() == b"2"
    assert leftovers(tmp_path) == []


def test_a_folder_is_replaced_when_told(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with files.new_folder(tmp_path / "model", replace=True) as folder:
            (folder / text).write_text(text)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert leftovers(tmp_path) == []


def test_remains_of_the_dead_are_swept_those_of_the_living_kept(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    name = f".graft-{files._NODE}-{{pid}}-01234567-{{target}}"
    gone = tmp_path / name.format(pid=dead.stdout.strip(), target="a.bin")
    ours = tmp_path / name.format(pid=os.getpid(), target="b.bin")
    alive = tmp_path / name.format(pid=os.getppid(), target="c.bin")
    elsewhere = tmp_path / name.format(pid=dead.stdout.strip(), target="d.bin").replace(files._NODE, "00000000")
    moved = tmp_path / name.format(pid=dead.stdout.strip(), target="aside-model")
    for file in (gone, ours, alive, elsewhere):
        file.write_bytes(b"half")
    moved.mkdir()
    (moved / "old").write_bytes(b"1")
    files.write_bytes(tmp_path / "fresh", b"x")
    assert {p.name for p in tmp_path.iterdir()} == {alive.name, elsewhere.name, "fresh", "model"}
    assert (tmp_path / "model" / "old").read_bytes() == b"1"


def test_kill_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    """Two versions are written in turn until a kill: the file is one of them, whole, and the next writer sweeps."""
    code = """
        import sys
        from pathlib import Path
        from graft.store import files
        print("ready", flush=True)
        while True:
            for letter in (b"a", b"b"):
                files.write_bytes(Path(sys.argv[1]), letter * 300_000)
        """
    path = tmp_path / "file.bin"
    rng = random.Random(0)
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.1))
            child.send_signal(signal.SIGKILL)
        if path.exists():
            assert path.read_bytes() in (b"a" * 300_000, b"b" * 300_000)
        files._swept.discard(tmp_path)
        files.sweep(tmp_path)
        assert leftovers(tmp_path) == []


HOLDING = """
import sys, time
from pathlib import Path
from graft.store.files import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_held_by_one_process_until_it_is_through_or_killed(tmp_path: Path) -> None:
    folder = tmp_path / "above" / "folder"
    with alone(folder), pytest.raises(StorageError, match="Another process is at work"), alone(folder):
        raise AssertionError("two hold it")
    with alone(folder):  # free again
        assert not [*folder.iterdir()]
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match="name another folder"), alone(folder):
            raise AssertionError("two hold it")
        other.kill()
    with alone(folder):
        pass


def test_a_folder_that_cannot_be_made_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="not a folder"), alone(tmp_path / "file" / "folder"):
        raise AssertionError("it was made")
