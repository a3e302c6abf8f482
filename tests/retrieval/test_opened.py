"""An opened index: positions, filters, views of texts and pictures, and several threads at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.vector_tables import clustered, vectors_table

from graft.errors import DataError, MissingError, ModelError, UsageError
from graft.listings.listing import read_listing
from graft.retrieval.indexing import update
from graft.retrieval.opened import FEW, MOST_HITS, OpenedIndex, open_index
from graft.retrieval.viewing import Wanted

N, DIM = 1500, 8
X = clustered(N, DIM)
PRICES = [None if i % 50 == 7 else i % 100 for i in range(N)]
NAMES = [f"it's {i}/é" for i in range(N)]


def made(folder: Path, kind: str, metric: str = "cosine") -> OpenedIndex:
    listing = read_listing(vectors_table(folder / "v.parquet", NAMES, X, price=PRICES))
    update(folder / "ix", listing, Wanted(kind=kind, metric=metric, recall=0.9))
    return open_index(folder / "ix")


@pytest.fixture(scope="module", params=["exact", "ivf", "ivfpq"])
def index(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    opened = made(tmp_path_factory.mktemp(request.param), request.param)
    assert opened.views["vector"].kind == request.param
    return opened


def test_facts(index: OpenedIndex) -> None:
    assert len(index) == N and index.version == 1 and index.modality == "vector"
    assert index.columns == {"price": "int64"} and list(index.ids) == NAMES
    assert index.views["vector"].dim == DIM and index.views["vector"].metric == "cosine"
    assert np.array_equal(index.vectors("vector"), X) and np.array_equal(
        index.vectors("vector", np.array([9, 2])), X[[9, 2]]
    )
    assert index.payload([3, 1]) == [{"id": NAMES[i], "content": "", "price": PRICES[i]} for i in (3, 1)]
    assert index.payload(np.array([7]), []) == [{"id": NAMES[7], "content": ""}] and index.payload([]) == []


def test_names(index: OpenedIndex) -> None:
    assert [index.position(NAMES[i]) for i in (0, 700, N - 1)] == [0, 700, N - 1]
    with pytest.raises(DataError, match='Did you mean "it\'s 12/é"'):
        index.position("its 12/é")
    with pytest.raises(UsageError, match=r"prise.*price"):
        index.payload([0], ["prise"])
    with pytest.raises(UsageError, match="vector"):
        index.search_vectors(X[:1], 1, view="text")
    with pytest.raises(UsageError):
        index.vectors("text")
    with pytest.raises(DataError, match="no pictures"):
        index.picture(0)


CONDITIONS = {
    "price < 50": [p is not None and p < 50 for p in PRICES],
    "price = 3": [p == 3 for p in PRICES],
    "price IS NULL": [p is None for p in PRICES],
    "price > 1000": [False] * N,
    "true": [True] * N,
    "id = 'it''s 5/é'": [i == 5 for i in range(N)],
}


@pytest.mark.parametrize("few", [FEW, 0])
@pytest.mark.parametrize("where", CONDITIONS)
def test_filters(index: OpenedIndex, where: str, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All k where so many match, whether matches are few and compared, or many and searched through the structure."""
    monkeypatch.setattr("graft.retrieval.opened.FEW", few)
    mask = np.array(CONDITIONS[where])
    assert np.array_equal(index.where(where), np.flatnonzero(mask))
    found = index.search_vectors(X[:20], 12, where=where)
    count = min(12, int(mask.sum()))
    assert found.positions.shape == found.scores.shape == (20, 12)
    assert (found.positions[:, :count] >= 0).all() and (found.positions[:, count:] == -1).all()
    assert mask[found.positions[:, :count]].all()
    assert (np.diff(found.scores[:, :count], axis=1) <= 1e-5).all()
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    truth = np.flatnonzero(mask)[np.argsort(-unit[:20] @ unit[mask].T, axis=1)[:, :count]]
    shares = [len(np.intersect1d(a, b)) for a, b in zip(found.positions, truth, strict=True)]
    assert np.mean(shares) >= (count if index.views["vector"].kind == "exact" else 0.85 * count)


@pytest.mark.parametrize("where", ["price <", "prise = 1", "", "graft_key = 1"])
def test_filters_that_cannot_be_used(index: OpenedIndex, where: str) -> None:
    with pytest.raises(UsageError, match="The filter"):
        index.search_vectors(X[:1], 3, where=where)
    with pytest.raises(UsageError, match="The filter"):
        index.where(where)


def test_queries_that_cannot_be_used(index: OpenedIndex) -> None:
    for k in (0, -1, MOST_HITS + 1):
        with pytest.raises(UsageError, match="k is"):
            index.search_vectors(X[:1], k)
    for q in (X[0], X[:, :3], np.full((1, DIM), np.nan, np.float32), np.full((1, DIM), np.inf, np.float32)):
        with pytest.raises(UsageError):
            index.search_vectors(q, 3)
    assert index.search_vectors(X[:0], 3).positions.shape == (0, 3)
    with pytest.raises(UsageError, match="search with vectors"):
        index.encode_queries(["a word"])
    with pytest.raises(UsageError, match="not pictures"):
        index.encode_pictures(["x"])


