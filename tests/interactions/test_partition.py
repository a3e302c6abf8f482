"""How interactions are parted: by hand, and as the published splits have it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.errors import DataError, UsageError
from graft.interactions.likes import Interactions
from graft.interactions.partition import Cut, at_random, by_time, leave_last_out, rolling, validation
from graft.interactions.read import read_interactions


def interactions(rows: list[tuple[int, int, float, float]], timed: bool = True) -> Interactions:
    """Rows of user, item, weight, time, each pair once."""
    rows = sorted(rows, key=lambda row: (row[0], row[3], row[1]))
    user, item, weight, time = (np.array(column) for column in zip(*rows, strict=True))
    return Interactions(
        users=tuple(f"u{i}" for i in range(int(user.max()) + 1)),
        items=tuple(f"i{i}" for i in range(int(item.max()) + 1)),
        user_N=user.astype(np.int32),
        item_N=item.astype(np.int32),
        weight_N=weight.astype(np.float32),
        time_N=time.astype(np.float64) if timed else None,
    )


ROWS = [
    (0, 0, 1.0, 1.0),
    (0, 1, 0.0, 2.0),
    (1, 0, 1.0, 3.0),
    (1, 2, 2.0, 4.0),
    (0, 2, 1.0, 5.0),  # after the cut: both known
    (0, 3, 1.0, 6.0),  # a new item
    (2, 0, 1.0, 7.0),  # a new person
    (2, 3, 1.0, 8.0),  # both new
    (1, 1, 1.0, 9.0),  # an item that was only seen in training is new
    (1, 3, 0.0, 10.0),  # not liked: nothing to be foretold
]


def pairs(cut: Cut) -> list[tuple[int, int]]:
    return list(zip(cut.targets_user_M.tolist(), cut.targets_item_M.tolist(), strict=True))


def test_by_time_by_hand() -> None:
    cut = by_time(interactions(ROWS), share=0.4)
    assert cut.now == pytest.approx(4.6)  # the quantile of 1..10
    assert len(cut.train) == 4
    assert cut.train.weight_N.tolist() == [1, 0, 1, 2]
    assert pairs(cut) == [(0, 2)]
    assert cut.targets_time_M is not None
    assert cut.targets_time_M.tolist() == [5]
    assert (len(cut.held), cut.new_people, cut.new_items, cut.dropped) == (5, 1, 2, 4)
    assert cut.train.users == cut.held.users == ("u0", "u1", "u2")
    assert cut.targets_user_M.dtype == cut.targets_item_M.dtype == np.int32


def test_last_left_out_by_hand() -> None:
    rows = [
        (0, 5, 1.0, 7.0),
        (0, 1, 1.0, 9.0),
        (0, 0, 1.0, 9.0),
        (0, 2, 0.0, 9.5),
        (1, 1, 1.0, 1.0),
        (1, 2, 0.0, 2.0),
        (2, 0, 1.0, 3.0),
        (2, 4, 1.0, 4.0),
    ]
    cut = leave_last_out(interactions(rows))
    assert pairs(cut) == [(0, 1)]  # of two at one moment the last item
    assert (len(cut.held), cut.new_people, cut.new_items, cut.dropped) == (2, 0, 1, 1)  # item 4 is met nowhere else
    assert cut.now is None
    seen = list(zip(cut.train.user_N.tolist(), cut.train.item_N.tolist(), strict=True))
    assert seen == [(0, 5), (0, 0), (1, 1), (1, 2), (2, 0)]  # what person 0 saw after it is gone


def test_rolling_windows_follow_each_other() -> None:
    found = interactions([(t % 7, t, 1.0, float(t)) for t in range(100)])
    cuts = rolling(found, cuts=5, first=0.5)
    assert [len(cut.train) for cut in cuts] == [50, 60, 70, 80, 90]
    assert [len(cut.held) for cut in cuts] == [10] * 5
    assert (
        np.concatenate([cut.held.item_N for cut in cuts]).size
        == len({*np.concatenate([cut.held.item_N for cut in cuts]).tolist()})
        == 50
    )
    assert [round(cut.share, 3) for cut in cuts] == [0.833, 0.857, 0.875, 0.889, 0.9]
    inner = validation(cuts[0])
    assert (len(inner.train), len(inner.held)) == (41, 9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 8), st.integers(0, 1), st.integers(0, 30)),
        min_size=2,
        unique_by=lambda r: r[:2],
    )
)
def test_what_every_cut_keeps(rows: list[tuple[int, int, float, float]]) -> None:
    found = interactions(rows)
    for make in (by_time, leave_last_out, at_random):
        try:
            cut = make(found)
        except DataError:
            continue
        trained = set(zip(cut.train.user_N.tolist(), cut.train.item_N.tolist(), strict=True))
        liked = cut.train.likes()
        assert not trained & set(pairs(cut))
        assert set(cut.targets_user_M.tolist()) <= set(liked.user_N.tolist())
        assert set(cut.targets_item_M.tolist()) <= set(liked.item_N.tolist())
        assert cut.dropped + len(cut.targets_user_M) == len(cut.held)
        assert (cut.held.weight_N > 0).all()
        if cut.how == "time":
            assert cut.now is not None
            assert cut.train.time_N is not None
            assert cut.held.time_N is not None
            assert (cut.train.time_N <= cut.now).all()
            assert (cut.held.time_N > cut.now).all()


def test_a_random_cut_has_its_share_and_seed() -> None:
    found = interactions([(u, i, 1.0, 0.0) for u in range(20) for i in range(10)], timed=False)
    first, again, other = at_random(found, seed=1), at_random(found, seed=1), at_random(found, seed=2)
    assert (len(first.train), len(first.held)) == (160, 40)
    assert pairs(first) == pairs(again) != pairs(other)
    assert first.targets_time_M is None
    inner = validation(first)
    assert (inner.how, len(inner.train), len(inner.held)) == ("random", 128, 32)


@pytest.mark.parametrize("how", ["time", "last"])
def test_validation_is_cut_as_the_test_was(how: str) -> None:
    rng = np.random.default_rng(0)
    found = interactions([(u, i, float(rng.integers(0, 2)), float(rng.random())) for u in range(9) for i in range(12)])
    cut = by_time(found) if how == "time" else leave_last_out(found)
    inner = validation(cut)
    assert inner.how == how
    assert set(zip(inner.held.user_N.tolist(), inner.held.item_N.tolist(), strict=True)) <= set(
        zip(cut.train.user_N.tolist(), cut.train.item_N.tolist(), strict=True)
    )
    if how == "time":
        assert cut.train.time_N is not None
        assert inner.now == np.quantile(cut.train.time_N, 0.8)


def test_what_cannot_be_parted() -> None:
    timeless = interactions(ROWS, timed=False)
    for make in (by_time, leave_last_out, rolling):
        with pytest.raises(UsageError, match=r"no times.*Part them at random"):
            make(timeless)
    with pytest.raises(DataError, match="No interaction comes after"):
        by_time(interactions([(0, 0, 1.0, 5.0), (1, 0, 1.0, 5.0)]))
    with pytest.raises(DataError, match="Nobody has two likes"):
        leave_last_out(interactions([(0, 0, 1.0, 5.0), (1, 0, 1.0, 5.0)]))
    with pytest.raises(DataError, match="too few"):
        at_random(interactions([(0, 0, 1.0, 5.0)]))
    with pytest.raises(UsageError, match="between 0 and 1, not 1"):
        by_time(interactions(ROWS), share=1.0)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        rolling(interactions(ROWS), cuts=0)


def ids_of_rows(data: Path, name: str) -> list[tuple[str, str]]:
    if name == "ml":
        with (data / "ml-latest-small" / "ratings.csv").open() as stream:
            return [(row[0], row[1]) for row in csv.reader(stream)][1:]
    lines = (data / "movietweetings-100k" / "ratings.dat").read_text().splitlines()
    return [(line.split("::")[0], line.split("::")[1]) for line in lines]


@pytest.mark.parametrize("name", ["ml", "mt"])
def test_published_splits_come_out_exactly(shared_data: Path, name: str) -> None:
    folder = shared_data.parent / "splits"
    if not folder.is_dir():
        pytest.skip("no published splits beside the data")
    found = read_interactions({"ml": "data:ml-latest-small", "mt": "data:movietweetings-100k"}[name]).interactions
    rows = ids_of_rows(shared_data, name)
    for how, cut in (("time", by_time(found)), ("loo", leave_last_out(found))):
        wanted: dict[str, Any] = json.loads((folder / f"rec_{name}_{how}.json").read_text())
        mine = {(found.users[user], found.items[item]) for user, item in pairs(cut)}
        assert mine == {rows[row] for row in wanted["test_file_rows"]}
        assert cut.now == wanted["time_cut"]
        liked = cut.train.likes()
        counts = (
            len(liked),
            len(cut.held),
            len(pairs(cut)),
            len(np.unique(liked.user_N)),
            len(np.unique(liked.item_N)),
        )
        assert counts == tuple(wanted[key] for key in ("n_train", "n_test_all", "n_test", "users", "items"))
