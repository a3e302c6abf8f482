"""`graft encode` writes vectors that a reader finds whole, in order and named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import graft
from graft.errors import DataError, UsageError

ROWS = ("The ferry left the pier.", "Whisk the eggs.", "The soup simmers.", "A crane lifts containers.")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = [{"text": text, "label": label} for text, label in zip(ROWS, ("a", "b", None, "a"), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in (*rows, {"text": "", "label": "b"})))
    return path


def test_parquet_and_npy_hold_the_same(table: Path, tmp_path: Path) -> None:
    expected = graft.open_encoder("minilm").encode(ROWS)
    done = graft.encode(table, out=tmp_path / "v.parquet")
    assert (done.items, done.files) == (4, (str(tmp_path / "v.parquet"),))
    assert [fault.problem for fault in done.faults] == ["empty"]
    held = pq.read_table(tmp_path / "v.parquet")
    assert held["id"].to_pylist() == ["0", "1", "2", "3"]
    assert held["label"].to_pylist() == ["a", "b", None, "a"]
    np.testing.assert_array_equal(np.array(held["vector"].to_pylist(), np.float32), expected)
    about = json.loads(held.schema.metadata[b"graft.encoder"])
    assert (about["reference"], about["dim"], about["format"]) == ("minilm", 384, done.encoder.format)

    done = graft.encode(table, out=tmp_path / "v.npy", content="text", label="label")
    assert done.encoder.cached == 4
    vectors = np.load(tmp_path / "v.npy", allow_pickle=False)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected)
    beside = json.loads((tmp_path / "v.items.json").read_text())
    assert (beside["ids"], beside["labels"]) == (["0", "1", "2", "3"], ["a", "b", None, "a"])
    assert beside["encoder"]["fingerprint"] == about["fingerprint"]


def test_labels_that_cannot_be_used_are_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    rows = [{"text": text, "label": label} for text, label in zip(ROWS, (["a"], "b", None, "b"), strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = graft.encode(path, out=tmp_path / "v.npy", label="label", strict=True)
    assert (done.items, done.faults) == (4, ())
    with path.open("a") as stream:
        stream.write('{"text": "", "label": "b"}\n')
    with pytest.raises(DataError, match="1 of its items") as caught:
        graft.encode(path, out=tmp_path / "w.npy", label="label", strict=True)
    assert [fault.problem for fault in caught.value.faults] == ["empty"]


def test_pictures_that_cannot_be_read_are_listed(pictures: Path, tmp_path: Path) -> None:
    for path in pictures.iterdir():
        (tmp_path / "in" / "a").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "a" / path.name).write_bytes(path.read_bytes()[: 50 if path.name == "3.png" else None])
    done = graft.encode(tmp_path / "in", out=tmp_path / "v.npy", encoder="pixels:8")
    assert (done.items, len(done.faults)) == (7, 1)
    assert np.load(tmp_path / "v.npy").shape == (7, done.encoder.dim)
    with pytest.raises(DataError, match="1 of 8"):
        graft.encode(tmp_path / "in", out=tmp_path / "w.npy", encoder="pixels:8", strict=True)
    assert not (tmp_path / "w.npy").exists()


def test_what_is_there_is_not_overwritten(table: Path, tmp_path: Path) -> None:
    (tmp_path / "v.items.json").write_text("mine")
    with pytest.raises(UsageError, match=r"v\.items\.json: it exists"):
        graft.encode(table, out=tmp_path / "v.npy")
    with pytest.raises(UsageError, match=r"'\.txt' is not written\. Allowed: \.parquet, \.npy"):
        graft.encode(table, out=tmp_path / "v.txt")


def test_an_encoder_of_the_other_kind_is_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="texts, not pictures"):
        graft.encode(pictures, out=tmp_path / "v.npy", encoder="minilm")
