"""The page for doubted labels, driven in a real browser: keys answer, answers last, and the file holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.reports.items import sentence, texture
from tests.server.browser import Browser, browser

from graft.reports.review import Doubted, LabelsResult, Shown, page_data, review_page
from graft.results import Interval, Suspect

CLASSES = ("cat", "dog", "a <b>bird</b> & </script>")


def made(pictures: bool, number: int = 6) -> tuple[LabelsResult, tuple[Doubted, ...]]:
    """A result with as many suspects, of pictures or of texts."""
    rng = np.random.default_rng(0)

    def shown(item: str, code: int) -> Shown:
        return Shown(item, "", texture(code, rng)) if pictures else Shown(item, sentence(CLASSES[code], rng), "")

    doubted = []
    for i in range(number):
        given, suggested = i % 3, (i + 1) % 3
        suspect = Suspect(f"train/{i:03d}.png", CLASSES[given], CLASSES[suggested], 0.02 + 0.01 * i, 0.97 - 0.02 * i)
        near = [tuple(shown(f"near/{i}-{code}-{k}.png", code) for k in range(3)) for code in (given, suggested)]
        doubted.append(Doubted(suspect, shown(suspect.item, suggested), near[0], near[1]))
    result = LabelsResult(
        name="pets",
        source="~/pets",
        modality="image" if pictures else "text",
        items=300,
        asked=298,
        classes=CLASSES,
        strategy="linear-probe",
        encoder="minilm",
        right=Interval(0.93, 0.9, 0.95, 298),
        chance=0.34,
        doubted=number + 3,
        suspects=tuple(d.suspect for d in doubted),
        pairs=(("cat", "dog", 4), ("dog", CLASSES[2], 2)),
        lone=("owl",),
        command="graft diagnose labels ~/pets",
        environment={"graft": "0.1.0"},
    )
    return result, tuple(doubted)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def opened(page: Browser, tmp_path: Path) -> Iterator[str]:
    """The page of six pictures in the browser, which has forgotten all answers; its address."""
    result, doubted = made(pictures=True)
    path = tmp_path / "review.html"
    path.write_text(review_page(replace(result, source=str(tmp_path)), doubted), "utf-8")
    page.size(1280)
    page.go(path.as_uri(), "document.getElementById('where').textContent")
    yield path.as_uri()
    assert page.complaints == []


def told(page: Browser) -> str:
    return str(page.see("document.getElementById('done').textContent"))


@pytest.mark.usefixtures("opened")
def test_keys_answer_and_undo(page: Browser) -> None:
    assert page.see("document.querySelectorAll('.near img').length") == 6
    page.press("ArrowRight")
    assert told(page) == "1 of 6 judged, 1 changed"
    assert page.see("document.getElementById('where').textContent").startswith("2 of 6")
    page.press("ArrowLeft")
    assert told(page) == "2 of 6 judged, 1 changed"
    page.press("u")
    assert told(page) == "1 of 6 judged, 1 changed"
    assert page.see("document.getElementById('where').textContent").startswith("2 of 6")
    page.press("ArrowDown")
    page.press("o")
    assert page.see("document.activeElement.id") == "other"
    page.see(
        "(() => { const s = document.getElementById('other'); s.value = 'cat'; s.dispatchEvent(new Event('change')); })()"
    )
    assert told(page) == "2 of 6 judged, 2 changed"
    page.see("document.getElementById('undo').click()")
    page.see("document.getElementById('undo').click()")
    assert told(page) == "0 of 6 judged, 0 changed"
    assert page.see("document.getElementById('undo').disabled") is True
    for _ in range(6):
        page.press("ArrowLeft")
    assert told(page) == "6 of 6 judged, 0 changed: save the answers"


def test_answers_outlast_the_page_and_are_saved_as_a_file(page: Browser, opened: str, tmp_path: Path) -> None:
    page.press("ArrowRight")
    page.press("ArrowLeft")
    page.see("document.querySelectorAll('#list button')[4].click()")
    page.press("ArrowRight")
    page.go(opened + "#again", "document.getElementById('where').textContent")
    page.call("Page.reload")
    page.until(
        "document.getElementById('done') && document.getElementById('done').textContent === '3 of 6 judged, 2 changed'"
    )
    assert page.see("document.getElementById('where').textContent").startswith("3 of 6")
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path / "got"))
    assert not page.see("document.getElementById('how').open")
    page.press("d")
    assert page.see("document.getElementById('how').open")
    assert "--corrections pets-corrections.json --out" in page.see("document.querySelector('#how pre').textContent")
    saved = tmp_path / "got" / "pets-corrections.json"
    for _ in range(200):
        if saved.exists():
            break
        page.see("new Promise((done) => setTimeout(done, 20))")
    tree = json.loads(saved.read_text())
    assert tree["kind"] == "graft label corrections"
    assert [(c["item"], c["given"], c["label"]) for c in tree["corrections"]] == [
        ("train/000.png", "cat", "dog"),
        ("train/001.png", "dog", "dog"),
        ("train/004.png", "dog", CLASSES[2]),
    ]
    assert not [url for url in page.asked if url.startswith("http")]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("pictures", [True, False])
def test_nothing_spills_over(page: Browser, tmp_path: Path, width: int, pictures: bool) -> None:
    path = tmp_path / "review.html"
    path.write_text(review_page(*made(pictures)), "utf-8")
    page.size(width)
    page.go(path.as_uri(), "document.getElementById('where').textContent")
    assert page.see("document.documentElement.scrollWidth") <= width
    assert page.see("document.querySelectorAll('script').length") == 2
    assert page.see("[...document.images].filter((i) => i.complete && !i.naturalWidth).length") == 0
    assert page.complaints == []


def test_without_suspects_the_page_says_why(page: Browser, tmp_path: Path) -> None:
    result, _ = made(False)
    path = tmp_path / "review.html"
    path.write_text(
        review_page(replace(result, suspects=(), doubted=0, pairs=(), reason="they are all the same"), ()), "utf-8"
    )
    page.go(path.as_uri(), "document.querySelector('h1')")
    assert "they are all the same" in page.see("document.body.innerText")
    assert page.complaints == []


def test_answers_to_other_suspects_have_another_key() -> None:
    result, doubted = made(False)
    key = page_data(result, doubted)["key"]
    assert key == page_data(result, doubted)["key"]
    assert key != page_data(result, doubted[1:])["key"]
    assert key != page_data(replace(result, source="elsewhere"), doubted)["key"]
