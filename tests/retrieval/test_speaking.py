"""How words and pictures become queries: the right encoder, the same vectors as the items', and no other encoder by mistake."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.small_inputs import pictures, table

import graft
from graft.data.dataset import ImageSource
from graft.errors import DataError, ModelError, UsageError
from graft.listings.listing import read_listing
from graft.retrieval import speaking
from graft.retrieval.indexing import update
from graft.retrieval.opened import OpenedIndex, open_index
from graft.retrieval.viewing import Wanted

TEXTS = ("a red house by the sea", "the green hill far away", "blue water under a bridge")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    folder = tmp_path_factory.mktemp("texts")
    update(folder / "ix", read_listing(table(folder / "t.csv", [(t, "x") for t in TEXTS])), Wanted())
    return open_index(folder / "ix")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    """Pictures with texts, each with vectors of its own."""
    folder = tmp_path_factory.mktemp("shown")
    pictures(folder / "p", 2)
    cells = [("p/dark/0.png", TEXTS[0]), ("p/dark/1.png", ""), ("p/light/0.png", TEXTS[1]), ("p/light/1.png", TEXTS[2])]
    listing = read_listing(table(folder / "t.csv", cells, ("image", "caption")), text="caption")
    update(folder / "ix", listing, Wanted(encoder="pixels:8"))
    return open_index(folder / "ix")


def test_a_query_is_encoded_as_the_items_were(texts: OpenedIndex) -> None:
    (asked,) = texts.encode_queries(TEXTS).values()
    np.testing.assert_allclose(asked, texts.vectors("text"), atol=1e-5)
    np.testing.assert_allclose(asked, graft.open_encoder("minilm").encode(TEXTS), atol=1e-5)
    assert texts.search_vectors(asked, 1).positions[:, 0].tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="not pictures"):
        texts.encode_pictures([ImageSource(Path("x.png"))])


def test_pictures_with_texts_are_searched_by_both(shown: OpenedIndex) -> None:
    assert shown.modality == "both" and list(shown.views) == ["image", "text"]
    asked = shown.encode_queries([TEXTS[1]])
    assert list(asked) == ["text"] and shown.search_vectors(asked["text"], 1, view="text").positions.tolist() == [[2]]
    source = ImageSource(Path(shown.payload([3])[0]["content"]))
    seen = shown.encode_pictures([source])
    assert list(seen) == ["image"] and shown.search_vectors(seen["image"], 1, view="image").positions.tolist() == [[3]]
    assert shown.picture(3) == source.read_bytes()
    assert not shown.vectors("text", np.array([1])).any()  # it has no text: it is like nothing


def test_a_text_that_changed_is_encoded_again(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 2).parent
    for text in (TEXTS[0], TEXTS[1]):
        path = table(folder / "t.csv", [("p/dark/0.png", text)], ("image", "caption"))
        update(tmp_path / "ix", read_listing(path, text="caption"), Wanted(encoder="pixels:8"))
    index = open_index(tmp_path / "ix")
    np.testing.assert_allclose(index.vectors("text"), index.encode_queries([TEXTS[1]])["text"], atol=1e-5)


def test_pictures_that_cannot_be_searched_with(shown: OpenedIndex, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for name in ("bad.png", "gone.png"):
        with pytest.raises(DataError, match=name):
            shown.encode_pictures([ImageSource(tmp_path / name)])


def test_a_picture_that_is_gone_is_told(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 1)
    update(tmp_path / "ix", read_listing(folder), Wanted(encoder="pixels:8"))
    index = open_index(tmp_path / "ix")
    (folder / "dark" / "0.png").unlink()
    with pytest.raises(DataError, match="no longer there"):
        index.picture(index.position("dark/0.png"))
    with pytest.raises(UsageError, match="bridge"):
        index.encode_queries(["a word"])


def test_what_was_asked_before_is_remembered(texts: OpenedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    first = texts.encode_queries(["one", "two", "one"])["text"]
    assert np.array_equal(first[0], first[2])
    monkeypatch.setattr(speaking, "encode", None)
    assert np.array_equal(texts.encode_queries(["two", "one"])["text"], first[[1, 0]])


def test_many_threads_and_little_memory(texts: OpenedIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "REMEMBERED", 3)
    words = [f"word {i}" for i in range(12)]
    expected = graft.open_encoder("minilm").encode(words)

    def ask(i: int) -> bool:
        some = [i % 12, (i * 5) % 12, (i + 3) % 12]
        return np.allclose(texts.encode_queries([words[j] for j in some])["text"], expected[some], atol=1e-4)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(48)))


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    update(tmp_path / "ix", read_listing(table(tmp_path / "t.csv", [(t, "x") for t in TEXTS])), Wanted())
    file = tmp_path / "ix" / "versions" / "1.json"
    tree = json.loads(file.read_text())
    tree["views"][0]["encoder"]["fingerprint"] = "f" * 64
    file.write_text(json.dumps(tree))
    with pytest.raises(ModelError, match="another"):
        open_index(tmp_path / "ix").encode_queries(["a word"])
