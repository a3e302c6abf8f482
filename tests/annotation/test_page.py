"""The labelling page in a real browser: a person labels by keyboard, takes back, skips, makes a label, and goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.annotation.planted import pictures, pool, running, session
from tests.server.browser import KEYS, Browser, browser

NAMES = ["cat", "dog", "owl"]
SHOWN = "document.querySelectorAll('#classes li').length"
KEYS.setdefault("Backspace", ("Backspace", 8, ""))


def done(count: int, of: int = 6) -> str:
    return f"document.getElementById('done').textContent === '{count} of {of}'"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(page: Browser) -> Iterator[None]:
    page.complaints.clear()
    page.asked.clear()
    page.size(1280)
    yield
    assert page.complaints == []
    assert {url.split("/")[2].split(":")[0] for url in page.asked} <= {"127.0.0.1"}


def test_labelling_by_keyboard(page: Browser, tmp_path: Path) -> None:
    of = session(pool(), tmp_path, NAMES)
    with running(of, tmp_path) as url:
        page.go(url, f"{SHOWN} === 3")
        first = page.see("document.getElementById('text').textContent")
        assert "<b>sleeps</b>" in first and page.see("document.querySelectorAll('#text b').length") == 0
        page.press("2")
        page.until(done(1))
        assert page.see("document.getElementById('text').textContent") != first
        page.press(" ")
        page.until(done(2))
        assert [*of.journal.answers.values()] == ["dog", None]
        page.press("Backspace")
        page.until(done(1))
        page.press("Backspace")
        page.until(done(0))
        assert page.see("document.getElementById('text').textContent") == first
        page.press("+")
        page.until("document.activeElement.id === 'word'")
        page.type("fox 1")  # digits typed here are no answers
        page.press("Enter")
        page.until(f"{SHOWN} === 4 && {done(1)}")
        assert [*of.journal.answers.values()] == ["fox 1"]
        for count, key in enumerate("12341", start=2):
            page.press(key)
            page.until(done(count))
        page.until("!document.getElementById('message').hidden")
        page.press("1")  # nothing is asked: nothing happens
        page.press("Enter")
        page.until(done(0))
        assert len(of.journal.answers) == 6


def test_the_first_label_is_asked_for(page: Browser, tmp_path: Path) -> None:
    of = session(pool(), tmp_path)
    with running(of, tmp_path) as url:
        page.go(url, "document.activeElement?.id === 'word'")
        page.type("cat")
        page.press("Enter")
        page.until(f"{SHOWN} === 1 && {done(1)}")
        assert page.see("document.getElementById('other').hidden")


def test_two_windows(page: Browser, tmp_path: Path) -> None:
    """What the other window answered meanwhile is told, and this one goes on with the next."""
    of = session(pool(), tmp_path, NAMES)
    with running(of, tmp_path) as url:
        page.go(url, f"{SHOWN} === 3")
        of.answer(of.state()["next"][0]["key"], "owl", new=False)
        page.press("1")
        page.until("document.getElementById('status').textContent.includes('another window')")
        assert page.see(done(1))
        assert [*of.journal.answers.values()] == ["owl"]
        page.complaints[:] = [c for c in page.complaints if "409" not in c]  # the browser notes every refusal


def test_undo_takes_back_what_this_window_shows(page: Browser, tmp_path: Path) -> None:
    of = session(pool(), tmp_path, NAMES)
    with running(of, tmp_path) as url:
        page.go(url, f"{SHOWN} === 3")
        page.press("1")
        page.until(done(1))
        other = of.state()["next"][0]["key"]
        of.answer(other, "owl", new=False)
        page.press("Backspace")
        page.until("document.getElementById('taken').textContent === 'owl'")
        assert dict(of.journal.answers) == {other: "owl"}


def test_many_labels_are_found_by_typing(page: Browser, tmp_path: Path) -> None:
    of = session(pool(), tmp_path, [f"kind {i}" for i in range(50)])
    with running(of, tmp_path) as url:
        page.go(url, f"{SHOWN} === 50")
        page.press("/")
        page.until("document.activeElement.id === 'word'")
        page.type("d 47")
        page.until(f"{SHOWN} === 1")
        page.press("Enter")
        page.until(f"{SHOWN} === 50 && {done(1)}")
        assert [*of.journal.answers.values()] == ["kind 47"]
        page.press("a")
        page.until(done(2))
        assert [*of.journal.answers.values()][-1] == "kind 9"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_pictures_fit_every_window(page: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    page.size(width, dark=dark)
    of = session(pool(pictures(tmp_path / "shots")), tmp_path / "out", NAMES)
    with running(of, tmp_path / "out") as url:
        page.go(url, "document.getElementById('picture').naturalWidth > 0")
        assert page.see("document.documentElement.scrollWidth") <= width
        assert page.see("document.documentElement.scrollHeight") <= 800
        assert page.see("document.getElementById('picture').getBoundingClientRect().height") > 200
        foot = page.see("document.getElementById('undo').getBoundingClientRect().bottom")
        assert foot <= 800, "the answers stay in sight"
        page.see("document.querySelectorAll('#classes button')[1].click()")
        page.until(done(1))
        nameless = """[...document.querySelectorAll('button, input, a, img')].filter((each) =>
            each.offsetParent && !(each.textContent.trim() || each.labels?.[0]?.textContent.trim() || each.alt)).length"""
        assert page.see(nameless) == 0
