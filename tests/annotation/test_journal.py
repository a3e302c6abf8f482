"""Answers on disk: kept at once, after a kill at any byte, and never half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.annotation.journal import NAME, Journal
from graft.errors import DataError, StorageError


def test_what_was_answered_is_there_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.answer("a", "1", "cat")
    journal.answer("b", "2", None)
    journal.answer("c", "3", "döner\n")
    journal.undo("a")
    journal.answer("a", "1", "dog")
    again = Journal(tmp_path)  # while the first is still open, as after a kill
    assert again.answers == {"a": "dog", "b": None, "c": "döner\n"} == journal.answers
    assert again.last == "a"
    again.undo("a")
    assert "a" not in again.answers and again.last == "c"
    assert again.labels == journal.labels == ("cat", "döner\n", "dog"), "in the order of their first use"
    journal.close()
    again.close()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 400))
def test_a_torn_line_is_cut_off(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    journal = Journal(folder)
    for i in range(4):
        journal.answer(str(i), str(i), "cat")
    journal.close()
    raw = (folder / NAME).read_bytes()
    (folder / NAME).write_bytes(raw[: min(cut, len(raw))])
    whole = raw[: min(cut, len(raw))].count(b"\n")
    again = Journal(folder)
    assert list(again.answers) == [str(i) for i in range(whole)]
    again.answer("new", "9", "dog")
    again.close()
    last = Journal(folder)
    assert last.answers.get("new") == "dog" and len(last.answers) == whole + 1
    last.close()


ANSWERS_WITHOUT_END = """
import sys
from pathlib import Path
from graft.annotation.journal import Journal

journal = Journal(Path(sys.argv[1]))
with Path(sys.argv[2]).open("a") as out:
    for i in range(100_000):
        journal.answer(str(i), str(i), "cat")
        out.write(f"{i}\\n")
        out.flush()
"""


def test_no_confirmed_answer_is_lost_by_a_kill(tmp_path: Path) -> None:
    told = tmp_path / "told"
    child = subprocess.Popen([sys.executable, "-c", ANSWERS_WITHOUT_END, str(tmp_path), str(told)])
    end = time.monotonic() + 20
    while time.monotonic() < end and not (told.exists() and told.read_bytes().count(b"\n") > 20):
        time.sleep(0.005)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    confirmed = told.read_bytes().count(b"\n")
    journal = Journal(tmp_path)
    assert confirmed > 20
    assert confirmed <= len(journal.answers) <= confirmed + 1
    journal.close()


def test_lines_changed_by_hand_are_told_all_at_once(tmp_path: Path) -> None:
    good = json.dumps({"item": "a", "id": "1", "label": "cat"})
    lines = [
        good,
        "nonsense",
        json.dumps({"item": "a"}),
        json.dumps({"undo": "never"}),
        json.dumps({"item": 1, "label": 2}),
    ]
    (tmp_path / NAME).write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="was changed") as caught:
        Journal(tmp_path)
    assert [fault.where for fault in caught.value.faults] == ["line 2", "line 3", "line 4", "line 5"]


def test_a_full_disk_keeps_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.answer("a", "1", "cat")
    before = (tmp_path / NAME).read_bytes()
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, line: write(file, line[:7]))
    with pytest.raises(StorageError, match="disk is full"):
        journal.answer("b", "2", "dog")
    monkeypatch.undo()
    assert (tmp_path / NAME).read_bytes() == before
    assert journal.answers == {"a": "cat"}
    journal.close()
