"""`graft plan` end to end on small tables: what it says, what it refuses, and what `fit` makes of it."""

from __future__ import annotations

import csv
import inspect
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import graft
from graft import cli
from graft.errors import UsageError
from graft.results import FitResult, from_json
from graft.tables.render import render

WORDS = {
    "car": ["engine", "brakes", "wheel", "driver", "road", "tyre", "garage", "motor"],
    "food": ["soup", "waiter", "menu", "cook", "taste", "plate", "dessert", "kitchen"],
    "film": ["actor", "plot", "scene", "director", "story", "camera", "cinema", "script"],
}


def table(path: Path, rows: Sequence[Sequence[str]], columns: Sequence[str] = ("text", "label")) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def sentences(n: int) -> list[tuple[str, str]]:
    draw = random.Random(0)
    labels = [draw.choice(list(WORDS)) for _ in range(n)]
    return [
        (f"the {draw.choice(WORDS[label])} and the {draw.choice(WORDS[label])} number {i}", label)
        for i, label in enumerate(labels)
    ]


def shuffled(n: int) -> list[tuple[str, str]]:
    """Sentences with the labels of others."""
    labels = [label for _, label in sentences(n)]
    random.Random(0).shuffle(labels)
    return [(text, label) for (text, _), label in zip(sentences(n), labels, strict=True)]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("plan") / "three.csv", sentences(60))


def test_a_plan_for_texts(three: Path) -> None:
    found = graft.plan(three)
    assert found.data.classes == 3 and found.data.labelled + found.data.held_out == 60
    assert found.top == found.strategies[0].name and found.distance.verdict == "near"
    accuracy = found.strategies[0].accuracy
    assert accuracy is not None and accuracy.low is not None and accuracy.low > 0.5 and accuracy.n > 0
    text = render(found, terminal=False)
    for part in ("A plan for three", "Take ", "Distance: minilm", "no GPU"):
        assert part in text, part


def test_encoders_are_ranked(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, grey in (("dark", 60), ("light", 190)):
        (tmp_path / "shades" / name).mkdir(parents=True)
        for place in range(12):
            pixels = np.clip(draw.normal(grey, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "shades" / name / f"{place}.png")
    found = graft.plan(tmp_path / "shades", encoders=("pixels:2", "pixels:8", "minilm"))
    assert [row.status for row in found.encoders] == ["ranked", "ranked", "unfit"] and found.decided_by
    assert found.encoder == found.encoders[0].reference and found.encoders[0].logme is not None
    assert next(row for row in found.strategies if row.name == "finetune").status == "impossible"
    text = render(found, terminal=False)
    assert "Decided by" in text and "no weights" in text and "minilm takes texts, not pictures" in text


def test_fit_keeps_the_plans_word_and_old_results_are_read(three: Path, tmp_path: Path) -> None:
    result = graft.fit(three, strategies="frozen", out=tmp_path / "out")
    assert isinstance(result, FitResult)
    assert (
        result.plan is not None
        and result.plan.strategies == 7
        and result.plan.top in {s.name for s in result.strategies}
    )
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert from_json(FitResult, written).plan == result.plan
    written.pop("plan")
    assert from_json(FitResult, written).plan is None
    assert "rules of graft plan put" in render(result, terminal=False)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (sentences(5), ("text", "label"), "5 labelled texts"),
        ([(text, "car") for text, _ in sentences(8)], ("text", "label"), "All labels are of one class, 'car'"),
        ([(text,) for text, _ in sentences(8)], ("text",), "There are no labels"),
        (sentences(1), ("text", "label"), "1 labelled text to learn from in 1 class, 1 label a class"),
        ([*sentences(40), ("a cat", "animal")], ("text", "label"), "1 to"),
        (
            [(text if i % 2 else "", label) for i, (text, label) in enumerate(sentences(40))],
            ("text", "label"),
            "20 items could not be used",
        ),
        (shuffled(80), ("text", "label"), "look unrelated to the items"),
        ([(text, str(i)) for i, (text, _) in enumerate(sentences(30))], ("text", "label"), "look like ids"),
        ([("the same soup", "food"), ("the same road", "car")] * 20, ("text", "label"), "copies of others"),
    ],
)
def test_little_to_go_by(rows: list[tuple[str, ...]], columns: tuple[str, ...], words: str, tmp_path: Path) -> None:
    found = graft.plan(table(tmp_path / "few.csv", rows, columns))
    assert words in render(found, terminal=False)
    assert found.strategies


def test_encoders_are_ranked_without_a_label(tmp_path: Path) -> None:
    rows = [(text,) for text, _ in sentences(8)]
    found = graft.plan(
        table(tmp_path / "bare.csv", rows, ("text",)), encoders=("layer:minilm:encoder.layer.1", "minilm", "pixels:2")
    )
    assert [row.reference for row in found.encoders] == ["minilm", "layer:minilm:encoder.layer.1", "pixels:2"]
    assert found.encoder == "minilm" and found.encoders[-1].status == "unfit"
    assert "size and pretraining alone" in found.decided_by and "Decided by" in render(found, terminal=False)


def test_words_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(
        ["plan", "--describe", "labels=500", "classes=3", "domain=metal-surfaces", "budget=small", "--json"]
    )
    told = json.loads(capsys.readouterr().out)
    assert code == 0 and told["described"]["labels"] == "500" and told["distance"]["verdict"] == "far"
    assert {row["status"] for row in told["strategies"]} == {"advised", "costly"} and told["budget"] == 60
    same = graft.plan(describe=("labels=500", "classes=3", "domain=metal-surfaces", "budget=small"))
    assert [row.name for row in same.strategies] == [row["name"] for row in told["strategies"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan"], "There is nothing to plan for"),
        (["plan", "x.csv", "--describe", "labels=5"], "not both"),
        (["plan", "--describe", "labels=5", "--label", "y", "--budget", "soon"], "--label, --budget"),
        (["plan", "x.csv", "--shots", "0", "--seed", "-1"], "--shots 0"),
        (["plan", "--describe", "labels=5", "clases=2"], "Did you mean 'classes'"),
    ],
)
def test_flags_that_cannot_be(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert said in capsys.readouterr().err


def test_encoders_that_are_not_known_or_do_not_fit(three: Path) -> None:
    with pytest.raises(UsageError, match=r"minilmm.*nothing:x"):
        graft.plan(three, encoders=("minilm", "minilmm", "nothing:x"))
    with pytest.raises(UsageError, match="takes pictures, not texts"):
        graft.plan(three, encoders=("pixels",))


def test_flags_of_several_words() -> None:
    (known,) = [p for p in cli.parameters(graft.plan) if p.name == "encoders"]
    assert known.words and known.many
    spelt: dict[str, object] = {}
    command = cli._command("plan")
    command.callback = lambda **given: spelt.update(given)
    command.main(["d.csv", "--encoders", "a", "b", "--seed", "3", "--describe", "k=v"], standalone_mode=False)
    assert (spelt["data"], spelt["encoders"], spelt["describe"], spelt["seed"]) == ("d.csv", ("a", "b"), ("k=v",), 3)
    assert len(inspect.signature(graft.plan).parameters) <= 20
