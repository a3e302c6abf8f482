"""T11: features as they are, the last blocks trained, or all weights, at a few pictures a class; and the most confident answers of every class.

`graft.strategies.tuning.tune` trains the rungs from the fitted probe. CIFAR-10 pictures are named by id; those of the digits, which come with
Graft, are shown. Legend: N items, C classes.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.drawn import Pictures, accuracy, chosen_probe, draw, small_network, train
from studies.study import (
    Numbers,
    Page,
    Setting,
    Study,
    Table,
    about,
    ends,
    main,
    over_seeds,
    percent,
    points,
    share_over_seeds,
)

from graft.heads.base import softmax

BUNDLED = "efficientnet-lite0"
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "last blocks": ("last-blocks", {"epochs": 5, "last": 2}),
    "all weights": ("finetune", {"epochs": 3}),
}
PROBE = "linear probe"
MOST = 5  # answers shown of a class, right and wrong
CELL = 34  # pixels of a picture in the figure
SIDE = 12  # numbers along it that are kept: it is a page, not an archive


def measure(setting: Setting) -> Numbers:
    with tempfile.TemporaryDirectory() as folder:
        source = draw("data:digits", 30, 10, 0, range(5))
        network, _ = small_network(source, "epochs=4,channels=8", 0, Path(folder) / "network")
        sets = {"data:digits": one_set("data:digits", network, (10, 30), [0])}
    if not setting.quick:
        sets["data:cifar10"] = one_set("data:cifar10", BUNDLED, (5, 15), [0, 1, 2])
    return {"sets": sets}


def one_set(data: str, reference: str, sizes: tuple[int, int], seeds: Sequence[int]) -> dict[str, Any]:
    """Accuracy of each way over the seeds, and what the first seed's models are most confident of."""
    scores: dict[str, list[float]] = {}
    shown: dict[str, Any] = {}
    trained: dict[str, int] = {}
    test = draw(data, *sizes, seeds[0])[1]
    tested = test.items(reference)
    for seed in seeds:
        pool, _ = draw(data, *sizes, seed)
        items = pool.items(reference)
        probe = chosen_probe(items.x_ND, pool.y_N, len(pool.classes), seed)
        answers: dict[str, NDArray[np.float64]] = {}
        for name, (strategy, given) in WAYS.items():
            own = {**given, "range_test": False}
            outcome = train(strategy, own, items, pool.y_N, len(pool.classes), seed, probe=probe)
            if PROBE not in answers:  # what both start from
                answers[PROBE] = outcome.plain_head(0.0).logits(tested.x_ND)
                trained[PROBE] = sum(p.numel() for p in outcome.course.head.parameters())
            answers[name], trained[name] = outcome.head(1.0).logits(tested), outcome.record.trained
        for way, logits in answers.items():
            scores.setdefault(way, []).append(accuracy(logits, test.y_N))
            if seed == seeds[0]:
                shown[way] = confident(logits, test)
    gains = {way: [a - b for a, b in zip(values, scores[PROBE], strict=True)] for way, values in scores.items()}
    pictures: dict[str, str] = {}
    if data == "data:digits":
        pictures = shown_pictures(test, shown["all weights"])
    return {
        "encoder": "a small network that learned the digits 0 to 4" if data == "data:digits" else reference,
        "shots": sizes[0],
        "tested": len(test.y_N),
        "seeds": list(seeds),
        "classes": list(test.classes),
        "ways": {
            way: {
                "accuracy": share_over_seeds(values),
                "over_probe": over_seeds(gains[way]),
                "trained": trained[way],
                "by_seed": values,
            }
            for way, values in scores.items()
        },
        "confident": shown,
        "pictures": pictures,
    }


def confident(logits_NC: NDArray[np.float64], test: Pictures) -> dict[str, dict[str, list[list[Any]]]]:
    """The answers to items of each class with the largest probabilities: `right` and `wrong`, as [id, answer, probability]."""
    p_NC = softmax(logits_NC)
    answer_N, sure_N = p_NC.argmax(axis=1), p_NC.max(axis=1)
    found: dict[str, dict[str, list[list[Any]]]] = {}
    for code, name in enumerate(test.classes):
        for part, mask in (("right", answer_N == code), ("wrong", answer_N != code)):
            chosen = np.flatnonzero((test.y_N == code) & mask)
            chosen = chosen[np.argsort(-sure_N[chosen], kind="stable")][:MOST]
            rows = [[test.ids[i], test.classes[answer_N[i]], round(float(sure_N[i]), 3)] for i in chosen]
            found.setdefault(name, {})[part] = rows
    return found


def shown_pictures(test: Pictures, rows: Mapping[str, Any]) -> dict[str, str]:
    """The pictures of these answers, by id."""
    named = {item for each in rows.values() for part in each.values() for item, *_ in part}
    return {item: picture(test, item) for item in sorted(named)}


