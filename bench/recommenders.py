"""Sections of docs/benchmarks.md on recommenders: what they cost beside others', and how well they foretell likes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from bench.parts import ends, machine, span, table

DIVIDED = {
    "time": "time split at 80 % of the rows",
    "last": "each person's last like left out",
    "rolling": "five cuts in time, one after another",
}


def recommend_quality(found: Mapping[str, Any]) -> str:
    """All recommenders of the ladder on both sets; parts that were not run through say so."""
    parts = [
        "## How well recommenders foretell likes\n",
        f"`bench/recommend_quality.py`, {found['date']}, {machine(found['machine'])}. Likes are ratings from 4 on (MovieTweetings: 8). Every model "
        "had the same seconds of the processor for trying its settings on a validation part made as the test part is, by nDCG@10; the whole "
        "catalogue is ranked, what was rated before is left out whether liked or not, ties count as chance would have them. Means over people with 95 % "
        "intervals over people; models that draw at random were fitted with three seeds, of which each person's mean is taken (± is half the range of "
        "HR@10 between seeds), the others once. Seconds are the processor's for one fit with the settings chosen.\n",
    ]
    parts += [_quality(part) for part in found["parts"].values() if part["rows"]]
    return "\n".join(parts)


def _quality(part: Mapping[str, Any]) -> str:
    cuts = [cut["people"] for cut in part["cuts"]]
    people = (
        f"{part['people']:,} people"
        if len(cuts) == 1
        else f"{part['people']} pairs of person and cut ({', '.join(map(str, cuts))})"
    )
    rows = []
    for row in part["rows"]:
        seeds = f" ± {row['between_seeds'] / 2:.3f}" if row["seeds"] > 1 else ""
        tried = "/".join(sorted({str(n) for n in row["tried"]})) + f" of {row['known']}"
        scores = [ends(row[m]) for m in ("hr@10", "hr@100", "ndcg@10", "mrr")]
        rows.append([row["model"], scores[0] + seeds, *scores[1:], f"{row['fit']:.1f}", tried])
    title = f"{part['set']}, {DIVIDED[part['how']]}: n = {people}; {part['seconds'] * len(cuts):g} s to try the settings of a model"
    head = ["model", "HR@10", "HR@100", "nDCG@10", "MRR", "fit, s", "settings tried"]
    text = f"**{title}**\n\n" + table(head, rows)
    if "best" not in part:
        return text + "\nNot all models were measured here.\n"
    lines = []
    for what, words in (("chosen", "chosen by the validation part"), ("best", "best by the test part's nDCG@10")):
        if (told := part.get(what)) is not None and told["over"]:
            over = "; ".join(
                f"{rival} {ends(gain['hr@10'], signed=True)} in HR@10, {ends(gain['ndcg@10'], signed=True)} in nDCG@10"
                for rival, gain in told["over"].items()
            )
            lines.append(f"{told['model']}, {words}, over {over}.")
    towers = part["towers_over_ease"]
    lines.append(
        f"two-tower over ease: {ends(towers['hr@10'], signed=True)} in HR@10, {ends(towers['ndcg@10'], signed=True)} in nDCG@10."
    )
    return text + "\nPaired differences: " + " ".join(lines) + "\n"


def recommend(found: Mapping[str, Any]) -> str:
    names = {
        "als": ("ALS, 64 dims, {iterations} iterations", "implicit"),
        "item-knn": ("item-kNN, cosine, 100 neighbours", "implicit"),
        "recommend": ("the best {k} of {people_a_turn:,} people", "implicit"),
        "two-tower": ("an epoch of two towers, {likes:,} likes", "plain torch"),
    }
    parts = [
        (found[key], *(word.format(**found[key]) for word in words)) for key, words in names.items() if key in found
    ]
    for what, one in found.get("ease", {}).items():
        people, items, _ = one["size"]
        parts.append((one, f"EASE, {what} ({people:,} and {items:,})", "plain NumPy"))
    rows = [
        [name, rival, f"{one['seconds']:.2f}", f"{statistics.median(one['rival']):.2f}", f"{one['ratio']:.2f}", span(one["ratios"])]
        for one, name, rival in parts
        if "ratio" in one
    ]  # fmt: skip
    text = (
        "## Recommenders\n\n`bench/recommend.py`, one thread each, in turns, seconds of the processor; the ratio is ours over the rival's, median and range of "
        f"{len(found['item-knn']['graft'])} turns. Likes are drawn (1,000,000 of 50,000 people and 20,000 items; EASE's smaller), those of the towers are "
        "MovieTweetings'. Ours solves for every person anew from their likes where implicit looks a vector up; towers have no features of the moment, as the "
        "plain loop has none.\n\n" + table(["what", "rival", "Graft, s", "rival, s", "ratio", "range"], rows)
    )
    loss = found["als"]
    if "rival_loss" in loss:
        text += (
            f"\nThe loss that ALS reaches is {100 * (loss['loss'] / loss['rival_loss'] - 1):+.2f} % of implicit's.\n"
        )
    if one := found.get("whole"):
        text += (
            f"\nA million likes drawn, prepared and trained ({one['iterations']} iterations of ALS): {one['processor']:g} s of the processor, "
            f"{one['seconds']:g} s by the clock beside what else the machine had to do (limit 60), {one['peak_mib']:,} MiB at the peak (limit 4,096).\n"
        )
    return text
