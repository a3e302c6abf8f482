"""Recommenders over real HTTP: what they answer, what they refuse, and a newer one put in the folder's place."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.server.conftest import running

from graft.errors import UsageError
from graft.interactions.likes import Catalogue, Interactions
from graft.recommenders.als import ALS
from graft.recommenders.base import Recommender
from graft.recommenders.popularity import Popularity
from graft.recommending import artefact
from graft.recommending.opened import OpenedRecommender
from graft.recommending.short import Few
from graft.server.releases import Index, Releases, open_releases

ROOT = "/v1/recommenders/films"
GENRES = {
    "Comedy": ("Home Alone", "The Mask", "Groundhog Day", "Clerks", "Dumb & Dumber", "Four Weddings and a Funeral"),
    "Horror": ("Scream", "The Exorcist", "Psycho", "Carrie", "The Shining", "Nosferatu"),
    "Western": ("Unforgiven", "Rio Bravo", "High Noon", "Shane", "Stagecoach", "The Searchers"),
}
HOSTILE = "<img src=x onerror=window.broken=true>"
TITLES = (*(f"{title} ({1950 + i})" for titles in GENRES.values() for i, title in enumerate(titles)), HOSTILE)
CATEGORIES = (*(genre for genre, titles in GENRES.items() for _ in titles), "Western")
IDS = tuple(f"f{i:02d}" for i in range(len(TITLES)))
PEOPLE = 60


def likes() -> Interactions:
    """Everyone likes four of the six films of one genre, and one film besides; the first film of a genre is its best liked."""
    rng = np.random.default_rng(0)
    rows = []
    for person in range(PEOPLE):
        genre = person % 3
        first = genre * 6
        chosen = {first, *(first + 1 + rng.choice(5, 3, replace=False)).tolist(), int(rng.integers(len(TITLES)))}
        rows += [(person, item) for item in sorted(chosen)]
    user_N, item_N = np.array(rows, np.int32).T
    users = tuple(f"u{person:02d}" for person in range(PEOPLE))
    return Interactions(users, IDS, user_N.copy(), item_N.copy(), np.ones(len(rows), np.float32))


def write(folder: Path, model: str = "als", few: Few | None = None) -> Path:
    """A recommender's folder as `recommend fit` leaves it: OUT with model/ in it."""
    rows = likes()
    fitted: Recommender = (
        ALS.fit(rows, dims=4, regularisation=1.0, iterations=4) if model == "als" else Popularity.fit(rows)
    )
    catalogue = Catalogue(TITLES, tuple((name,) for name in CATEGORIES))
    about = {
        "name": "films",
        "why": "It beat popularity.",
        "measure": "ndcg@10",
        "metrics": {"ndcg@10": {"value": 0.3, "low": 0.2, "high": 0.4, "n": 60}},
    }
    (folder / "model").mkdir(parents=True)
    saved = artefact.Saved(model, fitted.settings, fitted.state(), rows, catalogue, about, few=few)
    artefact.write(folder / "model", saved, "card")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("served") / "films")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[httpx.Client]:
    with serving(folder) as (url, _), httpx.Client(base_url=url, timeout=15) as opened:
        yield opened


@pytest.fixture(scope="module")
def opened(folder: Path) -> OpenedRecommender:
    return OpenedRecommender(artefact.read(folder))


@contextlib.contextmanager
def serving(folder: Path, indexes: Mapping[str, Index] | None = None) -> Iterator[tuple[str, Releases]]:
    with running(indexes or {}) as (url, releases):
        releases.recommenders.update(open_releases([folder]).recommenders)
        yield url, releases


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    tree = answer.json()
    assert set(tree) == {"error"}
    assert {"kind", "message"} <= set(tree["error"]) <= {"kind", "message", "faults"}
    message: str = tree["error"]["message"]
    return message


def test_for_you_is_what_the_recommender_says(client: httpx.Client, opened: OpenedRecommender) -> None:
    history = ["f06", "psycho"]
    (expected,) = opened.recommend(histories=[history], k=4)
    told = client.post(f"{ROOT}/recommend", json={"history": history, "k": 4}).json()
    assert [(r["item"], r["title"], r["reason"]) for r in told["recommendations"]] == [
        (r.item, r.title, r.reason) for r in expected.recommendations
    ]
    np.testing.assert_allclose(
        [r["score"] for r in told["recommendations"]], [r.score for r in expected.recommendations]
    )
    assert told["asked"] == ["Scream (1950)", "Psycho (1952)"]
    assert told["model"] == "als"
    assert {r["item"] for r in told["recommendations"][:3]} <= {"f07", "f09", "f10", "f11"}
    assert all("liked together with" in r["reason"] for r in told["recommendations"])


def test_for_someone_of_one_like(tmp_path: Path) -> None:
    with (
        serving(write(tmp_path / "films", few=Few(known=0, new=1, days=None))) as (url, _),
        httpx.Client(base_url=url, timeout=15) as client,
    ):
        one, two = (client.post(f"{ROOT}/recommend", json={"history": h}).json() for h in (["f06"], ["f06", "f08"]))
    assert one["notes"] == ["1 like is too few to tell a taste by; this is what most people like"]
    assert all(r["reason"].startswith("liked by") for r in one["recommendations"])
    assert two["notes"] == [] and "liked together with" in two["recommendations"][0]["reason"]


