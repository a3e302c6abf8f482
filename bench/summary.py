"""Writes docs/benchmarks.md from bench/results/*.json, so that no figure is copied by hand.

python bench/summary.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Every figure is a ratio to a rival or a limit measured *in the same run*, as the machines are shared and noisy: trust ratios, not
absolutes. `make bench` runs them again; `python bench/summary.py` writes this page from `bench/results/`. Nothing here was measured on a GPU,
or on a processor that computes in half precision: none was at hand.
"""


SHORT = """\
## What fell short of its aim

- Texts were to be at least 3.5 times as fast as SentenceTransformer, photos at least 6 times as fast as a plain loop. On this processor, which computes
  no half precision, they are not: texts already run at two thirds of its f32 limit, and the rest of the way is half precision's. Photos of 1,920 pixels wait
  for the JPEG decoder besides; decoding them smaller still would cost more fidelity than the gate allows.
- Where encoding takes a minute or more, the whole was to take at most 1.25 times as long: CIFAR-10 in the table above takes more.
"""


def main() -> None:
    parts = [HEAD]
    for name, write in (("accuracy", accuracy), ("encode", encode), ("fit", fit)):
        path = RESULTS / f"{name}.json"
        if path.is_file():
            parts.append(write(json.loads(path.read_text(encoding="utf-8"))))
    PAGE.write_text("\n".join([*parts, SHORT]), encoding="utf-8")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (columns, ["---"] * len(columns), *rows)]
    return "\n".join(lines) + "\n"


def accuracy(found: Mapping[str, Any]) -> str:
    rows = []
    for row in found["rows"]:
        gap = row["gap"]
        chosen = sorted({draw["chosen"] for draw in row["draws"]})
        over = f"{len(row['draws'])} draws" if len(row["draws"]) > 1 else f"{row['draws'][0]['test']:,} test items"
        rows.append([
            row["set"], str(row["shots"] or "all"), f"{row['fit']:.3f}", f"{row['best']:.3f} ({row['best_baseline']})",
            f"{100 * gap['value']:+.1f} ({100 * gap['low']:+.1f} to {100 * gap['high']:+.1f})", over, ", ".join(chosen),
        ])  # fmt: skip
    mean = sum(row["fit"] for row in found["rows"]) / len(found["rows"])
    best = sum(row["best"] for row in found["rows"]) / len(found["rows"])
    eights = [
        [one["set"], f"{one['zero-shot']:.3f}", f"{one['learned']:.3f}", f"{one['named']:.3f}"]
        for one in found["eight_a_class"]
    ]
    means = [
        f"{sum(one[key] for one in found['eight_a_class']) / len(eights):.3f}"
        for key in ("zero-shot", "learned", "named")
    ]
    return (
        f"## Accuracy of `fit`'s choice\n\n`bench/accuracy.py`, {found['date']}, {machine(found['machine'])}. Bundled encoders, the official test "
        "part, K training items a class. Baselines are scikit-learn's logistic regression, RBF SVM and nearest neighbours (each tuned by "
        "cross-validation on the training items), prototypes (UN, L2N, CL2N) and zero-shot (short names; a sentence a class for SST-2 and AG News). "
        "The best baseline is picked *by its test score*; `fit` sees no test item. Differences are paired, with 95 % intervals over draws, or over "
        "test items where there is one draw. What `fit` expects of each strategy beforehand was rounded from these same sets; with expectations from "
        "the other four sets its mean over the rows of few labels falls by .004 ([LOG.md](LOG.md)).\n\n"
        + table(["set", "K", "fit", "best baseline", "difference, points", "over", "chosen"], rows)
        + f"\nMean of the rows: fit {mean:.3f}, best baselines {best:.3f}.\n\n"
        "At eight labels a class, the better of the two named heads beside zero-shot and the best strategy that learns without names, each as `fit` "
        "tunes it, the better and the best picked by the test score:\n\n"
        + table(["set", "zero-shot", "learned", "named"], [*eights, ["mean", *means]])
    )


def machine(facts: Mapping[str, Any]) -> str:
    return f"{facts['threads']} threads of {facts['processor']}"


def encode(found: Mapping[str, Any]) -> str:
    facts = found["machine"]
    rows = []
    for key, name in (
        ("text", "texts, mixed lengths"),
        ("photos_500", "photos, 500 px"),
        ("photos_1920", "photos, 1920 px"),
    ):
        if row := found.get(key):
            rows.append([
                f"{name} ({row['source']}, {row['items']})", row["format"], f"{row['ratio']} ({row['ratio_low']} to {row['ratio_high']})",
                str(row["ratio_processor_seconds"]), f"{row['items_per_second']}", f"{row['cosine_mean']:.6f} / {row['cosine_min']:.6f}",
            ])  # fmt: skip
    text = (
        f"## Encoding\n\n`bench/encode.py`, {facts['date']}, {machine(facts)}, number formats it computes: {', '.join(facts['formats'])}; load at the "
        f"start {facts['load_at_start']}. Texts against `SentenceTransformer.encode` with its defaults, photos against a Pillow and torch fp32 "
        "loop at batch 32.\n\n"
        + table(
            [
                "items",
                "format",
                "times as fast (range of rounds)",
                "in processor seconds",
                "items/s",
                "cosine to fp32, mean / least",
            ],
            rows,
        )
    )
    if row := found.get("text"):
        share = ", ".join(f"{100 * s:.0f} % of the {name} limit" for name, s in row["share_of_peak"].items())
        text += f"\nTexts reach {row['gflop_per_processor_second']} GFLOP a processor second, {share} measured in the same run.\n"
    if row := found.get("memory"):
        text += (
            f"\n{row['pictures']:,} small pictures are encoded in {row['peak_mib']:.0f} MiB at the peak, vectors included; by the growth between "
            f"quarters, 100,000 would take {row['peak_mib_for_100000']:.0f} MiB.\n"
        )
    return text


def fit(found: Mapping[str, Any]) -> str:
    doors = [
        [name, f"{row['median']:.3f} s ({row['low']:.3f} to {row['high']:.3f})"] for name, row in found["doors"].items()
    ]
    rows = [
        [
            row["data"], f"{row['items']:,}", row["run"], f"{row['whole']:.1f}", f"{row['encode']:.1f}", f"{row['after_encoding']:.1f}",
            f"{row['whole'] / row['encode']:.2f}" if row["run"] == "first" else "",
        ]
        for row in found["fits"]
    ]  # fmt: skip
    return (
        f"## `fit` beside its encoding\n\n`bench/fit.py`, {found['date']}, {machine(found['machine'])}, load at the start {found['load']}. Fresh "
        "processes; medians of the rounds, in seconds. The second run finds all vectors in the cache.\n\n"
        + table(["data", "items", "run", "whole", "encoding", "after the last vector", "whole / encoding"], rows)
        + "\n"
        + table(["door", "seconds (range)"], doors)
    )


if __name__ == "__main__":
    main()
