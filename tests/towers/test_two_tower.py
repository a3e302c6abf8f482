"""Towers on made-up tastes: they learn, the answer without torch is the trained network's, and what is left out is left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graft import settings
from graft.errors import DataError, UsageError
from graft.interactions.likes import Interactions, People
from graft.recommenders.base import histories_from, histories_of
from graft.towers import standing, two_tower, watch
from graft.towers.known import Known
from graft.towers.sampling import Sampler, Shares
from graft.towers.standing import DAY, Standing, calendar, count_features
from graft.towers.towers import Given, How, Lesson, Sizes, TwoTowers, _Asked
from graft.towers.training import Training
from graft.towers.two_tower import TwoTower
from graft.trainers import loop

PEOPLE, ITEMS = 80, 30  # three groups of each


def groups(times: bool = False, left: bool = False) -> Interactions:
    """People like five of the ten items of their group, and where `left` have left two of another."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(PEOPLE):
        own = rng.permutation(10)[:5] * 3 + user % 3
        rows += [(user, int(item), 1.0) for item in own]
        rows += [(user, int(item), 0.0) for item in rng.permutation(10)[:2] * 3 + (user + 1) % 3] if left else []
    time_N = rng.uniform(0, 200 * DAY, len(rows))
    order = np.lexsort((time_N, np.array([row[0] for row in rows])))
    user_N, item_N, weight_N = (np.array([rows[n][column] for n in order]) for column in range(3))
    return Interactions(
        users=tuple(f"p{u}" for u in range(PEOPLE)),
        items=tuple(f"i{i}" for i in range(ITEMS)),
        user_N=user_N.astype(np.int32),
        item_N=item_N.astype(np.int32),
        weight_N=weight_N.astype(np.float32),
        time_N=time_N[order] if times else None,
    )


FAST: dict[str, Any] = {"dims": 8, "epochs": 12, "rate": 0.05}
SMALL = Training(batch=100)


@lru_cache
def fitted(times: bool = False) -> TwoTower:
    return TwoTower.fit(groups(times), training=SMALL, **FAST)


def own_share(model: TwoTower) -> float:
    """Of the five unseen items of a person's group, the share among its first five unseen."""
    histories = histories_of(groups())
    scores_BI = model.scores(histories)
    scores_BI[histories.matrix.nonzero()] = -np.inf
    first_BK = np.argsort(-scores_BI, axis=1)[:, :5]
    return float((first_BK % 3 == np.arange(PEOPLE)[:, None] % 3).mean())


@pytest.mark.parametrize("times", [False, True])
def test_groups_are_found(times: bool) -> None:
    model = fitted(times)
    assert own_share(model) > 0.9  # chance is 5/25
    vectors_ID = model.item_vectors()
    assert np.linalg.norm(vectors_ID, axis=1) == pytest.approx(np.ones(ITEMS), abs=1e-5)
    cosine_II = vectors_ID @ vectors_ID.T
    same_II = np.arange(ITEMS)[:, None] % 3 == np.arange(ITEMS) % 3
    assert cosine_II[same_II].mean() > cosine_II[~same_II].mean() + 0.5
    losses = [epoch["loss"] for epoch in model.settings["history"]]
    assert losses[-1] < losses[0]


def test_a_new_person_is_where_a_known_one_with_the_same_likes_is() -> None:
    model, likes = fitted(), groups()
    matrix = likes.matrix()
    known = model.scores(histories_of(likes))
    new = model.scores(histories_from([matrix[u].indices.tolist() for u in range(PEOPLE)], ITEMS))
    assert new == pytest.approx(known, abs=1e-4)


def test_people_do_not_influence_each_other_and_strangers_get_the_popular() -> None:
    model = fitted()
    both = model.scores(histories_from([[0, 3], []], ITEMS))
    alone = model.scores(histories_from([[0, 3]], ITEMS))
    assert both[0] == pytest.approx(alone[0], abs=1e-5)
    assert (both[1] == np.bincount(groups().item_N, minlength=ITEMS)).all()


@pytest.mark.parametrize("times", [False, True])
def test_state_brings_it_back(times: bool) -> None:
    model = fitted(times)
    again = TwoTower.from_state(json.loads(json.dumps(model.settings)), model.state())
    histories = histories_of(groups(times), now=150 * DAY)
    assert (again.scores(histories) == model.scores(histories)).all()
    assert all(isinstance(array, np.ndarray) for array in model.state().values())


