"""Near duplicates: planted copies are found, merely similar items are not, nothing chains, and leaks are listed."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from graft import settings as graft_settings
from graft.data import groups
from graft.data.groups import Grouping, edit_distance, exact_groups, near_duplicate_groups, plain

Vectors = NDArray[np.float32]


def cloud(n: int, dim: int, seed: int = 0, classes: int = 6) -> Vectors:
    """Vectors as encoders make them: classes on a sheet of thirty dimensions, no item the copy of another."""
    rng = np.random.default_rng(seed)
    sheet = rng.normal(size=(30, dim))
    place = rng.normal(size=(classes, 30))[np.arange(n) % classes] + rng.normal(size=(n, 30))
    return (place @ sheet + 0.1 * rng.normal(size=(n, dim))).astype(np.float32)


def copies(x_ND: Vectors, amount: float, seed: int = 1) -> Vectors:
    """Vectors moved by `amount` of the typical distance to the nearest neighbour."""
    unit = x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)
    apart = np.linalg.norm(unit[:, None] - unit[None], axis=2) + 9 * np.eye(len(unit))
    noise = np.random.default_rng(seed).normal(size=x_ND.shape)
    noise *= np.linalg.norm(x_ND, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    moved: Vectors = (x_ND + amount * np.median(apart.min(1)) * noise).astype(np.float32)
    return moved


def test_exact_groups_are_numbered_as_they_appear() -> None:
    assert exact_groups(["b", "a", "b", "c", "a"]).tolist() == [0, 1, 0, 2, 1]
    assert exact_groups([]).tolist() == []


def test_equal_hashes_are_one_group_whatever_the_vectors() -> None:
    x = cloud(6, 16)
    grouping = near_duplicate_groups(x, hashes=["a", "b", "a", "c", "b", "a"])
    assert grouping.group_ids.tolist() == [0, 1, 0, 2, 1, 0]
    assert (grouping.exact, grouping.near, grouping.threshold) == (3, 0, None)
    assert [members.tolist() for members in grouping.groups()] == [[0, 2, 5], [1, 4]]


@pytest.mark.parametrize("dim", [32, 256])
def test_planted_copies_are_found_and_chance_pairs_are_not(dim: int) -> None:
    x = cloud(600, dim)
    alone = near_duplicate_groups(x)
    assert alone.near <= 0.01 * len(x)
    grouping = near_duplicate_groups(np.concatenate([x, copies(x[:50], 0.2)]))
    assert np.mean(grouping.group_ids[:50] == grouping.group_ids[600:]) > 0.95
    assert grouping.near - alone.near <= 52
    assert grouping.threshold is not None and 0 < grouping.threshold < 1
    assert grouping.similarity.min() > 0.9


def test_threshold_fits_the_place() -> None:
    """A distance that means "copy" where items are far apart means nothing within a tight class."""
    rng = np.random.default_rng(0)
    loose = rng.normal(size=(300, 64)).astype(np.float32)
    centre = rng.normal(size=64)
    tight = (centre + 0.02 * rng.normal(size=(300, 64))).astype(np.float32)
    pair = copies(loose[:40], 0.2)
    grouping = near_duplicate_groups(np.concatenate([loose, tight, pair]))
    assert np.mean(grouping.group_ids[:40] == grouping.group_ids[600:]) == 1
    assert len(np.unique(grouping.group_ids[300:600])) >= 297
    inside = np.linalg.norm(tight[0] / np.linalg.norm(tight[0]) - tight[1] / np.linalg.norm(tight[1]))
    planted = np.linalg.norm(loose[0] / np.linalg.norm(loose[0]) - pair[0] / np.linalg.norm(pair[0]))
    assert inside < planted  # and yet only the planted pair is one


def test_many_shots_of_one_object_are_one_group() -> None:
    objects = cloud(40, 64, classes=40)
    shots = np.concatenate([copies(objects, 0.15, seed=s) for s in range(12)])
    grouping = near_duplicate_groups(shots)
    own = np.tile(np.arange(40), 12)
    found = grouping.groups()
    assert all(len(set(own[members].tolist())) == 1 for members in found)
    assert sum(len(members) == 12 for members in found) >= 38


def test_a_class_that_is_one_object_is_not_grouped() -> None:
    """Where the label names the object, keeping its pictures together would leave nothing to learn it from."""
    objects = cloud(40, 64, classes=40)
    shots = np.concatenate([copies(objects, 0.15, seed=s) for s in range(12)])
    own = np.tile(np.arange(40), 12)
    grouping = near_duplicate_groups(shots, labels=own, hashes=["same", "same", *map(str, range(478))])
    assert len(grouping.objects) >= 38
    assert grouping.near <= 2 and grouping.exact == 1
    assert grouping.leaks(np.arange(240), np.arange(240, 480)) == []
    kinds = near_duplicate_groups(shots, labels=own // 4)  # four objects a class: they are kept whole
    assert kinds.objects == () and kinds.near > 400
    assert near_duplicate_groups(shots, labels=np.full(480, -1)).objects == ()


def test_order_and_scale_of_vectors_do_not_count() -> None:
    x = np.concatenate([cloud(600, 32), copies(cloud(600, 32)[:30], 0.15)])
    shuffled = np.random.default_rng(0).permutation(len(x))
    first = near_duplicate_groups(x)
    again = near_duplicate_groups(x[shuffled] * np.linspace(0.1, 9, len(x), dtype=np.float32)[:, None])
    pairs = {frozenset(pair) for pair in first.pairs.tolist()}
    assert pairs == {frozenset(shuffled[pair].tolist()) for pair in again.pairs}
    assert len(pairs) >= 28


def test_no_chaining() -> None:
    chain = np.array([[i, i + 1] for i in range(9)])
    leader = groups._leaders(chain, 10)
    assert max(np.bincount(leader)) <= 3
    neighbours = {frozenset(pair) for pair in chain.tolist()}
    assert all(i == lead or frozenset((i, lead)) in neighbours for i, lead in enumerate(leader.tolist()))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda p: p[0] < p[1]), unique=True))
def test_every_member_is_near_its_leader(drawn: list[tuple[int, int]]) -> None:
    leader = groups._leaders(np.array(drawn, np.int64).reshape(-1, 2), 12)
    for item, lead in enumerate(leader.tolist()):
        assert leader[lead] == lead
        assert item == lead or (min(item, lead), max(item, lead)) in drawn


def test_neighbours_do_not_depend_on_blocks_or_projection(monkeypatch: pytest.MonkeyPatch) -> None:
    x = groups._unit(cloud(300, 600))
    index, distance = groups._nearest(x, 10)
    exact = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(exact, np.inf)
    np.testing.assert_allclose(distance, np.sort(exact, axis=1)[:, :10], atol=2e-3)
    monkeypatch.setattr(groups, "_CELLS", 7 * 300)
    blocked, _ = groups._nearest(x, 10)
    assert np.array_equal(index, blocked)
    monkeypatch.setattr(groups, "_MANY", 100)
    projected = groups._leading(x)
    assert projected.shape == (300, 384)
    np.testing.assert_allclose(groups._nearest(projected, 10)[1], distance, atol=0.01)


def test_intrinsic_dimension_of_a_flat_sheet() -> None:
    """Uniform in a cube of 5 dimensions within 40: the estimate is 5, less a little for the cube's faces."""
    rng = np.random.default_rng(0)
    sheet = np.linalg.qr(rng.normal(size=(40, 5)))[0].T
    x = (rng.random((4000, 5)) @ sheet).astype(np.float32)
    _, distance = groups._nearest(x, 50)
    assert 4 < groups._intrinsic_dimension(distance) < 5.5


