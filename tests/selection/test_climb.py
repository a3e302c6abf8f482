"""The climb over the trained rungs: in order of cost, each against the best so far, no longer than the time lasts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.selection.climbing import N, School, every, ground_of, wrong

from graft.selection.climb import FEWEST_ERRORS, PROBE_STEPS, Climb, Limits, climb
from graft.selection.contender import Ground
from graft.selection.trials import Plan
from graft.strategies.trained import TRAINED, Trained

RUNGS = tuple(TRAINED[name] for name in ("last-blocks", "lora", "finetune"))
Y = np.arange(N) % 2
HALF, FIFTH, TENTH, NONE = every(2), every(5), every(10), wrong()


def endless() -> float:
    return float("inf")


def climbed(
    school: School,
    ground: Ground | None = None,
    rungs: tuple[Trained, ...] = RUNGS,
    *,
    left: Callable[[], float] = endless,
    forced: bool = False,
    only: bool = False,
    splits: int | None = None,
) -> Climb:
    return climb(ground or ground_of(HALF), rungs, Limits(left, forced, only, splits), school)


def status(found: Climb) -> dict[str, str]:
    return {result.name: result.status for result in found.results}


def reason(found: Climb, name: str) -> str:
    return next(result.reason for result in found.results if result.name == name)


def test_the_cheapest_first_and_each_against_the_best_so_far() -> None:
    costs = {"last-blocks": 8.0, "lora": 30.0, "finetune": 3.0}
    school = School(Y, {"finetune": FIFTH, "last-blocks": TENTH, "lora": NONE}, costs)
    found = climbed(school)
    assert [name for name, _ in school.calls] == ["finetune"] * 5 + ["last-blocks"] * 5 + ["lora"] * 5
    assert [fold for _, fold in school.calls] == [0, 1, 2, 3, 4] * 3
    assert [result.name for result in found.results] == [rung.name for rung in RUNGS]  # as they were asked for
    by_name = {result.name: result for result in found.results}
    assert [by_name[name].gain_over for name in costs] == ["finetune", "last-blocks", "prototypes"]
    assert by_name["lora"].gain is not None and by_name["lora"].gain.value == pytest.approx(0.1)
    assert found.winner is not None and found.winner.name == "lora"
    assert found.folds == (0, 1, 2, 3, 4)
    for fold, logits_VC in found.logits.items():
        np.testing.assert_array_equal(logits_VC.argmax(axis=1), Y[20 * fold : 20 * fold + 20])
    assert found.why.index("Finetune") < found.why.index("Last-blocks") < found.why.index("Lora")
    assert "+10.0 points (+10.0 to +10.0) against last-blocks on 5 of the folds" in found.why


def test_it_ends_at_the_first_rung_without_a_proven_gain() -> None:
    school = School(
        Y, {"last-blocks": FIFTH, "lora": FIFTH, "finetune": NONE}, {"last-blocks": 1, "lora": 2, "finetune": 3}
    )
    found = climbed(school)
    assert status(found) == {"last-blocks": "measured", "lora": "measured", "finetune": "skipped"}
    assert "the rung before it, lora, gained nothing" in reason(found, "finetune")
    skipped = found.results[2].training
    assert skipped is not None and skipped.predicted_seconds == pytest.approx(3, rel=0.5)
    assert found.winner is not None and found.winner.name == "last-blocks"
    assert "so the climb ended" in found.why


def test_rungs_that_are_named_are_all_run() -> None:
    school = School(
        Y, {"last-blocks": HALF, "lora": FIFTH, "finetune": HALF}, {"last-blocks": 1, "lora": 2, "finetune": 3}
    )
    found = climbed(school, forced=True)
    assert set(status(found).values()) == {"measured"}
    assert [result.gain_over for result in found.results] == ["prototypes", "prototypes", "lora"]
    assert found.winner is not None and found.winner.name == "lora"
    assert "ended" not in found.why


def test_without_a_proven_gain_nothing_changes() -> None:
    school = School(Y, {"last-blocks": every(2, 1)}, {"last-blocks": 1})
    found = climbed(school, rungs=RUNGS[:1])
    assert found.winner is None and not found.logits and found.folds == ()
    assert "proves no gain" in found.why


def test_asked_for_alone_the_best_of_those_run_is_taken_all_the_same() -> None:
    worse, worst = every(2) | every(20, 1), every(2) | every(4, 1)
    school = School(Y, {"last-blocks": worst, "lora": worse, "finetune": worst}, {"lora": 2.0})
    found = climbed(school, forced=True, only=True, splits=2)
    assert found.winner is not None and found.winner.name == "lora"
    assert "Lora was taken because strategies that train were asked for by name" in found.why
    assert climbed(School(Y, school.errors), forced=True, splits=2).winner is None


def test_the_best_by_log_loss_is_the_one_with_the_smallest() -> None:
    worse, worst = every(2) | every(20, 1), every(2) | every(4, 1)
    school = School(Y, {"last-blocks": worst, "lora": worse, "finetune": worst})
    found = climbed(school, ground_of(HALF, metric="log_loss"), forced=True, only=True, splits=2)
    assert found.winner is not None and found.winner.name == "lora"
    assert "nats" in found.why


def test_what_does_not_fit_the_time_is_skipped_and_says_what_it_would_take() -> None:
    school = School(Y, {"last-blocks": NONE}, {"last-blocks": 100.0})
    found = climbed(school, rungs=RUNGS[:1], left=lambda: 60.0)
    assert status(found) == {"last-blocks": "skipped"} and school.calls == []
    told = reason(found, "last-blocks")  # 100 s for a fold of 80 items, 125 s for all 100
    assert "about 4 min" in told and "60 s are left" in told and "--budget" in told
    assert found.results[0].training is not None
    assert found.results[0].training.predicted_seconds == pytest.approx(100, rel=0.01)


def test_where_only_one_split_fits_one_is_run() -> None:
    school = School(Y, {"last-blocks": NONE}, {"last-blocks": 100.0})
    found = climbed(school, rungs=RUNGS[:1], left=lambda: 230.0 - school.now)
    assert school.calls == [("last-blocks", 0)]
    assert found.folds == (0,) and found.winner is not None and found.share == 1.0
    (result,) = found.results
    assert result.training is not None
    assert (result.training.measured_on, result.training.folds) == ("one split", 1)
    assert result.gain is not None and result.gain.n == 20  # over items, not folds
    assert "on one validation split" in found.why


def test_time_that_is_used_up_is_gone_for_the_rungs_that_follow() -> None:
    school = School(
        Y, {"last-blocks": FIFTH, "lora": NONE, "finetune": NONE}, {"last-blocks": 10, "lora": 12, "finetune": 14}
    )
    found = climbed(school, left=lambda: 90.0 - school.now)
    ran = [name for name, _ in school.calls]
    assert ran == ["last-blocks"] * 5 + [
        "lora"
    ]  # 40 s are left then: enough for one split and all items, not for five folds
    assert status(found) == {"last-blocks": "measured", "lora": "measured", "finetune": "skipped"}
    assert found.results[1].gain_over == "last-blocks" and found.results[1].gain is not None
    assert found.results[1].gain.n == 20


def test_no_time_at_all() -> None:
    school = School(Y, {rung.name: NONE for rung in RUNGS})
    found = climbed(school, left=lambda: 0.0)
    assert set(status(found).values()) == {"skipped"} and "no time was left" in reason(found, "lora")
    assert not school.calls and not school.rehearsed


def test_as_many_splits_as_are_asked_for_whatever_the_time() -> None:
    school = School(Y, {"last-blocks": NONE}, {"last-blocks": 100.0})
    climbed(school, rungs=RUNGS[:1], left=lambda: 1.0, splits=3)
    assert school.calls == [("last-blocks", fold) for fold in range(3)]
    school = School(Y, {"last-blocks": NONE})
    climbed(school, rungs=RUNGS[:1], splits=50)
    assert len(school.calls) == 5  # there are no more


def test_below_the_best_on_the_first_fold_the_others_are_not_run() -> None:
    hopeless = ~every(20)
    school = School(Y, {"last-blocks": hopeless, "lora": NONE}, {"last-blocks": 1, "lora": 2})
    found = climbed(school, ground_of(FIFTH), RUNGS[:2], forced=True)
    assert school.calls == [("last-blocks", 0), *(("lora", fold) for fold in range(5))]
    first = found.results[0]
    assert first.status == "measured" and "below the best on the first fold" in first.reason
    assert first.training is not None and first.training.folds == 1
    assert first.gain is not None and first.gain.high is not None and first.gain.high < 0
    assert first.metrics["accuracy"].n == 20 and first.metrics["accuracy"].value == pytest.approx(0.05)
    assert found.winner is not None and found.winner.name == "lora"


def test_too_few_mistakes_to_prove_a_gain_by() -> None:
    for errors, made in ((0, "no mistakes"), (1, "one mistake"), (FEWEST_ERRORS - 1, "5 mistakes")):
        school = School(Y, {rung.name: NONE for rung in RUNGS})
        found = climbed(school, ground_of(wrong(*range(errors))))
        assert f"prototypes makes {made}" in reason(found, "lora")
        assert set(status(found).values()) == {"skipped"} and not school.calls and not school.rehearsed
    school = School(Y, {"last-blocks": NONE, "lora": NONE, "finetune": NONE}, {"last-blocks": 0.1})
    assert climbed(school, ground_of(wrong(*range(5))), forced=True, splits=2).results[0].status == "measured"
    assert climbed(school, ground_of(wrong(*range(FEWEST_ERRORS)))).results[0].status == "measured"


def test_few_mistakes_do_not_keep_a_rung_of_experience_from_a_try() -> None:
    """Contrastive tuning may be taken without proof, so a single mistake is something to gain; none at all is not."""
    rung = (TRAINED["contrastive"],)
    assert climbed(School(Y, {"contrastive": NONE}), ground_of(wrong(0)), rung).results[0].status == "measured"
    nothing = School(Y, {"contrastive": NONE})
    assert "no mistakes" in reason(climbed(nothing, ground_of(NONE), rung), "contrastive") and not nothing.rehearsed


def test_a_body_that_cannot_be_trained_is_skipped_with_its_reason() -> None:
    school = School(Y, {"last-blocks": FIFTH, "finetune": NONE}, refused={"lora": "no layers that LoRA could take"})
    found = climbed(school)
    assert status(found)["lora"] == "skipped" and reason(found, "lora") == "no layers that LoRA could take"
    assert found.winner is not None


def test_one_class_of_labels_is_refused_and_a_text_strategy_on_pictures_too() -> None:
    school = School(np.zeros(N, np.int64), {"lora": NONE})
    found = climbed(school, ground_of(HALF, y_N=np.zeros(N, np.int64)), (TRAINED["lora"],))
    assert "at least two classes" in reason(found, "lora") and not school.calls and not school.rehearsed


def test_the_share_of_the_way_is_chosen_by_the_folds_and_its_answers_are_kept() -> None:
    def halfway(share: float) -> np.ndarray:
        return TENTH if share == 0.5 else FIFTH

    school = School(Y, {"lora": halfway})
    found = climbed(school, rungs=(TRAINED["lora"],))
    assert found.share == 0.5
    right = np.concatenate([found.logits[f].argmax(axis=1) == Y[20 * f : 20 * f + 20] for f in range(5)])
    np.testing.assert_array_equal(right, ~TENTH)
    (result,) = found.results
    assert result.settings["share"] == 0.5 and result.metrics["accuracy"].value == pytest.approx(0.9)
    assert result.training is not None
    np.testing.assert_allclose(result.training.interpolation, [(0.5, 0.9), (1.0, 0.8)])
    alone = climbed(School(Y, {"lora": halfway}), rungs=(TRAINED["lora"],), splits=1)
    assert alone.share == 1.0  # one fold must not choose what it is judged by


def test_the_rehearsal_is_short_and_knows_two_classes() -> None:
    rare = np.zeros(1000, np.int64)
    rare[[0, 500, 999]] = 1
    school = School(rare, {"last-blocks": wrong(n=1000)})
    ground = ground_of(wrong(*range(1, 1000, 20), n=1000), y_N=rare)
    climbed(school, ground, RUNGS[:1], splits=1)
    ((_, rehearsed),) = school.rehearsed
    batch = TRAINED["last-blocks"].recipe("text").batch
    assert len(np.unique(rare[rehearsed])) == 2
    assert len(rehearsed) <= PROBE_STEPS * batch + 1
    assert np.isin(rehearsed, ground.plan.folds[0][0]).all()


def test_a_first_fold_that_has_one_class_to_learn_from_does_not_hang() -> None:
    y_N = np.zeros(N, np.int64)
    y_N[:2] = 1  # both in the first fold's validation part
    held = np.arange(N).reshape(5, -1)
    plan = Plan(tuple((np.setdiff1d(np.arange(N), h), h) for h in held), 5, 1)
    found = climbed(School(y_N, {"last-blocks": NONE}), ground_of(HALF, y_N=y_N, plan=plan), RUNGS[:1])
    assert status(found) == {"last-blocks": "skipped"}
    assert "one class" in reason(found, "last-blocks")


@pytest.mark.parametrize("forced", [False, True])
def test_one_item_more_in_every_fold_proves_nothing_though_the_folds_agree(forced: bool) -> None:
    """Their differences are equal, so that the interval has no width; five items that all fall on one side are chance in one case of sixteen."""
    school = School(Y, {"lora": HALF & ~wrong(0, 20, 40, 60, 80)})
    found = climbed(school, rungs=(TRAINED["lora"],), forced=forced)
    (result,) = found.results
    assert result.gain is not None and result.gain.low is not None and result.gain.low > 0
    assert found.winner is None and "which with so few items proves no gain" in found.why
    enough = School(Y, {"lora": HALF & ~wrong(0, 2, 20, 22, 40, 42, 60, 62, 80, 82)})
    assert climbed(enough, rungs=(TRAINED["lora"],), forced=forced).winner is not None
