"""R5: the geometry of a space in which texts and pictures meet.

`graft index` and `graft diagnose space` on photos with captions: three similarity matrices, the path between two pictures and the texts it
passes, the gap between the kinds and what closing it does. With the bundled encoders texts and pictures meet over a bridge: of class
names, or learned by `graft bridge fit` on half of the pictures; everything is measured on the other half. The same code runs on a joint
encoder (`--encoder hub:openai/clip-vit-base-patch32`), whose numbers wait for its weights.
"""

from __future__ import annotations

import csv
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.chart import Axis, Line, line_chart
from studies.study import Numbers, Page, Setting, Study, Table, about, few_digits, main, percent, points

from graft.reports.formats import plural
from graft.reports.space import SpaceResult
from graft.settings import data_dir
from graft.verbs.bridge import fit as fit_bridge
from graft.verbs.diagnose import space
from graft.verbs.index import index

NAME = "flickr8k_1000"
DATA = f"data:{NAME}"
CELL, SIDE, TOP = 11, 300, 56  # of the figure: a cell, a panel with its margin, the room above
DARK = (11, 100, 112)

Matrix = NDArray[np.float64]


def measure(setting: Setting) -> Numbers:
    with tempfile.TemporaryDirectory() as folder:
        spaces, data = _spaces(setting, Path(folder))
    found = next(reversed(spaces.values()))
    own, texts, across = found.heat_maps
    assert found.path is not None
    # of the heat maps ids and numbers only, of the path's captions the first words: they are not ours to spread
    return {
        "data": data,
        "encoder": found.encoder,
        "spaces": {name: _numbers(space) for name, space in spaces.items()},
        "items": own.rows,
        "matrices": {"pictures": own.values, "texts": texts.values, "texts with pictures": across.values},
        "measure": across.measure,
        "agreement": agreement(np.array(own.values), np.array(texts.values)),
        "own_picture_first": own_first(np.array(across.values)),
        "path": replace(found.path, steps=tuple(replace(step, texts=_opened(step.texts)) for step in found.path.steps)),
        "mean_cosine": found.cone.mean,
        "participation": found.spectrum.participation,
        "intrinsic": found.spectrum.intrinsic,
        "dims": found.spectrum.dims,
        "hubs": {"stored": found.neighbours.raw, "centred": found.neighbours.centred},
    }


