"""Recipes: read from text as people write them, whatever they write."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from graft.errors import UsageError
from graft.trainers.recipe import CHOICES, RANGES, Recipe, read_settings, to_tree, with_settings

NAMES = [field.name for field in dataclasses.fields(Recipe)]
WHOLE = ("batch", "accumulate", "patience", "last", "rank", "width", "length", "splits", "pairs", "kernel", "channels")
NONE = ("epochs", "seconds", "rate", "head_rate", "range_test", "depth_decay", "last", "dropout", "splits", "pairs")


def allowed(name: str) -> st.SearchStrategy[Any]:
    """Every value that a setting may have."""
    if name in CHOICES:
        return st.sampled_from(CHOICES[name])
    if name == "range_test":
        return st.booleans() | st.none()
    if name == "augment":
        return st.sampled_from(["auto", "none", "crop+colour", "deletion"])
    low, high = RANGES[name]
    numbers: st.SearchStrategy[Any] = st.integers(int(low), int(high)) if name in WHOLE else st.floats(low, high)
    return numbers | st.none() if name in NONE else numbers


some_settings = st.fixed_dictionaries({}, optional={name: allowed(name) for name in NAMES})


@examples(max_examples=25, deadline=None)
@given(some_settings)
def test_what_differs_from_the_defaults_makes_the_same_recipe_again(settings: dict[str, Any]) -> None:
    recipe = with_settings(Recipe(), settings)
    assert all(getattr(recipe, name) == value for name, value in settings.items())
    tree = json.loads(json.dumps(to_tree(recipe)))
    assert with_settings(Recipe(), tree) == recipe
    assert set(tree) <= set(settings)
    assert to_tree(Recipe()) == {}


@examples(max_examples=25, deadline=None)
@given(some_settings)
def test_texts_are_read_as_the_values_they_were_written_from(settings: dict[str, Any]) -> None:
    text = ", ".join(f"{name} = {value}" for name, value in settings.items())
    assert with_settings(Recipe(), read_settings(text)) == with_settings(Recipe(), settings)


values = st.text(max_size=12) | st.sampled_from(
    ["inf", "-inf", "nan", "1e999", "-1", "1_0", "0x3", "None", "", "²", "1.5"]
)


@examples(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(NAMES) | st.text(max_size=8),
        values | st.none() | st.floats() | st.lists(st.integers()),
        max_size=4,
    )
)
def test_anything_else_is_refused_by_name_or_read_within_its_range(settings: dict[str, Any]) -> None:
    try:
        recipe = with_settings(Recipe(), settings)
    except UsageError as error:
        assert any(name in error.message or repr(name) in error.message for name in settings)
        return
    for name in settings:
        value = getattr(recipe, name)
        assert name not in CHOICES or value in CHOICES[name]
        assert name not in RANGES or value is None or RANGES[name][0] <= value <= RANGES[name][1]
        assert name not in WHOLE or value is None or isinstance(value, int)


@examples(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    try:
        found = read_settings(text)
    except UsageError as error:
        assert "key=value" in error.message
        return
    assert all(key == key.strip() and value == value.strip() for key, value in found.items())
    assert len(found) <= text.count("=")


def test_every_fault_is_named_at_once_with_what_is_allowed() -> None:
    with pytest.raises(UsageError) as caught:
        with_settings(Recipe(), {"epochs": "0", "schedule": "cosinus", "rat": "1", "batch": "2.5", "clip": "wide"})
    message = caught.value.message
    assert "epochs=0.0: it lies between 0.01 and 10000" in message
    assert "cosine" in message and "one-cycle" in message
    assert "'rat'" in message and "rate" in message
    assert "batch=2.5: a value of kind int" in message and "clip=wide: a value of kind float" in message


@pytest.mark.parametrize(("text", "value"), [("on", True), ("YES", True), ("0", False), ("off", False), ("none", None)])
def test_yes_and_no(text: str, value: bool | None) -> None:
    assert with_settings(Recipe(), {"range_test": text}).range_test is value
    with pytest.raises(UsageError, match="range_test"):
        with_settings(Recipe(), {"range_test": "maybe"})


def test_a_part_without_a_sign_is_refused() -> None:
    with pytest.raises(UsageError, match="rate1e-4"):
        read_settings("epochs=5,rate1e-4")
    assert read_settings(" epochs = 5 ,, rate=1e-4,") == {"epochs": "5", "rate": "1e-4"}


def test_ranges_and_choices_are_of_settings_that_exist_and_hold_their_defaults() -> None:
    plain = Recipe()
    assert set(RANGES) | set(CHOICES) <= set(NAMES)
    assert set(NAMES) - set(RANGES) - set(CHOICES) == {"range_test", "augment"}
    for name, (low, high) in RANGES.items():
        value = getattr(plain, name)
        assert value is None or low <= value <= high
    for name, choices in CHOICES.items():
        assert getattr(plain, name) in choices
