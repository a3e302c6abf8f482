"""The page on which a person judges doubted labels, and what `diagnose labels` found: one HTML page that needs nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from graft.reports.build import html_page
from graft.results import Fault, Interval, Suspect


@dataclass(frozen=True)
class Shown:
    """An item as it is shown: its text, or a picture as a data URI; both empty where it cannot be read."""

    item: str
    text: str
    picture: str


@dataclass(frozen=True)
class Doubted:
    """A suspect, the item, and its nearest items of the label given and of the label suggested."""

    suspect: Suspect
    shown: Shown
    given: tuple[Shown, ...]
    suggested: tuple[Shown, ...]


@dataclass(frozen=True)
class LabelsResult:
    """What was found of a data set's labels.

    `asked` items were judged by a model that had not learned from them and gives the same label to `right` of them (`chance`: the largest
    class's share); `doubted` of them are doubted, of which `suspects` holds the first. `reason` says why nothing is doubted where nothing could be.
    """

    name: str
    source: str
    modality: str
    items: int
    asked: int
    classes: tuple[str, ...]
    strategy: str
    encoder: str
    right: Interval
    chance: float
    doubted: int
    suspects: tuple[Suspect, ...]
    pairs: tuple[tuple[str, str, int], ...] = ()
    lone: tuple[str, ...] = ()
    reason: str = ""
    faults: tuple[Fault, ...] = ()
    seed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    out: str = ""


@dataclass(frozen=True)
class CorrectedTable:
    """A table written with corrected labels: `changed` labels of `rows` rows, `confirmed` that were judged to be right, `lost` rows that could not be
    read and are left out."""

    path: str
    rows: int
    changed: int
    confirmed: int
    lost: int = 0
    pairs: tuple[tuple[str, str, int], ...] = ()


def review_page(result: LabelsResult, doubted: Sequence[Doubted]) -> str:
    """The page: one suspect at a time, answered by keyboard or button, kept in the browser until it is saved as a file."""
    from markupsafe import Markup

    tree = page_data(result, doubted)
    return html_page(
        "review.html",
        style="review.css",
        script="review.js",
        result=result,
        data=Markup(_inside_script(tree)),
    )


def page_data(result: LabelsResult, doubted: Sequence[Doubted]) -> dict[str, object]:
    """What the page's script reads; `key` names the answers kept in the browser, so that those to other data or other suspects are not mixed in."""
    looks: dict[str, dict[str, str]] = {}

    def number(shown: Shown) -> str:
        looks.setdefault(shown.item, {"text": shown.text, "picture": shown.picture})
        return shown.item

    cards = [
        {
            "item": d.suspect.item,
            "given": d.suspect.given,
            "suggested": d.suspect.suggested,
            "pGiven": d.suspect.p_given,
            "pSuggested": d.suspect.p_suggested,
            "text": d.shown.text,
            "picture": d.shown.picture,
            "nearGiven": [number(s) for s in d.given],
            "nearSuggested": [number(s) for s in d.suggested],
        }
        for d in doubted
    ]
    told = json.dumps([[c["item"], c["given"], c["suggested"]] for c in cards])
    key = hashlib.blake2b(f"{result.source}\n{told}".encode("utf-8", "replace"), digest_size=8).hexdigest()
    return {
        "key": f"graft-labels-{key}",
        "name": result.name,
        "source": result.source,
        "classes": list(result.classes),
        "cards": cards,
        "looks": looks,
    }


def _inside_script(tree: object) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
