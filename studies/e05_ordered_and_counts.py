"""E5: ordered and count targets on embeddings, by heads made for them and by plain ones.

Every way learns from the same vectors; penalties and k are chosen on folds of the training part, the scores are of a test part, over
seeds. Levels: a proportional-odds head beside one that ignores the order (a linear probe) and one that ignores that they are levels
(ridge, rounded). Counts: a Poisson head beside ridge, whose answers are kept above a tenth.

Legend: N items, D dims, K columns of answers.
"""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds

import graft
from graft.data.dataset import ImageSource, Target
from graft.data.images import decode
from graft.data.read import read
from graft.data.splits import folds
from graft.data.targets import strata
from graft.heads import conformal
from graft.targets.contest import Trial, measured, refitted
from graft.targets.kinds import KINDS, contenders

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
PAIRS, NEWS, CANVASES, MOST_DIGITS = 800, 500, 300, 9
LEVELS = 6  # of stsb's scores 0 to 5
COVERAGE = 0.9
HEADLINES = {"number": "R²", "ordinal": "kappa", "count": "D²"}
WAYS = {
    "number": ("constant", "k-nn", "ridge"),
    "ordinal": ("constant", "k-nn", "proportional odds", "linear probe, no order", "ridge, rounded"),
    "count": ("constant", "k-nn", "poisson", "ridge, above 0.1"),
}


def measure(setting: Setting) -> Numbers:
    seeds = range(1) if setting.quick else range(3)
    sets = _quick() if setting.quick else {**_pairs(), **_news(), **_canvases()}
    found = {}
    for name, (task, x_ND, y_N) in sets.items():
        trials = [one_trial(task, x_ND, y_N, seed) for seed in seeds]
        ways = {
            way: {score: over_seeds([t[way][score] for t in trials]) for score in trials[0][way]} for way in WAYS[task]
        }
        head = WAYS[task][2]
        gains = {way: over_seeds([t[head]["main"] - t[way]["main"] for t in trials]) for way in WAYS[task]}
        found[name] = {
            "task": task,
            "items": len(y_N),
            "mean": float(y_N.mean()),
            "ways": ways,
            "gain": gains,
            "covered": over_seeds([t["covered"]["share"] for t in trials]),
        }
    return {"seeds": list(seeds), "coverage": COVERAGE, "sets": found}