def test_more_than_there_are(index: OpenedIndex) -> None:
    found = index.search_vectors(X[:2], MOST_HITS)
    assert found.positions.shape == (2, MOST_HITS) and (found.positions[:, N:] == -1).all()
    if index.views["vector"].kind == "exact":
        assert np.array_equal(np.sort(found.positions[:, :N], axis=1), [np.arange(N)] * 2)


def test_several_threads_at_once(index: OpenedIndex) -> None:
    wheres = [None, "price < 50", "price = 3"]
    expected = [index.search_vectors(X[:8], 5, where=where).positions for where in wheres]

    def ask(i: int) -> bool:
        rows = index.payload([i, i + 1])
        found = index.search_vectors(X[:8], 5, where=wheres[i % 3])
        return np.array_equal(found.positions, expected[i % 3]) and [row["id"] for row in rows] == NAMES[i : i + 2]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(90)))


@given(where=st.text(st.sampled_from("abprice <>='()0123 %;-\"`.*,ANDORNOTIL"), max_size=30))
def test_no_condition_breaks_it(where: str) -> None:
    """Every condition is answered or refused in words."""
    index = ONE.get("one")
    if index is None:
        return
    try:
        positions = index.where(where)
    except UsageError as problem:
        assert "The filter" in problem.message
    else:
        assert set(positions.tolist()) <= {0}


ONE: dict[str, OpenedIndex] = {}


@pytest.fixture(scope="module", autouse=True)
def one_item(tmp_path_factory: pytest.TempPathFactory) -> OpenedIndex:
    folder = tmp_path_factory.mktemp("one")
    update(
        folder / "ix", read_listing(vectors_table(folder / "v.parquet", ["only"], X[:1], price=[3], a=["x"])), Wanted()
    )
    ONE["one"] = open_index(folder / "ix")
    return ONE["one"]


def test_one_item(one_item: OpenedIndex) -> None:
    assert one_item.search_vectors(X[:1], 3).positions.tolist() == [[0, -1, -1]]
    (hit,) = one_item.search(unlike=["only"], k=3).hits or (None,)
    assert hit is None


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("cosine", [1.0, 0.0, -1.0]), ("dot", [6.0, 0.0, -3.0]), ("euclidean", [-1.0, -13.0, -36.0])],
)
def test_scores_are_of_the_metric(tmp_path: Path, metric: str, expected: list[float]) -> None:
    rows = (
        np.array([[2, 0], [0, 2], [-3, 0]], np.float32)
        if metric != "dot"
        else np.array([[2, 0], [0, 2], [-1, 0]], np.float32)
    )
    listing = read_listing(vectors_table(tmp_path / "v.parquet", ["a", "b", "c"], rows))
    update(tmp_path / "ix", listing, Wanted(metric=metric))
    for where in (None, "id <> 'x'"):
        found = open_index(tmp_path / "ix").search_vectors(np.array([[3, 0]], np.float32), 3, where=where)
        assert found.positions.tolist() == [[0, 1, 2]]
        np.testing.assert_allclose(found.scores[0], expected, atol=1e-5)


def test_an_index_that_lost_all_its_items(tmp_path: Path) -> None:
    listing = read_listing(vectors_table(tmp_path / "v.parquet", ["a", "b"], X[:2], price=[1, 2]))
    update(tmp_path / "ix", listing, Wanted())
    reader = open_index(tmp_path / "ix")
    update(tmp_path / "ix", None, Wanted(), delete=["a", "b"])
    for empty in (open_index(tmp_path / "ix"), reader.refresh()):
        assert len(empty) == 0 and list(empty.ids) == [] and empty.vectors("vector").shape == (0, DIM)
        for where in (None, "price = 1"):
            assert empty.search_vectors(X[:2], 3, where=where).positions.tolist() == [[-1] * 3] * 2
        with pytest.raises(DataError):
            empty.position("a")
    update(tmp_path / "ix", listing, Wanted())
    assert len(reader.refresh()) == 2


def test_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="graft index DATA"):
        open_index(tmp_path / "none")
    with pytest.raises(MissingError):
        open_index(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        open_index(tmp_path / "file")
    (tmp_path / "graft.json").write_text(json.dumps({"schema": 1, "kind": "model"}))
    with pytest.raises(ModelError, match="'model'"):
        open_index(tmp_path)
    (tmp_path / "graft.json").write_text(json.dumps({"schema": 99, "kind": "index", "current": 1}))
    with pytest.raises(ModelError, match="upgrade"):
        open_index(tmp_path)


def test_memory_is_shared_while_little_changes(tmp_path: Path) -> None:
    reader = made(tmp_path, "exact")
    few = read_listing(vectors_table(tmp_path / "v.parquet", ["x"], X[:1], price=[1]))
    update(tmp_path / "ix", few, Wanted())
    newer = reader.refresh()
    assert newer._loaded["vector"].base is reader._loaded["vector"].base and len(newer) == N + 1
    many = read_listing(vectors_table(tmp_path / "v.parquet", [str(i) for i in range(400)], X[:400], price=[1] * 400))
    update(tmp_path / "ix", many, Wanted())
    newest = newer.refresh()
    assert newest._loaded["vector"].straight and newest._loaded["vector"].base is not reader._loaded["vector"].base
