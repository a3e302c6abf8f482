"""How many questions a second the server answers, beside the bare server's ceiling, in one run on one machine.

    python bench/serve.py [--items 200000] [--seconds 5] [--rounds 3] [--out FILE]

An index of clustered vectors (64 dims, inverted lists) is built and served in a process of its own; `wrk` asks from the same machine over 32
connections: one query a request and sixteen, as JSON and as raw rows. The ceiling is granian with a handler that reads the body and answers a
constant of the same length, in the same event loop. Rounds alternate between the two, and medians are kept: the ratio holds on a busy machine,
the numbers only on a quiet one. `cpu_us` is the server's processor time a request, which is the steadier number. Recall@10 is against
exact search; text-in is measured by our own open-loop tester, with texts that were never asked and with texts that were.

Legend: N items, D dims, Q queries.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft.fitting.session import environment
from graft.results import to_json
from graft.server import load
from graft.server.run import free_address
from graft.store.files import write_json
from graft.verbs.index import index as make_index

RESULTS = Path(__file__).parent / "results" / "serve.json"
DIM, CENTRES, SPREAD = 64, 1000, 0.35
CONNECTIONS = 32
SERVE = "import sys; from graft.server.run import serve; serve(sys.argv[2:], port=int(sys.argv[1]))"
CEILING = """
import asyncio, sys
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from graft.server.run import run_loop
body, headers = b"x" * int(sys.argv[2]), [("content-type", "application/json")]
async def answer(scope, proto):
    await proto()
    proto.response_bytes(200, headers, body)
async def main():
    await Server(answer, port=int(sys.argv[1]), interface=Interfaces.RSGI, http=HTTPModes.http1, websockets=False,
                 backpressure=1024, log_enabled=False).serve()
