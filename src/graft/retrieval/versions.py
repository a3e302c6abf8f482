"""The versions of an index: which rows, which search structures, and which of them is served.

INDEX/graft.json        names the version that is served; replaced in one step
INDEX/versions/N.json   one version, written before it is named
INDEX/items.lance       the rows of all versions
INDEX/bases/NAME/       a search structure; several versions may share one
INDEX/bridges/NAME/     a bridge
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from graft.errors import MissingError, ModelError
from graft.results import EncoderSummary, from_json, to_json
from graft.search_results import IndexResult, Recall, ViewSummary
from graft.store.files import write_json
from graft.store.index import Structure

SCHEMA = 1
NAMES_SHARE = 0.1
KEPT = 3  # versions that can be returned to, the served one among them


@dataclass(frozen=True)
class View:
    """A named column of vectors and how it is searched; `base` is the folder of its search structure ("" while it is exact).

    `bridge` is the folder of the bridge that derives it from the view `image`, "" for an encoder's own vectors.
    """

    name: str
    dim: int
    metric: str
    modality: str
    encoder: EncoderSummary
    bridge: str = ""
    bridge_kind: str = ""
    kind: str = "exact"
    lists: int = 0
    codes: int = 0
    probes: int = 0
    base: str = ""
    base_items: int = 0
    recall: Recall | None = None
    bytes: int = 0

    @property
    def reference(self) -> str:
        """The encoder of the items' contents."""
        return self.encoder.reference

    @property
    def fingerprint(self) -> str:
        """Its fingerprint."""
        return self.encoder.fingerprint

    @property
    def structure(self) -> Structure:
        """What the base was built as."""
        return Structure(self.kind, self.lists, self.codes)

    def summary(self) -> ViewSummary:
        """For people."""
        return ViewSummary(
            name=self.name,
            dim=self.dim,
            metric=self.metric,
            modality=self.modality,
            encoder=self.encoder,
            kind=self.kind,
            lists=self.lists,
            probes=self.probes,
            recall=self.recall,
            bytes=self.bytes,
            bridge=self.bridge_kind,
        )


def view_weights(views: Sequence[View]) -> dict[str, float]:
    """How much the standard scores of views that words speak in count beside each other: alike, but class names little beside texts.

    The class-name bridge is sharp and often wrong: on 500 captioned photos of Flickr8k recall@5 is .82 by the texts alone and with a tenth for
    the bridge, .52 with equal weights. A learned bridge adds at equal weights (.82 to .86).
    """
    names = [view.name for view in views if view.bridge_kind == "names"]
    if not names or len(names) == len(views):
        return {view.name: 1.0 for view in views}
    return {view.name: NAMES_SHARE if view.name in names else 1 - NAMES_SHARE for view in views}


@dataclass(frozen=True)
class IndexVersion:
    """One version. `next_key` is the first key not yet used; `wanted` holds the settings (structure, recall, memory) given when it was made."""

    version: int
    lance: int
    items: int
    next_key: int
    name: str
    modality: str
    views: tuple[View, ...]
    created: str
    words: str = ""  # the column whose words are indexed, "" when the items have no texts
    text_column: str = ""
    added: int = 0
    changed: int = 0
    deleted: int = 0
    wanted: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def view(self, name: str) -> View:
        """The view of that name, which is there."""
        return next(view for view in self.views if view.name == name)

    def with_view(self, view: View) -> IndexVersion:
        """The same with `view` in place of the one of its name."""
        return replace(self, views=tuple(view if old.name == view.name else old for old in self.views))


def is_index(path: Path) -> bool:
    """Whether a folder says that it is an index."""
    try:
        return bool(json.loads((path / "graft.json").read_bytes()).get("kind") == "index")
    except (OSError, ValueError, AttributeError):
        return False


def current(path: Path) -> int:
    """The number of the version that is served. Raises MissingError without an index at `path`, ModelError when it is damaged or newer."""
    try:
        tree = json.loads((path / "graft.json").read_bytes())
        if tree["kind"] != "index":
            raise ModelError(f"{path} is no index: its graft.json says it is a {tree['kind']!r}.")
        schema, number = int(tree["schema"]), int(tree["current"])
    except FileNotFoundError as problem:
        raise MissingError(f"There is no index at {path}. `graft index DATA --out {path}` makes one.") from problem
    except NotADirectoryError as problem:
        raise ModelError(f"{path} is a file, not an index.") from problem
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise ModelError(f"{path} is no index, or its graft.json is damaged ({type(problem).__name__}).") from problem
    if schema > SCHEMA:
        raise ModelError(
            f"{path} has schema {schema}, this Graft reads up to {SCHEMA}. `pip install --upgrade graft` reads it."
        )
    return number


def read_version(path: Path, number: int) -> IndexVersion:
    """One version. Raises ModelError when it is not there or damaged."""
    file = path / "versions" / f"{number}.json"
    try:
        return from_json(IndexVersion, json.loads(file.read_bytes()))
    except FileNotFoundError as problem:
        raise ModelError(
            f"{path} has no version {number}: {file} is missing. `graft index --versions` lists what there is."
        ) from problem
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ModelError(
            f"Version {number} of {path} is damaged ({type(problem).__name__}); `--rollback` returns to another."
        ) from problem


def numbers(path: Path) -> list[int]:
    """The versions there are, newest first."""
    return sorted((int(f.stem) for f in (path / "versions").glob("*.json") if f.stem.isdecimal()), reverse=True)


def readable(path: Path) -> list[IndexVersion]:
    """The versions that are not damaged, newest first."""
    found = []
    for number in numbers(path):
        with contextlib.suppress(ModelError):
            found.append(read_version(path, number))
    return found


def publish(path: Path, version: IndexVersion) -> None:
    """Write a version, then name it as the one that is served. Raises StorageError; the former one is then still served."""
    write_json(path / "versions" / f"{version.version}.json", to_json(version))
    switch(path, version.version)


def switch(path: Path, number: int) -> None:
    """Serve version `number`."""
    write_json(path / "graft.json", {"schema": SCHEMA, "kind": "index", "current": number})


def describe(path: Path, version: IndexVersion, columns: dict[str, str], **more: Any) -> IndexResult:
    """A version for people, with what else is known of the run that made it."""
    return IndexResult(
        path=str(path),
        version=version.version,
        items=version.items,
        added=version.added,
        changed=version.changed,
        deleted=version.deleted,
        views=tuple(view.summary() for view in version.views),
        columns=columns,
        created=version.created,
        **more,
    )
