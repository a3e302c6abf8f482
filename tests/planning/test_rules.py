"""The rules: order, reasons, and what would change the advice."""

from __future__ import annotations

from dataclasses import replace

from tests.planning.made import HERE, ground, probed, situation

from graft.planning.costs import Machine
from graft.planning.rules import advise, changes, verdict
from graft.strategies.frozen import STRATEGIES
from graft.strategies.trained import TRAINED


def test_every_strategy_has_a_place_and_a_reason() -> None:
    rows = advise(situation(ground(probed(0.7))))
    assert {row.name for row in rows} == {
        *STRATEGIES,
        *(name for name, rung in TRAINED.items() if "image" in rung.climbed),
    }
    assert all(row.reason.endswith(".") and row.reason[0].isupper() for row in rows)
    able = [row for row in rows if row.status == "advised"]
    values = [row.accuracy.value for row in able[1:] if row.accuracy]
    assert values == sorted(values, reverse=True)


def test_of_those_as_good_as_equal_the_cheapest_is_first() -> None:
    rows = advise(situation(ground(probed(0.9999, items=100_000), labels=1000)))
    assert rows[0].rung == min(
        row.rung
        for row in rows
        if row.accuracy and row.accuracy.value > max(r.accuracy.value for r in rows if r.accuracy) - 0.005
    )


def test_what_does_not_fit_time_or_memory_is_too_dear() -> None:
    short = advise(situation(ground(probed(0.7)), budget=5.0))
    assert {row.name for row in short if row.status == "costly"} == {"last-blocks", "lora", "finetune"}
    assert "more than the budget" in next(row.reason for row in short if row.name == "lora")
    assert [row.status for row in short] == sorted(
        (row.status for row in short), key=["advised", "costly", "impossible"].index
    )
    tight = advise(situation(ground(probed(0.7)), budget=1e9, machine=replace(HERE, memory_mb=2000.0)))
    assert "MB are free" in next(row.reason for row in tight if row.name == "finetune")


def test_raw_pixels_and_wordless_encoders() -> None:
    rows = {
        row.name: row
        for row in advise(situation(ground(probed(0.7), worded=False), unfit="raw pixels have no weights to train"))
    }
    assert rows["finetune"].status == rows["zero-shot"].status == "impossible"
    assert rows["finetune"].reason == "Raw pixels have no weights to train."
    assert "nothing of words" in rows["zero-shot"].reason


def test_changes_come_from_the_same_rules() -> None:
    found = ground(probed(0.7, items=400))
    here = situation(found, budget=5.0, least=2, most=400, copies=0.2, unlabelled=100_000)
    told = changes(here, advise(here))
    assert len(told) == len(set(told))
    for words in ("times the labels", "--budget", "the smallest has 2", "20", "100,000 items have no label", "A GPU"):
        assert any(words in text for text in told), words
    more = next(text for text in told if "--budget" in text)
    minutes = int(more.partition("--budget ")[2].partition("m")[0])
    assert advise(replace(here, budget=60.0 * minutes))[0].name in more


def test_nothing_to_tell_apart_and_nothing_labelled() -> None:
    one = situation(ground(classes=1, labels=8))
    assert all(row.status == "impossible" for row in advise(one))
    assert verdict(one, advise(one)).startswith("Nothing can be learned yet")
    assert changes(one, advise(one))[0].startswith("Labels of at least two classes")
    none = situation(ground(labels=0, names=True))
    assert advise(none)[0].name == "zero-shot"
    assert "a guess until" in verdict(none, advise(none))


def test_labels_that_luck_explains_are_told_from_too_few() -> None:
    for items, words in ((100, "look unrelated to the items"), (20, "Too few labels to tell")):
        here = situation(ground(replace(probed(0.35, items=items), p=0.5), classes=3))
        rows = advise(here)
        assert words in verdict(here, rows)
        assert changes(here, rows)[0].startswith("A look at a dozen")
        assert next(row for row in rows if row.name == "last-blocks").reason.startswith("What the labels")


def test_a_class_for_nearly_every_item_looks_like_ids() -> None:
    here = situation(ground(classes=90, labels=1))
    here = replace(here, load=replace(here.load, items=100, classes=90))
    assert any("look like ids" in text for text in changes(here, advise(here)))


def test_the_verdict_names_the_first_and_its_range() -> None:
    here = situation(ground(probed(0.7, items=400, hits=0.3)))
    rows = advise(here)
    text = verdict(here, rows)
    assert text.startswith(f"Take {rows[0].name}: expected to get about") and "nine cases of ten" in text
    assert "range is wide" not in text
    guessed = situation(ground())
    assert "range is wide" in verdict(guessed, advise(guessed))


def test_a_gpu_is_no_advice_where_there_is_one() -> None:
    here = situation(ground(probed(0.7)), budget=1.0, machine=Machine("a processor", 2, None, "cuda"))
    assert not [text for text in changes(here, advise(here)) if "GPU" in text]