def _opened(texts: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    return tuple((" ".join(text.split()[:4]) + " …", score) for text, score in texts)


def _spaces(setting: Setting, folder: Path) -> tuple[dict[str, SpaceResult], str]:
    """The spaces in which texts and pictures meet: over class names, over a bridge learned on the other half of the pictures; or a joint one."""
    if setting.quick:
        index(few_digits(folder / "few"), out=folder / "index", encoder=setting.encoder)
        return {"class names": space(folder / "index", text="label", sample=200, out=folder / "space")}, "data:digits"
    learn, held = _halves(folder)
    found = {}
    if setting.encoder:
        index(held, out=folder / "joint", encoder=setting.encoder)
        found["joint"] = space(folder / "joint", text="caption", out=folder / "joint-space")
        return found, DATA
    fit_bridge(learn, out=folder / "bridge", content="image", text="caption")
    for name, bridge in (("class names", "auto"), ("learned bridge", str(folder / "bridge"))):
        index(held, out=folder / name, bridge=bridge)
        found[name] = space(folder / name, text="caption", out=folder / f"{name}-space")
    return found, DATA


def _halves(folder: Path) -> tuple[Path, Path]:
    """Tables of pictures and captions: 500 pictures with all five captions to learn from, the other 500 with their first one to measure on."""
    home = data_dir()
    assert home is not None, "set GRAFT_DATA to the folder of public sets"
    with zipfile.ZipFile(home / NAME / f"{NAME}.zip") as archive:
        archive.extractall(folder / "photos")
    captions: dict[str, list[str]] = {}
    root = folder / "photos" / NAME
    with (root / "captions.txt").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            captions.setdefault(str(root / "images" / row["image"]), []).append(row["caption"])
    names = sorted(captions)
    learnt = {names[i] for i in np.random.default_rng(0).permutation(len(names))[: len(names) // 2]}
    learn = [(name, caption) for name in names if name in learnt for caption in captions[name]]
    held = [(name, captions[name][0], Path(name).name) for name in names if name not in learnt]
    for table, rows in (
        ("learn.csv", [("image", "caption"), *learn]),
        ("held.csv", [("image", "caption", "id"), *held]),
    ):
        with (folder / table).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return folder / "learn.csv", folder / "held.csv"


def _numbers(found: SpaceResult) -> dict[str, Any]:
    crossing = found.crossing
    assert crossing is not None
    return {
        "view": crossing.view,
        "pictures": crossing.pictures,
        "queries": crossing.queries,
        "gap": {"stored": crossing.gap, "closed": crossing.closed},
        "alignment": {"stored": crossing.alignment, "closed": crossing.alignment_closed},
        "recall": {"stored": crossing.recall, "closed": crossing.recall_closed, "gain": crossing.gain},
    }


def agreement(a_NN: Matrix, b_MM: Matrix) -> float | None:
    """Spearman's correlation of two similarity matrices over all pairs of items (Kriegeskorte et al. 2008); None where items share texts."""
    if a_NN.shape != b_MM.shape:
        return None
    from scipy.stats import spearmanr

    pairs = np.triu_indices(len(a_NN), 1)
    return float(spearmanr(a_NN[pairs], b_MM[pairs]).statistic)


def own_first(across_TN: Matrix) -> float | None:
    """Share of the texts of the heat map whose own picture scores highest of those on it; None where items share texts."""
    if across_TN.shape[0] != across_TN.shape[1]:
        return None
    return float((across_TN.argmax(1) == np.arange(len(across_TN))).mean())


def present(numbers: Numbers) -> Page:
    spaces, path = numbers["spaces"], numbers["path"]
    name, last = list(spaces.items())[-1]
    steps = Table(
        f"The path from {Path(path['start']).name} to {Path(path['end']).name}, {path['degrees']:.0f}° apart, and the texts it passes ({name}).",
        ("step", "nearest text", "nearest picture"),
        [
            (f"{i}/{len(path['steps']) - 1}", step["texts"][0][0], Path(step["items"][0][0]).name)
            for i, step in enumerate(path["steps"])
            if step["texts"] and step["items"]
        ],
    )
    passed = list(dict.fromkeys(row[1] for row in steps.rows))
    gap, gains, five = (
        last["gap"]["stored"],
        last["recall"]["gain"],
        [last["recall"][k]["5"] for k in ("stored", "closed")],
    )
    alike = (
        ""
        if numbers["agreement"] is None
        else f"Pictures that are alike have texts that are alike: Spearman {numbers['agreement']:.2f} over all pairs on the heat maps. "
    )
    return Page(
        answer=(
            f"{name.capitalize()}: gap {gap['distance']:.2f}, {100 * gap['share']:.0f} % of the distance between a picture and a text; closed, recall "
            f"at 5 goes from {percent(five[0])} to {percent(five[1])}. The path passes {plural(len(passed), 'text')}."
        ),
        reading=alike
        + f"Closing the gap changes recall at 1 by {points(gains['1'])} and at 5 by {points(gains['5'])} points: "
        + _verdict(gains)
        + (
            ""
            if name == "joint"
            else " Texts and pictures meet over a bridge between two encoders here; the numbers of a joint encoder (CLIP, SigLIP) wait for its "
            "weights, which the same program takes with --encoder."
        ),
        tables=[_table(numbers["data"], numbers["encoder"], n, found) for n, found in spaces.items()] + [steps],
        figures={"similarity.svg": heat_maps(numbers["matrices"]), "recall.svg": recall_chart(spaces)},
    )


def _verdict(gains: Mapping[str, Any]) -> str:
    """What the paired changes say, those whose interval leaves out zero."""
    worse = [k for k, gain in gains.items() if gain["high"] is not None and gain["high"] < 0]
    better = [k for k, gain in gains.items() if gain["low"] is not None and gain["low"] > 0]
    if worse and not better:
        return f"at {' and '.join(worse)} it costs more than chance explains, so a gap is no fault by itself."
    if better and not worse:
        return f"at {' and '.join(better)} it helps more than chance explains."
    return "no clear difference: a text ranks pictures against pictures, and what all of them share moves them alike."


def _table(data: str, encoder: str, name: str, found: Mapping[str, Any]) -> Table:
    gap, recall, kinds = found["gap"], found["recall"], ("stored", "closed")
    return Table(
        f"{name.capitalize()}: {found['queries']} texts and {found['pictures']} pictures of {data}; {encoder}, view {found['view']}.",
        ("measure", "as stored", "gap closed", "change (points, paired)"),
        [
            ("distance between the means", *(f"{gap[k]['distance']:.2f}" for k in kinds), ""),
            ("share of the mean distance across", *(f"{100 * gap[k]['share']:.0f} %" for k in kinds), ""),
            ("told apart by a plane", *(_share(gap[k]["separable"]) for k in kinds), ""),
            ("alignment of the pairs", *(f"{found['alignment'][k]:.2f}" for k in kinds), ""),
            *(
                (f"recall at {k}", *(percent(recall[kind][k]) for kind in kinds), points(recall["gain"][k]))
                for k in recall["stored"]
            ),
        ],
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def recall_chart(spaces: Mapping[str, Any]) -> str:
    """Recall at 1, 5 and 10 in each space, as stored and with the gap closed."""
    lines = []
    for name, found in spaces.items():
        for key in ("stored", "closed"):
            values = list(found["recall"][key].values())
            points = [(float(i), value["value"]) for i, value in enumerate(values)]
            ends = [(value["low"], value["high"]) for value in values]
            lines.append(Line(f"{name.removesuffix(' bridge')}, {key}", points, ends, dashed=key == "closed"))
    ticks = {float(i): k for i, k in enumerate(found["recall"]["stored"])}
    return line_chart(
        "Texts that find their pictures", Axis("among the first k", ticks), Axis("recall", percent=True), lines
    )


def heat_maps(matrices: Mapping[str, list[list[float]]]) -> str:
    """The matrices side by side, each shaded from its 1st to its 99th percentile, as the text of an SVG file."""
    parts = []
    for panel, (title, values) in enumerate(matrices.items()):
        matrix = np.array(values)
        own = np.zeros(matrix.shape, np.bool_)
        if title in ("pictures", "texts"):
            np.fill_diagonal(own, True)
        low, high = np.percentile(matrix[~own], (1, 99))  # an item with itself would take half of the scale
        shade = ((matrix - low) / max(high - low, 1e-9)).clip(0, 1)
        left = 20 + panel * SIDE
        parts.append(f'<text x="{left}" y="30" font-size="15" font-weight="600">{escape(title)}</text>')
        parts.append(
            f'<text x="{left}" y="47" font-size="11" fill="#555555">{low:.2g} (light) to {high:.2g} (dark)</text>'
        )
        for row, line in enumerate(shade):
            for column, value in enumerate(line):
                colour = "#" + "".join(f"{round(255 + (end - 255) * value):02x}" for end in DARK)
                x, y = left + column * CELL, TOP + row * CELL
                parts.append(f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/>')
    width, height = 20 + SIDE * len(matrices), TOP + CELL * max(len(m) for m in matrices.values()) + 20
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" font-family="system-ui, '
        f'sans-serif" fill="#222222"><title>Similarity matrices</title>\n<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


STUDY = Study(
    name="r05_geometry",
    title="R5: the geometry of a joint space",
    question=(
        "What do texts and pictures look like in one space, what lies on the way from one picture to another, "
        "and what does closing the gap between the kinds do?"
    ),
    measure=measure,
    present=present,
    expected={
        "spaces > class names > recall > stored > 5 > value": about(0.192, 0.04),
        "spaces > class names > gap > stored > distance": about(0.18, 0.05),
        "spaces > learned bridge > recall > stored > 5 > value": about(0.478, 0.05),
        "spaces > learned bridge > gap > stored > distance": about(0.81, 0.1),
        "spaces > learned bridge > gap > closed > distance": (0.0, 0.05),
        "spaces > learned bridge > recall > gain > 1 > value": about(-0.028, 0.035),
        "mean_cosine": about(0.31, 0.03),
    },
    expected_quick={
        "spaces > class names > gap > stored > distance": about(1.03, 0.1),
        "mean_cosine": (0.5, 1.0),
        "dims": (1280, 1280),
    },
    takes_encoder=True,
)

if __name__ == "__main__":
    main(STUDY)
