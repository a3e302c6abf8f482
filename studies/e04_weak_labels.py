"""E4: labels from a dozen rules, weighed by their agreement, then carried to the items no rule speaks of.

The rules were written from the names of the classes, before anything was measured, and not touched afterwards. A hundred labelled
items judge; everything else counts as unlabelled, and its true labels are used for the figures of this page alone. How much the belief in
rules weighs was set on these sets, though (docs/LOG.md).

Legend: N items, D dims, R rules, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
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

import graft
from graft.annotation.pool import CLEAN
from graft.annotation.weak import carry_further
from graft.data.read import read
from graft.data.splits import take_shots
from graft.encoders.open import BUNDLED
from graft.heads.normalise import Normaliser
from graft.labelling.dawid_skene import weigh
from graft.labelling.rules import Rule, apply_rules, keyword
from graft.labelling.spreading import probe

Codes = NDArray[np.int64]
JUDGES = 100
SETS = {"data:ag_news": 500, "data:sst2": 1000}  # items a class
QUICK = {"data:streamcatalogue": 20}
RULES: Mapping[str, Mapping[str, tuple[tuple[str, ...], ...]]] = {  # label -> one tuple of words a rule
    "data:ag_news": {
        "world": (
            ("president", "prime minister", "election", "parliament"),
            ("Iraq", "Israel", "Palestinian", "Afghanistan", "nuclear"),
            ("killed", "troops", "rebels", "bomb", "attack"),
        ),
        "sports": (
            ("coach", "team", "season", "league"),
            ("game", "win", "victory", "beat"),
            ("Olympic", "cup", "championship", "football", "baseball", "basketball"),
        ),
        "business": (
            ("shares", "stocks", "investors", "Wall Street"),
            ("profit", "earnings", "sales", "quarter"),
            ("oil", "prices", "dollar", "economy", "merger"),
        ),
        "sci/tech": (
            ("software", "Microsoft", "Google", "Linux", "Apple"),
            ("internet", "web", "computer", "wireless", "online"),
            ("space", "NASA", "scientists", "researchers", "study"),
        ),
    },
    "data:sst2": {
        "positive": (
            ("good", "great", "best", "excellent"),
            ("funny", "charming", "delightful", "enjoyable"),
            ("beautiful", "beautifully", "powerful", "moving", "touching"),
            ("love", "fun", "fascinating", "brilliant"),
        ),
        "negative": (
            ("bad", "worst", "awful", "terrible"),
            ("boring", "dull", "tedious", "slow"),
            ("lacks", "fails", "never", "too"),
            ("mess", "stupid", "predictable", "silly"),
        ),
    },
    "data:streamcatalogue": {
        "comedy": (("lie", "badly"),),
        "crime": (("police", "detective", "murder", "investigation"),),
        "drama": (("marriage", "funeral", "debt"),),
        "family": (("children", "grandfather", "holidays"),),
        "fantasy": (("gods", "dragon", "demon", "kingdom", "prophecy"),),
        "history": (("war", "empire", "historians", "archives"),),
        "horror": (("screaming", "dead", "cellar"),),
        "nature": (("species", "scientists", "herd", "wild"),),
        "romance": (("love", "heart", "engaged"),),
        "science fiction": (("2190", "moon", "colony", "science"),),
    },
}
WAYS = ("probe", "propagation", "self-training")


def measure(setting: Setting) -> Numbers:
    sets, seeds = (QUICK, range(2)) if setting.quick else (SETS, range(5))
    return {"seeds": list(seeds), "judges": JUDGES, "sets": {name: one_set(name, n, seeds) for name, n in sets.items()}}


def rules_for(name: str) -> dict[str, Rule]:
    """One keyword rule for every tuple of words, named by its label and words."""
    return {
        f"{label}: {', '.join(words)}": keyword(label, *words) for label, each in RULES[name].items() for words in each
    }


def one_set(name: str, a_class: int, seeds: range) -> dict[str, Any]:
    """What the rules are worth, then what each way makes of their labels, over several draws of the judges."""
    dataset = read(name)
    ours = np.arange(len(dataset)) if dataset.test_mask is None else np.flatnonzero(~dataset.test_mask)
    rows = ours[take_shots(dataset.labels[ours], a_class, 0)]
    y_N = dataset.labels[rows]
    texts = [str(dataset.contents[i]) for i in rows]
    x_ND = graft.open_encoder(BUNDLED["text"]).encode(texts)
    x_ND = Normaliser().fit(x_ND)(x_ND)
    rules = rules_for(name)
    votes = apply_rules(rules, texts, dataset.classes)
    weighed = weigh(votes.votes, len(dataset.classes))
    covered = weighed.covered
    right = weighed.probability.argmax(axis=1) == y_N
    told: list[dict[str, Any]] = []
    for r, rule in enumerate(rules):
        spoken = votes.votes[:, r] >= 0
        true = float((votes.votes[spoken, r] == y_N[spoken]).mean()) if spoken.any() else float("nan")
        told.append(
            {
                "rule": rule,
                "coverage": float(weighed.coverage[r]),
                "conflict": float(weighed.conflict[r]),
                "estimated": float(weighed.accuracy[r]),
                "true": true,
            }
        )
    count_NC = np.stack([(votes.votes == c).sum(axis=1) for c in range(len(dataset.classes))], axis=1)
    top_N1 = count_NC.max(axis=1, keepdims=True)
    majority = ((count_NC == top_N1)[np.arange(len(y_N)), y_N] / (count_NC == top_N1).sum(axis=1))[covered].mean()
    spoken_rules = [t for t in told if t["coverage"] > 0]
    trials = [one_trial(x_ND, y_N, weighed, seed) for seed in seeds]
    keys = trials[0]
    return {
        "items": len(rows),
        "classes": len(dataset.classes),
        "rules": spoken_rules,
        "mute": len(told) - len(spoken_rules),
        "coverage": float(covered.mean()),
        "accuracy": float(right[covered].mean()),
        "majority": float(majority),
        "estimate_off": float(np.mean([abs(t["estimated"] - t["true"]) for t in spoken_rules])),
        "ways": {
            key: (share_over_seeds if not key.endswith("gain") else over_seeds)([t[key] for t in trials])
            for key in keys
        },
    }


def one_trial(x_ND: NDArray[np.float32], y_N: Codes, weighed: Any, seed: int) -> dict[str, float]:
    """True accuracy on the items that are no judges, of each way; of a probe on the judges' labels alone; and whether each way was used."""
    judges = np.zeros(len(y_N), bool)
    judges[np.random.default_rng(seed).permutation(len(y_N))[: min(JUDGES, len(y_N) // 3)]] = True
    known_N = np.where(judges, y_N, -1)
    n_classes = weighed.probability.shape[1]
    spread = carry_further(x_ND, weighed, known_N, n_classes)
    by_people = probe(x_ND, known_N, n_classes, CLEAN)
    rest, bare = ~judges, ~judges & ~weighed.covered
    found = {"probe on the judges": float((by_people.argmax(axis=1) == y_N)[rest].mean())}
    for name in WAYS:
        right = spread.ways[name].argmax(axis=1) == y_N
        found[name] = float(right[rest].mean())
        found[f"{name}, where no rule speaks"] = float(right[bare].mean()) if bare.any() else found[name]
    for step, before in zip(spread.steps[1:], ("probe", "probe"), strict=True):
        found[f"{step.name} gain"] = found[step.name] - found[before]
    for step in spread.steps:
        found[f"{step.name} used"] = float(step.used)
    return found


def present(numbers: Numbers) -> Page:
    tables, lines = [], []
    names = {float(i): way for i, way in enumerate(("probe on the judges", *WAYS))}
    for name, found in numbers["sets"].items():
        short, ways = name.removeprefix("data:"), found["ways"]
        tables.append(
            Table(
                f"**{short}**, {found['items']} items of {found['classes']} classes. The rules together speak of {100 * found['coverage']:.0f} % of the "
                f"items and are right on {100 * found['accuracy']:.1f} % of those (by majority, ties by lot: {100 * found['majority']:.1f} %).",
                ("rule", "speaks of", "against others", "estimated right", "truly right"),
                [
                    (t["rule"], *(f"{100 * t[key]:.1f} %" for key in ("coverage", "conflict", "estimated", "true")))
                    for t in found["rules"]
                ],
            )
        )
        tables.append(
            Table(
                f"Carried further, {len(numbers['seeds'])} draws of the judges: true accuracy on all other items.",
                ("way", "accuracy", "where no rule speaks", "against the probe, points", "used"),
                [
                    ("probe on the judges' labels alone", percent(ways["probe on the judges"]), "", "", ""),
                    *(
                        (
                            way,
                            percent(ways[way]),
                            percent(ways[f"{way}, where no rule speaks"]),
                            points(ways[f"{way} gain"]) if f"{way} gain" in ways else "",
                            f"{100 * ways[f'{way} used']['value']:.0f} %",
                        )
                        for way in WAYS
                    ),
                ],
            )
        )
        dots = [(float(i), ways[way]["value"]) for i, way in enumerate(names.values())]
        lines.append(Line(short, dots, [ends(ways[way]) for way in names.values()]))
    every, shorts = list(numbers["sets"].values()), [name.removeprefix("data:") for name in numbers["sets"]]
    off = float(np.mean([f["estimate_off"] for f in every]))
    helped = {way: [points(f["ways"][f"{way} gain"]) for f in every] for way in ("propagation", "self-training")}
    people = [(f["ways"]["probe"]["value"], f["ways"]["probe on the judges"]["value"]) for f in every]
    return Page(
        answer=(
            "Rules are right on "
            + ", ".join(f"{100 * f['accuracy']:.0f} % ({short})" for short, f in zip(shorts, every, strict=True))
            + f" of what they speak of; their accuracy is estimated from agreement alone to within {100 * off:.0f} points on average. Over a probe on "
            f"their labels, propagation gains {', '.join(helped['propagation'])} points and self-training {', '.join(helped['self-training'])}."
        ),
        reading=(
            f"A probe on the rules' labels has {', '.join(f'{100 * a:.1f} %' for a, _ in people)} on all items, one on the {numbers['judges']} labels of "
            f"the judges {', '.join(f'{100 * b:.1f} %' for _, b in people)}: whether rules pay depends on what a hundred labels cost. The check on "
            "the judges used propagation in "
            + ", ".join(f"{100 * f['ways']['propagation used']['value']:.0f} %" for f in every)
            + " of the draws and self-training in "
            + ", ".join(f"{100 * f['ways']['self-training used']['value']:.0f} %" for f in every)
            + ": with so few judges it sees only gains of several points, and what it does not see it leaves out. Intervals are over draws of "
            "the judges; the items are the same in each."
        ),
        tables=tables,
        figures={
            "ways.svg": line_chart(
                "Labels from rules, carried further", Axis("way", names), Axis("accuracy", percent=True), lines
            )
        },
    )


STUDY = Study(
    name="e04_weak_labels",
    title="E4: weak labels",
    question="How good are labels from rules, how well is that known without labels, and does carrying them further help?",
    measure=measure,
    present=present,
    expected={
        "sets > data:ag_news > accuracy": about(0.855, 0.02),
        "sets > data:sst2 > accuracy": about(0.78, 0.02),
        "sets > data:ag_news > ways > self-training gain > value": about(0.015, 0.015),
        "sets > data:sst2 > ways > propagation gain > value": about(-0.10, 0.05),
    },
    expected_quick={
        "sets > data:streamcatalogue > accuracy": about(0.79, 0.1),
    },
)

if __name__ == "__main__":
    main(STUDY)