def test_for_a_known_person(client: httpx.Client, opened: OpenedRecommender) -> None:
    rows = opened.interactions
    seen = {IDS[i] for i in rows.item_N[rows.user_N == 7]}
    plain = client.post(f"{ROOT}/recommend", json={"user": "u07", "k": 19}).json()
    assert not seen & {r["item"] for r in plain["recommendations"]}
    assert len(plain["recommendations"]) == len(IDS) - len(seen)
    assert "no more items" in plain["notes"][0]
    again = client.post(f"{ROOT}/recommend", json={"user": "u07", "k": 19, "exclude_seen": False}).json()
    assert {r["item"] for r in again["recommendations"]} == set(IDS)
    stranger = client.post(f"{ROOT}/recommend", json={"user": "nobody"}).json()
    assert "most people like" in stranger["notes"][0]
    nothing = client.post(f"{ROOT}/recommend", json={"history": []}).json()
    assert [r["item"] for r in nothing["recommendations"]] == [r["item"] for r in stranger["recommendations"]]


def test_more_like_this(client: httpx.Client, opened: OpenedRecommender) -> None:
    told = client.post(f"{ROOT}/similar", json={"item": "unforgiven", "k": 3}).json()
    assert told["asked"] == ["Unforgiven (1950)"]
    assert [r["item"] for r in told["recommendations"]] == [r.item for r in opened.similar("f12", 3).recommendations]
    comic = client.post(
        f"{ROOT}/similar", json={"item": "f12", "k": 3, "where": "array_has(categories, 'Comedy')"}
    ).json()
    assert {r["item"] for r in comic["recommendations"]} <= set(IDS[:6])


def test_diversity_changes_the_answers(client: httpx.Client, opened: OpenedRecommender) -> None:
    (expected,) = opened.recommend(histories=[["f00", "f06"]], k=6, diversity=0.8)
    told = client.post(f"{ROOT}/recommend", json={"history": ["f00", "f06"], "k": 6, "diversity": 0.8}).json()
    plain = client.post(f"{ROOT}/recommend", json={"history": ["f00", "f06"], "k": 6}).json()
    assert [r["item"] for r in told["recommendations"]] == [r.item for r in expected.recommendations]
    assert [r["item"] for r in told["recommendations"]] != [r["item"] for r in plain["recommendations"]]


def test_titles_and_items(client: httpx.Client) -> None:
    found = client.get(f"{ROOT}/titles", params={"q": "exorc", "k": 3}).json()["titles"]
    assert found[0] == {"item": "f07", "title": "The Exorcist (1951)"}
    assert len(found) <= 3
    by_id = client.get(f"{ROOT}/items/f07").json()
    assert by_id == client.get(f"{ROOT}/items/exorcist").json()
    assert by_id["title"] == "The Exorcist (1951)"
    assert by_id["categories"] == ["Horror"]
    assert by_id["reason"].startswith("liked by")


def test_what_is_served(client: httpx.Client) -> None:
    (facts,) = client.get("/v1/recommenders").json()["recommenders"]
    assert facts == client.get(ROOT).json()
    assert {k: facts[k] for k in ("name", "model", "items", "people", "measure", "trouble")} == {
        "name": "films", "model": "als", "items": 19, "people": 60, "measure": "ndcg@10", "trouble": None
    }  # fmt: skip
    assert facts["likes"] == len(likes())
    assert facts["metrics"]["ndcg@10"]["n"] == 60
    assert client.get("/health").json()["recommenders"] == [facts]
    assert 'graft_recommender_stale{recommender="films"} 0' in client.get("/metrics").text
    for path in ("/", "/recommenders/films"):
        assert "/page/recommend.js" in client.get(path).text


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({}, 'either "user" or "history"'),
        ({"user": "u01", "history": ["f01"]}, 'either "user" or "history"'),
        ({"user": ""}, "user"),
        ({"history": ["f00"] * 501}, "500"),
        ({"history": ["x" * 2001]}, "2000"),
        ({"history": [""]}, "history"),
        ({"history": "f00"}, "list"),
        ({"history": [7]}, "string"),
        ({"history": ["qqqq zzzz"]}, "is not among the 19 items"),
        ({"history": ["f00"], "k": 0}, "k"),
        ({"history": ["f00"], "k": 1001}, "1000"),
        ({"history": ["f00"], "k": "3"}, "k"),
        ({"history": ["f00"], "k": 101, "diversity": 0.1}, "at most 100"),
        ({"history": ["f00"] * 51, "k": 1000}, "at most 50,000"),
        ({"history": ["f00"], "diversity": 1.1}, "diversity"),
        ({"history": ["f00"], "diversity": "high"}, "diversity"),
        ({"history": ["f00"], "where": "genre = 'x'"}, "Columns: id, title, categories"),
        ({"history": ["f00"], "where": "x" * 4001}, "4000"),
        ({"history": ["f00"], "exclude": True}, "exclude"),
    ],
)
def test_bad_questions(client: httpx.Client, tree: Any, words: str) -> None:
    assert words in refused(client.post(f"{ROOT}/recommend", json=tree), 400)
    assert client.get("/health").json()["status"] == "ok"


