"""`graft bench serve`: a load tester that does not flatter.

Arrivals are open-loop: requests are due at times drawn beforehand, whether or not the server keeps up, and a latency is measured from when
its request was due, not from when it could be sent. A closed loop would wait with a slow server and never see the queue ("coordinated
omission", Tene 2013). Requests go over persistent connections by raw asyncio streams: the tester must cost less than the server.

Legend: N items, D dims, Q queries, K hits.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import quote, urlsplit

from graft.errors import MissingError, UsageError
from graft.results import Interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

K = 10
JUDGED = 1000  # answers kept for recall
LATE = 0.001  # seconds
TIE = 1e-6  # scores closer than this are equal
PATIENCE = 30.0  # seconds for the last answers
VECTORS, SEARCH = "vectors", "search"


@dataclass(frozen=True)
class Load:
    """What was asked for and what came. Latencies in milliseconds, from when a request was due; errors are counted, not timed.

    `late` is the share of requests sent more than 1 ms after they were due, as all connections were waiting for answers. `recall` (of the
    ten exact nearest) is None unless the index's folder was given.
    """

    url: str
    rate: float
    achieved: float
    seconds: float
    requests: int
    queries: int
    errors: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    late: float
    recall: Interval | None
    first_error: str = ""


def serve(
    url: Annotated[str, "The server, or one of its indexes: http://HOST:PORT or http://HOST:PORT/v1/indexes/NAME."],
    *,
    rate: Annotated[float, "Requests a second, at random moments (Poisson)."] = 1000.0,
    seconds: Annotated[float, "How long."] = 10.0,
    vectors: Annotated[Path | str | None, "Queries: a .npy file of float32 rows."] = None,
    texts: Annotated[Path | str | None, "Queries: a file with a text a line."] = None,
    index: Annotated[Path | str | None, "Folder of the same index, to measure the recall of the answers."] = None,
    batch: Annotated[int, "Vectors a request."] = 1,
    form: Annotated[Literal["json", "binary"], "How vectors are sent."] = "json",
    connections: Annotated[int, "Connections kept open."] = 64,
) -> Load:
    """Measure how fast a server answers at a given rate, and how often it is right.

    Raises UsageError when the queries or numbers cannot be used, MissingError when no server answers at the URL.
    """
    if (vectors is None) == (texts is None):
        raise UsageError("Give the queries: either --vectors FILE.npy or --texts FILE.")
    if not (0 < rate <= 1e6 and 0 < seconds <= 3600 and 1 <= batch <= 1024 and 1 <= connections <= 900):
        raise UsageError(
            "Sensible are a rate up to 1,000,000, up to 3,600 seconds, 1 to 1,024 vectors a request and 1 to 900 connections."
        )
    address = Address.of(url, SEARCH if vectors is None else VECTORS)
    if vectors is not None:
        q_QD = _rows(Path(vectors))
        requests = _vector_requests(address, q_QD, batch, form)
    else:
        requests = _text_requests(address, Path(str(texts)))
    # `select` and not `epoll`: it wakes within microseconds of a due time, the other rounds up to a millisecond
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        drive = runner.run(_driven(address, requests, rate, seconds, connections))
    recall = _recall(drive, q_QD, batch, Path(index)) if index is not None and vectors is not None else None
    return _summary(url, drive, rate, batch, recall)


@dataclass(frozen=True)
class Address:
    """Where requests go."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str, route: str) -> Address:
        """Of a server that serves one index, or of one index. Raises UsageError or MissingError."""
        import urllib.request

        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"{url!r} is no address of a server: http://127.0.0.1:8000 is one.")
        port, path = parts.port or 80, parts.path.rstrip("/")
        if not path:
            try:
                with urllib.request.urlopen(f"http://{parts.netloc}/v1/indexes", timeout=10) as answer:
                    names = [each["name"] for each in json.load(answer)["indexes"]]
            except (OSError, ValueError, KeyError) as error:
                raise MissingError(
                    f"No server of Graft answers at {url} ({error}). `graft serve INDEX` starts one."
                ) from error
            if len(names) != 1:
                raise UsageError(
                    f"{url} serves {len(names)} indexes ({', '.join(names)}): add /v1/indexes/NAME to the address."
                )
            path = f"/v1/indexes/{quote(names[0])}"
        return cls(parts.hostname, port, f"{path}/{route}")

    def request(self, body: bytes, content_type: str, query: str = "") -> bytes:
        """The bytes of one request."""
        head = (
            f"POST {self.path}{query} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("ascii") + body


def _rows(path: Path) -> NDArray[np.float32]:
    import numpy as np

    try:
        q_QD = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as an array: {error}.") from error
    if q_QD.ndim != 2 or not len(q_QD) or q_QD.dtype.kind != "f":
        raise UsageError(f"{path} holds {q_QD.dtype} of shape {q_QD.shape}; rows of floating-point numbers are wanted.")
    return np.ascontiguousarray(q_QD, np.float32)


def _vector_requests(address: Address, q_QD: NDArray[np.float32], batch: int, form: str) -> list[bytes]:
    groups = [q_QD[i : i + batch] for i in range(0, len(q_QD) - batch + 1, batch)]
    if not groups:
        raise UsageError(f"{len(q_QD)} queries are too few for requests of {batch}.")
    if form == "binary":
        return [address.request(rows.tobytes(), "application/octet-stream", f"?k={K}") for rows in groups]
    trees = [{"vectors": [[round(float(v), 7) for v in row] for row in rows], "k": K} for rows in groups]
    return [address.request(json.dumps(tree).encode(), "application/json") for tree in trees]


def _text_requests(address: Address, path: Path) -> list[bytes]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as lines of text: {error}.") from error
    if not lines:
        raise UsageError(f"{path} holds no line of text.")
    return [address.request(json.dumps({"text": line, "k": K}).encode(), "application/json") for line in lines]


@dataclass
class Drive:
    """A run under way: requests that wait for a connection, connections that wait for a request, and what has been measured."""

    requests: Sequence[bytes]
    started: float = 0.0
    idle: list[Connection] = field(default_factory=list)
    waiting: deque[tuple[int, float]] = field(default_factory=deque)
    seconds: list[float] = field(default_factory=list)
    answers: dict[int, bytes] = field(default_factory=dict)
    sent: int = 0
    late: int = 0
    errors: int = 0
    first_error: str = ""
    ended: float = 0.0

    def begin(self, number: int, due: float) -> None:
        """Send request `number` now, or as soon as a connection is free."""
        if self.idle:
            self.idle.pop().send(number, due)
        else:
            self.waiting.append((number, due))

    def finish(self, connection: Connection, number: int, due: float, status: bytes, body: bytes) -> None:
        """An answer has come."""
        self.ended = time.perf_counter()
        if status == b"200":
            self.seconds.append(self.ended - due)
            if number < len(self.requests) and len(self.answers) < JUDGED:
                self.answers[number] = body
        else:
            self.fail(f"status {status.decode('latin-1')}: {body[:200].decode('utf-8', 'replace')}")
        if self.waiting:
            connection.send(*self.waiting.popleft())
        else:
            self.idle.append(connection)

    def fail(self, reason: str) -> None:
        """One request was not answered as it should be."""
        self.errors += 1
        self.first_error = self.first_error or reason

    @property
    def finished(self) -> int:
        """Requests that are over."""
        return len(self.seconds) + self.errors


class Connection(asyncio.Protocol):
    """One persistent connection with one request at a time on it."""

    def __init__(self, drive: Drive) -> None:
        self.drive, self.rest = drive, b""
        self.current: tuple[int, float] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self, number: int, due: float) -> None:
        """Write request `number`."""
        self.current = (number, due)
        self.drive.late += time.perf_counter() - due > LATE
        self.transport.write(self.drive.requests[number % len(self.drive.requests)])

    def data_received(self, data: bytes) -> None:
        self.rest += data
        head, found, body = self.rest.partition(b"\r\n\r\n")
        if not found:
            return
        place = head.lower().find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(body) >= length and self.current is not None:
            (number, due), self.current, self.rest = self.current, None, b""
            self.drive.finish(self, number, due, head[9:12], body[:length])

    def connection_lost(self, error: Exception | None) -> None:
        if self.current is not None:
            self.drive.fail(f"the connection was lost: {error or 'closed by the server'}")
            self.current = None
        if self in self.drive.idle:
            self.drive.idle.remove(self)


