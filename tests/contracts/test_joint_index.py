"""An index of pictures made by a joint encoder (tiny, of random weights): its text tower is what words go through, and no bridge is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.opened import open_encoder
from graft.retrieval.opened import open_index
from graft.verbs.index import index


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_words_go_through_the_text_tower(
    family: str, tiny_model: Callable[[str], Path], pictures: list[Image.Image], tmp_path: Path
) -> None:
    (tmp_path / "p").mkdir()
    for i, picture in enumerate(pictures):
        picture.convert("RGB").save(tmp_path / "p" / f"{i}.png")
    reference = f"dir:{tiny_model(family)}"
    made = index(tmp_path / "p", out=tmp_path / "index", encoder=reference)
    opened = open_index(tmp_path / "index")
    assert set(opened.views) == {"image"} and made.views[0].bridge == ""  # type: ignore[union-attr]
    found = opened.search("a red cat", k=len(opened))
    text = open_encoder(reference, modality="text").encode(["a red cat"])[0]
    rows = opened.vectors("image")
    cosines = rows @ text / np.linalg.norm(rows, axis=1) / np.linalg.norm(text)
    assert [hit.id for hit in found.hits] == [opened.ids[i] for i in np.argsort(-cosines, kind="stable")]
    assert [hit.score for hit in found.hits] == pytest.approx(np.sort(cosines)[::-1], abs=1e-5)
    again = opened.search(image=tmp_path / "p" / "0.png", k=1)
    assert again.hits[0].score == pytest.approx(1, abs=1e-4)
