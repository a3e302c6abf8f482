"""How good the search is: judged queries, ways to improve it, and which of them helped by how much.

Settings are chosen on other queries than they are measured on: on the judgements' part `train` where they have one, else on the
other four fifths of the queries.
Legend: Q queries, S settings.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.errors import UsageError, unknown
from graft.judging.scene import Scene, from_column, from_judgements
from graft.judging.ways import Way, Ways
from graft.listings.judgements import Judged, read_judgements
from graft.listings.searchable import is_searchable, read_judged
from graft.metrics import rank
from graft.results import Fault, Interval
from graft.retrieval.adopted import Adopted
from graft.retrieval.adopted import adopt as adopt_way
from graft.search_results import Evaluation, QueryScore, WayResult

if TYPE_CHECKING:
    from graft.retrieval.opened import OpenedIndex

Floats = NDArray[np.float64]
Longs = NDArray[np.int64]

METRICS = ("accuracy@5", "recall@1", "recall@5", "recall@10", "recall@100", "mrr", "ndcg@10")
LOW, WORST, SHOWN = 0.8, 20, 5
MOST = 1000  # queries that are measured
BY_VECTORS = ("prompts", "feedback", "map", "examples", "fusion")  # ways that words can be joined with
KEPT = (*BY_VECTORS, "hybrid")  # ways that an index can adopt


def judge(
    index: OpenedIndex,
    judgements: str,
    *,
    where: str | None = None,
    learn: str | None = None,
    adopt: bool = False,
    seed: int = 0,
) -> Evaluation:
    """Measure the plain search and every way to improve it.

    `judgements` is a table of query, id and relevance, a named set, or a payload column each of whose values is a query (then the metric to
    choose by is accuracy@5, else nDCG@10). Raises what reading them raises, UsageError for a name that is none of these.
    """
    started = time.perf_counter()
    scene, metric, faults = _scene(index, judgements, where, learn)
    tuned, measured = _parts(scene.judged)
    ways = Ways(scene, tuned, seed)
    results: list[WayResult] = []
    values: dict[str, dict[str, Floats]] = {}
    every = ways.every()
    for number, way in enumerate(every):
        settings.progress("judge", number, len(every))
        results.append(_tried(scene, way, metric, tuned, measured, values, seed))
    if index.manifest.words and (by_vectors := _best(results, metric, BY_VECTORS)).name != "plain":
        joined = ways.with_words(next(way for way in every if way.name == by_vectors.name), by_vectors.settings)
        every.append(joined)
        results.append(_tried(scene, joined, metric, tuned, measured, values, seed))
    best = _best(results, metric)
    last = next(way for way in every if way.name == best.name)
    adopted = _adopt(index, ways, results, metric) if adopt else False
    return Evaluation(
        index=str(index.path),
        judged=judgements,
        queries=len(measured),
        items=len(scene.positions),
        metric=metric,
        ways=tuple(results),
        chosen=best.name,
        why=_why(best, results, metric),
        groups=_groups(scene, measured, values[best.name], seed),
        worst=_worst(scene, last, best, measured, values, metric),
        low=int((values[best.name][metric] < LOW).sum()),
        adopted=adopted,
        faults=faults,
        seconds=time.perf_counter() - started,
    )


def _scene(
    index: OpenedIndex, judgements: str, where: str | None, learn: str | None
) -> tuple[Scene, str, tuple[Fault, ...]]:
    name = judgements.removeprefix("data:")
    if judgements.startswith("data:") and is_searchable(name):
        judged, faults = read_judged(name), tuple[Fault, ...]()
    elif judgements in index.columns:
        return from_column(index, judgements, where, learn), "accuracy@5", ()
    elif (path := Path(judgements).expanduser()).is_file():
        judged, faults = read_judgements(path)
    else:
        raise UsageError(
            f"--evaluate {judgements!r} is no file, no named set with judgements, and no column of the index. "
            + unknown("The column", judgements, index.columns)
        )
    if learn is not None:
        raise UsageError(
            "--learn names examples for the values of a column; judged queries are learned from by their part `train`."
        )
    return from_judgements(index, judged, where), "ndcg@10", tuple(faults)


def _parts(judged: Sequence[Judged]) -> tuple[Longs, Longs]:
    """Queries to tune on and to measure on: the parts `train` and the rest, or all of them for both (then fifths are kept apart).

    At most 1,000 of each, drawn at random: intervals are then narrow, and time is bounded.
    """
    train = np.array([query.part == "train" for query in judged], np.bool_)
    every = np.arange(len(judged))
    if train.any() and not train.all():
        return _some(every[train]), _some(every[~train])
    return _some(every), _some(every)


def _some(queries: Longs) -> Longs:
    if len(queries) <= MOST:
        return queries
    return np.sort(np.random.default_rng(0).choice(queries, MOST, replace=False))


def _tried(
    scene: Scene, way: Way, metric: str, tuned: Longs, measured: Longs, values: dict[str, dict[str, Floats]], seed: int
) -> WayResult:
    begun = time.perf_counter()
    values[way.name], picked = _measured(scene, way, metric, tuned, measured)
    return _result(way.name, values[way.name], values["plain"], metric, picked, time.perf_counter() - begun, seed)


def _best(results: Sequence[WayResult], metric: str, among: Sequence[str] | None = None) -> WayResult:
    """The best of the ways that helped, else the plain one."""
    helped = [result for result in results if result.helped and (among is None or result.name in among)]
    return max(helped, key=lambda result: result.metrics[metric].value, default=results[0])


def _measured(
    scene: Scene, way: Way, metric: str, tuned: Longs, measured: Longs
) -> tuple[dict[str, Floats], Mapping[str, Any]]:
    """Every metric of each measured query, under settings chosen without it; and the settings best on all that is tuned on."""
    apart = not np.intersect1d(tuned, measured).size
    if len(way.settings) == 1:
        return _values(scene, way, way.settings[0], measured), way.settings[0]
    tables = [_values(scene, way, setting, tuned) for setting in way.settings]
    scores_SQ = np.stack([table[metric] for table in tables])
    best = int(scores_SQ.mean(1).argmax())
    if apart:
        return _values(scene, way, way.settings[best], measured), way.settings[best]
    picked_Q = np.empty(len(measured), np.int64)
    fold_Q = scene.fold[measured]
    for fold in np.unique(fold_Q):
        others = fold_Q != fold
        picked_Q[~others] = scores_SQ[:, others].mean(1).argmax() if others.any() else 0
    rows = np.arange(len(measured))
    return {name: np.stack([t[name] for t in tables])[picked_Q, rows] for name in METRICS}, way.settings[best]


def _values(scene: Scene, way: Way, setting: Mapping[str, Any], chosen: Longs) -> dict[str, Floats]:
    shown, ideal = scene.relevance(way.rank(chosen, setting), chosen), scene.ideal(chosen)
    count = (ideal > 0).sum(1)
    values = {
        "accuracy@5": rank.accuracy_at(shown, 5),
        "mrr": rank.reciprocal_rank(shown),
        "ndcg@10": rank.ndcg_at(shown, 10, ideal),
    }
    return values | {f"recall@{k}": rank.recall_at(shown, k, count) for k in (1, 5, 10, 100)}


def _result(
    name: str,
    table: dict[str, Floats],
    plain: dict[str, Floats],
    metric: str,
    picked: Mapping[str, Any],
    seconds: float,
    seed: int,
) -> WayResult:
    metrics = {m: rank.query_interval(table[m], seed) for m in METRICS}
    gain = None if name == "plain" else rank.paired_interval(table[metric], plain[metric], seed)
    helped = gain is not None and gain.low is not None and gain.low > 0
    return WayResult(name, "measured", "", metrics, gain, helped, picked, seconds)


def _why(best: WayResult, results: Sequence[WayResult], metric: str) -> str:
    plain = results[0].metrics[metric].value
    if best.name == "plain":
        return f"No way is better than the plain search ({metric} {plain:.3f}) beyond what chance explains."
    assert best.gain is not None and best.gain.low is not None and best.gain.high is not None
    return (
        f"{best.name} raises {metric} from {plain:.3f} to {best.metrics[metric].value:.3f} on the same {best.gain.n:,} queries: by "
        f"{best.gain.value:+.3f} ({best.gain.low:+.3f} to {best.gain.high:+.3f})."
    )


def _groups(scene: Scene, measured: Longs, table: dict[str, Floats], seed: int) -> dict[str, dict[str, Interval]]:
    names = np.array([scene.judged[query].group for query in measured.tolist()])
    if len(set(names)) < 2:
        return {}
    return {
        str(name): {m: rank.query_interval(table[m][names == name], seed) for m in METRICS}
        for name in sorted(set(names))
    }


def _worst(
    scene: Scene, way: Way, best: WayResult, measured: Longs, values: Mapping[str, dict[str, Floats]], metric: str
) -> tuple[QueryScore, ...]:
    """The queries that come off worst, with what was found first."""
    order = np.argsort(values[best.name][metric], kind="stable")[:WORST]
    rankings = way.rank(measured[order], best.settings)
    scores = []
    for row, ranking in zip(order.tolist(), rankings, strict=True):
        query = int(measured[row])
        first = [
            (scene.index.ids[scene.positions[place]], place in scene.gains[query]) for place in ranking[:SHOWN].tolist()
        ]
        judged = scene.judged[query]
        value, plain = float(values[best.name][metric][row]), float(values["plain"][metric][row])
        scores.append(QueryScore(judged.text, judged.group, value, plain, tuple(first)))
    return tuple(scores)


def _adopt(index: OpenedIndex, ways: Ways, results: Sequence[WayResult], metric: str) -> bool:
    """Keep in the index the best of the ways that helped and can be kept, with what it has learned; whether there is one."""
    kept = [result for result in results if result.name.removesuffix(" + hybrid") in KEPT]
    best = _best([results[0], *kept], metric)
    if best.name == "plain":
        return False
    first, _, _ = best.name.partition(" + ")
    hybrid = best.settings["words"] if "hybrid" in best.name else None
    way = "plain" if first == "hybrid" else first
    chosen = next(result.settings for result in results if result.name == way)
    learned: dict[str, dict[str, NDArray[np.float32]]] = {}
    if way == "examples":
        queries = ways.learned(chosen)
        learned = {text: {view: q[i] for view, q in queries.items()} for i, text in enumerate(ways.scene.texts)}
    maps = ways.whole_map(chosen) if way == "map" else {}
    adopt_way(index.path, Adopted(way, chosen, hybrid, learned, maps))
    return True
