"""People of few likes: who gets popularity, decided where it is proven, kept, answered by, told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.recommending.small_likes import SEA, TITLES, likes, saved

from graft.interactions.likes import Interactions
from graft.interactions.partition import at_random, leave_last_out, validation
from graft.recommenders.base import Float32Array, Histories, histories_from, histories_of
from graft.recommenders.popularity import Popularity
from graft.recommending import artefact, cold
from graft.recommending.contest import Contest, Entry, Exam, Rules
from graft.recommending.models import KINDS
from graft.recommending.opened import OpenedRecommender, open_recommender
from graft.recommending.report import measure_of
from graft.recommending.result import Short
from graft.recommending.short import Few, Leaning, said, short_histories
from graft.results import Interval
from graft.towers.known import Known

NDCG = measure_of("ndcg@10")


class Circles:
    """Knows a person's circle from more than `slow` likes; from fewer it tells everybody the other one."""

    def __init__(self, slow: int) -> None:
        self.slow = slow
        self.learned_from: list[int] = []

    def fit(self, rows: Interactions, *_: object) -> Circles:
        self.learned_from.append(len(np.unique(rows.user_N)))
        return self

    def scores(self, histories: Histories) -> Float32Array:
        own_BI = np.repeat(
            np.stack([np.asarray(histories.matrix[:, h].sum(1)).ravel() for h in (slice(6), slice(6, 12))], 1), 6, 1
        )
        few_B1 = (np.diff(histories.matrix.indptr) <= self.slow)[:, None]
        return np.where(few_B1, -own_BI, own_BI).astype(np.float32)


def contest(slow: int, validation: Exam, test: Exam) -> tuple[Contest, Circles]:
    """Of popularity and of circles, which were chosen."""
    model: Any = Circles(slow)
    kind: Any = SimpleNamespace(name="circles", model=Circles, fit=model.fit)
    plain = Popularity.fit(validation.cut.train)
    entries = (
        Entry(KINDS["popularity"], settings={"days": None}, validation=validation.take(plain), test=test.take(plain)),
        Entry(kind, validation=validation.take(model), test=test.take(model)),
    )
    return Contest(entries, entries[1], model, ""), model


def decided(slow: int, rows: Interactions) -> tuple[Short | None, Few | None]:
    cut = leave_last_out(rows) if rows.time_N is not None else at_random(rows)
    rehearsal, exam = Exam(validation(cut)), Exam(cut)
    return short_histories(contest(slow, rehearsal, exam)[0], rehearsal, exam, Rules("ndcg@10", 1.0, 0, Known()))


@pytest.mark.parametrize("times", [True, False])
def test_popularity_answers_where_it_is_proven(times: bool) -> None:
    rows = likes() if times else replace(likes(), time_N=None)
    told, few = decided(1, rows)
    assert told is not None and few == Few(known=told.known_likes, new=1, days=None)
    assert told.new["1"].low is not None and told.new["1"].low > 0 and told.new_test["1"].value > 0
    if times:  # without, too few people have two likes to learn from
        assert told.new["2"].value < 0, "from two likes the circle is known"
    assert "10" not in told.new, "nobody has so many"
    none, nobody = decided(0, rows)
    assert none is not None and none.new_likes == none.known_likes == 0 and nobody is None
    assert none.new["1"].high is not None and none.new["1"].high < 0 and not none.new_test


def test_people_who_are_known_are_another_matter() -> None:
    """Everybody has two known likes in validation: nothing is proven of known people with one."""
    told, few = decided(2, likes())
    assert told is not None and few is not None
    assert (few.known, few.new) == (0, 2) and set(told.known) == {"2"} and told.known["2"].value > 0


def test_new_people_are_new_to_the_models() -> None:
    cut = leave_last_out(likes())
    rehearsal, exam = Exam(validation(cut)), Exam(cut)
    found, model = contest(0, rehearsal, exam)
    short_histories(found, rehearsal, exam, Rules("ndcg@10", 1.0, 0, Known()))
    assert model.learned_from == [32] * 5, "a fifth of forty people at a time"


def test_nothing_is_decided_where_popularity_was_chosen_or_nobody_can_be_asked() -> None:
    cut = leave_last_out(likes())
    rehearsal, exam = Exam(validation(cut)), Exam(cut)
    found, _ = contest(1, rehearsal, exam)
    rules = Rules("ndcg@10", 1.0, 0, Known())
    assert short_histories(replace(found, chosen=found.entries[0]), rehearsal, exam, rules) == (None, None)
    some = likes().rows(likes().user_N % 4 == 0)  # ten people
    told, few = decided(1, some)
    assert few is None and told is not None and not told.new
    assert said(told, "circles", NDCG) == ()


def test_newcomers_leave_most_people_to_learn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "GIVEN", (1, 3))
    cut = leave_last_out(likes())
    rehearsal, exam = Exam(validation(cut)), Exam(cut)
    found, model = contest(1, rehearsal, exam)
    rows = cold.newcomers(found, exam, Rules("ndcg@10", 1.0, 0, Known()))
    assert [row.what for row in rows] == [
        "new people: popularity",
        "new people: circles, from 1 like",
        "new people: circles, from 3 likes",
    ]
    assert {row.n for row in rows} == {8} and model.learned_from == [32]
    assert rows[2].metrics["ndcg@10"].value > rows[1].metrics["ndcg@10"].value


