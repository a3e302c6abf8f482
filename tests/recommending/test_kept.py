"""What was measured is not measured again: same values, same end of the budget, and another comparison is another matter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tests.recommending.small_likes import likes

from graft import settings
from graft.errors import DataError, StorageError
from graft.interactions.partition import leave_last_out, validation
from graft.metrics.recommend import Ranked
from graft.recommending import contest as contests
from graft.recommending.contest import Contest, Exam, Rules, contest
from graft.recommending.kept import Kept
from graft.recommending.models import KINDS, Kind, with_tower
from graft.towers.known import Known
from graft.trainers import loop

NAMES = ("popularity", "item-knn", "with-trend")
CUT = leave_last_out(likes())


class Counted:
    """A comparison whose fits are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits: list[str] = []
        real = Kind.fit

        def fit(kind: Kind, *given: object) -> object:
            self.fits.append(kind.name)
            return real(kind, *given)  # type: ignore[arg-type]

        monkeypatch.setattr(Kind, "fit", fit)

    def run(self, kept: Kept, seconds: float = 1e6) -> Contest:
        self.fits.clear()
        rules = Rules("ndcg@10", seconds, 0, Known(), kept)
        return contest([KINDS[name] for name in NAMES], Exam(validation(CUT)), Exam(CUT), rules)


def same(one: Ranked | None, other: Ranked | None) -> bool:
    assert one is not None and other is not None
    return one.each.keys() == other.each.keys() and all(np.array_equal(one.each[n], other.each[n]) for n in one.each)


def test_nothing_is_measured_twice_and_the_answer_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Counted(monkeypatch)
    plain = count.run(Kept())
    fits = len(count.fits)
    count.run(Kept(tmp_path / "a"))
    assert len(count.fits) == fits
    again = count.run(Kept(tmp_path / "a"))
    assert count.fits == [again.chosen.kind.name]  # the chosen one's model is wanted itself
    assert (again.why, again.chosen.kind) == (plain.why, plain.chosen.kind)
    for one, other in zip(again.entries, plain.entries, strict=True):
        assert (one.settings, one.tried, one.status) == (other.settings, other.tried, other.status)
        assert same(one.validation, other.validation) and same(one.test, other.test)
        assert one.test is not None and other.test is not None
        assert (one.test.gini, one.test.coverage, one.test.tail) == (
            other.test.gini,
            other.test.coverage,
            other.test.tail,
        )


def test_stopped_in_the_middle_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Counted(monkeypatch)
    count.run(Kept(tmp_path / "whole"))
    whole = len(count.fits)
    real, left = Exam.take, [5]

    def take(exam: Exam, model: object) -> Ranked:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(exam, model)  # type: ignore[arg-type]

    with monkeypatch.context() as stopped:
        stopped.setattr(contests.Exam, "take", take)
        with pytest.raises(KeyboardInterrupt):
            count.run(Kept(tmp_path / "a"))
    assert len(list((tmp_path / "a").iterdir())) == 5
    count.run(Kept(tmp_path / "a"))
    assert len(count.fits) == whole - 5


def test_a_training_goes_on_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two settings of the towers the second is stopped at its third step of four: the two steps before are not made again."""
    monkeypatch.setattr(loop, "TELL", 0.0)
    monkeypatch.setattr(loop, "Hooks", partial(loop.Hooks, every=0.0))
    kinds = with_tower([KINDS["popularity"], KINDS["two-tower"]], {"dims": 4, "epochs": 4}) or ()
    steps: list[int] = []

    def run(kept: Kept, most: int) -> Contest:
        def listen(stage: str, done: int, _: int) -> None:
            if stage == "two-tower":
                steps.append(done)
                if len(steps) == most:
                    raise KeyboardInterrupt

        steps.clear()
        with settings.listening(listen):
            return contest(kinds, Exam(validation(CUT)), Exam(CUT), Rules("ndcg@10", 1e6, 0, Known(), kept))

    kept = Kept(tmp_path / "a")
    whole = run(Kept(), 99)
    assert steps == [1, 2, 3, 4] * 3  # two settings, and the better one for the test part
    with pytest.raises(KeyboardInterrupt):
        run(kept, 7)
    again = run(kept, 99)
    assert steps == [3, 4, 1, 2, 3, 4]
    for one, other in zip(again.entries, whole.entries, strict=True):
        assert one.settings == other.settings and same(one.validation, other.validation) and same(one.test, other.test)
    kept.clear()
    assert not (tmp_path / "a").exists()


def test_the_budget_ends_where_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kept seconds count: a budget that they used up tries nothing more."""
    count = Counted(monkeypatch)
    first = count.run(Kept(tmp_path / "a"), seconds=1e-9)
    again = count.run(Kept(tmp_path / "a"), seconds=1e-9)
    assert [e.tried for e in first.entries] == [e.tried for e in again.entries] == [1, 1, 1]
    assert [e.seconds for e in first.entries] == [e.seconds for e in again.entries]
    more = count.run(Kept(tmp_path / "a"))
    assert more.entries[1].tried == more.entries[1].known


def test_a_damaged_file_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = Counted(monkeypatch)
    whole = count.run(Kept(tmp_path / "a"))
    files = sorted((tmp_path / "a").iterdir())
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:200])
    data = bytearray(files[2].read_bytes())
    data[len(data) // 2] ^= 255
    files[2].write_bytes(data)
    again = count.run(Kept(tmp_path / "a"))
    assert len(count.fits) >= 3 and all(same(a.test, b.test) for a, b in zip(again.entries, whole.entries, strict=True))


def test_what_cannot_be_fitted_is_said_and_not_kept(tmp_path: Path) -> None:
    def refuse() -> Ranked:
        raise DataError("too large")

    kept = Kept(tmp_path / "a")
    found = kept.once("validation", "ease", {}, refuse)
    assert (found.ranked, found.reason) == (None, "too large") and not (tmp_path / "a").exists()


def test_a_disk_that_fails_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file" / "a")
    ranked = Exam(CUT).take(KINDS["popularity"].fit(CUT.train, {}, 0, Known()))
    assert kept.once("test", "popularity", {}, lambda: ranked).ranked is ranked
    assert kept.folder is None and "would start anew" in caplog.text

    def full() -> Ranked:
        raise StorageError("The disk is full.")

    with pytest.raises(StorageError):  # of the work itself, not of what is kept of it
        kept.once("test", "popularity", {}, full)


def test_other_likes_seeds_and_knowledge_are_other_comparisons() -> None:
    other = replace(CUT, train=replace(CUT.train, weight_N=CUT.train.weight_N * 2))
    known = Known(categories=[("Sea",)] * 12)
    folders = [
        Kept.of(*of).folder for of in ((CUT, 0, Known()), (CUT, 1, Known()), (other, 0, Known()), (CUT, 0, known))
    ]
    assert len(set(folders)) == 4 and Kept.of(CUT, 0, Known()).folder == folders[0]
