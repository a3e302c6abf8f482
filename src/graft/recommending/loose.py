"""Finding a title that is written loosely: without its year, with its article at either end, without accents, with slips.

A title is brought to plain words; the likeness of two is that of their sets of trigrams (Dice), each weighed by how rare it is among the titles, so
that "the" and "part 2" count less than names. Trigrams are looked up in an inverted index, so that a query costs the titles it shares some with.

Legend: T titles, F forms of titles, G different trigrams, P (trigram, form) pairs, Q trigrams of a query.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graft.errors import UsageError

_YEAR = re.compile(r"\s*[(\[]\s*((?:18|19|20)\d\d)\s*(?:[-–]\s*(?:\d{4})?\s*)?[)\]]\s*$")
_YEAR_BEHIND = re.compile(r" ((?:18|19|20)\d\d)$")
_BEHIND = re.compile(
    r"^(.*\S),\s*(the|an?|l[aeo]s?|il|i|gli|der|die|das|el|un[ae]?|den|det|de|het)(?!\w)(.*)$", re.IGNORECASE
)
_BEHIND_ELIDED = re.compile(r"^(.*\S),\s*(l['’])(?!\w)(.*)$", re.IGNORECASE)
_ASIDE = re.compile(r"\s*\(([^()]*)\)")
_ARTICLES = frozenset({"the", "a", "an"})
_PARTS = frozenset({"part", "pt", "episode", "chapter", "volume", "vol"})
_ROMAN = {roman: str(i) for i, roman in enumerate(("ii", "iii", "iv", "v", "vi", "vii", "viii", "ix"), start=2)}
_NUMBERS = {
    word: str(i)
    for i, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=1)
}
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i", "&": " and "}
)
SPAN = 3  # letters of a gram
SAME_YEAR, OTHER_YEAR = 0.05, 0.15  # what the right year adds to a score, and another one takes from it
ALMOST = 0.99  # of the likeness without a year that may have been part of the title
BESIDE = 0.9  # of the likeness to what stands in brackets
BEGUN = 0.3  # of what lacks to 1, given to titles that begin with all that was asked
LEAST = 1e-3


@dataclass(frozen=True)
class Found:
    """A candidate: its place among the titles, its title, and a score in 0..1; 1 is the id, the title, or the same plain words and no other year."""

    place: int
    title: str
    score: float


class Titles:
    """Titles (T) made ready to be found; `ids`, where given, are found by themselves exactly."""

    def __init__(self, titles: Sequence[str], ids: Sequence[str] = ()) -> None:
        if ids and len(ids) != len(titles):
            raise UsageError(f"There are {len(ids)} ids for {len(titles)} titles; each title has one.")
        self.titles = tuple(titles)
        self.exact: dict[str, list[int]] = {}
        for names in (ids, self.titles):
            for place, name in enumerate(names):
                if name:  # a title that is not known is no answer
                    self.exact.setdefault(name, []).append(place)
        self._index()

    def find(self, query: str, k: int = 5) -> list[Found]:
        """The `k` titles most like `query`, best first, the first among equals first; fewer where fewer share anything with it.

        A query that is an id or, to the letter, a title comes first with score 1. Raises UsageError for `k` below 1.
        """
        if k < 1:
            raise UsageError(f"k is {k}; at least 1 title must be asked for.")
        scores_T = self._scores(query)
        scores_T[self.exact.get(query.strip(), [])] = 2  # before others of the same words
        order = np.argsort(-scores_T, kind="stable")[:k]
        return [Found(int(i), self.titles[i], min(1.0, float(scores_T[i]))) for i in order if scores_T[i] > 0]

    def _index(self) -> None:
        """Forms of the titles, and for every trigram which forms have it and how rare it is."""
        read = [forms(title) for title in self.titles]
        self._year_T = np.array([year for _, year in read], np.int64)
        self._forms = [form for found, _ in read for form in found]
        self._title_F = np.repeat(np.arange(len(read)), [len(found) for found, _ in read])
        self._share_F = np.array([share for found, _ in read for share in found.values()])
        grams_F = [_grams(form) for form in self._forms]
        self._grams = {gram: code for code, gram in enumerate(sorted(set().union(*grams_F)))}
        gram_P = np.array([self._grams[gram] for grams in grams_F for gram in sorted(grams)], np.int64)
        form_P = np.repeat(np.arange(len(grams_F)), [len(grams) for grams in grams_F])
        count_G = np.bincount(gram_P, minlength=len(self._grams))
        self._form_P = form_P[np.argsort(gram_P, kind="stable")]
        self._start_G = np.concatenate([[0], np.cumsum(count_G)])
        self._weight_G = np.log(1 + len(self._forms) / np.maximum(count_G, 1))
        self._weight_F = np.bincount(form_P, self._weight_G[gram_P], len(grams_F))

    def _scores(self, query: str) -> NDArray[np.float64]:
        """Likeness (T,) of a query to the titles, the year minded; 0 where nothing is shared."""
        words, year = plain(query)
        alike_F = self._alike(words)
        if not year and (behind := _YEAR_BEHIND.search(words)):
            year = int(behind[1])  # written without brackets, it may be part of the title or not
            alike_F = np.maximum(alike_F, ALMOST * self._alike(words[: behind.start()]))
        scores_T = np.zeros(len(self.titles))
        np.maximum.at(scores_T, self._title_F, alike_F * self._share_F)
        if year:
            met_T = scores_T > 0
            right_T = met_T & (self._year_T == year)
            other_T = met_T & (self._year_T > 0) & ~right_T
            scores_T[right_T] = np.minimum(1, scores_T[right_T] + SAME_YEAR)
            scores_T[other_T] = np.maximum(LEAST, scores_T[other_T] - OTHER_YEAR)
        return scores_T

    def _alike(self, words: str) -> NDArray[np.float64]:
        """Likeness (F,) of plain words to every form: 1 for the same."""
        grams = _grams(words)
        gram_Q = [self._grams[gram] for gram in sorted(grams) if gram in self._grams]
        if not gram_Q:
            return np.zeros(len(self._forms))
        of_Q = [self._form_P[self._start_G[g] : self._start_G[g + 1]] for g in gram_Q]
        weight_P = np.repeat(self._weight_G[gram_Q], [len(found) for found in of_Q])
        shared_F = np.bincount(np.concatenate(of_Q), weight_P, len(self._forms))
        # A gram that no title has counts as much as the rarest.
        own = self._weight_G[gram_Q].sum() + (len(grams) - len(gram_Q)) * self._weight_G.max()
        alike_F: NDArray[np.float64] = 2 * shared_F / (own + self._weight_F)
        # The last word may be typed in part: then its end is in no gram of the title.
        end = self._grams.get(f" {words} "[-SPAN:])
        rest = own - (self._weight_G.max() if end is None else self._weight_G[end])
        near = np.flatnonzero(shared_F > 0.8 * rest)
        begun = near[[self._forms[i].startswith(words) for i in near]] if len(near) else near
        alike_F[begun] += BEGUN * (1 - alike_F[begun])
        alike_F[[i for i in near if self._forms[i] == words]] = 1
        return alike_F


def find(titles: Sequence[str], query: str, k: int = 5) -> list[Found]:
    """The `k` of `titles` most like `query`; for more than one query make `Titles` once."""
    return Titles(titles).find(query, k)


def plain(text: str) -> tuple[str, int]:
    """A title in plain words, and its year where it stands in brackets at the end, else 0.

    Small letters without accents and signs; an English article is left out at the beginning, and any that was put behind a comma; numbers as digits.
    """
    year = _YEAR.search(text)
    if year:
        text = text[: year.start()]
    for behind in (_BEHIND, _BEHIND_ELIDED):
        if found := behind.match(text):
            text = f"{found[2]} {found[1]}{found[3]}"
    text = unicodedata.normalize("NFKD", text).casefold().translate(_LETTERS)
    text = "".join(sign for sign in text if not unicodedata.combining(sign))
    text = re.sub(r"(?<=\w)['’`.](?=\w)", "", text)  # don't, S.W.A.T.
    words = re.sub(r"[\W_]+", " ", text).split()
    if len(words) > 1 and words[0] in _ARTICLES:
        words = words[1:]
    # "Part" before a number says nothing; numbers as words and Roman ones are digits, but "I" and an "X" alone are more often none.
    numbered = [_ROMAN.get(word, word) if i else word for i, word in enumerate(words)]
    for i in range(len(numbered) - 1):
        if numbered[i] in _PARTS:
            numbered[i + 1] = {**_NUMBERS, "i": "1", "x": "10"}.get(numbered[i + 1], numbered[i + 1])
            numbered[i] = "" if i and numbered[i + 1].isdecimal() else numbered[i]
    return " ".join(filter(None, numbered)), int(year[1]) if year else 0


def forms(title: str) -> tuple[dict[str, float], int]:
    """The plain words by which a title is known, each with the share its likeness counts, and its year, 0 unknown.

    What stands in brackets behind a title is mostly its name in another language: the title is known without it, and by it alone.
    """
    words, year = plain(title)
    bare = _YEAR.sub("", title)
    found = {words: 1.0}
    found.setdefault(plain(_ASIDE.sub("", bare))[0], 1.0)
    for aside in _ASIDE.findall(bare):
        found.setdefault(plain(re.sub(r"^a\.?k\.?a\.?\s+", "", aside))[0], BESIDE)
    return {form: share for form, share in found.items() if form}, year


def _grams(words: str) -> set[str]:
    padded = f"  {words} "
    return {padded[i : i + SPAN] for i in range(len(padded) - SPAN + 1)} if words else set()
