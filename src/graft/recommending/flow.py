"""`recommend fit` from first to last: likes divided, models set against each other, the winner fitted on everything, kept and reported.

Legend: U users, I items, P people with targets, D dims.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from graft.errors import DataError, UsageError
from graft.interactions.likes import Catalogue, Interactions
from graft.interactions.partition import Cut, at_random, by_time, leave_last_out, validation
from graft.interactions.reading import Reading
from graft.recommenders.base import Recommender, Scorer, histories_of
from graft.recommenders.top import top_k
from graft.recommending import artefact, content
from graft.recommending.cold import newcomers
from graft.recommending.contest import Contest, Entry, Exam, Rules, contest, fitted, told
from graft.recommending.kept import Kept
from graft.recommending.models import DRAWN, LADDER, Kind
from graft.recommending.opened import OpenedRecommender, open_recommender
from graft.recommending.picture import item_map
from graft.recommending.result import Facts, Parts, RecommendResult, Shown
from graft.recommending.short import Few, leaning, short_histories
from graft.results import to_json
from graft.towers.known import Known

FEWEST = 20  # people with targets below which no interval says anything
SHOWN, HISTORY, ANSWERS = 6, 12, 10
COMPARED = 32  # people whose answers are compared when the model has been saved


@dataclass(frozen=True)
class Request:
    """What the user wants; see the verb. `kinds` are the models to try, None for all; `seconds` bound the trying of settings."""

    split: str
    kinds: tuple[Kind, ...] | None
    measure: str
    seconds: float
    encoder: str | None
    seed: int
    command: str
    source: str


@dataclass(frozen=True, eq=False)
class Made:
    """The evidence, the chosen model fitted on all likes, by what new items are placed, whom popularity serves better, and what was kept
    of the way there, until the folder is written."""

    result: RecommendResult
    model: Recommender
    name: str
    reading: Reading
    placing: content.Placing | None
    few: Few | None
    kept: Kept


def recommended(reading: Reading, request: Request) -> Made:
    """Measure, choose, and fit the chosen model on everything.

    Raises DataError for likes too few to hold any out, UsageError for a division that the data do not allow.
    """
    clock = [time.perf_counter()]
    rows = reading.interactions
    cut, notes = _cut(rows, request)
    exam, rehearsal = Exam(cut), Exam(validation(cut))
    if not len(exam) or not len(rehearsal):
        raise DataError(
            f"{reading.name}: of {len(rows.likes()):,} likes none could be held out of people and items that are known from the others. "
            "More likes a person are needed."
        )
    kinds = [k for k in request.kinds or LADDER if not (k.timed and rows.time_N is None)]
    known = _known(reading, request.encoder) if any(kind.informed for kind in kinds) else Known()
    rules = Rules(request.measure, request.seconds, request.seed, known, Kept.of(cut, request.seed, known))
    found = contest(kinds, rehearsal, exam, rules)
    clock.append(time.perf_counter())
    short, few = short_histories(found, rehearsal, exam, rules)
    shown = _shown(leaning(found.model, few, cut.train), exam, reading.catalogue, rows, request.seed)
    cold = newcomers(found, exam, rules)
    clock.append(time.perf_counter())
    model = fitted(found.chosen, rows, rules)
    clock.append(time.perf_counter())
    seen = _with_vectors(found, model)
    vectors = model if seen is found.chosen else None if seen is None else fitted(seen, rows, rules)
    contents = content.told(reading.catalogue, rows, request.encoder)
    items = content.new_items(seen, _measured(found, "two-tower"), rows, contents, rules)
    placing = content.placing(seen.kind.name, vectors, contents, items) if seen and vectors else None
    clock.append(time.perf_counter())
    result = RecommendResult(
        name=reading.name,
        source=request.source,
        chosen=found.chosen.kind.name,
        why=found.why,
        measure=request.measure,
        models=told(found, exam, request.measure, request.seed),
        parts=_parts(cut, exam, rehearsal),
        data=_facts(reading, notes),
        short=short,
        cold=(*cold, *items),
        shown=shown,
        map=item_map(vectors, reading.catalogue, rows, request.seed),
        faults=reading.faults,
        seconds=dict(zip(("compare", "new people", "refit", "new items"), np.diff(clock).tolist(), strict=True)),
        seed=request.seed,
        command=request.command,
    )
    return Made(result, model, found.chosen.kind.name, reading, placing, few, rules.kept)


def publish(made: Made, folder: Path, environment: Mapping[str, str]) -> RecommendResult:
    """Write the folder, whole or not at all: result.json, report.html, model/; the model is read back and must answer as it did.

    Raises ModelError where it does not, StorageError where the folder cannot be written.
    """
    from graft.recommending.report import recommend_report
    from graft.store.files import new_folder, write_bytes, write_json

    result = replace(made.result, out=str(folder), environment=dict(environment))
    reading = made.reading
    saved = artefact.Saved(
        made.name,
        made.model.settings,
        made.model.state(),
        reading.interactions,
        reading.catalogue,
        {
            "name": result.name,
            "why": result.why,
            "measure": result.measure,
            "metrics": to_json(result.chosen_result.metrics),
        },
        made.placing,
        made.few,
    )
    with new_folder(folder) as draft:
        (draft / "model").mkdir()
        artefact.write(draft / "model", saved, card(result))
        _compare(made, open_recommender(draft / "model"))
        write_bytes(draft / "report.html", recommend_report(result).encode())
        write_json(draft / "result.json", to_json(result))
    made.kept.clear()
    return result


def _compare(made: Made, copy: OpenedRecommender) -> None:
    from graft.errors import ModelError

    rows = made.reading.interactions
    some = np.unique(rows.likes().user_N)[:COMPARED]
    asked = histories_of(rows, some)
    if not np.array_equal(made.model.scores(asked), copy.model.scores(asked)):
        raise ModelError("The saved recommender answers otherwise than the fitted one; nothing was kept.")


def card(result: RecommendResult) -> str:
    """The README of the model's folder."""
    from graft.recommending.report import held_out

    measured = "\n".join(
        f"| {name} | {i.value:.3f} | {'' if i.low is None else f'{i.low:.3f} to {i.high:.3f}'} | {i.n:,} |"
        for name, i in result.chosen_result.metrics.items()
    )
    return (
        f"# {result.name}\n\nRecommends {result.data.items:,} items, learned by Graft from {result.data.likes:,} likes of {result.data.people:,} people.\n\n"
        f"Model: `{result.chosen}`. {result.why}\n\n{held_out(result)}\n\n"
        f"| measure | value | 95 % interval | people |\n|---|---|---|---|\n{measured}\n\n"
        "The folder holds the likes it was learned from, with the ids of the people: treat it as the table itself.\n\n"
        '    graft recommend like THIS_FOLDER "a title"\n    graft recommend for THIS_FOLDER --user ID\n'
    )


