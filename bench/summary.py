"""Writes docs/benchmarks.md from bench/results/*.json, so that no figure is copied by hand.

python -m bench.summary
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.advice import plan, plan_speed
from bench.curves import curve
from bench.parts import ends, machine, table
from bench.recommenders import recommend, recommend_quality

from graft.metrics.intervals import mean_interval
from graft.results import Interval

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Every figure is a ratio to a rival or a limit measured *in the same run*, as the machines are shared and noisy: trust ratios, not
absolutes. `make bench` runs them again; `python -m bench.summary` writes this page from `bench/results/`. Nothing here was measured on a GPU,
or on a processor that computes in half precision: none was at hand.
"""


SHORT = """\
## What fell short of its aim

- The server was to answer 10,000 vector queries a second, one a request, on two cores with the load generator beside it. These two share one
  core: a bare server that answers a constant takes a third to a half of the time, and the search of 200,000 vectors most of the rest.
- Queries learned from 50 pictures a label were to reach .98 accuracy@5 on Tiny-ImageNet; they reach .97.

- Texts were to be at least 3.5 times as fast as SentenceTransformer, photos at least 6 times as fast as a plain loop. On this processor, which computes
  no half precision, they are not: texts already run at two thirds of its f32 limit, and the rest of the way is half precision's. Photos of 1,920 pixels wait
  for the JPEG decoder besides; decoding them smaller still would cost more fidelity than the gate allows.
- Where encoding takes a minute or more, the whole was to take at most 1.25 times as long: CIFAR-10 in the table above takes more.
"""


def main() -> None:
    parts = [HEAD]
    for name, write in (
        ("accuracy", accuracy),
        ("encode", encode),
        ("fit", fit),
        ("train", train),
        ("few_labels", few_labels),
        ("plan", plan),
        ("plan_speed", plan_speed),
        ("curve", curve),
        ("labels", labels),
        ("labelling", labelling),
        ("retrieval", retrieval),
        ("bridges", bridges),
        ("search", search),
        ("recommend", recommend),
        ("serve", serve),
        ("recommend_quality", recommend_quality),
        ("shift", shift),
    ):
        path = RESULTS / f"{name}.json"
        if path.is_file():
            parts.append(write(json.loads(path.read_text(encoding="utf-8"))))
    PAGE.write_text("\n".join([*parts, SHORT]), encoding="utf-8")


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


def train(found: Mapping[str, Any]) -> str:
    """Training's speed and memory by rung."""
    rows = [
        (
            row["set"],
            row["rung"],
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
            f"{row['ours_seconds']:.2f}",
            f"{row['plain_seconds']:.2f}",
            f"{row['ours_mib']:,.0f} / {row['plain_mib']:,.0f}",
        )
        for row in found["rows"]
    ]
    columns = (
        "items",
        "rung",
        "ours / plain, an epoch",
        "ours, processor s",
        "plain, processor s",
        "peak MiB, ours / plain",
    )
    first = found["rows"][0]
    return "\n".join(
        [
            "## Training beside plain torch",
            "",
            "`bench/train.py`: the steps of one epoch beside a loop as people write it (same body, batch size and items; AdamW as torch sets it up), "
            f"in turn, median of {first['rounds']} rounds with its range; below 1 ours is faster. "
            "Ours reuses the frozen layers' output in head-only and last-blocks, once computed. "
            + machine(found["machine"]),
            "",
            table(columns, rows),
        ]
    )


RUNGS = {"contrastive": "contrastive", "last-blocks": "last blocks", "finetune": "all weights", "setfit": "SetFit 1.2"}


