"""What is being served: opened indexes, models and recommenders by name, and the change to a newer version without a pause.

A request takes the release it finds and keeps it until it is answered, so an old version goes when its last request has. A version that
cannot be opened is told in `/health` and the log, and the one before it goes on serving.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import ImageSource
from graft.errors import GraftError, MissingError, ModelError, UsageError
from graft.opened import Classifier
from graft.recommending import artefact
from graft.recommending.opened import OpenedRecommender, open_recommender
from graft.search_results import SearchResult
from graft.server.pictures import blank
from graft.targets.opened import Estimator

Model = Classifier | Estimator
_LOG = logging.getLogger("graft.server")
EVERY = 1.0  # seconds between two looks for a newer version
REMEMBERED = 2000  # texts; half as many as an index remembers the vectors of


class View(Protocol):
    """A named vector column that queries are compared with."""

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def metric(self) -> str: ...


class Found(Protocol):
    """Positions (Q, K) int64, -1 for none, and scores (Q, K) float32."""

    @property
    def positions(self) -> NDArray[np.int64]: ...
    @property
    def scores(self) -> NDArray[np.float32]: ...


class Index(Protocol):
    """What the server asks of an opened index (`graft.open_index`): one version, safe to ask from several threads."""

    @property
    def version(self) -> int: ...
    @property
    def modality(self) -> str: ...
    @property
    def views(self) -> Mapping[str, View]: ...
    @property
    def columns(self) -> Mapping[str, str]: ...
    @property
    def ids(self) -> Sequence[str]: ...
    def __len__(self) -> int: ...
    def position(self, item: str) -> int: ...
    def search_vectors(
        self, q_QD: NDArray[np.float32], k: int, *, view: str | None = None, where: str | None = None
    ) -> Found: ...
    def encode_queries(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float32]]: ...
    def search(
        self,
        text: str | None = None,
        *,
        k: int = 10,
        image: ImageSource | None = None,
        like: Sequence[str] = (),
        unlike: Sequence[str] = (),
        where: str | None = None,
        hybrid: bool = False,
    ) -> SearchResult: ...
    def payload(self, positions: Sequence[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]: ...
    def picture(self, position: int) -> bytes: ...
    def refresh(self) -> Index: ...


class Recent:
    """The query texts asked last, whose vectors the index remembers: they need not wait for the encoder. Belongs to the event loop."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self.most, self.hits, self.misses = most, 0, 0
        self._kept: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, text: str) -> bool:
        known = text in self._kept
        if known:
            self._kept.move_to_end(text)
        self.hits += known
        self.misses += not known
        return known

    def add(self, text: str) -> None:
        """One more; the one that was asked for the longest ago goes."""
        self._kept[text] = None
        if len(self._kept) > self.most:
            self._kept.popitem(last=False)


@dataclass(frozen=True, eq=False)
class Release:
    """One version of one index, as it is served: `dims` of its views, `view` what bare vectors are compared with (the first)."""

    name: str
    version: int
    index: Index
    recent: Recent
    dims: Mapping[str, int]
    view: str
    ids: Sequence[str] = field(repr=False)

    @classmethod
    def of(cls, name: str, index: Index, recent: Recent) -> Release:
        """The release of an opened index, searched once so that nothing that is set up late is left to the first who asks.

        A structure on disk that is broken is found here, before it is served.
        """
        dims = {view.name: view.dim for view in index.views.values()}
        for view, dim in dims.items():
            index.search_vectors(np.zeros((1, dim), np.float32), 1, view=view)
        if len(index):
            index.search(like=[index.ids[0]], k=1)
        return cls(name, index.version, index, recent, dims, next(iter(dims)), index.ids)


@dataclass(frozen=True, eq=False)
class RecommenderRelease:
    """What lay in a recommender's folder when it was opened. `version` begins its manifest's hash, `facts` are told to those who ask."""

    name: str
    version: str
    path: Path
    opened: OpenedRecommender
    facts: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, name: str, path: Path) -> RecommenderRelease:
        """The recommender at `path`, asked once so that nothing that is set up late is left to the first who asks."""
        version = _version(path)  # before it is opened: what is put in its place meanwhile is taken up at the next look
        opened = open_recommender(path)
        likes, about = opened.interactions.likes(), opened.about
        opened.suggestions("ready", 1)
        if len(opened):
            first = opened.interactions.items[0]
            opened.similar(first, 1, where="id IS NOT NULL")
            opened.recommend(histories=[[first]], k=1, diversity=0.5)
        if opened.interactions.users:
            opened.recommend([opened.interactions.users[0]], k=1)
        facts = {
            "version": version,
            "model": opened.name,
            "items": len(opened),
            "people": len(likes.users),
            "likes": len(likes),
            "why": about.get("why", ""),
            "measure": about.get("measure", ""),
            "metrics": about.get("metrics", {}),
        }
        return cls(name, version, path, opened, facts)


