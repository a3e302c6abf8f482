"""The report of a search over settings: the staircase of the best so far, and what each setting did."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reports.samples import HOSTILE
from tests.reports.test_build import Page
from tests.reports.trainings import search

from graft.reports.tune import tune_lead, tune_report, tune_view
from graft.results import Interval, TuneResult, TuneTrial, from_json, to_json


def result(*trials: TuneTrial, best: int | None = None, baseline: float | None = None) -> TuneResult:
    return TuneResult("set", "lora", "minilm", "set.csv", "grid", "accuracy", trials, best, baseline)


def trial(number: int, score: float | None, **tried: object) -> TuneTrial:
    return TuneTrial(number, tried, "measured" if score is not None else "failed", score)


def test_the_staircase_goes_through_the_bests_and_on_to_the_end() -> None:
    scores = (0.5, 0.7, 0.6, None, 0.8, 0.75)
    view = tune_view(result(*(trial(k + 1, s) for k, s in enumerate(scores)), best=5, baseline=0.6))
    p = view.picture
    assert p is not None
    at = {t: (p.x.at(t), p.y.at(s)) for t, s in enumerate(scores, 1) if s is not None}
    assert p.steps == (
        (at[1][0], at[1][1], at[2][0], at[1][1]),
        (at[2][0], at[1][1], at[2][0], at[2][1]),
        (at[2][0], at[2][1], at[5][0], at[2][1]),
        (at[5][0], at[2][1], at[5][0], at[5][1]),
        (at[5][0], at[5][1], p.x.at(6), at[5][1]),
    )
    assert [d.best for d in p.dots] == [False, False, False, True, False]
    assert p.lost == ((p.x.at(4), "try 4 failed"),)
    assert p.baseline == p.y.at(0.6) == at[3][1]
    assert not p.beyond


def test_a_lower_log_loss_is_the_better_one() -> None:
    made = replace(result(trial(1, 0.5), trial(2, 0.7), trial(3, 0.4), best=3), metric="log_loss")
    p = tune_view(made).picture
    assert p is not None
    assert [x for x, *_ in p.steps] == [p.x.at(1), p.x.at(3), p.x.at(3)]
    assert p.dots[0].y < p.dots[2].y, "lower on the page"


def test_a_poor_tenth_does_not_flatten_the_others() -> None:
    made = result(*(trial(k, 0.9 + 0.001 * k) for k in range(1, 20)), trial(20, 0.1), best=19)
    p = tune_view(made).picture
    assert p is not None and p.beyond
    assert p.y.low > 0.8 and p.dots[-1].y == 100.0


def test_says_what_the_best_rests_on() -> None:
    made = replace(result(trial(1, 0.8), trial(2, 0.9), best=2, baseline=0.85), gain=Interval(0.05, 0.01, 0.09, 5))
    assert tune_lead(made).replace("\u202f", " ") == (
        "The best of 2 tries is number 2: 90.0 %, where the defaults have 85.0 %. Paired over the same items that is +5.0 points "
        "(+1.0 to +9.0), beyond what chance gives a single try. The best of 2 measured tries flatters itself: expect a little less on new items."
    )
    unsure = replace(made, gain=Interval(0.05, -0.01, 0.11, 5))
    assert "no gain that can be told from chance" in tune_lead(unsure)
    assert tune_lead(result(trial(1, None))) == "None of the tries, 1 in all, could be measured."
    assert tune_lead(result()) == "Nothing was tried."


def test_says_when_the_defaults_are_the_best() -> None:
    made = result(TuneTrial(0, {"rate": 1e-3}, score=0.9), trial(1, 0.8, rate=1e-2), best=0, baseline=0.9)
    assert (
        tune_lead(made).replace("\u202f", " ")
        == "Of 2 tries none was better than the default settings, which reach 90.0 %."
    )
    words = Page(tune_report(made)).words
    assert "The best settings" not in words and "best, default settings" in words


def test_each_setting_has_its_picture() -> None:
    view = tune_view(search())
    slices = {s.name: s for s in view.slices}
    assert list(slices) == ["rate", "epochs", "schedule", "range_test"]
    assert slices["rate"].x.log and not slices["epochs"].x.log
    assert [t.text for t in slices["range_test"].x.ticks] in (["on", "off"], ["off", "on"])
    assert len({t.text for t in slices["schedule"].x.ticks}) == 3
    measured = [t for t in search().trials if t.score is not None]
    assert all(len(s.dots) == len(measured) and sum(d.best for d in s.dots) == 1 for s in slices.values())
    assert slices["rate"].dots[0].x == pytest.approx(slices["rate"].x.at(measured[0].settings["rate"]))


def test_a_setting_that_never_changes_has_none() -> None:
    view = tune_view(result(trial(1, 0.5, rate=1.0, kind="a"), trial(2, 0.6, rate=1.0, kind="b"), best=2))
    assert [s.name for s in view.slices] == ["kind"]


def test_the_page_holds_every_try_and_the_way_to_repeat_it() -> None:
    made = search()
    words = Page(tune_report(made)).words
    assert made.command in words and made.fit in words
    assert "measured, default settings" in words
    assert "Bayesian optimisation, seed 0" in words
    assert "failed: The loss was inf at step 12 of 90." in words
    assert "1e-5 to 1e-2, logarithmic" in words
    page = Page(tune_report(made))
    assert sum(tag == "tr" for tag, _ in page.tags) == 1 + 4 + 1 + len(
        made.trials
    )  # best settings and tries, with their heads


def test_a_search_that_came_to_nothing_has_a_page() -> None:
    for made in (result(), result(trial(1, None), trial(2, math.nan))):
        words = Page(tune_report(made)).words
        assert "Not measured" in words
        assert "Best so far" not in words


def test_a_search_read_back_gives_the_same_page() -> None:
    made = search()
    again = from_json(TuneResult, json.loads(json.dumps(to_json(made), allow_nan=False)))
    assert again == made
    assert tune_report(again) == tune_report(made)


def test_hostile_words_come_out_as_words_and_the_page_stays_small() -> None:
    long = "🦜" * 100_000
    tries = tuple(
        TuneTrial(k, {HOSTILE[0]: HOSTILE[k % 8], long: long}, HOSTILE[1], 0.5 + k / 9000, reason=long)
        for k in range(1, 3000)
    )
    made = TuneResult(
        HOSTILE[0], HOSTILE[1], long, HOSTILE[2], HOSTILE[3], HOSTILE[4], tries, 7, parameters={HOSTILE[0]: long}, command=long
    )  # fmt: skip
    page = tune_report(made)
    assert len(page.encode()) < 5_000_000
    assert HOSTILE[0] in Page(page).words
    assert [tag for tag, _ in Page(page).tags if tag == "script"] == ["script"]
    assert all(not a.startswith("on") for _, attributes in Page(page).tags for a in attributes)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.none() | st.floats(), st.none() | st.floats() | st.booleans() | st.text(max_size=3)), max_size=14
    )
)
def test_no_score_or_setting_stops_a_report(tried: list[tuple[float | None, object]]) -> None:
    trials = tuple(trial(k, score, rate=value) for k, (score, value) in enumerate(tried, 1))
    view = tune_view(result(*trials, best=1 if trials else None, baseline=math.nan))
    for dots in (view.picture.dots if view.picture else (), *(s.dots for s in view.slices)):
        assert all(0 <= d.x <= 100 and 0 <= d.y <= 100 for d in dots)