@pytest.mark.parametrize("n", [0, 1, 2, 7, 8, 9])
def test_few_items(n: int) -> None:
    grouping = near_duplicate_groups(cloud(9, 8)[:n])
    assert len(grouping.group_ids) == n
    assert grouping.leaks(np.arange(0), np.arange(n)) == []
    texts = near_duplicate_groups(cloud(9, 8)[:n], texts=[f"form letter number {10**i}" for i in range(n)])
    assert len(texts.groups()) == 0


def test_zero_and_equal_vectors_are_copies() -> None:
    grouping = near_duplicate_groups(np.zeros((20, 4), np.float32))
    assert grouping.group_ids.tolist() == [0] * 20
    x = np.repeat(cloud(60, 16), 2, axis=0)
    assert near_duplicate_groups(x).group_ids.tolist() == np.repeat(np.arange(60), 2).tolist()


# --- texts


def plain_distance(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i, *row[1:]], row
        for j, y in enumerate(b, 1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
    return row[-1]


@settings(deadline=None, max_examples=300)
@given(st.text("abcé", max_size=80), st.text("abcé", max_size=80))
def test_edit_distance_is_levenshteins(a: str, b: str) -> None:
    assert edit_distance(a, b) == plain_distance(a, b)


def test_edit_distance_of_the_textbook() -> None:
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3


def test_plain_text_forgets_case_punctuation_and_spaces() -> None:
    assert plain("  Where's  my\tCARD?! ") == "where s my card"
    assert plain("Straße №1") == plain("STRASSE no1")
    assert plain("?!") == "?!"


WORDS = (
    "card",
    "order",
    "refund",
    "account",
    "travel",
    "city",
    "weather",
    "music",
    "phone",
    "delivery",
    "garden",
    "river",
)


def sentences(n: int) -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.sample(WORDS, 6)) for _ in range(n)]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.upper() + "!!",
        lambda s: s[:7] + "x" + s[8:],
        lambda s: s[:9] + s[10] + s[9] + s[11:],
        lambda s: "Re: " + s,
        lambda s: s.replace(" ", "  "),
    ],
    ids=["case", "typo", "swap", "prefix", "spaces"],
)
def test_changed_texts_are_found(change: Callable[[str], str]) -> None:
    texts = sentences(120)
    x = cloud(120, 32)
    grouping = near_duplicate_groups(
        np.concatenate([x, copies(x[:30], 1.5)]), texts=texts + [change(text) for text in texts[:30]]
    )
    assert np.mean(grouping.group_ids[:30] == grouping.group_ids[120:]) > 0.9
    assert grouping.near == sum(len(members) - 1 for members in grouping.groups())
    assert grouping.threshold == groups.TEXT_SIMILARITY


