"""The labelling page's routes over real HTTP: answers kept, taken back, refused; two windows; nonsense."""

from __future__ import annotations

import contextlib
import csv
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import httpx
import pytest
from tests.annotation.planted import pictures, pool, running, session

from graft.annotation.journal import Journal
from graft.annotation.session import Session
from graft.server.failures import Refusal

NAMES = ["cat", "dog"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[httpx.Client, Session, Path]]:
    of = session(pool(), tmp_path / "out", NAMES)
    with running(of, tmp_path / "out") as url, httpx.Client(base_url=url, timeout=15) as client:
        yield client, of, tmp_path / "out"


def answer(client: httpx.Client, item: str, label: str | None, **more: object) -> httpx.Response:
    return client.post("/v1/answers", json={"item": item, "label": label} | more)


def test_a_labelling(served: tuple[httpx.Client, Session, Path]) -> None:
    client, _, folder = served
    state = client.get("/v1/labelling").json()
    assert [c["name"] for c in state["classes"]] == NAMES
    assert (state["asked"], state["done"], len(state["next"]), state["last"]) == (6, 0, 4, None)
    first, second = state["next"][:2]
    state = answer(client, first["key"], "dog").json()
    assert state["next"][0] == second and state["done"] == 1 and state["last"] == {"key": first["key"], "label": "dog"}
    state = answer(client, second["key"], "owl", new=True).json()
    assert [c["name"] for c in state["classes"]] == [*NAMES, "owl"], "a new label comes last, so that no key changes"
    state = client.post("/v1/undo", json={}).json()
    assert state["next"][0] == second and state["last"]["label"] == "dog"
    state = answer(client, second["key"], None).json()
    assert state["counts"]["skipped"] == 1
    table = list(csv.DictReader(client.get("/labels.csv").text.splitlines()))
    assert table == [{"text": first["text"], "label": "dog", "item": first["id"], "by": "you"}]
    again = Journal(folder)
    assert again.answers == {first["key"]: "dog", second["key"]: None}
    again.close()


def test_two_windows_neither_lose_nor_double_an_answer(served: tuple[httpx.Client, Session, Path]) -> None:
    client, of, _ = served
    item = client.get("/v1/labelling").json()["next"][0]["key"]
    assert answer(client, item, "cat").status_code == 200
    assert answer(client, item, "cat").status_code == 200, "sent twice, as after a lost reply"
    refused = answer(client, item, "dog")
    assert refused.status_code == 409
    assert "labelled 'cat' meanwhile" in refused.json()["error"]["message"]
    assert of.journal.path.read_text().count("\n") == 1


def test_the_next_batch_knows_the_labels(served: tuple[httpx.Client, Session, Path]) -> None:
    client, of, _ = served
    for _ in range(6):
        item = client.get("/v1/labelling").json()["next"][0]
        answer(client, item["key"], NAMES[int(item["id"]) < 8])
    state = client.get("/v1/labelling").json()
    assert state["next"] == [] and state["done"] == 6
    state = client.post("/v1/batches", json={}).json()
    assert (
        state["asked"] == 6 and state["done"] == 0 and not {i["key"] for i in state["next"]} & set(of.journal.answers)
    )
    for _ in range(30):
        for item in client.get("/v1/labelling").json()["next"]:
            answer(client, item["key"], "cat")
        state = client.post("/v1/batches", json={}).json()
    assert state["next"] == [] and state["counts"]["unlabelled"] == 0
    state = client.post("/v1/undo", json={}).json()
    assert len(state["next"]) == 1 and state["next"][0]["reason"] != ""


def test_what_cannot_be_is_refused(served: tuple[httpx.Client, Session, Path]) -> None:
    client, of, _ = served
    item = client.get("/v1/labelling").json()["next"][0]["key"]
    cases = [
        (answer(client, "gone", "cat"), 404, "not in the data any more"),
        (answer(client, item, "cta"), 400, "Did you mean 'cat'?"),
        (answer(client, item, " ", new=True), 400, "1 to 200"),
        (answer(client, item, "x" * 201, new=True), 400, "label"),
        (client.post("/v1/answers", json={"item": item}), 400, "label"),
        (client.post("/v1/answers", json={"item": item, "label": "cat", "lable": 1}), 400, "lable"),
        (client.post("/v1/answers", content=b"{", headers={"content-type": "application/json"}), 400, "JSON"),
        (client.post("/v1/undo", json={}), 404, "no answer to take back"),
        (client.post("/v1/undo", json={"item": item}), 404, "no answer"),
        (client.get(f"/v1/items/{item}/picture"), 404, "is a text"),
        (client.get("/v1/items/../../etc/passwd"), 404, "nothing at"),
        (client.get("/page/secret.py"), 404, "nothing at"),
        (client.post("/v1/answers", content=b"x" * 70_000), 413, "longer"),
    ]
    for got, status, words in cases:
        assert got.status_code == status, got.text
        assert words in got.text
    assert of.journal.answers == {}


def test_other_sites_may_not_label(served: tuple[httpx.Client, Session, Path]) -> None:
    client, of, _ = served
    item = client.get("/v1/labelling").json()["next"][0]["key"]
    tree = {"item": item, "label": "cat"}
    for headers in ({"origin": "https://elsewhere.example"}, {"host": "elsewhere.example"}):
        assert client.post("/v1/answers", json=tree, headers=headers).status_code == 403
    assert client.post("/v1/answers", json=tree, headers={"content-type": "text/plain"}).status_code == 400
    assert of.journal.answers == {}
    head = client.get("/").headers
    assert "default-src 'none'" in head["content-security-policy"] and head["x-content-type-options"] == "nosniff"


