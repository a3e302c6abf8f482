"""The verdict on two sets, what gives them away, and class shares, on vectors made for the purpose."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from graft.diagnostics.shift import COUNTS, compare, label_shift, quick, verdict
from graft.diagnostics.sides import Pair, counted
from graft.reports.shift import Sense, ShiftResult, Side
from graft.results import Interval

Floats = NDArray[np.float32]


def pair(
    first: Floats, second: Floats, labels: NDArray[np.int64] | None = None, clusters: NDArray[np.int64] | None = None
) -> Pair:
    x_ND = np.concatenate([first, second]).astype(np.float32)
    n = len(x_ND)
    return Pair(
        sides=(Side("a", "a", len(first), len(first)), Side("b", "b", len(second), len(second))),
        modality="text",
        encoder="toy",
        contents=tuple(f"text {i}" for i in range(n)),
        ids=tuple(str(i) for i in range(n)),
        second_N=np.arange(n) >= len(first),
        cluster_N=np.arange(n) if clusters is None else clusters,
        x_ND=x_ND,
        raw_ND=x_ND[:, ::-1] * 3,
        label_N=np.full(n, -1) if labels is None else labels,
        classes=("x", "y"),
    )


def normal(n: int, shift: float = 0.0, seed: int = 0) -> Floats:
    found: Floats = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    found[:, 0] += shift
    return found


def compared(given: Pair) -> ShiftResult:
    return compare(given, seed=0, name="a and b")[0]


def test_sets_of_one_distribution_are_the_same() -> None:
    found = compared(pair(normal(1400), normal(1400, seed=4)))
    assert found.verdict == "same"
    assert found.p is not None and found.p > 0.05
    assert all((s.auc.high or 1) < COUNTS for s in found.senses)


def test_a_shift_is_seen_and_its_items_are_those_that_moved() -> None:
    moved = normal(150, seed=1)
    moved[:30, 0] += 6
    found, shown = compare(pair(normal(150), moved), seed=0, name="a and b")
    assert found.verdict == "shifted"
    assert "plainly" in found.why or "a little" in found.why
    telling = {int(item) - 150 for item, _ in found.telling[1]}
    assert telling <= set(range(30))
    assert [score for _, score in found.telling[1]] == sorted((s for _, s in found.telling[1]), reverse=True)
    assert set(shown.second) == {item for item, _ in found.telling[1]}
    assert sum(b for _, _, b in shown.scores) == pytest.approx(1, abs=1e-3)


def test_few_items_cannot_be_told() -> None:
    found = compared(pair(normal(5), normal(400, seed=1)))
    assert found.verdict == "cannot tell"
    assert "5 and 400" in found.why


@pytest.mark.parametrize("n", [5, 6, 10, 20])
@pytest.mark.parametrize("shared", [False, True])
def test_few_items_never_rule_out_the_mix_that_was_planted(n: int, shared: bool) -> None:
    """A fifth of the second set are strangers far away: the upper end that is said holds the AUC of .6 which tells them all."""
    for seed in range(12):
        first, second = normal(n, seed=seed), normal(n, seed=seed if shared else 100 + seed)
        strangers = np.random.default_rng(seed).random(n) < 0.2
        second[strangers] = normal(n, seed=200 + seed)[strangers] + 6
        clusters = np.concatenate([np.arange(n), np.where(strangers | (not shared), n, 0) + np.arange(n)])
        found = compared(pair(first, second, clusters=clusters))
        assert found.verdict != "same"
        assert found.verdict == "shifted" or max(max(s.noticed, s.auc.high or 0) for s in found.senses) > 0.6


def test_one_distinct_item_says_nothing() -> None:
    """Every item of the first set is a copy of one, so one is left of it."""
    found = compared(pair(normal(1), normal(40, seed=1)))
    assert (found.verdict, found.senses, found.kernel, found.p) == ("cannot tell", (), None, None)


def test_identical_sets_are_not_shifted() -> None:
    x_ND = normal(900)
    found = compared(pair(x_ND, x_ND, clusters=np.tile(np.arange(900), 2)))
    assert found.verdict == "same"
    assert found.shared == 900
    assert "900 contents are in both sets." in found.notes


def test_the_least_p_is_paid_for_by_the_number_of_tests() -> None:
    one = Sense("vectors", 2, Interval(0.6, 0.5, 0.7, 9), 0.03, 0.6, Interval(0, 0, 0, 9), 0.5, 0.5, 0.0)
    two = Sense("words", 2, Interval(0.5, 0.4, 0.6, 9), 0.5, 0.6, Interval(0, 0, 0, 9), 0.5, 0.5, 0.0)
    given = pair(normal(4), normal(4))
    assert verdict((one,), None, given)[::2] == ("shifted", 0.03)
    assert verdict((one, two), None, given)[::2] == ("cannot tell", 0.06)


def labelled(n: int, share: float, *, seed: int, apart: float = 6.0) -> tuple[Floats, NDArray[np.int64]]:
    y_N = (np.arange(n) < share * n).astype(np.int64)
    x_ND = normal(n, seed=seed)
    x_ND[:, 1] += apart * y_N
    return x_ND, y_N


def test_label_shift_alone_is_estimated() -> None:
    (x_ND, y_N), (z_ND, v_N) = labelled(200, 0.5, seed=0), labelled(200, 0.8, seed=1)
    found = compared(pair(x_ND, z_ND, np.concatenate([y_N, np.full(200, -1)]))).labels
    assert found is not None
    assert [c.name for c in found.moved] == ["x", "y"]
    assert found.classes[1].estimated.value == pytest.approx(v_N.mean(), abs=0.03)
    assert (found.classes[1].first, found.classes[1].observed, found.uncertain) == (0.5, None, "")


def test_shares_are_not_relied_on_where_classes_look_alike_or_look_different() -> None:
    (x_ND, y_N), (z_ND, v_N) = labelled(150, 0.5, seed=0, apart=0.0), labelled(150, 0.5, seed=1, apart=0.0)
    alike = label_shift(pair(x_ND, z_ND, np.concatenate([y_N, v_N])), np.random.default_rng(0))
    assert alike is not None and "hardly told apart" in alike.uncertain
    assert alike.moved == ()
    assert alike.classes[0].observed == 0.5
    (x_ND, y_N), (z_ND, v_N) = labelled(150, 0.5, seed=0), labelled(150, 0.5, seed=1)
    z_ND[:, 0] += 8
    moved = compared(pair(x_ND, z_ND, np.concatenate([y_N, v_N]))).labels
    assert moved is not None and "look different" in moved.uncertain


def test_labels_of_one_class_or_too_few_give_no_shares() -> None:
    given = pair(normal(20), normal(20), np.array([0] * 36 + [1] * 4))
    assert label_shift(given, np.random.default_rng(0)) is None


def test_a_fit_is_told_only_of_a_shift() -> None:
    x_ND = np.concatenate([normal(120), normal(60, 1.5, seed=1), normal(60, seed=2)])
    train, moved, same = np.arange(120), np.arange(120, 180), np.arange(180, 240)
    found = quick(x_ND, train, moved, np.arange(240), 0)
    assert found is not None and found.p <= 0.01 and (found.auc.low or 0) > 0.6
    assert quick(x_ND, train, moved, np.arange(240), 0) == found
    assert quick(x_ND, train, same, np.arange(240), 0) is None
    assert quick(x_ND, train, moved[:1], np.arange(240), 0) is None


def test_words_that_tell() -> None:
    texts = ["the cat sat down"] * 30 + ["the dog sat"] * 30
    x_NV, told = counted(texts, np.arange(60) >= 30)
    assert {w.word: (w.first, w.second) for w in told} == {"cat": (1, 0), "down": (1, 0), "dog": (0, 1)}
    assert x_NV.shape == (60, 6)
    assert counted(["", "!"], np.array([False, True]))[1] == ()
