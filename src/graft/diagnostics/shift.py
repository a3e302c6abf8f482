"""Do two sets come from one distribution? What gives them away, and how have the classes' shares moved?

The verdict's rule. Each sense (vectors, and raw pixels or words) is a cross-validated classifier between the sets with the p of its permutation null;
the kernel distance of the vectors has one too. *shifted*: the least p times their number is at most 0.05. *same*: not shifted, and for every sense
both the upper end of the AUC and what chance alone reaches with so many items lie below 0.55. *cannot tell*: neither.

Legend: N items of both sets, D dims, C classes, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.diagnostics.evidence import shown
from graft.diagnostics.sides import Pair
from graft.heads.linear import LinearHead
from graft.metrics import shift as measure
from graft.metrics.classify import confusion
from graft.metrics.intervals import LEVEL, wilson
from graft.reports.formats import count, decimal, percent, plural
from graft.reports.shift import ClassShare, Kernel, LabelShift, Sense, ShiftEvidence, ShiftResult
from graft.reports.space import Histogram, Look
from graft.results import Drift, Interval
from graft.settings import one_thread

ALPHA = 0.05
COUNTS = 0.55  # an AUC from which a difference counts
SIZES = ((0.6, "a little"), (0.75, "plainly"), (0.95, "much"), (2.0, "nearly altogether"))  # by AUC
WARNS = 0.01  # p at which a fit, which was not asked, speaks up
MOST_COMPARED = 2000  # items of a set in a kernel distance, whose cost grows with their square
MOST_QUICK = 3000  # items of a part that a fit looks at
MOST_DIMS = 2048  # more are projected: the covariance's cost grows with their square
FEWEST_LABELS, MOST_LABELS = 5, 3000
ILL = 10.0  # condition number from which errors of the confusion matrix drown the shares
HOPELESS = 1e6
SHOWN = 12
BINS = 40
SIDE = 112  # pixels of a picture shown

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Seen:
    """A sense as it is reported, and the held-out score of every item."""

    sense: Sense
    scores_N: NDArray[np.float64]


def compare(pair: Pair, *, seed: int, name: str) -> tuple[ShiftResult, ShiftEvidence]:
    """Everything that is asked of two sets, and what the report shows."""
    with one_thread():
        raw = "pixels" if pair.modality == "image" else "words"
        senses = [
            _sense(which, x_ND, pair.second_N, pair.cluster_N, np.random.default_rng([seed, place]))
            for place, (which, x_ND) in enumerate((("vectors", pair.x_ND), (raw, scaled(pair.raw_ND))), start=1)
        ]
        kernel = _kernel(pair, np.random.default_rng([seed, 3]))
        labels = label_shift(pair, np.random.default_rng([seed, 4]))
    seen = [s for s in senses if s is not None]
    if labels is not None and seen and (seen[0].sense.auc.low or 0.0) > labels.explained:
        labels = replace(labels, uncertain=_unexplained(labels))
    reported = tuple(s.sense for s in seen)
    word, why, p = verdict(reported, kernel, pair)
    telling = _telling(pair, seen[0].scores_N) if seen else (np.empty(0, np.int64),) * 2
    z_N = _standard(seen[0].scores_N) if seen else np.empty(0)
    result = ShiftResult(
        name=name,
        first=pair.sides[0],
        second=pair.sides[1],
        modality=pair.modality,
        encoder=pair.encoder,
        verdict=word,
        why=why,
        p=p,
        senses=reported,
        kernel=kernel,
        labels=labels,
        telling=(_scored(pair, z_N, telling[0]), _scored(pair, z_N, telling[1])),
        words=pair.words,
        shared=pair.shared,
        notes=_notes(pair),
        faults=pair.faults,
        seed=seed,
    )
    looks = [{pair.ids[i]: _look(pair, int(i)) for i in rows} for rows in telling]
    return result, ShiftEvidence(looks[0], looks[1], _histogram(z_N, pair.second_N))


def quick(x_ND: NDArray[np.float32], train: Ints, test: Ints, groups_N: Ints, seed: int) -> Drift | None:
    """What a fit says of its two parts unasked: the classifier on the vectors (N, D), and only where p is at most 0.01; else None.

    `train` and `test` are positions in the rows; items of one group are dealt together. At most 3,000 items a part are looked at.
    """
    draw = np.random.default_rng([seed, 5])
    some = [np.sort(draw.permutation(part)[:MOST_QUICK]) for part in (train, test)]
    rows = np.concatenate(some)
    second_N = np.arange(len(rows)) >= len(some[0])
    if min(map(len, some)) < 2:
        return None
    with one_thread():
        seen = _sense("vectors", x_ND[rows], second_N, groups_N[rows], draw)
    if seen is None or seen.sense.p > WARNS:
        return None
    return Drift(seen.sense.auc, seen.sense.p, seen.sense.a_distance)


def _sense(which: str, x_ND: Floats, second_N: Bools, cluster_N: Ints, rng: np.random.Generator) -> _Seen | None:
    dims = x_ND.shape[1]
    if dims > MOST_DIMS:  # a random projection keeps distances (Johnson & Lindenstrauss 1984) and knows no labels
        x_ND = np.asarray(x_ND, np.float32) @ rng.standard_normal((dims, MOST_DIMS), np.float32)
    found = measure.discriminate(x_ND, second_N, cluster_N, rng)
    if found is None:
        return None
    # labellings of items that are in both sets move little, and of five such not at all: less than chance is never noticed
    noticed = max(float(np.quantile(found.null, LEVEL)), measure.chance_auc(*found.sizes))
    sense = Sense(which, dims, found.auc, found.p, noticed, found.a_distance, found.accuracy, found.majority, found.mcc)
    return _Seen(sense, found.scores_N)


def scaled(x_ND: Floats) -> NDArray[np.float32]:
    """Columns of unit variance, those that never change left out: raw columns differ in scale for no reason."""
    deviation_D = x_ND.std(0)
    kept = deviation_D > 1e-6 * max(float(deviation_D.max(initial=0.0)), 1e-6)
    if not kept.any():
        return np.zeros((len(x_ND), 1), np.float32)
    return np.asarray(x_ND[:, kept] / deviation_D[kept], np.float32)


def _kernel(pair: Pair, rng: np.random.Generator) -> Kernel | None:
    rows = np.concatenate(
        [np.sort(rng.permutation(np.flatnonzero(side))[:MOST_COMPARED]) for side in (~pair.second_N, pair.second_N)]
    )
    found = measure.mmd(pair.x_ND[rows], pair.second_N[rows], pair.cluster_N[rows], rng)
    return None if found is None else Kernel(found.value, found.p, found.width, len(rows))


def verdict(senses: tuple[Sense, ...], kernel: Kernel | None, pair: Pair) -> tuple[str, str, float | None]:
    """The word, its reason in a sentence, and the p it rests on, by the rule at the head of this module."""
    sizes = [int((~pair.second_N).sum()), int(pair.second_N.sum())]
    if not senses:
        fewest = min(sizes)
        return "cannot tell", f"A set with {plural(fewest, 'distinct item')} shows nothing of its distribution.", None
    tests = [(s.p, s.name) for s in senses] + ([(kernel.p, "kernel")] if kernel else [])
    least, by = min(tests, key=lambda test: test[0])  # of equals the first
    p = min(1.0, least * len(tests))
    best = max(senses, key=lambda s: s.auc.value)
    pairs = f"{_range(best.auc)} of pairs with one item of each (chance is 50 %)"
    if p <= ALPHA:
        proof = f"p = {decimal(p)} after {len(tests)} tests"
        size = next(word for most, word in SIZES if best.auc.value < most)
        source = "kernel distance of the vectors" if by == "kernel" else by
        return (
            "shifted",
            f"The sets differ {size}, proven by the {source} ({proof}); a linear classifier on the {best.name} is right in {pairs}.",
            p,
        )
    could = max(max(s.noticed, s.auc.high or 1.0) for s in senses)
    if could < COUNTS:
        return (
            "same",
            f"A linear classifier is right in {pairs}: one that counts, {percent(COUNTS, 0)}, is ruled out (p = {decimal(p)}).",
            p,
        )
    return (
        "cannot tell",
        f"No difference is proven (p = {decimal(p)}), but with {count(sizes[0])} and {count(sizes[1])} items one of up to {percent(could, 0)} of pairs "
        f"may be there; {percent(COUNTS, 0)} would count.",
        p,
    )


def _range(interval: Interval) -> str:
    ends = (
        ""
        if interval.low is None or interval.high is None
        else f" ({percent(interval.low)} to {percent(interval.high)})"
    )
    return f"{percent(interval.value)}{ends}"


# -- what gives it away -----------------------------------------------------------------------------------------------


def _standard(scores_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores_N / (float(scores_N.std()) or 1.0)


def _telling(pair: Pair, scores_N: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Positions of the items that look most like their own set and least like the other, by classifiers that did not see them."""
    first, second = np.flatnonzero(~pair.second_N), np.flatnonzero(pair.second_N)
    return (
        first[np.argsort(scores_N[first], kind="stable")][:SHOWN],
        second[np.argsort(-scores_N[second], kind="stable")][:SHOWN],
    )