def few_labels(found: Mapping[str, Any]) -> str:
    """Rungs that train, and SetFit, beside the best frozen strategy."""
    kinds: dict[tuple[str, int], dict[str, dict[int, Mapping[str, Any]]]] = {}
    for row in found["rows"]:
        kinds.setdefault((row["set"], row["shots"]), {}).setdefault(row["whose"], {})[row["seed"]] = row
    rows, against = [], []
    for (name, shots), by in kinds.items():
        title = f"{name}, {f'{shots} a class' if shots else 'all'}"
        for whose, words in RUNGS.items():
            if whose in by:
                rows.append([title, words, _runs(by["frozen"]), _runs(by[whose]), _gap(by[whose], by["frozen"])])
        if "setfit" in by and "contrastive" in by:
            both = sorted(by["contrastive"].keys() & by["setfit"].keys())
            times = statistics.median(
                by["setfit"][s]["cpu_seconds"] / by["contrastive"][s]["cpu_seconds"] for s in both
            )
            how = ", ".join(by["setfit"][s]["how"] for s in both)
            against.append([title, _gap(by["contrastive"], by["setfit"]), str(len(both)), f"{times:.1f}", how])
    return "\n".join(
        [
            "## Few labels: rungs that train",
            "",
            "`bench/few_labels.py`: accuracy on the whole official test part, mean over draws with Student's interval, and seconds of the processor on one "
            "thread from items and their frozen vectors to a fitted model; the same bodies (MiniLM, EfficientNet-Lite0), draws and test parts. "
            "A rung's time holds the frozen strategies' measuring. " + machine(found["machine"]) + ".",
            "",
            table(("set", "trained", "best frozen", "accuracy", "over frozen, paired"), rows),
            "The contrastive rung beside SetFit on the same draws:",
            "",
            table(("set", "rung − SetFit, paired", "draws", "SetFit's time / ours", "SetFit's steps"), against),
        ]
    )


def _runs(runs: Mapping[int, Mapping[str, Any]]) -> str:
    mean = mean_interval([run["accuracy"] for run in runs.values()])
    seconds = statistics.median(run["cpu_seconds"] for run in runs.values())
    if mean.low is not None and mean.high is not None:  # of a share: Student's interval knows no bounds
        mean = replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))
    return f"{mean.value:.3f}{_between(mean)}, {seconds:.0f} s, n = {len(runs)}"


def _gap(ours: Mapping[int, Mapping[str, Any]], others: Mapping[int, Mapping[str, Any]]) -> str:
    both = sorted(ours.keys() & others.keys())
    gap = mean_interval([ours[seed]["accuracy"] - others[seed]["accuracy"] for seed in both])
    return f"{gap.value:+.3f}{_between(gap)}"


def _between(interval: Interval) -> str:
    return "" if interval.low is None or interval.high is None else f" ({interval.low:.3f} to {interval.high:.3f})"


def shift(found: Mapping[str, Any]) -> str:
    """Two sets compared, and what a fit pays for it."""

    def median(row: Mapping[str, Any]) -> list[str]:
        seconds = [row["seconds"], row["processor_seconds"]]
        return [f"{statistics.median(s):.2f} ({min(s):.2f} to {max(s):.2f})" for s in seconds]

    rows = [
        [what, str(row["dims"]), *median(part)]
        for row in found["rows"]
        for what, part in (
            (f"{row['items']:,} against {row['items']:,} vectors, everything", row),
            ("what a fit of 2,000 items adds", row["fit"]),
        )
    ]
    return (
        f"## Two sets compared\n\n`bench/shift.py`, {found['date']}, {machine(found['machine'])}. Everything after encoding: classifiers on "
        "the vectors and on counts of 1,000 words with 199 labellings each, kernel distance, class shares of ten classes. Median of "
        f"{found['rounds']} rounds with their range; the machine was shared, so the processor's seconds are the ones to compare.\n\n"
        + table(["what", "numbers a vector", "seconds", "processor seconds"], rows)
    )


