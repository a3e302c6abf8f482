"""The pages in a real browser: a person searches, asks for more like this, moves by keyboard, goes back; nothing foreign is loaded or run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.server.browser import Browser, browser
from tests.server.conftest import running
from tests.server.toy import picture_index, png, text_index

from graft.opened import Predictions
from graft.results import Prediction

HITS = "document.querySelectorAll('#hits li').length"
IDS = "[...document.querySelectorAll('#hits .id')].map((each) => each.textContent)"


@dataclass(frozen=True)
class ToyManifest:
    strategy: str = "linear-probe"
    task: str = "classify"

    @property
    def encoder(self) -> Any:
        return type("Encoder", (), {"reference": "toy"})


class ToyModel:
    """Says "bread" of what holds the word, and is unsure of the rest."""

    modality, classes, threshold, manifest = "text", ("bread", "tool<b>"), 0.7, ToyManifest()

    def warm(self, content: Any) -> None:
        assert content == "ready"

    def answer(self, contents: list[str], ids: list[str], *, top: int) -> Predictions:
        found = [
            Prediction(id, "bread" if "bread" in text else None, p, (("bread", p), ("tool<b>", 1 - p))[:top])
            for id, text in zip(ids, contents, strict=True)
            for p in [0.9 if "bread" in text else 0.55]
        ]
        return Predictions(tuple(found))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running({"texts": text_index(), "pictures": picture_index()}, {"goods": ToyModel()}) as (found, _):
        yield found


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(opened: Browser, url: str) -> Iterator[Browser]:
    """A fresh page; in the end it must have complained of nothing, asked nobody else, and run nothing out of the data."""
    opened.complaints.clear()
    opened.asked.clear()
    opened.size(1280)
    yield opened
    assert opened.see("window.broken") is None
    assert opened.complaints == []
    assert [asked for asked in opened.asked if not asked.startswith((url, "blob:" + url))] == []


def search(page: Browser, words: str) -> None:
    page.see("document.getElementById('q').focus(), document.getElementById('q').select()")
    page.type(words)
    page.press("Enter")


def test_search_and_back(page: Browser, url: str) -> None:
    page.go(url, "document.querySelector('#start h2')")
    assert page.see("document.activeElement.id") == "q"
    assert "60 texts" in page.see("document.querySelector('#start h2').textContent")
    search(page, "rye bread")
    page.until(f"{HITS} === 24")
    assert "rye bread" in page.see("document.querySelector('#hits .words').textContent")
    assert page.see("document.querySelector('#status').textContent").startswith("24 of 60")
    assert page.see("new URLSearchParams(location.search).get('q')") == "rye bread"
    page.see("document.getElementById('more').click()")
    page.until(f"{HITS} === 48")
    search(page, "steel hammer")
    page.until("document.querySelector('#hits .words').textContent.startsWith('steel')")
    page.see("history.back()")
    page.until(
        "document.querySelector('#hits .words').textContent.startsWith('rye') && document.getElementById('q').value === 'rye bread'"
    )
    search(page, "zzzz qqqq")
    page.until("!document.getElementById('message').hidden")
    assert page.see("document.querySelector('#message h2').textContent") == "Nothing matches"


def test_hostile_texts_are_only_shown(page: Browser, url: str) -> None:
    page.go(f"{url}/?index=texts&q=%3Cscript%3Ewindow.broken%3Dtrue%3C/script%3E+bread&k=60", HITS)
    assert "<script>window.broken=true</script>" in page.see(IDS)
    assert page.see("document.querySelectorAll('#hits script, #hits img').length") == 0
    place = page.see(IDS).index("<script>window.broken=true</script>")
    page.see(f"document.querySelectorAll('#hits .open')[{place}].click()")
    assert "<img src=x" in page.see("document.querySelector('#detail .full').textContent")
    page.see("document.querySelectorAll('#detail .quiet')[0].click()")
    page.until("document.querySelectorAll('.chip').length === 1")
    assert "<script>" in page.see("document.querySelector('.chip').textContent")


def test_more_and_less_like_this_by_keyboard(page: Browser, url: str) -> None:
    page.go(f"{url}/?index=pictures&q=red", HITS)
    page.see("document.activeElement.blur()")
    page.press("ArrowDown")
    page.until("document.activeElement.classList.contains('open')")
    page.press("ArrowRight")
    assert page.see("document.activeElement.dataset.position") == "1"
    page.press("Enter")
    page.until("document.getElementById('detail').open")
    shown = page.see("document.getElementById('detailTitle').textContent")
    page.press("ArrowRight")
    assert page.see("document.getElementById('detailTitle').textContent") != shown
    page.press("Escape")
    page.until("!document.getElementById('detail').open")
    page.press("m")
    page.until("document.querySelectorAll('.chip.like').length === 1")
    page.until(f"{HITS} > 0 && !document.querySelector('.old')")
    page.see("document.querySelectorAll('#hits .open')[2].focus()")
    page.press("l")
    page.until("document.querySelectorAll('.chip.unlike').length === 1")
    told = page.see("[...new URLSearchParams(location.search)].map((pair) => pair[0])")
    assert told == ["index", "q", "like", "unlike"]
    page.see("document.querySelector('.chip.unlike button').click()")
    page.until("document.querySelectorAll('.chip').length === 1")
    page.press("/")
    assert page.see("document.activeElement.id") == "q"


def test_a_filter_and_its_fault(page: Browser, url: str) -> None:
    page.go(f"{url}/?index=texts&q=bread", HITS)
    page.see("document.getElementById('filter').click()")
    page.until("document.querySelector('#columns button')")
    page.see("document.querySelector('#columns button').click()")
    assert page.see("document.getElementById('where').value").startswith("price >= ")
    page.see("document.getElementById('where').value = 'price < 9'")
    page.press("Enter")
    page.until(f"{HITS} === 9")
    page.see("document.getElementById('where').value = 'price <'")
    page.press("Enter")
    page.until("!document.getElementById('whereError').hidden")
    assert "price (int64)" in page.see("document.getElementById('whereError').textContent")
    complaints = [each for each in page.complaints if "400" not in each]  # the browser itself notes every refusal
    page.complaints[:] = complaints


def test_a_picture_dropped(page: Browser, url: str) -> None:
    page.go(f"{url}/?index=pictures", "document.querySelector('#start h2')")
    blue = json.dumps(list(png((50, 80, 220))))
    page.see(
        f"""(() => {{ const given = new DataTransfer();
        given.items.add(new File([new Uint8Array({blue})], 'x.png', {{ type: 'image/png' }}));
        document.dispatchEvent(new DragEvent('drop', {{ dataTransfer: given, bubbles: true, cancelable: true }})); }})()"""
    )
    page.until(f"{HITS} > 0")
    assert page.see("document.querySelector('#hits img').src").count("blue") == 1
    assert page.see("document.querySelector('.chip img').src").startswith("blob:")


@pytest.mark.parametrize("width", [360, 820, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits(page: Browser, url: str, width: int, dark: bool) -> None:
    page.size(width, dark=dark)
    for path, ready in (
        ("/", "document.querySelector('#start h2')"),
        ("/?index=pictures&q=red&like=red%2F04.png&unlike=blue%2F02.png&where=price+%3C+20", HITS),
        ("/?index=texts&q=rye+bread", HITS),
        ("/models/goods", "document.getElementById('lead').textContent"),
    ):
        page.go(url + path, ready)
        assert page.see("document.documentElement.scrollWidth") <= width, path
        paper = page.see("getComputedStyle(document.body).backgroundColor")
        assert paper == ("rgb(20, 25, 28)" if dark else "rgb(255, 255, 255)")
        nameless = """[...document.querySelectorAll('button, input, select, textarea, a, img')].filter((each) =>
            each.offsetParent && !(each.textContent.trim() || each.labels?.[0]?.textContent.trim() || each.ariaLabel || each.hasAttribute('alt'))).length"""
        assert page.see(nameless) == 0, path
        assert page.see(
            "document.querySelectorAll('[id]').length === new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size"
        )


def test_a_classifier(page: Browser, url: str) -> None:
    page.go(f"{url}/models/goods", "document.getElementById('lead').textContent")
    assert page.see("document.querySelector('nav a[aria-current]').textContent") == "goods"
    page.type("a loaf of bread")
    page.see("document.querySelector('#form button').click()")
    page.until("document.querySelector('.verdict')?.textContent === 'bread'")
    assert page.see("[...document.querySelectorAll('.share')].map((each) => each.textContent)") == ["90 %", "10 %"]
    assert page.see("[...document.querySelectorAll('.name')].map((each) => each.textContent)") == ["bread", "tool<b>"]
    page.see("document.getElementById('text').value = 'a hammer'")
    page.see("document.querySelector('#form button').click()")
    page.until("document.querySelector('.verdict')?.textContent === 'Unsure'")


def test_the_page_says_that_the_server_has_gone(opened: Browser) -> None:
    with running({"texts": text_index()}) as (url, _):
        opened.go(url, "document.querySelector('#start h2')")
    search(opened, "bread")
    opened.until("!document.getElementById('message').hidden")
    assert "Is it still running?" in opened.see("document.getElementById('message').textContent")
