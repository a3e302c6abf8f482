"""What one client may ask for, so that no client can stop the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, characters or rows; times in seconds.

    `pixels` of an uploaded picture are read from its header: decoded, that many are 192 MB. `cells` bounds vectors a request times k: a
    thousand queries of a thousand hits would be an answer of 30 MB. `varied` bounds k where recommendations shall differ: ten candidates
    each are compared with all others, 4 MB for that many. `reasons` bounds the length of a history times k: every answer is compared with
    all that is liked, 11 µs a pair. `waiting` counts requests whose body has arrived and that are not answered yet; at 20,000 answers a
    second that many are 50 ms of work. `hosts` are the names that a request may call this machine by (its Host
    header), None for any: a page elsewhere whose name is pointed at 127.0.0.1 would else read all answers.
    """

    body: int = 16 * 2**20
    pixels: int = 64_000_000
    k: int = 1000
    rows: int = 1024
    cells: int = 100_000
    text: int = 2000
    examples: int = 50
    history: int = 500
    varied: int = 100
    reasons: int = 50_000
    where: int = 4000
    seconds: float = 10.0
    waiting: int = 1000
    cached_pictures: int = 64 * 2**20
    hosts: frozenset[str] | None = None
