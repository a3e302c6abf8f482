"""What two towers are told of items and people beside the likes, as rows of numbers, for those in training and for new ones alike.

Legend: U people, I items, C dims of content, F numbers an item, S numbers a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError
from graft.interactions.likes import People

Float32Array = NDArray[np.float32]
Facts = dict[str, Any]

MOST_WORDS = (
    256  # different words of a column (categories are one) that have a number of their own, the most frequent ones
)


@dataclass(frozen=True, eq=False)
class Known:
    """What is known, aligned with the interactions' items and users; None where there is no such thing.

    `categories`: of each item, () unknown. `content_IC`: vectors of texts or pictures from an encoder, zeros unknown. `numbers`: a name to values (I,), NaN
    unknown. `date_I`: release in seconds since 1970, NaN unknown. `people`: features of the users.
    """

    categories: Sequence[Sequence[str]] | None = None
    content_IC: Float32Array | None = None
    numbers: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    date_I: NDArray[np.float64] | None = None
    people: People | None = None

    def check(self, items: int, users: int) -> None:
        """Raises DataError naming everything that has another length, or a content that is not finite."""
        lengths: dict[str, tuple[Any, int]] = {
            "categories": (self.categories, items),
            "content_IC": (self.content_IC, items),
            "date_I": (self.date_I, items),
        }
        lengths |= {f"numbers[{name!r}]": (values, items) for name, values in self.numbers.items()}
        if self.people is not None:
            lengths |= {f"people.{name}": (values, users) for name, values in self.people.numbers.items()}
            lengths |= {f"people.{name}": (words, users) for name, words in self.people.words.items()}
        wrong = [
            f"{name} has {len(v)} rows, not {n}" for name, (v, n) in lengths.items() if v is not None and len(v) != n
        ]
        if self.content_IC is not None and not np.isfinite(self.content_IC).all():
            bad = np.flatnonzero(~np.isfinite(self.content_IC).all(axis=1))
            wrong.append(
                f"content_IC is not finite in {len(bad)} rows, the first {bad[0]}; zeros say that nothing is known"
            )
        if wrong:
            raise DataError("What is known of items and people does not fit: " + "; ".join(wrong) + ".")


def item_facts(known: Known) -> Facts:
    """What `item_rows` must remember of the items in training."""
    return {
        "categories": _frequent(known.categories or ()),
        "numbers": {n: _scale(v) for n, v in known.numbers.items()},
    }


def item_rows(known: Known, facts: Facts, items: int) -> Float32Array:
    """(I, F): categories as shares that sum to 1, numbers standardised, and content of length 1; zeros where nothing is known."""
    parts = [_shares(known.categories or [()] * items, facts["categories"])]
    parts += [_standard(known.numbers.get(name), scale, items) for name, scale in facts["numbers"].items()]
    if known.content_IC is not None:
        length_I1 = np.linalg.norm(known.content_IC, axis=1, keepdims=True)
        parts.append(known.content_IC / np.where(length_I1 > 0, length_I1, 1))
    return np.concatenate(parts, axis=1).astype(np.float32)


def person_rows(people: People | None, users: int) -> Float32Array:
    """(U, S): numbers standardised (NaN becomes the mean), words as one number each; (U, 0) where nothing is known."""
    if people is None:
        return np.zeros((users, 0), np.float32)
    parts = [np.zeros((users, 0))]
    parts += [_standard(values, _scale(values), users) for values in people.numbers.values()]
    for words in people.words.values():
        lists = [(word,) if word else () for word in words]
        parts.append(_shares(lists, _frequent(lists)))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _frequent(lists: Sequence[Sequence[str]]) -> list[str]:
    words = [word for each in lists for word in each]
    names, counts = (
        np.unique(np.array(words, object).astype(str), return_counts=True)
        if words
        else (np.array([], str), np.array([]))
    )
    return sorted(names[np.argsort(-counts, kind="stable")[:MOST_WORDS]].tolist())


def _shares(lists: Sequence[Sequence[str]], names: Sequence[str]) -> NDArray[np.float64]:
    place = {name: c for c, name in enumerate(names)}
    found = np.zeros((len(lists), len(names)))
    for row, words in enumerate(lists):
        there = [place[word] for word in words if word in place]
        found[row, there] = 1 / max(1, len(there))
    return found


def _scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values; 1 where they do not differ."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    return float(finite.mean()), float(finite.std()) or 1.0


def _standard(values: NDArray[np.float64] | None, scale: Sequence[float], count: int) -> NDArray[np.float64]:
    if values is None:
        return np.zeros((count, 1))
    return np.where(np.isfinite(values), (values - scale[0]) / scale[1], 0.0)[:, None]