async def _driven(address: Address, requests: Sequence[bytes], rate: float, seconds: float, connections: int) -> Drive:
    loop = asyncio.get_running_loop()
    drive = Drive(requests)
    opened: list[Connection] = []
    try:
        for _ in range(connections):
            _, made = await loop.create_connection(lambda: Connection(drive), address.host, address.port)
            opened.append(made)
        drive.idle.extend(opened)
        await _sent(drive, rate, seconds)
    except OSError as error:
        raise MissingError(f"No server answers at {address.host}:{address.port} ({error}).") from error
    finally:
        for made in opened:
            made.transport.close()
        await asyncio.sleep(0)  # the transports are closed in the loop's next turn
    return drive


async def _sent(drive: Drive, rate: float, seconds: float) -> None:
    """Send every request when it is due, and wait for the answers."""
    import numpy as np

    gaps = np.random.default_rng(0).exponential(1 / rate, max(1, round(rate * seconds)))
    drive.started = time.perf_counter()
    dues = (drive.started + np.cumsum(gaps)).tolist()
    while drive.sent < len(dues):
        now = time.perf_counter()
        while drive.sent < len(dues) and dues[drive.sent] <= now:
            drive.begin(drive.sent, dues[drive.sent])
            drive.sent += 1
        await asyncio.sleep(max(0.0, dues[drive.sent] - time.perf_counter()) if drive.sent < len(dues) else 0)
    end = time.perf_counter() + PATIENCE
    while drive.finished < drive.sent and time.perf_counter() < end:
        await asyncio.sleep(0.005)
    for _ in range(drive.sent - drive.finished):
        drive.fail("no answer")


