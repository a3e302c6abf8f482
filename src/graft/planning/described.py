"""Advice for data described in words: `labels=500 classes=3 domain=metal-surfaces budget=small`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from graft.errors import UsageError, unknown
from graft.planning.domain import Distance, of_words
from graft.settings import duration

BUDGETS = {"small": 60.0, "medium": 600.0, "large": 7200.0}  # seconds; medium is what `fit` gives unasked
KEYS = ("labels", "classes", "items", "modality", "domain", "names", "budget")
MODALITIES = {
    "text": "text",
    "texts": "text",
    "image": "image",
    "images": "image",
    "picture": "image",
    "pictures": "image",
    "photos": "image",
}
YES, NO = ("yes", "true"), ("no", "false")


@dataclass(frozen=True)
class Description:
    """What the words say: labelled items in all, classes, items in all, modality, distance, whether names mean something, seconds."""

    labels: int
    classes: int
    items: int
    modality: str
    distance: Distance
    names: bool | None
    budget: float | None

    @property
    def labels_a_class(self) -> float:
        """The mean; nothing is known of each."""
        return self.labels / max(1, self.classes)


def read_description(words: Sequence[str]) -> tuple[Description, dict[str, str]]:
    """The description that `key=value` words make, and the words by key. Raises UsageError with all that is wrong with them."""
    given: dict[str, str] = {}
    problems: list[str] = []
    for word in (part for text in words for part in re.split(r"[,\s]+", text) if part):
        key, sign, value = word.partition("=")
        if not sign or not value:
            problems.append(f"{word!r} is not key=value.")
        elif key not in KEYS:
            problems.append(unknown("The key", key, KEYS))
        elif key in given:
            problems.append(f"{key} is given twice, as {given[key]} and as {value}.")
        else:
            given[key] = value
    labels, classes = _count(given, "labels", 0, problems), _count(given, "classes", 1, problems)
    items = _count(given, "items", 0, problems, default=labels or 0)
    if labels and classes and labels < classes:
        problems.append(
            f"labels={labels} is fewer than classes={classes}: labels counts all labelled items; a class without any cannot be learned."
        )
    if labels is not None and items is not None and "items" in given and items < labels:
        problems.append(f"items={items} is fewer than labels={labels}: items counts all, labelled or not.")
    modality = _one_of(given, "modality", MODALITIES, problems)
    names = _one_of(given, "names", {**dict.fromkeys(YES, "yes"), **dict.fromkeys(NO, "")}, problems)
    budget = _budget(given.get("budget"), problems)
    distance, guessed = of_words(given.get("domain", ""), modality)
    if modality is None and guessed is None:
        problems.append(
            "Neither modality nor a domain that is known says whether these are texts or pictures: add modality=text or modality=image."
        )
    if problems or labels is None or classes is None or items is None or guessed is None:
        raise UsageError("--describe: " + " ".join(problems))
    known = bool(names) if names is not None else {"near": True, "far": False}.get(distance.verdict)
    return Description(labels, classes, items, guessed, distance, known, budget), given


def _count(given: dict[str, str], key: str, least: int, problems: list[str], default: int | None = None) -> int | None:
    """A whole number from `least` on; without a default the key is needed."""
    if key not in given:
        if default is None:
            problems.append(f"{key} is missing: it is needed, as in {key}={'3' if key == 'classes' else '500'}.")
        return default
    text = given[key].replace("_", "")
    if not text.isdecimal() or not least <= int(text) <= 10**12:
        problems.append(f"{key}={given[key]}: a whole number from {least} on is allowed.")
        return None
    return int(text)


def _one_of(given: dict[str, str], key: str, allowed: dict[str, str], problems: list[str]) -> str | None:
    if key not in given:
        return None
    if given[key].lower() not in allowed:
        problems.append(unknown(key, given[key], tuple(allowed)))
        return None
    return allowed[given[key].lower()]


def _budget(text: str | None, problems: list[str]) -> float | None:
    if text is None or text in BUDGETS:
        return None if text is None else BUDGETS[text]
    try:
        return duration(text)
    except UsageError:
        problems.append(f"budget={text}: {', '.join(BUDGETS)}, or a time such as 90s, 10m, 2h.")
        return None
