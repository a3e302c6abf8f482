"""How well every recommender of the ladder foretells likes, on MovieTweetings and ml-latest-small, tuned as `recommend fit` tunes them.

    GRAFT_DATA=... python bench/recommend_quality.py [--parts mt-time ...] [--seconds 25]

A part is a set divided in one way: by time at 80 % of the rows (people and items known before that moment), by each person's last like, or by five
moments one after another (`rolling`), as the 80 % cut of ml-latest-small leaves 27 people. Likes are ratings from 4 on (MovieTweetings: 8). Every
model has the same seconds of the processor for trying its settings on a validation part; then it is fitted with the best of them for each seed.
Models that draw nothing are fitted once. The whole catalogue is ranked, what was seen is left out, ties count as chance would have them.

Each finished model is kept in the cache at once, so a run that was stopped goes on; bench/results/recommend_quality.json is written after each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import settings
from graft.fitting.session import environment
from graft.interactions.partition import Cut, by_time, leave_last_out, rolling, validation
from graft.interactions.read import read_interactions
from graft.interactions.reading import Reading
from graft.metrics.rank import paired_interval, query_interval
from graft.metrics.recommend import Ranked
from graft.recommenders.trend import WITHIN
from graft.recommending.contest import Entry, Exam, Rules, choose, fitted
from graft.recommending.models import KINDS, LADDER, Kind
from graft.towers.known import Known

RESULTS = Path(__file__).parent / "results" / "recommend_quality.json"
SETS = {"mt": "movietweetings-100k", "ml": "ml-latest-small"}
PARTS = ("mt-time", "ml-last", "ml-rolling", "mt-last")
MEASURES = ("hr@10", "hr@100", "ndcg@10", "mrr")
CHOSEN_BY = "ndcg@10"
SEEDS = (0, 1, 2)
WITHOUT_DRAWS = ("popularity", "recent-popularity", "item-knn", "ease")
RIVALS = ("recent-popularity", "ease", "als")
CUTS, FIRST = 5, 0.5  # rolling: moments, and the share of the rows before the first

Values = dict[str, NDArray[np.float64]]


def cuts_of(reading: Reading, how: str) -> list[Cut]:
    rows = reading.interactions
    if how == "time":
        return [by_time(rows)]
    return [leave_last_out(rows)] if how == "last" else rolling(rows, CUTS, FIRST)


def known_of(reading: Reading) -> Known:
    """What two towers are told: categories and dates. These sets have no descriptions."""
    catalogue = reading.catalogue
    categories = catalogue.categories if any(catalogue.categories) else None
    return Known(categories=categories, date_I=catalogue.dates, people=reading.people)


class Part:
    """One cut of a part, and what was found on it so far, a file a model."""

    def __init__(self, folder: Path, cut: Cut, known: Known, seconds: float) -> None:
        self.folder, self.known, self.seconds = folder, known, seconds
        folder.mkdir(parents=True, exist_ok=True)
        self.exam, self.rehearsal = Exam(cut), Exam(validation(cut))

    def rules(self, seed: int) -> Rules:
        return Rules(CHOSEN_BY, self.seconds, seed, self.known)

    def run(self, kind: Kind) -> None:
        """Tune, fit with each seed, measure, keep."""
        if (self.folder / f"{kind.name}.npz").is_file():
            return
        started = time.process_time()
        entry = self.tuned(kind)
        tuning = time.process_time() - started
        found: dict[str, Any] = {}
        seconds = []
        for seed in SEEDS[:1] if kind.name in WITHOUT_DRAWS else SEEDS:
            started = time.process_time()
            model = fitted(entry, self.exam.cut.train, self.rules(seed))
            seconds.append(time.process_time() - started)
            test = self.exam.take(model)
            found |= {f"{name}/{seed}": test.each[name] for name in MEASURES}
        assert entry.validation is not None
        facts = {
            "settings": entry.settings,
            "tried": entry.tried,
            "known": entry.known,
            "tuning": round(tuning, 1),
            "fit": round(float(np.median(seconds)), 2),
        }
        found["validation"] = entry.validation.each[CHOSEN_BY]
        np.savez(self.folder / f"{kind.name}.npz", facts=np.array(json.dumps(facts, default=asdict)), **found)

    def tuned(self, kind: Kind) -> Entry:
        """What the contest does, by the processor's seconds, which other work on the machine does not shorten: the settings of the model's grid in turn
        until the next would take too long. A model that wraps another takes the best of those that were kept."""
        grid = kind.grid()
        if kind.joins:
            inner = max((entry for entry in self.entries() if entry.kind.name in WITHIN), key=mean_of)
            grid = [{**s, "model": inner.kind.name, "given": inner.settings} for s in grid]
        best = Entry(kind, known=len(grid))
        started = time.process_time()
        for number, chosen in enumerate(grid):
            if number and (time.process_time() - started) * (number + 1) / number > self.seconds:
                break
            found = self.rehearsal.take(kind.fit(self.rehearsal.cut.train, chosen, 0, self.known))
            best.tried = number + 1
            if best.validation is None or found.each[CHOSEN_BY].mean() > mean_of(best):
                best.validation, best.settings = found, chosen
        return best

    def entries(self) -> list[Entry]:
        """Finished models as the contest's entries, in the ladder's order."""
        return [
            Entry(
                KINDS[name],
                settings=kept["facts"]["settings"],
                validation=Ranked({CHOSEN_BY: kept["validation"]}, 10, np.zeros(1), 0, 0, 0),
            )
            for name, kept in self.kept().items()
        ]

    def kept(self) -> dict[str, dict[str, Any]]:
        """Name to facts and values of the finished models."""
        found = {}
        for kind in LADDER:
            if (file := self.folder / f"{kind.name}.npz").is_file():
                with np.load(file) as arrays:
                    found[kind.name] = {**arrays, "facts": json.loads(str(arrays["facts"]))}
        return found


def mean_of(entry: Entry) -> float:
    assert entry.validation is not None
    return float(entry.validation.each[CHOSEN_BY].mean())


def over_seeds(kept: Sequence[Mapping[str, Any]], measure: str) -> list[NDArray[np.float64]]:
    """Values (P,) of a seed each, of all cuts one after another."""
    seeds = [seed for seed in SEEDS if f"{measure}/{seed}" in kept[0]]
    return [np.concatenate([one[f"{measure}/{seed}"] for one in kept]) for seed in seeds]


def summary(parts: Sequence[Part]) -> dict[str, Any]:
    """The finished models of a part: means over people (and seeds) with intervals over people, and paired differences."""
    kept = [part.kept() for part in parts]
    names = [kind.name for kind in LADDER if all(kind.name in one for one in kept)]
    values = {m: {n: over_seeds([one[n] for one in kept], m) for n in names} for m in MEASURES}
    mean = {m: {n: np.mean(v, axis=0) for n, v in by_name.items()} for m, by_name in values.items()}
    rows = []
    for name in names:
        facts = [one[name]["facts"] for one in kept]
        rows.append(
            {
                "model": name,
                "seeds": len(values["hr@10"][name]),
                **{m: asdict(query_interval(mean[m][name], 0)) for m in MEASURES},
                "between_seeds": round(float(np.ptp([v.mean() for v in values["hr@10"][name]])), 4),
                "settings": [f["settings"] for f in facts],
                "tried": [f["tried"] for f in facts],
                "known": facts[0]["known"],
                "tuning": round(sum(f["tuning"] for f in facts), 1),
                "fit": round(sum(f["fit"] for f in facts), 2),
            }
        )
    return {
        "people": len(mean["hr@10"][names[0]]) if names else 0,
        "cuts": [{"people": len(part.exam), "targets": len(part.exam.cut.targets_user_M)} for part in parts],
        "validation_people": [len(part.rehearsal) for part in parts],
        "seconds": parts[0].seconds,
        "rows": rows,
        **differences(parts, names, mean),
    }


def differences(parts: Sequence[Part], names: Sequence[str], mean: Mapping[str, Values]) -> dict[str, Any]:
    """What `recommend fit` chooses (one cut), and the best by the test part, against each of the rivals."""
    if len(names) < len(LADDER):
        return {}
    best = max(names, key=lambda n: float(mean[CHOSEN_BY][n].mean()))
    compared = {"best": best}
    if len(parts) == 1:
        compared["chosen"] = choose([replace(e) for e in parts[0].entries()], CHOSEN_BY, 0)[0].kind.name
    found: dict[str, Any] = {}
    for what, name in compared.items():
        gains = {
            rival: {m: asdict(paired_interval(mean[m][name], mean[m][rival], 0)) for m in ("hr@10", CHOSEN_BY)}
            for rival in RIVALS
            if rival != name
        }
        found[what] = {"model": name, "over": gains}
    towers = {m: asdict(paired_interval(mean[m]["two-tower"], mean[m]["ease"], 0)) for m in ("hr@10", CHOSEN_BY)}
    return found | {"towers_over_ease": towers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--models", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument(
        "--seconds", type=float, default=25, help="of the processor, for trying the settings of one model"
    )
    given = parser.parse_args()
    found = json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else {"parts": {}}
    for name in given.parts:
        data, _, how = name.partition("-")
        reading = read_interactions(f"data:{SETS[data]}")
        cuts = cuts_of(reading, how)
        keeper = settings.cache_dir() / "bench" / "recommend_quality"
        parts = [
            Part(keeper / f"{name}-{i}", cut, known_of(reading), given.seconds / len(cuts))
            for i, cut in enumerate(cuts)
        ]
        for kind in (KINDS[model] for model in given.models):
            for part in parts:
                part.run(kind)
            found["parts"][name] = {"set": SETS[data], "how": how, **summary(parts)}
            found |= {"date": time.strftime("%Y-%m-%d"), "machine": environment()}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            row = next((r for r in found["parts"][name]["rows"] if r["model"] == kind.name), None)
            told = "" if row is None else " ".join(f"{m} {row[m]['value']:.3f}" for m in MEASURES)
            tail = "" if row is None else f"tried {row['tried']} of {row['known']}, {row['fit']} s, {row['settings']}"
            print(f"{time.strftime('%H:%M:%S')} {name} {kind.name}: {told} {tail}", flush=True)


if __name__ == "__main__":
    main()
