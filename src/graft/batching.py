"""From contents to vectors as a stream: read and prepared ahead of the model in threads, sorted by length, cut into batches of bounded size.

Only a bounded part of the stream is in memory at any time. Shape suffixes: B items of a batch × D dims.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from graft.data.dataset import Content, content_hash
from graft.encoders.base import Batch, Encoder, Prepared

if TYPE_CHECKING:
    from graft.encoders.runtime import Runner

S = TypeVar("S")
T = TypeVar("T")


class Read(NamedTuple):
    """A content that was read: `value` is the text, or the picture's bytes; where there is none, `problem` says why."""

    position: int
    digest: str
    value: str | bytes
    problem: str = ""


class Ready(NamedTuple):
    """A content as the model takes it, or the `problem` that prevents it."""

    position: int
    digest: str
    prepared: Prepared | None
    problem: str = ""


@dataclass(frozen=True)
class Budget:
    """What one batch may hold: at most `items`, and at most `tokens` after padding (items × longest); a single longer item goes alone.

    `window` items are sorted by length together: large windows leave little padding, and still only so many items are held at once.
    """

    items: int
    tokens: int
    window: int


def read(position: int, content: Content) -> Read:
    """A content's value and hash."""
    if isinstance(content, str):
        try:
            return Read(position, content_hash(content.encode()), content)
        except UnicodeEncodeError as error:
            return Read(
                position,
                "",
                "",
                f"character {error.start} is half of one: the text was cut or read in a wrong encoding",
            )
    try:
        raw = content.read_bytes()
    except OSError as error:
        return Read(position, "", b"", f"cannot be read: {error.strerror or error}")
    return Read(position, content_hash(raw), raw)


def prepare(encoder: Encoder, group: Sequence[Read], *, scaled: bool) -> list[Ready]:
    """What the model takes, for contents that were read.

    Pictures are decoded one at a time, so that one alone is large in memory; `scaled` lets large JPEG files be decoded at a smaller size.
    """
    if all(isinstance(item.value, str) for item in group):
        rows = encoder.prepare([item.value for item in group])
        return [Ready(item.position, item.digest, ids) for item, ids in zip(group, rows, strict=True)]
    from graft.data.images import UnreadableImage, decode

    side = encoder.info.image_side if scaled else None
    done = []
    for item in group:
        assert isinstance(item.value, bytes)
        try:
            (pixels,) = encoder.prepare([decode(item.value, side=side)])
        except UnreadableImage as error:
            done.append(Ready(item.position, item.digest, None, str(error)))
        else:
            done.append(Ready(item.position, item.digest, pixels))
    return done


def vectors(
    encoder: Encoder, runner: Runner, groups: Iterable[Sequence[Ready]], budget: Budget
) -> Generator[tuple[list[Ready], NDArray[np.float32]], None, None]:
    """Batches of prepared items with their vectors (B, D), in the order in which the batches were cut."""
    running: deque[tuple[list[Ready], Batch]] = deque()

    def feed() -> Iterator[Batch]:
        for items in batches(groups, budget, _length):
            batch = encoder.collate([item.prepared for item in items if item.prepared is not None])
            running.append((items, batch))
            yield batch

    for raw in runner.run(feed()):
        items, batch = running.popleft()
        yield items, encoder.finish(raw, batch)


def _length(item: Ready) -> int:
    """Tokens of a text; pictures are all of one size."""
    return len(item.prepared) if item.prepared is not None and item.prepared.ndim == 1 else 1


def ahead(pool: Executor, work: Callable[[S], T], stream: Iterable[S], depth: int) -> Iterator[T]:
    """`work` of each element in order, with up to `depth` of them done or being done in `pool` before they are asked for.

    An exception of `work` or of `stream` comes out in its place; what has not begun by then is cancelled.
    """
    waiting: deque[Future[T]] = deque()
    elements = iter(stream)
    try:
        for element in islice(elements, depth):
            waiting.append(pool.submit(work, element))
        while waiting:
            done = waiting.popleft().result()
            for element in islice(elements, 1):
                waiting.append(pool.submit(work, element))
            yield done
    finally:
        for future in waiting:
            future.cancel()


def chunks(stream: Iterable[T], size: int) -> Iterator[list[T]]:
    """The elements in lists of `size`, the last one shorter."""
    elements = iter(stream)
    while chunk := list(islice(elements, size)):
        yield chunk


def batches(stream: Iterable[Sequence[T]], budget: Budget, length: Callable[[T], int]) -> Iterator[list[T]]:
    """Batches from a stream of groups of items, each item once, longest first within each window.

    Longest first needs the most memory at once, and has the smallest pieces of work at the end, where streams wait for one another.
    """
    held: list[T] = []
    for group in stream:
        held.extend(group)
        while len(held) >= budget.window:
            yield from pack(sorted(held[: budget.window], key=length, reverse=True), budget, length)
            del held[: budget.window]
    yield from pack(sorted(held, key=length, reverse=True), budget, length)


def pack(items: Sequence[T], budget: Budget, length: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut items sorted longest first into batches within the budget."""
    batch: list[T] = []
    for item in items:
        if batch and (len(batch) == budget.items or (len(batch) + 1) * length(batch[0]) > budget.tokens):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
