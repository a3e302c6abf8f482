"""What an index costs: making it, changing it, opening it, asking it; and graphs (HNSW) beside it at equal recall.

    python bench/search.py [--items 200000]

Clustered vectors of 64 and 384 dims, and the pictures of Tiny-ImageNet where `GRAFT_DATA` has them. One thread. Seconds are of the clock
and, as others may use the machine, of this process. `pip install -r bench/requirements.txt` gets hnswlib; without it that rival is left
out. Writes bench/results/search.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESULTS = Path(__file__).parent / "results"
Floats = NDArray[np.float32]
K, QUERIES, RECALL = 10, 500, 0.95
CANDIDATES = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 640)
LINKS, EFFORT = 16, 100  # HNSW's M and efConstruction, as hnswlib's own examples have them

# Opens the index named by the first word in a fresh process: memory before, at its peak, and the bytes of its vectors.
OPENING = """
import sys
from pathlib import Path
import faiss, lance, pyarrow.compute, scipy.sparse
from graft.retrieval.opened import open_index
import graft.store.index
from graft.store.collection import Collection

def told(what):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) * 1024

Collection.open(Path(sys.argv[1], "items.lance")).keys()  # Lance's own threads and buffers are there
Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
before = told("VmRSS")
index = open_index(sys.argv[1])
print(before, told("VmHWM"), sum(loaded.base.bytes for loaded in index._loaded.values()))
"""


def clustered(n: int, dim: int) -> Floats:
    """Rows around n / 200 centres, as vectors of real items lie."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(max(1, n // 200), dim)).astype(np.float32)
    noise = rng.standard_normal((n, dim), np.float32)
    rows: Floats = centres[rng.integers(0, len(centres), n)] + 0.7 * noise
    return rows


def table(path: Path, first: int, x_ND: Floats) -> Path:
    """A table of vectors whose ids count from `first`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.reshape(-1)), x_ND.shape[1])
    numbers = np.arange(first, first + len(x_ND))
    pq.write_table(pa.table({"id": [f"item-{i}" for i in numbers], "price": numbers % 100, "vector": rows}), path)
    return path


def timed(do: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What came of it, and the seconds it took."""
    clock, own = time.perf_counter(), time.process_time()
    done = do()
    return done, {"seconds": round(time.perf_counter() - clock, 2), "processor": round(time.process_time() - own, 2)}


def changes(x_ND: Floats, folder: Path) -> dict[str, Any]:
    """An index made, 1 % more items added, 1 % taken out, and the 1 % given once more."""
    from graft.verbs.index import index

    n, more = len(x_ND) * 100 // 101, len(x_ND) - len(x_ND) * 100 // 101
    base, added = table(folder / "base.parquet", 0, x_ND[:n]), table(folder / "more.parquet", n, x_ND[n:])
    out = folder / "ix"
    steps: dict[str, Callable[[], Any]] = {
        "make": lambda: index(base, out=out),
        "add 1 %": lambda: index(added, out=out),
        "delete 1 %": lambda: index(out=out, delete=[f"item-{i}" for i in range(more)]),
        "1 % again, unchanged": lambda: index(added, out=out),
    }
    found: dict[str, Any] = {"items": n, "dims": x_ND.shape[1]}
    for name, do in steps.items():
        done, took = timed(do)
        found[name] = took | {"parts": {part: round(s, 2) for part, s in done.seconds.items()}}
        print(x_ND.shape, name, found[name], flush=True)
    view = done.views[0]
    found["structure"] = {
        "kind": view.kind,
        "lists": view.lists,
        "probes": view.probes,
        "mib": round(view.bytes / 2**20),
    }
    found["open"] = timed(lambda: opened(out))[1]
    return found


def opened(path: Path) -> Any:
    from graft.retrieval.opened import open_index

    return open_index(path)


def memory(x_ND: Floats, folder: Path) -> dict[str, float]:
    """What opening an exact index takes at the peak, over the bytes of its vectors."""
    from graft.verbs.index import index

    index(table(folder / "v.parquet", 0, x_ND), out=folder / "exact", kind="exact")
    done = subprocess.run(
        [sys.executable, "-c", OPENING, str(folder / "exact")], check=True, capture_output=True, text=True
    )
    before, peak, raw = map(int, done.stdout.split())
    return {
        "vectors_mib": round(raw / 2**20),
        "peak_mib": round((peak - before) / 2**20),
        "ratio": round((peak - before) / raw, 2),
    }


