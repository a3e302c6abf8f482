"""Results turn into JSON and back without loss, and JSON never holds what JSON cannot."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from graft.results import DataSummary, Duplicates, Fault, Interval, StrategyResult, from_json, to_json

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
