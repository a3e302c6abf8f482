"""What a report says and draws of trained rungs: whether they were worth it, and nothing that is no number."""

from __future__ import annotations

import functools
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.reports.made import Sample
from tests.reports.samples import climbed, pictures, stayed
from tests.reports.test_build import Page
from tests.reports.trainings import NAN, diverged, good, gradual, one_epoch, rung

from graft.reports.build import fit_report
from graft.reports.ladder import ladder
from graft.reports.learning import MOST_COLUMNS, MOST_POINTS, group_rows, range_views, thinned
from graft.reports.learning import pictures as plots
from graft.reports.training import FIRST_TRAINED, MOST_CARDS, Card, trained, worth
from graft.results import (
    EpochRecord,
    FitResult,
    Interval,
    RangeTest,
    Retained,
    StrategyResult,
    TrainingRecord,
    from_json,
    to_json,
)
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED

BOX = re.compile(r"[ML]([\d.]+) ([\d.]+)")


@functools.cache
def untrained() -> FitResult:
    return pictures().result


def with_rungs(*rungs: StrategyResult, chosen: str = "named-linear-probe") -> FitResult:
    result = untrained()
    frozen = tuple(replace(s, encoder="") for s in result.strategies)
    return replace(result, strategies=(*frozen, *rungs), chosen=chosen, encoder=replace(result.encoder, reference=""))


def only_card(training: TrainingRecord) -> Card:
    view = trained(with_rungs(rung("lora", 13, 20.0, (0.97, 0.01, 0.004), training)))
    assert view is not None
    (card,) = view.cards
    return card


def section(sample: Sample) -> str:
    """The words of the section on trained rungs."""
    page = fit_report(sample.result, sample.evidence)
    start = page.index('<section id="trained"')
    return Page(page[start : page.index("</section>", start)]).words


def test_the_trained_rungs_begin_where_the_frozen_ones_end() -> None:
    assert max(s.rung for s in STRATEGIES.values()) < FIRST_TRAINED == min(s.rung for s in TRAINED.values())


def test_there_is_no_section_where_nothing_was_trained() -> None:
    assert trained(pictures().result) is None
    assert 'id="trained"' not in fit_report(pictures().result, pictures().evidence)


def test_says_that_it_was_worth_it() -> None:
    words = worth(climbed().result)
    assert words.startswith(
        "6 rungs were trained: head-only, last-blocks, contrastive, lora, gradual and finetune. It was worth it: lora"
    )
    assert "where the best frozen rung, named-linear-probe, has" in words
    assert "+2.1 points (+1.3 to +2.9)" in words
    assert "It took 6\u202fmin 28\u202fs, named-linear-probe" in words


def test_says_that_it_was_not_worth_it() -> None:
    words = worth(stayed().result)
    assert "It was not worth it" in words
    assert "The best of them, last-blocks, has +0.2 points (\u22120.7 to +1.1) over named-linear-probe." in words


def test_a_gain_that_was_not_taken_is_said() -> None:
    words = worth(with_rungs(rung("lora", 13, 9.0, (0.98, 0.02, 0.01), good())))
    assert "+2.0 points (+1.0 to +3.0) over named-linear-probe, yet named-linear-probe was chosen" in words


def test_one_split_gives_no_certainty() -> None:
    chosen = with_rungs(rung("lora", 13, 9.0, (0.98, 0.02, None), good()), chosen="lora")
    words = worth(chosen)
    assert "It was worth it" not in words
    assert "The choice fell on one of them: lora" in words
    assert "where the best frozen rung" not in words
    assert "on the same folds: +2.0 points (too few splits for an interval)" in words


def test_runs_without_a_score_are_said_to_be_unmeasured() -> None:
    assert "None of them could be measured" in worth(with_rungs(rung("finetune", 17, 9.0, None, diverged())))
    nothing = StrategyResult("lora", 13, "skipped", "no time", training=TrainingRecord("lora"))
    assert worth(with_rungs(nothing)).startswith("No rung that changes the encoder was run")


