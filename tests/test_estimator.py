"""The scikit-learn face: the whole check suite on arrays, and texts and pictures through the bundled encoders."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import graft
from graft import TransferClassifier, TransferRegressor
from graft.data.catalogue import programmes
from graft.errors import DataError, UsageError


# What scikit-learn asks of an estimator is the same code whatever the strategies, so one that is quick answers; what odd arrays do to each
# of them is also asked in tests/contracts/test_heads.py.
@parametrize_with_checks([TransferClassifier(strategies=["prototypes"]), TransferRegressor()])  # type: ignore[untyped-decorator]
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
    with pytest.raises(ValueError, match="too large for float32"):
        TransferClassifier().fit(x * 1e30, y)
    with pytest.raises(DataError, match="Item 1 is int"):
        TransferClassifier("minilm").fit(["a text", 3], [0, 1])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match="2 of 2"):
        TransferClassifier("efficientnet-lite0").fit([broken, broken], ["a", "b"])


def flats(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Vectors of three dims, a number whose size hangs on their length, and a count of a rate that grows with it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    signal = x @ [1.0, 0.5, -0.5]
    return x, 100 + 10 * signal + rng.normal(0, 3, n), rng.poisson(np.exp(1 + signal))


def test_numbers_as_well_as_ridge_and_intervals_as_often_right_as_asked() -> None:
    x, price, _ = flats(400, 0)
    new, truth, _ = flats(400, 1)
    model = TransferRegressor(coverage=0.8).fit(x, price)
    assert (model.strategy_, model.n_features_in_) == ("ridge", 3)
    assert model.why_.startswith("Ridge was chosen. K-nn errs less than the mean")
    assert [result.name for result in model.selection_.results] == ["constant", "k-nn", "ridge"]
    assert model.score(new, truth) == pytest.approx(150 / 159, abs=0.02)  # variance explained of all there is
    ends = model.predict_interval(new)
    assert ends.shape == (400, 2)
    assert ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean() == pytest.approx(0.8, abs=0.06)
    assert model.reach_.covered is not None and model.reach_.covered.value == pytest.approx(0.8, abs=0.02)


def test_counts_have_rates_and_whole_ends() -> None:
    x, _, replies = flats(400, 0)
    new, _, truth = flats(400, 1)
    model = TransferRegressor(task="count").fit(x, replies)
    assert model.strategy_ == "poisson"
    assert (model.predict(new) > 0).all()
    low, high = model.predict_interval(new).T
    np.testing.assert_array_equal([low, high], np.round([low, high]))
    assert ((low <= truth) & (truth <= high)).mean() > 0.85
    assert model.score(new, truth) > TransferRegressor().fit(x, replies).score(new, truth)


def test_without_a_signal_the_answer_is_the_mean() -> None:
    x, price, _ = flats(100, 0)
    shuffled = np.random.default_rng(2).permutation(price)
    model = TransferRegressor().fit(x, shuffled)
    assert model.strategy_ == "constant" and "the mean" in model.why_
    np.testing.assert_allclose(model.predict(x), shuffled.mean())


def test_regression_in_pipelines_and_searches() -> None:
    x, y = load_diabetes(return_X_y=True)
    piped = make_pipeline(StandardScaler(), TransferRegressor())
    assert cross_val_score(clone(piped), x, y, cv=3).mean() > 0.4
    search = GridSearchCV(piped, {"transferregressor__task": ["number", "count"]}, cv=2).fit(x, y)
    assert search.predict(x).shape == (442,)
    groups = np.repeat(np.arange(100), 2)
    twice = TransferRegressor().fit(np.repeat(x[:100], 2, axis=0), np.repeat(y[:100], 2), groups=groups)
    folds = twice.selection_.folds_N
    np.testing.assert_array_equal(folds[::2], folds[1::2])


def test_it_answers_as_the_verbs_do(tmp_path: Path) -> None:
    """The same items, folds and seed: the same choice, numbers and intervals as `graft fit` and `graft predict`."""
    rng = np.random.default_rng(0)
    light = rng.uniform(0, 1, 45)
    paths = [tmp_path / f"{i}.png" for i in range(45)]
    for path, level in zip(paths, light, strict=True):
        pixels = rng.normal(110, 8, (16, 16, 3))
        pixels[:8] += 80 * level
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    with (tmp_path / "data.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("image", "light"), *((p.name, v) for p, v in zip(paths, light, strict=True))])
    out = tmp_path / "out"
    graft.fit(tmp_path / "data.csv", label="light:number", encoder="pixels:8", group="none", out=out)
    train = [int(i) for i in json.loads((out / "split.json").read_text())["train"]]
    model = TransferRegressor("pixels:8").fit([paths[i] for i in train], light[train])
    answers = graft.load(out).predict(paths)
    np.testing.assert_allclose(model.predict(paths), [answer.value for answer in answers])
    np.testing.assert_allclose(model.predict_interval(paths), [(answer.low, answer.high) for answer in answers])


@pytest.mark.parametrize(
    ("given", "y", "said"),
    [
        ({}, np.ones(20), "Every value of y is 1"),
        ({}, [1.0] * 19 + [np.nan], "NaN"),
        ({}, [1.0] * 19 + [1e150], r"1 of 20 values of y.*y\[19\] = 1e\+150: outside"),
        ({}, ["dear"] * 20, "needs numbers"),
        (
            {"task": "count"},
            [-1, 0.5, *range(18)],
            r"2 of 20.*y\[0\] = -1: a negative count; y\[1\] = 0.5: .*not whole",
        ),
        ({"folds": 1}, np.arange(20), "folds"),
        ({"task": "cuont"}, np.arange(20), "Did you mean 'count'"),
        ({"coverage": 1.0}, np.arange(20), "between 0.5 and 0.999"),
        ({"encoder": "minilm"}, [1.0] * 19 + [np.nan], r"y\[19\] = nan: not finite"),
        ({"encoder": "minilm"}, np.arange(19), "inconsistent numbers"),
    ],
)
def test_a_target_that_cannot_be_learned_is_named(given: dict[str, Any], y: Any, said: str) -> None:
    items = ["a text"] * 20 if given.get("encoder") else np.arange(40.0).reshape(20, 2)
    with pytest.raises((ValueError, UsageError), match=said):
        TransferRegressor(**given).fit(items, y)


def test_few_items_are_learned_from_and_promise_nothing() -> None:
    x = np.arange(12.0).reshape(6, 2)
    with pytest.raises(ValueError, match="at least 2"):
        TransferRegressor().fit(x[:1], [1.0])
    with pytest.raises(ValueError, match="groups has 2 entries"):
        TransferRegressor().fit(x, np.arange(6), groups=[1, 2])
    for task in ("number", "count"):
        model = TransferRegressor(task=task).fit(x, [0, 0, 3, 0, 0, 0])
        np.testing.assert_allclose(model.predict(x), 0.5)
        with pytest.raises(UsageError, match="6 items cannot promise intervals that hold the truth of 90%"):
            model.predict_interval(x)