def test_rows_of_a_batch_by_hand() -> None:
    rows = likes()
    model, popular = Circles(0), Popularity.fit(rows)
    leaning = Leaning(model, popular, Few(known=0, new=2, days=None))
    new = histories_from([[], [0], [0, 1], [0, 1, 2]], 12)
    np.testing.assert_array_equal(leaning.scores(new)[:3], np.repeat(popular.popular()[None], 3, 0))
    np.testing.assert_array_equal(leaning.scores(new)[3], model.scores(new)[3])
    some = rows.rows(np.arange(len(rows)) % 4 == 0)  # one like each
    known = histories_of(some, np.array([0, 1]))
    np.testing.assert_array_equal(leaning.scores(known), model.scores(known))
    leaning = Leaning(model, popular, Few(known=1, new=0, days=None))
    np.testing.assert_array_equal(leaning.scores(known)[1], popular.popular())
    np.testing.assert_array_equal(leaning.scores(new)[1:], model.scores(new)[1:])


def opened(path: Path, few: Few | None) -> OpenedRecommender:
    path.mkdir()
    artefact.write(path, replace(saved(), few=few), "# films")
    return open_recommender(path)


def test_the_answer_says_that_too_little_is_known(tmp_path: Path) -> None:
    films = opened(tmp_path / "a", Few(known=0, new=2, days=2.0))
    (one, two, three) = films.recommend(histories=[["Salt"], ["Salt", "Tide"], ["Salt", "Tide", "Gulls"]], k=3)
    assert one.notes == ("1 like is too few to tell a taste by; this is what most people like lately",)
    assert two.notes == ("2 likes are too few to tell a taste by; this is what most people like lately",)
    assert three.notes == () and {r.title for r in three.recommendations} == set(SEA) - set(three.asked)
    assert one.asked == ("Salt (2004)",) and all(r.reason.startswith("liked by ") for r in one.recommendations)
    order = np.argsort(-Popularity.fit(likes(), days=2.0).popular(), kind="stable")
    assert [r.title for r in one.recommendations] == [TITLES[i] for i in order if TITLES[i] != "Salt (2004)"][:3]
    (nobody, known) = films.recommend(["nobody", "p00"], k=2)
    assert len(nobody.notes) == 1 and "nobody called" in nobody.notes[0]
    assert known.notes == () and {r.title for r in known.recommendations} <= set(SEA)


def test_known_people_of_few_likes(tmp_path: Path) -> None:
    (known,) = opened(tmp_path / "a", Few(known=4, new=0, days=None)).recommend(["p00"], k=3)
    assert known.notes == ("4 likes are too few to tell a taste by; this is what most people like",)


def test_a_folder_from_before_is_read(tmp_path: Path) -> None:
    """Without the choice the model answers everybody, as it always did; with it, the folder says so in one place."""
    old, new = opened(tmp_path / "old", None), opened(tmp_path / "new", Few(1, 1, None))
    trees = [json.loads((tmp_path / name / "graft.json").read_text()) for name in ("old", "new")]
    assert "few" not in trees[0] and trees[1]["few"] == {"known": 1, "new": 1, "days": None}
    assert old.few is None and new.few == Few(1, 1, None)
    (first,) = old.recommend(histories=[["Salt"]], k=3)
    assert first.notes == () and {r.title for r in first.recommendations} <= set(SEA)


def test_told_in_sentences() -> None:
    gain, worse = Interval(0.029, 0.016, 0.043, 582), Interval(-0.027, -0.046, -0.01, 571)
    short = Short(
        instead="recent-popularity",
        known_likes=0,
        new_likes=1,
        new={"1": gain, "2": worse},
        new_test={"1": Interval(0.062, 0.046, 0.081, 593)},
    )
    assert said(short, "als", NDCG) == (
        "To a new person who names 1 like what most people like lately (recent-popularity) is recommended: it gains +0.029 (+0.016 to +0.043) in "
        "nDCG@10 (582 people, 1 like) over als on the validation part; measured once, on the test part, +0.062 (+0.046 to +0.081) in nDCG@10 (593 "
        "people, 1 like).",
    )
    _, known = said(replace(short, known_likes=2, known={"1": gain, "2": gain}), "als", NDCG)
    assert known.startswith("To a known person with at most 2 likes what") and known.endswith(
        "(582 people, 2 likes) over als on the validation part."
    )
    neither = Short(instead="popularity", known_likes=0, new_likes=0, new={"1": worse, "2": worse})
    assert said(neither, "als", NDCG) == (
        "From 1 like als answers new people, too: what most people like (popularity) is not beyond doubt better for them, −0.027 (−0.046 to −0.010) "
        "in nDCG@10 (571 people, 1 like) on the validation part.",
    )
