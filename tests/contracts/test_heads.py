"""What every head must do, whoever wrote it.

Legend: N items, D dims, C classes, K classes of a picture encoder's own classifier.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import numpy as safetensors

from graft.heads import kernel
from graft.heads.base import Float32Array, Float64Array, Head, IntArray, softmax, unit_rows
from graft.heads.kernel import KernelHead
from graft.heads.linear import LinearHead
from graft.heads.neighbours import NeighbourHead
from graft.heads.normalise import NORMALISATIONS
from graft.heads.prototypes import PrototypeHead
from graft.heads.zero_shot import BridgeHead, ZeroShotHead

CLASSES, DIMS, OWN_CLASSES = 4, 12, 9
LAYER_KD = np.random.default_rng(8).normal(size=(OWN_CLASSES, DIMS)).astype(np.float32)


@dataclass(frozen=True)
class Case:
    """A head to hold to the contract, made from a vector for each class's name, which only `named` heads look at.

    `guesses` says that a class without an example is known by its name, no worse than others.
    """

    name: str
    make: Callable[[Float32Array], Head]
    named: bool = False
    guesses: bool = False
    few_landmarks: bool = False


def bridge(names_CD: Float32Array) -> Head:
    """A classifier of nine classes whose texts are as near to the user's as its weights are to the names."""
    return BridgeHead(LAYER_KD, np.linspace(-1, 1, OWN_CLASSES), unit_rows(names_CD) @ unit_rows(LAYER_KD).T)


def means(normalisation: str) -> Case:
    return Case(f"prototypes-{normalisation}", lambda _: PrototypeHead(normalisation=normalisation))


CASES = (
    Case("zero-shot", ZeroShotHead, named=True, guesses=True),
    Case("bridge", bridge, named=True, guesses=True),
    *map(means, NORMALISATIONS),
    Case("named-prototypes", lambda names_CD: PrototypeHead(names_CD=names_CD), named=True, guesses=True),
    Case(
        "named-prototypes-4",
        lambda names_CD: PrototypeHead(names_CD=names_CD, name_weight=4.0),
        named=True,
        guesses=True,
    ),
    Case("neighbours", lambda _: NeighbourHead(k=3)),
    Case("linear", lambda _: LinearHead()),
    Case("linear-balanced", lambda _: LinearHead(c=10.0, balanced=True)),
    Case("named-linear", lambda names_CD: LinearHead(names_CD=names_CD), named=True),
    Case("kernel", lambda _: KernelHead()),
    Case("kernel-balanced", lambda _: KernelHead(gamma=0.3, balanced=True)),
    Case("kernel-landmarks", lambda _: KernelHead(), few_landmarks=True),
)


@pytest.fixture(params=CASES, ids=[case.name for case in CASES])
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    found: Case = request.param
    if found.few_landmarks:
        monkeypatch.setattr(kernel, "MOST_EXACT", 5)
        monkeypatch.setattr(kernel, "LANDMARKS", 20)
    return found


def points(seed: int, n: int = 60, n_classes: int = CLASSES) -> tuple[Float32Array, NDArray[np.int64], Float32Array]:
    """Items around one direction a class, each class at least once, and names near those directions."""
    rng = np.random.default_rng(seed)
    centre_CD = np.eye(n_classes, DIMS) + 0.3
    y_N = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    x_ND = (centre_CD[y_N] + 0.25 * rng.normal(size=(n, DIMS))).astype(np.float32)
    return x_ND, y_N, unit_rows(centre_CD + 0.1 * rng.normal(size=centre_CD.shape))


def fitted(case: Case, seed: int = 0, n: int = 60, n_classes: int = CLASSES) -> Head:
    x_ND, y_N, names_CD = points(seed, n, n_classes)
    return case.make(names_CD).fit(x_ND, y_N, n_classes)


def reloaded(head: Head) -> Head:
    """The head after its state has been through bytes on disk."""
    arrays, config = head.state()
    return type(head).from_state(safetensors.load(safetensors.save(arrays)), json.loads(json.dumps(config)))


def assert_logits(logits_NC: Float64Array, n: int, n_classes: int = CLASSES) -> None:
    assert logits_NC.shape == (n, n_classes)
    assert logits_NC.dtype == np.float64
    assert np.isfinite(logits_NC).all()
    np.testing.assert_allclose(softmax(logits_NC).sum(axis=1), 1, rtol=0, atol=1e-12)


def test_fit_returns_itself_and_may_be_called_again(case: Case) -> None:
    first, again = points(0), points(1, n=30)
    head = case.make(first[2])
    assert isinstance(head, Head)
    assert head.fit(first[0], first[1], CLASSES) is head
    head.logits(first[0])
    assert head.fit(again[0], again[1], CLASSES) is head
    fresh = case.make(first[2]).fit(again[0], again[1], CLASSES)
    np.testing.assert_array_equal(head.logits(first[0]), fresh.logits(first[0]))


def test_the_same_data_give_the_same_bits(case: Case) -> None:
    x_ND, _, _ = points(1)
    np.testing.assert_array_equal(fitted(case).logits(x_ND), fitted(case).logits(x_ND.copy()))


