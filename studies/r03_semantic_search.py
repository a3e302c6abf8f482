"""R3: searching a streaming catalogue by meaning, with three encoders and with words.

A catalogue from the grammar that comes with Graft, one item a programme, its description as content. Three kinds of question:
categories in the words of people who look for something to watch, plots told in other words than the catalogue's, and new editions that
repeat an old description but for a word or two. `graft search --evaluate` measures each with vectors, with words (BM25), and with both.

The bundled encoder, MiniLM-L6 (384 numbers, six blocks), stands beside two that are cut out of it: its second and its fourth block (`layer:minilm:...`).
Encoders of other widths (hub:...) wait for their weights, which are not here.
"""

from __future__ import annotations

import csv
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, percent, points

from graft.data.catalogue import Programme, programmes
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.retrieval.opened import OpenedIndex, open_index
from graft.search_results import Evaluation
from graft.verbs.index import index
from graft.verbs.search import search

SIZE, SEED = 1030, 3
ENCODERS = ("minilm", "layer:minilm:encoder.layer.3", "layer:minilm:encoder.layer.1")
EDITION = re.compile(r" \((Restored|Extended Cut|Anniversary Edition|Director's Cut)\)(?=:|$)")
METRIC = "ndcg@10"
AT_ONCE, ROUNDS = 100, 5
QUICK_AT_ONCE, QUICK_ROUNDS = 10, 1
WAYS = ("plain", "words", "hybrid")

CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "comedy": ("something to make me laugh", "silly and light, where everything goes wrong"),
    "crime": ("a whodunit with police and suspects", "murder mystery for a rainy evening"),
    "drama": ("serious story about people and their families", "moving, about grief and secrets between relatives"),
    "family": ("to watch with the children", "adventure for kids on a Sunday afternoon"),
    "fantasy": ("swords, spells and kings", "wizards and quests in an invented world"),
    "history": ("how people lived centuries ago", "a documentary about the past, wars and empires"),
    "horror": ("something scary to keep me awake", "ghosts and haunted houses"),
    "nature": ("documentary about wild animals", "wildlife in its habitat"),
    "romance": ("two people fall for each other", "a love story with a happy ending"),
    "science fiction": ("robots and spaceships", "set in the far future among the stars"),
}

# (a piece of an opening of the grammar, the same plot as somebody might remember it)
PLOTS = (
    ("tells one small lie about", "someone fibs and must go on pretending for days"),
    ("is left in charge of", "the one who looks after it makes a mess of everything"),
    ("pretend to be married", "a fake couple after a prize"),
    ("least of all his mother", "even mum does not respect him"),
    ("a mix-up at the airport", "luggage swapped on a flight, and furious musicians"),
    ("is called back to", "an investigator has to go home for an old case"),
    ("begins to doubt the official story", "evidence appears that the authorities got it wrong"),
    ("before the trial opens", "a race to get proof ahead of a court hearing"),
    ("is the only suspect", "accused of a heist, and just one person thinks he is innocent"),
    ("for twenty years nobody spoke of", "silence of two decades is broken by the post"),
    ("to settle the matter of", "coming home because of unfinished business"),
    ("have to decide what becomes of", "two people must agree on the fate of something"),
    ("from everyone who loves her", "she keeps a secret from her dear ones"),
    ("a funeral brings", "relatives meet again at a burial after a long time"),
    ("is certain any more", "an event turns somebody's whole life upside down"),
    ("before the holidays end", "a rescue while school is out"),
    ("her little brother find", "siblings discover something under the roof"),
    ("a grumpy neighbour look for it", "searching for a lost thing with the cranky man next door"),
    ("a new school in", "starting lessons in an unknown town and making a friend"),
    ("with some help from the cat", "a pet teaches not to keep everything to oneself"),
    ("in a realm where winter has no end", "eternal cold, and a burden to be brought to a portal"),
    ("wakes an ancient power", "a theft rouses a force that had slept for ages"),
    ("the heir of the seven kingdoms", "foretold to be the next ruler of many lands"),
    ("magic is forbidden", "sorcery is against the law and something is kept beneath the boards"),
    ("cross the haunted forest", "a journey through cursed woods during an eclipse"),
    ("in 1683,", "notes of daily life in the seventeenth century"),
    ("archives opened last year", "newly accessible records show old events in a new light"),
    ("as the empire crumbles", "an envoy travels while a great power falls apart"),
    ("this is the true story of", "based on real events, about one person who made a difference"),
    ("has to choose a side", "fighting arrives and nobody can stay neutral"),
    ("hears scratching behind", "strange noises in the wall"),
    ("the house was cheap for a reason", "a bargain home with something wrong in it"),
    ("until the lights go out", "no one takes the warning seriously, then it gets dark"),
    ("opens what should have stayed shut", "something evil is let out and follows them"),
    ("every seven years someone in", "people vanish again and again at the same interval"),
    ("cameras follow", "filmed over twelve months in the wild"),
    ("depends on", "an animal that cannot survive without its surroundings"),
    ("waits in a hide to film", "half a year of patience for a shot of a shy creature"),
    ("is home to four hundred species", "a place of great biodiversity and one that is seldom seen"),
    ("from the air and from under water", "shots by drone and diver"),
    ("and meets", "travelling for one reason and falling for a stranger there"),
    ("ten years after they parted", "former lovers see each other again a decade later"),
    ("has given up on love", "no longer believing in relationships until someone knocks"),
    ("is engaged to the wrong man", "she is about to marry somebody who does not suit her"),
    ("a snowed-in night in", "stuck together because of a blizzard"),
    ("in the year 2190,", "a discovery at the end of the next century"),
    ("wakes from stasis", "comes out of cold sleep and all the others are gone"),
    ("on an orbital station above", "keeping watch on a platform circling the planet"),
    ("a company sells second lives", "a firm offers to live again, and someone finds where it leads"),
    ("forty light years from Earth", "very far out in space, a question of confidence"),
)


