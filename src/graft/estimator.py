"""The scikit-learn face: `TransferClassifier` and `TransferRegressor` on numeric arrays, texts or pictures.

Legend: N items, D dims, C classes, K columns of answers (one).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from graft.data.dataset import Content, ImageSource, Target, class_text
from graft.data.targets import checked, strata
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import DataError, UsageError, unknown
from graft.heads.base import softmax
from graft.heads.calibration import fit_temperature
from graft.selection.select import Candidate, Selection, select
from graft.store.cache import VectorCache
from graft.strategies.frozen import Task
from graft.strategies.naming import name_classes
from graft.targets.contest import Outcome, contest
from graft.targets.kinds import KINDS
from graft.targets.reach import ends_of, measured, reach_of_choice

KEPT = {"dtype": (np.float32, np.float64), "order": "C"}  # of an array that is checked
TASKS = ("number", "count")  # of `TransferRegressor`
MOST_FAULTS = 5  # named in a message


class _OnItems(BaseEstimator):  # type: ignore[misc]
    """What both faces do with `encoder` and `random_state`: items become vectors, and a seed is drawn."""

    encoder: str | None
    random_state: Any

    def _seed(self) -> int:
        if isinstance(self.random_state, int):
            return self.random_state
        return int(check_random_state(self.random_state).randint(2**31))

    def _given(self, X: Any, y: Any) -> tuple[Any, NDArray[Any]]:
        """Items and labels as they can be used: quick checks, before anything is encoded."""
        if self.encoder is None:
            X, y = validate_data(self, X, y, **KEPT)
            return X, y
        items, y = list(X), column_or_1d(y)
        check_consistent_length(items, y)
        return items, y

    def _asked(self, X: Any) -> NDArray[np.float32]:
        """Vectors (N, D) of items to predict."""
        return self._vectors(validate_data(self, X, reset=False, **KEPT) if self.encoder is None else list(X))

    def _vectors(self, X: Any) -> NDArray[np.float32]:
        """Vectors (N, D) of checked items."""
        if self.encoder is None:
            largest, limit = np.abs(X).max(), np.sqrt(np.finfo(np.float32).max / X.shape[1])
            if largest > limit:
                raise ValueError(
                    f"X holds {largest:.3g}, and squares of numbers above {limit:.2g} are too large for float32; scale it down."
                )
            x_ND: NDArray[np.float32] = X.astype(np.float32)
            return x_ND
        with VectorCache.open() as cache, tempfile.TemporaryDirectory() as folder:
            encoder = self._encoder(X)
            contents = [_content(item, number, encoder.info.modality, folder) for number, item in enumerate(X)]
            encoded = encode(contents, encoder, cache=cache)
        if encoded.faults:
            raise DataError(f"{len(encoded.faults)} of {len(X)} items cannot be read.", faults=encoded.faults)
        return encoded.vectors

    def _encoder(self, items: Sequence[Any]) -> Encoder:
        """The encoder, or that tower of a joint one which takes these items: strings are texts to it, anything else pictures."""
        assert self.encoder is not None
        encoder = _opened(self.encoder, None)
        if encoder.info.modality != "joint":
            return encoder
        return _opened(self.encoder, "text" if all(isinstance(item, str) for item in items) else "image")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.encoder is not None:
            tags.input_tags.two_d_array = False
            tags.input_tags.string = True
        return tags


class TransferClassifier(ClassifierMixin, _OnItems):  # type: ignore[misc]
    """Chooses the best frozen strategy on your vectors by cross-validation, as `graft fit` does, and predicts with it.

    Parameters
    ----------
    encoder : str or None
        Reference of the encoder that turns items into vectors: "minilm" for a list of texts, "efficientnet-lite0" for a list of
        picture paths. None (the default): X are vectors already, an array (N, D).
    strategies : list of str or None
        Only these strategies; None for all that can run.
    metric : "accuracy", "macro_f1" or "log_loss"
        What to choose by.
    folds : int or None
        Folds of the cross-validation; None: from the number of labels a class.
    class_texts : mapping from label to str, or None
        A name or a sentence for each class, for zero-shot and named strategies; None: the label itself. Needs an encoder.
    random_state : int, RandomState or None
        Seed of the folds. The default, 0, gives the same model every time.

    Attributes
    ----------
    classes_ : array (C,)
        Labels in sorted order.
    strategy_, why_ : str
        The strategy chosen and the reasons.
    selection_ : graft.selection.select.Selection
        All evidence: what every strategy scored, with intervals.
    temperature_ : float
        Divides the logits before softmax (Guo et al. 2017); 1 where there were no folds to fit it on.
    n_features_in_ : int
        D, when X is an array.
    """

    def __init__(
        self,
        encoder: str | None = None,
        *,
        strategies: Sequence[str] | None = None,
        metric: str = "accuracy",
        folds: int | None = None,
        class_texts: Mapping[Any, str] | None = None,
        random_state: Any = 0,
    ) -> None:
        self.encoder = encoder
        self.strategies = strategies
        self.metric = metric
        self.folds = folds
        self.class_texts = class_texts
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Choose a strategy and fit it. X (N, D) numbers, or N texts or picture paths; y (N,) labels; groups (N,) items that stay together.

        Raises ValueError for arrays that cannot be used, UsageError for an unknown strategy or metric, DataError for items that
        cannot be read.
        """
        X, labels = self._given(X, y)
        check_classification_targets(labels)
        self.classes_, y_N = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"TransferClassifier needs labels of at least two classes, and y has one class: {self.classes_[0]!r}."
            )
        self.selection_: Selection = select(
            [Candidate(self.encoder or "", self._vectors(X), self._task(X))],
            y_N,
            groups=None if groups is None else _codes(groups, len(y_N)),
            strategies=self.strategies,
            metric=self.metric,
            folds=self.folds,
            seed=self._seed(),
        )
        self.strategy_, self.why_ = self.selection_.chosen, self.selection_.why
        logits_NC, known_N = self.selection_.oof_logits_NC, self.selection_.oof_known_N
        self.temperature_ = 1.0
        if logits_NC is not None and known_N is not None:
            self.temperature_ = fit_temperature(logits_NC[known_N], y_N[known_N])
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Probabilities (N, C), columns in the order of `classes_`."""
        check_is_fitted(self)
        return softmax(self.selection_.head.logits(self._asked(X)) / self.temperature_)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each item."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def _task(self, items: Any) -> Task:
        """The classes, with vectors of their names where an encoder can tell them."""
        if self.encoder is None:
            if self.class_texts is not None:
                raise UsageError("class_texts need an encoder; with encoder=None there is nothing to read them.")
            return Task(len(self.classes_))
        given = self.class_texts or {}
        texts = [given.get(label) or class_text(str(label)) for label in self.classes_.tolist()]
        with VectorCache.open() as cache:
            return name_classes(self._encoder(items), texts, cache=cache)


class TransferRegressor(RegressorMixin, _OnItems):  # type: ignore[misc]
    """Chooses how to answer numbers or counts from your vectors by cross-validation, as `graft fit` does, and answers with an interval.

    The same answer for all (the mean), the mean of the nearest neighbours, and ridge or Poisson regression meet on the same folds. One is taken
    over a plainer one only where it is shown to err less; so without a signal the answer is the mean, and `why_` says so.

    Parameters
    ----------
    encoder : str or None
        As for `TransferClassifier`. Vectors of an encoder are brought to length 1, as `graft fit` does; of an array only the scale as a whole is
        (ridge and Poisson see how long its rows are, neighbours do not), so put columns of different units on one scale before.
    task : "number" or "count"
        "number" (the default, whatever y holds: a guess could change between two fits of a search) chooses by RMSE and answers the mean;
        "count" takes whole numbers from 0 on, chooses by Poisson deviance and answers the rate.
    folds : int or None
        Folds of the cross-validation; None: 5, drawn twice below 1,000 items.
    coverage : float
        Share of items whose truth `predict_interval` is to hold, 0.5 to 0.999.
    random_state : int, RandomState or None
        Seed of the folds. The default, 0, gives the same model every time.

    Attributes
    ----------
    strategy_, why_ : str
        What was chosen, "constant", "k-nn", "ridge" or "poisson", and the reasons.
    selection_ : graft.targets.contest.Outcome
        All evidence: what every contender scored on the folds, with intervals (`results`).
    reach_ : graft.targets.result.Reach
        How far the intervals reach, and the share of items whose truth they held out of fold.
    n_features_in_ : int
        D, when X is an array.
    """

    def __init__(
        self,
        encoder: str | None = None,
        *,
        task: str = "number",
        folds: int | None = None,
        coverage: float = 0.9,
        random_state: Any = 0,
    ) -> None:
        self.encoder = encoder
        self.task = task
        self.folds = folds
        self.coverage = coverage
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Choose and fit. X (N, D) numbers, or N texts or picture paths; y (N,) numbers or counts; groups (N,) items that stay together.

        Raises ValueError for arrays that cannot be used, UsageError for an unknown task, a coverage or folds out of range, DataError for items
        that cannot be read and where all are of one group.
        """
        if self.task not in TASKS:
            raise UsageError(unknown("task", str(self.task), TASKS))
        if not 0.5 <= self.coverage <= 0.999:
            raise UsageError(f"coverage {self.coverage}: it lies between 0.5 and 0.999.")
        X, y_N = self._given(X, y)
        y_NK = _amounts(y_N, self.task)[:, None]
        kind = KINDS[self.task]
        if self.encoder is None:
            kind = replace(kind, fit=partial(kind.fit, normalisation="CSN"))
        self.selection_: Outcome = contest(
            [(self.encoder or "", self._vectors(X))],
            y_NK,
            strata(Target(self.task, y_NK), np.ones(len(y_NK), np.bool_)),
            np.arange(len(y_NK)) if groups is None else _codes(groups, len(y_NK)),
            kind,
            folds=self.folds,
            seed=self._seed(),
        )
        trial = self.selection_.trial
        self.strategy_, self.why_ = trial.contender.name, self.selection_.why
        reach = reach_of_choice(self.selection_, kind, y_NK, self.coverage)
        assert reach is not None, "numbers and counts have intervals"
        self.reach_ = measured(kind, reach, y_NK, trial.answers_NK, "folds")
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The number, or the rate of the count, of each item (N,)."""
        return self._answers(X)[:, 0]

    def predict_interval(self, X: Any) -> NDArray[np.float64]:
        """Low and high end (N, 2) for each item, as `graft predict` has them: together they hold the truth of `coverage` of items like those
        fitted (split conformal, see `graft.heads.conformal`); ends of counts are whole.

        Raises UsageError where there were too few items to promise that coverage.
        """
        answers_NK = self._answers(X)
        ends = ends_of(KINDS[self.task], answers_NK, self.reach_)
        if ends is None:
            items = len(self.selection_.folds_N)
            raise UsageError(
                f"{items} items cannot promise intervals that hold the truth of {self.reach_.coverage:.0%}; fit on more items, or with a lower coverage."
            )
        return np.column_stack(ends)

    def _answers(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self.selection_.head.predict(self._asked(X))


def _codes(groups: Any, items: int) -> NDArray[np.int64]:
    """Groups as whole numbers (N,)."""
    groups_N = column_or_1d(groups)
    if len(groups_N) != items:
        raise ValueError(f"groups has {len(groups_N)} entries, and there are {items} items.")
    codes_N: NDArray[np.int64] = np.unique(groups_N, return_inverse=True)[1]
    return codes_N


def _amounts(y_N: NDArray[Any], task: str) -> NDArray[np.float64]:
    """What to learn from, as numbers or counts (N,). Raises ValueError for fewer than two, faulty ones (naming them), and ones that are all alike."""
    try:
        values_N = np.asarray(y_N, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"TransferRegressor needs numbers, and y holds something else: {error}.") from error
    if len(values_N) < 2:
        raise ValueError(f"TransferRegressor needs at least 2 items to learn from, and X has {len(values_N)} sample.")
    faults = []
    for position, value in enumerate(values_N.tolist()):
        try:
            checked(value, whole=task == "count")
        except ValueError as problem:
            faults.append(f"y[{position}] = {value:g}: {problem}")
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise ValueError(
            f"{len(faults)} of {len(values_N)} values of y cannot be learned from. {'; '.join(faults[:MOST_FAULTS])}{more}."
        )
    if not (values_N != values_N[0]).any():
        raise ValueError(f"Every value of y is {values_N[0]:g}: there is nothing to learn.")
    return values_N


@lru_cache(maxsize=4)
def _opened(reference: str, modality: str | None) -> Encoder:
    """The encoder, kept so that predicting a few items at a time does not read its weights each time."""
    return open_encoder(reference, modality=modality)


def _content(item: Any, number: int, modality: str, folder: str) -> Content:
    """One item as the engine takes it: a text, a picture's path, or a Pillow image (kept in `folder`, without loss, until it is encoded)."""
    if modality == "text":
        if not isinstance(item, str):
            raise DataError(f"Item {number} is {type(item).__name__}, and the encoder takes texts.")
        return item
    if isinstance(item, str | Path):
        return ImageSource(Path(item))
    if not hasattr(item, "save"):
        raise DataError(f"Item {number} is {type(item).__name__}; pictures are given as paths or as Pillow images.")
    path = Path(folder) / f"{number}.png"
    item.save(path)
    return ImageSource(path)
