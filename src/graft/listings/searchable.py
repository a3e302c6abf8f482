"""`data:NAME` for search: named sets of items with questions whose answers people have judged.

They are looked for as the sets of `graft.data.named` are, in `$GRAFT_DATA/NAME`, then in the cache; neither is fetched.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from graft import settings
from graft.data.archives import list_zip, read_member
from graft.data.dataset import Dataset, ImageSource, Items, assemble
from graft.errors import DataError, MissingError
from graft.listings.judgements import Judged

T = TypeVar("T")

_FILES = {
    "flickr8k_1000": ("flickr8k_1000.zip",),
    "scifact": ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"),
}
_PAGES = {
    "flickr8k_1000": "https://hockenmaier.cs.illinois.edu/8k-pictures.html (as flickr8k_1000/images/ and captions.txt, zipped)",
    "scifact": "https://github.com/beir-cellar/beir (scifact.zip, unpacked)",
}


def is_searchable(name: str) -> bool:
    """Whether `data:NAME` is one of these sets."""
    return name in _FILES


def read_searchable(name: str) -> Dataset:
    """The items of a set, without labels. Raises MissingError when it is not here, DataError when its files are not as published."""
    return _read(name, _ITEMS[name])


def read_judged(name: str) -> list[Judged]:
    """Its questions, each with the ids that answer it. Raises as `read_searchable`."""
    return _read(name, _JUDGED[name])


def _read(name: str, load: Callable[[Path], T]) -> T:
    folder = _find(name)
    try:
        return load(folder)
    except (OSError, IndexError, KeyError, ValueError) as problem:
        raise DataError(f"data:{name} in {folder} is not as published: {problem}.") from problem


def _find(name: str) -> Path:
    cached = settings.cache_dir() / "data" / name
    given = settings.data_dir()
    places = [cached] if given is None else [given / name, cached]
    for folder in places:
        if all((folder / file).is_file() for file in _FILES[name]):
            return folder
    looked = " and in ".join(map(str, places))
    raise MissingError(
        f"data:{name} is not here: looked for {', '.join(_FILES[name])} in {looked}. Get it from {_PAGES[name]} and put it into a folder "
        f"{name}, with GRAFT_DATA naming the folder above."
    )


def _scifact(folder: Path) -> Dataset:
    """Abstracts, each read with its title before it, as the published baselines do; the title is kept as a column too."""
    items = Items("text", columns={"content": "title + text"})
    titles = []
    for line in _json_lines(folder / "corpus.jsonl"):
        titles.append(line["title"])
        items.add(line["_id"], f"{line['title']} {line['text']}".strip(), None)
    dataset = assemble(items, name="scifact", kind="named", source="data:scifact")
    return _with(dataset, "title", titles)


def _scifact_judged(folder: Path) -> list[Judged]:
    texts = {line["_id"]: line["text"] for line in _json_lines(folder / "queries.jsonl")}
    judged = []
    for part in ("train", "test"):
        gains: dict[str, dict[str, float]] = {}
        with (folder / "qrels" / f"{part}.tsv").open(encoding="utf-8", newline="") as stream:
            for query, item, gain in list(csv.reader(stream, delimiter="\t"))[1:]:
                if float(gain) > 0:
                    gains.setdefault(query, {})[item] = float(gain)
        judged += [Judged(texts[query], found, part=part) for query, found in gains.items()]
    return judged


def _flickr(folder: Path) -> Dataset:
    path = folder / "flickr8k_1000.zip"
    captions = _captions(path)
    items = Items("image", columns={"content": "image"})
    for entry in list_zip(path)[0]:
        name = entry.path.rsplit("/", 1)[-1]
        if name in captions:
            items.add(name, ImageSource(path, entry.member), None)
    dataset = assemble(items, name="flickr8k_1000", kind="named", source="data:flickr8k_1000")
    return _with(dataset, "caption", [captions[item][0] for item in dataset.ids])


def _flickr_judged(folder: Path) -> list[Judged]:
    captions = _captions(folder / "flickr8k_1000.zip")
    return [Judged(caption, {item: 1.0}) for item, texts in captions.items() for caption in texts]


def _captions(path: Path) -> dict[str, list[str]]:
    listing = next(entry for entry in list_zip(path)[0] if entry.path.endswith("captions.txt"))
    rows = csv.DictReader(io.StringIO(read_member(path, listing.member).decode("utf-8")))
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["image"], []).append(row["caption"])
    return found


def _json_lines(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        yield from (json.loads(line) for line in stream if line.strip())


def _with(dataset: Dataset, column: str, values: list[str]) -> Dataset:
    return replace(dataset, payload={column: values})


_ITEMS: dict[str, Callable[[Path], Dataset]] = {"flickr8k_1000": _flickr, "scifact": _scifact}
_JUDGED: dict[str, Callable[[Path], list[Judged]]] = {"flickr8k_1000": _flickr_judged, "scifact": _scifact_judged}
