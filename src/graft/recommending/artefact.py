"""The folder that holds a recommender: `graft.json`, `model.safetensors`, and what is known of items and people, checked on reading.

    graft.json          what it is, what was measured, the hash of every other file
    model.safetensors   the model's arrays, the interactions it was fitted on, by which known people are served and reasons given, and the maps that
                        place new items by their content, where there are some
    items.parquet       ids, titles, categories, texts, dates
    people.json         ids of the people

Nothing here is executable. Legend: N interactions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.artifact import checked, digest_of
from graft.errors import MissingError, ModelError
from graft.interactions.likes import Catalogue, Interactions
from graft.recommending.content import OWN as PLACING
from graft.recommending.content import Placing
from graft.recommending.short import Few
from graft.store.files import write_bytes, write_json

SCHEMA, KIND = 1, "recommender"
MANIFEST, TENSORS, ITEMS, PEOPLE, CARD = "graft.json", "model.safetensors", "items.parquet", "people.json", "README.md"
OWN = "interactions/"  # what stands before the names of the interactions' arrays

Tree = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Saved:
    """What the folder holds: the model's name, settings and arrays, the interactions, what is known of the items, and what was measured,
    by what new items are placed, and whom popularity serves better."""

    model: str
    settings: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]
    interactions: Interactions
    catalogue: Catalogue
    about: Mapping[str, Any]
    placing: Placing | None = None
    few: Few | None = None


def write(draft: Path, saved: Saved, card: str) -> None:
    """Write the folder's files into `draft`, an empty folder that is put in place by the caller. Raises StorageError where the disk fails."""
    from safetensors.numpy import save as to_bytes

    rows = saved.interactions
    own: dict[str, NDArray[Any]] = {"user": rows.user_N, "item": rows.item_N, "weight": rows.weight_N}
    own |= {} if rows.time_N is None else {"time": rows.time_N}
    arrays = dict(saved.arrays) | {OWN + name: array for name, array in own.items()}
    arrays |= {} if saved.placing is None else saved.placing.arrays()
    contents = {
        TENSORS: to_bytes({name: np.ascontiguousarray(array) for name, array in arrays.items()}),
        ITEMS: _items_bytes(rows.items, saved.catalogue),
        PEOPLE: json.dumps(list(rows.users), ensure_ascii=False).encode("utf-8", "surrogatepass"),
    }
    tree: Tree = {
        "schema": SCHEMA,
        "kind": KIND,
        "graft": metadata.version("graft"),
        "model": saved.model,
        "settings": dict(saved.settings),
        "about": dict(saved.about),
        **({} if saved.placing is None else {"placing": saved.placing.facts()}),
        **({} if saved.few is None else {"few": asdict(saved.few)}),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    for name, content in contents.items():
        write_bytes(draft / name, content)
    write_bytes(draft / CARD, card.encode())
    write_json(draft / MANIFEST, tree | {"digest": digest_of(tree)})


def is_recommender(path: str | Path) -> bool:
    """Whether `path`, or `model/` in it, looks like a recommender's folder; nothing is checked."""
    folder = _folder(Path(path))
    try:
        return bool(json.loads((folder / MANIFEST).read_bytes()).get("kind") == KIND)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def read(path: str | Path) -> Saved:
    """The recommender saved at `path` or in `model/` inside it, every hash checked.

    Raises MissingError when there is nothing or a file is not there, ModelError when one was changed, is no recommender of ours, or was
    written by a newer Graft.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    folder = _folder(Path(path))
    tree = _manifest(folder)
    contents = {name: checked(folder / name, tree["files"].get(name)) for name in (TENSORS, ITEMS, PEOPLE)}
    try:
        arrays = from_bytes(contents[TENSORS])
        own = {name.removeprefix(OWN): array for name, array in arrays.items() if name.startswith(OWN)}
        items, catalogue = _items(contents[ITEMS])
        users = tuple(json.loads(contents[PEOPLE].decode("utf-8", "surrogatepass")))
        rows = Interactions(users, items, own["user"], own["item"], own["weight"], own.get("time"))
        placing = Placing.rebuilt(tree["placing"], arrays) if "placing" in tree else None
        few = Few(**tree["few"]) if "few" in tree else None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder} holds no recommender that this Graft can read: {error!r}.") from error
    kept = {name: array for name, array in arrays.items() if not name.startswith((OWN, PLACING))}
    return Saved(tree["model"], tree["settings"], kept, rows, catalogue, tree["about"], placing, few)


def _folder(path: Path) -> Path:
    given = path.expanduser()
    given = given.parent if given.name == MANIFEST else given
    return given if (given / MANIFEST).is_file() or not (given / "model" / MANIFEST).is_file() else given / "model"


def _manifest(folder: Path) -> Tree:
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingError(
            f"There is no recommender at {str(folder)!r}. `graft recommend fit INTERACTIONS --out {folder}` would make one."
        )
    try:
        tree: Tree = json.loads(path.read_bytes())
        kind, schema = tree.get("kind"), tree["schema"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not the manifest of a recommender ({error!r}).") from error
    if kind != KIND:
        raise ModelError(f"{path} is the manifest of a {kind or 'classifier'}, not of a recommender.")
    if schema != SCHEMA:
        raise ModelError(f"{path} has schema {schema}; this Graft ({metadata.version('graft')}) reads {SCHEMA}.")
    digest = tree.pop("digest", None)
    if digest != digest_of(tree):
        raise ModelError(f"{path} was changed since the model was saved. Take it from its source again, or fit again.")
    return tree


def _items_bytes(ids: tuple[str, ...], catalogue: Catalogue) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "id": pa.array(ids, pa.string()),
        "title": pa.array(catalogue.titles, pa.string()),
        "categories": pa.array([list(names) for names in catalogue.categories], pa.list_(pa.string())),
    }
    if catalogue.texts is not None:
        columns["text"] = pa.array(catalogue.texts, pa.string())
    if catalogue.pictures is not None:
        columns["picture"] = pa.array([None if p is None else str(p) for p in catalogue.pictures], pa.string())
    if catalogue.dates is not None:
        columns["date"] = pa.array(catalogue.dates, pa.float64())
    out = BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def _items(content: bytes) -> tuple[tuple[str, ...], Catalogue]:
    import pyarrow.parquet as pq

    table = pq.read_table(BytesIO(content))
    column: Callable[[str], list[Any]] = lambda name: table.column(name).to_pylist()
    names = table.column_names
    pictures = tuple(None if p is None else Path(p) for p in column("picture")) if "picture" in names else None
    catalogue = Catalogue(
        tuple(column("title")),
        tuple(map(tuple, column("categories"))),
        tuple(column("text")) if "text" in names else None,
        pictures,
        table.column("date").to_numpy() if "date" in names else None,
    )
    return tuple(column("id")), catalogue
