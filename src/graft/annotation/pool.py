"""The items that labels are wanted for: read, encoded, and the next of them to ask for.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graft import encoding
from graft.data.columns import read_label
from graft.data.dataset import Content, clean_label, natural_key
from graft.data.read import read
from graft.encoders.open import BUNDLED, open_encoder
from graft.errors import DataError, UsageError
from graft.heads.normalise import Normaliser
from graft.labelling.outcome import Counts, Query
from graft.labelling.queries import at_random, best_first, closeness, entropy, k_centre, typical
from graft.labelling.spreading import probe
from graft.reports.formats import plural
from graft.results import Fault
from graft.store.cache import VectorCache

Answers = Mapping[str, str | None]  # content hash -> label, None for an item that was set aside
CLEAN = 10.0  # c of the probe on labels of people: at 1 the first few labels move it too little (docs/LOG.md)
FEW = 5  # labels a class up to which typical items are asked for, and from which close calls are
LONGEST_LABEL = 200  # characters


@dataclass(frozen=True, eq=False)
class Pool:
    """Sequences are parallel, one entry an item that could be encoded. `keys` are hashes of the contents: copies have the same.

    `given` labels stood in the data. `x_ND` are unit vectors on one footing (`Normaliser`).
    """

    name: str
    source: str
    modality: str
    ids: tuple[str, ...]
    contents: tuple[Content, ...]
    keys: tuple[str, ...]
    given: tuple[str | None, ...]
    x_ND: NDArray[np.float32] = field(repr=False)
    faults: tuple[Fault, ...] = ()
    held_out: int = 0
    columns: Mapping[str, str] = field(default_factory=dict)  # role -> column of a table, with what was guessed

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, answers: Answers) -> list[str | None]:
        """The label of every item: an answer where there is one (also to a copy of it), else the one given."""
        return [answers.get(key) or given for key, given in zip(self.keys, self.given, strict=True)]

    def count(self, answers: Answers) -> Counts:
        """How many items are labelled by whom."""
        copies = Counter(key for key in self.keys if key in answers)
        answered = sum(count for key, count in copies.items() if answers[key] is not None)
        labels = self.labels(answers)
        unlabelled = labels.count(None)
        return Counts(
            items=len(self),
            given=len(self) - unlabelled - answered,
            answered=answered,
            skipped=sum(copies.values()) - answered,
            unlabelled=unlabelled,
            gone=sum(key not in copies for key in answers),
            differ=sum(
                given is not None and answers.get(key) not in (None, given)
                for key, given in zip(self.keys, self.given, strict=True)
            ),
            held_out=self.held_out,
        )


def open_pool(
    data: str | Path,
    *,
    label: str | None = None,
    content: str | None = None,
    encoder: str | None = None,
    strict: bool = False,
) -> Pool:
    """Read and encode everything but the data's own test part, which is never asked for.

    Raises what `read` and `encode` raise, and DataError where no item can be used.
    """
    dataset = read(data, label=label, content=content)
    faults = tuple(fault for fault in dataset.faults if fault.about == "content")
    ours = np.arange(len(dataset)) if dataset.test_mask is None else np.flatnonzero(~dataset.test_mask)
    chosen = dataset.take(ours)
    opened = open_encoder(encoder or BUNDLED[dataset.modality], modality=dataset.modality)
    with VectorCache.open() as cache:
        encoded = encoding.encode(chosen.contents, opened, ids=chosen.ids, cache=cache)
    faults += encoded.faults
    if strict and faults:
        raise DataError(f"{data}: {len(faults):,} of its items cannot be used. --strict stops here.", faults=faults)
    if not len(encoded.index):
        raise DataError(f"No item of {data} can be read.", faults=faults)
    used = chosen.take(encoded.index)
    return Pool(
        name=dataset.name,
        source=dataset.source,
        modality=dataset.modality,
        ids=used.ids,
        contents=used.contents,
        keys=encoded.hashes,
        given=tuple(dataset.classes[code] if code >= 0 else None for code in used.labels),
        x_ND=Normaliser().fit(encoded.vectors)(encoded.vectors),
        faults=faults,
        held_out=len(dataset) - len(ours),
        columns=dataset.columns,
    )


def classes_named(given: str | None) -> tuple[str, ...]:
    """The labels of `a,b,c`, in that order. Raises UsageError for an empty name and one that comes twice."""
    if given is None:
        return ()
    names = [clean_label(name) for name in given.split(",")]
    problems = ["--classes has an empty name."] * ("" in names)
    problems += [f"--classes: {problem}" for name in names if name and (problem := no_label(name))]
    problems += [f"--classes names {name!r} twice." for name in sorted({n for n in names if n and names.count(n) > 1})]
    if problems:
        raise UsageError(" ".join(problems))
    return tuple(names)


def no_label(word: str) -> str:
    """Why a table of labels could not hold this word (as `clean_label` leaves it), or nothing."""
    if not 1 <= len(word) <= LONGEST_LABEL:
        return f"A label has 1 to {LONGEST_LABEL} characters."
    if any(unicodedata.category(sign) in ("Cc", "Zl", "Zp") for sign in word):
        return f"{word!r} holds signs that are not seen: a label is one line of text."
    if (read := read_label(word, typed=False)) != word:
        return f"{word!r} cannot be a label: read from a table it means {'no label' if read is None else repr(read)}."
    return ""


def all_classes(named: Sequence[str], labels: Sequence[str | None]) -> tuple[str, ...]:
    """The classes named, then those met besides, in natural order."""
    return (*named, *sorted({label for label in labels if label is not None} - set(named), key=natural_key))


@dataclass(frozen=True)
class Batch:
    """Items to ask for, best first; `how` they were chosen (never auto), and `why` so, in a sentence."""

    how: str
    why: str
    items: tuple[Query, ...]


def next_batch(pool: Pool, answers: Answers, classes: Sequence[str], how: str, k: int, seed: int = 0) -> Batch:
    """The next `k` items worth a label, of those that have none and were not set aside; no two of them copies (near duplicates: see `best_first`).

    Raises UsageError where `how` needs a model, and labels of two classes, and there are none.
    """
    labels = pool.labels(answers)
    code = {label: i for i, label in enumerate(classes)}
    y_N = np.array([-1 if label is None else code[label] for label in labels], np.int64)
    aside = np.array([key in answers and answers[key] is None for key in pool.keys], bool)
    free = np.flatnonzero((y_N < 0) & ~aside)
    met = len({label for label in labels if label is not None})
    how, why = _way(how, int((y_N >= 0).sum()), met, max(2, len(classes)))
    if not len(free):
        return Batch(how, "Every item has a label or was set aside: there is nothing to ask for.", ())
    if how in ("margin", "uncertainty"):
        p_NC = probe(pool.x_ND, y_N, len(classes), CLEAN)
        picked = best_first((closeness if how == "margin" else entropy)(p_NC), pool.x_ND, free, k)
        rows, scores = picked.rows, picked.score
        reasons = [_between(p_NC[row], classes, how) for row in rows]
    elif how == "random":
        drawn = at_random(free, len(free), seed + len(answers))
        order_N = np.zeros(len(pool))
        order_N[drawn] = np.linspace(1, 0, len(drawn))
        picked = best_first(order_N, pool.x_ND, free, k)
        rows, scores, reasons = picked.rows, picked.score, ["drawn at random"] * len(picked.rows)
    else:
        seen = (y_N >= 0) | aside
        picked = k_centre(pool.x_ND, seen, k) if how == "core-set" else typical(pool.x_ND, seen, k, seed)
        rows, scores = picked.rows, picked.score
        told = (
            "{:.2f} away from all that is labelled or asked before"
            if how == "core-set"
            else "typical of a group of {:.1%} of the items"
        )
        reasons = [told.format(score) for score in scores]
    items = [
        Query(pool.ids[row], pool.keys[row], _text(pool.contents[row]), reason, float(score))
        for row, score, reason in zip(rows.tolist(), scores, reasons, strict=True)
    ]
    unique = {item.key: item for item in reversed(items)}  # of exact copies one is asked for: the first
    return Batch(how, why, tuple(item for item in items if unique[item.key] is item))


def _way(how: str, labelled: int, met: int, classes: int) -> tuple[str, str]:
    if how == "auto":
        if met < 2 or labelled < FEW * classes:
            have = f"{plural(labelled, 'label')} so far" if labelled else "No label yet"
            return "typical", f"{have}: a model knows little, so typical items of all kinds come first."
        return "margin", "There are labels enough for a first model: items it cannot decide about teach it most."
    if how in ("margin", "uncertainty") and met < 2:
        raise UsageError(
            f"--how {how} asks what a model is unsure of, and a model needs labels of two classes; there are labels of {met or 'none'}. "
            "--how typical, core-set and random need none."
        )
    return how, "As you asked."


def _between(p_C: NDArray[np.float64], classes: Sequence[str], how: str) -> str:
    first, second = np.argsort(-p_C)[:2].tolist()
    if how == "margin":
        return f"between {classes[first]} ({p_C[first]:.2f}) and {classes[second]} ({p_C[second]:.2f})"
    return f"unsure: {classes[first]} is the likeliest, with {p_C[first]:.2f}"


def _text(content: Content) -> str:
    return content if isinstance(content, str) else ""
