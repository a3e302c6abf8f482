"""An index made and changed: it always answers as one made anew would, and every version stays whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.small_disk import small_disk
from tests.small_inputs import pictures
from tests.vector_tables import clustered

from graft.errors import DataError, ModelError, StorageError, UsageError
from graft.listings.listing import Listing, read_listing
from graft.retrieval.indexing import columns, history, rollback, update
from graft.retrieval.opened import OpenedIndex, open_index
from graft.retrieval.viewing import Wanted
from graft.search_results import IndexResult

BIG = clustered(1600, 12)
IVF = Wanted(kind="ivf", recall=0.8)


def vectors(x_ND: Any, ids: Sequence[str] | None = None, **payload: list[Any]) -> Listing:
    rows = np.asarray(x_ND, np.float32)
    names = tuple(ids or map(str, range(len(rows))))
    return Listing("test", "vector", names, ("",) * len(rows), payload, vectors=rows)


def state(index: OpenedIndex) -> dict[str, tuple[list[float], Any]]:
    """Everything that an index holds, by id."""
    payload = index.payload(range(len(index)))
    rows = index.vectors("vector").tolist()
    return {row.pop("id"): (x, row) for row, x in zip(payload, rows, strict=True)}


edit = st.one_of(
    st.tuples(st.just("put"), st.dictionaries(st.integers(0, 15), st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=6)),
    st.tuples(st.just("delete"), st.sets(st.integers(0, 15), min_size=1, max_size=4)),
    st.tuples(st.just("prune"), st.dictionaries(st.integers(0, 15), st.tuples(st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=6)),
    st.tuples(st.just("rebuild"), st.none()),
    st.tuples(st.just("rollback"), st.none()),
)  # fmt: skip


def described(items: dict[int, tuple[int, int]]) -> Listing:
    """Items by number: one of six vectors, one of three prices (0 is none)."""
    x_ND = [[np.cos(v), np.sin(v), v / 7 + i / 1000] for i, (v, _) in items.items()]
    return vectors(x_ND, [f"item {i}" for i in items], price=[p or None for _, p in items.values()])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(edit, min_size=1, max_size=7))
def test_any_sequence_of_changes_ends_where_a_new_index_begins(tmp_path: Path, edits: list[tuple[str, Any]]) -> None:
    shutil.rmtree(tmp_path / "ix", ignore_errors=True)
    items = {0: (0, 1), 1: (1, 0)}
    update(tmp_path / "ix", described(items), Wanted())
    kept = {1: items}
    reader = open_index(tmp_path / "ix")
    for kind, what in edits:
        before = dict(items)
        if kind == "rollback":
            earlier = max((n for n in kept if n < reader.version), default=None)
            if earlier is not None:
                assert rollback(tmp_path / "ix").version == earlier
                items = kept[earlier]
        else:
            items = apply(tmp_path / "ix", kind, what, items)
        reader = reader.refresh()
        assert kind == "rebuild" or (kind == "rollback") or (reader.version not in kept) == (items != before)
        kept = dict(sorted({**kept, reader.version: items}.items())[-3:]) if kind != "rollback" else kept
        same(reader, items)
    shutil.rmtree(tmp_path / "anew", ignore_errors=True)
    if any(price for _, price in items.values()):  # a column of nothing would become one of words
        update(tmp_path / "anew", described(items), Wanted())
        same(open_index(tmp_path / "anew"), items)


def apply(path: Path, kind: str, what: Any, items: dict[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    if kind == "delete":
        there = [i for i in what if i in items]
        if there:
            done = update(path, None, Wanted(), delete=[f"item {i}" for i in there])
            assert done.deleted == len(there)
        return {i: item for i, item in items.items() if i not in there}
    if kind == "rebuild":
        update(path, None, Wanted(rebuild=True))
        return items
    done = update(path, described(what), Wanted(), prune=kind == "prune")
    assert done.added == len(what.keys() - items.keys())
    assert done.unchanged == sum(items.get(i) == item for i, item in what.items())
    assert done.changed == len(what) - done.added - done.unchanged
    return dict(what) if kind == "prune" else items | what


def same(index: OpenedIndex, items: dict[int, tuple[int, int]]) -> None:
    """The index holds the items, and finds just what comparing all of them finds."""
    wanted = described(items)
    assert len(index) == len(items)
    assert {name: row["price"] for name, (_, row) in state(index).items()} == dict(
        zip(wanted.ids, wanted.payload["price"], strict=True)
    )
    assert wanted.vectors is not None
    q_QD = np.array([[1, 0.2, 0.3], [-0.5, 0.4, 0.1]], np.float32)
    rows = wanted.vectors.reshape(-1, 3)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for where, mask in (
        (None, np.ones(len(items), bool)),
        ("price = 1", np.array([p == 1 for _, p in items.values()], bool)),
    ):
        scores = (q_QD / np.linalg.norm(q_QD, axis=1, keepdims=True)) @ unit[mask].T
        found = index.search_vectors(q_QD, 4, where=where)
        expected = -np.sort(-scores, axis=1)[:, :4]
        n = expected.shape[1]
        np.testing.assert_allclose(found.scores[:, :n], expected, atol=1e-5)
        assert (found.positions[:, n:] == -1).all()
        names = {wanted.ids[i] for i in np.flatnonzero(mask)}
        assert all(index.ids[p] in names for p in found.positions[:, :n].ravel().tolist())


def test_with_inverted_lists_too(tmp_path: Path) -> None:
    """Rows that came after the structure was built are searched beside it, rows that went are passed over, until it pays to build anew."""
    path = tmp_path / "ix"
    first = update(path, vectors(BIG[:1300]), IVF)
    assert first.views[0].kind == "ivf" and first.rebuilt == ("vector",)
    changed = update(path, vectors(BIG[1300:1400], [str(i) for i in range(1300, 1400)]), IVF, delete=["5", "6"])
    assert changed.rebuilt == () and (changed.added, changed.deleted, changed.items) == (100, 2, 1398)
    index = open_index(path)
    for i in (4, 1350):
        found = index.search_vectors(BIG[i : i + 1], 5)
        assert index.ids[found.positions[0, 0]] == str(i)
    assert "5" not in index.ids and all(
        index.ids[p] != "5" for p in index.search_vectors(BIG[5:6], 1398).positions[0] if p >= 0
    )
    truth = np.argsort(-unit(BIG[:100]) @ unit(index.vectors("vector")).T, axis=1)[:, :10]
    found = index.search_vectors(BIG[:100], 10)
    assert np.mean([len(np.intersect1d(a, b)) for a, b in zip(found.positions, truth, strict=True)]) > 7.5
    later = update(path, vectors(BIG[1400:], [str(i) for i in range(1400, 1600)]), IVF)
    assert later.rebuilt == ("vector",) and open_index(path)._loaded["vector"].straight


def unit(x_ND: Any) -> Any:
    return x_ND / np.linalg.norm(x_ND, axis=1, keepdims=True)


def test_a_target_that_is_not_met_is_not_tried_again_at_every_change(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(1500, 31)).astype(np.float32)
    wanted = Wanted(kind="ivfpq", recall=0.99)
    first = update(tmp_path / "ix", vectors(noise), wanted)
    assert first.views[0].kind == "exact" and "99%" in first.notes[0]
    again = update(tmp_path / "ix", vectors(noise[:1], ["x"]), wanted)
    assert again.rebuilt == () and again.items == 1501 and again.views[0].bytes == 1501 * 31 * 4
    assert update(tmp_path / "ix", None, Wanted(kind="ivf", recall=0.6, rebuild=True)).views[0].kind == "ivf"


def test_settings_of_an_index_hold_until_a_rebuild(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(BIG[:1200]), Wanted())
    told = update(path, vectors(BIG[:1200]), IVF)
    assert told.views[0].kind == "exact" and "--rebuild" in told.notes[0]
    assert update(path, None, Wanted(kind="ivf", recall=0.8, rebuild=True)).views[0].kind == "ivf"
    assert update(path, None, Wanted(rebuild=True)).views[0].kind == "exact"


def test_relabelled_rows_keep_key_and_vector(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(np.eye(3), price=[1, 2, 3]), Wanted())
    before = open_index(path)
    done = update(path, vectors(np.eye(3), price=[1, 20, 3]), Wanted())
    assert (done.added, done.changed, done.unchanged) == (0, 1, 2)
    after = before.refresh()
    assert dict(zip(after.ids, after.keys.tolist(), strict=True)) == dict(
        zip(before.ids, before.keys.tolist(), strict=True)
    )
    assert after._loaded["vector"].base is before._loaded["vector"].base and after._loaded["vector"].delta is None
    found = after.search_vectors(np.eye(3, dtype=np.float32), 1)
    assert [after.payload(p)[0]["price"] for p in found.positions] == [1, 20, 3]


def test_back_and_on_again(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(np.eye(2)), Wanted())
    update(path, vectors(np.ones((1, 2)), ["later"]), Wanted())
    back = rollback(path)
    assert back.version == 1 and open_index(path).ids == ["0", "1"]
    with pytest.raises(UsageError, match="There are: 2, 1"):
        rollback(path)
    done = update(path, vectors([[3, 4]], ["other"]), Wanted())
    assert done.version == 3 and sorted(open_index(path).ids) == ["0", "1", "other"]
    assert [version.version for version in history(path).versions] == [3, 2, 1] and history(path).current == 3
    assert rollback(path, 2).version == 2 and sorted(open_index(path).ids) == ["0", "1", "later"]
    with pytest.raises(UsageError, match="no version 9"):
        rollback(path, 9)


def test_three_versions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    for i in range(6):
        update(path, vectors(BIG[: 1000 + i]), Wanted(kind="ivf", recall=0.6, rebuild=i > 0))
    assert [version.version for version in history(path).versions] == [6, 5, 4]
    assert {folder.name for folder in (path / "bases").iterdir()} == {"vector-4", "vector-5", "vector-6"}
    update(path, None, Wanted(rebuild=True))  # exact: no base at all
    assert {folder.name for folder in (path / "bases").iterdir()} == {"vector-5", "vector-6"}


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"schema": 1, "kind": "index"}', '{"schema": 1, "kind": "index", "current": "x"}', "null", ""],
)
def test_a_damaged_switch(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ix"
    update(path, vectors(np.eye(2)), Wanted())
    (path / "graft.json").write_text(damage)
    for act in (open_index, history, rollback, lambda p: update(p, vectors(np.eye(2)), Wanted())):
        with pytest.raises(ModelError, match="damaged"):
            act(path)


def test_a_newer_schema_and_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    path.mkdir()
    for tree, words in (
        ({"schema": 2, "kind": "index", "current": 1}, "upgrade"),
        ({"schema": 1, "kind": "model"}, "'model'"),
    ):
        (path / "graft.json").write_text(json.dumps(tree))
        with pytest.raises(ModelError, match=words):
            update(path, vectors(np.eye(2)), Wanted())
    assert [file.name for file in path.iterdir()] == ["graft.json"]


def test_damaged_versions(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    for i in range(3):
        update(path, vectors(np.eye(2) + i), Wanted())
    (path / "versions" / "2.json").write_text('{"version": 2}')
    assert [version.version for version in history(path).versions] == [3, 1]
    assert update(path, vectors(np.eye(2)), Wanted()).version == 4
    (path / "versions" / "4.json").write_text("noise")
    with pytest.raises(ModelError, match="--rollback"):
        open_index(path)
    assert rollback(path).version == 3
    (path / "versions" / "3.json").unlink()
    with pytest.raises(ModelError, match="missing"):
        open_index(path)


def test_a_lost_structure_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(BIG), IVF)
    shutil.rmtree(path / "bases")
    with pytest.raises(ModelError, match="--rebuild"):
        open_index(path)
    assert update(path, vectors(BIG[:1] + 1, ["x"]), IVF).rebuilt == ("vector",)
    assert len(open_index(path)) == 1601


def test_lost_items(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(np.eye(2)), Wanted())
    shutil.rmtree(path / "items.lance")
    for act in (open_index, columns, lambda p: update(p, vectors(np.eye(2)), Wanted())):
        with pytest.raises(ModelError, match="cannot be read"):
            act(path)


def test_where_no_index_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("x")
    for name in ("file", "full"):
        with pytest.raises((UsageError, StorageError), match=name):
            update(tmp_path / name, vectors(np.eye(2)), Wanted())
        assert columns(tmp_path / name) == {}
    with pytest.raises(StorageError, match="file"):
        update(tmp_path / "file" / "below", vectors(np.eye(2)), Wanted())
    (tmp_path / "empty").mkdir()
    assert update(tmp_path / "empty", vectors(np.eye(2)), Wanted()).items == 2
    with pytest.raises(UsageError, match="no index"):
        update(tmp_path / "none", None, Wanted(), delete=["1"])


def test_vectors_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(np.eye(2)), Wanted())
    with pytest.raises(DataError, match="3 numbers"):
        update(path, vectors(np.eye(3)), Wanted())
    with pytest.raises(DataError, match="kind 'text'"):
        update(path, Listing("t", "text", ("a",), ("a text",), {}), Wanted())
    with pytest.raises(ModelError, match="not dot"):
        update(path, vectors(np.eye(2)), Wanted(metric="dot"))
    with pytest.raises(ModelError, match="minilm"):
        update(path, vectors(np.eye(2)), Wanted(encoder="minilm"))
    with pytest.raises(UsageError, match="--encoder"):
        update(tmp_path / "new", vectors(np.eye(2)), Wanted(encoder="minilm"))
    for wrong in (Wanted(metric="manhattan"), Wanted(kind="hnsw"), Wanted(recall=1.0)):
        with pytest.raises(UsageError):
            update(tmp_path / "new", vectors(np.eye(2)), wrong)
    assert not (tmp_path / "new").exists()


def test_another_encoder_is_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 2)
    update(tmp_path / "ix", read_listing(folder), Wanted(encoder="pixels:8"))
    with pytest.raises(ModelError, match=r"pixels:8.*pixels:16|pixels:16"):
        update(tmp_path / "ix", read_listing(folder), Wanted(encoder="pixels:16"))
    file = tmp_path / "ix" / "versions" / "1.json"
    tree = json.loads(file.read_text())
    tree["views"][0]["encoder"]["fingerprint"] = "f" * 64
    file.write_text(json.dumps(tree))
    with pytest.raises(ModelError, match="as it was then"):
        update(tmp_path / "ix", read_listing(folder), Wanted())


def test_pictures_that_spoil_or_vanish(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "p", 3)
    wanted = Wanted(encoder="pixels:8")
    (folder / "dark" / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="--strict"):
        update(tmp_path / "ix", read_listing(folder), wanted, strict=True)
    assert not (tmp_path / "ix").exists()
    first = update(tmp_path / "ix", read_listing(folder), wanted)
    assert first.items == first.added == 5 and [fault.where for fault in first.faults] == ["dark/0.png"]
    spoilt = folder / "light" / "1.png"
    spoilt.write_bytes(spoilt.read_bytes()[:60])
    listing = read_listing(folder)
    (folder / "light" / "2.png").unlink()
    told = update(tmp_path / "ix", listing, wanted, prune=True)
    assert (told.version, told.added, told.changed, told.deleted, told.unchanged) == (1, 0, 0, 0, 3)
    assert sorted(fault.where for fault in told.faults) == ["dark/0.png", "light/1.png", "light/2.png"]
    pruned = update(tmp_path / "ix", read_listing(folder), wanted, prune=True)
    assert pruned.deleted == 1 and pruned.items == 4 and "light/1.png" in open_index(tmp_path / "ix").ids


def test_a_full_disk_leaves_the_old_version(tmp_path: Path) -> None:
    with small_disk(tmp_path / "d", "700k") as disk:
        with pytest.raises(StorageError, match="full"):
            update(disk / "big", vectors(clustered(8000, 12)), IVF)
        assert list(disk.iterdir()) == []
        path = disk / "ix"
        update(path, vectors(BIG), IVF)
        before = state(open_index(path))
        for _ in range(2):
            with pytest.raises(StorageError, match="full"):
                update(path, vectors(clustered(8000, 12), [f"n{i}" for i in range(8000)]), IVF)
            assert state(open_index(path)) == before
        subprocess_free(disk)
        assert update(path, vectors([[1.0] * 12], ["x"]), IVF).items == 1601


def subprocess_free(disk: Path) -> None:
    import subprocess

    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)


def test_a_reader_goes_on_while_a_writer_commits(tmp_path: Path) -> None:
    path = tmp_path / "ix"
    update(path, vectors(BIG, price=list(range(1600))), IVF)
    reader = open_index(path)
    before, found = state(reader), reader.search_vectors(BIG[:20], 5)
    for i in range(5):
        update(path, vectors(BIG[i : i + 1] + 50, [str(i)], price=[-1]), IVF, delete=[str(100 + i)])
        assert state(reader) == before
        again = reader.search_vectors(BIG[:20], 5, where="price >= 0")
        assert np.array_equal(again.positions, found.positions) or np.mean(again.positions == found.positions) > 0.9
    newer = reader.refresh()
    assert newer.version == 6 and newer.refresh() is newer and len(newer) == 1595
    assert newer._loaded["vector"].base is reader._loaded["vector"].base
    assert newer.payload([newer.position("0")])[0]["price"] == -1


def test_what_is_told(tmp_path: Path) -> None:
    done: IndexResult = update(tmp_path / "ix", vectors(np.eye(2), price=[1, 2]), Wanted(metric="dot"))
    assert done.columns == columns(tmp_path / "ix") == {"price": "int64"}
    assert done.seconds.keys() == {"read", "encode", "write", "build"} and done.views[0].metric == "dot"
    again = update(tmp_path / "ix", vectors(np.eye(2), price=[1, 2]), Wanted())
    assert (again.version, again.unchanged, again.added) == (1, 2, 0)
