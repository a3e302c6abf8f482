"""What searches and indexes found, as values that travel upward; they are written and read as those of `graft.results` are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graft.results import EncoderSummary, Fault, Interval


@dataclass(frozen=True)
class Recall:
    """How many of the true nearest neighbours an index finds, measured against exact search with `queries` of the collection's own vectors."""

    k: int
    value: float
    low: float
    queries: int


@dataclass(frozen=True)
class ViewSummary:
    """One view of an index: what is compared, in which space, and how it is searched.

    `kind` is exact, ivf or ivfpq; `recall` is None where the search is exact. `bytes` is the memory the search structure takes.
    """

    name: str
    dim: int
    metric: str  # cosine | dot | euclidean
    modality: str  # of the items' content behind it: text | image
    encoder: EncoderSummary
    kind: str = "exact"
    lists: int = 0
    probes: int = 0
    recall: Recall | None = None
    bytes: int = 0
    bridge: str = ""  # names | ridge | contrastive, for the view that texts meet pictures in


@dataclass(frozen=True)
class IndexResult:
    """What `index` did, or what an index holds: the change this version made, and the collection as it now stands."""

    path: str
    version: int
    items: int
    added: int = 0
    changed: int = 0
    deleted: int = 0
    unchanged: int = 0
    views: tuple[ViewSummary, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    rebuilt: tuple[str, ...] = ()  # views whose search structure was built anew
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    created: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class IndexVersions:
    """The versions of an index that can be returned to, newest first; `current` is the one that is served."""

    path: str
    current: int
    versions: tuple[IndexResult, ...]


@dataclass(frozen=True)
class Hit:
    """One item found. `score` orders the hits of one query; `confidence` in 0..1 says how far it stands out from what the collection
    gives to any query (compare it across queries). `content` is the text, or where the picture lies."""

    id: str
    score: float
    confidence: float
    content: str
    payload: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """The answer to one query; `matched` is False when no hit stands out from the collection's background: nothing matches."""

    query: str
    hits: tuple[Hit, ...]
    matched: bool
    items: int
    version: int
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class WayResult:
    """One way to search, measured on judged queries.

    `metrics` are means over queries; `gain` is the paired difference in the chosen metric over the plain search; `helped` says that its
    interval lies above zero. `settings` are those chosen on other queries than they were measured on.
    """

    name: str
    status: str  # measured | skipped
    reason: str = ""
    metrics: Mapping[str, Interval] = field(default_factory=dict)
    gain: Interval | None = None
    helped: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class QueryScore:
    """One query as the chosen way answered it: the chosen metric, and the ids found first (True where one is right)."""

    query: str
    group: str
    value: float
    plain: float
    found: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Evaluation:
    """How good a search is on judged queries, and which improvement helped by how much.

    `groups` maps a group of queries to the chosen way's metrics; `worst` are the queries it does worst on.
    """

    index: str
    judged: str
    queries: int
    items: int
    metric: str
    ways: tuple[WayResult, ...]
    chosen: str
    why: str
    groups: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    worst: tuple[QueryScore, ...] = ()
    low: int = 0  # queries on which the chosen way stays below LOW in the chosen metric
    adopted: bool = False
    faults: tuple[Fault, ...] = ()
    seconds: float = 0.0
