"""What was found of an index's vectors, and the report of it: one HTML page, of plain values alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from graft.metrics.space import Gap, Hubness, Spectrum
from graft.reports.build import html_page
from graft.reports.charts import Axis, Tick, linear_axis, time_parts
from graft.reports.formats import cut, decimal, percent
from graft.reports.vector_map import vector_map
from graft.results import Interval, MapPoint

NAME_LETTERS = 30
FAINTEST = 0.03  # opacity of the least similar, which must differ from no cell at all

Histogram = tuple[tuple[float, float, float], ...]  # (left edge, share before centring, share after) of each bin
Points = tuple[tuple[float, float], ...]
Plane = tuple[Points, Points]  # pictures and their texts, pair by pair


@dataclass(frozen=True)
class HeatMap:
    """Similarities of rows and columns, named by ids or by texts; `of` is what the two sides are: "image" or "text"."""

    of: tuple[str, str]
    view: str
    measure: str  # cosine | score
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Step:
    """A place on the path, `at` 0..1 of the way: the items and the texts nearest to it, each (id or text, score), best first."""

    at: float
    items: tuple[tuple[str, float], ...]
    texts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Path:
    """The great circle between two items: `degrees` apart, `asked` when the reader named them."""

    start: str
    end: str
    degrees: float
    asked: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Cone:
    """How directions are used: the mean cosine of random pairs and the uniformity, as stored and centred, and the cosines' histogram."""

    mean: float
    mean_centred: float
    uniformity: float
    uniformity_centred: float
    histogram: Histogram


@dataclass(frozen=True)
class Neighbours:
    """Who is whose neighbour, as stored and centred: hubness, the histogram of k-occurrences, the hubs (id, occurrences).

    `purity`: share of the k nearest that have an item's own label, and `alignment` of items of one label; None without labels.
    """

    raw: Hubness
    centred: Hubness
    histogram: Histogram
    hubs: tuple[tuple[str, int], ...]
    purity: float | None = None
    purity_centred: float | None = None
    alignment: float | None = None


@dataclass(frozen=True)
class Crossing:
    """Where texts meet pictures: the gap, and what closing it does to text-to-picture search.

    `recall` by k ("1", "5", "10"): share of `queries` texts with one of their own pictures among the first k of `pictures`; `gain` is the
    paired difference that closing makes. `alignment` is of the pairs. `learned`: the view is a bridge that was fitted on pairs.
    """

    view: str
    column: str
    pictures: int
    queries: int
    gap: Gap
    closed: Gap
    recall: Mapping[str, Interval]
    recall_closed: Mapping[str, Interval]
    gain: Mapping[str, Interval]
    alignment: float
    alignment_closed: float
    learned: bool = False


@dataclass(frozen=True)
class Finding:
    """One reading for a practitioner: its topic, its figure, what it means and what to do about it; `act` when something is to be done."""

    topic: str
    figure: str
    reading: str
    advice: str
    act: bool


@dataclass(frozen=True)
class SpaceResult:
    """The geometry of one view of an index, measured on `sampled` of its `items` items, drawn by `seed`."""

    name: str
    index: str
    version: int
    items: int
    sampled: int
    view: str
    views: tuple[str, ...]
    modality: str  # of the items seen in this view: image | text | item
    encoder: str
    findings: tuple[Finding, ...]
    spectrum: Spectrum
    cone: Cone
    neighbours: Neighbours
    crossing: Crossing | None = None
    heat_maps: tuple[HeatMap, ...] = ()
    path: Path | None = None
    seed: int = 0
    out: str = ""
    command: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """How one item is shown; the names are those the templates' `item` uses. `picture` is a data URI or empty."""

    item: str
    text: str = ""
    picture: str = ""


@dataclass(frozen=True)
class SpaceEvidence:
    """What the report shows beside the numbers; no part of `result.json`. `planes`: pictures and texts on two principal components, as
    stored and with the gap closed, each a pair ((x, y), ...) of equal length, item by item."""

    looks: Mapping[str, Look] = field(default_factory=dict)
    map: tuple[MapPoint, ...] = ()
    map_method: str = ""
    planes: tuple[Plane, ...] = ()


def space_report(result: SpaceResult, evidence: SpaceEvidence) -> str:
    """The report of a space: one HTML page below 5 MB, readable offline, on a phone and on paper."""
    nowhere = Look("")
    return html_page(
        "space.html",
        style="space.css",
        result=result,
        look=lambda item: evidence.looks.get(item, replace(nowhere, item=item)),
        heats=[(heat, heat_view(heat.rows, heat.columns, heat.values)) for heat in result.heat_maps],
        cosines=curves(result.cone.histogram, lambda value: decimal(value, 2)),
        occurrences=curves(result.neighbours.histogram, lambda value: f"{value:.0f}"),
        planes=[plane_view(plane) for plane in evidence.planes],
        map=vector_map(evidence.map, evidence.map_method, ()),
        times=time_parts(result.seconds),
    )


