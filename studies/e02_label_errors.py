"""E2: label errors planted in clean sets, and how many of them confident learning finds.

Labels are made wrong in two ways: uniformly, and by the pair each class is most easily taken for. The doubted labels come from
out-of-fold probabilities of a linear probe, as `graft fit` makes them for its report.

Legend: N items, C classes, D dims.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds, percent, share_over_seeds

import graft
from graft.data.read import read
from graft.data.splits import take_shots
from graft.diagnostics.labels import doubtful
from graft.encoders.open import BUNDLED
from graft.heads.base import softmax

Vectors = NDArray[np.float32]
Codes = NDArray[np.int64]
KINDS = ("uniform", "pairs")  # any other class; the class that it is most easily taken for
SETS = {"data:neu_surface_defect": 270, "data:cifar10": 200, "data:ag_news": 500, "data:banking77": 26}  # items a class
QUICK = {"data:streamcatalogue": 20}


def measure(setting: Setting) -> Numbers:
    if setting.quick:
        sets, shares, seeds = QUICK, [0.1], range(1)
    else:
        sets, shares, seeds = SETS, [0.05, 0.1], range(5)
    found = {}
    for name, a_class in sets.items():
        dataset = read(name)
        ours = np.arange(len(dataset)) if dataset.test_mask is None else np.flatnonzero(~dataset.test_mask)
        rows = ours[take_shots(dataset.labels[ours], a_class, 0)]
        y_N = dataset.labels[rows]
        x_ND = graft.open_encoder(BUNDLED[dataset.modality]).encode([dataset.contents[i] for i in rows])
        partner_C = likeliest_other(out_of_fold(x_ND, y_N, 0), y_N)
        cells = {}
        for kind in KINDS:
            for share in shares:
                trials = [one_trial(x_ND, y_N, kind, share, partner_C, seed) for seed in seeds]
                cells[f"{kind} {share:.0%}"] = {
                    key: (over_seeds if key == "doubted" else share_over_seeds)([t[key] for t in trials])
                    for key in trials[0]
                }
        found[name] = {"items": len(rows), "classes": len(dataset.classes), "planted": cells}
    return {"seeds": list(seeds), "sets": found}


def out_of_fold(x_ND: Vectors, y_N: Codes, seed: int) -> NDArray[np.float64]:
    """Calibrated probabilities (N, C) of items that the probe giving them did not learn from."""
    probe = graft.TransferClassifier(strategies=["linear-probe"], folds=5, random_state=seed).fit(x_ND, y_N)
    logits_NC = probe.selection_.oof_logits_NC
    assert logits_NC is not None
    return softmax(logits_NC / np.float64(probe.temperature_))


def likeliest_other(p_NC: NDArray[np.float64], y_N: Codes) -> Codes:
    """(C,) the class each class is most easily taken for: the second largest mean probability of its items."""
    mean_CC = np.stack([p_NC[y_N == c].mean(axis=0) for c in range(p_NC.shape[1])])
    np.fill_diagonal(mean_CC, -1)
    partner_C: Codes = mean_CC.argmax(axis=1)
    return partner_C


def plant(y_N: Codes, kind: str, share: float, partner_C: Codes, rng: np.random.Generator) -> tuple[Codes, Codes]:
    """Labels of which `share` are wrong, and the positions of the wrong ones."""
    wrong = rng.permutation(len(y_N))[: round(share * len(y_N))]
    n_classes = len(partner_C)
    given_N = y_N.copy()
    step = rng.integers(1, n_classes, len(wrong))
    given_N[wrong] = (y_N[wrong] + step) % n_classes if kind == "uniform" else partner_C[y_N[wrong]]
    return given_N, wrong


def one_trial(x_ND: Vectors, y_N: Codes, kind: str, share: float, partner_C: Codes, seed: int) -> dict[str, float]:
    """Shares found among the first doubted, as many as were planted; among all doubted; and by a plain ranking and by chance."""
    given_N, wrong = plant(y_N, kind, share, partner_C, np.random.default_rng(seed))
    p_NC = out_of_fold(x_ND, given_N, seed)
    doubted = doubtful(p_NC, given_N)
    first = doubted[: len(wrong)]
    plain = np.argsort(p_NC[np.arange(len(y_N)), given_N], kind="stable")[: len(wrong)]
    hits, all_hits = np.isin(first, wrong).sum(), np.isin(doubted, wrong).sum()
    return {
        "doubted": len(doubted) / len(wrong),
        "precision": float(hits / max(1, len(first))),
        "recall": float(hits / len(wrong)),
        "precision_of_all": float(all_hits / max(1, len(doubted))),
        "recall_of_all": float(all_hits / len(wrong)),
        "plain_ranking": float(np.isin(plain, wrong).mean()),
        "chance": len(wrong) / len(y_N),
    }


def present(numbers: Numbers) -> Page:
    tables: list[Table] = []
    lines: dict[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]] = {}
    for place, (name, found) in enumerate(numbers["sets"].items()):
        cells = found["planted"]
        tables.append(
            Table(
                f"**{name.removeprefix('data:')}**, {found['items']} items of {found['classes']} classes, {len(numbers['seeds'])} seeds. "
                "Precision and recall of the first doubted labels, as many as were planted; then of all that are doubted.",
                (
                    "wrong labels",
                    "precision",
                    "recall",
                    "all: precision",
                    "all: recall",
                    "doubted / planted",
                    "lowest p(given) first",
                    "chance",
                ),
                [
                    (
                        cell,
                        *(percent(row[key]) for key in ("precision", "recall", "precision_of_all", "recall_of_all")),
                        f"{row['doubted']['value']:.2f}",
                        percent(row["plain_ranking"]),
                        f"{100 * row['chance']['value']:.0f} %",
                    )
                    for cell, row in cells.items()
                ],
            )
        )
        for cell, row in cells.items():
            line = lines.setdefault(cell, ([], []))
            line[0].append((float(place), row["recall"]["value"]))
            line[1].append(ends(row["recall"]))
    every = [row for found in numbers["sets"].values() for row in found["planted"].values()]
    recall, plain = ([row[key]["value"] for row in every] for key in ("recall", "plain_ranking"))
    names = {float(i): name.removeprefix("data:").split("_")[0] for i, name in enumerate(numbers["sets"])}
    kinds = {
        kind: np.mean(
            [r["recall"]["value"] for f in numbers["sets"].values() for c, r in f["planted"].items() if kind in c]
        )
        for kind in KINDS
    }
    return Page(
        answer=(
            f"Of the planted errors {100 * min(recall):.0f} to {100 * max(recall):.0f} % are among the first labels doubted, as many as were planted "
            f"(mean {100 * np.mean(recall):.0f} %; lowest probability first: {100 * np.mean(plain):.0f} %)."
        ),
        reading=(
            f"Errors at random are found more often ({100 * kinds['uniform']:.0f} %) than errors by the pair a class is taken for "
            f"({100 * kinds['pairs']:.0f} %): where the wrong label is plausible, the model half agrees with it. Labels that were wrong before "
            "anything was planted count as false alarms here, so precision is a lower bound."
        ),
        tables=tables,
        figures={
            "recall_by_set.svg": line_chart(
                "Planted label errors found",
                Axis("data set", names),
                Axis("recall at the planted number", percent=True),
                [Line(cell, dots, bars) for cell, (dots, bars) in lines.items()],
            )
        },
    )


STUDY = Study(
    name="e02_label_errors",
    title="E2: label errors",
    question="How many wrong labels does confident learning find, and how many right ones does it doubt?",
    measure=measure,
    present=present,
    expected={
        "sets > data:neu_surface_defect > planted > pairs 10% > recall > value": about(0.91, 0.08),
        "sets > data:cifar10 > planted > pairs 10% > recall > value": about(0.73, 0.06),
        "sets > data:ag_news > planted > uniform 10% > recall > value": about(0.73, 0.06),
        "sets > data:banking77 > planted > uniform 10% > recall > value": about(0.75, 0.07),
        "sets > data:banking77 > planted > uniform 10% > plain_ranking > value": about(0.93, 0.04),
    },
    expected_quick={
        "sets > data:streamcatalogue > planted > uniform 10% > recall > value": about(0.6, 0.2),
        "sets > data:streamcatalogue > planted > uniform 10% > plain_ranking > value": about(0.75, 0.2),
    },
)

if __name__ == "__main__":
    main(STUDY)
