"""A search keeps every finished trial at once, goes on where it was killed, and says what failed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.errors import DataError, MissingError, ModelError, StorageError, UsageError
from graft.fitting.proposals import Grid
from graft.fitting.searching import Part, Record, Tried, read_search, search, search_folder
from graft.fitting.space import Axis, Settings
from graft.results import TuneTrial

CLASSES = 3
Y = np.arange(30) % CLASSES
PART = Part(Y, np.ones(30, bool), "accuracy")
AXES = (Axis("right", (24, 12, 28, 29)), Axis("sure", (1.0, 3.0)))
DEFAULTS = {"right": 20, "sure": 1.0}


def answers(tried: Settings) -> NDArray[np.float32]:
    """Logits that are right for the first `right` items, by a margin of `sure`; of the defaults for no settings."""
    right, sure = (tried or DEFAULTS)["right"], (tried or DEFAULTS)["sure"]
    if right == 12:
        raise ModelError("The loss was nan at step 3 of 9.")
    guess = np.where(np.arange(30) < right, Y, (Y + 1) % CLASSES)
    return np.float32(sure) * np.eye(CLASSES, dtype=np.float32)[guess]


def go(
    folder: Path, run: Callable[[Settings], NDArray[np.float32]] = answers, left: float | None = None, key: str = "k"
) -> tuple[Record, Tried | None]:
    record = Record.open(folder, "graft tune", key)
    best, _ = search(record, PART, run, Grid(AXES), DEFAULTS, most=None, left=lambda: left)
    return record, best


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "trials.jsonl").read_text().splitlines()]


def test_the_defaults_come_first_and_the_best_is_told_apart(tmp_path: Path) -> None:
    record = Record.open(tmp_path / "s", "graft tune", "k")
    best, gain = search(record, PART, answers, Grid(AXES), DEFAULTS, most=None, left=lambda: None)
    told = [trial.told for trial in record.trials]
    assert [trial.number for trial in told] == list(range(9))
    assert told[0].settings == DEFAULTS and told[0].score == pytest.approx(20 / 30)
    failed = [trial for trial in told if trial.status == "failed"]
    assert [trial.settings["right"] for trial in failed] == [12, 12]
    assert {trial.reason for trial in failed} == {"The loss was nan at step 3 of 9."}
    assert {trial.score for trial in failed} == {None}
    assert best is not None and best.told.settings["right"] == 29 and best.told.score == pytest.approx(29 / 30)
    assert best.told.low is not None and best.told.low < 29 / 30 < 1.0 == round(best.told.high or 0, 1)
    assert gain is not None and gain.value == pytest.approx(9 / 30) and gain.n == 30
    assert gain.low is not None and gain.low > 0
    assert sorted(path.name for path in (tmp_path / "s" / "answers").iterdir()) == ["0.npy", f"{best.told.number}.npy"]


def test_equal_scores_are_told_apart_by_log_loss() -> None:
    shy = np.eye(CLASSES, dtype=np.float32)[np.where(np.arange(30) < 20, Y, (Y + 1) % CLASSES)]
    wavering = shy.copy()
    wavering[20:] *= 0.1  # as many right, and unsure where it is wrong
    worse, better = (
        Tried(TuneTrial(n, {}, score=PART.score(logits)[0].value), PART.score(logits)[1])
        for n, logits in enumerate((shy, wavering))
    )
    assert worse.told.score == better.told.score
    assert PART.better(better, worse) and not PART.better(worse, better) and not PART.better(worse, worse)


def test_log_loss_is_better_when_it_is_lower() -> None:
    part = Part(Y, np.arange(30) < 27, "log_loss")
    good, bad = (answers({"right": right, "sure": 1.0}) for right in (24, 16))
    low, high = part.score(good)[0], part.score(bad)[0]
    assert low.value < high.value and low.n == 27
    found = [Tried(TuneTrial(n, {}, score=s.value), -s.value) for n, s in enumerate((high, low))]
    assert part.better(found[1], found[0])
    gain = part.gain(good, bad)
    assert gain.value > 0 and gain.n == 27
    assert low.value == pytest.approx(best_loss(24 / 27), rel=0.01)


def best_loss(share: float) -> float:
    """Log loss of one confidence for all items, at the best temperature: the entropy of being right, and which of two wrong ones."""
    return float(-share * np.log(share) - (1 - share) * np.log((1 - share) / (CLASSES - 1)))


def test_a_search_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    count = 0

    def interrupted(tried: Settings) -> NDArray[np.float32]:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return answers(tried)

    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "a", interrupted)
    assert len(lines(tmp_path / "a")) == 3
    with (tmp_path / "a" / "trials.jsonl").open("a") as stream:
        stream.write('{"number": 3, "settin')  # a process that was killed while it wrote
    record, best = go(tmp_path / "a")
    whole, best_of_whole = go(tmp_path / "b")
    assert timeless(tmp_path / "a") == timeless(tmp_path / "b")
    assert best is not None and best_of_whole is not None
    assert best.told.number == best_of_whole.told.number
    assert record.logits(best) is not None and record.before > 0

    def never(tried: Settings) -> NDArray[np.float32]:
        raise AssertionError(f"{tried} was tried before")

    again, _ = go(tmp_path / "a", never)
    assert len(again.trials) == len(whole.trials)


def timeless(folder: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in line.items() if key not in ("seconds", "elapsed")} for line in lines(folder)]


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import test_searching as t
from graft.fitting import searching
from pathlib import Path
real, count = searching._append, 0
def append(path, tree):
    global count
    count += 1
    if count == 3 and {early}:
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, tree)
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
searching._append = append
t.go(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("early", [True, False])
def test_kill_9_loses_at_most_the_trial_under_way(tmp_path: Path, early: bool) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent), early=early)
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(lines(tmp_path / "a")) == (2 if early else 3)
    record, best = go(tmp_path / "a")
    assert [trial.told.number for trial in record.trials] == list(range(9))
    assert best is not None and best.told.settings["right"] == 29


def test_time_that_is_up_begins_no_trial(tmp_path: Path) -> None:
    record, best = go(tmp_path / "a", left=0.0)
    assert record.trials == [] and best is None
    record, best = go(tmp_path / "a", left=5.0)
    assert len(record.trials) == 9 and best is not None


def test_what_is_missing_or_full_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(tried: Settings) -> NDArray[np.float32]:
        del tried
        raise MissingError("peft")

    with pytest.raises(MissingError):
        go(tmp_path / "a", missing)
    real = os.write

    def short(descriptor: int, data: bytes) -> int:
        return real(descriptor, data[:10])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)):
        go(tmp_path / "b")
    monkeypatch.undo()
    assert (tmp_path / "b" / "trials.jsonl").read_bytes() == b""  # nothing half-written
    record, _ = go(tmp_path / "b")
    assert len(record.trials) == 9


def test_answers_that_are_no_numbers_fail(tmp_path: Path) -> None:
    record, best = go(tmp_path / "a", lambda tried: answers(tried) * np.float32("nan" if tried else 1))
    assert {trial.told.status for trial in record.trials[1:]} == {"failed"}
    assert best is not None and best.told.number == 0
    record, best = go(tmp_path / "b", lambda _: answers({}) * np.float32("nan"))
    assert best is None and record.trials[0].told.reason == "its answers are no finite numbers"


def test_another_search_is_not_mixed_in(tmp_path: Path) -> None:
    go(tmp_path / "a")
    with pytest.raises(UsageError, match="on other items, with another encoder or by another version"):
        go(tmp_path / "a", key="other")
    with pytest.raises(UsageError, match="holds another search, `graft tune`"):
        search_folder(tmp_path / "a", "n", "graft tune --seed 1")
    (tmp_path / "b").mkdir()
    assert search_folder(tmp_path / "b", "n", "c") == tmp_path / "b" and read_search(tmp_path / "b") is None
    (tmp_path / "b" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="exists and is no search"):
        search_folder(tmp_path / "b", "n", "c")
    path = tmp_path / "a" / "search.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(UsageError, match="newer Graft"):
        read_search(tmp_path / "a")


def test_without_out_the_same_search_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = search_folder(None, "my digits", "graft tune")
    assert first == Path("graft-out/my-digits-tune")
    go(first)
    assert search_folder(None, "my digits", "graft tune") == first
    assert search_folder(None, "my digits", "graft tune --seed 1") == Path("graft-out/my-digits-tune-2")


def test_damage_is_named(tmp_path: Path) -> None:
    go(tmp_path / "a")
    path = tmp_path / "a" / "trials.jsonl"
    text = path.read_text().splitlines(keepends=True)
    path.write_text("".join([text[0], text[2], *text[3:]]))
    with pytest.raises(DataError, match=r"trials\.jsonl is damaged in line 2 \(number 2\)"):
        go(tmp_path / "a")
    path.write_text(text[0] + "nonsense\n")
    with pytest.raises(DataError, match="line 2"):
        go(tmp_path / "a")
