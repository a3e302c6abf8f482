"""Moments as people write them: seconds or milliseconds since 1970, ISO 8601, other dates in digits, and dates with English months.

One column may mix forms: every cell is read by itself, and the forms met are counted so that they can be told. What one cell cannot
tell (whether 03/04/2021 is in March or April, whether 20210304 is a date) is decided by the first rows of the column.

Legend: N cells, V different cells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.data.columns import is_missing

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float64]

# A number beyond the first of these is no second: that second is in the year 5138, as a millisecond it is in 1973.
_UNITS = (("seconds", 1.0, 1e11), ("milliseconds", 1e3, 1e14), ("microseconds", 1e6, 1e17), ("nanoseconds", 1e9, 1e20))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    *("december", "sept"),
)
_CLOCK = re.compile(r"\b(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\s*([ap]m)?\b", re.IGNORECASE)
_ZONE = re.compile(r"(?:\b(?:UTC|GMT)|Z)?\s*([+-])(\d{2}):?(\d{2})\s*$|(?:\b(?:UTC|GMT)|(?<=\d)Z)\s*$", re.IGNORECASE)
_DIGITS = re.compile(r"(\d{1,4})([/.\-])(\d{1,2})\2(\d{4}|\d{2})")
_WORDS = re.compile(r"[A-Za-z]+|\d+|[^\sA-Za-z\d,.\-/]")
_YEAR = re.compile(r"1[0-9]{3}|2[01][0-9]{2}")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Moments:
    """A column of times: what its first rows decide, and the forms met so far. `ambiguous` when they leave day and month open."""

    day_first: bool = False
    compact: bool = False  # eight digits are year, month, day
    years: bool = False  # four digits are a year
    ambiguous: bool = False
    forms: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, sample: Sequence[Any]) -> Moments:
        """Decide by the first rows' cells."""
        cells = [str(cell).strip() for cell in sample if not is_missing(cell)]
        cells = [cell.removesuffix(".0") for cell in cells]
        parts = [found for cell in cells if (found := _DIGITS.match(cell)) and len(found[1]) < 3]
        day_first = sum(int(found[1]) > 12 for found in parts)
        month_first = sum(int(found[3]) > 12 for found in parts)
        return cls(
            day_first=day_first > month_first,
            compact=bool(cells) and all(len(cell) == 8 and _compact(cell) is not None for cell in cells),
            years=bool(cells) and all(_YEAR.fullmatch(cell) for cell in cells),
            ambiguous=bool(parts) and day_first == month_first == 0,
        )  # fmt: skip

    def read(self, column: pa.Array) -> Floats:
        """Seconds since 1970 UTC of an Arrow column (texts, numbers or moments); NaN where a cell is missing or no time."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            self.forms["moments"] += len(column) - column.null_count
            whole = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
            return np.asarray(pc.cast(whole, pa.float64()).to_numpy(zero_copy_only=False) / 1e6, np.float64)
        try:
            numbers = pc.cast(column, pa.float64())
        except pa.ArrowInvalid:
            codes = pc.dictionary_encode(column.fill_null(""))
            read_V = np.array(
                [self._cell(cell) for cell in codes.dictionary.to_pylist()], dtype=[("at", "f8"), ("form", "U32")]
            )
            of_N = codes.indices.to_numpy()
            met = Counter(read_V["form"][of_N].tolist())
            self.forms.update({form: count for form, count in met.items() if form})
            return np.asarray(read_V["at"][of_N], np.float64)
        return self._numbers(np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64))

    def read_cells(self, cells: Sequence[Any]) -> Floats:
        """The same for Python values, such as a table's cells."""
        found = [self._cell(cell) for cell in cells]
        self.forms.update(form for _, form in found if form)
        return np.array([at for at, _ in found], np.float64)

    def told(self) -> str:
        """The forms met, commonest first: `seconds`, or `seconds 90, ISO dates 10`."""
        if len(self.forms) == 1:
            return next(iter(self.forms))
        return ", ".join(f"{form} {count:,}" for form, count in self.forms.most_common())

    def _numbers(self, number_N: Floats) -> Floats:
        if not self.compact and not self.years:
            return self._units(number_N)
        number_V, of_N = np.unique(number_N, return_inverse=True)
        moment_N = np.array([self._day(number) for number in number_V.tolist()], np.float64)[of_N]
        day_N = ~np.isnan(moment_N)
        self.forms["years" if self.years else "dates YYYYMMDD"] += int(day_N.sum())
        moment_N[~day_N] = self._units(number_N[~day_N])
        return moment_N

    def _day(self, number: float) -> float:
        digits = f"{number:.0f}" if np.isfinite(number) else ""
        day = _compact(digits + "0101" if self.years else digits)
        return np.nan if day is None else day

    def _units(self, number_N: Floats) -> Floats:
        size_N = np.where(np.isfinite(number_N), np.abs(number_N), np.inf)
        moment_N, least = np.full(len(number_N), np.nan), -1.0
        for unit, scale, limit in _UNITS:
            inside_N = (size_N >= least) & (size_N < limit)
            if count := int(inside_N.sum()):
                self.forms[unit] += count
                moment_N[inside_N] = number_N[inside_N] / scale
            least = limit
        return moment_N

    def _cell(self, cell: Any) -> tuple[float, str]:
        """(seconds since 1970, form) of one cell, or (NaN, "")."""
        if is_missing(cell):
            return np.nan, ""
        if isinstance(cell, (datetime, date)):
            cell = cell.isoformat()
        text = str(cell).strip()
        try:
            number = float(text)
        except ValueError:
            return self._text(text)
        alone = Moments(compact=self.compact, years=self.years)
        at = float(alone._numbers(np.array([number]))[0])
        return at, next(iter(+alone.forms), "")

    def _text(self, text: str) -> tuple[float, str]:
        try:
            return _seconds(datetime.fromisoformat(text)), "ISO dates"
        except (ValueError, OverflowError):
            pass
        try:
            return self._other(text)
        except (ValueError, OverflowError):
            return np.nan, ""

    def _other(self, text: str) -> tuple[float, str]:
        """Dates in digits that are not ISO's, and dates with a month's English name. Raises ValueError."""
        rest, ahead = _cut_zone(text)
        rest, clock = _cut_clock(rest)
        if found := _DIGITS.fullmatch(rest.strip(" ,T")):
            first, month, last = int(found[1]), int(found[3]), int(found[4])
            if len(found[1]) == 4:
                return _seconds(datetime(first, month, last)) + clock - ahead, "year/month/day"
            year = last if len(found[4]) == 4 else last + (2000 if last < 70 else 1900)
            if month > 12 or (first <= 12 and not self.day_first):
                return _seconds(datetime(year, first, month)) + clock - ahead, "month/day/year"
            return _seconds(datetime(year, month, first)) + clock - ahead, "day/month/year"
        return _named(rest) + clock - ahead, "dates with month names"


