"""Exact and near duplicates, so that copies of one thing stay on one side of every split.

A pair of pictures is near when it is much closer than chance neighbours are *there*: for every item the distance to its k-th neighbour gives the local
density, the whole set gives the intrinsic dimension d, and (k - 1) * (distance / k-th distance)^d is the number of chance neighbours
to expect within that distance (the Poisson picture behind Levina & Bickel 2005 and Facco et al. 2017). A pair stays apart unless that
number is under `chance` seen from both ends. So the threshold fits the encoder, the set and the place: strict among textures that all look
alike, generous among photos that have little in common. Texts are compared letter by letter instead, as one typo can throw a sentence
vector far off; their vectors only propose the pairs.

Shapes: N items, D dimensions, K neighbours, P pairs, S signature cells.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft import settings

Index = NDArray[np.int64]
Vectors = NDArray[np.float32]

THUMBNAILS = "pixels:8"  # encoder of pictures looked at besides their vectors; a tenth of the encoding's cost
CHANCE = 0.005  # expected chance neighbours at which a pair counts as near: about one item in a hundred is then paired by chance
NEIGHBOURS = 50  # half of them measure the density, so that up to 25 pictures of one object do not hide each other
TEXT_SIMILARITY = (
    0.9  # at most one letter in ten differs; numbers must be equal, or all rows of a form letter would be one
)
TEXT_NEIGHBOURS = (
    20  # proposals for each text: the original of a typo was among them in 98 % of the hardest set (Banking77)
)
THUMBNAIL_SIMILARITY = 0.98  # re-encoded, halved and brightened pictures keep 0.99
BLANK = 1.0  # grey levels of 255 that a thumbnail must vary by, root mean square, to say anything
SAME = 2e-3  # distance of unit vectors that rounding alone can explain
_WINDOW = 200  # of longer texts than three windows, the beginning, the middle and the end are compared
_LETTERS = 20_000  # and nothing beyond these is looked at
_RUNS = 4096
_WIDE = 384  # longer vectors of large sets are projected on their first principal components, at no loss measured
_MANY = 10_000
_CELLS = 2**24  # similarities held at a time, 64 MB


@dataclass(frozen=True)
class Grouping:
    """Which items belong together: `group_ids` (n,) codes 0.. in order of first appearance; a lone item is a group of its own.

    `twins` (n,) are codes of identical contents, `pairs` (p, 2) the near pairs found among the first items of each code, `similarity` (p,) their cosine
    (texts: 1 - edit distance / length), `threshold` the similarity a typical pair must reach (None if nothing was compared).
    `exact` counts items whose content appeared before, `near` the further items that joined a group. `objects` are classes with more than half of their
    items in one group, at least three: their label names the very object (a person, a product), so that new pictures of it are what the classifier
    is for; their near pairs are left out.
    """

    group_ids: Index
    twins: Index
    pairs: Index
    similarity: NDArray[np.float32]
    threshold: float | None
    exact: int
    near: int
    objects: tuple[int, ...] = ()

    def groups(self) -> list[Index]:
        """Members of every group of two or more, largest group first."""
        order = np.argsort(self.group_ids, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(self.group_ids[order])) + 1)
        return sorted((part for part in parts if len(part) > 1), key=lambda part: (-len(part), int(part[0])))

    def leaks(self, train: Index, test: Index) -> list[tuple[int, int, float]]:
        """Pairs (train item, test item, similarity) that are the same or nearly so, most similar first.

        One train item stands for all that share its content.
        """
        learnt: dict[int, int] = {}
        for item in train.tolist():
            learnt.setdefault(int(self.twins[item]), item)
        near: dict[int, list[tuple[int, float]]] = {}
        for (a, b), similarity in zip(self.twins[self.pairs].tolist(), self.similarity.tolist(), strict=True):
            near.setdefault(a, []).append((b, similarity))
            near.setdefault(b, []).append((a, similarity))
        found = []
        for item in test.tolist():
            code = int(self.twins[item])
            for other, similarity in [(code, 1.0), *near.get(code, [])]:
                if other in learnt:
                    found.append((learnt[other], item, similarity))
        return sorted(found, key=lambda leak: (-leak[2], leak[1], leak[0]))


def grey(pixels_NP: Vectors) -> Vectors:
    """Grey thumbnails (N, S) of 0..255 from colour ones (N, 3 S) of 0..1: they tell copies of textures, which vectors cannot."""
    grey: Vectors = 255 * pixels_NP.reshape(len(pixels_NP), 3, -1).mean(axis=1)
    return grey


def exact_groups(keys: Iterable[object]) -> Index:
    """Codes 0.. of equal keys (content hashes), in order of first appearance."""
    seen: dict[object, int] = {}
    return np.fromiter((seen.setdefault(key, len(seen)) for key in keys), np.int64)


def near_duplicate_groups(
    x_ND: Vectors,
    *,
    hashes: Sequence[str] | None = None,
    texts: Sequence[str] | None = None,
    signatures_NS: NDArray[np.number] | None = None,
    labels: Index | None = None,
    chance: float = CHANCE,
) -> Grouping:
    """Group exact and near duplicates.

    x_ND: one vector an item, any length; cosine counts. hashes: content hashes; equal ones are exact duplicates. texts: the items themselves;
    if given, a pair is near when, without case and punctuation, at most one letter in ten differs and no number does, whatever the vectors
    say. signatures_NS: for pictures, optionally, grey thumbnails of 8 x 8 values 0..255, flattened; pairs that are nearly equal there are near
    too, which finds re-encoded and brightened pictures of textures, where vectors alone cannot. labels: class codes (-1 unknown);
    a class that is one object (see `Grouping.objects`) is not grouped. chance: see the top of this file.

    No chaining: every member of a group is near its leader, the item with most near ones. Fewer than eight distinct items are compared by hash
    only, unless they are texts. More than 25 pictures of one object hide each other.
    """
    n = len(x_ND)
    exact = exact_groups(hashes if hashes is not None else range(n))
    letters = None if texts is None else [plain(text) for text in texts]
    twins = exact if letters is None else exact_groups(letters)
    first = np.unique(twins, return_index=True)[1]
    threshold: float | None = None
    if letters is not None:
        kept = [letters[i] for i in first.tolist()]
        pairs, similarity = _near_texts(_unit(x_ND[first]), kept)
        threshold = TEXT_SIMILARITY
    else:
        unit_ND = _unit(x_ND[first])
        pairs, threshold = _stand_out(unit_ND, chance)
        if signatures_NS is not None:
            pairs = np.unique(np.concatenate([pairs, _alike(signatures_NS[first], chance)]), axis=0)
        similarity = np.einsum("pd,pd->p", unit_ND[pairs[:, 0]], unit_ND[pairs[:, 1]])
    leader = _leaders(pairs, len(first))
    objects: tuple[int, ...] = ()
    if labels is not None:
        objects = _classes_of_one_object(leader, labels[first])
        inside = np.isin(labels[first][pairs], objects).all(1)
        pairs, similarity = pairs[~inside], similarity[~inside]
        leader = _leaders(pairs, len(first))
    group_ids = exact_groups(leader[twins].tolist())
    distinct = int(exact.max()) + 1 if n else 0
    near = distinct - (int(group_ids.max()) + 1 if n else 0)
    return Grouping(
        group_ids, twins, first[pairs], similarity.astype(np.float32), threshold, n - distinct, near, objects
    )


def plain(text: str) -> str:
    """A text's letters and digits, lower case, one space between words; the text itself where there are none. Of long texts three windows."""
    folded = unicodedata.normalize("NFKC", text[:_LETTERS]).casefold()
    bare = " ".join(re.findall(r"\w+", folded)) or folded
    if len(bare) <= 3 * _WINDOW:
        return bare
    middle = (len(bare) - _WINDOW) // 2
    return bare[:_WINDOW] + bare[middle : middle + _WINDOW] + bare[-_WINDOW:]


