"""How well texts find pictures with the two bundled encoders, and what pairs and examples add.

    GRAFT_DATA=... python bench/bridges.py [flickr] [tiny]

Flickr8k: text to image among 300 photos, everything learned from 700 others, five splits. Tiny-ImageNet: accuracy@5 of its 200 labels as
queries on all 10,000 validation pictures, by names alone and by queries learned from 50 training pictures a label. Writes
bench/results/bridges.json.

Settings of learned bridges are chosen inside the 700. Their constants were set by cross-validation inside the 700 of split 0, whose photos are
test photos of other splits, and the spelling of class names and beta on all 1,000 and on Tiny-ImageNet's validation part: split 0
is the cleanest one. Weights of learned queries were chosen on training pictures held back.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.data.read import read
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.heads.base import softmax, unit_rows
from graft.heads.zero_shot import conse
from graft.judging.learning import LearnedQueries, learned_queries, mlp_queries, prototypes
from graft.listings.pairs import read_pairs
from graft.metrics.intervals import mean_interval
from graft.metrics.rank import accuracy_at, query_interval
from graft.results import to_json
from graft.retrieval.bridges import Ends, NamesBridge, names_bridge
from graft.retrieval.learned import Setting, _Pairs, _Search, fit_bridge, recalls
from graft.store.cache import VectorCache

RESULTS = Path(__file__).parent / "results" / "bridges.json"
SEEDS = range(5)
FloatArray = NDArray[np.float32]


class Conse:
    """ConSE as a bridge: pictures in the text space by their ten likeliest classes."""

    def __init__(self, names: NamesBridge) -> None:
        self.names = names

    def items(self, x_ND: FloatArray) -> FloatArray:
        return conse(self.names.items(x_ND), self.names.names_KT)

    def queries(self, q_QT: FloatArray) -> FloatArray:
        return unit_rows(q_QT)


def names_of(cache: VectorCache) -> NamesBridge:
    names = names_bridge(open_encoder("efficientnet-lite0"), cache=cache)
    assert names is not None
    return names


def flickr(cache: VectorCache) -> dict[str, Any]:
    """Recall@1, 5, 10 of each kind on the five splits, mean over splits with Student's interval."""
    pairs = read_pairs("data:flickr8k_1000")
    pictures, words, names = open_encoder("efficientnet-lite0"), open_encoder("minilm"), names_of(cache)
    x = encode(pairs.images, pictures, cache=cache).vectors
    q = unit_rows(encode(pairs.texts, words, cache=cache).vectors)
    ends, ids = Ends.of(words, pictures), np.array(pairs.ids)
    found: dict[str, list[NDArray[np.float64]]] = {}
    chosen, told = [], []
    for seed in SEEDS:
        split = json.loads((_splits() / f"flickr8k_1000_seed{seed}.json").read_text())
        train, held = np.isin(ids, split["train"]), np.isin(ids, split["test"])
        started = time.perf_counter()
        fit = fit_bridge(x[train], q[train], groups_N=pairs.groups[train], ends=ends, names=names, seed=seed)
        seconds = time.perf_counter() - started
        _, first, of = np.unique(pairs.groups[held], return_index=True, return_inverse=True)
        mine = _Pairs.of(x[train], q[train], pairs.groups[train])
        search = _Search(mine, ends, names, True, seed)
        settings_of = {c.kind: c.setting for c in fit.candidates}
        plain = {kind: Setting(kind, s.shrink, s.text_shrink) for kind, s in settings_of.items()}
        rivals: dict[str, Any] = {
            "names": names,
            "conse": Conse(names),
            "ridge": search.bridge(mine, settings_of["ridge"]),
            "cca without hubness and names": search.bridge(mine, plain["cca"]),
            "cca": search.bridge(mine, settings_of["cca"]),
            "contrastive": search.bridge(mine, settings_of["contrastive"]),
            "chosen": fit.bridge,
        }
        for name, bridge in rivals.items():
            values = recalls(bridge, x[held][first], q[held], of).mean(axis=0)
            found.setdefault(name, []).append(values)
        chosen.append({"seed": seed, "kind": fit.chosen, "settings": dict(fit.settings), "seconds": round(seconds, 1)})
        told.append(fit.why)
    table = {
        name: {f"recall@{k}": to_json(mean_interval([v[j] for v in values])) for j, k in enumerate((1, 5, 10))}
        | {"each_seed": [np.round(v, 4).tolist() for v in values]}
        for name, values in found.items()
    }
    gain = [float((c - r).mean()) for c, r in zip(found["chosen"], found["ridge"], strict=True)]
    return {
        "pool": 300,
        "recalls": table,
        "chosen": chosen,
        "why": told,
        "paired_gain_over_ridge": to_json(mean_interval(gain)),
    }


