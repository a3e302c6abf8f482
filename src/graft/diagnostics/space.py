"""What the vectors of an index look like as a space: crowding, dimensions, hubs, the gap between pictures and texts, a way from one to another.

Everything is measured on at most `sample` items drawn by the seed, so that it ends in seconds at any size. Legend: N sampled items,
D dims, T texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graft.data.images import UnreadableImage, decode, thumbnail_uri
from graft.diagnostics.drawn import Floats, Ints, Question, Sample, Space, Words, check, draw, meeting
from graft.diagnostics.readings import readings
from graft.errors import DataError
from graft.metrics.geometry import map_2d, pca
from graft.metrics.intervals import mean_interval, wilson
from graft.metrics.space import (
    alignment,
    best_ranks,
    centred,
    cosines,
    hubness,
    mean_cosine,
    modality_gap,
    neighbour_purity,
    occurrences,
    representatives,
    similar_order,
    slerp,
    spectrum,
    uniformity,
    unit,
)
from graft.reports.formats import cut
from graft.reports.space import (
    Cone,
    Crossing,
    HeatMap,
    Histogram,
    Look,
    Neighbours,
    Path,
    Plane,
    SpaceEvidence,
    SpaceResult,
    Step,
)
from graft.reports.vector_map import MOST_PICTURE_BYTES
from graft.results import MapPoint

GROUPS, EACH = 8, 3  # of the heat maps: 24 items can be read on a phone
NEIGHBOURS = 10
STEPS = 9  # of a path, ends included
RANKS = (1, 5, 10)
HUBS = 8
MOST_POINTS, MOST_PICTURES = 1200, 600  # of the map; each picture takes some milliseconds to read
MOST_PAIRS = 150  # drawn on the planes of the gap
BINS, BARS = 48, 20
LETTERS = 160


def examine(index: Space, question: Question, *, name: str, path: str) -> tuple[SpaceResult, SpaceEvidence]:
    """Measure one view of an index, and gather what its report shows.

    Raises UsageError for a view, a column or a number of items that cannot be, DataError for unknown ids and with fewer than 12 items.
    """
    check(index, question)
    rng = np.random.default_rng(question.seed)
    sample = draw(index, question, rng)
    words = meeting(index, sample, question, rng)
    shown = _shown(index, sample, question, rng)
    heat_maps = _heat_maps(sample, words, shown)
    way = _path(index, sample, words, question, shown)
    measured: dict[str, Any] = {
        "spectrum": spectrum(sample.x_ND),
        "cone": _cone(sample.x_ND),
        "neighbours": _neighbours(sample),
        "crossing": _crossing(words) if words else None,
    }
    view = index.views[sample.view]
    result = SpaceResult(
        name=name,
        index=path,
        version=index.version,
        items=len(index),
        sampled=len(sample.rows),
        view=sample.view,
        views=tuple(index.views),
        modality=sample.kind,
        encoder=str(view.reference),
        findings=readings(**measured, items=sample.kind),
        heat_maps=heat_maps,
        path=way,
        seed=question.seed,
        **measured,
    )
    return result, _evidence(index, result, sample, words, rng)


def _shown(index: Space, sample: Sample, question: Question, rng: np.random.Generator) -> Ints:
    """Rows of the sample on the heat maps, like beside like: the ones asked for, or some near the centres of eight groups."""
    if question.items:
        place = {int(p): row for row, p in enumerate(sample.position_N)}
        wanted = [index.position(item) for item in dict.fromkeys(question.items)]
        rows = np.array([place[p] for p in wanted], np.int64)
    else:
        rows = representatives(sample.x_ND, GROUPS, EACH, rng)
    return rows[similar_order(sample.x_ND[rows])]


def _heat_maps(sample: Sample, words: Words | None, shown: Ints) -> tuple[HeatMap, ...]:
    ids = sample.ids
    names = tuple(ids[row] for row in shown)
    own = _table(cosines(sample.x_ND[shown], sample.x_ND[shown]))
    maps = [HeatMap((sample.kind, sample.kind), sample.view, "cosine", names, names, own)]
    if words is None:
        return tuple(maps)
    told = [int(c) for c in dict.fromkeys(words.of_N[shown].tolist()) if c >= 0]  # in the order of their pictures
    if len(told) < 2:
        return tuple(maps)
    texts = tuple(words.texts[c] for c in told)
    t_TD, x_ND = words.t_TD[told], words.x_ND[shown]
    maps.append(HeatMap(("text", "text"), words.view, "cosine", texts, texts, _table(cosines(t_TD, t_TD))))
    measure = "cosine" if words.cosine else "score"
    across = _table(words.scores(t_TD, x_ND))
    maps.append(HeatMap(("text", "image"), words.view, measure, texts, names, across))
    return tuple(maps)


def _table(values_NM: Floats) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(f"{v:.4g}") for v in row) for row in values_NM)


def _path(index: Space, sample: Sample, words: Words | None, question: Question, shown: Ints) -> Path | None:
    """The way between the items asked for, or between the two of the heat maps least alike."""
    if question.path:
        ends = [index.position(item) for item in question.path]
    else:
        near = cosines(sample.x_ND[shown], sample.x_ND[shown])
        a, b = np.unravel_index(int(near.argmin()), near.shape)
        ends = [int(sample.position_N[shown[int(end)]]) for end in (a, b)]
    first_D, last_D = index.vectors(sample.view, np.array(ends))
    try:
        way_SD = slerp(first_D, last_D, STEPS)
    except ValueError as problem:
        if not question.path:
            return None
        raise DataError(f"--path {question.path[0]} to {question.path[1]}: {problem}.") from problem
    found = index.search_vectors(way_SD.astype(np.float32), 5, view=sample.view)
    texts = _texts_by(index, words, ends)
    steps = []
    for s in range(STEPS):
        near_items = [
            (str(index.ids[int(p)]), float(score))
            for p, score in zip(found.positions[s], found.scores[s], strict=True)
            if p >= 0 and int(p) not in ends
        ]
        steps.append(Step(s / (STEPS - 1), tuple(near_items[:3]), texts[s] if texts else ()))
    start, end = (str(index.ids[p]) for p in ends)
    degrees = float(np.degrees(np.arccos(cosines(first_D[None], last_D[None])[0, 0])))
    return Path(start, end, degrees, bool(question.path), tuple(steps))


def _texts_by(index: Space, words: Words | None, ends: list[int]) -> list[tuple[tuple[str, float], ...]]:
    """The two texts nearest to each step of the same way, walked where texts and pictures meet."""
    if words is None:
        return []
    first_D, last_D = index.vectors(words.view, np.array(ends))
    try:
        way_SD = slerp(first_D, last_D, STEPS)
    except ValueError:
        return []
    scores_ST = words.scores(way_SD, words.t_TD)
    best_ST = np.argsort(-scores_ST, axis=1, kind="stable")[:, :2]
    return [
        tuple((cut(words.texts[t], LETTERS), float(scores_ST[s, t])) for t in best_ST[s].tolist()) for s in range(STEPS)
    ]


def _cone(x_ND: Floats) -> Cone:
    spaces = (x_ND, centred(x_ND))
    pair = np.triu_indices(len(x_ND), 1)
    values = [cosines(x, x)[pair] for x in spaces]
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    low, high = float(np.floor(low * 5) / 5), float(np.ceil(high * 5) / 5)  # ends whose quarters are round
    return Cone(
        mean=mean_cosine(spaces[0]),
        mean_centred=mean_cosine(spaces[1]),
        uniformity=uniformity(spaces[0]),
        uniformity_centred=uniformity(spaces[1]),
        histogram=_histogram(values, np.linspace(low, max(high, low + 0.2), BINS + 1)),
    )


def _histogram(values: Sequence[Floats], edges: Floats) -> Histogram:
    shares = [np.histogram(v, edges)[0] / len(v) for v in values]
    return tuple(
        (round(float(edge), 4), round(float(a), 5), round(float(b), 5))
        for edge, a, b in zip(edges[:-1], *shares, strict=True)
    )


def _neighbours(sample: Sample) -> Neighbours:
    k = min(NEIGHBOURS, len(sample.x_ND) - 1)
    middle_ND = centred(sample.x_ND)
    raw, after = occurrences(sample.x_ND, k), occurrences(middle_ND, k)
    wide = min(3, int(max(raw.max(), after.max())) // BARS + 1)
    edges = np.arange(
        0, BARS * wide + 1, wide, dtype=np.float64
    )  # whole numbers; what lies beyond is counted in the last bin
    hubs = tuple((sample.ids[i], int(raw[i])) for i in np.argsort(-raw, kind="stable")[:HUBS] if raw[i] > 2 * k)
    purity: dict[str, float] = {}
    if sample.code_N is not None:
        known = sample.code_N >= 0
        rows_ND, code_N = sample.x_ND[known], sample.code_N[known]
        purity["purity"] = neighbour_purity(rows_ND, code_N, min(k, len(rows_ND) - 1))
        purity["purity_centred"] = neighbour_purity(middle_ND[known], code_N, min(k, len(rows_ND) - 1))
        purity["alignment"] = _label_alignment(rows_ND, code_N)
    counts = [np.minimum(n, edges[-1] - 1) for n in (raw, after)]
    return Neighbours(hubness(raw, k), hubness(after, k), _histogram(counts, edges), hubs, **purity)


def _label_alignment(x_ND: Floats, code_N: Ints) -> float:
    """Mean squared distance of all pairs of one label: per label 2 n / (n - 1) times the variance of its unit rows."""
    rows_ND = unit(x_ND)
    total = pairs = 0.0
    for code in np.unique(code_N):
        group_ND = rows_ND[code_N == code]
        n = len(group_ND)
        total += n * float(np.square(group_ND - group_ND.mean(0)).sum())
        pairs += n * (n - 1) / 2
    return total / max(pairs, 1.0)


def _crossing(words: Words) -> Crossing:
    told = words.of_N >= 0
    x_ND, own_N = words.x_ND[told], words.of_N[told]
    relevant_TN = np.arange(len(words.texts))[:, None] == own_N
    asked = relevant_TN.any(1)
    t_TD, relevant_TN = words.t_TD[asked], relevant_TN[asked]
    closed_x, closed_t = centred(x_ND), centred(t_TD)
    before_T = best_ranks(words.scores(t_TD, x_ND), relevant_TN)
    after_T = best_ranks(cosines(closed_t, closed_x), relevant_TN)
    n = len(t_TD)
    first = relevant_TN.argmax(0)  # of each picture, the row of its text
    return Crossing(
        view=words.view,
        column=words.column,
        pictures=len(x_ND),
        queries=n,
        gap=modality_gap(x_ND, t_TD),
        closed=modality_gap(closed_x, closed_t),
        recall={str(k): wilson(int((before_T < k).sum()), n) for k in RANKS},
        recall_closed={str(k): wilson(int((after_T < k).sum()), n) for k in RANKS},
        gain={str(k): mean_interval((after_T < k).astype(float) - (before_T < k)) for k in RANKS},
        alignment=alignment(x_ND, t_TD[first]),
        alignment_closed=alignment(closed_x, closed_t[first]),
        learned=words.learned,
    )


def _evidence(
    index: Space, result: SpaceResult, sample: Sample, words: Words | None, rng: np.random.Generator
) -> SpaceEvidence:
    wanted = {*result.heat_maps[0].rows, *(hub for hub, _ in result.neighbours.hubs)}
    if result.path:
        wanted |= {result.path.start, result.path.end, *(i for step in result.path.steps for i, _ in step.items)}
    looks = {item: _look(index, index.position(item), sample.kind, side=112) for item in sorted(wanted)}
    points, method = _map(index, sample, result.seed, rng)
    return SpaceEvidence(looks, points, method, _planes(words) if words else ())


def _look(index: Space, position: int, kind: str, side: int) -> Look:
    """An item's small picture, or its text; a picture that can no longer be read is left empty."""
    name = str(index.ids[position])
    if kind == "text":
        content = str(index.payload([position], ["content"])[0].get("content") or "")
        return Look(name, text=cut(content, LETTERS))
    if kind != "image":
        return Look(name)
    try:
        return Look(name, picture=thumbnail_uri(decode(index.picture(position), side=side), side))
    except (UnreadableImage, OSError, DataError):
        return Look(name)


