"""Items on disk: versions that stay as they were, conditions on columns, words, and what is kept of old versions."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.small_disk import small_disk

from graft.errors import ModelError, StorageError, UsageError
from graft.store import collection as module
from graft.store.collection import CONTENT, HASH, ID, KEY, ROW, VECTOR, Collection, rows_of


def rows(ids: Sequence[str], first_key: int = 0, **columns: Any) -> pa.Table:
    n = len(ids)
    keys = np.arange(first_key, first_key + n)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(keys, 3).astype(np.float32)), 3)
    own = {ID: list(ids), KEY: keys, HASH: ["h"] * n, ROW: ["r"] * n, CONTENT: [f"text of {i}" for i in ids]}
    return pa.table({**own, VECTOR + "text": vectors, **columns})


@pytest.fixture
def six(tmp_path: Path) -> Collection:
    prices = [1, 2, 3, None, 5, 6]
    names = ["cat", "dog", "it's", None, "graft_x", "a;b"]
    table = rows("abcdef", price=prices, name=names).append_column("in stock", [[True, False] * 3])
    return Collection.create(tmp_path / "items.lance", table)


def ids(collection: Collection) -> list[str]:
    return [str(name) for name in collection.table([ID]).column(ID).to_pylist()]


def test_what_is_written_is_read(six: Collection, tmp_path: Path) -> None:
    again = Collection.open(tmp_path / "items.lance")
    assert len(again) == 6 and ids(again) == list("abcdef") and again.keys().tolist() == list(range(6))
    assert again.columns == {"price": "int64", "name": "string", "in stock": "bool"}
    assert again.vectors("text", np.array([4, 1, 1])).tolist() == [[4] * 3, [1] * 3, [1] * 3]
    assert np.concatenate(list(again.batches("text"))).tolist() == [[i] * 3 for i in range(6)]
    assert again.take([5, 0], [ID, "price"]) == [{"id": "f", "price": 6}, {"id": "a", "price": 1}]
    assert again.take([], [ID]) == []
    assert six.version == again.version == again.latest


def test_vectors_come_in_order_over_gaps_and_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NUMBERS", 3 * 7)
    made = Collection.create(tmp_path / "items.lance", rows([str(i) for i in range(50)]))
    made.write(rows([str(i) for i in range(40, 60)], 100), [str(i) for i in range(0, 30, 3)])
    assert np.concatenate(list(made.batches("text")))[:, 0].tolist() == made.keys().tolist()
    assert [len(batch) for batch in made.batches("text")] == [7] * 7 + [1]


def test_a_version_stays_as_it_was(six: Collection, tmp_path: Path) -> None:
    writer = Collection.open(tmp_path / "items.lance")
    writer.write(rows(["b", "new"], 10, price=[20, 30], name=["B", "N"], **{"in stock": [True, True]}), ["a", "f"])
    assert sorted(ids(writer)) == ["b", "c", "d", "e", "new"]
    assert dict(zip(ids(writer), writer.keys().tolist(), strict=True))["b"] == 10
    assert ids(six) == list("abcdef") and six.keys().tolist() == list(range(6)) and six.take([0], [ID]) == [{"id": "a"}]
    assert six.latest == writer.version > six.version
    old = Collection.open(tmp_path / "items.lance", six.version)
    old.restore()
    assert ids(old) == list("abcdef") and old.version == old.latest > writer.version


@pytest.mark.parametrize("name", ["it's", "''", 'a"b', "x/y z", "ключ", "; drop", "%", "\\", "k" * 3000])
def test_any_id_can_be_taken_out(tmp_path: Path, name: str) -> None:
    made = Collection.create(tmp_path / "items.lance", rows([name, "other"]))
    made.write(None, [name])
    assert ids(made) == ["other"]


def test_many_ids_are_taken_out(tmp_path: Path) -> None:
    names = [str(i) for i in range(20_000)]
    made = Collection.create(tmp_path / "items.lance", rows(names))
    made.write(None, names[:19_999])
    assert ids(made) == ["19999"]
    made.write(None, ["19999"])
    assert len(made) == 0 and list(made.keys()) == [] and len(made.matching("id = 'x'")) == 0


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("price < 3", [0, 1]),
        ("price >= 3 AND name = 'it''s'", [2]),
        ("price IS NULL", [3]),
        ("NOT price < 3", [2, 4, 5]),  # of what is not known neither is true
        ("name = 'graft_x' or name = 'a;b'", [4, 5]),
        ("name LIKE 'c%'", [0]),
        ("`in stock`", [0, 2, 4]),
        ("id IN ('a', 'f')", [0, 5]),
        ("price = 100", []),
        ("true", [0, 1, 2, 3, 4, 5]),
        ("price = NULL", []),
    ],
)
def test_conditions(six: Collection, where: str, found: list[int]) -> None:
    assert sorted(six.matching(where).tolist()) == found


@pytest.mark.parametrize(
    "where",
    ["", "  ", "price <", "(price < 3", "prise < 3", "price", "1", "price < 'a'", "graft_key < 3", "GRAFT_ROW = 'r'", "price < 3; drop table x",
     "price IN (SELECT price FROM x)", "sum(price) > 3", "price / 0 = 1", "cast(name AS int) = 1", "\x00", "'", "--"],
)  # fmt: skip
def test_conditions_that_cannot_be_used(six: Collection, where: str) -> None:
    with pytest.raises(UsageError) as caught:
        six.matching(where)
    message = caught.value.message
    assert "Examples" in message or "graft_" in where.lower()
    assert ".rs" not in message and "graft_hash" not in message and "_rowid" not in message


def test_words(tmp_path: Path) -> None:
    table = rows(["a", "b", "c"]).set_column(4, CONTENT, [["running dogs", "a dog and a dog", "the cats"]])
    made = Collection.create(tmp_path / "items.lance", table)
    made.index_words(CONTENT)
    keys, scores = made.words(CONTENT, "dogs?", 10)
    assert sorted(keys.tolist()) == [0, 1] and (np.diff(scores) <= 0).all()
    assert made.words(CONTENT, "runs", 10)[0].tolist() == [0]
    assert made.words(CONTENT, "dog", 10, "id = 'b'")[0].tolist() == [1]
    assert made.words(CONTENT, "dog", 1)[0].shape == (1,)
    for query in ("", "?!", "zebra", "the", '"dog', "dog AND (", "x" * 5000):
        assert len(made.words(CONTENT, query, 10)[0]) <= 2
    with pytest.raises(UsageError, match="The filter"):
        made.words(CONTENT, "dog", 10, "nothing = 1")
    more = rows(["d", "a"], 7).set_column(4, CONTENT, [["another dog", "no such animal"]])
    made.write(more, ["b"])
    made.index_words(CONTENT)
    assert made.words(CONTENT, "dog", 10)[0].tolist() == [7]


def test_a_column_of_words_without_any(tmp_path: Path) -> None:
    table = rows(["a", "b"], graft_text=pa.array([None, None], pa.string()))
    made = Collection.create(tmp_path / "items.lance", table)
    made.index_words("graft_text")
    assert len(made.words("graft_text", "dog", 10)[0]) == 0


@pytest.mark.parametrize("damage", ["gone", "no versions", "a truncated file"])
def test_damage_is_told(six: Collection, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "items.lance"
    if damage == "gone":
        shutil.rmtree(path)
    elif damage == "no versions":
        shutil.rmtree(path / "_versions")
    else:
        for file in (path / "data").iterdir():
            file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ModelError, match="cannot be read"):
        Collection.open(path, six.version).keys()


def test_a_version_that_is_not_there(six: Collection, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        Collection.open(tmp_path / "items.lance", six.version + 50)


def test_only_what_is_kept_stays_on_disk(six: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the hour of grace everything can still be read; after it only the versions that are named."""
    six.tidy({"v1": six.version})
    writer = Collection.open(tmp_path / "items.lance")
    versions = [six.version]
    for i in range(4):
        writer.write(rows(["a"], 100 + i, price=[i], name=["n"], **{"in stock": [True]}), [])
        versions.append(writer.version)
        writer.tidy({f"v{n + 1}": version for n, version in enumerate(versions)} if i < 3 else {"v5": versions[4]})
    assert [len(Collection.open(tmp_path / "items.lance", v)) for v in versions] == [6] * 5
    monkeypatch.setattr(module, "_GRACE", timedelta(0))
    writer.tidy({"v5": versions[4]})
    assert ids(writer) and writer.keys().max() == 103
    for version in versions[:4]:
        with pytest.raises(ModelError):
            Collection.open(tmp_path / "items.lance", version)


def test_many_small_changes_are_joined(tmp_path: Path) -> None:
    made = Collection.create(tmp_path / "items.lance", rows(["first"]))
    for i in range(module._MOST_FRAGMENTS + 5):
        made.write(rows([f"i{i}"], i + 1), [])
        made.compact()
    assert len(made._dataset.get_fragments()) < 10
    assert sorted(made.keys().tolist()) == list(range(module._MOST_FRAGMENTS + 6))


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    names = [str(i) for i in range(3000)]
    with small_disk(tmp_path / "d", "300k") as disk:
        with pytest.raises(StorageError, match="full"):
            Collection.create(disk / "big.lance", rows(names, filler=[n * 50 for n in names]))
        shutil.rmtree(disk / "big.lance", ignore_errors=True)
        small = Collection.create(disk / "items.lance", rows(["a"], filler=["x"]))
        with pytest.raises(StorageError, match="full"):
            small.write(rows(names, filler=[n * 50 for n in names]), [])
        assert ids(Collection.open(disk / "items.lance", small.version)) == ["a"]


def test_rows_of_a_list() -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(6, dtype=np.float32)), 2)
    assert rows_of(column.slice(1)).tolist() == [[2, 3], [4, 5]]
