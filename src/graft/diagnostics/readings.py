"""What the measures of a space mean for a practitioner, one plain sentence each, and what to do about it."""

from __future__ import annotations

from graft.metrics.space import Spectrum
from graft.reports.formats import count, decimal, percent
from graft.reports.space import Cone, Crossing, Finding, Neighbours

NARROW = 0.2  # mean cosine of random pairs from which a cone is worth speaking of
HUBS = 1.0  # skewness of the k-occurrence from which there are hubs
SPARSE = 0.5  # share of the dims that hold 90 % of the variance, below which shorter vectors are worth a try
GAP = 0.5  # of the mean distance across: a gap that large is most of what lies between a picture and a text
CLEAR = 0.01  # change of a share that is worth acting on


def readings(
    spectrum: Spectrum, cone: Cone, neighbours: Neighbours, crossing: Crossing | None, *, items: str
) -> tuple[Finding, ...]:
    """Findings in the order of the report; those to act on say what to do, with the figure that speaks for it."""
    noun = {"image": "pictures", "text": "texts"}.get(items, "items")
    found = [_crowding(cone, neighbours, noun), _dimensions(spectrum), _hubs(neighbours, noun)]
    if neighbours.purity is not None:
        found.append(_labels(neighbours, noun))
    if crossing:
        found.append(_gap(crossing))
    return tuple(found)


def _crowding(cone: Cone, neighbours: Neighbours, noun: str) -> Finding:
    figure = f"mean cosine {_rounded(cone.mean)}"
    if cone.mean < NARROW:
        reading = f"Directions are used evenly: two random {noun} have a cosine of {_rounded(cone.mean)}."
        return Finding("Crowding", figure, reading, "Nothing to do: cosines can be read as they are.", act=False)
    reading = (
        f"The {noun} crowd in a cone: two random ones have a cosine of {_rounded(cone.mean)} "
        f"({_rounded(cone.mean_centred)} once the mean vector is taken away), so a high cosine by itself says little."
    )
    effect, act = _effect_of_centring(neighbours)
    advice = f"Set thresholds by rank or by comparison with random pairs, not by a fixed cosine. {effect}"
    return Finding("Crowding", figure, reading, advice, act)


def _effect_of_centring(neighbours: Neighbours) -> tuple[str, bool]:
    """What centring does to the labels of neighbours, or to the hubs where there are no labels; True where labels speak for it."""
    before, after = neighbours.purity, neighbours.purity_centred
    if before is None or after is None:
        change = f"{decimal(neighbours.raw.skewness, 1)} to {decimal(neighbours.centred.skewness, 1)}"
        return (
            f"Centring the vectors takes the skewness of the hubs from {change}; try it on queries of your own.",
            False,
        )
    if abs(after - before) < CLEAR:
        return (
            f"Centring the vectors changes little: neighbours bear the same label {percent(after)} of the time.",
            False,
        )
    change = f"neighbours bear the same label {percent(after)} of the time, not {percent(before)}"
    better = after > before
    return f"Centre the vectors: {change}." if better else f"Do not centre the vectors: then {change}.", better


def _rounded(cosine: float) -> str:
    """Two decimals, without the sign of a zero."""
    return decimal(round(cosine, 2) + 0.0, 2)


def _dimensions(spectrum: Spectrum) -> Finding:
    figure = f"{decimal(spectrum.participation, 0)} of {count(spectrum.dims)}"
    surface = (
        f", and the items lie on a surface of about {decimal(spectrum.intrinsic, 0)}" if spectrum.intrinsic else ""
    )
    reading = (
        f"Of {count(spectrum.dims)} numbers a vector, variance spreads over as much as {decimal(spectrum.participation, 0)} equal "
        f"dimensions would hold{surface}; {count(spectrum.components_90)} principal components hold 90 % of it."
    )
    sparse = 0 < spectrum.components_90 <= SPARSE * spectrum.dims
    advice = (
        f"Memory could fall to {percent(spectrum.components_90 / spectrum.dims, 0)} by keeping {count(spectrum.components_90)} components; "
        "measure the recall against the full vectors first."
        if sparse
        else "Nothing to gain from shorter vectors."
    )
    return Finding("Dimensions", figure, reading, advice, act=False)


def _hubs(neighbours: Neighbours, noun: str) -> Finding:
    raw, after = neighbours.raw, neighbours.centred
    figure = f"skewness {decimal(raw.skewness, 1)}"
    if raw.skewness < HUBS:
        reading = f"No hubs: neighbours are spread evenly, and {percent(raw.antihubs)} of the {noun} are in nobody's first {raw.k}."
        return Finding("Hubs", figure, reading, "Nothing to do.", act=False)
    reading = (
        f"A few {noun} are neighbours of very many (one is in the first {raw.k} of {count(raw.largest)} others), while {percent(raw.antihubs)} are "
        "in nobody's and are hardly ever found."
    )
    odd = "blurred, nearly empty" if noun == "pictures" else "short, general"
    better = after.skewness < 0.8 * raw.skewness
    missed = f"items in nobody's list from {percent(raw.antihubs)} to {percent(after.antihubs)}"
    change = f"from {decimal(raw.skewness, 1)} to {decimal(after.skewness, 1)}, {missed}"
    advice = (
        f"Centre the vectors before they are compared: skewness falls {change}."
        if better
        else f"Look at the largest hubs: they are often {odd} or copies. Centring does not cure it (skewness {change})."
    )
    return Finding("Hubs", figure, reading, advice, act=True)


def _labels(neighbours: Neighbours, noun: str) -> Finding:
    assert neighbours.purity is not None
    reading = (
        f"{percent(neighbours.purity)} of the {neighbours.raw.k} nearest of an item bear its own label, on average."
    )
    low = neighbours.purity < 0.5
    advice = (
        f"The space does not sort these {noun} by your labels: use graft fit, which learns what matters, or another encoder."
        if low
        else "Neighbours can be trusted as a first answer; graft fit tells how much better a classifier is."
    )
    return Finding("Labels", f"{percent(neighbours.purity, 0)} alike", reading, advice, act=low)


def _gap(crossing: Crossing) -> Finding:
    gap = crossing.gap
    best = min(crossing.recall, key=lambda k: abs(crossing.recall[k].value - 0.5))  # where most could change
    figure = f"gap {decimal(gap.distance, 2)}"
    apart = "" if gap.separable is None else f", and a plane tells them apart {percent(gap.separable, 0)} of the time"
    reading = (
        f"The means of pictures and texts lie {decimal(gap.distance, 2)} apart, {percent(gap.share, 0)} of the distance between a picture and a "
        f"text{apart}."
    )
    before, after, gain = crossing.recall[best], crossing.recall_closed[best], crossing.gain[best]
    change = f"recall at {best} goes from {percent(before.value)} to {percent(after.value)} on {count(crossing.queries)} texts"
    sure = gain.low is not None and gain.low > 0
    worse = gain.high is not None and gain.high < 0
    if sure:
        advice = f"Close it, by taking each kind's mean away before comparing: {change}."
    elif worse:
        advice = f"Leave it: with each kind's mean taken away {change}."
    else:
        advice = f"Closing it makes no clear difference: {change}."
    if gap.share >= GAP:
        advice += " Never put pictures and texts into one ranking by their cosines: the kind would decide."
    return Finding("Gap between texts and pictures", figure, reading, advice, act=sure)