@pytest.mark.parametrize("n_classes", [2, CLASSES])
def test_logits_become_probabilities_that_tell_classes_apart(case: Case, n_classes: int) -> None:
    x_ND, y_N, _ = points(1, n_classes=n_classes)
    logits_NC = fitted(case, n_classes=n_classes).logits(x_ND)
    assert_logits(logits_NC, len(x_ND), n_classes)
    if case.name != "bridge":  # whose own classes are drawn at random
        assert (logits_NC.argmax(axis=1) == y_N).mean() > 0.8


def test_labels_and_vectors_may_be_of_other_number_types(case: Case) -> None:
    x_ND, y_N, names_CD = points(0)
    logits_NC = case.make(names_CD).fit(x_ND.astype(np.float64), y_N.astype(np.int32), CLASSES).logits(x_ND)
    np.testing.assert_allclose(logits_NC, fitted(case).logits(x_ND), rtol=1e-4, atol=1e-4)


def test_a_class_without_an_example_is_unlikely_yet_possible(case: Case) -> None:
    x_ND, y_N, names_CD = points(0)
    seen = y_N != 2
    logits_NC = case.make(names_CD).fit(x_ND[seen], y_N[seen], CLASSES).logits(x_ND)
    assert_logits(logits_NC, len(x_ND))
    if not case.guesses:
        p_N = softmax(logits_NC)[:, 2]
        assert (p_N > 0).all()
        assert p_N.max() < 0.1
        assert (logits_NC.argmax(axis=1) != 2).all()


def test_one_example_a_class_is_enough(case: Case) -> None:
    x_ND, y_N, _ = points(1)
    logits_NC = fitted(case, n=CLASSES).logits(x_ND)
    assert_logits(logits_NC, len(x_ND))
    if case.name != "bridge":
        assert (logits_NC.argmax(axis=1) == y_N).mean() > 0.5


def test_examples_of_one_class_alone_are_allowed(case: Case) -> None:
    x_ND, _, names_CD = points(0)
    assert_logits(case.make(names_CD).fit(x_ND, np.full(len(x_ND), 1), CLASSES).logits(x_ND), len(x_ND))


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_vectors_that_say_nothing_leave_the_classes_equal(case: Case, value: float) -> None:
    x_ND = np.full((12, DIMS), value, np.float32)
    _, _, names_CD = points(0)
    head = case.make(names_CD).fit(x_ND, np.arange(12) % CLASSES, CLASSES)
    assert_logits(head.logits(points(1)[0]), 60)
    logits_NC = head.logits(x_ND)
    assert_logits(logits_NC, 12)
    if not case.guesses and case.name != "neighbours":  # whose nearest are then the first
        np.testing.assert_allclose(softmax(logits_NC), 1 / CLASSES, rtol=0, atol=0.02)


def test_the_state_gives_the_same_logits_after_a_trip_through_bytes(case: Case) -> None:
    x_ND, y_N, names_CD = points(1)
    for seen in (np.full(len(y_N), True), y_N != 2):
        head = case.make(names_CD).fit(x_ND[seen], y_N[seen], CLASSES)
        again = reloaded(reloaded(head))
        assert type(again) is type(head)
        np.testing.assert_array_equal(again.logits(x_ND), head.logits(x_ND))


def test_what_is_given_stays_as_it_was(case: Case) -> None:
    x_ND, y_N, names_CD = points(0)
    for array in (x_ND, y_N, names_CD):
        array.setflags(write=False)  # writing to one raises
    head = case.make(names_CD).fit(x_ND, y_N, CLASSES)
    head.logits(x_ND)
    assert json.dumps(head.state()[1]) == json.dumps(head.state()[1])


def test_an_array_filled_anew_is_a_new_question(case: Case) -> None:
    head = fitted(case)
    page_ND, other_ND = points(1)[0], points(2)[0]
    head.logits(page_ND)
    page_ND[:] = other_ND
    np.testing.assert_array_equal(head.logits(page_ND), head.logits(other_ND))


def test_one_item_at_a_time_equals_the_batch(case: Case) -> None:
    x_ND, _, _ = points(1)
    head = fitted(case)
    alone_NC = np.concatenate([head.logits(x_ND[place : place + 1]) for place in range(len(x_ND))])
    np.testing.assert_allclose(softmax(alone_NC), softmax(head.logits(x_ND)), rtol=0, atol=1e-4)
    assert head.logits(x_ND[:0]).shape == (0, CLASSES)


def test_other_codes_for_the_classes_only_reorder_the_logits(case: Case) -> None:
    x_ND, y_N, names_CD = points(0)
    code_C: IntArray = np.array([2, 0, 3, 1])
    mixed = case.make(names_CD[np.argsort(code_C)]).fit(x_ND, code_C[y_N], CLASSES)
    p_NC = softmax(mixed.logits(points(1)[0]))[:, code_C]
    np.testing.assert_allclose(p_NC, softmax(fitted(case).logits(points(1)[0])), rtol=0, atol=2e-3)


@pytest.mark.parametrize("named", [case for case in CASES if case.named], ids=lambda case: case.name)
def test_names_must_be_as_many_as_classes(named: Case) -> None:
    x_ND, y_N, names_CD = points(0)
    with pytest.raises(ValueError, match=r"3 .*for 4 classes"):
        named.make(names_CD[:3]).fit(x_ND, y_N, CLASSES)
