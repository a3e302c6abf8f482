"""R4: zero-shot classes from words: three templates and their ensemble, and for which groups of pictures they do worse.

Every test picture of Tiny-ImageNet gets the label whose words score highest with it (`graft index`, words over the bridge of class names);
words are the label alone, the label in each of three templates, or the mean of these (prompt ensembling, Radford et al. 2021). Accuracy is told by group:
the labels are put into seven groups along WordNet, whose numbers the labels are. The group is what a label shows, so a
gap is one between kinds of things; gaps between groups of people (FairFace) cannot be measured here, because its pictures are not at hand.

Intervals resample labels, not pictures: pictures of a label are right or wrong together.
Legend: N items, Q labels, D dims, B resamples.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, few_digits, main, percent, points

from graft.judging.scene import from_column
from graft.judging.ways import TEMPLATES
from graft.metrics.intervals import RESAMPLES, bias_corrected
from graft.metrics.rank import paired_interval, query_interval
from graft.results import Interval
from graft.retrieval.opened import OpenedIndex, open_index
from graft.retrieval.speaking import prompted
from graft.verbs.index import index

Floats = NDArray[np.float64]

FIRST_THING = "n02666196"  # abacus: WordNet's animals come before it
FIRST_FOOD, LAST_FOOD = "n07583066", "n07920052"  # guacamole to espresso
MAMMALS = (("n01882714", "n01882714"), ("n02074367", "n02132136"), ("n02364673", "n02509815"))
CHOSEN = {
    "vehicles": "beach wagon; bullet train; convertible; freight car; go-kart; gondola; jinrikisha; lifeboat; limousine; moving van; "
    "police van; school bus; sports car; tractor; trolleybus",
    "clothes": "academic gown; apron; bikini; bow tie; cardigan; Christmas stocking; fur coat; kimono; military uniform; miniskirt; poncho; "
    "sandal; sock; sombrero; sunglasses; swimming trunks; vestment; gasmask; neck brace",
    "places and buildings": "altar; bannister; barbershop; barn; beacon; birdhouse; butcher shop; cliff dwelling; confectionery; dam; "
    "fountain; obelisk; picket fence; steel arch bridge; suspension bridge; thatch; triumphal arch; viaduct; water tower; alp; cliff; coral reef; "
    "lakeside; seashore",
}
GROUP_OF = {label: group for group, labels in CHOSEN.items() for label in labels.split("; ")}


def measure(setting: Setting) -> Numbers:
    data, column = ("data:digits", "label") if setting.quick else ("data:tiny_imagenet", "name")
    where = "id LIKE '%.png'" if setting.quick else "part = 'test'"
    with tempfile.TemporaryDirectory() as folder:
        source = few_digits(Path(folder) / "few") if setting.quick else data
        index(source, out=Path(folder) / "index", encoder=setting.encoder, kind="exact")
        return classified(open_index(Path(folder) / "index"), column, where, data)


def classified(opened: OpenedIndex, column: str, where: str, data: str) -> Numbers:
    """Share of each label's pictures that get it, for every wording; over all, by group, and the gaps."""
    scene = from_column(opened, column, where, None)
    numbers = dict(zip(*_columns(opened, column), strict=True))
    groups = np.array([group_of(text, numbers[text]) for text in scene.texts])
    own_N = np.empty(len(scene.positions), np.int64)
    for label, gains in enumerate(scene.gains):
        own_N[list(gains)] = label
    templates = TEMPLATES["image"]
    wordings: dict[str, tuple[str, ...]] = {
        "label alone": ("{}",),
        **{t: (t,) for t in templates},
        "ensemble": templates,
    }
    shares: dict[str, Floats] = {}
    taken: dict[str, NDArray[np.int64]] = {}
    for name, wording in wordings.items():
        vectors = prompted(lambda texts: opened.encode_queries(texts, keep=True), scene.texts, wording)
        taken[name] = scene.scores(vectors, np.arange(len(scene.texts))).argmax(0)
        right_N = taken[name] == own_N
        shares[name] = np.bincount(own_N, right_N) / np.bincount(own_N)
    base = shares["label alone"]
    return {
        "data": data,
        "encoder": opened.views["image"].reference,
        "items": len(own_N),
        "labels": len(base),
        "groups": {group: int((groups == group).sum()) for group in sorted(set(groups))},
        "accuracy": {name: query_interval(share, 0) for name, share in shares.items()},
        "over_label": {n: paired_interval(share, base, 0) for n, share in shares.items() if n != "label alone"},
        "ensemble_over": {n: paired_interval(shares["ensemble"], shares[n], 0) for n in templates},
        "by_group": {
            name: {g: query_interval(share[groups == g], 0) for g in sorted(set(groups))} for name, share in shares.items()
        },
        "gap": {
            name: {g: gap(share[groups == g], share[groups != g]) for g in sorted(set(groups))} for name, share in shares.items()
        },
        "narrowed": {
            g: paired_interval(shares["ensemble"][groups == g], base[groups == g], 0) for g in sorted(set(groups))
        },
        "worst": [
            [scene.texts[i], str(groups[i]), float(base[i]), _instead(taken["label alone"][own_N == i], i, scene.texts)]
            for i in np.argsort(base, kind="stable")[:15].tolist()
        ],
    }  # fmt: skip


