"""Augmentation of texts: what is kept is kept, what is changed is changed in the way that was named, and as often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graft.errors import UsageError
from graft.tensors.rewriting import (
    BESIDE,
    NAMES,
    TOKEN_NAMES,
    augment_text,
    augment_texts,
    for_texts,
    token_augmentation,
)

TEXT = "The committee will not approve 12 of the proposals without  a second reading.\n"
names = st.lists(st.sampled_from(NAMES), min_size=1, unique=True)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# -- raw texts --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=60), names, st.integers(0, 10**6), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_any_text_stays_a_text(text: str, chosen: list[str], seed: int, rate: float) -> None:
    done = augment_text(text, rng(seed), chosen, rate)
    assert done == augment_text(text, rng(seed), chosen[::-1], rate)
    assert bool(done.strip()) == bool(text.strip())
    assert len(done.split()) <= len(text.split())
    assert augment_text(text, rng(seed), chosen, 0.0) == text


@given(
    st.lists(st.sampled_from(["red", "blue", "not", "green", "7up", "never", "won't", "one"]), max_size=12),
    st.integers(0, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_words_that_turn_a_meaning_round_stay_in_place(words: list[str], seed: int) -> None:
    kept = {"not", "never", "won't", "7up"}
    done = augment_text(" ".join(words), rng(seed), ["swap", "typos"], 0.9).split()
    assert [word if word in kept else "" for word in done] == [word if word in kept else "" for word in words]
    shorter = augment_text(" ".join(words), rng(seed), ["deletion"], 0.9).split()
    assert Counter(word for word in shorter if word in kept) == Counter(word for word in words if word in kept)


@given(st.lists(st.text("abcdef", min_size=1, max_size=5), min_size=1, max_size=20), st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_deletion_leaves_out_and_swap_changes_places(words: list[str], seed: int) -> None:
    text = " ".join(words)
    left = augment_text(text, rng(seed), ["deletion"], 0.5).split()
    remaining = iter(words)
    assert left
    assert all(word in remaining for word in left)  # a subsequence
    assert Counter(augment_text(text, rng(seed), ["swap"], 0.5).split()) == Counter(words)


def test_white_space_stays_where_it_was() -> None:
    text = "  one\ttwo\n\nthree four "
    done = augment_text(text, rng(3), ["swap"], 1.0)
    assert done != text
    assert "".join(c if c.isspace() else "" for c in done) == "  \t\n\n  "
    assert augment_text(text, rng(0), ["deletion"], 1.0).startswith("  ")


def test_a_typo_is_one_slip_after_the_first_letter() -> None:
    ways = set()
    for seed in range(300):
        done = augment_text("Reading", rng(seed), ["typos"], 1.0)
        assert done[0] == "R"
        if len(done) == 6:
            ways.add("left out")
            assert any("Reading"[:at] + "Reading"[at + 1 :] == done for at in range(1, 7))
        elif len(done) == 8:
            ways.add("doubled")
            assert any("Reading"[:at] + "Reading"[at] + "Reading"[at:] == done for at in range(1, 7))
        elif sorted(done) == sorted("Reading"):
            ways.add("changed about")
            assert sum(a != b for a, b in zip(done, "Reading", strict=True)) == 2
        else:
            ways.add("beside")
            ((old, new),) = [(a, b) for a, b in zip("Reading", done, strict=True) if a != b]
            assert new in BESIDE[old]
    assert ways == {"left out", "doubled", "changed about", "beside"}
    assert augment_text("an ox, 3 am!", rng(), ["typos"], 1.0) == "an ox, 3 am!"
    assert augment_text("ÄÖÜß", rng(), ["typos"], 1.0)[0] == "Ä"


def test_neighbours_on_the_keyboard() -> None:
    assert (BESIDE["a"], BESIDE["g"], BESIDE["p"]) == ("s", "fh", "o")


@pytest.mark.parametrize("name", NAMES)
def test_the_rate_is_the_share_of_words(name: str) -> None:
    words = [f"{letter}word" for letter in "abcdefghij"] * 200
    done = augment_text(" ".join(words), rng(), [name], 0.1)
    if name == "deletion":
        changed = len(words) - len(done.split())
    else:
        changed = sum(a != b for a, b in zip(words, done.split(), strict=True))
        changed = changed // 2 if name == "swap" else changed
    assert 140 <= changed <= 260


def test_each_text_of_many_has_draws_of_its_own() -> None:
    done = augment_texts([TEXT] * 4, NAMES, rate=0.3, seed=5)
    assert len(set(done)) > 1
    assert done[:2] == augment_texts([TEXT] * 2, NAMES, rate=0.3, seed=5)
    assert done != augment_texts([TEXT] * 4, NAMES, rate=0.3, seed=6)
    assert all("not" in text.split() and "12" in text.split() for text in done)


# -- token ids --------------------------------------------------------------------------------------------------------


def ids_of(lengths: list[int], left: bool) -> dict[str, Tensor]:
    """Texts 101, 10, 11, .., 102 padded with 1 to the longest."""
    width = max(lengths)
    ids, mask = torch.ones(len(lengths), width, dtype=torch.int64), torch.zeros(len(lengths), width, dtype=torch.int64)
    for row, length in enumerate(lengths):
        tokens = torch.cat([torch.tensor([101]), torch.arange(10, 10 + length - 2), torch.tensor([102])])[:length]
        place = slice(width - length, width) if left else slice(0, length)
        ids[row, place], mask[row, place] = tokens, 1
    return {"input_ids": ids, "attention_mask": mask, "targets": torch.arange(len(lengths))}


@given(
    st.lists(st.integers(2, 12), min_size=1, max_size=6),
    st.booleans(),
    st.lists(st.sampled_from(TOKEN_NAMES), min_size=1, unique=True),
    st.floats(0, 1),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_tokens_keep_their_ends_and_their_padding(
    lengths: list[int], left: bool, chosen: list[str], rate: float, seed: int
) -> None:
    batch = ids_of(lengths, left)
    before = batch["input_ids"].clone()
    transform = token_augmentation(chosen, rate=rate, pad_id=99)
    done, again = (transform(batch, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(done["input_ids"], again["input_ids"])
    assert torch.equal(batch["input_ids"], before)
    assert done["attention_mask"].dtype == torch.int64
    padded = min(lengths) < max(lengths)
    left = left and padded
    for ids, mask, length in zip(done["input_ids"], done["attention_mask"], lengths, strict=True):
        inner = ids[mask == 1].tolist()
        assert (inner[0], inner[-1]) == (101, 102)
        assert set(inner[1:-1]) <= set(range(10, 10 + length - 2))
        assert len(set(inner)) == len(inner)
        assert len(inner) == length or "deletion" in chosen
        assert len(inner) >= min(length, 3)
        assert ids[mask == 0].tolist() == [1 if padded else 99] * (len(ids) - len(inner))
        assert mask.tolist() == sorted(mask.tolist(), reverse=not left)  # padding on one side
        if "swap" not in chosen:
            assert inner[1:-1] == sorted(inner[1:-1])


def test_tokens_are_left_out_at_the_rate_and_hop_over_one() -> None:
    batch = ids_of([1002], left=False)
    generator = torch.Generator().manual_seed(0)
    left = token_augmentation(["deletion"], rate=0.2)(batch, generator)["attention_mask"].sum()
    assert 760 <= int(left) - 2 <= 840
    swapped = token_augmentation(["swap"], rate=0.2)(batch, generator)["input_ids"][0, 1:-1]
    moved = (swapped - torch.arange(10, 1010)).tolist()
    assert set(moved) <= {-1, 0, 1, -2, 2, -3, 3}
    assert 100 <= sum(step != 0 for step in moved) / 2 <= 220
    everything = token_augmentation(["deletion"], rate=1.0)(batch, generator)
    assert everything["attention_mask"].sum() == 3


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="typos needs raw texts"):
        token_augmentation(["typos"])
    with pytest.raises(UsageError, match=r"'delete' is not known\. Did you mean 'deletion'"):
        augment_text(TEXT, rng(), ["delete"])
    with pytest.raises(UsageError, match=r"within 0\.\.1, not 2"):
        augment_texts([], ["swap"], rate=2)
    pictures = {"pixels": torch.zeros(1, 3, 2, 2)}
    with pytest.raises(UsageError, match="are for texts"):
        token_augmentation(["swap"])(pictures, torch.Generator())


def test_a_recipe_may_ask() -> None:
    batch = ids_of([40], left=False)
    asked, direct = for_texts("auto", rate=0.5), token_augmentation(["deletion"], rate=0.5)
    assert asked is not None
    found = [t(batch, torch.Generator().manual_seed(0))["input_ids"] for t in (asked, direct)]
    assert torch.equal(*found)
    assert for_texts("none") is None
    with pytest.raises(UsageError, match="'flip' is not known"):
        for_texts("flip")
