"""The views of an index under way: which encoders and bridge it has, and the vectors they give to items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content
from graft.encoders.base import Encoder
from graft.encoders.open import BUNDLED, has_text_tower, open_encoder
from graft.encoding import encode
from graft.errors import DataError, ModelError, UsageError, unknown
from graft.listings.listing import Listing
from graft.results import EncoderSummary, Fault
from graft.retrieval.bridges import TENSORS, Bridge, load_bridge, names_bridge, save_bridge
from graft.retrieval.versions import IndexVersion, View
from graft.store.cache import VectorCache

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]

METRICS = ("cosine", "dot", "euclidean")
KINDS = ("auto", "exact", "ivf", "ivfpq")


@dataclass(frozen=True)
class Wanted:
    """How an index is to be made: encoders, a bridge ("auto", "none", or the folder of one), a metric, and how it is searched.

    `kind` is auto, exact, ivf or ivfpq; `recall` the share of the ten nearest that must be found; `memory` the bytes that rows may take.
    """

    encoder: str | None = None
    text_encoder: str | None = None
    bridge: str = "auto"
    metric: str = "cosine"
    kind: str = "auto"
    recall: float = 0.95
    memory: int | None = None
    rebuild: bool = False

    def check(self) -> None:
        """Raise UsageError for a value that cannot be."""
        for what, value, allowed in (("The metric", self.metric, METRICS), ("The kind", self.kind, KINDS)):
            if value not in allowed:
                raise UsageError(unknown(what, value, allowed))
        if not 0.5 <= self.recall < 1:
            raise UsageError(f"--recall {self.recall}: it must be from 0.5 to below 1; --kind exact finds all.")


class Viewer:
    """Gives items their vectors. Make one with `new` for a new index, with `of` for one that is there."""

    def __init__(
        self, folder: Path, views: Sequence[View], encoders: dict[str, Encoder], bridge: Bridge | None
    ) -> None:
        self.folder, self.views, self._encoders, self._bridge = folder, tuple(views), encoders, bridge

    @classmethod
    def new(cls, folder: Path, listing: Listing, wanted: Wanted) -> Viewer:
        """The views that a new index in `folder` gets; a bridge is saved there. Raises what `open_encoder` and `load_bridge` raise."""
        wanted.check()
        if listing.vectors is not None:
            if wanted.encoder is not None:
                raise UsageError(
                    f"--encoder {wanted.encoder}: the data are vectors already, and are taken as they are."
                )
            return cls(folder, [_given_view(listing, wanted)], {}, None)
        kind = listing.modality
        reference = wanted.encoder or BUNDLED[kind]
        encoders = {kind: open_encoder(reference, modality=kind)}
        if listing.texts is not None:
            encoders["text"] = open_encoder(wanted.text_encoder or BUNDLED["text"], modality="text")
        views = [_view(name, encoder, wanted.metric) for name, encoder in encoders.items()]
        bridge = _bridge(encoders["image"], wanted) if kind == "image" else None
        if bridge is not None:
            views.append(_bridge_view(folder, bridge, views[0], "1"))
        return cls(folder, views, encoders, bridge)

    @classmethod
    def of(cls, folder: Path, version: IndexVersion, listing: Listing | None, wanted: Wanted) -> Viewer:
        """The views that an index has. Raises ModelError when encoder, metric or bridge are not those it was made with."""
        _check_same(folder, version, wanted)
        encoders: dict[str, Encoder] = {}
        bridge = None
        for view in version.views:
            if view.bridge:
                bridge = load_bridge(folder / "bridges" / view.bridge)
                continue
            asked = wanted.encoder if view == version.views[0] else wanted.text_encoder
            if asked is not None and asked != view.reference:
                raise ModelError(
                    f"{folder} was made with {view.reference}, not {asked}. Vectors of two encoders cannot be compared: make another index."
                )
            if listing is None or view.encoder.modality == "vector":
                continue
            encoder = open_encoder(view.reference, modality=view.modality)
            if encoder.info.fingerprint != view.fingerprint:
                raise ModelError(
                    f"{folder} was made with {view.reference} as it was then; the one here is another. Make another index with it."
                )
            encoders[view.name] = encoder
        return cls(folder, version.views, encoders, bridge)

    def vectors(self, listing: Listing, chosen: Longs) -> tuple[Longs, dict[str, Floats], list[Fault]]:
        """Vectors of the items at positions `chosen`: the positions that could be encoded, their vectors a view, and a fault for each other."""
        if listing.vectors is not None:
            return self._given(listing, chosen)
        first = self.views[0].name
        ids = [listing.ids[i] for i in chosen]
        done, faults = self._encode(first, [listing.contents[i] for i in chosen], ids)
        kept = chosen[done[1]]
        vectors = {first: done[0]}
        if listing.texts is not None:
            vectors["text"] = self._beside(listing, kept)
        if self._bridge is not None:
            vectors["bridge"] = np.asarray(self._bridge.items(vectors["image"]), np.float32)
        return kept, vectors, faults

    def _given(self, listing: Listing, chosen: Longs) -> tuple[Longs, dict[str, Floats], list[Fault]]:
        assert listing.vectors is not None
        view = self.views[0]
        if listing.vectors.shape[1] != view.dim:
            raise DataError(f"The vectors have {listing.vectors.shape[1]} numbers, those of the index {view.dim}.")
        if listing.encoder is not None and listing.encoder.get("fingerprint", view.fingerprint) != view.fingerprint:
            raise ModelError(
                f"These vectors were made by another encoder ({listing.encoder.get('reference')}) than those of the index ({view.reference})."
            )
        return chosen, {view.name: listing.vectors[chosen]}, []

    def _encode(self, view: str, contents: list[Content], ids: list[str]) -> tuple[tuple[Floats, Longs], list[Fault]]:
        """Vectors and the positions they belong to; remembers in the view how they were made."""
        if not contents:
            return (np.empty((0, self._view(view).dim), np.float32), np.empty(0, np.int64)), []
        with VectorCache.open() as cache:
            encoded = encode(contents, self._encoders[view], ids=ids, cache=cache)
        known = self._view(view).encoder
        if known.format and encoded.summary.format != known.format:
            raise ModelError(
                f"{self.folder} holds vectors computed in {known.format}, and here they would be in {encoded.summary.format}: two formats "
                "never mix. Index on the kind of machine it was made on, or make another index."
            )
        summary = replace(encoded.summary, encoded=0, cached=0)
        self.views = tuple(
            replace(v, encoder=summary) if v.name == view and not known.format else v for v in self.views
        )
        return (encoded.vectors, encoded.index), list(encoded.faults)

    def _beside(self, listing: Listing, chosen: Longs) -> Floats:
        """Vectors of the texts that go with pictures; zeros, which are like nothing, where there is none."""
        assert listing.texts is not None
        there = [(row, listing.texts[i]) for row, i in enumerate(chosen) if listing.texts[i]]
        (vectors, index), _ = self._encode(
            "text", [str(text) for _, text in there], [listing.ids[chosen[row]] for row, _ in there]
        )
        out = np.zeros((len(chosen), self._view("text").dim), np.float32)
        out[[there[i][0] for i in index]] = vectors
        return out

    def _view(self, name: str) -> View:
        return next(view for view in self.views if view.name == name)


def _check_same(folder: Path, version: IndexVersion, wanted: Wanted) -> None:
    """What was given must be what the index has; what was left to choose is never wrong."""
    first = version.views[0]
    if wanted.metric not in ("cosine", first.metric):
        raise ModelError(f"{folder} compares vectors by {first.metric}, not {wanted.metric}: make another index.")
    if wanted.bridge == "auto":
        return
    there = next((folder / "bridges" / view.bridge for view in version.views if view.bridge), None)
    asked = None if wanted.bridge == "none" else Path(wanted.bridge).expanduser()
    if asked is not None:
        load_bridge(asked)
    if (asked and (asked / TENSORS).read_bytes()) != (there and (there / TENSORS).read_bytes()):
        raise ModelError(
            f"{folder} was made with {'another' if there else 'no'} bridge than --bridge {wanted.bridge}: make another index."
        )


def _view(name: str, encoder: Encoder, metric: str) -> View:
    info = encoder.info
    summary = EncoderSummary(info.reference, info.fingerprint, info.space, info.dim, info.modality)
    return View(name, info.dim, metric, info.modality, summary)


def _given_view(listing: Listing, wanted: Wanted) -> View:
    """The view of vectors that came without contents; what made them is known where the table says so."""
    assert listing.vectors is not None
    dim = listing.vectors.shape[1]
    known = listing.encoder or {}
    words = {name: str(known.get(name) or "") for name in ("fingerprint", "space", "format", "device")}
    summary = EncoderSummary(
        reference=str(known.get("reference") or "vectors"),
        fingerprint=words["fingerprint"],
        space=words["space"],
        dim=dim,
        modality=str(known.get("modality") or "vector"),
        format=words["format"],
        device=words["device"],
    )
    return View("vector", dim, wanted.metric, "vector", summary)


def _bridge(encoder: Encoder, wanted: Wanted) -> Bridge | None:
    """The bridge that is named, or the class-name bridge where the encoder has class names and no text tower."""
    if wanted.bridge == "none":
        return None
    if wanted.bridge != "auto":
        bridge = load_bridge(Path(wanted.bridge).expanduser())
        if bridge.ends.image_fingerprint != encoder.info.fingerprint:
            raise ModelError(
                f"The bridge {wanted.bridge} was fitted on another encoder of pictures than {encoder.info.reference}."
            )
        return bridge
    if encoder.classifier() is None or has_text_tower(encoder):
        return None
    with VectorCache.open() as cache:
        return names_bridge(encoder, cache=cache)


def _bridge_view(folder: Path, bridge: Bridge, image: View, name: str) -> View:
    save_bridge(bridge, folder / "bridges" / name)
    summary = replace(image.encoder, dim=bridge.dim)
    return View("bridge", bridge.dim, bridge.metric, "image", summary, bridge=name, bridge_kind=bridge.kind)
