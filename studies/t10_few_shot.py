"""T10: nearest class mean with K labels a class (SimpleShot), and N-way K-shot episodes on classes that nothing was trained on.

`graft pretrain` makes the small networks, `graft.open_encoder` the vectors, `graft.heads.prototypes.PrototypeHead` answers with its three
normalisations (Wang et al. 2019): UN as they are, L2N of length 1, CL2N centred first. Legend: N items, D dims.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.drawn import Codes, accuracy, draw, small_network
from studies.study import Numbers, Page, Setting, Study, Table, about, ends, main, over_seeds, percent, points

from graft.heads.prototypes import PrototypeHead

KINDS = ("UN", "L2N", "CL2N")
SHOTS = (1, 5)
QUERIES = 15  # of each class in an episode, as is customary
BUNDLED = "efficientnet-lite0"
Vectors = NDArray[np.float32]


def measure(setting: Setting) -> Numbers:
    known: Sequence[int] | None = None  # classes of the source: all
    if setting.quick:
        source, target, pre = "data:digits", "data:digits", "epochs=3,channels=8"
        sizes, draws, known = (30, 30), 5, range(5)
    else:
        source, target, pre = "data:mnist", "data:fashion_mnist", "epochs=6,channels=16"
        sizes, draws = (100, 60), 100
    base, novel = range(5), range(5, 10)
    with tempfile.TemporaryDirectory() as folder:
        foreign, _ = small_network(draw(source, *sizes, 0, known), pre, 0, Path(folder) / "foreign")
        own = foreign  # the quick run's network learned the base classes
        if not setting.quick:
            own, _ = small_network(draw(target, *sizes, 0, base), pre, 0, Path(folder) / "own")
        encoders = {f"network of {source}": foreign, "network of the base classes": own, "bundled encoder": BUNDLED}
        encoders |= {"pixels": "pixels:16"}
        told = {name: one_encoder(reference, target, sizes, draws, base, novel) for name, reference in encoders.items()}
    del told["network of the base classes"]["all classes"]  # it was taught half of them
    return {"source": source, "target": target, "recipe": pre, "draws": draws, "sizes": list(sizes), "encoders": told}


def one_encoder(
    reference: str, target: str, sizes: tuple[int, int], draws: int, base: Sequence[int], novel: Sequence[int]
) -> dict[str, Any]:
    """Accuracies on all classes, and in episodes on the novel classes with the mean of the base classes at hand."""
    pool, test = draw(target, *sizes, 0)
    x_ND, test_ND = pool.vectors(reference), test.vectors(reference)
    of_base, of_novel = np.isin(pool.y_N, base), np.isin(pool.y_N, novel)
    centre_D = x_ND[of_base].mean(axis=0)
    novel_ND, y_N = (
        np.concatenate([x_ND[of_novel], test_ND[np.isin(test.y_N, novel)]]),
        np.concatenate([pool.y_N[of_novel], test.y_N[np.isin(test.y_N, novel)]]),
    )
    whole, episodes = {}, {}
    for shots in SHOTS:
        scores: dict[str, list[float]] = {kind: [] for kind in KINDS}
        for number in range(draws):
            chosen = support(pool.y_N, range(len(pool.classes)), shots, np.random.default_rng((shots, number)))
            for kind in KINDS:
                scores[kind].append(answered(kind, x_ND[chosen], pool.y_N[chosen], test_ND, test.y_N))
        whole[f"K={shots}"] = summary(scores)
        episodes[f"K={shots}"] = summary(in_episodes(novel_ND, y_N, novel, shots, draws, centre_D))
    return {"dims": int(x_ND.shape[1]), "all classes": whole, "episodes": episodes}


def in_episodes(
    x_ND: Vectors, y_N: Codes, classes: Sequence[int], shots: int, draws: int, centre_D: Vectors
) -> dict[str, list[float]]:
    """Accuracy of each episode: K labelled items of each class, 15 others of each to be answered; also centred by the base classes."""
    scores: dict[str, list[float]] = {kind: [] for kind in (*KINDS, "CL2N, base mean")}
    for number in range(draws):
        rng = np.random.default_rng((7, shots, number))
        both = support(y_N, classes, shots + QUERIES, rng).reshape(len(classes), -1)
        learned, asked = both[:, :shots].ravel(), both[:, shots:].ravel()
        codes_N = np.searchsorted(classes, y_N)
        for kind in KINDS:
            scores[kind].append(answered(kind, x_ND[learned], codes_N[learned], x_ND[asked], codes_N[asked]))
        moved = x_ND - centre_D
        score = answered("L2N", moved[learned], codes_N[learned], moved[asked], codes_N[asked])
        scores["CL2N, base mean"].append(score)
    return scores


def support(y_N: Codes, classes: Sequence[int], count: int, rng: np.random.Generator) -> Codes:
    """`count` positions of each class, class by class."""
    return np.concatenate([rng.permutation(np.flatnonzero(y_N == c))[:count] for c in classes])


def answered(kind: str, x_ND: Vectors, y_N: Codes, asked_ND: Vectors, truth_N: Codes) -> float:
    """Accuracy of prototypes of the labelled items on others."""
    head = PrototypeHead(normalisation=kind).fit(x_ND, y_N, int(truth_N.max()) + 1)
    return accuracy(head.logits(asked_ND), truth_N)


def summary(scores: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Mean over draws with its 95 % interval, and the paired gain over UN."""
    first = np.array(scores["UN"])
    return {
        kind: {"accuracy": over_seeds(values), "over_UN": over_seeds((np.array(values) - first).tolist())}
        for kind, values in scores.items()
    }


