"""`graft show` reads what fit wrote, and says what is wrong with what it did not write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from graft.artifact import Manifest
from graft.errors import MissingError, ModelError
from graft.results import SCHEMA, FitResult, to_json
from graft.search_results import IndexResult
from graft.verbs.index import index
from graft.verbs.show import show

ENCODER = {"reference": "minilm", "fingerprint": "f", "space": "s", "dim": 4, "modality": "text"}
RESULT: dict[str, Any] = {
    "name": "birds",
    "task": "classify",
    "chosen": "prototypes",
    "why": "",
    "metric": "accuracy",
    "seed": 0,
    "test": None,
    "strategies": [],
    "encoder": ENCODER,
    "encoders": [ENCODER],
    "calibration": None,
    "abstention": None,
    "confusion": None,
    "per_class": [],
    "suspects": [],
    "folds": "",
    "seconds": {},
    "environment": {},
    "command": "",
    "data": {
        "name": "birds",
        "source": "",
        "kind": "folder",
        "modality": "text",
        "items": 3,
        "train": 3,
        "test": 0,
        "classes": ["a", "b"],
        "counts": [2, 1],
    },
    "schema": SCHEMA,
}


def written(folder: Path, tree: Any) -> Path:
    (folder / "result.json").write_text(json.dumps(tree))
    return folder


def test_a_result_is_shown_from_its_folder_or_file(tmp_path: Path) -> None:
    written(tmp_path, RESULT)
    for path in (tmp_path, tmp_path / "result.json", str(tmp_path)):
        shown = show(path)
        assert isinstance(shown, FitResult)
        assert (shown.chosen, shown.data.counts) == ("prototypes", (2, 1))
        assert show(written(tmp_path, to_json(shown))) == shown


def test_a_model_is_shown_from_its_folder(model: Path) -> None:
    shown = show(model)
    assert isinstance(shown, Manifest)
    assert shown.classes == ("harbour", "kitchen")


@pytest.mark.parametrize("tree", [{}, [], None, 3, {"schema": "x"}, {"schema": SCHEMA}, RESULT | {"data": 3}], ids=str)
def test_what_is_no_result_is_refused(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(ModelError, match=r"result\.json is not a result"):
        show(written(tmp_path, tree))


def test_an_index_is_shown_from_its_folder(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"id": ["a", "b"], "price": [1.5, 2.0], "vector": [[1.0, 0.0], [0.0, 1.0]]}
    pq.write_table(pa.table(table), tmp_path / "v.parquet")
    index(tmp_path / "v.parquet", out=tmp_path / "found")
    shown = show(tmp_path / "found")
    assert isinstance(shown, IndexResult)
    assert (shown.items, shown.version, dict(shown.columns)) == (2, 1, {"price": "double"})


def test_a_newer_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--upgrade"):
        show(written(tmp_path, {"schema": SCHEMA + 1}))


def test_nothing_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="There is no model"):
        show(tmp_path / "nothing")
    with pytest.raises(ModelError, match="not a Graft model"):
        show(tmp_path)
    (tmp_path / "picture.bin").write_bytes(b"\0\1")
    with pytest.raises(ModelError, match="not a result"):
        show(tmp_path / "picture.bin")
