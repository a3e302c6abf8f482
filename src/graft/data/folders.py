"""Folders and zips of pictures or .txt files: which file is an item, which folder its class, which part it belongs to.

Both are first listed as posix paths and then laid out by one rule, `arrange`, so that a zip reads exactly like its folder.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft.data.archives import MAX_MEMBER_BYTES, Entry, list_zip
from graft.data.dataset import ImageSource, Items, clean_label
from graft.data.images import SUFFIXES, suffix
from graft.data.tables import TABLE_SUFFIXES, decode_text
from graft.errors import DataError
from graft.results import Fault

TRAIN_NAMES = frozenset({"train", "training"})
TEST_NAMES = frozenset({"test", "testing"})
VALIDATION_NAMES = frozenset({"val", "valid", "validation", "dev"})
_CLUTTER = frozenset({"__MACOSX", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Place:
    """Where a file stands: its class (None when it lies in no class folder) and part; `outside` when it lies beside the parts."""

    label: str | None
    test: bool = False
    outside: bool = False


@dataclass(frozen=True)
class Layout:
    """One `Place` a path; `labelled` when there are class folders at all, which lie in `above`; `parts` tells in words which folder became which part."""

    places: tuple[Place, ...]
    labelled: bool
    above: tuple[str, ...] = ()
    parts: str = ""


def read_folder(root: Path) -> Items:
    """Items of a folder; ids are paths relative to it. Raises DataError when nothing in it can be read."""
    entries, faults = list_folder(root)
    return _items(
        root,
        entries,
        faults,
        lambda entry: ImageSource(root / entry.member),
        lambda above: _hollow(root, entries, above),
    )


def _hollow(root: Path, entries: Sequence[Entry], above: Sequence[str]) -> list[Fault]:
    """A fault for each class folder without any file: a class that somebody meant to fill."""
    folders = {tuple(entry.path.split("/")[:-1]) for entry in entries}
    filled = {"/".join(parts[:depth]) for parts in folders for depth in range(1, len(parts) + 1)}
    found = []
    for folder in above:
        with os.scandir(root / folder) as listing:
            names = [e.name for e in listing if e.is_dir(follow_symlinks=False) and not _hidden(e.name)]
        paths = [f"{folder}/{name}" if folder else name for name in sorted(names)]
        found += [
            Fault(path, "empty: no file lies in this class folder", about="label")
            for path in paths
            if path not in filled
        ]
    return found


def read_zip(path: Path) -> Items:
    """Items of a zip, read in place; ids are paths inside it. Raises DataError when it is no zip or nothing in it can be read."""
    listed, faults = list_zip(path)
    entries = [entry for entry in listed if not any(map(_hidden, entry.path.split("/")))]
    return _items(path, entries, faults, lambda entry: ImageSource(path, entry.member))


def list_folder(root: Path) -> tuple[list[Entry], list[Fault]]:
    """The regular files below `root`, sorted by path, without hidden ones, and a fault for each that may not be read.

    A symbolic link counts as the file it points to while that lies inside `root`; links to folders are not followed.
    Raises DataError when `root` itself may not be listed.
    """
    inside = os.path.realpath(root) + os.sep
    entries: list[Entry] = []
    faults: list[Fault] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as listing:
                found = [entry for entry in listing if not _hidden(entry.name)]
        except OSError as problem:
            if not folder:
                raise DataError(f"The folder {root} cannot be read: {problem.strerror}.") from problem
            faults.append(Fault(folder, f"the folder cannot be read: {problem.strerror}"))
            continue
        for entry in found:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if not path.isprintable() and any("\ud800" <= sign <= "\udfff" for sign in path):
                faults.append(Fault(path.encode(errors="replace").decode(), "its name is not UTF-8"))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                _list_file(entry, path, inside, entries, faults)
    return sorted(entries, key=lambda entry: entry.path), sorted(faults, key=lambda fault: fault.where)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _CLUTTER


def _list_file(entry: os.DirEntry[str], path: str, inside: str, entries: list[Entry], faults: list[Fault]) -> None:
    try:
        if entry.is_symlink() and not f"{os.path.realpath(entry.path)}{os.sep}".startswith(inside):
            faults.append(Fault(path, "refused: a symbolic link that leads outside the folder"))
            return
        state = entry.stat()
    except OSError as problem:
        faults.append(Fault(path, f"cannot be read: {problem.strerror}"))
        return
    if stat.S_ISREG(state.st_mode):
        entries.append(Entry(path, path, state.st_size))
    else:  # a pipe or device would hang the reader
        kind = (
            "a symbolic link to a folder, which is not followed"
            if stat.S_ISDIR(state.st_mode)
            else "not a regular file"
        )
        faults.append(Fault(path, kind))


def arrange(paths: Sequence[str], stem: str = "") -> Layout:
    """Find class folders and parts in posix paths of items.

    Folders that wrap everything are skipped. Below them stand either `train/` with class folders and `test/` (or `val/`,
    `valid/`, `validation/`, `dev/`; when both are there only `test/` is the test part, the other joins training), or class
    folders. An item's class is the first folder below that, however deep the file lies; a file in no folder is unlabelled. A
    lone folder of files is one class, except in a zip named after it (`stem`), where it is only the wrapping.
    """
    pieces = [path.split("/") for path in paths]
    depth = 0
    while pieces and len({p[depth] for p in pieces}) == 1 and all(len(p) > depth + 1 for p in pieces):
        if not any(len(p) > depth + 2 for p in pieces) and pieces[0][depth] != stem:
            break
        depth += 1
    tops = {p[depth] for p in pieces if len(p) > depth + 1}
    train, test, validation = (
        {t for t in tops if t.lower() in names} for names in (TRAIN_NAMES, TEST_NAMES, VALIDATION_NAMES)
    )
    if not (train and (test or validation) and any(p[depth] in train and len(p) > depth + 2 for p in pieces)):
        places = tuple(Place(clean_label(p[depth]) if len(p) > depth + 1 else None) for p in pieces)
        return Layout(places, labelled=bool(tops), above=("/".join(pieces[0][:depth]),) if tops else ())
    if test:
        train |= validation
    else:
        test = validation
    places = tuple(
        Place(
            clean_label(p[depth + 1]) if len(p) > depth + 2 else None,
            test=len(p) > depth + 1 and p[depth] in test,
            outside=len(p) == depth + 1 or p[depth] not in train | test,
        )
        for p in pieces
    )
    words = f"train: {', '.join(sorted(train))}; test: {', '.join(sorted(test))}"
    above = tuple("/".join([*pieces[0][:depth], part]) for part in sorted(train | test))
    return Layout(places, labelled=True, above=above, parts=words)


def _items(
    root: Path,
    entries: Sequence[Entry],
    faults: list[Fault],
    source_of: Callable[[Entry], ImageSource],
    hollow: Callable[[Sequence[str]], list[Fault]] | None = None,
) -> Items:
    pictures = [entry for entry in entries if suffix(entry.path) in SUFFIXES]
    texts = [entry for entry in entries if suffix(entry.path) == ".txt"]
    wanted = texts if len(texts) > len(pictures) else pictures
    if not wanted:
        raise DataError(_nothing(root, entries, faults), faults=faults)
    items = Items("text" if wanted is texts else "image", faults=faults)
    layout = arrange([entry.path for entry in wanted], root.stem)
    if layout.parts:
        items.columns["parts"] = layout.parts
    _fault_strangers(items, entries, wanted)
    told = {fault.where for fault in faults}
    faults += [fault for fault in hollow(layout.above) if fault.where not in told] if hollow else []
    foreign = 0
    for entry, place in zip(wanted, layout.places, strict=True):
        if place.outside:
            faults.append(Fault(entry.path, "left out: it lies beside the training and test folders"))
        elif entry.size == 0:
            faults.append(Fault(entry.path, "empty"))
        else:
            foreign += _add(items, entry, place, layout.labelled, source_of(entry))
    if foreign:
        items.columns["encoding"] = f"cp1252 in {foreign} of {len(items.ids)} files, else utf-8"
    if not items.ids:
        raise DataError(_unreadable(root, faults), faults=faults)
    return items


def _fault_strangers(items: Items, entries: Sequence[Entry], wanted: Sequence[Entry]) -> None:
    """Files of another kind are faults where they lie among items; elsewhere (a README beside the class folders) they are none."""
    taken = {entry.path for entry in wanted}
    folders = {entry.path.rpartition("/")[0] for entry in wanted}
    for entry in entries:
        if entry.path not in taken and entry.path.rpartition("/")[0] in folders:
            known = suffix(entry.path) in SUFFIXES or suffix(entry.path) == ".txt"
            kind = (
                f"not {'an image' if items.modality == 'image' else 'a text'}, as the others here"
                if known
                else "neither a picture nor a .txt file"
            )
            items.faults.append(Fault(entry.path, f"wrong type: {kind}"))


def _add(items: Items, entry: Entry, place: Place, labelled: bool, source: ImageSource) -> bool:
    """Add one item, or a fault; True when a text was not in Unicode."""
    content: str | ImageSource = source
    encoding = "utf-8"
    if items.modality == "text":
        if entry.size > MAX_MEMBER_BYTES:
            items.faults.append(
                Fault(entry.path, f"too large: {entry.size:,} bytes; the limit of one text is {MAX_MEMBER_BYTES:,}")
            )
            return False
        try:
            content, encoding = decode_text(source.read_bytes())
        except (OSError, ValueError) as problem:
            items.faults.append(Fault(entry.path, f"unreadable: {problem}"))
            return False
        content = content.strip()
        if not content:
            items.faults.append(Fault(entry.path, "empty"))
            return False
    if place.label is None and labelled:
        items.faults.append(Fault(entry.path, "unlabelled: it lies in no class folder", about="label"))
    items.add(entry.path, content, place.label, test=place.test)
    return encoding == "cp1252"


def _unreadable(root: Path, faults: Sequence[Fault]) -> str:
    first = f"{faults[0].where}: {faults[0].problem}"
    return f"Nothing in {root} can be read: {len(faults)} fault{'s' * (len(faults) > 1)}, the first is {first}."


def _nothing(root: Path, entries: Sequence[Entry], faults: Sequence[Fault]) -> str:
    if faults and not entries:
        return _unreadable(root, faults)
    if not entries:
        return f"{root} is empty: there is no file in it. It should hold pictures or .txt files, one folder a class."
    tables = [entry.path for entry in entries if suffix(entry.path) in TABLE_SUFFIXES]
    if tables:
        return f"{root} holds no pictures and no .txt files, but tables: give one of them, for instance {root / tables[0]}."
    shown = ", ".join(entry.path for entry in entries[:3])
    return f"{root} holds {len(entries)} files (such as {shown}), but no picture and no .txt file."
