"""What is found of small spaces whose shape is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from tests.diagnostics.small_index import KINDS, SmallIndex

from graft.diagnostics.drawn import Question
from graft.diagnostics.space import examine
from graft.errors import DataError, GraftError, UsageError
from graft.metrics.space import cosines
from graft.reports.space import SpaceEvidence, SpaceResult
from graft.results import from_json, to_json


def look(index: SmallIndex, question: Question | None = None) -> tuple[SpaceResult, SpaceEvidence]:
    return examine(index, question or Question(), name="small", path="small")


@pytest.fixture(scope="module")
def pictures() -> tuple[SpaceResult, SpaceEvidence]:
    return look(SmallIndex())


def test_a_gap_is_seen_and_what_closing_it_does(pictures: tuple[SpaceResult, SpaceEvidence]) -> None:
    crossing = pictures[0].crossing
    assert crossing is not None
    assert (crossing.view, crossing.column, crossing.pictures, crossing.queries) == ("image", "caption", 60, 60)
    assert crossing.gap.distance > 1
    assert crossing.gap.separable == 1
    assert crossing.closed.distance < 0.1
    assert crossing.alignment_closed < crossing.alignment / 5
    assert crossing.recall_closed["1"].value > crossing.recall["1"].value + 0.3
    gain = crossing.gain["1"]
    assert gain.value == pytest.approx(crossing.recall_closed["1"].value - crossing.recall["1"].value)
    assert gain.low is not None and gain.low > 0
    finding = pictures[0].findings[-1]
    assert finding.act and "Close it" in finding.advice


def test_without_a_gap_there_is_nothing_to_close() -> None:
    result, _ = look(SmallIndex(gap=0))
    assert result.crossing is not None
    assert result.crossing.gap.distance < 0.1
    assert result.cone.mean < 0.2
    assert not [f.topic for f in result.findings if f.act and f.topic in ("Crowding", "Gap between texts and pictures")]


def test_heat_maps_hold_the_index_own_similarities(pictures: tuple[SpaceResult, SpaceEvidence]) -> None:
    index = SmallIndex()
    own, texts, across = pictures[0].heat_maps
    assert [h.of for h in (own, texts, across)] == [("image", "image"), ("text", "text"), ("text", "image")]
    rows = [index.position(item) for item in own.rows]
    assert len(rows) == len(set(rows)) <= 24
    assert {item.split("/")[0] for item in own.rows} == set(KINDS)
    assert np.array(own.values) == pytest.approx(
        cosines(index.vectors("image", rows), index.vectors("image", rows)), abs=1e-3
    )
    kinds = [item.split("/")[0] for item in own.rows]
    assert sum(a != b for a, b in itertools.pairwise(kinds)) == len(KINDS) - 1  # like beside like
    told = index.encode_queries(texts.rows)["image"]
    assert np.array(across.values) == pytest.approx(cosines(told, index.vectors("image", rows)), abs=1e-3)


def test_scores_of_a_view_of_inner_products_are_inner_products() -> None:
    index = SmallIndex(metric="dot")
    across = look(index)[0].heat_maps[2]
    assert across.measure == "score"
    told = index.encode_queries(across.rows)["image"]
    rows = [index.position(item) for item in across.columns]
    assert np.array(across.values) == pytest.approx(told @ index.vectors("image", rows).T, abs=1e-3)


def test_the_path_asked_for() -> None:
    index = SmallIndex()
    ends = ("beach/0000.png", "snow/0004.png")
    path = look(index, Question(path=ends))[0].path
    assert path is not None and path.asked
    assert (path.start, path.end, len(path.steps)) == (*ends, 9)
    a, b = index.vectors("image", [0, 4])
    assert path.degrees == pytest.approx(np.degrees(np.arccos(a @ b)), abs=0.01)
    assert not {item for step in path.steps for item, _ in step.items} & set(ends)
    first, last = path.steps[0], path.steps[-1]
    assert (first.at, last.at) == (0, 1)
    assert all(item.startswith("beach") for item, _ in first.items)
    assert all(item.startswith("snow") for item, _ in last.items)
    assert first.texts[0][0].startswith("a beach") and last.texts[0][0].startswith("a snow")


def test_items_asked_for_are_shown_however_few_are_drawn() -> None:
    wanted = ("beach/0000.png", "forest/0001.png", "snow/0059.png")
    result, evidence = look(SmallIndex(), Question(items=wanted, sample=12))
    assert result.sampled == 12
    assert sorted(result.heat_maps[0].rows) == sorted(wanted)
    assert all(evidence.looks[item].picture.startswith("data:image/") for item in wanted)


def test_texts_alone() -> None:
    result, evidence = look(SmallIndex(modality="text"))
    assert (result.view, result.modality, result.crossing) == ("text", "text", None)
    assert [h.of for h in result.heat_maps] == [("text", "text")]
    assert result.path is not None and not result.path.asked
    assert evidence.looks[result.path.start].text.startswith("a ")
    assert evidence.planes == ()


def test_labels_tell_how_pure_neighbours_are(pictures: tuple[SpaceResult, SpaceEvidence]) -> None:
    result, evidence = pictures
    assert result.neighbours.purity is not None and result.neighbours.purity > 0.95
    assert {point.label for point in evidence.map} == set(KINDS)
    unlabelled = SmallIndex()
    del unlabelled.columns["label"]
    other, evidence = look(unlabelled)
    assert other.neighbours.purity is None
    assert {point.label for point in evidence.map} == {"image"}


def test_alignment_within_labels_is_that_of_all_pairs(pictures: tuple[SpaceResult, SpaceEvidence]) -> None:
    index = SmallIndex()
    squared = 2 - 2 * cosines(index.vectors("image"), index.vectors("image"))
    same = np.triu(index.kind_N[:, None] == index.kind_N, 1)
    assert pictures[0].neighbours.alignment == pytest.approx(squared[same].mean(), rel=1e-4)


def test_labels_as_texts() -> None:
    result, _ = look(SmallIndex(), Question(text="caption"))
    assert result.crossing is not None and result.crossing.queries == 60


def test_the_same_seed_gives_the_same_result(pictures: tuple[SpaceResult, SpaceEvidence]) -> None:
    again = look(SmallIndex())
    assert again == pictures
    assert from_json(SpaceResult, to_json(again[0])) == again[0]


def test_pictures_that_are_gone_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(position: int) -> bytes:
        raise DataError(f"picture {position} is gone")

    index = SmallIndex()
    monkeypatch.setattr(index, "picture", gone)
    _, evidence = look(index)
    assert {shown.picture for shown in evidence.looks.values()} == {""}


@pytest.mark.parametrize(
    ("question", "error", "words"),
    [
        (Question(view="imag"), UsageError, "image"),
        (Question(text="capton"), UsageError, "caption"),
        (Question(path=("beach/0000.png",)), UsageError, "two ends"),
        (Question(path=("beach/0000.png", "beach/0000.png")), UsageError, "one item"),
        (Question(items=("beach/0000.png",)), UsageError, "2 to 40"),
        (Question(sample=3), UsageError, "12"),
        (Question(path=("beach/0000.png", "nowhere")), DataError, "nowhere"),
    ],
)
def test_what_cannot_be(question: Question, error: type[GraftError], words: str) -> None:
    with pytest.raises(error, match=words):
        look(SmallIndex(), question)


def test_too_few_items() -> None:
    with pytest.raises(DataError, match="11 items"):
        look(SmallIndex(11))
