"""The scikit-learn face: `TransferClassifier` on numeric arrays, texts or pictures.

Legend: N items, D dims, C classes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from graft.data.dataset import Content, ImageSource, class_text
from graft.encoders.base import Encoder
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import DataError, UsageError
from graft.heads.base import softmax
from graft.heads.calibration import fit_temperature
from graft.selection.select import Candidate, Selection, select
from graft.store.cache import VectorCache
from graft.strategies.frozen import Task
from graft.strategies.naming import name_classes


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
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
        x_ND, labels = self._vectors(X, y)
        check_classification_targets(labels)
        self.classes_, y_N = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"TransferClassifier needs labels of at least two classes, and y has one class: {self.classes_[0]!r}."
            )
        seed = (
            int(check_random_state(self.random_state).randint(2**31))
            if not isinstance(self.random_state, int)
            else self.random_state
        )
        self.selection_: Selection = select(
            [Candidate(self.encoder or "", x_ND, self._task(X))],
            y_N,
            groups=None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1],
            strategies=self.strategies,
            metric=self.metric,
            folds=self.folds,
            seed=seed,
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
        return softmax(self.selection_.head.logits(self._vectors(X)[0]) / self.temperature_)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each item."""
        check_is_fitted(self)
        labels: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return labels

    def _vectors(self, X: Any, y: Any = None) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Vectors (N, D) of the items, and the labels where they are given."""
        if self.encoder is None:
            kept = {"dtype": (np.float32, np.float64), "order": "C"}
            if y is None:
                X = validate_data(self, X, reset=False, **kept)
            else:
                X, y = validate_data(self, X, y, **kept)
            largest = np.abs(X).max()
            if largest > np.finfo(np.float32).max:
                raise ValueError(f"X holds {largest:.3g}, which is too large for float32; scale it down.")
            return X.astype(np.float32), y
        items = list(X)
        if y is not None:
            y = column_or_1d(y)
            check_consistent_length(items, y)
        with VectorCache.open() as cache, tempfile.TemporaryDirectory() as folder:
            encoder = self._encoder(items)
            contents = [_content(item, number, encoder.info.modality, folder) for number, item in enumerate(items)]
            encoded = encode(contents, encoder, cache=cache)
        if encoded.faults:
            raise DataError(f"{len(encoded.faults)} of {len(items)} items cannot be read.", faults=encoded.faults)
        return encoded.vectors, y

    def _encoder(self, items: Sequence[Any]) -> Encoder:
        """The encoder, or that tower of a joint one which takes these items: strings are texts to it, anything else pictures."""
        assert self.encoder is not None
        encoder = _opened(self.encoder, None)
        if encoder.info.modality != "joint":
            return encoder
        return _opened(self.encoder, "text" if all(isinstance(item, str) for item in items) else "image")

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.encoder is not None:
            tags.input_tags.two_d_array = False
            tags.input_tags.string = True
        return tags


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
