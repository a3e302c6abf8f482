from __future__ import annotations

from pathlib import Path

from PIL import Image

from graft.reports.contact import contact_sheet
from graft.search_results import Hit, SearchResult


def result(*hits: Hit, matched: bool = True) -> SearchResult:
    return SearchResult("<b>dogs</b>", hits, matched, 3, 2)


def test_pictures_are_inside_and_texts_are_escaped(tmp_path: Path) -> None:
    Image.new("RGB", (900, 600), (10, 90, 200)).save(tmp_path / "a.jpg")
    page = contact_sheet(
        result(Hit("<script>x</script>", 0.5, 0.97, str(tmp_path / "a.jpg"), {"label": "<i>sea</i>", "year": None})),
        pictures=True,
    )
    assert page.count('<img src="data:image/') == 1
    assert "<script>x" not in page and "&lt;script&gt;x" in page and "<i>sea" not in page and "<b>dogs" not in page
    assert "http" not in page.split("<body>")[1]
    assert "Nothing matches" not in page


def test_a_picture_that_is_gone_is_said(tmp_path: Path) -> None:
    page = contact_sheet(result(Hit("a", 0.5, 0.2, str(tmp_path / "gone.jpg")), matched=False), pictures=True)
    assert "no longer there" in page and "Nothing matches" in page


def test_texts_are_shown_as_texts() -> None:
    page = contact_sheet(result(Hit("a", 0.5, 0.97, "A <b>long</b> story")), pictures=False)
    assert "A &lt;b&gt;long&lt;/b&gt; story" in page and "<img" not in page
