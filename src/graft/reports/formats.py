"""How numbers and words are written for people: percentages, times, intervals.

Signs: U+202F (narrow no-break space) before a unit, U+2013 between the ends of a range, U+2212 as minus.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from graft.results import Interval

NARROW = "\u202f"
NONE = "\u2013"


def percent(value: float, digits: int = 1) -> str:
    """A share in 0..1 as a percentage; what only rounds to 0 or 100 is said to be below or above the last step before it."""
    step = 10.0**-digits
    if 0 < value < 1 and not step / 2 <= 100 * value < 100 - step / 2:
        return f"<{step:.{digits}f}{NARROW}%" if value < 0.5 else f">{100 - step:.{digits}f}{NARROW}%"
    return f"{_percentage(value, digits)}{NARROW}%"


def _percentage(value: float, digits: int = 1) -> str:
    return f"{100 * value:.0f}" if value in (0.0, 1.0) else f"{100 * value:.{digits}f}"


def decimal(value: float, digits: int = 3) -> str:
    """A plain number with a fixed count of decimals."""
    return f"{value:.{digits}f}".replace("-", "\u2212")


def count(value: int) -> str:
    """A whole number with separators of thousands."""
    return f"{value:,}"


def plural(number: int, one: str, many: str = "") -> str:
    """`1 item`, `2 items`; `many` for the nouns an s does not make plural."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def seconds(value: float) -> str:
    """A time as a person would say it: `12 ms`, `8.1 s`, `2 min 5 s`, `1 h 12 min`."""
    if value < 0.0005:
        return f"<{NARROW}1{NARROW}ms"
    if value < 0.9995:
        return f"{1000 * value:.0f}{NARROW}ms"
    if value < 99.95:
        return f"{value:.1f}{NARROW}s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}{NARROW}min" + (f" {rest}{NARROW}s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{NARROW}h" + (f" {minutes}{NARROW}min" if minutes else "")


def about(value: float) -> str:
    """A rough time in seconds, to the digits that an estimate has: `< 1 s`, `7 s`, `12 min`, `3 h`."""
    if value < 1:
        return f"<{NARROW}1{NARROW}s"
    if value < 90:
        return f"{value:.0f}{NARROW}s"
    return f"{value / 60:.0f}{NARROW}min" if value < 5400 else f"{value / 3600:.0f}{NARROW}h"


def memory(megabytes: float) -> str:
    """Megabytes, or gigabytes from a thousand on; a dash for nothing measured."""
    if megabytes <= 0:
        return NONE
    return f"{megabytes / 1000:.1f}{NARROW}GB" if megabytes >= 1000 else f"{megabytes:.0f}{NARROW}MB"


def size(number: int) -> str:
    """Bytes as kB, MB or GB (thousands of one another); a dash for none."""
    if number <= 0:
        return NONE
    power = next((p for p in (9, 6, 3) if number >= 10**p), 0)
    word = {9: "GB", 6: "MB", 3: "kB", 0: "bytes"}[power]
    return f"{number / 10**power:.{0 if power in (0, 3) else 1}f}{NARROW}{word}"


def brief(value: float | None) -> str:
    """A setting's number in few signs, written as one would type it: `2e-4`, `0.05`, `12`; a dash for what is no number."""
    if (number := known(value)) is None:
        return NONE
    if number == 0 or 0.01 <= abs(number) < 1e6:
        return f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"
    mantissa, _, exponent = f"{number:.1e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def figure(value: float | None) -> str:
    """A measured number of any size in about four signs, with separators of thousands; a dash for what is no number."""
    if (number := known(value)) is None:
        return NONE
    size = abs(number)
    if 0 < size < 0.01:
        return f"{number:.2g}"
    return f"{number:,.0f}" if size >= 1000 else f"{number:.{1 if size >= 100 else 2 if size >= 10 else 3}f}"


def setting(value: Any) -> str:
    """A setting's value as a reader would write it on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return brief(value)
    if isinstance(value, (list, tuple)):
        return "+".join(setting(v) for v in value)
    return "none" if value is None else str(value)


def known(value: float | None) -> float | None:
    """The value where it is a number that can be drawn and written; None for nothing measured, not-a-number, infinities and their like."""
    return value if value is not None and math.isfinite(value) and abs(value) < 1e100 else None


def known_interval(interval: Interval | None) -> Interval | None:
    """The interval where its value is a number, its ends None unless both are."""
    if interval is None or known(interval.value) is None:
        return None
    if known(interval.low) is None or known(interval.high) is None:
        return Interval(interval.value, None, None, interval.n)
    return interval


@dataclass(frozen=True)
class Measure:
    """A measure's name for people and the way its values are written; `share` for those that live in 0..1 and read best as percentages."""

    name: str
    label: str
    share: bool
    lower_is_better: bool = False

    def value(self, value: float) -> str:
        """One value."""
        return percent(value) if self.share else decimal(value)

    def range(self, interval: Interval) -> str:
        """The ends of the interval, or an empty string when there are none."""
        if interval.low is None or interval.high is None:
            return ""
        if self.share:
            return f"{_percentage(interval.low)}{NONE}{_percentage(interval.high)}{NARROW}%"
        return f"{decimal(interval.low)}{NONE}{decimal(interval.high)}"

    def gain(self, interval: Interval) -> str:
        """A signed difference; shares in percentage points."""
        return self._signed(interval.value)

    def gain_range(self, interval: Interval) -> str:
        """The ends of a difference's interval, or an empty string when there are none."""
        if interval.low is None or interval.high is None:
            return ""
        return f"{self._signed(interval.low)} to {self._signed(interval.high)}"

    def _signed(self, value: float) -> str:
        text = f"{100 * value:+.1f}" if self.share else f"{value:+.3f}"
        return "0" + text[2:] if float(text) == 0 else text.replace("-", "\u2212")


MEASURES = {
    m.name: m
    for m in (
        Measure("accuracy", "Accuracy", share=True),
        Measure("macro_f1", "Macro F1", share=True),
        Measure("log_loss", "Log loss", share=False, lower_is_better=True),
        Measure("ece", "Calibration error (ECE)", share=False, lower_is_better=True),
        Measure("rmse", "RMSE", share=False, lower_is_better=True),
        Measure("mae", "Mean absolute error", share=False, lower_is_better=True),
        Measure("r2", "R²", share=False),
        Measure("poisson_deviance", "Poisson deviance", share=False, lower_is_better=True),
        Measure("d2", "D²", share=False),
        Measure("rps", "Ranked probability score", share=False, lower_is_better=True),
        Measure("kappa", "Quadratic weighted kappa", share=False),
        Measure("rank_error", "Mean distance in ranks", share=False, lower_is_better=True),
        Measure("micro_f1", "Micro F1", share=True),
        Measure("hamming", "Wrong answers (Hamming)", share=True, lower_is_better=True),
        Measure("average_precision", "Average precision, macro", share=False),
    )
}


def measure_named(name: str) -> Measure:
    """The measure of this name; one that is not known here is written as a plain number."""
    return MEASURES.get(name) or Measure(name, name[:1].upper() + name[1:].replace("_", " "), share=False)


def cut(text: str, letters: int) -> str:
    """The text, cut to a number of letters with an ellipsis in the last place."""
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "…"