def retrieval(found: Mapping[str, Any]) -> str:
    judged = found["scifact"]
    rows = [
        [
            way["name"],
            ends(way["metrics"]["ndcg@10"]),
            ends(way["metrics"]["recall@100"]),
            ends(way["gain"], signed=True) if way["gain"] else "",
        ]
        for way in judged["ways"]
    ]
    kinds = list(found["matches"][0]["shares"])
    matches = [
        [one["collection"], *(f"{100 * one['shares'][kind]:.0f} %" for kind in kinds)] for one in found["matches"]
    ]
    return (
        f"## Search by words\n\n`bench/retrieval.py`, {found['date']}, {found['processor']}.\n\nSciFact, {judged['items']:,} abstracts, "
        f"{judged['queries']} test claims, `minilm`; settings are chosen on the training claims. Intervals are over queries.\n\n"
        + table(["way", "nDCG@10", "recall@100", "gain in nDCG@10 over plain"], rows)
        + "\nWhat goes wrong: eleven of the worst claims were read. In seven the judged abstract is about something else and tells the claim in passing "
        "(aspirin and PGE2 in a paper on melanoma), which one vector of the whole does not show; in four, abstracts that nobody judged are as "
        "near or nearer.\n\n"
        f"STS-B, test part, `minilm`: Spearman {ends(found['stsb'])} over {found['stsb']['n']:,} pairs.\n\n"
        'Share of questions that find a match ("nothing matches" is the answer to the others). Those of a collection\'s own kind have an answer there; '
        "the others have none or next to none.\n\n" + table(["collection", *kinds], matches)
    )


def bridges(found: Mapping[str, Any]) -> str:
    flickr = [
        [name, *(ends(row[f"recall@{k}"]) for k in (1, 5, 10))] for name, row in found["flickr"]["recalls"].items()
    ]
    tiny = [[name, ends(row["accuracy@5"]), str(row["below_.8"])] for name, row in found["tiny"]["rows"].items()]
    gain = found["flickr"]["paired_gain_over_ridge"]
    return (
        "## Words find pictures\n\n`bench/bridges.py`. Flickr8k, 700 photos to learn from, text to image among 300 others, mean over five splits (t interval; "
        "the splits share photos, so it is too narrow). Settings are chosen inside the 700; the constants behind them were set by cross-validation inside the "
        "700 of split 0.\n\n"
        + table(["bridge", "recall@1", "recall@5", "recall@10"], flickr)
        + f"\nThe chosen bridge over ridge, mean of the three: {ends(gain, signed=True)}, paired over the splits.\n\n"
        "Tiny-ImageNet, 200 labels as queries on all 10,000 validation pictures, bundled encoders; accuracy@5 with intervals over labels. These labels are "
        "among ImageNet's, which flatters, and spelling and sharpness of the class names were chosen on this part and on Flickr8k. The lower half is learned "
        "from 50 training pictures a label.\n\n" + table(["queries", "accuracy@5", "labels below .8"], tiny)
    )


def search(found: Mapping[str, Any]) -> str:
    changes = []
    for dims in (64, 384):
        row = found[f"changes_{dims}"]
        for name in ("make", "add 1 %", "delete 1 %", "1 % again, unchanged", "open"):
            changes.append([f"200,000 x {dims}", name, f"{row[name]['seconds']:.2f}", f"{row[name]['processor']:.2f}"])
    rivals = [
        [
            f"{r['set']}, {r['items']:,} x {r['dims']}", r["name"], f"{r['build_s']:.1f}", str(r["mib"]), f"{r['recall']:.3f}",
            f"{r['single']:,}", f"{r['batched']:,}", r["deletes"],
        ]
        for r in found["rivals"]
    ]  # fmt: skip
    memory, over = found["memory"], found["overhead"]
    return (
        f"## Indexes\n\n`bench/search.py`, {found['date']}, {machine(found['machine'])}, load at the start {found['load']}. Making an index and changing "
        "it, from a table of vectors, in seconds:\n\n"
        + table(["index", "what", "seconds", "of processor"], changes)
        + f"\nThe exact index takes {memory['ratio']:.2f} times its vectors at the peak of opening it ({memory['vectors_mib']} MiB). A single query costs "
        f"{over['single_us']:.0f} µs above the raw FAISS index, a batch {100 * over['batch_share']:+.0f} %.\n\n"
        "Beside graphs, at about equal recall@10 of single vectors, queries a second on one thread:\n\n"
        + table(["vectors", "index", "build, s", "MiB", "recall@10", "single", "batched", "deletes"], rivals)
    )


