"""Diverse answers, the choice between models, the folder on disk."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.recommending.small_likes import folder, likes, saved

from graft.errors import MissingError, ModelError
from graft.interactions.partition import leave_last_out
from graft.recommenders.popularity import Popularity
from graft.recommending import artefact
from graft.recommending.contest import Entry, Exam, choose
from graft.recommending.diverse import diverse
from graft.recommending.models import LADDER


def test_mmr_by_hand() -> None:
    likeness = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], np.float32)
    codes, scores = np.array([4, 5, 6], np.int32), np.array([3.0, 2.9, 1.0], np.float32)
    assert diverse(codes, scores, lambda _: likeness, 3, 0.0).tolist() == [0, 1, 2]
    # after the first: .5 * .95 - .5 * .9 = .025 for the second, .5 * 0 - 0 = 0 for the third; at .6 they change places
    assert diverse(codes, scores, lambda _: likeness, 3, 0.5).tolist() == [0, 1, 2]
    assert diverse(codes, scores, lambda _: likeness, 3, 0.6).tolist() == [0, 2, 1]


def entry(place: int, values: Any) -> Entry:
    ranked: Any = SimpleNamespace(each={"ndcg@10": np.asarray(values, float)})
    return Entry(LADDER[place], validation=ranked)


def test_a_model_is_taken_only_beyond_doubt() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    better, same = base + 0.1 + 0.1 * rng.random(200), base + 0.2 * (rng.random(200) - 0.5)
    chosen, why = choose(
        [entry(0, base), entry(2, same), entry(4, better), entry(5, better + 1e-3 * (rng.random(200) - 0.5))],
        "ndcg@10",
        0,
    )
    assert chosen.kind.name == "item-knn" and "beats popularity" in why
    chosen, why = choose([entry(0, base), entry(2, same)], "ndcg@10", 0)
    assert chosen.kind.name == "popularity" and "No model beats popularity" in why


def test_people_are_asked_about_at_the_beginning_of_the_day() -> None:
    """Everybody's last like lies on day 3: popularity of the day before must not see it."""
    exam = Exam(leave_last_out(likes()))
    assert set(exam.now_P.tolist()) == {3 * 86_400.0}
    found = exam.take(Popularity.fit(exam.cut.train, days=1.0))
    assert len(exam) == 40 and found.each["mrr"].shape == (40,)
    rows = likes()
    assert rows.time_N is not None
    counts = np.bincount(rows.item_N[rows.time_N // 86_400 == 2], minlength=12)
    scores = exam.scores(Popularity.fit(exam.cut.train, days=1.0), slice(0, 1))[0]
    assert (np.argsort(-scores)[0]) in np.flatnonzero(counts == counts.max())


def test_the_folder_comes_back(tmp_path: Path) -> None:
    path = folder(tmp_path / "m")
    back, first = artefact.read(path), saved()
    assert artefact.is_recommender(path) and not artefact.is_recommender(tmp_path)
    assert back.interactions.users == first.interactions.users and back.interactions.items == first.interactions.items
    assert vars(back.catalogue) == vars(first.catalogue)
    for name in ("user_N", "item_N", "weight_N", "time_N"):
        assert np.array_equal(getattr(back.interactions, name), getattr(first.interactions, name))
    assert all(np.array_equal(back.arrays[name], array) for name, array in first.arrays.items())


@pytest.mark.parametrize("name", [artefact.TENSORS, artefact.ITEMS, artefact.PEOPLE])
def test_damage_is_refused(tmp_path: Path, name: str) -> None:
    path = folder(tmp_path / "m")
    content = bytearray((path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(ModelError, match="was changed"):
        artefact.read(path)
    (path / name).unlink()
    with pytest.raises(MissingError, match=name):
        artefact.read(path)


def test_what_is_no_recommender(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="graft recommend fit"):
        artefact.read(tmp_path / "nothing")
    path = folder(tmp_path / "m")
    manifest = path / artefact.MANIFEST
    tree = json.loads(manifest.read_text())
    for change, words in (
        ({"kind": "bridge"}, "not of a recommender"),
        ({"schema": 99}, "schema 99"),
        ({"model": "ease"}, "was changed"),
    ):
        manifest.write_text(json.dumps(tree | change))
        with pytest.raises(ModelError, match=words):
            artefact.read(path)
    manifest.write_text("{")
    with pytest.raises(ModelError, match="manifest"):
        artefact.read(path)
