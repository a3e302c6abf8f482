"""The load tester against servers whose behaviour is known: it must see a stall that a closed loop would hide."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.server.conftest import running
from tests.server.test_releases import table
from tests.server.toy import DIM, text_index

from graft.errors import MissingError, UsageError
from graft.server.load import serve
from graft.server.releases import open_releases
from graft.verbs.index import index as make_index


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "q.npy"
    np.save(path, np.random.default_rng(1).standard_normal((40, DIM)).astype(np.float32))
    return path


@pytest.mark.parametrize(("form", "batch"), [("json", 1), ("binary", 4)])
def test_rate_and_recall(tmp_path: Path, form: Any, batch: int) -> None:
    make_index(table(tmp_path / "v.parquet", 300), out=tmp_path / "real")
    path = tmp_path / "q.npy"
    np.save(path, np.random.default_rng(1).standard_normal((40, 16)).astype(np.float32))
    with running({"real": open_releases([tmp_path / "real"]).indexes["real"].index}) as (url, _):
        load = serve(url, rate=100, seconds=1, vectors=path, index=tmp_path / "real", form=form, batch=batch)
    assert (load.requests, load.queries, load.errors) == (100, 100 * batch, 0)
    assert 0 < load.p50_ms <= load.p90_ms <= load.p99_ms <= load.max_ms
    assert load.recall is not None
    assert load.recall.value == 1.0, "an exact index finds all there is"


def test_texts_and_errors(tmp_path: Path, queries: Path) -> None:
    (tmp_path / "t.txt").write_text("rye bread\n\nsteel hammer\n" + "x" * 3000 + "\n")
    with running({"texts": text_index(), "others": text_index()}) as (url, _):
        with pytest.raises(UsageError, match="add /v1/indexes/NAME"):
            serve(url, vectors=queries)
        load = serve(f"{url}/v1/indexes/texts", rate=30, seconds=1, texts=tmp_path / "t.txt")
    assert load.errors == 10
    assert load.first_error.startswith("status 400")


def test_a_stall_is_seen_by_all_who_wait(queries: Path) -> None:
    """One search that stops for half a second delays all that are due meanwhile: at a steady rate a quarter of two seconds."""
    index = text_index()
    plain, calls = index.search_vectors, 0

    def stalls(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 30:
            time.sleep(0.5)
        return plain(*given, **named)

    index.search_vectors = stalls  # type: ignore[method-assign]
    with running({"texts": index}) as (url, _):
        load = serve(url, rate=100, seconds=2, vectors=queries, connections=1)
    assert load.errors == 0
    assert load.max_ms >= 450
    assert load.p90_ms >= 200, "those that came during the stall waited too"


def test_what_cannot_be_asked(tmp_path: Path, queries: Path) -> None:
    with pytest.raises(UsageError, match="either"):
        serve("http://127.0.0.1:1")
    with pytest.raises(UsageError, match="no address"):
        serve("nothing", vectors=queries)
    with pytest.raises(MissingError, match="No server"):
        serve("http://127.0.0.1:1", vectors=queries)
    with pytest.raises(MissingError, match="No server"):
        serve("http://127.0.0.1:1/v1/indexes/a", vectors=queries)
    with pytest.raises(UsageError, match="Sensible"):
        serve("http://127.0.0.1:1", vectors=queries, rate=0)
    (tmp_path / "bad.npy").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="cannot be read"):
        serve("http://127.0.0.1:1/v1/indexes/a", vectors=tmp_path / "bad.npy")
