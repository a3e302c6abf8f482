"""`graft bridge fit` from a table to the folder: colours and their names, with an encoder that knows no words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.dataset import ImageSource
from graft.encoders.open import open_encoder
from graft.encoding import encode
from graft.errors import ModelError, UsageError
from graft.results import to_json
from graft.retrieval.bridges import load_bridge
from graft.verbs.bridge import fit

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 190, 40),
    "blue": (30, 50, 220),
    "yellow": (230, 220, 40),
    "purple": (200, 40, 210),
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["image,caption"]
    for number in range(60):
        name = list(COLOURS)[number % len(COLOURS)]
        shade = np.clip(np.array(COLOURS[name]) + rng.integers(-15, 16, 3), 0, 255).astype(np.uint8)
        Image.fromarray(np.tile(shade, (8, 8, 1))).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,a {name} square")
    path = tmp_path / "pairs.csv"
    path.write_text("\n".join([*lines, "lost.png,a lost square"]) + "\n")
    return path


def test_colours_are_found_by_their_names(table: Path, tmp_path: Path) -> None:
    result = fit(table, out=tmp_path / "bridge", encoder="pixels:4")
    assert result.chosen in ("ridge", "cca", "contrastive")
    assert (result.pictures, result.pairs, result.pool) == (60, 60, 12)
    assert result.columns == {"image": "image", "text": "caption"}
    assert [fault.where for fault in result.faults] == ["row 60 (line 62)"]
    assert all(c.gain is not None and c.gain.n == 60 for c in result.candidates)
    about = json.loads((tmp_path / "bridge" / "graft.json").read_text())["about"]
    assert about == to_json(result)
    bridge = load_bridge(tmp_path / "bridge")
    pictures, words = open_encoder("pixels:4"), open_encoder("minilm")
    assert bridge.image_fingerprint == pictures.info.fingerprint
    swatches = [tmp_path / f"{name}.png" for name in COLOURS]
    for path, colour in zip(swatches, COLOURS.values(), strict=True):
        Image.new("RGB", (8, 8), colour).save(path)
    items = bridge.items(encode([ImageSource(path) for path in swatches], pictures).vectors)
    queries = bridge.queries(encode([f"a {name} square" for name in COLOURS], words).vectors)
    assert (queries @ items.T).argmax(axis=1).tolist() == list(range(len(COLOURS)))
    with pytest.raises(UsageError, match="not overwritten"):
        fit(table, out=tmp_path / "bridge", encoder="pixels:4")


def test_a_copy_that_was_changed_is_refused(table: Path, tmp_path: Path) -> None:
    fit(table, out=tmp_path / "bridge", encoder="pixels:4")
    manifest = tmp_path / "bridge" / "graft.json"
    manifest.write_text(manifest.read_text().replace('"pool": 12', '"pool": 13'))
    with pytest.raises(ModelError, match="changed"):
        load_bridge(tmp_path / "bridge")