def _cut(rows: Interactions, request: Request) -> tuple[Cut, tuple[str, ...]]:
    """The likes divided as asked; of `auto` by time, unless too few people are known before the moment."""
    if request.split == "random":
        return at_random(rows, seed=request.seed), ()
    if request.split == "last":
        return leave_last_out(rows), ()
    if request.split == "time":
        return by_time(rows), ()
    if rows.time_N is None:
        return at_random(rows, seed=request.seed), ("There are no times, so likes were held out at random.",)
    try:
        cut = by_time(rows)
        people = len(np.unique(cut.targets_user_M))
        rehearsal = len(np.unique(validation(cut).targets_user_M))
    except (DataError, UsageError):
        people = rehearsal = 0
    if min(people, rehearsal) >= FEWEST:
        return cut, ()
    note = (
        f"Of the people known before the last fifth of the time only {people} like anything after it, too few to compare models by: "
        "each person's last like was held out instead. --split time divides by time all the same."
    )
    return leave_last_out(rows), (note,)


def _known(reading: Reading, encoder: str | None) -> Known:
    """What the two towers are told: categories, dates, features of people, and the vectors of descriptions where there are any."""
    catalogue = reading.catalogue
    content_IC = None
    if catalogue.texts is not None and any(catalogue.texts):
        from graft.encoders.open import open_encoder
        from graft.encoding import encode
        from graft.store.cache import VectorCache

        opened = open_encoder(encoder or "minilm", modality="text")
        texts = content.described(catalogue)
        told = [code for code, text in enumerate(catalogue.texts) if text.strip()]
        with VectorCache.open() as cache:
            done = encode([texts[code] for code in told], opened, cache=cache)
        content_IC = np.zeros((len(texts), done.vectors.shape[1]), np.float32)
        content_IC[np.array(told)[done.index]] = done.vectors
    categories = catalogue.categories if any(catalogue.categories) else None
    return Known(categories=categories, content_IC=content_IC, date_I=catalogue.dates, people=reading.people)


