"""What the report shows beside the numbers: the most confident right and wrong items, a map of the vectors, suspects.

Legend: N items, C classes, D dimensions. Pictures are read again (only the few that are shown) and made small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content, Dataset
from graft.data.images import UnreadableImage, decode, thumbnail_uri
from graft.diagnostics.assessment import Judged
from graft.metrics.geometry import map_2d
from graft.reports.vector_map import MOST_PICTURE_BYTES
from graft.results import Evidence, Example, MapPoint, Suspect

SHOWN_A_CLASS = 5
MOST_CLASSES = 20
MOST_POINTS = 1200
TEXT_CUT = 240


def gather(
    dataset: Dataset, judged: Judged, x_ND: NDArray[np.float32], suspects: Sequence[Suspect], seed: int
) -> Evidence:
    """Choose and draw what the report shows.

    `x_ND` are the vectors of the judged items, in their order. Classes beyond the twenty with most errors are left out of
    the examples, points beyond 1,200 out of the map (a seeded draw), so that the report stays small at any data size.
    """
    classes = _worst_classes(judged, len(dataset.classes))
    right = {dataset.classes[c]: _most_confident(dataset, judged, c, right=True) for c in classes}
    wrong = {dataset.classes[c]: _most_confident(dataset, judged, c, right=False) for c in classes}
    points, method = _map(dataset, judged, x_ND, seed)
    return Evidence(right, wrong, points, method, _suspects(dataset, suspects), judged.measured_on)


def _worst_classes(judged: Judged, n_classes: int) -> list[int]:
    errors = np.bincount(judged.labels[judged.predicted != judged.labels], minlength=n_classes)
    worst = sorted(range(n_classes), key=lambda c: (-errors[c], c))[:MOST_CLASSES]
    return sorted(worst)


def _most_confident(dataset: Dataset, judged: Judged, code: int, *, right: bool) -> tuple[Example, ...]:
    """The five items of a true class the model was surest of, rightly or wrongly."""
    predicted, sure = judged.predicted, judged.probabilities_NC.max(1)
    rows = np.flatnonzero((judged.labels == code) & ((predicted == code) == right))
    rows = rows[np.argsort(-sure[rows], kind="stable")][:SHOWN_A_CLASS]
    return tuple(
        Example(
            item=dataset.ids[judged.index[row]],
            **shown(dataset.contents[judged.index[row]]),
            true=dataset.classes[code],
            predicted=dataset.classes[predicted[row]],
            probability=float(sure[row]),
        )
        for row in rows
    )


def shown(content: Content, side: int = 96) -> dict[str, str]:
    """`text` (cut) and `picture` (a small data URI) of an item; a picture that can no longer be read is left empty."""
    if isinstance(content, str):
        return {"text": content[:TEXT_CUT] + ("…" if len(content) > TEXT_CUT else ""), "picture": ""}
    try:
        return {"text": "", "picture": thumbnail_uri(decode(content.read_bytes(), side=side), side)}
    except (UnreadableImage, OSError):
        return {"text": "", "picture": ""}


def _map(dataset: Dataset, judged: Judged, x_ND: NDArray[np.float32], seed: int) -> tuple[tuple[MapPoint, ...], str]:
    if len(judged.index) < 3:
        return (), ""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(judged.index))[:MOST_POINTS])
    xy, method = map_2d(x_ND[rows], seed=seed)
    predicted = judged.predicted
    looks = _as_many_as_fit([dataset.contents[judged.index[row]] for row in rows], rng)
    points = tuple(
        MapPoint(
            x=round(float(x), 3),
            y=round(float(y), 3),
            label=dataset.classes[judged.labels[row]],
            predicted=dataset.classes[predicted[row]],
            item=dataset.ids[judged.index[row]],
            **look,
        )
        for (x, y), row, look in zip(xy, rows, looks, strict=True)
    )
    return points, method


def _as_many_as_fit(contents: Sequence[Content], rng: np.random.Generator) -> list[dict[str, str]]:
    """`shown` of every item of the map; once the page has no room for another picture, drawn at random, no further one is read."""
    looks = [{"text": "", "picture": ""}] * len(contents)
    room = MOST_PICTURE_BYTES
    for i in rng.permutation(len(contents)).tolist():
        look = shown(contents[i], side=48)
        room -= len(look["picture"])
        if room < 0:
            break
        looks[i] = look
    return looks


def _suspects(dataset: Dataset, suspects: Sequence[Suspect]) -> tuple[Example, ...]:
    position = {item: i for i, item in enumerate(dataset.ids)}
    return tuple(
        Example(
            s.item,
            **shown(dataset.contents[position[s.item]]),
            true=s.given,
            predicted=s.suggested,
            probability=s.p_suggested,
        )
        for s in suspects
    )
