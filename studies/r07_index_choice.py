"""R7: which search structure: every row compared, inverted lists, product codes, or a graph.

The pictures of Tiny-ImageNet as 1,280 numbers each, and as fewer by principal components. Graft builds the first three (`graft index --kind`) with
as many probes as find 95 % of the ten nearest; FAISS's HNSW, which Graft does not offer because a graph cannot take items out, gets as
many candidates as find 95 % on other queries than it is measured on. Bytes for 200,000 items are computed, and at 64 dims checked against builds.

Legend: N rows, D dims, Q queries, K neighbours.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, main, percent

from graft.metrics.rank import overlap_recall, query_interval
from graft.retrieval.opened import open_index
from graft.settings import one_thread
from graft.store.index import Structure, build, exact, plan, prepared
from graft.verbs.index import index

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]
Search = Callable[[Floats], Longs]

K, RECALL = 10, 0.95
LINKS, EFFORT = 16, 40  # HNSW's M and efConstruction; the second is FAISS's own
CANDIDATES = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320)
ITEMS = 200_000
DIMS = (64, 128, 256, 384, 512)
KINDS = ("exact", "ivf", "ivfpq")
WORDS = {"exact": "flat", "ivf": "IVF", "ivfpq": "IVF-PQ", "graph": "HNSW"}


@dataclass(frozen=True)
class Made:
    """A structure that was built: how to ask it, the seconds it took, its bytes as FAISS writes it, and how it was set."""

    ask: Search
    seconds: float
    bytes: int
    settings: Mapping[str, Any]


def measure(setting: Setting) -> Numbers:
    data, encoder, held, dims = ("data:digits", "pixels:8", 200, (16, 32)) if setting.quick else (
        "data:tiny_imagenet", setting.encoder, 1000, (64, 128, 256, 512))  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        index(data, out=Path(folder) / "index", encoder=encoder, bridge="none", kind="exact")
        x_ND = prepared(open_index(Path(folder) / "index").vectors("image"), "cosine")
    x_ND = x_ND[np.random.default_rng(0).permutation(len(x_ND))]
    tuned, asked, rows = x_ND[: held // 2], x_ND[held // 2 : held], x_ND[held:]
    with alone():
        truth = neighbours(rows, asked)
        numbers: Numbers = {"data": data, "rows": len(rows), "queries": len(asked), "dims": rows.shape[1], "kinds": {}}
        structures = {kind: made(kind, rows, tuned) for kind in (*KINDS, "graph")}
        numbers["kinds"] = told(structures, asked, truth)
        numbers["fewer"] = fewer(rows, asked, truth, dims)
        numbers["deletes"] = deletes(rows)
        numbers["bytes"] = {kind: {str(d): computed(kind, ITEMS, d) for d in DIMS} for kind in (*KINDS, "graph")}
        many = 5000 if setting.quick else ITEMS
        numbers["built"] = built(rows, many, 64)
    return numbers


def made(kind: str, rows: Floats, tuned: Floats) -> Made:
    """A structure over unit rows, set to find `RECALL` of the ten nearest."""
    began = time.perf_counter()
    if kind == "graph":
        return _graph(rows, tuned, began)
    structure, keys = plan(len(rows), rows.shape[1], kind=kind), np.arange(len(rows))
    if structure.kind == "exact":
        segment = exact([rows], keys, rows.shape[1])
    else:
        segment = build(lambda: _batches(rows), keys, rows.shape[1], structure, recall=RECALL)
    seconds = time.perf_counter() - began
    told_of = {"lists": segment.structure.lists, "probes": segment.probes, "codes": segment.structure.codes}
    return Made(
        lambda q: segment.search(q, K)[1], seconds, _written(segment.index), {k: v for k, v in told_of.items() if v}
    )


def _graph(rows: Floats, tuned: Floats, began: float) -> Made:
    import faiss

    graph = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = EFFORT
    graph.add(rows)
    seconds = time.perf_counter() - began
    settings = {"links": LINKS, "effort": EFFORT}
    if len(tuned):
        truth = neighbours(rows, tuned)
        for wide in CANDIDATES:
            graph.hnsw.efSearch = settings["candidates"] = wide
            if overlap_recall(graph.search(tuned, K)[1], truth).mean() >= RECALL:
                break
    return Made(lambda q: graph.search(q, K)[1], seconds, _written(graph), settings)


def _batches(rows: Floats) -> Iterator[Floats]:
    yield from (rows[i : i + 4096] for i in range(0, len(rows), 4096))


def _written(structure: Any) -> int:
    import faiss

    return int(faiss.serialize_index(structure).nbytes)


def neighbours(rows: Floats, q_QD: Floats) -> Longs:
    """The ten nearest rows, every one compared."""
    return exact([rows], np.arange(len(rows)), rows.shape[1]).search(q_QD, K)[1]


def told(structures: Mapping[str, Made], q_QD: Floats, truth: Longs) -> Numbers:
    """Recall, latency of single queries, and the rate of a batch (best of three). Structures take turns, so that what else the machine does
    slows all alike."""
    took: dict[str, list[float]] = {kind: [] for kind in structures}
    batch: dict[str, list[float]] = {kind: [] for kind in structures}
    for row in range(len(q_QD)):
        for kind, structure in structures.items():
            took[kind].append(1e3 * _timed(structure, q_QD[row : row + 1]))
    for _ in range(3):
        for kind, structure in structures.items():
            batch[kind].append(_timed(structure, q_QD))
    return {
        kind: {
            "recall": query_interval(overlap_recall(structure.ask(q_QD), truth), 0),
            "build_seconds": structure.seconds,
            "bytes": structure.bytes,
            "median_ms": float(np.median(took[kind])),
            "p99_ms": float(np.quantile(took[kind], 0.99)),
            "batch_per_second": len(q_QD) / min(batch[kind]),
            "settings": structure.settings,
        }
        for kind, structure in structures.items()
    }


def _timed(structure: Made, q_QD: Floats) -> float:
    began = time.perf_counter()
    structure.ask(q_QD)
    return time.perf_counter() - began


def fewer(rows: Floats, q_QD: Floats, truth: Longs, dims: tuple[int, ...]) -> Numbers:
    """What is kept of the neighbours in all dims when rows are shortened by principal components."""
    mean = rows.mean(0)
    values, axes = np.linalg.eigh(np.cov(rows - mean, rowvar=False))
    found = {}
    for dim in dims:
        turn = axes[:, ::-1][:, :dim].astype(np.float32)
        short, asked = (prepared((part - mean) @ turn, "cosine") for part in (rows, q_QD))
        near = neighbours(short, asked)
        share = query_interval(overlap_recall(near, truth), 0)
        found[str(dim)] = {"variance": float(values[::-1][:dim].sum() / values.sum()), "kept": share, "bytes": 4 * dim}
    return found


def deletes(rows: Floats) -> dict[str, str]:
    """What FAISS says to taking out the first ten rows of a graph and of inverted lists."""
    import faiss

    some = np.ascontiguousarray(rows[:1000])
    found = {}
    lists = faiss.index_factory(rows.shape[1], "IVF16,Flat", faiss.METRIC_INNER_PRODUCT)
    lists.cp.min_points_per_centroid = 1
    graph = faiss.IndexHNSWFlat(rows.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    for kind, structure in (("ivf", lists), ("graph", graph)):
        structure.train(some)
        structure.add(some)
        try:
            found[kind] = f"{structure.remove_ids(np.arange(10))} taken out"
        except RuntimeError as problem:
            found[kind] = str(problem).rsplit(": ", 1)[-1].strip()
    return found


def computed(kind: str, n: int, dim: int) -> int:
    """Bytes of a structure: float32 rows or codes with their refinement, row numbers, centres; of a graph rows, links, levels and offsets."""
    if kind == "graph":
        above = 1 / (1 - 1 / LINKS)  # links a row beyond the ground level, on average: M in M^-l of the rows on level l
        return round(n * (4 * dim + 4 * (2 * LINKS + above) + 4 + 8))
    structure: Structure = plan(n, dim, kind=kind)
    centres = structure.lists * dim * 4
    if kind == "ivfpq":
        return n * (structure.codes + 8 + dim) + centres + 256 * dim * 4  # and the code books
    return n * (4 * dim + (8 if kind == "ivf" else 0)) + centres


def built(rows: Floats, n: int, dim: int) -> Numbers:
    """Real builds of `n` rows: the shortened ones, again and again with a little noise. Bytes as written beside the computed."""
    mean = rows.mean(0)
    axes = np.linalg.eigh(np.cov(rows - mean, rowvar=False))[1][:, ::-1][:, :dim].astype(np.float32)
    short = (rows - mean) @ axes
    rng = np.random.default_rng(1)
    near = short[np.arange(n) % len(short)]
    many = prepared(near + 0.3 * short.std(0) * rng.standard_normal(near.shape, np.float32), "cosine")
    found: Numbers = {"rows": n, "dims": dim, "kinds": {}}
    for kind in (*KINDS, "graph"):
        done = made(kind, many, many[:0])
        expected = computed(kind, n, dim)
        found["kinds"][kind] = {
            "seconds": done.seconds,
            "written": done.bytes,
            "computed": expected,
            "ratio": done.bytes / expected,
            "settings": done.settings,
        }
    return found


def present(numbers: Numbers) -> Page:
    kinds, flat = numbers["kinds"], numbers["kinds"]["exact"]
    fast = {kind: flat["median_ms"] / kinds[kind]["median_ms"] for kind in kinds}
    small = min(kinds, key=lambda kind: kinds[kind]["bytes"])
    answer = f"{numbers['rows']:,} rows of {numbers['dims']} numbers: " + "; ".join(
        f"{WORDS[kind]} {found['median_ms']:.2f} ms a query, {found['bytes'] / 2**20:.0f} MiB, recall {percent(found['recall'])}, "
        f"built in {found['build_seconds']:.1f} s"
        for kind, found in kinds.items()
    )
    kept = ", ".join(f"{100 * found['kept']['value']:.0f} % at {dim}" for dim, found in numbers["fewer"].items())
    ratios = [found["ratio"] for found in numbers["built"]["kinds"].values()]
    reading = (
        f"At this size the graph answers {fast['graph']:.1f} times as fast as flat and IVF {fast['ivf']:.1f} times; the graph takes "
        f"{kinds['graph']['build_seconds'] / max(kinds['ivf']['build_seconds'], 1e-9):.1f} times as long to build as IVF; {WORDS[small]} is the smallest. "
        "In a batch, where flat is one matrix product, it does "
        f"{flat['batch_per_second']:,.0f} queries a second and IVF {kinds['ivf']['batch_per_second']:,.0f}. "
        f'What FAISS says when ten rows are to be taken out: of IVF "{numbers["deletes"]["ivf"]}", of HNSW "{numbers["deletes"]["graph"]}", which '
        f"is why Graft has no graph: an index that is brought up to date every day would have to be built anew. Shorter rows save more than any "
        f"structure and cost neighbours: of the ten nearest in all dims are kept {kept}. The computed bytes are within "
        f"{100 * max(abs(ratio - 1) for ratio in ratios):.2f} % of what FAISS writes for {numbers['built']['rows']:,} rows of {numbers['built']['dims']}."
    )
    tables = [
        table_of_kinds(numbers),
        table_of_bytes(numbers),
        table_of_built(numbers["built"]),
        table_of_fewer(numbers),
    ]
    return Page(answer + ".", reading, tables, {"bytes.svg": chart(numbers)})


def table_of_kinds(numbers: Numbers) -> Table:
    rows = [
        (
            WORDS[kind], _settings(found["settings"]), f"{found['build_seconds']:.1f}", f"{found['bytes'] / 2**20:.0f}",
            percent(found["recall"]), f"{found['median_ms']:.2f}", f"{found['p99_ms']:.2f}", f"{found['batch_per_second']:,.0f}",
        )
        for kind, found in numbers["kinds"].items()
    ]  # fmt: skip
    return Table(
        f"{numbers['data']}: {numbers['rows']:,} unit rows of {numbers['dims']} numbers, {numbers['queries']} other rows as queries, one thread. "
        "Times are of a machine that others use too.",
        (
            "structure",
            "settings",
            "build (s)",
            "MiB",
            "recall@10",
            "ms a query (median)",
            "p99",
            "queries/s in a batch",
        ),
        rows,
    )


def table_of_bytes(numbers: Numbers) -> Table:
    dims = list(numbers["bytes"]["exact"])
    rows = [
        (WORDS[kind], *(f"{found[d] / 2**20:,.0f}" for d in dims)) for kind, found in numbers["bytes"].items()
    ]  # fmt: skip
    return Table(f"MiB for {ITEMS:,} items, computed.", ("structure", *(f"{d} dims" for d in dims)), rows)


def table_of_built(found: Numbers) -> Table:
    rows = [
        (WORDS[kind], _settings(one["settings"]), f"{one['seconds']:.1f}", f"{one['written']:,}", f"{one['computed']:,}", f"{one['ratio']:.4f}")
        for kind, one in found["kinds"].items()
    ]  # fmt: skip
    return Table(
        f"Checked: {found['rows']:,} rows of {found['dims']} dims really built (copies of the shortened rows with noise).",
        ("structure", "settings", "build (s)", "bytes written", "bytes computed", "ratio"),
        rows,
    )


def table_of_fewer(numbers: Numbers) -> Table:
    rows = [
        (dim, str(found["bytes"]), f"{100 * found['variance']:.0f} %", percent(found["kept"]))
        for dim, found in numbers["fewer"].items()
    ]
    return Table(
        "Rows shortened by principal components: what is kept of the ten nearest in all dims.",
        ("dims", "bytes a row", "variance", "of the ten nearest kept"),
        rows,
    )


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def chart(numbers: Numbers) -> str:
    lines = [
        Line(WORDS[kind], [(float(d), value / 2**20) for d, value in found.items()])
        for kind, found in numbers["bytes"].items()
    ]
    return line_chart(f"Memory for {ITEMS:,} items", Axis("dims"), Axis("MiB"), lines)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Matrix products and FAISS on one thread while it lasts."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        with one_thread():
            yield
    finally:
        faiss.omp_set_num_threads(before)


STUDY = Study(
    name="r07_index_choice",
    title="R7: the choice of index",
    question="Flat, inverted lists, product codes or a graph: what do building, memory, recall and latency come to?",
    measure=measure,
    present=present,
    expected={
        "kinds > exact > recall > value": (1.0, 1.0),
        "kinds > ivf > recall > value": about(0.97, 0.025),
        "kinds > ivfpq > recall > value": about(0.965, 0.025),
        "kinds > graph > recall > value": about(0.965, 0.03),
        "kinds > ivfpq > bytes": about(35e6, 2e6),
        "fewer > 64 > kept > value": about(0.585, 0.03),
        "fewer > 512 > kept > value": about(0.758, 0.03),
        "built > kinds > exact > ratio": about(1, 0.01),
        "built > kinds > ivf > ratio": about(1, 0.01),
        "built > kinds > ivfpq > ratio": about(1, 0.01),
        "built > kinds > graph > ratio": about(1, 0.01),
    },
    expected_quick={
        "kinds > exact > recall > value": (1.0, 1.0),
        "kinds > ivf > recall > value": about(0.966, 0.034),
        "kinds > ivfpq > recall > value": about(0.963, 0.037),
        "kinds > graph > recall > value": about(0.98, 0.02),
        "built > kinds > ivfpq > ratio": about(1, 0.02),
        "built > kinds > graph > ratio": about(1, 0.02),
    },
)

if __name__ == "__main__":
    main(STUDY)
