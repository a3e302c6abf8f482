"""Results as a real fit gives them, made from nothing: the reports of pictures and texts, of many classes and of few labels.

Scores, counts and probabilities hang together (the confusion matrix gives the table by class, the examples are its items), so
that a page built from them can be judged by eye.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from graft.results import (
    Abstention,
    Calibration,
    ClassRow,
    Confusion,
    DataSummary,
    Duplicates,
    EncoderSummary,
    Evidence,
    Example,
    Fault,
    Fidelity,
    FitResult,
    Interval,
    MapPoint,
    StrategyResult,
    Suspect,
)

SURFACES = ("crazing", "inclusion", "patches", "pitted_surface", "rolled_in_scale", "scratches")
TOPICS = ("card", "transfer", "top_up", "cash", "exchange_rate", "refund", "identity", "pin", "country", "fee", "account")
MATTERS = ("arrival", "declined", "pending", "lost", "not_recognised", "limit", "how_to")
WORDS = (
    "My {topic} has been {matter} since Tuesday and nobody could tell me why.",
    "Why is the {topic} still {matter}?",
    "Hello, I would like to know what {matter} means for a {topic}, because the app shows nothing at all and I have been waiting for two weeks now.",
    "{topic} {matter}",
)


@dataclass(frozen=True)
class Sample:
    """Everything one report is built from."""

    result: FitResult
    evidence: Evidence


def texture(kind: int, rng: np.random.Generator, side: int = 96) -> str:
    """A picture of a surface with one of six defects, as a data URI."""
    from PIL import Image, ImageDraw, ImageFilter

    grain = rng.normal(150 + 20 * rng.random(), 12, (side, side)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(grain).filter(ImageFilter.GaussianBlur(0.8))
    draw = ImageDraw.Draw(image)
    for _ in range((26, 5, 4, 40, 9, 5)[kind]):
        x, y, s = (float(v) for v in rng.uniform(0, side, 3))
        dark = int(rng.integers(40, 110))
        match kind:
            case 0:
                draw.line((x, y, x + rng.normal(0, 14), y + rng.normal(0, 14)), fill=dark, width=1)
            case 1:
                draw.ellipse((x, y, x + 5, y + 12 + s / 5), fill=dark)
            case 2:
                draw.ellipse((x - s / 4, y - s / 5, x + s / 4, y + s / 5), fill=225)
            case 3:
                draw.point((x, y), fill=dark - 20)
                draw.ellipse((x, y, x + 2, y + 2), fill=dark)
            case 4:
                draw.rectangle((x, y, x + s / 3, y + 4), fill=dark + 30)
            case _:
                draw.line((x, 0, x + rng.normal(0, 10), side), fill=235, width=2)
    stream = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(0.5)).convert("RGB").save(stream, "webp", quality=75)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()


def sentence(name: str, rng: np.random.Generator) -> str:
    """A customer's sentence about one class."""
    topic = next((t for t in TOPICS if name.startswith(t)), "thing")
    matter = name.removeprefix(topic + "_") or "odd"
    return WORDS[int(rng.integers(len(WORDS)))].format(topic=topic.replace("_", " "), matter=matter.replace("_", " "))


def _interval(value: float, n: int, half: float | None) -> Interval:
    return Interval(value, None, None, n) if half is None else Interval(value, max(0.0, value - half), min(1.0, value + half), n)


def strategies(best: float, n: int, rng: np.random.Generator, half: float | None = 0.02, named: bool = True) -> tuple[StrategyResult, ...]:
    """The seven rungs of the frozen ladder, as they come out on a set where the probe wins."""
    shapes = (
        ("zero-shot", -0.22, 0.004),
        ("prototypes", -0.06, 0.012),
        ("named-prototypes", -0.045, 0.03),
        ("neighbours", -0.05, 0.06),
        ("linear-probe", -0.004, 0.7),
        ("named-linear-probe", 0.0, 1.1),
        ("kernel-probe", 0.002, 2.3),
    )
    found: list[StrategyResult] = []
    top: StrategyResult | None = None
    for rung, (name, gap, seconds) in enumerate(shapes):
        if not named and ("named" in name or name == "zero-shot"):
            found.append(StrategyResult(name, rung, "skipped", "Class names are numbers, so they say nothing; give a sentence a class with --names.", "minilm"))
            continue
        value = min(0.999, best + gap + float(rng.normal(0, 0.002)))
        gain = Interval(value - top.metrics["accuracy"].value, value - top.metrics["accuracy"].value - 0.012, value - top.metrics["accuracy"].value + 0.012, 15) if top else None
        metrics = {"accuracy": _interval(value, n, half), "macro_f1": _interval(value - 0.004, n, half), "log_loss": _interval(0.9 * (1 - value) + 0.05, n, half)}
        this = StrategyResult(name, rung, "measured", "", "minilm", metrics, gain, top.name if top else None, None, seconds * n / 700, 40 + 30 * rung)
        found.append(this)
        if top is None or value > top.metrics["accuracy"].value:
            top = this
    return tuple(found)