@pytest.mark.parametrize(
    ("gain", "tone", "said"),
    [
        (Interval(0.02, 0.01, 0.03, 5), "gain", "Worth the step: +2.0 points (+1.0 to +3.0)"),
        (Interval(0.0, -0.01, 0.01, 5), "even", "No gain that can be told from chance: 0.0 points"),
        (Interval(-0.02, -0.03, -0.01, 5), "loss", "Worse than the rungs below: \u22122.0 points"),
        (Interval(0.02, None, None, 1), "even", "No gain that can be told from chance"),
        (Interval(NAN, NAN, NAN, 5), "even", "There is no cheaper rung"),
    ],
)
def test_the_tone_of_a_gain(gain: Interval, tone: str, said: str) -> None:
    view = trained(with_rungs(replace(rung("lora", 13, 9.0, (0.9, 0.0, None), good()), gain=gain)))
    assert view is not None
    assert view.cards[0].tone == tone
    assert view.cards[0].verdict.startswith(said)


def test_a_gain_in_log_loss_says_which_way_is_better() -> None:
    s = rung("lora", 13, 9.0, None, good())
    s = replace(s, metrics={"log_loss": Interval(0.2, 0.1, 0.3, 5)}, gain=Interval(0.05, 0.01, 0.09, 5))
    view = trained(replace(with_rungs(s), metric="log_loss"))
    assert view is not None
    assert "+0.050 in log loss (signed so that more is better) (+0.010 to +0.090)" in view.cards[0].verdict


def test_the_facts_of_a_run() -> None:
    facts = {f.label: (f.value.replace("\u202f", " "), f.hint.replace("\u202f", " ")) for f in only_card(good()).facts}
    assert facts["Weights trained"] == ("147,456", "4.4 % of 3,371,008")
    assert facts["On disk"] == ("594 kB", "")
    assert facts["A step takes"] == ("16 items", "2 batches of 8")
    assert facts["Computed in"] == ("f32", "on cpu")
    assert facts["Time"] == ("20.0 s", "predicted 5 min 52 s")
    assert facts["Measured on"] == ("one validation split", "")
    assert facts["Epochs"] == ("10", "as planned")
    assert facts["Memory"] == ("1.2 GB", "at its peak")
    assert facts["Speed"] == ("38.4 items/s", "")
    assert facts["Rate"] == ("1e\u20113", "adapter; head 1e\u20113")


def test_losses_scores_and_the_way_are_drawn() -> None:
    losses, scores, sweep = only_card(good()).plots
    assert [c.name for c in losses.curves] == ["training", "validation"]
    assert all(len(c.points) == 10 for c in losses.curves)
    assert "Lowest validation loss: 0.319, epoch 7." in losses.note
    assert scores.title == "Share right on held-out items"
    assert sweep.note.replace("\u202f", " ") == "Best: 95.7 % at 75 % of the way."
    assert sweep.best is not None and sweep.best[0] == 75.0


def test_a_plot_stands_where_the_numbers_say() -> None:
    epochs = (EpochRecord(0, 1.0), EpochRecord(1, 0.5), EpochRecord(2, 0.0))
    (plot,) = plots(TrainingRecord("lora", epochs))
    (line,) = plot.curves
    assert [x for x, _, _ in line.points] == [0.0, 50.0, 100.0]
    ys = [y for _, y, _ in line.points]
    assert ys[1] == pytest.approx((ys[0] + ys[2]) / 2, abs=0.02)
    assert ys[0] < ys[2] == 100.0
    assert [(float(x), float(y)) for x, y in BOX.findall(line.path)] == [(x, y) for x, y, _ in line.points]


def test_one_epoch_has_no_picture_but_its_figures() -> None:
    card = only_card(one_epoch())
    assert card.plots == () and card.groups == ()
    assert [(e.epoch, e.loss, e.validation, e.score, e.rate) for e in card.epochs] == [(1, "0.417", "–", "–", "5e-5")]
    assert "EpochTraining lossRateTime 10.4175e-59.2\u202fs" in section(climbed())


def test_what_is_no_number_is_said_and_not_drawn() -> None:
    card = only_card(diverged())
    assert card.tone == "gain" and card.shown and card.failed.startswith("The loss was nan at step 61")
    losses = card.plots[0]
    assert losses.lost == (100.0,)
    assert all(len(c.points) == 2 for c in losses.curves)
    assert "not drawn to scale" in losses.note
    assert losses.y.high < 10
    assert card.ranges == ()
    assert card.retained[0].after == card.retained[0].change == "–"
    assert [e.loss for e in card.epochs] == ["0.610", "7.9e+04", "–"]
    assert {f.label for f in card.facts}.isdisjoint({"Speed"})
    assert not re.search(r"\b(nan|inf|None)\b", section(climbed()).replace("loss was nan", ""))