def tiny(cache: VectorCache) -> dict[str, Any]:
    """Accuracy@5 a label, mean over 200 labels with the bootstrap's interval over labels."""
    data = read("data:tiny_imagenet")
    pictures, words, names = open_encoder("efficientnet-lite0"), open_encoder("minilm"), names_of(cache)
    x = encode(data.contents, pictures, ids=data.ids, cache=cache).vectors
    assert data.test_mask is not None
    test = data.test_mask
    texts = data.class_descriptions()
    items, labels = names.items(x[test]), data.labels[test]
    examples, y, seen = x[~test], data.labels[~test], names.items(x[~test])
    rows: dict[str, Any] = {}

    def note(name: str, scores_QN: FloatArray, **more: Any) -> None:
        top_QK = np.argsort(-scores_QN, axis=1, kind="stable")[:, :5]
        share_Q = accuracy_at(labels[top_QK] == np.arange(len(texts))[:, None], 5)
        poor = {texts[c]: float(share_Q[c]) for c in np.flatnonzero(share_Q < 0.8 - 1e-9)}
        rows[name] = {"accuracy@5": to_json(query_interval(share_Q, 0)), "below_.8": len(poor), "poor": poor} | more
        print(f"  {name}: {share_Q.mean():.4f}, {len(poor)} labels below .8", flush=True)

    def said(prompt: str) -> FloatArray:
        asked = [prompt.format(text) for text in texts]
        return unit_rows(encode(asked, words, cache=cache, remember=False).vectors)

    for prompt in ("{}", "a {}", "a photo of a {}", "{} photo"):
        note(f"names bridge, {prompt!r}", names.queries(said(prompt)) @ items.T)
    q = said("{}")
    note("conse", q @ conse(items, names.names_KT).T)
    classifier = pictures.classifier()
    assert classifier is not None
    whole = unit_rows(encode(classifier.names, words, cache=cache, remember=False).vectors)
    whole_QK = softmax(20 * q @ whole.T).astype(np.float32)
    note("names bridge, classes by all their names in one text, beta 20", whole_QK @ items.T)
    proto = prototypes(examples, y, len(texts))
    note("prototypes", proto @ unit_rows(x[test]).T)
    mlp = mlp_queries(q, examples, y)
    for alpha in (1.0, 0.75, 0.5, 0.25):
        note(f"{alpha} * mlp + {1 - alpha} * prototype", (alpha * mlp + (1 - alpha) * proto) @ unit_rows(x[test]).T)
    asked = names.queries(q)
    ways: dict[str, dict[str, Any]] = {
        "learned from pictures": {},
        "learned from pictures and class probabilities": {"second_NM": seen},
        "learned from pictures, probabilities and the name": {"second_NM": seen, "text_QM": asked},
    }
    for name, more in ways.items():
        started = time.perf_counter()
        queries: LearnedQueries = learned_queries(examples, y, len(texts), **more)
        note(name, queries.scores(x[test], items), seconds=round(time.perf_counter() - started, 1))
    return {"labels": len(texts), "items": int(test.sum()), "examples_a_label": 50, "rows": rows}


def _splits() -> Path:
    data = settings.data_dir()
    assert data is not None, "GRAFT_DATA names the folder of public sets; its neighbour splits/ holds the splits"
    return data.parent / "splits"


def main() -> None:
    wanted = sys.argv[1:] or ["flickr", "tiny"]
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with VectorCache.open() as cache:
        for name in wanted:
            results[name] = {"flickr": flickr, "tiny": tiny}[name](cache)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if "flickr" in wanted:
        for name, row in results["flickr"]["recalls"].items():
            values = (row[f"recall@{k}"] for k in (1, 5, 10))
            print(f"  {name}: " + ", ".join(f"{v['value']:.3f} ({v['low']:.3f} to {v['high']:.3f})" for v in values))


if __name__ == "__main__":
    main()