run_loop(main())
"""
LUA = """
local bodies = {{}}
for line in io.lines("{file}") do bodies[#bodies + 1] = (line:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end)) end
local at = 0
request = function()
  at = at % #bodies + 1
  return wrk.format("POST", "{path}", {{["content-type"] = "{kind}"}}, bodies[at])
end
"""


def clustered(n: int, rng: np.random.Generator, centres_CD: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows around centres, as vectors of real items lie."""
    noise = rng.standard_normal((n, DIM)).astype(np.float32)
    rows: NDArray[np.float32] = centres_CD[rng.integers(0, len(centres_CD), n)] + np.float32(SPREAD) * noise
    return rows


def build(folder: Path, items: int) -> tuple[Path, Path]:
    """The index, and a file of queries that are not in it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    centres_CD = rng.standard_normal((CENTRES, DIM)).astype(np.float32)
    x_ND = clustered(items, rng, centres_CD)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.ravel()), DIM)
    pq.write_table(pa.table({"id": [f"item-{i}" for i in range(items)], "vector": vectors}), folder / "items.parquet")
    made = folder / "vectors"
    make_index(folder / "items.parquet", out=made, kind="ivf")
    np.save(folder / "queries.npy", clustered(2000, rng, centres_CD))
    return made, folder / "queries.npy"


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[int]:
    """A Python program that listens; gives its process id."""
    with subprocess.Popen([sys.executable, "-c", *arguments]) as running:
        try:
            yield running.pid
        finally:
            running.terminate()


def wait_for(port: int) -> None:
    """Until somebody listens."""
    import socket

    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens at port {port}")


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def drive(port: int, pid: int, script: Path, seconds: int) -> dict[str, float]:
    """One run of wrk: requests a second, latencies in milliseconds, processor microseconds a request."""
    before = processor_seconds(pid)
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{seconds}",
        "--latency",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}",
    ]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = processor_seconds(pid) - before
    assert "Non-2xx" not in told, told
    assert "Socket errors" not in told, told

    def milliseconds(share: str) -> float:
        found = re.search(rf"{share}%\s+([\d.]+)(us|ms|s)", told)
        assert found, told
        return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]

    requests = re.search(r"(\d+) requests in ([\d.]+)s", told)
    assert requests, told
    return {
        "requests_s": int(requests[1]) / float(requests[2]),
        "p50_ms": milliseconds("50"),
        "p99_ms": milliseconds("99"),
        "cpu_us": 1e6 * used / int(requests[1]),
    }


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """Number by number."""
    return {name: float(np.median([run[name] for run in runs])) for name in runs[0]}


def script(folder: Path, q_QD: NDArray[np.float32], form: str, batch: int) -> Path:
    """What wrk sends: two hundred different requests in turn. Bodies are written in hexadecimal, as Lua reads lines."""
    groups = [q_QD[i : i + batch] for i in range(0, 200 * batch, batch) if i + batch <= len(q_QD)]
    if form == "binary":
        bodies = [rows.tobytes() for rows in groups]
    else:
        rounded = [[[round(float(v), 6) for v in row] for row in rows] for rows in groups]
        trees = [{"vector": rows[0], "k": 10} if batch == 1 else {"vectors": rows, "k": 10} for rows in rounded]
        bodies = [json.dumps(tree).encode() for tree in trees]
    file = folder / f"{form}-{batch}.hex"
    file.write_text("\n".join(body.hex() for body in bodies))
    kind = "application/octet-stream" if form == "binary" else "application/json"
    path = "/v1/indexes/vectors/vectors" + ("?k=10" if form == "binary" else "")
    lua = folder / f"{form}-{batch}.lua"
    lua.write_text(LUA.format(file=file, path=path, kind=kind))
    return lua


def vectors_in(folder: Path, items: int, seconds: int, rounds: int) -> dict[str, Any]:
    """All four forms beside their ceilings, and the recall."""
    made, queries = build(folder, items)
    q_QD = np.load(queries)
    _, port = free_address("127.0.0.1", 0)
    rows: dict[str, Any] = {}
    with process(SERVE, str(port), str(made)) as server:
        wait_for(port)
        for form in ("json", "binary"):
            for batch in (1, 16):
                lua = script(folder, q_QD, form, batch)
                _, other = free_address("127.0.0.1", 0)
                with process(CEILING, str(other), str(400 * batch)) as ceiling:
                    wait_for(other)
                    runs: dict[str, list[dict[str, float]]] = {"graft": [], "ceiling": []}
                    for _ in range(rounds):
                        runs["ceiling"].append(drive(other, ceiling, lua, seconds))
                        runs["graft"].append(drive(port, server, lua, seconds))
                row: dict[str, Any] = {name: median(found) for name, found in runs.items()}
                row["queries_s"] = batch * row["graft"]["requests_s"]
                row["of_ceiling"] = row["graft"]["requests_s"] / row["ceiling"]["requests_s"]
                rows[f"{form}, {batch} a request"] = row
                print_row(f"{form}, {batch} a request", row)
        open_loop = load.serve(f"http://127.0.0.1:{port}", rate=2000, seconds=seconds, vectors=queries, index=made)
    assert open_loop.recall is not None
    print(
        f"recall@10 {open_loop.recall.value:.4f}; at 2,000/s p50 {open_loop.p50_ms:.1f} p99 {open_loop.p99_ms:.1f} ms"
    )
    return {"items": items, "dim": DIM, "forms": rows, "open_loop": to_json(open_loop)}


def texts_in(folder: Path, seconds: int) -> dict[str, Any]:
    """An index of texts: questions never asked before, and the same ones again."""
    words = [
        f"{a} {b} {c}"
        for a in ("red", "small", "old", "wooden", "cheap")
        for b in ("chair", "lamp", "table", "bed")
        for c in range(20)
    ]
    (folder / "texts.csv").write_text("id,text\n" + "\n".join(f"{i},{text}" for i, text in enumerate(words)))
    make_index(folder / "texts.csv", out=folder / "texts", content="text", id="id")
    _, port = free_address("127.0.0.1", 0)
    found = {}
    with process(SERVE, str(port), str(folder / "texts")):
        wait_for(port)
        time.sleep(10)  # the encoder is being read
        for name, rate, lines in (
            ("cold", 20, [f"question {i} about a {w}" for i, w in enumerate(words)]),
            ("cached", 100, ["a comfortable seat", "something to light the room"]),
        ):
            (folder / f"{name}.txt").write_text("\n".join(lines))
            seen = load.serve(
                f"http://127.0.0.1:{port}", rate=rate, seconds=seconds, texts=folder / f"{name}.txt", connections=16
            )
            print(
                f"text-in, {name}: {seen.achieved:.0f}/s, p50 {seen.p50_ms:.1f} ms, p99 {seen.p99_ms:.1f} ms, errors {seen.errors}"
            )
            found[name] = to_json(seen)
    return found


def print_row(name: str, row: Mapping[str, Any]) -> None:
    """One line for people."""
    ours, bare = row["graft"], row["ceiling"]
    print(
        f"{name:22} {row['queries_s']:8,.0f} queries/s  p50 {ours['p50_ms']:6.2f}  p99 {ours['p99_ms']:6.2f} ms  "
        f"{ours['cpu_us']:5.0f} us  | ceiling {bare['requests_s']:8,.0f} requests/s  p99 {bare['p99_ms']:6.2f} ms  {bare['cpu_us']:4.0f} us  "
        f"| {row['of_ceiling']:.2f} of it",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=200_000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-texts", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        load_before = os.getloadavg()[0]
        tree: dict[str, Any] = {"environment": environment(), "load_before": load_before}
        tree["vectors"] = vectors_in(folder, given.items, given.seconds, given.rounds)
        if not given.no_texts:
            tree["texts"] = texts_in(folder, given.seconds)
    write_json(given.out, tree)


if __name__ == "__main__":
    main()