def test_a_training_that_went_astray_is_known_by_its_words_too() -> None:
    """The loop stops before it records the epoch in which the loss was no number."""
    finite = replace(diverged(), epochs=diverged().epochs[:1])
    assert only_card(finite).failed.startswith("The loss was nan at step 61 of 100.")
    for stopped in ("The validation loss was inf after epoch 2.", "The loss was -inf at step 3."):
        assert only_card(replace(finite, stopped=stopped)).failed == stopped
    assert only_card(replace(finite, stopped="The validation loss did not become smaller for 2 epochs.")).failed == ""


def test_a_broken_line_starts_anew() -> None:
    losses = (1.0, None, 0.8, 0.7, NAN, math.inf, 0.5)
    epochs = tuple(EpochRecord(k, v) for k, v in enumerate(losses))  # type: ignore[arg-type]  # None: as read back from JSON
    (plot,) = plots(TrainingRecord("lora", epochs))
    assert re.sub(r"[\d. ]", "", plot.curves[0].path) == "MMLM"
    assert len(plot.lost) == 3


def test_groups_in_their_order_with_rates_suggestions_and_drift() -> None:
    rows = group_rows(gradual())
    assert [r.name for r in rows] == ["stem", *(f"block {k}" for k in range(15)), "top", "head"]
    assert rows[16].rate == "3e-4" and rows[17].rate == "1e-3"
    assert rows[0].suggestion == "1e-4"
    assert rows[16].drift.replace("\u202f", " ") == "8.00 %"
    assert rows[17].drift == "–" and rows[17].shades == ()
    assert max(v for row in rows for v in row.shades) == 1.0
    assert rows[0].shades[0] == 0.0


def test_long_trainings_are_thinned() -> None:
    epochs = tuple(EpochRecord(k, 1 / (k + 1), drift={"top": 0.1}) for k in range(5000))
    run = TrainingRecord("lora", epochs)
    assert len(plots(run)[0].curves[0].points) == MOST_POINTS
    assert len(group_rows(run)[0].shades) == MOST_COLUMNS
    card = only_card(run)
    assert (card.epochs[0].epoch, card.epochs[-1].epoch) == (1, 5000)


@given(st.integers(0, 300), st.integers(2, 50))
def test_thinning_keeps_both_ends(n: int, most: int) -> None:
    kept = thinned(range(n), most)
    assert len(kept) == min(n, most)
    assert kept == sorted(set(kept))
    assert not n or (kept[0], kept[-1]) == (0, n - 1)


def test_a_range_test_is_marked_where_it_suggests() -> None:
    rates = tuple(float(r) for r in np.geomspace(1e-6, 1, 61))
    losses = tuple(1 - 0.5 * math.exp(-((math.log10(r) + 2) ** 2)) + (50 * r if r > 0.1 else 0) for r in rates)
    (view,) = range_views([RangeTest("body", rates, losses, 3e-3, 1e-3, 1e-3)])
    assert view.suggestion == "1e-3"
    assert view.mark is not None
    assert view.mark[0] == pytest.approx(view.x.at(1e-3))
    low = max(view.line.points, key=lambda point: point[1])  # lowest on the page
    assert low[0] == pytest.approx(view.x.at(1e-2), abs=3)
    assert view.line.points[-1][1] <= min(y for _, y, _ in view.line.points) + 0.01, "the explosion leaves at the top"
    assert view.hint == "steepest at 3e-3, a tenth of the least 1e-3"


