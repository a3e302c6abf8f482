"""Ways to search on a real index of texts: what helps is found, what does not is not, and what is adopted is searched by."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graft.data.catalogue import programmes
from graft.errors import DataError, UsageError
from graft.judging.evaluation import METRICS, judge
from graft.retrieval.adopted import Adopted, adopt
from graft.retrieval.opened import OpenedIndex, open_index
from graft.verbs.index import index
from graft.verbs.search import search

SIZE = 240


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    with (folder / "c.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "title", "description", "category", "part"])
        for i, p in enumerate(programmes(SIZE, 3)):
            table.writerow([p.id, p.title, p.description, p.category, "train" if i % 2 else "test"])
    index(folder / "c.csv", out=folder / "index", content="description")
    return folder / "index"


@pytest.fixture
def opened(catalogue: Path) -> OpenedIndex:
    (catalogue / "search.json").unlink(missing_ok=True)
    return open_index(catalogue)


def test_every_way_is_measured_on_the_same_queries(opened: OpenedIndex) -> None:
    found = judge(opened, "category", where="part = 'test'", learn="part = 'train'")
    names = [way.name for way in found.ways]
    assert names[0] == "plain" and {
        "prompts",
        "feedback",
        "words",
        "hybrid",
        "example mean",
        "network",
        "examples",
    } <= set(names)
    assert found.items == SIZE // 2 and found.queries == 10
    for way in found.ways:
        assert set(way.metrics) == set(METRICS)
        assert all(0 <= interval.value <= 1 and interval.n == 10 for interval in way.metrics.values())
        assert way.gain is None or way.gain.value == pytest.approx(
            way.metrics["accuracy@5"].value - found.ways[0].metrics["accuracy@5"].value
        )
        assert way.helped == (way.gain is not None and way.gain.low is not None and way.gain.low > 0)
    learned = next(way for way in found.ways if way.name == "examples")
    assert learned.metrics["accuracy@5"].value > found.ways[0].metrics["accuracy@5"].value
    assert len(found.worst) == 10 and found.worst[0].value <= found.worst[-1].value


def test_a_ranking_by_the_right_words_is_perfect_and_by_wrong_ones_is_not(opened: OpenedIndex, tmp_path: Path) -> None:
    rows = opened.payload(range(40))
    judgements = tmp_path / "j.csv"
    with judgements.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["query", "id", "group"])
        table.writerows([row["content"], row["id"], "odd" if i % 2 else "even"] for i, row in enumerate(rows))
    found = judge(opened, str(judgements))
    plain = found.ways[0].metrics
    assert plain["recall@1"].value > 0.9  # every text finds itself, but for re-issues nearly word for word
    assert plain["recall@5"].value == 1.0
    assert set(found.groups) == {"odd", "even"} and found.groups["odd"]["mrr"].n == 20
    assert found.chosen == "plain" and "No way is better" in found.why


def test_what_is_learned_never_saw_the_queries_it_is_measured_on(opened: OpenedIndex, tmp_path: Path) -> None:
    """Random answers cannot be learned: a map that had seen them would find them."""
    rng = np.random.default_rng(0)
    judgements = tmp_path / "random.csv"
    items = rng.permutation(opened.ids)[:80]
    texts = [row["content"] for row in opened.payload(range(80))]
    with judgements.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["query", "id"])
        table.writerows(zip(texts, items, strict=True))
    found = judge(opened, str(judgements))
    learned = next(way for way in found.ways if way.name == "map")
    assert learned.metrics["recall@10"].value < 0.25  # chance is 10 of 240


def test_adopted_ways_are_searched_by(catalogue: Path, opened: OpenedIndex) -> None:
    before = opened.search("science fiction", k=20)
    found = search(catalogue, evaluate="category", where="part = 'test'", learn="part = 'train'", adopt=True)
    assert found.adopted and found.chosen == "examples"  # type: ignore[union-attr]
    after = open_index(catalogue).search("science fiction", k=20)
    share = [
        np.mean([hit.payload["category"] == "science fiction" for hit in answer.hits]) for answer in (before, after)
    ]
    assert share[1] > share[0] and after.matched
    assert open_index(catalogue).search("a detective", k=3).hits == opened.search("a detective", k=3).hits


@pytest.mark.parametrize(
    "adopted",
    [
        Adopted("prompts", {"templates": ["this is about {}", "{}"]}),
        Adopted("feedback", {"items": 5, "weight": 0.5}),
        Adopted("plain", {}, 1.0),
        Adopted("map", {}, None, {}, {"text": np.eye(384, dtype=np.float32)}),
    ],
    ids=lambda adopted: adopted.way,
)
def test_each_adopted_way_answers(catalogue: Path, opened: OpenedIndex, adopted: Adopted) -> None:
    plain = opened.search("a murder in the harbour", k=5)
    adopt(catalogue, adopted)
    answer = open_index(catalogue).search("a murder in the harbour", k=5)
    assert len(answer.hits) == 5
    if adopted.way == "map":  # the identity changes nothing
        assert [hit.id for hit in answer.hits] == [hit.id for hit in plain.hits]
    if adopted.hybrid is not None:
        assert replace(answer, seconds=0.0) == replace(
            opened.search("a murder in the harbour", k=5, hybrid=True), seconds=0.0
        )


def test_an_index_that_is_open_takes_up_what_is_adopted(catalogue: Path, opened: OpenedIndex) -> None:
    assert opened.refresh() is opened
    adopt(catalogue, Adopted("prompts", {"templates": ["this is about {}"]}))
    newer = opened.refresh()
    assert newer is not opened and newer.adopted.way == "prompts" and newer.version == opened.version
    assert newer.refresh() is newer
    (catalogue / "search.json").unlink()
    assert newer.refresh().adopted.way == "plain"


def test_what_cannot_be_judged_is_said(opened: OpenedIndex, tmp_path: Path, catalogue: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'category'"):
        judge(opened, "categry")
    (tmp_path / "no.csv").write_text("query,answer\na,b\n")
    with pytest.raises(DataError, match="no column 'id'"):
        judge(opened, str(tmp_path / "no.csv"))
    with pytest.raises(UsageError, match="--learn names examples"):
        (tmp_path / "j.csv").write_text(f"query,id\na text,{opened.ids[0]}\n")
        judge(opened, str(tmp_path / "j.csv"), learn="part = 'train'")
    with pytest.raises(UsageError, match="go with --evaluate"):
        search(catalogue, "x", adopt=True)
    with pytest.raises(UsageError, match="do not go with it"):
        search(catalogue, "x", evaluate="category")