def test_the_same_seed_gives_the_same_bits() -> None:
    first, again, other = (TwoTower.fit(groups(), dims=4, epochs=2, seed=seed, training=SMALL) for seed in (1, 1, 2))
    assert (first.item_vectors() == again.item_vectors()).all()
    assert (first.item_vectors() != other.item_vectors()).any()


def lesson(before: bool, loss: str = "softmax") -> tuple[Lesson, TwoTowers, dict[str, torch.Tensor]]:
    """The lesson of the groups with times, a network with weights drawn at random everywhere, and the lesson's tensors."""
    likes = groups(times=True)
    made = {"standing": True, "loss": loss, "calendar": True}
    given: Given = two_tower._given(likes, Known(), {"categories": [], "numbers": {}}, made)
    sampler = Sampler(likes, None, Shares(), 2)
    how = How(temperature=0.2, loss=loss, margin=0.2, correct=True, id_dropout=0.0, before=before)
    torch.manual_seed(0)
    towers = TwoTowers(Sizes(ITEMS, 0, 0, 0, given.standing_ITF.shape[2], 6), 8)
    for parameter in towers.parameters():
        torch.nn.init.normal_(parameter)
    found = Lesson(given, sampler, how, seed=0)
    return found, towers, {name: found._on(torch.device("cpu"), name) for name in found._tensors}


@pytest.mark.parametrize("before", [False, True])
def test_training_sees_the_history_without_the_target(before: bool) -> None:
    found, towers, here = lesson(before)
    place_B = torch.tensor([0, 4, 7, 399])
    item_ID = towers.items(here["item_IF"])
    mean_BD = _Asked(towers, here, item_ID, place_B, found.how)._pooled(place_B)
    for place, mean_D in zip(place_B.tolist(), mean_BD, strict=True):
        user = found.given.user_N[place]
        mine = np.flatnonzero(found.given.user_N == user)
        used = mine[mine < place] if before else mine[mine != place]
        by_hand = item_ID[found.given.item_N[used]].mean(0) if len(used) else torch.zeros(8)
        assert mean_D.tolist() == pytest.approx(by_hand.tolist(), abs=1e-5)


def test_scores_of_training_are_those_of_the_formula_and_own_likes_are_no_negatives() -> None:
    found, towers, here = lesson(before=True)
    place_B, item_J = torch.tensor([3, 250, 251]), torch.tensor([5, 0, 5, 29, 11])
    item_ID = towers.items(here["item_IF"])
    asked = _Asked(towers, here, item_ID, place_B, found.how)
    scores_BJ, liked_BJ = asked.scores(item_J), asked.liked(item_J)
    assert towers.calendar is not None and asked.standing_BF is not None
    pairs = {*zip(found.given.user_N.tolist(), found.given.item_N.tolist(), strict=True)}
    for b, place in enumerate(place_B.tolist()):
        for j, item in enumerate(item_J.tolist()):
            by_hand = asked.person_BD[b] @ item_ID[item] / 0.2
            by_hand = by_hand + asked.standing_BF[b] @ here["standing_ITF"][item, here["moment_N"][place]]
            by_hand = by_hand + here["calendar_NZ"][place] @ towers.calendar(item_ID[item])
            assert scores_BJ[b, j].item() == pytest.approx(by_hand.item(), rel=1e-4, abs=1e-4)
            assert liked_BJ[b, j].item() == ((found.given.user_N[place], item) in pairs)
    own_BJ = asked.own_scores(item_J.expand(3, -1))
    assert own_BJ.detach().numpy() == pytest.approx(scores_BJ.detach().numpy(), rel=1e-4, abs=1e-4)
    own_B = asked.scores(asked.target_B).diagonal()
    assert asked.positive().tolist() == pytest.approx(own_B.tolist(), rel=1e-4, abs=1e-4)


