"""A line chart as a stand-alone SVG: labelled axes, interval bars, a legend beside the lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#555555",
    "#000000",
)  # Okabe and Ito: told apart by all
WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 570, 48, 360  # the plot's edges; the legend stands to its right


@dataclass(frozen=True)
class Line:
    """One line: points (x, y), the ends (low, high) of their intervals in the same order where there are any."""

    name: str
    points: Sequence[tuple[float, float]]
    ends: Sequence[tuple[float, float]] = ()
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: its label, and for x the words at its ticks (default: the values of the points) or a logarithmic scale."""

    label: str
    ticks: Mapping[float, str] | None = None
    log: bool = False
    percent: bool = False


def line_chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """The chart as the text of an SVG file. Raises ValueError without a point."""
    xs = sorted({px for line in lines for px, _ in line.points})
    ys = [v for line in lines for pair in (*((py,) for _, py in line.points), *line.ends) for v in pair]
    if not xs:
        raise ValueError(f"{title}: there is nothing to draw.")
    ticks = _round_ticks(min(ys), max(ys))
    low, high = min(ticks[0], min(ys)), max(ticks[-1], max(ys))
    scale = math.log if x.log else float
    span = (scale(xs[-1]) - scale(xs[0])) or 1.0

    def at_x(value: float) -> float:
        return LEFT + 14 + (RIGHT - LEFT - 28) * (scale(value) - scale(xs[0])) / span

    def at_y(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (value - low) / ((high - low) or 1.0)

    parts = [_text(LEFT, 24, title, size=15, anchor="start", weight="600")]
    for tick in ticks:
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{at_y(tick):.1f}" y2="{at_y(tick):.1f}" stroke="#dddddd"/>')
        parts.append(
            _text(LEFT - 8, at_y(tick) + 4, f"{100 * tick:.4g} %" if y.percent else f"{tick:.4g}", anchor="end")
        )
    for value, words in (x.ticks or {v: f"{v:g}" for v in xs}).items():
        parts.append(_text(at_x(value), BOTTOM + 20, words))
    parts.append(_text((LEFT + RIGHT) / 2, BOTTOM + 46, x.label, size=13))
    middle = (TOP + BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 16 {middle})">{_text(16, middle, y.label, size=13)}</g>')
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        parts += _drawn(line, colour, at_x, at_y)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        row = TOP + 12 + 22 * number
        parts.append(
            f'<line x1="{RIGHT + 14}" x2="{RIGHT + 40}" y1="{row}" y2="{row}" stroke="{colour}" stroke-width="2.5"{dash}/>'
        )
        parts.append(_text(RIGHT + 46, row + 4, line.name, anchor="start"))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _drawn(line: Line, colour: str, at_x, at_y) -> list[str]:  # type: ignore[no-untyped-def]
    path = " ".join(f"{at_x(px):.1f},{at_y(py):.1f}" for px, py in line.points)
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>']
    for (px, _), (low, high) in zip(line.points, line.ends, strict=bool(line.ends)):
        parts.append(
            f'<line x1="{at_x(px):.1f}" x2="{at_x(px):.1f}" y1="{at_y(low):.1f}" y2="{at_y(high):.1f}" '
            f'stroke="{colour}" stroke-width="1.2" opacity="0.7"/>'
        )
    parts += [f'<circle cx="{at_x(px):.1f}" cy="{at_y(py):.1f}" r="3.2" fill="{colour}"/>' for px, py in line.points]
    return parts


def _text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "middle", weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" '
        f'fill="#222222">{escape(words)}</text>'
    )


def _round_ticks(low: float, high: float) -> list[float]:
    """About five round values that enclose the range."""
    rough = ((high - low) or abs(high) or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]
