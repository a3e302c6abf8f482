"""The scikit-learn face: the whole check suite on arrays, and texts and pictures through the bundled encoders."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from graft import TransferClassifier
from graft.data.catalogue import programmes
from graft.errors import DataError, UsageError


# What scikit-learn asks of an estimator is the same code whatever the strategies, so one that is quick answers; what odd arrays do to each
# of them is also asked in tests/contracts/test_heads.py.
@parametrize_with_checks([TransferClassifier(strategies=["prototypes"])])  # type: ignore[untyped-decorator]
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        partial(checks.check_classifiers_train, readonly_memmap=True, X_dtype="float32"),
        checks.check_estimators_pickle,
        checks.check_fit2d_1feature,
        checks.check_fit2d_1sample,
        checks.check_classifiers_one_label,
        checks.check_methods_subset_invariance,
    ],
    ids=lambda check: getattr(check, "func", check).__name__,
)
def test_scikit_learns_checks_of_the_whole_ladder(check: Any) -> None:
    check("TransferClassifier", TransferClassifier())


def digits() -> tuple[Any, Any, Any, Any]:
    x, y = load_digits(return_X_y=True)
    parts: tuple[Any, Any, Any, Any] = train_test_split(x, y, train_size=200, test_size=300, random_state=0, stratify=y)
    return parts


def test_it_is_as_good_as_its_evidence_says() -> None:
    x, x_test, y, y_test = digits()
    model = TransferClassifier().fit(x, y)
    measured = next(r for r in model.selection_.results if r.name == model.strategy_).metrics["accuracy"]
    assert measured.value == pytest.approx(
        model.score(x_test, y_test), abs=0.05
    )  # 200 and 300 items: three standard errors
    assert model.strategy_ in model.why_.lower()
    p = model.predict_proba(x_test)
    assert p.shape == (300, 10)
    np.testing.assert_allclose(p.sum(1), 1)
    sure = p.max(1)
    assert abs(sure.mean() - model.score(x_test, y_test)) < 0.06  # calibrated on folds


def test_labels_may_be_words_and_it_fits_into_pipelines() -> None:
    x, _, y, _ = digits()
    words = np.array([f"digit {label}" for label in y])
    piped = make_pipeline(StandardScaler(), TransferClassifier(strategies=["prototypes"]))
    scores = cross_val_score(piped, x, words, cv=3)
    assert scores.mean() > 0.8
    assert set(piped.fit(x, words).predict(x)) <= set(words)


def test_groups_stay_together() -> None:
    x, _, y, _ = digits()
    copied, labels, groups = np.repeat(x, 2, axis=0), np.repeat(y, 2), np.repeat(np.arange(len(y)), 2)
    model = TransferClassifier(strategies=["neighbours"])
    loose = model.fit(copied, labels).selection_.results[0].metrics["accuracy"].value
    whole = model.fit(copied, labels, groups=groups).selection_.results[0].metrics["accuracy"].value
    assert loose > 0.99 and loose - whole > 0.01


def test_texts_and_a_sentence_a_class() -> None:
    rows = programmes(100, 1)
    texts, labels = [row.description for row in rows], [row.category for row in rows]
    model = TransferClassifier("minilm", strategies=["zero-shot"]).fit(texts, labels)
    plain = model.score(texts, labels)
    assert plain > 2 / len(model.classes_)
    swapped = dict(zip(model.classes_, [*model.classes_[1:], model.classes_[0]], strict=True))
    assert (
        TransferClassifier("minilm", strategies=["zero-shot"], class_texts=swapped)
        .fit(texts, labels)
        .score(texts, labels)
        < plain
    )


def test_pictures_by_path_or_in_memory_are_the_same(tmp_path: Path) -> None:
    pixels, labels = load_digits(return_X_y=True)
    pictures = [Image.fromarray((p.reshape(8, 8) * 15).astype(np.uint8)).resize((32, 32)) for p in pixels[:40]]
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for picture, path in zip(pictures, paths, strict=True):
        picture.save(path)
    by_path = TransferClassifier("efficientnet-lite0", strategies=["prototypes"]).fit(paths, labels[:40])
    in_memory = TransferClassifier("efficientnet-lite0", strategies=["prototypes"]).fit(pictures, labels[:40])
    np.testing.assert_array_equal(by_path.predict_proba(pictures), in_memory.predict_proba(paths))


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    x, _, y, _ = digits()
    with pytest.raises(UsageError, match="linear-probe"):
        TransferClassifier(strategies=["liner-probe"]).fit(x, y)
    with pytest.raises(UsageError, match="encoder"):
        TransferClassifier(class_texts={0: "zero"}).fit(x, y)
    with pytest.raises(ValueError, match="one class"):
        TransferClassifier().fit(x, np.zeros(len(x)))
    with pytest.raises(DataError, match="Item 1 is int"):
        TransferClassifier("minilm").fit(["a text", 3], [0, 1])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match="1 of 1"):
        TransferClassifier("efficientnet-lite0").fit([broken], ["a"])