def test_pictures_are_shown_and_named_in_the_table(tmp_path: Path) -> None:
    contents = pictures(tmp_path / "shots")
    of = session(pool(contents), tmp_path / "out", NAMES)
    with running(of, tmp_path / "out") as url, httpx.Client(base_url=url, timeout=15) as client:
        item = client.get("/v1/labelling").json()["next"][0]
        assert item["text"] == ""
        shown = client.get(f"/v1/items/{item['key']}/picture")
        assert shown.headers["content-type"] == "image/jpeg" and shown.content[:2] == b"\xff\xd8"
        answer(client, item["key"], "cat")
        table = list(csv.DictReader(client.get("/labels.csv").text.splitlines()))
        assert Path(table[0]["image"]).is_file() and table[0]["label"] == "cat"
        other = client.get("/v1/labelling").json()["next"][0]
        Path(contents[int(other["id"])].path).unlink()  # type: ignore[union-attr]
        assert client.get(f"/v1/items/{other['key']}/picture?size=small").status_code == 404


def test_labels_that_no_table_could_hold_are_refused(served: tuple[httpx.Client, Session, Path]) -> None:
    client, of, _ = served
    item = client.get("/v1/labelling").json()["next"][0]["key"]
    for word, says in (
        ("null", "means no label"),
        ("NaN", "no label"),
        ("2.0", "'2'"),
        ("a\nb", "one line"),
        ("\x1b[31m", "one line"),
    ):
        refused = answer(client, item, word, new=True)
        assert refused.status_code == 400 and says in refused.json()["error"]["message"], word
    assert of.journal.answers == {}
    for word in ("=1+1", "<script>alert(1)</script>", "a, b", "../up", 'say "no"'):
        assert answer(client, item, word, new=True).json()["last"]["label"] == word
        table = list(csv.DictReader(client.get("/labels.csv").text.splitlines()))
        assert [row["label"] for row in table] == [word]
        client.post("/v1/undo", json={"item": item})


def test_undo_takes_back_what_was_shown(served: tuple[httpx.Client, Session, Path]) -> None:
    """One window answers on while the other shows an older answer as the last: that one is meant."""
    client, of, _ = served
    first, second = (one["key"] for one in client.get("/v1/labelling").json()["next"][:2])
    answer(client, first, "cat")
    answer(client, second, "dog")
    state = client.post("/v1/undo", json={"item": first}).json()
    assert of.journal.answers == {second: "dog"} and state["next"][0]["key"] == first
    assert client.post("/v1/undo", json={"item": first}).status_code == 404


def test_a_slip_of_the_pen_leaves_no_label(served: tuple[httpx.Client, Session, Path]) -> None:
    client, _, _ = served
    first, second, third = (one["key"] for one in client.get("/v1/labelling").json()["next"][:3])
    for item, label in ((first, "owl"), (second, "fox"), (third, "foks")):
        answer(client, item, label, new=True)
    names = [c["name"] for c in client.post("/v1/undo", json={}).json()["classes"]]
    assert names == [*NAMES, "owl", "fox"]
    names = [c["name"] for c in client.post("/v1/undo", json={"item": first}).json()["classes"]]
    assert names == [*NAMES, "owl", "fox"], "no key moves under a finger"


@pytest.mark.parametrize("headers", [{"host": "[::1"}, {"origin": "http://[::1"}, {"origin": "null"}, {"host": ""}])
def test_addresses_that_are_none_are_refused(
    served: tuple[httpx.Client, Session, Path], headers: dict[str, str]
) -> None:
    client, _, _ = served
    assert client.get("/v1/labelling", headers=headers).status_code == 403
    assert client.get("/labels.csv", headers=headers).status_code == 403
    assert client.post("/v1/undo", json={}, headers=headers).status_code == 403


def test_counts_keep_up_with_every_answer(tmp_path: Path) -> None:
    """What is counted from answer to answer is what counting anew gives; copies share an answer, also one that had a label."""
    texts = [f"number {i % 9}" for i in range(14)]
    of = session(pool(texts, ["cat", None] * 7), tmp_path / "out", NAMES)
    rng = random.Random(0)
    for _ in range(200):
        key = rng.choice(of.pool.keys)
        with contextlib.suppress(Refusal):
            if rng.random() < 0.5:
                of.answer(key, rng.choice([*NAMES, "owl", None]), new=True)
            else:
                of.undo(rng.choice([key, None]))
        state, labels = of.state(), of.pool.labels(of.journal.answers)
        counts = asdict(of.pool.count(of.journal.answers))
        assert {k: v for k, v in state["counts"].items() if k != "differ"} == {
            k: v for k, v in counts.items() if k != "differ"
        }
        assert {c["name"]: c["count"] for c in state["classes"]} == {
            c["name"]: labels.count(c["name"]) for c in state["classes"]
        }
    of.journal.close()


def test_keys_stay_with_their_labels_from_day_to_day(tmp_path: Path) -> None:
    of = session(pool(), tmp_path / "out")
    for key, label in zip(of.pool.keys, ("zebra", "ape", "zebra", "mole"), strict=False):
        of.answer(key, label, new=True)
    before = of.classes
    of.journal.close()
    again = session(pool(), tmp_path / "out")
    assert again.classes == before == ("zebra", "ape", "mole")
    again.journal.close()