def _seconds(moment: datetime) -> float:
    known = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (known - _EPOCH) / timedelta(seconds=1)


def _compact(digits: str) -> float | None:
    """Seconds of `YYYYMMDD`, or None when it is no day from 1800 to 2199."""
    if len(digits) != 8 or not digits.isdecimal() or not 1800 <= int(digits[:4]) < 2200:
        return None
    try:
        return _seconds(datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:])))
    except ValueError:
        return None


def _cut_zone(text: str) -> tuple[str, int]:
    """The text without its zone, and by how many seconds that is ahead of UTC; a zone follows a time of day."""
    found = _ZONE.search(text) if ":" in text else None
    if found is None or not _CLOCK.search(text[: found.start()]):
        return text, 0
    ahead = 0
    if found[1]:
        ahead = (int(found[2]) * 60 + int(found[3])) * (-60 if found[1] == "-" else 60)
    return text[: found.start()], ahead


def _cut_clock(text: str) -> tuple[str, float]:
    """The text without its time of day, and that in seconds."""
    found = _CLOCK.search(text)
    if found is None:
        return text, 0.0
    hour, minute, second = int(found[1]), int(found[2]), int(found[3] or 0)
    if half := (found[5] or "").lower():
        if not 1 <= hour <= 12:
            raise ValueError("no such hour")
        hour = hour % 12 + (12 if half == "pm" else 0)
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("no such time of day")
    return text[: found.start()] + " " + text[found.end() :], hour * 3600 + minute * 60 + second + float(
        f"0.{found[4] or 0}"
    )


def _named(text: str) -> float:
    """Seconds of `Jan 5, 2021`, `5 January 2021`, `05-Jan-2021`, `Tue Jan 5 2021`, in any order. Raises ValueError."""
    month, numbers = 0, []
    for word in _WORDS.findall(text):
        lowered = word.lower()
        if word.isdecimal():
            numbers.append(word)
        elif lowered[:3] in _MONTHS and (lowered in _FULL or len(lowered) == 3) and not month:
            month = _MONTHS.index(lowered[:3]) + 1
        elif lowered not in ("st", "nd", "rd", "th") and not (lowered[:3] in _WEEKDAYS and not lowered.isdecimal()):
            raise ValueError("no date")
    years = [number for number in numbers if len(number) == 4]
    days = [number for number in numbers if len(number) <= 2]
    if not month or len(years) != 1 or len(days) != 1 or len(numbers) != 2:
        raise ValueError("no date")
    return _seconds(datetime(int(years[0]), month, int(days[0])))
