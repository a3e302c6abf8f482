"""S5: adversarial validation. Can a classifier tell the test part from the training part, how sure is that, and which items give it away?

`graft diagnose shift` on the parts of a published set, and its verdict (three tests, one rule) on made cases whose truth is known: random halves of
one set, and halves of which one holds a share of strangers. Legend: N items of a trial.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, ends, main, percent

import graft
from graft.data.dataset import Dataset
from graft.data.read import read
from graft.diagnostics.shift import compare
from graft.diagnostics.sides import Pair, side_by_side
from graft.metrics.intervals import wilson
from graft.reports.shift import ShiftResult
from graft.results import to_json

VERDICTS = ("same", "cannot tell", "shifted")
FULL: dict[str, Any] = {
    "home": "data:ag_news", "strange": "data:banking77", "pool": 1000, "strangers": 200, "half": 300, "splits": 100, "trials": 15,
    "shares": [0.02, 0.05, 0.1, 0.2], "parts": "data:banking77", "sample": 1500,
}  # fmt: skip
QUICK: dict[str, Any] = {
    "home": "data:streamcatalogue", "strange": "", "pool": 120, "strangers": 40, "half": 30, "splits": 4, "trials": 2,
    "shares": [0.5], "parts": "", "sample": 0,
}  # fmt: skip


def measure(setting: Setting) -> Numbers:
    how = QUICK if setting.quick else FULL
    home, strange = sets(how)
    pair = side_by_side(home, strange, encoder=None, sample=10_000, seed=0)
    splits = [trial(pair, how["half"], 0.0, seed) for seed in range(how["splits"])]
    planted = {}
    for share in how["shares"]:
        trials = [trial(pair, how["half"], share, seed) for seed in range(how["trials"])]
        planted[f"{share:g}"] = {
            **told([result for result, _ in trials]),
            "auc": float(np.mean([result.senses[0].auc.value for result, _ in trials])),
            "strangers_shown": float(np.mean([found for _, found in trials])),
        }
    return {
        "how": how,
        "halves": told([result for result, _ in splits]),
        "planted": planted,
        "parts": parts(how) if how["parts"] else None,
    }


def sets(how: dict[str, Any]) -> tuple[Dataset, Dataset]:
    """Items of one set, and strangers to it: of another set, or of another label."""
    draw = np.random.default_rng(0)
    whole = read(how["home"])
    if how["strange"]:
        other = read(how["strange"])
        strangers = other.take(np.sort(draw.choice(len(other), how["strangers"], replace=False)))
        own = np.sort(draw.choice(len(whole), how["pool"], replace=False))
        return whole.take(own), strangers
    common = int(np.bincount(whole.labels[whole.labels >= 0]).argmax())
    own, others = np.flatnonzero(whole.labels != common), np.flatnonzero(whole.labels == common)
    return whole.take(own[: how["pool"]]), whole.take(others[: how["strangers"]])


def trial(pair: Pair, half: int, share: float, seed: int) -> tuple[ShiftResult, float]:
    """The verdict on two halves, drawn by the seed from the first set, the second with a share of strangers; and of the items shown of the second
    half, the share that are strangers.
    """
    draw = np.random.default_rng([seed, 17])
    own = draw.permutation(np.flatnonzero(~pair.second_N))[: 2 * half]
    strangers = draw.permutation(np.flatnonzero(pair.second_N))[: round(share * half)]
    second = np.concatenate([strangers, own[half : 2 * half - len(strangers)]])
    rows = np.concatenate([own[:half], second])
    made = replace(
        pair,
        contents=tuple(pair.contents[i] for i in rows),
        ids=tuple(f"{'s' if pair.second_N[i] else 'o'}{i}" for i in rows),
        second_N=np.arange(len(rows)) >= half,
        cluster_N=pair.cluster_N[rows],
        x_ND=pair.x_ND[rows],
        raw_ND=pair.raw_ND[rows],
        label_N=np.full(len(rows), -1),
    )
    result, _ = compare(made, seed=seed, name="halves")
    shown = [item for item, _ in result.telling[1]]
    return result, sum(item.startswith("s") for item in shown) / max(1, len(shown))


def told(results: Sequence[ShiftResult]) -> dict[str, Any]:
    """How often each verdict was given."""
    words = [result.verdict for result in results]
    return {word: to_json(wilson(words.count(word), len(words))) for word in VERDICTS}


def parts(how: dict[str, Any]) -> dict[str, Any]:
    """The official parts of a set, by the verb."""
    with tempfile.TemporaryDirectory() as folder:
        found = graft.diagnose_shift(how["parts"], sample=how["sample"], out=Path(folder) / "out")
    return {
        "verdict": found.verdict,
        "p": found.p,
        "kernel_p": found.kernel.p if found.kernel else None,
        "senses": [to_json(sense) for sense in found.senses],
        "words": [to_json(word) for word in found.words],
    }


def present(numbers: Numbers) -> Page:
    how, halves, planted, official = numbers["how"], numbers["halves"], numbers["planted"], numbers["parts"]
    rows = [("0", *(percent(halves[word], 0) for word in VERDICTS), "", "")]
    rows += [
        (
            f"{100 * float(share):g} %",
            *(percent(row[word], 0) for word in VERDICTS),
            f"{row['auc']:.3f}",
            f"{100 * row['strangers_shown']:.0f} %",
        )
        for share, row in planted.items()
    ]
    shares = {0.0: halves, **{float(share): row for share, row in planted.items()}}
    figure = line_chart(
        f"Halves of {how['half']} items called shifted",
        Axis("share of strangers in one half", {share: f"{100 * share:g} %" for share in shares}),
        Axis("share of trials", percent=True),
        [
            Line(
                "shifted",
                [(s, row["shifted"]["value"]) for s, row in shares.items()],
                [ends(row["shifted"]) for row in shares.values()],
            )
        ],
    )
    tables = [
        Table(
            f"Verdicts on two halves of {how['half']} items of {how['home']}, {how['splits']} draws without and {how['trials']} with strangers.",
            ("strangers", *VERDICTS, "AUC by vectors", "strangers among the items shown"),
            rows,
        )
    ]
    answer = f"Random halves of one set are called shifted in {percent(halves['shifted'])} of {how['splits']} draws"
    last = list(planted.items())
    seen = next((share for share, row in last if row["shifted"]["value"] >= 0.9), None)
    answer += (
        f"; strangers are seen in nine trials of ten from {100 * float(seen):g} % on."
        if seen
        else "; no share tried is always seen."
    )
    reading = (
        "The rule keeps its promise on halves of one set: three tests are paid for, and each p comes from classifiers fitted anew to random "
        "labellings. With a share q of strangers no classifier has an AUC above (1 + q) / 2, so that few strangers are hard to prove whatever the "
        "method; they crowd among the items shown before they are proven."
    )
    if official:
        tables.append(
            Table(
                f"The parts of {how['parts']}, at most {how['sample']:,} items each: {official['verdict']}, p = {official['p']:.3f}; "
                f"kernel distance alone p = {official['kernel_p']:.3f}.",
                ("told apart by", "AUC", "p", "MCC", "accuracy", "naming the larger"),
                [
                    (
                        s["name"],
                        f"{s['auc']['value']:.3f} ({s['auc']['low']:.3f}–{s['auc']['high']:.3f})",
                        f"{s['p']:.3f}",
                        f"{s['mcc']:.3f}",
                        f"{100 * s['accuracy']:.1f} %",
                        f"{100 * s['majority']:.1f} %",
                    )
                    for s in official["senses"]
                ],
            )
        )
        best = official["senses"][0]
        answer += (
            f" The published parts of Banking77 are {official['verdict']}: told apart in {100 * best['auc']['value']:.1f} % of pairs by their "
            "vectors."
        )
        reading += (
            " Banking77's training part has unequal classes and its test part forty questions of each; that its parts differ a little is most "
            "likely this."
        )
    return Page(answer=answer, reading=reading, tables=tables, figures={"power.svg": figure})


STUDY = Study(
    name="s05_adversarial_validation",
    title="S5: adversarial validation",
    question="Can a classifier tell a test part from its training part, how sure is the verdict, and which items give it away?",
    measure=measure,
    present=present,
    expected={
        "halves > shifted > value": (0.0, 0.05),
        "planted > 0.2 > shifted > value": (0.9, 1.0),
        "planted > 0.2 > strangers_shown": (0.75, 1.0),
    },
    expected_quick={"halves > shifted > value": (0.0, 0.5), "planted > 0.5 > shifted > value": (0.5, 1.0)},
)

if __name__ == "__main__":
    main(STUDY)
