"""Answers to everything but bare vectors: searches by words, pictures and examples, items, thumbnails, classifiers and recommenders.

Encoders take one thread at a time, so all encoding is done by one thread, many texts at once; searches run in a few others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

from graft.data.dataset import Content
from graft.errors import DataError, GraftError, unknown
from graft.opened import Predictions
from graft.recommending.opened import OpenedRecommender
from graft.results import Prediction, to_json
from graft.search_results import SearchResult
from graft.server.failures import Refusal, absent, busy
from graft.server.gathering import Gather
from graft.server.limits import Limits
from graft.server.pictures import SIDES, Thumbnails, Uploaded, thumbnail
from graft.server.releases import Model, RecommenderRelease, Release, Releases
from graft.targets.opened import Estimate

R = TypeVar("R")
TEXTS_TOGETHER = 64
SEARCHERS = 4


class Desk:
    """What the routes ask; every method belongs to the event loop."""

    def __init__(self, releases: Releases, limits: Limits) -> None:
        self.releases, self.limits = releases, limits
        self.searching = ThreadPoolExecutor(SEARCHERS, thread_name_prefix="graft-search")
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="graft-encode")
        self._texts = Gather(_encode, pool=self._encoding, most=TEXTS_TOGETHER)
        self._labels = Gather(_label, pool=self._encoding, most=TEXTS_TOGETHER)
        self._thumbnails = Thumbnails(limits.cached_pictures)
        self._under_way = 0

    async def warm(self) -> None:
        """Have the encoders of all that is served read, indexes first; between two of them what has been asked meanwhile is answered."""
        for name in (*self.releases.indexes, *self.releases.models):
            await asyncio.get_running_loop().run_in_executor(self._encoding, self.releases.warm, name)

    def close(self) -> None:
        """Take no more work; what runs is let finish."""
        self.searching.shutdown(wait=False, cancel_futures=True)
        self._encoding.shutdown(wait=False, cancel_futures=True)

    def release(self, name: str) -> Release:
        """The index served as `name`. Raises Refusal (404)."""
        found = self.releases.indexes.get(name)
        if found is None:
            raise absent(unknown("index", name, self.releases.indexes) if self.releases.indexes else "No index here.")
        return found

    def model(self, name: str) -> Model:
        """The model served as `name`. Raises Refusal (404)."""
        found = self.releases.models.get(name)
        if found is None:
            raise absent(unknown("model", name, self.releases.models) if self.releases.models else "No model here.")
        return found

    def recommender(self, name: str) -> RecommenderRelease:
        """The recommender served as `name`. Raises Refusal (404)."""
        served = self.releases.recommenders
        if name not in served:
            raise absent(unknown("recommender", name, served) if served else "No recommender here.")
        return served[name]

    async def search(
        self, name: str, *, text: str | None = None, image: Uploaded | None = None, **options: Any
    ) -> tuple[Release, SearchResult]:
        """Search by words, a picture, examples (`like`, `unlike`), filtered (`where`); `options` are those of `OpenedIndex.search`.

        Words not asked lately are encoded together with the others that wait.
        """
        release = self.release(name)
        text = text.strip() if text else None
        if image is not None:
            found = await self._in(self._encoding, lambda: release.index.search(text, image=image, **options))
            return release, found
        if text is not None and text not in release.recent:
            await self._texts((release, text))
            release.recent.add(text)
        return release, await self._in(self.searching, lambda: release.index.search(text, **options))

    async def item(self, name: str, id: str) -> dict[str, Any]:
        """Id, content and payload of one item. Raises Refusal (404)."""
        release = self.release(name)
        position = _position(release, id)
        (found,) = await self._items(release, [position])
        return found

    async def some(self, name: str, count: int) -> list[dict[str, Any]]:
        """Up to `count` items, spread evenly over the index: to show what is in it."""
        release = self.release(name)
        n = len(release.index)
        return await self._items(release, [i * n // count for i in range(count)] if n > count else range(n))

    async def _items(self, release: Release, positions: Sequence[int]) -> list[dict[str, Any]]:
        rows = await self._in(self.searching, lambda: release.index.payload(list(positions)))
        trees = [to_json(row) for row in rows]
        return [{"id": t.pop("id"), "content": _content(release, t.pop("content")), "payload": t} for t in trees]

    async def picture(self, name: str, id: str, size: str) -> bytes:
        """A JPEG of an item's picture, at most `SIDES[size]` pixels. Raises Refusal (404) when it has none or it is gone."""
        release = self.release(name)
        position = _position(release, id)
        key = (name, release.index.version, position, size)
        known = self._thumbnails.get(key)
        if known is None:
            known = await self._in(self.searching, lambda: _thumbnail(release, position, SIDES[size]))
            self._thumbnails.put(key, known)
        return known

    async def predict(self, name: str, contents: Sequence[Content], top: int) -> list[Prediction | Estimate]:
        """Answers for texts, or for an uploaded picture; contents that arrive together are encoded together."""
        model = self.model(name)
        takes = "text" if isinstance(contents[0], str) else "image"
        if takes != model.modality:
            raise Refusal(400, "UsageError", f"The model {name!r} answers {model.modality}s; {takes}s were sent.")
        return list(await asyncio.gather(*(self._labels((model, content, top)) for content in contents)))

    async def told(self, name: str, ask: Callable[[OpenedRecommender], R]) -> R:
        """What the recommender says to `ask`, in a thread."""
        opened = self.recommender(name).opened
        return await self._in(self.searching, lambda: ask(opened))

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], R]) -> R:
        """Run in a thread; one whose client has stopped waiting still counts, as the thread does not stop."""
        if self._under_way >= self.limits.waiting:
            raise busy(f"{self._under_way:,} searches are waiting. Try again in a second.")
        self._under_way += 1
        done = asyncio.get_running_loop().run_in_executor(pool, work)
        done.add_done_callback(self._finished)
        return await asyncio.shield(done)

    def _finished(self, done: asyncio.Future[Any]) -> None:
        self._under_way -= 1
        if not done.cancelled():
            done.exception()  # seen: it may be that nobody waits for it any more


