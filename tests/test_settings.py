"""Settings come from the environment at the moment of asking; errors carry exit codes and near names."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft import settings
from graft.errors import DataError, GraftError, MissingError, ModelError, StorageError, UsageError, unknown


def test_folders_follow_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path))
    assert settings.cache_dir() == tmp_path
    monkeypatch.delenv("GRAFT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert settings.cache_dir() == tmp_path / "xdg" / "graft"
    monkeypatch.delenv("GRAFT_DATA", raising=False)
    assert settings.data_dir() is None


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_offline_reads_both_names(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.delenv("GRAFT_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert settings.offline() is expected


@pytest.mark.parametrize("value", ["many", "-1", "0", "inf"])
def test_numbers_from_the_environment_are_checked(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GRAFT_CACHE_GB", value)
    monkeypatch.setenv("GRAFT_THREADS", value)
    with pytest.raises(UsageError, match="GRAFT_CACHE_GB"):
        settings.cache_limit()
    with pytest.raises(UsageError, match="GRAFT_THREADS"):
        settings.threads()


def test_progress_reaches_the_listener_only_while_it_listens() -> None:
    heard: list[tuple[str, int, int]] = []
    with settings.listening(lambda *event: heard.append(event)):
        settings.progress("encode", 1, 2)
    settings.progress("encode", 2, 2)
    assert heard == [("encode", 1, 2)]


def test_words_reach_only_a_listener_that_wants_them() -> None:
    heard = []

    class Listener:
        def __call__(self, stage: str, done: int, total: int) -> None:
            heard.append((stage, f"{done} of {total}"))

        def tell(self, stage: str, text: str) -> None:
            heard.append((stage, text))

    settings.tell("train", "nobody listens")
    with settings.listening(lambda *_: None):
        settings.tell("train", "nobody listens to words")
    with settings.listening(Listener()):
        settings.progress("train", 1, 2)
        settings.tell("train", "loss 0.41")
    assert heard == [("train", "1 of 2"), ("train", "loss 0.41")]


def test_exit_codes_are_the_contract() -> None:
    codes = {
        kind: kind.exit_code for kind in (GraftError, UsageError, DataError, ModelError, MissingError, StorageError)
    }
    assert codes == {GraftError: 1, UsageError: 2, DataError: 3, ModelError: 3, MissingError: 4, StorageError: 4}


def test_an_unknown_name_is_answered_with_the_nearest_and_all() -> None:
    assert unknown("strategy", "liner-probe", ["linear-probe", "prototypes"]) == (
        "strategy 'liner-probe' is not known. Did you mean 'linear-probe'? Allowed: linear-probe, prototypes."
    )


def test_free_memory_is_the_least_of_what_is_told(tmp_path: Path) -> None:
    assert settings.free_memory(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    4000 kB\n")
    assert settings.free_memory(tmp_path) == 4000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text("1000000\n")
    (group / "memory.stat").write_text("anon 5\ninactive_file 300000\n")
    (group / "memory.max").write_text("max\n")
    assert settings.free_memory(tmp_path) == 4000 * 1024
    (group / "memory.max").write_text("2000000\n")
    assert settings.free_memory(tmp_path) == 1_300_000
    (group / "memory").mkdir()
    for name, value in (("limit_in_bytes", 900), ("usage_in_bytes", 400)):
        (group / f"memory/memory.{name}").write_text(str(value))
    (group / "memory/memory.stat").write_text("cache 7\n")
    assert settings.free_memory(tmp_path) == 500
    assert (settings.free_memory() or 0) > 0
