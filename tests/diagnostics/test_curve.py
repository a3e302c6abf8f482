"""Errors counted on nested subsets, and the forecast made of them."""

from __future__ import annotations

import numpy as np
import pytest

from graft.diagnostics.curve import Drawn, Ground, count_errors, learning_curve, nested, sizes_for
from graft.label_curve import CurveResult
from graft.reports.build import curve_report
from graft.reports.curve import told, told_first, twice
from graft.results import from_json, to_json
from graft.selection.select import draw_plan
from graft.strategies.frozen import STRATEGIES, Task


def ground(n: int = 300, noise: float = 1.1, classes: int = 3, seed: int = 0) -> Ground:
    """Items of overlapping bells in twelve dimensions."""
    rng = np.random.default_rng(seed)
    y_N = rng.permutation(np.arange(n) % classes)
    centres_CD = rng.standard_normal((classes, 12))
    x_ND = (centres_CD[y_N] + noise * 2 * rng.standard_normal((n, 12))).astype(np.float32)
    return Ground(x_ND, y_N, Task(classes), "bells")


def drawn(given: Ground, rounds: int = 1) -> Drawn:
    plan = draw_plan(given.y_N, None, n_folds=5, repeats=rounds, seed=0)
    assert plan is not None
    return Drawn(plan.folds, rounds)


def test_sizes_rise_from_two_a_class_to_all() -> None:
    assert sizes_for(63, 2).tolist() == []
    assert sizes_for(64, 2).tolist() == [16, 25, 40, 64]
    many = sizes_for(5000, 10)
    assert (many[0], many[-1], len(many)) == (209, 5000, 7)
    assert len(sizes_for(5000, 10, 5)) == 5
    assert sizes_for(799, 100).size == 0


def test_every_beginning_holds_the_classes_in_their_shares() -> None:
    y_N = np.repeat([0, 1, 2], [400, 180, 20])
    order = nested(y_N, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(600))
    assert set(y_N[order[:3]]) == {0, 1, 2}
    for size in (60, 200, 400):
        shares = np.bincount(y_N[order[:size]]) / size
        assert shares == pytest.approx(np.array([4, 1.8, 0.2]) / 6, abs=0.04)
    assert not np.array_equal(order, nested(y_N, np.random.default_rng(1)))


def test_errors_are_counted_as_by_hand() -> None:
    given = ground(120)
    chosen = drawn(given)
    sizes = np.array([16, 40, 60, 96])
    strategy = STRATEGIES["prototypes"]
    tally = count_errors(strategy, {"normalisation": "UN"}, given, chosen.folds, sizes_P=sizes, seed=3)
    train, held = chosen.folds[2]
    order = train[nested(given.y_N[train], np.random.default_rng([3, 2]))]
    (head,) = strategy.fit_path(given.x_ND[order[:40]], given.y_N[order[:40]], given.task, [{"normalisation": "UN"}])
    assert tally.errors_JP[2, 1] == (head.logits(given.x_ND[held]).argmax(1) != given.y_N[held]).sum()
    assert tally.tested_J.sum() == 120
    known = given.y_N.copy()
    known[chosen.folds[0][1][:5]] = (known[chosen.folds[0][1][:5]] + 1) % 3
    again = count_errors(strategy, {"normalisation": "UN"}, given, chosen.folds, sizes_P=sizes, known_N=known, seed=3)
    assert again.errors_JP[:, -1].tolist() == [5, 0, 0, 0, 0]
    assert np.array_equal(again.errors_JP[:, :-1], tally.errors_JP[:, :-1])


def test_an_item_held_out_twice_counts_once() -> None:
    given = ground(120)
    sizes = np.array([16, 40, 60, 96])
    twice = drawn(given, 2)
    tally = count_errors(STRATEGIES["prototypes"], {"normalisation": "UN"}, given, twice.folds, sizes_P=sizes, rounds=2)
    assert tally.errors_JP.shape == (5, 4)
    assert tally.tested_J.sum() == 120
    assert (tally.errors_JP <= tally.tested_J[:, None]).all()


def test_a_curve_falls_and_says_what_more_labels_bring() -> None:
    given = ground(400)
    curve = learning_curve(given, drawn(given), chosen="prototypes", targets=(0.3, 0.99), seed=1)
    assert (curve.strategy, curve.labels, curve.classes, curve.draws, curve.reason) == ("prototypes", 400, 3, 5, "")
    assert curve.measured[-1].accuracy > curve.measured[0].accuracy
    assert [p.labels for p in curve.expected] == [400, 800, 1600, 4000]
    assert all(p.low <= p.accuracy <= p.high for p in (*curve.measured, *curve.expected, *curve.fitted))
    assert [t.status for t in curve.targets] == ["reached", curve.targets[1].status]
    assert curve.targets[1].status == "far"
    assert from_json(type(curve), to_json(curve)) == curve
    again = learning_curve(given, drawn(given), chosen="prototypes", targets=(0.3, 0.99), seed=1)
    assert to_json(again) | {"seconds": 0} == to_json(curve) | {"seconds": 0}
    page = curve_report(CurveResult("bells", "bells.csv", 400, curve, command="graft diagnose curve bells.csv"))
    assert twice(curve) in page and told(curve.targets[0]) in page
    assert told_first(curve) == f"{twice(curve)} {told(curve.targets[0])}"
    now, double = curve.expected[:2]
    assert now.gain == (0, 0, 0)
    assert double.gain is not None
    assert double.gain[0] == pytest.approx(double.accuracy - now.accuracy)
    assert double.gain[1] <= double.gain[0] <= double.gain[2]
    assert "%" in told(curve.targets[1])


def test_rungs_that_train_or_learn_nothing_are_stood_for_by_a_probe() -> None:
    given = ground(120)
    for name in ("finetune", "zero-shot"):
        assert learning_curve(given, drawn(given), chosen=name, settings={"epochs": 3}).strategy == "linear-probe"


def test_too_few_labels_have_no_curve_and_a_reason() -> None:
    given = ground(40)
    curve = learning_curve(given, drawn(given), chosen="prototypes")
    assert "64 or more" in curve.reason and not curve.measured
    assert curve.reason in curve_report(CurveResult("few", "few.csv", 40, curve))
    assert learning_curve(given, Drawn(()), chosen="prototypes").reason
    assert "cannot be told" in told_first(curve)


def test_two_folds_are_no_want_of_labels() -> None:
    given = ground(300)
    half = np.array_split(np.arange(300), 2)
    curve = learning_curve(given, Drawn([(half[0], half[1]), (half[1], half[0])] * 4, 4), chosen="prototypes")
    assert "too few folds: it takes 3, and there are 2" in curve.reason and not curve.measured


def test_labels_at_random_are_refused_as_flat() -> None:
    given = ground(300)
    shuffled = Ground(given.x_ND, np.random.default_rng(1).permutation(given.y_N), given.task, "bells")
    curve = learning_curve(shuffled, drawn(shuffled), chosen="prototypes", targets=(0.9,))
    assert curve.targets[0].status in ("flat", "far")
    assert curve.targets[0].reason
    assert "cannot be told" in told(curve.targets[0])
