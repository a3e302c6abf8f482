"""Orders of items: difficulties by hand, curricula that open up, and balanced batches whatever the labels.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import DataError, UsageError
from graft.tensors.orders import (
    balanced_order,
    centre_difficulty,
    curriculum,
    entropy_difficulty,
    loss_difficulty,
    pace,
)

labellings = st.lists(st.integers(0, 6), min_size=2, max_size=40).map(np.array)

# -- difficulty -------------------------------------------------------------------------------------------------------


def test_difficulties_by_hand() -> None:
    logits_NC = np.array([[0.0, 0.0], [math.log(3), 0.0], [0.0, math.log(9)]])
    y_N = np.array([0, 1, 1])
    np.testing.assert_allclose(loss_difficulty(logits_NC, y_N), [math.log(2), math.log(4), math.log(10 / 9)])
    entropies = [math.log(2), math.log(4) - 0.75 * math.log(3), math.log(10) - 0.9 * math.log(9)]
    np.testing.assert_allclose(entropy_difficulty(logits_NC), entropies)
    x_ND = np.array([[0.0, 0.0], [2.0, 0.0], [7.0, 1.0], [7.0, 7.0]], np.float32)
    np.testing.assert_allclose(centre_difficulty(x_ND, np.array([0, 0, 2, 2])), [1, 1, 3, 3])
    np.testing.assert_allclose(centre_difficulty(x_ND, np.array([0, 0, 0, 5]))[3], 0)


def test_a_certain_answer_has_no_entropy() -> None:
    assert entropy_difficulty(np.array([[0.0, -2000.0, -2000.0]])) == pytest.approx(0)


# -- curricula --------------------------------------------------------------------------------------------------------


def test_the_pace() -> None:
    assert [pace(epoch, 4, 0.2) for epoch in (0, 1, 2, 4, 9)] == pytest.approx([0.2, 0.4, 0.6, 1, 1])
    assert pace(0, 0, 0.2) == 1


@pytest.mark.parametrize("hardest_first", [False, True])
def test_the_easiest_come_first_and_then_more(hardest_first: bool) -> None:
    hard_N = np.random.default_rng(0).permutation(20)
    order = curriculum(hard_N.astype(float), epochs=4, start=0.25, hardest_first=hardest_first)
    for epoch, count in enumerate((5, 9, 12, 16, 20, 20)):
        positions = order(epoch)
        seen = {19 - rank if hardest_first else rank for rank in hard_N[positions].tolist()}
        assert seen == set(range(count))
        assert len(positions) == 20  # every epoch has as many steps
        times = Counter(positions.tolist()).values()
        assert max(times) - min(times) <= 1
    assert (order(0) == order(0)).all()
    assert (order(4) != order(5)).any()


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.floats(0.05, 1),
    st.floats(0, 8),
    st.integers(0, 10),
    st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_whatever_the_scale(hard: list[float], start: float, epochs: float, epoch: int, seed: int) -> None:
    """What is seen is never harder than what is not, and all is seen in the end."""
    hard_N = np.array(hard)
    positions = curriculum(hard_N, epochs=epochs, start=start, seed=seed)(epoch)
    assert len(positions) == len(hard)
    seen = np.unique(positions)
    unseen = np.setdiff1d(np.arange(len(hard)), seen)
    assert not len(unseen) or hard_N[seen].max() <= hard_N[unseen].min()
    assert epoch < epochs or not len(unseen)


def test_by_class_no_class_comes_late() -> None:
    y_N = np.repeat([3, 8], 10)
    hard_N = np.concatenate([np.arange(10), 100 + np.arange(10)]).astype(float)
    plain, by_class = (curriculum(hard_N, epochs=4, start=0.4, labels=labels)(0) for labels in (None, y_N))
    assert set(y_N[plain]) == {3}
    assert set(by_class.tolist()) == {0, 1, 2, 3, 10, 11, 12, 13}


def test_items_equally_hard_come_by_chance() -> None:
    first = [frozenset(curriculum(np.zeros(30), epochs=3, start=0.2, seed=seed)(0).tolist()) for seed in range(3)]
    assert len(set(first)) == 3


def test_curricula_that_cannot_be() -> None:
    for start, epochs in ((0.0, 1.0), (1.1, 1.0), (0.5, -1.0)):
        with pytest.raises(UsageError, match="A curriculum starts with a share"):
            curriculum(np.zeros(3), start=start, epochs=epochs)
    with pytest.raises(DataError, match="difficulty of 1 items is not a number"):
        curriculum(np.array([0.0, np.nan]), epochs=1)


# -- balanced batches -------------------------------------------------------------------------------------------------


@given(labellings, st.integers(2, 16), st.integers(0, 12), st.integers(0, 10**6))
@settings(max_examples=200, deadline=None)
def test_balanced_batches_whatever_the_labels(y_N: np.ndarray, batch: int, steps: int, seed: int) -> None:
    batches = balanced_order(y_N, batch, steps, seed)
    assert len(batches) == steps
    counts = Counter(y_N.tolist())
    for positions, again in zip(batches, balanced_order(y_N, batch, steps, seed), strict=True):
        assert (positions == again).all()
        assert len(positions) == min(batch, len(y_N))
        assert len(set(positions.tolist())) == len(positions)  # an item is no pair with itself
        assert 0 <= positions.min() <= positions.max() < len(y_N)
        inside = Counter(y_N[positions].tolist())
        assert len(inside) >= min(2, len(counts))  # pairs of two classes
        if len(positions) > 2 and max(counts.values()) > 1 and len(counts) <= batch // 2:
            assert max(inside.values()) > 1  # and of one
        # as even as the classes allow: whoever has two fewer than another has no more to give, and is whole in the batch
        for one in inside:
            if inside[one] < max(inside.values()) - 1:
                assert inside[one] == counts[one]
    total = Counter(np.concatenate(batches).tolist()) if batches else Counter()
    for code in counts:  # the items of a class take turns
        turns = [total[at] for at in np.flatnonzero(y_N == code).tolist()]
        assert max(turns) - min(turns) <= 1
    took_part = [sum(code in y_N[positions] for positions in batches) for code in counts]
    assert max(took_part) - min(took_part) <= 1  # and so do the classes


@pytest.mark.parametrize(
    ("classes", "each", "batch", "inside"), [(4, 10, 16, (4, 4)), (77, 5, 16, (8, 2)), (3, 9, 7, (3, 2))]
)
def test_as_many_classes_as_fit_with_pairs(classes: int, each: int, batch: int, inside: tuple[int, int]) -> None:
    y_N = np.arange(classes * each) % classes
    for positions in balanced_order(y_N, batch, 20):
        counts = Counter(y_N[positions].tolist())
        assert (len(counts), min(counts.values())) == inside


def test_rare_classes_come_as_often_as_common_ones() -> None:
    y_N = np.array([0] * 5 + [1] * 500 + [2] * 95)
    seen = Counter(y_N[np.concatenate(balanced_order(y_N, 12, 100))].tolist())
    assert seen == {0: 400, 1: 400, 2: 400}


def test_memory_grows_with_the_items_not_with_their_pairs() -> None:
    """A hundred thousand items have five thousand million pairs."""
    y_N = np.arange(100_000) % 50
    tracemalloc.start()
    balanced_order(y_N, 64, 50)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(y_N)


def test_contrast_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="batches of 2 items at least"):
        balanced_order(np.arange(5), 1, 1)
    with pytest.raises(DataError, match="at least two items; there are 1"):
        balanced_order(np.arange(1), 4, 1)