def _map(index: Space, sample: Sample, seed: int, rng: np.random.Generator) -> tuple[tuple[MapPoint, ...], str]:
    chosen = np.sort(rng.permutation(len(sample.rows))[:MOST_POINTS])
    xy, method = map_2d(sample.x_ND[chosen], seed=seed)
    looks: dict[int, Look] = {}
    room = MOST_PICTURE_BYTES if sample.kind == "image" else 10**9
    for row in rng.permutation(chosen)[: MOST_PICTURES if sample.kind == "image" else None].tolist():
        look = _look(index, int(sample.position_N[row]), sample.kind, side=48)
        room -= len(look.picture)
        if room < 0:
            break
        looks[row] = look
    points = []
    for (x, y), row in zip(xy.tolist(), chosen.tolist(), strict=True):
        code = -1 if sample.code_N is None else int(sample.code_N[row])
        label = sample.labels[code] if code >= 0 else sample.view
        look = looks.get(row, Look(""))
        points.append(MapPoint(round(x, 3), round(y, 3), label, label, sample.ids[row], look.text, look.picture))
    return tuple(points), method


def _planes(words: Words) -> tuple[Plane, ...]:
    """Pictures and their texts on two principal components, as stored and with each kind's mean taken away."""
    told = np.flatnonzero(words.of_N >= 0)[:MOST_PAIRS]
    x_ND, t_ND = unit(words.x_ND[told]), unit(words.t_TD[words.of_N[told]])
    planes = []
    for x, t in ((x_ND, t_ND), (centred(x_ND), centred(t_ND))):
        flat = pca(np.concatenate([x, t]), 2).tolist()
        placed = tuple((round(a, 4), round(b, 4)) for a, b in flat)
        planes.append((placed[: len(told)], placed[len(told) :]))
    return tuple(planes)
