"""One question to an index of pictures and one of texts: words, pictures, examples, filters, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.errors import DataError, UsageError
from graft.retrieval.asking import LONGEST_QUERY
from graft.retrieval.background import MATCH
from graft.retrieval.opened import OpenedIndex, open_index
from graft.verbs.index import index

TEXTS = {
    "ferry": "The ferry left the pier at dawn.",
    "boats": "Fishing boats unload their catch on the quay.",
    "crane": "A crane lifts containers from the cargo ship.",
    "soup": "The soup simmers on the stove for an hour.",
    "eggs": "Whisk the eggs and fold in the flour.",
    "bread": "Knead the dough and let the bread rise.",
    "goal": "The striker scored a goal in the last minute.",
    "coach": "The coach praised the goalkeeper after the match.",
    "bank": "The central bank left its interest rate unchanged.",
    "shares": "Shares fell after the company cut its forecast.",
}
PICTURES = {
    "red": (200, 20, 20),
    "rust": (180, 40, 30),
    "blue": (20, 30, 200),
    "navy": (10, 10, 120),
    "green": (20, 180, 40),
}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    folder = tmp_path_factory.mktemp("texts")
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "text", "year"])
        table.writerows([name, text, 2000 + i] for i, (name, text) in enumerate(TEXTS.items()))
    index(folder / "t.csv", out=folder / "index")
    return open_index(folder / "index")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "p").mkdir()
    rng = np.random.default_rng(0)
    for name, colour in PICTURES.items():
        noise = rng.integers(-8, 8, (64, 64, 3))
        Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(folder / "p" / f"{name}.png")
    index(folder / "p", out=folder / "index")
    return open_index(folder / "index")


def ids(answer: object) -> list[str]:
    return [hit.id for hit in answer.hits]  # type: ignore[attr-defined]


def test_words_find_what_they_mean(texts: OpenedIndex) -> None:
    answer = texts.search("vessels in the harbour", k=3)
    assert set(ids(answer)) == {"ferry", "boats", "crane"}
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)
    assert (
        answer.hits[0].payload == {"year": answer.hits[0].payload["year"]} and answer.hits[0].content in TEXTS.values()
    )
    assert (answer.query, answer.items, answer.version) == ("vessels in the harbour", 10, 1)


def test_what_is_there_matches_and_what_is_not_does_not(texts: OpenedIndex) -> None:
    there = texts.search("The soup simmers on the stove", k=3)
    assert there.matched and there.hits[0].id == "soup" and there.hits[0].confidence >= MATCH
    absent = texts.search("the rings of Jupiter's moons seen through a telescope", k=3)
    assert not absent.matched and len(absent.hits) == 3


def test_examples_draw_and_repel(texts: OpenedIndex) -> None:
    assert ids(texts.search(like=["soup", "eggs"], k=1)) == ["bread"]
    drawn, repelled = texts.search("news", like=["bank"], k=9), texts.search("news", unlike=["bank"], k=9)
    assert "bank" not in ids(drawn) + ids(repelled)
    assert ids(drawn).index("shares") < ids(repelled).index("shares")


def test_a_filter_keeps_k(texts: OpenedIndex) -> None:
    assert ids(texts.search("vessels in the harbour", k=2, where="year >= 2003")) != []
    assert all(hit.payload["year"] >= 2003 for hit in texts.search("vessels", k=10, where="year >= 2003").hits)
    assert len(texts.search("vessels", k=4, where="year >= 2003").hits) == 4
    few = texts.search("vessels", k=4, where="id = 'bank'")
    assert ids(few) == ["bank"] and "All 1 items" in few.note
    assert texts.search("vessels", k=4, where="year > 3000").hits == ()


def test_hybrid_joins_words(texts: OpenedIndex) -> None:
    answer = texts.search("goalkeepers praised", k=3, hybrid=True)
    assert answer.hits[0].id == "coach"
    assert texts.search("goalkeepers", k=2, hybrid=True, where="id <> 'coach'").hits[0].id != "coach"
    assert texts.search("?!", k=2, hybrid=True).hits != ()


def test_a_picture_finds_its_like(pictures: OpenedIndex, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), (205, 25, 25)).save(tmp_path / "q.png")
    assert set(ids(pictures.search(image=tmp_path / "q.png", k=2))) == {"red.png", "rust.png"}
    mixed = pictures.search("a blue thing", image=tmp_path / "q.png", like=["green.png"], k=5)
    assert "green.png" not in ids(mixed) and len(mixed.hits) == 4


def test_words_reach_pictures_by_the_bridge(pictures: OpenedIndex) -> None:
    assert set(pictures.views) == {"image", "bridge"}
    assert len(pictures.search("a mailbox", k=5).hits) == 5


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "The query is empty"),
        ({"text": "  \n "}, "The query is empty"),
        ({"text": "x" * (LONGEST_QUERY + 1)}, "100,001 letters"),
        ({"text": "x", "k": 0}, "k is 0"),
        ({"text": "x", "k": 10**9}, "k is 1000000000"),
        ({"text": "x", "where": "year >"}, "The filter"),
        ({"text": "x", "where": "yaer > 3"}, "Did you mean 'year'"),
        ({"text": "x", "where": "graft_key > 0"}, "Graft's own"),
        ({"text": "x", "where": ""}, "The filter is empty"),
        ({"like": ["soup"], "unlike": ["soup"]}, "as like and as unlike"),
        ({"like": ["soup"], "hybrid": True}, "give a text"),
        ({"image": "nothing.png"}, "not pictures"),
    ],
)
def test_what_cannot_be_asked(texts: OpenedIndex, asked: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        texts.search(**asked)  # type: ignore[arg-type]


def test_unknown_ids_and_bad_pictures(texts: OpenedIndex, pictures: OpenedIndex, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Did you mean 'soup'"):
        texts.search(like=["soupe"])
    with pytest.raises(UsageError, match="hybrid search needs texts"):
        pictures.search("x", hybrid=True)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot a picture")
    with pytest.raises(DataError, match="cannot be searched with"):
        pictures.search(image=tmp_path / "broken.png")
    with pytest.raises(DataError, match="cannot be searched with"):
        pictures.search(image=tmp_path / "absent.png")


def test_a_k_beyond_the_collection_gives_all(texts: OpenedIndex) -> None:
    answer = texts.search("anything", k=500)
    assert len(answer.hits) == len(TEXTS) and "All 10 items" in answer.note


def test_a_hundred_kilobytes_of_text_are_cut_not_refused(texts: OpenedIndex) -> None:
    assert len(texts.search("soup on the stove " * 5000, k=1).hits) == 1