def one_trial(task: str, x_ND: Vectors, y_N: Floats, seed: int) -> dict[str, dict[str, float]]:
    """Scores of every way on a test part of three tenths; "main" is R², D² or kappa."""
    order = np.random.default_rng(seed).permutation(len(y_N))
    held, learn = order[: 3 * len(order) // 10], order[3 * len(order) // 10 :]
    y_NK = np.eye(LEVELS)[y_N.astype(np.int64)] if task == "ordinal" else y_N[:, None]
    own = _measured(task, x_ND[learn], y_NK[learn], seed)
    heads = [refitted(trial, x_ND[learn], y_NK[learn]) for trial in own]
    answers = {way: head.predict(x_ND[held]) for way, head in zip(WAYS[task], heads, strict=False)}
    if task != "number":
        ridge = _measured("number", x_ND[learn], y_N[learn, None], seed)[2]
        plain = refitted(ridge, x_ND[learn], y_N[learn, None]).predict(x_ND[held])
        if task == "count":
            answers["ridge, above 0.1"] = np.maximum(plain, 0.1)
        else:
            answers["ridge, rounded"] = np.eye(LEVELS)[np.round(plain[:, 0]).clip(0, LEVELS - 1).astype(np.int64)]
            probe = graft.TransferClassifier(strategies=["linear-probe"], folds=5, random_state=seed)
            probe.fit(x_ND[learn], y_N[learn].astype(np.int64))
            answers["linear probe, no order"] = np.zeros((len(held), LEVELS))
            answers["linear probe, no order"][:, probe.classes_] = probe.predict_proba(x_ND[held])
    scores = {way: _scores(task, y_NK[held], p_NK) for way, p_NK in answers.items()}
    kind = KINDS[task]
    assert kind.misses is not None
    assert kind.interval is not None
    reach = conformal.reach(kind.misses(y_NK[learn], own[2].answers_NK), COVERAGE)
    assert reach is not None
    low_N, high_N = kind.interval(answers[WAYS[task][2]], reach)
    return {**scores, "covered": {"share": float(((low_N <= y_N[held]) & (y_N[held] <= high_N)).mean())}}


def _measured(task: str, x_ND: Vectors, y_NK: Floats, seed: int) -> list[Trial]:
    """The contenders of a kind on five folds of these items: constant, k-nn and its own head."""
    codes = strata(Target(task, y_NK), np.ones(len(y_NK), np.bool_))
    plan = folds(codes, None, 5, 1, np.random.default_rng(seed))
    return [measured(contender, "", x_ND, y_NK, plan, KINDS[task]) for contender in contenders(KINDS[task])]


def _scores(task: str, y_NK: Floats, p_NK: Floats) -> dict[str, float]:
    """The measures of a kind, and as "main" the one that a reader knows best."""
    scores = {name: of.value for name, of in KINDS[task].scores(y_NK, p_NK, np.empty(0), 0).items()}
    return {"main": scores[{"number": "r2", "ordinal": "kappa", "count": "d2"}[task]], **scores}


Sets = dict[str, tuple[str, Vectors, Floats]]


def _pairs() -> Sets:
    """Pairs of sentences with a similarity of 0 to 5: |a - b| and a * b side by side; as a number, and rounded as levels."""
    path = Path(os.environ["GRAFT_DATA"]) / "stsb" / "stsb-en-train.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    chosen = [rows[i] for i in np.random.default_rng(0).permutation(len(rows))[:PAIRS]]
    vectors = graft.open_encoder("minilm").encode([sentence for row in chosen for sentence in row[:2]])
    a_ND, b_ND = vectors[::2], vectors[1::2]
    x_ND = np.hstack([np.abs(a_ND - b_ND), a_ND * b_ND])
    score_N = np.array([float(row[2]) for row in chosen])
    levels_N = np.floor(score_N + 0.5)
    return {
        "similarity of sentences": ("number", x_ND, score_N),
        "similarity as six levels": ("ordinal", x_ND, levels_N),
    }


def _news() -> Sets:
    """How many words a news text has."""
    dataset = read("data:ag_news")
    texts = [str(dataset.contents[i]) for i in np.random.default_rng(0).permutation(len(dataset))[:NEWS]]
    return {"words in a news text": _words(texts)}


def _words(texts: list[str]) -> tuple[str, Vectors, Floats]:
    return "count", graft.open_encoder("minilm").encode(texts), np.array([float(len(text.split())) for text in texts])


def _canvases() -> Sets:
    """Pictures with 0 to 9 handwritten digits, four a side at most, in places drawn at random."""
    dataset, rng = read("data:mnist"), np.random.default_rng(0)
    counts = np.minimum(rng.poisson(3, CANVASES), MOST_DIGITS)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for place, count in enumerate(counts):
            canvas = np.zeros((112, 112), np.uint8)
            for cell, item in zip(rng.permutation(16)[:count], rng.integers(0, len(dataset), count), strict=True):
                source = dataset.contents[item]
                assert isinstance(source, ImageSource)
                digit = np.asarray(decode(source.read_bytes()).convert("L"))
                row, column = 28 * (cell // 4), 28 * (cell % 4)
                canvas[row : row + 28, column : column + 28] = digit
            paths.append(Path(folder) / f"{place}.png")
            Image.fromarray(canvas).save(paths[-1])
        x_ND = graft.open_encoder("efficientnet-lite0").encode(paths)
    return {"digits in a picture": ("count", x_ND, counts.astype(np.float64))}


def _quick() -> Sets:
    """Words in 160 descriptions of films, as a count and as levels of length."""
    texts = [str(content) for content in read("data:streamcatalogue").contents[:160]]
    count, x_ND, words_N = _words(texts)
    levels_N = np.searchsorted(np.quantile(words_N, np.arange(1, LEVELS) / LEVELS), words_N, side="right")
    return {
        "words in a plot": (count, x_ND, words_N),
        "length as six levels": ("ordinal", x_ND, levels_N.astype(np.float64)),
    }


def present(numbers: Numbers) -> Page:
    sets = numbers["sets"]
    tables = []
    for name, found in sets.items():
        task = found["task"]
        second = {
            "number": ("RMSE", "rmse"),
            "ordinal": ("ranked probability score", "rps"),
            "count": ("deviance", "poisson_deviance"),
        }[task]
        tables.append(
            Table(
                f"**{name}** ({task}), {found['items']} items, {len(numbers['seeds'])} seeds; intervals at {numbers['coverage']:.0%} held the "
                f"truth of {_number(found['covered'], 2)} of the test items.",
                ("way", HEADLINES[task], second[0], f"{HEADLINES[task]}: the head less this way"),
                [
                    (way, _number(scores["main"]), _number(scores[second[1]]), _number(found["gain"][way], sign=True))
                    for way, scores in found["ways"].items()
                ],
            )
        )
    shown = [way for task in WAYS for way in WAYS[task]]
    lines = []
    for way in dict.fromkeys(shown):
        cells = [(float(place), f["ways"][way]["main"]) for place, f in enumerate(sets.values()) if way in f["ways"]]
        if cells:
            lines.append(Line(way, [(x, tree["value"]) for x, tree in cells], [ends(tree) for _, tree in cells]))
    answer = "; ".join(
        f"{name}: {WAYS[f['task']][2]} {HEADLINES[f['task']]} {_number(f['ways'][WAYS[f['task']][2]]['main'], 2)}, "
        f"k-nn {_number(f['ways']['k-nn']['main'], 2)}"
        + "".join(f", {way} {_number(f['ways'][way]['main'], 2)}" for way in WAYS[f["task"]][3:])
        for name, f in sets.items()
    )
    return Page(
        answer=f"{answer}.",
        reading=(
            "All ways read the same vectors. A difference whose interval over seeds holds 0 shows nothing: where the plain way is as good in the "
            "headline, the head for the target still gives what the plain one cannot, probabilities of levels or rates with intervals. Vectors are "
            "brought to length 1 before a head sees them."
        ),
        tables=tables,
        figures={
            "ways_by_set.svg": line_chart(
                "R², kappa or D² on test items",
                Axis("data", {float(place): name for place, name in enumerate(sets)}),
                Axis("R², kappa, D²"),
                lines,
            )
        },
    )


def _number(tree: Numbers, digits: int = 3, *, sign: bool = False) -> str:
    """A value with its interval over seeds."""
    form = f"{'+' if sign else ''}.{digits}f"
    between = "" if tree["low"] is None else f" ({tree['low']:{form}} to {tree['high']:{form}})"
    return f"{tree['value']:{form}}{between}".replace("-", "−")


STUDY = Study(
    name="e05_ordered_and_counts",
    title="E5: ordered and count targets",
    question="What do heads made for levels, counts and numbers get from embeddings, beside plain ones on the same vectors?",
    measure=measure,
    present=present,
    expected={
        "sets > digits in a picture > ways > poisson > main > value": about(0.94, 0.05),
        "sets > similarity as six levels > ways > proportional odds > main > value": about(0.56, 0.12),
        "sets > similarity as six levels > ways > linear probe, no order > main > value": about(0.37, 0.1),
        "sets > similarity of sentences > ways > ridge > main > value": about(0.34, 0.12),
        "sets > words in a news text > ways > poisson > main > value": about(0.0, 0.1),
    },
    expected_quick={
        "sets > words in a plot > ways > constant > main > value": about(0, 0.2),
    },
)

if __name__ == "__main__":
    main(STUDY)