def test_bad_items_and_titles(client: httpx.Client) -> None:
    assert "Nearest" in refused(client.post(f"{ROOT}/similar", json={"item": "zzz exor qqq yyy"}), 400)
    assert "text" in refused(client.post(f"{ROOT}/similar", json={}), 400)
    refused(client.post(f"{ROOT}/similar", json={"item": "f00", "text": "a film"}), 400)
    assert "by their likes alone" in refused(client.post(f"{ROOT}/similar", json={"text": "a film"}), 400)
    refused(client.post(f"{ROOT}/similar", json={"item": "f00", "k": 1001}), 400)
    refused(client.post(f"{ROOT}/similar", content=b'{"item": "\\ud800"}'), 400)
    refused(client.get(f"{ROOT}/titles"), 400)
    refused(client.get(f"{ROOT}/titles", params={"q": "x" * 2001}), 400)
    refused(client.get(f"{ROOT}/titles", params={"q": "x", "k": 101}), 400)
    refused(client.get(f"{ROOT}/items/qqqq%20zzzz"), 404)
    refused(client.get(f"{ROOT}/items/{'x' * 2001}"), 400)
    refused(client.get(f"{ROOT}/recommend"), 405)
    assert "Did you mean 'films'" in refused(client.get("/v1/recommenders/film"), 404)
    for tail in ("recommend", "similar"):
        refused(client.post(f"/v1/recommenders/none/{tail}", json={"history": [], "item": "f00"}), 400)
        sent = {"recommend": {"history": []}, "similar": {"item": "f00"}}[tail]
        refused(client.post(f"/v1/recommenders/none/{tail}", json=sent), 404)
    refused(client.get("/recommenders/none"), 404)


# ---- What lies in the folder changes ----


def test_a_newer_recommender_is_taken_up(tmp_path: Path) -> None:
    path = write(tmp_path / "films")
    with serving(path) as (url, releases):
        first = httpx.get(url + ROOT).json()
        assert first["model"] == "als"
        shutil.rmtree(path)
        releases.look()
        gone = httpx.get(f"{url}/health").json()
        assert gone["status"] == "stale"
        assert "no recommender" in gone["recommenders"][0]["trouble"]
        assert str(tmp_path) not in json.dumps(gone), "where a folder lies on the server's disk is not told"
        write(path, "popularity")
        releases.look()
        second = httpx.get(url + ROOT).json()
        assert (second["model"], second["trouble"]) == ("popularity", None)
        assert second["version"] != first["version"]
        told = httpx.post(f"{url}{ROOT}/recommend", json={"history": ["f06"], "k": 2}).json()
        assert told["model"] == "popularity"


def test_a_damaged_one_is_told_and_not_served(tmp_path: Path) -> None:
    path = write(tmp_path / "films")
    manifest = path / "model" / artefact.MANIFEST
    good = manifest.read_text()
    with serving(path) as (url, releases):
        for bad in ("{", "[]", "", good.replace('"digest": "', '"digest": "0')):
            manifest.write_text(bad)
            releases.look()
            health = httpx.get(f"{url}/health").json()
            assert health["status"] == "stale"
            assert health["recommenders"][0]["trouble"]
            assert str(tmp_path) not in json.dumps(health)
            assert httpx.post(f"{url}{ROOT}/similar", json={"item": "f00"}).status_code == 200
        manifest.write_text(good)
        releases.look()
        assert httpx.get(f"{url}/health").json()["status"] == "ok"


def test_folders_are_told_apart(folder: Path) -> None:
    for path in (folder, folder / "model", folder / "model" / "graft.json"):
        served = open_releases([path])
        assert list(served.recommenders) == ["films"]
        assert not served.indexes
        assert not served.models
    with pytest.raises(UsageError, match="would be served as 'films'"):
        open_releases([folder, folder / "model"])


def test_a_slow_answer_holds_nobody_up(folder: Path) -> None:
    """Answers are worked out beside the event loop: while one takes long, others are given."""
    with serving(folder) as (url, releases):
        asked = releases.recommenders["films"].opened
        begun, done = threading.Event(), threading.Event()
        plain = asked.similar

        def slow(*given: Any, **named: Any) -> Any:
            begun.set()
            assert done.wait(10)
            return plain(*given, **named)

        asked.similar = slow  # type: ignore[method-assign]
        answers: list[httpx.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(httpx.post(f"{url}{ROOT}/similar", json={"item": "f00"}, timeout=15))
        )
        asking.start()
        assert begun.wait(10)
        assert httpx.post(f"{url}{ROOT}/recommend", json={"history": ["f00"]}).status_code == 200
        done.set()
        asking.join(10)
        assert answers[0].status_code == 200
