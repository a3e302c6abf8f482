"""Which items are learned from and which are held out: arrays in, index arrays out; and the split file.

Shapes: N items, G groups, C classes, F folds. Labels are class codes >= 0; groups are any integer codes, items of one group never part.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, MissingError, UsageError
from graft.results import Fault

Index = NDArray[np.int64]
Pair = tuple[Index, Index]

ENOUGH = 10  # items a class below which nothing is held out: a test part of one or two a class would tell nothing and cost a tenth of the labels
NEAREST = 5  # unknown ids for which the nearest known one is looked up; each takes milliseconds


class Items(Protocol):
    """What a split file refers to: the items' ids, and which of them are an official test part."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def test_mask(self) -> NDArray[np.bool_] | None: ...


def take_shots(labels: Index, k: int, seed: int, classes: Sequence[str] | None = None) -> Index:
    """Positions of K items of every class: with `RandomState(1000 * seed + K)`, class after class in ascending code, the first K of a
    permutation of its positions. Unlabelled items (-1) are passed over. `classes`: names for messages, and the classes that must occur.

    Raises UsageError naming every class with fewer than K items.
    """
    if k < 1:
        raise UsageError(f"--shots must be at least 1, not {k}.")
    codes = np.unique(labels[labels >= 0]) if classes is None else np.arange(len(classes))
    members = [np.flatnonzero(labels == code) for code in codes]
    short = [
        f"{code if classes is None else classes[code]} ({len(inside)})"
        for code, inside in zip(codes.tolist(), members, strict=True)
        if len(inside) < k
    ]
    if short:
        raise UsageError(
            f"--shots {k} needs {k} items of every class; fewer have: {', '.join(short)}. "
            f"The largest --shots that works is {min(len(inside) for inside in members)}."
        )
    draw = np.random.RandomState((1000 * seed + k) % 2**32)  # the published splits were drawn by this old generator
    return np.concatenate([draw.permutation(inside)[:k] for inside in members] or [np.empty(0, np.int64)])


def enough_to_hold_out(labels: Index) -> bool:
    """Whether a test part is held out unasked: at least ten labelled items a class on average."""
    known = labels[labels >= 0]
    return len(known) > 0 and len(known) >= ENOUGH * len(np.unique(known))


def hold_out(labels: Index, groups: Index | None, fraction: float, rng: np.random.Generator) -> Pair:
    """(train, test) positions, ascending: `fraction` of every class held out, groups whole.

    Groups come in random order and join the test part while they bring every class nearer to its share. A class keeps at least one group on
    either side if it has two that allow it. Raises UsageError when the fraction is not within (0, 1), DataError when one group holds everything.
    """
    if not 0 < fraction < 1:
        raise UsageError(f"the test fraction must lie between 0 and 1, not {fraction}.")
    code_N, counts_GC = _table(labels, groups)
    if len(counts_GC) < 2:
        raise DataError(
            f"Nothing can be held out: all {len(labels)} items are in one group, as near duplicates of each other or by --group. "
            "Give items that differ; --group none treats them as if they did."
        )
    in_test = np.zeros(len(counts_GC), bool)
    need_C = fraction * counts_GC.sum(0)
    # shares below half an item would round to none: every class that can spare one gives one
    need_C = np.where((counts_GC > 0).sum(0) > 1, np.maximum(need_C, 0.6), need_C)
    for group in rng.permutation(len(counts_GC)).tolist():
        brings = counts_GC[group]
        if brings @ brings < 2 * (need_C @ brings):  # the squared distance to the shares shrinks
            in_test[group] = True
            need_C = need_C - brings
    _both_sides(counts_GC, in_test)
    return np.flatnonzero(~in_test[code_N]), np.flatnonzero(in_test[code_N])


def by_time(times: NDArray[np.float64], fraction: float, groups: Index | None = None) -> Pair:
    """(train, test) positions, ascending: the latest `fraction` is the test part. Items of the same moment stay together.

    With `groups` an early item whose group reaches into the test part is in neither: it must not be learned from, and is too old to test on.
    Raises DataError when an item has no time or all have the same, UsageError when the fraction is not within (0, 1).
    """
    if not 0 < fraction < 1:
        raise UsageError(f"the test fraction must lie between 0 and 1, not {fraction}.")
    missing = np.flatnonzero(~np.isfinite(times))
    if len(missing):
        raise DataError(
            f"{len(missing)} items have no time, so they cannot be split by time.",
            faults=[Fault(f"item {i}", "no time", str(times[i])) for i in missing.tolist()],
        )
    moments, counts = np.unique(times, return_counts=True)
    if len(moments) < 2:
        raise DataError(
            "All items have the same time, so they cannot be split by time. Leave out --time, or name another column."
        )
    later = len(times) - np.cumsum(counts)[:-1]  # items after each moment but the last
    cut = moments[np.abs(later - fraction * len(times)).argmin()]
    late = times > cut
    early = ~late if groups is None else ~late & ~np.isin(groups, groups[late])
    return np.flatnonzero(early), np.flatnonzero(late)


