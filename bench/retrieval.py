"""How good search is on sets that others have measured: SciFact, STS-B, and whether "nothing matches" is right.

python bench/retrieval.py      writes bench/results/retrieval.json; two minutes with the vectors cached
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from graft import settings
from graft.data.read import read
from graft.judging.evaluation import judge
from graft.listings.searchable import read_judged
from graft.opened import open_encoder
from graft.results import to_json
from graft.retrieval.background import MATCH
from graft.retrieval.opened import OpenedIndex, open_index
from graft.verbs.index import index

RESULTS = Path(__file__).parent / "results" / "retrieval.json"
ASKED = 200  # questions of each foreign kind


def main() -> None:
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        opened = {name: _indexed(name, Path(folder)) for name in ("scifact", "flickr8k_1000", "streamcatalogue")}
        found = {
            "date": datetime.now(UTC).date().isoformat(),
            "processor": settings.processor(),
            "scifact": to_json(replace(judge(opened["scifact"], "data:scifact"), index="scifact", worst=())),
            "stsb": _stsb(),
            "matches": [_matches(index, name) for name, index in opened.items()],
        }
    found["seconds"] = round(time.perf_counter() - started, 1)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _indexed(name: str, folder: Path) -> OpenedIndex:
    index(f"data:{name}", out=folder / name)
    return open_index(folder / name)


def _stsb() -> dict[str, Any]:
    """Spearman's correlation of cosines with people's scores, on the test part, with a bootstrap interval over pairs."""
    from scipy.stats import spearmanr

    given = settings.data_dir()
    if given is None:
        sys.exit("GRAFT_DATA names the folder that holds stsb/")
    with (given / "stsb" / "stsb-en-test.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    texts, scores = [text for row in rows for text in row[:2]], np.array([float(row[2]) for row in rows])
    x_ND = open_encoder("minilm").encode(texts)
    x_ND /= np.linalg.norm(x_ND, axis=1, keepdims=True)
    cosines = (x_ND[::2] * x_ND[1::2]).sum(1)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(rows), len(rows)) for _ in range(1000)]
    low, high = np.quantile([spearmanr(cosines[draw], scores[draw]).statistic for draw in draws], [0.025, 0.975])
    return {
        "value": float(spearmanr(cosines, scores).statistic),
        "low": float(low),
        "high": float(high),
        "n": len(rows),
    }


def _matches(index: OpenedIndex, name: str) -> dict[str, Any]:
    """The share of questions of each kind that find a match in a collection; those of its own kind have an answer there."""
    (view, background), *_ = index.word_background.items()
    shares = {}
    for kind, texts in _questions().items():
        scores = index.search_vectors(index.encode_queries(texts, keep=True)[view], 1, view=view).scores[:, 0]
        shares[kind] = float((background.confidence(scores) >= MATCH).mean())
    return {"collection": name, "shares": shares}


def _questions() -> dict[str, Sequence[str]]:
    def some(texts: Sequence[Any]) -> list[str]:
        return [str(text) for text in texts[:: max(1, len(texts) // ASKED)][:ASKED]]

    return {
        "claims of SciFact": [judged.text for judged in read_judged("scifact") if judged.part == "test"],
        "captions of Flickr8k": some([judged.text for judged in read_judged("flickr8k_1000")]),
        "questions to a bank": some(read("data:banking77").contents),
        "sentences about films": some(read("data:sst2").contents),
        "news": some(read("data:ag_news").contents),
    }


if __name__ == "__main__":
    main()