def overhead(x_ND: Floats, folder: Path, n: int = 40_000) -> dict[str, float]:
    """What `search_vectors` adds to FAISS: microseconds for a single query, the share for a batch; medians of interleaved rounds."""
    from graft.verbs.index import index

    index(table(folder / "o.parquet", 0, x_ND[:n]), out=folder / "overhead", kind="exact", metric="dot")
    ours = opened(folder / "overhead")
    raw = ours._loaded["vector"].base.index
    small = opened_small(x_ND, folder)
    q_QD = np.ascontiguousarray(x_ND[:256])
    single = paired(
        lambda: small.search_vectors(q_QD[:1], K), lambda: small._loaded["vector"].base.index.search(q_QD[:1], K), 2000
    )
    batched = paired(lambda: ours.search_vectors(q_QD, K), lambda: raw.search(q_QD, K), 15)
    return {
        "single_us": round(1e6 * (single[0] - single[1]), 1),
        "batch_share": round(batched[0] / batched[1] - 1, 3),
        "batch_ms": round(1e3 * batched[1], 1),
    }


def opened_small(x_ND: Floats, folder: Path) -> Any:
    """An index so small that what surrounds FAISS is most of a query."""
    from graft.verbs.index import index

    index(table(folder / "s.parquet", 0, x_ND[:200]), out=folder / "small", kind="exact", metric="dot")
    return opened(folder / "small")


def paired(one: Callable[[], Any], other: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median seconds of two calls, in turns."""
    times = np.empty((rounds, 2))
    for i in range(rounds):
        for j, do in enumerate((one, other)):
            began = time.perf_counter()
            do()
            times[i, j] = time.perf_counter() - began
    return float(np.median(times[:, 0])), float(np.median(times[:, 1]))


def rivals(x_ND: Floats, folder: Path) -> list[dict[str, Any]]:
    """Ours, FAISS's HNSW and hnswlib on the same rows, with as many candidates as reach our recall."""
    unit = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    rows, q_QD = np.ascontiguousarray(unit[QUERIES:]), np.ascontiguousarray(unit[:QUERIES])
    truth = exact_truth(rows, q_QD)
    found = [ours(rows, q_QD, truth, folder)]
    for name, make in (("FAISS HNSW", faiss_graph), ("hnswlib", library_graph)):
        try:
            ask, facts = make(rows)
        except ImportError:
            print(f"{name}: not installed")
            continue
        wide = next((e for e in CANDIDATES if recall(ask(q_QD, e), truth) >= found[0]["recall"]), CANDIDATES[-1])
        found.append({"name": name} | facts | {"candidates": wide} | speed(partial(ask, wide=wide), q_QD, truth))
        print(found[-1], flush=True)
    return found


def exact_truth(rows: Floats, q_QD: Floats) -> NDArray[np.int64]:
    import faiss

    flat = faiss.IndexFlatIP(rows.shape[1])
    flat.add(rows)
    truth: NDArray[np.int64] = flat.search(q_QD, K)[1]
    return truth


def recall(found_QK: NDArray[Any], truth_QK: NDArray[Any]) -> float:
    return float(np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(found_QK, truth_QK, strict=True)]))


def speed(ask: Callable[[Floats], NDArray[Any]], q_QD: Floats, truth: NDArray[Any]) -> dict[str, Any]:
    """Recall of the ten nearest, and queries a second: one by one, and all at once (the best of three)."""
    rates: dict[str, float] = {"single": 0.0, "batched": 0.0}
    for _ in range(3):
        began = time.perf_counter()
        for i in range(QUERIES):
            ask(q_QD[i : i + 1])
        rates["single"] = max(rates["single"], QUERIES / (time.perf_counter() - began))
        began = time.perf_counter()
        ask(q_QD)
        rates["batched"] = max(rates["batched"], QUERIES / (time.perf_counter() - began))
    return {"recall": round(recall(ask(q_QD), truth), 4)} | {name: round(rate) for name, rate in rates.items()}