def measure(setting: Setting) -> Numbers:
    made = programmes(240 if setting.quick else SIZE, SEED)
    encoders = (setting.encoder,) if setting.encoder else ENCODERS[:1] if setting.quick else ENCODERS
    kept = [programme for programme in made if not EDITION.search(programme.title)]
    kinds = questions(kept, [programme for programme in made if EDITION.search(programme.title)])
    numbers: Numbers = {"programmes": len(kept), "seed": SEED, "encoders": {}}
    numbers["queries"] = {kind: len({text for text, _ in rows}) for kind, rows in kinds.items()}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "catalogue.csv"
        _write(table, [field.name for field in fields(Programme)], [astuple(programme) for programme in kept])
        for kind, rows in kinds.items():
            _write(Path(folder) / f"{kind}.csv", ["query", "id"], rows)
        for number, encoder in enumerate(encoders):
            out = Path(folder) / f"index-{number}"
            index(table, out=out, encoder=encoder, content="description")
            found = {kind: _evaluated(out, Path(folder) / f"{kind}.csv") for kind in kinds}
            numbers["encoders"][encoder] = {"kinds": found}
        opened = [open_index(Path(folder) / f"index-{number}") for number in range(len(encoders))]
        for encoder, took, rate in zip(encoders, latency(opened), speeds(encoders, kept, setting), strict=True):
            numbers["encoders"][encoder] |= {**took, "per_second": rate}
    return numbers


def questions(kept: Sequence[Programme], editions: Sequence[Programme]) -> dict[str, list[tuple[str, str]]]:
    """Pairs of query and id of an item that answers it, by kind of question."""
    categories = [
        (text, programme.id)
        for name, texts in CATEGORIES.items()
        for text in texts
        for programme in kept
        if programme.category == name
    ]
    plots = [
        (text, programme.id)
        for piece, text in PLOTS
        for programme in kept
        if piece.lower() in programme.description.lower()
    ]
    titles = {programme.title: programme for programme in kept}
    new = [
        (programme.description, titles[EDITION.split(programme.title)[0]].id)
        for programme in editions
        if EDITION.split(programme.title)[0] in titles
    ]
    return {"categories": categories, "plots": plots, "editions": new}


