"""Rows of an index: what changed between a listing and a collection, and the table that is written for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.data.dataset import Content, content_hash, source_name
from graft.errors import DataError
from graft.listings.listing import Listing
from graft.results import Fault
from graft.store.collection import CONTENT, HASH, ID, KEY, ROW, TEXT, VECTOR, Collection

if TYPE_CHECKING:
    import pyarrow as pa

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Change:
    """What a listing changes. Positions in the listing: `fresh` has new content, `added` of them a new id; `relabelled` has the same content
    with another payload, and its rows stand at `stored` in the collection. `deleted` are ids."""

    fresh: Longs
    added: Longs
    relabelled: Longs
    stored: Longs
    deleted: tuple[str, ...]
    unchanged: int


def hashes(listing: Listing) -> tuple[list[str], list[Fault]]:
    """Each item's hash of all that its vectors are made from ("" for a picture that cannot be read), and the faults.

    Files are read by several threads.
    """
    if listing.vectors is not None:
        return [content_hash(row.tobytes()) for row in listing.vectors], []
    with ThreadPoolExecutor(settings.threads()) as pool:
        found = list(pool.map(_hash, listing.contents, chunksize=64))
    faults = [Fault(listing.ids[i], text[1:]) for i, text in enumerate(found) if text.startswith("!")]
    digests = ["" if text.startswith("!") else text for text in found]
    if listing.texts is not None:  # beside pictures
        pairs = zip(digests, listing.texts, strict=True)
        digests = [digest and content_hash(f"{digest} {text or ''}".encode()) for digest, text in pairs]
    return digests, faults


def _hash(content: Content) -> str:
    """The hash, or "!" and what is wrong."""
    try:
        return content_hash(
            content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content.read_bytes()
        )
    except (OSError, KeyError, ValueError) as problem:
        return f"!unreadable: {problem}"


def row_hashes(listing: Listing, contents: Sequence[str]) -> list[str]:
    """A hash of everything a row tells: its content's own, where that lies, and its payload (an empty cell is as no such column)."""
    columns = sorted(listing.payload.items())
    made = []
    for i, (digest, content) in enumerate(zip(contents, listing.contents, strict=True)):
        place = "" if isinstance(content, str) else source_name(content)
        cells = [(name, values[i]) for name, values in columns if values[i] is not None]
        made.append(content_hash(json.dumps([digest, place, cells]).encode()))
    return made


