"""E10: which distances are metrics, by counter-example, and how often the triangle inequality fails where people use them.

Each distance is tried on small round points, whose counter-examples can be checked by hand, and on random ones. Finding none
proves nothing by itself; that the distances without one are metrics is known from the literature.

Legend: N points, D dims.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, main, share_over_seeds

import graft
from graft.data.read import read
from graft.encoders.open import BUNDLED
from graft.metrics.distance import DISTANCES, AxiomReport, Distance, metric_axioms, sample_points

Floats = NDArray[np.float64]
AXIOMS = ("identity", "positivity", "symmetry", "triangle")
OF_DIRECTIONS = ("cosine", "angular", "euclidean of unit vectors")  # blind to length: tried on unit vectors as well
FOLLOWED = ("squared euclidean", "minkowski 1/2", "cosine", "kl divergence", "js divergence", "dice")
USED = ("euclidean", "squared euclidean", "cosine", "angular")


def measure(setting: Setting) -> Numbers:
    dims, seeds, n = ([2, 8], range(1), 40) if setting.quick else ([2, 4, 8, 16, 32, 64, 128], range(5), 90)
    sets = (
        ["data:digits"]
        if setting.quick
        else ["data:banking77", "data:cifar10", "data:ag_news", "data:neu_surface_defect"]
    )
    on_unit = [replace(DISTANCES[name], name=f"{name}, unit vectors", domain="directions") for name in OF_DIRECTIONS]
    rng = np.random.default_rng(0)
    tried = {}
    for distance in (*DISTANCES.values(), *on_unit):
        by_hand = metric_axioms(distance, round_points(distance.domain))
        drawn = metric_axioms(distance, random_points(distance.domain, n, rng))
        tried[distance.name] = found(distance, by_hand, drawn)
    by_dim = {}
    for name in FOLLOWED:
        shares = {
            dim: [share_failed(DISTANCES[name], spread_points(DISTANCES[name].domain, n, dim, seed)) for seed in seeds]
            for dim in dims
        }
        by_dim[name] = {dim: share_over_seeds(values) for dim, values in shares.items()}
    real = {}
    for data in sets:
        dataset = read(data)
        encoder = "pixels:8" if setting.quick else BUNDLED[dataset.modality]
        rows = [np.random.default_rng(seed).permutation(np.flatnonzero(dataset.labels >= 0))[:n] for seed in seeds]
        vectors = [
            graft.open_encoder(encoder).encode([dataset.contents[i] for i in r]).astype(np.float64) for r in rows
        ]
        real[f"{data.removeprefix('data:')}, {encoder}"] = {
            name: share_over_seeds([share_failed(DISTANCES[name], x_ND) for x_ND in vectors]) for name in USED
        }
    return {"points": n, "seeds": list(seeds), "distances": tried, "by_dimension": by_dim, "encoded": real}


def round_points(domain: str) -> Floats:
    """Points a person can check: small integers, eighths that sum to 1, three bits, directions every 15 degrees."""
    if domain == "directions":
        turns = np.deg2rad(np.arange(0, 181, 15))
        return np.stack([np.cos(turns), np.sin(turns)], axis=1)
    if domain == "distributions":
        return np.array([p for p in product(range(1, 7), repeat=3) if sum(p) == 8]) / 8.0
    drawn = np.array(list(product(range(2), repeat=3) if domain == "bits" else product(range(-2, 4), repeat=2)), float)
    return drawn[drawn.any(axis=1)]


def random_points(domain: str, n: int, rng: np.random.Generator) -> Floats:
    if domain == "directions":
        x_ND = rng.normal(size=(n, 3))
        return np.asarray(x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True))
    return sample_points(domain, n, 6 if domain == "bits" else 3, rng)


def spread_points(domain: str, n: int, dim: int, seed: int) -> Floats:
    """Independent random points, without the midpoints that `sample_points` adds."""
    rng = np.random.default_rng([seed, dim])
    return rng.normal(size=(n, dim)) if domain == "vectors" else sample_points(domain, n, dim, rng)


def found(distance: Distance, by_hand: AxiomReport, drawn: AxiomReport) -> dict[str, Any]:
    """The failures of each axiom, the readable counter-example first."""
    broken = {axiom: getattr(by_hand, axiom) or getattr(drawn, axiom) for axiom in AXIOMS}
    return {
        "formula": distance.formula,
        "points": distance.domain,
        "metric": int(by_hand.is_metric and drawn.is_metric),
        "broken": broken,
    }


def share_failed(distance: Distance, x_ND: Floats) -> float:
    """Share of the triples of different points for which the detour is shorter than the direct way."""
    broken = metric_axioms(distance, x_ND).triangle
    return broken.failures / broken.tries if broken else 0.0


def present(numbers: Numbers) -> Page:
    tried, by_dim, real = numbers["distances"], numbers["by_dimension"], numbers["encoded"]
    marks = [
        (
            name,
            row["formula"],
            row["points"],
            *("fails" if row["broken"][axiom] else "holds" for axiom in AXIOMS),
            "yes" if row["metric"] else "no",
        )
        for name, row in tried.items()
    ]
    broken = [
        (name, axiom, words(axiom, seen))
        for name, row in tried.items()
        for axiom, seen in row["broken"].items()
        if seen
    ]
    shares = [(name, *(f"{100 * row[distance]['value']:.2f} %" for distance in USED)) for name, row in real.items()]
    metrics = [name for name, row in tried.items() if row["metric"]]
    cosine = [row["cosine"]["value"] for row in real.values()]
    squared = [row["squared euclidean"]["value"] for row in real.values()]
    figure = line_chart(
        "Triples of random points that break the triangle inequality",
        Axis("dimensions", {float(dim): dim for dim in by_dim["cosine"]}, log=True),
        Axis("share of triples", percent=True),
        [Line(name, [(float(dim), r["value"]) for dim, r in row.items()]) for name, row in by_dim.items()],
    )
    return Page(
        answer=(
            f"{len(metrics)} of {len(tried)} hold every axiom. Cosine distance, 1 − cos, breaks the triangle inequality even on unit "
            "vectors; the angle and the Euclidean distance of unit vectors do not."
        ),
        reading=(
            "What is no metric still ranks neighbours: on unit vectors cosine, angle and Euclidean distance give the same order. "
            "It matters for indexes that prune by the triangle inequality, and wherever distances are added. On encoded items the "
            f"inequality fails for {_range(cosine)} of the triples with cosine and for {_range(squared)} with squared Euclidean "
            "distance; among independent random points it fails less the more dimensions there are, as all lie about equally far apart."
        ),
        tables=[
            Table("", ("distance", "formula", "on", *AXIOMS, "metric"), marks),
            Table(
                "The worst counter-example of each axiom that fails.", ("distance", "axiom", "counter-example"), broken
            ),
            Table(
                f"Triples that break the triangle inequality among {numbers['points']} encoded items, draws: {len(numbers['seeds'])}.",
                ("items", *USED),
                shares,
            ),
        ],
        figures={"triangle_by_dimension.svg": figure},
    )


def _range(shares: list[float]) -> str:
    return f"{100 * min(shares):.2f} to {100 * max(shares):.2f} %"


def words(axiom: str, seen: dict[str, Any]) -> str:
    """A counter-example as a person would write it."""
    points = ["(" + ", ".join(f"{round(v, 9) + 0.0:.3g}" for v in point) + ")" for point in seen["points"]]
    x, y, z = [*points, "", ""][:3]
    left, right = (f"{seen[side]:.3g}".replace("-", "−") for side in ("left", "right"))
    return {
        "identity": f"d(x, x) = {left} for x = {x}",
        "positivity": f"d(x, y) = {right} for x = {x}, y = {y}",
        "symmetry": f"d(x, y) = {left} but d(y, x) = {right} for x = {x}, y = {y}",
        "triangle": f"d(x, z) = {left} > d(x, y) + d(y, z) = {right} for x = {x}, y = {y}, z = {z}",
    }[axiom].replace("-", "−")


METRICS = (
    "euclidean", "manhattan", "chebyshev", "mahalanobis", "canberra", "hamming", "jaccard", "root of js divergence", "hellinger",
    "total variation", "angular, unit vectors", "euclidean of unit vectors, unit vectors",
)  # fmt: skip
KNOWN = {
    f"distances > {name} > metric": (float(name in METRICS),) * 2
    for name in (*DISTANCES, *(f"{name}, unit vectors" for name in OF_DIRECTIONS))
}

STUDY = Study(
    name="e10_distances",
    title="E10: which distances are metrics",
    question="Which distances obey the axioms of a metric, and where one does not, which points show it?",
    measure=measure,
    present=present,
    expected=KNOWN,
    expected_quick=KNOWN,
)

if __name__ == "__main__":
    main(STUDY)
