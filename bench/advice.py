"""The sections of docs/benchmarks.md on `plan`: how well it foretold, and how long it takes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.parts import machine, table

from graft.strategies.frozen import STRATEGIES


def plan(found: Mapping[str, Any]) -> str:
    """The tally of how well `plan` foretold."""
    rows = []
    for row in found["rows"]:
        draws = [draw for draw in row["draws"] if draw["top"]]
        if not draws:
            continue
        held = [ok for draw in draws for name, ok in draw["held"].items() if name in STRATEGIES]
        trained = [ok for draw in draws for name, ok in draw["held"].items() if name not in STRATEGIES]
        mean = {
            key: statistics.mean(draw[key] for draw in draws) for key in ("expected", "low", "high", "measured", "best")
        }
        order = [draw["rank_correlation"] for draw in draws if draw["rank_correlation"] is not None]
        rows.append(
            [
                f"{row['set']}, {row['shots'] or 'all'}",
                ", ".join(sorted({draw["top"] for draw in draws})),
                f"{mean['expected']:.3f} ({mean['low']:.3f} to {mean['high']:.3f})",
                f"{mean['measured']:.3f}",
                f"{sum(draw['low'] <= draw['measured'] <= draw['high'] for draw in draws)} of {len(draws)}",
                f"{sum(held)} of {len(held)}",
                f"{sum(trained)} of {len(trained)}" if trained else "",
                f"{100 * statistics.mean(draw['width'] for draw in draws):.0f}",
                f"{statistics.mean(order):.2f}" if order else "",
                f"{100 * (mean['best'] - mean['measured']):.1f}",
            ]
        )
    draws = [draw for row in found["rows"] for draw in row["draws"] if draw["top"]]
    every = [ok for draw in draws for name, ok in draw["held"].items() if name in STRATEGIES]
    tops = [draw["low"] <= draw["measured"] <= draw["high"] for draw in draws]
    wide = 100 * statistics.mean(draw["width"] for draw in draws)
    orders = [draw["rank_correlation"] for draw in draws if draw["rank_correlation"] is not None]
    columns = ["set, labels a class", "first", "expected (range)", "measured", "range of the first held"]
    columns += [
        "of all frozen",
        "of trained",
        "width of the frozen's, points",
        "rank correlation",
        "behind the best, points",
    ]
    return (
        f"## What `plan` foretold\n\n`bench/plan.py`, {found['machine']['date']}, {machine(found['machine'])}. "
        "Before anything is trained the rules of `graft plan` say what each strategy will get right on the official test part, from the training draw "
        "alone; measured are the recorded accuracies of the same draws above. A range is meant to hold nine times of ten. What is known of strategies "
        "beforehand, and the prior, the curve and the spreads of the rules, come from these same sets, which flatters: on sets that no rule was made from "
        "see the [study of advice](../studies/results/t01_strategy_advice/README.md).\n\n"
        + table(columns, rows)
        + f"\nAll: ranges of the first held in {sum(tops)} of {len(tops)} draws, of all frozen strategies in {sum(every)} of {len(every)} "
        f"({100 * sum(every) / len(every):.0f} %), {wide:.0f} points wide on average; mean rank correlation {statistics.mean(orders):.2f}; the first is "
        f"{100 * statistics.mean(draw['best'] - draw['measured'] for draw in draws):.1f} points behind the best of the frozen ones by test score.\n"
    )


def plan_speed(found: Mapping[str, Any]) -> str:
    """Seconds beyond encoding, and LogME beside the reference package."""
    facts = found["machine"]

    def median(runs: Sequence[Mapping[str, float]], key: str) -> str:
        values = [run[key] for run in runs]
        return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"

    plans = [
        [
            row["set"],
            f"{row['runs'][0]['labelled']:,}",
            *(median(row["runs"], key) for key in ("processor", "wall", "after_encoding")),
        ]
        for row in found["plans"]
    ]
    beside = [
        [
            f"{row['set']}, {row['items']:,} x {row['dims']}",
            str(row["classes"]),
            f"{row['ours']:.6f}",
            f"{row['theirs']:.6f}",
            f"{abs(row['ours'] - row['theirs']):.0e}",
            f"{row['their_seconds'] / row['our_seconds']:.1f}",
        ]
        for row in found["logme"]
    ]
    return (
        f"## How long `plan` takes, and LogME\n\n`bench/plan_speed.py`, {facts['date']}, {machine(facts)}, load at the start {facts['load']}. Whole plans "
        "in fresh processes with all vectors in the cache: start, imports, reading, duplicates, probe, rules, and the few items that are encoded anew to "
        "time it; median of the rounds with their range. The machine was shared, so the processor's seconds are the ones to compare; the limit is "
        "60 seconds beyond encoding.\n\n"
        + table(["set", "labelled items", "processor seconds", "wall", "wall after encoding"], plans)
        + "\nLogME beside `transformer-ranker` 0.2.0 (singular value decomposition in torch) on the same vectors, one thread, processor seconds, least of nine "
        "rounds:\n\n" + table(["vectors", "classes", "ours", "reference", "differ by", "times as fast"], beside)
    )