def test_the_answer_without_torch_is_the_networks() -> None:
    """At the moment of a like, for a history of what came before it, the fitted model scores as the network did."""
    found, towers, here = lesson(before=True)
    likes, place = groups(times=True), 252  # the third like of its person
    fixed = two_tower._fixed(likes, Known(), found.given)
    made = {"loss": "softmax", "temperature": 0.2, "seasons": False, "notes": []}
    model = TwoTower(made, two_tower._arrays(towers, found.given, fixed))
    user = found.given.user_N[place]
    mine = np.flatnonzero((found.given.user_N == user) & (np.arange(len(likes)) < place))
    with torch.no_grad():
        asked = _Asked(towers, here, towers.items(here["item_IF"]), torch.tensor([place]), found.how)
        trained = asked.scores(torch.arange(ITEMS))[0].numpy()
        turn = asked.calendar_BZ
    assert likes.time_N is not None
    moments = np.unique(np.quantile(likes.time_N, np.linspace(0, 1, standing.MOMENTS, endpoint=False), method="lower"))
    now = moments[found.given.moment_N[place]]
    histories = replace(histories_from([found.given.item_N[mine].tolist()], ITEMS), now=float(now))
    off = (calendar(np.array([now]), False) - turn.numpy()) @ model.arrays["calendar.weight"] @ model.item_vectors().T
    assert model.scores(histories)[0] == pytest.approx(trained + off[0], rel=1e-3, abs=1e-3)


def test_standing_counts_only_what_came_before() -> None:
    stood = Standing.of(np.array([0, 0, 0, 2]), np.array([1.0, 50.0, 98.0, 100.0]) * DAY, 3)
    now = 100 * DAY
    found = stood.features(now)
    assert found[:, 0].tolist() == [0, 1, 1]  # item 2's like is at that very moment, not before
    assert np.expm1(found[:, 1:4]) == pytest.approx(np.array([[1, 1, 3], [0, 0, 0], [0, 0, 0]]), abs=1e-5)
    age = np.log1p([30, 99, 120])
    assert found[0, 6:8].tolist() == pytest.approx(
        [(age[2] - age[1]) / (age[2] - age[0]), (age[1] - age[0]) / (age[2] - age[0])], abs=1e-5
    )
    assert (
        found[0, 4:].sum() == pytest.approx(1) and found[2, 4:].tolist() == [1, 0, 0, 0, 0] and not found[1, 4:].any()
    )
    dated = Standing.of(np.array([0]), np.array([5.0 * DAY]), 2, np.array([np.nan, 100 * DAY - 9e8])).features(now)
    assert dated[1, 0] == 1 and dated[1, -1] == 1  # nobody liked it, yet it is known to be old


def test_calendar_and_counts() -> None:
    six = calendar(np.array([6 * 3600.0]), True)[0]
    assert six[:2].tolist() == pytest.approx([1, 0], abs=1e-6) and six[4] > 0
    assert not calendar(np.array([6 * 3600.0]), False)[0, 4:].any()
    assert count_features(np.array([0, 1])) == pytest.approx(np.array([[1, 0], [0, np.log(2)]]))


def content() -> np.ndarray:
    rng = np.random.default_rng(7)
    return (np.eye(3)[np.arange(ITEMS) % 3] + 0.1 * rng.standard_normal((ITEMS, 3))).astype(np.float32)


def test_an_item_without_likes_lies_with_its_content() -> None:
    """Items 27..29 of the catalogue have no like; their content says which group is theirs."""
    likes = groups().rows(groups().item_N < 27)
    model = TwoTower.fit(likes, known=Known(content_IC=content()), training=SMALL, **FAST)
    cosine_MI = model.item_vectors()[27:] @ model.item_vectors()[:27].T
    assert (cosine_MI.argsort(axis=1)[:, -5:] % 3 == np.array([[0], [1], [2]])).mean() > 0.9
    new_MD = model.new_item_vectors(Known(content_IC=content()[27:]), 3)
    assert new_MD == pytest.approx(model.item_vectors()[27:], abs=1e-5)


def test_an_item_of_which_nothing_is_known_comes_last() -> None:
    likes = groups().rows(groups().item_N < 27)
    model = TwoTower.fit(likes, training=SMALL, **{**FAST, "epochs": 5})
    assert not model.item_vectors()[27:].any()
    cosine = Training(batch=100, standing=False)
    scores_BI = TwoTower.fit(likes, training=cosine, **{**FAST, "epochs": 5}).scores(histories_of(likes))
    assert (scores_BI[:, 27:].max(1) <= scores_BI[:, :27].min(1) + 1e-4).all()
    with pytest.raises(DataError, match="by likes alone"):
        model.new_item_vectors(Known(), 3)


