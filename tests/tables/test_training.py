"""What people read of trainings in the terminal."""

from __future__ import annotations

from dataclasses import replace

from tests.reports.samples import climbed, pictures, stayed
from tests.reports.trainings import NAN, search

from graft.results import FitResult, Interval, TuneResult, TuneTrial, from_json, to_json
from graft.tables.render import render


def shown(result: object) -> str:
    return render(result, terminal=False)


def row(text: str, start: str) -> list[str]:
    """The cells of the last line that starts so."""
    line = [line for line in text.splitlines() if line.startswith(start)][-1]
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_fit_shows_its_trained_rungs() -> None:
    text = shown(climbed().result)
    assert "It was worth it: lora reaches 94.0 %" in text.replace("\n", " ")
    assert row(text, "lora   ") == [
        "lora",
        "+0.021",
        "+0.013 to +0.029",
        "147,456 (4.37 %)",
        "594 kB",
        "10",
        "8 x 2 on cpu, f32",
        "1,240 MB",
        "one split",
    ]
    assert row(text, "gradual   ")[-1] == "5 folds"
    assert "lora: A batch of 16 did not fit the memory" in text
    assert "lora: imagenet-sample: Accuracy 74.2 % before, 73.5 % after (worse)." in text
    assert "lora: wiki.txt: Masked-token loss 2.110 before, 2.380 after (worse)." in text
    assert "finetune: The loss was nan at step 61 of 100." in text
    assert "\u202f" not in text
    assert "It was not worth it" in shown(stayed().result)


def test_a_fit_without_trainings_says_nothing_of_them() -> None:
    assert "trained" not in shown(pictures().result)


def test_numbers_that_are_none_stop_nothing() -> None:
    made = climbed().result
    lost = tuple(
        replace(s, seconds=NAN, gain=Interval(NAN, NAN, NAN, 1), metrics={"accuracy": Interval(NAN, NAN, NAN, 1)})
        for s in made.strategies
    )
    for result in (replace(made, strategies=lost), from_json(FitResult, to_json(replace(made, strategies=lost)))):
        text = shown(result)
        assert "nan " not in text.replace("was nan", "") and "None of them could be measured" in text


def test_a_search_shows_the_best_and_how_to_use_it() -> None:
    text = shown(search())
    assert "The best of 41 tries is number 31: 93.5 %, where the defaults have 90.2 %." in text
    assert row(text, "31   ")[:4] == ["31", "0.935", "0.920 to 0.950", "21.4"]
    assert row(text, "rate   ") == ["rate", "0.0002988", "1e-5 to 1e-2, logarithmic"]
    assert "6 of 41 tries have no score" in text
    assert "To use them: graft fit steel_surfaces.zip --strategies lora --train rate=3e-4" in text
    assert "The report: graft-out/steel_surfaces-tune/report.html" in text


def test_the_best_log_loss_is_the_least() -> None:
    tries = tuple(TuneTrial(k, {"rate": 0.1}, score=score) for k, score in ((1, 0.5), (2, 0.3), (3, 0.9)))
    text = shown(TuneResult("n", "lora", "e", "d", "grid", "log_loss", tries, 2))
    at = [text.index(f"\n{k}    ") for k in (2, 1, 3)]
    assert at == sorted(at)


def test_a_search_without_a_score() -> None:
    text = shown(
        TuneResult("n", "lora", "e", "d", "grid", "accuracy", (TuneTrial(1, {}, "failed", reason="no memory"),), None)
    )
    assert (
        "None of the tries, 1 in all, could be measured." in text and "1 of 1 tries have no score: no memory." in text
    )