@dataclass(frozen=True)
class Curves:
    """Two outlines of one histogram, SVG paths in a box of 100 × 100, with their axes: as stored, and centred."""

    x: Axis
    y: Axis
    before: str
    after: str


def curves(histogram: Histogram, words: Callable[[float], str]) -> Curves | None:
    """Steps over the bins, all of one width, heights to one scale; None without bins."""
    if not histogram:
        return None
    left = [edge for edge, _, _ in histogram]
    width = left[1] - left[0] if len(left) > 1 else 1.0
    low, high = left[0], left[-1] + width
    top = max(max(before, after) for _, before, after in histogram) or 1.0
    x = Axis(low, high, False, False, tuple(Tick(25.0 * k, words(low + (high - low) * k / 4)) for k in range(5)))
    y = linear_axis([0.0, top], lambda share: percent(share, 0 if top > 0.05 else 1), lowest=0.0, highest=1.0)

    def outline(heights: Sequence[float]) -> str:
        steps = "".join(f"V{y.at(height):g}H{x.at(edge + width):g}" for edge, height in zip(left, heights, strict=True))
        return f"M0 100{steps}V100"

    return Curves(x, y, outline([b for _, b, _ in histogram]), outline([a for _, _, a in histogram]))


@dataclass(frozen=True)
class PlaneView:
    """Pictures and their texts on one plane, in per cent of a square; the two tuples go pair by pair."""

    pictures: Points
    texts: Points

    @property
    def pairs(self) -> tuple[tuple[tuple[float, float], tuple[float, float]], ...]:
        """Each picture with its text."""
        return tuple(zip(self.pictures, self.texts, strict=True))


def plane_view(plane: Plane) -> PlaneView:
    """Both kinds to one scale, so that distances stay true."""
    pictures, texts = plane
    every = [*pictures, *texts] or [(0.0, 0.0)]
    middle = [(min(p[axis] for p in every) + max(p[axis] for p in every)) / 2 for axis in (0, 1)]
    reach = max(max(abs(p[axis] - middle[axis]) for axis in (0, 1)) for p in every) or 1.0

    def placed(points: Points) -> Points:
        return tuple(
            (round(50 + 46 * (x - middle[0]) / reach, 1), round(50 - 46 * (y - middle[1]) / reach, 1))
            for x, y in points
        )

    return PlaneView(placed(pictures), placed(texts))


# -- heat maps: cells shaded from the least to the greatest; N rows, M columns -----------------------------------------


@dataclass(frozen=True)
class HeatCell:
    """A square: column, row, how strongly it is shaded (0..1), and what is said when one points at it."""

    column: int
    row: int
    shade: float
    title: str


@dataclass(frozen=True)
class HeatView:
    """The picture: cells, the ends and the middle of the scale, and the two different things most alike with their similarity."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[HeatCell, ...]
    low: float
    high: float
    best: tuple[str, str, float] | None

    @property
    def middle(self) -> float:
        """The value halfway between the ends."""
        return (self.low + self.high) / 2


def heat_view(rows: Sequence[str], columns: Sequence[str], values: Sequence[Sequence[float]]) -> HeatView:
    """The scale runs from the 1st to the 99th percentile of what is not an item with itself; beyond, the colour stays at its end."""
    values_NM = np.asarray(values, np.float64).reshape(len(rows), len(columns))
    own_NM = np.array([[a == b for b in columns] for a in rows]).reshape(values_NM.shape)
    others = values_NM[~own_NM] if (~own_NM).any() else values_NM.ravel()
    low, high = (float(v) for v in np.percentile(others, (1, 99)))
    shade_NM = ((values_NM - low) / max(high - low, 1e-9)).clip(0, 1) * (1 - FAINTEST) + FAINTEST
    row, column = np.unravel_index(int(np.where(own_NM, -np.inf, values_NM).argmax()), values_NM.shape)
    cells = tuple(
        HeatCell(m, n, round(float(shade_NM[n, m]), 2), _title(rows[n], columns[m], float(values_NM[n, m])))
        for n in range(len(rows))
        for m in range(len(columns))
    )
    best = None if own_NM.all() else (rows[int(row)], columns[int(column)], float(values_NM[row, column]))
    return HeatView(tuple(rows), tuple(columns), cells, low, high, best)


def _title(row: str, column: str, value: float) -> str:
    return f"{cut(row, NAME_LETTERS)} · {cut(column, NAME_LETTERS)}: {decimal(value)}"
