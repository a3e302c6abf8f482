"""The labelling page's routes over real HTTP: answers kept, taken back, refused; two windows; nonsense."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.annotation.planted import pictures, pool, running, session

from graft.annotation.journal import Journal
from graft.annotation.session import Session

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
