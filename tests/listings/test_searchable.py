"""Named sets with judged questions, from small files that look as the published ones do."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from graft.errors import DataError, MissingError
from graft.listings.listing import read_listing
from graft.listings.searchable import is_searchable, read_judged, read_searchable


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFT_DATA", str(tmp_path))
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def scifact(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": str(i), "title": f"Title {i}", "text": f"An abstract about {i}."} for i in (4, 31)]
    queries = [{"_id": "q1", "text": "is it four"}, {"_id": "q2", "text": "is it thirty-one"}]
    for name, lines in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq1\t4\t1\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq2\t31\t1\nq2\t4\t0\n")


def flickr(folder: Path) -> None:
    folder.mkdir()
    lines = ["image,caption"]
    with zipfile.ZipFile(folder / "flickr8k_1000.zip", "w") as archive:
        for shade, name in ((10, "a.jpg"), (200, "b.jpg")):
            stream = io.BytesIO()
            Image.new("L", (8, 8), shade).save(stream, "JPEG")
            archive.writestr(f"flickr8k_1000/images/{name}", stream.getvalue())
            lines += [f'{name},"a picture, {name}"', f"{name},another word"]
        archive.writestr("flickr8k_1000/captions.txt", "\n".join(lines))


def test_scifact(here: Path) -> None:
    scifact(here / "scifact")
    listing = read_listing("data:scifact")
    assert listing.ids == ("4", "31") and listing.contents[0] == "Title 4 An abstract about 4."
    assert listing.payload == {"title": ["Title 4", "Title 31"]}
    judged = read_judged("scifact")
    assert [(j.text, dict(j.gains), j.part) for j in judged] == [
        ("is it four", {"4": 1.0}, "train"),
        ("is it thirty-one", {"31": 1.0}, "test"),
    ]


def test_flickr(here: Path) -> None:
    flickr(here / "flickr8k_1000")
    dataset = read_searchable("flickr8k_1000")
    assert dataset.modality == "image" and sorted(dataset.ids) == ["a.jpg", "b.jpg"]
    assert sorted(dataset.payload["caption"]) == ["a picture, a.jpg", "a picture, b.jpg"]
    assert len(read_judged("flickr8k_1000")) == 4


def test_what_is_not_here(here: Path) -> None:
    assert is_searchable("scifact") and not is_searchable("cifar10")
    with pytest.raises(MissingError, match=r"corpus\.jsonl"):
        read_searchable("scifact")
    scifact(here / "scifact")
    (here / "scifact" / "corpus.jsonl").write_text('{"title": "no id"}\n')
    with pytest.raises(DataError, match="not as published"):
        read_searchable("scifact")
    (here / "scifact" / "queries.jsonl").write_text("not json\n")
    with pytest.raises(DataError, match="not as published"):
        read_judged("scifact")


@pytest.mark.skipif("GRAFT_DATA" not in os.environ, reason="GRAFT_DATA names no folder of public sets")
@pytest.mark.parametrize(("name", "items", "questions"), [("scifact", 5183, 1109), ("flickr8k_1000", 1000, 5000)])
def test_the_published_sets(name: str, items: int, questions: int) -> None:
    try:
        dataset = read_searchable(name)
    except MissingError:
        pytest.skip(f"data:{name} is not here")
    judged = read_judged(name)
    assert (len(dataset), len(judged)) == (items, questions)
    known = set(dataset.ids)
    assert all(item in known for j in judged for item in j.gains)