def _write(path: Path, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([names, *rows])


def _evaluated(out: Path, judgements: Path) -> Numbers:
    found = search(out, evaluate=str(judgements))
    assert isinstance(found, Evaluation)
    return {
        "queries": found.queries,
        "chosen": found.chosen,
        "worst": [[score.query, score.plain] for score in found.worst[:5]],
        "ways": {
            way.name: {
                "metrics": {m: way.metrics[m] for m in (METRIC, "accuracy@5", "mrr", "recall@1")},
                "gain": way.gain,
            }
            for way in found.ways
        },
    }


def speeds(encoders: Sequence[str], kept: Sequence[Programme], setting: Setting) -> list[float]:
    """Descriptions encoded in a second, a hundred together, none remembered: the best of five rounds in which encoders take turns."""
    at_once, rounds = (QUICK_AT_ONCE, QUICK_ROUNDS) if setting.quick else (AT_ONCE, ROUNDS)
    texts = [programme.description for programme in kept[:at_once]]
    opened = [open_encoder(encoder, modality="text") for encoder in encoders]
    took: list[list[float]] = [[] for _ in opened]
    for _ in range(rounds + 1):  # the first opens the models
        for encoder, times in zip(opened, took, strict=True):
            began = time.perf_counter()
            encode(texts, encoder)
            times.append(time.perf_counter() - began)
    return [len(texts) / min(times[1:]) for times in took]


def latency(indexes: Sequence[OpenedIndex]) -> list[Numbers]:
    """Milliseconds a question takes to be encoded, to be compared with all items, and to be looked up by words; medians of fifty. Indexes
    take turns, so that what else the machine does slows all alike."""
    took: list[dict[str, list[float]]] = [{"encode_ms": [], "compare_ms": [], "words_ms": []} for _ in indexes]
    for opened in indexes:
        opened.encode_queries(["the first one opens the model"])
    for _, text in PLOTS:
        for opened, times in zip(indexes, took, strict=True):
            clock = [time.perf_counter()]
            q_QD = next(iter(opened.encode_queries([text]).values()))
            clock.append(time.perf_counter())
            opened.search_vectors(q_QD, 10)
            clock.append(time.perf_counter())
            opened.by_words(text, 10)
            clock.append(time.perf_counter())
            for name, spent in zip(times, np.diff(clock), strict=True):
                times[name].append(1e3 * float(spent))
    return [
        {"width": next(iter(opened.views.values())).dim, **{name: float(np.median(v)) for name, v in times.items()}}
        for opened, times in zip(indexes, took, strict=True)
    ]


def present(numbers: Numbers) -> Page:
    encoders = numbers["encoders"]
    first, of = next(iter(encoders.items()))
    said = [
        f"{kind}: {_short(first)} {_value(of, kind, 'plain')}, words {_value(of, kind, 'words')}, both {_value(of, kind, 'hybrid')}"
        for kind in of["kinds"]
    ]
    plots = of["kinds"].get("plots")
    reading = ""
    if plots:
        gain = {way: plots["ways"][way]["gain"] for way in ("words", "hybrid")}
        reading = (
            f"For plots in other words, words alone differ from the vectors by {points(gain['words'])} points of nDCG@10, and joining the two changes them "
            f"by {points(gain['hybrid'])}. "
        )
    if len(encoders) > 1:
        reading += " ".join(
            f"{_short(name)} encodes a question in {found['encode_ms']:.1f} ms instead of {of['encode_ms']:.1f} and has "
            + ", ".join(f"{_value(found, kind, 'plain')} on {kind}" for kind in found["kinds"])
            + "."
            for name, found in list(encoders.items())[1:]
        )
        reading += (
            " All three are 384 numbers wide: blocks left out save time at best, not memory. Descriptions come from a grammar, so plots and "
            "categories share sentences: real catalogues are harder, and encoders of other makers wait for their weights (hub:...)."
        )
    return Page(
        answer=f"nDCG@10 on {numbers['programmes']:,} programmes: " + "; ".join(said) + ".",
        reading=reading,
        tables=[table_of_quality(numbers), table_of_costs(encoders), table_of_worst(of)],
        figures={"quality.svg": chart(encoders)},
    )


def _short(encoder: str) -> str:
    """`layer:minilm:encoder.layer.3` as "minilm to block 4"."""
    base, _, layer = encoder.removeprefix("layer:").partition(":encoder.layer.")
    return f"{base} to block {int(layer) + 1}" if layer.isdigit() else encoder


def _value(found: Mapping[str, Any], kind: str, way: str) -> str:
    return f"{found['kinds'][kind]['ways'][way]['metrics'][METRIC]['value']:.3f}"


def table_of_quality(numbers: Numbers) -> Table:
    rows = []
    for name, found in numbers["encoders"].items():
        for kind, one in found["kinds"].items():
            for way in (*WAYS, *([one["chosen"]] if one["chosen"] not in WAYS else [])):
                metrics, gain = one["ways"][way]["metrics"], one["ways"][way]["gain"]
                label = {"plain": _short(name), "words": "words (BM25)", "hybrid": f"{_short(name)} and words"}.get(
                    way, f"{_short(name)}, {way}"
                )
                if way == "words" and name != next(iter(numbers["encoders"])):
                    continue  # the same for every encoder
                rows.append(
                    (
                        f"{kind} ({one['queries']})", label,
                        *(percent(metrics[m]) for m in (METRIC, "accuracy@5", "recall@1", "mrr")),
                        "" if gain is None else points(gain),
                    )
                )  # fmt: skip
    return Table(
        f"{numbers['programmes']:,} programmes. Categories are answered by a hundred items each, plots by some twenty, editions by one.",
        (
            "questions",
            "search",
            "nDCG@10",
            "accuracy@5",
            "recall@1",
            "MRR",
            "nDCG@10 over the vectors (points, paired)",
        ),
        rows,
    )


def table_of_costs(encoders: Mapping[str, Any]) -> Table:
    rows = [
        (
            _short(name), str(found["width"]), f"{found['per_second']:,.0f}", f"{found['encode_ms']:.1f}",
            f"{found['compare_ms']:.2f}", f"{found['words_ms']:.1f}",
        )
        for name, found in encoders.items()
    ]  # fmt: skip
    columns = (
        "encoder",
        "width",
        "descriptions a second",
        "encode a question (ms)",
        "compare with all (ms)",
        "look up its words (ms)",
    )
    return Table(
        "Costs on a machine that others use too, in turns: medians of fifty questions one at a time, the best of five rounds of a hundred descriptions.",
        columns,
        rows,
    )


def table_of_worst(found: Mapping[str, Any]) -> Table:
    rows = [
        (kind, text if len(text) < 90 else text[:90] + "…", f"{plain:.2f}")
        for kind, one in found["kinds"].items()
        for text, plain in one["worst"][:3]
    ]
    return Table(
        "Questions that come off worst with the chosen way.", ("questions", "question", "nDCG@10 of the vectors"), rows
    )


def chart(encoders: Mapping[str, Any]) -> str:
    """nDCG@10 of every encoder alone and with words, by kind of question."""
    kinds = list(next(iter(encoders.values()))["kinds"])
    series = {_short(name): (found, "plain") for name, found in encoders.items()}
    first = next(iter(encoders))
    series["words (BM25)"] = (encoders[first], "words")
    series[f"{_short(first)} and words"] = (encoders[first], "hybrid")
    lines = []
    for name, (found, way) in series.items():
        values = [found["kinds"][kind]["ways"][way]["metrics"][METRIC] for kind in kinds]
        lines.append(
            Line(name, [(float(i), v["value"]) for i, v in enumerate(values)], [ends(v) for v in values], dashed=True)
        )
    ticks = {float(i): kind for i, kind in enumerate(kinds)}
    return line_chart("nDCG@10 by kind of question", Axis("questions", ticks), Axis("nDCG@10", percent=True), lines)


STUDY = Study(
    name="r03_semantic_search",
    title="R3: semantic search",
    question="How do three encoders and plain words search 1,000 programme descriptions: quality, latency, width?",
    measure=measure,
    present=present,
    expected={
        "encoders > minilm > kinds > categories > ways > plain > metrics > ndcg@10 > value": about(0.839, 0.03),
        "encoders > minilm > kinds > plots > ways > plain > metrics > ndcg@10 > value": about(0.559, 0.03),
        "encoders > minilm > kinds > plots > ways > words > metrics > ndcg@10 > value": about(0.062, 0.03),
        "encoders > minilm > kinds > plots > ways > hybrid > metrics > ndcg@10 > value": about(0.416, 0.05),
        "encoders > layer:minilm:encoder.layer.3 > kinds > plots > ways > plain > metrics > ndcg@10 > value": about(
            0.286, 0.04
        ),
        "encoders > layer:minilm:encoder.layer.1 > kinds > plots > ways > plain > metrics > ndcg@10 > value": about(
            0.213, 0.04
        ),
        "encoders > minilm > kinds > editions > ways > plain > metrics > recall@1 > value": (0.95, 1.0),
        "encoders > minilm > width": (384, 384),
    },
    expected_quick={
        "encoders > minilm > kinds > categories > ways > plain > metrics > ndcg@10 > value": about(0.783, 0.05),
        "encoders > minilm > kinds > plots > ways > plain > metrics > ndcg@10 > value": about(0.533, 0.05),
        "encoders > minilm > kinds > plots > ways > words > metrics > ndcg@10 > value": about(0.092, 0.05),
        "encoders > minilm > kinds > editions > ways > plain > metrics > recall@1 > value": (0.99, 1.0),
    },
    takes_encoder=True,
)

if __name__ == "__main__":
    main(STUDY)