def _scored(pair: Pair, z_N: NDArray[np.float64], rows: Ints) -> tuple[tuple[str, float], ...]:
    return tuple((pair.ids[i], round(float(z_N[i]), 4)) for i in rows)


def _look(pair: Pair, row: int) -> Look:
    return Look(pair.ids[row], **shown(pair.contents[row], side=SIDE))


def _histogram(z_N: NDArray[np.float64], second_N: Bools) -> Histogram:
    """Shares of both sets by held-out score, from -4 to 4 deviations; what lies beyond is in the last bins."""
    if not len(z_N):
        return ()
    edges = np.linspace(-4, 4, BINS + 1)
    inside = np.clip(z_N, -3.999, 3.999)
    shares = [np.histogram(inside[side], edges)[0] / max(1, int(side.sum())) for side in (~second_N, second_N)]
    return tuple(
        (round(float(edge), 3), round(float(a), 5), round(float(b), 5))
        for edge, a, b in zip(edges[:-1], *shares, strict=True)
    )


def _notes(pair: Pair) -> tuple[str, ...]:
    notes = []
    for side in pair.sides:
        if side.used < side.items:
            notes.append(f"{side.name}: {count(side.used)} of {count(side.items)} items were drawn and looked at.")
        if side.copies:
            notes.append(
                f"{side.name}: {plural(side.copies, 'item repeats', 'items repeat')} another of the set; copies count once."
            )
    if pair.shared:
        notes.append(f"{plural(pair.shared, 'content is', 'contents are')} in both sets.")
    return tuple(notes)