def present(numbers: Numbers) -> Page:
    encoders = numbers["encoders"]
    tables = []
    for part, what in (
        ("all classes", f"All classes of {numbers['target']}, {numbers['draws']} draws of K labels a class."),
        (
            "episodes",
            f"5-way episodes on the second half of the classes, {numbers['draws']} of them with {QUERIES} questions a class. "
            "CL2N is centred by the labelled items at hand; base mean: by pictures of the other half, as in the paper.",
        ),
    ):
        kinds = (*KINDS, "CL2N, base mean") if part == "episodes" else KINDS
        tables.append(
            Table(
                what,
                ("vectors of", "K", *kinds, *(f"{kind} over UN (points, paired)" for kind in kinds[2:])),
                [
                    (
                        f"{name} ({found['dims']})",
                        shots.removeprefix("K="),
                        *(percent(row[kind]["accuracy"]) for kind in kinds),
                        *(points(row[kind]["over_UN"]) for kind in kinds[2:]),
                    )
                    for name, found in encoders.items()
                    if part in found
                    for shots, row in found[part].items()
                ],
            )
        )
    lines = []
    for name, found in encoders.items():
        for shots, row in found["episodes"].items():
            scored = [each["accuracy"] for each in row.values()]
            spots = [(float(i), each["value"]) for i, each in enumerate(scored)]
            short = name.removeprefix("network of ").removesuffix(" encoder")
            lines.append(Line(f"{short}, {shots}", spots, [ends(each) for each in scored], dashed=shots == "K=1"))
    kinds = ("UN", "L2N", "CL2N", "CL2N, base")
    figure = line_chart(
        "5-way episodes on novel classes",
        Axis("normalisation", {float(i): kind for i, kind in enumerate(kinds)}),
        Axis("accuracy", percent=True),
        lines,
    )
    first, bundled = next(iter(encoders.values())), encoders["bundled encoder"]
    own = encoders["network of the base classes"]["episodes"]
    best = {k: max(KINDS, key=lambda kind: first["all classes"][k][kind]["accuracy"]["value"]) for k in ("K=1", "K=5")}
    small = ", ".join(f"{k} {percent(first['all classes'][k][best[k]]['accuracy'])} ({best[k]})" for k in best)
    large = ", ".join(f"{k} {percent(bundled['all classes'][k]['CL2N']['accuracy'])}" for k in best)
    large_episodes = bundled["episodes"]
    over = {
        kind: ", ".join(f"{k} {points(large_episodes[k][kind]['over_UN'])}" for k in best)
        for kind in ("CL2N", "CL2N, base mean")
    }
    return Page(
        answer=f"All classes, {next(iter(encoders))}: {small}; bundled encoder with CL2N: {large}.",
        reading=(
            f"In episodes with the bundled encoder, CL2N centred by the labelled items is over UN by {over['CL2N']} points, centred by the base "
            f"classes by {over['CL2N, base mean']}. The base classes are "
            "five, on Fashion-MNIST all of them clothes, and their mean need not be the middle of the others. "
            f"A network that learned these five reaches {percent(own['K=1']['CL2N']['accuracy'])} and {percent(own['K=5']['CL2N']['accuracy'])} (CL2N). "
            "Wang et al. (2019), centring by 64 base classes, report for a four-layer network on miniImageNet "
            "that L2N and CL2N gain most with one label and little with five; other pictures and another network, so only the direction "
            "can be compared. Intervals are over draws of labels and questions; the networks are one each, and small, for a two-core machine."
        ),
        tables=tables,
        figures={"episodes.svg": figure},
    )


STUDY = Study(
    name="t10_few_shot",
    title="T10: few-shot by class means",
    question="What do UN, L2N and CL2N get from one and five labels a class, on a set and on classes that nothing was trained on?",
    measure=measure,
    present=present,
    expected={
        "encoders > network of data:mnist > all classes > K=5 > CL2N > accuracy > value": about(0.455, 0.05),
        "encoders > bundled encoder > all classes > K=1 > CL2N > over_UN > value": about(0.033, 0.02),
        "encoders > bundled encoder > all classes > K=5 > CL2N > accuracy > value": about(0.741, 0.03),
        "encoders > bundled encoder > episodes > K=1 > CL2N > over_UN > value": about(0.046, 0.03),
        "encoders > bundled encoder > episodes > K=1 > CL2N, base mean > over_UN > value": about(-0.016, 0.03),
        "encoders > network of the base classes > episodes > K=5 > CL2N > accuracy > value": about(0.733, 0.07),
    },
    expected_quick={
        "encoders > network of data:digits > all classes > K=5 > CL2N > accuracy > value": about(0.72, 0.12),
        "encoders > bundled encoder > all classes > K=5 > CL2N > accuracy > value": about(0.61, 0.08),
    },
)

if __name__ == "__main__":
    main(STUDY)
