"""Making an index and changing it: what is new is encoded and written, a search structure is built when it pays, then all is switched.

A killed run leaves the version that was served; rows it had written already are left behind by the next one.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.errors import DataError, ModelError, StorageError, UsageError
from graft.listings.listing import Listing
from graft.results import Fault
from graft.retrieval.rows import Change, compare, hashes, row_hashes, table
from graft.retrieval.versions import (
    KEPT,
    IndexVersion,
    View,
    current,
    describe,
    is_index,
    numbers,
    publish,
    read_version,
    readable,
    switch,
)
from graft.retrieval.viewing import Viewer, Wanted
from graft.search_results import IndexResult, IndexVersions
from graft.store.collection import CONTENT, TEXT, Collection
from graft.store.files import check_writable, locked, new_folder, storage_errors
from graft.store.index import Segment, Structure, build, plan, prepared

Floats = NDArray[np.float32]

_FELL_BACK = "View {}: {} does not find {:.0%} of the ten nearest here, so all items are compared."
REBUILD_SHARE = 0.2  # of rows added or gone since a structure was built, from which it is built anew


@dataclass
class _Log:
    """What a run tells afterwards."""

    seconds: dict[str, float] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


def update(
    path: Path,
    listing: Listing | None,
    wanted: Wanted,
    *,
    delete: Sequence[str] = (),
    prune: bool = False,
    strict: bool = False,
) -> IndexResult:
    """Make an index at `path`, or bring the one there up to date with a listing; one writer at a time, others wait.

    `delete` takes out ids, `prune` all ids that the listing does not have. Raises DataError when nothing can be indexed (with `strict`,
    when anything cannot), ModelError when the index was made with another encoder, StorageError when the disk fails; the index then stands as it
    was.
    """
    log = _Log(faults=[] if listing is None else list(listing.faults))
    check_writable(path / "graft.json")
    if not (path / "graft.json").exists():
        if listing is None or delete or prune:
            raise UsageError(f"There is no index at {path} yet: give DATA alone to make one.")
        try:
            return _create(path, listing, wanted, log, strict)
        except UsageError:
            if not is_index(path):
                raise
            log = _Log(faults=list(listing.faults))  # another process was faster: what it made is brought up to date
    current(path)  # raises before a file is put into a folder that is no index
    with storage_errors(path), locked(path / "graft.json"):
        return _change(path, listing, wanted, log, delete=delete, prune=prune, strict=strict)


def _create(path: Path, listing: Listing, wanted: Wanted, log: _Log, strict: bool) -> IndexResult:
    """The whole folder appears at once."""
    with log.part("read"):
        digests, faults = hashes(listing)
        change = compare(None, listing, digests, digests, delete=(), prune=False)
    log.faults += faults
    with new_folder(path) as draft:
        viewer = Viewer.new(draft, listing, wanted)
        rows, _ = _rows(viewer, listing, (digests, row_hashes(listing, digests)), change, None, log, strict)
        if rows is None:
            raise DataError(f"None of the {len(listing):,} items can be indexed.", faults=log.faults)
        with log.part("write"):
            collection = Collection.create(draft / "items.lance", rows)
            words = CONTENT if listing.modality == "text" else TEXT if listing.texts is not None else ""
            if words:
                collection.index_words(words)
        version = IndexVersion(
            version=1,
            lance=collection.version,
            items=len(collection),
            next_key=len(digests),
            name=listing.name,
            modality=listing.modality if listing.texts is None else "both",
            views=viewer.views,
            created=_now(),
            words=words,
            text_column=listing.text_column or "",
            added=len(collection),
            wanted=_searching(wanted),
        )
        version = _structures(draft, version, collection, wanted, log)
        publish(draft, version)
        columns = collection.columns
    return _told(path, version, columns, log)


def _change(
    path: Path, listing: Listing | None, wanted: Wanted, log: _Log, *, delete: Sequence[str], prune: bool, strict: bool
) -> IndexResult:
    start = read_version(path, current(path))
    collection = Collection.open(path / "items.lance", start.lance)
    if listing is not None:
        _check_kind(path, start, listing)
    if not wanted.rebuild and wanted.kind not in ("auto", start.wanted["kind"]):
        log.notes.append(f"--kind {wanted.kind} takes effect with --rebuild.")
    viewer = Viewer.of(path, start, listing, wanted)
    with log.part("read"):
        digests, faults = ([], []) if listing is None else hashes(listing)
        whole = [] if listing is None else row_hashes(listing, digests)
        change = compare(collection, listing, digests, whole, delete=delete, prune=prune)
    log.faults += faults
    rows, added = None, 0
    if listing is not None:
        rows, added = _rows(viewer, listing, (digests, whole), change, (collection, start.next_key), log, strict)
    if rows is None and not change.deleted and not wanted.rebuild:
        start = replace(start, added=0, changed=0, deleted=0)
        return _told(path, start, collection.columns, log, unchanged=change.unchanged)
    with log.part("write"):
        if collection.latest != collection.version:
            collection.restore()
        collection.write(rows, change.deleted)
        collection.compact()
        if start.words:
            collection.index_words(start.words)
    version = replace(
        start,
        version=max(numbers(path)) + 1,
        lance=collection.version,
        items=len(collection),
        next_key=start.next_key + len(digests),
        views=viewer.views,
        created=_now(),
        added=added,
        changed=(0 if rows is None else len(rows)) - added,
        deleted=len(change.deleted),
        wanted=_searching(wanted) if wanted.rebuild else start.wanted,
    )
    version = _structures(path, version, collection, wanted, log)
    publish(path, version)
    try:
        _tidy(path, version, collection)
    except StorageError as problem:
        log.notes.append(f"Older versions could not be removed: {problem}")
    return _told(path, version, collection.columns, log, unchanged=change.unchanged)


def _searching(wanted: Wanted) -> dict[str, Any]:
    return {"kind": wanted.kind, "recall": wanted.recall, "memory": wanted.memory}


def _rows(
    viewer: Viewer,
    listing: Listing,
    told: tuple[Sequence[str], Sequence[str]],
    change: Change,
    existing: tuple[Collection, int] | None,
    log: _Log,
    strict: bool,
) -> tuple[Any, int]:
    """The table to write, and how many of its items are new: fresh items with new vectors and keys, relabelled ones with those they had; None
    when there is nothing. `told` are the hashes of contents and of rows."""
    collection, next_key = existing or (None, 0)
    with log.part("encode"):
        fresh, vectors, faults = viewer.vectors(listing, change.fresh)
    log.faults += faults
    if strict and log.faults:
        raise DataError(f"{len(log.faults):,} items cannot be indexed. --strict stops here.", faults=log.faults)
    keys = next_key + fresh
    chosen = fresh
    if collection is not None and len(change.relabelled):
        kept = {name: collection.vectors(name, change.stored) for name in vectors}
        vectors = {name: np.concatenate([x, kept[name]]) for name, x in vectors.items()}
        keys = np.concatenate([keys, collection.keys()[change.stored]])
        chosen = np.concatenate([fresh, change.relabelled])
    if not len(chosen):
        return None, 0
    schema = None if collection is None else collection.schema
    return table(listing, chosen, *told, keys, vectors, schema), int(np.isin(fresh, change.added).sum())


def _check_kind(path: Path, start: IndexVersion, listing: Listing) -> None:
    kind = listing.modality if listing.texts is None else "both"
    if kind != start.modality:
        raise DataError(
            f"{path} holds items of kind {start.modality!r}; these are of kind {kind!r}. Make another index for them."
        )


def _structures(path: Path, version: IndexVersion, collection: Collection, wanted: Wanted, log: _Log) -> IndexVersion:
    """Views with a search structure each: the one they had while it fits, else one built anew beside it."""
    with log.part("build"):
        for view in version.views:
            dim = view.dim + (view.metric == "euclidean")
            structure = plan(version.items, dim, kind=version.wanted["kind"], memory=version.wanted["memory"])
            size = version.items * dim * 4
            if structure.kind == "exact":
                version = version.with_view(replace(_exact(view), bytes=size))
            elif wanted.rebuild or not view.base_items or _drift(path, view, collection) > REBUILD_SHARE:
                segment = _built(view, collection, dim, structure, version.wanted["recall"])
                version = version.with_view(_with_base(path, view, segment, version))
                log.rebuilt.append(view.name)
                if segment.structure.kind == "exact":
                    log.notes.append(_FELL_BACK.format(view.name, structure.kind, version.wanted["recall"]))
            elif not view.base:
                version = version.with_view(replace(view, bytes=size))
    return version


def _built(view: View, collection: Collection, dim: int, structure: Structure, recall: float) -> Segment:
    return build(
        lambda: (prepared(batch, view.metric) for batch in collection.batches(view.name)),
        collection.keys(),
        dim,
        structure,
        recall=recall,
        metric=view.metric,
    )


def _with_base(path: Path, view: View, segment: Segment, version: IndexVersion) -> View:
    """The view with a structure saved for it; where that became exact, with the number of items that it was tried on."""
    if segment.structure.kind == "exact":
        return replace(_exact(view), base_items=len(segment), bytes=segment.bytes)
    name = f"{view.name}-{version.version}"
    with new_folder(path / "bases" / name, replace=True) as folder:
        segment.save(folder)
        again = Segment.load(folder, segment.structure, probes=segment.probes, recall=segment.recall)
        some = np.ascontiguousarray(np.eye(4, segment.index.d, dtype=np.float32))
        if not np.array_equal(again.search(some, 1)[1], segment.search(some, 1)[1]):
            raise ModelError(f"The search structure of {view.name} reads back differently from what was written.")
    return replace(
        view,
        kind=segment.structure.kind,
        lists=segment.structure.lists,
        codes=segment.structure.codes,
        probes=segment.probes,
        base=name,
        base_items=len(segment),
        recall=segment.recall,
        bytes=segment.bytes,
    )


def _exact(view: View) -> View:
    return replace(view, kind="exact", lists=0, codes=0, probes=0, base="", base_items=0, recall=None)


def _drift(path: Path, view: View, collection: Collection) -> float:
    """The share of rows that came or went since the view's structure was built, or was tried in vain."""
    keys = collection.keys()
    if not view.base:
        return abs(len(keys) - view.base_items) / view.base_items
    try:
        built = np.load(path / "bases" / view.base / "keys.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return 1.0  # lost or damaged
    here = int(np.isin(built, keys, assume_unique=True).sum())
    return (len(built) - here + len(keys) - here) / max(len(built), 1)


def _tidy(path: Path, version: IndexVersion, collection: Collection) -> None:
    """Forget versions that can no longer be returned to, and what only they used."""
    kept = [version, *(v for v in readable(path) if v.version != version.version)][:KEPT]
    for number in set(numbers(path)) - {v.version for v in kept}:
        (path / "versions" / f"{number}.json").unlink(missing_ok=True)
    collection.tidy({f"v{v.version}": v.lance for v in kept})
    used = {view.base for v in kept for view in v.views} | {view.bridge for v in kept for view in v.views}
    for kind in ("bases", "bridges"):
        for folder in (path / kind).glob("*") if (path / kind).is_dir() else ():
            if folder.name not in used:
                shutil.rmtree(folder, ignore_errors=True)


def rollback(path: Path, number: int | None = None) -> IndexResult:
    """Serve the version before the one that is served, or version `number`. Raises UsageError when there is no such version."""
    current(path)  # raises before a file is put into a folder that is no index
    with storage_errors(path), locked(path / "graft.json"):
        serving = current(path)
        there = [version.version for version in readable(path)]
        target = number if number is not None else next((n for n in there if n < serving), None)
        if target is None or target not in there:
            kept = ", ".join(map(str, there))
            raise UsageError(
                f"{path} has no {'earlier version' if number is None else f'version {number}'} to return to. There are: {kept}."
            )
        version = read_version(path, target)
        columns = Collection.open(path / "items.lance", version.lance).columns  # raises before anything is switched
        switch(path, target)
    return describe(path, version, columns)


def history(path: Path) -> IndexVersions:
    """The versions that can be returned to, newest first. Raises MissingError without an index, ModelError for a damaged one."""
    serving = current(path)
    return IndexVersions(str(path), serving, tuple(describe(path, version, {}) for version in readable(path)))


def columns(path: Path) -> dict[str, str]:
    """Payload columns of the index at `path` with their types; none where there is no index yet."""
    if not is_index(path):
        return {}
    return Collection.open(path / "items.lance", read_version(path, current(path)).lance).columns


def _told(path: Path, version: IndexVersion, columns: dict[str, str], log: _Log, unchanged: int = 0) -> IndexResult:
    return describe(
        path,
        version,
        columns,
        unchanged=unchanged,
        rebuilt=tuple(log.rebuilt),
        faults=tuple(log.faults),
        notes=tuple(log.notes),
        seconds=log.seconds,
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
