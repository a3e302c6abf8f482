"""What people read: the figures are there, what files hold is shown and not obeyed, long lists are cut."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graft.artifact import Manifest, Origin
from graft.opened import Predictions
from graft.results import (
    Abstention,
    DataSummary,
    Duplicates,
    EncoderSummary,
    Fault,
    FitResult,
    Interval,
    Prediction,
    StrategyResult,
)
from graft.store.cache import CacheStats, SpaceUse
from graft.tables.render import render
from graft.verbs.cache import CacheUse
from graft.verbs.doctor import Check, Diagnosis
from graft.verbs.encode import Encoding

ENCODER = EncoderSummary("minilm", "f" * 64, "s", 384, "text", format="f16", device="cpu", cached=3)
BEST = Interval(0.91, 0.88, 0.94, 200)
RESULT = FitResult(
    name="birds",
    task="classify",
    chosen="linear-probe",
    why="It has the best mean.",
    metric="accuracy",
    seed=0,
    test={"accuracy": Interval(0.934, 0.9, 0.96, 100), "log_loss": Interval(0.2, None, None, 100)},
    strategies=(
        StrategyResult(
            "prototypes",
            1,
            "measured",
            metrics={"accuracy": Interval(0.85, 0.8, 0.9, 200)},
            versus_chosen=Interval(-0.06, -0.1, -0.02, 200),
            seconds=0.03,
        ),
        StrategyResult("linear-probe", 4, "measured", metrics={"accuracy": BEST}, seconds=1.2),
        StrategyResult("kernel-probe", 6, "skipped", reason="no time was left"),
    ),
    data=DataSummary(
        "birds",
        "birds.csv",
        "table",
        "text",
        300,
        200,
        100,
        ("a", "b"),
        (150, 150),
        unlabelled=4,
        columns={"content": "text"},
        faults=tuple(Fault(f"row {i}", "empty") for i in range(25)),
        duplicates=Duplicates(exact=2, near=5, leaked=1),
    ),
    encoder=ENCODER,
    encoders=(ENCODER,),
    calibration=None,
    abstention=None,
    confusion=None,
    per_class=(),
    suspects=(),
    folds="5 folds",
    seconds={"read": 1.0, "encode": 2.5},
    environment={},
    command="",
    out="graft-out/birds",
)


def shown(result: object) -> str:
    return render(result, terminal=False)


def test_a_result_shows_the_choice_its_figures_and_the_ladder() -> None:
    text = shown(RESULT)
    for piece in (
        "birds: linear-probe",
        "It has the best mean.",
        "0.934",
        "0.900 to 0.960",
        "0.910  0.880 to 0.940",
        "-0.060  -0.100 to -0.020",
        "skipped: no time was left",
        "300 items, 2 classes: 200 to learn from, 100 for the test.",
        "content: text",
        "2 exact, 5 near; 1 test items",
        "25 items could not be used",
        "and 5 more",
        "3.5 s in all. The report: graft-out/birds/report.html",
    ):
        assert piece in text, piece
    assert "report" not in shown(replace(RESULT, out=""))


def test_encoders_are_named_where_several_compete() -> None:
    strategies = tuple(replace(s, encoder=e) for e in ("minilm", "dir:other") for s in RESULT.strategies)
    text = shown(replace(RESULT, strategies=strategies, encoders=(ENCODER, replace(ENCODER, reference="dir:other"))))
    assert "linear-probe · dir:other" in text
    assert text.count(" chosen\n") == 1


def test_several_results_follow_each_other() -> None:
    assert shown((RESULT, replace(RESULT, name="fish"))).count("linear-probe") > shown(RESULT).count("linear-probe")


def prediction(item: str, label: str | None = "a") -> Prediction:
    return Prediction(item, label, 0.7, (("a", 0.7), ("b", 0.3)))


def test_answers_say_unsure_and_what_was_likeliest() -> None:
    text = shown(Predictions((prediction("one"), prediction("two", None)), (Fault("three", "empty"),)))
    lines = text.splitlines()
    assert lines[1].split() == ["one", "a", "0.70", "b", "0.30"]
    assert lines[2].split() == ["two", "unsure", "0.70", "a", "0.70,", "b", "0.30"]
    assert "three: empty" in text


def test_long_lists_are_cut_and_say_so() -> None:
    text = shown(Predictions(tuple(prediction(f"item {i}") for i in range(80))))
    assert text.count("\nitem ") == 50 and "and 30 more: --out" in text
    assert "item" not in shown(Predictions((prediction("item"),), out="x.csv"))


@pytest.mark.parametrize("terminal", [False, True])
def test_what_a_file_holds_is_shown_and_not_obeyed(terminal: bool) -> None:
    text = render(Predictions((prediction("[red]a[/red] :smile: \x1b[2J\x07\nb"),)), terminal=terminal)
    assert "[red]a[/red] :smile:" in text
    assert "\x1b[2J" not in text and "\x07" not in text
    assert ("\x1b[" in text) is terminal


def test_a_model_shows_what_it_is() -> None:
    manifest = Manifest(
        name="birds",
        classes=("finch", "wren"),
        encoder=ENCODER,
        strategy="linear-probe",
        abstention=Abstention(0.62, 0.9, "test"),
        metrics={"accuracy": BEST},
        measured_on="folds",
        data=Origin(name="birds", items=10, train=8, test=2),
    )
    text = shown(manifest)
    assert "interval   folds\n" in text
    assert "interval   n\n" in shown(replace(manifest, measured_on="test"))
    for piece in ("texts into 2 classes", "finch, wren", "minilm (384", "0.620", "cross-validated", "0.880 to 0.940"):
        assert piece in text, piece


def test_the_smaller_results() -> None:
    held = CacheStats("/c/v.sqlite", 3, 2**21, 10 * 2**30, (SpaceUse("f" * 64, "f16", "minilm", 3, 2**21),))
    text = shown(CacheUse("/c", held, {"openvino": 3 * 2**30}, removed=5))
    assert "minilm" in text and "2.0 MB" in text and "3.0 GB" in text and "Removed 5 vectors" in text
    assert "Nothing is kept." in shown(CacheUse("/c", replace(held, spaces=()), {}))
    text = shown(Diagnosis((Check("torch", "missing", "python -m pip install torch"),), healthy=False))
    assert "pip install torch" in text and "Something is missing." in text
    text = shown(Encoding(7, ("v.npy", "v.items.json"), ENCODER, (), 1.5))
    assert "7 vectors of 384 numbers written to v.npy, v.items.json." in text and "3 came from the cache" in text
