"""Encoders in order for some labelled items, and which signal decided.

The probe decides: what two quick strategies get right on folds, their mean. Whether its lead is more than chance is said. Where the probe gets exactly
as many right with several, LogME decides; where no folds can be drawn, the static ranker does: pretrained before not, whole networks before inner
layers, larger before smaller, the oldest rule of thumb. On four public sets the probe's first was nearer to the best than that of LogME or of size, on
three others it was not: of encoders within five points of each other none of them tells the best (docs/LOG.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from graft.encoders.base import EncoderInfo
from graft.metrics.intervals import corrected_resampled_t
from graft.planning.advice import EncoderAdvice
from graft.planning.domain import Distance
from graft.planning.probe import Probe
from graft.reports.formats import percent
from graft.results import Interval

SIGNALS = {
    "probe": "the probe: its lead over every other cannot be chance",
    "close": "the probe, though its lead over some may be chance",
    "logme": "LogME, among those with which the probe gets as many right",
    "static": "size and pretraining alone: there are no folds to probe on",
    "one": "nothing had to: only one of them takes these items",
}


@dataclass(frozen=True, eq=False)
class Entry:
    """One encoder as it was looked at: facts, the probe and LogME of its vectors, None where there are no labels to speak of."""

    info: EncoderInfo
    distance: Distance
    probe: Probe | None = field(default=None, repr=False)
    logme: float | None = None
    seconds: float | None = None


def rank(entries: Sequence[Entry], unfit: Sequence[tuple[str, str]]) -> tuple[tuple[EncoderAdvice, ...], str]:
    """The encoders best first, those that do not take the items last (`unfit` are references with reasons), and what decided, in words."""
    places = {id(e): place for place, e in enumerate(sorted(entries, key=lambda e: _static(e.info), reverse=True), 1)}
    probed = [e for e in entries if _scores(e) is not None]
    if len(entries) == 1:
        decided, order = "one", list(entries)
    elif len(probed) < len(entries):
        decided, order = "static", sorted(entries, key=lambda e: places[id(e)])
    else:
        decided, order = _by_measure(entries, places)
    best = order[0] if order else None
    rows = [_advice(e, best, places[id(e)]) for e in order]
    rows += [EncoderAdvice(reference, "unfit", reason) for reference, reason in unfit]
    return tuple(rows), SIGNALS[decided]


def _by_measure(entries: Sequence[Entry], places: dict[int, int]) -> tuple[str, list[Entry]]:
    """The signal that decided, and the order: by the probe, then by LogME, then by size and pretraining."""

    def right(entry: Entry) -> float:
        return round(float(_must(entry).mean()), 9)

    order = sorted(entries, key=lambda e: (-right(e), -(e.logme if e.logme is not None else -np.inf), places[id(e)]))
    if right(order[0]) == right(order[1]):
        return "logme", order
    return "probe" if all(_apart(order[0], other) for other in order[1:]) else "close", order


def _advice(entry: Entry, best: Entry | None, place: int) -> EncoderAdvice:
    info, scores = entry.info, _scores(entry)
    gap = None
    if scores is not None and best is not None and best is not entry and (others := _scores(best)) is not None:
        gap = corrected_resampled_t(scores - others, *_sizes(entry))
    made = EncoderAdvice(
        info.reference,
        "ranked",
        "",
        probe=None if scores is None else within(corrected_resampled_t(scores, *_sizes(entry))),
        gap=gap,
        logme=entry.logme,
        static=place,
        parameters=info.parameters,
        dim=info.dim,
        licence=info.licence,
        distance=entry.distance,
        seconds=entry.seconds,
    )
    return replace(made, reason=_reason(made, first=entry is best))


def _reason(row: EncoderAdvice, *, first: bool) -> str:
    if row.probe is None:
        return "No folds could be drawn, so that only its size and pretraining speak."
    if first:
        return f"The probe gets {percent(row.probe.value)} right on its vectors."
    if row.gap is None or row.gap.low is None or row.gap.high is None:
        return ""
    if row.gap.high < 0:
        return f"{-100 * row.gap.value:.1f} points below the first ({-100 * row.gap.high:.1f} to {-100 * row.gap.low:.1f}): beyond chance."
    side = "below" if row.gap.value < 0 else "above"
    return f"{abs(100 * row.gap.value):.1f} points {side} the first by the probe, which may be chance."


def within(found: Interval) -> Interval:
    """An interval of a share, its ends within 0 and 1."""
    low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (found.low, found.high))
    return replace(found, low=low, high=high)


def _static(info: EncoderInfo) -> tuple[bool, bool, int]:
    """Pretrained, whole, and how large."""
    parameters = info.parameters
    return parameters != 0, not info.reference.startswith("layer:"), parameters or 0


def _scores(entry: Entry) -> NDArray[np.float64] | None:
    """Shares right by fold (F,), the mean of the strategies that were tried; None without folds."""
    if entry.probe is None or not entry.probe.scores:
        return None
    shares_F: NDArray[np.float64] = np.mean(list(entry.probe.scores.values()), axis=0)
    return shares_F


def _must(entry: Entry) -> NDArray[np.float64]:
    scores = _scores(entry)
    assert scores is not None
    return scores


def _sizes(entry: Entry) -> tuple[float, float]:
    assert entry.probe is not None
    return entry.probe.sizes


def _apart(best: Entry, other: Entry) -> bool:
    """Whether the best's lead keeps its interval above zero."""
    gap = corrected_resampled_t(_must(best) - _must(other), *_sizes(best))
    return gap.low is not None and gap.low > 0
