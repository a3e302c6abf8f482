"""What the server knows of itself, put together for `/metrics`."""

from __future__ import annotations

from typing import Any

from graft.server.gathering import Gather
from graft.server.measures import Measures
from graft.server.releases import Releases


def measures_text(measures: Measures, releases: Releases, gather: Gather[Any, Any]) -> str:
    """The page of measures: requests, and what is served."""
    served = releases.indexes.items()
    return measures.text(
        {
            "graft_index_version": (
                "gauge",
                "The version of an index that is served.",
                [({"index": name}, release.index.version) for name, release in served],
            ),
            "graft_index_items": (
                "gauge",
                "Items in that version.",
                [({"index": name}, len(release.index)) for name, release in served],
            ),
            "graft_index_stale": (
                "gauge",
                "1 while a newer version cannot be served.",
                [({"index": name}, int(name in releases.troubles)) for name, _ in served],
            ),
            "graft_recommender_stale": (
                "gauge",
                "1 while a newer version cannot be served.",
                [({"recommender": name}, int(name in releases.troubles)) for name in releases.recommenders],
            ),
            "graft_index_changes_total": ("counter", "Newer versions taken up.", [({}, releases.changes)]),
            "graft_query_cache_hits_total": (
                "counter",
                "Texts whose vectors were known, in the version served.",
                [({"index": name}, release.recent.hits) for name, release in served],
            ),
            "graft_query_cache_misses_total": (
                "counter",
                "Texts that had to be encoded, in the version served.",
                [({"index": name}, release.recent.misses) for name, release in served],
            ),
            "graft_vector_batches_total": ("counter", "Searches by vectors.", [({}, gather.batches)]),
            "graft_vector_requests_total": ("counter", "Requests in those searches.", [({}, gather.items)]),
        }
    )