def compare(
    collection: Collection | None,
    listing: Listing | None,
    digests: Sequence[str],
    whole: Sequence[str],
    *,
    delete: Sequence[str],
    prune: bool,
) -> Change:
    """What `listing` (with hashes `digests` of contents, `whole` of rows) changes in a collection; items of hash "" are left as they are.

    Pruning spares what is in the listing but cannot be read. Raises DataError for ids to delete that are not there.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    none = np.empty(0, np.int64)
    ids = [] if listing is None else list(listing.ids)
    usable = np.array([bool(digest) for digest in digests], np.bool_)
    if collection is None:
        fresh = np.flatnonzero(usable)
        return Change(fresh, fresh, none, none, (), 0)
    stored = collection.table([ID, HASH, ROW])
    known = stored.column(ID).combine_chunks()
    place = np.asarray(pc.fill_null(pc.index_in(pa.array(ids, pa.string()), value_set=known), -1).to_numpy(), np.int64)
    old = stored.select([HASH, ROW]).take(pa.array(np.maximum(place, 0))) if len(known) else None
    here = place >= 0
    same_content = here & _equal(old, HASH, digests)
    same_row = here & _equal(old, ROW, whole)
    relabelled = np.flatnonzero(usable & same_content & ~same_row)
    fresh = np.flatnonzero(usable & ~same_content)
    gone = _deleted(known, ids, delete, prune)
    added = np.flatnonzero(usable & ~here)
    return Change(fresh, added, relabelled, place[relabelled], gone, int((same_row & usable).sum()))


def _equal(old: pa.Table | None, column: str, values: Sequence[str]) -> NDArray[np.bool_]:
    if old is None:
        return np.zeros(len(values), np.bool_)
    pairs = zip(old.column(column).to_pylist(), values, strict=True)
    return np.array([a == b for a, b in pairs], np.bool_)


def _deleted(known: Any, ids: Sequence[str], delete: Sequence[str], prune: bool) -> tuple[str, ...]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if delete:
        present = pc.is_in(pa.array(list(delete), pa.string()), value_set=known).to_pylist()
        if missing := [item for item, there in zip(delete, present, strict=True) if not there]:
            raise DataError(
                f"--delete: {len(missing)} of the ids are not in the index: {', '.join(map(repr, missing[:5]))}.",
                faults=[Fault(item, "there is no such item") for item in missing],
            )
    gone = dict.fromkeys(delete)
    if prune:
        vanished = known.filter(pc.invert(pc.is_in(known, value_set=pa.array(list(ids), pa.string()))))
        gone |= dict.fromkeys(vanished.to_pylist())
    return tuple(gone)


def table(
    listing: Listing,
    chosen: Longs,
    digests: Sequence[str],
    whole: Sequence[str],
    keys: Longs,
    vectors: Mapping[str, Floats],
    schema: pa.Schema | None,
) -> pa.Table:
    """The rows of the items at positions `chosen`, with their keys and vectors (rows parallel to `chosen`), in the order of `schema`.

    Raises DataError when the payload does not fit the columns that the index has.
    """
    import pyarrow as pa

    picks = chosen.tolist()
    columns: dict[str, pa.Array] = {
        ID: pa.array([listing.ids[i] for i in picks], pa.string()),
        KEY: pa.array(keys, pa.int64()),
        HASH: pa.array([digests[i] for i in picks], pa.string()),
        ROW: pa.array([whole[i] for i in picks], pa.string()),
        CONTENT: pa.array([source_name(listing.contents[i]) for i in picks], pa.string()),
    }
    if listing.texts is not None:
        columns[TEXT] = pa.array([listing.texts[i] for i in picks], pa.string())
    for name, x_ND in vectors.items():
        flat = pa.array(np.ascontiguousarray(x_ND, np.float32).reshape(-1))
        columns[VECTOR + name] = pa.FixedSizeListArray.from_arrays(flat, x_ND.shape[1])
    payload = {name: [values[i] for i in picks] for name, values in listing.payload.items()}
    if schema is None:
        made = {name: pa.array(values) for name, values in payload.items()}
        columns |= {
            name: column.cast(pa.string()) if pa.types.is_null(column.type) else column for name, column in made.items()
        }
        return pa.table(columns)
    columns |= _fitted(payload, schema, [listing.ids[i] for i in picks])
    missing = [field for field in schema if field.name not in columns]
    columns |= {field.name: pa.nulls(len(picks), field.type) for field in missing}
    return pa.table(columns).select(schema.names)


def _fitted(payload: Mapping[str, list[Any]], schema: pa.Schema, ids: Sequence[str]) -> dict[str, Any]:
    """Payload columns in the types that the index has."""
    import pyarrow as pa

    if unknown := [name for name in payload if name not in schema.names]:
        raise DataError(
            f"The index has no column {', '.join(map(repr, unknown))}. Leave it out, or index everything anew into another folder."
        )
    fitted, faults = {}, []
    for name, values in payload.items():
        kind = str(schema.field(name).type)
        wrong = [i for i, value in enumerate(values) if value is not None and not _fits(value, kind)]
        faults += [Fault(ids[i], f"column {name!r} holds {kind} in this index", str(values[i])) for i in wrong]
        if not faults:
            read = _PYTHON[kind]
            fitted[name] = pa.array(
                [None if value is None else read(value) for value in values], schema.field(name).type
            )
    if faults:
        raise DataError(f"{len(faults):,} values do not fit the columns of the index.", faults=faults)
    return fitted


_PYTHON: dict[str, Callable[[Any], Any]] = {"bool": bool, "int64": int, "double": float, "string": str}


def _fits(value: Any, kind: str) -> bool:
    """Whether a value can be kept in a column as it is; Arrow would cut 1.5 to 1 without a word."""
    if kind == "string":
        return True
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind == "double":
        return isinstance(value, (int, float))
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and -(2**63) <= value < 2**63
