"""R6: items with a picture and a text: which of the two to ask, and how to weigh them.

500 photos of Flickr8k, each with one caption as its text; what is asked is another caption of the same photo. Texts meet texts in the
space of the text encoder, and pictures over a bridge: of class names, or learned by `graft bridge fit` on the other 500 photos. The views are
fused by laying their vectors end to end, by adding standard scores with
the usual weights (alike; of class names a tenth), with a weight tuned on other questions,
with weights by how far each
view's best hit stands out, or by the mean of picture and text in the learned space. The same is done where every other caption is missing.

Legend: N items, Q queries, S settings, D dims.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, few_digits, main, percent, points

from graft.judging.scene import Scene, from_judgements, top
from graft.judging.ways import Ways
from graft.listings.judgements import read_judgements
from graft.metrics.rank import hit_at, paired_interval, query_interval, reciprocal_rank
from graft.retrieval.bridges import load_bridge
from graft.retrieval.opened import open_index
from graft.settings import data_dir
from graft.verbs.bridge import fit as fit_bridge
from graft.verbs.index import index

Floats = NDArray[np.float64]
Rankings = Sequence[NDArray[np.int64]]
Values = dict[str, Floats]

NAME = "flickr8k_1000"
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
KEYS = ("recall@1", "recall@5", "mrr")


def measure(setting: Setting) -> Numbers:
    numbers: Numbers = {"cases": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (_digits if setting.quick else _photos)(folder)
        bridges = {"class names": "auto"}
        if not setting.quick:
            fit_bridge(folder / "learn.csv", out=folder / "bridge", content="image", text="caption")
            bridges["learned bridge"] = str(folder / "bridge")
        for table in ("all", "half"):
            for bridge, source in bridges.items():
                out = folder / f"{table} {bridge}"
                index(folder / f"{table}.csv", out=out, content="image", text="caption", id="id", bridge=source)
                learned = source if bridge == "learned bridge" else None
                numbers["cases"][f"{bridge}, {table} captioned"] = fused(out, folder / "asked.csv", learned)
    return numbers


def _photos(folder: Path) -> None:
    """Tables of 500 photos to learn from, of the other 500 with their first caption, and of these with their second as question."""
    home = data_dir()
    assert home is not None, "set GRAFT_DATA to the folder of public sets"
    with zipfile.ZipFile(home / NAME / f"{NAME}.zip") as archive:
        archive.extractall(folder / "photos")
    root = folder / "photos" / NAME
    captions: dict[str, list[str]] = {}
    with (root / "captions.txt").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            captions.setdefault(row["image"], []).append(row["caption"])
    names = sorted(captions)
    learnt = {names[i] for i in np.random.default_rng(0).permutation(len(names))[: len(names) // 2]}
    path = {name: str(root / "images" / name) for name in names}
    _write(folder / "learn.csv", [("image", "caption"), *((path[n], c) for n in sorted(learnt) for c in captions[n])])
    held = [name for name in names if name not in learnt]
    _tables(folder, [(path[name], captions[name][0], name) for name in held])
    _write(folder / "asked.csv", [("query", "id"), *((captions[name][1], name) for name in held)])


def _digits(folder: Path) -> None:
    """Every sixth handwritten digit, with its name as text; what is asked is the digit in other words."""
    files = sorted(few_digits(folder / "digits").rglob("*.png"))
    _tables(folder, [(str(file), f"a handwritten {DIGITS[int(file.parent.name)]}", file.stem) for file in files])
    asked = [(f"the number {DIGITS[int(file.parent.name)]}", file.stem) for file in files]
    _write(folder / "asked.csv", [("query", "id"), *asked])


def _tables(folder: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """All items with their text, and the same where every other has none."""
    _write(folder / "all.csv", [("image", "caption", "id"), *rows])
    half = [(path, text if i % 2 else "", item) for i, (path, text, item) in enumerate(rows)]
    _write(folder / "half.csv", [("image", "caption", "id"), *half])


def _write(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def fused(out: Path, judgements: Path, bridge: str | None) -> Numbers:
    """Recall and reciprocal rank of each way to weigh the views, and what each gains over the text alone."""
    opened = open_index(out)
    scene = from_judgements(opened, read_judgements(judgements)[0], None)
    chosen = np.arange(len(scene.judged))
    ways = Ways(scene, chosen, 0)
    by_name = {way.name: way for way in ways.every()}
    text, picture = ways.vectors
    fusion = by_name["fusion"]

    def of(rankings: Rankings) -> Values:
        shown = scene.relevance(rankings, chosen)
        return {"recall@1": hit_at(shown, 1), "recall@5": hit_at(shown, 5), "mrr": reciprocal_rank(shown)}

    shares = [setting for setting in fusion.settings if setting["share"] != "by query"]
    tables = [of(fusion.rank(chosen, setting)) for setting in shares]
    tuned, picked = _tuned(scene, tables)
    found = {
        "text alone": of(by_name[f"only {text}"].rank(chosen, {"view": text})),
        "picture alone": of(by_name[f"only {picture}"].rank(chosen, {"view": picture})),
        "end to end": of(top(scene.scores(ways.vectors, chosen))),
        "usual weights": of(by_name["plain"].rank(chosen, {})),
        "tuned weight": tuned,
        "weights by query": of(fusion.rank(chosen, {"share": "by query"})),
    }
    if bridge is not None:
        found["mean in the learned space"] = of(top(_in_one_space(scene, ways, bridge)))
    base = found["text alone"]
    return {
        "items": len(opened),
        "queries": len(chosen),
        "views": [text, picture],
        "ways": {name: {key: query_interval(v[key], 0) for key in KEYS} for name, v in found.items()},
        "over_text": {
            n: {k: paired_interval(v[k], base[k], 0) for k in KEYS} for n, v in found.items() if v is not base
        },
        "by_query_over_tuned": {k: paired_interval(found["weights by query"][k], tuned[k], 0) for k in KEYS},
        "shares": {
            f"{s['share']:g}": {k: float(t[k].mean()) for k in KEYS} for s, t in zip(shares, tables, strict=True)
        },
        "picked": [float(shares[i]["share"]) for i in picked],
    }


def _tuned(scene: Scene, tables: Sequence[Values]) -> tuple[Values, list[int]]:
    """Every query under the share of the text that is best by MRR for the other four fifths of them; and the shares picked."""
    mrr_SQ = np.stack([table["mrr"] for table in tables])
    picked_Q, picked = np.zeros(len(scene.judged), np.int64), []
    for fold in np.unique(scene.fold):
        others = scene.fold != fold
        best = int(mrr_SQ[:, others].mean(1).argmax()) if others.any() else 0
        picked_Q[~others] = best
        picked.append(best)
    rows = np.arange(len(picked_Q))
    return {key: np.stack([table[key] for table in tables])[picked_Q, rows] for key in KEYS}, picked


def _in_one_space(scene: Scene, ways: Ways, folder: str) -> NDArray[np.float32]:
    """Scores (Q, N) where an item is the mean of its picture and its text in the space of the learned bridge, both of unit length there."""
    bridge = load_bridge(Path(folder))
    text, _ = ways.vectors
    captions = scene.index.vectors(text)
    there = np.linalg.norm(captions, axis=1, keepdims=True) > 0
    pictures = _unit(bridge.items(scene.index.vectors("image")))
    texts = np.where(there, _unit(bridge.queries(_unit(captions))), 0)
    items = _unit(pictures + texts)
    scores: NDArray[np.float32] = _unit(bridge.queries(_unit(ways.vectors[text]))) @ items.T
    return scores


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def present(numbers: Numbers) -> Page:
    cases = numbers["cases"]
    name = next((n for n in cases if n.startswith("learned")), next(iter(cases)))
    rest = name.replace("all captioned", "half captioned")
    said = []
    for case, words in ((name, "every photo captioned"), (rest, "every other one")):
        ways = cases[case]["ways"]
        said.append(
            f"{words}: text alone {percent(ways['text alone']['recall@5'])}, picture alone {percent(ways['picture alone']['recall@5'])}, "
            f"both with a tuned weight {percent(ways['tuned weight']['recall@5'])}"
        )
    gains = {case: cases[case]["over_text"] for case in (name, rest)}
    query = {case: cases[case]["by_query_over_tuned"]["recall@5"] for case in (name, rest)}
    return Page(
        answer=f"Recall at 5, {name.partition(',')[0]}; " + "; ".join(said) + ".",
        reading=(
            f"Over the text alone a tuned weight gains {points(gains[name]['tuned weight']['recall@5'])} points of recall at 5, the usual weights "
            f"{points(gains[name]['usual weights']['recall@5'])}, vectors end to end {points(gains[name]['end to end']['recall@5'])}. Where every other "
            f"caption is missing it is {points(gains[rest]['tuned weight']['recall@5'])}, {points(gains[rest]['usual weights']['recall@5'])} and "
            f"{points(gains[rest]['end to end']['recall@5'])}. Weights by query against one tuned weight: {points(query[name])} and {points(query[rest])}. "
            "The text of an item is a caption by another person of the same photo, the easiest text a picture can have; "
            "the numbers of a joint encoder (CLIP, SigLIP), in which no bridge is needed, wait for its weights."
        ),
        tables=[table_of(case, found) for case, found in cases.items()] + [table_of_shares(cases)],
        figures={"shares.svg": chart(cases)},
    )


def table_of(case: str, found: Mapping[str, Any]) -> Table:
    rows = [
        (
            way, *(percent(values[key]) for key in KEYS),
            points(found["over_text"][way]["recall@5"]) if way in found["over_text"] else "",
        )
        for way, values in found["ways"].items()
    ]  # fmt: skip
    return Table(
        f"{case[0].upper()}{case[1:]}: {found['queries']} questions, {found['items']} items.",
        ("search", "recall@1", "recall@5", "MRR", "recall@5 over the text alone (points, paired)"),
        rows,
    )


def table_of_shares(cases: Mapping[str, Any]) -> Table:
    rows = [(case, ", ".join(f"{share:g}" for share in found["picked"])) for case, found in cases.items()]
    return Table(
        "Share of the text that was picked on the other four fifths of the questions, fold by fold.",
        ("items", "shares"),
        rows,
    )


def chart(cases: Mapping[str, Any]) -> str:
    """Recall at 5 by the share of the text: 0 is the picture alone, 1 the text."""
    lines = []
    for case, found in cases.items():
        ways = found["ways"]
        middle = [(float(share), values["recall@5"]) for share, values in found["shares"].items()]
        both = [ways["picture alone"]["recall@5"], ways["text alone"]["recall@5"]]
        at = [(0.0, both[0]["value"]), *middle, (1.0, both[1]["value"])]
        bars = [ends(both[0]), *((y, y) for _, y in middle), ends(both[1])]
        short = case.replace(" bridge", "").replace("class ", "").replace(" captioned", "")
        lines.append(Line(short, at, bars, dashed="half" in case))
    return line_chart(
        "Recall at 5 by the weight of the text", Axis("share of the text"), Axis("recall@5", percent=True), lines
    )


STUDY = Study(
    name="r06_fusion",
    title="R6: fusion",
    question="Items with a picture and a text: what do text, picture and both find, and do weights that depend on the query help?",
    measure=measure,
    present=present,
    expected={
        "cases > learned bridge, all captioned > ways > text alone > recall@5 > value": about(0.824, 0.02),
        "cases > learned bridge, all captioned > ways > picture alone > recall@5 > value": about(0.484, 0.05),
        "cases > learned bridge, all captioned > over_text > tuned weight > recall@5 > value": about(0.02, 0.03),
        "cases > learned bridge, all captioned > over_text > usual weights > recall@5 > value": about(0.034, 0.03),
        "cases > class names, all captioned > over_text > usual weights > recall@5 > value": about(0.002, 0.03),
        "cases > learned bridge, half captioned > over_text > tuned weight > recall@5 > value": about(0.064, 0.04),
        "cases > learned bridge, half captioned > by_query_over_tuned > recall@5 > value": about(-0.042, 0.04),
    },
    expected_quick={
        "cases > class names, all captioned > ways > text alone > recall@5 > value": about(0.9, 0.15),
        "cases > class names, all captioned > ways > tuned weight > recall@5 > value": (0.8, 1.0),
        "cases > class names, half captioned > over_text > usual weights > recall@5 > value": about(0.1, 0.15),
    },
)

if __name__ == "__main__":
    main(STUDY)
