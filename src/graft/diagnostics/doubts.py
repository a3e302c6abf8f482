"""Which labels are doubted, with what a person needs to judge each: the item, and its nearest neighbours of both labels.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content, Dataset, ImageSource
from graft.data.images import UnreadableImage, decode, thumbnail_uri
from graft.diagnostics.labels import suspects
from graft.heads.base import softmax, unit_rows
from graft.heads.calibration import fit_temperature
from graft.metrics.intervals import wilson
from graft.reports.review import Doubted, Shown
from graft.results import Interval, Suspect

Codes = NDArray[np.int64]

NEIGHBOURS = 3  # of each of the two labels
SIDE, SMALL = 224, 72  # pixels of a suspect and of a neighbour
LONGEST = 1200  # letters shown of a suspect's text; a neighbour's is cut to a fifth


@dataclass(frozen=True, eq=False)
class Examined:
    """What is found of the labels: `doubted` of `asked` items, the first of them as `suspects`, `right` the share of labels that a model which had
    not learned from them gives too, `chance` the share of the largest class, `lone` the classes with too few items to be asked about."""

    suspects: tuple[Suspect, ...]
    doubted: int
    asked: int
    right: Interval
    chance: float
    lone: tuple[str, ...]
    pairs: tuple[tuple[str, str, int], ...]
    reason: str = ""


def examine(oof_NC: NDArray[np.float32], known_N: NDArray[np.bool_], dataset: Dataset, *, most: int) -> Examined:
    """Confident learning on out-of-fold logits `oof_NC`, calibrated by one temperature, of the items whose class could be learned (`known_N`).

    Labels that cannot be told better than by always naming the largest class accuse nobody: then there are no suspects, and `reason` says why.
    """
    rows = np.flatnonzero(known_N)
    labels = dataset.labels[rows]
    logits_NC = oof_NC[rows]
    p_NC = softmax(logits_NC / fit_temperature(logits_NC, labels))
    n, chance = len(rows), float(np.bincount(labels).max() / len(labels))
    right = wilson(int((p_NC.argmax(1) == labels).sum()), n)
    lone = tuple(dataset.classes[c] for c in np.unique(dataset.labels[~known_N]))
    blank = Examined((), 0, n, right, chance, lone, ())
    if right.low is None or right.low <= chance:
        return Examined(
            **{
                **vars(blank),
                "reason": f"a model that has not seen a label gives the same one for {right.value:.1%} of the items, and always naming the largest class "
                f"would for {chance:.1%}: it cannot tell these labels apart, so it accuses none. Either they are wrong throughout, or this "
                "encoder does not see what they are about",
            }
        )
    found = suspects(p_NC, labels, [dataset.ids[i] for i in rows], dataset.classes, limit=None)
    pairs = Counter((s.given, s.suggested) for s in found).most_common(10)
    return Examined(
        **{
            **vars(blank),
            "suspects": found[:most],
            "doubted": len(found),
            "pairs": tuple((given, suggested, count) for (given, suggested), count in pairs),
        }
    )


def to_judge(
    found: Sequence[Suspect], dataset: Dataset, x_ND: NDArray[np.float32], groups: Codes
) -> tuple[Doubted, ...]:
    """Each suspect as a person sees it, with the nearest items of the label given and of the label suggested.

    Neighbours are by cosine, without the item itself and its near duplicates (`groups`) and without other suspects, whose labels are doubted too.
    """
    position = {item: i for i, item in enumerate(dataset.ids)}
    code = {name: i for i, name in enumerate(dataset.classes)}
    rows = np.array([position[s.item] for s in found], np.int64)
    unit_ND = unit_rows(x_ND)
    open_N = np.ones(len(unit_ND), bool)
    open_N[rows] = False
    looks: dict[int, Shown] = {}

    def nearest(row: int, label: str) -> tuple[Shown, ...]:
        inside = np.flatnonzero((dataset.labels == code[label]) & open_N & (groups != groups[row]))
        cosine = unit_ND[inside] @ unit_ND[row]
        best = inside[np.argsort(-cosine, kind="stable")[:NEIGHBOURS]].tolist()
        for i in best:
            if i not in looks:
                looks[i] = Shown(dataset.ids[i], *look(dataset.contents[i], SMALL, LONGEST // 5))
        return tuple(looks[i] for i in best)

    return tuple(
        Doubted(
            suspect,
            Shown(suspect.item, *look(dataset.contents[row], SIDE, LONGEST)),
            nearest(row, suspect.given),
            nearest(row, suspect.suggested),
        )
        for suspect, row in zip(found, rows.tolist(), strict=True)
    )


def look(content: Content, side: int, letters: int) -> tuple[str, str]:
    """Text (cut) and picture (a data URI) of an item; a picture that can no longer be read is left empty."""
    if not isinstance(content, ImageSource):
        return content[:letters] + ("…" if len(content) > letters else ""), ""
    try:
        return "", thumbnail_uri(decode(content.read_bytes(), side=side), side)
    except (UnreadableImage, OSError):
        return "", ""
