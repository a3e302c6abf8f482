"""What a reader of people's files hands on: items with ids, contents, label codes, parts and faults.

Pictures are named, not loaded: an `ImageSource` says where its bytes lie, so that a set of any size fits in memory.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.data.archives import read_member
from graft.results import Fault

UNLABELLED = -1


@dataclass(frozen=True)
class ImageSource:
    """One picture that has not been read yet.

    `path` is a picture file, or the archive (zip, idx, mat) that holds the picture as `member`: a name inside a zip, a 0-based
    row number inside an array file.
    """

    path: Path
    member: str | None = None

    def read_bytes(self) -> bytes:
        """The encoded picture. Safe to call from several threads. Raises OSError."""
        return self.path.read_bytes() if self.member is None else read_member(self.path, self.member)


Content = str | ImageSource


def source_name(content: Content) -> str:
    """How a content is kept in an index: a text as it is, a picture as its absolute path, with `::member` inside an archive."""
    if isinstance(content, str):
        return content
    path = str(content.path.expanduser().absolute())
    return path if content.member is None else f"{path}::{content.member}"


def source_of(name: str) -> ImageSource:
    """The picture that `source_name` named."""
    path, separator, member = name.rpartition("::")
    return ImageSource(Path(path), member) if separator else ImageSource(Path(name))


@dataclass(frozen=True, eq=False)
class Target:
    """What items are to be given instead of one class, N items, K columns; NaN in rows of items without a label.

    `task` is number or count (K = 1: the value), ordinal (indicator rows of the K levels in their order) or multilabel (1 for each label an
    item has). `names` are the levels or labels, K of them, none for numbers and counts.
    """

    task: str
    values: NDArray[np.float64]  # (N, K)
    names: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items as read. Arrays and tuples are parallel, one entry an item; N items, C classes.

    `ids` are paths inside the folder or zip (posix, with the zip's top folder), or "0", "1", .. for the 0-based data rows of a
    table (its header is not counted), "test:0", .. for those of a second file. A faulty item is left out, so ids may skip numbers.
    """

    name: str  # for people: "photos"
    kind: str  # folder | zip | table | named
    modality: str  # text | image
    ids: tuple[str, ...]
    contents: tuple[Content, ...]
    labels: NDArray[np.int64]  # (N,) position in `classes`, -1 for unlabelled
    classes: tuple[str, ...]  # in natural order ("2" before "10"); a named set keeps its published order
    test_mask: NDArray[np.bool_] | None  # (N,) official test part, None when there is none
    groups: NDArray[np.int64] | None = None  # (N,) items of one group stay on one side of every split
    times: NDArray[np.float64] | None = None  # (N,) seconds since 1970 UTC for dates, else the number itself
    class_texts: Mapping[str, str] | None = None  # label -> name or sentence; None: see `class_text`
    faults: tuple[Fault, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> column, with what was guessed beside
    source: str = ""  # as given
    sha256: str | None = None  # of a single-file source, or of a named set's files
    payload: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # further columns of a named set, for search
    target: Target | None = None  # None for classes; else `labels` are strata, which splits and folds keep alike

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.int64]) -> Dataset:
        """The items at positions `index`, in that order; classes, faults and columns stay as they are."""
        chosen = [int(i) for i in index]
        return replace(
            self,
            ids=tuple(self.ids[i] for i in chosen),
            contents=tuple(self.contents[i] for i in chosen),
            labels=self.labels[index],
            test_mask=None if self.test_mask is None else self.test_mask[index],
            groups=None if self.groups is None else self.groups[index],
            times=None if self.times is None else self.times[index],
            payload={name: [values[i] for i in chosen] for name, values in self.payload.items()},
            target=self.target and replace(self.target, values=self.target.values[index]),
        )

    def class_descriptions(self) -> tuple[str, ...]:
        """One text a class, in the order of `classes`, for zero-shot and named heads."""
        given = self.class_texts or {}
        return tuple(given.get(label) or class_text(label) for label in self.classes)


def class_text(label: str) -> str:
    """A label as a person would say it: `_` and `-` become spaces, a sign at its end goes."""
    return re.sub(r"[_\-\s]+", " ", label).strip().rstrip("?!.:") or label


