"""The report of a recommender: every model beside the chosen one, whom it serves and how, and words that mean harm."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.recommending import told
from tests.recommending.told import NAN, SAMPLES, enormous, films, hostile, nothing_measured, two_models
from tests.reports.browser import look, run
from tests.reports.samples import HOSTILE
from tests.reports.test_build import REACHES_OUT, Page

from graft.recommending.models import KINDS
from graft.recommending.report import held_out, next_commands, on_test, recommend_report, recommend_view, settings_told
from graft.recommending.result import Facts, ModelResult, Parts, RecommendResult, Shown
from graft.results import Interval, from_json, to_json

SPACE = "\u202f"


def words_of(result: RecommendResult) -> str:
    return Page(recommend_report(result)).words.replace(SPACE, " ")


def test_says_what_was_chosen_and_beside_what() -> None:
    words = words_of(films())
    assert f"Recommended by ease, {KINDS['ease'].words}" in words
    assert "0.243" in words and "95 % interval 0.231–0.255" in words
    assert "What most people like: 0.118 (0.106–0.130)" in words
    assert films().why in words
    assert (
        "Among 10 recommendations 58.3 % of people find something that they went on to like; among the items that most people like, 28.3 % do."
        in words
    )
    assert "Measured once, on the test part, its gain over als is +0.011 (+0.004 to +0.018)." in words
    assert (
        "learned from the likes up to 12 November 2000 and had to foretell 71,048 likes of 2,931 people after it"
        in words
    )
    assert "Left out there: 1,104 people and 57 items of which nothing was known before." in words


def test_every_model_has_its_row_and_the_skipped_its_reason() -> None:
    view, words = recommend_view(films()), words_of(films())
    assert [row.model.name for row in view.rows] == [m.name for m in films().models]
    assert [row.model.name for row in view.rows if row.chosen] == ["ease"]
    assert [row.model.name for row in view.rows if not row.measured] == ["mlp"]
    assert "skipped: PyTorch is not installed." in words
    assert "5 of 12" in words and "factors 64" in words and "l2 2e-4" in words
    assert "inner_settings (l2 500, recent_days none)" in words
    ease = next(row for row in view.rows if row.chosen)
    assert [round(s.value, 3) for s in ease.scores if s] == [0.583, 0.243, 0.316, 0.972, 0.437]


def test_the_picture_marks_what_was_measured() -> None:
    ladder = recommend_view(films()).ladder
    assert ladder.x is not None and ladder.y is not None
    assert [mark.row.result.name for mark in ladder.marks if mark.row.chosen] == ["ease"]
    assert len(ladder.marks) == 11, "one was skipped"
    ease = next(mark for mark in ladder.marks if mark.row.chosen)
    chosen = films().chosen_result
    assert (ease.x, ease.y) == (ladder.x.at(chosen.seconds), ladder.y.at(chosen.metrics["ndcg@10"].value))
    assert (ease.low, ease.high) == (ladder.y.at(0.231), ladder.y.at(0.255))


@pytest.mark.parametrize(
    ("gain", "says"),
    [
        (Interval(0.02, 0.01, 0.03, 9), "+0.020 (+0.010 to +0.030)."),
        (Interval(0.02, -0.01, 0.05, 9), "+0.020 (−0.010 to +0.050): there it cannot be told from chance."),
        (Interval(-0.02, -0.03, -0.01, 9), "−0.020 (−0.030 to −0.010): there it is worse."),
        (Interval(0.02, None, None, 9), "+0.020: there it cannot be told from chance."),
    ],
)
def test_says_what_became_of_the_gain_on_the_test_part(gain: Interval, says: str) -> None:
    made = films()
    models = tuple(replace(m, test_gain=gain) if m.name == made.chosen else m for m in made.models)
    changed = replace(made, models=models)
    assert on_test(changed) == f"Measured once, on the test part, its gain over als is {says}"
    assert recommend_view(changed).worse == says.endswith("worse.")


def test_says_how_likes_were_held_out() -> None:
    made = films()

    def said(**parts: Any) -> str:
        return held_out(replace(made, parts=replace(made.parts, **parts)))

    assert said(how="time", now=None).startswith(
        "The models learned from the likes up to one moment and had to foretell"
    )
    assert "all likes but the last of each of 1 person" in said(how="last", people=1)
    assert "71,048 likes of 2,931 people, drawn at random from all" in said(how="random", new_people=0, new_items=0)
    assert "Left out" not in said(how="random", new_people=0, new_items=0)
    assert "Left out there: 1 item of which" in said(new_people=0, new_items=1)
    assert "Held out (by hand): 71,048 likes" in said(how="by hand")


def test_popularity_alone_is_not_set_beside_itself() -> None:
    view, words = recommend_view(two_models()), words_of(two_models())
    assert view.popularity is None and view.headline is not None
    assert "What most people like:" not in words
    assert "Among 10 recommendations 7.4 % of people find something that they went on to like." in words
    assert view.map is None and "Map of the items" not in words and "Some people" not in words
    assert "Every row could be read." in words and "There are no times, so likes were held out at random." in words
    assert "1 people with targets have 10 likes or more: too few to measure newcomers on" in words


def test_says_whom_popularity_serves_better() -> None:
    words = words_of(films())
    assert "To a new person who names 1 like what most people like lately (recent-popularity) is recommended:" in words
    assert "To a known person with at most 2 likes what most people like lately" in words
    assert "+0.019 (+0.007 to +0.031) in nDCG@10 (2,931 people, 2 likes) over ease on the validation part;" in words
    assert "measured once, on the test part, +0.018 (+0.006 to +0.030) in nDCG@10 (2,931 people, 2 likes)." in words
    assert "is recommended: it gains" not in words_of(replace(films(), short=None))


def test_the_activity_picture_sets_the_chosen_beside_popularity() -> None:
    picture = recommend_view(films()).activity
    assert picture is not None
    assert [t.text for t in picture.x.ticks] == list(told.GROUPS)
    assert len(picture.dots) == 6
    for popular, chosen in zip(picture.dots[:3], picture.dots[3:], strict=True):
        assert (popular.best, chosen.best) == (False, True)
        assert popular.x < chosen.x and popular.y > chosen.y, "side by side, the better one higher on the page"
    one_group = replace(
        films(), models=tuple(replace(m, by_activity=dict(list(m.by_activity.items())[:1])) for m in films().models)
    )
    assert recommend_view(one_group).activity is None and "By activity" in words_of(one_group)


def test_people_show_what_they_went_on_to_like() -> None:
    one = Shown(user="007", history=("a",), recommended=(("b", True), ("c", False)), liked_later=("d", "b"))
    (example,) = recommend_view(replace(films(), shown=(one,))).examples
    assert example.hits == 1
    assert example.liked_later == (("d", False), ("b", True))
    page = recommend_report(replace(films(), shown=(one,)))
    assert page.count('class="hit"') == 2
    assert "Person 007" in Page(page).words and "1 of 2 liked later" in Page(page).words


def test_the_map_names_items_by_their_titles() -> None:
    made = films()
    data = json.loads(Page(recommend_report(made)).texts["script"][0])
    assert len(data["points"]) == 800
    by_title = {point[3] for point in data["points"]}
    assert by_title == set(told.TITLES)
    assert set(data["classes"]) == {*told.GENRES, "no category"}
    assert "3,000 likes" in {point[2] for point in data["points"]}
    assert all(label == predicted for label, predicted, *_ in data["points"])
    plain = recommend_report(replace(made, map=tuple(replace(p, category="") for p in made.map)))
    assert json.loads(Page(plain).texts["script"][0])["classes"] == [""]
    assert 'class="legend"' not in plain


def test_data_and_the_way_to_use_and_repeat_it() -> None:
    words = words_of(films())
    assert "1,000,212 rows, 3 merged with another of the same person and item, 120 left out as faulty" in words
    assert "rated 4 or higher, four fifths of the highest" in words
    assert "user from userId (guessed)" in words
    assert "120 rows could not be used and were left out." in words
    assert "The first 50 faults are shown, all 120 are in result.json." in words
    assert "graft recommend like graft-out/films 'Toy Story (1995)'" in words
    assert "graft recommend for graft-out/films --user 17" in words
    assert films().command in words
    many = words_of(replace(films(), data=replace(films().data, faulty=9_999)))
    assert "the first 120 are in result.json" in many


def test_the_next_commands_can_be_typed() -> None:
    made = replace(films(), out="my films", shown=(), map=(replace(films().map[0], title="Don't\n\x1b"),))
    assert next_commands(made) == (
        "graft recommend like 'my films' 'a title'",
        "graft recommend for 'my films' --user ID",
    )


def test_settings_are_told_as_one_would_type_them() -> None:
    assert settings_told({"l2": 2e-4, "on": True, "inner": {"days": None}, "w": (1, 2)}) == (
        ("l2", "2e-4"), ("on", "on"), ("inner", "(days none)"), ("w", "1+2")
    )  # fmt: skip


def test_nothing_measured_has_a_page() -> None:
    words = words_of(nothing_measured())
    assert "Not measured" in words and "No model could be measured." in words
    assert "nan" not in words.replace("Rosencrantz", "").lower().split()
    assert "What is recommended" not in words and "By activity" not in words and "Map of the items" not in words


@pytest.mark.parametrize("name", SAMPLES)
def test_stands_alone(name: str) -> None:
    page = Page(recommend_report(SAMPLES[name]()))
    for tag, attributes in page.tags:
        for attribute in REACHES_OUT:
            assert attributes.get(attribute, "#").startswith(("#", "data:")), (tag, attributes)
        assert "url(" not in attributes.get("style", "")
        assert not [a for a in attributes if a.startswith("on")], (tag, attributes)
    kinds = [attributes.get("type", "") for tag, attributes in page.tags if tag == "script"]
    assert kinds.count("") == 1 and set(kinds) <= {"", "application/json"}
    links = {a["href"].removeprefix("#") for tag, a in page.tags if tag == "a"}
    assert links <= {a["id"] for _, a in page.tags if "id" in a}, "no entry of the contents leads nowhere"


def test_hostile_words_come_out_as_words() -> None:
    page = Page(recommend_report(hostile()))
    for word in (HOSTILE[0], HOSTILE[1], "{{ 7 * 7 }}"):
        assert word in page.words
    assert not [a for tag, a in page.tags if tag in ("img", "b")]


def test_below_five_megabytes_at_any_size() -> None:
    assert len(recommend_report(enormous()).encode()) < 5_000_000


def test_a_result_read_back_gives_the_same_page() -> None:
    made = films()
    again = from_json(RecommendResult, json.loads(json.dumps(to_json(made), allow_nan=False)))
    assert again == made
    assert recommend_report(again) == recommend_report(made)
    lost = from_json(RecommendResult, json.loads(json.dumps(to_json(nothing_measured()), allow_nan=False)))
    assert "Not measured" in words_of(lost)


def test_bytes_that_are_no_letters_do_not_stop_it() -> None:
    assert "caf?" in recommend_report(replace(films(), name="caf\udce9"))


numbers = st.floats(0, 1) | st.sampled_from((NAN, math.inf, -math.inf))
intervals = st.builds(Interval, numbers, st.none() | numbers, st.none() | numbers, st.integers(0, 9))


@settings(deadline=None, max_examples=12)
@given(intervals, intervals, intervals, numbers, st.text(max_size=4), numbers)
def test_no_number_or_title_stops_a_report(
    score: Interval, gain: Interval, group: Interval, seconds: float, title: str, now: float
) -> None:
    facts = Facts(name=title, rows=1, people=1, items=1, likes=1, seen=0, merged=0, columns={title: title}, how=title)
    parts = Parts(
        how="time", train_likes=1, people=1, targets=1, new_people=0, new_items=0, validation_people=1, now=now
    )
    models = tuple(
        ModelResult(
            name=name,
            rung=rung,
            status="measured",
            metrics={"ndcg@10": score},
            gain=gain,
            test_gain=gain,
            bias={"coverage": seconds, "gini": seconds},
            by_activity={"few": group, "many": score},
            seconds=seconds,
        )
        for rung, name in ((1, "popularity"), (3, title or "x"))
    )
    made = RecommendResult(
        name=title, source=title, chosen=models[1].name, why=title, measure="ndcg@10", models=models, parts=parts, data=facts,
        shown=(Shown(user=title, history=(title,), recommended=((title, True),), liked_later=(title,)),), seconds={"all": seconds},
    )  # fmt: skip
    view = recommend_view(made)
    for k in view.activity.dots if view.activity else ():
        assert all(0 <= v <= 100 and not math.isnan(v) for v in (k.x, k.y, k.low, k.high))
    assert recommend_report(made)


# ---- In a browser ----

MEASURE = """
const field = document.querySelector(".field"), tip = document.querySelector(".tip");
const point = (x, y, kind) => {
  const box = field.getBoundingClientRect();
  field.dispatchEvent(new window.PointerEvent(kind, { clientX: box.left + x * box.width, clientY: box.top + y * box.height, pointerType: "touch" }));
  return !tip.hidden && tip.textContent;
};
const said = [];
if (field) {
  field.dispatchEvent(new window.KeyboardEvent("keydown", { key: "ArrowRight" }));
  said.push(!tip.hidden && tip.textContent);
  const first = field.querySelector("circle");
  said.push(point(parseFloat(first.getAttribute("cx")) / 100, parseFloat(first.getAttribute("cy")) / 100, "pointerdown"));
}
document.querySelectorAll("details").forEach((one) => { one.open = true; });
const inside = (element) => { const box = element.getBoundingClientRect(); return box.width > 0 && box.right <= window.innerWidth + 0.5 && box.left >= 0; };
return {
  wide: document.documentElement.scrollWidth, room: window.innerWidth, said,
  paper: window.getComputedStyle(document.body).backgroundColor,
  spilled: [...document.querySelectorAll(".plot-area, .field, .liking > div, .headline, .why")].filter((e) => !inside(e)).length,
  nameless: [...document.querySelectorAll("img:not([alt]), svg:not([aria-hidden]):not([aria-label]), table:not(:has(caption)), button:empty")].length,
  twice: [...document.querySelectorAll("[id]")].length - new Set([...document.querySelectorAll("[id]")].map((e) => e.id)).size,
};
"""


def test_in_a_browser_from_phone_to_desk_in_light_and_dark(tmp_path: Path) -> None:
    pages = {name: recommend_report(make()) for name, make in SAMPLES.items()}
    light = [(name, width) for name in ("films", "hostile") for width in (360, 820, 1280)]
    light += [("two_models", 360), ("nothing_measured", 360)]
    for dark, views in ((False, light), (True, [("films", 360)])):
        seen = look([(pages[name], width) for name, width in views], MEASURE, tmp_path, dark=dark)
        assert seen.console == []
        for (name, width), found in zip(views, seen.found, strict=True):
            where = f"{name} at {width}: {found.get('error', '')}"
            assert found["wide"] <= found["room"] == width, where
            assert (found["spilled"], found["nameless"], found["twice"]) == (0, 0, 0), where
            assert found["paper"] == ("rgb(20, 25, 28)" if dark else "rgb(255, 255, 255)"), where
            assert len(found["said"]) == (2 if name in ("films", "hostile") else 0), where
            assert all(found["said"]), where


def test_prints(tmp_path: Path) -> None:
    page, paper = tmp_path / "report.html", tmp_path / "report.pdf"
    page.write_text(recommend_report(films()), "utf-8")
    run(page, tmp_path, {"print-to-pdf": str(paper)})
    assert 3 <= paper.read_bytes().count(b"/Type /Page\n") <= 12


def test_a_plain_number_is_no_share() -> None:
    made = replace(films(), measure="mrr")
    assert recommend_view(made).measure.label == "MRR"
    assert recommend_view(made).headline == films().chosen_result.metrics["mrr"]
    assert (
        recommend_view(replace(made, models=tuple(replace(m, seconds=NAN) for m in made.models))).ladder.x is not None
    )
