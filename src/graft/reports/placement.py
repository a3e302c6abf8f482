"""Names beside the marks of a picture, placed so that none covers a mark or another name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

LETTER, LINE, MARK = 6.4, 13.0, 6.0  # width of a letter, height of a line, half a mark, in pixels
SIDES = (
    (11.0, 4.0, "start"),
    (-11.0, 4.0, "end"),
    (10.0, -9.0, "start"),
    (10.0, 17.0, "start"),
    (-10.0, -9.0, "end"),
    (-10.0, 17.0, "end"),
)


@dataclass(frozen=True)
class Name:
    """A word beside a mark: its offset in pixels and the end it hangs on (SVG's `text-anchor`)."""

    text: str
    dx: float
    dy: float
    anchor: str


@dataclass(frozen=True)
class Spot:
    """A mark to be named: its centre and the ends of its interval, in pixels, and the words to try, the best first."""

    x: float
    y: float
    low: float
    high: float
    words: tuple[str, ...]

    @property
    def body(self) -> tuple[Box, Box]:
        """The mark and the bar of its interval, which no name may cover."""
        mark = (self.x - MARK, self.y - MARK, self.x + MARK, self.y + MARK)
        return mark, (self.x - 2, self.high, self.x + 2, self.low)

    @property
    def places(self) -> tuple[tuple[float, float, str], ...]:
        """Offsets to try, the best first: beside the mark, then above and below its interval."""
        above, below = min(self.high - self.y, -MARK) - 5, max(self.low - self.y, MARK) + 14
        ends = tuple((0.0, dy, anchor) for dy in (above, below) for anchor in ("middle", "end", "start"))
        return SIDES + ends


def place(spots: Sequence[Spot], width: float) -> list[Name | None]:
    """A name for each spot in the order given, greedily: the first word in the first place that is free, or None."""
    taken = [box for spot in spots for box in spot.body]
    names: list[Name | None] = []
    for spot in spots:
        found = _free(spot, taken, width)
        names.append(found[0] if found else None)
        if found:
            taken.append(found[1])
    return names


def _free(spot: Spot, taken: Sequence[Box], width: float) -> tuple[Name, Box] | None:
    for text in spot.words:
        for dx, dy, anchor in spot.places:
            box = _box(spot.x + dx, spot.y + dy, LETTER * len(text), anchor)
            if box[0] >= 0 and box[2] <= width and not any(_overlap(box, other) for other in taken):
                return Name(text, round(dx, 1), round(dy, 1), anchor), box
    return None


def _box(x: float, baseline: float, width: float, anchor: str) -> Box:
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * width
    return left, baseline - LINE + 3, left + width, baseline + 3


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