def test_texts_about_the_same_are_not_copies() -> None:
    """Vectors as near as can be: only the letters decide."""
    texts = [
        "My transfer failed, why?",
        "Why has my transfer failed?",
        "Can I top up with Apple Pay?",
        "Can I top up with Google Pay?",
    ]
    grouping = near_duplicate_groups(np.ones((4, 8), np.float32), texts=texts)
    assert grouping.group_ids.tolist() == [0, 1, 2, 3]


def test_texts_of_any_length_and_letters() -> None:
    texts = [
        "",
        " ",
        "𝔘nicode ☃",
        "☃☃☃",
        "word " * 2000,
        "word " * 2000 + "end",
        "日本語のテキストです",
        "日本語のテキストでず",
    ]
    grouping = near_duplicate_groups(cloud(8, 8), hashes=texts, texts=texts)
    assert grouping.group_ids[4] == grouping.group_ids[5]
    assert grouping.group_ids[6] == grouping.group_ids[7]
    assert len(set(grouping.group_ids[:4].tolist())) >= 3


# --- thumbnails


def thumbnails(n: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    shade = np.linspace(0, 120, 8)[None, :, None] * rng.random((n, 1, 1))
    return (rng.normal(60, 25, (n, 8, 8)) + shade).clip(0, 255).astype(np.uint8).reshape(n, 64)


def test_thumbnails_find_what_vectors_cannot() -> None:
    seen = thumbnails(200)
    x = cloud(220, 32)  # the copies' vectors are nowhere near
    brighter = (seen[:20] * 0.9 + 20).astype(np.uint8)
    both = np.concatenate([seen, brighter])
    assert near_duplicate_groups(x).near <= 3
    grouping = near_duplicate_groups(x, signatures_NS=both)
    assert np.mean(grouping.group_ids[:20] == grouping.group_ids[200:]) == 1
    assert grouping.near <= 23


def test_blank_and_shaded_thumbnails_say_nothing() -> None:
    shades = np.linspace(0, 255, 40)[:, None] * np.linspace(0.5, 1, 64)[None, :] ** np.linspace(0, 2, 40)[:, None]
    ramp = np.add.outer(np.linspace(0, 50, 40), np.tile(np.linspace(0, 100, 8), 8))
    for flat in (np.full((40, 64), 30.0), ramp, shades[:, :1] + np.zeros(64)):
        assert near_duplicate_groups(cloud(40, 32), signatures_NS=flat).near <= 1
    with pytest.raises(ValueError, match="60 values are not a square"):
        near_duplicate_groups(cloud(40, 32), signatures_NS=np.ones((40, 60)))


# --- leaks


def test_leaks_name_pairs_across_the_split() -> None:
    grouping = Grouping(
        group_ids=np.array([0, 1, 0, 2, 2, 3, 1]),
        twins=np.array([0, 1, 0, 2, 3, 4, 1]),
        pairs=np.array([[3, 4], [0, 5]]),
        similarity=np.array([0.97, 0.99], np.float32),
        threshold=0.9,
        exact=2,
        near=1,
    )
    train, test = np.array([0, 3, 1]), np.array([2, 4, 5, 6])
    found = [(a, b, round(similarity, 2)) for a, b, similarity in grouping.leaks(train, test)]
    # 6 is a twin of 1, 2 of 0; 5 is near 0 though in another group; 4 is near 3
    assert found == [(0, 2, 1.0), (1, 6, 1.0), (0, 5, 0.99), (3, 4, 0.97)]
    assert grouping.leaks(train, train[:0]) == []
    assert [pair[:2] for pair in grouping.leaks(np.array([5]), np.array([2]))] == [(5, 2)]


def test_planted_leaks_are_found() -> None:
    x = cloud(600, 32)
    grouping = near_duplicate_groups(np.concatenate([x, copies(x[:25], 0.15)]))
    leaks = grouping.leaks(np.arange(600), np.arange(600, 625))
    assert len({b for a, b, _ in leaks if b - 600 == a}) >= 23


def test_a_long_search_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_CELLS", 1000)
    told: list[tuple[str, int, int]] = []
    with graft_settings.listening(lambda *what: told.append(what)):
        near_duplicate_groups(cloud(100, 16))
    assert told == [("duplicates", done, 100) for done in range(0, 101, 10)]