def test_features_of_people_and_every_kind_of_negative() -> None:
    likes = groups(times=True, left=True)
    age_U = np.array([np.nan, *range(PEOPLE - 1)])
    people = People({"age": age_U}, {"plan": ("",) + ("basic",) * (PEOPLE - 1)})
    known = Known(
        categories=[("abc"[i % 3],) for i in range(ITEMS)],
        numbers={"length": np.arange(ITEMS, dtype=np.float64)},
        people=people,
    )
    training = Training(
        batch=100, negatives=Shares(same_category=0.2, left=0.2), person_ids=True, calendar=True, before=False
    )
    model = TwoTower.fit(likes, known=known, training=training, **FAST)
    assert own_share(model) > 0.8
    assert model.state()["person_features"].shape == (PEOPLE, 2)
    assert model.scores(histories_from([[0, 3]], ITEMS)).shape == (1, ITEMS)  # a new person has no features


def test_triplets_learn_too() -> None:
    model = TwoTower.fit(groups(), training=replace(SMALL, loss="triplet", margin=0.5), **FAST)
    assert own_share(model) > 0.8 and np.abs(model.scores(histories_of(groups()))).max() <= 1.001


def test_collapse_is_seen_and_training_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ordered to call any space collapsed after the first epoch, training stops, says so, and goes back."""
    looks = []
    real = watch.spread

    def spread(x_ID: np.ndarray) -> Any:
        looks.append(x_ID)
        return real(x_ID if len(looks) < 3 else np.ones_like(x_ID))

    monkeypatch.setattr(two_tower, "spread", spread)
    model = TwoTower.fit(groups(), training=SMALL, **FAST)
    assert len(looks) == 3 and len(model.settings["history"]) == 2  # those that ended well
    assert len(model.notes) == 1 and "collapsed in epoch 3" in model.notes[0]
    assert np.isfinite(model.scores(histories_of(groups()))).all() and not real(model.item_vectors()).collapsed


@pytest.mark.parametrize("times", [False, True])
def test_the_number_of_epochs_is_found(times: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(two_tower, "MOST_EPOCHS", 6)
    model = TwoTower.fit(groups(times), dims=4, rate=0.02, training=SMALL)
    assert 1 <= model.settings["epochs"] <= 6 and len(model.settings["history"]) == model.settings["epochs"]


@pytest.mark.parametrize("epochs", [3, None])
def test_a_killed_training_goes_on(epochs: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after every few steps, then called again until it is through: the same bits and the same story as without."""
    monkeypatch.setattr(two_tower, "MOST_EPOCHS", 3)
    monkeypatch.setattr(loop, "TELL", 0.0)
    monkeypatch.setattr(loop, "Hooks", partial(loop.Hooks, every=0.0))
    fit = partial(TwoTower.fit, groups(), dims=4, epochs=epochs, training=SMALL)
    whole, resumed, stops = fit(), None, 0
    while resumed is None:
        left = iter(range(3))

        def stop(*_: object, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        try:
            with settings.listening(stop):
                resumed = fit(keep=tmp_path)
        except KeyboardInterrupt:
            stops += 1
            assert stops < 50
    assert stops >= 3
    assert all((resumed.state()[name] == array).all() for name, array in whole.state().items())
    timeless = [
        [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in model.settings["history"]]
        for model in (whole, resumed)
    ]
    assert timeless[0] == timeless[1] and len(timeless[0]) > 0
    assert {**whole.settings, "history": 0} == {**resumed.settings, "history": 0}


def test_all_settings_that_cannot_work_are_named() -> None:
    with pytest.raises(UsageError, match=r"dims=1 .*temperature=0 .*loss='hinge'.*batch=1"):
        TwoTower.fit(groups(), dims=1, temperature=0, training=Training(loss="hinge", batch=1))
    wrong = Known(categories=[()] * 3, content_IC=np.full((ITEMS, 2), np.nan, np.float32))
    with pytest.raises(DataError, match=r"categories has 3 rows, not 30; content_IC is not finite in 30 rows"):
        TwoTower.fit(groups(), known=wrong)
    with pytest.raises(DataError, match="no like"):
        TwoTower.fit(groups(left=True).rows(groups(left=True).weight_N == 0), epochs=1)


@pytest.mark.parametrize("times", [False, True])
def test_one_person_and_two_likes(times: bool) -> None:
    """So few that nothing can be held out to find the number of epochs by."""
    likes = groups(times).rows(np.arange(2))
    model = TwoTower.fit(likes, dims=4, training=SMALL)
    assert model.settings["epochs"] == two_tower.EPOCHS
    assert np.isfinite(model.scores(histories_of(likes, np.array([0, 5])))).all()