def folds(labels: Index, groups: Index | None, n_folds: int, repeats: int, rng: np.random.Generator) -> list[Pair]:
    """(train, validation) positions of `repeats` rounds of `n_folds` folds, round after round; ascending within each.

    Each round deals every item to one validation part. Classes are spread evenly, groups stay whole: large groups are dealt first, each to the
    fold that lacks its classes most, then single items fill the folds up. A class with two groups is in every training part.
    Whoever compares strategies on the same list compares them paired. Raises UsageError when there are fewer groups than folds.
    """
    code_N, counts_GC = _table(labels, groups)
    if not 2 <= n_folds <= len(counts_GC):
        raise UsageError(
            f"--folds must lie between 2 and {len(counts_GC)}, the number of items that are no near duplicates; not {n_folds}."
        )
    made: list[Pair] = []
    for _ in range(repeats):
        fold_N = _deal(counts_GC, n_folds, rng)[code_N]
        made += [(np.flatnonzero(fold_N != fold), np.flatnonzero(fold_N == fold)) for fold in range(n_folds)]
    return made


def save_split(path: str | Path, train: Iterable[str], test: Iterable[str] | str) -> None:
    """Write the ids of both parts as JSON; `test` may be "all" (the whole official test part, else all items not in `train`)."""
    content = {"train": list(train), "test": test if isinstance(test, str) else list(test)}
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_split(path: str | Path, items: Items) -> Pair:
    """(train, test) positions of the ids a split file names, in its order.

    The file is JSON with `train` and `test`, each a list of ids (whole numbers are 0-based data rows) or "all"; other keys are ignored, a
    missing `test` or null is an empty one. "all" is the official part if there is one, else every item the other part does not name.
    Raises MissingError without the file, DataError listing every unknown, repeated or shared id at once.
    """
    parts = _read_split(Path(path))
    position = {item: i for i, item in enumerate(items.ids)}
    faults: list[Fault] = []
    named = {part: _positions(part, ids, position, faults) for part, ids in parts.items() if ids != "all"}
    shared = set(named.get("train", ())) & set(named.get("test", ()))
    faults += [Fault(items.ids[i], "in train and in test", items.ids[i]) for i in sorted(shared)]
    if faults:
        shown = "; ".join(f"{fault.where}: {fault.problem}" for fault in faults[:NEAREST])
        more = f" and {len(faults) - NEAREST} more" if len(faults) > NEAREST else ""
        raise DataError(f"{path} does not fit these data: {shown}{more}.", faults=faults)
    if len(named) == 0 and items.test_mask is None:
        raise DataError(
            f'{path}: "train" and "test" cannot both be "all" where the data have no test part of their own.'
        )
    official, everything = items.test_mask, np.arange(len(items.ids))
    chosen: dict[str, Index] = {part: np.array(index, np.int64) for part, index in named.items()}
    for part, other in (("train", "test"), ("test", "train")):
        if part not in chosen:
            pool = everything if official is None else np.flatnonzero(official == (part == "test"))
            chosen[part] = np.setdiff1d(pool, named.get(other, []))
    if len(chosen["train"]) == 0:
        raise DataError(f"{path}: the training part is empty.")
    return chosen["train"], chosen["test"]


def _table(labels: Index, groups: Index | None) -> tuple[Index, Index]:
    """Each item's group as 0..G-1, and how many items of each class every group holds, (G, C)."""
    if len(labels) == 0 or labels.min() < 0:
        raise ValueError("splits need labelled items, and at least one")
    class_N = np.unique(labels, return_inverse=True)[1]
    code_N = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    shape = (int(code_N.max()) + 1, int(class_N.max()) + 1)
    counts = np.bincount(code_N * shape[1] + class_N, minlength=shape[0] * shape[1])
    return code_N, counts.reshape(shape)


