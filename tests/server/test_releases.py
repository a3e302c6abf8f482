"""Real indexes served while they change: no request fails, the newer version is served, a broken one is not."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.server.conftest import running
from tests.server.toy import text_index

from graft.errors import MissingError, ModelError, UsageError
from graft.server.releases import Recent, Releases, open_releases
from graft.verbs.index import index as make_index

DIM = 16


def table(path: Path, rows: int) -> Path:
    """A parquet file of random vectors, of which each longer one begins as the shorter."""
    x_ND = np.random.default_rng(0).standard_normal((rows, DIM)).astype(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(x_ND.ravel()), DIM)
    prices = pa.array(range(rows))
    pq.write_table(pa.table({"id": [f"i{n}" for n in range(rows)], "vector": vectors, "price": prices}), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "real"
    make_index(table(tmp_path / "v.parquet", 500), out=made)
    return made


def hammer(url: str, name: str, stop: threading.Event, told: list[tuple[int, int]], failed: list[str]) -> None:
    """Ask over one connection until told to stop; keep (version, hits)."""
    host = url.removeprefix("http://")
    line = http.client.HTTPConnection(host, timeout=10)
    body = json.dumps({"vector": [0.1] * DIM, "k": 10})
    while not stop.is_set():
        try:
            line.request("POST", f"/v1/indexes/{name}/vectors", body, {"content-type": "application/json"})
            answer = line.getresponse()
            tree = json.loads(answer.read())
            if answer.status != 200:
                failed.append(str(tree))
            else:
                told.append((tree["version"], len(tree["ids"])))
        except OSError as error:
            failed.append(repr(error))
    line.close()


def test_no_request_fails_while_versions_change(folder: Path, tmp_path: Path) -> None:
    opened = open_releases([folder])
    served = {"real": opened.indexes["real"].index}
    told: list[tuple[int, int]] = []
    failed: list[str] = []
    stop = threading.Event()
    with running(served) as (url, releases):
        threads = [threading.Thread(target=hammer, args=(url, "real", stop, told, failed)) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for rows in (520, 540, 560):
                make_index(table(tmp_path / "v.parquet", rows), out=folder)
                releases.look()
        finally:
            time.sleep(0.2)
            stop.set()
            for thread in threads:
                thread.join()
        facts = httpx.get(f"{url}/v1/indexes/real").json()
    assert failed == []
    assert facts["items"] == 560
    assert {version for version, _ in told} >= {1, facts["version"]}
    assert {hits for _, hits in told} == {10}


def test_a_newer_version_is_found_without_being_asked_for(folder: Path, tmp_path: Path) -> None:
    with running({"real": open_releases([folder]).indexes["real"].index}) as (url, _):
        make_index(table(tmp_path / "v.parquet", 510), out=folder)
        end = time.monotonic() + 20
        while httpx.get(f"{url}/v1/indexes/real").json()["items"] != 510:
            assert time.monotonic() < end
            time.sleep(0.05)
        found = httpx.post(f"{url}/v1/indexes/real/search", json={"like": ["i509"], "where": "price > 400", "k": 3})
        assert all(hit["payload"]["price"] > 400 for hit in found.json()["hits"])
        assert "price" in httpx.post(f"{url}/v1/indexes/real/search", json={"like": ["i1"], "where": "prise > 4"}).text
        words = httpx.post(f"{url}/v1/indexes/real/search", json={"text": "hello"})
        assert words.status_code == 400, "an index of bare vectors understands no words, and says so"


def test_a_broken_version_is_told_and_not_served(folder: Path) -> None:
    good = (folder / "graft.json").read_bytes()
    with running({"real": open_releases([folder]).indexes["real"].index}) as (url, releases):
        tree = json.loads(good)
        for bad in (json.dumps(tree | {"current": 99}), "{", "[]", ""):
            (folder / "graft.json").write_text(bad)
            releases.look()
            health = httpx.get(f"{url}/health").json()
            assert health["status"] == "stale"
            assert health["indexes"][0]["trouble"]
            assert 'graft_index_stale{index="real"} 1' in httpx.get(f"{url}/metrics").text
            answer = httpx.post(f"{url}/v1/indexes/real/vectors", json={"vector": [0.1] * DIM})
            assert len(answer.json()["ids"]) == 10
        (folder / "graft.json").write_bytes(good)
        releases.look()
        assert httpx.get(f"{url}/health").json()["status"] == "ok"


def test_trouble_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    index = text_index()

    def broken() -> None:
        raise ModelError("half a file")

    index.newer = broken  # type: ignore[assignment]
    releases = Releases({"texts": index}, {})
    releases.look()
    releases.look()
    assert [record.message for record in caplog.records if "half a file" in record.message] != []
    assert len(caplog.records) == 1


def test_what_is_at_a_path(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nothing at"):
        open_releases([tmp_path / "none"])
    with pytest.raises(UsageError, match="would be served as 'real'"):
        open_releases([folder, folder])
    with pytest.raises(UsageError, match="at least one"):
        open_releases([])
    with pytest.raises(ModelError):
        open_releases([tmp_path])


def test_texts_asked_lately() -> None:
    recent = Recent(2)
    recent.add("a")
    recent.add("b")
    assert "a" in recent
    recent.add("c")
    assert "b" not in recent
    assert "a" in recent
    assert (recent.hits, recent.misses) == (2, 1)
