"""A small streaming catalogue, made by a grammar: programmes with title, description, category, year and minutes.

It is for trying things out where no data may be fetched. Categories overlap as real ones do: about three descriptions in ten
borrow a sentence, a lead or an object from a second category, one in twelve is mostly that other one, and one programme in forty
is a re-issue of another, with a description changed by a few words. The same size and seed give the same catalogue everywhere.
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import astuple, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

BLEND = 0.30  # share that borrows from a second category
MOSTLY_OTHER = 0.08  # share of which only one sentence belongs to its category
REISSUED = 0.025  # share that repeats an earlier programme, nearly word for word
_EDITIONS = ("Restored", "Extended Cut", "Anniversary Edition", "Director's Cut")
_SWAPS = (
    ("a ", "one "),
    (" and ", " & "),
    ("who ", "that "),
    (" has ", " had "),
    (" must ", " has to "),
    (" the ", " teh "),
    (" is ", " was "),
)


@dataclass(frozen=True)
class Programme:
    """One row of the catalogue; `id` is "p0001", .., `minutes` the length."""

    id: str
    title: str
    description: str
    category: str
    year: int
    minutes: int


@cache
def _vocabulary() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("genres.toml").read_text(encoding="utf-8"))


def programmes(size: int = 600, seed: int = 0) -> list[Programme]:
    """`size` programmes of ten categories in turn, titles all different."""
    rng = np.random.RandomState(seed)  # its stream is frozen, unlike that of numpy's newer generators
    names = sorted(_vocabulary()["genres"])
    made: list[Programme] = []
    titles: set[str] = set()
    for i in range(size):
        if made and rng.random_sample() < REISSUED:
            programme = _reissue(made[rng.randint(len(made))], rng)
        else:
            programme = _programme(names[i % len(names)], rng)
        while programme.title in titles:
            programme = replace(
                programme, title=f"{programme.title}: {_pick(_vocabulary()['title_words'], rng).title()}"
            )
        titles.add(programme.title)
        made.append(replace(programme, id=f"p{i + 1:04d}"))
    return [made[i] for i in rng.permutation(size)]


def write_catalogue(path: Path, size: int = 600, seed: int = 0) -> None:
    """The catalogue as CSV with the columns id, title, description, category, year, minutes. Raises OSError."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([column.name for column in fields(Programme)])
        writer.writerows(astuple(programme) for programme in programmes(size, seed))


def _pick(choices: list[str], rng: np.random.RandomState) -> str:
    return choices[rng.randint(len(choices))]


def _programme(category: str, rng: np.random.RandomState) -> Programme:
    words = _vocabulary()
    genres = words["genres"]
    own = genres[category]
    other = genres[_pick(sorted(set(genres) - {category}), rng)]
    opening, turn, close, lead = own, own, own, own
    fate = rng.random_sample()
    if fate < MOSTLY_OTHER:
        opening, turn, close = [(own, other, other), (other, own, other), (other, other, own)][rng.randint(3)]
    elif fate < MOSTLY_OTHER + BLEND:
        if rng.random_sample() < 0.5:
            turn = other
        else:
            lead = other
    sentences = [_pick(opening["openings"], rng), _pick(turn["turns"], rng)]
    if rng.random_sample() < 0.6:
        sentences.append(_pick(close["closes"], rng))
    if rng.random_sample() < 0.5:
        sentences.append(_pick(words["production"], rng))
    first, second = rng.choice(len(words["first_names"]), 2, replace=False)
    slots = {
        "name": words["first_names"][first],
        "other": words["first_names"][second],
        "place": _pick(words["places"], rng),
        "role": _pick(lead["roles"], rng),
        "role2": _pick(own["roles"], rng),
        "thing": _pick(lead["things"], rng),
    }
    description = " ".join(_sentence(sentence, slots) for sentence in sentences)
    year = int(2026 - min(50, rng.gamma(1.6, 8.0)) - 1)
    minutes = max(22, int(rng.normal(*own["minutes"])))
    return Programme("", _title(own["title_words"], slots, rng), description, category, year, minutes)


def _sentence(template: str, slots: dict[str, str]) -> str:
    text = template.format(**slots)
    return text[0].upper() + text[1:]


def _title(words: list[str], slots: dict[str, str], rng: np.random.RandomState) -> str:
    forms = [
        "The {plain} {own}",
        "{own} and {plain}",
        "{name}'s {own}",
        "A {own} for {other}",
        "{plain} {own}",
        "The {own} of {name}",
        "{own}",
        "Before the {own}",
    ]
    own, plain = _pick(words, rng).title(), _pick(_vocabulary()["title_words"], rng).title()
    return _pick(forms, rng).format(plain=plain, own=own, name=slots["name"], other=slots["other"])


def _reissue(programme: Programme, rng: np.random.RandomState) -> Programme:
    """The same programme again: another edition in the title, one or two words of the description changed."""
    text = programme.description
    fitting = [swap for swap in _SWAPS if swap[0] in text]
    for i in rng.permutation(len(fitting))[:2]:
        old, new = fitting[i]
        text = text.replace(old, new, 1)
    title = f"{programme.title} ({_pick(list(_EDITIONS), rng)})"
    return replace(programme, title=title, description=text, year=min(2025, programme.year + 1 + rng.randint(12)))
