"""R1: words find pictures: a query for each label, and how much of what stands first is right.

`graft index` on Tiny-ImageNet, CIFAR-10 and Flickr8k; only the sets' test parts are searched. Words meet pictures over the bridge of class
names: a query is how near the words are to the names of the encoder's classes, an item how probable each class is for the picture.
Beside words stands the mean of a label's training pictures, in the space of the pictures. Both are compared by inner product, by cosine and
by Euclidean distance, every item with every query.

Legend: N items, Q queries, K hits, D dims. What is asked is a label; what is found belongs to one.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, few_digits, main, percent, points

from graft.listings.searchable import read_judged
from graft.metrics.rank import accuracy_at, hit_at, paired_interval, query_interval
from graft.reports.formats import plural
from graft.retrieval.opened import OpenedIndex, open_index
from graft.store.index import asked, exact, prepared
from graft.verbs.index import index

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

K = 5
METRICS = {"inner product": "dot", "cosine": "cosine", "Euclidean": "euclidean"}
SETS = {"data:tiny_imagenet": "name", "data:cifar10": "label"}
CAPTIONS = "flickr8k_1000"
SHOWN = 20


def measure(setting: Setting) -> Numbers:
    sets = {"data:digits": "label"} if setting.quick else SETS
    numbers: Numbers = {"k": K, "sets": {}, "encoder": setting.encoder or "efficientnet-lite0"}
    with tempfile.TemporaryDirectory() as folder:
        for data, column in sets.items():
            opened = _indexed(data, Path(folder), setting)
            numbers["sets"][data] = labelled(opened, column)
        if not setting.quick:
            opened = _indexed(f"data:{CAPTIONS}", Path(folder), setting)
            numbers["captions"] = captioned(opened)
    return numbers


def _indexed(data: str, folder: Path, setting: Setting) -> OpenedIndex:
    out = folder / data.removeprefix("data:")
    index(few_digits(folder / "few") if setting.quick else data, out=out, encoder=setting.encoder, kind="exact")
    return open_index(out)


def labelled(opened: OpenedIndex, column: str) -> Numbers:
    """Accuracy@5 by label of words and of mean pictures, under each metric, and what the words found instead."""
    test, train = parts(opened)
    names = np.array([row[column] for row in opened.payload(range(len(opened)), [column])])
    labels = sorted(set(names[test].tolist()))
    view, said = next(iter(opened.encode_queries(labels, keep=True).items()))
    pictures = opened.vectors("image", train)
    means = np.stack([pictures[names[train] == label].mean(0) for label in labels])
    found: dict[str, dict[str, Longs]] = {"words": {}, "mean picture": {}}
    for query, q_QD, among in (("words", said, view), ("mean picture", means, "image")):
        rows = opened.vectors(among, test)
        found[query] = {name: nearest(q_QD, rows, metric) for name, metric in METRICS.items()}
    shares = {
        query: {m: accuracy_at(names[test][hits] == np.array(labels)[:, None], K) for m, hits in of.items()}
        for query, of in found.items()
    }
    own = "inner product"
    pairs = Counter(
        (label, str(other))
        for label, hits in zip(labels, found["words"][own], strict=True)
        for other in names[test][hits]
        if other != label
    )
    return {
        "column": column,
        "labels": len(labels),
        "items": len(test),
        "examples": len(train),
        "accuracy": {q: {m: query_interval(share, 0) for m, share in of.items()} for q, of in shares.items()},
        "over_product": {
            q: {m: paired_interval(share, of[own], 0) for m, share in of.items() if m != own}
            for q, of in shares.items()
        },
        "by_label": {
            label: {"words": float(shares["words"][own][i]), "mean picture": float(shares["mean picture"]["cosine"][i])}
            for i, label in enumerate(labels)
        },
        "mistakes": [[asked_for, other, n] for (asked_for, other), n in pairs.most_common()],
    }


def parts(opened: OpenedIndex) -> tuple[Longs, Longs]:
    """Positions of the test and training items; of a set without parts every other one."""
    if "part" in opened.columns:
        return opened.where("part = 'test'"), opened.where("part = 'train'")
    return np.arange(0, len(opened), 2), np.arange(1, len(opened), 2)


def nearest(q_QD: Floats, rows_ND: Floats, metric: str, k: int = K) -> Longs:
    """The k nearest rows (Q, K) to each query, each compared."""
    held = prepared(rows_ND, metric)
    segment = exact([held], np.arange(len(held)), held.shape[1])
    return segment.search(asked(q_QD, metric), k)[1]


def captioned(opened: OpenedIndex) -> Numbers:
    """Whether a picture is among the first 1, 5 and 10 when its first caption is asked for."""
    texts = {item: judged.text for judged in reversed(read_judged(CAPTIONS)) for item in judged.gains}
    view, said = next(iter(opened.encode_queries([texts[item] for item in opened.ids], keep=True).items()))
    rows = opened.vectors(view)
    found = {name: nearest(said, rows, metric, 10) for name, metric in METRICS.items()}
    right = {name: hits == np.arange(len(opened))[:, None] for name, hits in found.items()}
    return {
        "items": len(opened),
        "recall": {n: {str(k): query_interval(hit_at(r, k), 0) for k in (1, 5, 10)} for n, r in right.items()},
    }


def present(numbers: Numbers) -> Page:
    sets = numbers["sets"]
    first = next(iter(sets.values()))
    words = {data: found["accuracy"]["words"]["inner product"] for data, found in sets.items()}
    low = sorted(label for label, share in first["by_label"].items() if share["words"] < 0.8 - 1e-9)
    answer = "Accuracy@5 of labels as words: " + ", ".join(
        f"{percent(value)} on {_plain(data)}" for data, value in words.items()
    )
    gap = first["over_product"]
    wrong = sum(n for *_, n in first["mistakes"])
    reading = (
        f"{plural(len(low), 'label')} of {first['labels']} stay below 0.8 on the first set, {wrong} wrong pictures in all; the commonest "
        "mistakes are neighbours: "
        + ", ".join(f"{a} → {b} ({n})" for a, b, n in first["mistakes"][:5])
        + f". Against the inner product, cosine changes the words' accuracy by {points(gap['words']['cosine'])} points and Euclidean distance "
        f"by {points(gap['words']['Euclidean'])}; in the space of pictures, where rows have lengths, {points(gap['mean picture']['cosine'])} "
        f"and {points(gap['mean picture']['Euclidean'])}. "
    )
    if "captions" in numbers:
        recall = numbers["captions"]["recall"]["inner product"]
        answer += f"; a caption finds its own picture of 1,000 among the first five in {percent(recall['5'])}"
        reading += (
            "All 200 labels of Tiny-ImageNet are names of classes the encoder was trained on, so its share is what naming a known class is worth. "
            "Outside, the bridge does with classes that are near: the labels of CIFAR-10, and captions, which say more than one "
            "class can. The numbers of a joint encoder (CLIP, SigLIP) wait for its weights, which the same program takes with --encoder."
        )
    tables = [table_of_metrics(data, found) for data, found in sets.items()]
    if "captions" in numbers:
        tables.append(table_of_captions(numbers["captions"]))
    tables += [table_of_ends(data, found) for data, found in sets.items()]
    tables += [table_of_mistakes(data, found) for data, found in sets.items()]
    return Page(answer + ".", reading, tables, {"labels.svg": chart(next(iter(sets)), first)})


def _plain(data: str) -> str:
    return {"data:tiny_imagenet": "Tiny-ImageNet", "data:cifar10": "CIFAR-10"}.get(data, data)


def table_of_metrics(data: str, found: Numbers) -> Table:
    rows = []
    for query, of in found["accuracy"].items():
        for metric, value in of.items():
            gain = found["over_product"][query].get(metric)
            rows.append((query, metric, percent(value), "" if gain is None else points(gain)))
    return Table(
        f"{_plain(data)}: accuracy@5, {found['labels']} labels, {found['items']:,} pictures searched, {found['examples']:,} others behind the means.",
        ("query", "compared by", "accuracy@5 (over labels)", "over the inner product (points, paired)"),
        rows,
    )


def table_of_captions(found: Numbers) -> Table:
    rows = [(metric, *(percent(value) for value in of.values())) for metric, of in found["recall"].items()]
    return Table(
        f"Flickr8k: the first caption of each of {found['items']:,} pictures is asked for; share that finds its picture.",
        ("compared by", "recall@1", "recall@5", "recall@10"),
        rows,
    )


def table_of_ends(data: str, found: Numbers) -> Table:
    """The worst labels with what was found instead, and how many are perfect."""
    order = sorted(found["by_label"].items(), key=lambda item: (item[1]["words"], item[0]))
    perfect = sum(share["words"] > 1 - 1e-9 for _, share in order)
    rows = [
        (label, f"{share['words']:.1f}", f"{share['mean picture']:.1f}", _instead(found, label))
        for label, share in order[:SHOWN]
        if share["words"] < 1 - 1e-9
    ]
    return Table(
        f"{_plain(data)}: {perfect} of {len(order)} labels have five right pictures out of five; these have the fewest.",
        ("label", "words", "mean picture", "what the words found instead"),
        rows,
    )


def _instead(found: Numbers, label: str) -> str:
    return ", ".join(
        other if n == 1 else f"{other} ({n})" for asked_for, other, n in found["mistakes"] if asked_for == label
    )


def table_of_mistakes(data: str, found: Numbers) -> Table:
    """Labels that stand where others were asked for, counted over all queries."""
    taken = Counter[str]()
    for _, other, n in found["mistakes"]:
        taken[other] += n
    total = sum(taken.values())
    rows = [(other, str(n)) for other, n in taken.most_common(10)]
    return Table(
        f"{_plain(data)}: labels of the {total} wrong pictures, the ten commonest.", ("label", "pictures"), rows
    )


def chart(data: str, found: Mapping[str, Any]) -> str:
    """Labels with at most so many right pictures of five, for both kinds of query."""
    lines = []
    for query in ("words", "mean picture"):
        shares = np.array([share[query] for share in found["by_label"].values()])
        at_most = [(i / K, float((shares <= i / K + 1e-9).mean())) for i in range(K + 1)]
        lines.append(Line(query, at_most))
    return line_chart(
        f"{_plain(data)}: labels with at most this accuracy@5",
        Axis("accuracy@5"),
        Axis("share of the labels", percent=True),
        lines,
    )


STUDY = Study(
    name="r01_text_to_image",
    title="R1: text to image",
    question="A query for each label: how much of the first five pictures is right, by cosine and by Euclidean distance, and what are the mistakes?",
    measure=measure,
    present=present,
    expected={
        "sets > data:tiny_imagenet > accuracy > words > inner product > value": about(0.957, 0.015),
        "sets > data:tiny_imagenet > accuracy > words > cosine > value": about(0.949, 0.02),
        "sets > data:tiny_imagenet > accuracy > words > Euclidean > value": about(0.563, 0.05),
        "sets > data:tiny_imagenet > accuracy > mean picture > cosine > value": about(0.733, 0.03),
        "sets > data:tiny_imagenet > accuracy > mean picture > Euclidean > value": about(0.621, 0.04),
        "sets > data:cifar10 > accuracy > words > inner product > value": about(0.90, 0.05),
        "sets > data:cifar10 > accuracy > mean picture > cosine > value": about(0.98, 0.04),
        "captions > recall > inner product > 5 > value": about(0.128, 0.02),
    },
    expected_quick={
        "sets > data:digits > accuracy > words > inner product > value": (0.0, 0.3),
        "sets > data:digits > accuracy > mean picture > cosine > value": about(0.74, 0.06),
        "sets > data:digits > over_product > mean picture > cosine > value": about(0.4, 0.15),
    },
    takes_encoder=True,
)

if __name__ == "__main__":
    main(STUDY)
