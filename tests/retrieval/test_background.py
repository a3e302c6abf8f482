from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graft.retrieval.background import MATCH, Background, Nearness, of_items, unrelated
from graft.retrieval.opened import open_index
from graft.verbs.index import index

RNG = np.random.default_rng(0)


def test_a_gumbel_background_gives_back_its_own_distribution() -> None:
    best = RNG.gumbel(0.3, 0.05, 20_000).astype(np.float32)
    background = Background.fit(best, logarithm=False)
    scores = np.quantile(best, [0.1, 0.5, 0.9, 0.99]).astype(np.float32)
    assert background.confidence(scores) == pytest.approx([0.1, 0.5, 0.9, 0.99], abs=0.01)


def test_a_log_normal_background_gives_back_its_own_distribution() -> None:
    best = np.exp(RNG.normal(-3, 0.8, 20_000)).astype(np.float32)
    background = Background.fit(best, logarithm=True)
    scores = np.quantile(best, [0.1, 0.5, 0.9]).astype(np.float32)
    assert background.confidence(scores) == pytest.approx([0.1, 0.5, 0.9], abs=0.01)


def test_a_fifth_of_the_background_may_be_about_the_collection() -> None:
    clean = RNG.gumbel(0.3, 0.05, 3000).astype(np.float32)
    mixed = np.concatenate([clean[:2400], np.full(600, 0.9, np.float32)])
    score = np.array([0.45], np.float32)
    shift = Background.fit(mixed, logarithm=False).confidence(score) - Background.fit(
        clean, logarithm=False
    ).confidence(score)
    assert -0.1 < shift[0] <= 0


def test_nearness_matches_from_the_lower_end_on() -> None:
    near = Nearness(median=0.6, low=0.5)
    below, at, median, above = near.confidence(np.array([0.45, 0.5, 0.6, 0.9], np.float32))
    assert below < MATCH
    assert at == pytest.approx(MATCH, abs=1e-3)
    assert at < median == above


def test_in_an_index_of_one_item_everything_is_near(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0, 0.0]]}), tmp_path / "v.parquet")
    index(tmp_path / "v.parquet", out=tmp_path / "index")
    near = of_items(open_index(tmp_path / "index"), "vector")
    assert near.confidence(np.array([-1.0, 0.0, 1.0], np.float32)).min() > MATCH


def test_the_background_is_of_many_subjects_each_once() -> None:
    texts = unrelated()
    assert len(texts) == len(set(texts)) >= 100
    assert all(text.strip() == text and text for text in texts)


def test_examples_match_by_distance_too(tmp_path: Path) -> None:
    """The squared length of a query is part of its distance: left out, a far query would seem near."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = RNG.standard_normal((200, 6)).astype(np.float32) + 20
    pq.write_table(pa.table({"id": [str(i) for i in range(200)], "vector": list(rows)}), tmp_path / "v.parquet")
    index(tmp_path / "v.parquet", out=tmp_path / "index", metric="euclidean")
    opened = open_index(tmp_path / "index")
    answer = opened.search(like=["7"], k=150)
    nearest = opened.search_vectors(rows[[7]], 151).scores[0, 1:]
    expected = opened.nearness("vector").confidence(nearest)
    assert [hit.confidence for hit in answer.hits] == pytest.approx(expected, abs=1e-4)
    assert answer.hits[0].confidence > answer.hits[-1].confidence
