"""What the report shows: pictures are read only as long as the page has room for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.data.dataset import Dataset, ImageSource
from graft.diagnostics import evidence
from graft.diagnostics.assessment import Judged


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Sixty pictures of noise in two classes."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(60)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(path)
    return Dataset(
        name="noise",
        kind="folder",
        modality="image",
        ids=tuple(path.name for path in paths),
        contents=tuple(map(ImageSource, paths)),
        labels=np.arange(60) % 2,
        classes=("a", "b"),
        test_mask=None,
    )


@pytest.mark.parametrize("room", [0, 20_000, 10**9])
def test_only_pictures_that_can_be_shown_are_read(dataset: Dataset, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MOST_PICTURE_BYTES", room)
    read: list[Path] = []
    plain = evidence.shown

    def counting(content: ImageSource, side: int = 96) -> dict[str, str]:
        if side == 48:
            read.append(content.path)
        return plain(content, side)

    monkeypatch.setattr(evidence, "shown", counting)
    judged = Judged(np.arange(60), dataset.labels, np.tile([0.6, 0.4], (60, 1)), "folds")
    x_ND = np.random.default_rng(1).normal(size=(60, 8)).astype(np.float32)
    points = evidence.gather(dataset, judged, x_ND, (), seed=0).map
    sizes = [len(point.picture) for point in points if point.picture]
    assert len(points) == 60
    assert sum(sizes) <= room
    assert len(read) <= len(sizes) + 1
    assert (len(sizes) == 60) is (room == 10**9)
    assert (len(sizes) > 3) is (room > 0)