def counts(n_classes: int, each: int, right: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """A confusion matrix whose errors go mostly to neighbouring classes."""
    counts_CC = np.zeros((n_classes, n_classes), dtype=np.int64)
    for true in range(n_classes):
        skill = float(np.clip(rng.normal(right, 0.05), 0.3, 1.0))
        for _ in range(each):
            away = true if rng.random() < skill else (true + int(rng.choice([-2, -1, 1, 2, n_classes // 3]))) % n_classes
            counts_CC[true, away] += 1
    return counts_CC


def _rows(classes: tuple[str, ...], counts_CC: NDArray[np.int64], train: int) -> tuple[ClassRow, ...]:
    rows = []
    for code, name in enumerate(classes):
        hit, n, said = int(counts_CC[code, code]), int(counts_CC[code].sum()), int(counts_CC[:, code].sum())
        precision, recall = (hit / said if said else None), (hit / n if n else None)
        f1 = 2 * hit / (n + said) if n + said else None
        rows.append(ClassRow(name, train, n, precision, recall, f1))
    return tuple(rows)


def _calibration(rng: np.random.Generator) -> Calibration:
    sure = np.linspace(0.25, 0.98, 9)
    n = (np.exp(4.5 * sure) * 4).astype(int)
    before = tuple((float(c), float(np.clip(c**0.7 + rng.normal(0, 0.02), 0, 1)), int(k)) for c, k in zip(sure, n, strict=True))
    after = tuple((float(c), float(np.clip(c + rng.normal(0, 0.02), 0, 1)), int(k)) for c, k in zip(sure, n, strict=True))
    return Calibration(0.62, 0.341, 0.262, 0.081, 0.014, before, after)


def sample(
    name: str,
    classes: tuple[str, ...],
    modality: str,
    *,
    each: int = 60,
    train: int = 20,
    right: float = 0.95,
    seed: int = 0,
) -> Sample:
    """A whole fit: `each` test items and `train` labels a class, of which about `right` come out right."""
    rng = np.random.default_rng(seed)
    n_classes = len(classes)
    counts_CC = counts(n_classes, each, right, rng)
    n_test, n_train = int(counts_CC.sum()), train * n_classes
    accuracy = float(np.trace(counts_CC) / n_test)
    half = 1.96 * float(np.sqrt(accuracy * (1 - accuracy) / n_test))
    rungs = strategies(accuracy - 0.01, n_train, rng, half=max(0.004, 1.5 * half))
    encoder = EncoderSummary(
        "efficientnet-lite0" if modality == "image" else "minilm", "b2-9f41c07a55d1e8820c3b7be2", "minilm", 1280 if modality == "image" else 384,
        modality, "f16", "cpu", Fidelity("f16", 0.99999, 0.99991, 64), n_test + n_train, 0,
    )
    duplicates = Duplicates(
        4, 11, 0.965, (("train/a_01.jpg", "train/a_02.jpg", "train/a_03.jpg"), ("train/b_7.jpg", "train/b_8.jpg")),
        (("train/a_01.jpg", "test/a_77.jpg", 0.991), ("train/b_7.jpg", "test/b_9.jpg", 0.972)), 2,
        _interval(accuracy - 0.01, n_train, 0.02), _interval(accuracy + 0.018, n_train, 0.015),
    )
    data = DataSummary(
        name, f"~/{name}.zip" if modality == "image" else f"~/{name}.csv", "zip" if modality == "image" else "table", modality, n_test + n_train, n_train, n_test, classes,
        (train,) * n_classes, 3, {} if modality == "image" else {"content": "text", "label": "category"}, f"official test part; {train} a class to learn from (seed 0)",
        "5a0c3ad9a3d36b6c3a2e51e2b1b1f6c61b15a3a8b1a94f5ac7f6a1a1c7c3f0d1", (Fault("train/x_12.jpg", "not a picture: truncated file", "1,024 bytes"), Fault("row 98", "empty text")), duplicates,
    )
    evidence = _evidence(classes, counts_CC, modality, rng)
    suspects = tuple(Suspect(e.item, e.true, e.predicted, 0.02, e.probability) for e in evidence.suspects)
    result = FitResult(
        name, "classify", "named-linear-probe",
        f"named-linear-probe has the best mean accuracy on 15 paired folds; kernel-probe is 0.2 points above it, within its interval (-0.6 to +1.0) and under half a point, and dearer.",
        "accuracy", 0,
        {"accuracy": _interval(accuracy, n_test, half), "macro_f1": _interval(accuracy - 0.003, n_test, half), "log_loss": Interval(0.143, 0.101, 0.192, n_test), "ece": Interval(0.014, None, None, n_test)},
        rungs, data, encoder, (encoder,), _calibration(rng),
        Abstention(0.58, 0.9, "test", _interval(0.046, n_test, 0.012), _interval(0.013, n_test - 20, 0.007), _interval(1 - accuracy, n_test, half)),
        Confusion(classes, tuple(tuple(int(v) for v in row) for row in counts_CC), "test"), _rows(classes, counts_CC, train), suspects, "5 folds, 3 times",
        {"read": 0.4, "encode": 6.2, "select": 2.1, "refit": 0.2, "report": 0.3},
        {"graft": "0.1.0", "python": "3.11.2", "numpy": "2.4.6", "scikit-learn": "1.9.1", "openvino": "2026.4.1", "platform": "Linux-6.1-x86_64"},
        f"graft fit ~/{name} --shots {train} --seed 0", out=f"graft-out/{name}",
    )
    return Sample(result, evidence)


def _evidence(classes: tuple[str, ...], counts_CC: NDArray[np.int64], modality: str, rng: np.random.Generator) -> Evidence:
    def example(true: int, predicted: int) -> Example:
        picture = texture(true % 6, rng) if modality == "image" else ""
        text = "" if modality == "image" else sentence(classes[true], rng)
        item = f"test/{classes[true]}_{int(rng.integers(1000))}" + (".jpg" if picture else "")
        return Example(item, text, picture, classes[true], classes[predicted], float(rng.uniform(0.8, 0.999)))

    shown = np.argsort(np.diag(counts_CC) - counts_CC.sum(1), kind="stable")[:20]
    right = {classes[c]: tuple(example(c, c) for _ in range(min(5, counts_CC[c, c]))) for c in shown}
    wrong = {}
    for c in shown:
        others = [p for p in range(len(classes)) if p != c for _ in range(int(counts_CC[c, p]))]
        wrong[classes[c]] = tuple(example(c, p) for p in others[:5])
    suspects = tuple(replace(e, item=f"train/{i}") for i, e in enumerate([e for es in wrong.values() for e in es][:9]))
    return Evidence(right, wrong, _points(classes, counts_CC, modality, rng), "PCA", suspects, "test")


def _points(classes: tuple[str, ...], counts_CC: NDArray[np.int64], modality: str, rng: np.random.Generator) -> tuple[MapPoint, ...]:
    pairs = [(t, p) for t, p in zip(*np.nonzero(counts_CC), strict=True) for _ in range(int(counts_CC[t, p]))]
    chosen = rng.permutation(len(pairs))[:1200]
    angle = 2 * np.pi * np.arange(len(classes)) / len(classes)
    centres = np.stack([np.cos(angle), np.sin(angle)], 1) * rng.uniform(3, 8, (len(classes), 1))
    pictures = [texture(k % 6, rng, 48) for k in range(24)] if modality == "image" else []
    points = []
    for i in chosen:
        t, p = (int(v) for v in pairs[i])
        x, y = 0.75 * centres[t] + 0.25 * centres[p] + rng.normal(0, 0.8, 2)
        text = "" if modality == "image" else sentence(classes[t], rng)
        points.append(MapPoint(round(float(x), 3), round(float(y), 3), classes[t], classes[p], f"test/{i}", text, pictures[t % 6 + 6 * int(rng.integers(4))] if pictures else ""))
    return tuple(points)


def pictures() -> Sample:
    """Six classes of pictures, an easy set."""
    return sample("steel_surfaces", SURFACES, "image", right=0.96)


def texts() -> Sample:
    """Seventy-seven classes of short texts."""
    classes = tuple(sorted(f"{t}_{m}" for t in TOPICS for m in MATTERS))
    return sample("bank_questions", classes, "text", each=40, train=10, right=0.86)


def many_classes() -> Sample:
    """Five hundred classes with a few items each."""
    return sample("catalogue", tuple(f"genus {k // 10:02d} species {k % 10}" for k in range(500)), "text", each=10, train=5, right=0.7)


def two_classes() -> Sample:
    """Two classes, the least there can be."""
    return sample("reviews", ("negative", "positive"), "text", each=400, train=64, right=0.8)


def no_test_part() -> Sample:
    """Few labels: nothing was held out, the figures are cross-validated."""
    made = sample("holiday_photos", ("beach", "forest", "mountain", "town"), "image", each=9, train=9, right=0.85)
    result = made.result
    assert result.confusion is not None and result.abstention is not None
    data = replace(result.data, test=0, items=36, split="", duplicates=Duplicates(), faults=())
    return Sample(
        replace(
            result, test=None, data=data, suspects=(), confusion=replace(result.confusion, measured_on="folds"), abstention=replace(result.abstention, measured_on="folds"),
            strategies=strategies(0.83, 36, np.random.default_rng(1), half=0.11, named=False), chosen="linear-probe", why="linear-probe has the best mean accuracy on 15 paired folds.",
        ),
        replace(made.evidence, suspects=(), measured_on="folds"),
    )


def one_label() -> Sample:
    """One label a class: no folds, no figures, the prior chooses."""
    made = sample("one_each", ("Amt", "Bahn", "Café"), "text", each=3, train=1)
    rungs = tuple(StrategyResult(s.name, s.rung, "skipped", "One label a class leaves nothing to measure with.") for s in made.result.strategies)
    result = replace(
        made.result, test=None, strategies=rungs, chosen="named-prototypes", calibration=None, abstention=None, confusion=None, per_class=(), suspects=(), folds="",
        why="With one label a class there are no folds; the prior for so few labels chooses named-prototypes.",
        data=replace(made.result.data, test=0, items=3, train=3, faults=(), duplicates=Duplicates()),
    )
    return Sample(result, Evidence())


HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"'><b onmouseover=alert(3)>&amp;{{ 7 * 7 }}{% raw %}",
    "اسم الصنف العربي \u202e reversed",
    "👩‍👩‍👧‍👦🏳️‍🌈" * 12,
    "Donaudampfschifffahrtsgesellschaftskapitän" * 9,
    "]]><!--\u2028\u2029\x00\x07",
    "url(https://example.org/x.png) @import 'https://example.org/y.css'",
)


def hostile() -> Sample:
    """Labels, texts, file names and messages that try to break out of the page."""
    made = sample("<script>alert('name')</script>", HOSTILE, "text", each=30, train=5, right=0.7)
    bad = " ".join(HOSTILE)
    evidence = made.evidence
    points = tuple(replace(p, text=bad, item=HOSTILE[i % 8], picture="javascript:alert(5)" if i % 2 else "") for i, p in enumerate(evidence.map))
    wrong = {k: tuple(replace(e, text=bad, item=bad, picture="\" onerror=alert(6) x=\"") for e in es) for k, es in evidence.wrong.items()}
    data = replace(
        made.result.data, source=bad, columns={"content": HOSTILE[0], "label": HOSTILE[1]}, split=bad,
        faults=tuple(Fault(f"row {i} {HOSTILE[i % 8]}", HOSTILE[(i + 1) % 8], bad) for i in range(200)),
        duplicates=replace(made.result.data.duplicates, groups=(HOSTILE,), leaks=((HOSTILE[0], HOSTILE[1], 0.99),)),
    )
    result = replace(made.result, data=data, why=bad, command=f"graft fit '{bad}'", environment={"graft": HOSTILE[0], HOSTILE[1]: HOSTILE[2]}, folds=HOSTILE[0])
    return Sample(result, replace(evidence, map=points, wrong=wrong, map_method=HOSTILE[1]))


def enormous() -> Sample:
    """Every text as long as a cell of a table may be, in letters of four bytes."""
    made = many_classes()
    long = "🦜" * 100_000
    evidence = made.evidence
    points = tuple(replace(p, text=long, item=long) for p in evidence.map) * 3
    cases = {k: tuple(replace(e, text=long, item=long) for e in es) for k, es in evidence.wrong.items()}
    suspects = tuple(Suspect(long, long, long, 0.1, 0.9) for _ in range(5000))
    data = replace(made.result.data, source=long, faults=tuple(Fault(long, long, long) for _ in range(5000)))
    return Sample(replace(made.result, data=data, suspects=suspects, command=long), replace(evidence, map=points, wrong=cases, right=cases))


SAMPLES = {
    "pictures": pictures,
    "texts": texts,
    "many_classes": many_classes,
    "two_classes": two_classes,
    "no_test_part": no_test_part,
    "one_label": one_label,
    "hostile": hostile,
}