def clean_label(label: str) -> str:
    """A label without blanks around it, its accents composed (NFC), so that two spellings of one word are one class."""
    return unicodedata.normalize("NFC", label.strip())


def natural_key(label: str) -> tuple[tuple[int, float, str], ...]:
    """Sort key that puts "2" before "10" and "c2" before "c10"; numbers come before words."""
    try:
        number = float(label)
    except ValueError:
        number = float("nan")
    if number == number:
        return ((0, number, label),)
    pieces = re.split(r"([0-9]+)", label)
    return tuple((0, float(p), p) if i % 2 else (1, 0.0, p) for i, p in enumerate(pieces))


def content_hash(content_bytes: bytes) -> str:
    """BLAKE2b-128 in hex of a text's UTF-8 bytes or a picture's file bytes: the item's half of a cache key."""
    return hashlib.blake2b(content_bytes, digest_size=16).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 in hex of a file, read as a stream. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 in hex over several files: of the lines "<sha256 of the file>  <name>" in order of name; of one file, its own."""
    chosen = sorted(paths, key=lambda path: path.name)
    if len(chosen) == 1:
        return file_sha256(chosen[0])
    listing = "".join(f"{file_sha256(path)}  {path.name}\n" for path in chosen)
    return hashlib.sha256(listing.encode()).hexdigest()


@dataclass
class Items:
    """Items while they are being read: labels are still words. `add` keeps the lists parallel."""

    modality: str
    ids: list[str] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    test: list[bool] = field(default_factory=list)
    groups: list[str | None] | None = None
    times: list[float] | None = None
    faults: list[Fault] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    lists: dict[int, list[Any]] = field(default_factory=dict)  # of items whose label is a list: it, by position

    def add(self, item_id: str, content: Content, label: str | None, *, test: bool = False) -> None:
        self.ids.append(item_id)
        self.contents.append(content)
        self.labels.append(label)
        self.test.append(test)


def assemble(items: Items, *, name: str, kind: str, source: str, classes: Sequence[str] | None = None) -> Dataset:
    """Turn words into codes. `classes` fixes the order of a named set; else natural order of the labels met.

    A label that occurs only in the official test part cannot be learnt: those items become unlabelled, each with a fault.
    """
    has_test = any(items.test)
    labels = list(items.labels)
    faults = list(items.faults)
    trained = {label for label, test in zip(labels, items.test, strict=True) if label is not None and not test}
    if has_test and trained:
        for i, label in enumerate(labels):
            if label is not None and label not in trained:
                where = items.ids[i] if kind in ("folder", "zip") else items.ids[i].replace("test:", "test row ")
                faults.append(
                    Fault(where, "its label occurs only in the test part, so it is not scored", label, "label")
                )
                labels[i] = None
    met = {label for label in labels if label is not None}
    ordered = tuple(classes) if classes is not None else tuple(sorted(met, key=natural_key))
    code = {label: i for i, label in enumerate(ordered)}
    return Dataset(
        name=name,
        kind=kind,
        modality=items.modality,
        ids=tuple(items.ids),
        contents=tuple(items.contents),
        labels=np.array([UNLABELLED if label is None else code[label] for label in labels], dtype=np.int64),
        classes=ordered,
        test_mask=np.array(items.test, dtype=np.bool_) if has_test else None,
        groups=None if items.groups is None else group_codes(items.groups),
        times=None if items.times is None else np.array(items.times, dtype=np.float64),
        faults=tuple(faults),
        columns=dict(items.columns),
        source=source,
    )


def group_codes(groups: Sequence[str | None]) -> NDArray[np.int64]:
    """Codes of the groups in order of first appearance; an item without a group is a group of its own."""
    seen: dict[str, int] = {}
    codes = np.empty(len(groups), dtype=np.int64)
    following = 0
    for i, group in enumerate(groups):
        if group is not None and group in seen:
            codes[i] = seen[group]
            continue
        codes[i] = following
        if group is not None:
            seen[group] = following
        following += 1
    return codes
