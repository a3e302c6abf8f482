"""The page of recommenders in a real browser: titles as they are typed, neighbours, a list of likes, "for you", back, keyboard, phone and desk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.browser import Browser, browser
from tests.server.test_recommend import HOSTILE, serving, write
from tests.server.toy import text_index

YOU = "document.querySelectorAll('#recommended li').length"
NEAR = "document.querySelectorAll('#similar li').length"
QUIET = "!document.querySelector('.old')"
CHIPS = "[...document.querySelectorAll('#chips .to')].map((each) => each.textContent)"
OFFERED = "[...document.querySelectorAll('#suggestions li')].map((each) => each.textContent)"
HEAD = "document.getElementById('nearTitle').textContent"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(write(tmp_path_factory.mktemp("served") / "films")) as (found, _):
        yield found


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(opened: Browser, url: str) -> Iterator[Browser]:
    """A page that has just begun; in the end it must have complained of nothing, asked nobody else, and run nothing out of the data."""
    opened.complaints.clear()
    opened.asked.clear()
    opened.size(1280)
    opened.go(f"{url}/recommenders/films", f"{YOU} > 0")
    yield opened
    assert opened.see("window.broken") is None
    assert opened.complaints == []
    assert [asked for asked in opened.asked if not asked.startswith(url)] == []


def typed(page: Browser, words: str) -> None:
    page.see("document.getElementById('q').focus(), document.getElementById('q').select()")
    page.type(words)


def heart(page: Browser, number: int, place: str = "recommended") -> str:
    """Press the heart of the answer in a place; gives its title."""
    title: str = page.see(f"document.querySelectorAll('#{place} .words')[{number}].textContent")
    page.see(f"document.querySelectorAll('#{place} .heart')[{number}].click()")
    return title


def test_it_begins_with_what_most_people_like(page: Browser) -> None:
    assert page.see("document.activeElement.id") == "q"
    assert page.see("document.getElementById('youTitle').textContent") == "What most people like"
    assert page.see("document.getElementById('near').hidden")
    assert page.see(f"{YOU} === 10")
    assert page.see("document.querySelector('#recommended .under').textContent").startswith("liked by")
    assert page.see("document.querySelector('nav a[aria-current]').textContent") == "films"
    assert "als" in page.see("document.getElementById('facts').textContent")


def test_a_title_is_typed_and_its_neighbours_are_shown(page: Browser) -> None:
    typed(page, "exor")
    page.until(f"{OFFERED}[0]?.startsWith('The Exorcist')")
    assert page.see("document.getElementById('q').getAttribute('aria-expanded')") == "true"
    page.press("ArrowDown")
    assert page.see("document.getElementById('q').getAttribute('aria-activedescendant')") == "option0"
    page.press("Enter")
    page.until(f"{NEAR} === 10 && {QUIET}")
    assert page.see(HEAD) == "More like The Exorcist (1951)"
    assert page.see("document.getElementById('nearFacts').textContent").startswith("Horror · liked by")
    assert page.see("document.getElementById('suggestions').hidden")
    assert page.see("new URLSearchParams(location.search).get('item')") == "f07"
    following = page.see("document.querySelector('#similar .words').textContent")
    page.see("document.querySelector('#similar .open').click()")
    page.until(f"{HEAD} === 'More like {following}' && {QUIET}")
    page.see("history.back()")
    page.until(f"{HEAD}.includes('Exorcist')")


def test_likes_make_the_list_yours(page: Browser) -> None:
    first = heart(page, 0)
    page.until(f"{CHIPS}.length === 1 && {QUIET}")
    assert page.see("document.getElementById('youTitle').textContent") == "For you"
    assert first not in page.see("document.getElementById('recommended').textContent")
    reasons = page.see("[...document.querySelectorAll('#recommended .under')].map((each) => each.textContent)")
    assert all(reasons)
    assert any(reason.startswith("liked together by") for reason in reasons)
    second = heart(page, 1)
    page.until(f"{CHIPS}.length === 2 && {QUIET}")
    assert page.see(CHIPS) == [first, second]
    before = page.see("document.getElementById('recommended').textContent")
    page.see(
        "const slider = document.getElementById('diversity'); slider.value = 0.9; slider.dispatchEvent(new Event('input'))"
    )
    page.until(f"{QUIET} && document.getElementById('recommended').textContent !== {before!r}")
    assert page.see("new URLSearchParams(location.search).get('variety')") == "0.9"
    page.see("window.before = true; location.reload()")
    page.until(f"!window.before && {YOU} > 0 && {CHIPS}.length === 2")
    assert page.see(CHIPS) == [first, second]
    assert page.see("document.getElementById('diversity').value") == "0.9"
    page.see("document.querySelector('#chips li button:last-child').click()")
    page.until(f"{CHIPS}.length === 1 && {QUIET}")
    assert page.see(CHIPS) == [second]


def test_the_shown_title_can_be_liked(page: Browser, url: str) -> None:
    page.go(f"{url}/recommenders/films?item=f12", f"{NEAR} > 0")
    page.see("document.getElementById('like').click()")
    page.until(f"{CHIPS}.length === 1 && {QUIET}")
    assert page.see(CHIPS) == ["Unforgiven (1950)"]
    assert page.see("document.getElementById('like').getAttribute('aria-pressed')") == "true"
    page.see("document.getElementById('like').click()")
    page.until(f"{CHIPS}.length === 0 && {QUIET}")
    assert page.see("document.getElementById('youTitle').textContent") == "What most people like"


def test_an_unknown_title_offers_the_nearest(page: Browser) -> None:
    typed(page, "zzz scre qqq yyyyyy")
    page.press("Enter")
    page.until("!document.getElementById('message').hidden")
    assert "is not known" in page.see("document.getElementById('message').textContent")
    page.complaints[:] = [
        each for each in page.complaints if "404" not in each
    ]  # the browser itself notes every refusal
    offered = page.see("document.querySelector('#message li').textContent")
    page.see("document.querySelector('#message li button').click()")
    page.until(f"{HEAD} === 'More like {offered}'")
    assert page.see("document.getElementById('message').hidden")


def test_titles_are_only_shown(page: Browser) -> None:
    typed(page, HOSTILE)
    page.until(f"{OFFERED}.length > 0")
    page.press("Enter")
    page.until(f"{HEAD}.includes('<img src=x')")
    page.see("document.getElementById('like').click()")
    page.until(f"{CHIPS}.length === 1 && {QUIET}")
    assert page.see("document.querySelectorAll('main img').length") == 0


def test_by_keyboard_alone(page: Browser) -> None:
    page.press("ArrowDown")
    assert page.see("document.activeElement.matches('#recommended .open')")
    page.press("ArrowDown")
    liked = page.see("document.activeElement.querySelector('.words').textContent")
    page.press("l")
    page.until(f"{CHIPS}.length === 1 && {QUIET}")
    assert page.see(CHIPS) == [liked]
    assert page.see("document.activeElement.matches('#recommended .open')"), "the keyboard stays where it was"
    page.press("Enter")
    page.until(f"{NEAR} > 0 && {QUIET}")
    page.press("ArrowLeft")
    assert page.see("document.activeElement.matches('#similar .open')")
    page.press("ArrowRight")
    assert page.see("document.activeElement.matches('#recommended .open')")
    page.press("/")
    assert page.see("document.activeElement.id") == "q"
    page.type("shin")
    page.until(f"{OFFERED}.length > 0")
    page.press("Escape")
    assert page.see("document.getElementById('suggestions').hidden")
    assert page.see("document.activeElement.id") == "q"


@pytest.mark.parametrize(("width", "dark"), [(380, True), (820, False), (1280, True)])
def test_it_fits(page: Browser, url: str, width: int, dark: bool) -> None:
    page.size(width, dark=dark)
    for query in ("", "?item=f07&like=f06&like=f18&like=f05&variety=0.5"):
        page.go(f"{url}/recommenders/films{query}", f"{YOU} > 0 && {QUIET}")
        assert page.see("document.documentElement.scrollWidth") <= width, query
        paper = page.see("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 25, 28)" if dark else "rgb(255, 255, 255)")
        nameless = """[...document.querySelectorAll('button, input, a')].filter((each) =>
            each.offsetParent && !(each.textContent.trim() || each.labels?.[0]?.textContent.trim() || each.ariaLabel)).length"""
        assert page.see(nameless) == 0, query
        assert page.see(
            "document.querySelectorAll('[id]').length === new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size"
        )
    side_by_side = page.see(
        "document.getElementById('near').getBoundingClientRect().top === document.getElementById('you').getBoundingClientRect().top"
    )
    assert side_by_side == (width >= 960)


def test_the_search_page_leads_here(opened: Browser, tmp_path: Path) -> None:
    with serving(write(tmp_path / "films"), {"texts": text_index()}) as (url, _):
        opened.go(url, "document.querySelector('#start h2')")
        assert opened.see("document.getElementById('links').textContent") == "Recommend:films"
        opened.see("document.querySelector('#links a').click()")
        opened.until(f"{YOU} > 0")
        assert opened.see("location.pathname") == "/recommenders/films"