def ours(rows: Floats, q_QD: Floats, truth: NDArray[Any], folder: Path) -> dict[str, Any]:
    from graft.retrieval.opened import open_index
    from graft.verbs.index import index

    done = index(table(folder / "r.parquet", 0, rows), out=folder / "rivals", kind="ivf", recall=RECALL)
    opened = open_index(folder / "rivals")
    view = done.views[0]  # type: ignore[union-attr]
    facts = {"build_s": round(done.seconds["build"], 1), "mib": round(view.bytes / 2**20), "deletes": "yes"}  # type: ignore[union-attr]
    found = {"name": f"Graft, {view.kind}"} | facts | {"candidates": view.probes}
    found |= speed(lambda q: opened.search_vectors(q, K).positions, q_QD, truth)
    print(rows.shape, found, flush=True)
    return found


Ask = Callable[..., NDArray[Any]]  # of queries and the number of candidates `wide`


def faiss_graph(rows: Floats) -> tuple[Ask, dict[str, Any]]:
    import faiss

    graph = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = EFFORT
    _, took = timed(lambda: graph.add(rows))

    def ask(q_QD: Floats, wide: int) -> NDArray[Any]:
        graph.hnsw.efSearch = wide
        found: NDArray[Any] = graph.search(q_QD, K)[1]
        return found

    size = faiss.serialize_index(graph).nbytes
    return ask, {"build_s": took["processor"], "mib": round(size / 2**20), "deletes": "no"}


def library_graph(rows: Floats) -> tuple[Ask, dict[str, Any]]:
    import hnswlib

    graph = hnswlib.Index("ip", rows.shape[1])
    graph.init_index(len(rows), ef_construction=EFFORT, M=LINKS, random_seed=0)
    graph.set_num_threads(1)
    _, took = timed(lambda: graph.add_items(rows))

    def ask(q_QD: Floats, wide: int) -> NDArray[Any]:
        graph.set_ef(max(wide, K))
        found: NDArray[Any] = graph.knn_query(q_QD, K)[0].astype(np.int64)
        return found

    return ask, {"build_s": took["processor"], "mib": round(graph.index_file_size() / 2**20), "deletes": "marks only"}


def photos() -> Floats | None:
    """Vectors of Tiny-ImageNet's pictures by the bundled encoder, from the cache where it has them."""
    from graft import settings
    from graft.data.read import read
    from graft.encoders.open import BUNDLED, open_encoder
    from graft.encoding import encode
    from graft.store.cache import VectorCache

    place = settings.data_dir()
    if place is None or not (place / "tiny_imagenet").is_dir():
        return None
    with VectorCache.open() as cache:
        return encode(read("data:tiny_imagenet").contents, open_encoder(BUNDLED["image"]), cache=cache).vectors


def main() -> None:
    import faiss

    from graft.fitting.session import environment

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000)
    flags = parser.parse_args()
    faiss.omp_set_num_threads(1)
    load = round(os.getloadavg()[0], 1)
    result: dict[str, Any] = {
        "machine": environment(),
        "date": time.strftime("%Y-%m-%d"),
        "load": load,
        "queries": QUERIES,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for dim in (64, 384):
            x_ND = clustered(flags.items * 101 // 100, dim)
            (folder / str(dim)).mkdir()
            result[f"changes_{dim}"] = changes(x_ND, folder / str(dim))
        result["memory"] = memory(x_ND[: flags.items], folder)
        print("memory", result["memory"], flush=True)
        result["overhead"] = overhead(x_ND, folder)
        print("overhead", result["overhead"], flush=True)
        sets: Mapping[str, Floats | None] = {
            "clustered": clustered(flags.items + QUERIES, 64),
            "tiny_imagenet": photos(),
        }
        result["rivals"] = []
        for what, rows in sets.items():
            if rows is not None:
                (folder / what).mkdir()
                shape = {"set": what, "items": len(rows) - QUERIES, "dims": rows.shape[1]}
                result["rivals"] += [shape | row for row in rivals(shuffled(rows), folder / what)]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "search.json").write_text(json.dumps(result, indent=1) + "\n")


def shuffled(x_ND: Floats) -> Floats:
    return x_ND[np.random.default_rng(1).permutation(len(x_ND))]


if __name__ == "__main__":
    main()