def _recall(drive: Drive, q_QD: NDArray[np.float32], batch: int, folder: Path) -> Interval:
    """Share of the ten exact nearest that are among the answers, by the index's vectors compared one by one."""
    import numpy as np

    from graft.metrics.intervals import mean_interval
    from graft.retrieval.opened import open_index

    opened = open_index(folder)
    view = next(iter(opened.views.values()))
    x_ND = _comparable(opened.vectors(view.name), view.metric)
    position = {name: i for i, name in enumerate(opened.ids)}
    asked: list[int] = []
    told: list[list[str]] = []
    for number, body in sorted(drive.answers.items())[: max(1, JUDGED // batch)]:
        asked += range(number * batch, (number + 1) * batch)
        told += json.loads(body)["ids"]
    k = min(K, len(x_ND))
    found: list[float] = []
    for start in range(0, len(asked), 50):  # 50 queries against all items at a time
        scores_QN = _comparable(q_QD[asked[start : start + 50]], view.metric) @ x_ND.T
        if view.metric == "euclidean":
            scores_QN = 2 * scores_QN - (x_ND**2).sum(1)
        kth_Q = np.partition(scores_QN, -k, axis=1)[:, -k]
        for row, ids in enumerate(told[start : start + 50]):
            right = sum(scores_QN[row, position[i]] >= kth_Q[row] - TIE for i in ids if i in position)
            found.append(min(1.0, right / k))
    if len(found) < 2:
        return Interval(found[0] if found else float("nan"), None, None, len(found))
    return mean_interval(np.array(found))


def _comparable(rows: NDArray[np.float32], metric: str) -> NDArray[np.float32]:
    """Rows whose inner products are the metric's scores."""
    import numpy as np

    if metric != "cosine":
        return rows
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _summary(url: str, drive: Drive, rate: float, batch: int, recall: Interval | None) -> Load:
    import numpy as np

    took = max(drive.ended - drive.started, 1e-9)
    ms = 1000 * np.array(drive.seconds or [np.nan])
    p50, p90, p99 = np.percentile(ms, [50, 90, 99]).tolist()
    return Load(
        url=url,
        rate=rate,
        achieved=len(drive.seconds) / took,
        seconds=took,
        requests=drive.sent,
        queries=len(drive.seconds) * batch,
        errors=drive.errors,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        max_ms=float(ms.max()),
        late=drive.late / max(drive.sent, 1),
        recall=recall,
        first_error=drive.first_error,
    )