def _columns(opened: OpenedIndex, column: str) -> tuple[list[str], list[str]]:
    """The queries' words, and the labels they stand for."""
    rows = opened.payload(range(len(opened)), sorted({column, "label"}))
    return [str(row[column]) for row in rows], [str(row["label"]) for row in rows]


def _instead(taken: NDArray[np.int64], own: int, texts: Sequence[str]) -> str:
    """The label that most of the pictures got that did not get their own."""
    wrong = taken[taken != own]
    if not len(wrong):
        return ""
    counts = np.bincount(wrong, minlength=len(texts))
    return f"{texts[int(counts.argmax())]} ({counts.max()} of {len(taken)})"


def group_of(text: str, label: str) -> str:
    """The group of a label, by its words or its number in WordNet; of a digit, even or odd."""
    if label.isdigit():
        return "odd digits" if int(label) % 2 else "even digits"
    if text in GROUP_OF:
        return GROUP_OF[text]
    if label < FIRST_THING:
        return "mammals" if any(low <= label <= high for low, high in MAMMALS) else "other animals"
    return "food" if FIRST_FOOD <= label <= LAST_FOOD else "other things"


def gap(own_Q: Floats, rest_Q: Floats, seed: int = 0) -> Interval:
    """Mean of a group's labels less that of all others, with the interval of a bootstrap that draws the labels of each anew."""
    rng = np.random.default_rng(seed)
    value = float(own_Q.mean() - rest_Q.mean())
    means_B = np.array([_drawn(own_Q, rng) - _drawn(rest_Q, rng) for _ in range(RESAMPLES)])
    low, high = bias_corrected(means_B, value)
    return Interval(value, low, high, len(own_Q))


def _drawn(values_Q: Floats, rng: np.random.Generator) -> float:
    return float(values_Q[rng.integers(0, len(values_Q), len(values_Q))].mean())


def present(numbers: Numbers) -> Page:
    accuracy, gaps = numbers["accuracy"], numbers["gap"]["label alone"]
    best = max((n for n in accuracy if n not in ("ensemble", "label alone")), key=lambda n: accuracy[n]["value"])
    low, high = (pick(gaps, key=lambda group: gaps[group]["value"]) for pick in (min, max))
    sure = [group for group, found in gaps.items() if found["high"] < 0 or found["low"] > 0]
    changed = {group: found for group, found in numbers["narrowed"].items() if found["low"] is not None}
    better = [group for group, found in changed.items() if found["low"] > 0]
    worse = [group for group, found in changed.items() if found["high"] < 0]
    waits = (
        " The numbers of a joint encoder (CLIP, SigLIP), for which templates were made, wait for its weights, which the same program takes with "
        "--encoder. Gaps between groups of people are not measured: the faces of the original are not to be had here."
        if numbers["data"] != "data:digits"
        else ""
    )
    return Page(
        answer=(
            f"{numbers['labels']} labels: alone {percent(accuracy['label alone'])}, best template (“{best}”) {percent(accuracy[best])}, ensemble of three "
            f"{percent(accuracy['ensemble'])}. By group from {low} ({percent(numbers['by_group']['label alone'][low])}) to {high} "
            f"({percent(numbers['by_group']['label alone'][high])})."
        ),
        reading=(
            f"Against the label alone the ensemble changes accuracy by {points(numbers['over_label']['ensemble'])} points: with a bridge, words only have to "
            "be near the names of the encoder's classes, and a template takes them further away. "
            f"The gap to all other labels is larger than chance explains for {', '.join(sure) or 'no group'}; the ensemble raises "
            f"{', '.join(better) or 'no group'} and lowers {', '.join(worse) or 'none'} by more than chance explains.{waits}"
        ),
        tables=[table_of_wordings(numbers), table_of_groups(numbers), table_of_worst(numbers)],
        figures={"groups.svg": chart(numbers)},
    )