def _both_sides(counts_GC: Index, in_test: NDArray[np.bool_]) -> None:
    """Move the smallest group that helps wherever a class with two groups or more is missing from one side and no other class is hurt by it."""
    for side in (True, False):
        for missing in np.flatnonzero((counts_GC > 0).sum(0) > 1).tolist():
            if counts_GC[in_test == side, missing].any():
                continue
            donors = np.flatnonzero(counts_GC[:, missing] > 0)
            left_GC = counts_GC[in_test != side].sum(0) - counts_GC[donors]
            safe = ((left_GC > 0) | (counts_GC[donors] == 0)).all(1)
            if safe.any():
                helps = donors[safe]
                in_test[helps[counts_GC[helps].sum(1).argmin()]] = side


def _deal(counts_GC: Index, n_folds: int, rng: np.random.Generator) -> Index:
    """A fold 0..F-1 for every group."""
    n_groups, n_classes = counts_GC.shape
    fold_G = np.empty(n_groups, np.int64)
    held_FC = np.zeros((n_folds, n_classes), np.int64)
    size_G = counts_GC.sum(1)
    shuffled = rng.permutation(n_groups)
    large = shuffled[size_G[shuffled] > 1]
    weight_C = 1 / counts_GC.sum(0)  # so that a rare class counts as much as a common one
    for group in large[np.argsort(-size_G[large], kind="stable")].tolist():
        brings = counts_GC[group]
        crowding_F = (held_FC * (brings * weight_C)).sum(1)
        fold = int(np.lexsort((rng.random(n_folds), held_FC.sum(1), crowding_F))[0])
        fold_G[group] = fold
        held_FC[fold] += brings
    single = shuffled[size_G[shuffled] == 1]
    class_S = counts_GC[single].argmax(1)
    for code in rng.permutation(n_classes).tolist():
        members = single[class_S == code]
        if len(members) == 0:
            continue
        # the emptiest places first: by how many of this class a fold holds, then by its size, then at random
        level = (held_FC[:, code, None] + np.arange(len(members))).ravel()
        place_F = np.lexsort((rng.random(n_folds), held_FC.sum(1))).argsort()
        places = np.lexsort((np.repeat(place_F, len(members)), level))[: len(members)] // len(members)
        fold_G[members] = places
        held_FC[:, code] += np.bincount(places, minlength=n_folds)
    return fold_G


def _read_split(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"there is no split file {path}.") from None
    except OSError as error:
        raise MissingError(f"the split file {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}.") from None
    if not isinstance(content, dict) or "train" not in content:
        raise DataError(f'{path} is no split file: it must be {{"train": [ids], "test": [ids] or "all"}}.')
    parts = {"train": content["train"], "test": content.get("test") or []}
    for part, ids in parts.items():
        if ids == "all":
            continue
        if not isinstance(ids, list):
            raise DataError(f'{path}: "{part}" must be a list of item ids or "all", not {type(ids).__name__}.')
        wrong = [item for item in ids if isinstance(item, bool) or not isinstance(item, (str, int))]
        if wrong:
            raise DataError(
                f'{path}: "{part}" may hold ids and row numbers only; {len(wrong)} entries are neither, the first is {wrong[0]!r}.',
                faults=[Fault(f'"{part}"', "neither an id nor a row number", repr(item)) for item in wrong],
            )
    return parts


def _positions(part: str, ids: Sequence[str | int], position: dict[str, int], faults: list[Fault]) -> list[int]:
    """Positions of known ids; unknown and repeated ones become faults, the first few with the nearest known id."""
    found: dict[int, None] = {}
    near_names = 0
    for item in map(str, ids):
        if item not in position:
            near = _nearest_id(item, position) if near_names < NEAREST else None
            near_names += 1
            faults.append(Fault(f"{part} id {item!r}", f"unknown; nearest is {near!r}" if near else "unknown", item))
        elif position[item] in found:
            faults.append(Fault(f"{part} id {item!r}", "listed twice", item))
        else:
            found[position[item]] = None
    return list(found)


def _nearest_id(item: str, position: dict[str, int]) -> str | None:
    """An id with the same file name, else one spelt alike."""
    name = PurePosixPath(item).name
    same_name = next((known for known in position if PurePosixPath(known).name == name), None) if "/" in item else None
    return same_name or next(iter(get_close_matches(item, position, n=1)), None)
