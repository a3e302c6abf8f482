"""Results turn into JSON and back without loss, and JSON never holds what JSON cannot."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graft.results import (
    DataSummary,
    Duplicates,
    EpochRecord,
    Fault,
    Interval,
    RangeTest,
    Retained,
    StrategyResult,
    TrainingRecord,
    TuneResult,
    TuneTrial,
    from_json,
    to_json,
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
intervals = st.builds(Interval, numbers, st.none() | numbers, st.none() | numbers, st.integers(0, 10**6))


@given(
    st.builds(
        StrategyResult,
        name=st.text(),
        rung=st.integers(0, 9),
        status=st.sampled_from(["measured", "skipped", "stopped"]),
        metrics=st.dictionaries(st.text(), intervals, max_size=3),
        gain=st.none() | intervals,
    )
)
def test_strategy_result_survives_json(result: StrategyResult) -> None:
    assert from_json(StrategyResult, json.loads(json.dumps(to_json(result), allow_nan=False))) == result


def test_nested_tuples_and_dataclasses_survive_json() -> None:
    summary = DataSummary(
        name="photos",
        source="photos/",
        kind="folder",
        modality="image",
        items=3,
        train=2,
        test=1,
        classes=("a", "b"),
        counts=(1, 2),
        columns={"label": "y"},
        faults=(Fault("a/1.png", "truncated"),),
        duplicates=Duplicates(exact=1, groups=(("a/1.png", "a/2.png"),), leaks=(("a/1.png", "b/1.png", 0.99),)),
    )
    assert from_json(DataSummary, json.loads(json.dumps(to_json(summary)))) == summary


@given(
    st.builds(
        TuneResult,
        name=st.text(),
        strategy=st.text(),
        encoder=st.text(),
        data=st.text(),
        method=st.sampled_from(["bayes", "grid"]),
        metric=st.text(),
        trials=st.lists(
            st.builds(
                TuneTrial,
                number=st.integers(1, 99),
                settings=st.dictionaries(
                    st.text(), st.none() | st.booleans() | st.integers() | numbers | st.text(), max_size=3
                ),
                score=st.none() | numbers,
                low=st.none() | numbers,
            ),
            max_size=4,
        ).map(tuple),
        best=st.none() | st.integers(1, 99),
        baseline=st.none() | numbers,
        gain=st.none() | intervals,
        parameters=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_a_search_survives_json(result: TuneResult) -> None:
    assert from_json(TuneResult, json.loads(json.dumps(to_json(result), allow_nan=False))) == result


def test_the_best_try_is_found_by_its_number() -> None:
    tries = (TuneTrial(4, {}), TuneTrial(7, {}, score=0.9))
    found = TuneResult("n", "lora", "e", "d", "grid", "accuracy", tries, 7)
    assert found.best_trial is tries[1]
    assert TuneResult("n", "lora", "e", "d", "grid", "accuracy", tries, None).best_trial is None


def test_a_training_survives_json() -> None:
    record = TrainingRecord(
        "lora",
        (EpochRecord(1, 0.5, 0.6, None, 1e-3, 2.0, {"top": 0.1}),),
        rates={"top": 1e-3},
        range_tests=(RangeTest("top", (1e-3, 1e-2), (0.5, 0.4), 1e-3, None, None),),
        retained=(Retained("r", "accuracy", 0.5, 0.4),),
        interpolation=((0.0, 0.5), (1.0, 0.6)),
        recipe={"rate": 1e-3, "augment": "none", "seconds": None},
    )
    result = StrategyResult("lora", 13, "measured", training=record)
    assert from_json(StrategyResult, json.loads(json.dumps(to_json(result), allow_nan=False))) == result


def test_a_loss_that_is_no_number_comes_back_as_none() -> None:
    tree = json.loads(json.dumps(to_json(EpochRecord(1, math.nan, math.inf, drift={"top": math.nan})), allow_nan=False))
    again = to_json(from_json(EpochRecord, tree))
    assert (again["loss"], again["validation_loss"], again["drift"]) == (None, None, {"top": None})


def test_nan_infinity_and_numpy_numbers_become_plain_json() -> None:
    tree = to_json({"a": math.nan, "b": math.inf, "c": np.float32(0.5), "d": np.int64(3), 1: (True, None)})
    assert tree == {"a": None, "b": None, "c": 0.5, "d": 3, "1": [True, None]}


def test_unknown_keys_are_ignored_and_missing_required_ones_are_not() -> None:
    assert from_json(Fault, {"where": "row 1", "problem": "empty", "later": 1}) == Fault("row 1", "empty")
    try:
        from_json(Fault, {"where": "row 1"})
    except TypeError as error:
        assert "problem" in str(error)
    else:
        raise AssertionError("a missing field was accepted")