def picture(test: Pictures, item: str) -> str:
    """An item as a small grey PNG in a data URI."""
    from PIL import Image

    content = test.contents[test.ids.index(item)]
    assert not isinstance(content, str)
    drawn = io.BytesIO()
    with Image.open(io.BytesIO(content.read_bytes())) as image:
        image.convert("L").resize((SIDE, SIDE)).save(drawn, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()


def present(numbers: Numbers) -> Page:
    sets = numbers["sets"]
    tables, lines = [], []
    for data, found in sets.items():
        ways = found["ways"]
        tables.append(
            Table(
                f"{data} by {found['encoder']}: {found['shots']} pictures a class to learn from, {found['tested']} to test, {len(found['seeds'])} seeds.",
                ("way", "numbers trained", "test accuracy", "over the probe (points, paired)"),
                [
                    (way, f"{row['trained']:,}", percent(row["accuracy"]), points(row["over_probe"]))
                    for way, row in ways.items()
                ],
            )
        )
        values = [row["accuracy"] for row in ways.values()]
        scored = [(float(i), each["value"]) for i, each in enumerate(values)]
        lines.append(Line(data.removeprefix("data:"), scored, [ends(each) for each in values]))
    data, found = list(sets.items())[-1]
    if data != "data:digits":
        tables += [named(way, rows) for way, rows in found["confident"].items() if way in (PROBE, "all weights")]
    digits = sets["data:digits"]
    ticks = {float(i): way for i, way in enumerate(found["ways"])}
    figures = {
        "accuracy_by_way.svg": line_chart(
            "Features or fine-tuning", Axis("what is trained", ticks), Axis("test accuracy", percent=True), lines
        ),
        "most_confident_digits.svg": sheet(digits["confident"]["all weights"], digits["pictures"]),
    }
    ways = found["ways"]
    told = ", ".join(f"{way} {percent(row['accuracy'])}" for way, row in ways.items())
    gains = " and ".join(f"{points(ways[way]['over_probe'])} ({way})" for way in WAYS)
    wrong = {
        way: np.mean([row[2] for each in rows.values() for row in each["wrong"]])
        for way, rows in found["confident"].items()
        if any(each["wrong"] for each in rows.values())
    }
    return Page(
        answer=f"{data}, {found['shots']} pictures a class: {told}.",
        reading=(
            f"Over the probe, in points: {gains}. Both rungs start from the fitted probe, so what is told is what a few steps on few pictures add "
            "or take away. The most confident wrong answers have a mean probability of "
            + ", ".join(f"{value:.2f} ({way})" for way, value in wrong.items())
            + ", before calibration. The test pictures are the first of each class by name, so of few kinds "
            "(all cats of CIFAR-10 are alley cats here). Sizes are small for a two-core machine: fine-tuning all weights on hundreds of pictures takes minutes."
        ),
        tables=tables,
        figures=figures,
    )


def named(way: str, rows: Mapping[str, Any]) -> Table:
    """The most confident answers of every class, by the pictures' ids."""

    def short(item: str) -> str:
        return item.rpartition("/")[2].removesuffix(".png")

    return Table(
        f"Most confident, {way}: the first seed's right and wrong answers to pictures of every class, with their probabilities.",
        ("class", "right", "wrong, and what was said"),
        [
            (
                name,
                ", ".join(f"{short(item)} {p:.2f}" for item, _, p in each["right"]),
                ", ".join(f"{short(item)} {said} {p:.2f}" for item, said, p in each["wrong"]) or "none",
            )
            for name, each in rows.items()
        ],
    )


def sheet(rows: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    """A row a class: its most confident right answers to the left, wrong ones to the right with what was said below."""
    width, height = 60 + (2 * MOST) * (CELL + 10) + 40, 46 + len(rows) * (CELL + 18)
    parts = [_text(60, 20, "right"), _text(60 + MOST * (CELL + 10) + 40, 20, "wrong: said")]
    for line, (name, each) in enumerate(rows.items()):
        top = 32 + line * (CELL + 18)
        parts.append(_text(8, top + CELL / 2 + 4, name))
        for part, left in (("right", 60), ("wrong", 60 + MOST * (CELL + 10) + 40)):
            for place, (item, said, p) in enumerate(each[part]):
                x = left + place * (CELL + 10)
                parts.append(f'<image x="{x}" y="{top}" width="{CELL}" height="{CELL}" href="{pictures[item]}"/>')
                words = f"{p:.2f}" if part == "right" else f"{said}: {p:.2f}"
                parts.append(_text(x, top + CELL + 11, words, 9))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'font-family="system-ui, sans-serif"><title>Most confident answers of every class</title>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, words: str, size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="#222222">{escape(words)}</text>'


STUDY = Study(
    name="t11_features_or_finetuning",
    title="T11: features or fine-tuning",
    question="At a few pictures a class, does training the last blocks or all weights beat a probe on frozen features, and what are they sure of?",
    measure=measure,
    present=present,
    expected={
        "sets > data:digits > ways > linear probe > accuracy > value": about(0.85, 0.12),
        "sets > data:cifar10 > ways > linear probe > accuracy > value": about(0.751, 0.05),
        "sets > data:cifar10 > ways > last blocks > over_probe > value": about(0.002, 0.04),
        "sets > data:cifar10 > ways > all weights > over_probe > value": about(0.02, 0.05),
    },
    expected_quick={
        "sets > data:digits > ways > linear probe > accuracy > value": about(0.85, 0.12),
        "sets > data:digits > ways > all weights > accuracy > value": about(0.83, 0.14),
    },
)

if __name__ == "__main__":
    main(STUDY)