def _parts(cut: Cut, exam: Exam, rehearsal: Exam) -> Parts:
    return Parts(
        how=cut.how,
        train_likes=len(cut.train.likes()),
        people=len(exam),
        targets=len(cut.targets_user_M),
        new_people=cut.new_people,
        new_items=cut.new_items,
        validation_people=len(rehearsal),
        now=cut.now,
    )


def _facts(reading: Reading, notes: Sequence[str]) -> Facts:
    rows = reading.interactions
    likes = rows.likes()
    return Facts(
        name=reading.name,
        rows=reading.rows,
        people=len(np.unique(rows.user_N)),
        items=len(rows.items),
        likes=len(likes),
        seen=len(rows) - len(likes),
        merged=reading.merged,
        columns=dict(reading.columns),
        how=reading.how,
        faulty=reading.faulty,
        notes=(*reading.notes, *notes),
    )


def _shown(model: Scorer, exam: Exam, catalogue: Catalogue, rows: Interactions, seed: int) -> tuple[Shown, ...]:
    """Some people of the test part drawn at random: their likes, what is recommended, what they liked afterwards."""
    title: Callable[[int], str] = lambda code: catalogue.titles[code] or rows.items[code]
    out = []
    for place in np.sort(np.random.default_rng(seed).permutation(len(exam))[:SHOWN]).tolist():
        now = float(exam.now_P[place])
        asked = replace(exam.histories.part(place, place + 1), now=None if np.isnan(now) else now)
        (items_K,), _ = top_k(model, asked, ANSWERS)
        later = set(exam.targets[place].tolist())
        history = asked.matrix.indices
        if asked.times is not None:
            history = history[np.argsort(-asked.times, kind="stable")]
        out.append(
            Shown(
                user=rows.users[int(exam.people_P[place])],
                history=tuple(title(code) for code in history[:HISTORY].tolist()),
                recommended=tuple((title(code), code in later) for code in items_K.tolist() if code >= 0),
                liked_later=tuple(title(code) for code in sorted(later)[:HISTORY]),
            )
        )
    return tuple(out)


def _with_vectors(found: Contest, model: Recommender) -> Entry | None:
    """The entry whose item vectors are drawn and new items placed by: the chosen one, else the best on the validation part that has some."""
    if model.item_vectors() is not None:
        return found.chosen
    measured = [e for e in found.entries if e.validation and e.kind.name in DRAWN]
    return max(
        measured, key=lambda e: float(e.validation.each["ndcg@10"].mean()) if e.validation else 0.0, default=None
    )


def _measured(found: Contest, name: str) -> Entry | None:
    """The entry of this name, where it was measured."""
    return next((e for e in found.entries if e.kind.name == name and e.validation), None)
