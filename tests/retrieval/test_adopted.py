from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graft.errors import ModelError
from graft.retrieval.adopted import Adopted, adopt, read_adopted


def test_nothing_adopted_is_the_plain_way(tmp_path: Path) -> None:
    found = read_adopted(tmp_path)
    assert (found.way, found.hybrid, dict(found.learned), dict(found.maps)) == ("plain", None, {}, {})


def test_what_is_adopted_comes_back(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32)
    learned = {"a/b ü": {"image": x, "bridge": 2 * x}, "c": {"image": -x, "bridge": x}}
    adopt(tmp_path, Adopted("examples", {"weight": 0.5}, 1.5, learned, {"text": np.eye(3, dtype=np.float32)}))
    found = read_adopted(tmp_path)
    assert (found.way, found.settings, found.hybrid) == ("examples", {"weight": 0.5}, 1.5)
    assert {text: set(views) for text, views in found.learned.items()} == {
        text: set(views) for text, views in learned.items()
    }
    for text, views in learned.items():
        for view, q in views.items():
            np.testing.assert_array_equal(found.learned[text][view], q)
    np.testing.assert_array_equal(found.maps["text"], np.eye(3))


@pytest.mark.parametrize("spoil", ["json", "tensor", "missing", "way"])
def test_what_is_damaged_is_refused_and_the_way_out_told(tmp_path: Path, spoil: str) -> None:
    adopt(tmp_path, Adopted("map", {}, None, {}, {"text": np.eye(3, dtype=np.float32)}))
    if spoil == "json":
        (tmp_path / "search.json").write_text("{")
    elif spoil == "tensor":
        (tmp_path / "search.safetensors").write_bytes(b"x" * 40)
    elif spoil == "missing":
        (tmp_path / "search.safetensors").unlink()
    else:
        tree = json.loads((tmp_path / "search.json").read_text())
        (tmp_path / "search.json").write_text(json.dumps(tree | {"way": "exec"}))
    with pytest.raises(ModelError, match="search plainly"):
        read_adopted(tmp_path)
