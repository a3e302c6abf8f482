"""The map of the vectors: where each point lies on the page, which colour it has, and what is said when one points at it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graft.reports.formats import cut
from graft.results import ClassRow, MapPoint

MOST_POINTS = 1500
MOST_COLOURS = 10
NARROWEST, WIDEST = 1.2, 1.7  # width over height
MARGIN = 3.0  # per cent left free at each edge
ITEM_LETTERS, TEXT_LETTERS = 60, 120
MOST_PICTURE_BYTES = 1_600_000


@dataclass(frozen=True)
class Dot:
    """One point: position in per cent, colour 0..9 or None for grey, and whether its item was taken for another class."""

    x: float
    y: float
    colour: int | None
    wrong: bool


@dataclass(frozen=True)
class Entry:
    """A class: its number in the script's data, its colour (None for grey) and how many points it has."""

    code: int
    name: str
    colour: int | None
    n: int


@dataclass(frozen=True)
class VectorMap:
    """The section; `data` is what the page's script reads: classes and, for each dot in order, [label, predicted, item, text, picture]."""

    dots: tuple[Dot, ...]
    classes: tuple[Entry, ...]
    method: str
    aspect: float
    data: Mapping[str, Any]

    @property
    def legend(self) -> tuple[Entry, ...]:
        """The classes that have a colour."""
        return tuple(entry for entry in self.classes if entry.colour is not None)


def vector_map(points: Sequence[MapPoint], method: str, rows: Sequence[ClassRow]) -> VectorMap | None:
    """The map of at most 1,500 points (evenly taken), right ones first so that wrong ones lie on top; None without points.

    Up to ten classes all have a colour; of more, the nine with most errors do and the rest is grey.
    """
    points = points[:: -(-len(points) // MOST_POINTS)] if points else points
    if not points:
        return None
    points = sorted(points, key=lambda p: p.label != p.predicted)
    colours = _colours(points, rows)
    codes = {
        name: code for code, name in enumerate(dict.fromkeys(name for p in points for name in (p.label, p.predicted)))
    }
    numbers = Counter(p.label for p in points)
    classes = tuple(Entry(codes[name], name, colours.get(name), numbers[name]) for name in sorted(numbers))
    aspect, places = _fitted(points)
    dots = tuple(
        Dot(x, y, colours.get(p.label), p.label != p.predicted) for p, (x, y) in zip(points, places, strict=True)
    )
    every = -(-sum(len(p.picture) for p in points) // MOST_PICTURE_BYTES) or 1
    said = [
        [
            codes[p.label],
            codes[p.predicted],
            cut(p.item, ITEM_LETTERS),
            cut(p.text, TEXT_LETTERS),
            _picture(p) if i % every == 0 else "",
        ]
        for i, p in enumerate(points)
    ]
    data = {"classes": [cut(name, TEXT_LETTERS) for name in codes], "points": said}
    return VectorMap(dots, classes, method, aspect, data)


def _picture(point: MapPoint) -> str:
    return point.picture if point.picture.startswith("data:image/") else ""


def _colours(points: Sequence[MapPoint], rows: Sequence[ClassRow]) -> dict[str, int]:
    """A colour for every class, or for the nine with most errors (then most points) where there are more than ten."""
    numbers = Counter(p.label for p in points)
    if len(numbers) <= MOST_COLOURS:
        return {name: colour for colour, name in enumerate(sorted(numbers))}
    errors = {r.name: r.n * (1 - (r.recall or 0.0)) for r in rows}
    worst = sorted(numbers, key=lambda name: (-errors.get(name, 0.0), -numbers[name], name))[: MOST_COLOURS - 1]
    return {name: colour for colour, name in enumerate(sorted(worst))}


def _fitted(points: Sequence[MapPoint]) -> tuple[float, list[tuple[float, float]]]:
    """Width over height of the map, and positions in per cent: both directions to one scale, so that distances stay true."""
    left, right = min(p.x for p in points), max(p.x for p in points)
    low, high = min(p.y for p in points), max(p.y for p in points)
    width, height = right - left or 1.0, high - low or 1.0
    aspect = round(min(WIDEST, max(NARROWEST, width / height)), 2)
    scale = (100 - 2 * MARGIN) * min(aspect / width, 1 / height)
    across, up = (left + right) / 2, (low + high) / 2
    return aspect, [(round(50 + (p.x - across) * scale / aspect, 1), round(50 - (p.y - up) * scale, 1)) for p in points]