def edit_distance(a: str, b: str) -> int:
    """Letters to insert, delete or replace to turn `a` into `b` (Levenshtein), by the bit-vector method of Myers (1999), Hyyrö (2003)."""
    if not a or not b:
        return len(a) + len(b)
    where: dict[str, int] = {}
    for i, letter in enumerate(a):
        where[letter] = where.get(letter, 0) | 1 << i
    full, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    plus, minus, distance = full, 0, len(a)  # bits: where a column's cells rise or fall by one from the cell above
    for letter in b:
        equal = where.get(letter, 0)
        diagonal = (((equal & plus) + plus) ^ plus) | equal | minus
        rises, falls = minus | ~(diagonal | plus) & full, plus & diagonal
        distance += bool(rises & last) - bool(falls & last)
        rises, falls = (rises << 1 | 1) & full, falls << 1 & full
        across = equal | minus
        plus, minus = falls | ~(across | rises) & full, rises & across
    return distance


def _unit(x_ND: Vectors) -> Vectors:
    length = np.linalg.norm(x_ND, axis=1, keepdims=True)
    unit: Vectors = np.asarray(x_ND / np.where(length > 0, length, 1), np.float32)
    return unit


def _nearest(x_ND: Vectors, k: int) -> tuple[Index, NDArray[np.float64]]:
    """Each row's k nearest other rows, nearest first, and their Euclidean distances; memory is bounded whatever n is.

    Every pair is compared, so a large set takes minutes: told as `settings.progress("duplicates", done, n)`.
    """
    n = len(x_ND)
    square_N = np.einsum("nd,nd->n", x_ND, x_ND)[:, None]
    ask_NE = np.hstack([x_ND, np.ones_like(square_N)])  # ask . key = x . y - |y|^2 / 2 grows as |x - y| shrinks
    key_NE = np.hstack([x_ND, -square_N / 2])
    index, distance = np.empty((n, k), np.int64), np.empty((n, k), np.float64)
    for start in range(0, n, step := max(1, _CELLS // n)):
        settings.progress("duplicates", start, n)
        rows = slice(start, start + step)
        score = ask_NE[rows] @ key_NE.T
        score[np.arange(len(score)), np.arange(start, start + len(score))] = -np.inf
        near = np.argpartition(score, n - k, axis=1)[:, n - k :]
        near_score = np.take_along_axis(score, near, 1)
        order = np.argsort(-near_score, axis=1, kind="stable")
        index[rows] = np.take_along_axis(near, order, 1)
        distance[rows] = np.sqrt((square_N[rows] - 2 * np.take_along_axis(near_score, order, 1)).clip(0))
    settings.progress("duplicates", n, n)
    return index, distance


def _stand_out(unit_ND: Vectors, chance: float) -> tuple[Index, float | None]:
    """Pairs closer than chance neighbours, and the cosine at which a typical item's pairs begin to stand out."""
    n = len(unit_ND)
    k = min(NEIGHBOURS, n // 3)
    if n < 8 or k < 2:
        return np.empty((0, 2), np.int64), None
    index_NK, distance_NK = _nearest(_leading(unit_ND), k)
    distance_NK = np.where(distance_NK <= SAME, 0, distance_NK)
    far_N = np.maximum(distance_NK[:, -1], SAME)
    dimension = _intrinsic_dimension(distance_NK)
    scale_NK = np.minimum(far_N[:, None], far_N[index_NK])
    item, place = np.nonzero((k - 1) * (distance_NK / scale_NK) ** dimension < chance)
    radius = float(np.median(far_N)) * (chance / (k - 1)) ** (1 / dimension)
    return _ordered(item, index_NK[item, place]), 1 - radius**2 / 2


def _intrinsic_dimension(distance_NK: NDArray[np.float64]) -> float:
    """Median over items of the maximum-likelihood estimate (Levina & Bickel 2005) from the outer half of the neighbours.

    Under local uniformity log(r_k / r_j) has mean (1/j + ... + 1/(k-1)) / d. The outer half and the median keep groups of copies out of it.
    """
    k = distance_NK.shape[1]
    inner = np.arange(k // 2, k - 1) if k > 2 else np.array([0])
    harmonic = np.cumsum(np.r_[0.0, 1 / np.arange(1, k)])
    expected = float(np.mean(harmonic[k - 1] - harmonic[inner]))
    far = np.maximum(distance_NK[:, -1:], SAME)
    measured = np.log(far / np.maximum(distance_NK[:, inner], SAME)).mean(1)
    return expected / max(float(np.median(measured)), 1e-3)


def _leading(unit_ND: Vectors) -> Vectors:
    """Many long vectors projected on their first 384 principal components, found from a spread of at most 5,000 rows."""
    n, dim = unit_ND.shape
    if n < _MANY or dim <= _WIDE:
        return unit_ND
    sample = unit_ND[:: max(1, n // 5000)]
    centre = sample.mean(0)
    centred = sample - centre
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    projected: Vectors = (unit_ND - centre) @ axes[:, -_WIDE:].astype(np.float32)
    return projected


def _alike(signatures_NS: NDArray[np.number], chance: float) -> Index:
    """Pairs whose thumbnails stand out as alike and correlate to 0.98; brightness, contrast and smooth shading do not count.

    Shading is a quadratic surface; what two pictures of one lamp on one kind of metal have in common. Blank thumbnails say nothing.
    """
    cells = signatures_NS.shape[1]
    side = math.isqrt(cells)
    if side * side != cells:
        raise ValueError(f"a signature is a square thumbnail; {cells} values are not a square")
    across, down = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-1, 1, side)] * 2))
    surface = np.stack([np.ones(cells), across, down, across * down, across**2, down**2], 1)
    basis, _ = np.linalg.qr(surface.astype(np.float32))
    grey = signatures_NS.astype(np.float32)
    rest = grey - (grey @ basis) @ basis.T
    rows = np.flatnonzero(np.linalg.norm(rest, axis=1) > BLANK * side)
    unit = _unit(rest[rows])
    pairs, _ = _stand_out(unit, chance)
    alike = np.einsum("pd,pd->p", unit[pairs[:, 0]], unit[pairs[:, 1]]) >= THUMBNAIL_SIMILARITY
    found: Index = rows[pairs[alike]]
    return found


def _near_texts(unit_ND: Vectors, letters: Sequence[str]) -> tuple[Index, NDArray[np.float64]]:
    """Pairs of distinct texts with equal numbers and edit similarity of at least 0.9 among each text's nearest vectors."""
    n = len(letters)
    if n < 2:
        return np.empty((0, 2), np.int64), np.empty(0)
    index_NK, _ = _nearest(_leading(unit_ND), min(TEXT_NEIGHBOURS, n - 1))
    pairs = _ordered(np.repeat(np.arange(n), index_NK.shape[1]), index_NK.ravel())
    length_P2 = np.array([len(text) for text in letters])[pairs]
    allowed_P = ((1 - TEXT_SIMILARITY) * length_P2.max(1) + 1e-9).astype(np.int64)
    likely = np.abs(length_P2[:, 0] - length_P2[:, 1]) <= allowed_P
    runs = [_runs_of_three(text) for text in letters]
    # windows of a long text may cut a number in two, so that theirs do not count
    digits = [re.sub(r"\D+", "", text) if len(text) < 3 * _WINDOW else "" for text in letters]
    near, similarity = [], []
    for (i, j), allowed in zip(pairs[likely].tolist(), allowed_P[likely].tolist(), strict=True):
        # an edit destroys at most three runs of three letters, so that this skips no near pair and most others
        if (runs[i] & ~runs[j]).bit_count() > 3 * allowed or digits[i] != digits[j]:
            continue
        edits = edit_distance(letters[i], letters[j])
        if edits <= allowed:
            near.append((i, j))
            similarity.append(1 - edits / max(len(letters[i]), len(letters[j])))
    return np.array(near, np.int64).reshape(-1, 2), np.array(similarity)


def _runs_of_three(text: str) -> int:
    """The set of a text's runs of three letters, hashed to the bits of one number."""
    code = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    present = np.zeros(_RUNS, bool)
    present[(code[:-2] * 961 + code[1:-1] * 31 + code[2:]) % _RUNS] = True
    return int.from_bytes(np.packbits(present).tobytes())


def _ordered(a: Index, b: Index) -> Index:
    """Each unordered pair once, smaller item first, sorted."""
    pairs: Index = np.unique(np.stack([np.minimum(a, b), np.maximum(a, b)], 1), axis=0)
    return pairs


def _classes_of_one_object(leader: Index, labels: Index) -> tuple[int, ...]:
    """Classes with more than half of their items, and three or more, under one leader."""
    known = labels >= 0
    (class_Q, _), count_Q = np.unique(np.stack([labels[known], leader[known]]), axis=1, return_counts=True)
    sizes = np.bincount(labels[known], minlength=1)
    return tuple(np.unique(class_Q[(count_Q >= 3) & (2 * count_Q > sizes[class_Q])]).tolist())


def _leaders(pairs: Index, n: int) -> Index:
    """Every item's leader: the most connected items come first and take the neighbours that are still free."""
    leader = np.arange(n)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    degree = np.bincount(both[:, 0], minlength=n)
    neighbours = np.split(both[np.argsort(both[:, 0], kind="stable"), 1], np.cumsum(degree)[:-1])
    free = np.ones(n, bool)
    for item in np.lexsort((np.arange(n), -degree)).tolist():
        if degree[item] == 0:
            break
        if free[item]:
            members = neighbours[item][free[neighbours[item]]]
            leader[members] = item
            free[members] = free[item] = False
    return leader