# -- label shift ------------------------------------------------------------------------------------------------------


def label_shift(pair: Pair, rng: np.random.Generator) -> LabelShift | None:
    """Class shares of the second set by BBSE; None unless the first has two classes with five labels each.

    The classifier is a linear probe on the vectors, cross-fitted: each fold's probe answers for the fold's items and, with a fifth of a vote, for
    the second set, so that confusion and answers come from the same probes.
    """
    first = np.flatnonzero(~pair.second_N & (pair.label_N >= 0))
    counts_C = np.bincount(pair.label_N[first], minlength=len(pair.classes))
    codes = np.flatnonzero(counts_C >= FEWEST_LABELS)
    if len(codes) < 2:
        return None
    used = first[np.isin(pair.label_N[first], codes)]
    used = np.sort(rng.permutation(used)[:MOST_LABELS]) if len(used) > MOST_LABELS else used
    y_N = np.searchsorted(codes, pair.label_N[used])
    codes, y_N = _with_enough(codes, y_N)
    used, y_N = used[y_N >= 0], y_N[y_N >= 0]
    if len(codes) < 2:
        return None
    matrix_CC, answered_C = _answers(pair, used, y_N, len(codes), rng)
    n = int(pair.second_N.sum())
    found = measure.class_shares(matrix_CC, answered_C, n, rng)
    observed = pair.label_N[pair.second_N]
    known = np.isin(observed, codes)
    seen_C = np.bincount(np.searchsorted(codes, observed[known]), minlength=len(codes)) / max(1, int(known.sum()))
    first_C = counts_C[codes] / counts_C[codes].sum()
    classes = tuple(
        ClassShare(
            pair.classes[code],
            float(first_C[c]),
            Interval(float(found.share[c]), float(found.low[c]), float(found.high[c]), n),
            float(seen_C[c]) if known.any() else None,
        )
        for c, code in enumerate(codes)
    )
    left_out = tuple(pair.classes[c] for c in np.flatnonzero(counts_C) if c not in set(codes.tolist()))
    right = wilson(int(np.trace(matrix_CC)), int(matrix_CC.sum()))
    moved = measure.most_auc(float(np.abs(found.share - first_C).sum()) / 2)
    doubt = ""
    if found.condition > ILL:
        size = "has no inverse" if found.condition > HOPELESS else f"has condition number {decimal(found.condition, 0)}"
        doubt = f"The confusion matrix they rest on {size}: some classes are hardly told apart."
    return LabelShift(classes, right, found.condition, moved, doubt, left_out)


def _unexplained(labels: LabelShift) -> str:
    return (
        f"Had nothing but these shares moved, at most {percent(labels.explained, 0)} of pairs could be told apart, and more are. So classes look "
        "different in the two sets, while the estimate assumes that they look the same."
    )


def _with_enough(codes: Ints, y_N: Ints) -> tuple[Ints, Ints]:
    """Without the classes of which the draw left fewer than five; their items get -1."""
    enough_C = np.bincount(y_N, minlength=len(codes)) >= FEWEST_LABELS
    place_C = np.where(enough_C, np.cumsum(enough_C) - 1, -1)
    return codes[enough_C], place_C[y_N]


def _answers(pair: Pair, used: Ints, y_N: Ints, n_classes: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    order = rng.permutation(len(used))
    order = order[np.argsort(y_N[order], kind="stable")]
    fold_N = np.empty(len(used), np.int64)
    fold_N[order] = np.arange(len(used)) % measure.FOLDS
    matrix_CC = np.zeros((n_classes, n_classes), np.int64)
    votes_C = np.zeros(n_classes, np.int64)
    other_ND = pair.x_ND[pair.second_N]
    for k in range(measure.FOLDS):
        held = fold_N == k
        head = LinearHead().fit(pair.x_ND[used[~held]], y_N[~held], n_classes)
        matrix_CC += confusion(y_N[held], head.logits(pair.x_ND[used[held]]).argmax(1), n_classes)
        votes_C += np.bincount(head.logits(other_ND).argmax(1), minlength=n_classes)
    return matrix_CC, votes_C
