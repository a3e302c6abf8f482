"""Measures of recommendations against answers by hand and against the mean over all orders of tied items."""

from __future__ import annotations

from itertools import pairwise, permutations
from math import comb, log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from graft.metrics.rank import paired_interval
from graft.metrics.recommend import (
    Places,
    gini,
    hit_rate,
    in_head,
    ndcg,
    places,
    rank_people,
    recall,
    reciprocal_rank,
    shown,
    tail_share,
)


def one(scores: list[float], targets: list[int], seen: list[int] | None = None) -> Places:
    mask = np.zeros((1, len(scores)), bool)
    mask[0, seen or []] = True
    return places(np.array([scores]), np.zeros(len(targets), np.int64), np.array(targets), mask)


def test_without_ties_by_hand() -> None:
    found = one([0.9, 0.8, 0.7, 0.6, 0.5], [1, 3], seen=[0])  # ranks 1 and 3 of four items
    assert found.above_M.tolist() == [0, 2]
    assert [float(hit_rate(found, k)[0]) for k in (1, 2, 3)] == [1, 1, 1]
    assert [float(recall(found, k)[0]) for k in (1, 2, 3)] == [0.5, 0.5, 1]
    assert reciprocal_rank(found)[0] == 1
    assert ndcg(found, 3)[0] == pytest.approx((1 + 1 / log2(4)) / (1 + 1 / log2(3)))
    late = one([0.9, 0.8, 0.7, 0.6, 0.5], [4])
    assert reciprocal_rank(late)[0] == pytest.approx(1 / 5)
    assert hit_rate(late, 4)[0] == ndcg(late, 4)[0] == 0
    assert ndcg(late, 5)[0] == pytest.approx(1 / log2(6))


@pytest.mark.parametrize("wanted", [1, 3])
def test_a_constant_scorer_gets_chance(wanted: int) -> None:
    items, k = 40, 10
    found = one([1.0] * items, list(range(wanted)))
    assert hit_rate(found, k)[0] == pytest.approx(1 - comb(items - wanted, k) / comb(items, k))
    assert recall(found, k)[0] == pytest.approx(k / items)
    ideal = sum(1 / log2(1 + r) for r in range(1, wanted + 1))
    assert ndcg(found, k)[0] == pytest.approx(wanted * sum(1 / log2(1 + r) for r in range(1, k + 1)) / items / ideal)
    chances = [comb(items - r, wanted - 1) / comb(items, wanted) for r in range(1, items + 1)]
    assert reciprocal_rank(found)[0] == pytest.approx(sum(p / r for r, p in enumerate(chances, start=1)))


def averaged(scores: list[int], targets: list[int], seen: list[int], k: int) -> tuple[float, float, float, float]:
    """The measures by their definitions, over every order of the items that the scores allow."""
    sums, count = np.zeros(4), 0
    ideal = sum(1 / log2(1 + r) for r in range(1, min(len(targets), k) + 1))
    for order in permutations([i for i in range(len(scores)) if i not in seen]):
        if any(scores[a] < scores[b] for a, b in pairwise(order)):
            continue
        ranks = sorted(order.index(target) + 1 for target in targets)
        inside = [rank for rank in ranks if rank <= k]
        sums += [bool(inside), len(inside) / len(ranks), 1 / ranks[0], sum(1 / log2(1 + r) for r in inside) / ideal]
        count += 1
    hit, share, first, gain = sums / count
    return hit, share, first, gain


@settings(max_examples=60, deadline=None)
@given(
    scores=st.lists(st.integers(0, 2), min_size=3, max_size=6),
    roles=st.lists(st.sampled_from("tsn"), min_size=6, max_size=6),
    k=st.integers(1, 7),
)
def test_ties_are_the_mean_over_all_orders(scores: list[int], roles: list[str], k: int) -> None:
    targets = [i for i in range(len(scores)) if roles[i] == "t"] or [0]
    seen = [i for i in range(len(scores)) if roles[i] == "s" and i not in targets]
    found = one([float(score) for score in scores], targets, seen)
    mine = tuple(float(m[0]) for m in (hit_rate(found, k), recall(found, k), reciprocal_rank(found), ndcg(found, k)))
    assert mine == pytest.approx(averaged(scores, targets, seen, k))


def test_many_targets_in_a_large_tie_stay_finite() -> None:
    found = one([0.0] * 5000, list(range(400)))
    assert recall(found, 100)[0] == pytest.approx(0.02)
    assert 0.99 < hit_rate(found, 100)[0] <= 1
    assert reciprocal_rank(found)[0] < 1
    assert hit_rate(found, 5000)[0] == 1


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="item 1 for person 0 is nan"):
        one([0.0, np.nan], [0])
    with pytest.raises(ValueError, match="item 1 is a target of person 0, who has seen it"):
        one([0.0, 1.0], [1], seen=[1])
    with pytest.raises(ValueError, match="1 people have no target, the first at 1"):
        places(np.zeros((2, 3)), np.array([0]), np.array([1]))
    with pytest.raises(ValueError, match="sorted by person"):
        places(np.zeros((2, 3)), np.array([1, 0]), np.array([1, 1]))
    with pytest.raises(ValueError, match="k is 0"):
        recall(one([0.0, 1.0], [0]), 0)


