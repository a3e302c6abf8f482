"""What `bench/curve.py` found, in words and tables for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.parts import table


def curve(found: Mapping[str, Any]) -> str:
    told, alone = found["judged"]["experience"], found["judged"]["likelihood"]
    few = [name for name in told if found["counts"][name]["labels"] == 100]
    many = [name for name in told if name not in few]
    rows = []
    for name in (*many, *few):
        one = told[name]["at"]
        cells = [cell for times in ("2", "10") for cell in cells_of(one[times])]
        rows.append([name, f"{found['counts'][name]['labels']:,}", f"{1 - told[name]['now']:.3f}", *cells])
    for title, chosen in (("all, a tenth", many), ("all, 100 labels", few)):
        for kind, judged in (("", told), (", likelihood alone", alone)):
            both = [pooled([judged[name]["at"][times] for name in chosen]) for times in ("2", "10")]
            rows.append([f"**{title}{kind}**", "", "", *(cell for one in both for cell in cells_of(one))])
    quick = [name for name in told if found["counts"][name]["quick"]]
    heads = ["truth", "off by", "width, covers", "gain's width, covers"]
    asked = [
        row
        for chosen, of in ((many, "a tenth"), (few, "100 labels"))
        for row in questions([told[name] for name in chosen], of)
    ]
    return (
        f"## How many labels\n\n`bench/curve.py`, {found['date']}. A linear probe. Ten disjoint parts of a set are the labels of ten forecasts; "
        "the truth is the mean over draws of a probe tuned anew and learned from as many labels, judged on others. What is known of other sets' "
        "curves is learned with the set that is judged left out. Official parts are mixed, so that the items to come are like those there are. "
        "Half the forecasts, a quarter of the draws and a truth at the settings of most forecasts, to save "
        f"time: {', '.join(quick) or 'none'}. Accuracy and gain at twice and at ten times the labels, with intervals of 95 %:\n\n"
        + table(
            ["case", "labels", "now", *(f"{times}: {head}" for times in ("twice", "ten times") for head in heads)], rows
        )
        + "\nThe rows of the likelihood alone set experience aside: the same code with a prior so wide that the counts say all but everything.\n\n"
        "How many labels reach the accuracy that the truth has with so many times the labels, with intervals of 90 %: both ends told; the lower "
        "one only, as the upper lies beyond ten times the labels; or reached already by the estimate, though it may take up to a number. Then "
        "refusals: `open`, the interval goes from the labels there are to beyond ten times as many; `far`, the estimate lies beyond; `flat`. "
        "In brackets, how many hold the truth.\n\n"
        + table(
            [
                "labels of the truth",
                "asked",
                "both ends",
                "lower end",
                "reached",
                "answered",
                "hold",
                "open",
                "far",
                "flat",
            ],
            asked,
        )
        + "\nA few hundred items tell the error now to within a tenth or so of itself, and twice the labels mend about as much: that, more than the "
        "law, is why few questions for an accuracy have an answer with both ends, and why the gain, in which the luck of the items drops out, "
        "is told more precisely than the accuracy.\n"
    )


def cells_of(one: Mapping[str, Any]) -> list[str]:
    gain = one["gain"]
    return [
        f"{1 - one['truth']:.3f}" if "truth" in one else "",
        f"{one['off']:.3f}",
        f"{one['width']:.3f}, {one['covered']} of {one['of']}",
        f"{gain['width']:.3f}, {gain['covered']} of {gain['of']}",
    ]


def pooled(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over cases, and counts in all."""
    found: dict[str, Any] = {key: sum(p[key] for p in parts) / max(1, len(parts)) for key in ("off", "width")}
    found |= {key: sum(p[key] for p in parts) for key in ("covered", "of")}
    return found | ({"gain": pooled([p["gain"] for p in parts])} if "gain" in parts[0] else {})


def questions(cases: Sequence[Mapping[str, Any]], of: str) -> list[list[str]]:
    """A row for each multiple of the labels, near ones first."""
    rows = []
    for times in ("1.25", "1.5", "2", "3", "5", "10"):
        asked = [case["questions"][times] for case in cases if times in case["questions"]]
        n = {key: sum(one[key] for one in asked) for key in (asked[0] if asked else ())}
        if not n:
            continue
        answers, hold = n["both"] + n["least"] + n["reached"], n["both_hold"] + n["least_hold"] + n["reached_hold"]
        rows.append([
            f"{times} × {of}", f"{n['asked']}", f"{n['both']} ({n['both_hold']})", f"{n['least']} ({n['least_hold']})",
            f"{n['reached']} ({n['reached_hold']})", f"{100 * answers / n['asked']:.0f} %", f"{100 * hold / max(1, answers):.0f} %",
            f"{n['open']}", f"{n['far']}", f"{n['flat']}",
        ])  # fmt: skip
    return rows
