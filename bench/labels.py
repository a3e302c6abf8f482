"""Confident learning beside cleanlab on the same probabilities: the same labels doubted, and how long it takes.

    GRAFT_DATA=... PYTHONPATH=... python bench/labels.py      needs `pip install cleanlab` (2.9.0 was measured)

Labels of clean sets are made wrong, 5 and 10 % of them: any other class, or the one that the class is most easily taken for. Out-of-fold
probabilities of a linear probe are made once and given to both. cleanlab prunes by noise rate and ranks by normalised margin, as Graft
does. Precision and recall are those of the first doubted, as many as were planted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from graft.data.read import read
from graft.diagnostics.labels import confident_joint, doubtful, in_whole_items
from graft.encoders.open import BUNDLED, open_encoder
from graft.encoding import encode
from graft.fitting.session import environment
from graft.heads.base import softmax
from graft.selection.select import Candidate, select
from graft.store.cache import VectorCache
from graft.store.files import write_json
from graft.strategies.frozen import Task

RESULTS = Path(__file__).parent / "results" / "labels.json"
SETS = {"neu_surface_defect": 1_000, "ag_news": 1_500}  # training items, drawn at random
SHARES = (0.05, 0.1)
KINDS = ("uniform", "pairs")
ROUNDS = 9


def quickest(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and the least of its processor seconds over the rounds."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        result = work()
        seconds.append(time.process_time() - started)
    return result, min(seconds)


def out_of_fold(x_ND: Any, y_N: Any, seed: int) -> Any:
    """Probabilities (N, C) by a linear probe that had not learned from the item."""
    task = Task(int(y_N.max()) + 1)
    found = select([Candidate("", x_ND, task)], y_N, strategies=["linear-probe"], folds=5, seed=seed)
    assert found.oof_logits_NC is not None
    return softmax(found.oof_logits_NC)


def taken_for(x_ND: Any, y_N: Any) -> Any:
    """(C,) the class each class is most easily taken for: the second largest mean probability of its items."""
    p_NC = out_of_fold(x_ND, y_N, 0)
    mean_CC = np.stack([p_NC[y_N == c].mean(axis=0) for c in range(p_NC.shape[1])])
    np.fill_diagonal(mean_CC, -1)
    return mean_CC.argmax(axis=1)


def one(x_ND: Any, y_N: Any, partner_C: Any, kind: str, share: float, seed: int) -> dict[str, Any]:
    """Both on the same planted errors."""
    from cleanlab.count import compute_confident_joint
    from cleanlab.filter import find_label_issues

    rng = np.random.default_rng(seed)
    n, n_classes = len(y_N), int(y_N.max()) + 1
    wrong = rng.permutation(n)[: round(share * n)]
    given_N = y_N.copy()
    other_N = (y_N[wrong] + rng.integers(1, n_classes, len(wrong))) % n_classes
    given_N[wrong] = other_N if kind == "uniform" else partner_C[y_N[wrong]]
    p_NC = out_of_fold(x_ND, given_N, seed)
    ours, our_seconds = quickest(lambda: doubtful(p_NC, given_N))
    theirs, their_seconds = quickest(
        lambda: find_label_issues(given_N, p_NC, return_indices_ranked_by="normalized_margin", n_jobs=1)
    )
    joint = compute_confident_joint(given_N, p_NC, calibrate=True)  # in whole items
    first, their_first = ours[: len(wrong)], theirs[: len(wrong)]
    return {
        "items": n,
        "planted": len(wrong),
        "precision": float(np.isin(first, wrong).sum() / max(1, len(first))),
        "recall": float(np.isin(first, wrong).sum() / len(wrong)),
        "cleanlab_precision": float(np.isin(their_first, wrong).sum() / max(1, len(their_first))),
        "cleanlab_recall": float(np.isin(their_first, wrong).sum() / len(wrong)),
        "doubted": len(ours),
        "cleanlab_doubted": len(theirs),
        "both": int(np.isin(ours, theirs).sum()),
        "joint_differs_by": int(np.abs(in_whole_items(confident_joint(p_NC, given_N) * n) - joint).max()),
        "seconds": our_seconds,
        "cleanlab_seconds": their_seconds,
    }


def main() -> None:
    """Both on every set and share."""
    rows = {}
    for name, most in SETS.items():
        dataset = read(f"data:{name}")
        train = np.arange(len(dataset)) if dataset.test_mask is None else np.flatnonzero(~dataset.test_mask)
        used = dataset.take(np.sort(np.random.default_rng(0).permutation(train)[:most]))
        with VectorCache.open() as cache:
            x_ND = encode(used.contents, open_encoder(BUNDLED[used.modality]), cache=cache).vectors
        partner_C = taken_for(x_ND, used.labels)
        for kind in KINDS:
            for share in SHARES:
                row = rows[f"{name}, {kind} {share:.0%}"] = one(x_ND, used.labels, partner_C, kind, share, 0)
                print(name, kind, share, row, flush=True)
    write_json(RESULTS, {"date": time.strftime("%Y-%m-%d"), "machine": environment(), "rows": rows})


if __name__ == "__main__":
    main()
