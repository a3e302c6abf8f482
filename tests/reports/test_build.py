"""A report stands alone, stays small, escapes whatever the data hold, and says what the result says."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.reports.made import Sample
from tests.reports.samples import HOSTILE, SAMPLES, enormous, one_label, pictures, texts

from graft.reports.build import fit_report
from graft.results import Evidence, FitResult, Interval, PlanCheck, from_json, to_json

REACHES_OUT = (
    "src",
    "srcset",
    "href",
    "xlink:href",
    "data",
    "poster",
    "action",
    "formaction",
    "background",
    "manifest",
)


class Page(HTMLParser):
    """Everything in a page that matters here: tags with attributes, and the text of scripts, styles and the rest."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": [], "": []}
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = ""

    def handle_data(self, data: str) -> None:
        self.texts[self._inside].append(data)

    @property
    def words(self) -> str:
        """The page's visible text, runs of spaces and line ends as one space."""
        return re.sub(r"[ \n]+", " ", "".join(self.texts[""]))


def test_what_plan_foretold_is_said() -> None:
    sample = texts()
    told = PlanCheck("prototypes", Interval(0.8, 0.7, 0.9, 0), Interval(0.85, None, None, 9), "test", True, 0.5, 7)
    words = page_of(replace(sample, result=replace(sample.result, plan=told))).words
    assert re.search(
        r"put prototypes first and expected it to get 70.% to 90.% right; on the test items it got 85\.0.%, within",
        words,
    )
    assert "rank correlation of 0.50" in words and "rank correlation" not in page_of(sample).words


def page_of(sample: Sample) -> Page:
    return Page(fit_report(sample.result, sample.evidence))


@cache
def page_named(name: str) -> Page:
    return page_of(SAMPLES[name]())


@pytest.mark.parametrize("name", SAMPLES)
def test_stands_alone(name: str) -> None:
    page = page_named(name)
    for tag, attributes in page.tags:
        for attribute in REACHES_OUT:
            assert attributes.get(attribute, "#").startswith(("#", "data:")), (tag, attributes)
        assert "url(" not in attributes.get("style", "")
        assert not [a for a in attributes if a.startswith("on")], (tag, attributes)
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "embed", "base", "form", "audio", "video"})
    style = "".join(page.texts["style"])
    assert "@import" not in style
    assert "url(" not in style
    assert "http" not in style


@pytest.mark.parametrize("name", SAMPLES)
def test_only_its_own_script_may_run(name: str) -> None:
    page = page_named(name)
    kinds = [attributes.get("type", "") for tag, attributes in page.tags if tag == "script"]
    assert kinds.count("") == 1
    assert set(kinds) <= {"", "application/json"}
    policy = next(
        a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    script = page.texts["script"][-1]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy


def test_hostile_words_come_out_as_words() -> None:
    page = page_named("hostile")
    for word in (HOSTILE[0], HOSTILE[1], "{{ 7 * 7 }}"):
        assert word in page.words
    assert [a for tag, a in page.tags if tag == "img"] == []
    data = json.loads(page.texts["script"][0])
    assert set(data["classes"]) == {name if len(name) <= 120 else name[:119] + "…" for name in HOSTILE}
    assert all(point[4] == "" for point in data["points"])


def test_below_five_megabytes_at_any_size() -> None:
    sample = enormous()
    assert len(fit_report(sample.result, sample.evidence).encode()) < 5_000_000


def test_bytes_that_are_no_letters_do_not_stop_it() -> None:
    sample = one_label()
    data = {**to_json(sample.result), "name": "caf\udce9"}
    assert "caf?" in fit_report(from_json(FitResult, data), Evidence())


def test_a_result_read_back_gives_the_same_page() -> None:
    sample = texts()
    again = from_json(FitResult, json.loads(json.dumps(to_json(sample.result))))
    assert fit_report(again, sample.evidence) == fit_report(sample.result, sample.evidence)


def test_says_what_was_measured() -> None:
    sample = pictures()
    words, result = page_of(sample).words, sample.result
    assert result.test is not None
    assert result.why in words
    assert f"{100 * result.test['accuracy'].value:.1f}\u202f%" in words
    assert "on 360 held-out items" in words
    assert "named-linear-probe on efficientnet-lite0" in words
    assert "Always the largest class: 16.7\u202f%" in words
    assert "A plain random split would have said" in words
    assert "train/x_12.jpg" in words
    assert "9f41c07a55d1e8820c3b7be2" in words
    assert "cosine 0.99999 in the mean, 0.99991 at least" in words
    assert result.command in words


def test_says_plainly_that_there_is_no_test_part() -> None:
    words = page_named("no_test_part").words
    assert "There is no test part." in words
    assert "cross-validated on 36 training items" in words
    assert "skipped: Class names are numbers" in words
    assert "held-out" not in words


def test_says_plainly_that_nothing_was_measured() -> None:
    words = page_named("one_label").words
    assert "There is no test part, and nothing was measured." in words
    assert "No strategy could be measured" in words
    assert "No label stands out" not in words


def test_at_most_twenty_classes_and_five_items_of_each_are_shown() -> None:
    page = fit_report(texts().result, texts().evidence)
    assert page.count('class="case"') == 20
    for side in re.findall(r'<div class="side \w+">.*?</div>', page, re.S):
        assert side.count("<li>") <= 5


def test_templates_name_no_address_outside() -> None:
    folder = Path(__file__).parents[2] / "src" / "graft" / "reports" / "templates"
    for file in folder.iterdir():
        assert "//" not in re.sub(r"^\s*//.*|\s// .*|/\*.*?\*/", "", file.read_text("utf-8"), flags=re.M), file.name