def labels(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name, f"{r['items']:,}", f"{r['precision']:.2f} / {r['recall']:.2f}", f"{r['cleanlab_precision']:.2f} / {r['cleanlab_recall']:.2f}",
            f"{r['both']} of {r['doubted']} and {r['cleanlab_doubted']}", f"{r['joint_differs_by']} items", f"{r['cleanlab_seconds'] / r['seconds']:.1f}",
        ]
        for name, r in found["rows"].items()
    ]  # fmt: skip
    return (
        f"## Wrong labels\n\n`bench/labels.py`, {found['date']}. Labels made wrong: any other class (uniform), or the class each is most easily taken for "
        "(pairs); the same out-of-fold probabilities of a linear probe given to Graft and to "
        "cleanlab 2.9.0 (prune by noise rate, ranked by normalised margin, one process). Precision and recall of the first doubted, as many "
        "as were planted; five seeds "
        "and four sets are in the [study of label errors](../studies/results/e02_label_errors/README.md).\n\n"
        + table(
            [
                "set, planted",
                "items",
                "precision / recall",
                "cleanlab",
                "doubted by both, of each one's",
                "joints differ by",
                "times as fast",
            ],
            rows,
        )
    )


def labelling(found: Mapping[str, Any]) -> str:
    """What is asked next, an answer on the page, and the graph that carries labels of rules further."""
    rows = [
        [
            row["how"],
            str(row["dims"]),
            f"{statistics.median(row['seconds']):.2f} ({min(row['seconds']):.2f} to {max(row['seconds']):.2f})",
        ]
        for row in found["batches"]
    ]
    pages = [
        [f"{row['items']:,}", f"{row['milliseconds'][1]:.1f}", f"{row['milliseconds'][0]:.1f}"]
        for row in found["answers"]
    ]
    graphs = [[f"{row['items']:,}", f"{row['seconds']:.1f}", f"{row['mib']:,}"] for row in found["graphs"]]
    return (
        f"## What to label next\n\n`bench/labelling.py`, {found['date']}, one thread of {found['machine']['processor']}. The next 100 of 100,000 encoded "
        f"items, 500 of them labelled in 20 classes; the limit is {found['limit']:g} seconds of the processor. Median of three rounds with their range:\n\n"
        + table(["way", "numbers a vector", "processor seconds"], rows)
        + "\nFrom an answer on the page to the next item, with the disk's sync, in milliseconds by the clock of a shared machine:\n\n"
        + table(["items", "median of 50", "quickest"], pages)
        + "\nThe graph of ten neighbours that propagation needs, 384 numbers a vector; beyond 8 million numbers by inverted lists that find .95 of the "
        "neighbours (every pair of 100,000 would take some 250 seconds here). Peak of memory beyond the vectors:\n\n"
        + table(["items", "processor seconds", "MiB"], graphs)
    )


def serve(found: Mapping[str, Any]) -> str:
    rows = []
    for form, row in found["vectors"]["forms"].items():
        ours, bare = row["graft"], row["ceiling"]
        rows.append([
            form, f"{row['queries_s']:,.0f}", f"{ours['p50_ms']:.1f} / {ours['p99_ms']:.1f}", f"{ours['cpu_us']:.0f}",
            f"{bare['requests_s']:,.0f}", f"{bare['cpu_us']:.0f}", f"{row['of_ceiling']:.2f}",
        ])  # fmt: skip
    load, texts = found["vectors"]["open_loop"], found["texts"]
    words = [
        [
            name,
            f"{one['rate']:.0f}/s",
            f"{one['achieved']:.0f}/s",
            f"{one['p50_ms']:.0f} / {one['p99_ms']:.0f}",
            str(one["errors"]),
        ]
        for name, one in texts.items()
    ]
    return (
        f"## Serving\n\n`bench/serve.py`, {machine(found['environment'])} that share one core, load before {found['load_before']:.1f}. Loopback, `wrk` with "
        f"32 connections on the same core; {found['vectors']['items']:,} x {found['vectors']['dim']} vectors, recall@10 {ends(load['recall'])}. "
        "The ceiling is a bare granian handler that answers a constant, in the same run.\n\n"
        + table(
            [
                "form",
                "queries/s",
                "p50 / p99, ms",
                "µs of processor a request",
                "ceiling, requests/s",
                "its µs",
                "share of ceiling",
            ],
            rows,
        )
        + "\nTexts in, open loop, latency from when a request was due:\n\n"
        + table(["texts", "asked for", "achieved", "p50 / p99, ms", "errors"], words)
    )


if __name__ == "__main__":
    main()