def table_of_wordings(numbers: Numbers) -> Table:
    rows = [
        (
            name, percent(value), points(numbers["over_label"][name]) if name in numbers["over_label"] else "",
            points(numbers["ensemble_over"][name]) if name in numbers["ensemble_over"] else "",
        )
        for name, value in numbers["accuracy"].items()
    ]  # fmt: skip
    return Table(
        f"{numbers['data']}, {numbers['items']:,} pictures, {numbers['labels']} labels, {numbers['encoder']}.",
        (
            "words",
            "accuracy (over labels)",
            "over the label alone (points, paired)",
            "ensemble over it (points, paired)",
        ),
        rows,
    )


def table_of_groups(numbers: Numbers) -> Table:
    of, gaps = numbers["by_group"], numbers["gap"]
    rows = [
        (
            f"{group} ({count})", percent(of["label alone"][group]), percent(of["ensemble"][group]),
            points(gaps["label alone"][group]), points(gaps["ensemble"][group]), points(numbers["narrowed"][group]),
        )
        for group, count in sorted(numbers["groups"].items(), key=lambda item: of["label alone"][item[0]]["value"])
    ]  # fmt: skip
    columns = (
        "group (labels)",
        "label alone",
        "ensemble",
        "gap to the others, label alone",
        "gap, ensemble",
        "ensemble over label alone",
    )
    return Table("By group; gaps and differences in points.", columns, rows)


def table_of_worst(numbers: Numbers) -> Table:
    rows = [(label, group, f"{100 * share:.0f} %", instead) for label, group, share, instead in numbers["worst"]]
    return Table(
        "Labels with the lowest accuracy, by the label alone.", ("label", "group", "accuracy", "mostly taken for"), rows
    )


def chart(numbers: Mapping[str, Any]) -> str:
    """Accuracy by group of the label alone and of the ensemble."""
    order = sorted(numbers["groups"], key=lambda group: numbers["by_group"]["label alone"][group]["value"])
    lines = []
    for name in ("label alone", "ensemble"):
        values = [numbers["by_group"][name][group] for group in order]
        lines.append(
            Line(name, [(float(i), v["value"]) for i, v in enumerate(values)], [ends(v) for v in values], dashed=True)
        )
    ticks = {float(i): group.removesuffix(" and buildings").removeprefix("other ") for i, group in enumerate(order)}
    return line_chart("Accuracy by group of labels", Axis("group", ticks), Axis("accuracy", percent=True), lines)


STUDY = Study(
    name="r04_zero_shot",
    title="R4: zero-shot classes and prompts",
    question="What do three templates and their ensemble change, and for which groups of pictures do words do worse?",
    measure=measure,
    present=present,
    expected={
        "accuracy > label alone > value": about(0.537, 0.02),
        "accuracy > ensemble > value": about(0.530, 0.02),
        "over_label > ensemble > value": about(-0.006, 0.008),
        "by_group > label alone > mammals > value": about(0.693, 0.03),
        "by_group > label alone > clothes > value": about(0.453, 0.03),
        "gap > label alone > mammals > value": about(0.18, 0.03),
    },
    expected_quick={
        "accuracy > label alone > value": (0.0, 0.3),
        "accuracy > ensemble > value": (0.0, 0.3),
        "labels": (10, 10),
        "groups > even digits": (5, 5),
    },
    takes_encoder=True,
)

if __name__ == "__main__":
    main(STUDY)