def _version(path: Path) -> str:
    """The beginning of the hash that the manifest at `path` names. Raises MissingError when there is none, ModelError when it is broken."""
    given = path.parent if path.name == artefact.MANIFEST else path
    for manifest in (given / artefact.MANIFEST, given / "model" / artefact.MANIFEST):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            content = manifest.read_bytes()
            try:
                return str(json.loads(content)["digest"])[:12]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise ModelError(f"{manifest} cannot be read: {error!r}.") from error
    raise MissingError(f"There is no recommender at {str(path)!r} any more.")


class Releases:
    """Indexes, models of classes or other targets, and recommenders by name. Reading is safe from any thread; only the watching thread changes them."""

    def __init__(
        self,
        indexes: Mapping[str, Index],
        models: Mapping[str, Model],
        recommenders: Mapping[str, RecommenderRelease] | None = None,
    ) -> None:
        self.indexes = {name: Release.of(name, index, Recent()) for name, index in indexes.items()}
        self.models = dict(models)
        self.recommenders = dict(recommenders or {})
        self.troubles: dict[str, str] = {}  # name -> why its newer version is not served
        self.warming = {*self.indexes, *self.models}  # names whose encoder is still to be read
        self.cold: dict[str, str] = {}  # name -> why its encoder could not be read
        self.changes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="graft-releases", daemon=True)

    def start(self) -> None:
        """Begin to look for newer versions every second."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def warm(self, name: str) -> None:
        """Encode a word, or a blank picture for a model of pictures: an encoder is read when first used, which takes seconds.

        What fails is told, and goes on being served: whoever asks is told again.
        """
        try:
            if name in self.indexes:
                with contextlib.suppress(UsageError):  # an index need not understand words
                    self.indexes[name].index.encode_queries(["ready"])
            else:
                model = self.models[name]
                model.warm("ready" if model.modality == "text" else blank())
        except Exception as error:
            self.cold[name] = (
                f"its encoder cannot be read ({type(error).__name__})"  # where it lies is told in the log alone
            )
            _LOG.warning("%s: its encoder cannot be read, and it cannot answer: %s", name, error)
        finally:
            self.warming.discard(name)

    def look(self) -> None:
        """Look once for newer versions, and serve those that can be opened and asked."""
        for name, release in list(self.indexes.items()):
            with self._telling(name, release.index.version):
                newer = release.index.refresh()
                if newer is not release.index:
                    self.indexes[name] = Release.of(name, newer, release.recent)
                    self.changes += 1
                    self.cold.pop(name, None)
                    _LOG.info("%s: version %d is served now", name, newer.version)
        for name, fitted in list(self.recommenders.items()):
            with self._telling(name, fitted.version, fitted.path):
                if _version(fitted.path) != fitted.version:
                    self.recommenders[name] = RecommenderRelease.of(name, fitted.path)
                    _LOG.info("%s: version %s is served now", name, self.recommenders[name].version)

    @contextlib.contextmanager
    def _telling(self, name: str, version: int | str, path: Path | None = None) -> Iterator[None]:
        """Whatever a half-written or damaged folder makes the readers say is told, but not where it lies; the version before goes on."""
        try:
            yield
            self.troubles.pop(name, None)
        except Exception as error:
            trouble = error.message if isinstance(error, GraftError) else f"{type(error).__name__}: {error}"
            trouble = trouble if path is None else trouble.replace(str(path), name)
            if self.troubles.get(name) != trouble:
                text = "%s: a newer version cannot be served, version %s goes on: %s"
                _LOG.warning(text, name, version, trouble)
            self.troubles[name] = trouble

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self.look()


def open_releases(paths: Sequence[str | Path]) -> Releases:
    """Open what lies at `paths`: folders of indexes, models and recommenders, told apart by their `graft.json`.

    Each is served under its folder's name, without what a URL cannot hold. Raises UsageError when there is none or two have one name,
    and what opening raises.
    """
    from graft.loading import load
    from graft.retrieval.opened import open_index
    from graft.retrieval.versions import is_index

    if not paths:
        raise UsageError("Name at least one folder to serve: an index, a model or a recommender.")
    indexes: dict[str, Index] = {}
    models: dict[str, Model] = {}
    recommenders: dict[str, RecommenderRelease] = {}
    for path in map(Path, paths):
        name = _name(path)
        if name in {*indexes, *models, *recommenders}:
            raise UsageError(f"Two of the folders would be served as {name!r}. Rename one of them.")
        if not path.exists():
            raise MissingError(
                f"There is nothing at {str(path)!r}. `graft index DATA --out {path}` would make an index."
            )
        if is_index(path):
            indexes[name] = open_index(path)
        elif artefact.is_recommender(path):
            recommenders[name] = RecommenderRelease.of(name, path)
        else:
            models[name] = load(path)
    return Releases(indexes, models, recommenders)


def _name(path: Path) -> str:
    folder = path.resolve()
    while folder.name in ("graft.json", "model"):
        folder = folder.parent
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder.name).strip("-.") or "served"
