"""The encode engine: contents in, vectors out, each content computed once and never again.

    read and hash ─▶ cache? ─▶ decode, prepare ─▶ sort, batch ─▶ run ─▶ pool, normalise ─▶ cache, result
    └── threads ──┘            └── threads ───┘                  └ processor or GPU ┘

Every arrow is a stream, so memory does not grow with the number of items; only their vectors and hashes are kept, in a file where they
are large. Which number format is used, and whether large photos are decoded at a smaller size, the fidelity gate decides
(`graft.fidelity`). Shape suffixes: B items of a batch × D dims.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.batching import Read, Ready, ahead, chunks, prepare, read, vectors
from graft.data.dataset import Content
from graft.encoders.base import Encoder
from graft.errors import UsageError
from graft.fidelity import Plan, plan
from graft.results import EncoderSummary, Fault
from graft.store.cache import VectorCache
from graft.store.scratch import ScratchRows

_CHUNK = {"text": 512, "image": 8}  # items a thread takes at once
_KEEP_ROWS, _KEEP_SECONDS = (
    1024,
    1.0,
)  # vectors go to the cache in transactions of about this size: what a kill can lose


@dataclass(frozen=True, eq=False)
class Encoded:
    """Vectors of the contents that could be encoded, in their order.

    `vectors` (n, D) float32; its rows are parallel to `index` (positions in the contents given) and `hashes`. `faults` name the other
    contents. `summary.encoded` counts what was computed and `summary.cached` what the cache had; a repeated content counts once.
    `notes` are sentences for the user, such as why the cache was not used.
    """

    vectors: NDArray[np.float32]
    index: NDArray[np.int64]
    hashes: tuple[str, ...]
    faults: tuple[Fault, ...]
    summary: EncoderSummary
    seconds: float
    notes: tuple[str, ...] = ()


def encode(
    contents: Sequence[Content],
    encoder: Encoder,
    *,
    ids: Sequence[str] | None = None,
    cache: VectorCache | None = None,
    device: str | None = None,
    remember: bool = True,
) -> Encoded:
    """Encode texts or pictures.

    `ids` name the contents in faults (default: "0", "1", ..). `cache` keeps every vector under its content's hash, the encoder's
    fingerprint and the number format; without one everything is computed. `device` is "cpu", "cuda", "cuda:1", "mps" or "auto" (default:
    `settings.device()`). `remember` False is for contents that are not the user's, see `fidelity.plan`. Unreadable contents become faults
    and the rest goes on. An interruption passes through at once, and what was computed until then is in the cache. Progress is told as
    `settings.progress("encode", done, n)`.

    Raises UsageError when the encoder takes no contents of this kind, ModelError when its weights cannot be used, MissingError when
    something needed is not installed.
    """
    started = time.perf_counter()
    _check(contents, encoder)
    planned = plan(contents, encoder, device, remember=remember)
    run = _Run(contents, encoder, ids or [str(i) for i in range(len(contents))], cache, planned)
    run.fill()
    index = np.array([i for i in range(len(contents)) if i not in run.faults], np.int64)
    info = encoder.info
    summary = EncoderSummary(
        reference=info.reference,
        fingerprint=info.fingerprint,
        space=info.space,
        dim=info.dim,
        modality=info.modality,
        format=planned.way.name,
        device=planned.device,
        fidelity=planned.fidelity,
        encoded=run.computed,
        cached=run.found,
    )
    return Encoded(
        vectors=run.rows.keep(index),
        index=index,
        hashes=tuple(run.digests[i] for i in index),
        faults=tuple(run.faults[i] for i in sorted(run.faults)),
        summary=summary,
        seconds=time.perf_counter() - started,
        notes=(cache.note,) if cache is not None and cache.note else (),
    )


def _check(contents: Sequence[Content], encoder: Encoder) -> None:
    kinds = {"text" if isinstance(content, str) else "image" for content in contents}
    takes = encoder.info.modality
    if wrong := kinds - {takes}:
        given = " and ".join(sorted(kinds))
        advice = "name the tower to use" if takes == "joint" else "choose an encoder for " + " and ".join(sorted(wrong))
        raise UsageError(
            f"Encoder {encoder.info.reference!r} takes {takes} items, but was given {given} items: {advice}."
        )


class _Run:
    """One call of `encode` under way: its streams, and what has come out of them so far."""

    def __init__(
        self,
        contents: Sequence[Content],
        encoder: Encoder,
        ids: Sequence[str],
        cache: VectorCache | None,
        planned: Plan,
    ) -> None:
        self.contents, self.encoder, self.ids, self.cache, self.plan = contents, encoder, ids, cache, planned
        self.found = self.computed = 0
        self.rows = ScratchRows(len(contents), encoder.info.dim, settings.cache_dir())
        self.digests = [""] * len(contents)
        self.faults: dict[int, Fault] = {}
        self._first: dict[str, int] = {}  # content hash -> position of its first appearance
        self._twins: list[tuple[int, int]] = []  # (position, position of the first of the same content)
        self._unkept: dict[str, NDArray[np.float32]] = {}  # computed, not yet in the cache
        self._kept_at = time.monotonic()
        self._key = f"{encoder.info.fingerprint}:{planned.way.name}:"

    def fill(self) -> None:
        """Find or compute every vector. On any exception the threads stop after what they have in hand, and what was computed is kept."""
        size = _CHUNK["image" if self.encoder.info.modality == "image" else "text"]
        depth = max(2 * settings.threads(), self.plan.budget.window // size)
        pool = ThreadPoolExecutor(settings.threads(), thread_name_prefix="graft-encode")
        with contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self._keep)
            at_the_end.callback(pool.shutdown, wait=True, cancel_futures=True)
            read_groups = ahead(pool, self._read, chunks(range(len(self.contents)), size), depth)
            ready_groups = ahead(pool, self._prepare, self._missing(read_groups), depth)
            self._compute(ready_groups)
        for position, original in self._twins:
            if original in self.faults:
                self._fault(position, self.faults[original].problem)
            else:
                self.rows.set(np.array([position]), self.rows.array[[original]])

    def _read(self, positions: Sequence[int]) -> list[Read]:
        return [read(position, self.contents[position]) for position in positions]

    def _prepare(self, group: list[Read]) -> list[Ready]:
        return prepare(self.encoder, group, scaled=self.plan.way.scaled)

    def _missing(self, stream: Iterable[list[Read]]) -> Iterator[list[Read]]:
        """Pass on what has to be computed; note faults and repetitions, take from the cache what it has."""
        for group in stream:
            fresh = []
            for item in group:
                self.digests[item.position] = item.digest
                if item.problem:
                    self._fault(item.position, item.problem)
                elif (original := self._first.setdefault(item.digest, item.position)) != item.position:
                    self._twins.append((item.position, original))
                else:
                    fresh.append(item)
            known = self._kept([item.digest for item in fresh])
            if here := [item for item in fresh if item.digest in known]:
                self.rows.set(
                    np.array([item.position for item in here]), np.stack([known[item.digest] for item in here])
                )
                self.found += len(here)
            self._tell()
            if missing := [item for item in fresh if item.digest not in known]:
                yield missing

    def _kept(self, digests: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """What the cache has, by content hash."""
        if self.cache is None:
            return {}
        found = self.cache.get([self._key + digest for digest in digests])
        return {
            key.removeprefix(self._key): x_D for key, x_D in found.items() if x_D.shape == self.rows.array.shape[1:]
        }

    def _compute(self, stream: Iterable[list[Ready]]) -> None:
        groups = self._sound(stream)
        first = next(groups, None)
        if first is None:
            return  # everything was in the cache: no weights are read
        results = vectors(self.encoder, self.plan.runner(), chain([first], groups), self.plan.budget)
        with contextlib.closing(results):
            for items, x_BD in results:
                self._take(items, x_BD)
                self._tell()

    def _sound(self, stream: Iterable[list[Ready]]) -> Iterator[list[Ready]]:
        for group in stream:
            for item in group:
                if item.problem:
                    self._fault(item.position, item.problem)
            if sound := [item for item in group if not item.problem]:
                yield sound

    def _take(self, items: list[Ready], x_BD: NDArray[np.float32]) -> None:
        self.rows.set(np.array([item.position for item in items]), x_BD)
        for item, x_D in zip(items, x_BD, strict=True):
            if not np.isfinite(x_D).all():
                self._fault(item.position, f"the encoder gives no finite vector in {self.plan.way.format}")
                continue
            self.computed += 1
            if self.cache is not None:
                self._unkept[self._key + item.digest] = x_D
        if len(self._unkept) >= _KEEP_ROWS or time.monotonic() - self._kept_at >= _KEEP_SECONDS:
            self._keep()

    def _keep(self) -> None:
        kept, self._unkept = self._unkept, {}
        if self.cache is not None:
            self.cache.put(kept, reference=self.encoder.info.reference)
        self._kept_at = time.monotonic()

    def _fault(self, position: int, problem: str) -> None:
        self.faults[position] = Fault(self.ids[position], problem)

    def _tell(self) -> None:
        done = self.found + self.computed + len(self._twins) + len(self.faults)
        settings.progress("encode", done, len(self.contents))
