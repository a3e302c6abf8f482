"""The trained rungs of a fit: whether training was worth it, and how each run went."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from graft.reports.charts import Plot
from graft.reports.formats import (
    NONE,
    Measure,
    brief,
    count,
    cut,
    known,
    known_interval,
    measure_named,
    memory,
    percent,
    plural,
    seconds,
    setting,
    size,
)
from graft.reports.learning import (
    EpochRow,
    GroupRow,
    RangeView,
    epoch_rows,
    few_rates,
    group_rows,
    pictures,
    range_views,
)
from graft.results import FitResult, Interval, Retained, StrategyResult, TrainingRecord

FIRST_TRAINED = 7  # the rung from which on strategies change the encoder's weights
MOST_CARDS, MOST_OPEN, MOST_NOTES, MOST_SETTINGS = 12, 4, 8, 30
NAME_LETTERS = 60
NO_BREAK = "\u2011"  # a hyphen at which no line ends


@dataclass(frozen=True)
class Fact:
    """One line of the facts of a run."""

    label: str
    value: str
    hint: str = ""


@dataclass(frozen=True)
class Kept:
    """A retained task as it is shown; `worse` where the training did harm to it."""

    name: str
    measure: str
    before: str
    after: str
    change: str
    worse: bool


@dataclass(frozen=True)
class Card:
    """One run. `tone` is gain, even, loss, or failed where a loss or the score was no number; `shown` when its card stands open."""

    result: StrategyResult
    training: TrainingRecord
    encoder: str
    chosen: bool
    score: Interval | None
    gain: Interval | None
    tone: str
    verdict: str
    failed: str
    plots: tuple[Plot, ...]
    facts: tuple[Fact, ...]
    settings: tuple[str, ...]
    groups: tuple[GroupRow, ...]
    ranges: tuple[RangeView, ...]
    retained: tuple[Kept, ...]
    epochs: tuple[EpochRow, ...]
    notes: tuple[str, ...]
    shown: bool = True


@dataclass(frozen=True)
class Trained:
    """The section: what is said first, a card for each run, the rungs that were not run, and how many cards were left out;
    `several` when encoders compete."""

    measure: Measure
    lead: str
    cards: tuple[Card, ...]
    left_out: tuple[StrategyResult, ...]
    unshown: int = 0
    several: bool = False


def trained(result: FitResult) -> Trained | None:
    """What the report says of the rungs that change the encoder; None where no strategy has a training on record."""
    if not any(s.training for s in result.strategies):
        return None
    measure = measure_named(result.metric)
    several = len({s.encoder for s in result.strategies}) > 1
    rungs = [s for s in result.strategies if s.training or s.rung >= FIRST_TRAINED]
    ran = _ran(result)
    cards = tuple(_card(s, s.training, result, several) for s in _first(ran, result) if s.training)
    return Trained(
        measure,
        worth(result),
        cards,
        tuple(s for s in rungs if all(s is not other for other in ran)),
        len(ran) - len(cards),
        several,
    )


def _ran(result: FitResult) -> list[StrategyResult]:
    return [s for s in result.strategies if s.training and (s.status == "measured" or s.training.epochs)]


def _first(ran: Sequence[StrategyResult], result: FitResult) -> list[StrategyResult]:
    """Those that get a card, in their order: all, or the chosen and the best where there are too many."""
    chosen = result.chosen_result
    sign = -1.0 if measure_named(result.metric).lower_is_better else 1.0

    def place(s: StrategyResult) -> tuple[bool, float]:
        score = known_interval(s.metrics.get(result.metric))
        return s is not chosen, -sign * score.value if score else float("inf")

    kept = [id(s) for s in sorted(ran, key=place)[:MOST_CARDS]]
    return [s for s in ran if id(s) in kept]


# ---- Words ----


def worth(result: FitResult) -> str:
    """What was trained, and whether it was worth it, in a few sentences."""
    ran, measure = _ran(result), measure_named(result.metric)
    if not ran:
        return "No rung that changes the encoder was run; what was in the way is said below."
    names = _listed([cut(s.name, NAME_LETTERS) for s in ran])
    tried = f"{plural(len(ran), 'rung was', 'rungs were')} trained: {names}."
    scored = [s for s in ran if known_interval(s.metrics.get(result.metric))]
    if not scored:
        return f"{tried} None of them could be measured, so the frozen rungs stand as they are."
    return f"{tried} {_judged(result, scored, measure)}"


def _judged(result: FitResult, scored: Sequence[StrategyResult], measure: Measure) -> str:
    chosen = result.chosen_result
    if chosen is not None and any(chosen is s for s in scored):
        return _chosen(chosen, result, measure)
    gains = [(gain.value, i) for i, s in enumerate(scored) if (gain := _gain(s))]
    kept = cut(result.chosen, NAME_LETTERS)
    if not gains:
        return f"None was chosen: {kept} stays the better choice."
    best = scored[max(gains)[1]]
    lead = f"{_gain_words(best, measure)} over {_below(best)}"
    name = cut(best.name, NAME_LETTERS)
    if any(_tone(s) == "gain" for s in scored):
        return f"The best of them, {name}, has {lead}, yet {kept} was chosen, for the reasons given above."
    return f"It was not worth it: none gained more on the cheaper rungs than chance would. The best of them, {name}, has {lead}."


def _chosen(chosen: StrategyResult, result: FitResult, measure: Measure) -> str:
    """A trained rung was chosen: what it reaches beside the best frozen one, and what that cost."""
    score, frozen = known_interval(chosen.metrics.get(result.metric)), _best_frozen(result)
    assert score is not None, "only rungs with a score come here"
    name, reaches = cut(chosen.name, NAME_LETTERS), f"{measure.value(score.value)} in {measure.label.lower()}"
    said = [
        f"{'It was worth it' if _tone(chosen) == 'gain' else 'The choice fell on one of them'}: {name} reaches {reaches}"
    ]
    if (
        frozen and _tone(chosen) == "gain"
    ):  # other folds may be behind it, so a gain that is not proven is told on its own alone
        said[0] += f", where the best frozen rung, {frozen[0].name}, has {measure.value(frozen[1].value)}"
    if _gain(chosen):
        said.append(
            f"Its gain over {_below(chosen)}, the best of the cheaper rungs, on the same folds: {_gain_words(chosen, measure)}"
        )
    said.append(f"It took {_time(chosen)}" + (f", {frozen[0].name} {_time(frozen[0])}" if frozen else ""))
    return ". ".join(said) + "."


def _time(s: StrategyResult) -> str:
    return seconds(known(s.seconds) or 0.0)


def _below(s: StrategyResult) -> str:
    return cut(s.gain_over or "the rung below", NAME_LETTERS)


def _best_frozen(result: FitResult) -> tuple[StrategyResult, Interval] | None:
    measure = measure_named(result.metric)
    found = [
        (s, score)
        for s in result.strategies
        if s.training is None and s.rung < FIRST_TRAINED and (score := known_interval(s.metrics.get(result.metric)))
    ]
    best = min if measure.lower_is_better else max
    return best(found, key=lambda pair: pair[1].value) if found else None


def _gain_words(s: StrategyResult, measure: Measure) -> str:
    """The gain with its interval; more is better for every measure."""
    gain = _gain(s)
    if gain is None:
        return NONE
    unit = "points" if measure.share else "in " + measure.label.lower()
    if measure.lower_is_better:
        unit += " (signed so that more is better)"
    ends = measure.gain_range(gain)
    return f"{measure.gain(gain)} {unit} " + (f"({ends})" if ends else "(too few splits for an interval)")


def _gain(s: StrategyResult) -> Interval | None:
    return known_interval(s.gain)


def _tone(s: StrategyResult) -> str:
    gain = _gain(s)
    if gain is None or gain.low is None or gain.high is None:
        return "even"
    return "gain" if gain.low > 0 else "loss" if gain.high < 0 else "even"


def _verdict(s: StrategyResult, score: Interval | None, measure: Measure) -> str:
    if score is None:
        return f"Not measured: {cut(s.reason, 300) or 'it has no score'}"
    if _gain(s) is None:
        return "There is no cheaper rung to set it against."
    said = {
        "gain": "Worth the step",
        "loss": "Worse than the rungs below",
        "even": "No gain that can be told from chance",
    }[_tone(s)]
    return f"{said}: {_gain_words(s, measure)} against {_below(s)}, the best of the cheaper rungs."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


# ---- One run ----


def _card(s: StrategyResult, training: TrainingRecord, result: FitResult, several: bool) -> Card:
    measure = measure_named(result.metric)
    score = known_interval(s.metrics.get(result.metric))
    diverged = went_astray(training)
    failed = cut(training.stopped or "the loss was no number", 300) if diverged else ""
    chosen = s is result.chosen_result
    tone = "failed" if score is None else _tone(s)
    return Card(
        result=s,
        training=training,
        encoder=s.encoder if several else "",
        chosen=chosen,
        score=score,
        gain=_gain(s) if score else None,
        tone=tone,
        verdict=_verdict(s, score, measure),
        failed=failed[:1].upper() + failed[1:],
        plots=pictures(training),
        facts=_facts(s, training, diverged),
        settings=tuple(
            f"{cut(str(k), 40)}={cut(setting(v), 80)}" for k, v in list(training.recipe.items())[:MOST_SETTINGS]
        ),
        groups=group_rows(training),
        ranges=range_views(training.range_tests),
        retained=tuple(kept(r) for r in training.retained[:MOST_NOTES]),
        epochs=epoch_rows(training.epochs),
        notes=training.notes[:MOST_NOTES],
        shown=chosen or diverged or tone in ("gain", "failed") or _runs(result) <= MOST_OPEN,
    )


def went_astray(training: TrainingRecord) -> bool:
    """Whether a loss was no finite number, which stops a training: on record, or in the words that say why it stopped."""
    said = re.search(r"\bloss was (no number|nan|-?inf)", training.stopped)
    return said is not None or any(known(e.loss) is None for e in training.epochs)


def _runs(result: FitResult) -> int:
    return sum(s.training is not None for s in result.strategies)


def _facts(s: StrategyResult, training: TrainingRecord, diverged: bool) -> tuple[Fact, ...]:
    facts = []
    if training.trained:
        of = training.parameters
        share = f"{percent(training.trained / of, 1)} of {count(of)}" if of else ""
        facts.append(Fact("Weights trained", count(training.trained), share))
    if training.bytes:
        facts.append(Fact("On disk", size(training.bytes)))
    predicted = known(training.predicted_seconds)
    said = f"predicted {seconds(predicted)}" if predicted is not None else ""
    facts.append(Fact("Time", seconds(known(s.seconds) or 0.0), said))
    facts.append(Fact("Measured on", _where(training), cut(s.reason, 160) if s.status == "measured" else ""))
    if training.epochs:
        ran = max(e.epoch for e in training.epochs) + 1
        facts.append(Fact("Epochs", count(ran), "" if diverged else cut(training.stopped, 160) or "as planned"))
    if training.rates and few_rates(training):
        facts.append(_rates(training))
    if training.batch:
        cuts = training.accumulate
        whole = plural(training.batch * cuts, "item")
        facts.append(Fact("A step takes", whole, f"{cuts} batches of {count(training.batch)}" if cuts > 1 else ""))
    facts.append(Fact("Computed in", cut(training.precision, 20), f"on {cut(training.device, 40)}"))
    megabytes = known(training.memory_mb) or known(s.memory_mb)
    if megabytes:
        facts.append(Fact("Memory", memory(megabytes), "at its peak"))
    if known(training.items_per_second):
        facts.append(Fact("Speed", f"{brief(training.items_per_second)} items/s"))
    return tuple(facts)


def _rates(training: TrainingRecord) -> Fact:
    (name, first), *others = (
        (cut(name, 20), brief(rate).replace("-", NO_BREAK)) for name, rate in training.rates.items()
    )
    hint = "; ".join([name, *(f"{other} {rate}" for other, rate in others)])
    return Fact("Rate", first, hint)


def _where(training: TrainingRecord) -> str:
    if training.measured_on == "folds":
        return plural(training.folds, "fold") if training.folds else "folds"
    return "one validation split" if training.measured_on == "one split" else cut(training.measured_on, 40)


def kept(retained: Retained) -> Kept:
    """A retained task with its numbers written out; of losses and errors less is better."""
    measure = measure_named(retained.measure)
    before, after = known(retained.before), known(retained.after)
    lower = measure.lower_is_better or any(word in retained.measure for word in ("loss", "perplexity", "error"))
    both = before is not None and after is not None
    change = Interval((after or 0.0) - (before or 0.0), None, None, 1)
    return Kept(
        retained.name,
        measure.label,
        NONE if before is None else measure.value(before),
        NONE if after is None else measure.value(after),
        (measure.gain(change) + (" points" if measure.share else "")) if both else NONE,
        both and (change.value > 0 if lower else change.value < 0),
    )