@pytest.mark.parametrize(
    ("rates", "losses", "drawn"),
    [
        ((), (), 0),
        ((1e-3,), (1.0,), 0),
        ((1e-3, 1e-2), (NAN, NAN), 0),
        ((1e-3, 1e-2, 0.1), (1.0, NAN, 1.0), 1),
        ((0.0, 1e-3, 1e-2), (1.0, 1.0, 1.0), 1),
    ],
)
def test_range_tests_of_every_kind(rates: tuple[float, ...], losses: tuple[float, ...], drawn: int) -> None:
    assert len(range_views([RangeTest("body", rates, losses, None, None, None)])) == drawn


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.none() | st.floats(), st.none() | st.floats(), st.none() | st.floats()), max_size=12),
    st.lists(st.tuples(st.floats(0, 1), st.floats()), max_size=6),
    st.lists(st.tuples(st.floats(), st.floats()), max_size=12),
)
def test_no_number_stops_a_report(
    epochs: list[tuple[float | None, float | None, float | None]],
    sweep: list[tuple[float, float]],
    tested: list[tuple[float, float]],
) -> None:
    run = TrainingRecord(
        "lora",
        tuple(EpochRecord(k, a, b, c, drift={"top": a}) for k, (a, b, c) in enumerate(epochs)),  # type: ignore[arg-type,dict-item]
        range_tests=(RangeTest("top", tuple(a for a, _ in tested), tuple(b for _, b in tested), NAN, NAN, 1e-3),),
        interpolation=tuple(sweep),
        retained=tuple(Retained("r", "loss", a, b) for a, b in tested),
    )
    card = only_card(run)
    places = [y for plot in card.plots for c in plot.curves for _, y, _ in c.points]
    places += [y for view in card.ranges for _, y, _ in view.line.points]
    assert all(0 <= y <= 100 for y in places)


def test_retained_tasks_say_what_was_lost() -> None:
    accuracy, loss = only_card(good()).retained
    assert (accuracy.change, accuracy.worse) == ("\u22120.7 points", True)
    assert (loss.change, loss.worse, loss.measure) == ("+0.270", True, "Masked-token loss")
    better = replace(good(), retained=(Retained("w", "perplexity", 9.0, 8.0), Retained("a", "accuracy", 0.5, 0.6)))
    assert [r.worse for r in only_card(better).retained] == [False, False]


def test_rungs_that_were_not_run_are_listed_with_their_reasons() -> None:
    view = trained(climbed().result)
    assert view is not None
    assert [(s.name, s.status) for s in view.left_out] == [("scratch", "skipped")]
    words = section(climbed())
    assert "scratchskipped: predicted to take 2 h 10 min, more than the 41 min that are left" in words


def test_of_many_runs_the_chosen_and_the_best_have_cards() -> None:
    rungs = [rung(f"run {k}", 10 + k, 5.0, (0.5 + 0.01 * k, 0.0, 0.1), one_epoch()) for k in range(30)]
    view = trained(with_rungs(*rungs, chosen="run 3"))
    assert view is not None
    assert [c.result.name for c in view.cards] == ["run 3", *(f"run {k}" for k in range(30 - MOST_CARDS + 1, 30))]
    assert view.unshown == 30 - MOST_CARDS
    assert [c.result.name for c in view.cards if c.shown] == ["run 3"]


@pytest.mark.parametrize("make", [climbed, stayed])
def test_a_trained_result_read_back_gives_the_same_page(make: type[Sample]) -> None:
    sample = make()  # type: ignore[call-arg]
    again = from_json(FitResult, json.loads(json.dumps(to_json(sample.result), allow_nan=False)))
    assert fit_report(again, sample.evidence) == fit_report(sample.result, sample.evidence)


def test_the_ladder_holds_milliseconds_and_hours_and_rows_without_a_score() -> None:
    hours = rung("finetune", 17, 3900.0, (0.97, 0.01, 0.004), good())
    lost = replace(rung("lora", 13, NAN, (NAN, NAN, NAN), diverged()), memory_mb=NAN)
    view = ladder(with_rungs(lost, hours))
    assert view.x is not None
    ticks = [t.text.replace("\u202f", " ") for t in view.x.ticks]
    assert ticks[0] == "1 ms" and ticks[-3:] == ["1 min", "10 min", "1 h"]
    assert len(ticks) == len(set(ticks)) <= 9
    assert len(view.rows) == 9 and len(view.marks) == 8
    row = view.rows[7]
    assert (row.score, row.gain, row.seconds, row.split) == (None, None, 0.0, False)
    assert view.rows[8].split
    words = Page(fit_report(with_rungs(lost, hours), pictures().evidence)).words
    assert "finetuneon one split" in words and "1\u202fh 5\u202fmin" in words
