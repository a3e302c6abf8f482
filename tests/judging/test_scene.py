from __future__ import annotations

import numpy as np
import pytest

from graft.errors import DataError
from graft.judging.scene import Scene, from_column, from_judgements, standard, top
from graft.listings.judgements import Judged
from graft.retrieval.opened import OpenedIndex, open_index
from graft.verbs.index import index


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    folder = tmp_path_factory.mktemp("scene")
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((12, 4)).astype(np.float32)
    table = {"id": [f"i{i}" for i in range(12)], "kind": ["a", "b", "c"] * 4, "part": ["train"] * 6 + ["test"] * 6}
    pq.write_table(pa.table(table | {"vector": list(vectors)}), folder / "v.parquet")
    index(folder / "v.parquet", out=folder / "index")
    return open_index(folder / "index")


def test_the_best_places_come_first_and_ties_in_order() -> None:
    scores = np.array([[1, 3, 3, 2], [5, 5, 5, 5]], np.float32)
    assert [list(row) for row in top(scores, 3)] == [[1, 2, 3], [0, 1, 2]]
    assert [list(row) for row in top(scores, 9)] == [[1, 2, 3, 0], [0, 1, 2, 3]]


def test_standard_scores_have_mean_0_and_deviation_1() -> None:
    scores = standard(np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32) * 7 + 2)
    assert scores.mean(1) == pytest.approx(np.zeros(3), abs=1e-5)
    assert scores.std(1) == pytest.approx(np.ones(3), abs=1e-4)
    assert (standard(np.ones((1, 4), np.float32)) == 0).all()


def test_values_of_a_column_are_queries_and_the_rest_examples(opened: OpenedIndex) -> None:
    scene = from_column(opened, "kind", "part = 'test'", "part = 'train'")
    assert scene.texts == ["a", "b", "c"]
    assert scene.examples is not None
    found = {
        text: sorted(opened.ids[scene.positions[place]] for place in gains)
        for text, gains in zip(scene.texts, scene.gains, strict=True)
    }
    assert found == {"a": ["i6", "i9"], "b": ["i10", "i7"], "c": ["i11", "i8"]}
    assert [sorted(opened.ids[p] for p in rows) for rows in scene.examples] == [
        ["i0", "i3"],
        ["i1", "i4"],
        ["i2", "i5"],
    ]


def test_judgements_keep_what_is_in_reach(opened: OpenedIndex) -> None:
    judged = [Judged("x", {"i0": 1.0, "i7": 2.0}), Judged("y", {"i1": 1.0}), Judged("z", {"nowhere": 1.0})]
    scene = from_judgements(opened, judged, "part = 'test'")
    assert scene.texts == ["x"]
    assert list(scene.gains[0].values()) == [2.0]
    with pytest.raises(DataError, match="None of the 1 queries has an answer"):
        from_judgements(opened, judged[2:], None)


def test_queries_that_share_an_answer_stay_together(opened: OpenedIndex) -> None:
    pairs = [{"i0": 1.0, "i1": 1.0}, {"i1": 1.0, "i2": 1.0}, {"i2": 1.0}] + [{f"i{i}": 1.0} for i in range(3, 12)]
    scene = from_judgements(opened, [Judged(str(i), gains) for i, gains in enumerate(pairs)], None)
    assert len(set(scene.fold[:3])) == 1
    assert set(scene.fold) == set(range(5))
    every = np.arange(len(pairs))
    assert list(scene.apart(every, np.array([1]))) == list(range(3, 12))


def test_relevance_follows_the_ranking(opened: OpenedIndex) -> None:
    scene = Scene(opened, np.arange(12), (Judged("x", {}),), ({3: 2.0, 5: 1.0},))
    shown = scene.relevance([np.array([5, 0, 3])], np.array([0]))
    assert list(shown[0, :4]) == [1.0, 0.0, 2.0, 0.0]
    assert sorted(scene.ideal(np.array([0]))[0]) == [1.0, 2.0]


def test_a_column_of_one_value_is_refused(opened: OpenedIndex) -> None:
    with pytest.raises(DataError, match="at least two"):
        from_column(opened, "part", "part = 'test'", None)