def hits(release: Release, result: SearchResult) -> dict[str, Any]:
    """A search's answer as JSON has it."""
    tree: dict[str, Any] = to_json(result)
    for hit in tree["hits"]:
        hit["content"] = _content(release, hit["content"])
    return tree


def _content(release: Release, content: str) -> str:
    """A text; for pictures nothing, as where they lie on the server's disk is nobody's business."""
    return content if release.index.modality == "text" else ""


def _position(release: Release, id: str) -> int:
    try:
        return release.index.position(id)
    except DataError as error:
        raise absent(error.message) from error


def _thumbnail(release: Release, position: int, side: int) -> bytes:
    try:
        raw = release.index.picture(position)
    except GraftError as error:
        raise absent(error.message) from error
    return thumbnail(raw, side)


def _encode(waiting: Sequence[tuple[Release, str]]) -> list[None]:
    """Encode texts, those of one release as one batch; the index remembers their vectors."""
    for release in {id(release): release for release, _ in waiting}.values():
        release.index.encode_queries([text for other, text in waiting if other is release])
    return [None] * len(waiting)


def _label(waiting: Sequence[tuple[Model, Content, int]]) -> list[Prediction | Estimate]:
    """Answers of the models, without names of items; contents of one model are encoded as one batch."""
    results: dict[int, Prediction | Estimate] = {}
    for model in {id(model): model for model, _, _ in waiting}.values():
        members = [i for i, (other, _, _) in enumerate(waiting) if other is model]
        top = max(waiting[i][2] for i in members)
        answers = model.answer([waiting[i][1] for i in members], [str(i) for i in members], top=top)
        if answers.faults:
            raise DataError(f"{len(answers.faults)} of {len(members)} items cannot be read.", faults=answers.faults)
        each: Sequence[Prediction | Estimate] = (
            answers.predictions if isinstance(answers, Predictions) else answers.estimates
        )
        for i, answer in zip(members, each, strict=True):
            results[i] = _at_most(answer, model, waiting[i][2])
    return [results[i] for i in range(len(waiting))]


def _at_most(answer: Prediction | Estimate, model: Model, top: int) -> Prediction | Estimate:
    """An answer with the likeliest `top` labels; ordered levels are all given."""
    if isinstance(answer, Prediction):
        return replace(answer, item="", top=answer.top[:top])
    kept = None if model.manifest.task == "ordinal" else top
    return replace(answer, item="", probabilities=answer.probabilities[:kept])
