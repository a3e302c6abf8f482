"""The service over real HTTP: what it answers, and what it says to those who send nonsense; after each it still serves."""

from __future__ import annotations

import base64
import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tests.server.conftest import running
from tests.server.toy import COLOURS, DIM, png, text_index, word_vectors

from graft.server.limits import Limits

HOT = "/v1/indexes/texts/vectors"
SEARCH = "/v1/indexes/texts/search"
RAW = {"content-type": "application/octet-stream"}
RYE = word_vectors(["rye bread"])


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=15) as opened:
        yield opened


@pytest.fixture(autouse=True)
def it_still_serves(client: httpx.Client) -> Iterator[None]:
    yield
    assert client.get("/health").json()["status"] == "ok"


def refused(answer: httpx.Response, status: int) -> str:
    """The message of an answer that is an error of the one shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    tree = answer.json()
    assert set(tree) == {"error"}
    assert {"kind", "message"} <= set(tree["error"]) <= {"kind", "message", "faults"}
    message: str = tree["error"]["message"]
    return message


# ---- Vectors in ----


def test_vectors_find_what_exact_search_finds(client: httpx.Client) -> None:
    index = text_index()
    best = np.argsort(-(RYE @ index.x_ND.T)[0], kind="stable")[:5]
    answer = client.post(HOT, json={"vector": RYE[0].tolist(), "k": 5}).json()
    assert answer["ids"] == [index.ids[p] for p in best]
    np.testing.assert_allclose(answer["scores"], (RYE @ index.x_ND.T)[0, best], rtol=1e-5)
    assert answer["version"] == 1


def test_json_and_raw_rows_say_the_same(client: httpx.Client) -> None:
    rows = np.concatenate([RYE, word_vectors(["steel hammer"])])
    told = client.post(HOT, json={"vectors": rows.tolist(), "k": 3}).json()
    raw = client.post(f"{HOT}?k=3", content=rows.astype("<f4").tobytes(), headers=RAW).json()
    assert told["ids"] == raw["ids"]
    assert [len(ids) for ids in raw["ids"]] == [3, 3]
    np.testing.assert_allclose(told["scores"], raw["scores"], rtol=1e-5)


def test_a_filter_on_vectors(client: httpx.Client) -> None:
    answer = client.post(HOT, json={"vector": RYE[0].tolist(), "k": 10, "where": "price < 4"}).json()
    assert len(answer["ids"]) == len(answer["scores"]) == 4
    assert {"item-0", "item-1", "item-2"} < set(answer["ids"])


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"vector": [0.1] * 63}, "63 numbers; the view 'text' has 64"),
        ({"vector": []}, "0 numbers"),
        ({"vector": ["a"] * DIM}, "a list of numbers"),
        ({"vector": [True] * DIM}, "a list of numbers"),
        ({"vector": [[0.1] * DIM]}, "a list of numbers"),
        ({"vectors": [[0.1] * DIM, [0.1]]}, "a list of lists"),
        ({"vector": [1e300] * DIM}, "infinity"),
        ({"vector": [0.1] * DIM, "k": 0}, "from 1 to 1,000"),
        ({"vector": [0.1] * DIM, "k": 1001}, "from 1 to 1,000"),
        ({"vector": [0.1] * DIM, "k": "10"}, "from 1 to 1,000"),
        ({"vector": [0.1] * DIM, "k": True}, "from 1 to 1,000"),
        ({"vector": [0.1] * DIM, "kk": 1}, "Did you mean 'k'"),
        ({"vector": [0.1] * DIM, "view": "picture"}, "Allowed: text"),
        ({"vector": [0.1] * DIM, "where": 3}, "where is a text"),
        ({"vector": [0.1] * DIM, "where": "price <"}, "cannot be read"),
        ({"vectors": [[0.1] * DIM] * 200, "k": 1000}, "too many for one request"),
        ({"vector": [0.1] * DIM, "vectors": []}, "either"),
        ([1, 2], "either"),
    ],
)
def test_bad_vectors(client: httpx.Client, tree: Any, words: str) -> None:
    assert words in refused(client.post(HOT, json=tree), 400)


@pytest.mark.parametrize("body", [b"", b"{", b'{"vector": [NaN]}', b"\xff\xfe", b"[" * 5000])
def test_broken_json(client: httpx.Client, body: bytes) -> None:
    assert "JSON" in refused(client.post(HOT, content=body, headers={"content-type": "application/json"}), 400)
    refused(client.post(SEARCH, content=body, headers={"content-type": "application/json"}), 400)


def test_bad_raw_rows(client: httpx.Client) -> None:
    assert "256 bytes" in refused(client.post(HOT, content=b"12345", headers=RAW), 400)
    assert "bytes" in refused(client.post(HOT, content=b"", headers=RAW), 400)
    nan = struct.pack("<64f", *[float("nan")] * 64)
    assert "NaN" in refused(client.post(HOT, content=nan, headers=RAW), 400)
    assert "Allowed" in refused(client.post(f"{HOT}?q=1", content=RYE.tobytes(), headers=RAW), 400)
    for k in ("0", "1001", "x", "-1", "9" * 30, ""):
        refused(client.post(f"{HOT}?k={k}", content=RYE.tobytes(), headers=RAW), 400)


def test_one_bad_query_of_a_batch_fails_alone(client: httpx.Client) -> None:
    """Requests of one moment are searched together; a NaN in one of them is nobody else's fault."""
    good, bad = RYE.tobytes(), struct.pack("<64f", *[float("nan")] * 64)
    with socket.create_connection((client.base_url.host, client.base_url.port or 80)) as line:
        head = f"POST {HOT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 256\r\n\r\n"
        line.sendall(b"".join(head.encode() + body for body in (good, bad, good)))
        line.settimeout(5)
        heard = b""
        while heard.count(b"HTTP/1.1 ") < 3 or not heard.endswith(b"}"):
            heard += line.recv(65536)
    assert [part[:3] for part in heard.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400", b"200"]


# ---- Searches and items ----


def test_words_examples_and_filters(client: httpx.Client) -> None:
    found = client.post(SEARCH, json={"text": "rye bread", "k": 4}).json()
    assert found["matched"]
    assert all("rye bread" in hit["content"] for hit in found["hits"])
    more = client.post(SEARCH, json={"like": [found["hits"][0]["id"]], "k": 4}).json()
    assert found["hits"][0]["id"] not in [hit["id"] for hit in more["hits"]]
    few = client.post(SEARCH, json={"text": "rye bread", "where": "price < 5"}).json()
    assert {hit["payload"]["price"] for hit in few["hits"]} <= set(range(5))
    assert not client.post(SEARCH, json={"text": "zzz qqq"}).json()["matched"]


def test_a_picture_finds_its_like(client: httpx.Client) -> None:
    red = png(COLOURS["red"])
    path = "/v1/indexes/pictures/search"
    told = client.post(path, json={"image": base64.b64encode(red).decode(), "k": 3}).json()
    sent = client.post(f"{path}/upload", files={"picture": ("x.png", red)}, data={"k": "3"}).json()
    assert [hit["id"] for hit in told["hits"]] == [hit["id"] for hit in sent["hits"]]
    assert all(hit["id"].startswith("red/") for hit in told["hits"])
    assert "/secret" not in json.dumps(told), "where a picture lies on the server's disk is not told"


def test_items_and_their_pictures(client: httpx.Client) -> None:
    item = client.get("/v1/indexes/pictures/items/red%2F00.png").json()
    assert item == {"id": "red/00.png", "content": "", "payload": {"price": 0}}
    assert len(client.get("/v1/indexes/texts/items?count=7").json()["items"]) == 7
    picture = client.get("/v1/indexes/pictures/items/red/00.png/picture")
    assert picture.content[:2] == b"\xff\xd8"
    assert picture.headers["content-type"] == "image/jpeg"
    refused(client.get("/v1/indexes/texts/items/item-1/picture"), 404)


@pytest.mark.parametrize("id", ["../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "%00", "nothing"])
def test_no_path_leads_out(client: httpx.Client, id: str) -> None:
    for tail in ("", "/picture"):
        line = f"/v1/indexes/pictures/items/{id}{tail}"
        answer = client.send(
            client.build_request("GET", httpx.URL(str(client.base_url)).copy_with(raw_path=line.encode()))
        )
        assert "root:" not in answer.text
        refused(answer, 404)
    for file in ("../api.py", "%2e%2e%2fapi.py", "..%5capi.py", "style.css%00.html"):
        answer = client.send(
            client.build_request("GET", httpx.URL(str(client.base_url)).copy_with(raw_path=f"/page/{file}".encode()))
        )
        refused(answer, 404)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({}, "what to look for"),
        ({"text": "   "}, "what to look for"),
        ({"text": "x" * 2001}, "2000"),
        ({"text": "a", "k": 1001}, "k"),
        ({"text": "a", "k": "3"}, "k"),
        ({"text": "a", "wher": "x"}, "wher"),
        ({"text": "a", "where": "price <"}, "Columns: price"),
        ({"like": ["nothing"]}, "nothing"),
        ({"like": ["a"] * 51}, "like"),
        ({"image": "***"}, "base64"),
        ({"image": base64.b64encode(b"no picture").decode()}, "no format that is known"),
    ],
)
def test_bad_searches(client: httpx.Client, tree: Any, words: str) -> None:
    assert words in refused(client.post(SEARCH, json=tree), 400)


def test_half_a_character(client: httpx.Client) -> None:
    for body in (b'{"text": "\\ud800"}', b'{"\\ud800": 1}'):
        assert "body" in refused(client.post(SEARCH, content=body, headers={"content-type": "application/json"}), 400)


def test_a_long_query_and_a_long_body(client: httpx.Client) -> None:
    assert "2000" in refused(client.post(SEARCH, json={"text": "x" * 1_000_000}), 400)
    with httpx.Client(base_url=client.base_url) as own:
        assert "16,777,216" in refused(own.post(HOT, content=b"x" * (16 * 2**20 + 1), headers=RAW), 413)

    def pieces() -> Iterator[bytes]:
        for _ in range(17):
            yield b"x" * 2**20

    with httpx.Client(base_url=client.base_url) as own:
        try:
            answer = own.post(HOT, content=pieces(), headers=RAW)
        except httpx.TransportError:
            pass  # cut off while it was still sending
        else:
            refused(answer, 413)


def blank_png(width: int, height: int) -> bytes:
    """A grey picture of that size, all zeros: many pixels in few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(width // 8 + 1)) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_a_picture_of_200_megapixels(client: httpx.Client) -> None:
    bomb = blank_png(20_000, 10_000)
    answer = client.post("/v1/indexes/pictures/search/upload", files={"picture": ("x.png", bomb)})
    assert "64,000,000" in refused(answer, 413)
    cut = png(COLOURS["red"], (300, 300))[:200]
    refused(client.post("/v1/indexes/pictures/search/upload", files={"picture": ("x.png", cut)}), 400)


def test_unknown_routes_methods_and_names(client: httpx.Client) -> None:
    assert "openapi" in refused(client.get("/nothing"), 404)
    assert client.delete("/health").headers["allow"] == "GET"
    assert client.get(HOT).headers["allow"] == "POST"
    refused(client.put(HOT), 405)
    assert "Did you mean 'texts'" in refused(client.post("/v1/indexes/text/vectors", json={"vector": [1.0]}), 404)
    assert "texts" in refused(client.post("/v1/indexes/none/search", json={"text": "a"}), 404)
    refused(client.get("/v1/models/none"), 404)
    refused(client.post("/v1/models/none/predict", json={"texts": ["a"]}), 404)
    assert "octet-stream" in refused(client.post(HOT, content=b"x", headers={"content-type": "text/plain"}), 415)


# ---- The service as such ----


def test_what_others_may_do_with_answers(client: httpx.Client) -> None:
    page = client.get("/", headers={"origin": "http://elsewhere.example"})
    assert "access-control-allow-origin" not in page.headers
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe" not in policy
    for path in ("/", "/health", "/nothing"):
        assert client.get(path).headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.", "[::1", ""])
def test_another_name_for_this_machine_is_not_answered(client: httpx.Client, host: str) -> None:
    """A page of evil.example, whose name is then made to point here, gets nothing: no item, no vector, no page."""
    for method, path in (("GET", "/v1/indexes"), ("POST", "/v1/indexes/texts/vectors"), ("GET", "/")):
        answer = client.request(method, path, headers={"host": host}, content=b"" if method == "POST" else None)
        assert answer.status_code == 421, (host, path)
        assert "--allow-host NAME" in answer.json()["error"]["message"]
    assert client.get("/v1/indexes", headers={"host": "LocalHost:1"}).status_code == 200


def test_measures(client: httpx.Client) -> None:
    client.post(HOT, json={"vector": RYE[0].tolist()})
    text = client.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert int(values['graft_requests_total{route="/v1/indexes/{name}/vectors",status="200"}']) >= 1
    assert values['graft_index_items{index="texts"}'] == "60"
    assert values['graft_index_version{index="texts"}'] == "1"
    route = 'route="/v1/indexes/{name}/vectors"'
    buckets = [int(v) for k, v in values.items() if k.startswith(f"graft_request_seconds_bucket{{{route}")]
    assert buckets == sorted(buckets)
    assert str(buckets[-1]) == values[f"graft_request_seconds_count{{{route}}}"]


def test_a_client_that_stops_halfway_holds_nobody_up() -> None:
    with running({"texts": text_index()}, limits=Limits(seconds=3.0)) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        head = (
            f"POST {HOT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
        )
        slow = [socket.create_connection((host, int(port))) for _ in range(50)]
        for line in slow:
            line.sendall(head.encode() + b'{"vector": [0.1')
        assert httpx.post(url + HOT, json={"vector": RYE[0].tolist()}).status_code == 200
        slow[0].setblocking(False)
        with pytest.raises(BlockingIOError):  # others are answered while these still have time
            slow[0].recv(4096)
        slow[0].settimeout(15)
        assert slow[0].recv(4096).startswith(b"HTTP/1.1 408")
        for line in slow:
            line.close()


def test_what_takes_too_long_and_what_waits_too_much() -> None:
    index = text_index()
    plain = index.search_vectors

    def slow(*given: Any, **named: Any) -> Any:
        if named.get("where"):
            time.sleep(1.5)
        return plain(*given, **named)

    index.search_vectors = slow  # type: ignore[method-assign]
    with (
        running({"texts": index}, limits=Limits(seconds=0.5, waiting=1)) as (url, _),
        httpx.Client(base_url=url) as own,
    ):
        tree = {"vector": RYE[0].tolist(), "where": "price < 9"}
        refused(own.post(HOT, json=tree), 504)
        refused(own.post(SEARCH, json={"text": "rye", "where": "price < 9"}), 504)
        answer = own.post(SEARCH, json={"text": "rye"})
        assert answer.headers["retry-after"] == "1"
        refused(answer, 503)
        end = time.monotonic() + 20
        while own.post(SEARCH, json={"text": "rye"}).status_code != 200:  # until the slow ones are through
            assert time.monotonic() < end
            time.sleep(0.1)
