"""Two sets side by side: read, sampled, encoded, without copies, and their raw contents as numbers.

Legend: N items of both sets, D dims, V words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content, Dataset
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.errors import DataError, UsageError
from graft.reports.shift import Side, Telltale
from graft.results import Fault
from graft.store.cache import VectorCache

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PIXELS = "pixels:16"  # side of the picture whose 768 numbers are compared raw
MOST_WORDS = 1000
MOST_LETTERS = 20_000  # of a text, for its words
LONGEST_WORD = 40
TELLTALES, SURE = 8, 4.0  # words shown of a set, from this many standard errors on
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, eq=False)
class Pair:
    """Items of two sets, the first set's before the second's, none twice in one set.

    `second_N` says which are of the second, `cluster_N` numbers equal contents, `label_N` are positions in `classes` (-1 without), `raw_ND` pixels or
    counts of words. `words` are those that tell.
    """

    sides: tuple[Side, Side]
    modality: str
    encoder: str
    contents: tuple[Content, ...]
    ids: tuple[str, ...]
    second_N: Bools
    cluster_N: Ints
    x_ND: Floats
    raw_ND: Floats
    label_N: Ints
    classes: tuple[str, ...]
    words: tuple[Telltale, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def shared(self) -> int:
        """Contents that are in both sets."""
        return len(np.intersect1d(self.cluster_N[self.second_N], self.cluster_N[~self.second_N]))


def check(sample: int, seed: int) -> None:
    """Raise UsageError for numbers outside their ranges."""
    problems = []
    if sample < 2:
        problems.append(f"--sample {sample}: at least 2 items of each set are needed.")
    if not 0 <= seed < 2**32:
        problems.append(f"--seed {seed}: it lies between 0 and {2**32 - 1}.")
    if problems:
        raise UsageError(" ".join(problems))


def parts(dataset: Dataset) -> tuple[Dataset, Dataset]:
    """The training part and the official test part of one data set. Raises UsageError where it has none."""
    if dataset.test_mask is None:
        raise UsageError(
            f"{dataset.source} has no official test part to be compared with its training part: name a second set."
        )
    test = np.flatnonzero(dataset.test_mask)
    train = np.flatnonzero(~dataset.test_mask)
    return replace(dataset.take(train), name=f"{dataset.name} train"), replace(
        dataset.take(test), name=f"{dataset.name} test"
    )


def side_by_side(first: Dataset, second: Dataset, *, encoder: str | None, sample: int, seed: int) -> Pair:
    """Draw at most `sample` items of each set, encode them, and leave copies within a set out.

    Raises DataError for sets of two modalities and where nothing of a set can be read, UsageError for an encoder of another modality.
    """
    if first.modality != second.modality:
        kinds = {"text": "texts", "image": "pictures"}
        raise DataError(
            f"{first.source} holds {kinds[first.modality]} and {second.source} {kinds[second.modality]}: only sets of one kind "
            "can be compared."
        )
    draw = np.random.default_rng([seed, 0])
    drawn = [_drawn(dataset, sample, draw) for dataset in (first, second)]
    contents = (*drawn[0].contents, *drawn[1].contents)
    named = [f"{word} {item}" for word, taken in zip(("first:", "second:"), drawn, strict=True) for item in taken.ids]
    opened = open_encoder(encoder or BUNDLED[first.modality], modality=first.modality)
    with VectorCache.open() as cache:
        done = encode(contents, opened, ids=named, cache=cache)
        pixels = encode(contents, open_encoder(PIXELS), cache=cache) if first.modality == "image" else None
    second_M = np.arange(len(contents)) >= len(drawn[0])
    index = done.index if pixels is None else np.intersect1d(done.index, pixels.index)
    hashes = np.array(done.hashes)[np.searchsorted(done.index, index)] if len(index) else np.empty(0, str)
    _, cluster = np.unique(hashes, return_inverse=True)
    _, kept = np.unique(2 * cluster + second_M[index], return_index=True)
    kept = np.sort(kept)
    sides = []
    for dataset, taken, own in zip((first, second), drawn, (~second_M[index], second_M[index]), strict=True):
        if not own.any():
            raise DataError(f"No item of {dataset.source} can be read.", faults=done.faults)
        copies = int(own.sum() - own[kept].sum())
        sides.append(Side(dataset.name, dataset.source, len(dataset), len(taken), copies))
    chosen = index[kept]
    classes = tuple(dict.fromkeys((*first.classes, *second.classes)))
    codes = np.concatenate([_codes(taken, classes) for taken in drawn])[chosen]
    second_N = second_M[chosen]
    told: tuple[Telltale, ...] = ()
    if pixels is not None:
        raw_ND = pixels.vectors[np.searchsorted(pixels.index, chosen)]
    else:
        raw_ND, told = counted([str(contents[i]) for i in chosen], second_N)
    return Pair(
        (sides[0], sides[1]),
        first.modality,
        done.summary.reference,
        tuple(contents[i] for i in chosen),
        tuple(taken.ids[i] for taken, i in _places(drawn, chosen)),
        second_N,
        cluster[kept],
        done.vectors[np.searchsorted(done.index, chosen)],
        raw_ND,
        codes,
        classes,
        told,
        (*_named(first, "first"), *_named(second, "second"), *done.faults),
    )


def _drawn(dataset: Dataset, sample: int, draw: np.random.Generator) -> Dataset:
    if len(dataset) <= sample:
        return dataset
    return dataset.take(np.sort(draw.choice(len(dataset), sample, replace=False)))


def _places(drawn: Sequence[Dataset], chosen: Ints) -> list[tuple[Dataset, int]]:
    n = len(drawn[0])
    return [(drawn[0], int(i)) if i < n else (drawn[1], int(i) - n) for i in chosen]


def _codes(dataset: Dataset, classes: tuple[str, ...]) -> Ints:
    """Labels as positions in `classes`, -1 without one."""
    place = np.array([*(classes.index(name) for name in dataset.classes), -1], np.int64)
    codes: Ints = place[dataset.labels]
    return codes


def _named(dataset: Dataset, which: str) -> tuple[Fault, ...]:
    return tuple(replace(f, where=f"{which}: {f.where}") for f in dataset.faults if f.about == "content")


def counted(texts: Sequence[str], second_N: Bools) -> tuple[Floats, tuple[Telltale, ...]]:
    """Counts of the thousand words that are in most of the texts (logarithms, (N, V) and the text's own length), and the words that tell.

    Each word shown is in a share of one set's texts that lies four standard errors from the other's.
    """
    bags = [Counter(w.lower()[:LONGEST_WORD] for w in _WORD.findall(text[:MOST_LETTERS])) for text in texts]
    spread = Counter(word for bag in bags for word in bag)
    common = sorted((w for w, n in spread.items() if n > 1), key=lambda w: (-spread[w], w))[:MOST_WORDS]
    place = {word: i for i, word in enumerate(common)}
    x_NV = np.zeros((len(texts), len(common) + 1), np.float32)
    for row, bag in enumerate(bags):
        for word, n in bag.items():
            if (column := place.get(word)) is not None:
                x_NV[row, column] = np.log1p(n)
        x_NV[row, -1] = np.log1p(bag.total())
    holds_NV = x_NV[:, :-1] > 0
    first_V, second_V = holds_NV[~second_N].mean(0), holds_NV[second_N].mean(0)
    pooled_V = holds_NV.mean(0)
    n, m = int((~second_N).sum()), int(second_N.sum())
    error_V = np.sqrt(np.maximum(pooled_V * (1 - pooled_V), 1e-12) * (1 / n + 1 / m))
    z_V = (second_V - first_V) / error_V
    order = np.argsort(z_V, kind="stable")
    found = [*order[:TELLTALES], *order[::-1][:TELLTALES]]
    told = {int(v): Telltale(common[v], float(first_V[v]), float(second_V[v])) for v in found if abs(z_V[v]) >= SURE}
    return x_NV, tuple(told.values())