def test_what_is_shown() -> None:
    scores = np.array([[3.0, 2, 2, 2, 1], [1, 2, 3, 4, 5]])
    seen = csr_matrix(np.array([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]))
    assert shown(scores, 2, seen) == pytest.approx(np.array([[1, 1 / 3, 1 / 3, 1 / 3, 0], [0, 1, 1, 0, 0]]))
    assert shown(scores, 9, seen).sum(1).tolist() == [5, 3]


def test_concentration_by_hand() -> None:
    assert gini(np.ones(7)) == pytest.approx(0)
    assert gini(np.array([0.0, 0, 0, 4])) == pytest.approx(3 / 4)
    assert gini(np.array([1.0, 3])) == pytest.approx(1 / 4)  # mean difference 1 over twice the mean 2
    assert np.isnan(gini(np.zeros(3)))
    assert in_head(np.array([1, 50, 5, 30, 14])).tolist() == [False, True, False, True, False]  # 50 + 30 of 100
    assert in_head(np.array([1, 1, 1, 1, 1])).tolist() == [True] * 4 + [False]
    assert in_head(np.zeros(3)).tolist() == [False] * 3
    assert tail_share(np.array([1.0, 2, 3]), np.array([False, True, False])) == pytest.approx(4 / 6)


def people_of(rng: np.random.Generator, people: int, items: int) -> tuple[list[NDArray[np.int64]], csr_matrix]:
    order = rng.permuted(np.tile(np.arange(items), (people, 1)), axis=1)
    targets = [order[p, : rng.integers(1, 4)] for p in range(people)]
    seen = np.zeros((people, items), np.float32)
    for p in range(people):
        seen[p, order[p, 5:9]] = 1
    return targets, csr_matrix(seen)


def test_people_in_batches_are_measured_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    targets, seen = people_of(rng, 23, 30)
    scores = rng.integers(0, 8, (23, 30)).astype(np.float32)
    likes = np.arange(30)
    asked: list[int] = []

    def score(part: slice) -> NDArray[np.float32]:
        asked.append(part.stop - part.start)
        return scores[part]

    whole = rank_people(score, targets, seen, likes, ks=(5, 10))
    monkeypatch.setattr("graft.metrics.recommend._CELLS", 5 * 30)
    parts = rank_people(score, targets, seen, likes, ks=(5, 10))
    assert asked == [23, 5, 5, 5, 5, 3]
    assert list(whole.each) == ["mrr", "hr@5", "recall@5", "ndcg@5", "hr@10", "recall@10", "ndcg@10"]
    for name, values in whole.each.items():
        assert values.shape == (23,)
        assert np.array_equal(values, parts.each[name])
    alone = places(scores[7:8], np.zeros(len(targets[7]), np.int64), targets[7], seen[7])
    assert whole.each["ndcg@5"][7] == ndcg(alone, 5)[0]
    assert whole.exposure_I == pytest.approx(parts.exposure_I)
    assert whole.exposure_I.sum() == pytest.approx(23 * 5, rel=1e-5)
    assert (whole.coverage, whole.gini, whole.tail) == pytest.approx((parts.coverage, parts.gini, parts.tail))


def test_coverage_counts_items_anybody_is_shown() -> None:
    seen = csr_matrix((3, 10), dtype=np.float32)
    same = rank_people(
        lambda part: np.tile(np.arange(10.0), (part.stop - part.start, 1)),
        [np.array([0])] * 3,
        seen,
        np.arange(10),
        ks=(2,),
    )
    assert same.coverage == pytest.approx(2 / 10)
    assert same.tail == 0
    assert same.gini == pytest.approx(0.8)
    level = rank_people(
        lambda part: np.zeros((part.stop - part.start, 10)), [np.array([0])] * 3, seen, np.arange(10), ks=(2,)
    )
    assert level.coverage == pytest.approx(1 - 0.8**3)  # three independent draws of 2 of 10
    assert level.each["hr@2"].tolist() == pytest.approx([0.2] * 3)
    assert level.gini == pytest.approx(0, abs=1e-6)


def test_two_scorers_are_compared_person_by_person() -> None:
    rng = np.random.default_rng(1)
    targets, seen = people_of(rng, 60, 30)
    wish = np.zeros((60, 30))
    for p, found in enumerate(targets):
        wish[p, found] = 1
    good = rank_people(
        lambda part: wish[part] + rng.random((part.stop - part.start, 30)), targets, seen, np.ones(30), ks=(2,)
    )
    flat = rank_people(lambda part: np.zeros((part.stop - part.start, 30)), targets, seen, np.ones(30), ks=(2,))
    gain = paired_interval(good.each["ndcg@2"], flat.each["ndcg@2"], seed=0)
    assert gain.low is not None
    assert gain.n == 60
    assert gain.low > 0.3


def test_counts_that_differ_are_refused() -> None:
    seen = csr_matrix((3, 10), dtype=np.float32)
    with pytest.raises(ValueError, match="2 people with targets, 3 with"):
        rank_people(lambda _part: np.zeros((3, 10)), [np.array([0])] * 2, seen, np.ones(10))
    with pytest.raises(ValueError, match="scores have shape"):
        rank_people(lambda _part: np.zeros((3, 9)), [np.array([0])] * 3, seen, np.ones(10))
