"""The kinds of fit a report must tell well: pictures, texts, many classes, few labels, and words that mean harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.reports.items import MATTERS, SURFACES, TOPICS
from tests.reports.made import Plan, Sample, sample, strategies
from tests.reports.trainings import climbing, good, staying

from graft.results import Duplicates, Evidence, Fault, Retained, StrategyResult, Suspect


def pictures() -> Sample:
    """Six classes of pictures, an easy set."""
    return sample(Plan("steel_surfaces", SURFACES, "image", right=0.96))


def texts() -> Sample:
    """Seventy-seven classes of short texts."""
    classes = tuple(sorted(f"{t}_{m}" for t in TOPICS for m in MATTERS))
    return sample(Plan("bank_questions", classes, "text", each=40, train=10, right=0.86))


def many_classes() -> Sample:
    """Five hundred classes with a few items each."""
    classes = tuple(f"genus {k // 10:02d} species {k % 10}" for k in range(500))
    return sample(Plan("catalogue", classes, "text", each=10, train=5, right=0.7))


def two_classes() -> Sample:
    """Two classes, the least there can be."""
    return sample(Plan("reviews", ("negative", "positive"), "text", each=400, train=64, right=0.8))


def no_test_part() -> Sample:
    """Few labels: nothing was held out, the figures are cross-validated."""
    made = sample(Plan("holiday_photos", ("beach", "forest", "mountain", "town"), "image", each=9, train=9, right=0.85))
    result = made.result
    assert result.confusion is not None and result.abstention is not None
    data = replace(result.data, test=0, items=36, split="", duplicates=Duplicates(), faults=())
    return Sample(
        replace(
            result,
            test=None,
            data=data,
            suspects=(),
            confusion=replace(result.confusion, measured_on="folds"),
            abstention=replace(result.abstention, measured_on="folds"),
            strategies=strategies(0.83, 36, np.random.default_rng(1), half=0.11, named=False),
            chosen="linear-probe",
            why="linear-probe has the best mean accuracy on 15 paired folds.",
        ),
        replace(made.evidence, suspects=(), measured_on="folds"),
    )


def one_label() -> Sample:
    """One label a class: no folds, no figures, the prior chooses."""
    made = sample(Plan("one_each", ("Amt", "Bahn", "Café"), "text", each=3, train=1))
    rungs = tuple(
        StrategyResult(s.name, s.rung, "skipped", "One label a class leaves nothing to measure with.")
        for s in made.result.strategies
    )
    result = replace(
        made.result,
        test=None,
        strategies=rungs,
        chosen="named-prototypes",
        calibration=None,
        abstention=None,
        confusion=None,
        per_class=(),
        suspects=(),
        folds="",
        why="With one label a class there are no folds; the prior for so few labels chooses named-prototypes.",
        data=replace(made.result.data, test=0, items=3, train=3, faults=(), duplicates=Duplicates()),
    )
    return Sample(result, Evidence())


def climbed() -> Sample:
    """Trained rungs of every kind, of which one was worth it."""
    return climbing(sample(Plan("parts_on_the_belt", SURFACES, "image", each=40, right=0.96)))


def stayed() -> Sample:
    """Trained rungs that were not worth it."""
    return staying(two_classes())


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
    made = sample(Plan("<script>alert('name')</script>", HOSTILE, "text", each=30, train=5, right=0.7))
    bad = " ".join(HOSTILE)
    evidence = made.evidence
    points = tuple(
        replace(p, text=bad, item=HOSTILE[i % 8], picture="javascript:alert(5)" if i % 2 else "")
        for i, p in enumerate(evidence.map)
    )
    wrong = {
        k: tuple(replace(e, text=bad, item=bad, picture='" onerror=alert(6) x="') for e in es)
        for k, es in evidence.wrong.items()
    }
    data = replace(
        made.result.data,
        source=bad,
        columns={"content": HOSTILE[0], "label": HOSTILE[1]},
        split=bad,
        faults=tuple(Fault(f"row {i} {HOSTILE[i % 8]}", HOSTILE[(i + 1) % 8], bad) for i in range(200)),
        duplicates=replace(made.result.data.duplicates, groups=(HOSTILE,), leaks=((HOSTILE[0], HOSTILE[1], 0.99),)),
    )
    harm = replace(
        good(),
        method=bad,
        stopped=bad,
        rates=dict.fromkeys(HOSTILE, 0.001),
        range_tests=tuple(replace(good().range_tests[0], group=word) for word in HOSTILE),
        retained=tuple(Retained(word, bad, 0.5, 0.4) for word in HOSTILE),
        device=bad,
        precision=bad,
        measured_on=bad,
        recipe=dict.fromkeys(HOSTILE, bad),
        notes=HOSTILE,
    )
    trained = (
        StrategyResult(bad, 13, "measured", bad, bad, made.result.strategies[-1].metrics, None, bad, None, 5.0, training=harm),
        StrategyResult(bad, 14, bad, bad, bad),
    )  # fmt: skip
    result = replace(
        made.result,
        strategies=made.result.strategies + trained,
        data=data,
        why=bad,
        command=f"graft fit '{bad}'",
        environment={"graft": HOSTILE[0], HOSTILE[1]: HOSTILE[2]},
        folds=HOSTILE[0],
    )
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
    names = [f"{k} {long}" for k in range(300)]
    run = good()
    ran = tuple(replace(e, epoch=k, drift=dict.fromkeys(names, 0.1)) for k, e in enumerate(run.epochs * 50))
    test = replace(run.range_tests[0], rates=run.range_tests[0].rates * 20, losses=run.range_tests[0].losses * 20)
    heavy = replace(
        run,
        epochs=ran,
        stopped=long,
        rates=dict.fromkeys(names, 0.1),
        range_tests=tuple(replace(test, group=name) for name in names),
        notes=(long,) * 100,
        recipe=dict.fromkeys(names, long),
        interpolation=run.interpolation * 500,
    )
    trained = tuple(
        replace(s, name=long, rung=13, reason=long, gain_over=long, training=heavy) for s in made.result.strategies * 20
    )
    return Sample(
        replace(made.result, data=data, suspects=suspects, command=long, strategies=made.result.strategies + trained),
        replace(evidence, map=points, wrong=cases, right=cases),
    )


SAMPLES = {
    "pictures": pictures,
    "texts": texts,
    "many_classes": many_classes,
    "two_classes": two_classes,
    "no_test_part": no_test_part,
    "one_label": one_label,
    "climbed": climbed,
    "stayed": stayed,
    "hostile": hostile,
}
