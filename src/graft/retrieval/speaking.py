"""How words and pictures become vectors of an index's views: its own encoders, the text tower of a joint one, or a bridge.

Legend: Q queries, D dims of a view.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import DataError, ModelError, UsageError
from graft.heads.base import unit_rows
from graft.results import EncoderSummary
from graft.retrieval.bridges import Bridge, NamesBridge, load_bridge
from graft.retrieval.versions import View
from graft.store.cache import VectorCache

Floats = NDArray[np.float32]

REMEMBERED = 4096  # vectors of texts asked before: some 6 MB


class Speaker:
    """Encodes queries for the views of one index; safe from several threads, which encode one after the other."""

    def __init__(self, path: Path, views: Sequence[View], former: Speaker | None = None) -> None:
        self.path, self.views = path, tuple(views)
        self._lock: threading.Lock = threading.Lock() if former is None else former._lock
        self._encoders: dict[tuple[str, str], Encoder | None] = {} if former is None else former._encoders
        self._bridges: dict[str, Bridge] = {} if former is None else former._bridges
        self._remembered: OrderedDict[tuple[str, str], Floats] = OrderedDict() if former is None else former._remembered

    def renewed(self, views: Sequence[View]) -> Speaker:
        """The same encoders for the views of another version."""
        return Speaker(self.path, views, self)

    def texts(self, texts: Sequence[str], *, keep: bool = False) -> dict[str, Floats]:
        """Vectors (Q, D) of texts in every view they can be compared in; `keep` puts them into the vector cache, which what people ask
        does not go into. Raises UsageError when there is none."""
        found = {}
        for view in self.views:
            if view.bridge:
                bridge = self._bridge(view)
                q_QT = self._texts(bridge.ends.text_reference, bridge.ends.text_fingerprint, texts, keep)
                found[view.name] = np.asarray(bridge.queries(unit_rows(q_QT)), np.float32)
            elif (encoder := self._encoder(view.encoder, "text")) is not None:
                found[view.name] = self._texts(view.encoder.reference, encoder.info.fingerprint, texts, keep)
        if not found:
            raise UsageError(
                f"The items of {self.path.name} have no vectors that words can be compared with. {self._way_out()}"
            )
        return found

    def pictures(self, pictures: Sequence[Content]) -> dict[str, Floats]:
        """Vectors (Q, D) of pictures in every view they can be compared in. Raises UsageError when there is none, DataError for a bad one."""
        encoded: dict[str, Floats] = {}
        for view in self.views:
            if (
                not view.bridge
                and view.modality == "image"
                and (encoder := self._encoder(view.encoder, "image")) is not None
            ):
                with self._lock:
                    done = encode(pictures, encoder, ids=[getattr(p, "path", p).__str__() for p in pictures])
                if done.faults:
                    fault = done.faults[0]
                    raise DataError(
                        f"The picture {fault.where} cannot be searched with: {fault.problem}.", faults=done.faults
                    )
                encoded[view.name] = done.vectors
        if not encoded:
            raise UsageError(
                f"The items of {self.path.name} have no vectors that pictures can be compared with: they are not pictures."
            )
        return encoded

    def classes(self, view: str) -> int:
        """How many numbers of a view by class names are classes; the rest are kinds."""
        bridge = self._bridge(next(known for known in self.views if known.name == view))
        assert isinstance(bridge, NamesBridge)
        return bridge.plain().dim

    def _texts(self, reference: str, fingerprint: str, texts: Sequence[str], keep: bool) -> Floats:
        """Vectors of texts, those asked before from memory."""
        found = ((text, self._remembered.get((fingerprint, text))) for text in texts)  # another thread may forget one
        known = {text: x_D for text, x_D in found if x_D is not None}
        if fresh := list(dict.fromkeys(text for text in texts if text not in known)):
            encoder = self._opened(reference, "text")
            if encoder is None or encoder.info.fingerprint != fingerprint:
                raise ModelError(
                    f"{self.path.name} was made with another {reference}: its weights or settings have changed. Index again with it."
                )
            with self._lock, VectorCache.open() if keep else contextlib.nullcontext() as cache:
                vectors = encode(fresh, encoder, cache=cache, remember=False).vectors
            for text, x_D in zip(fresh, vectors, strict=True):
                known[text] = self._remembered[fingerprint, text] = x_D
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return np.stack([known[text] for text in texts])

    def _encoder(self, summary: EncoderSummary, modality: str) -> Encoder | None:
        """The encoder of a view for queries of `modality`; None when it takes none. Raises ModelError when it is not the one of the index."""
        if summary.modality == "vector":
            return None
        encoder = self._opened(summary.reference, modality)
        if encoder is None:
            return None
        if modality == summary.modality and encoder.info.fingerprint != summary.fingerprint:
            raise ModelError(
                f"{self.path.name} was made with {summary.reference} as it was then ({summary.fingerprint[:12]}); the one here is another "
                f"({encoder.info.fingerprint[:12]}), and its vectors cannot be compared. Index again with it, or bring the former back."
            )
        if encoder.info.space != summary.space:
            raise ModelError(
                f"{summary.reference} maps texts and pictures into other spaces than when {self.path.name} was made."
            )
        return encoder

    def _opened(self, reference: str, modality: str) -> Encoder | None:
        key = (reference, modality)
        if key not in self._encoders:
            try:
                self._encoders[key] = open_encoder(reference, modality=modality)
            except UsageError:
                self._encoders[key] = None
        return self._encoders[key]

    def _bridge(self, view: View) -> Bridge:
        if view.bridge not in self._bridges:
            self._bridges[view.bridge] = load_bridge(self.path / "bridges" / view.bridge)
        return self._bridges[view.bridge]

    def _way_out(self) -> str:
        if any(view.encoder.modality == "vector" for view in self.views):
            return "They came as vectors without an encoder: search with vectors, or by examples."
        return "Index with a joint encoder (CLIP, SigLIP) or with a bridge, or search by a picture or by examples."


def prompted(
    encode: Callable[[list[str]], dict[str, Floats]], texts: Sequence[str], templates: Sequence[str]
) -> dict[str, Floats]:
    """The mean over templates of what texts become when put into them (prompt ensembling, Radford et al. 2021), view by view."""
    made = [encode([template.replace("{}", text) for text in texts]) for template in templates]
    return {view: np.mean([vectors[view] for vectors in made], axis=0, dtype=np.float32) for view in made[0]}
