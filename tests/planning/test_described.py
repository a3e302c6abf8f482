"""Advice from words: what is read, and every fault at once."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft.errors import UsageError
from graft.planning.described import read_description


def test_words_become_a_description() -> None:
    found, words = read_description(["labels=500", "classes=3", "domain=metal-surfaces", "budget=small"])
    assert (found.labels, found.classes, found.items, found.modality, found.budget) == (500, 3, 500, "image", 60.0)
    assert found.distance.verdict == "far" and found.names is False
    assert words["domain"] == "metal-surfaces"
    again, _ = read_description(["labels=500 classes=3, domain=metal-surfaces budget=1m"])
    assert again == found


def test_modality_can_be_named_and_names_too() -> None:
    found, _ = read_description(["labels=0", "classes=2", "modality=texts", "domain=x-ray", "names=yes", "items=1_000"])
    assert (found.modality, found.distance.verdict, found.names, found.items) == ("text", "unknown", True, 1000)
    assert read_description(["labels=9", "classes=2", "domain=x-ray"])[0].distance.verdict == "far"
    assert read_description(["labels=9", "classes=2", "domain=movie-reviews"])[0].modality == "text"


def test_all_faults_at_once() -> None:
    words = ["labels=2", "classes=3", "domian=x", "budget=tiny", "items=-3", "names=maybe", "nonsense", "classes=4"]
    with pytest.raises(UsageError) as caught:
        read_description(words)
    for part in (
        "'domian'",
        "domain",
        "labels=2 is fewer",
        "budget=tiny",
        "items=-3",
        "'maybe'",
        "'nonsense' is not key=value",
        "twice",
        "modality=text",
    ):
        assert part in caught.value.message, part


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["labels=5"],
        ["classes=2"],
        ["labels=5", "classes=0", "modality=text"],
        ["labels=ten", "classes=2", "modality=text"],
    ],
)
def test_what_is_missing_or_impossible(words: list[str]) -> None:
    with pytest.raises(UsageError, match="--describe: "):
        read_description(words)


@settings(suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    try:
        found, _ = read_description(words)
    except UsageError:
        return
    assert found.labels >= 0 and found.classes >= 1
